"""How a client's half-close gets on with real servers: with those that need it, and those that take it for goodbye.

And what the rest of the rules of ending is worth in a shell: loops through a fifo, what is said too late, and what
breaks off a sender.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from clients import drain, is_true, take
from encrypted import client_side, ours, trusting
from harness import (
    DEVNULL,
    PAYLOAD,
    PYNC,
    Running,
    announced,
    connect,
    listen,
    pync,
    require,
    run,
    serve,
    success,
    without_ends,
)
from pairs import complaints
from roles import TCP
from roles import connected as connected
from terminals import controlled, terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certificates import Authority
    from roles import Role

PAGE = "the page\n" * 3000
APPLICATION = f"""
import asyncio

async def application(scope, receive, send):
    await asyncio.sleep(0.2)
    length = (b"content-length", b"{len(PAGE)}")
    await send({{"type": "http.response.start", "status": 200, "headers": [length]}})
    await send({{"type": "http.response.body", "body": {PAGE!r}.encode()}})
"""
REQUESTS = [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"]
STOPS = [signal.SIGINT, signal.SIGTERM]


@contextlib.contextmanager
def uvicorn(directory: Path, *options: str) -> Iterator[int]:
    """The port of a server on asyncio that takes its time to answer."""
    (directory / "slow_page.py").write_text(APPLICATION)
    command = [sys.executable, "-m", "uvicorn", "slow_page:application", "--app-dir", str(directory), "--port", "0"]
    with Running([*command, "--lifespan", "off", *options], cwd=directory) as server:
        yield int(server.expect(r"running on https?://127\.0\.0\.1:(\d+)")[1])


# -- Servers that take a half-close for goodbye -----------------------------------------------------------------------


@pytest.mark.parametrize("request_", REQUESTS, ids=["HTTP/1.0", "HTTP/1.1"])
def test_a_server_on_asyncio_answers_a_request(request_: bytes, tmp_path: Path) -> None:
    with uvicorn(tmp_path) as port:
        result = run([*PYNC, "127.0.0.1", str(port)], request_)
    assert (result.status, result.err) == (0, "")
    assert result.out.partition(b"\r\n\r\n")[2] == PAGE.encode()


@pytest.mark.parametrize("request_", [*REQUESTS, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_under_tls_a_page_that_is_whole_is_whole(request_: bytes, authority: Authority, tmp_path: Path) -> None:
    """The last request does not ask the server to close, so the connection ends by our half-close, and improperly."""
    certificate = ["--ssl-keyfile", str(authority.server.key), "--ssl-certfile", str(authority.server.chain)]
    with uvicorn(tmp_path, *certificate) as port:
        result = run([*PYNC, *trusting(authority), "localhost", str(port)], request_)
    assert (result.status, result.err) == (0, "")
    assert result.out.partition(b"\r\n\r\n")[2] == PAGE.encode()


@pytest.mark.parametrize("whole", [True, False])
def test_an_answer_whose_connection_has_no_proper_end_is_measured_by_its_own_length(
    authority: Authority, whole: bool
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server.both)

    def cut(conn: socket.socket) -> None:
        with context.wrap_socket(conn, server_side=True) as tls:
            assert tls.recv(1000).startswith(b"GET")
            tls.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage" if whole else b"HTTP/1.1 200 OK\r\n\r\npage"
            )
            os.close(tls.detach())

    with serve(cut) as (_, port):
        result = run([*PYNC, "-v", *trusting(authority), "localhost", str(port)], REQUESTS[1])
    assert result.status == (0 if whole else 1)
    last = without_ends(result.err).splitlines()[-1]
    assert ("without a TLS close_notify, but nothing of it can be missing" if whole else "truncated: it ended") in last


def subscribed(conn: socket.socket) -> None:
    """Like Redis: confirms, sends when there is something, and leaves with the client."""
    assert conn.recv(100) == b"SUBSCRIBE x\r\n"
    conn.sendall(b"subscribed\n")
    if not conn.recv(1):
        return


def test_a_peer_that_leaves_at_our_half_close_is_reported_with_v() -> None:
    with serve(subscribed) as (_, port):
        result = run([*PYNC, "-v", "127.0.0.1", str(port)], b"SUBSCRIBE x\r\n")
    assert result.status_and_out == (0, b"subscribed\n")
    expected = f"pync: 127.0.0.1:{port} ended the connection at our half-close; --no-shutdown sends none"
    assert without_ends(result.err).splitlines()[1:] == [expected]


def test_with_no_shutdown_a_subscriber_stays_and_q_ends_it() -> None:
    done = []

    def feed(conn: socket.socket) -> None:
        assert conn.recv(100) == b"SUBSCRIBE x\r\n"
        conn.sendall(b"subscribed\n")
        conn.sendall(b"news\n")
        done.append(conn.recv(1))

    with serve(feed) as (_, port):
        result = run([*PYNC, "--no-shutdown", "-q", "0.5", "127.0.0.1", str(port)], b"SUBSCRIBE x\r\n")
    assert result == success(b"subscribed\nnews\n")
    assert done == [b""]


def test_ask_wait_a_moment_leave_gets_the_answer_of_a_server_that_is_shy(tmp_path: Path) -> None:
    with uvicorn(tmp_path) as port:
        result = run([*PYNC, "-q", "1", "127.0.0.1", str(port)], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert result.out.endswith(PAGE.encode())
    assert result.status == 0


# -- Servers that need the end ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("-N",), ("-q", "9")])
def test_a_server_that_needs_the_end_gets_it_without_an_option(options: tuple[str, ...]) -> None:
    with listen("-k", "-c", "sort", "127.0.0.1", "0") as server:
        assert run([*PYNC, *options, "127.0.0.1", str(server.port)], b"b\na\n") == success(b"a\nb\n")


def test_a_receiver_of_a_file_gets_it_without_an_option(tmp_path: Path) -> None:
    with listen("-d", "127.0.0.1", "0") as server:
        assert run([*PYNC, "127.0.0.1", str(server.port)], PAYLOAD(300_000)) == success()
        assert server.finish() == (0, PAYLOAD(300_000), server.stderr)


# -- Loops through a fifo ---------------------------------------------------------------------------------------------


def test_a_filter_in_a_loop_may_think_for_long(tmp_path: Path) -> None:
    script = 'mkfifo f; cat f | (x=$(sort); sleep 1; echo "$x") | "$@" -v -l 127.0.0.1 0 > f'
    with announced(Running(["sh", "-c", script, "sh", *PYNC], stdin=DEVNULL, cwd=tmp_path)) as pipeline:
        assert run([*PYNC, "127.0.0.1", str(pipeline.port)], b"b\na\n") == success(b"a\nb\n")
        assert pipeline.finish().status == 0


def test_two_in_a_loop_wait_for_a_slow_target(tmp_path: Path) -> None:
    script = 'mkfifo f; "$@" -v -l 127.0.0.1 0 < f | "$@" 127.0.0.1 "$TARGET" > f'
    with listen("-k", "-c", 'x=$(sort); sleep 1; echo "$x"', "127.0.0.1", "0") as target:
        env = {**os.environ, "TARGET": str(target.port)}
        loop = Running(["sh", "-c", script, "sh", *PYNC], stdin=DEVNULL, cwd=tmp_path, env=env)
        with announced(loop):
            assert run([*PYNC, "127.0.0.1", str(loop.port)], b"b\na\n") == success(b"a\nb\n")
            assert loop.finish().status == 0


# -- What is said too late --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("connected", TCP, indirect=True)
@pytest.mark.parametrize("options", [(), ("--send-only",)], ids=["both ways", "send-only"])
@pytest.mark.parametrize("size", [1, 5, 60_000])
def test_what_is_said_after_the_peer_has_closed_both_directions_is_lost_to_the_byte(
    connected: Role, options: tuple[str, ...], size: int
) -> None:
    with connected(*options) as (process, peer):
        peer.close()
        is_true(lambda: closing(process.pid), "the end has arrived")
        process.send(bytes(size))
        process.close_stdin()
        assert process.wait() == 1
        (line,) = complaints(process)
    lost = int(line.rpartition(", ")[2].split()[0])
    assert "Connection reset by peer, " in line
    # The reset may come in the middle of a large write; then a part is certain, and the rest is not.
    assert lost == size if size < 1000 else 0 < lost <= size


@pytest.mark.parametrize("options", [(), ("--send-only",)], ids=["both ways", "send-only"])
def test_under_tls_it_is_lost_too(authority: Authority, options: tuple[str, ...]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server.both)

    def leave(conn: socket.socket) -> None:
        context.wrap_socket(conn, server_side=True).close()

    with serve(leave) as (_, port), pync(*options, *trusting(authority, "-v"), "localhost", str(port)) as process:
        process.expect("^pync: TLSv")
        is_true(lambda: closing(process.pid), "the end has arrived")
        process.send(b"data")
        process.close_stdin()
        assert process.wait() == 1
        assert complaints(process)[-1].endswith("Connection reset by peer")


def closing(pid: int) -> bool:
    """Whether the process has a TCP connection whose peer has ended (CLOSE-WAIT, which is 08 in proc(5))."""
    inodes = {link.partition("[")[2].rstrip("]") for link in links(pid)}
    rows = [row.split() for row in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return any(row[3] == "08" and row[9] in inodes for row in rows)


def links(pid: int) -> list[str]:
    """Where the descriptors of a process lead."""
    found = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            found.append(os.readlink(fd))
    return found


# -- What breaks off a sender -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("signum", STOPS)
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
def test_a_client_that_is_stopped_before_stdin_has_ended_leaves_no_whole_file(
    authority: Authority, signum: int, encrypted: bool
) -> None:
    options = (ours(authority.server), trusting(authority)) if encrypted else ((), ())
    with listen("-d", *options[0], "127.0.0.1", "0") as receiver:
        with pync(*options[1], "localhost", str(receiver.port)) as sender:
            sender.send(b"half")
            assert receiver.read(4) == b"half"
            sender.signal(signum)
            assert sender.wait() == 128 + signum
        assert receiver.wait() == 1
        assert "Connection reset by peer" in receiver.stderr


@pytest.mark.parametrize("options", [(), ("-k",)])
def test_a_listener_that_is_stopped_before_stdin_has_ended_leaves_no_whole_file(options: tuple[str, ...]) -> None:
    with listen(*options, "127.0.0.1", "0") as sender, pync("-d", "127.0.0.1", str(sender.port)) as receiver:
        sender.expect("^Connection received")
        sender.send(b"half")
        assert receiver.read(4) == b"half"
        sender.signal(signal.SIGTERM)
        assert receiver.wait() == 1


def test_a_limit_breaks_off_likewise() -> None:
    with listen("-d", "127.0.0.1", "0") as receiver:
        with pync("-w", "1", "127.0.0.1", str(receiver.port)) as sender:
            sender.send(b"half")
            assert sender.wait() == 124
        assert receiver.wait() == 1
        assert receiver.read_all() == b"half"


def test_a_person_who_interrupts_has_finished() -> None:
    with terminal() as (keyboard, screen), listen("-d", "127.0.0.1", "0") as receiver:
        with pync("127.0.0.1", str(receiver.port), stdin=screen, **controlled()) as sender:
            keyboard.write(b"all of it\n")
            assert receiver.read(10) == b"all of it\n"
            sender.signal(signal.SIGINT)
            assert sender.wait() == 130
        assert receiver.wait() == 0


def test_what_was_read_to_its_end_is_whole_although_a_signal_ends_the_wait_for_an_answer() -> None:
    with listen("-d", "127.0.0.1", "0") as receiver:
        with pync("127.0.0.1", str(receiver.port)) as sender:
            sender.send(b"whole")
            sender.close_stdin()
            assert receiver.read_all() == b"whole"  # after the half-close
            sender.wait()
        assert receiver.wait() == 0


# -- Two forwarders in a row ------------------------------------------------------------------------------------------


def test_conversations_that_ended_well_are_no_failure_to_forwarders_in_a_row(tmp_path: Path) -> None:
    near, far = str(tmp_path / "near"), str(tmp_path / "far")
    with (
        listen("-k", "-U", far, "-c", "cat") as server,
        listen("-k", "--to", far, "127.0.0.1", "0") as second,
        listen("-k", "-U", near, "--to", f"127.0.0.1:{second.port}") as first,
    ):
        for number in range(10):
            line = b"%d\n" % number
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(near)
                client.sendall(line)
                assert take(client, len(line)) == line
                # It has its answer, and leaves without waiting for the end.
        for process in (first, second, server):
            is_true(partial(idle, process), "all clients have left")
            assert complaints(process) == []


def idle(process: Running) -> bool:
    """Whether a server has no socket but the one that it listens on."""
    return sum(link.startswith("socket:") for link in links(process.pid)) == 1


# -- TLS clients that end without a close_notify ----------------------------------------------------------------------


@pytest.mark.parametrize("client", ["ncat", "python"])
def test_a_file_that_was_fetched_whole_was_served_well(authority: Authority, client: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(PAYLOAD(100_000))
    with (tmp_path / "file").open("rb") as file, listen(*ours(authority.server), "0", stdin=file) as server:
        if client == "ncat":
            # Ncat may overlook a close_notify that comes with the last bytes. It is ended once it has them all.
            with Running([require("ncat"), "--ssl", "127.0.0.1", str(server.port)]) as fetching:
                assert fetching.read(100_000) == PAYLOAD(100_000)
        else:
            with client_side(authority).wrap_socket(connect(server.port), server_hostname="localhost") as conn:
                assert drain(conn) == PAYLOAD(100_000)
        assert server.wait() == 0
        assert len(complaints(server)) == 2, "TLS, and the end without a close_notify"


# -- The same for programs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [("-c",), ("--pipes", "-c"), ("--filter",)])
@pytest.mark.parametrize("many", [(), ("-k",)])
def test_a_program_that_is_stopped_leaves_no_whole_file(options: tuple[str, ...], many: tuple[str, ...]) -> None:
    with (
        listen(*many, *options, "echo half; exec sleep 60", "127.0.0.1", "0") as sender,
        pync("-d", "127.0.0.1", str(sender.port)) as receiver,
    ):
        assert receiver.read(5) == b"half\n"
        sender.signal(signal.SIGTERM)
        assert sender.wait() == 128 + signal.SIGTERM
        assert receiver.wait() == 1


def test_a_program_whose_output_was_fetched_whole_served_well(authority: Authority) -> None:
    with listen(*ours(authority.server), "-c", "echo whole", "0") as server:
        with client_side(authority).wrap_socket(connect(server.port), server_hostname="localhost") as conn:
            assert drain(conn) == b"whole\n"
        assert server.wait() == 0


def test_a_broker_that_is_stopped_leaves_no_whole_file() -> None:
    with (
        listen("--broker", "127.0.0.1", "0", stdin=DEVNULL) as broker,
        pync("-d", "127.0.0.1", str(broker.port)) as receiver,
        pync("127.0.0.1", str(broker.port)) as sender,
    ):
        broker.expect("^Connection received", count=2)
        sender.send(b"half")
        assert receiver.read(4) == b"half"
        broker.signal(signal.SIGTERM)
        assert broker.wait() == 128 + signal.SIGTERM
        assert receiver.wait() == 1
