"""The modes from within: the engine runs in the test's own process, with stdin and stdout that the test holds.

Here is what the process tests cannot bring about: names with several addresses, and limits of the system. Descriptors
0 and 1 are replaced for a run, and put back.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import tempfile
import threading
from typing import TYPE_CHECKING

import pytest
from harness import DEADLINE, PYNC, Result, free_port, run

import pync.engine
from pync import system
from pync.config import Access, Config, Ending, Program
from pync.connections import incoming
from pync.endpoints.wrappers import MEMORY
from pync.errors import AddressError, BindError, ConnectError, PeerLost, PyncError, TimedOut
from pync.events import Address, Connected, ConnectFailed, Retrying
from pync.listener_events import AcceptingPauses, Listening
from pync.net.attempt import new_socket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pync.events import Event, Outcome

UDP = socket.SOCK_DGRAM


class Ran:
    """What came of a run: its outcome or its failure, its events, and its stdout."""

    def __init__(self, config: Config, stdin: bytes | int = b"", during: Callable[[Event], None] | None = None) -> None:
        """`during` is called with each event while the run goes on; `stdin` is a descriptor, or what a file holds."""
        self.events: list[Event] = []
        self.outcome: Outcome | None = None
        self.error: PyncError | None = None

        def report(event: Event) -> None:
            self.events.append(event)
            if during:
                during(event)

        with tempfile.TemporaryFile() as out, standing_in(stdin, out.fileno()):
            try:
                self.outcome = pync.engine.run(config, report)
            except PyncError as error:
                self.error = error
            out.seek(0)
            self.out = out.read()

    def kinds(self) -> str:
        """The names of the events, in their order."""
        return " ".join(type(event).__name__ for event in self.events)

    def attempts(self) -> list[tuple[type[Event], str]]:
        """The attempts to connect, each with its address."""
        return [
            (type(event), event.address.host) for event in self.events if isinstance(event, Connected | ConnectFailed)
        ]


@contextlib.contextmanager
def standing_in(stdin: bytes | int, stdout: int) -> Iterator[None]:
    """Inside, descriptors 0 and 1 are these."""
    kept = [os.dup(0), os.dup(1)]
    with tempfile.TemporaryFile() as file:
        if isinstance(stdin, bytes):
            file.write(stdin)
            file.seek(0)
        os.dup2(stdin if isinstance(stdin, int) else file.fileno(), 0)
        os.dup2(stdout, 1)
        try:
            yield
        finally:
            for number, fd in enumerate(kept):
                os.dup2(fd, number)
                os.close(fd)


@contextlib.contextmanager
def behind(work: Callable[[], None]) -> Iterator[None]:
    """Do the work in a thread meanwhile. It must have ended at the end."""
    failed: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    yield
    thread.join(DEADLINE)
    assert not thread.is_alive()
    if failed:
        raise failed[0]


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name both.test: ::1 first, then 127.0.0.1."""
    real = system.socket.getaddrinfo

    def getaddrinfo(host: Any, *query: Any) -> Any:
        if host not in ("both.test", b"both.test"):
            return real(host, *query)
        return real("::1", *query) + real("127.0.0.1", *query)

    monkeypatch.setattr(system.socket, "getaddrinfo", getaddrinfo)


def peer(port: int, host: str = "127.0.0.1", **facts: Any) -> Config:
    return Config(mode="connect", host=host, ports=(port,), **facts)


def udp(host: str, port: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, UDP)
    sock.bind((host, port))
    sock.settimeout(DEADLINE)
    return sock


@contextlib.contextmanager
def four_only() -> Iterator[socket.socket]:
    """A server on 127.0.0.1, at a port that ::1 refuses."""
    with udp("127.0.0.1") as sock, udp("::1", sock.getsockname()[1]) as holder:
        holder.connect(holder.getsockname())  # takes datagrams from itself only
        yield sock


# -- UDP: the next address -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("both")
def test_what_was_sent_to_an_address_that_refuses_is_sent_to_the_next() -> None:
    def answer() -> None:
        for _ in range(2):
            data, name = server.recvfrom(1 << 17)
            server.sendto(data.upper(), name)

    with four_only() as server, behind(answer):
        reading, writing = os.pipe()
        with os.fdopen(reading), os.fdopen(writing, "wb", 0) as stdin:

            def during(event: Event) -> None:
                if isinstance(event, ConnectFailed):
                    stdin.write(b" and more")
                    stdin.close()

            stdin.write(b"hello")
            ran = Ran(peer(server.getsockname()[1], "both.test", datagram=True), reading, during)
    assert ran.error is None
    assert ran.out == b"HELLO AND MORE"
    assert ran.attempts() == [(Connected, "::1"), (ConnectFailed, "::1"), (Connected, "127.0.0.1")]


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize("facts", [{"receive": False}, {"ending": Ending(quit_after=0.0)}])
def test_the_next_address_gets_it_from_a_client_that_does_not_wait(facts: dict[str, Any]) -> None:
    with four_only() as server:
        ran = Ran(peer(server.getsockname()[1], "both.test", datagram=True, **facts), b"hello")
        assert ran.error is None
        assert server.recv(100) == b"hello"


@pytest.mark.usefixtures("both")
def test_when_every_address_refuses_the_last_one_is_why() -> None:
    with four_only() as server:
        server.connect(server.getsockname())
        ran = Ran(peer(server.getsockname()[1], "both.test", datagram=True), b"hello")
        assert isinstance(ran.error, PeerLost)
        assert str(ran.error) == f"datagrams to 127.0.0.1:{server.getsockname()[1]}: Connection refused"
    assert ran.attempts() == [(Connected, "::1"), (ConnectFailed, "::1"), (Connected, "127.0.0.1")]


@pytest.mark.usefixtures("both")
def test_after_an_answer_no_other_address_is_tried() -> None:
    with udp("127.0.0.1") as never, udp("::1", never.getsockname()[1]) as server:
        reading, writing = os.pipe()

        def answer_and_close() -> None:
            _, name = server.recvfrom(100)
            server.sendto(b"answer", name)
            server.close()
            os.write(writing, b"more")

        with behind(answer_and_close), os.fdopen(reading), os.fdopen(writing, "wb", 0) as stdin:
            stdin.write(b"question")
            ran = Ran(peer(never.getsockname()[1], "both.test", datagram=True), reading)
        assert isinstance(ran.error, PeerLost)
        assert ran.out == b"answer"
        assert ran.attempts() == [(Connected, "::1")]
        never.setblocking(False)
        with pytest.raises(BlockingIOError):
            never.recv(1)


@pytest.mark.usefixtures("both")
def test_what_is_too_much_to_remember_is_sent_only_once() -> None:
    with udp("127.0.0.1") as server, udp("::1", server.getsockname()[1]) as silent:
        reading, writing = os.pipe()

        def swallow_and_close() -> None:
            size = 0
            while size <= MEMORY:
                size += len(silent.recv(1 << 17))
            silent.close()
            os.write(writing, b"more")

        def feed() -> None:
            with os.fdopen(writing, "wb", 0, closefd=False) as stdin:
                stdin.write(bytes(MEMORY + 1))
            swallow_and_close()

        with behind(feed), os.fdopen(reading):
            ran = Ran(peer(server.getsockname()[1], "both.test", datagram=True), reading)
        os.close(writing)
        assert isinstance(ran.error, PeerLost)
        assert ran.attempts() == [(Connected, "::1")]


@pytest.mark.usefixtures("both")
def test_the_output_of_a_program_is_not_sent_again() -> None:
    with four_only() as server:
        config = peer(server.getsockname()[1], "both.test", datagram=True, program=Program(argv=("echo", "hello")))
        ran = Ran(config)
    assert isinstance(ran.error, PeerLost)
    assert ran.attempts() == [(Connected, "::1")]


def test_an_address_that_is_this_host_is_not_tried_for_ever() -> None:
    with free_port(UDP) as port:
        result = run([*PYNC, "-u", "0.0.0.0", str(port)], b"hello")
    assert result == Result(1, b"", f"pync: datagrams to 127.0.0.1:{port}: Connection refused\n")


# -- Connecting ------------------------------------------------------------------------------------------------------


def test_each_of_several_ports_has_its_conversation() -> None:
    def serve(listener: socket.socket, word: bytes) -> None:
        with listener.accept()[0] as conn:
            conn.sendall(word)

    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
        free_port() as no,
    ):
        ports = (one.getsockname()[1], no, two.getsockname()[1])
        with behind(lambda: serve(one, b"first ")), behind(lambda: serve(two, b"second")):
            ran = Ran(Config(mode="connect", host="127.0.0.1", ports=ports))
    assert ran.error is None
    assert ran.out == b"first second"
    assert ran.outcome and ran.outcome.opened
    assert ran.kinds() == "Connected SessionEnded ConnectFailed Connected SessionEnded"


def test_of_several_ports_none_of_which_answers_the_last_is_why() -> None:
    with free_port() as one, free_port() as two:
        ran = Ran(Config(mode="connect", host="127.0.0.1", ports=(one, two)))
    assert isinstance(ran.error, ConnectError)
    assert str(ran.error) == f"connect to 127.0.0.1 port {two} (tcp) failed: Connection refused"


def test_ports_are_shuffled_if_asked_for() -> None:
    with contextlib.ExitStack() as stack:
        ports = tuple(stack.enter_context(free_port()) for _ in range(30))
        ran = Ran(Config(mode="connect", host="127.0.0.1", ports=ports, shuffle=True))
    tried = [event.address.port for event in ran.events if isinstance(event, ConnectFailed)]
    assert tuple(tried) != ports and sorted(tried, key=str) == sorted(ports, key=str)


def test_a_program_gives_the_status() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        program = Program(argv=("sh", "-c", "read word; echo got $word; exit 7"))

        def serve() -> None:
            with listener.accept()[0] as conn:
                conn.sendall(b"this\n")
                assert conn.recv(100) == b"got this\n"

        with behind(serve):
            ran = Ran(peer(listener.getsockname()[1], program=program))
    assert ran.outcome and ran.outcome.child_status == 7


def test_a_name_that_is_known_only_later_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    real, known = system.socket.getaddrinfo, threading.Event()

    def getaddrinfo(host: Any, *query: Any) -> Any:
        if not known.is_set():
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real("127.0.0.1", *query)

    def serve() -> None:
        with server.accept()[0] as conn:
            conn.sendall(b"here")

    monkeypatch.setattr(system.socket, "getaddrinfo", getaddrinfo)
    with socket.create_server(("127.0.0.1", 0)) as server, behind(serve):
        config = peer(server.getsockname()[1], "soon.test", retry=30.0)
        ran = Ran(config, during=lambda event: known.set())
    assert ran.out == b"here"
    assert ran.kinds() == "Retrying Connected SessionEnded"
    assert isinstance(ran.events[0], Retrying) and isinstance(ran.events[0].error, AddressError)


def test_pauses_between_attempts_grow_to_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def during(event: Event) -> None:
        assert isinstance(event, ConnectFailed | Retrying)
        if isinstance(event, Retrying):
            pauses.append(event.pause)

    monkeypatch.setattr("pync.connections.retry.FIRST_PAUSE", 0.001)
    monkeypatch.setattr("pync.connections.retry.LONGEST_PAUSE", 0.005)
    with free_port() as port:
        ran = Ran(peer(port, retry=0.2), during=during)
    assert isinstance(ran.error, TimedOut)
    assert str(ran.error).endswith("failed: Connection refused (tried for 0.2 s)")
    assert pauses[:5] == [0.001, 0.002, 0.004, 0.005, 0.005]


def test_a_limit_without_an_answer_is_reported() -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as crowded,
        socket.create_connection(crowded.getsockname()),
    ):
        ran = Ran(peer(crowded.getsockname()[1], retry=0.1))
        assert isinstance(ran.error, TimedOut)
        assert str(ran.error) == "connect to 127.0.0.1: no answer (tried for 0.1 s)"


# -- Listening -------------------------------------------------------------------------------------------------------


def listener(port: int = 0, host: str | None = "127.0.0.1", **facts: Any) -> Config:
    return Config(mode="listen", host=host, ports=(port,), **facts)


class Clients:
    """Clients that connect as soon as the run listens, each sends its bytes, and then reads what comes."""

    def __init__(self, *sends: bytes, source: str = "127.0.0.1") -> None:
        self.sends = sends
        self.source = source
        self.received: list[bytes] = []
        self.socks: list[socket.socket] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, Listening) and not self.socks:
            for data in self.sends:
                where = (event.address.host, event.address.port or 0)
                sock = socket.create_connection(where, DEADLINE, source_address=(self.source, 0))
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                self.socks.append(sock)

    def close(self) -> None:
        for sock in self.socks:
            with sock, contextlib.suppress(ConnectionError):
                self.received.append(sock.recv(1 << 16))


def test_a_listener_serves_its_first_client() -> None:
    clients = Clients(b"question")
    ran = Ran(listener(), b"answer", clients)
    clients.close()
    assert ran.out == b"question"
    assert clients.received == [b"answer"]
    assert ran.kinds() == "Listening Accepted SessionEnded"


def test_a_denied_client_does_not_end_the_run() -> None:
    strangers, friend = Clients(b"FORGED", b"FORGED", source="127.0.0.2"), Clients(b"welcome")

    def during(event: Event) -> None:
        strangers(event)
        friend(event)

    ran = Ran(listener(access=Access(deny=("127.0.0.2",))), during=during)
    strangers.close()
    friend.close()
    assert ran.out == b"welcome"
    assert strangers.received in ([b"", b""], [b""], [])
    assert ran.kinds() == "Listening Denied Denied Accepted SessionEnded"


def test_a_name_in_a_rule_must_have_an_address() -> None:
    for name, numeric, why in (("localhost", True, "Name or service not known"), ("x..y", False, "label empty")):
        ran = Ran(listener(access=Access(deny=(name,)), numeric=numeric))
        assert isinstance(ran.error, AddressError)
        assert name in str(ran.error) and why in str(ran.error)
    clients = Clients(b"hello")
    ran = Ran(listener(access=Access(allow=("localhost",))), during=clients)
    clients.close()
    assert ran.out == b"hello"


@pytest.mark.parametrize("datagram", [False, True])
def test_a_listener_that_cannot_bind_names_the_address(datagram: bool) -> None:
    ran = Ran(listener(host="192.0.2.1", datagram=datagram))
    assert isinstance(ran.error, BindError)
    assert str(ran.error) == "listen on 192.0.2.1:0: Cannot assign requested address"
    assert ran.events == []


def test_a_lack_of_descriptors_is_reported_and_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    real = incoming.take
    refusals = [errno.EMFILE, errno.EMFILE, errno.ECONNABORTED]

    def take(sock: socket.socket) -> Any:
        if refusals:
            code = refusals.pop(0)
            raise OSError(code, os.strerror(code))
        return real(sock)

    monkeypatch.setattr(incoming, "take", take)
    monkeypatch.setattr(incoming, "PAUSE", 0.01)
    clients = Clients(b"hello")
    ran = Ran(listener(), during=clients)
    clients.close()
    assert ran.out == b"hello"
    assert refusals == []
    assert AcceptingPauses(why="Too many open files") in ran.events


def test_datagrams_that_are_denied_do_not_end_the_run() -> None:
    def during(event: Event) -> None:
        if isinstance(event, Listening):
            for source in ("127.0.0.2", "127.0.0.1"):
                with udp(source) as sock:
                    sock.sendto(source.encode(), ("127.0.0.1", event.address.port))

    ending = Ending(receive_limit=1)
    ran = Ran(listener(datagram=True, access=Access(deny=("127.0.0.2",)), ending=ending), during=during)
    assert ran.error is None
    assert ran.out == b"127.0.0.1"
    assert ran.kinds() == "Listening Denied Accepted SessionEnded"


def test_a_peer_that_cannot_be_answered_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreachable(socket.socket):
        def connect(self, name: Any) -> None:
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    def unreachable(*facts: Any, **more: Any) -> socket.socket:
        return Unreachable(fileno=new_socket(*facts, **more).detach())

    def during(event: Event) -> None:
        if isinstance(event, Listening):
            with udp("127.0.0.1") as sock:
                sock.sendto(b"hello", ("127.0.0.1", event.address.port))

    monkeypatch.setattr("pync.net.bind.new_socket", unreachable)
    ran = Ran(listener(datagram=True), during=during)
    assert isinstance(ran.error, BindError)
    assert str(ran.error).startswith("answer 127.0.0.1:") and str(ran.error).endswith(": Network is unreachable")


def test_a_program_on_a_listener_gives_the_status() -> None:
    clients = Clients(b"this\n")
    ran = Ran(listener(program=Program(argv=("sh", "-c", "read word; echo got $word; exit 3"))), during=clients)
    clients.close()
    assert ran.outcome and ran.outcome.child_status == 3
    assert ran.out == b""
    assert clients.received == [b"got this\n"]


def test_one_http_answer_ends_the_server() -> None:
    clients = Clients(b"", b"GET / HTTP/1.0\r\n\r\n")
    ran = Ran(listener(http=True), b"<p>page", clients)
    clients.close()
    assert ran.error is None
    assert ran.out == b"GET / HTTP/1.0\r\n\r\n"
    assert clients.received[-1].startswith(b"HTTP/1.1 200 OK\r\n") and clients.received[-1].endswith(b"<p>page")


def test_a_file_whose_name_cannot_be_known_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> str:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))  # no /proc

    monkeypatch.setattr("pync.sessions.http_exchange.os.readlink", refuse)
    clients = Clients(b"GET / HTTP/1.0\r\n\r\n")
    Ran(listener(http=True), b"plain", clients)
    clients.close()
    assert b"\r\nContent-Type: text/plain; charset=utf-8\r\n" in clients.received[0]
    assert b"\r\nContent-Length: 5\r\n" in clients.received[0]


# -- The engine ------------------------------------------------------------------------------------------------------


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    """A soft limit of descriptors that is below the hard one; put back afterwards."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lower = (min(256, before[1] - 1), before[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, lower)
    yield lower
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("mode", ["listen", "scan"])
def test_a_mode_that_needs_many_descriptors_raises_the_limit(limits: tuple[int, int], mode: str) -> None:
    with free_port() as port:
        if mode == "scan":
            ran = Ran(Config(mode="scan", host="127.0.0.1", ports=(port, port)))
            assert ran.outcome and not ran.outcome.opened
        else:
            Ran(listener(host="192.0.2.1", keep_open=True))
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (limits[1], limits[1])


def test_a_mode_that_needs_few_descriptors_leaves_the_limit_alone(limits: tuple[int, int]) -> None:
    with free_port() as port:
        assert isinstance(Ran(peer(port)).error, ConnectError)
        assert Ran(Config(mode="scan", host="127.0.0.1", ports=(port,))).outcome
        assert isinstance(Ran(listener(host="192.0.2.1")).error, BindError)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits


def test_a_limit_that_cannot_be_raised_is_no_failure(limits: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise ValueError("not permitted")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    with free_port() as port:
        ran = Ran(Config(mode="scan", host="127.0.0.1", ports=(port,)))
    monkeypatch.undo()
    assert ran.error is None
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits


def test_a_run_leaves_no_descriptor_open() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(3):
        clients = Clients(b"question")
        Ran(listener(), b"answer", clients)
        clients.close()
    assert len(os.listdir("/proc/self/fd")) <= len(before) + 6  # stdin and stdout stay open for their process


def test_events_name_host_and_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def greet() -> None:
            server.accept()[0].close()

        with behind(greet):
            ran = Ran(peer(port))
    where = Address(host="127.0.0.1", port=port)
    assert ran.events[:-1] == [Connected(host="127.0.0.1", address=where, transport="tcp")]
