"""The stage of `-C`, for protocols whose lines end in CR LF: each LF that does not follow a CR becomes CR LF.

Must never hold a byte back. The CR at the end of one read is passed on at once and only remembered, so that the LF at
the start of the next read is known to belong to it. (nc.openbsd looks at each read by itself and makes CR CR LF of
that; nc.traditional converts only the last line of a read.) A CR without LF is left alone.
"""

from __future__ import annotations


class Crlf:
    """LF to CR LF, and CR LF as it is."""

    def __init__(self) -> None:
        self._after_cr = False

    def feed(self, data: bytes) -> bytes:
        """The same lines, all of them ending in CR LF."""
        if not data:
            return data
        follows_cr, self._after_cr = self._after_cr, data.endswith(b"\r")
        if follows_cr and data.startswith(b"\n"):
            return b"\n" + _convert(data[1:])
        return _convert(data)

    def flush(self) -> bytes:
        """Nothing, because no byte is ever held back."""
        return b""


def _convert(data: bytes) -> bytes:
    # These are two passes in C. Where there is nothing to replace, bytes.replace returns its argument uncopied.
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
