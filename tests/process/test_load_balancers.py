"""The PROXY protocol: a load balancer names the client to pync, and pync names its own clients to the target."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING

import encrypted
import pytest
from clients import drain, take
from harness import DEADLINE, DEVNULL, PYNC, Running, connect, listen, require, run, serve

from pync.events import Address
from pync.protocols.proxy_header import header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from certificates import Authority

NAMES = ("-c", "echo $PYNC_REMOTE_ADDR $PYNC_REMOTE_PORT; cat")
BALANCED = ("--accept-proxy", "--allow", "127.0.0.1")
CLIENT, OWN = Address(host="203.0.113.9", port=1234), Address(host="127.0.0.1", port=80)
LINE = b"PROXY TCP4 203.0.113.9 127.0.0.1 1234 80\r\n"


def ask(port: int, *parts: bytes, host: str = "127.0.0.1") -> bytes:
    with connect(port, host) as sock:
        for part in parts:
            sock.sendall(part)
        sock.shutdown(socket.SHUT_WR)
        return drain(sock)


# -- Taking the name ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [LINE, header(2, CLIENT, OWN)], ids=["version 1", "version 2"])
def test_the_client_is_the_one_that_the_balancer_names(sent: bytes) -> None:
    with listen("-k", *BALANCED, *NAMES, "127.0.0.1", "0") as server:
        assert ask(server.port, sent + b"hello\n") == b"203.0.113.9 1234\nhello\n"
        assert ask(server.port, *(sent[at : at + 1] for at in range(len(sent))), b"hello\n").endswith(b"\nhello\n")
        server.expect(r"^Connection from 203\.0\.113\.9 1234 through 127\.0\.0\.1:\d+\n")
        server.expect(r"^pync: 203\.0\.113\.9:1234: sent")


@pytest.mark.parametrize("sent", [b"PROXY UNKNOWN\r\n", header(2, Address(host=""), OWN)])
def test_a_balancer_that_names_no_client_is_the_client(sent: bytes) -> None:
    with listen("-k", *BALANCED, *NAMES, "127.0.0.1", "0") as server:
        assert ask(server.port, sent).startswith(b"127.0.0.1 ")


def test_without_many_only_a_client_that_is_named_is_the_only_one() -> None:
    with listen(*BALANCED, "127.0.0.1", "0") as server:
        with pytest.raises(ConnectionResetError):
            ask(server.port, b"hello\n")
        server.expect(r"^pync: connection from 127\.0\.0\.1:\d+: it sends no PROXY header\n")
        with connect(server.port):  # which sends nothing
            ask(server.port, LINE, b"hello\n")
            assert server.read_all() == b"hello\n"
            assert server.wait() == 0


def test_the_client_is_denied_by_its_own_address() -> None:
    with listen("-k", *BALANCED, "--deny", "203.0.113.0/24", *NAMES, "127.0.0.1", "0") as server:
        assert ask(server.port, LINE) == b""
        server.expect(r"^pync: connection from 203\.0\.113\.9 1234 denied: not allowed\n")
        assert ask(server.port, LINE.replace(b"203", b"204")) == b"204.0.113.9 1234\n"


def test_who_is_not_allowed_names_no_client() -> None:
    with listen("-k", "--accept-proxy", "--allow", "127.0.0.2", *NAMES, "127.0.0.1", "0") as server:
        assert ask(server.port) == b""
        server.expect(r"^pync: connection from 127\.0\.0\.1 \d+ denied: not allowed\n")


def test_the_header_comes_before_tls(authority: Authority) -> None:
    ours = encrypted.ours(authority.server)
    with (
        listen("-k", *BALANCED, *ours, *NAMES, "127.0.0.1", "0") as server,
        connect(server.port) as sock,
    ):
        sock.sendall(LINE)
        context = encrypted.client_side(authority)
        with context.wrap_socket(sock, server_hostname="localhost") as peer:
            assert take(peer, 17) == b"203.0.113.9 1234\n"


def test_a_balancer_reaches_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "unix"
    with listen("-kU", *BALANCED, *NAMES, str(path)), socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE)
        sock.connect(str(path))
        sock.sendall(LINE)
        sock.shutdown(socket.SHUT_WR)
        assert drain(sock) == b"203.0.113.9 1234\n"


# -- Naming the client -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def forwarding(*options: str, host: str = "127.0.0.1") -> Iterator[int]:
    """A pync that relays to one that shows the names of its clients."""
    with (
        listen("-k", *BALANCED, *NAMES, "127.0.0.1", "0") as target,
        listen("-k", "--to", f"127.0.0.1:{target.port}", *options, host, "0") as server,
    ):
        yield server.port


@pytest.mark.parametrize("option", ["--send-proxy", "--send-proxy-v2"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_target_is_sent_the_name_of_the_client(option: str, host: str) -> None:
    with forwarding(option, host=host) as port, connect(port, host) as sock:
        own = sock.getsockname()
        assert take(sock, len(f"{own[0]} {own[1]}\n")) == f"{own[0]} {own[1]}\n".encode()
        sock.sendall(b"hello\n")
        assert take(sock, 6) == b"hello\n"


@pytest.mark.parametrize("option", ["--send-proxy", "--send-proxy-v2"])
def test_a_name_is_passed_on(option: str) -> None:
    with forwarding(option, *BALANCED) as port:
        assert ask(port, LINE + b"hello\n") == b"203.0.113.9 1234\nhello\n"


def test_the_header_is_the_first_that_the_target_receives() -> None:
    with (
        serve(lambda conn: conn.sendall(drain(conn))) as (host, number),
        listen("-k", "--retry", "5", "--to", f"{host}:{number}", "--send-proxy", "127.0.0.1", "0") as server,
        connect(server.port) as sock,
    ):
        source = sock.getsockname()[1]
        sock.sendall(b"hello\n")
        sock.shutdown(socket.SHUT_WR)
        line = f"PROXY TCP4 127.0.0.1 127.0.0.1 {source} {server.port}\r\n".encode()
        assert drain(sock) == line + b"hello\n"


def test_the_header_comes_before_tls_with_the_target(authority: Authority) -> None:
    context = encrypted.server_side(authority.server)

    def under_tls(conn: socket.socket) -> None:
        line = b""
        while not line.endswith(b"\n"):
            line += conn.recv(1)
        with context.wrap_socket(conn, server_side=True) as peer, contextlib.suppress(ssl.SSLError):
            peer.sendall(line)
            peer.unwrap()

    with serve(under_tls) as (_, number):
        options = ["--to", f"localhost:{number}", "--send-proxy", "--to-ssl", "--ssl-trustfile", str(authority.trust)]
        with listen("-k", *options, "127.0.0.1", "0") as server:
            assert ask(server.port).startswith(b"PROXY TCP4 127.0.0.1 ")


# -- Real ones ---------------------------------------------------------------------------------------------------

HAPROXY = """
defaults
    mode tcp
    timeout connect 9s
    timeout client 9s
    timeout server 9s
listen named
    bind fd@{named}
    server target 127.0.0.1:{target} {option}
listen naming
    bind fd@{naming} accept-proxy
    server target 127.0.0.1:{target} send-proxy-v2 check inter 100ms
"""


@contextlib.contextmanager
def haproxy(folder: Path, target: int, option: str = "send-proxy") -> Iterator[tuple[int, int]]:
    """HAProxy in front of a target that wants names; the ports for clients without a name, and with one."""
    require("haproxy")
    with socket.create_server(("127.0.0.1", 0)) as named, socket.create_server(("127.0.0.1", 0)) as naming:
        fds = [named.fileno(), naming.fileno()]
        config = HAPROXY.format(named=fds[0], naming=fds[1], target=target, option=option)
        (folder / "haproxy.cfg").write_text(config)
        with Running(["haproxy", "-db", "-f", str(folder / "haproxy.cfg")], stdin=DEVNULL, pass_fds=fds):
            yield named.getsockname()[1], naming.getsockname()[1]


@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options unique-id,crc32c"])
def test_haproxy_names_its_clients(option: str, tmp_path: Path) -> None:
    with (
        listen("-k", *BALANCED, *NAMES, "127.0.0.1", "0") as server,
        haproxy(tmp_path, server.port, option) as (port, _),
        connect(port) as sock,
    ):
        sock.sendall(b"hello\n")
        name = b"127.0.0.1 %d\n" % sock.getsockname()[1]
        assert take(sock, len(name) + 6) == name + b"hello\n"


@pytest.mark.parametrize("option", ["--send-proxy", "--send-proxy-v2"])
def test_haproxy_takes_the_names_of_our_clients(option: str, tmp_path: Path) -> None:
    with (
        listen("-k", *BALANCED, *NAMES, "127.0.0.1", "0") as server,
        haproxy(tmp_path, server.port) as (_, port),
        listen("-k", "--to", f"127.0.0.1:{port}", option, "127.0.0.1", "0") as front,
        connect(front.port) as sock,
    ):
        name = b"127.0.0.1 %d\n" % sock.getsockname()[1]
        assert take(sock, len(name)) == name


def test_the_checks_of_haproxy_are_sessions_of_its_own(tmp_path: Path) -> None:
    with (
        listen("-k", *BALANCED, "-c", "true", "127.0.0.1", "0") as server,
        haproxy(tmp_path, server.port),
    ):
        server.expect(r"^pync: 127\.0\.0\.1:\d+: sent 0 B", count=2)
        assert "PROXY header" not in server.stderr


NGINX = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen unix:{folder}/web proxy_protocol;
        return 200 "$proxy_protocol_addr $proxy_protocol_port\\n";
    }}
}}
"""


@pytest.mark.parametrize("option", ["--send-proxy", "--send-proxy-v2"])
def test_nginx_takes_the_names_of_our_clients(option: str, tmp_path: Path) -> None:
    require("nginx")
    (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path))
    with (
        Running(["nginx", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")], stdin=DEVNULL),
        listen("-k", "--retry", "9", "--to", str(tmp_path / "web"), option, "127.0.0.1", "0") as server,
        connect(server.port) as sock,
    ):
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert drain(sock).endswith(b"127.0.0.1 %d\n" % sock.getsockname()[1])


# -- What cannot be done -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-l", "--accept-proxy", "0"], "--accept-proxy without --allow: any client could take the name of another"),
        (["--accept-proxy", "h", "1"], "--accept-proxy without -l"),
        (
            ["-lu", "--accept-proxy", "--allow", "::1", "0"],
            "-u with --accept-proxy: the PROXY protocol needs a stream",
        ),
        (["-lu", "--to", "h:1", "--send-proxy", "0"], "-u with --send-proxy: the PROXY protocol needs a stream"),
        (["-l", "--send-proxy", "0"], "--send-proxy without --to: one belongs to the other"),
    ],
)
def test_what_makes_no_sense_is_refused(options: list[str], message: str) -> None:
    result = run([*PYNC, *options])
    assert result.status == 2
    assert result.err.startswith(f"pync: {message}")
