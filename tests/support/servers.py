"""Real proxies, and a real ssh server, for the process tests.

Each function starts one program in the foreground and gives it back once it listens, with its `port`; as a context it
is ended on leaving. None reads a configuration of this machine, forks a daemon or leaves a file. They must never
know pync.

    with tinyproxy("user:secret") as proxy, sshd() as server: … proxy.port … server.command() …

Theory: for a program that binds port 0, its descriptors show where it listens. One that cannot bind port 0 is given a
port that was free a moment before, and another port if it ends because a different process has taken the first.

What the proxies do at the ends of a tunnel, and for a target without a listener (`test_servers.py` measures it again):
tinyproxy, microsocks and ncat deliver what was sent before an end of file, but then close both sides, so an answer to
it does not come through; `ssh -D` passes it on, each way. A target that refuses is answered by tinyproxy with "500
Unable to connect", by microsocks with reply 5, by ncat with 504, by `ssh -D` with nothing but the end. ncat ends the
connection after a 407, too, so that the next try needs another one: curl fails there with Digest.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from harness import DEADLINE, DEVNULL, Running, free_port, require
from pairs import lives_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from certificates import Certificate

TRIES = 5  # ports, for a program that cannot bind port 0

# -- Where a program listens -------------------------------------------------------------------------------------


def listening(process: Running) -> Running:
    """Wait until a server that binds port 0 listens, whether it reports that or not, and note the port."""
    process.port = _port(process)
    if not process.port:
        process.close()
        pytest.fail(f"{process.argv} does not listen: {process.stderr}")
    return process


def on_a_free_port(start: Callable[[int], Running], kind: socket.SocketKind = socket.SOCK_STREAM) -> Running:
    """The same for a server that cannot bind port 0: `start` gets the port. Over UDP it is enough that it is bound."""
    for _ in range(TRIES):
        with free_port(kind) as port:
            pass
        process = start(port)
        process.port = _port(process, kind)
        if process.port:
            return process
        process.close()
    pytest.fail(f"{process.argv} listens on none of {TRIES} ports: {process.stderr}")


# The tables of sockets in /proc/net, and the state that they show of one that listens or, over UDP, is bound.
TABLES = {socket.SOCK_STREAM: ("tcp", "tcp6", "0A"), socket.SOCK_DGRAM: ("udp", "udp6", "07")}


def _port(process: Running, kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """The port on which a process listens, once it does; 0 if it ends without having listened."""
    *tables, state = TABLES[kind]
    until = time.monotonic() + DEADLINE
    while lives_on(process.pid, 0.005) and time.monotonic() < until:
        with contextlib.suppress(PermissionError):  # the process has just ended
            sockets = set(process.descriptors())
            for table in tables:
                for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                    fields = line.split()
                    if fields[3] == state and f"socket:[{fields[9]}]" in sockets:
                        return int(fields[1].rpartition(":")[2], 16)
    return 0


@contextlib.contextmanager
def nameless(text: str) -> Iterator[int]:
    """A file with this text that exists only as a descriptor: a child that inherits it finds it in /proc/self/fd."""
    descriptor = os.memfd_create("configuration")
    try:
        os.write(descriptor, text.encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


# -- Proxies -----------------------------------------------------------------------------------------------------

TINYPROXY = """
Port {}
Listen 127.0.0.1
Allow 127.0.0.1
Timeout 60
"""


def tinyproxy(auth: str = "") -> Running:
    """An HTTP proxy: CONNECT to every port, and plain methods. `auth` is USER:PASSWORD, demanded by Basic."""
    credentials = "BasicAuth " + " ".join(auth.split(":")) if auth else ""

    def start(port: int) -> Running:
        with nameless(TINYPROXY.format(port) + credentials + "\n") as conf:
            return Running([require("tinyproxy"), "-d", "-c", f"/proc/self/fd/{conf}"], stdin=DEVNULL, pass_fds=[conf])

    return on_a_free_port(start)


def microsocks(auth: str = "") -> Running:
    """A SOCKS5 proxy: CONNECT only. `auth` is USER:PASSWORD."""
    user, _, password = auth.partition(":")
    credentials = ["-u", user, "-P", password] if auth else []
    return listening(Running([require("microsocks"), "-i", "127.0.0.1", "-p", "0", *credentials], stdin=DEVNULL))


def ncat_proxy(auth: str = "", certificate: Certificate | None = None) -> Running:
    """An HTTP proxy: CONNECT, and plain methods. `auth` is USER:PASSWORD, demanded by Basic and by Digest.

    With a certificate it is an https proxy. It always listens on all addresses: an address in its arguments is ignored.
    """
    options = ["--proxy-auth", auth] if auth else []
    if certificate:
        options += ["--ssl-cert", str(certificate.chain), "--ssl-key", str(certificate.key)]
    return listening(Running([require("ncat"), "-4", "-l", "--proxy-type", "http", *options, "0"], stdin=DEVNULL))


# -- ssh ---------------------------------------------------------------------------------------------------------

SSHD = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/client.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
MaxStartups 100
PidFile none
"""
PRIVILEGE_SEPARATION = Path("/run/sshd")  # an empty folder that an sshd of root wants
HOST = "throw-away"  # the name under which the client knows the host key, whatever the port and the way to it


class Sshd(NamedTuple):
    """A server in which the user who runs the tests can log in."""

    port: int
    folder: Path  # of the keys

    def command(self, *options: str, host: str = "127.0.0.1") -> list[str]:
        """The words of an ssh command up to the host; the remote command follows: `[*server.command(), "cat"]`."""
        settings = [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "StrictHostKeyChecking=yes",
            f"HostKeyAlias={HOST}",
            f"UserKnownHostsFile={self.folder}/known",
            "GlobalKnownHostsFile=none",
        ]
        words = [require("ssh"), "-F", "none", "-i", f"{self.folder}/client", "-p", str(self.port)]
        return [*words, *(f"-o{setting}" for setting in settings), *options, f"{getpass.getuser()}@{host}"]


@contextlib.contextmanager
def sshd() -> Iterator[Sshd]:
    """An ssh server for this one user. A login takes half a second."""
    program = require("sshd", "ssh", "ssh-keygen")
    separation = shared_folder(PRIVILEGE_SEPARATION) if os.getuid() == 0 else contextlib.nullcontext()
    with tempfile.TemporaryDirectory() as name, separation:
        folder = Path(name)
        for key in "host", "client":
            words = [require("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{key}"]
            subprocess.run(words, check=True, stdin=DEVNULL)
        (folder / "known").write_text(f"{HOST} {(folder / 'host.pub').read_text()}")

        def start(port: int) -> Running:
            (folder / "conf").write_text(SSHD.format(port=port, folder=folder))
            return Running([program, "-D", "-e", "-f", f"{folder}/conf"], stdin=DEVNULL)

        with on_a_free_port(start) as server:
            yield Sshd(server.port, folder)


@contextlib.contextmanager
def shared_folder(path: Path) -> Iterator[None]:
    """A folder that exists inside, for every process that uses it by this function.

    It is made if it does not exist, and removed by the last of the processes that use it at the same time: each holds
    a shared lock on it. Its mode distinguishes it from a folder that was made otherwise, which stays.
    """
    ours = stat.S_IFDIR | stat.S_IRWXU
    while True:
        with contextlib.suppress(FileExistsError):
            path.mkdir(stat.S_IMODE(ours))
        try:
            used = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # removed since
            continue
        fcntl.flock(used, fcntl.LOCK_SH)
        if os.fstat(used).st_nlink:
            break
        os.close(used)  # removed before we had the lock
    try:
        yield
    finally:
        with contextlib.suppress(BlockingIOError):  # another process uses it
            fcntl.flock(used, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(used).st_mode == ours:
                path.rmdir()
        os.close(used)


@contextlib.contextmanager
def ssh_dynamic() -> Iterator[Running]:
    """`ssh -D`: a SOCKS proxy (4, 4A and 5, no authentication) through an sshd of its own."""
    with sshd() as server:

        def start(port: int) -> Running:
            options = ["-N", "-oExitOnForwardFailure=yes", "-D", f"127.0.0.1:{port}"]
            return Running(server.command(*options), stdin=DEVNULL)

        with on_a_free_port(start) as client:
            yield client
