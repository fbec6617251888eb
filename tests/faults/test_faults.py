"""Faults of the machine, the peer and the programs: pync holds in every case (`cases/` has them, as data)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cases import CASES
from outcomes import HELD, UNABLE, played

if TYPE_CHECKING:
    from pathlib import Path

    from outcomes import Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title.replace(" ", "_"))
def test_pync_holds(case: Case, tmp_path: Path) -> None:
    found, why = played(case, "pync", tmp_path)
    if found == UNABLE:
        pytest.skip(str(why))
    assert found == HELD, why
