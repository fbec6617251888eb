"""Relaying bytes between two ends, and ending properly: flows, the kernel's fast path, rules, patience, log files."""

SILENCE = 0.5  # seconds without a byte after which a side is taken to have nothing more to send
