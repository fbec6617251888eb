"""The command line of OpenBSD's netcat as Debian has it, nc.openbsd: `face` runs it, `options` is its data.

What is said here of nc.openbsd was found out with version 1.219-1.
"""
