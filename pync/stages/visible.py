"""Text that a peer has chosen, as a terminal may show it: `--http` writes requests there.

Theory: a terminal obeys control characters, and bidirectional ones change the order of what it shows. Each of them, and
each byte that is not UTF-8, is written as Python writes it, such as `\\x1b`. The end of a line and TAB stay. A carriage
return stays only in front of a newline, because alone it would let the rest of a line overwrite its beginning.

A module of its own, because only a listener whose stdout is a terminal needs it.
"""

from __future__ import annotations

from pync.printable import backslash_escape, printable

HARMLESS = "\t\r\n"  # "\r" is in front of "\n"


class Visible:
    """Passes text on in which nothing commands a terminal."""

    def __init__(self) -> None:
        from codecs import getincrementaldecoder

        self._decoder = getincrementaldecoder("utf-8")("backslashreplace")
        self._held = ""  # a carriage return whose next letter has not come

    def feed(self, data: bytes) -> bytes:
        """The text so far; a letter whose end has not come is held back."""
        text = self._held + self._decoder.decode(data)
        self._held = "\r" if text.endswith("\r") else ""
        return _shown(text.removesuffix("\r"))

    def flush(self) -> bytes:
        """What was held back."""
        return _shown(self._held) + _shown(self._decoder.decode(b"", final=True))


def _shown(text: str) -> bytes:
    alone = [part.replace("\r", "\\r") for part in text.split("\r\n")]
    return printable("\r\n".join(alone), _substitute).encode()


def _substitute(letter: str) -> str:
    return letter if letter in HARMLESS else backslash_escape(letter)
