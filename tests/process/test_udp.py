"""UDP: conversations with the netcats and socat in both roles, one peer or many, and how a protocol without end ends.

A datagram is read and written whole. A test that shows that something is *not* received sends something else after it
and looks at what arrives, or stops pync while the datagrams queue up: no test waits for nothing to happen.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest
from clients import is_true
from doubles import play
from harness import (
    DEADLINE,
    DEVNULL,
    PAYLOAD,
    PYNC,
    Running,
    failure,
    free_port,
    listen,
    pync,
    require,
    run,
    success,
    without_ends,
)
from pairs import lives_on
from servers import on_a_free_port

from pync.endpoints.datagrams import DatagramSocket
from pync.errors import PeerLost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pync.loop.kernel import Loop

UDP = socket.SOCK_DGRAM
LARGEST = 65507  # bytes: 65,535 less the headers of IPv4 and UDP


class Peer(NamedTuple):
    """How a netcat is called; {version} is 4 or 6, {literal} the host as socat wants it."""

    name: str
    client: str
    server: str
    ready: str  # what it writes to stderr once it is bound
    families: tuple[str, ...] = ("127.0.0.1", "::1")

    def argv(self, line: str, host: str, port: int) -> list[str]:
        """The words of a command line."""
        version, literal = (6, f"[{host}]") if ":" in host else (4, host)
        words = line.format(version=version, host=host, literal=literal, port=port).split()
        return [require(words[0]), *words[1:]]


PEERS = (
    Peer("openbsd", "nc.openbsd -nu {host} {port}", "nc.openbsd -nvlu {host} {port}", "^Bound on"),
    Peer("ncat", "ncat -nu {host} {port}", "ncat -nvlu {host} {port}", "Listening on"),
    Peer(
        "socat",
        "socat STDIO UDP{version}:{literal}:{port}",
        "socat -d -d STDIO UDP{version}-LISTEN:{port},bind={literal}",
        "listening on UDP",
    ),
    Peer(
        "traditional",
        "nc.traditional -nu {host} {port}",
        "nc.traditional -nvlu -s {host} -p {port}",
        "^listening on",
        families=("127.0.0.1",),
    ),
)
WITH_EACH = pytest.mark.parametrize(
    ("peer", "host"),
    [pytest.param(peer, host, id=f"{peer.name}-{host}") for peer in PEERS for host in peer.families],
)


def udp(host: str = "127.0.0.1") -> socket.socket:
    """A bound UDP socket on which every operation fails after ten seconds."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, UDP)
    sock.bind((host, 0))
    sock.settimeout(DEADLINE)
    return sock


def port_of(sock: socket.socket) -> str:
    return str(sock.getsockname()[1])


def to(port: int, host: str = "127.0.0.1") -> socket.socket:
    """A UDP socket connected to a port."""
    sock = udp(host)
    sock.connect((host, port))
    return sock


def a_free_port() -> int:
    """A port for a pync that is to send from a given one."""
    with free_port(UDP) as port:
        return port


# -- With other netcats ----------------------------------------------------------------------------------------------


@WITH_EACH
def test_a_client_talks_with_another_netcats_server(peer: Peer, host: str) -> None:
    with on_a_free_port(lambda port: Running(peer.argv(peer.server, host, port)), UDP) as server:
        server.expect(peer.ready)
        with pync("-u", host, str(server.port)) as client:
            for word in (b"one\n", b"two\n"):
                client.send(word)
                assert server.read_until(b"\n") == word
                server.send(b"re: " + word)
                assert client.read_until(b"\n") == b"re: " + word
            assert client.finish() == success()


@WITH_EACH
def test_a_server_talks_with_another_netcats_client(peer: Peer, host: str) -> None:
    with listen("-u", host, "0") as server, Running(peer.argv(peer.client, host, server.port)) as client:
        for word in (b"one\n", b"two\n"):
            client.send(word)
            assert server.read_until(b"\n") == word
            server.send(b"re: " + word)
            assert client.read_until(b"\n") == b"re: " + word


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_pync_talks_with_itself(host: str) -> None:
    with listen("-u", "0") as server, pync("-u", host, str(server.port)) as client:  # bound in both families
        client.send(b"question\n")
        assert server.read_until(b"\n") == b"question\n"
        server.expect(rf"^Connection received on {host} \d+$")
        server.send(b"answer\n")
        assert client.finish() == success(b"answer\n")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_listener_in_both_families_receives_from_its_peer_in_either(host: str) -> None:
    with listen("-u", "-W", "1", "0") as server, to(server.port, host) as peer:
        peer.send(b"hello")
        assert server.finish().out == b"hello"
        assert server.stderr.startswith(f"Bound on :: {server.port}\nBound on 0.0.0.0 {server.port}\n")


# -- Datagrams stay whole --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_largest_datagram_is_whole_both_ways(host: str, tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(there := PAYLOAD(LARGEST))
    back = there[::-1]
    with (
        (tmp_path / "there").open("rb") as stdin,
        udp(host) as server,
        pync("-u", host, port_of(server), stdin=stdin) as client,
    ):
        data, name = server.recvfrom(1 << 17)
        assert data == there
        server.sendto(back, name)
        assert client.read_all() == back
        assert client.wait() == 0


def test_a_listener_takes_and_sends_the_largest_datagram_whole(tmp_path: Path) -> None:
    (tmp_path / "back").write_bytes(back := PAYLOAD(LARGEST))
    with (
        (tmp_path / "back").open("rb") as stdin,
        listen("-u", "127.0.0.1", "0", stdin=stdin) as server,
        to(server.port) as peer,
    ):
        peer.send(there := back[::-1])
        assert server.read(LARGEST) == there
        assert peer.recv(1 << 17) == back


def test_a_server_of_many_takes_and_sends_the_largest_datagram_whole() -> None:
    count = "while head -c 65507 | wc -c; do :; done"
    with listen("-uk", "--sh-exec", count, "127.0.0.1", "0") as server, to(server.port) as peer:
        peer.send(PAYLOAD(LARGEST))
        assert peer.recv(100) == b"65507\n"


def test_a_file_is_sent_in_the_largest_datagrams_there_are(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(data := PAYLOAD(150_000))
    with (
        (tmp_path / "file").open("rb") as stdin,
        udp() as server,
        pync("-u", "-q", "0", "127.0.0.1", port_of(server), stdin=stdin) as client,
    ):
        assert [server.recv(1 << 17) for _ in range(3)] == [data[:LARGEST], data[LARGEST : 2 * LARGEST], data[131014:]]
        assert client.wait() == 0


def test_nothing_is_sent_but_what_stdin_holds() -> None:
    with udp() as server:
        result = run([*PYNC, "-v", "-u", "-q", "0", "127.0.0.1", port_of(server)], b"hello")
        spoken = without_ends(result.err)
        assert (result.status, spoken) == (0, f"Connection to 127.0.0.1 {port_of(server)} port [udp/*] succeeded!\n")
        assert server.recv(100) == b"hello"  # nc.openbsd sends five datagrams of its own first, as probes
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.recv(1)


def test_each_write_of_a_pipe_is_a_datagram() -> None:
    with udp() as server, pync("-u", "127.0.0.1", port_of(server)) as client:
        for word in (b"one", b"two\nthree\n", b"four"):
            client.send(word)
            assert server.recv(100) == word


def test_each_write_of_a_pipe_in_packet_mode_is_a_datagram_however_many_there_are() -> None:
    words = [bytes([at % 251]) * size for at, size in enumerate([64] * 150 + [10] + [64] * 20 + [1, 4096, 4096, 5] * 3)]
    out, into = os.pipe2(os.O_DIRECT)
    with udp() as server, pync("-u", "-q", "0", "127.0.0.1", port_of(server), stdin=out) as client:
        os.close(out)
        for word in words:
            os.write(into, word)
        os.close(into)
        assert [server.recv(1 << 17) for _ in words] == words
        assert client.wait() == 0


@pytest.mark.parametrize("options", [(), ("-k",)])
def test_an_empty_datagram_is_data_and_ends_no_listener(options: tuple[str, ...]) -> None:
    with listen("-u", *options, "127.0.0.1", "0") as server, to(server.port) as peer:
        for word in (b"", b"one ", b"", b"two\n"):
            peer.send(word)
        assert server.read_until(b"\n") == b"one two\n"
        server.send(b"still here")
        assert peer.recv(100) == b"still here"


@pytest.mark.parametrize("options", [(), ("-k",)])
def test_an_empty_datagram_is_no_end_to_a_program(options: tuple[str, ...]) -> None:
    with listen("-u", *options, "--exec", "cat", "127.0.0.1", "0") as server, to(server.port) as peer:
        for word in (b"one", b"two"):
            peer.send(b"")
            peer.send(word)
            assert peer.recv(100) == word


def test_an_empty_datagram_is_no_end_to_a_client() -> None:
    with udp() as server, pync("-u", "127.0.0.1", port_of(server)) as client:
        client.send(b"question")
        _, name = server.recvfrom(100)
        for word in (b"", b"answer", b""):
            server.sendto(word, name)
        assert client.read(6) == b"answer"
        client.send(b"next")
        assert server.recv(100) == b"next"


def test_an_empty_datagram_is_an_answer() -> None:
    with udp() as server, pync("-u", "127.0.0.1", port_of(server)) as client:
        client.send(b"question")
        client.close_stdin()
        _, name = server.recvfrom(100)
        server.sendto(b"", name)
        assert client.finish() == success()


# -- One peer --------------------------------------------------------------------------------------------------------


def test_a_listener_receives_from_its_first_peer_only() -> None:
    with listen("-u", "127.0.0.1", "0") as server, to(server.port) as peer, udp() as stranger:
        peer.send(b"one ")
        assert server.read(4) == b"one "
        stranger.sendto(b"FORGED ", ("127.0.0.1", server.port))
        peer.send(b"two ")
        assert server.read(4) == b"two "
        stranger.sendto(b"FORGED ", ("127.0.0.1", server.port))
        peer.send(b"three")
        assert server.read(5) == b"three"
        server.signal(signal.SIGTERM)
        assert server.wait() == 143
        assert len(without_ends(server.stderr).splitlines()) == 2, "the port, and one peer"


@pytest.mark.parametrize("options", [(), ("--exec", "cat")])
def test_what_others_had_sent_before_the_first_peer_was_taken_is_left_out(options: tuple[str, ...]) -> None:
    with (
        listen("-u", *options, "127.0.0.1", "0", stdin=DEVNULL) as server,
        to(server.port) as stranger,
        to(server.port) as peer,
    ):
        server.signal(signal.SIGSTOP)
        for sock, data in (peer, b"one "), (stranger, b"FORGED "), (peer, b"two "), (stranger, b"FORGED "):
            sock.send(data)
        peer.send(b"three")
        server.signal(signal.SIGCONT)
        assert (answers(peer, 13) if options else server.read(13)) == b"one two three"


def answers(peer: socket.socket, size: int) -> bytes:
    """`size` bytes of answers, in one datagram or several: the pipe of a program may join them."""
    data = b""
    while len(data) < size:
        data += peer.recv(1 << 17)
    return data


def test_of_the_peers_in_both_families_only_one_is_received_from() -> None:
    with listen("-u", "0", stdin=DEVNULL) as server, to(server.port, "::1") as six, to(server.port) as four:
        server.signal(signal.SIGSTOP)
        for word in (b"1", b"2", b"3"):
            for peer in (four, six):
                peer.send(word)
        server.signal(signal.SIGCONT)
        assert server.read(3) == b"123"
        server.signal(signal.SIGTERM)
        assert server.wait() == 143
        assert len(re.findall("^Connection received", server.stderr, re.MULTILINE)) == 1


def test_a_client_receives_from_its_server_only() -> None:
    with udp() as server, udp() as stranger, pync("-u", "127.0.0.1", port_of(server)) as client:
        client.send(b"question")
        _, name = server.recvfrom(100)
        stranger.sendto(b"FORGED", name)
        server.sendto(b"answer", name)
        assert client.finish() == success(b"answer")


def test_a_peer_that_is_denied_is_not_the_first_peer() -> None:
    with listen("-u", "--deny", "::1", "0") as server, to(server.port, "::1") as denied, to(server.port) as peer:
        denied.send(b"FORGED")
        server.expect(r"^pync: connection from ::1 \d+ denied")
        peer.send(b"hello")
        assert server.read(5) == b"hello"


# -- Many peers ------------------------------------------------------------------------------------------------------


def test_keeping_open_shows_the_datagrams_of_all() -> None:
    with listen("-uk", "0") as server, to(server.port) as one, to(server.port, "::1") as two, to(server.port) as three:
        for number, peer in enumerate((one, two, three, two, one)):
            peer.send(f"{number}".encode())
            assert server.read(1) == f"{number}".encode()
        server.send(b"to all")
        assert [peer.recv(100) for peer in (one, two, three)] == [b"to all"] * 3


def test_of_ten_thousand_peers_all_are_received_from_and_every_hundredth_is_answered() -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(listen("-uk", "127.0.0.1", "0"))
        kept = []
        for block in range(100):  # in steps that fit into the socket's queue
            with contextlib.ExitStack() as step:
                for number in range(100):
                    peer = socket.socket(socket.AF_INET, UDP)
                    (stack if number == 0 else step).enter_context(peer)
                    peer.bind((f"127.0.{block}.{number + 1}", 0))
                    peer.sendto(b"%4d" % (100 * block + number), ("127.0.0.1", server.port))
                    kept += [peer] if number == 0 else []
                data = server.read(400)
            assert [int(data[at : at + 4]) for at in range(0, 400, 4)] == [*range(100 * block, 100 * block + 100)]
        server.send(b"to all")
        for peer in kept:
            peer.settimeout(DEADLINE)
            assert peer.recv(100) == b"to all"


@pytest.mark.parametrize("option", ["--sh-exec", "--filter"])
def test_each_peer_has_a_program_of_its_own(option: str) -> None:
    program = 'while read -r word; do echo "$$ $PYNC_REMOTE_PORT $word"; done'
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(listen("-uk", option, program, "0"))
        peers = [stack.enter_context(to(server.port, host)) for host in ("127.0.0.1", "::1", "127.0.0.1")]
        pids: dict[str, set[bytes]] = {port_of(peer): set() for peer in peers}
        for word in (b"a", b"b", b"c"):
            for peer in peers:
                peer.send(word + b"\n")
            for peer in reversed(peers):
                pid, port, echo = peer.recv(100).split()
                assert port.decode() == port_of(peer)
                assert echo == word
                pids[port.decode()].add(pid)
        assert [len(own) for own in pids.values()] == [1, 1, 1]
        assert len(set.union(*pids.values())) == 3


def test_a_program_gets_the_facts_of_its_peer() -> None:
    facts = "printf '%s %s %s %s %s' $PYNC_PROTO $PYNC_REMOTE_ADDR $PYNC_REMOTE_PORT $NCAT_LOCAL_ADDR $NCAT_LOCAL_PORT"
    with listen("-u", "--sh-exec", facts, "127.0.0.1", "0") as server, to(server.port) as peer:
        peer.send(b"hello")
        assert peer.recv(100).decode() == f"UDP 127.0.0.1 {port_of(peer)} 127.0.0.1 {server.port}"
        assert server.wait() == 0


def insist(peer: socket.socket, question: bytes, answer: bytes) -> None:
    """Ask until the answer arrives, as a client of UDP must: a datagram may meet a program that is about to end."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        peer.send(question)
        while select.select([peer], [], [], 0.1)[0]:
            if peer.recv(100) == answer:
                return
    pytest.fail(f"{answer!r} has not arrived")


def test_a_program_that_has_ended_is_started_again_for_its_peer() -> None:
    with listen("-uk", "--sh-exec", "head -n 1", "127.0.0.1", "0") as server, to(server.port) as peer:
        for word in (b"one\n", b"two\n", b"three\n"):
            insist(peer, word, word)


def test_a_session_that_has_ended_leaves_nothing_open() -> None:
    with listen("-uk", "--sh-exec", "head -n 1", "127.0.0.1", "0") as server:
        before = len(server.descriptors())
        for _ in range(20):
            with to(server.port) as peer:
                peer.send(b"hello\n")
                assert peer.recv(100) == b"hello\n"
        is_true(lambda: len(server.descriptors()) == before, "no descriptor is left over")


def test_a_peer_that_has_left_does_not_harm_the_others() -> None:
    with listen("-uk", "--sh-exec", "cat", "127.0.0.1", "0") as server, to(server.port) as peer:
        for _ in range(3):
            with to(server.port) as short:
                server.signal(signal.SIGSTOP)
                short.send(b"answer me")
            server.signal(signal.SIGCONT)
            peer.send(b"hello")
            assert peer.recv(100) == b"hello"


# -- Ending ----------------------------------------------------------------------------------------------------------


def test_a_client_waits_for_its_answer_after_stdins_end() -> None:
    with udp() as server, pync("-u", "127.0.0.1", port_of(server)) as client:
        client.send(b"question")
        client.close_stdin()
        _, name = server.recvfrom(100)
        assert lives_on(client.pid, 0.7), "for longer than the silence that ends an answer"
        server.sendto(b"late, ", name)
        server.sendto(b"but here", name)
        assert client.finish() == success(b"late, but here")


def test_a_client_leaves_once_its_answer_is_complete() -> None:
    with udp() as server, pync("-u", "127.0.0.1", port_of(server)) as client:
        client.send(b"question")
        _, name = server.recvfrom(100)
        server.sendto(b"answer", name)
        assert client.read(6) == b"answer"
        begun = time.monotonic()
        client.close_stdin()
        assert client.wait() == 0
        assert time.monotonic() - begun < 3


@pytest.mark.parametrize("options", [("-q", "0"), ("--send-only",)])
def test_a_client_can_leave_without_an_answer(options: tuple[str, ...]) -> None:
    with udp() as server:
        assert run([*PYNC, "-u", *options, "127.0.0.1", port_of(server)], b"only this") == success()
        assert server.recv(100) == b"only this"


def test_a_client_can_wait_for_an_answer_for_a_given_time() -> None:
    with udp() as server:
        begun = time.monotonic()
        assert run([*PYNC, "-u", "-q", "0.3", "127.0.0.1", port_of(server)], b"question") == success()
        assert time.monotonic() - begun >= 0.3


def test_a_client_that_is_never_answered_leaves_after_its_wait() -> None:
    with udp() as server:
        begun = time.monotonic()
        result = run([*PYNC, "-v", "-u", "-w", "0.4", "127.0.0.1", port_of(server)], b"question")
        assert time.monotonic() - begun >= 0.4
        assert result.status_and_out == (0, b"")
        assert without_ends(result.err).splitlines()[1:] == [
            f"pync: no answer from 127.0.0.1:{port_of(server)} within 0.4 s"
        ]
        assert run([*PYNC, "-u", "-w", "0.1", "127.0.0.1", port_of(server)], b"question") == success()


def test_a_client_that_is_answered_does_not_wait_any_longer() -> None:
    with udp() as server, pync("-v", "-u", "-w", "30", "127.0.0.1", port_of(server)) as client:
        client.send(b"question")
        client.close_stdin()
        _, name = server.recvfrom(100)
        server.sendto(b"answer", name)
        assert client.finish().status_and_out == (0, b"answer")
        assert "no answer" not in client.stderr


def test_a_metric_is_sent_and_its_sender_leaves_at_once() -> None:
    with udp() as server, listen("-u", "127.0.0.1", "0", stdin=DEVNULL) as other:
        for port in (port_of(server), str(other.port)):
            begun = time.monotonic()
            assert run([*PYNC, "-u", "-w0", "127.0.0.1", port], b"foo:1|c\n") == success()
            assert time.monotonic() - begun < 5, "it waits for nothing"
        assert server.recv(100) == b"foo:1|c\n"
        assert other.read(8) == b"foo:1|c\n"


def test_a_limit_for_silence_is_a_failure_while_stdin_is_open_and_for_a_limit_that_is_no_wait() -> None:
    message = "idle connection: nothing came or went for 0.4 s"
    with udp() as server:
        with pync("-u", "-w", "0.4", "127.0.0.1", port_of(server)) as client:
            client.send(b"question")
            assert client.wait() == 124
            assert client.stderr == f"pync: {message}\n"
        result = run([*PYNC, "-u", "--idle-timeout", "0.4", "127.0.0.1", port_of(server)], b"question")
        assert result == failure(message, status=124)


@pytest.mark.parametrize("options", [("-w", "0.4"), ("-w", "0.4", "-k"), ("-w", "0.4", "-k", "--exec", "cat")])
def test_a_listeners_peer_times_out(options: tuple[str, ...]) -> None:
    with listen("-u", *options, "127.0.0.1", "0") as server, to(server.port) as peer:
        peer.send(b"hello")
        server.expect(r"^pync: idle connection: nothing came or went for 0\.4 s$")
        if "-k" not in options:
            assert server.wait() == 124


def test_a_listener_can_leave_after_a_given_number_of_datagrams() -> None:
    with listen("-u", "-W", "2", "127.0.0.1", "0") as server, to(server.port) as peer:
        peer.send(b"one ")
        peer.send(b"two ")
        assert server.read_all() == b"one two "
        assert server.wait() == 0


def test_a_listener_leaves_after_its_stdins_end_if_asked_to() -> None:
    with listen("-u", "-q", "0", "127.0.0.1", "0") as server, to(server.port) as peer:
        server.send(b"answer")
        peer.send(b"question")
        assert peer.recv(100) == b"answer"
        assert server.finish().status_and_out == (0, b"question")


def test_a_listener_stays_when_its_stdin_has_ended() -> None:
    with listen("-u", "127.0.0.1", "0", stdin=DEVNULL) as server, to(server.port) as peer:
        for word in (b"one", b"two"):
            peer.send(word)
            assert server.read(3) == word
    with listen("-u", "127.0.0.1", "0") as server, to(server.port) as peer:
        server.close_stdin()
        for word in (b"one", b"two"):
            peer.send(word)
            assert server.read(3) == word


def test_a_client_without_stdin_receives_a_datagram() -> None:
    with free_port(UDP) as port, udp() as server:
        own = a_free_port()
        assert own != port
        argv = ("-v", "-u", "-p", str(own), "127.0.0.1", port_of(server))
        with pync(*argv, stdin=DEVNULL) as client:
            client.expect("^Connection to")
            server.sendto(b"news", ("127.0.0.1", own))
            assert client.read_all() == b"news"
            assert client.wait() == 0


# -- Refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("--send-only",), ("-w", "5"), ("-q", "5"), ("-w", "0"), ("-q", "0")])
def test_a_refused_datagram_is_one_line_and_a_failure(options: tuple[str, ...]) -> None:
    with free_port(UDP) as port:
        result = run([*PYNC, "-u", *options, "127.0.0.1", str(port)], b"hello")
        assert result == failure(f"datagrams to 127.0.0.1:{port}: Connection refused")


def test_a_refusal_ends_a_client_whose_stdin_is_open() -> None:
    with free_port(UDP) as port, pync("-u", "127.0.0.1", str(port)) as client:
        client.send(b"hello")
        assert client.wait() == 1
        assert client.stderr == f"pync: datagrams to 127.0.0.1:{port}: Connection refused\n"


def test_a_listener_whose_peer_has_left_fails() -> None:
    with listen("-u", "127.0.0.1", "0") as server:
        with to(server.port) as peer:
            peer.send(b"hello")
            assert server.read(5) == b"hello"
        server.send(b"answer")
        assert server.wait() == 1
        assert server.stderr.endswith(f"\npync: datagrams to 127.0.0.1:{peer_port(server)}: Connection refused\n")


def peer_port(server: Running) -> str:
    return server.expect(r"^Connection received on \S+ (\d+)$")[1]


@pytest.fixture
def last_words() -> Iterator[socket.socket]:
    """A socket to which its peer has sent two last datagrams before it left, and which was refused since."""
    with socket.socket(socket.AF_INET, UDP) as sock:
        with udp() as peer:
            sock.connect(peer.getsockname())
            for word in (b"last", b"words"):
                peer.sendto(word, sock.getsockname())
        sock.send(b"anyone?")
        yield sock


def test_the_last_datagrams_of_a_peer_are_read_before_its_refusal(last_words: socket.socket) -> None:
    async def main(loop: Loop) -> list[bytes | None]:
        far = DatagramSocket(loop, last_words, last_words.getpeername())
        received = [await far.read(), await far.read()]
        for _ in range(2):
            with pytest.raises(PeerLost, match="Connection refused"):
                await far.read()
        return received

    assert play(main) == [b"last", b"words"]


def test_the_last_datagrams_of_a_peer_are_read_when_writing_is_refused(last_words: socket.socket) -> None:
    received: list[bytes | None] = []

    async def main(loop: Loop) -> None:
        far = DatagramSocket(loop, last_words, last_words.getpeername())

        async def listen() -> None:
            with contextlib.suppress(PeerLost):
                while True:
                    received.append(await far.read())

        loop.spawn(listen())
        await far.write(b"more")

    with pytest.raises(PeerLost, match="Connection refused"):
        play(main)
    assert received == [b"last", b"words"]


# -- With name servers and loggers -------------------------------------------------------------------------------------


def query(name: str) -> bytes:
    """A DNS query for the IPv4 address of a name (RFC 1035, section 4)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">6H", 0x1234, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)


@pytest.fixture(scope="module")
def name_server() -> Iterator[Running]:
    """dnsmasq, which knows that pync.test is at 192.0.2.7; `port` is its port."""
    words = "--no-daemon --conf-file=/dev/null --pid-file= --user= --listen-address=127.0.0.1 --bind-interfaces"
    names = "--no-resolv --no-hosts --address=/pync.test/192.0.2.7"

    def start(port: int) -> Running:
        return Running([require("dnsmasq"), *words.split(), *names.split(), f"--port={port}"])

    with on_a_free_port(start) as server:  # it listens on TCP, too
        server.expect("^dnsmasq: started")
        yield server


def test_a_question_to_a_name_server_is_answered(name_server: Running) -> None:
    result = run([*PYNC, "-u", "127.0.0.1", str(name_server.port)], query("pync.test"))
    identity, flags, questions, answers = struct.unpack(">4H", result.out[:8])
    assert identity == 0x1234
    assert flags & 0x8000, "it is an answer"
    assert flags & 0xF == 0, "without an error"
    assert [questions, answers] == [1, 1]
    assert result.out.endswith(struct.pack(">H", 4) + socket.inet_aton("192.0.2.7"))
    assert (result.status, result.err) == (0, "")


def test_a_log_line_of_logger_is_shown() -> None:
    with listen("-u", "127.0.0.1", "0", stdin=DEVNULL) as server:
        words = ["-n", "127.0.0.1", "-P", str(server.port), "-d", "-t", "test", "--rfc3164", "the disk is full"]
        assert run([require("logger"), *words]).status == 0
        server.read_until(b"the disk is full")


@pytest.mark.parametrize("options", [("-u",), ("-uk",)])
def test_log_lines_of_logger_are_lines_of_the_log(options: tuple[str, ...]) -> None:
    with listen(*options, "--lines", "127.0.0.1", "0", stdin=DEVNULL) as server:
        words = ["-n", "127.0.0.1", "-P", str(server.port), "-d", "-t", "test", "--rfc3164"]
        for text in ("the disk is full", "the disk has room")[: len(options[0]) - 1]:
            assert run([require("logger"), *words, text]).status == 0
            assert server.read_until(b"\n").endswith(f" test: {text}\n".encode())


def test_the_lines_of_a_file_are_sent_whole(tmp_path: Path) -> None:
    lines = [b"%d %s\n" % (number, b"x" * (number % 300)) for number in range(900)]
    (tmp_path / "file").write_bytes(b"".join(lines))
    with udp() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        with (tmp_path / "file").open("rb") as stdin:
            argv = ["-u", "-i", "0.0001", "--lines", "127.0.0.1", port_of(server)]
            with pync(*argv, "-w0", stdin=stdin) as client:
                assert [server.recv(1000) for _ in lines] == lines
                assert client.wait() == 0


def test_a_pipe_that_is_written_anyhow_is_sent_by_lines() -> None:
    with udp() as server, pync("-u", "--lines", "127.0.0.1", port_of(server)) as client:
        client.send(b"one\ntwo\nthr")
        assert [server.recv(100) for _ in range(2)] == [b"one\n", b"two\n"]
        client.send(b"ee\nfour")
        assert server.recv(100) == b"three\n"
        client.close_stdin()
        assert server.recv(100) == b"four"


@pytest.mark.parametrize("options", [("-u",), ("-u", "--lines")])
def test_no_line_is_cut_where_a_read_ends_when_lines_are_paced(options: tuple[str, ...]) -> None:
    with udp() as server, pync(*options, "-i", "0.05", "127.0.0.1", port_of(server)) as client:
        client.send(b"first\nsec")
        assert server.recv(100) == b"first\n"
        client.send(b"ond\n")
        assert server.recv(100) == b"second\n"


def test_datagrams_have_the_size_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(data := PAYLOAD(10_000))
    with (tmp_path / "file").open("rb") as stdin, udp() as server:
        assert run([*PYNC, "-u", "-w0", "--datagram-size", "1400", "127.0.0.1", port_of(server)], stdin) == success()
        assert [server.recv(2000) for _ in range(8)] == [data[at : at + 1400] for at in range(0, 10_000, 1400)]
        argv = ["-u", "-w0", "--lines", "--datagram-size", "4", "127.0.0.1", port_of(server)]
        assert run([*PYNC, *argv], b"one\nseven\n1234\n") == success()
        assert [server.recv(100) for _ in range(5)] == [b"one\n", b"seve", b"n\n", b"123", b"4\n"]


def test_line_ends_that_grow_still_fit_into_the_datagrams() -> None:
    with udp() as server, listen("-u", "127.0.0.1", "0") as other:
        for port in (port_of(server), str(other.port)):
            assert run([*PYNC, "-u", "-C", "-w0", "127.0.0.1", port], b"\n" * 40_000) == success()
        assert set(server.recv(1 << 17).split(b"\r\n")) == {b""}


@pytest.mark.parametrize("size", [(), ("--datagram-size", "1000")])
def test_a_large_file_is_sent_to_each_peer_of_a_server(tmp_path: Path, size: tuple[str, ...]) -> None:
    (tmp_path / "file").write_bytes(data := PAYLOAD(150_000))
    with (
        (tmp_path / "file").open("rb") as stdin,
        listen("-uk", *size, "127.0.0.1", "0", stdin=stdin) as server,
        to(server.port) as peer,
    ):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        peer.send(b"get")
        got = [peer.recv(1 << 17)]
        while sum(map(len, got)) < len(data):
            got.append(peer.recv(1 << 17))
        assert b"".join(got) == data
        assert len(got) == (150 if size else 3)


@pytest.mark.parametrize("option", ["--sh-exec", "--filter"])
def test_each_line_of_a_program_is_a_datagram(option: str) -> None:
    with listen("-uk", "--lines", option, "sed -u s/^/:/", "127.0.0.1", "0") as server, to(server.port) as peer:
        for word in (b"one", b"two\nthree\n"):
            peer.send(word)
        assert [peer.recv(100) for _ in range(3)] == [b":one\n", b":two\n", b":three\n"]


def test_a_log_line_can_be_sent() -> None:
    with udp() as server:
        line = b"<13>Oct 11 22:14:15 host test: the disk is full"
        assert run([*PYNC, "--send-only", "-u", "127.0.0.1", port_of(server)], line) == success()
        assert server.recv(1000) == line


def test_a_broadcast_needs_permission() -> None:
    with udp("0.0.0.0") as server:
        argv = ["-u", "--send-only", "127.255.255.255", port_of(server)]
        refused = run([*PYNC, *argv], b"hello")
        assert refused.status_and_out == (1, b"")
        assert "Permission denied" in refused.err and len(refused.err.splitlines()) == 1
        assert run([*PYNC, "-b", *argv], b"hello") == success()
        assert server.recv(100) == b"hello"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_source_address_and_port_are_the_senders(host: str) -> None:
    own = a_free_port()
    with udp(host) as server:
        assert run([*PYNC, "-u", "-q", "0", "-s", host, "-p", str(own), host, port_of(server)], b"hello").status == 0
        source = server.recvfrom(100)[1]
        assert source[:2] == (host, own)


def test_a_port_in_use_is_refused() -> None:
    with udp() as taken:
        result = run([*PYNC, "-lu", "127.0.0.1", port_of(taken)])
        assert result == failure(f"listen on 127.0.0.1:{port_of(taken)}: Address already in use")
