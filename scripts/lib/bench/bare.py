"""The smallest Python programs for the same work: their speed is the limit for pync.

`bare.py send PORT`: the functions at the end of this file are the programs, and their arguments are numbers. They have
no options and no error handling, and run with nothing but an interpreter (`python -I`). `packets` and `flood` feed the
measurements of datagrams.
"""

import fcntl
import os
import select
import socket
import stat
import sys
import time
from contextlib import suppress

HOST = "127.0.0.1"
SLICE = 1 << 20
UDP_SEGMENT = 103  # linux/udp.h: one send is many datagrams


def grow(pipe: int) -> None:
    """Let a pipe hold a whole slice, if the system allows it."""
    with suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, SLICE)


def accept(port: int) -> int:
    """The descriptor of the first connection to a port."""
    with socket.create_server((HOST, port)) as listener:
        return listener.accept()[0].detach()


def splice_by_pipe(source: int, target: int) -> None:
    """Everything from one descriptor to another, of which neither is a pipe."""
    reader, writer = os.pipe()
    grow(writer)
    while left := os.splice(source, writer, SLICE):
        while left:
            left -= os.splice(reader, target, left)


def send(port: int) -> None:
    """Stdin to a connection, by a blocking sendfile or splice."""
    with socket.create_connection((HOST, port)) as sock:
        if stat.S_ISREG(os.fstat(0).st_mode):
            while os.sendfile(sock.fileno(), 0, None, SLICE):
                pass
        else:
            grow(0)
            while os.splice(0, sock.fileno(), SLICE):
                pass
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)


def receive(port: int) -> None:
    """One connection to stdout, by a blocking splice."""
    conn = accept(port)
    if stat.S_ISFIFO(os.fstat(1).st_mode):
        grow(1)
        while os.splice(conn, 1, SLICE):
            pass
    else:
        splice_by_pipe(conn, 1)


def forward(port: int, target: int) -> None:
    """One connection to another one that it makes, by a blocking splice. Nothing comes back."""
    conn = accept(port)
    with socket.create_connection((HOST, target)) as onward:
        splice_by_pipe(conn, onward.fileno())


def talk(port: int) -> None:
    """Stdin to a connection, and the answers to stdout, until one of them ends."""
    with socket.create_connection((HOST, port)) as sock:
        poll = select.epoll()
        poll.register(0, select.EPOLLIN)
        poll.register(sock, select.EPOLLIN)
        while True:
            for descriptor, _ in poll.poll():
                data = os.read(descriptor, SLICE >> 4)
                if not data:
                    return
                os.write(1 if descriptor else sock.fileno(), data)


def cat(port: int) -> None:
    """One connection handed to cat."""
    conn = accept(port)
    os.dup2(conn, 0)
    os.dup2(conn, 1)
    os.execlp("cat", "cat")


def packets(count: int) -> None:
    """`count` writes of 64 bytes to stdout."""
    packet = b"%063d\n" % 0
    for _ in range(count):
        os.write(1, packet)


def flood(milliseconds: int) -> None:
    """Datagrams of 64 bytes to the socket on stdin, 64 for each system call."""
    with socket.socket(fileno=0) as sock:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 64)
        burst = bytes(64 * 64)
        until = time.monotonic() + milliseconds / 1000
        while time.monotonic() < until:
            sock.send(burst)


if __name__ == "__main__":
    programs = {program.__name__: program for program in (send, receive, forward, talk, cat, packets, flood)}
    programs[sys.argv[1]](*map(int, sys.argv[2:]))
