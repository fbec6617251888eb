"""A TLS server that resets, or closes with and without a close_notify: a close_notify is the end, all else a break."""

from __future__ import annotations

import contextlib
import ssl
import threading
from typing import TYPE_CHECKING

from certificates import Authority
from clients import reset
from encrypted import server_side
from meetings import PATIENCE, accepted, file_of, listening, payload, received
from netcats import Use
from outcomes import FAILS, REPORTED, WHOLE, WITHOUT_OPENBSD, Case, Law, Outcome, flow, outcome_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import IO

    from harness import Running
    from netcats import Netcat

SIZE = 8_000_000

# -- What the server does: it gives back what it has received, or has sent


def takes_all(conn: ssl.SSLSocket) -> bytes:
    data = received(conn)
    with contextlib.suppress(OSError):
        conn.unwrap()
    return data


def takes_half_and_resets(conn: ssl.SSLSocket) -> bytes:
    data = received(conn, SIZE // 2)
    reset(conn)
    return data


def takes_half_and_closes(conn: ssl.SSLSocket) -> bytes:
    data = received(conn, SIZE // 2)
    conn.close()
    return data


def takes_nothing_and_closes(conn: ssl.SSLSocket) -> bytes:
    conn.close()
    return b""


def sends_all_and_says_so(conn: ssl.SSLSocket) -> bytes:
    conn.sendall(payload(SIZE))
    with contextlib.suppress(OSError):
        conn.unwrap()
    return payload(SIZE)


def sends_all_and_closes(conn: ssl.SSLSocket) -> bytes:
    conn.sendall(payload(SIZE))
    conn.close()
    return payload(SIZE)


def sends_half_and_resets(conn: ssl.SSLSocket) -> bytes:
    conn.sendall(payload(SIZE)[: SIZE // 2])
    reset(conn)
    return payload(SIZE)


def sends_nothing_and_closes(conn: ssl.SSLSocket) -> bytes:
    conn.close()
    return b""


@contextlib.contextmanager
def met(tool: Netcat, folder: Path, stdin: IO[bytes]) -> Iterator[tuple[Running, ssl.SSLSocket]]:
    """A tool that has shaken hands with the test, which is the server."""
    context = server_side(Authority(folder).server)
    with listening() as server:
        use = Use(port=server.getsockname()[1], tls=True)
        with (
            tool.start(use, stdin=stdin) as process,
            accepted(server, process) as plain,
            context.wrap_socket(plain, server_side=True) as conn,
        ):
            yield process, conn


def uploads(tool: Netcat, folder: Path, server: Callable[[ssl.SSLSocket], bytes]) -> Outcome:
    """The tool sends a file."""
    data = payload(SIZE)
    with file_of(folder, data) as stdin, met(tool, folder, stdin) as (process, conn):
        arrived = server(conn)
        conn.close()
        return outcome_of(process, flow(data, arrived))


def downloads(tool: Netcat, folder: Path, server: Callable[[ssl.SSLSocket], bytes]) -> Outcome:
    """The tool receives, and its stdin has nothing."""
    with file_of(folder, b"") as stdin, met(tool, folder, stdin) as (process, conn):
        sent: list[bytes] = []
        thread = threading.Thread(target=lambda: sent.append(server(conn)), daemon=True)
        thread.start()
        arrived = process.read_all()
        thread.join(PATIENCE)
        conn.close()
        return outcome_of(process, flow(b"".join(sent), arrived))


# Only TCP knows what was acknowledged. Of what TLS has encrypted, the number of bytes is not known.
BROKEN = Law((1,), "reported")

CASES = [
    Case("The TLS server of a client", f"it {server.__name__.replace('_', ' ')}", scene, {"server": server}, law, tools)
    for scene, servers in (
        (
            uploads,
            [
                (takes_all, WHOLE),
                (takes_half_and_resets, BROKEN),
                (takes_half_and_closes, BROKEN),
                (takes_nothing_and_closes, BROKEN),
            ],
        ),
        (
            downloads,
            [
                (sends_all_and_says_so, WHOLE),
                (sends_all_and_closes, FAILS),
                (sends_half_and_resets, REPORTED),
                (sends_nothing_and_closes, Law((0, 1))),  # nothing can be missing
            ],
        ),
    )
    for server, law in servers
    for tools in [WITHOUT_OPENBSD]
]
