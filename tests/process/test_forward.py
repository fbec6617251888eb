"""Each client is relayed to a connection of its own (`--to`), in the installed pync.

`target` is what they are relayed to: a listener of the test, which accepts and answers by hand.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from clients import drain, is_true, reset, take
from harness import DEADLINE, DEVNULL, PAYLOAD, PYNC, Running, connect, free_port, listen, require
from pairs import nothing_from, stuck_port
from servers import listening

from pync.config import Config, Target, Tls
from pync.services.forward import target_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

either_way = pytest.mark.usefixtures("either_way")
BYTES = PAYLOAD(5_000_000)


@contextlib.contextmanager
def target() -> Iterator[socket.socket]:
    """A listener that clients can be passed on to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)
        yield listener


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def forwarder(to: int | str, *options: str, keep: bool = True) -> Running:
    """A pync that passes its clients on to a port, or to a path."""
    where = f"127.0.0.1:{to}" if isinstance(to, int) else to
    return listen(*(["-k"] if keep else []), *options, "--to", where, "127.0.0.1", "0", stdin=DEVNULL)


def accept(listener: socket.socket) -> socket.socket:
    """The next connection that was made for a client."""
    conn = listener.accept()[0]
    conn.settimeout(DEADLINE)
    return conn


# -- Streams -----------------------------------------------------------------------------------------------------


@either_way
def test_bytes_and_ends_are_passed_on_both_ways() -> None:
    with target() as listener, forwarder(port_of(listener)) as server, connect(server.port) as client:
        with accept(listener) as conn:
            client.sendall(b"question")
            assert take(conn, 8) == b"question"
            client.shutdown(socket.SHUT_WR)
            assert drain(conn) == b""
            conn.sendall(b"answer")
            assert take(client, 6) == b"answer"
        assert drain(client) == b""


@either_way
def test_megabytes_go_both_ways_at_once_and_arrive_whole() -> None:
    with (
        target() as listener,
        forwarder(port_of(listener)) as server,
        connect(server.port) as client,
        accept(listener) as conn,
        ThreadPoolExecutor(3) as threads,
    ):
        sending = [threads.submit(send_all, client), threads.submit(send_all, conn)]
        receiving = threads.submit(drain, client)
        assert drain(conn) == BYTES
        assert receiving.result() == BYTES
        assert [each.result() for each in sending] == [None, None]


def send_all(sock: socket.socket) -> None:
    """Send BYTES and end."""
    sock.sendall(BYTES)
    sock.shutdown(socket.SHUT_WR)


def test_clients_have_connections_of_their_own_and_give_their_descriptors_back() -> None:
    with target() as listener, forwarder(port_of(listener)) as server, contextlib.ExitStack() as stack:
        before = server.descriptors()
        pairs = [(stack.enter_context(connect(server.port)), stack.enter_context(accept(listener))) for _ in range(20)]
        for number, (client, conn) in enumerate(reversed(pairs)):
            client.sendall(b"%d" % number)
            assert take(conn, len(str(number))) == b"%d" % number
        assert len(server.descriptors()) == len(before) + 40, "no pipe for clients that send little"
        stack.close()
        is_true(lambda: server.descriptors() == before, "no descriptor is left over")


@either_way
def test_a_reset_is_passed_on_as_a_reset_and_reported_and_the_server_goes_on() -> None:
    with target() as listener, forwarder(port_of(listener)) as server:
        for swapped in (False, True):
            with connect(server.port) as client, accept(listener) as conn:
                client.sendall(b"half")
                assert take(conn, 4) == b"half"
                one, other = (conn, client) if swapped else (client, conn)
                reset(one)
                with pytest.raises(ConnectionResetError):
                    other.recv(1)
            server.expect("^pync: connection to 127.0.0.1:[0-9]+: Connection reset by peer$", count=1 + swapped)


def test_a_target_that_refuses_is_reported_the_client_is_reset_and_the_server_goes_on() -> None:
    with socket.socket() as listener:
        listener.settimeout(DEADLINE)
        listener.bind(("127.0.0.1", 0))
        port = port_of(listener)
        with forwarder(port) as server:
            with pytest.raises(ConnectionResetError), connect(server.port) as client:
                client.recv(1)
            server.expect(rf"^pync: connect to 127.0.0.1 port {port} \(tcp\) failed: Connection refused$")
            listener.listen()
            with connect(server.port) as client, accept(listener) as conn:
                client.sendall(b"again")
                assert take(conn, 5) == b"again"


def test_connecting_to_the_target_stops_when_the_client_leaves() -> None:
    with stuck_port() as port, forwarder(port) as server:
        before = server.descriptors()
        client = connect(server.port)
        is_true(lambda: len(server.descriptors()) > len(before) + 1, "it tries to connect")
        reset(client)
        server.expect("^pync: connection to 127.0.0.1:[0-9]+: Connection reset by peer$")
        is_true(lambda: server.descriptors() == before, "it has stopped trying")


@pytest.mark.parametrize("keep", [True, False], ids=["keep-open", "once"])
def test_with_retry_a_client_waits_until_the_target_comes(tmp_path: Path, keep: bool) -> None:
    path = str(tmp_path / "target")
    with forwarder(path, "--retry", "30", "-v", keep=keep) as server, connect(server.port) as client:
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        server.expect("; the next attempt is in 0.2 s$")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.settimeout(DEADLINE)
            listener.bind(path)
            listener.listen()
            with accept(listener) as conn:
                assert drain(conn) == b"question"
                conn.sendall(b"answer")
        assert drain(client) == b"answer"
        if not keep:
            assert server.wait() == 0


@pytest.mark.parametrize("keep", [True, False], ids=["keep-open", "once"])
def test_a_target_is_tried_for_no_longer_than_retry_says(keep: bool) -> None:
    with free_port() as port, forwarder(port, "--retry", "0.3", keep=keep) as server, connect(server.port) as client:
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        server.expect(f"^pync: connect to 127.0.0.1 port {port} .*: Connection refused \\(tried for 0.3 s\\)$")
        if not keep:
            assert server.wait() == 124


def test_a_target_is_tried_no_more_when_the_client_leaves() -> None:
    with free_port() as port, forwarder(port, "--retry", "60", "-v") as server:
        before = server.descriptors()
        with connect(server.port) as client:
            server.expect("; the next attempt is in")
            reset(client)
        server.expect(" pync: connection to 127.0.0.1:.*: Connection reset by peer$")
        is_true(lambda: server.descriptors() == before, "no descriptor is left over")


def test_without_keep_open_the_first_client_is_the_only_one() -> None:
    with target() as listener, forwarder(port_of(listener), keep=False) as server:
        with connect(server.port) as client, accept(listener) as conn:
            conn.sendall(b"answer")
            conn.close()
            assert drain(client) == b"answer"
        assert server.finish().status == 0


def test_an_idle_bridge_is_broken_when_a_limit_was_asked_for() -> None:
    with target() as listener, forwarder(port_of(listener), "--idle-timeout", "0.2") as server:
        with connect(server.port) as client, accept(listener) as conn:
            for sock in (client, conn):
                with pytest.raises(ConnectionResetError):
                    sock.recv(1)
        server.expect("^pync: idle connection: ")


def test_a_path_is_a_target_too(tmp_path: Path) -> None:
    path = str(tmp_path / "target")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with forwarder(path) as server, connect(server.port) as client, accept(listener) as conn:
            client.sendall(b"hello")
            client.shutdown(socket.SHUT_WR)
            assert drain(conn) == b"hello"


def test_the_logs_hold_what_the_client_sends_and_receives(tmp_path: Path) -> None:
    raw, dump = tmp_path / "raw", tmp_path / "dump"
    with (
        target() as listener,
        forwarder(port_of(listener), "-o", str(raw), "--hex-dump", str(dump)) as server,
        connect(server.port) as client,
        accept(listener) as conn,
    ):
        client.sendall(b"from the client")
        assert take(conn, 15) == b"from the client"
        conn.sendall(b"to the client")
        assert take(client, 13) == b"to the client"
    assert raw.read_bytes() == b"from the clientto the client"
    lines = dump.read_text().splitlines()
    assert [line[0] for line in lines if "from the clien" in line] == ["<"]
    assert [line[0] for line in lines if "to the client" in line] == [">"]


def beside(to: int) -> Running:
    """A socat that does the same."""
    where = "TCP-LISTEN:0,bind=127.0.0.1,reuseaddr,fork"
    return listening(Running([require("socat"), "-t", "10", where, f"TCP:127.0.0.1:{to}"], stdin=DEVNULL))


# Which side sends what, in which order; None is the end-of-file.
SCRIPTS: dict[str, list[tuple[str, bytes | None]]] = {
    "the client asks": [("client", b"question"), ("target", b"answer"), ("client", None), ("target", None)],
    "an answer after the end": [("client", b"question"), ("client", None), ("target", b"answer"), ("target", None)],
    "a greeting": [("target", b"hello"), ("target", None), ("client", b"goodbye"), ("client", None)],
    "much, one after the other": [("client", BYTES), ("target", BYTES), ("target", None), ("client", None)],
    "much at the ends": [("client", BYTES), ("client", None), ("target", BYTES), ("target", None)],
    "nothing": [("target", None), ("client", None)],
}


def play(script: list[tuple[str, bytes | None]], server: Running, listener: socket.socket) -> list[bytes]:
    """What the other side received after each word of the script."""
    received = []
    with connect(server.port) as client, accept(listener) as conn, ThreadPoolExecutor(1) as threads:
        for side, word in script:
            sender, receiver = (client, conn) if side == "client" else (conn, client)
            if word is None:
                sender.shutdown(socket.SHUT_WR)
                received.append(drain(receiver))
            else:
                sending = threads.submit(sender.sendall, word)
                received.append(take(receiver, len(word)))
                sending.result()
    return received


@either_way
@pytest.mark.parametrize("name", SCRIPTS)
def test_each_side_receives_what_it_receives_through_socat(name: str) -> None:
    with target() as listener, forwarder(port_of(listener)) as server, beside(port_of(listener)) as socat:
        received = play(SCRIPTS[name], server, listener)
        assert received == [word or b"" for _, word in SCRIPTS[name]]
        assert received == play(SCRIPTS[name], socat, listener)


# -- Datagrams ---------------------------------------------------------------------------------------------------


def udp(port: int | None = None) -> socket.socket:
    """A socket of the test; connected if there is a port."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(DEADLINE)
    sock.bind(("127.0.0.1", 0))
    if port is not None:
        sock.connect(("127.0.0.1", port))
    return sock


def udp_forwarder(to: int, *options: str) -> Running:
    return forwarder(to, "-u", *options)


def test_each_peer_has_a_session_of_its_own_and_datagrams_stay_what_they_are() -> None:
    with (
        udp() as server_sock,
        udp_forwarder(port_of(server_sock)) as server,
        udp(server.port) as one,
        udp(server.port) as other,
    ):
        names = []
        for peer in (one, other):
            for word in (b"first", b"", PAYLOAD(20_000)):
                peer.send(word)
                data, name = server_sock.recvfrom(65536)
                assert data == word
            names.append(name)
        assert len(set(names)) == 2
        for peer, name in zip((one, other), names, strict=True):
            for word in (b"answer", b"", PAYLOAD(30_000)):
                server_sock.sendto(word, name)
                assert peer.recv(65536) == word
        assert nothing_from(one) and nothing_from(other)


def test_a_target_that_refuses_datagrams_is_reported_and_the_next_datagram_begins_anew() -> None:
    with free_port(socket.SOCK_DGRAM) as port, udp_forwarder(port) as server, udp(server.port) as peer:
        before = server.descriptors()
        for count in (1, 2):
            peer.send(b"hello?")
            server.expect(f"^pync: datagrams to 127.0.0.1:{port}: Connection refused$", count=count)
            is_true(lambda: server.descriptors() == before, "the session is over")


def test_a_session_of_datagrams_ends_in_silence() -> None:
    with udp() as server_sock, udp_forwarder(port_of(server_sock), "--idle-timeout", "0.3") as server:
        before = server.descriptors()
        with udp(server.port) as peer:
            peer.send(b"hello")
            _, name = server_sock.recvfrom(100)
            assert len(server.descriptors()) == len(before) + 1
            is_true(lambda: server.descriptors() == before, "the session is over")
            peer.send(b"hello again")
            assert server_sock.recvfrom(100)[1] != name


# A pync for which the name both.test has two addresses: ::1 first, then 127.0.0.1.
BOTH = """
from pync import system
from pync.cli import main

real = system.socket.getaddrinfo

def getaddrinfo(host, *query):
    return real("::1", *query) + real("127.0.0.1", *query) if host == b"both.test" else real(host, *query)

system.socket.getaddrinfo = getaddrinfo
main()
"""


@pytest.fixture
def both() -> Iterator[None]:
    """The pync that a test starts knows both.test."""
    usual = PYNC[:]
    PYNC[:] = [sys.executable, "-P", "-c", BOTH]
    yield
    PYNC[:] = usual


@contextlib.contextmanager
def four_only() -> Iterator[socket.socket]:
    """A server on 127.0.0.1, at a port that ::1 refuses."""
    with udp() as sock, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as holder:
        holder.bind(("::1", port_of(sock)))
        # A socket connected to itself takes its own datagrams only.
        holder.connect(holder.getsockname())
        yield sock


def to_both(sock: socket.socket) -> Running:
    """A pync that passes datagrams on to the name both.test."""
    return listen("-k", "-u", "--to", f"both.test:{port_of(sock)}", "127.0.0.1", "0", stdin=DEVNULL)


@pytest.mark.usefixtures("both")
def test_the_next_address_of_a_name_receives_what_the_first_one_refused() -> None:
    sent = [b"first", b"", PAYLOAD(9000)]
    with four_only() as sock, to_both(sock) as server, udp(server.port) as peer:
        for word in sent:
            peer.send(word)
        received = [sock.recvfrom(65536) for _ in sent]
        assert [data for data, _ in received] == sent
        names = {name for _, name in received}
        assert len(names) == 1
        sock.sendto(b"answer", names.pop())
        assert peer.recv(100) == b"answer"
        server.expect(rf"^pync: connect to both.test \(::1\) port {port_of(sock)} \(udp\) failed: Connection refused$")
        assert "datagrams to" not in server.stderr


@pytest.mark.usefixtures("both")
def test_when_every_address_of_a_name_refuses_the_session_is_over_and_the_next_begins_anew() -> None:
    with four_only() as sock, to_both(sock) as server, udp(server.port) as peer:
        sock.connect(sock.getsockname())  # refuses, too
        before = server.descriptors()
        for count in (1, 2):
            peer.send(b"hello?")
            server.expect(f"^pync: datagrams to 127.0.0.1:{port_of(sock)}: Connection refused$", count=count)
            is_true(lambda: server.descriptors() == before, "the session is over")


@pytest.mark.usefixtures("both")
def test_an_address_that_has_answered_is_the_right_one() -> None:
    with udp() as never, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", port_of(never)))
        sock.settimeout(DEADLINE)
        with to_both(never) as server, udp(server.port) as peer:
            before = server.descriptors()
            peer.send(b"question")
            sock.sendto(b"answer", sock.recvfrom(100)[1])
            assert peer.recv(100) == b"answer"
            sock.close()
            peer.send(b"more")
            server.expect(r"^pync: datagrams to \S*::1\S*: Connection refused$")
            is_true(lambda: server.descriptors() == before, "the session is over")
        assert nothing_from(never)


# -- How the target is reached -----------------------------------------------------------------------------------


def test_the_target_is_reached_by_its_own_options_and_not_by_those_of_its_listener() -> None:
    mine, its = Tls(certificate="server.pem"), Tls(verify=False)
    config = Config(mode="listen", family="unix", host="/run/here", tls=mine, target=Target(host="h", port=8, tls=its))
    onward = target_config(config)
    assert onward.mode == "connect"
    assert onward.family == "any"
    assert (onward.host, onward.ports) == ("h", (8,))
    assert onward.tls == its
    config = Config(mode="listen", family="ipv6", host="::", ports=(80,), target=Target(host="/run/there"))
    onward = target_config(config)
    assert onward.family == "unix"
    assert (onward.host, onward.ports) == ("/run/there", ())
    assert onward.tls is None
    assert target_config(config.but(target=Target(host="h", port=8))).family == "ipv6"
