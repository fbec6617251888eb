"""Whether the answers to some HTTP/1 requests are complete by their own length (RFC 9112, section 6.3).

It is asked where a connection ends without a proper end, so that only the answer itself can show that nothing of it is
missing. An answer that ends with the connection is never complete here.

Theory: h11 reads both sides. The requests are known from the start. The answers are watched as they pass, unchanged.
"""

from __future__ import annotations

import h11


class HttpAnswer:
    """Watches the answers to some requests."""

    def __init__(self, requests: bytes) -> None:
        self._expected = list(_methods(requests))
        self._connection: h11.Connection | None = None
        self.complete = False  # all have come whole, and nothing after them

    def feed(self, data: bytes) -> bytes:
        """`data`, unchanged."""
        try:
            self._watch(data)
        except h11.ProtocolError:
            self._expected, self._connection, self.complete = [], None, False
        return data

    def _watch(self, data: bytes) -> None:
        self.complete = False
        while self._connection or self._expected:
            self._connection = self._connection or _awaiting(self._expected.pop(0))
            self._connection.receive_data(data)
            while (event := self._connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.EndOfMessage):
                    break
            else:
                return
            data, self._connection = self._connection.trailing_data[0], None
            if not data:
                break
        self.complete = not (data or self._expected)

    def flush(self) -> bytes:
        """Nothing is held back."""
        return b""


def _awaiting(method: bytes) -> h11.Connection:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    return connection


def _methods(requests: bytes) -> list[bytes]:
    """The methods of the requests; none if one of them is no request or not whole."""
    methods = []
    while requests:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(requests)
        try:
            while not isinstance(event := connection.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    return []
                if isinstance(event, h11.Request):
                    methods.append(event.method)
        except h11.ProtocolError:
            return []
        requests = connection.trailing_data[0]
    return methods
