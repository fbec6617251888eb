"""`--also`: one listener on several addresses and unix paths, with one set of sessions."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from clients import datagrams, drain, is_true, unix_client
from harness import PYNC, Running, connect, failure, free_port, listen, pync, run

if TYPE_CHECKING:
    from pathlib import Path


def ports(server: Running, count: int, word: str = "Listening") -> list[int]:
    """The ports that a server listens on, in the order of its messages."""
    server.expect(rf"(?:^{word} on .*\n){{{count}}}")
    lines = [line for line in server.stderr.splitlines() if line.startswith(word)]
    return [int(line.split()[-1]) for line in lines[:count]]


def test_clients_of_all_places_share_one_broker(tmp_path: Path) -> None:
    path = tmp_path / "unix"
    with pync("-v", "--broker", "-l", "--also", "127.0.0.1:0", "--also", str(path), "127.0.0.1", "0") as server:
        first, second = ports(server, 2)
        server.expect(f"Listening on {path}\n")
        with connect(first) as one, connect(second) as two, unix_client(path) as three:
            server.expect("Connection received on a unix socket\n")
            server.expect("Connection received on 127", count=2)
            for sender, receivers in (one, (two, three)), (three, (one, two)):
                sender.sendall(b"hello\n")
                assert [receiver.recv(100) for receiver in receivers] == [b"hello\n"] * 2
        server.signal(signal.SIGTERM)
        server.wait()
        assert not path.exists()


def test_without_many_the_first_client_of_any_place_is_the_only_one(tmp_path: Path) -> None:
    path = tmp_path / "unix"
    with listen("--also", str(path), "127.0.0.1", "0") as server:
        with unix_client(path) as client:
            server.expect("Connection received")
            is_true(lambda: not path.exists(), "the path is removed")
            with pytest.raises(ConnectionRefusedError):
                connect(server.port)
            client.sendall(b"hello\n")
        assert server.read_all() == b"hello\n"
        assert server.wait() == 0
        assert "pync: a unix socket without a name: sent 0 B, received 6 B" in server.stderr


def test_a_place_that_cannot_be_bound_fails_the_start(tmp_path: Path) -> None:
    path = tmp_path / "unix"
    with free_port() as taken:
        result = run([*PYNC, "-l", "--also", str(path), "--also", f"127.0.0.1:{taken}", "127.0.0.1", "0"])
    assert result == failure(f"listen on 127.0.0.1:{taken}: Address already in use")
    assert not path.exists()


def test_datagrams_of_all_places_are_answered() -> None:
    with pync("-vlku", "--also", "127.0.0.1:0", "-e", "/bin/cat", "127.0.0.1", "0") as server:
        for port in ports(server, 2, "Bound"):
            with datagrams(port) as peer:
                peer.send(b"hello")
                assert peer.recv(100) == b"hello"


def test_a_bare_port_is_that_of_all_addresses() -> None:
    with pync("-vlk", "-4", "--also", "0", "127.0.0.1", "0") as server:
        server.expect(r"^Listening on 0\.0\.0\.0 (\d+)\n")


def test_a_program_is_given_the_protocol_of_its_own_client(tmp_path: Path) -> None:
    path = tmp_path / "unix"
    with listen("-k", "-c", "echo $PYNC_PROTO $PYNC_LOCAL_ADDR", "--also", str(path), "127.0.0.1", "0") as server:
        with connect(server.port) as client:
            assert drain(client) == b"TCP 127.0.0.1\n"
        server.expect(f"Listening on {path}")
        with unix_client(path) as client:
            assert drain(client) == f"UNIX {path}\n".encode()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-lU", "--also", "8080", "/x"], "--also 8080: not the path of a unix socket"),
        (["-l", "--also", "localhost:", "0"], "--also localhost:: not [HOST:]PORT"),
        (["-l", "--also", "localhost", "0"], "--also localhost: port: invalid: localhost"),
        (["-l", "--also", "::1", "0"], "--also ::1: an IPv6 address needs brackets"),
        (["--also", "1", "localhost", "1"], "--also without -l: only a listener has clients"),
        (["-l", "--vsock", "--also", "1", "1"], "--also with --vsock: the addresses are of another kind"),
    ],
)
def test_what_is_no_place_is_refused(options: list[str], message: str) -> None:
    result = run([*PYNC, *options])
    assert result.status == 2
    assert result.err.startswith(f"pync: {message}")
