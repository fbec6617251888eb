"""Sockets that are connected or bound, names, access rules for clients, and becoming another user."""
