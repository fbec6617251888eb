"""TLS as a stream over a stream, and what it needs: certificates, trust, and the reasons why TLS fails.

It is imported only where TLS is asked for: to import the standard `ssl` takes as long as starting Python twice.
"""
