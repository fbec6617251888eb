"""A tunnel's pipes: as many as there may be, and each is given back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from conformance import descriptors

from pync.relay.spare_pipes import SparePipes

if TYPE_CHECKING:
    import pytest

    from pync.loop.kernel import Loop


def test_there_are_no_more_pipes_than_there_may_be_and_one_given_back_is_there_again(loop: Loop) -> None:
    pipes = SparePipes(loop)
    pipes.left, before = 2, descriptors()
    first, second = pipes.take(1), pipes.take(1)
    assert first
    assert second
    assert pipes.take(1) == ()
    pipes.give_back(first)
    third = pipes.take(1)
    assert third
    for pipe in (second, third, ()):
        pipes.give_back(pipe)
    assert pipes.left == 2
    assert descriptors() == before


def test_a_pipe_that_is_too_small_or_cannot_be_had_is_none(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    pipes, before = SparePipes(loop), descriptors()
    assert pipes.take(1 << 40) == ()

    def refuse() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pipe", refuse)
    assert pipes.take(1) == ()
    assert descriptors() == before
