"""What a process inherits: its flags, its position and its limits, however the bytes are moved."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from conformance import same
from ends import BYTES, closing
from harness import DEVNULL
from pairs import client, complaints, drain, listener, lives_on, take, through

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pairs import Pair

    Role = Callable[..., AbstractContextManager[Pair]]

either_way = pytest.mark.usefixtures("either_way")
in_both_roles = pytest.mark.parametrize("role", [client, listener])
FLAGS = {"file": 0, "appended file": os.O_APPEND, "/dev/null": 0, "/dev/full": 0, "fifo": os.O_NONBLOCK, "pipe": 0}


@contextmanager
def inherited(kind: str, folder: Path) -> Iterator[tuple[int, int]]:
    """What a process gets as stdin and as stdout."""
    ends: tuple[int, ...]
    if kind == "pipe":
        reading, feeding = os.pipe()
        shown, writing = os.pipe()
        os.close(feeding)
        ends = (reading, writing, shown)
    elif kind == "file" or kind == "appended file":
        both = os.open(folder / "file", os.O_RDWR | os.O_CREAT | FLAGS[kind], 0o600)
        ends = (both, os.dup(both))
    else:
        path = kind
        if kind == "fifo":
            path = str(folder / "fifo")
            os.mkfifo(path)
        ends = (os.open(os.devnull, os.O_RDONLY), os.open(path, os.O_RDWR | FLAGS[kind]))
    with closing(*ends):
        yield ends[0], ends[1]


@either_way
@pytest.mark.parametrize("kind", FLAGS)
def test_the_flags_of_what_was_inherited_are_what_they_were(kind: str, tmp_path: Path) -> None:
    with inherited(kind, tmp_path) as ends:
        before = [fcntl.fcntl(end, fcntl.F_GETFL) for end in ends]
        assert before[1] & FLAGS[kind] == FLAGS[kind]
        with client("-N", stdin=ends[0], stdout=ends[1]) as (process, peer):
            peer.sendall(b"data")
            peer.shutdown(socket.SHUT_WR)
            assert drain(peer) == b""
            assert process.wait() == (kind == "/dev/full")
        assert [fcntl.fcntl(end, fcntl.F_GETFL) for end in ends] == before


@either_way
@in_both_roles
def test_an_appended_file_is_appended_to(role: Role, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before, ")
    with path.open("ab") as stdout, role(stdin=DEVNULL, stdout=stdout) as (process, peer):
        peer.sendall(BYTES)
        peer.shutdown(socket.SHUT_WR)
        assert process.wait() == 0
    same([path.read_bytes()], [b"before, " + BYTES])


@either_way
def test_a_file_that_may_not_grow_is_an_error_and_holds_what_it_can(tmp_path: Path) -> None:
    limit = 2_000_000
    with (tmp_path / "file").open("wb") as stdout, client(stdin=DEVNULL, stdout=stdout) as (process, peer):
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        with pytest.raises(OSError, match="Connection reset by peer|Broken pipe"):
            while True:
                peer.sendall(BYTES)
        assert process.wait() == 1
        assert complaints(process) == ["pync: writing stdout: File too large"]
    same([(tmp_path / "file").read_bytes()], [BYTES[:limit]])


@either_way
@in_both_roles
def test_the_next_process_goes_on_in_the_file_where_we_stood(role: Role, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(BYTES)
    script = '{ dd bs=1000 count=1 of=/dev/null 2>/dev/null; "$@"; cat; }'
    with (tmp_path / "file").open("rb") as stdin, role(stdin=stdin, start=through(script)) as (process, peer):
        same([drain(peer)], [BYTES[1000:]])
        peer.close()
        assert process.finish()[:2] == (0, b"")
        assert os.lseek(stdin.fileno(), 0, os.SEEK_CUR) == len(BYTES)


@in_both_roles
def test_an_interrupted_upload_leaves_the_file_behind_what_was_sent_and_is_broken_off(
    role: Role, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(BYTES)
    os.truncate(tmp_path / "file", 50_000_000)
    with (tmp_path / "file").open("rb") as stdin, role(stdin=stdin) as (process, peer):
        begun = take(peer, 1)
        position = -1
        while position != (position := os.lseek(stdin.fileno(), 0, os.SEEK_CUR)):
            assert lives_on(process.pid, 0.2)
        process.signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
        sent = bytearray(begun)
        with pytest.raises(ConnectionResetError):
            while data := peer.recv(1 << 16):
                sent += data
        assert len(sent) <= os.lseek(stdin.fileno(), 0, os.SEEK_CUR) < 50_000_000
        same([bytes(sent[: len(BYTES)])], [BYTES[: len(sent)]])
