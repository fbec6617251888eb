"""What one measurement runs in: its processes, sockets and pipes, its deadline, and an end that leaves nothing behind.

A trial must never wait for ever. When its deadline passes, its processes are killed and its sockets shut down: then
every read, write and wait under way returns, and the trial has failed. Sockets and pipes are blocking and have no time
limits of their own, which would cost further system calls.

Each tool is verified once, untimed, by the checksum of all that arrived; after that the bytes are only counted.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import FileIO
from typing import TYPE_CHECKING, NamedTuple

from bench import moving
from bench.commands import HOST, argv
from bench.outcomes import Wrong
from bench.process import Process, bound_ports, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future
    from typing import Self, TypeVar

    from bench.scale import Files, Payload, Scale

    T = TypeVar("T")


class Setting(NamedTuple):
    """What all trials of a run share."""

    scale: Scale
    files: Files


class Trial:
    """One measurement of one tool. As a context it ends all that was started in it, and closes all that was opened."""

    def __init__(self, setting: Setting, commands: Mapping[str, str], tool: str, *, verifying: bool) -> None:
        self.scale, self.files = setting
        self.commands = commands
        self.tool = tool
        self.verifying = verifying
        self._expired = False
        self._processes: list[Process] = []
        self._sockets: list[socket.socket] = []
        self._files: list[FileIO] = []
        self._threads = ThreadPoolExecutor()
        self._watch = threading.Timer(self.scale.deadline, self._expire)
        self._watch.daemon = True

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._shut()
        for process in self._processes:
            process.close()
        for sock in self._sockets:
            sock.close()
        for file in self._files:
            if file.mode == "rb":  # who still writes into the pipe is woken
                file.close()
        self._threads.shutdown()
        for file in self._files:
            file.close()
        self._watch.cancel()
        self._watch.join()
        if self._expired and (kind is None or issubclass(kind, Exception)):
            raise Wrong(f"not done within {self.scale.deadline:g} s") from None

    def _expire(self) -> None:
        self._expired = True
        for process in list(self._processes):
            process.signal(signal.SIGKILL)
        self._shut()

    def _shut(self) -> None:
        """Wake whoever waits on one of our sockets."""
        for sock in list(self._sockets):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    # -- What takes part

    @property
    def payload(self) -> Payload:
        """The file to be transferred."""
        return self.files.check if self.verifying else self.files.bulk

    def start(
        self,
        port: int,
        stdin: FileIO | int = subprocess.DEVNULL,
        stdout: FileIO | int = subprocess.DEVNULL,
        stderr: FileIO | int = subprocess.DEVNULL,
        commands: Mapping[str, str] | None = None,
        target: int = 0,
    ) -> Process:
        """Start the tool, by its line in `commands` if they are not those of the trial. Files given to it are its."""
        return self.run(argv(commands or self.commands, self.tool, port, target), stdin, stdout, stderr)

    def run(
        self,
        words: Sequence[str],
        stdin: FileIO | int = subprocess.DEVNULL,
        stdout: FileIO | int = subprocess.DEVNULL,
        stderr: FileIO | int = subprocess.DEVNULL,
    ) -> Process:
        """Start any program in the same way."""
        process = Process(words, stdin, stdout, stderr, self.files.directory)
        self._processes.append(process)
        for given in (stdin, stdout, stderr):
            if isinstance(given, FileIO):
                given.close()
        return process

    def serve(
        self,
        stdin: FileIO | int = subprocess.DEVNULL,
        stdout: FileIO | int = subprocess.DEVNULL,
        commands: Mapping[str, str] | None = None,
        kind: socket.SocketKind = socket.SOCK_STREAM,
        target: int = 0,
    ) -> tuple[Process, int]:
        """Start the tool as one that listens, and wait until it does. The port is one that was just free."""
        port = free_port(kind)
        process = self.start(port, stdin, stdout, commands=commands, target=target)
        while port not in bound_ports("tcp" if kind == socket.SOCK_STREAM else "udp"):
            if process.ended(0.002):
                raise Wrong(f"ended with status {process.wait().status} instead of listening")
        return process, port

    def spawn(self, function: Callable[..., T], *args: object) -> Future[T]:
        """Run a function in a thread beside this one."""
        return self._threads.submit(function, *args)

    def keep(self, sock: socket.socket) -> socket.socket:
        """Close the socket at the end of the trial."""
        self._sockets.append(sock)
        if self._expired:
            self._shut()
        return sock

    def listener(self) -> tuple[socket.socket, int]:
        """A listening socket of our own, and its port."""
        sock = self.keep(socket.create_server((HOST, 0), backlog=128))
        return sock, sock.getsockname()[1]

    def accept(self, listener: socket.socket, process: Process) -> socket.socket:
        """The connection that the process makes."""
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(process, select.POLLIN)
        if listener.fileno() not in dict(poll.poll()):
            raise Wrong(f"ended with status {process.wait().status} instead of connecting")
        return self.keep(listener.accept()[0])

    def connect(self, port: int) -> socket.socket:
        """A connection to the tool, on which nothing waits for more to be sent."""
        sock = self.keep(socket.create_connection((HOST, port)))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def pipe(self, flags: int = 0) -> tuple[FileIO, FileIO]:
        """The two ends of a new pipe: the one to read from, and the one to write to."""
        reader, writer = os.pipe2(flags | os.O_CLOEXEC)
        ends = FileIO(reader, "rb"), FileIO(writer, "wb")
        self._files += ends
        return ends

    def open(self, name: str | os.PathLike[str], mode: str = "rb") -> FileIO:
        """A file, by its path or its name in the directory of the run."""
        file = FileIO(self.files.directory / name, mode)
        self._files.append(file)
        return file

    # -- Payloads

    def feed(self, writer: FileIO) -> None:
        """Put the payload into a pipe, and close it. To be run in a thread."""
        moving.feed(writer, self.payload)

    def pour(self, sock: socket.socket, payload: Payload | None = None) -> None:
        """Send the payload, and half-close."""
        moving.pour(sock, payload or self.payload)

    def drain(self, source: socket.socket | FileIO, payload: Payload | None = None) -> None:
        """Take all that comes, up to the end. Raises Wrong if that is not the payload."""
        payload = payload or self.payload
        if self.verifying:
            moving.verify(source, payload)
        else:
            moving.counted(moving.discard(source), payload)
