"""SIGHUP makes the installed pync read its access lists again, if it has any in files. Otherwise SIGHUP ends it."""

from __future__ import annotations

import fcntl
import os
import signal
import termios
from typing import TYPE_CHECKING

import pytest
from clients import ask, datagrams, drain, is_true, take
from harness import DEVNULL, connect, listen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness import Running

READ = "^pync: the access lists were read again$"
KEPT = "^pync: the access lists stay as they were: {}$"
PROGRAM = ("-c", "echo served")


def read_again(server: Running, count: int = 1) -> None:
    server.signal(signal.SIGHUP)
    server.expect(READ, count=count)


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1\n")
    return path


def test_new_clients_are_subject_to_the_new_rules_and_old_ones_stay(hosts: Path) -> None:
    with listen("-k", "--allowfile", str(hosts), "0", stdin=DEVNULL) as server, connect(server.port) as old:
        old.sendall(b"one\n")
        assert server.read_until(b"\n") == b"one\n"
        hosts.write_text("127.0.0.2\n")
        read_again(server)
        with connect(server.port) as new:
            assert drain(new) == b""
        server.expect("^pync: connection from 127.0.0.1 .* denied: not allowed$")
        old.sendall(b"two\n")
        assert server.read_until(b"\n") == b"two\n"
        hosts.write_text("127.0.0.1\n")
        read_again(server, count=2)
        with connect(server.port) as new:
            new.sendall(b"three\n")
            assert server.read_until(b"\n") == b"three\n"


def test_a_list_of_the_denied_is_read_again_too(hosts: Path) -> None:
    with listen("-k", "--denyfile", str(hosts), *PROGRAM, "0") as server:
        assert ask(server.port) == b""
        hosts.write_text("")
        read_again(server)
        assert ask(server.port) == b"served\n"


def test_a_listener_for_one_client_reads_its_lists_again_too(hosts: Path) -> None:
    with listen("--denyfile", str(hosts), *PROGRAM, "0") as server:
        hosts.write_text("")
        read_again(server)
        assert ask(server.port) == b"served\n"
        assert server.wait() == 0


def test_new_senders_of_datagrams_are_subject_to_the_new_rules(hosts: Path) -> None:
    with listen("-uk", "--denyfile", str(hosts), "--filter", "cat", "0") as server, datagrams(server.port) as sock:
        sock.send(b"one")
        server.expect("^pync: connection from 127.0.0.1 .* denied: not allowed$")
        hosts.write_text("")
        read_again(server)
        sock.send(b"two")
        assert take(sock, 3) == b"two"


def become_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "deleted": (os.unlink, "{}: No such file or directory"),
    "a pipe": (become_a_pipe, "{}: only a regular file can be read again"),
    "malformed": (lambda path: path.write_text("127.0.0.1/33"), r"{}:1: 127.0.0.1/33: .*"),
    "no text": (lambda path: path.write_bytes(b"\xff"), "{}: not a text file"),
    "no such name": (lambda path: path.write_text("no.such.host.invalid"), r"{}:1: no.such.host.invalid: .*"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_lists_that_cannot_be_used_are_reported_and_the_old_ones_stay(hosts: Path, how: str) -> None:
    spoil, why = SPOILED[how]
    with listen("-k", "--denyfile", str(hosts), *PROGRAM, "0") as server:
        spoil(hosts)
        server.signal(signal.SIGHUP)
        server.expect(KEPT.format(why.format(hosts)))
        assert ask(server.port) == b"", "it is denied still"
        hosts.unlink(missing_ok=True)
        hosts.write_text("")
        read_again(server)
        assert ask(server.port) == b"served\n"


def test_a_list_that_the_user_may_not_read_stays_as_it_was(hosts: Path) -> None:
    hosts.chmod(0o600)
    if os.geteuid():
        return  # only root can become another user
    with listen("-k", "--user", "nobody", "--denyfile", str(hosts), *PROGRAM, "0") as server:
        server.signal(signal.SIGHUP)
        server.expect(KEPT.format(f"{hosts}: Permission denied"))
        assert ask(server.port) == b""


@pytest.mark.parametrize("options", [[], ["--allow", "127.0.0.1"], ["--deny", "127.0.0.2"]], ids=" ".join)
def test_without_lists_in_files_sighup_ends_a_listener(options: list[str]) -> None:
    with listen("-k", *options, "0") as server:
        server.signal(signal.SIGHUP)
        assert server.wait() == 128 + signal.SIGHUP


def test_the_end_of_its_terminal_ends_a_listener_with_lists(hosts: Path) -> None:
    master, terminal = os.openpty()

    def control() -> None:
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    options = ("--allowfile", str(hosts))
    with listen("-k", *options, "0", stdin=terminal, start_new_session=True, preexec_fn=control) as server:
        os.close(terminal)
        read_again(server)
        os.close(master)
        assert server.wait() == 128 + signal.SIGHUP


def test_a_flood_of_hangups_leaves_the_latest_rules(hosts: Path) -> None:
    with listen("-k", "--denyfile", str(hosts), *PROGRAM, "0") as server:
        for number in range(50):
            hosts.write_text(f"127.0.0.1 127.0.1.{number}\n")
            server.signal(signal.SIGHUP)
        hosts.write_text("")
        server.signal(signal.SIGHUP)
        is_true(lambda: ask(server.port) == b"served\n", "the latest rules hold")
