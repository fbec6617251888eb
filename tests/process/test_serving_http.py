"""`pync --http`: a page on stdin for curl, a browser and every other HTTP client, and what becomes of other clients.

How a request is parsed and an answer is worded is tested in test_http_answer.py, without a socket.
"""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import encrypted
import pytest
from clients import drain
from harness import DEADLINE, DEVNULL, PAYLOAD, PIPE, PYNC, connect, listen, require, run, without_ends
from http_clients import GET, ask, curl, http, parsed
from terminals import terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

    from certificates import Authority

PAGE = b"""<!doctype html>
<title>A page</title>
<p id="text">not yet</p>
<script>document.getElementById("text").textContent = "written " + "by a script"</script>
"""
BIG = 5 << 20  # more than the buffers between two processes hold


@pytest.fixture
def page(tmp_path: Path) -> Iterator[IO[bytes]]:
    """page.html, open as stdin."""
    (tmp_path / "page.html").write_bytes(PAGE)
    with (tmp_path / "page.html").open("rb") as file:
        yield file


# -- One answer ------------------------------------------------------------------------------------------------------


def test_curl_gets_the_page_and_the_server_ends(page: IO[bytes]) -> None:
    with http(page) as server:
        assert curl(server) == PAGE
        assert server.wait() == 0


def test_the_request_is_shown(page: IO[bytes]) -> None:
    with http(page) as server:
        curl(server, "-A", "tester", path="/some/where?x=1")
        shown = server.finish().out
    assert shown.startswith(b"GET /some/where?x=1 HTTP/1.1\r\n")
    assert b"\r\nUser-Agent: tester\r\n" in shown and shown.endswith(b"\r\n\r\n")


def test_a_head_request_gets_the_head_alone(page: IO[bytes]) -> None:
    with http(page) as server:
        answer = parsed(curl(server, "-I"))
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["content-length"] == str(len(PAGE))
        assert server.finish().out.startswith(b"HEAD / HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 10\r\n\r\n%s", b"Transfer-Encoding: chunked\r\n\r\na\r\n%s\r\n0\r\n\r\n"]
)
def test_a_terminal_obeys_no_request(page: IO[bytes], framing: bytes) -> None:
    body = framing % b"a\x1b[2Jb\r\xff\xe2\x98"
    with terminal(raw=True) as (keyboard, screen), http(page, "-k", stdout=screen) as server:
        for request in b"POST / HTTP/1.1\r\nHost: test\r\nX: \xc2\x9b\r\n" + body, b"\x16\x1b[2J":
            ask(server, request)
        shown = b""
        while not shown.endswith(rb"\x16\x1b[2J"):
            assert select.select([keyboard], [], [], DEADLINE)[0], shown
            shown += os.read(keyboard.fileno(), 4096)
    assert rb"X: \x9b" in shown and rb"a\x1b[2Jb\r\xff\xe2\x98" in shown
    assert shown.isascii() and shown.replace(b"\r\n", b"").decode().isprintable()


def test_what_is_posted_is_shown_and_answered(page: IO[bytes]) -> None:
    with http(page) as server:
        assert curl(server, "-d", "name=value") == PAGE
        shown = server.finish().out
    assert shown.startswith(b"POST / HTTP/1.1\r\n") and shown.endswith(b"\r\n\r\nname=value")


def test_a_large_upload_is_answered(page: IO[bytes], tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(PAYLOAD(BIG))
    with http(page) as server:
        assert curl(server, "--data-binary", f"@{tmp_path / 'upload'}") == PAGE
        assert server.finish().status == 0


def test_a_large_page_is_whole(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(data := PAYLOAD(BIG))
    with (tmp_path / "data").open("rb") as file, http(file) as server:
        assert curl(server) == data
        assert server.wait() == 0


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.html", b"no tag at all", "text/html; charset=utf-8"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "image/png"),
        ("a.css", b"p {}", "text/css; charset=utf-8"),
        ("a.tar.gz", b"\x1f\x8b", "application/gzip"),
        ("a", b"<!DOCTYPE html><p>hello", "text/html; charset=utf-8"),
        ("a", b'{"key": 1}', "application/json"),
        ("a", "Grüße".encode(), "text/plain; charset=utf-8"),
        ("a", bytes(range(256)), "application/octet-stream"),
    ],
)
def test_a_file_is_named_by_its_name_and_its_content(name: str, content: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with (tmp_path / name).open("rb") as file, http(file) as server:
        answer = parsed(curl(server, "-i"))
    assert (answer.status, answer.body) == (200, content)
    assert (answer.headers["content-type"], answer.headers["content-length"]) == (kind, str(len(content)))
    assert answer.headers["connection"] == "close"


def test_a_file_is_answered_from_where_it_stands(page: IO[bytes]) -> None:
    page.seek(len(PAGE) - 10)
    with http(page, "-k") as server:
        for _ in range(2):
            answer = parsed(curl(server, "-i"))
            assert (answer.headers["content-length"], answer.body) == ("10", PAGE[-10:])


def test_a_pipe_has_no_length_and_is_passed_on_as_it_comes() -> None:
    with http(PIPE) as server, connect(server.port) as client:
        client.sendall(GET)
        server.send(b"<p>one")
        head = b""
        while b"<p>one" not in head:
            head += client.recv(1 << 16)
        answer = parsed(head)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "content-length" not in answer.headers
        server.send(b"two")
        assert client.recv(100) == b"two"
        server.close_stdin()
        assert drain(client) == b""
        client.close()
        assert server.wait() == 0


def test_curl_takes_a_pipes_page_as_whole() -> None:
    with http(PIPE) as server:
        server.send(b"as it is")
        server.close_stdin()
        assert curl(server) == b"as it is"
        assert server.wait() == 0


@pytest.mark.parametrize("stdin", [PIPE, DEVNULL], ids=["pipe", "null"])
def test_nothing_on_stdin_is_an_empty_page(stdin: int) -> None:
    with http(stdin) as server:
        server.close_stdin()
        answer = parsed(curl(server, "-i"))
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["content-length"] == "0"
        assert server.wait() == 0


def test_an_empty_file_is_an_empty_page(tmp_path: Path) -> None:
    (tmp_path / "empty.html").touch()
    with (tmp_path / "empty.html").open("rb") as file, http(file) as server:
        assert parsed(curl(server, "-i")).headers["content-length"] == "0"


def test_requests_can_be_kept_off_stdout(page: IO[bytes]) -> None:
    with http(page, "--send-only") as server:
        assert curl(server, "-d", "secret") == PAGE
        assert server.finish().out == b""


def test_an_older_client_is_answered(page: IO[bytes]) -> None:
    with http(page) as server:
        assert parsed(ask(server, b"GET / HTTP/1.0\r\n\r\n")).body == PAGE


@pytest.mark.parametrize("family", ["127.0.0.1", "::1"])
def test_it_is_served_in_both_families(page: IO[bytes], family: str) -> None:
    with listen("--http", "0", stdin=page) as server, connect(server.port, family) as client:
        client.sendall(GET)
        assert parsed(drain(client)).body == PAGE


def test_it_is_served_on_a_unix_socket(page: IO[bytes], tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with listen("--http", "-U", path, stdin=page) as server:
        assert run([require("curl"), "-sS", "--unix-socket", path, "http://test/"]).out == PAGE
        assert server.wait() == 0


# -- Many answers ----------------------------------------------------------------------------------------------------


def test_every_client_gets_the_whole_page(page: IO[bytes]) -> None:
    with http(page, "-k") as server:
        for number in range(3):
            assert curl(server, path=f"/{number}") == PAGE
            assert server.read_until(b"\r\n\r\n").startswith(b"GET /%d HTTP/1.1\r\n" % number)


def test_a_client_that_is_slow_or_silent_does_not_hold_up_the_others(page: IO[bytes]) -> None:
    with http(page, "-k") as server, connect(server.port) as silent, connect(server.port) as slow:
        slow.sendall(GET[:7])
        assert curl(server) == PAGE
        slow.sendall(GET[7:])
        assert parsed(drain(slow)).body == PAGE
        silent.sendall(GET)
        assert parsed(drain(silent)).body == PAGE


def test_an_idle_client_is_dropped_if_asked_for(page: IO[bytes]) -> None:
    with http(page, "-k", "--idle-timeout", "0.3") as server, connect(server.port) as idle:
        idle.sendall(GET[:7])
        server.expect(r"^pync: request from 127\.0\.0\.1:\d+: no whole request came within 0\.3 s$")
        assert parsed(drain(idle)).status == 408
        assert curl(server) == PAGE


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_head_that_comes_byte_by_byte_has_the_same_limit(page: IO[bytes], tls: bool, authority: Authority) -> None:
    options = encrypted.ours(authority.server) if tls else ()
    with http(page, "-k", "-w", "0.5", *options) as server:
        context = encrypted.client_side(authority)
        with encrypted.greeted(context, server.port) if tls else connect(server.port) as slow:
            while "request from" not in server.stderr:
                slow.sendall(b"G")
                select.select([], [], [], 0.02)
            server.expect(r"^pync: request from 127\.0\.0\.1:\d+: no whole request came within 0\.5 s$")
            assert slow.recv(1 << 16).startswith(b"HTTP/1.1 408 ")
        assert curl(server, scheme="https" if tls else "http") == PAGE


# -- Clients that send no request --------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("-k",)])
@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        (b"EHLO test\r\n\r\n", 400, "illegal request line"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n", 400, "illegal request line"),
        (b"GET / HTTP/1.1\r\n", 400, "the request broke off"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400, "illegal header line"),
        (b"PRI * HTTP/2.0\r\n\r\n", 505, "HTTP/2.0 is not spoken here"),
        (b"CONNECT test:443 HTTP/1.1\r\nHost: test\r\n\r\n", 405, "this is not a proxy"),
        (b"GET / HTTP/1.1\r\nX: " + (1 << 17) * b"x", 431, "the request's head is longer than 65536 bytes"),
    ],
    ids=["smtp", "tls", "broken off", "no header", "http2", "connect", "too long"],
)
def test_what_is_no_request_is_refused_and_the_server_goes_on(
    page: IO[bytes], options: tuple[str, ...], words: bytes, status: int, why: str
) -> None:
    with http(page, *options) as server:
        answer = parsed(ask(server, words))
        assert (answer.status, answer.headers["connection"]) == (status, "close")
        assert answer.body.decode().rstrip().endswith(why)
        server.expect(rf"^pync: request from 127\.0\.0\.1:\d+: {re.escape(why)}$")
        assert curl(server) == PAGE
        if not options:
            assert server.wait() == 0


def test_a_client_that_leaves_without_a_request_does_not_use_up_the_answer(page: IO[bytes]) -> None:
    with http(page) as server:
        for _ in range(3):
            assert ask(server, b"") == b""
        assert curl(server) == PAGE
        assert server.wait() == 0
        assert len(without_ends(server.stderr).splitlines()) == 5, "the port, and four clients"


def test_a_client_that_stays_without_a_request_does_not_keep_the_server(page: IO[bytes]) -> None:
    with http(page) as server, connect(server.port) as silent:
        assert curl(server) == PAGE
        assert server.wait() == 0
        assert drain(silent) == b""


def test_a_client_that_is_reset_before_the_end_does_not_use_up_the_answer(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(data := PAYLOAD(BIG))
    with (tmp_path / "data").open("rb") as file, http(file) as server:
        with connect(server.port) as client:
            client.sendall(GET)
            assert client.recv(10)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closing is a reset
        server.expect("^pync: connection to .*(reset|Broken pipe)")
        assert curl(server) == data
        assert server.wait() == 0


def test_the_answer_is_for_the_first_request_and_is_never_cut_by_another_client(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(data := PAYLOAD(BIG))
    with (tmp_path / "data").open("rb") as file, http(file) as server, connect(server.port) as first:
        first.sendall(b"GET /first HTTP/1.1\r\n\r\n".replace(b"\r\n\r\n", b"\r\nHost: test\r\n\r\n"))
        start = first.recv(10)
        assert ask(server, b"HEAD /second HTTP/1.1\r\nHost: test\r\n\r\n") == b""
        assert parsed(start + drain(first)).body == data
        first.close()
        assert server.wait() == 0


def test_a_denied_client_is_not_answered(page: IO[bytes]) -> None:
    with http(page, "--deny", "127.0.0.2") as server:
        with socket.create_connection(("127.0.0.1", server.port), source_address=("127.0.0.2", 0)) as denied:
            denied.settimeout(10)
            assert denied.recv(1) == b""
        assert curl(server) == PAGE


def test_a_signal_ends_the_server(page: IO[bytes]) -> None:
    with http(page, "-k") as server, connect(server.port):
        assert curl(server) == PAGE
        server.signal(signal.SIGTERM)
        assert server.wait() == 143


# -- A browser, and curl without --http --------------------------------------------------------------------------------


def browse(url: str, profile: Path) -> str:
    """The page as a browser shows it."""
    options = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
        --disable-component-update --disable-sync --no-proxy-server --ignore-certificate-errors --dump-dom"""
    argv = [require("chromium"), *options.split(), f"--user-data-dir={profile}", url]
    result = run(argv, DEVNULL, timeout=50, stderr=subprocess.DEVNULL)
    assert result.status == 0
    return result.out.decode()


@pytest.mark.parametrize("options", [(), ("-k",), ("--ssl",), ("-k", "--ssl")])
def test_a_browser_shows_the_page(page: IO[bytes], options: tuple[str, ...], tmp_path: Path) -> None:
    with http(page, *options) as server:
        scheme = "https" if "--ssl" in options else "http"
        shown = browse(f"{scheme}://127.0.0.1:{server.port}/", tmp_path / "profile")
        assert '<p id="text">written by a script</p>' in shown
        assert "<title>A page</title>" in shown
        assert server.read_until(b"\r\n\r\n").startswith(b"GET / HTTP/1.1\r\n")
        assert "connection to" not in server.stderr
        if "-k" not in options:
            assert server.wait() == 0


def test_without_http_curl_needs_an_option(page: IO[bytes]) -> None:
    with listen("127.0.0.1", "0", stdin=page) as server:
        assert curl(server, "--http0.9") == PAGE
        assert server.finish().out.startswith(b"GET / HTTP/1.1\r\n")


def test_many_requests_in_a_row_are_quick(page: IO[bytes]) -> None:
    with http(page, "-k", stdout=DEVNULL) as server:
        begun = time.monotonic()
        for _ in range(100):
            assert ask(server, GET).endswith(PAGE)
        assert time.monotonic() - begun < 20


def test_http_is_for_a_listener() -> None:
    assert run([*PYNC, "--http", "127.0.0.1", "80"]).status == 2
