"""WebSocket in both roles, beside Python's `websockets`, and what the options do with it.

The frames are the matter of `test_websocket_frames.py`, other programs that of `test_websocket_peers.py`.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import encrypted
import pytest
from clients import ask, drain, meanwhile, take
from harness import PYNC, Result, Running, connect, listen, pync, run, serve
from websocket_frames import (
    ACCEPT,
    BINARY,
    FIN,
    REQUEST,
    TEXT,
    answered,
    asked,
    close_code,
    closing,
    frame,
    head_of,
    next_frame,
)
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as dial
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_websocket
from websockets.typing import Subprotocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from certificates import Authority


def ran(*words: str, stdin: bytes = b"") -> Result:
    return run([*PYNC, *words], stdin)


def server(*options: str) -> Running:
    return listen("-k", "--ws", *options, "127.0.0.1", "0")


@contextmanager
def serving(session: Callable[[ServerConnection], None]) -> Iterator[str]:
    """The URL of a server of `websockets`."""
    with serve_websocket(session, "127.0.0.1", 0) as theirs:
        thread = threading.Thread(target=theirs.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{theirs.socket.getsockname()[1]}/path?query"
        finally:
            theirs.shutdown()
            thread.join()


def echo(peer: ServerConnection) -> None:
    for message in peer:
        peer.send(message)


# -- A client


def test_a_question_is_answered_and_then_the_client_leaves() -> None:
    with serving(echo) as url:
        assert ran(url, stdin=b"hello\n") == Result(0, b"hello\n", "")


@pytest.mark.parametrize(("options", "kind"), [([], "bytes"), (["--ws-text"], "str")])
def test_messages_are_binary_unless_text_is_wanted(options: list[str], kind: str) -> None:
    def names_it(peer: ServerConnection) -> None:
        peer.send(type(peer.recv()).__name__)

    with serving(names_it) as url:
        assert ran(*options, url, stdin=b"hello\n").out == kind.encode()


def test_the_path_is_asked_for() -> None:
    def path(peer: ServerConnection) -> None:
        assert peer.request
        peer.send(peer.request.path)

    with serving(path) as url:
        assert ran("-d", url).out == b"/path?query"


@pytest.mark.parametrize(
    ("code", "status", "line"),
    [(1000, 0, ""), (1001, 0, ""), (1011, 1, "closed by the peer with code 1011: no?more\n")],
)
def test_a_close_code_that_reports_a_failure_is_an_error(code: int, status: int, line: str) -> None:
    def closes(peer: ServerConnection) -> None:
        peer.send("part")
        peer.close(code, "no\x1bmore")

    with serving(closes) as url:
        result = ran("-d", url)
    assert (result.status, result.out) == (status, b"part")
    assert result.err.endswith(line)


def test_a_connection_that_is_cut_off_is_an_error() -> None:
    def cuts(peer: ServerConnection) -> None:
        peer.send("part")
        peer.socket.shutdown(socket.SHUT_RDWR)

    with serving(cuts) as url:
        result = ran("-d", url)
    assert (result.status, result.out) == (1, b"part")
    assert "truncated: it ended without a Close of WebSocket" in result.err


def test_a_connection_that_is_cut_off_with_nothing_missing_is_reported() -> None:
    def takes(conn: socket.socket) -> None:
        answered(conn)
        assert next_frame(conn) == (FIN | BINARY, b"hello\n")
        assert close_code(conn) == 1000

    with serve(takes) as (host, port):
        result = ran("-v", "-N", f"ws://{host}:{port}", stdin=b"hello\n")
    assert (result.status, result.out) == (0, b"")
    assert f"pync: {host}:{port} ended without a Close of WebSocket, but nothing of it can be missing\n" in result.err


def test_what_is_not_utf_8_is_not_sent_as_text() -> None:
    with serving(echo) as url:
        result = ran("--ws-text", url, stdin=b"\xff")
    assert result.status == 1
    assert "is not UTF-8" in result.err


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", "the server answered with status 200 OK instead of 101"),
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", "the server answered with status 401 Unauthorized instead of 101"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: wss://elsewhere.example/\x1b\r\n\r\n",
            "the server answered with status 302 Found instead of 101, and names wss://elsewhere.example/\\x1b",
        ),
        (
            b"HTTP/1.1 302 Found\r\nLocation: wss://elsewhere.example/\r\n\r\n",
            "the server answered with status 302 Found instead of 101, and names wss://elsewhere.example/",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the server does not speak WebSocket: Bad HTTP message"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 17_000, "its head has more than 16384 bytes"),
        (b"HTTP/1.1 101 Hi\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "does not speak WebSocket: "),
        (b"HTTP/1.1 101", "the peer hung up"),
    ],
)
def test_a_server_without_websocket_is_one_line(answer: bytes, line: str) -> None:
    def web(conn: socket.socket) -> None:
        head_of(conn)
        conn.sendall(answer)

    with serve(web) as (_, port):
        result = ran("-d", f"ws://127.0.0.1:{port}")
    assert result.status == 1
    assert result.err.startswith(f"pync: WebSocket handshake with 127.0.0.1:{port}: ")
    assert line in result.err and result.err.count("\n") == 1


def test_compression_that_was_not_offered_is_an_error() -> None:
    def compresses(conn: socket.socket) -> None:
        assert b"sec-websocket-extensions" not in answered(conn, "Sec-WebSocket-Extensions: x\r\n").lower()

    with serve(compresses) as (_, port):
        result = ran("-d", f"ws://127.0.0.1:{port}")
    assert (result.status, "does not speak WebSocket: unrecognized extension x" in result.err) == (1, True)


def test_a_login_and_headers_are_sent() -> None:
    def shows(conn: socket.socket) -> None:
        fields = dict(line.partition(b": ")[::2] for line in answered(conn).split(b"\r\n"))
        shown = [fields[name] for name in (b"Host", b"Authorization", b"X-Mine")]
        conn.sendall(frame(FIN | TEXT, b" ".join(shown), masked=False) + closing(1000, masked=False))
        close_code(conn)

    with serve(shows) as (host, port):
        url = f"ws://us%40er:sec%3Aret@{host}:{port}"
        headers = ["--ws-header", "X-Mine: a b", "--ws-header", "host: virtual.example"]
        assert ran("-d", *headers, url) == Result(0, b"virtual.example Basic dXNAZXI6c2VjOnJldA== a b", "")
    assert "ret" not in ran("-l", "ws://us:ret@h/").err + ran("ws://us:ret@h:x/").err


@pytest.mark.parametrize(
    ("ours", "theirs", "chosen"),
    [([], ["a", "b"], "a"), (["b,c"], ["a", "b"], "b"), (["c"], ["a", "b"], None), ([], [], None)],
)
def test_a_subprotocol_is_agreed_on(ours: list[str], theirs: list[str], chosen: str | None) -> None:
    options = ["--ws-protocol", *ours] if ours else []
    with server("-c", "cat", *options) as listener:
        url = f"ws://127.0.0.1:{listener.port}/"
        with dial(url, proxy=None, subprotocols=[Subprotocol(name) for name in theirs] or None) as client:
            assert client.subprotocol == chosen
        if theirs:
            assert ran("--ws-protocol", ",".join(theirs), url, stdin=b"hello\n") == Result(0, b"hello\n", "")


def test_a_subprotocol_that_was_not_offered_is_an_error() -> None:
    with serve(lambda conn: answered(conn, "Sec-WebSocket-Protocol: x\r\n")) as (_, port):
        result = ran("--ws-protocol", "y", "-d", f"ws://127.0.0.1:{port}")
    assert (result.status, "does not speak WebSocket: unrecognized subprotocol" in result.err) == (1, True)


def test_a_scan_holds_a_handshake() -> None:
    with server("-c", "cat") as ours, listen("-k", "-c", "cat", "127.0.0.1", "0") as plain:
        url = f"ws://127.0.0.1:{ours.port}"
        assert ran("-z", url) == Result(0, b"", "")
        assert ran("-z", url, f"127.0.0.1:{plain.port}", "--", "echo", "both").out == b"both\n"
        closed = ran("-vz", f"ws://127.0.0.1:{plain.port}")
        assert closed.status == 1
        assert "WebSocket: the server does not speak WebSocket: Bad HTTP message" in closed.err


def test_a_target_is_reached_by_websocket() -> None:
    def late(peer: ServerConnection) -> None:
        assert peer.request and peer.request.path == "/path?query"
        peer.send(b"answer to " + peer.recv())  # type: ignore[operator]

    with serving(late) as url, listen("-k", "--to", url, "127.0.0.1", "0") as gateway:
        for _ in range(2):
            assert ask(gateway.port, b"question\n") == b"answer to question\n", "after our half-close"
    with (
        server("--ssl", "-c", "cat") as ours,
        listen("-k", "--to", f"wss://127.0.0.1:{ours.port}/", "--ssl-no-verify", "127.0.0.1", "0") as gateway,
    ):
        data = os.urandom(300_000)
        with connect(gateway.port) as conn, meanwhile(conn.sendall, data):
            assert take(conn, len(data)) == data


# -- A listener


def test_clients_of_a_filter_are_served() -> None:
    with server("--filter", "tr a-z A-Z") as ours:
        for _ in range(2):
            with dial(f"ws://127.0.0.1:{ours.port}/", proxy=None) as client:
                client.send(b"hello\n")
                assert client.recv() == b"HELLO\n"


def test_many_bytes_arrive_whole() -> None:
    data = os.urandom(3_000_000)
    with server("-c", "cat") as ours:
        assert ran(f"ws://127.0.0.1:{ours.port}/", stdin=data) == Result(0, data, "")


def test_a_hub_passes_messages_on() -> None:
    with server("--broker") as ours:
        url = f"ws://127.0.0.1:{ours.port}/"
        with dial(url, proxy=None) as first, dial(url, proxy=None) as second:
            second.ping().wait(30)
            first.send(b"hello\n")
            assert second.recv() == b"hello\n"


def test_a_plain_request_is_refused_and_the_server_goes_on() -> None:
    with server("-c", "cat") as ours:
        for request in b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HEAD / HTTP/1.0\r\n\r\n", b"\0\xff\r\n\r\n":
            with connect(ours.port) as conn:
                conn.sendall(request)
                assert drain(conn).startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
        with asked(ours.port) as (_, head):
            assert ACCEPT in head


def test_a_head_has_a_bound() -> None:
    with server("-c", "cat") as ours, connect(ours.port) as conn:
        conn.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 17_000)
        assert drain(conn).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    ("options", "origin", "status"),
    [
        ([], "http://localhost:8080", b"101"),
        ([], "http://evil.example", b"403"),
        ([], "http://localhost", b"403"),
        ([], "null", b"403"),
        (["--ws-origin", "good.example"], "https://good.example", b"101"),
        (["--ws-origin", "https://good.example"], "https://good.example", b"101"),
        (["--ws-origin", "good.example"], "https://not.good.example", b"403"),
        (["--ws-origin", "*"], "null", b"101"),
    ],
)
def test_pages_of_other_sites_are_refused(options: list[str], origin: str, status: bytes) -> None:
    with server("-c", "cat", *options) as ours, asked(ours.port, f"Origin: {origin}\r\n") as (_, head):
        assert head.split()[1] == status


def test_the_end_of_a_program_is_a_close() -> None:
    with server("-c", "echo done") as ours, dial(f"ws://127.0.0.1:{ours.port}/", proxy=None) as client:
        assert client.recv() == b"done\n"
        with pytest.raises(ConnectionClosed) as closed:
            client.recv()
        assert closed.value.rcvd and closed.value.rcvd.code == 1000


def test_ping_is_answered_under_tls_while_nothing_else_moves() -> None:
    with server("--ssl", "-c", "cat") as ours:
        import ssl

        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with dial(f"wss://127.0.0.1:{ours.port}/", ssl=context, proxy=None) as client:
            assert client.ping().wait(30)
        result = ran("--ssl-no-verify", f"wss://127.0.0.1:{ours.port}/", stdin=b"hello\n")
        assert (result.status, result.out) == (0, b"hello\n")


def test_one_client_is_a_conversation() -> None:
    with listen("--ws", "127.0.0.1", "0") as ours, pync(f"ws://127.0.0.1:{ours.port}/") as client:
        client.send(b"question\n")
        assert ours.read(9) == b"question\n"
        ours.send(b"answer\n")
        assert client.read(7) == b"answer\n"
        client.close_stdin()
        assert client.wait() == 0
        ours.close_stdin()
        assert ours.wait() == 0


@pytest.mark.parametrize(
    "words",
    [
        ["-u", "--ws", "h", "1"],
        ["-z", "--ws-text", "ws://h"],
        ["--ws-text", "h", "1"],
        ["--ws-origin", "x", "ws://h"],
        ["-l", "--ws", "--http", "1"],
        ["-l", "--to", "ws://h", "--ws-origin", "x", "1"],
        ["-l", "--to", "ws://", "1"],
        ["-lu", "--to", "ws://h", "1"],
        ["--ws-header", "a:b", "h", "1"],
        ["--ws-header", "a", "ws://h"],
        ["--ws-header", "a:\n", "ws://h"],
        ["--ws-header", "Sec-WebSocket-Key: x", "ws://h"],
        ["--ws-header", "Upgrade: x", "ws://h"],
        ["-l", "--ws", "--ws-header", "a:b", "1"],
        ["--ws-protocol", "a b", "ws://h"],
        ["-l", "ws://h/"],
    ],
)
def test_what_makes_no_sense_with_websocket_is_refused(words: list[str]) -> None:
    assert ran(*words).status == 2


def test_a_target_a_proxy_and_a_unix_socket_carry_it(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with (
        server("-c", "cat") as ours,
        listen("-k", "--proxy-server", "http", "127.0.0.1", "0") as proxy,
        listen("-kU", "--ws", "--to", f"127.0.0.1:{ours.port}", path),
    ):
        through = ran("--proxy", f"127.0.0.1:{proxy.port}", f"ws://127.0.0.1:{ours.port}/", stdin=b"hello\n")
        assert through == Result(0, b"hello\n", "")
        with socket.socket(socket.AF_UNIX) as conn:
            conn.settimeout(30)
            conn.connect(path)
            conn.sendall((REQUEST % "").encode())
            assert ACCEPT in conn.recv(4096)


def test_without_wsproto_a_line_names_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "wsproto.py").write_text("raise ImportError")
    listening = ["-lk", "127.0.0.1", "0"]
    for words in ["ws://127.0.0.1:1/"], ["-z", "ws://h"], [*listening, "--ws"], [*listening, "--to", "ws://h"]:
        result = run([*PYNC, *words], env={**os.environ, "PYTHONPATH": str(tmp_path)})
        assert result == Result(1, b"", "pync: WebSocket: needs wsproto: pip install 'pync-netcat[ws]', or 'wsproto'\n")


# -- With the other options ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "out"),
    [
        (["-q", "9"], b"a\nb\n"),
        (["-i", "10ms"], b"a\nb\n"),
        (["-C"], b"a\r\nb\r\n"),
        (["--delay", "10ms"], b"a\nb\n"),
        (["--send-only"], b""),
        (["--reconnect", "9"], b"a\nb\n"),
    ],
)
def test_options_of_a_conversation_are_for_a_websocket_too(options: list[str], out: bytes) -> None:
    with server("-e", "/bin/cat") as ours:
        assert ran(*options, f"ws://127.0.0.1:{ours.port}", stdin=b"a\nb\n") == Result(0, out, "")


def test_what_a_session_reports_is_about_what_was_said() -> None:
    digest = hashlib.sha256(b"hello\n").hexdigest()
    with server("-c", "cat") as ours:
        url = f"ws://127.0.0.1:{ours.port}"
        assert f"SHA-256: sent {digest}, received {digest}" in ran("--checksum", url, stdin=b"hello\n").err
        assert '"sent": 6, "received": 6' in ran("--log-format", "json", url, stdin=b"hello\n").err
        assert "sent 6 B" in ran("--progress", url, stdin=b"hello\n").err


def test_a_silent_websocket_is_idle() -> None:
    with server("-c", "cat") as ours, pync("-w", "1", f"ws://127.0.0.1:{ours.port}") as client:
        assert client.wait() == 124


def test_reading_some_messages_alone_ends_with_a_close() -> None:
    def sends(conn: socket.socket) -> None:
        answered(conn)
        conn.sendall(frame(FIN | TEXT, b"first\n", masked=False))
        assert close_code(conn) == 1000

    with serve(sends) as (host, port):
        assert ran("-d", "-W", "1", f"ws://{host}:{port}") == Result(0, b"first\n", "")


@pytest.mark.parametrize("client", ["-s 127.0.0.2", ""])
def test_a_client_that_is_not_served_gets_the_end_of_the_connection(client: str) -> None:
    with server("-c", "cat", "--deny", "127.0.0.2", "--max-conns", "1") as ours, asked(ours.port):
        ours.expect("^Connection received")
        result = ran(*client.split(), f"ws://127.0.0.1:{ours.port}")
        # A request that comes after the end is answered with a reset.
        whys = "the peer hung up", "Connection reset by peer"
        assert (result.status, any(why in result.err for why in whys)) == (1, True)


def test_a_balancer_names_the_client_before_the_handshake() -> None:
    balanced = ["--accept-proxy", "--allow", "127.0.0.1", "-c", "echo $PYNC_REMOTE_ADDR; cat"]
    with server(*balanced) as ours:
        target = f"127.0.0.1:{ours.port}"
        with listen("-k", "--to", target, "--send-proxy", "127.0.0.1", "0") as front:
            assert ran(f"ws://127.0.0.1:{front.port}", stdin=b"hi\n").out == b"127.0.0.1\nhi\n"
        with listen("-k", "--to", f"ws://{target}", "--send-proxy", "127.0.0.1", "0") as front:
            assert ask(front.port, b"hi\n") == b"127.0.0.1\nhi\n"


def test_an_ipv6_address_is_named_in_brackets() -> None:
    def shows(conn: socket.socket) -> None:
        host = next(line for line in answered(conn).split(b"\r\n") if line.startswith(b"Host: "))
        conn.sendall(frame(FIN | TEXT, host, masked=False) + closing(1000, masked=False))
        close_code(conn)

    with serve(shows, "::1") as (_, port):
        assert ran("-d", f"ws://[::1]:{port}").out == b"Host: [::1]:%d" % port


def test_certificates_are_verified_and_demanded_as_for_any_connection(authority: Authority) -> None:
    demanding = ["--ssl-verify", "--ssl-trustfile", str(authority.trust)]
    shown = ["--ssl-cert", str(authority.client.chain), "--ssl-key", str(authority.client.key)]
    with server(*encrypted.ours(authority.server), "-c", "cat") as ours:
        url = f"wss://localhost:{ours.port}"
        assert ran("--ssl-trustfile", str(authority.trust), url, stdin=b"hi\n").out == b"hi\n"
        assert ran("--ssl-pin", authority.server.fingerprint, url, stdin=b"hi\n").out == b"hi\n"
        assert ran("-z", "--ssl-trustfile", str(authority.trust), url).status == 0
        assert ran("-z", url).status == ran(url).status == 1
    with server(*encrypted.ours(authority.server), *demanding, "-c", "cat") as ours:
        trusting = ["--ssl-trustfile", str(authority.trust), f"wss://localhost:{ours.port}"]
        assert ran(*shown, *trusting, stdin=b"hi\n").out == b"hi\n"
        assert ran(*trusting, stdin=b"hi\n").status == 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_listener_that_has_become_another_user_serves_on() -> None:
    with server("--user", "nobody", "--filter", "cat") as ours:
        for _ in range(2):
            assert ran(f"ws://127.0.0.1:{ours.port}", stdin=b"hi\n") == Result(0, b"hi\n", "")
