"""Starting: no run imports anything costly, nor anything of a feature that it was not asked for.

It is the installed command that is asked, and what the interpreter imports by itself is left out.
"""

from __future__ import annotations

import contextlib
import gc
import re
import signal
import socket
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

import encrypted
import pytest
from harness import DEADLINE, DEVNULL, PYNC, UNMEASURED, Running, announced, connect, free_port, run, serve
from layers import COSTLY, within
from pairs import drain
from under_names import pync_as
from websocket_frames import FIN, REQUEST, TEXT, closing, frame

from pync import engine
from pync.config import Config
from pync.protocols.http_auth import answer

if TYPE_CHECKING:
    import ssl
    from pathlib import Path
    from typing import IO

    from certificates import Authority

    from pync.events import Event
    from pync.protocols.dialogue import Login

# -- What may be imported ----------------------------------------------------------------------------------------

# Each feature, and the modules and folders that are its own: a run that does not ask for it must not import them.
FEATURES = {
    "moving bytes": ("endpoints", "relay", "sessions"),
    "ways of other netcats": (
        *("behaviour", "net.one_by_one", "net.first_address", "net.own_path", "connections.only_client"),
        *("relay.other_rules", "relay.other_reads", "modes.ordered_scan", "services.one_by_one"),
    ),
    "idle limit": ("relay.idle",),
    "socket options": ("net.options",),
    "looking up a name": ("loop.threads",),
    "several addresses": ("net.happy_eyeballs",),
    "source address": ("net.source",),
    "trying again": ("connections.retry",),
    "between the ends": ("sessions.between",),
    "scanning": ("modes.scan", "modes.port_probes"),
    "connecting again": ("modes.reconnecting",),
    "waiting for places": ("modes.waiting", "faces.native.places", "faces.become"),
    "listening": ("modes.listen", "connections.incoming", "net.access", "net.bind", "services.server"),
    "one interface": ("net.interface", "system.interfaces"),
    "PROXY protocol": ("connections.through_balancer", "protocols.proxy_header"),
    "rights of paths": ("net.path_rights",),
    "passed sockets": ("net.inherited", "faces.native.passed"),
    "serving many": ("preload",),
    "shared stdio": ("endpoints.file_source", "endpoints.shared_stdio", "services.shared_stdio"),
    "queues for clients": ("endpoints.client_queues",),
    "programs": ("endpoints.child", "endpoints.children", "sessions.program"),
    "datagrams": (
        *("connections.next_address", "connections.first_sender", "connections.datagram_peer"),
        *("relay.answers", "net.groups", "endpoints.groups"),
        *("endpoints.datagrams", "endpoints.datagram_server", "endpoints.segments", "endpoints.mailbox"),
        *("endpoints.asked_address", "endpoints.lines", "services.crowd", "services.datagram_clients"),
    ),
    "wrappers": ("endpoints.wrappers",),
    "terminals": ("endpoints.terminal",),
    "raw terminals": ("endpoints.raw_terminal", "faces.native.raw_terminal", "stages.window_size"),
    "stages": ("stages.crlf", "stages.telnet"),
    "checksums": ("stages.checksum",),
    "ends of sessions": ("relay.session_end", "faces.native.traffic"),  # with -v
    "progress": ("relay.progress", "faces.native.progress"),
    "logs": ("relay.log_files", "relay.open_logs"),
    "logs of clients": ("relay.client_logs", "services.logged"),
    "hub": ("services.hub", "stages.chat_lines"),
    "forwarding": ("relay.bridge", "services.forward"),
    "proxies": (
        *("protocols", "connections.proxy_client", "connections.permitted"),
        *("net.targets", "services.proxy"),
    ),
    "HTTP": (
        *("protocols.http_answer", "protocols.http_ranges", "protocols.http_request"),
        *("endpoints.kept_stdin", "sessions.http_exchange", "sessions.request_source"),
        *("services.http_answer", "stages.visible"),
    ),
    "TLS": ("tls", "connections.encryption"),
    "WebSocket": (
        "connections.websocket",
        "connections.websocket_stream",
        "websocket_config",
        "faces.native.websocket",
    ),
    "other users": ("net.privileges",),
    "process 1": ("process_one",),
    "options of TLS, proxies and relaying": ("faces.native.tls_and_proxy",),
    "an only operand": ("faces.native.one_operand",),
    "words for failures": ("faces.native.advice",),
    "messages": ("faces.stderr",),
    "JSON": ("faces.native.json_lines",),
    "times": ("wall_time",),
    "passwords": ("faces.password",),
    "other faces": ("faces.openbsd", "faces.traditional", "faces.glibc_getopt", "behaviour"),
    "help": ("faces.help_text", "faces.completion"),
}
CONVERSATION = {"moving bytes"}
LISTENER = CONVERSATION | {"listening", "words for failures", "messages", "ends of sessions"}
# A server has all that a session may need before its files are out of reach, or its descriptors are used up.
SERVER = LISTENER | {
    "serving many",
    "progress",
    "programs",
    "wrappers",
    "stages",
    "idle limit",
    "between the ends",
}
EXTRA = {"options of TLS, proxies and relaying"}

# Of all others: what no run imports that does not need it for what it was asked.
RARE = COSTLY | {"click", "h11", "ipaddress", "mimetypes", "random", "ssl", "tempfile", "threading", "tty"}
SSL = {"enum", "functools", "re", "socket", "ssl"}  # of these, what `import ssl` is


# -- Asking the interpreter --------------------------------------------------------------------------------------


def python(*arguments: str) -> list[str]:
    """An interpreter that tells on stderr what it imports."""
    return [sys.executable, "-X", "importtime", *arguments]


START = python(*PYNC)


def named(err: str) -> set[str]:
    """The modules in what `-X importtime` tells."""
    return {line.rpartition("|")[2].strip() for line in err.splitlines() if line.startswith("import time:")}


@cache
def bare() -> frozenset[str]:
    """What the interpreter imports by itself."""
    return frozenset(named(run(python("-c", "pass"), env=UNMEASURED).err))


class Imported:
    """What a run imported: modules of pync, without that prefix, and others."""

    def __init__(self, err: str) -> None:
        names = named(err) - bare()
        self.own = {name.removeprefix("pync.") for name in names if name.startswith("pync.")}
        self.features = {
            feature
            for feature, rooms in FEATURES.items()
            if any(within(name, room) for name in self.own for room in rooms)
        }
        self.others = {name for name in names if not name.startswith("pync")}
        self.late = named(re.split("^(?:Listening|Bound) on", err, maxsplit=1, flags=re.MULTILINE)[-1])


def client(*options: str, host: str = "127.0.0.1", port: int = 0, stdin: bytes = b"hello\n") -> Imported:
    """Run pync against a server that echoes: that one, or one of our own."""
    with serve(echo) as (_, ours):
        result = run([*START, *options, host, str(port or ours)], stdin, env=UNMEASURED)
    assert result.status == 0, result.err
    assert result.out == (b"" if "-z" in options else stdin)
    return Imported(result.err)


def echo(conn: socket.socket) -> None:
    with contextlib.suppress(ConnectionError):
        while data := conn.recv(4096):
            conn.sendall(data)


def server(*options: str, answer: bytes = b"", context: ssl.SSLContext | None = None) -> Imported:
    """Run a pync that listens, and talk to it. One that goes on without its client is ended by a signal."""
    goes_on = "-k" in options
    with announced(Running([*START, "-v", "-l", *options, "127.0.0.1", "0"], env=UNMEASURED)) as process:
        process.close_stdin()
        assert answered(process.port, context) == answer
        if goes_on:
            process.signal(signal.SIGTERM)
        result = process.finish()
    assert result.status == (143 if goes_on else 0), result.err
    return Imported(result.err)


def answered(port: int, context: ssl.SSLContext | None) -> bytes:
    """What a server answers, to the end of file after ours."""
    if context:
        with encrypted.greeted(context, port) as peer:
            peer.sendall(b"hello\n")
            encrypted.send_end(peer)
            return encrypted.drain_tls(peer)
    with connect(port) as plain:
        plain.sendall(b"hello\n")
        plain.shutdown(socket.SHUT_WR)
        return drain(plain)


# -- The laws ----------------------------------------------------------------------------------------------------


def test_a_scan_imports_nothing_that_moves_bytes() -> None:
    imported = client("-z")
    assert imported.features == {"scanning"}
    assert imported.others & RARE <= {"resource"}


@pytest.mark.parametrize(("name", "others"), [("nc", "traditional"), ("nc.traditional", "openbsd")])
def test_a_face_that_does_not_run_is_not_imported(name: str, others: str) -> None:
    with serve(echo) as (host, port):
        imported = Imported(run([*python(*pync_as(name)), "-z", host, str(port)], env=UNMEASURED).err)
    assert "other faces" in imported.features
    assert imported.others & RARE <= {"resource"}
    assert not [module for module in imported.own if within(module, f"faces.{others}")]
    assert not [module for module in imported.own if within(module, "faces.native")]


def test_connecting_imports_what_a_conversation_needs() -> None:
    imported = client()
    assert imported.features == CONVERSATION
    assert imported.others & RARE == set()


def test_listening_imports_what_a_conversation_needs() -> None:
    imported = server()
    assert imported.features == LISTENER
    assert imported.others & RARE == set()


def test_a_program_imports_what_a_program_needs() -> None:
    imported = server("--filter", "cat", answer=b"hello\n")
    assert imported.features == LISTENER | {"programs"}
    assert imported.others & RARE <= {"tty"}


@pytest.mark.parametrize(
    ("options", "more"),
    [
        (["-C"], {"between the ends", "stages"}),
        (["-t"], {"between the ends", "stages"}),
        (["-i", "1ms"], {"between the ends", "wrappers"}),
        (["--delay", "1ms"], {"between the ends", "wrappers"}),
        (["-o", "/dev/null"], {"between the ends", "logs"}),
    ],
    ids=["crlf", "telnet", "pace", "delay", "log"],
)
def test_what_is_asked_for_is_imported_and_nothing_beside_it(options: list[str], more: set[str]) -> None:
    imported = client(*options, stdin=b"hello\r\n" if "-C" in options else b"hello\n")
    assert imported.features == CONVERSATION | more
    assert imported.others & RARE == set()


@pytest.mark.parametrize(
    ("name", "options", "more"),
    [
        ("%n", ["-o"], {"logs of clients", "times"}),
        ("log", ["--timestamps", "--hex-dump"], {"times"}),
        ("100%%", ["-o"], set()),
    ],
    ids=["of clients", "with the time", "with a percent sign"],
)
def test_a_log_imports_what_its_name_and_its_lines_need(
    name: str, options: list[str], more: set[str], tmp_path: Path
) -> None:
    imported = client(*options, f"{tmp_path}/{name}")
    assert imported.features == CONVERSATION | {"between the ends", "logs"} | more
    assert imported.others & RARE == set()


def test_a_server_imports_what_its_sessions_may_need() -> None:
    imported = server("-k")
    assert imported.features == SERVER | {"shared stdio", "queues for clients"}
    assert imported.others & RARE == {"tty"}


@pytest.mark.parametrize("kind", ["--broker", "--chat"])
def test_a_hub_imports_what_a_hub_needs(kind: str) -> None:
    with announced(Running([*START, "-v", "-l", kind, "127.0.0.1", "0"], env=UNMEASURED)) as process:
        with connect(process.port) as one, connect(process.port) as other:
            process.expect("^Connection received", count=2)
            one.sendall(b"hello\n")
            heard = b""
            while not heard.endswith(b"hello\n"):
                heard += other.recv(4096)
        process.signal(signal.SIGTERM)
        imported = Imported(process.finish().err)
    assert imported.features == SERVER | EXTRA | {"hub", "queues for clients"}
    assert imported.others & RARE == {"tty"}


def test_forwarding_imports_what_forwarding_needs() -> None:
    with serve(echo) as (host, port):
        imported = server("-k", "--to", f"{host}:{port}", answer=b"hello\n")
    assert imported.features == SERVER | EXTRA | {"forwarding", "several addresses", "looking up a name"}
    assert imported.others & RARE == {"tty"}


def test_a_way_through_a_proxy_imports_what_a_proxy_needs() -> None:
    def proxy(conn: socket.socket) -> None:
        conn.recv(3)
        conn.sendall(b"\5\0")
        conn.recv(10)
        conn.sendall(b"\5\0\0\1" + bytes(6))
        echo(conn)

    with serve(proxy) as (host, port):
        imported = client("-x", f"{host}:{port}")
    assert imported.features == CONVERSATION | EXTRA | {"proxies"}
    assert imported.others & RARE == set()


# -- A server that is shut in --------------------------------------------------------------------------------------

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
UNIX_DATAGRAMS = (socket.AF_UNIX, socket.SOCK_DGRAM)
GREETING = b"\5\1\0"  # of SOCKS 5, which offers to do without authentication
LOGIN = ("me", "secret")
KNOWN = ["--proxy-auth", ":".join(LOGIN)]
NONCE = 'Digest realm="pync", nonce="3e8-1-00", qop="auth"'  # one that no proxy of ours has made


def imported_late(options: list[str], questions: list[bytes], stdin: int | IO[bytes] = DEVNULL) -> set[str]:
    """What a server imports once it listens, if each question is asked twice, each time by a client of its own."""
    with serve(echo) as (host, port), free_port() as refusing:
        places = {"target": f"{host}:{port}", "number": str(port), "closed": f"{host}:{refusing}"}
        chosen = [option.format(**places) for option in options]
        words = [*START, "-v", "-l", "-k", *chosen, "127.0.0.1", "0"]
        with announced(Running(words, env=UNMEASURED, stdin=stdin)) as process:
            for number, question in enumerate(questions * 2, 1):
                for name, place in places.items():
                    question = question.replace(b"{%s}" % name.encode(), place.encode())
                with contextlib.suppress(OSError), connect(process.port) as peer:  # some clients are reset
                    process.expect("^Connection received", count=number)
                    peer.sendall(question.replace(b"{port}", port.to_bytes(2, "big")))
                    if not {"--broker", "--chat"} & {*options}:  # from a hub, a client with an end still receives
                        peer.shutdown(socket.SHUT_WR)
                        drain(peer)
            process.signal(signal.SIGTERM)
            return Imported(process.finish().err).late


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-C", "-i", "1ms", "--delay", "1ms", "--idle-timeout", "9"],
        ["-e", "/bin/cat"],
        ["--filter", "cat"],
        ["--broker"],
        ["--chat"],
        ["--to", "{target}"],
        ["--to", "localhost:{number}"],
        ["--to", "{closed}"],
        ["--to", "b\u00fccher.invalid:{number}"],
        ["--to", "b\u00fccher.invalid:{number}", "-x", "{target}"],
        ["--to", "b\u00fccher.invalid:{number}", "--proxy", "{target}", *KNOWN],
    ],
    ids=" ".join,
)
def test_a_server_imports_nothing_once_it_listens(options: list[str]) -> None:
    assert imported_late(options, [b"hello\n", b"\xff\r\n"]) == set()


@pytest.mark.parametrize(
    "options", [[], ["-e", "/bin/cat"], ["--broker"], ["--chat"], ["--to", "{target}"], ["--http"]], ids=" ".join
)
def test_a_server_with_logs_of_clients_imports_nothing_once_it_listens(options: list[str], tmp_path: Path) -> None:
    logs = ["--timestamps", "-o", f"{tmp_path}/%n.raw", "--hex-dump", f"{tmp_path}/%a-%p-%t"]
    assert imported_late([*logs, *options], [GET if "--http" in options else b"hello\n"]) == set()


WEBSOCKET = (REQUEST % "Sec-WebSocket-Protocol: a\r\n").encode() + frame(FIN | TEXT, b"hello\n") + closing(1000)
OF_A_PAGE = (REQUEST % "Origin: http://localhost\r\n").encode()


@pytest.mark.parametrize("options", [["--filter", "cat"], ["--broker"], ["--ws-text", "--ssl"], ["--to", "{target}"]])
def test_a_server_of_websockets_imports_nothing_once_it_listens(options: list[str]) -> None:
    assert imported_late(["--ws", *options], [WEBSOCKET, OF_A_PAGE, GET, b"\xff\r\n"]) == set()


def test_a_forwarder_to_a_websocket_imports_nothing_once_it_listens() -> None:
    assert imported_late(["--to", "ws://localhost:{number}/"], [b"hello\n"]) == set()


def test_a_forwarder_of_unix_datagrams_imports_nothing_once_it_listens(tmp_path: Path) -> None:
    ours, theirs = str(tmp_path / "ours"), str(tmp_path / "theirs")
    with socket.socket(*UNIX_DATAGRAMS) as target, socket.socket(*UNIX_DATAGRAMS) as client:
        target.bind(theirs)
        target.settimeout(DEADLINE)
        client.bind("")  # any abstract name
        words = [*START, "-v", "-lkuU", "--to", theirs, ours]
        with announced(Running(words, env=UNMEASURED, stdin=DEVNULL), "Bound") as process:
            client.sendto(b"hello", ours)
            assert target.recv(100) == b"hello"
            process.signal(signal.SIGTERM)
            err = process.finish().err
            assert Imported(err).late == set(), err[-3000:]


@pytest.mark.parametrize(
    "options",
    [
        *([], ["--lines"], ["-C", "-i", "1ms", "--delay", "1ms"], ["-t"], ["--idle-timeout", "9"]),
        *(["-e", "/bin/cat"], ["--filter", "cat"], ["--to", "127.0.0.1:{}"], ["--to", "localhost:{}"]),
    ],
    ids=" ".join,
)
def test_a_server_of_datagrams_imports_nothing_once_it_listens(options: list[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target:
        target.bind(("127.0.0.1", 0))  # and not to ::1, which may be the first address of localhost
        words = [*START, "-v", "-lku", *(option.format(target.getsockname()[1]) for option in options)]
        with announced(Running([*words, "127.0.0.1", "0"], env=UNMEASURED, stdin=DEVNULL), "Bound") as process:
            for number in range(2):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    client.connect(("127.0.0.1", process.port))
                    client.send(b"hello\n")
                    process.expect("^Connection received", count=number + 1)
                    client.send(b"\xff\r\n")
            if "--to" in options:
                target.settimeout(DEADLINE)
                assert [target.recv(100) for _ in range(2)][0] == b"hello\n"
            process.signal(signal.SIGTERM)
            err = process.finish().err
            assert Imported(err).late == set(), err[-3000:]


CONNECT = b"CONNECT %s HTTP/1.1\r\nHost: test\r\n%s\r\n"


def proxy_request(method: bytes, where: bytes, *fields: bytes, body: bytes = b"") -> bytes:
    """A request of a plain method to a proxy."""
    head = [b"%s http://%s/ HTTP/1.1" % (method, where), b"Host: test", *fields, b"", body]
    return b"\r\n".join(head)


def with_digest(algorithm: str, login: Login) -> bytes:
    """A CONNECT with an answer to a challenge by Digest."""
    credentials = answer([f"{NONCE}, algorithm={algorithm}"], login, "CONNECT", "h:1", "c") or ""
    return CONNECT % (b"h:1", f"Proxy-Authorization: {credentials}\r\n".encode())


BAD_REQUESTS = [
    b"\x16\x03\x01",
    b"hello\r\n\r\n",
    b"GET / HTTP/3.0\r\n\r\n",
    b"GET /",
    b"GET / HTTP/1.1\r\n\xff\r\n\r\n",
]


@pytest.mark.parametrize("login", [[], KNOWN], ids=["open", "with a login"])
@pytest.mark.parametrize(
    "options", [[], ["--proxy-deny", "::1,127.0.0.1"], ["--proxy", "{target}"], ["-x", "{closed}"]], ids=" ".join
)
def test_an_http_proxy_imports_nothing_once_it_listens(options: list[str], login: list[str]) -> None:
    questions = [
        *(GET, *BAD_REQUESTS),
        *(CONNECT % (place, b"") + b"hello\n" for place in (b"{target}", b"{closed}", b"no-such-name.invalid:80")),
        *(CONNECT % (place, b"") for place in (b"b\xc3\xbccher:80", b"\xff:80", b"[::1]:1", b"h", b"h:x")),
        *(proxy_request(b"GET", place) for place in (b"{target}", b"{closed}", b"\xff", b"u:p@h", b"h\0")),
        proxy_request(b"POST", b"{target}", b"Content-Length: 3", body=b"abc" + GET),
        proxy_request(b"POST", b"{target}", b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n\r\n" + GET),
        proxy_request(b"POST", b"{target}", b"Transfer-Encoding: chunked", body=b"x\r\n"),
        proxy_request(b"TRACE", b"{target}", b"Max-Forwards: 0"),
        proxy_request(b"GET", b"{target}", b"Proxy-Authorization: Basic bWU6c2VjcmV0"),
        proxy_request(b"GET", b"{target}", b"Proxy-Authorization: Basic ===="),
        proxy_request(b"GET", b"{target}", b"Proxy-Authorization: \xff\xfe"),
        *(with_digest(algorithm, LOGIN) for algorithm in ("MD5", "SHA-256", "SHA-512-256-sess")),
        with_digest("MD5", ("me", "wrong")),
    ]
    chained = [option for option in options if not login]  # a login would be for the next proxy
    assert imported_late(["--proxy-server", "http", *chained, *login], questions) == set()


@pytest.mark.parametrize("login", [[], KNOWN], ids=["open", "with a login"])
def test_a_socks_proxy_imports_nothing_once_it_listens(login: list[str]) -> None:
    identified = b"\5\1\2\1\2me\6secret" if login else GREETING
    questions = [
        *(GET, GREETING, b"\4\1\0\x50\0\0\0\1\0name\0", b"\5", b"\5\1\2\1\2me\5wrong", b"\5\1\2\1\1\xff\1\xff"),
        identified + b"\5\1\0\1\x7f\0\0\1{port}hello\n",
        identified + b"\5\1\0\3\x09localhost{port}hello\n",
        identified + b"\5\1\0\3\x14no-such-name.invalid{port}",
        identified + b"\5\1\0\4" + bytes(15) + b"\1\0\1",
        *(identified + b"\5\1\0\3" + name + b"\0\x50" for name in (b"\1\xff", b"\7b\xc3\xbccher", b"\0", b"\1\n")),
        *(identified + request for request in (b"\5\2\0\1\x7f\0\0\1\0\1", b"\5\1\0\7", b"\4\1\0\1")),
    ]
    assert imported_late(["--proxy-server", "socks5", *login], questions) == set()


PAGES = {
    "nothing": b"",
    "JSON": b'{"key": 1}',
    "no JSON": b"{",
    "text": b"\xc3\xbc",
    "an icon": b"\xff\xd8\xff",
    "zeros": bytes(2 << 20),
}


@pytest.mark.parametrize("piped", [False, True], ids=["a file", "a pipe"])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_imports_nothing_once_it_is_served(page: str, piped: bool, tmp_path: Path) -> None:
    fields = [
        *(
            b"Range: bytes=1-2",
            b"Range: bytes=9999999-",
            b"Range: x",
            b"If-None-Match: *",
            b"If-Range: x\r\nRange: bytes=0-",
        ),
        *(b"If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", b"If-Modified-Since: \xff", b"Accept: \xff"),
    ]
    questions = [
        *(GET, *BAD_REQUESTS, b"HEAD" + GET[3:], b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n"),
        *(GET[:-2] + field + b"\r\n\r\n" for field in fields),
        b"POST" + GET[3:-2] + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
        b"POST" + GET[3:-2] + b"Content-Length: 3\r\n\r\na",
        b"POST" + GET[3:-2] + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"POST" + GET[3:-2] + b"Transfer-Encoding: chunked\r\n\r\n!",
    ]
    (tmp_path / "page").write_bytes(PAGES[page])
    with contextlib.ExitStack() as stack:
        stdin: IO[bytes] = stack.enter_context((tmp_path / "page").open("rb"))
        if piped:
            cat = stack.enter_context(subprocess.Popen(["cat"], stdin=stdin, stdout=subprocess.PIPE))
            assert cat.stdout
            stdin = cat.stdout
        assert imported_late(["--http"], questions, stdin) == set()


CLIENT_HELLO = bytes.fromhex("160301002f0100002b0303") + bytes(32) + bytes.fromhex("000004009c00ff0100")  # of TLS 1.2


@pytest.mark.parametrize("verify", [False, True], ids=["any client", "known clients"])
@pytest.mark.parametrize(
    "options",
    [[], ["--http"], ["-e", "/bin/cat"], ["--broker"], ["--to", "{target}"], ["--proxy-server", "socks5"]],
    ids=" ".join,
)
def test_a_server_under_tls_imports_nothing_once_it_listens(
    options: list[str], verify: bool, authority: Authority
) -> None:
    known = ["--ssl-verify", "--ssl-trustfile", str(authority.trust)] if verify else []
    garbage = [b"hello\n", b"", b"\x16\x03\x01", b"\x16\x03\x01\xff\xff", b"\x80\x2e\x01", CLIENT_HELLO, GET]
    assert imported_late([*options, *encrypted.ours(authority.server), *known], garbage) == set()


@pytest.mark.parametrize("options", [["--to-ssl", "--to", "{target}"], ["--to-ssl", "--to", "localhost:{number}"]])
@pytest.mark.parametrize("trust", [[], ["--ssl-no-verify"], ["--ssl-pin", f"sha256:{'ab' * 32}"]], ids=" ".join)
def test_a_forwarder_to_tls_imports_nothing_once_it_listens(options: list[str], trust: list[str]) -> None:
    assert imported_late([*options, *trust], [b"hello\n"]) == set()  # the target answers what is no TLS


# -- TLS ---------------------------------------------------------------------------------------------------------


def test_a_client_under_tls_imports_what_tls_needs(authority: Authority) -> None:
    context = encrypted.server_side(authority.server)

    def echo_under_tls(conn: socket.socket) -> None:
        with context.wrap_socket(conn, server_side=True) as peer:
            echo(peer)
            peer.unwrap()

    with serve(echo_under_tls) as (host, port):
        imported = client(*encrypted.trusting(authority), host=host, port=port)
    assert imported.features == CONVERSATION | EXTRA | {"TLS"}
    assert imported.others & RARE == SSL - bare()


@pytest.mark.parametrize(
    ("options", "more"),
    [([], LISTENER), (["-k"], SERVER | {"shared stdio", "queues for clients"})],
    ids=["one client", "many"],
)
def test_a_listener_under_tls_imports_what_tls_needs(options: list[str], more: set[str], authority: Authority) -> None:
    imported = server(*options, *encrypted.ours(authority.server), context=encrypted.client_side(authority))
    assert imported.features == more | EXTRA | {"TLS"}
    assert imported.others & RARE - {"tty"} == SSL - bare()


# -- Others ------------------------------------------------------------------------------------------------------


def test_the_version_is_told_without_an_engine() -> None:
    result = run([*START, "--version"], env=UNMEASURED)
    assert result.status == 0
    assert Imported(result.err).features == set()


# -- The collector -----------------------------------------------------------------------------------------------

# Runs pync with an engine that tells whether garbage is collected when it is reached.
REACHED = """
import gc, os, sys, types
from pync.cli import main

def run(*_):
    os.write(1, b"on" if gc.isenabled() else b"off")
    os._exit(0)

sys.modules["pync.engine"] = types.ModuleType("pync.engine")
sys.modules["pync.engine"].run = run
sys.argv = ["pync", "127.0.0.1", "1"]
main()
"""


def test_no_garbage_is_collected_during_the_start() -> None:
    assert run([sys.executable, "-c", REACHED], env=UNMEASURED).out == b"off"


def test_garbage_is_collected_while_the_loop_runs_and_what_was_there_before_is_left_out() -> None:
    seen: list[tuple[bool, bool]] = []

    def report(event: Event) -> None:
        seen.append((gc.isenabled(), gc.get_freeze_count() > 0))

    gc.disable()
    try:
        with serve(echo) as (host, port):
            engine.run(Config(mode="scan", host=host, ports=(port,)), report)
    finally:
        gc.unfreeze()
        gc.enable()
    assert seen == [(True, True)]


def test_who_runs_the_engine_with_the_collector_on_keeps_it_as_it_is() -> None:
    frozen = gc.get_freeze_count()
    with serve(echo) as (host, port):
        engine.run(Config(mode="scan", host=host, ports=(port,)), lambda event: None)
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen
