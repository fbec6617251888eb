"""Servers of datagrams: which sessions end and when, what they may cost, and from which address a server answers.

Anybody can send a datagram from any address, so nothing of this may depend on the good will of a peer.
"""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from clients import is_true
from harness import DEADLINE, DEVNULL, PYNC, Running, announced, listen, pync, require, run, success
from network import network
from pairs import lives_on

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER = [*PYNC, "-v", "-l"]


def peer(host: str = "127.0.0.1") -> socket.socket:
    """A bound UDP socket on which every operation fails after ten seconds."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.settimeout(DEADLINE)
    return sock


def forged(count: int) -> Iterator[socket.socket]:
    """Sockets with an address each, which are closed when the next one is taken."""
    for number in range(count):
        with peer(f"127.{9 + number // 50_000}.{number // 200 % 250}.{number % 200 + 1}") as sock:
            yield sock


def ask(sock: socket.socket, server: tuple[str, int], question: bytes) -> tuple[bytes, str]:
    """Ask a server, and return its answer and the address that this came from."""
    sock.sendto(question, server)
    answer, name = sock.recvfrom(1 << 17)
    return answer, name[0]


# -- Which sessions end ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [("--exec", "cat"), ("--sh-exec", "cat"), ("--filter", "cat")])
def test_every_peer_is_answered_when_the_descriptors_are_used_up(options: tuple[str, ...]) -> None:
    few = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"]
    with announced(Running([*few, *SERVER, "-uk", *options, "127.0.0.1", "0"]), "Bound") as server:
        for sock in forged(100):
            assert ask(sock, ("127.0.0.1", server.port), b"hello\n") == (b"hello\n", "127.0.0.1")
        assert len(server.children()) < 30
        assert "Too many open files" not in server.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_relay_answers_every_peer_when_the_descriptors_are_used_up(host: str) -> None:
    few = ["sh", "-c", 'ulimit -n 48; exec "$@"', "sh"]
    with (
        listen("-uk", "--filter", "cat", "0") as target,
        announced(Running([*few, *SERVER, "-uk", "--to", f"{host}:{target.port}", "0"]), "Bound") as relay,
    ):
        for sock in forged(60):
            assert ask(sock, ("127.0.0.1", relay.port), b"hello\n")[0] == b"hello\n"
        relay.expect("^Connection received", count=60)
        assert "failed" not in relay.stderr and "Too many" not in relay.stderr


def test_at_the_limit_the_peer_that_is_silent_for_longest_goes_and_its_program_ends() -> None:
    program = "echo $$; trap '' HUP; exec cat"
    with (
        listen("-uk", "--max-conns", "2", "--sh-exec", program, "127.0.0.1", "0", stdin=DEVNULL) as server,
        peer() as one,
        peer() as two,
        peer() as three,
    ):
        where = ("127.0.0.1", server.port)
        first, second = (int(ask(sock, where, b"")[0]) for sock in (one, two))
        assert ask(one, where, b"still here\n")[0] == b"still here\n"
        third = int(ask(three, where, b"")[0])
        is_true(lambda: second not in server.children(), "the program of the silent peer has ended")
        port = two.getsockname()[1]
        server.expect(
            rf"^pync: connection from 127\.0\.0\.1 {port} denied: it was silent for longest, and 2 is the limit$"
        )
        assert sorted(server.children()) == sorted([first, third])
        assert ask(one, where, b"still here\n")[0] == b"still here\n"
        assert int(ask(two, where, b"")[0]) not in (first, second, third), "a new session"


def test_a_program_that_does_not_end_by_itself_is_ended_for_another_peer() -> None:
    program = "echo $$; trap '' HUP TERM; exec sleep 600"
    with (
        listen("-uk", "--max-conns", "1", "--sh-exec", program, "127.0.0.1", "0", stdin=DEVNULL) as server,
        peer() as one,
        peer() as two,
    ):
        first, second = (int(ask(sock, ("127.0.0.1", server.port), b"")[0]) for sock in (one, two))
        assert server.children() == [second] and first != second


def test_of_peers_that_wait_for_a_session_no_more_are_kept_than_may_be_served() -> None:
    with listen("-uk", "--max-conns", "3", "--sh-exec", "cat", "127.0.0.1", "0") as server:
        server.signal(signal.SIGSTOP)
        socks = [peer() for _ in range(20)]
        with contextlib.ExitStack() as stack:
            for sock in socks:
                stack.enter_context(sock).sendto(b"hello\n", ("127.0.0.1", server.port))
            server.signal(signal.SIGCONT)
            for sock in socks[-3:]:
                assert sock.recv(100) == b"hello\n"
            assert len(server.children()) == 3


def test_with_a_limit_a_collector_forgets_its_silent_peers_and_goes_on() -> None:
    with listen("-uk", "-w", "0.3", "127.0.0.1", "0", stdin=DEVNULL) as server, peer() as sock:
        for round_ in (1, 2):
            sock.sendto(b"hello\n", ("127.0.0.1", server.port))
            assert server.read(6) == b"hello\n"
            server.expect(r"^pync: idle connection: nothing came or went for 0\.3 s$", count=round_)
        assert server.stderr.count("Connection received") == 2


def test_what_is_sent_to_a_peer_is_traffic() -> None:
    with listen("-uk", "-w", "0.5", "127.0.0.1", "0") as server, peer() as sock:
        sock.sendto(b"hello\n", ("127.0.0.1", server.port))
        assert server.read(6) == b"hello\n"
        for _ in range(8):
            server.send(b"news\n")
            assert sock.recv(100) == b"news\n"
            assert lives_on(server.pid, 0.1)
        assert "idle" not in server.stderr


# -- What they cost --------------------------------------------------------------------------------------------------


def resident(pid: int) -> int:
    """Bytes of memory that a process has in use."""
    return int(re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[0]) * 1024


def test_thousands_of_senders_cost_a_collector_little() -> None:
    with listen("-uk", "127.0.0.1", "0") as server:
        for sock in forged(50):  # what the first ones cost is there once
            sock.sendto(b"hello\n", ("127.0.0.1", server.port))
            server.read(6)
        before = resident(server.pid)
        for sock in forged(4000):
            sock.sendto(b"hello\n", ("127.0.0.1", server.port))
            server.read(6)
        assert resident(server.pid) - before < 4000 * 2000  # a session takes three times as much
        server.send(b"news\n")


@pytest.mark.timeout(150)
@pytest.mark.parametrize(
    ("options", "count", "megabytes"),
    [((), 100_000, 60), (("file",), 40_000, 250), (("--to",), 30_000, 450), (("--exec", "cat"), 3_000, 60)],
    ids=["collector", "file", "relay", "program"],
)
def test_after_datagrams_from_any_number_of_addresses_the_next_client_is_served(
    options: tuple[str, ...], count: int, megabytes: int, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("answer\n")
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(listen("-uk", "--sh-exec", "cat", "--max-conns", "20", "127.0.0.1", "0"))
        stdin = stack.enter_context((tmp_path / "file").open("rb")) if options == ("file",) else None
        words = {("--to",): [f"127.0.0.1:{target.port}"], ("--exec", "cat"): ["--max-conns", "20"]}.get(options, [])
        argv = [*(options if options != ("file",) else ()), *words]
        server = stack.enter_context(listen("-uk", *argv, "127.0.0.1", "0", **({"stdin": stdin} if stdin else {})))
        for sock in forged(count):
            sock.sendto(b"forged\n", ("127.0.0.1", server.port))
        with peer() as honest:
            honest.settimeout(1)

            def served() -> bool:
                """Whether the client is answered. What the kernel has no room for is dropped: it asks again."""
                honest.sendto(b"answer\n", ("127.0.0.1", server.port))
                if not options:
                    server.send(b"answer\n")
                with contextlib.suppress(TimeoutError):
                    return honest.recv(100).startswith(b"answer\n")
                return False

            is_true(served, "the next client is served")
        assert resident(server.pid) < megabytes << 20
        assert len(server.children()) <= 20


def test_a_collector_that_cannot_write_keeps_what_many_senders_send_within_a_bound() -> None:
    out, into = socket.socketpair()
    with listen("-uk", "127.0.0.1", "0", stdin=DEVNULL, stdout=into) as server, out:
        into.close()
        before = resident(server.pid)
        data = bytes(60_000)
        for sock in forged(1500):
            sock.sendto(data, ("127.0.0.1", server.port))
            is_true(lambda: not unread(server.port), "the server has read it")
        assert "its queue is full" in server.stderr
        assert resident(server.pid) - before < 60 << 30


def unread(port: int) -> int:
    """Bytes that wait in the queue of a UDP socket on 127.0.0.1."""
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        words = line.split()
        if words[1] == f"0100007F:{port:04X}":
            return int(words[4].partition(":")[2], 16)
    return 0


# -- From which address they answer ----------------------------------------------------------------------------------

ALL = [
    ("-u", "--exec", "cat"),
    ("-u", "--filter", "cat"),
    ("-uk", "--exec", "cat"),
    ("-uk", "--sh-exec", "cat"),
    ("-uk", "--filter", "cat"),
]


@pytest.mark.parametrize("options", ALL)
def test_a_server_on_all_addresses_answers_from_the_one_that_was_asked(options: tuple[str, ...]) -> None:
    with listen(*options, "0", stdin=DEVNULL) as server, peer() as sock:
        for word in (b"one\n", b"two\n", b"three\n"):
            assert ask(sock, ("127.0.0.5", server.port), word) == (word, "127.0.0.5")


@pytest.mark.parametrize("options", [("-u",), ("-uk",)])
def test_what_stdin_gives_comes_from_the_address_that_was_asked(options: tuple[str, ...]) -> None:
    with listen(*options, "0") as server, peer() as sock:
        for number in range(3):
            sock.sendto(b"hello\n", ("127.0.0.5", server.port))
            assert server.read(6) == b"hello\n"
            server.send(b"news %d\n" % number)
            assert sock.recvfrom(100) == (b"news %d\n" % number, ("127.0.0.5", server.port))


@pytest.mark.parametrize("options", [("-u",), ("-uk",)])
def test_a_relay_answers_from_the_address_that_was_asked(options: tuple[str, ...]) -> None:
    with (
        listen("-uk", "--filter", "cat", "127.0.0.1", "0") as target,
        listen(*options, "--to", f"127.0.0.1:{target.port}", "0") as relay,
        peer() as sock,
    ):
        for word in (b"one\n", b"two\n"):
            assert ask(sock, ("127.0.0.5", relay.port), word) == (word, "127.0.0.5")


def test_who_asks_at_two_addresses_has_two_sessions() -> None:
    program = "while read -r word; do echo $$; done"
    with listen("-uk", "--sh-exec", program, "0") as server, peer() as sock:
        pids = set()
        for _ in range(2):
            for host in ("127.0.0.5", "127.0.0.6"):
                answer, source = ask(sock, (host, server.port), b"who\n")
                assert source == host
                pids.add((host, answer))
        assert len(pids) == 2 and len({pid for _, pid in pids}) == 2


def test_the_first_peer_loses_nothing_when_the_socket_is_bound_to_its_address() -> None:
    with listen("-u", "0", stdin=DEVNULL) as server, peer() as sock, peer() as stranger:
        server.signal(signal.SIGSTOP)
        for number in range(50):
            sock.sendto(b"%02d" % number, ("127.0.0.5", server.port))
            stranger.sendto(b"FORGED", ("127.0.0.5", server.port))
            sock.sendto(b"FORGED", ("127.0.0.6", server.port))
        server.signal(signal.SIGCONT)
        assert server.read(100) == b"".join(b"%02d" % number for number in range(50))
        sock.sendto(b"end", ("127.0.0.5", server.port))
        assert server.read(3) == b"end"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                thief.bind(("127.0.0.5", server.port))


@pytest.mark.parametrize("options", [("-u",), ("-uk",)])
def test_over_ipv6_a_server_answers_from_the_address_that_was_asked(options: tuple[str, ...]) -> None:
    with (
        network("ip addr add fd00::77/128 dev lo") as inside,
        announced(Running(inside([*SERVER, *options, "--filter", "cat", "0"])), "Bound") as server,
    ):
        client = ["-u", "-s", "::1", "fd00::77", str(server.port)]
        assert run(inside([*PYNC, *client]), b"hello\n") == success(b"hello\n")


def test_another_netcat_that_accepts_only_the_asked_address_gets_its_answer() -> None:
    with (
        listen("-uk", "--filter", "tr a-z A-Z", "0") as server,
        Running([require("socat"), "STDIO", f"UDP4:127.0.0.5:{server.port}"]) as client,
    ):
        client.send(b"hello\n")
        assert client.read(6) == b"HELLO\n"


def test_a_question_to_all_addresses_of_a_network_is_answered_from_one() -> None:
    with (
        network("ip addr add 10.9.0.1/24 brd + dev lo") as inside,
        announced(Running(inside([*SERVER, "-uk", "--filter", "cat", "0"])), "Bound") as server,
    ):
        socat = ["socat", "-t", "1", "STDIO", f"UDP4-DATAGRAM:10.9.0.255:{server.port},broadcast"]
        assert run(inside([require(socat[0]), *socat[1:]]), b"hello\n").out == b"hello\n"


def test_a_server_that_answers_with_a_delay_is_waited_for(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with listen("-uk", "--delay", "0.3", "-o", str(log), "127.0.0.1", "0") as server, peer() as sock:
        begun = time.monotonic()
        sock.sendto(b"hello\n", ("127.0.0.1", server.port))
        assert server.read(6) == b"hello\n"
        assert time.monotonic() - begun >= 0.3
        server.send(b"news\n")
        assert sock.recv(100) == b"news\n"
        assert log.read_bytes() == b"hello\nnews\n"


def test_a_file_is_sent_to_each_peer_from_its_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a page\n")
    with (tmp_path / "file").open("rb") as stdin, listen("-uk", "127.0.0.1", "0", stdin=stdin) as server:
        for _ in range(2):
            assert run([*PYNC, "-u", "127.0.0.1", str(server.port)], b"get\n") == success(b"a page\n")
        with pync("-u", "127.0.0.1", str(server.port)) as client:
            client.send(b"get\n")
            assert client.read(7) == b"a page\n"
