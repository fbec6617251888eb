"""Connecting again, `--reconnect`: what stdin has given reaches the next connection once, and a loss is counted."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import signal
import socket
import ssl
import struct
import sys
import tempfile
import termios
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest
from encrypted import server_side, trusting
from harness import (
    COPYING,
    DEADLINE,
    DEVNULL,
    PYNC,
    Running,
    failure,
    listen,
    pync,
    require,
    run,
    success,
)
from servers import listening, ncat_proxy
from terminals import interactive_shell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from certificates import Authority

RESET = struct.pack("ii", 1, 0)  # for SO_LINGER
MUCH = 24 << 20  # bytes: more than the buffers of both ends hold


class Server(NamedTuple):
    """A listener of the test, and the words with which pync connects to it."""

    accept: Callable[[], socket.socket]
    words: tuple[str, ...]
    close: Callable[[], object]


@contextlib.contextmanager
def tcp() -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield server(sock, "127.0.0.1", str(sock.getsockname()[1]))


def server(sock: socket.socket, *words: str) -> Server:
    sock.settimeout(DEADLINE)

    def accept() -> socket.socket:
        conn = sock.accept()[0]
        conn.settimeout(DEADLINE)
        return conn

    return Server(accept, words, sock.close)


@contextlib.contextmanager
def unix() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path := os.path.join(folder, "s"))
        sock.listen()
        yield server(sock, "-U", path)


@contextlib.contextmanager
def proxied() -> Iterator[Server]:
    with ncat_proxy() as proxy, tcp() as there:
        yield there._replace(words=("--proxy", f"127.0.0.1:{proxy.port}", *there.words))


@contextlib.contextmanager
def tls(authority: Authority) -> Iterator[Server]:
    context = server_side(authority.server)
    with tcp() as there:

        def accept() -> socket.socket:
            return context.wrap_socket(there.accept(), server_side=True, suppress_ragged_eofs=True)

        yield Server(accept, trusting(authority, *there.words), there.close)


@pytest.fixture(params=["tcp", "unix", "proxied", "tls"])
def place(request: pytest.FixtureRequest) -> Iterator[Server]:
    authority: Authority = request.getfixturevalue("authority")
    kinds: dict[str, Callable[[], contextlib.AbstractContextManager[Server]]] = {
        **{"tcp": tcp, "unix": unix, "proxied": proxied},
        "tls": lambda: tls(authority),
    }
    with kinds[request.param]() as there:
        yield there


def again(*words: str, **kw: Any) -> Running:
    return pync("--reconnect", "20", *words, **kw)


def reset(conn: socket.socket) -> None:
    """Close with a reset."""
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    conn.close()


def line(conn: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        got = conn.recv(1)
        assert got, data
        data += got
    return data


def drain(conn: socket.socket) -> bytes:
    data = bytearray()
    with contextlib.suppress(ConnectionResetError, ssl.SSLError):
        while got := conn.recv(1 << 20):
            data += got
    return bytes(data)


# -- What is sent --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [socket.socket.close, reset], ids=["closed", "reset"])
def test_stdin_goes_on_to_the_next_connection(place: Server, end: Callable[[socket.socket], None]) -> None:
    with again(*place.words) as client:
        for text in b"one\n", b"two\n", b"three\n":
            conn = place.accept()
            client.send(text)
            assert line(conn) == text
            end(conn)
            client.expect("; connecting again\n")
        with place.accept() as conn:
            client.send(b"last\n")
            client.close_stdin()
            assert drain(conn) == b"last\n"
        assert client.finish().status == 0


def test_the_end_of_a_connection_is_one_line() -> None:
    with tcp() as there, again(*there.words) as client:
        for _ in range(2):
            with there.accept() as conn:
                client.send(b"line\n")
                assert line(conn) == b"line\n"
        conn = there.accept()
        address = ":".join(there.words)
        client.close_stdin()
        conn.close()
        assert client.finish() == success(err=f"pync: {address} has ended the connection; connecting again\n" * 2)


NUMBERS = b"".join(b"%07d\n" % number for number in range(MUCH // 8))


@pytest.mark.needs("outq")
@pytest.mark.parametrize("command", [PYNC, COPYING], ids=["kernel", "copying"])
@pytest.mark.parametrize("options", [(), ("-C",), ("--delay", "1ms")], ids=lambda words: " ".join(words) or "plain")
@pytest.mark.parametrize("source", ["pipe", "file"])
def test_nothing_is_sent_twice_and_all_that_is_missing_is_counted(
    command: list[str], options: tuple[str, ...], source: str
) -> None:
    """The first connection is reset in the middle of a transfer that does not fit into it."""
    with tempfile.TemporaryFile() as file, tcp() as there:
        file.write(NUMBERS)
        file.seek(0)
        words = [*command, "--reconnect", "20", *options, *there.words]
        if source == "pipe":
            words = ["sh", "-c", 'cat | "$@"', "-", *words]
        with Running(words, stdin=file) as client:
            conn = there.accept()
            first = conn.recv(1 << 16)
            client_is_stuck(conn)
            unread = queued(conn)
            reset(conn)
            with there.accept() as conn:
                rest = drain(conn)
            assert client.wait() == 0
    expected = NUMBERS.replace(b"\n", b"\r\n") if "-C" in options else NUMBERS
    count = int(re.search(r"(\d+) bytes not acknowledged; connecting again", client.stderr)[1])  # type: ignore[index]
    assert expected.startswith(first)
    assert expected.endswith(rest)
    assert len(first) + unread + count + len(rest) == len(expected)


def queued(conn: socket.socket) -> int:
    """Bytes that the kernel holds for us: the client has an acknowledgement for them."""
    return int.from_bytes(fcntl.ioctl(conn.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)


def client_is_stuck(conn: socket.socket) -> None:
    """Wait until no more bytes arrive, because the buffers are full."""
    until, before = time.monotonic() + DEADLINE, -1
    while (now := queued(conn)) != before or now < 1 << 16:
        assert time.monotonic() < until
        before = now
        time.sleep(0.2)


def test_under_tls_no_byte_is_sent_twice(authority: Authority) -> None:
    with tls(authority) as there, tempfile.TemporaryFile() as file:
        file.write(NUMBERS)
        file.seek(0)
        with Running([*PYNC, "--reconnect", "20", *there.words], stdin=file) as client:
            received = b""
            for _ in range(4):
                conn = there.accept()
                received += conn.recv(1 << 14)
                received += conn.recv(1 << 14)
                reset(conn)
                client.expect("bytes not acknowledged; connecting again\n")
            with there.accept() as conn:
                received += drain(conn)
            assert client.wait() == 0
    rest = iter(range(len(NUMBERS) // 8))
    for whole in re.findall(rb"(?<=\n)\d{7}(?=\n)", received):
        assert int(whole) in rest, "the numbers that arrive are in order, and each arrives once"


def test_lines_that_wait_for_their_turn_go_to_the_next_connection() -> None:
    with tcp() as there, again("-i", "100ms", *there.words) as client:
        conn = there.accept()
        client.send(b"1\n2\n3\n4\n")
        assert line(conn) == b"1\n"
        conn.close()
        with there.accept() as conn:
            assert line(conn) in (b"2\n", b"3\n")
            client.close_stdin()
            assert drain(conn).endswith(b"4\n")
        assert client.wait() == 0


def test_a_log_has_all_that_was_sent_and_received(tmp_path: Path) -> None:
    log = os.path.join(tmp_path, "log")
    with tcp() as there, again("-o", log, *there.words) as client:
        for text in b"one\n", b"two\n":
            conn = there.accept()
            conn.sendall(text.upper())
            client.send(text)
            assert line(conn) == text
            assert client.read_until(b"\n") == text.upper()
            conn.close()
        with there.accept():
            client.close_stdin()
        assert client.wait() == 0
    with open(log, "rb") as file:
        assert sorted(file.read().split()) == [b"ONE", b"TWO", b"one", b"two"]


def test_a_peer_that_only_half_closes_is_kept_by_send_only() -> None:
    with tcp() as there, again("--send-only", *there.words) as client:
        with there.accept() as conn:
            conn.shutdown(socket.SHUT_WR)
            client.send(b"one\n")
            assert line(conn) == b"one\n"
            client.send(b"two\n")
            assert line(conn) == b"two\n"
        client.send(b"into the void\n")
        with there.accept() as conn:
            client.expect("connecting again\n")
            client.close_stdin()
            drain(conn)
        assert client.wait() == 0


def test_a_person_at_a_terminal_types_on(tmp_path: Path) -> None:
    with tcp() as there, interactive_shell(tmp_path) as shell:
        shell.type(f"{shlex.join([*PYNC, '--reconnect', '20', *there.words])}\n")
        for text in "one\n", "two\n":
            with there.accept() as conn:
                shell.type(text)
                assert line(conn) == text.encode()
            shell.expect("connecting again")
        with there.accept() as conn:
            shell.type("\x04")
            assert drain(conn) == b""
        shell.type("echo status $?\n")
        shell.expect("status 0")


# -- What is received ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [PYNC, COPYING], ids=["kernel", "copying"])
@pytest.mark.parametrize("out", ["pipe", "file"])
def test_a_feed_that_ends_is_received_again(place: Server, command: list[str], out: str) -> None:
    with tempfile.TemporaryFile() as file:
        stdout: dict[str, Any] = {"stdout": file} if out == "file" else {}
        with Running([*command, "--reconnect", "20", "-d", *place.words], stdin=DEVNULL, **stdout) as client:
            for number in range(3):
                with place.accept() as conn:
                    conn.sendall(b"feed %d\n" % number)
                    if isinstance(conn, ssl.SSLSocket):
                        conn.unwrap().close()
                client.expect("connecting again\n", count=number + 1)
            client.signal(signal.SIGTERM)
            assert client.wait() == 128 + signal.SIGTERM
            received = os.pread(file.fileno(), 99, 0) if out == "file" else client.read(21)
    assert received == b"feed 0\nfeed 1\nfeed 2\n"


def test_the_end_of_stdout_s_reader_ends_the_pause() -> None:
    with tcp() as there:
        script = f"{PYNC[0]} -d --reconnect 1m {' '.join(there.words)} | head -n 1; echo ${{PIPESTATUS[0]}}"
        with Running(["bash", "-c", script], stdin=DEVNULL) as both:
            conn = there.accept()
            there.close()
            conn.sendall(b"line\n")
            conn.close()
            assert both.finish().out == b"line\n141\n"


@pytest.mark.needs("outq")
def test_an_idle_connection_is_made_anew_and_only_what_was_sent_is_missing() -> None:
    """The first peer takes nothing, until the buffers are full."""
    with tempfile.TemporaryFile() as file, tcp() as there:
        file.write(NUMBERS)
        file.seek(0)
        with (
            Running([*PYNC, "--reconnect", "20", "--idle-timeout", "500ms", *there.words], stdin=file) as client,
            there.accept() as conn,
        ):
            count = int(client.expect(r"for 0\.5 s, (\d+) bytes not acknowledged; connecting again\n")[1])
            unread = queued(conn)
            with there.accept() as conn:
                rest = drain(conn)
            assert client.wait() == 0
    assert NUMBERS.endswith(rest)
    assert unread + count + len(rest) == len(NUMBERS)


def test_an_idle_connection_is_made_anew() -> None:
    with tcp() as there, again("--idle-timeout", "300ms", *there.words) as client, there.accept(), there.accept():
        client.expect("nothing came or went for 0.3 s; connecting again\n", count=2)


# -- The end -------------------------------------------------------------------------------------------------------


def test_without_a_connection_for_the_time_the_status_is_124() -> None:
    with tcp() as there, pync("--reconnect", "700ms", *there.words) as client:
        conn = there.accept()
        client.send(b"one\n")
        assert line(conn) == b"one\n"
        there.close()
        conn.close()
        client.expect("connecting again\n")
        client.send(b"two\n")
        result = client.finish()
    assert result.status == 124
    assert result.err.endswith("Connection refused (tried for 0.7 s), 4 bytes were not sent\n")


def test_nothing_is_sent_to_a_proxy_that_ends_each_connection_at_once() -> None:
    with tcp() as there, again(*there.words) as client:
        there.accept().close()
        client.expect("connecting again\n")
        client.send(b"line\n")
        for _ in range(3):
            there.accept().close()
        with there.accept() as conn:
            client.close_stdin()
            assert drain(conn) == b"line\n"
        assert client.wait() == 0


def test_connections_that_end_at_once_do_not_begin_the_time_anew() -> None:
    with tcp() as there, pync("--reconnect", "1s", *there.words) as client:
        with contextlib.suppress(TimeoutError):
            while client._process.poll() is None:
                there.accept().close()
        assert client.wait() == 124
    assert client.stderr.splitlines()[-1].endswith("the peer has ended it (tried for 1 s)")
    assert client.stderr.count("connecting again") == 1


def test_a_first_connection_that_fails_is_a_failure() -> None:
    with tcp() as there:
        there.close()
        result = run([*PYNC, "--reconnect", "10", *there.words])
    assert (result.status, result.err.count("\n")) == (1, 1)


def test_a_stdin_that_has_ended_needs_no_other_connection() -> None:
    with tcp() as there, again(*there.words) as client:
        client.send(b"question")
        client.close_stdin()
        with there.accept() as conn:
            assert drain(conn) == b"question"
            conn.sendall(b"answer")
        assert client.finish() == success(b"answer")


@pytest.mark.parametrize("end", [socket.socket.close, reset], ids=["closed", "reset"])
def test_a_stdin_that_ends_while_there_is_no_connection_needs_none(end: Callable[[socket.socket], None]) -> None:
    with tcp() as there, again(*there.words) as client:
        conn = there.accept()
        there.close()
        client.send(b"line\n")
        assert line(conn) == b"line\n"
        end(conn)
        client.expect("connecting again\n")
        client.close_stdin()
        assert client.wait() == (0 if end is socket.socket.close else 1)


def test_a_connection_that_breaks_after_stdin_s_end_is_a_failure() -> None:
    with tcp() as there, again(*there.words) as client:
        client.send(b"question")
        client.close_stdin()
        conn = there.accept()
        assert drain(conn) == b"question"
        reset(conn)
        assert client.finish() == failure(f"connection to {':'.join(there.words)}: Connection reset by peer")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_pause_and_a_connection(signum: int) -> None:
    with tcp() as there, again("-vv", *there.words) as client:
        conn = there.accept()
        there.close()
        conn.close()
        client.expect("next attempt")
        client.signal(signum)
        assert client.wait() == 128 + signum
    with tcp() as there, again(*there.words) as client, there.accept():
        client.signal(signum)
        assert client.wait() == 128 + signum


@pytest.mark.parametrize(
    "command",
    [
        "nc.openbsd -l 127.0.0.1 {}",
        "ncat -l 127.0.0.1 {}",
        "socat -u TCP-LISTEN:{},bind=127.0.0.1,reuseaddr -",
    ],
    ids=lambda command: command.split()[0],
)
def test_a_log_goes_on_when_its_server_is_started_again(command: str) -> None:
    require(command.split()[0])
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port = str(holder.getsockname()[1])
    words = command.format(port).split()
    with listening(Running(words)) as first, again("127.0.0.1", port) as client:
        client.send(b"one\n")
        assert first.read_until(b"\n") == b"one\n"
        first.signal(signal.SIGTERM)
        first.wait()
        client.expect("connecting again\n")
        with listening(Running(words)) as second:
            client.send(b"two\n")
            assert second.read_until(b"\n") == b"two\n"
            client.close_stdin()
            assert second.read_all() == b""
            second.close_stdin()
            assert client.wait() == 0


def test_pync_is_a_server_for_it() -> None:
    with listen("-k", "127.0.0.1", "0", stdin=DEVNULL) as server, again("127.0.0.1", str(server.port)) as client:
        client.send(b"one\n")
        assert server.read_until(b"\n") == b"one\n"
        client.close_stdin()
        assert client.wait() == 0
