"""The ways of being started: connect, listen, scan.

A mode gets its endpoints, hands them to a session or a service, and returns what came of it. It must never print, and
never look at an option that only a face knows.
"""
