"""`pync -l --http > upload`: a request's body arrives whole on stdout, and is answered then; or it is an error."""

from __future__ import annotations

import os
import re
import socket
import sys
from typing import TYPE_CHECKING

import pytest
from clients import drain, line, reset
from harness import DEADLINE, DEVNULL, PAYLOAD, PIPE, PYNC, Running, announced, connect, digest, listen, require, run
from http_clients import GET, ask, curl, curl_line, http, parsed
from pairs import complaints

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

UPLOAD = PAYLOAD(3_000_000)
LARGE = PAYLOAD(8_000_000)
CHUNKED = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
TEN = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n"

schemes = pytest.mark.parametrize("scheme", ["http", "https"])
plain_or_tls = {"http": (), "https": ("--ssl",)}


@pytest.fixture
def page(tmp_path: Path) -> Iterator[IO[bytes]]:
    """A page on stdin."""
    (tmp_path / "page.html").write_bytes(b"<p>thanks")
    with (tmp_path / "page.html").open("rb") as file:
        yield file


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    (tmp_path / "upload").write_bytes(UPLOAD)
    return tmp_path / "upload"


def body(shown: bytes) -> bytes:
    """A digest of what stdout got after the head of the request."""
    head, blank, rest = shown.partition(b"\r\n\r\n")
    assert blank, head[:1000]
    return digest(rest)


@schemes
@pytest.mark.parametrize("kind", ["by its length", "in chunks", "without waiting for 100"])
def test_what_curl_uploads_arrives_whole(page: IO[bytes], upload: Path, scheme: str, kind: str) -> None:
    words = {
        "by its length": ["-T", str(upload)],
        "in chunks": ["-H", "Transfer-Encoding: chunked", "-T", "-"],
        "without waiting for 100": ["-H", "Expect:", "-T", str(upload)],
    }
    with http(page, *plain_or_tls[scheme]) as server:
        with upload.open("rb") as stdin:
            assert curl(server, *words[kind], scheme=scheme, stdin=stdin) == b"<p>thanks"
        result = server.finish()
    assert (result.status, body(result.out)) == (0, digest(UPLOAD))


@schemes
def test_a_large_post_arrives_whole(page: IO[bytes], tmp_path: Path, scheme: str) -> None:
    (tmp_path / "large").write_bytes(LARGE)
    with http(page, *plain_or_tls[scheme]) as server:
        assert curl(server, "--data-binary", f"@{tmp_path / 'large'}", scheme=scheme) == b"<p>thanks"
        result = server.finish()
    assert (result.status, body(result.out)) == (0, digest(LARGE))


def test_every_upload_arrives_when_many_clients_are_served(page: IO[bytes], upload: Path, tmp_path: Path) -> None:
    with (tmp_path / "shown").open("wb") as shown, http(page, "-k", stdout=shown) as server:
        for number in range(3):
            assert curl(server, "-T", str(upload), path=f"/{number}") == b"<p>thanks"
    assert (tmp_path / "shown").read_bytes().count(UPLOAD) == 3


def test_a_client_that_waits_for_100_continue_gets_it_at_once(page: IO[bytes]) -> None:
    with http(page) as server, connect(server.port) as client:
        client.sendall(TEN.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        assert (line(client), line(client)) == (b"HTTP/1.1 100 Continue\r\n", b"\r\n")
        client.sendall(b"0123456789")
        assert parsed(drain(client)).body == b"<p>thanks"
        assert server.finish().out.endswith(b"\r\n\r\n0123456789")


def test_a_client_that_has_sent_its_body_is_not_asked_for_it(page: IO[bytes]) -> None:
    with http(page) as server:
        head = TEN.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
        assert ask(server, head + b"0123456789").startswith(b"HTTP/1.1 200 ")


def test_the_answer_waits_for_the_end_of_the_body(page: IO[bytes]) -> None:
    with http(page) as server, connect(server.port) as client:
        client.sendall(CHUNKED + b"5\r\nhello\r\n")
        assert server.read_until(b"hello").startswith(b"POST / HTTP/1.1\r\n")
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
        client.settimeout(DEADLINE)
        client.sendall(b"6\r\n world\r\n0\r\n\r\n")
        assert parsed(drain(client)).body == b"<p>thanks"
        client.close()
        assert server.finish()[:2] == (0, b" world")


UPPER = """
import re, sys
text = b""
while b"\\r\\n\\r\\n" not in text:
    text += sys.stdin.buffer.read1()
left = int(re.search(rb"Content-Length: (\\d+)", text)[1]) + text.index(b"\\r\\n\\r\\n") + 4 - len(text)
while sys.stdout.buffer.write(text.upper()) and left:
    text = sys.stdin.buffer.read1(left)
    left -= len(text)
"""


def test_a_program_can_make_the_page_out_of_the_body(tmp_path: Path, upload: Path) -> None:
    """The answer begins before the body has ended, because the pipes do not hold all of it."""
    os.mkfifo(tmp_path / "loop")
    script = '"$0" -v -l --http 127.0.0.1 0 < "$1" | "$2" -c "$3" > "$1"'
    with announced(Running(["/bin/sh", "-c", script, *PYNC, str(tmp_path / "loop"), sys.executable, UPPER])) as server:
        answer = curl(server, "-T", str(upload))
        assert server.wait() == 0
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /")
    assert digest(rest) == digest(UPLOAD.upper())


def test_the_body_is_kept_off_stdout_if_asked_for(page: IO[bytes], upload: Path) -> None:
    with http(page, "--send-only") as server:
        assert curl(server, "-T", str(upload)) == b"<p>thanks"
        assert server.finish()[:2] == (0, b"")


def test_a_listener_that_only_receives_answers_with_an_empty_page(upload: Path) -> None:
    with http(PIPE, "--recv-only") as server:
        assert parsed(curl(server, "-i", "-H", "Expect:", "-T", str(upload)))[::2] == (200, b"")
        assert body(server.finish().out) == digest(UPLOAD)


def test_what_follows_a_request_is_not_shown(page: IO[bytes]) -> None:
    with http(page) as server:
        assert parsed(ask(server, TEN + b"0123456789" + GET)).status == 200
        assert server.finish().out == TEN + b"0123456789"


def test_both_directions_are_logged_as_they_are_on_the_network(page: IO[bytes], tmp_path: Path) -> None:
    with http(page, "-o", str(tmp_path / "log")) as server:
        answer = ask(server, CHUNKED + b"5\r\nhello\r\n0\r\n\r\n")
        assert server.finish().out == CHUNKED + b"hello"
    assert (tmp_path / "log").read_bytes() == CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + answer


# -- Bodies that break off ---------------------------------------------------------------------------------------------

BROKEN = {
    "before its length": (TEN + b"0123", b"0123", "the body broke off after 4 bytes"),
    "at once": (TEN, b"", "the body broke off after 0 bytes"),
    "within a chunk": (CHUNKED + b"5\r\nhel", b"hel", "the body broke off after 3 bytes"),
    "before the last chunk": (CHUNKED + b"5\r\nhello\r\n", b"hello", "the body broke off after 5 bytes"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_body_that_breaks_off_is_one_line_and_status_1(page: IO[bytes], kind: str) -> None:
    request, shown, why = BROKEN[kind]
    with http(page) as server:
        assert parsed(ask(server, request)).status == 400
        result = server.finish()
    assert result.status == 1
    assert result.out.endswith(b"\r\n\r\n" + shown)
    only, *others = complaints(server)
    assert re.fullmatch(rf"pync: request from 127\.0\.0\.1:\d+: {why}", only) and not others


@pytest.mark.parametrize("kind", BROKEN)
def test_with_many_clients_a_body_that_breaks_off_fails_its_session_alone(page: IO[bytes], kind: str) -> None:
    request, _, why = BROKEN[kind]
    with http(page, "-k") as server:
        ask(server, request)
        server.expect(rf"^pync: request from 127\.0\.0\.1:\d+: {why}$")
        assert curl(server) == b"<p>thanks"


@schemes
def test_an_upload_that_is_killed_is_an_error(page: IO[bytes], upload: Path, scheme: str) -> None:
    with http(page, *plain_or_tls[scheme]) as server:
        words = curl_line(server, "-H", "Transfer-Encoding: chunked", "-T", "-", scheme=scheme)
        with Running(words) as client:
            client.send(UPLOAD[:100_000])
            server.read_until(UPLOAD[50_000:50_100])
        result = server.finish()
    assert result.status == 1
    assert len([text for text in complaints(server) if "broke off" in text or "reset" in text]) == 1


def test_a_reset_within_the_body_is_an_error(page: IO[bytes]) -> None:
    with http(page) as server:
        client = connect(server.port)
        client.sendall(TEN + b"0123")
        server.read_until(b"0123")
        reset(client)
        result = server.finish()
    assert result.status == 1
    assert "pync: connection to 127.0.0.1" in result.err


def test_a_body_in_no_chunks_is_refused(page: IO[bytes]) -> None:
    with http(page) as server:
        assert parsed(ask(server, CHUNKED + b"hello\r\n")).status == 400
        result = server.finish()
    assert result.status == 1
    assert result.err.rstrip().endswith(": illegal chunk header")


def test_a_body_that_does_not_come_ends_by_the_idle_limit(page: IO[bytes]) -> None:
    with http(page, "--idle-timeout", "0.3") as server, connect(server.port) as client:
        client.sendall(TEN + b"0123")
        assert server.wait() == 124
        assert server.stderr.endswith("pync: idle connection: nothing came or went for 0.3 s\n")


def test_chunks_of_one_byte_do_not_hold_up_the_other_clients(page: IO[bytes]) -> None:
    with http(page, "-k", stdout=DEVNULL) as server, connect(server.port) as slow:
        slow.sendall(CHUNKED + b"1\r\nx\r\n" * 200_000)
        assert curl(server, "-m", "5") == b"<p>thanks"


# -- Clients that leave without a proper end ---------------------------------------------------------------------------

FETCH = """
import socket, ssl, struct, sys, urllib.request
url, kind = sys.argv[1:]
context = ssl._create_unverified_context()
if kind == "urllib":
    print(urllib.request.urlopen(url, context=context).read().decode(), end="")
else:
    host, port = url.split("/")[2].split(":")
    conn = socket.create_connection((host, int(port)))
    if url.startswith("https"):
        conn = context.wrap_socket(conn)
    conn.sendall(b"GET / HTTP/1.1\\r\\nHost: test\\r\\n\\r\\n")
    data = b""
    while not data.endswith(b"thanks"):
        data += conn.recv(1 << 16)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()
    print("<p>thanks", end="")
"""


def fetch(kind: str, url: str) -> bytes:
    """What this client makes of the page."""

    if kind == "wget":
        argv = [require("wget"), "-q", "--no-proxy", "--no-check-certificate", "-O", "-", url]
    elif kind == "ncat":
        host, _, port = url.rstrip("/").rpartition("/")[2].partition(":")
        argv = [require("ncat"), *(["--ssl"] if url.startswith("https") else []), host, port]
        return run(argv, GET).out.partition(b"\r\n\r\n")[2]
    else:
        argv = [sys.executable, "-c", FETCH, url, kind]
    result = run(argv)
    assert (result.status, result.err) == (0, "")
    return result.out


@schemes
@pytest.mark.parametrize("client", ["wget", "urllib", "ncat", "a reset"])
def test_a_client_that_has_the_answer_may_leave_as_it_likes(page: IO[bytes], scheme: str, client: str) -> None:
    with http(page, *plain_or_tls[scheme]) as server:
        assert fetch(client, f"{scheme}://127.0.0.1:{server.port}/") == b"<p>thanks"
        result = server.finish()
    assert result.status == 0
    assert [text for text in result.err.splitlines() if "connection to" in text] == []


@schemes
def test_with_many_clients_their_ways_to_leave_are_no_errors(page: IO[bytes], scheme: str) -> None:
    with http(page, "-k", *plain_or_tls[scheme]) as server:
        for client in ["wget", "urllib", "a reset", "wget"]:
            assert fetch(client, f"{scheme}://127.0.0.1:{server.port}/") == b"<p>thanks"
        assert [text for text in server.stderr.splitlines() if "connection to" in text] == []


def test_a_client_that_resets_before_it_has_taken_all_is_an_error(tmp_path: Path) -> None:
    """All of the answer is in the kernel, and the client's window is closed."""
    (tmp_path / "data").write_bytes(PAYLOAD(200_000))
    with (tmp_path / "data").open("rb") as file, http(file, "-k") as server:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        client.sendall(GET)
        assert client.recv(10)
        server.read_until(b"\r\n\r\n")
        reset(client)
        server.expect(r"^pync: connection to .*, \d+ bytes were not sent$")


def test_a_client_that_half_closed_and_reads_slowly_gets_all(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(data := PAYLOAD(200_000))
    with (tmp_path / "data").open("rb") as file, http(file) as server:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(DEADLINE)
        client.connect(("127.0.0.1", server.port))
        client.sendall(GET)
        client.shutdown(socket.SHUT_WR)
        server.read_until(b"\r\n\r\n")
        with client:
            assert digest(parsed(drain(client)).body) == digest(data)
        assert server.wait() == 0


def test_an_upload_is_served_on_a_unix_socket(page: IO[bytes], upload: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with listen("--http", "-U", path, stdin=page) as server:
        assert (
            run([require("curl"), "-qsS", "--unix-socket", path, "-T", str(upload), "http://test/"]).out == b"<p>thanks"
        )
        result = server.finish()
    assert (result.status, body(result.out)) == (0, digest(UPLOAD))
