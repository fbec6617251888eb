"""When no process reads stdout any more: pync ends by SIGPIPE, also while nothing is written, once stdin is sent.

`head -2` ends after two lines, and a killed ssh closes what its remote command writes to. A netcat that finds that out
only by its next byte stays for ever beside a peer that is silent.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING

import encrypted
import pytest
import roles
from clients import datagrams, drain, is_true, take, watched
from harness import DEADLINE, DEVNULL, PIPE, PYNC, Running, announced, connect, listen, pync, require, run, serve
from pairs import complaints, lives_on, pipe
from roles import either_way
from servers import sshd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import IO, Any

    from certificates import Authority
    from roles import Role

connected, large_file = roles.connected, roles.large_file
SIGPIPE = 128 + signal.SIGPIPE


@contextlib.contextmanager
def reader_that_leaves() -> Iterator[tuple[IO[bytes], Callable[[], None]]]:
    """A pipe for stdout, and a function that closes its reading end, and the test's own writing end."""
    with pipe() as (reading, writing):

        def leave() -> None:
            writing.close()
            reading.close()

        yield writing, leave


# -- One connection ----------------------------------------------------------------------------------------------


@either_way
def test_a_conversation_ends_once_stdin_has_ended(connected: Role) -> None:
    with reader_that_leaves() as (stdout, leave), connected(stdout=stdout) as (process, peer):
        process.send(b"question")
        process.close_stdin()
        assert take(peer, 8) == b"question"
        leave()
        assert process.wait() == SIGPIPE
        assert drain(peer) == b""
        assert complaints(process) == []


@either_way
def test_all_of_stdin_is_sent_before(connected: Role) -> None:
    with reader_that_leaves() as (stdout, leave), connected(stdout=stdout) as (process, peer):
        leave()
        for _ in range(3):
            process.send(b"more\n")
            assert take(peer, 5) == b"more\n"
        assert lives_on(process.pid, 0.3)
        process.close_stdin()
        assert drain(peer) == b""
        assert process.wait() == SIGPIPE


@either_way
def test_a_file_arrives_whole(connected: Role, large_file: IO[bytes]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as unread, connected(stdin=large_file, stdout=unread) as (process, peer):
        assert drain(peer) == roles.MEGABYTES
        assert process.wait() == SIGPIPE
        assert complaints(process) == []


@pytest.mark.parametrize("options", [("-d",), ("-d", "-w", "60"), ("-d", "-C")], ids=["-d", "-d -w", "-d -C"])
def test_a_conversation_that_does_not_read_stdin_ends_at_once(connected: Role, options: tuple[str, ...]) -> None:
    with reader_that_leaves() as (stdout, leave), connected(*options, stdout=stdout) as (process, _):
        leave()
        assert process.wait() == SIGPIPE


def test_nothing_that_is_only_sent_has_a_reader(connected: Role) -> None:
    with reader_that_leaves() as (stdout, leave), connected("--send-only", stdout=stdout) as (process, peer):
        leave()
        process.send(b"data")
        process.close_stdin()
        assert drain(peer) == b"data"
        peer.close()
        assert process.wait() == 0


def test_a_reader_that_stays_is_no_reason_to_end(connected: Role) -> None:
    with connected() as (process, peer):
        process.close_stdin()
        peer.sendall(b"x")
        assert process.read(1) == b"x"
        assert lives_on(process.pid, 0.3)
        peer.close()
        assert process.finish().status == 0


def test_after_the_peers_end_stdout_is_closed_and_has_no_reader_to_lose(connected: Role) -> None:
    with connected() as (process, peer):
        peer.shutdown(socket.SHUT_WR)
        assert process.read_all() == b""  # and the test's reading end is at its end, too
        process.send(b"late")
        process.close_stdin()
        assert drain(peer) == b"late"
        peer.close()
        assert process.wait() == 0


def test_a_stdout_that_pync_could_read_itself_has_a_reader(connected: Role, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with open(os.open(tmp_path / "fifo", os.O_RDWR), "r+b", 0) as fifo:
        fifo.write(b"something to read")
        with connected(stdout=fifo) as (process, peer):
            fifo.close()
            process.close_stdin()
            peer.sendall(b"x")
            assert lives_on(process.pid, 0.3)
            peer.close()
            assert process.wait() == 0


def test_a_pipeline_ends_with_its_reader_while_the_server_is_silent() -> None:
    def feed(conn: socket.socket) -> None:
        conn.sendall(b"1\n2\n3\n")
        conn.recv(1)

    script = '"$@" | head -n 2; echo ${PIPESTATUS[*]}'
    with serve(feed) as (host, port):
        result = run([require("bash"), "-c", script, "bash", *PYNC, "-d", host, str(port)])
    assert result == (0, b"1\n2\n141 0\n", "")


def test_a_question_whose_answer_is_not_read_is_asked_and_pync_leaves() -> None:
    asked: list[bytes] = []
    script = 'echo hello | "$@" | true; echo ${PIPESTATUS[*]}'
    with serve(lambda conn: asked.append(drain(conn))) as (host, port):
        result = run([require("bash"), "-c", script, "bash", *PYNC, host, str(port)])
        is_true(lambda: bool(asked), "the server has read to the end")
    assert result == (0, b"0 141 0\n", "")
    assert asked == [b"hello\n"]


def test_a_fifo_may_have_one_reader_after_the_other(connected: Role, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with fifo.open("wb", 0) as stdout, connected("-d", stdout=stdout) as (process, peer):
        stdout.close()
        os.close(reader)
        assert lives_on(process.pid, 0.5)
        with fifo.open("rb", 0) as second:
            assert lives_on(process.pid, 2)
            peer.sendall(b"data")
            assert second.read(4) == b"data"
        assert process.wait() == SIGPIPE


def test_a_fifo_that_is_closed_at_the_peers_end_has_no_reader_to_lose(connected: Role, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with fifo.open("wb", 0) as stdout, connected(stdout=stdout) as (process, peer):
        stdout.close()
        os.close(reader)
        assert lives_on(process.pid, 0.5)
        peer.shutdown(socket.SHUT_WR)
        assert lives_on(process.pid, 2)
        process.send(b"late")
        process.close_stdin()
        assert drain(peer) == b"late"
        peer.close()
        assert process.wait() == 0


# -- A socket as stdout ------------------------------------------------------------------------------------------


def test_a_socket_whose_other_side_is_closed_has_no_reader(connected: Role) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, connected("-d", stdin=theirs.fileno(), stdout=theirs.fileno()) as (process, _):
        theirs.close()
        ours.close()
        assert process.wait() == SIGPIPE


def test_a_socket_as_stdin_and_stdout_ends_once_stdin_is_sent(connected: Role) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, connected(stdin=theirs.fileno(), stdout=theirs.fileno()) as (process, peer):
        theirs.close()
        ours.sendall(b"question")
        ours.close()
        assert drain(peer) == b"question"
        assert process.wait() == SIGPIPE


def test_the_half_close_of_a_socket_is_the_end_of_stdin_and_not_of_its_reader(connected: Role) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, connected(stdin=theirs.fileno(), stdout=theirs.fileno()) as (process, peer):
        theirs.close()
        ours.settimeout(DEADLINE)
        ours.sendall(b"question")
        ours.shutdown(socket.SHUT_WR)
        assert drain(peer) == b"question"
        assert lives_on(process.pid, 1)
        peer.sendall(b"answer")
        peer.close()
        assert drain(ours) == b"answer"
        assert process.wait() == 0


# -- Other ways --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [encrypted.client, encrypted.listener])
def test_under_tls_the_peer_gets_all_of_stdin_and_a_proper_end(role: Callable[..., Any], authority: Authority) -> None:
    context = (
        encrypted.client_side(authority) if role is encrypted.listener else encrypted.server_side(authority.server)
    )
    trust = encrypted.ours(authority.server) if role is encrypted.listener else encrypted.trusting(authority)
    with reader_that_leaves() as (stdout, leave), role(context, *trust, stdout=stdout) as (process, peer):
        process.send(b"question")
        leave()
        process.close_stdin()
        assert encrypted.drain_tls(peer) == b"question"  # fails without a close_notify
        assert process.wait() == SIGPIPE


def test_a_datagram_client_ends() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer, reader_that_leaves() as (stdout, leave):
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(DEADLINE)
        with pync("-u", "127.0.0.1", str(peer.getsockname()[1]), stdout=stdout) as process:
            process.send(b"question")
            assert peer.recv(100) == b"question"
            process.close_stdin()
            leave()
            assert process.wait() == SIGPIPE


@pytest.mark.parametrize("options", [("-u",), ("-u", "-k")], ids=["-lu", "-luk"])
def test_a_datagram_listener_ends(options: tuple[str, ...]) -> None:
    with (
        reader_that_leaves() as (stdout, leave),
        listen(*options, "127.0.0.1", "0", stdout=stdout) as process,
        datagrams(process.port) as peer,
    ):
        peer.send(b"")
        process.expect("^Connection received")
        process.close_stdin()
        leave()
        assert process.wait() == SIGPIPE


def test_with_several_ports_the_conversation_with_one_ends_the_run() -> None:
    with (
        serve(drain) as (host, port),
        reader_that_leaves() as (stdout, leave),
        pync("-d", host, str(port), str(port), stdout=stdout) as process,
    ):
        leave()
        assert process.wait() == SIGPIPE


def test_through_a_proxy_it_ends() -> None:
    def proxy(conn: socket.socket) -> None:
        take(conn, 3)
        conn.sendall(b"\5\0")
        take(conn, 10)
        conn.sendall(b"\5\0\0\1" + bytes(6))
        drain(conn)

    with (
        serve(proxy) as (host, port),
        reader_that_leaves() as (stdout, leave),
        pync("-x", f"{host}:{port}", "127.0.0.1", "9", stdout=stdout) as process,
    ):
        process.send(b"question")
        process.close_stdin()
        leave()
        assert process.wait() == SIGPIPE


def test_a_killed_ssh_leaves_no_pync_behind() -> None:
    with sshd() as gateway, socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(DEADLINE)
        words = " ".join([*PYNC, "127.0.0.1", str(server.getsockname()[1])])
        with Running([*gateway.command(), f"echo $$; exec {words}"]) as ssh:
            pid = int(ssh.read_until(b"\n"))
            with watched(pid) as wait_for_its_end, server.accept()[0] as peer:
                peer.sendall(b"hello")
                assert ssh.read(5) == b"hello"
                ssh.signal(signal.SIGKILL)
                wait_for_its_end()


# -- A listener without a client -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stdin", ["nothing", "a pipe that has ended", "an empty file"])
def test_a_listener_that_has_nothing_to_send_ends_without_a_client(stdin: str, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with (tmp_path / "empty").open("rb") as empty, reader_that_leaves() as (stdout, leave):
        given = {"nothing": DEVNULL, "an empty file": empty}.get(stdin, PIPE)
        with listen("127.0.0.1", "0", stdin=given, stdout=stdout) as process:
            leave()
            process.close_stdin()
            assert process.wait() == SIGPIPE


@pytest.mark.parametrize("stdin", ["an open pipe", "a pipe with data", "a file"])
def test_a_listener_that_has_something_to_send_waits_for_its_client(stdin: str, large_file: IO[bytes]) -> None:
    with reader_that_leaves() as (stdout, leave):
        given = large_file if stdin == "a file" else PIPE
        with listen("127.0.0.1", "0", stdin=given, stdout=stdout) as process:
            leave()
            if stdin == "a pipe with data":
                process.send(b"data")
                process.close_stdin()
            assert lives_on(process.pid, 1)
            with connect(process.port) as peer:
                if stdin == "an open pipe":
                    process.send(b"data")
                    process.close_stdin()
                assert drain(peer) == (roles.MEGABYTES if stdin == "a file" else b"data")
            assert process.wait() == SIGPIPE


# -- Many clients --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stdin", [DEVNULL, PIPE], ids=["/dev/null", "a pipe that has ended"])
def test_a_server_that_has_nothing_to_send_ends(stdin: int) -> None:
    with (
        reader_that_leaves() as (stdout, leave),
        listen("-k", "127.0.0.1", "0", stdin=stdin, stdout=stdout) as process,
        connect(process.port) as silent,
    ):
        process.expect("^Connection received")
        process.close_stdin()
        leave()
        assert process.wait() == SIGPIPE
        assert drain(silent) == b""


def test_a_server_sends_all_of_stdin_before_also_to_a_slow_client(large_file: IO[bytes]) -> None:
    data = large_file.read()
    with reader_that_leaves() as (stdout, leave), listen("-k", "127.0.0.1", "0", stdout=stdout) as process:
        with connect(process.port) as slow:
            process.expect("^Connection received")
            leave()
            process.send(data)
            process.close_stdin()
            assert drain(slow) == data
        assert process.wait() == SIGPIPE


def test_a_server_whose_stdin_is_open_goes_on() -> None:
    with reader_that_leaves() as (stdout, leave), listen("-k", "127.0.0.1", "0", stdout=stdout) as process:
        leave()
        assert lives_on(process.pid, 0.3)
        with connect(process.port) as peer:
            process.send(b"news\n")
            assert take(peer, 5) == b"news\n"


def test_a_server_with_a_file_for_each_client_goes_on(large_file: IO[bytes]) -> None:
    with (
        reader_that_leaves() as (stdout, leave),
        listen("-k", "127.0.0.1", "0", stdin=large_file, stdout=stdout) as process,
    ):
        leave()
        assert lives_on(process.pid, 0.3)
        for _ in range(2):
            with connect(process.port) as peer:
                assert drain(peer) == roles.MEGABYTES


def test_a_collector_ends_with_the_reader_of_what_it_collects() -> None:
    script = '"$@" -v -lk 127.0.0.1 0 < /dev/null | head -n 2; echo ${PIPESTATUS[*]}'
    with (
        announced(Running([require("bash"), "-c", script, "bash", *PYNC], stdin=DEVNULL)) as pipeline,
        connect(pipeline.port) as peer,
    ):
        peer.sendall(b"1\n2\n")
        result = pipeline.finish()
    assert result.status_and_out == (0, b"1\n2\n141 0\n")


@pytest.mark.parametrize("options", [(), ("-k",)], ids=["-l", "-lk"])
def test_a_reader_that_has_left_takes_no_processor_time(options: tuple[str, ...]) -> None:
    with (
        reader_that_leaves() as (stdout, leave),
        listen(*options, "127.0.0.1", "0", stdout=stdout) as process,
    ):
        leave()
        with connect(process.port):
            process.expect("^Connection received")
            before = process.cpu_seconds()
            assert lives_on(process.pid, 1.5)
            assert process.cpu_seconds() - before < 0.1
