"""The smallest Python programs for the same work: what they reach is the limit for pync.

    bare.py send PORT               stdin to a connection, by a blocking sendfile or splice
    bare.py receive PORT            one connection to stdout, by a blocking splice
    bare.py forward PORT TARGET     one connection to another one that it makes, by a blocking splice
    bare.py talk PORT               stdin to a connection, and what comes back to stdout
    bare.py cat PORT                one connection handed to cat
    bare.py packets COUNT           as many writes of 64 bytes to stdout
    bare.py flood MS                datagrams of 64 bytes to the socket on stdin, for so many milliseconds

They have no options and no error handling, and are run with nothing but an interpreter (`python -I`). The last two
feed the measurements of datagrams.
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


def kind(descriptor: int) -> int:
    """What a descriptor leads to: S_IFREG and so on."""
    return stat.S_IFMT(os.fstat(descriptor).st_mode)


def grow(pipe: int) -> None:
    """Let a pipe hold a whole slice, as far as one may."""
    with suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, SLICE)


def accept(port: int) -> int:
    """The descriptor of the first connection to a port."""
    with socket.create_server((HOST, port)) as listener:
        return listener.accept()[0].detach()


def send(port: int) -> None:
    """Stdin to a connection."""
    with socket.create_connection((HOST, port)) as sock:
        if kind(0) == stat.S_IFREG:
            while os.sendfile(sock.fileno(), 0, None, SLICE):
                pass
        else:
            grow(0)
            while os.splice(0, sock.fileno(), SLICE):
                pass
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)


def receive(port: int) -> None:
    """One connection to stdout."""
    conn = accept(port)
    if kind(1) == stat.S_IFIFO:
        grow(1)
        while os.splice(conn, 1, SLICE):
            pass
        return
    reader, writer = os.pipe()
    grow(writer)
    while left := os.splice(conn, writer, SLICE):
        while left:
            left -= os.splice(reader, 1, left)


def forward(port: int, target: int) -> None:
    """One connection to another one. Nothing comes back."""
    conn = accept(port)
    with socket.create_connection((HOST, target)) as onward:
        reader, writer = os.pipe()
        grow(writer)
        while left := os.splice(conn, writer, SLICE):
            while left:
                left -= os.splice(reader, onward.fileno(), left)


def talk(port: int) -> None:
    """Stdin to a connection, and what comes back to stdout, until the peer ends."""
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
    """Writes of 64 bytes."""
    packet = b"%063d\n" % 0
    for _ in range(count):
        os.write(1, packet)


def flood(milliseconds: int) -> None:
    """Datagrams, 64 for each system call (linux/udp.h: UDP_SEGMENT)."""
    with socket.socket(fileno=0) as sock:
        sock.setsockopt(socket.IPPROTO_UDP, 103, 64)
        burst = bytes(64 * 64)
        until = time.monotonic() + milliseconds / 1000
        while time.monotonic() < until:
            sock.send(burst)


if __name__ == "__main__":
    programs = {program.__name__: program for program in (send, receive, forward, talk, cat, packets, flood)}
    programs[sys.argv[1]](*map(int, sys.argv[2:]))
