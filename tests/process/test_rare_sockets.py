"""vsock and SCTP: where kernel and Python have them they carry a conversation, and elsewhere one line reports that.

It is not known what the machine has that runs the tests, so a process test accepts both, and the rest is simulated.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from doubles import a_context, play
from harness import pync

from pync.config import Config
from pync.errors import ConnectError
from pync.events import as_address
from pync.net.attempt import IPPROTO_SCTP, new_socket
from pync.net.resolve import resolve
from pync.system import AF_VSOCK, socket

if TYPE_CHECKING:
    from pync.loop.kernel import Loop

VSOCK = Config(mode="connect", family="vsock", host="2", ports=(4000000000,))


def test_a_cid_and_a_port_are_an_address_that_needs_no_look_up() -> None:
    async def main(loop: Loop) -> object:
        assert a_context(loop, VSOCK).transport == "vsock"
        return await resolve(a_context(loop, VSOCK), VSOCK.host, VSOCK.ports[0])

    assert play(main) == [(AF_VSOCK, (2, 4000000000))]
    assert str(as_address((2, 4000000000))) == "2:4000000000"


def refuse_with(monkeypatch: pytest.MonkeyPatch, code: int) -> list[tuple[int, ...]]:
    """Let no socket be opened; the arguments of those that were asked for."""
    asked: list[tuple[int, ...]] = []

    def refuse(*what: int) -> socket.socket:
        asked.append(what)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(socket, "socket", refuse)
    return asked


@pytest.mark.parametrize("code", [errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ESOCKTNOSUPPORT])
def test_a_system_without_sctp_is_reported_in_words(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = refuse_with(monkeypatch, code)
    with pytest.raises(ConnectError, match="^open a socket for SCTP: this system has none$"):
        new_socket(AF_VSOCK, Config(mode="connect", sctp=True))
    assert asked == [(AF_VSOCK, socket.SOCK_STREAM, IPPROTO_SCTP)]


def test_a_system_without_vsock_is_reported_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_with(monkeypatch, errno.EAFNOSUPPORT)
    with pytest.raises(ConnectError, match="^open a socket for this family: this system has none$"):
        new_socket(AF_VSOCK, VSOCK)


def test_a_system_without_one_of_the_families_of_ip_may_have_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_with(monkeypatch, errno.EAFNOSUPPORT)
    with pytest.raises(OSError, match="family not supported"):
        new_socket(socket.AF_INET6, Config(mode="connect"))


@pytest.mark.parametrize(
    ("options", "announced", "failed"),
    [
        (["--vsock"], r"Listening on 4294967295 \d+\n", r"pync: open a socket for this family: this system has none\n"),
        (["--sctp", "127.0.0.1"], r"Listening on 127\.0\.0\.1 \d+\n", r"pync: open a socket for SCTP: .*\n"),
    ],
    ids=["vsock", "sctp"],
)
def test_a_listener_listens_or_reports_that_it_cannot(options: list[str], announced: str, failed: str) -> None:
    with pync("-vl", *options, "0") as process:
        if process.expect(f"{announced}|{failed}").group().startswith("pync"):
            assert process.finish().status == 1


def test_a_machine_that_does_not_exist_is_not_reached() -> None:
    with pync("-w", "1s", "--vsock", "123456789", "1") as process:
        result = process.finish()
    assert result.status in (1, 124)
    assert result.err.startswith(("pync: connect to 123456789 port 1 (vsock)", "pync: open a socket"))
    assert result.err.count("\n") == 1
