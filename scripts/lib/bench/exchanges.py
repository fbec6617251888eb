"""Small messages there and back, short connections, and starting up. Every answer is compared in every round."""

import re
import socket
import statistics
import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from bench import Unable, Wrong
from bench.commands import HOST, argv
from bench.process import port_of
from bench.setting import LINE
from bench.transfers import forwarded
from bench.trial import Trial

MESSAGE = b"x\n"
PATIENCE = 1  # seconds after which a line without an answer is held back
# With -v: "Connection to 127.0.0.1 80 port [tcp/*] succeeded!", or "(UNKNOWN) [127.0.0.1] 80 (http) open".
OPEN = re.compile(rb"127\.0\.0\.1\]? (\d+) .*(?:succeeded!|open)$", re.MULTILINE)


def compare(answer: bytes, expected: bytes) -> None:
    """Raises Wrong unless the answer is the expected one."""
    if answer != expected:
        raise Wrong(f"answered {answer!r} instead of {expected!r}")


def _per_second(times: int, exchange: Callable[[], None]) -> list[float]:
    began = time.perf_counter()
    for _ in range(times):
        exchange()
    return [times / (time.perf_counter() - began)]


def _median_milliseconds(times: int, exchange: Callable[[], None]) -> list[float]:
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        exchange()
        seconds.append(time.perf_counter() - began)
    return [statistics.median(seconds) * 1000]


def with_cat(trial: Trial) -> list[float]:
    """Round trips per second to a cat behind the tool."""
    conn = trial.connect(trial.serve())
    _echo(conn)  # cat has started
    return _per_second(trial.scale.trips, lambda: _echo(conn))


def _echo(conn: socket.socket) -> None:
    conn.send(MESSAGE)
    compare(conn.recv(64), MESSAGE)


def with_stdio(trial: Trial) -> list[float]:
    """Round trips per second: from the tool's stdin to the peer, and from there to its stdout."""
    listener = trial.listener()
    source, stdin = trial.pipe()
    stdout, target = trial.pipe()
    conn = trial.accept(listener, trial.start(port_of(listener), stdin=source, stdout=target))
    return _per_second(trial.scale.trips, lambda: _there_and_back(stdin.write, conn, stdout.read))


def forwarded_trips(trial: Trial) -> list[float]:
    """Round trips per second through a tool that forwards."""
    conn, onward = forwarded(trial)
    return _per_second(trial.scale.trips, lambda: _there_and_back(conn.send, onward, conn.recv))


def _there_and_back(send: Callable[[bytes], object], far: socket.socket, receive: Callable[[int], bytes]) -> None:
    send(MESSAGE)
    far.send(far.recv(64))
    compare(receive(64), MESSAGE)


def filtered_lines(trial: Trial) -> list[float]:
    """Milliseconds from a line sent to a filter to its answer, the median."""
    conn = trial.connect(trial.serve())
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", PATIENCE, 0))

    def exchange() -> None:
        conn.sendall(LINE)
        try:
            compare(conn.recv(len(LINE), socket.MSG_WAITALL), LINE.upper())
        except BlockingIOError:
            raise Unable("a line is held back") from None

    return _median_milliseconds(trial.scale.lines, exchange)


def connections(trial: Trial, together: int) -> list[float]:
    """Connections per second, each with a question and an answer, in as many threads as there are `together`."""
    server, count = trial.serve(), trial.scale.connections

    def exchange(_: int) -> None:
        with trial.connect(server) as conn:
            _echo(conn)

    with ThreadPoolExecutor(together) as threads:
        began = time.perf_counter()
        list(threads.map(exchange, range(count)))
        return [count / (time.perf_counter() - began)]


def forwarded_connections(trial: Trial) -> list[float]:
    """Connections per second through a tool that forwards, each with a question and an answer, one at a time."""
    listener = trial.listener()
    server = trial.serve(target=port_of(listener))

    def exchange() -> None:
        with trial.connect(server) as conn, trial.keep(listener.accept()[0]) as onward:
            _there_and_back(conn.send, onward, conn.recv)

    return _per_second(trial.scale.connections, exchange)


def probe(trial: Trial) -> list[float]:
    """Milliseconds from starting the tool to its end, when it has probed an open port; the median."""
    port = port_of(trial.listener())

    def start() -> None:
        if status := trial.start(port).wait().status:
            raise Wrong(f"ended with status {status}")

    return _median_milliseconds(trial.scale.starts, start)


def scan(trial: Trial) -> list[float]:
    """Seconds for a scan of all ports. The check is that it finds each of three open ports.

    It may find more: other programs on this machine listen, too, and most tools meet themselves now and then.
    """
    if trial.verifying:
        _check_scan(trial)
        return []
    began = time.perf_counter()
    trial.start(trial.scale.ports).wait()
    return [time.perf_counter() - began]


def _check_scan(trial: Trial) -> None:
    expected = {_listen_up_to(trial, 1024 + (trial.scale.ports - 1024) * third // 3) for third in (1, 2, 3)}
    stderr = trial.open("ports", "wb")
    trial.run([*argv(trial.commands[trial.tool], trial.scale.ports), "-v"], stderr=stderr).wait()
    found = {int(port) for port in OPEN.findall((trial.directory / "ports").read_bytes())}
    if expected - found:
        raise Wrong(f"did not find the open ports {sorted(expected - found)}")


def _listen_up_to(trial: Trial, port: int) -> int:
    """Listen on the highest free port that is not above `port`."""
    try:
        trial.keep(socket.create_server((HOST, port)))
    except OSError:
        return _listen_up_to(trial, port - 1)
    return port
