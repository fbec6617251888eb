"""A server that is short of descriptors, threads or memory: it serves as many clients as it can, then the others."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from clients import ask, drain, is_true, line, reset, take
from harness import DEADLINE, DEVNULL, PYNC, UNMEASURED, Running, announced, connect, many_descriptors, require, serve

if TYPE_CHECKING:
    from collections.abc import Callable

BURST = 100  # clients that come at once
ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


def short_of(what: str, *options: str) -> Running:
    """A server with a limit, as prlimit(1) takes it."""
    words = [require("prlimit"), what, *PYNC, "-v", "-l", "-k", *options, "127.0.0.1", "0"]
    return announced(Running(words, stdin=DEVNULL, env=UNMEASURED))


def plain(conn: socket.socket, port: int) -> None:
    """The server needs to be asked for nothing."""


def by_socks(conn: socket.socket, port: int) -> None:
    conn.sendall(b"\5\1\0")
    take(conn, 2)
    conn.sendall(b"\5\1\0\3\x09localhost" + port.to_bytes(2, "big"))
    take(conn, 10)


def by_http(conn: socket.socket, port: int) -> None:
    conn.sendall(b"CONNECT localhost:%d HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % (port, port))
    while line(conn) != b"\r\n":
        pass


@pytest.mark.parametrize(
    ("options", "request_it"),
    [
        (["--to", "127.0.0.1:{port}"], plain),
        (["--to", "localhost:{port}"], plain),
        (["--proxy-server", "socks5"], by_socks),
        (["--proxy-server", "http"], by_http),
        (["-e", "/bin/cat"], plain),
        (["--filter", "cat"], plain),
    ],
    ids=["to", "to a name", "SOCKS", "HTTP proxy", "program", "filter"],
)
def test_of_a_burst_of_clients_each_is_served_when_it_can_have_all_descriptors_of_its_session(
    options: list[str], request_it: Callable[[socket.socket, int], None]
) -> None:
    answers: list[bytes] = []

    def client(port: int, target: int) -> None:
        with connect(port) as conn:
            request_it(conn, target)
            conn.sendall(b"hello\n")
            conn.shutdown(socket.SHUT_WR)
            answers.append(drain(conn))

    with serve(echo) as (_, target), short_of("--nofile=20:20", *(o.format(port=target) for o in options)) as server:
        clients = [threading.Thread(target=client, args=(server.port, target)) for _ in range(BURST)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join(6 * DEADLINE)
        assert answers == [b"hello\n"] * BURST
        assert server.stderr.count("accepting clients pauses") <= 1
        assert "pync: session" not in server.stderr


@pytest.mark.parametrize(
    "options", [["-e", "sleep 600"], ["--pipes", "-e", "sleep 600"], ["--pty", "-e", "sleep 600"], ["--broker"], []]
)
def test_a_server_that_is_full_notices_the_resets_of_its_clients_and_serves_the_next(options: list[str]) -> None:
    with short_of("--nofile=24:24", *options) as server:
        clients = [connect(server.port) for _ in range(24)]  # some wait to be accepted
        server.expect("^pync: accepting clients pauses: Too many open files\n")
        received = server.stderr.count("Connection received")
        for conn in clients:
            reset(conn)
        with connect(server.port):
            is_true(lambda: server.stderr.count("Connection received") > received, "the next client is served")


@ROOT
def test_a_look_up_without_a_thread_fails_one_client_and_the_server_goes_on() -> None:
    with serve(echo) as (_, port), short_of("--nproc=1", "--user", "nobody", "--to", f"localhost:{port}") as server:
        for number in (1, 2):
            with suppress(ConnectionError):
                assert ask(server.port, b"hello\n") == b""
            server.expect("pync: host localhost: Resource temporarily unavailable\n", count=number)
        server.signal(signal.SIGTERM)
        assert server.wait() == 128 + signal.SIGTERM


def test_a_server_at_the_end_of_its_memory_waits_for_clients_to_leave_and_can_be_stopped() -> None:
    with short_of("--as=unlimited") as server:
        used = memory(server)
    with many_descriptors(20_000), short_of(f"--as={used + (12 << 20)}", "--idle-timeout", "600") as server:
        clients = []
        while "accepting clients pauses: Cannot allocate memory" not in server.stderr:
            clients.append(connect(server.port))
            assert len(clients) < 19_000
        idle = server.cpu_seconds()
        for conn in clients:
            conn.close()
        with connect(server.port) as late:
            late.sendall(b"hello\n")
            assert server.read(6) == b"hello\n"
        is_true(lambda: len(server.descriptors()) < 20, "the clients have left")
        assert server.cpu_seconds() - idle < DEADLINE
        server.signal(signal.SIGTERM)
        assert server.wait() == 128 + signal.SIGTERM


def memory(server: Running) -> int:
    """The bytes of its address space."""
    return int(Path(f"/proc/{server.pid}/statm").read_text().split()[0]) * resource.getpagesize()


def echo(conn: socket.socket) -> None:
    with suppress(ConnectionError):
        while data := conn.recv(4096):
            conn.sendall(data)
