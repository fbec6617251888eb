"""One large transfer. Time runs from the connection to the last byte: starting up is measured by itself."""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING

from bench.commands import RECEIVE
from bench.moving import counted

if TYPE_CHECKING:
    from io import FileIO

    from bench.trial import Trial


def file_to_net(trial: Trial) -> list[float]:
    """MB/s of a tool that sends a file, and its peak memory in MB."""
    return _send(trial, trial.open(trial.payload.path))


def pipe_to_net(trial: Trial) -> list[float]:
    """MB/s of a tool that sends what another program writes, and its peak memory in MB."""
    reader, writer = trial.pipe()
    trial.spawn(trial.feed, writer)
    return _send(trial, reader)


def net_to_file(trial: Trial) -> list[float]:
    """MB/s of a tool that receives a file."""
    process, port = trial.serve(stdout=trial.open("received", "wb"))
    conn = trial.connect(port)
    began = time.perf_counter()
    trial.pour(conn)
    process.wait()
    speed = _speed(trial, began)
    copy = trial.files.directory / "received"
    if trial.verifying:
        trial.drain(trial.open(copy))
    counted(copy.stat().st_size, trial.payload)
    return [speed]


def net_to_pipe(trial: Trial) -> list[float]:
    """MB/s of a tool that receives for another program."""
    reader, writer = trial.pipe()
    _, port = trial.serve(stdout=writer)
    conn = trial.connect(port)
    began = time.perf_counter()
    trial.spawn(trial.pour, conn)
    trial.drain(reader)
    return [_speed(trial, began)]


def net_to_null(trial: Trial) -> list[float]:
    """MB/s of a tool that receives for /dev/null. There is nothing to look at afterwards."""
    process, port = trial.serve()
    conn = trial.connect(port)
    began = time.perf_counter()
    trial.pour(conn)
    process.wait()
    return [_speed(trial, began)]


def through(trial: Trial) -> list[float]:
    """MB/s from a pipe to a pipe with the tool at both ends of the connection, and the CPU seconds of both per GiB.

    The time begins with the first byte that arrives, when both have started.
    """
    reader, writer = trial.pipe()
    receiver, port = trial.serve(stdout=writer, commands=RECEIVE)
    source, writer = trial.pipe()
    feeding = trial.spawn(trial.feed, writer)
    sender = trial.start(port, stdin=source)
    await_first(reader)
    began = time.perf_counter()
    trial.drain(reader)
    speed = _speed(trial, began)
    feeding.result()
    return [speed, (receiver.wait().cpu + sender.wait().cpu) * (1 << 30) / trial.payload.size]


def _send(trial: Trial, source: FileIO) -> list[float]:
    listener, port = trial.listener()
    process = trial.start(port, stdin=source)
    conn = trial.accept(listener, process)
    began = time.perf_counter()
    trial.drain(conn)
    speed, peak = _speed(trial, began), process.memory("VmHWM")
    return [speed, peak] if peak else [speed]  # some leave as soon as they have sent all


def _speed(trial: Trial, began: float) -> float:
    return trial.payload.size / (time.perf_counter() - began) / 1e6


def await_first(pipe: FileIO) -> None:
    """Wait until something can be read, without reading it."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    poll.poll()
