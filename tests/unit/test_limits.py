"""What the system allows: as many descriptors as there can be, and sessions only while there is memory for them."""

from __future__ import annotations

import mmap
import os
import resource
from typing import TYPE_CHECKING

from conformance import descriptors
from hypothesis import given
from hypothesis import strategies as st

from pync.limits import RESERVE, SPARE, Memory, free_descriptors

if TYPE_CHECKING:
    from typing import Any

    import pytest


def test_free_descriptors_are_those_that_can_be_opened_beside_the_ones_kept_back() -> None:
    before = free_descriptors()
    held = [os.dup(0) for _ in range(10)]
    after = free_descriptors()
    for fd in held:
        os.close(fd)
    assert after == before - 10
    assert before + SPARE <= resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_without_a_look_into_proc_the_lowest_free_number_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied")

    before = descriptors()
    monkeypatch.setattr(os, "listdir", refuse)
    assert 0 < free_descriptors() < resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    monkeypatch.undo()
    assert descriptors() == before


class Machine:
    """Memory in which a number of sessions fit: what mapping the reserve finds out."""

    def __init__(self, fits: int) -> None:
        self.fits = fits
        self.sessions = 0

    def mmap(self, fd: int, size: int) -> Any:
        assert size == RESERVE
        if self.sessions >= self.fits:
            raise OSError(12, "Cannot allocate memory")
        return self

    def close(self) -> None:
        pass


@given(st.integers(0, 20), st.lists(st.booleans(), max_size=100))
def test_a_session_begins_while_it_fits_and_the_first_one_always(fits: int, comes: list[bool]) -> None:
    machine, memory = Machine(fits), limited()
    real, mmap.mmap = mmap.mmap, machine.mmap  # type: ignore[assignment, misc]
    try:
        for come in comes:
            if come:
                assert memory.has_room(machine.sessions) == (machine.sessions < max(1, fits))
                machine.sessions += memory.has_room(machine.sessions)
            else:
                machine.sessions = max(0, machine.sessions - 1)
    finally:
        mmap.mmap = real  # type: ignore[misc]


def test_as_many_sessions_as_there_have_been_fit_again_although_no_memory_can_be_mapped() -> None:
    machine, memory = Machine(3), limited()
    real, mmap.mmap = mmap.mmap, machine.mmap  # type: ignore[assignment, misc]
    try:
        for machine.sessions in range(3):
            assert memory.has_room(machine.sessions)
        machine.fits = machine.sessions = 0
        assert [memory.has_room(sessions) for sessions in range(4)] == [True, True, True, False]
    finally:
        mmap.mmap = real  # type: ignore[misc]


def test_without_a_limit_nothing_is_asked_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    memory = Memory()
    monkeypatch.setattr(mmap, "mmap", None)
    assert memory.has_room(1_000_000)


def limited() -> Memory:
    """The memory of a process that has a limit."""
    memory = Memory()
    memory._limited = True
    return memory
