"""pync through real proxies, and through scripted ones that do what no real proxy can be made to do.

The words of a dialogue are tested in test_socks.py and test_connect_dialogue.py, without a socket; how a dialogue is
held on a socket, in test_talk.py.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import socket
import ssl
import termios
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pytest
from clients import drain, line, meanwhile, take
from harness import (
    DEADLINE,
    DEVNULL,
    PAYLOAD,
    PYNC,
    Result,
    Running,
    digest,
    failure,
    free_port,
    pync,
    require,
    run,
    serve,
    success,
)
from pairs import nothing_from, stuck_port
from servers import Sshd, microsocks, ncat_proxy, ssh_dynamic, sshd, tinyproxy
from under_names import pync_as

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any

    from certificates import Authority

LOGIN = "user:secret"
GREETING, QUESTION, ANSWER = b"hello?\n", b"only me\n", b"come in\n"
BIG = 5_000_000
LIMIT = 0.4  # seconds that pync has to reach its peer, where it must not succeed


class Way(NamedTuple):
    """A kind of proxy, and the options by which pync goes through it."""

    start: Callable[[], AbstractContextManager[Any]]
    options: str


WAYS = {
    "http": Way(tinyproxy, "--proxy 127.0.0.1:{}"),
    "http, basic": Way(partial(tinyproxy, LOGIN), f"--proxy http://{LOGIN}@127.0.0.1:{{}}"),
    "http by ncat": Way(ncat_proxy, "-X connect -x 127.0.0.1:{}"),
    "http by ncat, digest": Way(partial(ncat_proxy, LOGIN), f"--proxy 127.0.0.1:{{}} --proxy-auth {LOGIN}"),
    "socks5": Way(microsocks, "-x 127.0.0.1:{}"),
    "socks5, password": Way(partial(microsocks, LOGIN), f"-X 5 -x {LOGIN}@127.0.0.1:{{}}"),
    "ssh, socks5": Way(ssh_dynamic, "--proxy socks5://127.0.0.1:{}"),
    "ssh, socks4a": Way(ssh_dynamic, "-X 4 -x 127.0.0.1:{}"),
    "ssh, socks4": Way(ssh_dynamic, "-X 4 -x 127.0.0.1:{} -4 --proxy-dns local"),
}
each_way = pytest.mark.parametrize("way", WAYS)


@pytest.fixture(scope="module")
def through() -> Iterator[Callable[[str], list[str]]]:
    """The words by which pync goes through a proxy of WAYS, which is started when it is first asked for."""
    with contextlib.ExitStack() as stack:
        running: dict[Any, int] = {}

        def words(way: str) -> list[str]:
            start, options = WAYS[way]
            if start not in running:
                running[start] = stack.enter_context(start()).port
            return options.format(running[start]).split()

        yield words


@pytest.fixture(scope="module")
def server() -> Iterator[Sshd]:
    with sshd() as running:
        yield running


def address_of(host: str) -> str:
    """The address under which a proxy will look for this host first."""
    return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])


# -- Real proxies ------------------------------------------------------------------------------------------------


def greeter(conn: socket.socket) -> None:
    """Sends a greeting, answers a question, and closes."""
    conn.sendall(GREETING)
    if line(conn) == QUESTION:
        conn.sendall(ANSWER)


def cases() -> Iterator[Any]:
    for way in WAYS:
        for host in ("127.0.0.1", "::1", "localhost"):
            if not (host == "::1" and ("socks4" in way or "ncat" in way)):  # that ncat is started with -4
                yield pytest.param(way, host, id=f"{way}, {host}")


@pytest.mark.parametrize(("way", "host"), list(cases()))
def test_a_server_greets_and_answers(way: str, host: str, through: Callable[[str], list[str]]) -> None:
    with serve(greeter, address_of(host)) as (_, port):
        result = run([*PYNC, *through(way), host, str(port)], QUESTION)
    assert result == success(GREETING + ANSWER)


@each_way
def test_megabytes_go_both_ways_at_once(way: str, through: Callable[[str], list[str]]) -> None:
    there, back, received = PAYLOAD(BIG), PAYLOAD(BIG)[::-1], []

    def handler(conn: socket.socket) -> None:
        with meanwhile(conn.sendall, back):
            received.append(take(conn, BIG))

    with serve(handler) as (host, port):
        result = run([*PYNC, *through(way), host, str(port)], there)
    assert result.digested() == success(back).digested()
    assert [digest(data) for data in received] == [digest(there)]


@each_way
def test_an_open_port_is_distinguished_from_a_closed_one(way: str, through: Callable[[str], list[str]]) -> None:
    with serve(lambda conn: None) as (_, there), free_port() as nowhere:
        result = run([*PYNC, "-zv", *through(way), "127.0.0.1", str(there), str(nowhere)])
        assert result.status_and_out == (0, b"")
        opened, closed = result.err.splitlines()
        assert opened == f"Connection to 127.0.0.1 {there} port [tcp/*] succeeded!"
        assert closed.startswith(f"pync: connect to 127.0.0.1 port {nowhere} (tcp) failed: ")
        assert run([*PYNC, "-z", *through(way), "127.0.0.1", str(nowhere)]).status == 1


@pytest.mark.parametrize(
    ("way", "why"),
    [
        ("http", "500 Unable to connect"),
        ("http by ncat", "504 Gateway Timeout"),
        ("socks5", "Connection refused"),
        ("ssh, socks5", "it ended the connection"),
        ("ssh, socks4a", "it ended the connection"),
    ],
)
def test_a_target_that_refuses_is_reported_in_the_proxys_words(
    way: str, why: str, through: Callable[[str], list[str]]
) -> None:
    words = through(way)
    with free_port() as port:
        result = run([*PYNC, *words, "127.0.0.1", str(port)])
    proxy = next(word for word in words if "127.0.0.1:" in word).rpartition("//")[2]
    assert result == failure(f"proxy {proxy}: {why}")


@pytest.mark.parametrize(
    ("way", "login", "why"),
    [
        ("http, basic", "user:wrong", "401 Unauthorized"),  # in tinyproxy's own words
        ("http, basic", "", "it wants to know who we are: give --proxy-auth"),
        ("http by ncat, digest", "user:wrong", "it does not accept this user and password"),
        ("http by ncat, digest", "", "it wants to know who we are: give --proxy-auth"),
        ("socks5, password", "user:wrong", "it does not accept this user and password"),
        ("socks5, password", "", "it wants authentication"),
    ],
)
def test_a_wrong_login_is_reported(way: str, login: str, why: str, through: Callable[[str], list[str]]) -> None:
    words = [word.replace(f"{LOGIN}@", "") for word in through(way) if word not in ("--proxy-auth", LOGIN)]
    auth = ["--proxy-auth", login] if login else []
    result = run([*PYNC, *words, *auth, "127.0.0.1", "9"])
    proxy = next(word for word in words if "127.0.0.1:" in word).rpartition("//")[2]
    assert result == failure(f"proxy {proxy}: {why}")


@pytest.mark.parametrize("way", ["http", "http by ncat", "socks5", "ssh, socks5"])
def test_an_answer_arrives_though_many_proxies_end_both_directions_at_a_half_close(
    way: str, through: Callable[[str], list[str]]
) -> None:
    def upper(conn: socket.socket) -> None:
        question = line(conn)
        if nothing_from(conn, 0.2):  # a slow server, which answers only while its client has not ended
            conn.sendall(question.upper())
            conn.recv(1)

    with serve(upper) as (host, port):
        assert run([*PYNC, *through(way), host, str(port)], b"x\n") == success(b"X\n")


# -- TLS in the tunnel, to the proxy, both -----------------------------------------------------------------------


def over_tls(authority: Authority, handler: Callable[[socket.socket], object]) -> Callable[[socket.socket], None]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server.chain, authority.server.key)

    def session(conn: socket.socket) -> None:
        with context.wrap_socket(conn, server_side=True) as secured:
            handler(secured)
            secured.unwrap()

    return session


@pytest.mark.parametrize("way", ["http", "http by ncat, digest", "socks5", "ssh, socks4a"])
def test_tls_in_a_tunnel(way: str, through: Callable[[str], list[str]], authority: Authority) -> None:
    with serve(over_tls(authority, greeter)) as (_, port):
        words = [*through(way), "--ssl", "--ssl-trustfile", str(authority.trust)]
        assert run([*PYNC, *words, "localhost", str(port)], QUESTION) == success(GREETING + ANSWER)


@pytest.mark.parametrize("inside", [False, True], ids=["TLS to the proxy", "TLS to the proxy and in the tunnel"])
def test_tls_to_a_proxy(inside: bool, authority: Authority) -> None:
    handler = over_tls(authority, greeter) if inside else greeter
    trusting = {**os.environ, "SSL_CERT_FILE": str(authority.trust)}
    with ncat_proxy(LOGIN, authority.server) as proxy, serve(handler) as (_, port):
        words = ["--proxy", f"https://localhost:{proxy.port}", "--proxy-auth", LOGIN, *["--ssl"] * inside]
        result = run([*PYNC, *words, "localhost", str(port)], QUESTION, env=trusting)
    assert result == success(GREETING + ANSWER)


def test_a_proxy_with_a_certificate_that_is_not_trusted_receives_nothing(authority: Authority) -> None:
    with ncat_proxy("", authority.strange) as proxy:
        result = run([*PYNC, "--proxy", f"https://localhost:{proxy.port}", "127.0.0.1", "9"])
    assert result.status == 1
    assert result.err.startswith("pync: TLS ") and "nobody whom we trust has signed the certificate" in result.err


# -- Scripted proxies --------------------------------------------------------------------------------------------

OK = {"http": b"HTTP/1.1 200 OK\r\nVia: 1.1 test\r\n\r\n", "4": b"\0\x5a" + bytes(6), "5": b"\5\0\0\1" + bytes(6)}
each_kind = pytest.mark.parametrize("kind", OK)


def head(conn: socket.socket) -> bytes:
    """The head of an HTTP message."""
    return b"\r\n".join([*iter(lambda: line(conn).rstrip(b"\r\n"), b""), b"", b""])


def asked(conn: socket.socket, kind: str) -> bytes:
    """The bytes of a client's request; of SOCKS, only with IPv4 addresses or names."""
    if kind == "http":
        return head(conn)
    if kind == "5":
        take(conn, take(conn, 2)[1])
        conn.sendall(b"\5\0")
        start = take(conn, 4)
        return start + take(conn, 6) if start[3] == 1 else start + take(conn, take(conn, 1)[0] + 2)
    request = take(conn, 8)
    while request[-1:]:
        request += (byte := conn.recv(1))
        if byte == b"\0" and (request[4:7] != b"\0\0\0" or request.count(b"\0", 8) == 2):
            break
    return request


def proxy_of(kind: str, port: int) -> list[str]:
    return ["-x", f"127.0.0.1:{port}", "-X", "connect" if kind == "http" else kind]


@each_kind
@pytest.mark.parametrize("bytewise", [False, True], ids=["in one write", "byte by byte"])
def test_bytes_that_come_with_the_reply_are_kept(kind: str, bytewise: bool) -> None:
    early = b"\0early\r\n\r\n" + PAYLOAD(50)

    def proxy(conn: socket.socket) -> None:
        asked(conn, kind)
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        answer = OK[kind] + early
        for part in [answer[at : at + 1] for at in range(len(answer))] if bytewise else [answer]:
            conn.sendall(part)

    with serve(proxy) as (_, port):
        assert run([*PYNC, *proxy_of(kind, port), "192.0.2.1", "7"], DEVNULL) == success(early)


def refused(kind: str, reply: bytes, *options: str) -> tuple[int, str]:
    """The status, and the message of pync, when the proxy answers its request by `reply`."""

    def proxy(conn: socket.socket) -> None:
        asked(conn, kind)
        conn.sendall(reply)

    with serve(proxy) as (_, port):
        result = run([*PYNC, *proxy_of(kind, port), *options, "192.0.2.1", "7"])
    start = f"pync: proxy 127.0.0.1:{port}: "
    assert result.out == b"" and result.err.startswith(start) and result.err.endswith("\n")
    return result.status, result.err.removeprefix(start)[:-1]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (1, "General SOCKS server failure"),
        (2, "Connection not allowed by ruleset"),
        (3, "Network unreachable"),
        (4, "Host unreachable"),
        (5, "Connection refused"),
        (6, "TTL expired"),
        (7, "Command not supported"),
        (8, "Address type not supported"),
        (9, "unassigned code 0x09"),
    ],
)
def test_a_refusal_by_socks5_is_reported(code: int, why: str) -> None:
    assert refused("5", bytes((5, code, 0, 1)) + bytes(6)) == (1, why)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (91, "Request rejected or failed"),
        (92, "SOCKS server cannot connect to identd on the client"),
        (93, "Client program and identd report different user-ids"),
        (94, "unassigned code 0x5e"),
    ],
)
def test_a_refusal_by_socks4_is_reported(code: int, why: str) -> None:
    assert refused("4", bytes((0, code)) + bytes(6)) == (1, why)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"HTTP/1.1 403 Not for you\r\n\r\n", "403 Not for you"),
        (b"HTTP/1.0 502 Bad\x1b[2JGateway\r\nContent-Length: 3\r\n\r\nbad", "502 Bad?[2JGateway"),
        (b"HTTP/1.1 407 Who\r\n\r\n", "it wants to know who we are: give --proxy-auth"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it is not an HTTP proxy"),
        (b"HTTP/1.1 200 OK\r\nVia: 1.1 t", "it broke off in the middle of a message"),
        (b"", "it ended the connection"),
    ],
)
def test_a_refusal_by_http_is_reported(reply: bytes, why: str) -> None:
    assert refused("http", reply) == (1, why)


def test_an_authentication_that_is_not_known_is_reported() -> None:
    reply = b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Negotiate\r\n\r\n"
    assert refused("http", reply, "--proxy-auth", LOGIN) == (1, "it wants an authentication that is not known here")


@pytest.mark.parametrize("kind", ["4", "5"])
def test_a_server_that_is_no_socks_proxy_is_reported(kind: str) -> None:
    def web_server(conn: socket.socket) -> None:
        with contextlib.suppress(ConnectionResetError):
            conn.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            drain(conn)

    with serve(web_server) as (_, port):
        result = run([*PYNC, *proxy_of(kind, port), "192.0.2.1", "7"])
    assert result == failure(f"proxy 127.0.0.1:{port}: it is not a SOCKS {kind} proxy")


def test_a_proxy_that_refuses_is_reported() -> None:
    with free_port() as port:
        result = run([*PYNC, "-x", f"127.0.0.1:{port}", "192.0.2.1", "7"])
    assert result == failure(f"proxy 127.0.0.1:{port}: Connection refused")


def test_a_scan_reports_that_the_proxy_has_refused() -> None:
    with free_port() as port:
        result = run([*PYNC, "-zv", "-x", f"127.0.0.1:{port}", "192.0.2.1", "7"])
    proxy, why = f"127.0.0.1 port {port}", f"proxy 127.0.0.1:{port}: Connection refused"
    assert result.status == 1
    assert result.err.splitlines() == [
        f"pync: connect to {proxy} (tcp) failed: Connection refused",
        f"pync: connect to 192.0.2.1 port 7 (tcp) failed: {why}",
    ]


def test_a_target_without_ipv4_is_not_for_socks4() -> None:
    with serve(lambda conn: None) as (_, port):
        result = run([*PYNC, *proxy_of("4", port), "::1", "7"])
    assert result == failure(f"proxy 127.0.0.1:{port}: SOCKS 4 knows no IPv6 addresses")


# -- One deadline ------------------------------------------------------------------------------------------------


def gives_up_in_time(*words: str, silent: str) -> None:
    """Check that pync gives up after LIMIT, and reports what has not answered."""
    begun = time.monotonic()
    result = run([*PYNC, "-w", str(LIMIT), *words, "192.0.2.1", "7"])
    assert result.status_and_out == (124, b"")
    assert result.err == f"pync: {silent}\n"
    assert LIMIT <= time.monotonic() - begun < 10 * LIMIT


def silent_proxy(port: int) -> str:
    return f"proxy 127.0.0.1:{port}: no answer for {LIMIT:g} s"


@pytest.mark.parametrize("kind", ["http", "https", "socks4", "socks5"])
def test_a_proxy_that_sends_nothing_is_given_up_in_time(kind: str) -> None:
    with serve(drain) as (_, port):
        gives_up_in_time("--proxy", f"{kind}://127.0.0.1:{port}", silent=silent_proxy(port))


def test_a_proxy_that_does_not_accept_is_given_up_in_time() -> None:
    with stuck_port() as port:
        gives_up_in_time("-x", f"127.0.0.1:{port}", silent=silent_proxy(port))


def test_a_proxy_that_never_ends_its_answer_is_given_up_in_time() -> None:
    def dribbling(conn: socket.socket) -> None:
        head(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\n")
        while nothing_from(conn, LIMIT / 8):
            conn.sendall(b"X: more\r\n")

    with serve(dribbling) as (_, port):
        gives_up_in_time("--proxy", f"127.0.0.1:{port}", silent=silent_proxy(port))


def test_a_handshake_in_the_tunnel_has_no_limit_of_its_own() -> None:
    def slow(conn: socket.socket) -> None:
        head(conn)
        nothing_from(conn, LIMIT / 2)
        conn.sendall(OK["http"])
        drain(conn)

    with serve(slow) as (_, port):
        silent = "connect to 192.0.2.1 port 7 (tcp): timed out"
        gives_up_in_time("--proxy", f"127.0.0.1:{port}", "--ssl-no-verify", silent=silent)


def test_a_scan_goes_on_after_a_proxy_that_sends_nothing() -> None:
    with serve(drain) as (_, port):
        result = run([*PYNC, "-zv", "-w", str(LIMIT), "-x", f"127.0.0.1:{port}", "192.0.2.1", "7", "8"])
    lines = [f"pync: connect to 192.0.2.1 port {n} (tcp) failed: {silent_proxy(port)}\n" for n in (7, 8)]
    assert result == Result(status=1, out=b"", err="".join(lines))


# -- Authentication ----------------------------------------------------------------------------------------------


class Recorder:
    """A scripted HTTP proxy that keeps the requests it receives, and may want a login."""

    def __init__(self, *, wants_login: bool) -> None:
        self.received: list[bytes] = []
        self.wants_login = wants_login

    def __call__(self, conn: socket.socket) -> None:
        self.received.append(head(conn))
        if self.wants_login and b"Proxy-Authorization: " not in self.received[-1]:
            conn.sendall(b'HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm="x"\r\n\r\n')
        else:
            conn.sendall(OK["http"])


BASIC = b"Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"  # LOGIN
NO_LOGIN = {name: value for name, value in os.environ.items() if name not in ("PYNC_PROXY_AUTH", "NCAT_PROXY_AUTH")}


@pytest.mark.parametrize("wants_login", [False, True])
def test_no_password_is_sent_to_an_http_proxy_that_has_not_asked(wants_login: bool) -> None:
    recorder = Recorder(wants_login=wants_login)
    with serve(recorder) as (_, port):
        assert run([*PYNC, "--proxy", f"http://{LOGIN}@127.0.0.1:{port}", "192.0.2.1", "7"], DEVNULL).status == 0
    first, *more = recorder.received
    assert b"Authorization" not in first
    assert [BASIC in request for request in more] == [True] * wants_login


def test_no_password_is_sent_to_a_socks_proxy_that_has_not_asked() -> None:
    received = []

    def proxy(conn: socket.socket) -> None:
        received.append(take(conn, 4))
        conn.sendall(b"\5\0")
        received.append(take(conn, 10))
        conn.sendall(OK["5"])
        received.append(drain(conn))

    with serve(proxy) as (_, port):
        assert run([*PYNC, "-x", f"{LOGIN}@127.0.0.1:{port}", "192.0.2.1", "7"], b"hello").status == 0
    assert received == [b"\5\2\0\2", b"\5\1\0\1\xc0\0\2\1\0\7", b"hello"]


def test_socks4_has_a_user_and_no_password() -> None:
    received = []

    def proxy(conn: socket.socket) -> None:
        received.append(asked(conn, "4"))
        conn.sendall(OK["4"])

    with serve(proxy) as (_, port):
        words = ["-X", "4", "-x", f"127.0.0.1:{port}", "-P", "user"]
        assert run([*PYNC, *words, "192.0.2.1", "7"], DEVNULL, env=NO_LOGIN, start_new_session=True).status == 0
    assert received == [b"\4\1\0\7\xc0\0\2\1user\0"]


@pytest.mark.parametrize("variable", ["PYNC_PROXY_AUTH", "NCAT_PROXY_AUTH"])
@pytest.mark.parametrize("options", [(), ("-P", "user")])
def test_a_login_in_the_environment_is_used(variable: str, options: tuple[str, ...]) -> None:
    recorder = Recorder(wants_login=True)
    with serve(recorder) as (_, port):
        words = ["--proxy", f"127.0.0.1:{port}", *options, "192.0.2.1", "7"]
        assert run([*PYNC, *words], DEVNULL, env={**NO_LOGIN, variable: LOGIN}).status == 0
    assert BASIC in recorder.received[-1]


class Terminal:
    """A terminal of a process: `shown` gives what the process writes to it."""

    def __init__(self, stack: contextlib.ExitStack, *words: str) -> None:
        self.ours, theirs = pty.openpty()
        stack.callback(os.close, self.ours)
        argv = [require("setsid"), "--ctty", *PYNC, *words]
        self.process = stack.enter_context(Running(argv, stdin=theirs, env=NO_LOGIN))
        os.close(theirs)

    def hang_up(self) -> None:
        """End the connection to the terminal, as closing its window does."""
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, self.ours)  # the test closes the descriptor at its end
        os.close(null)

    def shown(self, end: bytes) -> bytes:
        data = b""
        while not data.endswith(end):
            assert select.select([self.ours], [], [], DEADLINE)[0], data
            data += os.read(self.ours, 1024)
        return data


def test_a_password_is_asked_for_on_the_terminal_and_not_shown() -> None:
    recorder = Recorder(wants_login=True)
    with contextlib.ExitStack() as stack:
        _, port = stack.enter_context(serve(recorder))
        terminal = Terminal(stack, "-X", "connect", "-x", f"127.0.0.1:{port}", "-P", "user", "192.0.2.1", "7")
        prompt = terminal.shown(b": ")
        os.write(terminal.ours, b"secret\n")
        assert terminal.process.wait() == 0
        assert prompt == b"Proxy password for user@127.0.0.1: "
        assert b"secret" not in terminal.shown(b"\n")
    assert BASIC in recorder.received[-1]


@pytest.mark.parametrize(("key", "status"), [(b"\x04", 2), (b"\x03", 130)], ids=["Ctrl-D", "Ctrl-C"])
def test_a_password_may_be_refused(key: bytes, status: int) -> None:
    with contextlib.ExitStack() as stack:
        terminal = Terminal(stack, "-x", "127.0.0.1:9", "-P", "user", "192.0.2.1", "7")
        terminal.shown(b": ")
        os.write(terminal.ours, key)
        assert terminal.process.wait() == status
        assert "Traceback" not in terminal.process.stderr


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_the_prompt_leaves_the_terminal_as_it_was(signum: signal.Signals) -> None:
    with contextlib.ExitStack() as stack:
        terminal = Terminal(stack, "-x", "127.0.0.1:9", "-P", "user", "192.0.2.1", "7")
        terminal.shown(b": ")
        assert not termios.tcgetattr(terminal.ours)[3] & termios.ECHO
        terminal.process.signal(signum)
        assert terminal.process.wait(5) == 128 + signum
        assert termios.tcgetattr(terminal.ours)[3] & termios.ECHO
        assert terminal.process.stderr == ""


def test_a_terminal_that_hangs_up_at_the_prompt_ends_the_run() -> None:
    with contextlib.ExitStack() as stack:
        terminal = Terminal(stack, "-x", "127.0.0.1:9", "-P", "user", "192.0.2.1", "7")
        terminal.shown(b": ")
        terminal.hang_up()
        assert terminal.process.wait(5) == 128 + signal.SIGHUP


def test_without_a_terminal_a_password_cannot_be_asked_for() -> None:
    result = run([*PYNC, "-x", "127.0.0.1:9", "-P", "user", "h", "1"], b"x", env=NO_LOGIN, start_new_session=True)
    assert result.status_and_out == (2, b"")
    words = "no terminal to ask for the password; use --proxy-auth, or PYNC_PROXY_AUTH in the environment"
    assert result.err.splitlines()[0] == f"pync: -P user: {words}"


# -- Where names are looked up -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "request_"),
    [
        ("http", (), b"CONNECT localhost:7 HTTP/1.1\r\nHost: localhost:7\r\n\r\n"),
        ("http", ("-4", "--proxy-dns", "local"), b"CONNECT 127.0.0.1:7 HTTP/1.1\r\nHost: 127.0.0.1:7\r\n\r\n"),
        ("4", (), b"\4\1\0\7\0\0\0\1\0localhost\0"),
        ("4", ("--proxy-dns", "local"), b"\4\1\0\7\x7f\0\0\1\0"),
        ("5", (), b"\5\1\0\3localhost\0\7"),
        ("5", ("-n",), b"\5\1\0\3localhost\0\7"),
        ("5", ("-4", "--proxy-dns", "local"), b"\5\1\0\1\x7f\0\0\1\0\7"),
    ],
)
def test_names_are_looked_up_where_the_options_say(kind: str, options: tuple[str, ...], request_: bytes) -> None:
    received = []

    def proxy(conn: socket.socket) -> None:
        received.append(asked(conn, kind))
        conn.sendall(OK[kind])

    with serve(proxy) as (_, port):
        assert run([*PYNC, *proxy_of(kind, port), *options, "localhost", "7"], DEVNULL).status == 0
    assert received == [request_]


@pytest.mark.parametrize("options", [("--proxy-dns", "local", "-n"), ("--proxy-dns", "local", "-4")])
def test_a_name_that_is_not_found_here_is_not_sent_to_the_proxy(options: tuple[str, ...]) -> None:
    received = []
    with serve(lambda conn: received.append(drain(conn))) as (_, port):
        result = run([*PYNC, "-x", f"127.0.0.1:{port}", *options, "no-such-host.invalid", "7"])
    assert result.status_and_out == (1, b"")
    assert received == []
    assert result.err.startswith("pync: host no-such-host.invalid: ")


# -- Half-closes -------------------------------------------------------------------------------------------------


def test_a_half_close_waits_for_silence() -> None:
    ended_early = []

    def proxy(conn: socket.socket) -> None:
        asked(conn, "5")
        conn.sendall(OK["5"])
        assert line(conn) == b"x\n"
        for _ in range(10):
            ended_early.append(not nothing_from(conn, 0.1))
            conn.sendall(b".")
        assert drain(conn) == b"", "now the half-close comes"

    with serve(proxy) as (_, port):
        result = run([*PYNC, "-x", f"127.0.0.1:{port}", "192.0.2.1", "7"], b"x\n")
    assert result == success(b"." * 10)
    assert ended_early == [False] * 10


@pytest.mark.parametrize("options", [("-N",), ("-N", "--ssl-no-verify")], ids=["plain", "TLS"])
def test_a_half_close_comes_at_once_where_asked_for(options: tuple[str, ...], authority: Authority) -> None:
    def chattering(conn: socket.socket) -> None:
        assert conn.recv(1) == b"x"
        while nothing_from(conn, 0.1):
            conn.sendall(b".")
        assert conn.recv(1) == b""

    handler = over_tls(authority, chattering) if "--ssl-no-verify" in options else chattering

    def proxy(conn: socket.socket) -> None:
        asked(conn, "5")
        conn.sendall(OK["5"])
        handler(conn)

    with serve(proxy) as (_, port):
        result = run([*PYNC, "-x", f"127.0.0.1:{port}", *options, "192.0.2.1", "7"], b"x")
    assert (result.status, result.err) == (0, "")


# -- ssh ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["http", "http, basic", "socks5", "socks5, password"])
def test_ssh_goes_through_a_proxy(way: str, through: Callable[[str], list[str]], server: Sshd) -> None:
    command = f"ProxyCommand={' '.join([*PYNC, *through(way)])} %h %p"
    data = PAYLOAD(BIG)
    result = run([*server.command("-o", command), "cat"], data)
    assert (result.status, digest(result.out)) == (0, digest(data))


@pytest.mark.parametrize("way", ["", "http", "socks5"])
def test_ssh_is_handed_the_connection(way: str, through: Callable[[str], list[str]], server: Sshd) -> None:
    words = through(way) if way else []
    command = f"ProxyCommand={' '.join([*PYNC, '-F', *words])} %h %p"
    data = PAYLOAD(BIG)
    result = run([*server.command("-o", command, "-o", "ProxyUseFdpass=yes"), "cat"], data)
    assert (result.status, digest(result.out)) == (0, digest(data))


@pytest.mark.parametrize("way", ["", "-X connect -x", "-X 5 -x"])
@pytest.mark.parametrize("hands_over", [False, True], ids=["relayed", "handed over"])
def test_ssh_goes_by_the_command_line_of_nc_openbsd(
    way: str, hands_over: bool, through: Callable[[str], list[str]], server: Sshd
) -> None:
    proxy = [*way.split(), through("http" if "connect" in way else "socks5")[-1]] if way else []
    command = f"ProxyCommand={' '.join([*pync_as('nc'), *['-F'] * hands_over, *proxy])} %h %p"
    data = PAYLOAD(BIG)
    fdpass = f"ProxyUseFdpass={'yes' if hands_over else 'no'}"
    result = run([*server.command("-o", command, "-o", fdpass), "cat"], data)
    assert (result.status, digest(result.out)) == (0, digest(data))


def test_a_connection_is_handed_over_with_the_bytes_that_came_early() -> None:
    def proxy(conn: socket.socket) -> None:
        asked(conn, "5")
        conn.sendall(OK["5"] + GREETING)
        assert drain(conn) == b"hello"

    ours, theirs = socket.socketpair()
    with ours, theirs, serve(proxy) as (_, port):
        process = pync("-F", "-x", f"127.0.0.1:{port}", "192.0.2.1", "7", stdout=theirs.fileno())
        with process:
            assert process.finish() == success()
        data, descriptors, _, _ = socket.recv_fds(ours, 10, 2)
        assert data == b"\0"
        assert len(descriptors) == 1
        with socket.socket(fileno=descriptors[0]) as conn:
            assert os.get_blocking(conn.fileno())
            assert take(conn, len(GREETING)) == GREETING
            conn.sendall(b"hello")


@pytest.mark.parametrize("where", ["a pipe", "a file"])
def test_a_connection_is_handed_over_to_a_unix_socket_only(where: str, tmp_path: Any) -> None:
    with serve(lambda conn: None) as (host, port), (tmp_path / "file").open("wb") as file:
        out = {} if where == "a pipe" else {"stdout": file}
        result = run([*PYNC, "-F", host, str(port)], DEVNULL, **out)
    assert result == failure("handing the connection over by stdout: Socket operation on non-socket")
