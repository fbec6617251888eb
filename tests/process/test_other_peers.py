"""How nc.openbsd and nc.traditional get their peers: each scene with the real one, and with a pync that does the same.

pync is driven by a `Config` (`configured.py`), so that no face takes part. A scene about what pync mends is pync's
alone, and its name begins with "mended".
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest
from clients import drain, take, unix_client
from configured import configured
from harness import DEADLINE, DEVNULL, Running, connect, free_port, require, serve
from pairs import lives_on, nothing_from

from pync.behaviour import Behaviour, DatagramProbes
from pync.config import Config, Ending, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

HOST = "127.0.0.1"
RECEIVED = r"^(?:Connection received|connect to|Accepted)"
WHILE = 0.4  # seconds for which nothing happens where something would happen at once

both = pytest.mark.parametrize("real", [True, False], ids=["original", "pync"])

# What nc.openbsd and nc.traditional do in their own way, in each role.
OB_CLIENT = Behaviour(
    addresses="in order",
    scan_in_order=True,
    temporary_path=True,
    leaves_paths=True,
    after_peer="stay",
    quit_from="both",
    loss_ends=True,
    idle_ends=True,
    datagrams_stay=True,
)
OB_LISTENER = Behaviour(
    first_address=True,
    dual_stack=True,
    backlog=1,
    reuse_port=True,
    keeps_listening=True,
    needs_sender_path=True,
    leaves_paths=True,
    after_peer="drain",
    quit_from="either",
    loss_ends=True,
    idle_ends=True,
    datagrams_stay=True,
    null_counts=True,
)
OB_KEEPER = OB_LISTENER.but(one_at_a_time=True)
TR = Behaviour(
    addresses="first",
    scan_in_order=True,
    first_address=True,
    backlog=1,
    reuse_port=True,
    bind_tries=4,
    after_peer="drain",
    loss_ends=True,
    datagrams_stay=True,
    null_counts=True,
)
NO_HALF_CLOSE = Ending(half_close=False)


def started(real: bool, words: str, config: Config, program: str = "nc.openbsd", **popen: Any) -> Running:
    """The original with these words, or pync by this config."""
    if not real:
        return configured(config, **popen)
    return Running([require(program), *words.split()], **popen)


@contextlib.contextmanager
def shared_port() -> Iterator[int]:
    """A port of UDP that the test holds, and that a listener may bind which shares its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        for option in socket.SO_REUSEADDR, socket.SO_REUSEPORT:
            holder.setsockopt(socket.SOL_SOCKET, option, 1)
        holder.bind((HOST, 0))
        holder.connect(holder.getsockname())  # so it takes its own datagrams only
        yield holder.getsockname()[1]


def lines(process: Running) -> list[str]:
    """What it has written to stderr."""
    return process.stderr.splitlines()


@contextlib.contextmanager
def listening(
    real: bool, words: str, behaviour: Behaviour = OB_LISTENER, program: str = "nc.openbsd", **facts: Any
) -> Iterator[Running]:
    """A listener that is ready. `popen` and `facts` of its config may be given."""
    popen = {name: facts.pop(name) for name in ("stdin", "stdout") if name in facts}
    asked = {"family": "ipv4", "ports": (0,), "ending": NO_HALF_CLOSE, **facts}
    with started(real, words, Config(mode="listen", behaviour=behaviour, **asked), program, **popen) as process:
        if asked["family"] == "unix":  # a stream is bound before it listens
            process.expect(r"^(?:Bound on|Listening\()" if asked.get("datagram") else r"^Listening")
        else:
            process.port = int(process.expect(r"(?:port=| )(\d+)(?: \.\.\.|[,)]|\n)")[1])
        yield process


def client(behaviour: Behaviour, *ports: int, **facts: Any) -> Config:
    asked = {"mode": "connect", "host": HOST, "ending": NO_HALF_CLOSE, **facts}
    return Config(ports=ports, behaviour=behaviour, numeric=True, **asked)


def sender(address: str = HOST) -> socket.socket:
    """A socket that sends datagrams."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    sock.settimeout(DEADLINE)
    return sock


# -- The listening socket ----------------------------------------------------------------------------------------


@both
def test_the_listening_socket_of_nc_openbsd_stays_and_a_second_client_is_reset_at_the_end(real: bool) -> None:
    with listening(real, "-lvn 0") as process, connect(process.port) as first:
        process.expect(RECEIVED)
        with connect(process.port) as second:
            second.sendall(b"not for stdout")
            assert nothing_from(second, WHILE)
            first.sendall(b"hello")
            first.close()
            with pytest.raises(ConnectionResetError):
                second.recv(1)
        assert process.read_all() == b"hello"
        assert process.wait() == 0


@both
def test_the_listening_socket_of_nc_traditional_is_closed_at_the_first_client(real: bool) -> None:
    with (
        listening(real, "-lvn -s 127.0.0.1", TR, "nc.traditional", host=HOST) as process,
        connect(process.port) as first,
    ):
        process.expect(RECEIVED)
        with pytest.raises(ConnectionRefusedError):
            connect(process.port)
        first.sendall(b"hello")
        first.close()
        assert process.read_all() == b"hello"


@pytest.mark.needs("reuseport")
@both
def test_a_second_listener_on_the_port_of_nc_openbsd_starts(real: bool) -> None:
    with listening(real, "-lvn 0") as one, listening(real, f"-lvn {one.port}", ports=(one.port,)) as two:
        assert one.port == two.port


@both
@pytest.mark.parametrize(
    ("program", "words", "behaviour"), [("nc.openbsd", "-lvn 0", OB_LISTENER), ("nc.traditional", "-lvn", TR)]
)
def test_two_clients_can_wait_in_the_backlog(real: bool, program: str, words: str, behaviour: Behaviour) -> None:
    with listening(real, words, behaviour, program) as process:
        process.signal(signal.SIGSTOP)
        with connect(process.port), connect(process.port), socket.socket() as third:
            third.settimeout(WHILE)
            with pytest.raises(TimeoutError):
                third.connect((HOST, process.port))
        process.signal(signal.SIGCONT)


@both
@pytest.mark.parametrize("datagram", [False, True], ids=["tcp", "udp"])
def test_a_listener_with_6_takes_clients_of_both_families(real: bool, datagram: bool) -> None:
    words = "-6luvn 0" if datagram else "-6lvn 0"
    kind = socket.SOCK_DGRAM if datagram else socket.SOCK_STREAM
    with listening(real, words, family="ipv6", datagram=datagram) as process, socket.socket(type=kind) as peer:
        peer.settimeout(DEADLINE)
        peer.connect((HOST, process.port))
        peer.send(b"hello")
        assert process.read(5) == b"hello"
        process.expect(f"::ffff:{HOST}")
        process.send(b"answer")
        assert peer.recv(10) == b"answer"


@both
def test_nc_traditional_waits_for_a_client_for_so_long(real: bool) -> None:
    start = time.monotonic()
    with listening(real, "-lvn -w 1", TR.but(accept_timeout=1.0), "nc.traditional", stdin=DEVNULL) as process:
        assert process.wait() == 1
        assert time.monotonic() - start >= 1
        assert re.search("^(no connection : Connection timed out|NoClient: .*)$", process.stderr, re.MULTILINE)


@both
@pytest.mark.parametrize("datagram", [False, True], ids=["tcp", "udp"])
def test_a_stranger_ends_nc_traditional(real: bool, datagram: bool) -> None:
    facts: dict[str, Any] = {"behaviour": TR.but(expected=("127.0.0.2", 7)), "program": "nc.traditional"}
    with shared_port() as port:
        facts |= {"datagram": True, "ports": (port,)} if datagram else {}
        words = f"-luvn -p {port} 127.0.0.2 7" if datagram else "-lvn 127.0.0.2 7"
        with listening(real, words, stdin=DEVNULL, **facts) as process, sender() as peer:
            if datagram:
                peer.sendto(b"hello", (HOST, port))
            else:
                connect(process.port).close()
            assert process.finish().status == 1
        assert process.stderr.count("\n") == 2
        assert re.search(
            r"^(invalid connection to \[127.0.0.1\] from|Stranger: client 127.0.0.1)", process.stderr, re.M
        )


@both
@pytest.mark.parametrize("port", [True, False], ids=["with a port", "with any port"])
def test_the_client_that_nc_traditional_expects_is_served(real: bool, port: bool) -> None:
    with socket.socket() as peer:
        peer.settimeout(DEADLINE)
        peer.bind(("127.0.0.2", 0))
        own = peer.getsockname()[1] if port else None
        behaviour = TR.but(expected=("127.0.0.2", own))
        with listening(real, f"-lvn 127.0.0.2 {own or ''}", behaviour, "nc.traditional") as process:
            peer.connect((HOST, process.port))
            peer.sendall(b"hello")
            assert process.read(5) == b"hello"
            process.expect(RECEIVED)


@both
@pytest.mark.parametrize("more", ["", "k"])
def test_a_listener_whose_stdout_is_not_read_waits_for_a_client_all_the_same(real: bool, more: str) -> None:
    reading, writing = os.pipe()
    behaviour = OB_KEEPER if more else OB_LISTENER
    with listening(real, f"-lvn{more} 0", behaviour, keep_open=bool(more), stdout=writing) as process:
        os.close(reading)
        os.close(writing)
        assert lives_on(process.pid, WHILE)
        with connect(process.port):
            process.expect(RECEIVED)


# -- One client after the other ----------------------------------------------------------------------------------


@both
def test_with_k_stdin_goes_to_the_client_that_is_there_and_the_next_one_waits(real: bool) -> None:
    with listening(real, "-lkvn 0", OB_KEEPER, keep_open=True) as process:
        process.send(b"one\n")
        with connect(process.port) as first, connect(process.port) as second:
            second.sendall(b"second")
            assert take(first, 4) == b"one\n"
            process.send(b"two\n")
            assert take(first, 4) == b"two\n"
            first.sendall(b"first")
            assert process.read(5) == b"first"
            first.close()
            assert process.read(6) == b"second"
            process.send(b"three\n")
            assert take(second, 6) == b"three\n"
            process.close_stdin()
            assert nothing_from(second, WHILE)
        with connect(process.port) as late:
            late.sendall(b"late")
            assert process.read(4) == b"late"
            assert nothing_from(late, WHILE)
        assert len(re.findall(RECEIVED, process.stderr, re.MULTILINE)) == 3
        assert lives_on(process.pid, 0)


@both
def test_with_k_and_a_half_close_clients_after_the_end_of_stdin_get_a_half_close_at_once(real: bool) -> None:
    ending = Ending(at_once=True)
    with listening(real, "-lkvnN 0", OB_KEEPER, keep_open=True, ending=ending) as process:
        process.send(b"all")
        process.close_stdin()
        with connect(process.port) as first:
            assert drain(first) == b"all"
            first.sendall(b"first")
            assert process.read(5) == b"first"
        for _ in range(2):
            with connect(process.port) as late:
                assert drain(late) == b""
                late.sendall(b"late")
                assert process.read(4) == b"late"


@both
def test_with_k_a_client_that_resets_is_followed_by_the_next(real: bool) -> None:
    with listening(real, "-lkvn 0", OB_KEEPER, keep_open=True) as process:
        with connect(process.port) as first:
            first.sendall(b"1")
            assert process.read(1) == b"1"
            first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        with connect(process.port) as second:
            second.sendall(b"2")
            assert process.read(1) == b"2"


@both
def test_with_k_and_q_the_end_of_stdin_is_the_end_of_the_listener(real: bool) -> None:
    ending = Ending(quit_after=0.0, at_once=True)
    behaviour = OB_KEEPER.but(quit_discards=True)
    with listening(real, "-lkvn -q 0 0", behaviour, keep_open=True, ending=ending) as process:
        with connect(process.port) as first:
            first.sendall(b"1")
            assert process.read(1) == b"1"
        with connect(process.port) as second:
            process.expect(RECEIVED, count=2)
            process.close_stdin()
            assert drain(second) == b""
            assert process.wait() == 0


# -- Datagrams ---------------------------------------------------------------------------------------------------


@both
def test_a_listener_of_datagrams_belongs_to_the_first_sender(real: bool) -> None:
    with listening(real, "-luvn 0", datagram=True) as process, sender() as first, sender() as other:
        first.sendto(b"first", (HOST, process.port))
        assert process.read(5) == b"first"
        other.connect((HOST, process.port))
        other.send(b"other")
        with pytest.raises(ConnectionRefusedError):
            other.recv(1)
        process.send(b"answer")
        assert first.recv(10) == b"answer"
        first.sendto(b"more", (HOST, process.port))
        assert process.read(4) == b"more"


def test_mended_datagrams_of_others_that_came_before_do_not_leak_in() -> None:
    with listening(False, "", datagram=True) as process, sender() as first, sender("127.0.0.2") as other:
        process.signal(signal.SIGSTOP)
        for sock, data in (first, b"first"), (other, b"other"), (first, b"more"):
            sock.sendto(data, (HOST, process.port))
        process.signal(signal.SIGCONT)
        assert process.read(9) == b"firstmore"
        process.signal(signal.SIGTERM)
        assert process.finish().out == b""


def test_mended_an_empty_datagram_ends_nothing() -> None:
    with listening(False, "", datagram=True) as process, sender() as first:
        for data in b"one", b"", b"two":
            first.sendto(data, (HOST, process.port))
        assert process.read(6) == b"onetwo"


@both
def test_with_k_all_senders_of_datagrams_are_one_stream_and_get_nothing(real: bool) -> None:
    with (
        listening(real, "-lukvn 0", OB_KEEPER, datagram=True, keep_open=True) as process,
        sender() as one,
        sender() as two,
    ):
        for sock, data in (one, b"1"), (two, b"2"), (one, b"3"):
            sock.sendto(data, (HOST, process.port))
            assert process.read(1) == data
        process.send(b"for none")
        process.close_stdin()
        assert nothing_from(one, WHILE)
        assert nothing_from(two)
        assert lives_on(process.pid, 0)


@both
def test_with_k_and_q_a_listener_of_datagrams_ends_after_a_stdin_without_data(real: bool) -> None:
    ending = Ending(quit_after=1.0, at_once=True)
    with listening(real, "-lukvn -q 1 0", OB_KEEPER, datagram=True, keep_open=True, ending=ending) as process:
        process.close_stdin()
        assert lives_on(process.pid, WHILE)
        assert process.wait() == 0


@both
def test_with_k_an_idle_limit_ends_no_listener_of_datagrams(real: bool) -> None:
    ending = Ending(idle_timeout=1.0, half_close=False)
    with (
        listening(real, "-lukvn -w 1 0", OB_KEEPER, datagram=True, keep_open=True, ending=ending) as process,
        sender() as peer,
    ):
        for data in b"1", b"2":
            peer.sendto(data, (HOST, process.port))
            assert process.read(1) == data
            assert lives_on(process.pid, 1.3)
        assert "idle" not in process.stderr


# -- Unix sockets ------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("datagram", [False, True], ids=["stream", "datagrams"])
def test_the_path_of_nc_openbsd_is_left_behind_and_a_dead_socket_is_replaced(
    real: bool, datagram: bool, tmp_path: Path
) -> None:
    path = tmp_path / "path"
    words = f"-lvU{'u' * datagram} {path}"
    for _ in range(2):
        with listening(real, words, family="unix", ports=(), host=str(path), datagram=datagram) as process:
            process.signal(signal.SIGTERM)
            assert process.wait() == 143
        assert path.is_socket()


def test_mended_a_file_at_the_path_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    config = Config(mode="listen", family="unix", host=str(path), behaviour=OB_LISTENER)
    with configured(config, ready=False, stdin=DEVNULL) as process:
        assert process.finish().status == 1
        assert "Address already in use" in process.stderr
    assert path.read_text() == "precious"


@both
def test_a_second_client_of_a_path_is_cut_off_at_the_end(real: bool, tmp_path: Path) -> None:
    path = tmp_path / "path"
    with (
        listening(real, f"-lvU {path}", family="unix", ports=(), host=str(path)) as process,
        unix_client(path) as first,
    ):
        process.expect(RECEIVED)
        with unix_client(path) as second:
            first.sendall(b"hello")
            first.close()
            with contextlib.suppress(ConnectionResetError):
                assert second.recv(1) == b""
        assert process.read_all() == b"hello"


@contextlib.contextmanager
def mailbox(path: Path) -> Iterator[socket.socket]:
    """A socket that receives unix datagrams."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(DEADLINE)
        yield sock


def to_path(path: Path, **facts: Any) -> Config:
    return client(OB_CLIENT, family="unix", datagram=True, host=str(path), **facts)


@both
def test_a_client_of_unix_datagrams_has_its_own_end_below_tmp(real: bool, tmp_path: Path) -> None:
    path = tmp_path / "mailbox"
    with (
        mailbox(path) as peer,
        started(real, f"-uUv -w 1 {path}", to_path(path, ending=Ending(idle_timeout=1.0))) as it,
    ):
        it.send(b"question")
        data, own = peer.recvfrom(100)
        assert data == b"question"
        assert re.fullmatch("/tmp/nc-......(?:....)?/recv.sock", own)
        assert os.stat(os.path.dirname(own)).st_mode & 0o777 == 0o700
        it.expect(f"^(Bound on |Listening.*'){own}")
        peer.sendto(b"answer", own)
        assert it.read(6) == b"answer"
        assert it.wait() == 0
        assert not os.path.exists(os.path.dirname(own))


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_mended_the_own_end_is_removed_after_a_signal(signum: int, tmp_path: Path) -> None:
    path = tmp_path / "mailbox"
    with mailbox(path) as peer, started(False, "", to_path(path)) as process:
        process.send(b"question")
        own = peer.recvfrom(100)[1]
        process.signal(signum)
        assert process.wait() == 128 + signum
        assert not os.path.exists(os.path.dirname(own))


@both
def test_the_named_own_end_is_left_and_used_again(real: bool, tmp_path: Path) -> None:
    path, own = tmp_path / "mailbox", tmp_path / "own"
    config = to_path(path, source_host=str(own), ending=Ending(idle_timeout=1.0))
    with mailbox(path) as peer:
        for _ in range(2):
            with started(real, f"-uUv -w 1 -s {own} {path}", config) as process:
                process.send(b"question")
                assert peer.recvfrom(100) == (b"question", str(own))
                process.expect(f"^(Bound on |Listening.*'){own}")
                assert process.wait() == 0
            assert own.is_socket()


@both
def test_a_listener_of_unix_datagrams_answers_its_first_sender(real: bool, tmp_path: Path) -> None:
    path = tmp_path / "path"
    with (
        listening(real, f"-luvU {path}", family="unix", ports=(), host=str(path), datagram=True) as process,
        mailbox(tmp_path / "first") as first,
        mailbox(tmp_path / "other") as other,
    ):
        first.sendto(b"first", str(path))
        assert process.read(5) == b"first"
        with pytest.raises(PermissionError):
            other.sendto(b"other", str(path))
        process.send(b"answer")
        assert first.recv(10) == b"answer"


@both
def test_a_sender_of_unix_datagrams_without_a_path_ends_a_listener(real: bool, tmp_path: Path) -> None:
    path = tmp_path / "path"
    with (
        listening(real, f"-luvU {path}", family="unix", ports=(), host=str(path), datagram=True) as process,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless,
    ):
        nameless.sendto(b"hello", str(path))
        assert process.finish().status == 1
        assert "Invalid argument" in process.stderr
        assert not re.search(RECEIVED, process.stderr, re.MULTILINE)


@both
def test_with_k_senders_of_unix_datagrams_need_no_path(real: bool, tmp_path: Path) -> None:
    path = tmp_path / "path"
    facts: dict[str, Any] = {"family": "unix", "ports": (), "host": str(path), "datagram": True, "keep_open": True}
    with (
        listening(real, f"-lukvU {path}", OB_KEEPER, **facts) as process,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless,
        mailbox(tmp_path / "other") as other,
    ):
        for sock, data in (nameless, b"1"), (other, b"2"), (nameless, b"3"):
            sock.sendto(data, str(path))
            assert process.read(1) == data


# -- Connecting --------------------------------------------------------------------------------------------------


def probes(seconds: int) -> Behaviour:
    return OB_CLIENT.but(probes=DatagramProbes(payload=b"X", at_once=2, later=seconds, interval=1.0))


@both
def test_udp_is_probed_before_the_data(real: bool) -> None:
    with sender() as receiver:
        port = receiver.getsockname()[1]
        config = client(probes(1), port, datagram=True, ending=Ending(half_close=False, quit_after=0.0))
        with started(real, f"-uvn -w 1 -q 0 {HOST} {port}", config) as process:
            process.send(b"data")
            start = time.monotonic()
            assert [receiver.recv(10) for _ in range(4)] == [b"X", b"X", b"X", b"data"]
            assert time.monotonic() - start > 0.5
            process.expect("succeeded|^Connected")


@both
def test_a_port_of_udp_that_refuses_gets_no_data(real: bool) -> None:
    with (
        free_port(socket.SOCK_DGRAM) as port,
        started(real, f"-uvn -w 1 {HOST} {port}", client(probes(1), port, datagram=True), stdin=DEVNULL) as process,
    ):
        assert process.finish().status == 1
        assert not re.search("succeeded|Connected", process.stderr)


@both
@pytest.mark.parametrize("open_last", [True, False])
def test_the_last_port_of_udp_gives_the_status_of_a_scan(real: bool, open_last: bool) -> None:
    with sender() as receiver, free_port(socket.SOCK_DGRAM) as closed:
        ports = [closed, receiver.getsockname()[1]] if open_last else [receiver.getsockname()[1], closed]
        words = f"-uzvn -w 1 {HOST} {ports[0]} {ports[1]}"
        config = client(probes(1), *ports, mode="scan", datagram=True)
        with started(real, words, config, stdin=DEVNULL) as process:
            assert process.finish().status == int(not open_last)
            assert len(re.findall("succeeded|Connected", process.stderr)) == 1
        assert [receiver.recv(10) for _ in range(3)] == [b"X"] * 3


@both
def test_nc_traditional_probes_with_two_nuls(real: bool) -> None:
    with sender() as receiver:
        port = receiver.getsockname()[1]
        behaviour = TR.but(probes=DatagramProbes(payload=b"\0", at_once=1, later=1, interval=None))
        config = client(behaviour, port, mode="scan", datagram=True)
        with started(real, f"-uzvn {HOST} {port}", config, "nc.traditional", stdin=DEVNULL) as process:
            assert process.finish().status == 0
            assert re.search("open$|Connected", process.stderr, re.M)
        assert [receiver.recv(10) for _ in range(2)] == [b"\0"] * 2


@both
def test_ports_are_scanned_in_the_order_given(real: bool) -> None:
    with free_port() as one, free_port() as two, socket.create_server((HOST, 0)) as server:
        ports = [two, server.getsockname()[1], one]
        words = f"-zvn {HOST} {' '.join(map(str, ports))}"
        with started(real, words, client(OB_CLIENT, *ports, mode="scan"), stdin=DEVNULL) as process:
            assert process.finish().status == 0
        tried = re.findall(r"port[ =](\d+)|1 (\d+) port", process.stderr)
        assert [int(one or other) for one, other in tried] == ports
        assert [word in line for word, line in zip(("refused", "onnect", "refused"), lines(process), strict=True)]


@both
def test_a_scan_without_an_open_port_fails(real: bool) -> None:
    with free_port() as one, free_port() as two:
        config = client(OB_CLIENT, one, two, mode="scan")
        with started(real, f"-zvn {HOST} {one} {two}", config, stdin=DEVNULL) as process:
            assert process.finish().status == 1
            assert process.stderr.count("refused") == 2


@both
def test_nc_traditional_makes_a_pause_after_each_port(real: bool) -> None:
    with free_port() as one, free_port() as two:
        config = client(TR.but(port_pause=1.0), one, two, mode="scan")
        start = time.monotonic()
        with started(real, f"-zvvn -i 1 {HOST} {one} {two}", config, "nc.traditional", stdin=DEVNULL) as process:
            process.finish()
        assert time.monotonic() - start >= 2


@both
@pytest.mark.parametrize(("program", "behaviour"), [("nc.openbsd", OB_CLIENT), ("nc.traditional", TR)])
def test_of_several_ports_each_that_answers_has_a_conversation(real: bool, program: str, behaviour: Behaviour) -> None:
    with (
        socket.create_server((HOST, 0)) as first,
        free_port() as closed,
        socket.create_server((HOST, 0)) as second,
    ):
        ports = [first.getsockname()[1], closed, second.getsockname()[1]]
        words = f"-vvn {HOST} {' '.join(map(str, ports))}"
        with started(real, words, client(behaviour, *ports), program, stdin=DEVNULL) as process:
            for server, data in (first, b"one"), (second, b"two"):
                server.settimeout(DEADLINE)
                with server.accept()[0] as peer:
                    peer.sendall(data)
            assert process.read_all() == b"onetwo"
            assert process.wait() == 0
            assert process.stderr.count("refused") == 1


def through_proxy(mode: str, port: int) -> Config:
    """Two ports of a host behind a proxy."""
    return client(OB_CLIENT, 80, 81, mode=mode, proxy=Proxy(kind="socks5", host=HOST, port=port))


@both
@pytest.mark.parametrize(("option", "mode"), [("-z", "scan"), ("", "connect")], ids=["scan", "conversations"])
def test_a_proxy_that_refuses_a_port_is_asked_for_no_other(real: bool, option: str, mode: str) -> None:
    asked: list[bytes] = []

    def refuse(conn: socket.socket) -> None:
        assert take(conn, 3) == b"\5\1\0"
        conn.sendall(b"\5\0")
        asked.append(take(conn, 10))
        conn.sendall(b"\5\5\0\1" + bytes(6))

    with serve(refuse) as (_, port):
        words = f"-vn {option} -x {HOST}:{port} {HOST} 80 81"
        with started(real, words, through_proxy(mode, port), stdin=DEVNULL) as process:
            assert process.finish().status == 1
            assert re.search("(?i)connection refused", process.stderr)
    assert len(asked) == 1


@both
@pytest.mark.parametrize(("option", "mode"), [("-z", "scan"), ("", "connect")], ids=["scan", "conversations"])
def test_a_proxy_that_cannot_be_connected_to_is_tried_for_each_port(real: bool, option: str, mode: str) -> None:
    with free_port() as port:
        words = f"-vn {option} -x {HOST}:{port} {HOST} 80 81"
        with started(real, words, through_proxy(mode, port), stdin=DEVNULL) as process:
            assert process.finish().status == 1
            tried = f"connect to {HOST} port {port}|ConnectFailed.*port={port}"
            assert len(re.findall(tried, process.stderr)) == 2


@both
def test_a_path_is_scanned(real: bool, tmp_path: Path) -> None:
    path = tmp_path / "path"
    config = client(OB_CLIENT, mode="scan", family="unix", host=str(path))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        for listens in False, True:
            if listens:
                server.listen()
            with started(real, f"-zU {path}", config, stdin=DEVNULL) as process:
                assert process.finish().status == int(not listens)
                assert listens or "Connection refused" in process.stderr


@both
def test_a_port_of_ours_that_is_in_use_is_an_error_of_nc_openbsd(real: bool) -> None:
    with socket.create_server((HOST, 0)) as server, free_port() as taken:
        port = server.getsockname()[1]
        config = client(OB_CLIENT, port, source_host=HOST, source_port=taken)
        with started(real, f"-n -s {HOST} -p {taken} {HOST} {port}", config, stdin=DEVNULL) as process:
            assert process.finish().status == 1
            assert "Address already in use" in process.stderr
