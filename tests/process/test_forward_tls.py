"""Forwarding with TLS: towards our clients (`--ssl`), towards the target (`--to-ssl`), and on both sides.

A `route` is a whole path: a client and a target of the test, by Python's own sockets and TLS, with pync between them.
`tls_peers.py` describes what the other programs at its ends do at an end of file.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pytest
from certificates import der
from clients import drain, is_true, reset, take
from encrypted import REFUSED, TRUNCATED, client_side, drain_tls, greeted, ours, send_end, server_side
from harness import DEADLINE, DEVNULL, PAYLOAD, Running, connect, digest, listen, require, run, serve
from pairs import complaints as all_complaints
from servers import microsocks
from tls_peers import CLIENTS, SERVERS, SPEAKS_LAST, VERSIONS, curl, stunnel_client, stunnel_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certificates import Authority, Certificate

LARGE = PAYLOAD(3_000_000)
SIDES = ["clients", "target", "both"]

in_each_version = pytest.mark.parametrize("version", VERSIONS)
each_side = pytest.mark.parametrize("side", SIDES)


def forwarder(to: int, *options: str) -> Running:
    """A pync that passes its clients on to a port of localhost."""
    return listen("-k", *options, "--to", f"localhost:{to}", "127.0.0.1", "0", stdin=DEVNULL)


def to_target(authority: Authority, *options: str) -> tuple[str, ...]:
    """The words by which pync speaks TLS with a target of this authority."""
    return ("--to-ssl", "--ssl-trustfile", str(authority.trust), *options)


def words(side: str, authority: Authority) -> list[str]:
    """The words for TLS on this side, or on both."""
    return [
        *(ours(authority.server) if side != "target" else ()),
        *(to_target(authority) if side != "clients" else ()),
    ]


@contextlib.contextmanager
def target() -> Iterator[socket.socket]:
    """A listener that clients can be passed on to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)
        yield listener


def accept(listener: socket.socket) -> socket.socket:
    """The next connection that was made for a client."""
    conn = listener.accept()[0]
    conn.settimeout(DEADLINE)
    return conn


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


class Ends(NamedTuple):
    """The two ends of a path through the forwarder."""

    client: socket.socket
    target: socket.socket


class Route:
    """A forwarder, and paths that lead through it."""

    def __init__(self, side: str, authority: Authority, version: str, server: Running, listener: socket.socket) -> None:
        self.client = client_side(authority, version) if side != "target" else None
        self.target = server_side(authority.server, version) if side != "clients" else None
        self.server = server
        self.listener = listener

    @contextlib.contextmanager
    def __call__(self) -> Iterator[Ends]:
        """One more client."""
        client = greeted(self.client, self.server.port) if self.client else connect(self.server.port)
        with client, accept(self.listener) as conn:
            if self.target is None:
                yield Ends(client, conn)
                return
            with self.target.wrap_socket(conn, server_side=True, suppress_ragged_eofs=False) as encrypted:
                yield Ends(client, encrypted)


@pytest.fixture(params=[(side, version) for side in SIDES for version in VERSIONS], ids="-".join)
def route(request: pytest.FixtureRequest, authority: Authority) -> Iterator[Route]:
    """TLS on each side and on both, in either version."""
    side, version = request.param
    with target() as listener, forwarder(port_of(listener), *words(side, authority)) as server:
        yield Route(side, authority, version, server, listener)


def end(sock: socket.socket) -> None:
    """Send the end of file in the socket's own way, and go on receiving."""
    if isinstance(sock, ssl.SSLSocket):
        send_end(sock)
    else:
        sock.shutdown(socket.SHUT_WR)


def rest(sock: socket.socket) -> bytes:
    """All bytes until a proper end; OSError if there is none."""
    return drain_tls(sock) if isinstance(sock, ssl.SSLSocket) else drain(sock)


def cut(sock: socket.socket) -> None:
    """End TCP without close_notify. Receiving goes on."""
    with socket.socket(fileno=socket.dup(sock.fileno())) as below:
        below.shutdown(socket.SHUT_WR)


def complaints(server: Running) -> list[str]:
    """The error messages so far, without what -v reports of TLS."""
    return [line for line in all_complaints(server) if not line.startswith("pync: TLSv")]


def both_orders(ends: Ends) -> list[Ends]:
    return [ends, Ends(*ends[::-1])]


# -- Ends ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("swapped", [False, True], ids=["the client ends first", "the target ends first"])
def test_an_end_is_passed_on_after_every_byte_and_the_other_side_goes_on(route: Route, swapped: bool) -> None:
    with route() as ends, ThreadPoolExecutor(1) as threads:
        one, other = both_orders(ends)[swapped]
        for sender, receiver in (one, other), (other, one):
            sending = threads.submit(sender.sendall, LARGE)
            assert digest(take(receiver, len(LARGE))) == digest(LARGE)
            sending.result()
            end(sender)
            assert rest(receiver) == b""
    assert complaints(route.server) == []


def test_an_end_without_any_bytes_is_passed_on_both_ways(route: Route) -> None:
    for swapped in (False, True):
        with route() as ends:
            one, other = both_orders(ends)[swapped]
            end(one)
            assert rest(other) == b""
            other.sendall(b"answer")
            assert take(one, 6) == b"answer"
            end(other)
            assert rest(one) == b""
    assert complaints(route.server) == []


def test_a_truncation_is_passed_on_as_a_break_and_reported(route: Route) -> None:
    count = 0
    for swapped in (False, True):
        with route() as ends, ThreadPoolExecutor(1) as threads:
            one, other = both_orders(ends)[swapped]
            if not isinstance(one, ssl.SSLSocket):
                continue
            count += 1
            sending = threads.submit(one.sendall, LARGE)
            assert digest(take(other, len(LARGE))) == digest(LARGE)
            sending.result()
            cut(one)
            with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
                rest(other)
            route.server.expect(f"^{TRUNCATED}$", count=count)
    assert count


def test_a_reset_is_passed_on_as_a_break_and_reported_and_the_server_goes_on(route: Route) -> None:
    for swapped in (False, True):
        with route() as ends:
            one, other = both_orders(ends)[swapped]
            one.sendall(b"half")
            assert take(other, 4) == b"half"
            reset(one)
            with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
                rest(other)
        route.server.expect(r"^pync: connection to 127\.0\.0\.1:\d+: Connection reset by peer$", count=1 + swapped)


def test_clients_have_paths_of_their_own_and_leave_nothing_behind(route: Route) -> None:
    before = route.server.descriptors()
    with contextlib.ExitStack() as stack:
        paths = [stack.enter_context(route()) for _ in range(10)]
        for number, (client, conn) in enumerate(reversed(paths)):
            client.sendall(b"question %d" % number)
            assert take(conn, 10) == b"question %d" % number
            conn.sendall(b"answer %d" % number)
            assert take(client, 8) == b"answer %d" % number
    is_true(lambda: route.server.descriptors() == before, "no descriptor is left over")


# -- Other programs ------------------------------------------------------------------------------------------------


@in_each_version
@pytest.mark.parametrize("name", CLIENTS)
def test_each_program_reaches_a_plain_target(name: str, version: str, authority: Authority) -> None:
    habits = CLIENTS[name].habits
    with (
        target() as listener,
        forwarder(port_of(listener), *words("clients", authority)) as server,
        CLIENTS[name](server.port, authority.trust, version) as program,
        accept(listener) as conn,
    ):
        exchange(program, conn, goes_on=habits.goes_on)
        if habits.farewell == "cut":
            with pytest.raises(ConnectionResetError):
                drain(conn)
            server.expect(f"^{TRUNCATED}$")
        else:
            assert drain(conn) == b""
            assert complaints(server) == []


@in_each_version
@pytest.mark.parametrize("name", SERVERS)
def test_a_plain_client_reaches_each_program(name: str, version: str, authority: Authority) -> None:
    habits = SERVERS[name].habits
    with (
        SERVERS[name](authority.server, version) as program,
        forwarder(program.port, *words("target", authority)) as server,
        connect(server.port) as client,
    ):
        exchange(program, client, goes_on=habits.goes_on)
        assert drain(client) == b""
        assert complaints(server) == []


def exchange(program: Running, plain: socket.socket, *, goes_on: bool) -> None:
    """Megabytes both ways at the same time. Then the plain side ends, and the program's if that does not end it."""
    with ThreadPoolExecutor(2) as threads:
        sending = [threads.submit(program.send, LARGE), threads.submit(plain.sendall, LARGE)]
        assert digest(take(plain, len(LARGE))) == digest(LARGE)
        for sender in sending:
            sender.result()
    plain.shutdown(socket.SHUT_WR)
    assert digest(program.read(len(LARGE))) == digest(LARGE)
    if goes_on:
        program.close_stdin()
    assert program.wait() == 0


@in_each_version
@pytest.mark.parametrize("name", SPEAKS_LAST)
def test_programs_are_joined_by_tls_on_both_sides(name: str, version: str, authority: Authority) -> None:
    with (
        SERVERS["socat"](authority.server, version) as other,
        forwarder(other.port, *words("both", authority)) as server,
        CLIENTS[name](server.port, authority.trust, version) as program,
        ThreadPoolExecutor(2) as threads,
    ):
        sending = [threads.submit(process.send, LARGE) for process in (program, other)]
        assert digest(other.read(len(LARGE))) == digest(LARGE)
        assert digest(program.read(len(LARGE))) == digest(LARGE)
        for sender in sending:
            sender.result()
        program.close_stdin()
        other.send(b"the last word")
        assert program.read(13) == b"the last word"
        other.close_stdin()
        assert [process.wait() for process in (program, other)] == [0, 0]
        assert complaints(server) == []


@in_each_version
def test_stunnel_at_either_end_passes_on_both_ends(version: str, authority: Authority) -> None:
    with (
        target() as listener,
        stunnel_server(authority.server, version, to=port_of(listener)) as behind,
        forwarder(behind.port, *words("both", authority)) as server,
        stunnel_client(server.port, authority.trust, version) as before,
        connect(before.port) as client,
        accept(listener) as conn,
        ThreadPoolExecutor(1) as threads,
    ):
        for sender, receiver in (client, conn), (conn, client):
            sending = threads.submit(sender.sendall, LARGE)
            assert digest(take(receiver, len(LARGE))) == digest(LARGE)
            sending.result()
            sender.shutdown(socket.SHUT_WR)
            assert drain(receiver) == b""
        assert complaints(server) == []


def web(conn: socket.socket) -> None:
    """A page that ends where the connection does."""
    while b"\r\n\r\n" not in conn.recv(1 << 16):
        pass
    conn.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + LARGE)
    end(conn)


@in_each_version
def test_a_plain_web_server_is_asked_by_https(version: str, authority: Authority) -> None:
    with serve(web) as (_, port), forwarder(port, *words("clients", authority)) as server:
        result = run(curl(server.port, authority.trust, version))
        assert (result.status, digest(result.out)) == (0, digest(LARGE))


@in_each_version
def test_a_web_server_under_tls_is_asked_by_http(version: str, authority: Authority) -> None:
    def encrypted(conn: socket.socket) -> None:
        with server_side(authority.server, version).wrap_socket(conn, server_side=True) as peer:
            web(peer)
            drain_tls(peer)

    with serve(encrypted) as (_, port), forwarder(port, *words("target", authority)) as server:
        result = run([require("curl"), "-q", "-sS", "--noproxy", "*", f"http://127.0.0.1:{server.port}/"])
        assert (result.status, digest(result.out)) == (0, digest(LARGE))


# -- Which targets are trusted ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def welcoming(*contexts: ssl.SSLContext) -> Iterator[int]:
    """The port of a target that uses the contexts in turn, and sends "welcome" after a handshake that succeeds."""
    turns, lock = iter(contexts), threading.Lock()

    def welcome(conn: socket.socket) -> None:
        with lock:
            context = next(turns)
        with contextlib.suppress(OSError), context.wrap_socket(conn, server_side=True) as peer:
            peer.sendall(b"welcome")
            send_end(peer)
            drain_tls(peer)

    with serve(welcome) as (_, port):
        yield port


def welcomed(client: socket.socket) -> None:
    """Receive the welcome of the target to its end."""
    assert rest(client) == b"welcome"
    end(client)


@pytest.mark.parametrize("side", ["target", "both"])
@pytest.mark.parametrize("label", REFUSED)
def test_a_client_is_cut_off_if_the_certificate_of_the_target_is_not_accepted(
    label: str, side: str, authority: Authority
) -> None:
    with (
        welcoming(server_side(getattr(authority, label)), server_side(authority.server)) as port,
        forwarder(port, *words(side, authority)) as server,
    ):

        def reach() -> socket.socket:
            return greeted(client_side(authority), server.port) if side == "both" else connect(server.port)

        with pytest.raises((ConnectionResetError, ssl.SSLEOFError)), reach() as client:
            client.sendall(b"secret")
            rest(client)
        server.expect(rf"^pync: TLS handshake with 127\.0\.0\.1:{port}: {REFUSED[label]}$")
        with reach() as client:
            welcomed(client)


TRUSTED = {
    "an authority": ("server", "--ssl-trustfile {0.trust}"),
    "a pin": ("expired", "--ssl-pin sha256:{0.expired.fingerprint}"),
    "another name": ("elsewhere", "--ssl-trustfile {0.trust} --ssl-servername elsewhere.example"),
    "no verification": ("strange", "--ssl-no-verify"),
}


@pytest.mark.parametrize("how", TRUSTED)
def test_trust_is_about_the_target_and_the_certificate_is_for_our_clients(how: str, authority: Authority) -> None:
    label, options = TRUSTED[how]
    mine = ours(authority.chained)
    with (
        welcoming(server_side(getattr(authority, label))) as port,
        forwarder(port, *mine, "--to-ssl", *options.format(authority).split()) as server,
        greeted(client_side(authority), server.port) as client,
    ):
        certificate = client.getpeercert(binary_form=True) or b""
        assert hashlib.sha256(certificate).hexdigest() == authority.chained.fingerprint
        welcomed(client)


def test_another_certificate_than_the_pinned_one_is_refused(authority: Authority) -> None:
    with (
        welcoming(server_side(authority.server)) as port,
        forwarder(port, "--to-ssl", "--ssl-pin", authority.strange.fingerprint) as server,
    ):
        with pytest.raises(ConnectionResetError), connect(server.port) as client:
            client.recv(1)
        why = f"the certificate is sha256:{authority.server.fingerprint}, not the pinned sha256:"
        server.expect(rf"^pync: TLS handshake with 127\.0\.0\.1:{port}: {why}{authority.strange.fingerprint}$")


def test_a_target_that_speaks_no_tls_is_reported_and_the_client_cut_off(authority: Authority) -> None:
    def greet(conn: socket.socket) -> None:
        conn.sendall(b"220 welcome\r\n")
        with contextlib.suppress(ConnectionResetError):
            drain(conn)

    with serve(greet) as (_, port), forwarder(port, *words("target", authority)) as server:
        with pytest.raises(ConnectionResetError), connect(server.port) as client:
            client.recv(1)
        server.expect(rf"^pync: TLS handshake with 127\.0\.0\.1:{port}: ")


# -- Which certificates pync shows -----------------------------------------------------------------------------------


def demanding(authority: Authority, version: str) -> ssl.SSLContext:
    """The context of a target that wants a certificate."""
    context = server_side(authority.server, version)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.trust)
    return context


def shown(certificate: Certificate) -> list[str]:
    """The words by which pync shows a certificate to the target."""
    return ["--ssl-cert", str(certificate.chain), "--ssl-key", str(certificate.key)]


@in_each_version
def test_the_target_is_shown_our_certificate_if_our_clients_are_not(version: str, authority: Authority) -> None:
    with (
        welcoming(demanding(authority, version)) as port,
        forwarder(port, *to_target(authority, *shown(authority.client))) as server,
        connect(server.port) as client,
    ):
        welcomed(client)


@in_each_version
def test_a_target_that_wants_a_certificate_refuses_a_pync_without_one(version: str, authority: Authority) -> None:
    with (
        welcoming(demanding(authority, version)) as port,
        forwarder(port, *words("both", authority)) as server,
    ):
        with (
            pytest.raises((ConnectionResetError, ssl.SSLEOFError)),
            greeted(client_side(authority), server.port) as client,
        ):
            rest(client)
        server.expect("^pync: .*certificate")


def test_s_server_verifies_the_certificate_that_it_is_shown(authority: Authority) -> None:
    with (
        SERVERS["s_server"](authority.server, "1.3", trust=authority.trust) as program,
        forwarder(program.port, *to_target(authority, *shown(authority.client))) as server,
        connect(server.port) as client,
    ):
        client.sendall(b"hello")
        assert program.read(5) == b"hello"


def test_clients_are_asked_for_their_certificates(authority: Authority) -> None:
    verify = ("--ssl-verify", "--ssl-trustfile", str(authority.trust))
    with (
        target() as listener,
        forwarder(port_of(listener), *ours(authority.server), *verify) as server,
        CLIENTS["socat"](server.port, authority.trust, "1.3") as stranger,
    ):
        server.expect("^pync: TLS handshake with .*certificate")
        stranger.finish()
        with (
            CLIENTS["socat"](server.port, authority.trust, "1.3", certificate=authority.client) as program,
            accept(listener) as conn,
        ):
            program.send(b"hello")
            assert take(conn, 5) == b"hello"
            conn.sendall(b"well met")
            assert program.read(8) == b"well met"


# -- Protocols -------------------------------------------------------------------------------------------------------


def test_protocols_are_chosen_with_our_clients(authority: Authority) -> None:
    context = client_side(authority)
    context.set_alpn_protocols(["other", "two"])
    with (
        target() as listener,
        forwarder(port_of(listener), *words("clients", authority), "--ssl-alpn", "one,two") as server,
        greeted(context, server.port) as client,
    ):
        assert client.selected_alpn_protocol() == "two"


def test_protocols_are_offered_to_the_target_if_that_alone_is_under_tls(authority: Authority) -> None:
    context = server_side(authority.server)
    context.set_alpn_protocols(["two"])
    with (
        target() as listener,
        forwarder(port_of(listener), *words("target", authority), "--ssl-alpn", "one,two") as server,
        connect(server.port),
        accept(listener) as conn,
        context.wrap_socket(conn, server_side=True) as peer,
    ):
        assert peer.selected_alpn_protocol() == "two"


# -- Through a proxy -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [None, *SIDES])
def test_the_target_is_reached_through_a_proxy(side: str | None, authority: Authority) -> None:
    def echo(conn: socket.socket) -> None:
        if side in ("target", "both"):
            conn = server_side(authority.server).wrap_socket(conn, server_side=True)
        with conn:
            conn.sendall(take(conn, len(LARGE)))
            rest(conn)
            end(conn)

    with (
        serve(echo) as (_, port),
        microsocks() as proxy,
        forwarder(port, "-x", f"127.0.0.1:{proxy.port}", *(words(side, authority) if side else ())) as server,
        greeted(client_side(authority), server.port) if side in ("clients", "both") else connect(server.port) as client,
    ):
        client.sendall(LARGE)
        assert digest(take(client, len(LARGE))) == digest(LARGE)
        end(client)
        assert rest(client) == b""


@pytest.mark.parametrize("verified", [False, True])
def test_a_target_whose_certificate_cannot_be_read_does_not_end_the_forwarder(
    authority: Authority, verified: bool
) -> None:
    odd = authority.odd("odd-target", der(0x82, b"\xff\xfe"))
    trust = ["--ssl-trustfile", str(authority.trust)] if verified else ["--ssl-no-verify"]
    with target() as listener, forwarder(port_of(listener), "--to-ssl", *trust) as process:
        for certificate in odd, authority.server:
            with contextlib.closing(connect(process.port)) as client:
                conn = accept(listener)
                with contextlib.suppress(ssl.SSLError):
                    conn = server_side(certificate).wrap_socket(conn, server_side=True)
                    conn.sendall(b"here")
                with contextlib.closing(conn):
                    if certificate is odd and verified:
                        with pytest.raises(ConnectionResetError):
                            client.recv(1)
                    else:
                        assert take(client, 4) == b"here"
        assert "Traceback" not in process.stderr
        assert ("the certificate is not for localhost" in process.stderr) == verified
