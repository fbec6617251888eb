"""An upload that breaks off must not look complete to the program that receives it, in the installed pync.

The program of every test copies its input to a file, and then marks the file as complete. A whole upload is marked; an
upload whose client resets the connection, or ends TLS without a close_notify, is not.
"""

from __future__ import annotations

import contextlib
import shlex
import signal
import socket
import ssl
import struct
from typing import TYPE_CHECKING

import pytest
from clients import drain, is_true, pour, reset, take
from harness import DEADLINE, PYNC, connect, listen, run, serve

if TYPE_CHECKING:
    from pathlib import Path

    from harness import Running

SENT = b"half of the upload\n" * 100
TLS = [("--ssl", "--exec"), ("--ssl", "--sh-exec"), ("--ssl", "--filter")]
# The ways in which a program gets what the client sends: the socket itself, a pipe that the kernel fills, pipes that
# pync fills, and a pipe whose answers have a terminal.
WAYS = [
    *(("--exec",), ("--sh-exec",), ("--pipes", "--sh-exec"), ("--idle-timeout", "60", "--sh-exec")),
    *(("-C", "--sh-exec"), ("-t", "--sh-exec"), ("--filter",)),
]
every_way = pytest.mark.parametrize("way", [*WAYS, *TLS], ids=" ".join)
every_plain_way = pytest.mark.parametrize("way", WAYS, ids=" ".join)
once_and_keep_open = pytest.mark.parametrize("keep_open", [(), ("-k",)], ids=["once", "keep-open"])


class Receiver:
    """A command that receives an upload into a file and marks it, and what has come of it."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "upload"
        self.marker = directory / "complete"
        # Between the end of the upload and the mark there is time enough for any wrong order of ends to show.
        self.command = f"cat > {shlex.quote(str(self.file))} && sleep 0.05 && echo > {shlex.quote(str(self.marker))}"

    def has(self, data: bytes) -> bool:
        return self.file.exists() and self.file.read_bytes() == data


@pytest.fixture
def receiver(tmp_path: Path) -> Receiver:
    return Receiver(tmp_path)


def asked(way: tuple[str, ...], command: str) -> str:
    """A command of the shell as the option takes it: `--exec` knows no shell."""
    return f"sh -c {shlex.quote(command)}" if "--exec" in way else command


def encrypted(conn: socket.socket) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(conn)


def client_of(port: int, way: tuple[str, ...]) -> socket.socket:
    return encrypted(connect(port)) if way in TLS else connect(port)


@every_way
@once_and_keep_open
@pytest.mark.parametrize("attempt", range(3))
def test_an_upload_that_is_reset_is_not_marked(
    receiver: Receiver, way: tuple[str, ...], keep_open: tuple[str, ...], attempt: int
) -> None:
    with listen(*keep_open, *way, asked(way, receiver.command), "0") as server:
        conn = client_of(server.port, way)
        conn.sendall(SENT)
        is_true(lambda: receiver.has(SENT), "the program has received all of it")
        reset(conn)
        if not keep_open:
            assert server.wait() != 0
        is_true(lambda: not server.children(), "the program has ended")
    assert not receiver.marker.exists()


def break_off(server: Running, receiver: Receiver) -> None:
    """Send an upload that a reset breaks off, and wait until the program has received that and has ended."""
    conn = connect(server.port)
    conn.sendall(SENT)
    reset(conn)
    is_true(lambda: receiver.has(SENT), "the program has received all of it")
    is_true(lambda: not server.children(), "the program has ended")


@every_plain_way
def test_what_was_received_before_the_reset_reaches_the_program(receiver: Receiver, way: tuple[str, ...]) -> None:
    with listen("-k", *way, asked(way, receiver.command), "0") as server:
        break_off(server, receiver)
    assert not receiver.marker.exists()


@every_way
def test_a_whole_upload_is_marked(receiver: Receiver, way: tuple[str, ...]) -> None:
    with listen(*way, asked(way, receiver.command), "0") as server:
        options = ["--ssl-no-verify"] if way in TLS else []
        assert run([*PYNC, *options, "127.0.0.1", str(server.port)], SENT).status == 0
        assert server.wait() == 0
    assert receiver.has(SENT)
    assert receiver.marker.exists()


@once_and_keep_open
@pytest.mark.parametrize("way", TLS, ids=" ".join)
def test_an_upload_by_tls_that_ends_without_close_notify_is_not_marked(
    receiver: Receiver, way: tuple[str, ...], keep_open: tuple[str, ...]
) -> None:
    with listen(*keep_open, *way, asked(way, receiver.command), "0") as server:
        conn = encrypted(connect(server.port))
        conn.sendall(SENT)
        conn.close()  # Python's ssl sends no close_notify then
        server.expect("^pync: connection to 127.0.0.1:.*: truncated: it ended without a TLS close_notify$")
        if not keep_open:
            assert server.wait() == 1
        is_true(lambda: not server.children(), "the program has ended")
    assert receiver.has(SENT)
    assert not receiver.marker.exists()


@pytest.mark.parametrize("way", WAYS[2:], ids=" ".join)
def test_a_reset_that_the_programs_answer_finds_is_no_end_of_the_upload(
    receiver: Receiver, way: tuple[str, ...]
) -> None:
    """The kernel reports a reset once, and it may report it to the flow that writes."""
    chatty = f"(while :; do echo answer; done) & {receiver.command}"
    with listen("-k", *way, chatty, "0") as server:
        for _ in range(5):
            conn = connect(server.port)
            conn.sendall(SENT)
            assert take(conn, 7) == b"answer\n" or way[0] == "-C"
            reset(conn)
            is_true(lambda: not server.children(), "the program has ended")
            assert not receiver.marker.exists()


@every_plain_way
def test_a_reset_is_noticed_by_a_session_whose_program_reads_nothing(receiver: Receiver, way: tuple[str, ...]) -> None:
    with listen(*way, asked(way, f"exec sleep 60 && {receiver.command}"), "0") as server:
        conn = connect(server.port)
        conn.settimeout(0.3)
        pour(conn)
        reset(conn)
        assert server.wait() == 1
        server.expect("^pync: connection to 127.0.0.1:.*: Connection reset by peer")


@every_plain_way
def test_under_nohup_a_broken_upload_is_not_marked_either(receiver: Receiver, way: tuple[str, ...]) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with listen("-k", *way, asked(way, receiver.command), "0", preexec_fn=ignore) as server:
        break_off(server, receiver)
    assert not receiver.marker.exists()


def test_an_idle_limit_is_no_end_of_the_upload(receiver: Receiver) -> None:
    with listen("--idle-timeout", "0.3", "--sh-exec", receiver.command, "0") as server, connect(server.port) as conn:
        conn.sendall(SENT)
        assert server.wait() == 124
    assert receiver.has(SENT)
    assert not receiver.marker.exists()


@every_way
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_ends_pync_is_no_end_of_the_upload(receiver: Receiver, way: tuple[str, ...], signum: int) -> None:
    with listen("-k", *way, asked(way, receiver.command), "0") as server, client_of(server.port, way) as conn:
        conn.sendall(SENT)
        is_true(lambda: receiver.has(SENT), "the program has received all of it")
        server.signal(signum)
        assert server.wait() == 128 + signum
    assert not receiver.marker.exists()


@every_plain_way
def test_the_program_of_a_client_does_not_take_a_reset_for_the_end(receiver: Receiver, way: tuple[str, ...]) -> None:
    def break_off(conn: socket.socket) -> None:
        conn.sendall(SENT)
        is_true(lambda: receiver.has(SENT), "the program has received all of it")
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with serve(break_off) as (host, port):
        assert run([*PYNC, *way, asked(way, receiver.command), host, str(port)]).status != 0
    assert not receiver.marker.exists()


@pytest.mark.parametrize("way", [("--sh-exec",), ("-C", "--sh-exec"), ("--filter",)], ids=" ".join)
def test_over_a_unix_socket_a_client_that_leaves_with_answers_unread_has_broken_off(
    receiver: Receiver, tmp_path: Path, way: tuple[str, ...]
) -> None:
    """Closing a unix socket whose input is unread is a reset for the other side (unix(7))."""
    path = str(tmp_path / "socket")
    with listen("-k", "-U", *way, f"echo answer; {receiver.command}", path) as server:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as conn:
            conn.settimeout(DEADLINE)
            conn.connect(path)
            conn.sendall(SENT)
            assert conn.recv(1, socket.MSG_PEEK) == b"a"
            is_true(lambda: receiver.has(SENT), "the program has received all of it")
        is_true(lambda: not server.children(), "the program has ended")
    assert not receiver.marker.exists()


@every_plain_way
def test_a_client_that_half_closes_and_resets_later_has_sent_all(receiver: Receiver, way: tuple[str, ...]) -> None:
    with (
        listen("-k", *way, asked(way, f"{receiver.command}; echo done; cat >&2"), "0") as server,
        connect(server.port) as conn,
    ):
        conn.sendall(SENT)
        conn.shutdown(socket.SHUT_WR)
        assert drain(conn).split() == [b"done"]
        reset(conn)
        is_true(lambda: not server.children(), "the program has ended")
    assert receiver.has(SENT)
    assert receiver.marker.exists()
