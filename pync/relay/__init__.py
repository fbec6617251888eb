"""Relaying bytes between two ends, and ending properly: flows, the kernel's fast path, log files and the rules."""
