"""Process 1 of a container, as far as it needs none: `test_process_one_in_a_container.py` has the rest."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from pync.process_one import become_a_child

if TYPE_CHECKING:
    import pytest


def test_where_no_process_can_be_started_it_goes_on_with_its_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        raise BlockingIOError

    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    monkeypatch.setattr(os, "fork", fork)
    become_a_child()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
