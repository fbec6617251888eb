"""Every kind of endpoint, held to the laws of `conformance.py`."""

from __future__ import annotations

import os
import socket
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from conformance import (
    Can,
    Far,
    FarFile,
    FarSocket,
    Given,
    Kind,
    Rig,
    cases,
    check_endpoint,
    nothing_opens_again,
    tcp_pair,
    terminal,
    unix_pair,
)
from doubles import StubPeer, raised

from pync.config import Program
from pync.endpoints import child, child_terminal, shared_stdio
from pync.endpoints.datagram_server import DatagramPeer, DatagramServer
from pync.endpoints.datagrams import DatagramSocket
from pync.endpoints.file_source import FileSource
from pync.endpoints.kept_stdin import KeptStdin
from pync.endpoints.null import Null
from pync.endpoints.shared_stdio import SharedStdin, SharedStdout
from pync.endpoints.stdio import Stdin, Stdout
from pync.endpoints.streams import StreamSocket
from pync.endpoints.wrappers import Chain, Delayed, Paced
from pync.errors import OutputClosed, OutputError, PeerLost, PyncError
from pync.events import as_address
from pync.loop.tasks import Condition

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
    from typing import Any

    from conformance import Bench, Law

    from pync.loop.kernel import Loop

SOURCE = Can.READ | Can.WAIT | Can.END | Can.TRY
SINK = Can.WRITE | Can.PUSH_BACK | Can.HALF_CLOSE | Can.COUNT
STREAM = SOURCE | SINK | Can.CLOSE
DATAGRAMS = Can.READ | Can.WAIT | Can.TRY | Can.WRITE | Can.COUNT | Can.ENDLESS | Can.CLOSE | Can.DATAGRAMS

KINDS: list[Kind] = []


def kind(
    name: str,
    can: Can,
    *args: Any,
    read_error: type[PyncError] | None = None,
    write_error: type[PyncError] | None = None,
) -> Callable[[Any], Any]:
    """Enter what follows as a kind of endpoint; `args` are given to it."""

    def enter(function: Any) -> Any:
        opened = partial(asynccontextmanager(function), *args)
        KINDS.append(Kind(name, can, lambda loop, scratch: opened(loop, scratch), read_error, write_error))
        return function

    return enter


# -- Sockets -----------------------------------------------------------------------------------------------------


@kind("TCP over IPv4", STREAM, partial(tcp_pair, "127.0.0.1"), read_error=PeerLost, write_error=PeerLost)
@kind("TCP over IPv6", STREAM, partial(tcp_pair, "::1"), read_error=PeerLost, write_error=PeerLost)
@kind("unix stream", STREAM, unix_pair, read_error=PeerLost, write_error=PeerLost)
async def stream(
    pair: Callable[[], tuple[socket.socket, socket.socket]], loop: Loop, scratch: Path
) -> AsyncIterator[Rig]:
    near, far = pair()
    endpoint = StreamSocket(loop, near, as_address(far.getsockname()))
    with closing(endpoint), closing(FarSocket(loop, far)) as other:
        yield Rig(loop, other, endpoint, endpoint)


def udp(host: str) -> socket.socket:
    """A bound UDP socket."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    return sock


def unix(path: Path) -> socket.socket:
    """A bound unix datagram socket."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(path))
    return sock


def datagram_pair(host: str | None, scratch: Path) -> tuple[socket.socket, socket.socket]:
    """Two bound datagram sockets, UDP or (without a host) unix."""
    return (udp(host), udp(host)) if host else (unix(scratch / "near"), unix(scratch / "far"))


@kind("UDP over IPv4", DATAGRAMS, "127.0.0.1", read_error=PeerLost, write_error=PeerLost)
@kind("UDP over IPv6", DATAGRAMS, "::1", read_error=PeerLost, write_error=PeerLost)
@kind("unix datagrams", DATAGRAMS | Can.PUSH_BACK, None, write_error=PeerLost)
async def datagrams(host: str | None, loop: Loop, scratch: Path) -> AsyncIterator[Rig]:
    near, far = datagram_pair(host, scratch)
    near.connect(far.getsockname())
    far.connect(near.getsockname())
    endpoint = DatagramSocket(loop, near, far.getsockname())
    with closing(endpoint), closing(FarSocket(loop, far)) as other:
        yield Rig(loop, other, endpoint, endpoint)


@kind("one of many peers over UDP", DATAGRAMS, "127.0.0.1")
@kind("one of many peers over unix datagrams", DATAGRAMS | Can.PUSH_BACK, None, write_error=PeerLost)
async def peer(host: str | None, loop: Loop, scratch: Path) -> AsyncIterator[Rig]:
    near, far = datagram_pair(host, scratch)
    near.setblocking(False)
    peers: list[DatagramPeer] = []
    mailroom = DatagramServer(loop, print, lambda peer: not peers.append(peer), raised)  # type: ignore[func-returns-value]
    receiving = loop.spawn(mailroom.receive(near), Condition())
    other = FarSocket(loop, far, near.getsockname())
    await other.give(b"the first")
    while not peers:
        await loop.sleep(0)
    assert await peers[0].read() == b"the first"
    try:
        with closing(peers[0]), closing(other):
            yield Rig(loop, other, peers[0], peers[0])
        assert not mailroom.sessions
    finally:
        await loop.cancel_and_wait(receiving)
        loop.forget(near.fileno())
        near.close()


# -- Standard input and output -----------------------------------------------------------------------------------


def fifo(scratch: Path) -> str:
    """The path of a new FIFO."""
    os.mkfifo(scratch / "fifo")
    return str(scratch / "fifo")


def input_pipe(scratch: Path) -> tuple[int, int]:
    """What stdin is given, and where the other side writes."""
    return os.pipe()


def input_fifo(scratch: Path) -> tuple[int, int]:
    writing = os.open(fifo(scratch), os.O_RDWR)
    return os.open(scratch / "fifo", os.O_RDONLY), writing


def input_terminal(scratch: Path) -> tuple[int, int]:
    return terminal()[::-1]


def input_file(scratch: Path) -> tuple[int, int]:
    writing = os.open(scratch / "file", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    return os.open(scratch / "file", os.O_RDONLY), writing


def socket_ends(scratch: Path) -> tuple[int, int]:
    near, far = unix_pair()
    return near.detach(), far.detach()


def release(loop: Loop, half: Stdin | Stdout, given: int) -> None:
    """Do what the end of the process does."""
    loop.forget(half.fd)
    if half.sock:
        half.sock.close()
    for fd in {half.fd, given}:
        with suppress(OSError):
            os.close(fd)


INHERITED = SOURCE | Can.INHERITED


@kind("stdin, a pipe", INHERITED, input_pipe)
@kind("stdin, a FIFO", INHERITED, input_fifo)
@kind("stdin, a terminal", INHERITED & ~Can.END, input_terminal)
@kind("stdin, a socket", INHERITED, socket_ends)
@kind("stdin, a regular file", INHERITED & ~Can.WAIT, input_file)
async def stdin(ends: Callable[[Path], tuple[int, int]], loop: Loop, scratch: Path) -> AsyncIterator[Rig]:
    given, writing = ends(scratch)
    before = Given(given)
    source = Stdin(loop, given)
    try:
        with closing(Far(loop, writing=writing)) as other:
            yield Rig(loop, other, source, given=before)
    finally:
        release(loop, source, given)


def unblocked(ends: Callable[[Path], tuple[int, int]], scratch: Path) -> tuple[int, int]:
    """With O_NONBLOCK, which another process has set."""
    given, other = ends(scratch)
    os.set_blocking(given, False)
    return given, other


@kind("stdin, another user's pipe", INHERITED & ~Can.TRY, input_pipe)
@kind("stdin, another user's terminal", INHERITED & ~Can.TRY & ~Can.END, input_terminal)
@kind("stdin, another user's pipe that does not block", INHERITED, partial(unblocked, input_pipe))
async def shared_stdin(ends: Callable[[Path], tuple[int, int]], loop: Loop, scratch: Path) -> AsyncIterator[Rig]:
    with nothing_opens_again():
        async with asynccontextmanager(stdin)(ends, loop, scratch) as rig:
            yield rig


def output_pipe(scratch: Path) -> tuple[int, int]:
    """What stdout is given, and where the other side reads."""
    return os.pipe()[::-1]


def output_fifo(scratch: Path) -> tuple[int, int]:
    reading = os.open(fifo(scratch), os.O_RDONLY | os.O_NONBLOCK)
    return os.open(scratch / "fifo", os.O_WRONLY), reading


def output_file(flags: int, scratch: Path) -> tuple[int, int]:
    writing = os.open(scratch / "file", os.O_WRONLY | os.O_CREAT | flags)
    return writing, os.open(scratch / "file", os.O_RDONLY)


def device(name: str, scratch: Path) -> tuple[int, int]:
    return os.open(f"/dev/{name}", os.O_RDWR), os.open(os.devnull, os.O_RDONLY)


OUT = SINK | Can.INHERITED
KEPT = Can.WRITE | Can.COUNT  # a file's: it takes everything at once, and its reader finds no end in it


@kind("stdout, a pipe", OUT, Far, output_pipe, write_error=OutputClosed)
@kind("stdout, a FIFO", OUT, Far, output_fifo, write_error=OutputClosed)
@kind("stdout, a terminal", OUT, Far, input_terminal, write_error=OutputError)
@kind("stdout, a socket", OUT, Far, socket_ends, write_error=OutputClosed)
@kind("stdout, a regular file", KEPT, FarFile, partial(output_file, 0))
@kind("stdout, a file opened for appending", KEPT, FarFile, partial(output_file, os.O_APPEND))
@kind("stdout, /dev/null", Can.SWALLOW, Far, partial(device, "null"))
@kind("stdout, /dev/full", Can(0), Far, partial(device, "full"), write_error=OutputError)
async def stdout(
    far: type[Far], ends: Callable[[Path], tuple[int, int]], loop: Loop, scratch: Path
) -> AsyncIterator[Rig]:
    given, reading = ends(scratch)
    before = Given(given)
    sink = Stdout(loop, given)
    try:
        with closing(far(loop, reading=reading)) as other:
            yield Rig(loop, other, sink=sink, given=before)
    finally:
        await sink.send_eof()


@kind("stdout, another user's pipe", OUT, output_pipe, write_error=OutputClosed)
@kind("stdout, another user's pipe that does not block", OUT, partial(unblocked, output_pipe), write_error=OutputClosed)
@kind("stdout, another user's terminal", Can.INHERITED, input_terminal, write_error=OutputError)
async def shared_stdout(ends: Callable[[Path], tuple[int, int]], loop: Loop, scratch: Path) -> AsyncIterator[Rig]:
    with nothing_opens_again():
        async with asynccontextmanager(stdout)(Far, ends, loop, scratch) as rig:
            yield rig


@kind("nothing", Can.SWALLOW | Can.ENDLESS)
async def discard(loop: Loop, scratch: Path) -> AsyncIterator[Rig]:
    yield Rig(loop, Far(loop), sink=Null())


# -- Programs ----------------------------------------------------------------------------------------------------

# Carries what comes out of one FIFO to its stdout, and what comes to its stdin into the other FIFO.
CARRIER = 'cat <"$0/give" & exec cat >"$0/take"'


@kind("a program", STREAM, False)
@kind("a program that filters", STREAM, True)
async def program(filters: bool, loop: Loop, scratch: Path) -> AsyncIterator[Rig]:
    os.mkfifo(scratch / "give")
    os.mkfifo(scratch / "take")
    argv = ("sh", "-c", CARRIER, str(scratch))
    process = child.start(loop, Program(argv=argv, filters=filters), dict(os.environ))
    reading = os.open(scratch / "take", os.O_RDONLY)  # as soon as it writes there
    writing = os.open(scratch / "give", os.O_WRONLY)
    try:
        with closing(process), closing(Far(loop, reading, writing)) as other:
            yield Rig(loop, other, process.output, process.input)
    finally:
        await process.terminate()
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)


# The same on a terminal that changes no byte. The program is what writes there, because its end is that of the output.
ON_TERMINAL = 'stty raw -echo; exec 3<&0; cat <&3 >"$0/take" & exec cat <"$0/give"'


@kind("a program on a terminal", STREAM & ~Can.HALF_CLOSE)
async def program_on_terminal(loop: Loop, scratch: Path) -> AsyncIterator[Rig]:
    os.mkfifo(scratch / "give")
    os.mkfifo(scratch / "take")
    argv = ("sh", "-c", ON_TERMINAL, str(scratch))
    process = child_terminal.start(loop, Program(argv=argv, terminal=True), dict(os.environ))
    watching = loop.spawn(process.ended(), Condition())
    reading = os.open(scratch / "take", os.O_RDONLY)
    writing = os.open(scratch / "give", os.O_WRONLY)
    try:
        with closing(process), closing(Far(loop, reading, writing)) as other:
            yield Rig(loop, other, process.output, process.input)
    finally:
        await loop.cancel_and_wait(watching)
        await process.terminate()


# -- Shared by many clients --------------------------------------------------------------------------------------


@kind("a client's part of stdin", SOURCE)
async def reader(loop: Loop, scratch: Path) -> AsyncIterator[Rig]:
    with pytest.MonkeyPatch.context() as patch:
        async with asynccontextmanager(stdin)(input_pipe, loop, scratch) as rig:
            patch.setattr(shared_stdio, "STDIN", rig.given.fd)
            everybodys = SharedStdin(loop, rig.source)
            source = everybodys.join(StubPeer(loop))
            running = loop.spawn(everybodys.run(), Condition())
            try:
                yield Rig(loop, rig.far, source)
            finally:
                source.leave()
                await loop.cancel_and_wait(running)


@kind("a client's view of a stdin that is kept", SOURCE)
async def kept(loop: Loop, scratch: Path) -> AsyncIterator[Rig]:
    with pytest.MonkeyPatch.context() as patch:
        async with asynccontextmanager(stdin)(input_pipe, loop, scratch) as rig:
            patch.setattr(shared_stdio, "STDIN", rig.given.fd)
            everybodys = KeptStdin(loop, rig.source, lambda why: None, on_disk=True)
            source = everybodys.join(StubPeer(loop))
            running = loop.spawn(everybodys.run(), Condition())
            try:
                yield Rig(loop, rig.far, source)
            finally:
                source.leave()
                everybodys.spool.close()
                await loop.cancel_and_wait(running)


@kind("a client's view of a regular file", SOURCE & ~Can.WAIT)
async def file_source(loop: Loop, scratch: Path) -> AsyncIterator[Rig]:
    async with asynccontextmanager(stdin)(input_file, loop, scratch) as rig:
        yield Rig(loop, rig.far, FileSource(loop, rig.given.fd, 0))


@kind("a client's part of stdout", Can.WRITE | Can.PUSH_BACK | Can.ENDLESS, True)
@kind("a client's part of stdout, datagrams", Can.WRITE | Can.PUSH_BACK | Can.ENDLESS, False)
async def share(lines: bool, loop: Loop, scratch: Path) -> AsyncIterator[Rig]:
    async with asynccontextmanager(stdout)(Far, output_pipe, loop, scratch) as rig:
        yield Rig(loop, rig.far, sink=SharedStdout(loop, rig.sink, lines=lines).join())


# -- Around another source ---------------------------------------------------------------------------------------


@kind("a source after chunks that were there", SOURCE, lambda loop, rest: Chain([b"from ", b"before"], rest))
@kind("a paced source", SOURCE, lambda loop, rest: Paced(loop, Chain([b"from ", b"before"], rest), 0))
@kind("a delayed source", SOURCE, lambda loop, rest: Delayed(loop, Chain([b"from ", b"before"], rest), 0.0001))
async def wrapped(wrap: Callable[..., Any], loop: Loop, scratch: Path) -> AsyncIterator[Rig]:
    async with asynccontextmanager(stdin)(input_pipe, loop, scratch) as rig:
        source = wrap(loop, rig.source)
        assert [await source.read(), await source.read()] == [b"from ", b"before"]
        yield Rig(loop, rig.far, source)


@pytest.mark.parametrize(("kind", "law"), cases(KINDS))
async def test_it_keeps_the_law(real_loop: Bench, kind: Kind, law: Law, tmp_path: Path) -> None:
    await check_endpoint(real_loop, kind, law, tmp_path)
