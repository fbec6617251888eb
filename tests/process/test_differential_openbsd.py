"""pync called nc beside nc.openbsd: the rows of `tests/differential/openbsd`, each played to both."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from differential import OPENBSD, judge

if TYPE_CHECKING:
    from pathlib import Path

FILES = OPENBSD.files()


@pytest.mark.needs("linux")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_pync_does_what_nc_openbsd_does(file: Path) -> None:
    judge(OPENBSD, file)


def test_each_option_has_a_row() -> None:
    """In the role of a listener each that it can have."""
    options = set("46bCDdFhIiklMmNnOPpqrSsTtUuVvWwXxZz")
    assert options - OPENBSD.letters(listening=False) == {"l"}
    assert options - OPENBSD.letters(listening=True) <= set("hPrSVX")


def test_the_names_of_rows_tell_them_apart() -> None:
    assert not [name for name, count in Counter(row.name for row in OPENBSD.rows()).items() if count > 1]


def test_the_list_of_the_rows_that_differ_has_no_other_names() -> None:
    assert {row.name for row in OPENBSD.rows()} >= set(OPENBSD.differs())
