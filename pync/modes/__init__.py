"""The three ways of being started: connect, listen, scan.

A mode gets its peers from `connections`, gives them to a session or a service, and returns the outcome. It must never
print, and never look at an option that only a face knows.
"""
