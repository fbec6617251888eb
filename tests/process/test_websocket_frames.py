"""The frames of WebSocket, made by hand, to a listener and to a client: RFC 6455 case by case, as Autobahn has them.

Every case is played to both roles: a program answers what pync receives, or pync's stdout shows it.
"""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from harness import PYNC, Running, listen
from websocket_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    PING,
    PONG,
    TEXT,
    Frame,
    answered,
    asked,
    close_code,
    closing,
    frame,
    messages,
    next_frame,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

both_roles = pytest.mark.parametrize("role", ["listener", "client"])


def server(*options: str) -> Running:
    return listen("-k", "--ws", *options, "127.0.0.1", "0")


@contextmanager
def talking(role: str) -> Iterator[tuple[socket.socket, bool]]:
    """A connection to a pync that echoes, after the handshake, and whether our frames are masked."""
    if role == "listener":
        with server("--filter", "cat") as ours, asked(ours.port) as (conn, _):
            yield conn, True
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}"
        with Running([*PYNC, "--filter", "cat", url]):
            conn, _ = listener.accept()
            with conn:
                conn.settimeout(10)
                answered(conn)
                yield conn, False


@both_roles
@pytest.mark.parametrize("kind", [TEXT, BINARY])
def test_frames_of_any_size_are_received(role: str, kind: int) -> None:
    with talking(role) as (conn, masked):
        for size in (0, 1, 125, 126, 127, 128, 65535, 65536):
            data = b"x" * size
            conn.sendall(frame(FIN | kind, data, masked=masked) + frame(FIN | BINARY, b".", masked=masked))
            assert messages(conn, size + 1) == data + b"."


@both_roles
@pytest.mark.parametrize("chop", [1, 997])
def test_a_frame_arrives_in_pieces(role: str, chop: int) -> None:
    data = bytes(range(256)) * 2
    with talking(role) as (conn, masked):
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sent = frame(FIN | BINARY, data, masked=masked)
        for at in range(0, len(sent), chop):
            conn.sendall(sent[at : at + chop])
        assert messages(conn, len(data)) == data


@both_roles
def test_a_ping_is_answered_with_its_payload(role: str) -> None:
    with talking(role) as (conn, masked):
        for size in (0, 1, 125):
            conn.sendall(frame(FIN | PING, b"\xfe" * size, masked=masked))
            assert next_frame(conn) == Frame(FIN | PONG, b"\xfe" * size)


@both_roles
def test_many_pings_are_answered_in_order(role: str) -> None:
    payloads = [b"payload %d" % number for number in range(10)]
    with talking(role) as (conn, masked):
        conn.sendall(b"".join(frame(FIN | PING, payload, masked=masked) for payload in payloads))
        assert [next_frame(conn).data for _ in payloads] == payloads


@both_roles
def test_a_pong_that_was_not_asked_for_is_ignored(role: str) -> None:
    with talking(role) as (conn, masked):
        conn.sendall(frame(FIN | PONG, b"unasked", masked=masked) + frame(FIN | PING, b"x", masked=masked))
        assert next_frame(conn) == Frame(FIN | PONG, b"x")


@both_roles
def test_a_message_in_fragments_is_received_with_the_pings_between_them_answered(role: str) -> None:
    with talking(role) as (conn, masked):
        fragments = [(TEXT, b"one "), (FIN | PING, b"1"), (CONTINUATION, b"two "), (FIN | PING, b"2")]
        for first, data in [*fragments, (CONTINUATION, b""), (FIN | CONTINUATION, b"three")]:
            conn.sendall(frame(first, data, masked=masked))
        got, pongs = b"", []
        while len(got) < 13:
            first, data = next_frame(conn)
            if first == FIN | PONG:
                pongs.append(data)
            else:
                got += data
        assert (got, pongs) == (b"one two three", [b"1", b"2"])


@both_roles
@pytest.mark.parametrize("fragments", [[b"\xce", b"\xba\xe1", b"\xbd", b"\xb9\xcf\x83\xce", b"\xbc\xce\xb5"], [b""]])
def test_characters_may_be_split_between_fragments(role: str, fragments: list[bytes]) -> None:
    with talking(role) as (conn, masked):
        *begin, end = fragments
        kinds = [TEXT] + [CONTINUATION] * len(begin)
        for kind, data in zip(kinds, begin, strict=False):
            conn.sendall(frame(kind, data, masked=masked))
        conn.sendall(frame(FIN | (CONTINUATION if begin else TEXT), end, masked=masked))
        conn.sendall(frame(FIN | TEXT, b".", masked=masked))
        whole = b"".join(fragments) + b"."
        assert messages(conn, len(whole)) == whole


@both_roles
@pytest.mark.parametrize(
    ("first", "data", "code"), [(FIN | 3, b"", 1002), (FIN | TEXT, b"\xff", 1007), (FIN | PING, bytes(126), 1002)]
)
def test_a_fault_is_closed_with_its_code(role: str, first: int, data: bytes, code: int) -> None:
    with talking(role) as (conn, masked):
        conn.sendall(frame(first, data, masked=masked))
        assert close_code(conn) == code


def test_a_listener_goes_on_after_a_fault() -> None:
    with server("--filter", "cat") as ours:
        for _ in range(3):
            with asked(ours.port) as (conn, _):
                conn.sendall(frame(FIN | TEXT, masked=False))
                assert close_code(conn) == 1002
        with asked(ours.port) as (conn, _):
            conn.sendall(frame(FIN | TEXT, b"next"))
            assert messages(conn, 4) == b"next"


@both_roles
@pytest.mark.parametrize("code", [1000, 1011, 3000, 4999])
def test_a_close_is_answered_with_its_code(role: str, code: int) -> None:
    with talking(role) as (conn, masked):
        conn.sendall(closing(code, "reason κ".encode(), masked=masked) + frame(FIN | PING, masked=masked))
        assert close_code(conn) == code
        with_nothing_behind_it(conn)


@both_roles
def test_a_close_without_a_code_is_answered_with_none(role: str) -> None:
    with talking(role) as (conn, masked):
        conn.sendall(frame(FIN | CLOSE, masked=masked))
        assert next_frame(conn) == Frame(FIN | CLOSE, b"")
        with_nothing_behind_it(conn)


def with_nothing_behind_it(conn: socket.socket) -> None:
    """The connection ends, or breaks: what is sent behind a Close is not read."""
    try:
        assert conn.recv(100) == b""
    except ConnectionResetError:
        pass


@pytest.mark.parametrize("kind", ["--broker", "--chat"])
def test_a_client_of_a_hub_leaves_with_its_close(kind: str) -> None:
    with server(kind, "-v") as ours, asked(ours.port) as (conn, _):
        conn.sendall(closing(1000))
        while (answer := next_frame(conn)).first != FIN | CLOSE:
            pass
        assert answer.data == b"\x03\xe8"
        with_nothing_behind_it(conn)
