"""Scanning: open ports are reported in order and in nc.openbsd's words, and a scan takes no longer than it must.

A port that refuses is one that the test holds and does not listen on. A port that is filtered is one whose backlog is
full, so that the system drops attempts to connect, as a firewall does.
"""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from doubles import Clock, play
from harness import DEADLINE, PYNC, failure, free_port, pync, require, run
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Names, beside_a_black_hole, black_hole, port_of

from pync import system
from pync.config import Config
from pync.context import Context
from pync.engine import run as engine
from pync.errors import TimedOut
from pync.events import Connected, ConnectFailed, Event, Outcome, Retrying
from pync.loop.kernel import Loop
from pync.modes import port_probes
from pync.modes import scan as scanning
from pync.net import attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any


UDP = socket.SOCK_DGRAM
BOTH = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])


def family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@contextlib.contextmanager
def open_port(host: str = "127.0.0.1") -> Iterator[int]:
    """A port that takes connections."""
    with socket.create_server((host, 0), family=family(host)) as sock:
        yield sock.getsockname()[1]


@contextlib.contextmanager
def filtered_port(count: int = 1, host: str = "127.0.0.1") -> Iterator[list[int]]:
    """Ports at which the system answers nothing: their backlogs are full."""
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(count):
            listener = stack.enter_context(socket.create_server((host, 0), family=family(host), backlog=0))
            fill = stack.enter_context(socket.socket(family(host)))
            fill.connect(listener.getsockname())
            ports.append(listener.getsockname()[1])
        yield ports


@contextlib.contextmanager
def neighbours(count: int, host: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    """Sockets bound to `count` ports in a row. The test decides which of them listen."""
    while True:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.socket(family(host)))
            first.bind((host, 0))
            held = [first]
            with contextlib.suppress(OSError, OverflowError):
                for port in range(first.getsockname()[1] + 1, first.getsockname()[1] + count):
                    held.append(stack.enter_context(socket.socket(family(host))))
                    held[-1].bind((host, port))
                yield held
                return


def numbers(sockets: list[socket.socket]) -> list[int]:
    return [sock.getsockname()[1] for sock in sockets]


def scan(*words: str | int) -> tuple[int, list[str]]:
    """Exit status and lines of `pync -z`; stdout stays empty."""
    result = run([*PYNC, "-z", *map(str, words)])
    assert result.out == b""
    return result.status, result.err.splitlines()


def found(events: Iterable[Event]) -> list[tuple[int | None, bool]]:
    """Each port that was reported, and whether it is open."""
    tried = [event for event in events if isinstance(event, Connected | ConnectFailed)]
    return [(event.address.port, isinstance(event, Connected)) for event in tried]


def reported_ports(lines: list[str]) -> list[int]:
    return [int(re.findall(r"\d+", line.removeprefix("Connection to 127.0.0.1 "))[0]) for line in lines]


# -- What is reported ------------------------------------------------------------------------------------------------


@BOTH
def test_an_open_port_is_success(host: str) -> None:
    with open_port(host) as port:
        assert scan(host, port) == (0, [])
        assert scan("-v", host, port) == (0, [f"Connection to {host} {port} port [tcp/*] succeeded!"])


@BOTH
def test_a_closed_port_is_failure(host: str) -> None:
    with socket.socket(family(host)) as held:
        held.bind((host, 0))
        port = held.getsockname()[1]
        assert scan(host, port) == (1, [])
        assert scan("-v", host, port) == (1, [f"pync: connect to {host} port {port} (tcp) failed: Connection refused"])


def test_one_open_port_of_several_is_success() -> None:
    with free_port() as closed, open_port() as port:
        assert scan("127.0.0.1", closed, port)[0] == 0
        assert scan("127.0.0.1", port, closed)[0] == 0
        assert scan("127.0.0.1", closed, closed)[0] == 1


def test_ports_are_reported_in_the_order_given() -> None:
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(free_port() if number % 2 else open_port()) for number in range(12)]
        status, lines = scan("-nv", "127.0.0.1", *ports)
        assert status == 0
        assert reported_ports([re.sub(r".*port (\d+) \(tcp\).*", r"\1", line) for line in lines]) == ports


@pytest.mark.parametrize("backwards", [False, True])
def test_a_range_counts_upwards_from_either_end(backwards: bool) -> None:
    with neighbours(6) as held:
        for sock in held[1:4]:
            sock.listen()
        ports = numbers(held)
        ends = (ports[-1], ports[0]) if backwards else (ports[0], ports[-1])
        status, lines = scan("-v", "127.0.0.1", "{}-{}".format(*ends))
        assert status == 0
        assert [line.endswith("succeeded!") for line in lines] == [False, True, True, True, False, False]
        assert [int(re.findall(r"\b\d{4,5}\b", line)[0]) for line in lines] == ports


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("options", ["-zv", "-znv"])
def test_the_words_are_those_of_nc_openbsd(options: str, host: str) -> None:
    if options == "-znv" and host == "localhost":
        host = "::1"
    with neighbours(5) as held:
        held[1].listen()
        held[3].listen()
        first, *_, last = numbers(held)
        argv = [options, host, "1-3", f"{first}-{last}", str(first)]
        theirs = run([require("nc.openbsd"), *argv])
        ours = run([*PYNC, *argv])
        assert ours.err.replace("pync: ", "nc.openbsd: ") == theirs.err
        assert len(ours.err.splitlines()) >= 9
        assert ours.status_and_out == (theirs.status, theirs.out)


def test_a_service_is_called_by_its_name_unless_numbers_are_asked_for() -> None:
    host = "127.80.80.80"  # no other process listens there
    with socket.create_server((host, 8080)):
        assert scan("-v", host, "http-alt")[1] == [f"Connection to {host} 8080 port [tcp/http-alt] succeeded!"]
        assert scan("-nv", host, "http-alt")[1] == [f"Connection to {host} 8080 port [tcp/*] succeeded!"]


def test_random_order_is_another_order_of_the_same_ports() -> None:
    with neighbours(40) as held:
        ports = numbers(held)
        orders = []
        for _ in range(2):
            _, lines = scan("-vr", "127.0.0.1", f"{ports[0]}-{ports[-1]}")
            orders.append([int(re.findall(r"port (\d+)", line)[0]) for line in lines])
        assert [sorted(order) for order in orders] == [ports, ports]
        assert orders[0] != ports and orders[0] != orders[1]  # by chance once in 40! runs


def test_a_port_range_must_be_one() -> None:
    for words in ("1-70000", "0-5", "a-b", "5-", "-5"):
        assert run([*PYNC, "-z", "127.0.0.1", "--", words]).status == 2


def test_stdin_is_not_touched() -> None:
    with open_port() as port:
        script = 'echo first; { "$0" -z 127.0.0.1 "$1"; cat; }'
        assert run(["sh", "-c", script, PYNC[0], str(port)], b"left alone").out == b"first\nleft alone"


def test_a_name_that_does_not_exist_is_reported_once() -> None:
    status, lines = scan("no-such-host.invalid", "1-100")
    assert status == 1
    assert len(lines) == 1 and lines[0].startswith("pync: host no-such-host.invalid: ")


# -- Many ports with few sockets ---------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("shuffle", [False, True], ids=["in order", "shuffled"])
@given(listening=st.sets(st.integers(0, 11)))
@settings(max_examples=20, deadline=None)
def test_exactly_the_open_ports_are_found(listening: set[int], shuffle: bool, host: str) -> None:
    with neighbours(12, host) as held:
        for number in listening:
            held[number].listen()
        expected = [(port, number in listening) for number, port in enumerate(numbers(held))]
        events: list[Event] = []
        config = Config(mode="scan", host=host, ports=tuple(numbers(held)), shuffle=shuffle)
        assert engine(config, events.append).opened == bool(listening)
        assert (sorted(found(events)) if shuffle else found(events)) == expected


@BOTH
def test_a_socket_that_was_refused_is_used_again(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = attempt.new_socket

    def new_socket(*facts: Any, **more: Any) -> socket.socket:
        opened.append(facts)
        return real(*facts, **more)

    monkeypatch.setattr(port_probes, "new_socket", new_socket)
    with neighbours(1, host) as held:
        engine(Config(mode="scan", host=host, ports=tuple(numbers(held)) * 500), lambda event: None)
    assert 1 <= len(opened) < 50  # one, unless an answer took its time and another worker began


def test_a_port_may_be_asked_for_twice() -> None:
    events: list[Event] = []
    with free_port() as closed, open_port() as port:
        engine(Config(mode="scan", host="127.0.0.1", ports=(port, port, closed, port, closed, closed)), events.append)
    assert [is_open for _, is_open in found(events)] == [True, True, False, True, False, False]


def test_events_that_the_face_does_not_want_are_not_reported() -> None:
    events: list[Event] = []
    with free_port() as closed, open_port() as port:
        config = Config(mode="scan", host="127.0.0.1", ports=(closed, port, closed))
        assert engine(config, events.append, lambda kind: kind is Connected).opened
    assert found(events) == [(port, True)]


# -- UDP -------------------------------------------------------------------------------------------------------------


@BOTH
def test_a_udp_port_is_open_when_nothing_comes_back(host: str) -> None:
    with socket.socket(family(host), UDP) as sock:
        sock.bind((host, 0))
        port = sock.getsockname()[1]
        result = scan("-uv", "-w", "0.4", host, port)
        assert result == (0, [f"Connection to {host} {port} port [udp/*] succeeded!"])
        sock.settimeout(DEADLINE)
        assert sock.recv(100) != b""  # an empty datagram would end some servers


def test_a_udp_port_that_answers_is_open_at_once() -> None:
    with socket.socket(socket.AF_INET, UDP) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(DEADLINE)
        begun = time.monotonic()
        with pync("-uzw", "60", "127.0.0.1", str(sock.getsockname()[1])) as scanner:
            sock.sendto(b"", sock.recvfrom(100)[1])
            assert scanner.wait() == 0
        assert time.monotonic() - begun < 30


def test_a_udp_port_is_closed_when_it_refuses() -> None:
    with free_port(UDP) as port:
        assert scan("-u", "127.0.0.1", port) == (1, [])
        refused = f"pync: connect to 127.0.0.1 port {port} (udp) failed: Connection refused"
        assert scan("-uv", "127.0.0.1", port) == (1, [refused])


def test_one_open_udp_port_is_success_wherever_it_stands() -> None:
    with free_port(UDP) as closed, socket.socket(socket.AF_INET, UDP) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        assert scan("-u", "-w", "0.2", "127.0.0.1", port, closed)[0] == 0
        assert scan("-u", "-w", "0.2", "127.0.0.1", closed, port)[0] == 0


# -- Time ------------------------------------------------------------------------------------------------------------


def test_filtered_ports_cost_their_limit_once_and_not_each() -> None:
    with filtered_port(30) as ports, open_port() as last:
        begun = time.monotonic()
        status, lines = scan("-v", "-w", "1", "127.0.0.1", *ports, last)
        assert 1 <= time.monotonic() - begun < 10
        late = [f"pync: connect to 127.0.0.1 port {port} (tcp) timed out" for port in ports]
        assert (status, lines) == (0, [*late, f"Connection to 127.0.0.1 {last} port [tcp/*] succeeded!"])


@BOTH
@pytest.mark.parametrize(("window", "windows"), [(1, 10), (4, 3), (5, 2), (512, 1)])
def test_a_host_that_drops_everything_costs_the_limit_for_each_window(
    host: str, window: int, windows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "WINDOW", window)
    events: list[Event] = []
    clock = Clock()
    begun = clock.now
    with filtered_port(10, host) as ports:
        config = Config(mode="scan", host=host, ports=tuple(ports), connect_timeout=1.5)

        async def main(loop: Loop) -> Outcome:
            return await scanning.scan(Context(loop, config, events.append, lambda kind: True))

        assert not play(main, clock).opened
    assert clock.now - begun == windows * 1.5
    assert found(events) == [(port, False) for port in ports]
    assert all(isinstance(event, ConnectFailed) and event.timed_out for event in events)


def test_a_window_larger_than_the_descriptors_is_narrowed() -> None:
    limited = f"ulimit -n 40; exec {PYNC[0]} -zv 127.0.0.1 1-300"
    result = run(["sh", "-c", limited])
    assert len(result.err.splitlines()) == 300
    assert "Too many open files" not in result.err


def test_thousands_of_ports_take_seconds() -> None:
    with open_port() as port:
        begun = time.monotonic()
        status, lines = scan("-v", "127.0.0.1", "1-4000", port)
        assert time.monotonic() - begun < 15
        assert status == 0
        assert len(lines) == 4001
        assert lines[-1].endswith("succeeded!")


def test_a_name_is_asked_for_once_for_all_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = system.socket.getaddrinfo

    def getaddrinfo(host: str, *query: object) -> object:
        asked.append(host)
        return real("127.0.0.1", *query)  # type: ignore[arg-type]

    monkeypatch.setattr(system.socket, "getaddrinfo", getaddrinfo)
    with open_port() as port:
        config = Config(mode="scan", host="many.test", ports=(*range(1, 50), port))
        assert engine(config, lambda event: None).opened
    assert len(asked) == 1


def test_a_second_address_is_tried_where_the_first_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = system.socket.getaddrinfo

    def getaddrinfo(host: str, *query: object) -> object:
        return real("::1", *query) + real("127.0.0.1", *query)  # type: ignore[arg-type]

    monkeypatch.setattr(system.socket, "getaddrinfo", getaddrinfo)
    events: list[Event] = []
    with open_port() as port:
        config = Config(mode="scan", host="both.test", ports=(port,))
        assert engine(config, events.append).opened
    assert [(type(event), event.address.host) for event in events] == [  # type: ignore[attr-defined]
        (ConnectFailed, "::1"),
        (Connected, "127.0.0.1"),
    ]


def test_an_address_of_another_family_than_the_source_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    real = system.socket.getaddrinfo

    def getaddrinfo(host: bytes, *query: object) -> object:
        hosts = ["::1", "127.0.0.1"] if host == b"both.test" else [host]
        return [item for name in hosts for item in real(name, *query)]  # type: ignore[arg-type]

    monkeypatch.setattr(system.socket, "getaddrinfo", getaddrinfo)
    events: list[Event] = []
    with open_port() as port, free_port() as closed:
        config = Config(mode="scan", host="both.test", ports=(closed, port), source_host="127.0.0.1")
        assert engine(config, events.append).opened
    failed = [event.why for event in events if isinstance(event, ConnectFailed)]
    other = "the source address is of the other family"
    assert failed == [other, "Connection refused", other]
    assert found(events) == [(closed, False), (closed, False), (port, False), (port, True)]


# -- Names with several addresses ------------------------------------------------------------------------------------


async def scanned(loop: Loop, config: Config, report: Callable[[Event], None] = lambda event: None) -> Outcome:
    return await scanning.scan(Context(loop, config, report, lambda kind: True))


async def test_a_limit_is_for_a_name_and_not_for_each_address(loop: Loop, clock: Clock, names: Names) -> None:
    names["dark.test"] = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    with black_hole() as port, black_hole("127.0.0.2", port), black_hole("127.0.0.3", port):
        begun = clock()
        events: list[Event] = []
        config = Config(mode="scan", host="dark.test", ports=(port,), connect_timeout=3.0)
        assert not (await scanned(loop, config, events.append)).opened
        assert clock() - begun == 3
    assert [event.timed_out for event in events if isinstance(event, ConnectFailed)] == [True] * 3


async def test_the_next_address_is_tried_while_one_is_silent(loop: Loop, clock: Clock, names: Names) -> None:
    names["both.test"] = ["127.0.0.1", "::1"]
    with beside_a_black_hole("::1") as listener:
        begun = clock()
        events: list[Event] = []
        port = port_of(listener)
        config = Config(mode="scan", host="both.test", ports=(port,), connect_timeout=3.0)
        assert (await scanned(loop, config, events.append)).opened
        assert clock() - begun == scanning.NEXT_ADDRESS
    assert [(type(event), event.address.host) for event in events] == [(Connected, "::1")]  # type: ignore[attr-defined]


async def test_silence_of_one_address_is_no_hurry_for_udp(loop: Loop, clock: Clock, names: Names) -> None:
    names["both.test"] = ["127.0.0.1", "127.0.0.2"]
    with socket.socket(type=UDP) as silent:
        silent.bind(("127.0.0.1", 0))
        port = port_of(silent)
        events: list[Event] = []
        config = Config(mode="scan", host="both.test", ports=(port,), datagram=True)
        assert (await scanned(loop, config, events.append)).opened
    assert found(events) == [(port, True)]


def test_looking_up_a_name_has_the_same_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    monkeypatch.setattr(system.socket, "getaddrinfo", lookup_after(asked))
    try:
        config = Config(mode="scan", host="slow.test", ports=(1,), connect_timeout=0.1)
        with pytest.raises(TimedOut, match=r"^host slow\.test: timed out$"):
            engine(config, lambda event: None)
    finally:
        asked.set()


def lookup_after(moment: threading.Event) -> Callable[..., object]:
    """A resolver that answers only after a moment."""
    real = system.socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, family: Any, kind: Any, protocol: Any, flags: int = 0) -> object:
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        moment.wait(DEADLINE)
        return real("127.0.0.1", port, family, kind, protocol)

    return getaddrinfo


# -- No connection to itself -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, UDP], ids=["tcp", "udp"])
@BOTH
def test_a_port_does_not_connect_to_itself(host: str, kind: socket.SocketKind) -> None:
    with free_port(kind) as held:
        port = str(held)
    options = ["-u"] if kind == UDP else []
    protocol = "udp" if kind == UDP else "tcp"
    why = f"connect to {host} port {port} ({protocol}) failed: Connection refused"
    for more in ([], ["-z", "-v"]):
        result = run([*PYNC, *options, *more, "-s", host, "-p", port, host, port], b"hello", timeout=10)
        assert result == failure(why)


# -- Trying again ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [("-zvv",), ("-vv", "-N")])
def test_retrying_waits_until_a_server_comes(options: tuple[str, ...]) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = str(held.getsockname()[1])
        with pync(*options, "--retry", "30s", "127.0.0.1", port) as waiting:
            waiting.close_stdin()
            waiting.expect("; the next attempt is in 0.1 s$")
            held.listen()
            held.accept()[0].close()
            waiting.expect(rf"^[\d:.]+ Connection to 127\.0\.0\.1 {port} port ")
            assert waiting.wait() == 0


@pytest.mark.parametrize("options", [("-z",), ()])
def test_retrying_has_its_limit(options: tuple[str, ...]) -> None:
    with free_port() as port:
        begun = time.monotonic()
        result = run([*PYNC, *options, "--retry", "0.4", "127.0.0.1", str(port)])
        assert time.monotonic() - begun >= 0.4
        assert result.status_and_out == (124, b"")
        assert re.fullmatch(r"pync: connect to 127\.0\.0\.1.*: .* \(tried for 0\.4 s\)\n", result.err)


@pytest.mark.parametrize("words", [(), ("-v",), ("-vv",)])
def test_a_scan_that_has_retried_says_the_last_reason(words: tuple[str, ...]) -> None:
    with free_port() as closed, free_port() as last:
        result = run([*PYNC, "-z", *words, "--retry", "0.3", "127.0.0.1", str(closed), str(last)])
    line = f"pync: connect to 127.0.0.1 port {last} (tcp) failed: Connection refused (tried for 0.3 s)"
    assert result.status == 124
    assert re.sub(r"^[\d:.]+ ", "", result.err.splitlines()[-1]) == line


def test_a_scan_that_has_retried_says_that_a_port_is_silent() -> None:
    with filtered_port() as (port,):
        result = run([*PYNC, "-z", "--retry", "0.5", "-w", "0.2", "127.0.0.1", str(port)])
    line = f"connect to 127.0.0.1 port {port} (tcp) failed: timed out (tried for 0.5 s)"
    assert result == failure(line, status=124)


def test_a_scan_that_has_retried_says_that_a_network_is_unreachable() -> None:
    result = run([*PYNC, "-z", "--retry", "0.3", "255.255.255.255", "9"])
    line = "connect to 255.255.255.255 port 9 (tcp) failed: Network is unreachable (tried for 0.3 s)"
    assert result == failure(line, status=124)


def test_a_scan_through_a_proxy_that_has_retried_says_the_last_reason() -> None:
    with free_port() as port:
        result = run([*PYNC, "-z", "--retry", "0.3", "-x", f"127.0.0.1:{port}", "192.0.2.1", "9"])
    line = f"proxy 127.0.0.1:{port}: Connection refused (tried for 0.3 s)"
    assert result == failure(line, status=124)


def test_a_name_that_does_not_resolve_yet_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    known = False
    real = system.socket.getaddrinfo

    def getaddrinfo(host: str, *query: object) -> object:
        if not known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real("127.0.0.1", *query)  # type: ignore[arg-type]

    def report(event: Event) -> None:
        nonlocal known
        events.append(event)
        known = True

    monkeypatch.setattr(system.socket, "getaddrinfo", getaddrinfo)
    events: list[Event] = []
    with open_port() as port:
        assert engine(Config(mode="scan", host="soon.test", ports=(port,), retry=30.0), report).opened
    assert [type(event) for event in events] == [Retrying, Connected]


@pytest.mark.parametrize("options", [("-z",), ()])
def test_a_name_that_never_resolves_is_given_up_in_time(options: tuple[str, ...]) -> None:
    result = run([*PYNC, *options, "--retry", "0.3", "-n", "not-an-address", "80"])
    assert result.status_and_out == (124, b"")
    assert result.err == "pync: host not-an-address: Name or service not known (tried for 0.3 s)\n"


def test_retrying_a_port_that_is_filtered_is_given_up_in_time() -> None:
    with filtered_port() as (port,):
        config = Config(mode="connect", host="127.0.0.1", ports=(port,), retry=0.3)
        with pytest.raises(TimedOut, match=r"no answer \(tried for 0\.3 s\)"):
            engine(config, lambda event: None)


def test_a_signal_ends_a_scan() -> None:
    with (
        open_port() as port,
        filtered_port() as (filtered,),
        pync("-zv", "-w", "60", "127.0.0.1", str(port), str(filtered)) as scanner,
    ):
        scanner.expect("succeeded!$")  # so it is waiting for the other port
        scanner.signal(signal.SIGINT)
        assert scanner.wait() == 130


@pytest.mark.parametrize(("is_open", "count", "least"), [(True, 50, 50), (False, 5000, 10)], ids=["open", "refused"])
def test_ports_that_answer_at_once_leave_others_their_turn(is_open: bool, count: int, least: int) -> None:
    turns = 0

    async def others(loop: Loop) -> None:
        nonlocal turns
        while True:
            turns += 1
            await loop.sleep(0)

    async def main(loop: Loop) -> Outcome:
        loop.spawn(others(loop))
        return await scanning.scan(Context(loop, config, lambda event: None, lambda kind: True))

    with neighbours(1) as (held,):
        if is_open:
            held.listen(count)
        config = Config(mode="scan", host="127.0.0.1", ports=(held.getsockname()[1],) * count)
        loop = Loop()
        assert loop.run(main(loop)).opened == is_open
    assert turns >= least


def test_a_signal_ends_a_scan_that_has_nothing_to_wait_for() -> None:
    with pync("-zv", "127.0.0.1", *["1-65535"] * 3) as scanner:
        scanner.expect("refused$")
        scanner.signal(signal.SIGINT)
        assert scanner.wait() == 130
