"""Protocols spoken before, or instead of, plain bytes: pure objects that are given what came and say what to send.

Theory: as with stages, nothing here does I/O, waits or knows the clock; whoever holds the connection reads and writes.
Input may be split at any byte, and what comes after the protocol's part is left alone.
"""

from __future__ import annotations
