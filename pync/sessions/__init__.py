"""What is done with one connected peer: a conversation, a program put on the connection, an HTTP exchange.

A session owns its peer and closes it. It must never know how the peer was connected.
"""
