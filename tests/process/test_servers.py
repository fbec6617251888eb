"""The peers of the process tests, each with another program or plain Python: they do what their modules describe.

No pync takes part. A failure here means that a peer has changed, or that this machine is different.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
from certificates import Authority
from clients import drain, take
from harness import DEADLINE, DEVNULL, PAYLOAD, Result, Running, connect, free_port, require, run, serve, success
from pairs import nothing_from
from servers import microsocks, ncat_proxy, on_a_free_port, shared_folder, ssh_dynamic, sshd, tinyproxy
from tls_peers import CLIENTS, SERVERS, VERSIONS, curl, s_server, socat_server, stunnel_client, stunnel_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from certificates import Certificate
    from tls_peers import Peer

PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n"


def answer(conn: socket.socket) -> None:
    """A web server of one page."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += conn.recv(1)
    conn.sendall(PAGE)


# -- Proxies -----------------------------------------------------------------------------------------------------


def fetch(*options: str) -> tuple[int, bytes]:
    """What curl gets through a proxy from the server of one page, and its status."""
    with serve(answer) as (host, port):
        return run([require("curl"), "-q", "-sS", "--noproxy", "", *options, f"http://{host}:{port}/"]).status_and_out


def test_tinyproxy_serves_a_client_with_the_right_login() -> None:
    with tinyproxy() as proxy:
        assert fetch("-x", f"http://127.0.0.1:{proxy.port}") == (0, b"hello\n")
        assert fetch("-p", "-x", f"http://127.0.0.1:{proxy.port}") == (0, b"hello\n")
    with tinyproxy("user:secret") as proxy:
        assert fetch("-p", "-x", f"http://user:secret@127.0.0.1:{proxy.port}") == (0, b"hello\n")
        assert fetch("-p", "-x", f"http://user:wrong@127.0.0.1:{proxy.port}")[0] != 0


def test_microsocks_serves_a_client_with_the_right_login() -> None:
    with microsocks() as proxy:
        assert fetch("-x", f"socks5://127.0.0.1:{proxy.port}") == (0, b"hello\n")
    with microsocks("user:secret") as proxy:
        assert fetch("-x", f"socks5h://user:secret@127.0.0.1:{proxy.port}") == (0, b"hello\n")
        assert fetch("-x", f"socks5h://user:wrong@127.0.0.1:{proxy.port}")[0] != 0
        assert fetch("-x", f"socks5h://127.0.0.1:{proxy.port}")[0] != 0


def test_ncat_as_a_proxy_serves_a_client_with_the_right_login() -> None:
    with ncat_proxy() as proxy:
        assert fetch("-p", "-x", f"http://127.0.0.1:{proxy.port}") == (0, b"hello\n")
    with ncat_proxy("user:secret") as proxy:
        assert fetch("-p", "-x", f"http://user:secret@127.0.0.1:{proxy.port}") == (0, b"hello\n")
        assert fetch("-p", "-x", f"http://user:wrong@127.0.0.1:{proxy.port}")[0] != 0


def test_ncat_as_a_proxy_asks_for_digest_and_ends_the_connection() -> None:
    with ncat_proxy("user:secret") as proxy, serve(answer) as (_, port):
        with connect(proxy.port) as conn:
            conn.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % port)
            refusal = drain(conn)
        words = ["--proxy", f"127.0.0.1:{proxy.port}", "--proxy-auth", "user:secret", "127.0.0.1", str(port)]
        with Running([require("ncat"), *words]) as client:
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            page = client.read_all()
    assert refusal.startswith(b"HTTP/1.0 407 ")
    assert b'\r\nProxy-Authenticate: Basic realm="Ncat"\r\nProxy-Authenticate: Digest realm="Ncat", nonce=' in refusal
    assert page == PAGE


def test_ncat_is_an_https_proxy(authority: Authority) -> None:
    with ncat_proxy("user:secret", authority.server) as proxy:
        where = ["-x", f"https://user:secret@localhost:{proxy.port}", "--proxy-cacert", str(authority.trust)]
        assert fetch("-p", *where) == (0, b"hello\n")


def test_ssh_is_a_socks_proxy() -> None:
    with ssh_dynamic() as proxy:
        for scheme in "socks4", "socks4a", "socks5", "socks5h":
            assert fetch("-x", f"{scheme}://127.0.0.1:{proxy.port}") == (0, b"hello\n")


# -- The ends of a tunnel ------------------------------------------------------------------------------------------


def by_connect(proxy: Running, port: int) -> tuple[socket.socket, bytes]:
    """A connection through an HTTP proxy, and the proxy's answer."""
    conn = connect(proxy.port)
    conn.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % (port, port))
    reply = b""
    while not reply.endswith(b"\r\n\r\n") and (byte := conn.recv(1)):
        reply += byte
    return conn, reply


def by_socks(proxy: Running, port: int) -> tuple[socket.socket, bytes]:
    """A connection through a SOCKS5 proxy, and the proxy's answer."""
    conn = connect(proxy.port)
    conn.sendall(b"\5\1\0")
    assert take(conn, 2) == b"\5\0"
    conn.sendall(b"\5\1\0\1\x7f\0\0\1" + port.to_bytes(2, "big"))
    return conn, take(conn, 10)


TUNNELS = [
    pytest.param(tinyproxy, by_connect, b"HTTP/1.1 500 Unable to connect\r\n", False, id="tinyproxy"),
    pytest.param(microsocks, by_socks, b"\5\5", False, id="microsocks"),
    pytest.param(ncat_proxy, by_connect, b"HTTP/1.0 504 Gateway Timeout\r\n", False, id="ncat"),
    pytest.param(ssh_dynamic, by_socks, b"", True, id="ssh -D"),
]


@pytest.mark.parametrize(("start", "dial", "refusal", "half_closes"), TUNNELS)
def test_a_tunnel_ends_as_its_proxy_does(
    start: Callable[[], contextlib.AbstractContextManager[Running]],
    dial: Callable[[Running, int], tuple[socket.socket, bytes]],
    refusal: bytes,
    half_closes: bool,
) -> None:
    arrived: queue.Queue[bytes] = queue.Queue()

    def reply_at_the_end(conn: socket.socket) -> None:
        arrived.put(drain(conn))
        with contextlib.suppress(ConnectionError):
            conn.sendall(b"answer")

    payload = PAYLOAD(1_000_000)
    with start() as proxy:
        with free_port() as closed:
            conn, reply = dial(proxy, closed)
            conn.close()
        assert reply.startswith(refusal)
        assert bool(reply) == bool(refusal)
        with serve(reply_at_the_end) as (_, port):
            conn, _ = dial(proxy, port)
            with conn:
                conn.sendall(payload)
                conn.shutdown(socket.SHUT_WR)
                assert drain(conn) == (b"answer" if half_closes else b"")
            assert arrived.get(timeout=DEADLINE) == payload


# -- ssh -----------------------------------------------------------------------------------------------------------


def test_sshd_accepts_a_login_directly_and_through_a_proxy_command() -> None:
    with sshd() as server:
        assert run([*server.command(), "cat; exit 3"], b"data") == Result(status=3, out=b"data", err="")
        through = server.command("-o", f"ProxyCommand={require('ncat')} %h %p")
        assert run([*through, "cat; exit 3"], b"data") == Result(status=3, out=b"data", err="")


# -- What the helpers promise ----------------------------------------------------------------------------------------


def test_a_port_that_was_taken_meanwhile_is_given_up() -> None:
    asked: list[int] = []

    def start(port: int) -> Running:
        asked.append(port)
        taken = [require("false")]
        return Running(taken if len(asked) < 3 else [require("socat"), f"TCP-LISTEN:{port},bind=127.0.0.1", "STDIO"])

    with on_a_free_port(start) as process:
        assert process.port == asked[2]
        connect(process.port).close()


def test_a_shared_folder_is_removed_by_the_last_user(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with shared_folder(path):
        with shared_folder(path):
            assert path.is_dir()
        assert path.is_dir()
    assert not path.exists()


def test_a_shared_folder_that_was_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir(0o755)
    with shared_folder(path):
        assert path.is_dir()
    assert path.is_dir()


# -- TLS -----------------------------------------------------------------------------------------------------------

ANY_VERSION = pytest.mark.parametrize("version", VERSIONS)
ROLES = [*(("client", name) for name in CLIENTS), *(("server", name) for name in SERVERS)]
EACH = pytest.mark.parametrize(("role", "name"), ROLES, ids=map(" ".join, ROLES))


def context(protocol: int, authority: Authority) -> ssl.SSLContext:
    """Our own side of TLS."""
    ours = ssl.SSLContext(protocol)
    ours.load_verify_locations(authority.trust)
    ours.load_cert_chain(authority.server.both)
    return ours


@contextlib.contextmanager
def met(peer: Peer, role: str, version: str, authority: Authority) -> Iterator[tuple[Running, ssl.SSLSocket]]:
    """A peer, and our side of the connection that it has made or taken."""
    if role == "client":
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            peer(server.getsockname()[1], authority.trust, version) as process,
        ):
            server.settimeout(DEADLINE)
            ours = context(ssl.PROTOCOL_TLS_SERVER, authority)
            with ours.wrap_socket(
                until_deadline(server.accept()[0]), server_side=True, suppress_ragged_eofs=False
            ) as conn:
                yield process, conn
    else:
        with peer(authority.server, version) as process:
            ours = context(ssl.PROTOCOL_TLS_CLIENT, authority)
            raw = connect(process.port)
            with ours.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False) as conn:
                yield process, conn


def until_deadline(conn: socket.socket) -> socket.socket:
    conn.settimeout(DEADLINE)
    return conn


def the(role: str, name: str) -> Peer:
    return (CLIENTS if role == "client" else SERVERS)[name]


def end(conn: ssl.SSLSocket) -> bool:
    """Send close_notify, and go on receiving; whether the other side has sent its own already."""
    conn.setblocking(False)
    try:
        conn.unwrap()
    except ssl.SSLWantReadError:
        conn.settimeout(DEADLINE)
        return False
    return True


def farewell(conn: ssl.SSLSocket) -> str:
    """How the other side ends: by close_notify, or by a cut."""
    if not socket.socket.recv(conn, 1, socket.MSG_PEEK):  # below TLS
        return "cut"
    with contextlib.suppress(ssl.SSLZeroReturnError):  # stands for b"" if we have sent close_notify, too
        assert conn.recv(1) == b""
    return "close_notify"


@ANY_VERSION
@EACH
def test_the_end_of_a_peers_stdin(role: str, name: str, version: str, authority: Authority) -> None:
    peer = the(role, name)
    with met(peer, role, version, authority) as (process, conn):
        assert conn.version() == f"TLSv{version}"
        process.send(b"question\n")
        assert take(conn, 9) == b"question\n"
        process.close_stdin()
        if peer.habits.farewell:
            assert farewell(conn) == peer.habits.farewell
        with contextlib.suppress(ConnectionError):
            conn.sendall(b"answer\n")
        if peer.habits.listens_on:
            assert process.read(7) == b"answer\n"
            assert peer.habits.farewell or nothing_from(conn)
        else:
            assert process.finish().out == b""


@ANY_VERSION
@EACH
def test_what_a_peer_does_at_our_end(role: str, name: str, version: str, authority: Authority) -> None:
    peer = the(role, name)
    with met(peer, role, version, authority) as (process, conn):
        conn.sendall(b"hello\n")
        assert process.read(6) == b"hello\n"
        ended = end(conn)
        for line in (b"1\n", b"2\n", b"3\n") if peer.habits.goes_on else ():
            process.send(line)
            assert take(conn, 2) == line
        if not peer.habits.goes_on:
            assert ended or farewell(conn) == "close_notify"  # while its stdin is open
            conn.close()
        assert process.finish().status == 0


@ANY_VERSION
@pytest.mark.parametrize(("name", "status"), [("s_client", 1), ("ncat", 0), ("socat", 0), ("stunnel", 0)])
def test_only_s_client_fails_after_a_cut(name: str, status: int, version: str, authority: Authority) -> None:
    with met(CLIENTS[name], "client", version, authority) as (process, conn):
        conn.sendall(b"hello\n")
        assert process.read(6) == b"hello\n"
        socket.socket.shutdown(conn, socket.SHUT_WR)  # without TLS
        assert process.finish().status == status


@ANY_VERSION
def test_curl_speaks_the_version_that_is_asked_for(version: str, authority: Authority) -> None:
    with socat_server(authority.server, version) as server:
        server.send(PAGE)
        result = run(curl(server.port, authority.trust, version))
    assert result == success(b"hello\n")


@ANY_VERSION
def test_stunnel_passes_half_closes_on(version: str, authority: Authority) -> None:
    def reply_at_the_end(conn: socket.socket) -> None:
        conn.sendall(drain(conn).upper())

    with (
        serve(reply_at_the_end) as (_, port),
        stunnel_server(authority.server, version, to=port) as server,
        stunnel_client(server.port, authority.trust, version) as client,
        connect(client.port) as conn,
    ):
        conn.sendall(b"question\n")
        conn.shutdown(socket.SHUT_WR)
        assert drain(conn) == b"QUESTION\n"


@ANY_VERSION
@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_shows_its_certificate(name: str, version: str, authority: Authority) -> None:
    def greet(conn: socket.socket) -> None:
        ours = context(ssl.PROTOCOL_TLS_SERVER, authority)
        ours.verify_mode = ssl.CERT_REQUIRED
        with ours.wrap_socket(conn, server_side=True) as tls:
            tls.sendall(b"hello\n")

    with (
        serve(greet) as (_, port),
        CLIENTS[name](port, authority.trust, version, certificate=authority.client) as process,
    ):
        assert process.read(6) == b"hello\n"


@ANY_VERSION
@pytest.mark.parametrize("start", [s_server, socat_server], ids=["s_server", "socat"])
def test_a_server_wants_a_certificate(start: Callable[..., Running], version: str, authority: Authority) -> None:
    with start(authority.server, version, trust=authority.trust) as server:
        result = run(curl(server.port, authority.trust, version))
    assert result.status != 0
    with start(authority.server, version, trust=authority.trust) as server:
        server.send(PAGE)
        shown = ["--cert", str(authority.client.chain), "--key", str(authority.client.key)]
        assert run(curl(server.port, authority.trust, version, *shown)) == success(b"hello\n")


# -- Certificates --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "complaint"),
    [
        ("server", ""),
        ("chained", ""),
        ("elsewhere", "hostname mismatch"),
        ("expired", "certificate has expired"),
        ("strange", "unable to get local issuer certificate"),
        ("self_signed", "self-signed certificate"),
    ],
)
def test_a_certificate_is_what_it_is_called(label: str, complaint: str, authority: Authority) -> None:
    certificate: Certificate = getattr(authority, label)
    with s_server(certificate, "1.3", stdin=DEVNULL) as server:
        words = ["s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile", str(authority.trust)]
        result = run([require("openssl"), *words, "-verify_hostname", "localhost", "-verify_return_error"])
    assert (result.status == 0) == (not complaint)
    assert complaint.replace("-", "") in result.err.replace("-", "").lower()


def test_a_fingerprint_is_that_of_openssl(authority: Authority) -> None:
    words = ["x509", "-noout", "-fingerprint", "-sha256", "-in", str(authority.chained.chain)]
    digits = run([require("openssl"), *words]).out.decode().strip().rpartition("=")[2]
    assert digits.replace(":", "").lower() == authority.chained.fingerprint


def test_a_key_is_for_its_owner_only(authority: Authority) -> None:
    assert {path.stat().st_mode & 0o077 for path in authority.server} == {0}
