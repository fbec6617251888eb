"""Relaying bytes between two ends, and ending properly: flows, the kernel's fast path, rules, patience, log files."""

SILENCE = 0.5  # seconds without a byte after which a side is taken to have nothing more to send
QUESTION = 64 * 1024  # bytes sent in all, at most, by a client whose half-close is patient: more is a transfer
