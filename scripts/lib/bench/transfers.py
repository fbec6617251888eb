"""One large transfer. Its time runs from the connection to the last byte: the row `start` measures starting up."""

import time
from io import FileIO
from itertools import takewhile
from socket import socket
from subprocess import DEVNULL

from bench import Wrong
from bench.commands import COMMANDS, HOST
from bench.process import Given, port_of, readable
from bench.trial import Trial


def file_to_net(trial: Trial) -> list[float]:
    """MB/s of a tool that sends a file, and its peak memory in MB."""
    return _send(trial, trial.open(trial.payload.path))


def pipe_to_net(trial: Trial) -> list[float]:
    """MB/s of a tool that sends the output of another program, and its peak memory in MB."""
    return _send(trial, trial.fed_pipe())


def _send(trial: Trial, source: FileIO) -> list[float]:
    listener = trial.listener()
    process = trial.start(port_of(listener), stdin=source)
    speed = trial.drain(trial.accept(listener, process))
    peak = process.memory("VmHWM")
    return [speed, peak] if peak else [speed]  # some tools end as soon as they have sent all


def net_to_file(trial: Trial) -> list[float]:
    """MB/s of a tool that receives into a file."""
    speed = _receive(trial, trial.open("received", "wb"))
    copy = trial.directory / "received"
    if trial.verifying:
        trial.drain(trial.open(copy))
    trial.payload.check_size(copy.stat().st_size)
    return speed


def net_to_null(trial: Trial) -> list[float]:
    """MB/s of a tool that receives into /dev/null. There is nothing to check afterwards."""
    return _receive(trial, DEVNULL)


def _receive(trial: Trial, target: Given) -> list[float]:
    process = trial.serve(stdout=target)
    conn = trial.connect(process)
    began = time.perf_counter()
    trial.payload.pour(conn)
    process.wait()
    return [trial.speed(began)]


def net_to_pipe(trial: Trial) -> list[float]:
    """MB/s of a tool that receives for another program."""
    reader, writer = trial.pipe()
    return [trial.carry(trial.connect(trial.serve(stdout=writer)), reader)]


def through(trial: Trial) -> list[float]:
    """MB/s from a pipe to a pipe with the tool at both ends of the connection, and the CPU seconds of both per GiB.

    The time begins with the first byte that arrives, when both have started.
    """
    reader, writer = trial.pipe()
    receiver = trial.serve(stdout=writer, commands=COMMANDS["receive"])
    sender = trial.start(receiver.port, stdin=trial.fed_pipe())
    readable(reader)
    speed = trial.drain(reader)
    return [speed, (receiver.wait().cpu + sender.wait().cpu) * (1 << 30) / trial.payload.size]


def through_filter(trial: Trial) -> list[float]:
    """MB/s of text through a filter, there and back, up to the last byte."""
    conn = trial.connect(trial.serve())
    return [trial.carry(conn, conn, trial.setting.text)]


def forward(trial: Trial) -> list[float]:
    """MB/s from a connection to the one that the tool makes for it."""
    return [trial.carry(*forwarded(trial))]


def forwarded(trial: Trial) -> tuple[socket, socket]:
    """A connection to the tool, and the one that the tool has made for it."""
    listener = trial.listener()
    server = trial.serve(target=port_of(listener))
    return trial.connect(server), trial.accept(listener, server)


def tunnel(trial: Trial) -> list[float]:
    """MB/s through a proxy, once it has connected us (RFC 9110 §9.3.6)."""
    listener = trial.listener()
    server = trial.serve()
    conn = trial.connect(server)
    target = f"{HOST}:{port_of(listener)}"
    conn.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    with conn.makefile("rb", buffering=0) as reply:
        head = b"".join(takewhile(lambda line: line != b"\r\n", reply))
    if head.split()[1:2] != [b"200"]:
        raise Wrong(f"answered {head!r}")
    return [trial.carry(conn, trial.accept(listener, server))]
