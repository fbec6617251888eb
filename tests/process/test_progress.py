"""`--progress` and SIGUSR1 show how far a run has come, and disturb neither it nor what else is on stderr."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from clients import is_true, take
from harness import (
    DEADLINE,
    DEVNULL,
    PIPE,
    PYNC,
    UNMEASURED,
    Running,
    connect,
    digest,
    free_port,
    listen,
    pync,
    require,
    run,
    serve,
)
from terminals import controlled, terminal
from test_signals import asks, silent_name_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

SIZE = 40_000_000


def hold(conn: socket.socket) -> None:
    """Take nothing until the connection breaks or the test ends."""
    poll = select.poll()
    poll.register(conn, 0)
    assert poll.poll(DEADLINE * 1000)


def swallow(conn: socket.socket) -> None:
    while conn.recv(1 << 20):
        pass


@pytest.fixture
def large(tmp_path: Path) -> Iterator[IO[bytes]]:
    with open(tmp_path / "large", "wb+") as file:
        file.truncate(SIZE)
        yield file


# -- SIGUSR1 ------------------------------------------------------------------------------------------------------


def test_sigusr1_shows_how_far_a_transfer_has_come(large: IO[bytes]) -> None:
    with serve(hold) as (_, port), pync("-v", "127.0.0.1", str(port), stdin=large) as client:
        client.expect("succeeded")
        line = r"^pync: \d+ %, .* left, sent [\d.]+ [kM]B \(.*/s\) in [\d.]+ s$"
        for _ in range(3):
            is_true(lambda: shows(client, line), "something was sent")


def test_sigusr1_loses_nothing(large: IO[bytes]) -> None:
    with listen("127.0.0.1", "0", stdin=DEVNULL) as server, pync("127.0.0.1", str(server.port), stdin=large) as client:
        server.expect("^Connection received")
        stop = threading.Event()

        def ask() -> None:
            while not stop.wait(0.001):
                server.signal(signal.SIGUSR1)
                client.signal(signal.SIGUSR1)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            assert digest(server.read_all()) == digest(bytes(SIZE))
            assert client.wait() == 0
            assert server.wait() == 0
        finally:
            stop.set()
            asking.join()
        assert ", sent " in client.stderr


def test_sigusr1_says_that_no_connection_is_there_yet() -> None:
    with free_port() as port, pync("-v", "--retry", "30", "127.0.0.1", str(port)) as client:
        client.expect("failed")
        client.signal(signal.SIGUSR1)
        client.expect(rf"^pync: connecting to 127\.0\.0\.1 port {port}$")


def test_sigusr1_is_answered_while_a_name_is_looked_up(tmp_path: Path) -> None:
    with silent_name_server(tmp_path) as entering, Running([*entering, *PYNC, "h.test", "1"]) as client:
        is_true(lambda: asks(client), "a name server is asked")
        client.signal(signal.SIGUSR1)
        client.expect("^pync: connecting to h.test port 1$")


def test_sigusr1_says_that_no_client_has_come() -> None:
    with listen("127.0.0.1", "0") as server:
        server.signal(signal.SIGUSR1)
        server.expect("^pync: waiting for a client$")


COUNTED = pytest.mark.needs("linux")  # elsewhere the kernel does not count what a program moves by itself


@pytest.mark.parametrize(
    "options", [["-k"], pytest.param(["-k", "-e", "/bin/cat"], marks=COUNTED), ["--broker"]], ids=" ".join
)
def test_sigusr1_counts_the_clients_of_a_server(options: list[str]) -> None:
    with listen(*options, "127.0.0.1", "0") as server:
        server.signal(signal.SIGUSR1)
        server.expect("^pync: 0 clients$")
        with connect(server.port) as one, connect(server.port):
            server.expect("^Connection received", count=2)
            one.sendall(b"hello")
            if "-e" in options:
                assert take(one, 5) == b"hello"
            is_true(lambda: shows(server, "2 clients"), "two clients")
        is_true(lambda: shows(server, "received 5 B.*, [01] clients?"), "what has passed counts when all have left")


def shows(process: Running, pattern: str) -> bool:
    """Whether the next answer to SIGUSR1 has this in it."""
    before = len(process.stderr)
    process.signal(signal.SIGUSR1)
    is_true(lambda: "\n" in process.stderr[before:], "an answer")
    return re.search(pattern, process.stderr[before:], re.MULTILINE) is not None


def test_sigusr1_counts_what_a_crowd_of_peers_has_sent() -> None:
    with listen("-u", "-k", "127.0.0.1", "0") as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.connect(("127.0.0.1", server.port))
        peer.send(b"hello")
        assert server.read(5) == b"hello"
        assert shows(server, "received 5 B .*, 1 client$")


@COUNTED
def test_what_a_program_moves_by_itself_is_known_of_tcp_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with listen("-U", "-e", "/bin/cat", path) as server, socket.socket(socket.AF_UNIX) as conn:
        conn.settimeout(DEADLINE)
        conn.connect(path)
        conn.sendall(b"hello")
        assert conn.recv(5) == b"hello"
        assert shows(server, r"pync: running for [\d.]+ s$")
    with listen("-e", "/bin/cat", "127.0.0.1", "0") as server, connect(server.port) as conn:
        conn.sendall(b"hello")
        assert conn.recv(5) == b"hello"
        assert shows(server, r"pync: sent 5 B .*, received 5 B ")


@pytest.mark.parametrize("options", [["-e"], ["--pipes", "-e"], ["--filter"]], ids=" ".join)
def test_a_program_neither_ignores_nor_handles_sigusr1(options: list[str]) -> None:
    with listen(*options, "grep Sig /proc/self/status", "127.0.0.1", "0") as server, connect(server.port) as conn:
        conn.shutdown(socket.SHUT_WR)
        masks = dict(re.findall(rb"(\w+):\t(\w+)", conn.makefile("rb").read()))
    bit = 1 << (signal.SIGUSR1 - 1)
    assert not any(int(masks[name], 16) & bit for name in (b"SigBlk", b"SigIgn", b"SigCgt"))


def test_sigusr1_that_is_ignored_at_the_start_stays_so() -> None:
    words = [require("sh"), "-c", 'trap "" USR1; exec "$@"', "sh", *PYNC, "-v"]
    with serve(hold) as (_, port), Running([*words, "127.0.0.1", str(port)]) as client:
        client.expect("succeeded")
        client.signal(signal.SIGUSR1)
        client.signal(signal.SIGTERM)
        assert client.wait() == 143
        assert not re.search("^pync: (sent|connecting)", client.stderr, re.MULTILINE)


def test_sigusr1_does_not_end_a_run_before_it_can_answer(tmp_path: Path) -> None:
    """From the first line of our own on. Before it, the signal ends Python."""
    log = tmp_path / "log"
    strace = [require("strace"), "-qq", "-o", str(log)]
    with serve(swallow) as (_, port):
        words = [*PYNC, "127.0.0.1", str(port)]
        run([*strace, "-e", "trace=openat", *words], b"hello", env=UNMEASURED)
        first = next(
            number for number, line in enumerate(log.read_text().splitlines(), 1) if re.search("pync.*/errors", line)
        )
        inject = f"inject=openat:signal=SIGUSR1:when={first + 10}+3"  # a margin: no two starts are quite the same
        assert run([*strace, "-e", inject, *words], b"hello", env=UNMEASURED).status == 0
    assert "--- SIGUSR1 " in log.read_text()


def test_a_stderr_that_takes_nothing_stops_no_transfer(large: IO[bytes]) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(writing, bytes(4096)):
            pass
    os.set_blocking(writing, True)
    with (
        listen("127.0.0.1", "0", stdin=DEVNULL) as server,
        pync("--progress", "127.0.0.1", str(server.port), stdin=large, stderr=writing) as client,
    ):
        server.expect("^Connection received")
        client.signal(signal.SIGUSR1)
        assert digest(server.read_all()) == digest(bytes(SIZE))
        assert client.wait() == 0
    os.close(reading)
    os.close(writing)


# -- --progress ---------------------------------------------------------------------------------------------------


def on_terminal(*words: str, stdin: IO[bytes], until: str, signum: int = 0) -> str:
    """What a pync with stderr on a terminal has shown there, once it has shown this."""
    with terminal() as (keyboard, screen):
        with Running([*PYNC, *words], stdin=stdin, stderr=screen) as process:
            shown = ""
            while not re.search(until, shown):
                shown += os.read(keyboard.fileno(), 1 << 16).decode()
            if signum:
                process.signal(signum)
            process.wait()
        os.set_blocking(keyboard.fileno(), False)
        with contextlib.suppress(BlockingIOError):
            while data := os.read(keyboard.fileno(), 1 << 16):
                shown += data.decode()
        return shown


def test_on_a_terminal_the_line_is_drawn_again_and_again(large: IO[bytes]) -> None:
    with serve(hold) as (_, port):
        shown = on_terminal(
            "--progress",
            "127.0.0.1",
            str(port),
            stdin=large,
            until=r"(?:\rpync: \d+ %[^\r\n]*){3}",
            signum=signal.SIGTERM,
        )
    assert re.search(r"\rpync: \d+ %, .*sent [\d.]+ [kM]B \([\d.]+ [kM]?B/s\) in [\d.]+ s", shown)
    # In the end it stays.
    assert re.search(r"\rpync: \d+ %, sent [\d.]+ [kM]B \([\d.]+ [kM]?B/s\) in [\d.]+ s\r\n$", shown)


def test_messages_are_not_mixed_into_the_line(large: IO[bytes]) -> None:
    with serve(hold) as (_, port):
        shown = on_terminal(
            *("--progress", "-v", "127.0.0.1", str(port)), stdin=large, until=r"\rpync: \d+ %", signum=signal.SIGTERM
        )
    assert re.search(r"\r {20,}\rpync: 127\.0\.0\.1:\d+: sent .*, ended by a signal\r\n", shown)


def test_in_a_log_the_line_comes_at_the_end(large: IO[bytes]) -> None:
    with serve(swallow) as (_, port):
        result = run([*PYNC, "--progress", "127.0.0.1", str(port)], stdin=large)
    assert re.fullmatch(r"pync: 100 %, sent 40 MB \([\d.]+ [kMG]B/s\) in [\d.]+ s\n", result.err)


def test_a_run_without_a_session_shows_nothing_at_its_end() -> None:
    with free_port() as port:
        result = run([*PYNC, "--progress", "127.0.0.1", str(port)])
    assert re.fullmatch(r"pync: connect to .*: Connection refused\n", result.err)


def test_the_end_of_a_session_says_it_all() -> None:
    with serve(swallow) as (_, port):
        result = run([*PYNC, "--progress", "-v", "127.0.0.1", str(port)], b"hello")
    assert len(re.findall("^pync: .*sent 5 B", result.err, re.MULTILINE)) == 1


def test_a_size_gives_the_share_of_what_comes() -> None:
    options = ("--progress", "--size", str(SIZE // 2))
    popen = {"stdin": DEVNULL, "stdout": DEVNULL}
    with listen(*options, "127.0.0.1", "0", **popen) as server, connect(server.port) as conn:
        conn.sendall(bytes(SIZE // 4))
        is_true(lambda: shows(server, "50 %, .*received 10 MB "), "a half has come")


def test_nothing_is_drawn_over_a_conversation() -> None:
    with terminal() as (keyboard, screen), serve(lambda conn: conn.sendall(b"hello\n")) as (_, port):
        popen = {"stdin": screen, "stdout": screen, "stderr": PIPE, **controlled()}
        with Running([*PYNC, "--progress", "127.0.0.1", str(port)], **popen) as process:
            assert os.read(keyboard.fileno(), 100) == b"hello\r\n"
            process.wait()
            assert process.stderr == ""


@pytest.mark.parametrize("words", [("-z",), ("-l", "-k", "--size", "5"), ("-F",)], ids=lambda words: " ".join(words))
def test_where_nothing_could_be_shown_it_is_refused(words: tuple[str, ...]) -> None:
    assert run([*PYNC, "--progress", *words, "127.0.0.1", "1"]).status == 2
