"""pync called nc.traditional beside that: the rows of `tests/differential/traditional`, each played to both."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from differential import TRADITIONAL, judge

if TYPE_CHECKING:
    from pathlib import Path

FILES = TRADITIONAL.files()


@pytest.mark.needs("linux")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_pync_does_what_nc_traditional_does(file: Path) -> None:
    judge(TRADITIONAL, file)


def test_each_option_has_a_row() -> None:
    """In the role of a listener each that it can have."""
    options = set("abcCeGghiklnopqrsTtuvwz")
    assert options - TRADITIONAL.letters(listening=False) == {"l"}
    assert options - TRADITIONAL.letters(listening=True) <= set("abcGgh")


def test_the_names_of_rows_tell_them_apart() -> None:
    assert not [name for name, count in Counter(row.name for row in TRADITIONAL.rows()).items() if count > 1]


def test_the_list_of_the_rows_that_differ_has_no_other_names() -> None:
    assert {row.name for row in TRADITIONAL.rows()} >= set(TRADITIONAL.differs())
