"""A peer that resets, closes, half-closes, is silent, or sends and takes a byte at a time, in every role."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from typing import TYPE_CHECKING

from clients import reset
from harness import PIPE
from meetings import connection, file_of, listening, met, payload, received, sending
from netcats import Use
from outcomes import COUNTED, ENDS, FAILS, REPORTED, WHOLE, Case, Law, Outcome, flow, outcome_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from netcats import Netcat

SIZE = 8_000_000
LINE = b"What a client sends.\n"
PAUSE = 0.02  # seconds, the "second" of a peer that is slow

# -- What a peer does that the tool sends to: it gives back what it has received


def takes_all(conn: socket.socket) -> bytes:
    return received(conn)


def takes_half_and_resets(conn: socket.socket) -> bytes:
    data = received(conn, SIZE // 2)
    reset(conn)
    return data


def takes_half_and_closes(conn: socket.socket) -> bytes:
    data = received(conn, SIZE // 2)
    conn.close()
    return data


def takes_all_but_is_reset_at_the_end(conn: socket.socket) -> bytes:
    data = received(conn, SIZE)
    reset(conn)
    return data


def takes_half_and_half_closes(conn: socket.socket) -> bytes:
    data = received(conn, SIZE // 2)
    conn.shutdown(socket.SHUT_WR)
    return data + received(conn)


def half_closes_first(conn: socket.socket) -> bytes:
    conn.shutdown(socket.SHUT_WR)
    return received(conn)


def is_silent_first(conn: socket.socket) -> bytes:
    time.sleep(30 * PAUSE)
    return received(conn)


def takes_bytes(conn: socket.socket) -> bytes:
    return received(conn, 50, PAUSE, chunk=1) + received(conn)


def takes_nothing_and_closes(conn: socket.socket) -> bytes:
    conn.close()
    return b""


def takes_nothing_and_resets(conn: socket.socket) -> bytes:
    reset(conn)
    return b""


def uploads(tool: Netcat, folder: Path, role: str, peer: Callable[[socket.socket], bytes], unix: bool) -> Outcome:
    """The tool sends a file."""
    data = payload(SIZE)
    use = Use(role, unix=folder / "socket" if unix else None)
    with file_of(folder, data) as stdin, met(tool, use, stdin=stdin) as (process, conn):
        arrived = peer(conn)
        conn.close()
        return outcome_of(process, flow(data, arrived))


SENT_TO: list[tuple[Callable[[socket.socket], bytes], Law]] = [
    (takes_all, WHOLE),
    (takes_half_and_resets, COUNTED),
    (takes_half_and_closes, COUNTED),
    (takes_all_but_is_reset_at_the_end, REPORTED),
    (takes_half_and_half_closes, WHOLE),
    (half_closes_first, WHOLE),
    (is_silent_first, WHOLE),
    (takes_bytes, WHOLE),
    (takes_nothing_and_closes, COUNTED),
    (takes_nothing_and_resets, REPORTED),  # a client may see it as a failure to connect
]

# -- What a peer does that sends: it gives back what it has sent


def sends_all_and_closes(conn: socket.socket) -> bytes:
    conn.sendall(payload(SIZE))
    conn.close()
    return payload(SIZE)


def sends_all_and_half_closes(conn: socket.socket) -> bytes:
    conn.sendall(payload(SIZE))
    conn.shutdown(socket.SHUT_WR)
    return payload(SIZE)


def sends_half_and_resets(conn: socket.socket) -> bytes:
    conn.sendall(payload(SIZE)[: SIZE // 2])
    reset(conn)
    return payload(SIZE)


def sends_with_a_silence(conn: socket.socket) -> bytes:
    conn.sendall(payload(SIZE)[: SIZE // 2])
    time.sleep(30 * PAUSE)
    conn.sendall(payload(SIZE)[SIZE // 2 :])
    conn.close()
    return payload(SIZE)


def sends_bytes(conn: socket.socket) -> bytes:
    for byte in LINE:
        conn.sendall(bytes([byte]))
        time.sleep(PAUSE)
    conn.close()
    return LINE


def sends_nothing_and_closes(conn: socket.socket) -> bytes:
    conn.close()
    return b""


def sends_nothing_and_resets(conn: socket.socket) -> bytes:
    reset(conn)
    return b""


def downloads(tool: Netcat, folder: Path, role: str, peer: Callable[[socket.socket], bytes], unix: bool) -> Outcome:
    """The tool receives, and its stdin has nothing."""
    with met(tool, Use(role, unix=folder / "socket" if unix else None)) as (process, conn):
        data = peer(conn)
        arrived = process.read_all()
        return outcome_of(process, flow(data, arrived))


RECEIVED_FROM: list[tuple[Callable[[socket.socket], bytes], Law]] = [
    (sends_all_and_closes, WHOLE),
    (sends_all_and_half_closes, WHOLE),
    (sends_half_and_resets, REPORTED),
    (sends_with_a_silence, WHOLE),
    (sends_bytes, WHOLE),
    (sends_nothing_and_closes, WHOLE),
    (sends_nothing_and_resets, FAILS),
]

# -- Silence for ever, and both directions


def waits(tool: Netcat, folder: Path, role: str, full: bool) -> Outcome:
    """The peer is there and silent, and the tool has a limit of a second. `full`: it has a file to send."""
    data = payload(SIZE) if full else b""
    with contextlib.ExitStack() as stack:
        stdin = stack.enter_context(file_of(folder, data)) if full else PIPE
        process, _ = stack.enter_context(met(tool, Use(role, wait=1), stdin=stdin))
        return outcome_of(process, flow(data, b""))


def both_ways(tool: Netcat, folder: Path, role: str) -> Outcome:
    """Both send at the same time, and each ends when it has sent everything."""
    data = payload(SIZE)
    there, back = data, data[::-1]
    with file_of(folder, there) as stdin, met(tool, Use(role), stdin=stdin) as (process, conn), sending(conn, back):
        arrived = received(conn)
        printed = process.read_all()
        return outcome_of(process, flow(there, arrived), flow(back, printed))


def no_listener(tool: Netcat, folder: Path) -> Outcome:
    """Nothing listens on the port."""
    with listening() as server:
        port = server.getsockname()[1]
    with tool.start(Use(port=port)) as process:
        return outcome_of(process)


# -- Clients of a server that goes on


def resets(conn: socket.socket) -> None:
    conn.sendall(LINE[:5])
    reset(conn)


def closes(conn: socket.socket) -> None:
    conn.sendall(LINE[:5])
    conn.close()


def half_closes_and_stays(conn: socket.socket) -> None:
    conn.sendall(LINE[:5])
    conn.shutdown(socket.SHUT_WR)


def stays_silent(conn: socket.socket) -> None:
    conn.sendall(LINE[:5])


def closes_at_once(conn: socket.socket) -> None:
    conn.close()


def then_serves(tool: Netcat, folder: Path, client: Callable[[socket.socket], None]) -> Outcome:
    """A client does this to a server of many, and the next client is served all the same."""
    use = Use("keep")
    with met(tool, use, stdin=PIPE) as (process, first):
        client(first)
        with connection(process, use) as second:
            second.sendall(LINE)
            second.shutdown(socket.SHUT_WR)
            process.read_until(LINE)
        process.signal(signal.SIGTERM)
        return outcome_of(process)


THEN_SERVES = [resets, closes, half_closes_and_stays, stays_silent, closes_at_once]


def a_file_to_each(tool: Netcat, folder: Path, peer: Callable[[socket.socket], bytes]) -> Outcome:
    """A server has a file for each client: one client does this to it, and the next one gets everything."""
    data, use = payload(SIZE), Use("keep")
    with file_of(folder, data) as stdin, met(tool, use, stdin=stdin) as (process, first):
        peer(first)
        with connection(process, use) as second:
            arrived = received(second, SIZE)
        process.signal(signal.SIGTERM)
        return outcome_of(process, flow(data, arrived))


def _named(function: Callable[..., object]) -> str:
    return function.__name__.replace("_", " ")


ROLES = [("client", False), ("listener", False), ("client", True), ("listener", True)]

CASES = [
    *(
        Case(
            "The peer of a " + ("unix " if unix else "") + role,
            f"it {_named(peer)}",
            scene,
            {"role": role, "peer": peer, "unix": unix},
            # A unix socket has no reset and no acknowledgement: only what was not written is known.
            REPORTED if unix and law == COUNTED else law,
        )
        for role, unix in ROLES
        for scene, peers in ((uploads, SENT_TO), (downloads, RECEIVED_FROM))
        for peer, law in peers
        if not (unix and "reset" in peer.__name__)
    ),
    *(
        Case(
            f"The peer of a {role}",
            f"it is silent, with -w 1, and {'does not take a file' if full else 'stdin is open'}",
            waits,
            {"role": role, "full": full},
            Law(None, "counted"),
        )
        for role in ("client", "listener")
        for full in (False, True)
    ),
    *(Case(f"The peer of a {role}", "both send", both_ways, {"role": role}) for role in ("client", "listener")),
    Case("The peer of a client", "there is none", no_listener, {}, FAILS),
    *(
        Case("The clients of -lk", f"one {_named(client)}, the next is served", then_serves, {"client": client}, law)
        for client in THEN_SERVES
        for law in [ENDS._replace(statuses=(143,))]
    ),
    *(
        Case(
            "The clients of -lk",
            f"one {_named(peer)}, the next gets the file",
            a_file_to_each,
            {"peer": peer},
            Law((143,)),
            tools=("pync",),
        )
        for peer in (takes_half_and_resets, takes_half_and_half_closes, takes_nothing_and_closes)
    ),
]
