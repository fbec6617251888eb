"""`pync -l --proxy-server`: what curl, the netcats, ssh and a browser get through it, and which clients it refuses.

How requests are read and answers worded is tested in test_http_proxy.py and test_socks.py, without a socket; how two
connections are bridged, in test_bridge.py.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple

import pytest
from clients import drain, is_true, line, reset, take
from harness import (
    DEADLINE,
    DEVNULL,
    PAYLOAD,
    PYNC,
    Result,
    Running,
    announced,
    connect,
    digest,
    free_port,
    listen,
    many_descriptors,
    pync,
    require,
    run,
    serve,
    success,
)
from pairs import complaints, nothing_from, stuck_port
from servers import Sshd, listening, microsocks, ncat_proxy, sshd, tinyproxy

from pync.protocols.http_auth import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from certificates import Authority, Certificate

LOGIN = "user:secret"
BASIC = "Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"  # the same
BIG = 5_000_000
PAGE = b"<!doctype html><title>A page</title><p>of the server itself"
TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"


def proxy(kind: str = "http", *options: str) -> Running:
    """A proxy of ours, for many clients."""
    return listen("-k", "--proxy-server", kind, *options, "127.0.0.1", "0")


# -- A web server ------------------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """Sends its page, or what was posted to it: /chunked in pieces, /big as megabytes, all else at once."""

    protocol_version = "HTTP/1.1"
    server: Web

    def do_GET(self) -> None:  # noqa: N802
        self.server.seen.append(str(self.headers))
        self._answer(PAYLOAD(BIG) if self.path == "/big" else PAGE)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:  # noqa: N802
        self.server.seen.append(str(self.headers))
        self._answer(self._body())

    do_PUT = do_POST  # noqa: N815

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers["Content-Length"]))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            pieces = [body[:100], body[100:]]
            body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece) + b"0\r\n\r\n"
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing to stderr."""


class Web(ThreadingHTTPServer):
    """A web server, and the headers of the requests that it has seen."""

    daemon_threads = True

    def __init__(self, host: str = "127.0.0.1", certificate: Certificate | None = None) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), Handler)
        self.seen: list[str] = []
        self.scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.chain, certificate.key)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def url(self, path: str = "/", host: str = "") -> str:
        name, port = self.server_address[:2]
        host = host or str(name)
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{port}{path}"


@contextlib.contextmanager
def web(host: str = "127.0.0.1", certificate: Certificate | None = None) -> Iterator[Web]:
    with Web(host, certificate) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield server
        finally:
            server.shutdown()
            serving.join()


# -- curl --------------------------------------------------------------------------------------------------------


def curl(server: Running, url: str, *words: str, scheme: str = "http", stdin: bytes = b"") -> Result:
    where = ["--proxy", f"{scheme}://127.0.0.1:{server.port}"]
    return run([require("curl"), "-sS", "--noproxy", "", "-m", "20", *where, *words, url], stdin)


class How(NamedTuple):
    """The kind of proxy that pync is, and by which scheme and words curl uses it."""

    kind: str
    scheme: str
    words: tuple[str, ...] = ()


HOWS = {
    "plainly": How("http", "http"),
    "by CONNECT": How("http", "http", ("-p",)),
    "socks5": How("socks5", "socks5"),
    "socks5 with names": How("socks5", "socks5h"),
}
each_how = pytest.mark.parametrize("how", HOWS)


@each_how
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_curl_gets_a_page(how: str, host: str) -> None:
    kind, scheme, words = HOWS[how]
    address = str(socket.getaddrinfo(host, None)[0][4][0])
    with web(address) as server, proxy(kind) as ours:
        assert curl(ours, server.url("/", host), *words, scheme=scheme) == success(PAGE)


@each_how
def test_megabytes_go_down_and_up(how: str, tmp_path: Path) -> None:
    kind, scheme, words = HOWS[how]
    data = PAYLOAD(BIG)
    with web() as server, proxy(kind) as ours:
        down = curl(ours, server.url("/big"), *words, scheme=scheme)
        up = curl(ours, server.url(), *words, "--data-binary", "@-", scheme=scheme, stdin=data)
    assert down.digested() == success(data).digested()
    assert up.digested() == success(data).digested()


@pytest.mark.parametrize("how", ["by CONNECT", "socks5", "socks5 with names"])
def test_curl_speaks_tls_in_a_tunnel(how: str, authority: Authority) -> None:
    kind, scheme, words = HOWS[how]
    with web(certificate=authority.server) as server, proxy(kind) as ours:
        assert curl(ours, server.url(), *words, "--cacert", str(authority.trust), scheme=scheme) == success(PAGE)


@pytest.mark.parametrize("words", [("-p",), ()], ids=["by CONNECT", "plainly"])
def test_tls_to_the_proxy(words: tuple[str, ...], authority: Authority) -> None:
    ours_ = ("--ssl", "--ssl-cert", str(authority.server.both))
    with web() as server, proxy("http", *ours_) as ours:
        trusting = ["--proxy-cacert", str(authority.trust)]
        assert curl(ours, server.url("/big"), *words, *trusting, scheme="https").out == PAYLOAD(BIG)


def test_tls_to_the_proxy_and_in_the_tunnel(authority: Authority) -> None:
    with web(certificate=authority.server) as server, proxy("http", "--ssl") as ours:
        words = ["--proxy-insecure", "--cacert", str(authority.trust)]
        assert curl(ours, server.url(), *words, scheme="https") == success(PAGE)


# -- Plain methods -----------------------------------------------------------------------------------------------


def test_head_has_no_body() -> None:
    with web() as server, proxy() as ours:
        result = curl(ours, server.url(), "-I")
    assert result.status == 0
    assert result.out.startswith(b"HTTP/1.1 200 OK\r\n") and f"Content-Length: {len(PAGE)}".encode() in result.out


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("path", ["/", "/chunked"])
@pytest.mark.parametrize("encoding", ["Content-Length: 3000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("expect", ["Expect:", "Expect: 100-continue"])
def test_bodies_pass_both_ways(method: str, path: str, encoding: str, expect: str) -> None:
    data = PAYLOAD(3000)
    with web() as server, proxy() as ours:
        words = ["-X", method, "-H", encoding, "-H", expect, "--data-binary", "@-"]
        assert curl(ours, server.url(path), *words, stdin=data) == success(data)


def test_a_trace_is_answered_by_the_proxy_that_must_not_pass_it_on() -> None:
    with web() as server, proxy() as ours:
        result = curl(ours, server.url(), "-X", "TRACE", "-H", "Max-Forwards: 0")
        assert result.out.startswith(f"TRACE {server.url()} HTTP/1.1\r\n".encode())
        assert complaints(ours) == server.seen == []


def test_a_client_that_asks_twice_is_served_twice() -> None:
    with web() as server, proxy() as ours:
        assert curl(ours, server.url(), server.url("/chunked")) == success(PAGE + PAGE)


def test_the_server_receives_nothing_that_was_meant_for_the_proxy() -> None:
    with web() as server, proxy("http", "--proxy-auth", LOGIN) as ours:
        words = [
            "--proxy-user",
            LOGIN,
            "-H",
            "Proxy-Connection: keep-alive",
            "-H",
            "Connection: X-Own",
            "-H",
            "X-Own: 1",
        ]
        assert curl(ours, server.url(), *words) == success(PAGE)
        (seen,) = server.seen
    fields = dict(field.split(": ", 1) for field in seen.strip().split("\n"))
    assert fields.keys() == {"Host", "User-Agent", "Accept", "Connection"}
    assert fields["Host"] == server.url("").removeprefix("http://")
    assert fields["Connection"] == "close"


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("X: y", b""),
        ("Content-Length: 4", b"body"),
        ("Transfer-Encoding: chunked", b"4\r\nbody\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", b"4;x=y\r\nbody\r\n0\r\nTrailer: z\r\n\r\n"),
    ],
    ids=["no body", "a length", "chunks", "a trailer"],
)
def test_a_request_that_is_sent_ahead_does_not_reach_the_first_server(field: str, body: bytes) -> None:
    received = []

    def origin(conn: socket.socket) -> None:
        received.append(b"\n".join(iter(lambda: line(conn).rstrip(), b"")))
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        conn.shutdown(socket.SHUT_WR)
        received.append(drain(conn))

    with serve(origin) as (host, port), proxy("http", "--proxy-auth", LOGIN) as ours:
        first, second = (
            f"POST http://{name}:{port}/ HTTP/1.1\r\nHost: x\r\n{BASIC}{field}\r\n\r\n".encode() + body
            for name in (host, "other")
        )
        assert ask(ours, first + second).endswith(b"\r\n\r\nhi")
    assert received[0].startswith(b"POST / HTTP/1.1\n") and received[1:] == [body]


def test_a_body_whose_chunks_are_broken_reaches_no_server_as_a_whole_one() -> None:
    broken = []

    def origin(conn: socket.socket) -> None:
        with pytest.raises(ConnectionResetError):
            drain(conn)
        broken.append(True)

    with serve(origin) as (host, port), proxy() as ours, connect(ours.port) as client:
        client.sendall(f"PUT http://{host}:{port}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        client.sendall(b"4\r\nbodies\r\n0\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert drain(client) == b""
        ours.expect(r"^pync: proxy request from 127\.0\.0\.1:\d+: ")
    assert broken == [True]


# -- Authentication ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("-p",), ()], ids=["by CONNECT", "plainly"])
@pytest.mark.parametrize("scheme", ["--proxy-basic", "--proxy-digest", "--proxy-anyauth"])
def test_a_known_client_is_served(words: tuple[str, ...], scheme: str) -> None:
    with web() as server, proxy("http", "--proxy-auth", LOGIN) as ours:
        assert curl(ours, server.url("/x?y=1"), *words, scheme, "--proxy-user", LOGIN) == success(PAGE)


@pytest.mark.parametrize("scheme", ["--proxy-basic", "--proxy-digest", "--proxy-anyauth"])
@pytest.mark.parametrize("login", ["user:wrong", "nobody:secret", ""])
def test_a_stranger_is_not_served(scheme: str, login: str) -> None:
    known = [scheme, "--proxy-user", login] if login else []
    with web() as server, proxy("http", "--proxy-auth", LOGIN) as ours:
        code = ["-o", "/dev/null", "-w", "%{http_code} %{http_connect}"]
        assert curl(ours, server.url(), *known, *code).out == b"407 000"
        result = curl(ours, server.url(), "-p", *known, *code)
        assert result.status_and_out == (56, b"000 407")
        assert server.seen == []
        if login:
            ours.expect(r"^pync: proxy request from 127\.0\.0\.1:\d+: a wrong user or password$")
        else:
            ours.expect(r"^pync: connection from 127\.0\.0\.1 \d+ denied: it has to show who it is$")


def test_an_answer_to_a_challenge_is_good_once() -> None:
    with web() as server, proxy("http", "--proxy-auth", LOGIN) as ours:
        place = server.url("").removeprefix("http://")
        plain = f"GET {server.url()} HTTP/1.1\r\nHost: x\r\n".encode()
        refusal = ask(ours, plain + b"\r\n").decode()
        challenges = re.findall(r"Proxy-Authenticate: (Digest .*)\r\n", refusal)
        credentials = answer(challenges, ("user", "secret"), "GET", "/", "c") or ""
        known = f"Proxy-Authorization: {credentials}\r\n\r\n".encode()
        assert ask(ours, plain + known).endswith(PAGE)
        for again in plain, plain.replace(place.encode(), b"other"):  # the path is the same, the host is another one
            replayed = ask(ours, again + known)
            assert replayed.startswith(b"HTTP/1.1 407 ") and b"stale=true" in replayed
        assert len(server.seen) == 1


@pytest.mark.parametrize("kind", ["http", "socks5"])
def test_a_client_that_is_only_asked_for_its_login_is_no_error(kind: str) -> None:
    words = ["-lk", "--proxy-server", kind, "--proxy-auth", LOGIN, "127.0.0.1", "0"]
    with web() as server, listening(pync(*words)) as ours:
        assert curl(ours, server.url(), scheme=kind).out.count(PAGE) == 0
        known = ["--proxy-digest", "--proxy-user", LOGIN] if kind == "http" else ["--proxy-user", LOGIN]
        assert curl(ours, server.url(), *known, scheme=kind) == success(PAGE)
        through = ["--proxy", f"{kind}://{LOGIN}@127.0.0.1:{ours.port}", "127.0.0.1", str(server.server_address[1])]
        assert run([*PYNC, *through], b"GET / HTTP/1.0\r\n\r\n").out.endswith(PAGE)
        assert curl(ours, server.url(), "--proxy-user", "user:wrong", scheme=kind).out.count(PAGE) == 0
        ours.expect(r"^pync: proxy request from 127\.0\.0\.1:\d+: a wrong user or password$")
        assert len(ours.stderr.splitlines()) == 1


@pytest.mark.parametrize(("login", "status"), [(LOGIN, 0), ("user:wrong", 97), ("", 97)])
def test_socks_wants_the_login_that_was_given(login: str, status: int) -> None:
    known = ["--proxy-user", login] if login else []
    with web() as server, proxy("socks5", "--proxy-auth", LOGIN) as ours:
        result = curl(ours, server.url(), *known, scheme="socks5h")
        assert result.status_and_out == (status, b"" if status else PAGE)


def test_the_login_may_be_in_the_environment() -> None:
    words = ["-v", "-lk", "--proxy-server", "http", "127.0.0.1", "0"]
    with web() as server, announced(pync(*words, env={"PYNC_PROXY_AUTH": LOGIN})) as ours:
        assert curl(ours, server.url(), "--proxy-user", LOGIN) == success(PAGE)
        assert curl(ours, server.url(), "-f").status == 22


# -- The netcats, ssh, a browser ---------------------------------------------------------------------------------


def greeter(conn: socket.socket) -> None:
    """Sends a greeting, answers a question, and closes."""
    conn.sendall(b"who?\n")
    if line(conn) == b"me\n":
        conn.sendall(b"hello\n")


NETCATS = {
    "ncat, http": ("http", "ncat --proxy 127.0.0.1:{} --proxy-type http"),
    "ncat, socks5": ("socks5", "ncat --proxy 127.0.0.1:{} --proxy-type socks5"),
    "nc.openbsd, http": ("http", "nc.openbsd -X connect -x 127.0.0.1:{}"),
    "nc.openbsd, socks5": ("socks5", "nc.openbsd -X 5 -x 127.0.0.1:{}"),
    "pync, http": ("http", " ".join([*PYNC, "--proxy 127.0.0.1:{}"])),
    "pync, socks5": ("socks5", " ".join([*PYNC, "-x 127.0.0.1:{}"])),
}
each_netcat = pytest.mark.parametrize(("kind", "words"), NETCATS.values(), ids=list(NETCATS))


@each_netcat
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_netcats_go_through(kind: str, words: str, address: str) -> None:
    with serve(greeter, address) as (host, port), proxy(kind) as ours:
        argv = words.format(ours.port).split()
        result = run([require(argv[0]), *argv[1:], host, str(port)], b"me\n")
    assert result == success(b"who?\nhello\n")


@pytest.mark.parametrize("kind", ["http", "socks5"])
def test_ncat_authenticates(kind: str) -> None:
    with serve(greeter) as (host, port), proxy(kind, "--proxy-auth", LOGIN) as ours:
        words = ["--proxy", f"127.0.0.1:{ours.port}", "--proxy-type", kind, "--proxy-auth", LOGIN]
        assert run([require("ncat"), *words, host, str(port)], b"me\n") == success(b"who?\nhello\n")


@pytest.fixture(scope="module")
def server() -> Iterator[Sshd]:
    with sshd() as running:
        yield running


@each_netcat
def test_ssh_goes_through(kind: str, words: str, server: Sshd) -> None:
    data = PAYLOAD(BIG)
    with proxy(kind) as ours:
        command = f"ProxyCommand={words.format(ours.port)} %h %p"
        result = run([*server.command("-o", command), "cat"], data)
    assert (result.status, digest(result.out)) == (0, digest(data))


@pytest.mark.parametrize("kind", ["http", "socks5"])
def test_a_browser_shows_pages(kind: str, authority: Authority, tmp_path: Path) -> None:
    options = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
        --disable-component-update --disable-sync --ignore-certificate-errors --dump-dom
        --proxy-bypass-list=<-loopback>"""
    for certificate in None, authority.server:
        with web(certificate=certificate) as server, proxy(kind) as ours:
            words = [f"--proxy-server={kind}://127.0.0.1:{ours.port}", f"--user-data-dir={tmp_path / server.scheme}"]
            argv = [require("chromium"), *options.split(), *words, server.url()]
            result = run(argv, DEVNULL, timeout=50, stderr=subprocess.DEVNULL)
            assert result.status == 0
            assert b"<p>of the server itself</p>" in result.out
            ours.expect("^Connection received on 127.0.0.1")


# -- Targets that cannot be reached ------------------------------------------------------------------------------


def no_tunnel(code: int) -> Result:
    """How curl ends when the proxy answers CONNECT with this status."""
    return Result(status=56, out=b"", err=f"curl: (56) CONNECT tunnel failed, response {code}\n")


def test_a_target_that_refuses_is_reported() -> None:
    with free_port() as port, proxy() as http, proxy("socks5") as socks:
        url = f"http://127.0.0.1:{port}/"
        plain = curl(http, url, "-w", "%{http_code}")
        assert (plain.status, plain.out[-3:]) == (0, b"502")
        assert b"Connection refused" in plain.out
        assert curl(http, url, "-p") == no_tunnel(502)
        assert curl(socks, url, scheme="socks5").err.endswith("(5)\n")  # the code of "connection refused"
        for ours in http, socks:
            ours.expect(rf"^pync: connect to 127\.0\.0\.1 port {port} \(tcp\) failed: Connection refused$")


def test_a_name_that_is_unknown_is_reported() -> None:
    with proxy() as http, proxy("socks5") as socks:
        url = "http://no-such-host.invalid/"
        plain = curl(http, url, "-w", "%{http_code}")
        assert (plain.status, plain.out[-3:]) == (0, b"502")
        assert curl(http, url, "-p") == no_tunnel(502)
        assert curl(socks, url, scheme="socks5h").err.endswith("(4)\n")  # host unreachable
        for ours in http, socks:
            ours.expect(r"^pync: host no-such-host\.invalid: ")


def test_a_target_that_does_not_answer_is_reported_in_time() -> None:
    with stuck_port() as port, proxy("http", "-w", "0.4") as http, proxy("socks5", "-w", "0.4") as socks:
        url = f"http://127.0.0.1:{port}/"
        assert curl(http, url, "-w", "%{http_code}").out[-3:] == b"504"
        assert curl(http, url, "-p") == no_tunnel(504)
        assert curl(socks, url, scheme="socks5").err.endswith("(6)\n")  # TTL expired: nearest to a timeout
        http.expect(rf"^pync: connect to 127\.0\.0\.1 port {port} \(tcp\): timed out$", count=2)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
def test_a_server_that_does_not_speak_http_is_reported(answer: bytes) -> None:
    def odd(conn: socket.socket) -> None:
        line(conn)
        conn.sendall(answer)
        with contextlib.suppress(OSError):  # the proxy may have closed before
            conn.shutdown(socket.SHUT_WR)
            drain(conn)

    with serve(odd) as (host, port), proxy() as ours:
        result = curl(ours, f"http://{host}:{port}/", "-w", "%{http_code}")
    assert (result.status, result.out[-3:]) == (0, b"502")


# -- Which clients are served ------------------------------------------------------------------------------------


def ask(ours: Running, request: bytes, source: str = "127.0.0.1") -> bytes:
    """All that the proxy answers."""
    with socket.create_connection(("127.0.0.1", ours.port), DEADLINE, (source, 0)) as conn:
        conn.sendall(request)
        return drain(conn)


@pytest.mark.parametrize(
    ("options", "served", "denied"),
    [(("--allow", "127.0.0.2"), "127.0.0.2", "127.0.0.1"), (("--deny", "127.0.0.2"), "127.0.0.1", "127.0.0.2")],
)
def test_clients_are_served_or_denied_by_their_address(options: tuple[str, ...], served: str, denied: str) -> None:
    with web() as server, proxy("http", *options) as ours:
        request = f"GET {server.url()} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        assert ask(ours, request, served).endswith(PAGE)
        with contextlib.suppress(ConnectionError):
            assert ask(ours, request, denied) == b""
        ours.expect(f"^pync: connection from {denied} \\d+ denied")


def test_no_more_clients_than_allowed_are_served_at_a_time() -> None:
    with web() as server, proxy("http", "--max-conns", "1") as ours:
        with tunnel(ours, server.server_address[1]):
            with contextlib.suppress(ConnectionError):
                assert ask(ours, b"GET / HTTP/1.1\r\n\r\n") == b""
            ours.expect(r"denied: connection limit reached \(1\)")
        is_true(lambda: curl(ours, server.url()).out == PAGE, "the place is free again")


@pytest.mark.parametrize("kind", ["http", "socks5"])
@pytest.mark.parametrize("dribbles", [False, True])
def test_a_client_that_sends_no_request_is_dropped_in_time(kind: str, dribbles: bool) -> None:
    with proxy(kind, "-w", "0.4") as ours, connect(ours.port) as client:
        if dribbles:
            start = b"GET / HTTP/1.1\r\n" if kind == "http" else b"\5\377"
            client.sendall(start)
            with contextlib.suppress(ConnectionError):
                while nothing_from(client, 0.05):
                    client.sendall(b"X: y\r\n" if kind == "http" else b"\1")
        ours.expect(r"^pync: proxy request from 127\.0\.0\.1:\d+: no whole request came within 0\.4 s$")
        with contextlib.suppress(ConnectionError):
            assert drain(client).startswith(b"HTTP/1.1 408 Request Timeout\r\n" if kind == "http" else b"")


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (b"\x16\x03\x01\x02\x00\x01", "illegal request line"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "this is a proxy: it serves http:// and CONNECT"),
        (b"CONNECT x HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT needs a port"),
    ],
)
def test_what_is_no_request_to_a_proxy_is_answered_with_the_reason(request_: bytes, why: str) -> None:
    with proxy() as ours:
        answer = ask(ours, request_)
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n") and why.encode() in answer
        ours.expect(f"^pync: proxy request from 127.0.0.1:\\d+: {why}$")


# -- Not open by accident ----------------------------------------------------------------------------------------


def own_address() -> str:
    """An address of this machine that is not a loopback one; no packet is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        with contextlib.suppress(OSError):
            probe.connect(("192.0.2.1", 9))
        address = str(probe.getsockname()[0])
    return address if address != "0.0.0.0" else "127.0.0.2"


@pytest.mark.parametrize(
    "options", [("--proxy-server", "http"), ("--proxy-server", "socks5"), ("--proxy-type", "http")]
)
def test_a_proxy_is_on_loopback_unless_another_address_is_given(options: tuple[str, ...]) -> None:
    with listen("-k", *options, "0") as ours:
        place = ours.expect(r"^Listening on (\S+) (\d+)$")
        assert place[1] in ("127.0.0.1", "::1")
        for elsewhere in "127.0.0.2", own_address():
            with pytest.raises(ConnectionRefusedError):
                connect(int(place[2]), elsewhere).close()
        assert "warning" not in ours.stderr


def test_pync_warns_of_a_proxy_that_is_open_to_all() -> None:
    with pync("-lk", "--proxy-server", "http", "0.0.0.0", "0") as ours:
        ours.expect(r"^pync: warning: everybody can use the proxy on 0\.0\.0\.0:\d+; see --proxy-auth and --allow$")


def test_pync_does_not_warn_of_a_proxy_that_is_not_open() -> None:
    for options in ("--proxy-auth", LOGIN, "0.0.0.0"), ("--allow", "192.0.2.0/24", "0.0.0.0"), ("127.0.0.1",), ("::1",):
        with listen("-k", "--proxy-server", "http", *options, "0") as ours:
            ours.signal(15)
            assert ours.wait() == 143
            assert "warning" not in ours.stderr


# -- Tunnels -----------------------------------------------------------------------------------------------------


def tunnel(ours: Running, port: int, host: str = "127.0.0.1") -> socket.socket:
    """A connection to the port through an HTTP proxy."""
    conn = connect(ours.port)
    conn.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    assert take(conn, len(TUNNEL)) == TUNNEL
    return conn


@contextlib.contextmanager
def tunnelled(*options: str) -> Iterator[tuple[Running, socket.socket, socket.socket]]:
    """A proxy, and both ends of a tunnel through it."""
    with socket.create_server(("127.0.0.1", 0)) as target, proxy("http", *options) as ours:
        target.settimeout(DEADLINE)
        with tunnel(ours, target.getsockname()[1]) as client, target.accept()[0] as server:
            server.settimeout(DEADLINE)
            yield ours, client, server


@pytest.mark.parametrize("first", ["client", "server"])
def test_half_closes_pass_through_a_tunnel(first: str) -> None:
    with tunnelled() as (ours, client, server):
        one, other = (client, server) if first == "client" else (server, client)
        one.sendall(b"question")
        one.shutdown(socket.SHUT_WR)
        assert drain(other) == b"question"
        other.sendall(b"answer")
        other.shutdown(socket.SHUT_WR)
        assert drain(one) == b"answer"
        assert complaints(ours) == []


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_reset_passes_through_a_tunnel_as_a_reset(first: str) -> None:
    with tunnelled() as (ours, client, server):
        one, other = (client, server) if first == "client" else (server, client)
        reset(one)
        with pytest.raises(ConnectionResetError):
            other.recv(1)
        ours.expect(r"^pync: connection to 127\.0\.0\.1:\d+: Connection reset by peer$")


def test_bytes_that_come_with_the_request_are_passed_on() -> None:
    with serve(lambda conn: conn.sendall(line(conn).upper())) as (host, port), proxy() as ours:
        answer = ask(ours, f"CONNECT {host}:{port} HTTP/1.1\r\nHost: x\r\n\r\nearly\n".encode())
    assert answer == TUNNEL + b"EARLY\n"


def test_an_idle_tunnel_is_closed_if_a_limit_is_given() -> None:
    with tunnelled("--idle-timeout", "0.4") as (ours, client, server):
        for end in client, server:
            with contextlib.suppress(ConnectionResetError):
                assert end.recv(1) == b""
        ours.expect("^pync: idle connection: nothing came or went for 0.4 s$")


@pytest.mark.parametrize(
    "leave", [reset, socket.socket.close], ids=["by a reset", "in time, if its end may be a half-close"]
)
def test_a_client_that_leaves_during_the_connect_is_forgotten(leave: Callable[[socket.socket], None]) -> None:
    limit = () if leave is reset else ("-w", "0.4")
    with stuck_port() as port, proxy("http", *limit) as ours:
        before = len(ours.descriptors())
        client = connect(ours.port)
        client.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        is_true(lambda: len(ours.descriptors()) >= before + 2, "it is connecting")
        leave(client)
        is_true(lambda: len(ours.descriptors()) == before, "all is closed")


def test_a_thousand_tunnels_at_once_leave_no_descriptor_behind() -> None:
    count, data = 1000, b"through the tunnel"
    with contextlib.ExitStack() as stack:
        stack.enter_context(many_descriptors(2 * count + 200))
        target = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=count))
        target.settimeout(DEADLINE)
        ours = stack.enter_context(proxy())
        before = ours.descriptors()
        request = b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % target.getsockname()[1] + data
        with contextlib.ExitStack() as tunnels:
            clients = [tunnels.enter_context(connect(ours.port)) for _ in range(count)]
            for client in clients:
                client.sendall(request)
            servers = [tunnels.enter_context(target.accept()[0]) for _ in range(count)]
            for server in servers:
                server.settimeout(DEADLINE)
                assert take(server, len(data)) == data
                server.sendall(data)
            for client in clients:
                assert take(client, len(TUNNEL + data)) == TUNNEL + data
            assert len(ours.descriptors()) >= len(before) + 2 * count
        is_true(lambda: len(ours.descriptors()) == len(before), "every descriptor is closed")
        with tunnel(ours, target.getsockname()[1]), target.accept()[0]:
            pass


@pytest.mark.parametrize("kind", ["http", "socks5"])
@pytest.mark.parametrize("auth", [(), ("--proxy-auth", LOGIN)])
def test_a_proxy_outlives_a_lack_of_descriptors(kind: str, auth: tuple[str, ...]) -> None:
    words = [*PYNC, "-v", "-lk", "--proxy-server", kind, *auth, "127.0.0.1", "0"]
    with web() as server, announced(Running([require("prlimit"), "--nofile=24:24", *words])) as ours:
        requests = {
            "http": f"GET {server.url()} HTTP/1.1\r\nHost: x\r\n{BASIC * bool(auth)}\r\n".encode(),
            "socks5": (b"\5\1\2\1\4user\6secret" if auth else b"\5\1\0") + b"\5\1\0\1\177\0\0\1\0\7",
        }
        # Only as many clients are accepted as there are descriptors for, with their targets'. Port 7 refuses.
        answers = {"http": b"HTTP/1.1 200 ", "socks5": b"\5\2\1\0\5\5" if auth else b"\5\0\5\5"}
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(connect(ours.port)) for _ in range(40)]
            ours.expect("^pync: accepting clients pauses")
            clients[0].sendall(requests[kind])
            assert drain(clients[0]).startswith(answers[kind])
        known = ["--proxy-user", LOGIN] * bool(auth)
        is_true(lambda: curl(ours, server.url(), *known, scheme=kind).out == PAGE, "it serves again")


# -- Without -k, as Ncat has it, and one proxy after the other ---------------------------------------------------


def test_without_keep_open_one_client_is_served() -> None:
    with web() as server, listen("--proxy-server", "http", "127.0.0.1", "0") as ours:
        assert curl(ours, server.url()) == success(PAGE)
        assert ours.wait() == 0


def test_without_keep_open_a_failure_is_the_end() -> None:
    with free_port() as port, listen("--proxy-server", "http", "127.0.0.1", "0") as ours:
        assert curl(ours, f"http://127.0.0.1:{port}/", "-p").status == 56
        assert ours.wait() == 1
        assert ours.stderr.endswith("failed: Connection refused\n")


def test_ncats_spelling_of_the_option_serves_many_clients() -> None:
    with web() as server, listen("--proxy-type", "http", "127.0.0.1", "0") as ours:
        for _ in range(2):
            assert curl(ours, server.url()) == success(PAGE)


@pytest.mark.parametrize("kind", ["http", "socks5"])
@pytest.mark.parametrize("onward", ["http", "socks5"])
def test_proxies_follow_one_another(kind: str, onward: str) -> None:
    start: Callable[[str], Running] = tinyproxy if onward == "http" else microsocks
    with web() as server, start(LOGIN) as last:
        words = ["--proxy", f"{onward}://{LOGIN}@127.0.0.1:{last.port}"]
        with proxy(kind, *words) as ours:
            assert curl(ours, server.url("/big"), scheme=kind).out == PAYLOAD(BIG)


def test_what_the_next_proxy_reports_is_passed_on() -> None:
    with free_port() as port, ncat_proxy() as last, proxy("http", "--proxy", f"127.0.0.1:{last.port}") as ours:
        result = curl(ours, f"http://127.0.0.1:{port}/", "-w", "%{http_code}")
        assert (result.status, result.out[-3:]) == (0, b"502")
        ours.expect(rf"^pync: proxy 127\.0\.0\.1:{last.port}: 504 Gateway Timeout$")
