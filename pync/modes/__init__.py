"""The ways of being used: one file for each, and `session.py` for what two of them do with a connection.

A mode gets its endpoints, hands them to a session, and returns what came of it. It must never print, and never look
at an option that only a face knows.
"""
