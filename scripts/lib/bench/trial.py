"""What one measurement of one tool runs in: its processes, sockets and pipes, its deadline, and a clean end.

A trial must never wait for ever. When its deadline passes, its processes are killed and its sockets shut down: then
every read, write and wait under way returns, and the trial has failed. Sockets and pipes are blocking and have no time
limits of their own, which would cost further system calls.

Most tools are verified once, untimed, by the checksum of all that arrived; after that the bytes are only counted.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from io import FileIO
from typing import Self, TypeVar

from bench import Wrong
from bench.commands import HOST, Commands, argv
from bench.process import Given, Process, bound_ports, free_port, readable
from bench.setting import Payload, Setting, blocks_of, discard

T = TypeVar("T")


class Trial:
    """One measurement of one tool. As a context it ends all that was started in it, and closes all that was opened."""

    def __init__(self, setting: Setting, commands: Commands, tool: str, *, verifying: bool) -> None:
        self.setting, self.scale, self.directory = setting, setting.scale, setting.directory
        self.commands, self.tool, self.verifying = commands, tool, verifying
        self.payload = setting.check if verifying else setting.bulk
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
        # A thread that still writes into a pipe is woken by the end of its reader. So the readers are closed first.
        for file in self._files:
            if file.mode == "rb":
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
        """Wake every thread that waits for one of our sockets."""
        for sock in list(self._sockets):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    # -- Programs and threads

    def run(self, words: Sequence[str], **files: Given) -> Process:
        """Start a program with these files as its stdin, stdout and stderr. They are closed here."""
        process = Process(words, self.directory, **files)
        self._processes.append(process)
        for file in files.values():
            if isinstance(file, FileIO):
                file.close()
        return process

    def start(self, port: int, commands: Commands | None = None, target: int = 0, **files: Given) -> Process:
        """Start the tool. `commands` take the place of the trial's command lines."""
        return self.run(argv((commands or self.commands)[self.tool], port, target), **files)

    def serve(
        self, protocol: str = "tcp", commands: Commands | None = None, target: int = 0, **files: Given
    ) -> Process:
        """Start the tool as a listener on a port that was just free, and wait until it listens."""
        port = free_port(protocol)
        process = self.start(port, commands, target, **files)
        process.port = port
        while port not in bound_ports(protocol):
            if readable(process, seconds=0.002):
                raise Wrong(f"ended with status {process.wait().status} instead of listening")
        return process

    def spawn(self, function: Callable[..., T], *args: object) -> Future[T]:
        """Run a function in a thread beside this one."""
        return self._threads.submit(function, *args)

    # -- Sockets, pipes and files

    def keep(self, sock: socket.socket) -> socket.socket:
        """Close the socket at the end of the trial."""
        self._sockets.append(sock)
        if self._expired:
            self._shut()
        return sock

    def listener(self) -> socket.socket:
        """A listening socket of our own."""
        return self.keep(socket.create_server((HOST, 0), backlog=128))

    def accept(self, listener: socket.socket, process: Process) -> socket.socket:
        """The connection that the process makes."""
        if listener.fileno() not in readable(listener, process):
            raise Wrong(f"ended with status {process.wait().status} instead of connecting")
        return self._undelayed(listener.accept()[0])

    def connect(self, server: Process) -> socket.socket:
        """A connection to the tool."""
        return self._undelayed(socket.create_connection((HOST, server.port)))

    def _undelayed(self, sock: socket.socket) -> socket.socket:
        """Keep a socket on which small messages are sent at once (tcp(7): TCP_NODELAY)."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.keep(sock)

    def pipe(self, flags: int = 0) -> tuple[FileIO, FileIO]:
        """The two ends of a new pipe: the one to read from, and the one to write to."""
        reader, writer = os.pipe2(flags | os.O_CLOEXEC)
        ends = FileIO(reader, "rb"), FileIO(writer, "wb")
        self._files += ends
        return ends

    def open(self, name: str | os.PathLike[str], mode: str = "rb") -> FileIO:
        """A file, by its path or its name in the directory of the run."""
        file = FileIO(self.directory / name, mode)
        self._files.append(file)
        return file

    # -- Payloads

    def fed_pipe(self) -> FileIO:
        """A pipe to read from, into which a thread writes the payload."""
        reader, writer = self.pipe()
        self.spawn(self.payload.feed, writer)
        return reader

    def speed(self, began: float, payload: Payload | None = None) -> float:
        """MB/s of the payload since `began`."""
        return (payload or self.payload).size / (time.perf_counter() - began) / 1e6

    def drain(self, source: socket.socket | FileIO, payload: Payload | None = None) -> float:
        """Read to the end; the MB/s. Raises Wrong unless that was the payload."""
        payload, began = payload or self.payload, time.perf_counter()
        if self.verifying:
            payload.check(blocks_of(source))
        else:
            payload.check_size(discard(source))
        return self.speed(began, payload)

    def carry(self, into: socket.socket, out: socket.socket | FileIO, *payload: Payload) -> float:
        """Send the payload from a thread, and drain the tool's output; the MB/s."""
        self.spawn((*payload, self.payload)[0].pour, into)
        return self.drain(out, *payload)
