"""Text that a peer has chosen, made fit for a terminal.

A certificate, a proxy's reply or a unix path can hold anything. Control characters are commands to a
terminal, and bidirectional controls change the order of what it shows (UAX #9). Such letters must never reach it. Each
caller chooses what is shown in their place.

This is a module of its own, because faces, TLS and protocols all need it, and they may all import only what is at the
bottom (row 0 in `test_layers.py`). It must import nothing, because every start of pync imports it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def printable(text: str, substitute: Callable[[str], str]) -> str:
    """`text` with `substitute(letter)` in place of each harmful letter.

    Harmful is what `str.isprintable` refuses: control and format characters, surrogates, separators other than the
    space, and what Unicode has not assigned. For a chat that is too much, because an emoji can hold a format character:
    see `stages/chat_lines.py`.
    """
    if text.isprintable():
        return text
    return "".join([letter if letter.isprintable() else substitute(letter) for letter in text])


def question_mark(letter: str) -> str:
    """A substitute that shows that there was a letter, but not which one."""
    return "?"


def backslash_escape(letter: str) -> str:
    r"""A substitute that shows which letter it was, in Python's notation: \x1b, \u202e."""
    return repr(letter)[1:-1]
