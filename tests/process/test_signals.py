"""A signal ends the installed pync within a second, at every moment and wherever it waits, by that signal."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from clients import is_true
from harness import PYNC, UNMEASURED, Running, connect, listen, pync, require, without_ends
from network import network

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SOON = 5.0  # seconds: more than what is promised, because the machine may be busy

every_signal = pytest.mark.parametrize("signum", SIGNALS, ids=lambda signum: signum.name)


def ends_by(process: Running, signum: signal.Signals) -> None:
    """Send the signal, and have the process end by it in time and without a word."""
    before = process.stderr
    process.signal(signum)
    assert process.wait(SOON) == 128 + signum
    assert without_ends(process.stderr) == before


# -- At every system call ------------------------------------------------------------------------------------------

# Reading modules is most of a start, and no place where anything could be set up wrongly.
READING = {"newfstatat", "openat", "read", "lseek", "close", "ioctl", "getdents64", "brk", "mmap", "munmap", "readlink"}
COMMANDS = {
    "connecting": ("127.0.0.1", "{}"),
    "listening": ("-l", "127.0.0.1", "0"),
    "serving": ("-lk", "127.0.0.1", "0"),
    "serving programs": ("-lk", "-e", "cat", "127.0.0.1", "0"),
}


class Traced:
    """Runs of one command line under strace(1), which can deliver a signal at any system call."""

    def __init__(self, words: Sequence[str], log: Path) -> None:
        self.argv = ["strace", "-qq", "-o", str(log), *PYNC, *words]
        self.log = log

    def moments(self) -> list[tuple[str, int]]:
        """The system calls after our first one, each with how many of its kind there were until then."""
        with Running(self.argv, env=UNMEASURED) as process:
            is_true(self._waits, "pync waits")
            process.signal(signal.SIGKILL)
        numbers: dict[str, int] = {}
        found: list[tuple[str, int]] = []
        ours = False
        for line in self.log.read_text().splitlines():
            name = line.partition("(")[0]
            numbers[name] = numbers.get(name, 0) + 1
            ours = ours or re.match(r"rt_sigaction\(SIGINT, .*SIG_DFL.*\{sa_handler=0x", line) is not None
            if ours and name.isidentifier() and name not in READING:
                found.append((name, numbers[name]))
        return found

    def _waits(self) -> bool:
        return self.log.exists() and re.search(r"^epoll_wait\([^)]*$", self.log.read_text(), re.MULTILINE) is not None

    def ended(self, signum: signal.Signals, name: str, number: int) -> tuple[object, str]:
        """The status with which a run ends that gets a signal at this call, and what it writes to stderr."""
        inject = f"inject={name}:signal={signum.name}:when={number}"
        with Running([self.argv[0], "-e", inject, *self.argv[1:]], env=UNMEASURED) as process:
            return process.wait(SOON + 1), process.stderr


@pytest.mark.timeout(120)  # a process for each of some forty system calls
@every_signal
@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_signal_at_any_system_call_is_not_lost(words: Sequence[str], signum: signal.Signals, tmp_path: Path) -> None:
    require("strace")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        traced = Traced([word.format(silent.getsockname()[1]) for word in words], tmp_path / "log")
        moments = traced.moments()
        assert len(moments) > 20
        for name, number in moments:
            assert (name, number, *traced.ended(signum, name, number)) == (name, number, 128 + signum, "")


# -- Where a system call blocks ------------------------------------------------------------------------------------


@contextlib.contextmanager
def silent_name_server(tmp_path: Path) -> Iterator[list[str]]:
    """The beginning of a command line, for a network in which the name server never answers."""
    config = tmp_path / "resolv.conf"
    config.write_text("nameserver 10.8.0.2\n")
    mount = f'mount --bind {config} /etc/resolv.conf && exec "$@"'
    with network(
        "ip link add eth0 type veth peer name eth1",
        "ip link set eth1 up",
        "ip link set eth0 up",
        "ip addr add 10.8.0.1/24 dev eth0",
        "ip neigh add 10.8.0.2 lladdr 02:00:00:00:00:02 dev eth0",
    ) as inside:
        yield inside(["unshare", "-m", "sh", "-c", mount, "sh"])


def asks(process: Running) -> bool:
    """Whether a name server is asked in the network of this process."""
    return ":0035 " in Path(f"/proc/{process.pid}/net/udp").read_text()


@every_signal
@pytest.mark.parametrize(
    "words",
    [
        ("h.test", "1"),
        ("-z", "h.test", "1"),
        ("-l", "h.test", "0"),
        ("-lk", "--allow", "h.test", "0"),
        ("-l", "--deny", "h.test", "0"),
        ("-lk", "--proxy-server", "http", "--proxy-allow", "h.test", "0"),
    ],
    ids=" ".join,
)
def test_a_signal_ends_a_run_that_looks_up_a_name(words: Sequence[str], signum: signal.Signals, tmp_path: Path) -> None:
    with silent_name_server(tmp_path) as entering, Running([*entering, *PYNC, *words]) as process:
        is_true(lambda: asks(process), "a name server is asked")
        ends_by(process, signum)


@pytest.fixture
def unread(tmp_path: Path) -> Iterator[str]:
    """A fifo from which nothing is read."""
    path = tmp_path / "unread"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield str(path)
    os.close(reading)


@every_signal
@pytest.mark.parametrize("option", ["--output", "--hex-dump"])
def test_a_signal_ends_a_client_whose_log_takes_nothing(option: str, signum: signal.Signals, unread: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pync(option, unread, "127.0.0.1", str(server.getsockname()[1])) as process,
    ):
        with pytest.raises(pytest.fail.Exception, match="not taken"):  # the log is full, and then stdin
            process.send(bytes(1 << 24), timeout=1)
        ends_by(process, signum)


@every_signal
@pytest.mark.parametrize("options", [["-k"], ["-k", "-e", "cat"], ["--broker"]], ids=" ".join)
def test_a_signal_ends_a_server_whose_log_takes_nothing(
    options: list[str], signum: signal.Signals, unread: str
) -> None:
    with listen("--output", unread, *options, "127.0.0.1", "0") as process, connect(process.port) as client:
        client.settimeout(1)
        with pytest.raises(TimeoutError):
            client.sendall(bytes(1 << 24))
        ends_by(process, signum)


@pytest.mark.parametrize("option", ["--output", "--hex-dump"])
@pytest.mark.parametrize("options", [[], ["-k"]], ids=["one client", "many"])
def test_a_log_that_is_full_ends_a_listener_with_one_line(option: str, options: list[str]) -> None:
    with pync("-l", *options, option, "/dev/full", "127.0.0.1", "0", "-v") as process:
        port = int(process.expect(r"^Listening on \S+ (\d+)\n")[1])
        with connect(port) as client:
            client.sendall(b"hello")
        assert process.wait() == 1
        assert without_ends(process.stderr).splitlines()[2:] == ["pync: writing /dev/full: No space left on device"]
