"""A pync that answers HTTP, curl in front of it, and an HTTP answer as its parts."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, NamedTuple

from clients import drain
from harness import Running, connect, listen, require, run

if TYPE_CHECKING:
    from typing import IO, Any

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


class Answer(NamedTuple):
    """An answer; the names of the headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def parsed(raw: bytes) -> Answer:
    """An HTTP answer as its parts."""
    head, blank, body = raw.partition(b"\r\n\r\n")
    assert blank, raw
    first, *lines = head.decode().split("\r\n")
    version, status, _ = first.split(" ", 2)
    assert version == "HTTP/1.1"
    return Answer(int(status), {key.lower(): value for key, value in (line.split(": ", 1) for line in lines)}, body)


def http(stdin: IO[bytes] | int, *options: str, **kw: Any) -> Running:
    """A pync that answers requests with this stdin."""
    return listen("--http", *options, "127.0.0.1", "0", stdin=stdin, **kw)


def curl(server: Running, *words: str, path: str = "/", scheme: str = "http", **kw: Any) -> bytes:
    """What curl prints. It must succeed."""
    result = run(curl_line(server, *words, path=path, scheme=scheme), **kw)
    assert (result.status, result.err) == (0, "")
    return result.out


def curl_line(server: Running, *words: str, path: str = "/", scheme: str = "http") -> list[str]:
    """The command line that has curl ask the server."""
    argv = [require("curl"), "-qsSk", "--noproxy", "*", "-m", "20", *words]
    return [*argv, f"{scheme}://127.0.0.1:{server.port}{path}"]


def ask(server: Running, request: bytes) -> bytes:
    """The whole answer to these bytes and an end-of-file."""
    with connect(server.port) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        return drain(client)
