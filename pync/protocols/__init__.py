"""Protocols that are spoken before, or instead of, plain bytes: pure objects that turn what was received into replies.

Theory: as with stages, nothing here does I/O, waits or knows the clock; the caller, which holds the connection, reads
and writes. The input may be split at any byte, and what comes after the protocol's part is left alone.
"""

from __future__ import annotations
