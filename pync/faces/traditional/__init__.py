"""The command line of the traditional netcat as Debian has it, nc.traditional: `face` runs it, `options` is its data.

What is said here of nc.traditional was found out with version 1.10-47.
"""
