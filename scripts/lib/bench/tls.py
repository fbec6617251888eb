"""One large transfer over TLS. A tool encrypts or decrypts; our end does it before or not at all while time runs.

A peer that decrypts what it is sent needs a core for itself, and would be as slow as the tools that are compared. So
what a tool sends is only counted, by the headers of the records (RFC 8446 §5.2), and what it is to receive has been
encrypted before. In `offered` a tool talks with itself, as people use it, and both have a core.

Whether a tool ends its half as it should (close_notify) is not asked: Ncat does not.
"""

from __future__ import annotations

import shutil
import ssl
import time
from hashlib import sha256
from typing import TYPE_CHECKING

from bench import moving
from bench.bulk import await_first
from bench.commands import FETCH_TLS
from bench.moving import SLICE
from bench.outcomes import Unable, Wrong
from bench.scale import Payload

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from bench.trial import Trial

CERTIFICATE = "certificate.pem"  # and its key
CIPHER = ("TLS_AES_256_GCM_SHA384", "TLSv1.3")  # is what all tools agree on if nobody tells them otherwise
HEADER = 5  # bytes before each record; the last two are its length
SEALED = 17  # bytes in each record beside the data: its type, and the tag of the cipher


def sent(trial: Trial) -> list[float]:
    """MB/s of a client that sends what another program writes."""
    certify(trial)
    listener, port = trial.listener()
    source, writer = trial.pipe()
    trial.spawn(trial.feed, writer)
    peer = Peer(trial.accept(listener, trial.start(port, stdin=source)), trial.files.directory)
    began = time.perf_counter()
    if trial.verifying:
        peer.verify(trial.payload)
    else:
        moving.counted(peer.count(trial.payload.size), trial.payload)
    return [_speed(trial, began)]


def received(trial: Trial) -> list[float]:
    """MB/s of a server that receives for another program."""
    certify(trial)
    reader, writer = trial.pipe()
    _, port = trial.serve(stdout=writer)
    conn = trial.connect(port)
    encrypted = Peer(conn, trial.files.directory, client=True).encrypted(trial.payload)
    began = time.perf_counter()
    trial.spawn(trial.pour, conn, encrypted)
    trial.drain(reader)
    return [_speed(trial, began)]


def offered(trial: Trial) -> list[float]:
    """MB/s from a pipe to a pipe, from the tool as a server to the tool as a client."""
    certify(trial)
    source, writer = trial.pipe()
    _, port = trial.serve(stdin=source)
    reader, target = trial.pipe()
    trial.start(port, stdout=target, commands=FETCH_TLS)
    trial.spawn(trial.feed, writer)
    await_first(reader)
    began = time.perf_counter()
    trial.drain(reader)
    return [_speed(trial, began)]


def certify(trial: Trial) -> None:
    """Make the certificate that all use, unless there is one."""
    path = trial.files.directory / CERTIFICATE
    if path.exists():
        return
    if not shutil.which("openssl"):
        raise Unable("needs the program openssl, to make a certificate")
    new = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    words = [*new.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", str(path)]
    if status := trial.run(words).wait().status:
        raise Unable(f"needs a certificate, and openssl ended with status {status}")


class Peer:
    """Our end of a connection. OpenSSL only computes here (ssl.MemoryBIO): when it does is up to us."""

    def __init__(self, conn: socket.socket, directory: Path, *, client: bool = False) -> None:
        """Agree with the tool. Raises Wrong if it comes to anything else than CIPHER."""
        self._conn, self._directory = conn, directory
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if client else ssl.PROTOCOL_TLS_SERVER)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if not client:
            context.load_cert_chain(directory / CERTIFICATE)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=not client)
        try:
            self._shake_hands()
        except ssl.SSLError as error:
            raise Wrong(f"made no TLS connection: {error.reason}") from None
        if (self._tls.cipher() or ())[:2] != CIPHER:
            raise Wrong(f"negotiated {self._tls.cipher()}")

    def _shake_hands(self) -> None:
        agreed = False
        while not agreed:
            try:
                self._tls.do_handshake()
                agreed = True
            except ssl.SSLWantReadError:
                pass
            self._conn.sendall(self._outgoing.read())
            if not agreed:
                self._incoming.write(self._conn.recv(SLICE) or _hung_up())

    def encrypted(self, payload: Payload) -> Payload:
        """The payload as it is to be poured, with a close_notify at its end."""
        path = self._directory / "encrypted"
        with payload.path.open("rb", buffering=0) as source, path.open("wb", buffering=0) as target:
            while block := source.read(SLICE):
                self._tls.write(block)
                target.write(self._outgoing.read())
            try:
                self._tls.unwrap()
            except ssl.SSLWantReadError:  # of course the tool has not answered it
                pass
            target.write(self._outgoing.read())
        return Payload(path, path.stat().st_size, b"")

    def verify(self, payload: Payload) -> None:
        """Decrypt all that comes. Raises Wrong if that is not the payload."""
        digest, count = sha256(), 0
        while data := self._read():
            digest.update(data)
            count += len(data)
        moving.counted(count, payload)
        moving.matched(digest.digest(), payload)

    def _read(self) -> bytes:
        """What comes next; nothing at the end."""
        while True:
            try:
                return self._tls.read(SLICE)
            except ssl.SSLWantReadError:
                if not (data := self._conn.recv(SLICE)):
                    return b""
                self._incoming.write(data)
            except ssl.SSLError as error:
                raise Wrong(f"broke off: {error.reason}") from None

    def count(self, size: int) -> int:
        """Read records until they must hold so many bytes, or to the end; how many they hold."""
        buffer = memoryview(bytearray(SLICE))
        begun = self._incoming.read()  # came with the last words of the handshake
        buffer[: (end := len(begun))] = begun
        at = count = 0  # `at` is where the next header begins: it may not have come yet
        while True:
            while count < size and at + HEADER <= end:
                length = int.from_bytes(buffer[at + 3 : at + HEADER], "big")
                count += length - SEALED
                at += HEADER + length
            if count >= size and at <= end:
                return count
            left = max(0, end - at)  # of a header
            buffer[:left] = buffer[end - left : end]
            at = max(0, at - end)
            got = self._conn.recv_into(buffer[left:])
            end = left + got
            if not got:
                return count - at  # what the last record lacks


def _speed(trial: Trial, began: float) -> float:
    return trial.payload.size / (time.perf_counter() - began) / 1e6


def _hung_up() -> bytes:
    raise Wrong("hung up instead of a TLS handshake")
