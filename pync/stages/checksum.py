"""The SHA-256 of all that passes, for `--checksum`: two people compare two lines instead of two files.

The stage stands where the bytes are those of the user's files: before the stages that change what is sent, and after
those that change what is received.
"""

from __future__ import annotations

from hashlib import sha256


class Checksum:
    """Passes everything on unchanged, and sums it up."""

    def __init__(self) -> None:
        self._sum = sha256()

    def feed(self, data: bytes) -> bytes:
        """Add the data to the sum, and return it."""
        self._sum.update(data)
        return data

    def flush(self) -> bytes:
        """Nothing, because nothing is held back."""
        return b""

    def hexadecimal(self) -> str:
        """The sum of all that has passed."""
        return self._sum.hexdigest()
