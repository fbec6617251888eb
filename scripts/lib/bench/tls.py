"""One large transfer over TLS. A tool encrypts or decrypts; our end does its part before or after the time that counts.

A peer that decrypts all it receives needs a core for itself, and would be as slow as the tools that are compared. So
the bytes from a tool are only counted, by the headers of the records (RFC 8446 §5.2), and the bytes for a tool have
been encrypted before. In `offer` the tool is at both ends, as people use it, and each end has a core.

Whether a tool ends its half as it should (close_notify) is not checked: Ncat does not.
"""

import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from socket import socket
from typing import TypeVar

from bench import Unable, Wrong
from bench.commands import COMMANDS
from bench.process import port_of, readable
from bench.setting import SLICE, Payload
from bench.trial import Trial

T = TypeVar("T")
CERTIFICATE = "certificate.pem"  # and its key
CIPHER = ("TLS_AES_256_GCM_SHA384", "TLSv1.3")  # all tools agree on it as long as they are given no other
HEADER = 5  # bytes before each record; the last two are its length
SEALED = 17  # bytes in each record beside the data: its type, and the tag of the cipher


def send(trial: Trial) -> list[float]:
    """MB/s of a client that sends the output of another program."""
    certify(trial)
    listener = trial.listener()
    process = trial.start(port_of(listener), stdin=trial.fed_pipe())
    peer = Peer(trial.accept(listener, process), trial.directory)
    began = time.perf_counter()
    if trial.verifying:
        trial.payload.check(peer.decrypted())
    else:
        trial.payload.check_size(peer.count(trial.payload.size))
    return [trial.speed(began)]


def receive(trial: Trial) -> list[float]:
    """MB/s of a server that receives for another program."""
    certify(trial)
    reader, writer = trial.pipe()
    conn = trial.connect(trial.serve(stdout=writer))
    encrypted = Peer(conn, trial.directory, client=True).encrypted(trial.payload)
    trial.spawn(encrypted.pour, conn)
    return [trial.drain(reader)]


def offer(trial: Trial) -> list[float]:
    """MB/s from a pipe to a pipe, from the tool as a server to the tool as a client."""
    certify(trial)
    server = trial.serve(stdin=trial.fed_pipe())
    reader, target = trial.pipe()
    trial.start(server.port, stdout=target, commands=COMMANDS["tls-fetch"])
    readable(reader)
    return [trial.drain(reader)]


def certify(trial: Trial) -> None:
    """Make the certificate that all tools use, unless there is one."""
    path = trial.directory / CERTIFICATE
    if path.exists():
        return
    if not shutil.which("openssl"):
        raise Unable("needs the program openssl, to make a certificate")
    new = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    words = [*new.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", str(path)]
    if status := trial.run(words).wait().status:
        raise Unable(f"needs a certificate, and openssl ended with status {status}")


class Peer:
    """Our end of a connection. OpenSSL only computes here (ssl.MemoryBIO), and we choose when it does."""

    def __init__(self, conn: socket, directory: Path, *, client: bool = False) -> None:
        """Shake hands with the tool. Raises Wrong if they agree on anything else than CIPHER."""
        self._conn, self._directory = conn, directory
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if client else ssl.PROTOCOL_TLS_SERVER)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if not client:
            context.load_cert_chain(directory / CERTIFICATE)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=not client)
        try:
            self._complete(self._tls.do_handshake)
        except ssl.SSLError as error:
            raise Wrong(f"made no TLS connection: {error.reason}") from None
        conn.sendall(self._outgoing.read())
        if (self._tls.cipher() or ())[:2] != CIPHER:
            raise Wrong(f"negotiated {self._tls.cipher()}")

    def _complete(self, operation: Callable[[], T]) -> T:
        """The result of an operation of OpenSSL, for which bytes are sent and received. Raises ssl.SSLError."""
        while True:
            try:
                return operation()
            except ssl.SSLWantReadError:
                if data := self._outgoing.read():
                    self._conn.sendall(data)
                if data := self._conn.recv(SLICE):
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()

    def encrypted(self, payload: Payload) -> Payload:
        """The payload as it is to be poured, with a close_notify at its end."""
        path = self._directory / "encrypted"
        with payload.path.open("rb", buffering=0) as source, path.open("wb", buffering=0) as target:
            while block := source.read(SLICE):
                self._tls.write(block)
                target.write(self._outgoing.read())
            with suppress(ssl.SSLWantReadError):  # the tool has not answered the close_notify yet
                self._tls.unwrap()
            target.write(self._outgoing.read())
        return Payload(path, path.stat().st_size, b"")

    def decrypted(self) -> Iterator[bytes]:
        """What the tool sends, up to its end."""
        try:
            yield from iter(partial(self._complete, partial(self._tls.read, SLICE)), b"")
        except ssl.SSLEOFError:  # the end without a close_notify
            return
        except ssl.SSLError as error:
            raise Wrong(f"broke off: {error.reason}") from None

    def count(self, size: int) -> int:
        """Receive records until they must hold `size` bytes, or to the end; how many bytes they hold."""
        buffer = memoryview(bytearray(SLICE))
        early = self._incoming.read()  # came with the end of the handshake
        buffer[: (end := len(early))] = early
        at = count = 0  # `at` is where the next header begins, which may not have arrived yet
        while True:
            while count < size and at + HEADER <= end:
                length = int.from_bytes(buffer[at + 3 : at + HEADER], "big")
                count += length - SEALED
                at += HEADER + length
            if count >= size and at <= end:
                return count
            left = max(0, end - at)  # the bytes of a header that is not complete
            buffer[:left] = buffer[end - left : end]
            at = max(0, at - end)
            got = self._conn.recv_into(buffer[left:])
            end = left + got
            if not got:
                return count - at  # `at` is the number of bytes that the last record lacks
