"""When a stdin that nothing reads yet has ended. The watch of stdout is in tests/process/test_reader_of_stdout.py."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from conformance import terminal, unix_pair
from doubles import pipe

from pync.relay.unread import has_ended

if TYPE_CHECKING:
    from pathlib import Path


def test_a_pipe_has_ended_when_it_is_empty_and_has_no_writer() -> None:
    with pipe() as (reading, writing):
        assert not has_ended(reading)
        os.write(writing, b"x")
        reading_only = os.dup(reading)
    assert not has_ended(reading_only)
    os.read(reading_only, 1)
    assert has_ended(reading_only)
    os.close(reading_only)


def test_a_socket_has_ended_when_it_is_empty_and_the_other_side_sends_no_more() -> None:
    near, far = unix_pair()
    with near, far:
        assert not has_ended(near.fileno())
        far.send(b"x")
        far.shutdown(socket.SHUT_WR)
        assert not has_ended(near.fileno())
        near.recv(1)
        assert has_ended(near.fileno())


def test_a_file_has_ended_at_its_end_and_a_terminal_is_open(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with (tmp_path / "file").open("rb", 0) as file:
        assert not has_ended(file.fileno())
        file.read(1)
        assert has_ended(file.fileno())
    master, slave = terminal()
    assert not has_ended(slave)
    os.close(master)
    os.close(slave)
