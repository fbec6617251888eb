"""What is done with one connected peer: a conversation with stdin and stdout, or a program put on the connection.

A session owns its peer and closes it. It must never know how the peer was connected.
"""
