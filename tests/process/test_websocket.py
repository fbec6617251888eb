"""WebSocket in both roles, beside Python's `websockets`, and what the options do with it.

The frames are the matter of `test_websocket_frames.py`, other programs that of `test_websocket_peers.py`.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import contextmanager
from subprocess import DEVNULL
from typing import TYPE_CHECKING

import pytest
from clients import drain
from harness import PYNC, Result, Running, connect, listen, pync, require, run, serve
from websocket_frames import ACCEPT, BINARY, FIN, REQUEST, answered, asked, close_code, next_frame
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as dial
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_websocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


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


def test_a_server_without_websocket_is_an_error() -> None:
    def web(conn: socket.socket) -> None:
        conn.recv(4096)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with serve(web) as (_, port):
        result = ran("-d", f"ws://127.0.0.1:{port}")
    assert result.status == 1
    assert "the server answered with status 200 instead of 101" in result.err


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
        ["-z", "--ws", "h", "1"],
        ["--ws-text", "h", "1"],
        ["--ws-origin", "x", "ws://h"],
        ["-l", "--ws", "--http", "1"],
        ["ws://user@h/"],
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
    for words in ["ws://127.0.0.1:1/"], ["-lk", "--ws", "127.0.0.1", "0"]:
        result = run([*PYNC, *words], env={**os.environ, "PYTHONPATH": str(tmp_path)})
        assert result == Result(1, b"", "pync: WebSocket: needs wsproto: pip install 'pync-netcat[ws]', or 'wsproto'\n")


PAGE = """<script>
const socket = new WebSocket("ws://127.0.0.1:%d/");
socket.onopen = () => socket.send("from a page\\n");
socket.onmessage = event => { socket.send("it got " + event.data); socket.close(); };
</script>"""


@contextmanager
def browsing(folder: Path, port: int) -> Iterator[None]:
    """Chromium with that page of a file, whose Origin is null."""
    page = folder / "page.html"
    page.write_text(PAGE % port)
    words = [require("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    with Running([*words, f"--user-data-dir={folder / 'profile'}", page.as_uri()], stdin=DEVNULL):
        yield


def test_chromium_has_a_conversation(tmp_path: Path) -> None:
    with listen("--ws", "--ws-text", "--ws-origin", "*", "127.0.0.1", "0") as ours, browsing(tmp_path, ours.port):
        assert ours.read(12) == b"from a page\n"
        ours.send(b"an answer\n")
        assert ours.read(17) == b"it got an answer\n"
        assert ours.wait() == 0


def test_a_page_of_another_site_is_refused_in_chromium(tmp_path: Path) -> None:
    with server("-c", "cat") as ours, browsing(tmp_path, ours.port):
        ours.expect("it is for a page of null, which --ws-origin does not name")
