"""TLS as a stream over a stream, and what it needs: certificates, trust, and words for what goes wrong.

Imported only where TLS is asked for: the standard `ssl` costs as much as twice the start of Python.
"""
