"""Text from a peer that goes to a terminal: every harmful letter is replaced, and nothing else is changed."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pync.printable import backslash_escape, printable, question_mark

# Control, format, surrogate, private and unassigned characters; separators of lines and paragraphs.
UNPRINTABLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@given(st.text())
def test_nothing_that_commands_a_terminal_is_left(text: str) -> None:
    for substitute in question_mark, backslash_escape:
        shown = printable(text, substitute)
        assert not UNPRINTABLE & {unicodedata.category(letter) for letter in shown}


@given(st.text())
def test_a_printable_letter_stays_and_any_other_is_replaced(text: str) -> None:
    shown = printable(text, question_mark)
    assert len(shown) == len(text)
    for letter, mark in zip(text, shown, strict=True):
        assert mark == (letter if letter.isprintable() else "?")


@given(st.text(st.characters(categories=["L", "M", "N", "P", "S"]) | st.just(" ")))
def test_text_without_such_letters_is_unharmed(text: str) -> None:
    assert printable(text, question_mark) == text


@pytest.mark.parametrize(
    ("letter", "escape"),
    [
        ("\0", r"\x00"),
        ("\n", r"\n"),
        ("\x1b", r"\x1b"),
        ("\x9b", r"\x9b"),
        ("\u202e", r"\u202e"),
        ("\U000e0001", r"\U000e0001"),
        ("\udc80", r"\udc80"),
    ],
)
def test_a_backslash_escape_shows_which_letter_it_was(letter: str, escape: str) -> None:
    assert printable(f"a{letter}b", backslash_escape) == f"a{escape}b"
