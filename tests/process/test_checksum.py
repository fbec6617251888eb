"""`--checksum`: both sides show the same SHA-256, that of the file as the user has it, whatever is put in between."""

from __future__ import annotations

import hashlib
import re
import socket
from typing import TYPE_CHECKING

import encrypted
import pytest
from clients import drain
from harness import DEVNULL, PAYLOAD, PYNC, Running, announced, connect, pync, run, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

    from certificates import Authority

DATA = PAYLOAD(1_000_000)
LINES = b"".join(b"line %d\n" % number for number in range(1000))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sums(err: str) -> dict[str, str]:
    """The checksums that the last line shows, by their directions."""
    (line,) = [line for line in err.splitlines() if "; SHA-256" in line]
    return dict(re.findall(r"(sent|received) ([0-9a-f]{64})", line))


@pytest.fixture
def file(tmp_path: Path) -> Iterator[IO[bytes]]:
    with open(tmp_path / "file", "wb+") as file:
        file.write(DATA)
        file.seek(0)
        yield file


@pytest.mark.parametrize("how", ["TCP", "TLS", "unix", "many clients", "copies"])
def test_both_sides_show_the_same_sum(how: str, file: IO[bytes], tmp_path: Path, authority: Authority) -> None:
    path, log = str(tmp_path / "socket"), str(tmp_path / "log")
    ours, theirs = {
        "TLS": (encrypted.ours(authority.server), encrypted.trusting(authority)),
        "unix": (("-U",), ("-U",)),
        "many clients": (("-k",), ()),
        "copies": (("-o", log), ("--delay", "1ms")),
    }.get(how, ((), ()))
    place = [path] if how == "unix" else ["127.0.0.1", "0"]
    with announced(pync("-l", "-v", "--checksum", *ours, *place, stdin=DEVNULL)) as server:
        where = [path] if how == "unix" else ["localhost", str(server.port)]
        result = run([*PYNC, "--checksum", *theirs, *where], stdin=file)
        assert result.status == 0
        assert sums(result.err) == {"sent": sha256(DATA)}
        assert server.read(len(DATA)) == DATA
        server.expect("; SHA-256: ")
        assert sums(server.stderr) == {"received": sha256(DATA)}


def test_the_sum_is_that_of_the_file_and_not_of_what_travels() -> None:
    with serve(lambda conn: conn.sendall(hashlib.sha256(drain(conn)).digest())) as (_, port):
        result = run([*PYNC, "--checksum", "-C", "-N", "127.0.0.1", str(port)], LINES)
    assert result.out == hashlib.sha256(LINES.replace(b"\n", b"\r\n")).digest()
    assert sums(result.err) == {"sent": sha256(LINES), "received": sha256(result.out)}


def test_the_sum_is_that_of_what_is_shown() -> None:
    with serve(lambda conn: conn.sendall(b"a\xff\xf1b")) as (_, port):
        result = run([*PYNC, "--checksum", "-t", "127.0.0.1", str(port)])
    assert result.out == b"ab"
    assert sums(result.err) == {"received": sha256(b"ab")}


def test_datagrams_have_sums() -> None:
    with announced(
        pync("-l", "-v", "-u", "--checksum", "-w", "0.3", "127.0.0.1", "0", stdin=DEVNULL), "Bound"
    ) as server:
        result = run([*PYNC, "-u", "--checksum", "-q", "0", "127.0.0.1", str(server.port)], LINES)
        assert sums(result.err) == {"sent": sha256(LINES)}
        assert server.read(len(LINES)) == LINES
        server.expect("ended by a limit; SHA-256 until then: ")
        assert sums(server.stderr) == {"received": sha256(LINES)}


def test_a_filter_and_a_forwarder_have_sums_of_their_own() -> None:
    with announced(pync("-l", "-k", "-v", "--checksum", "--filter", "tr a-z A-Z", "127.0.0.1", "0")) as target:
        to = f"127.0.0.1:{target.port}"
        with announced(pync("-l", "-k", "-v", "--checksum", "--to", to, "127.0.0.1", "0")) as server:
            with connect(server.port) as conn:
                conn.sendall(LINES)
                conn.shutdown(socket.SHUT_WR)
                assert drain(conn) == LINES.upper()
            for process in target, server:
                assert isinstance(process, Running)
                process.expect("; SHA-256")
                assert sums(process.stderr) == {"sent": sha256(LINES.upper()), "received": sha256(LINES)}


def test_nothing_has_a_sum_too() -> None:
    with serve(lambda conn: None) as (_, port):
        result = run([*PYNC, "--checksum", "127.0.0.1", str(port)])
    assert sums(result.err) == dict.fromkeys(("sent", "received"), sha256(b""))


@pytest.mark.parametrize(
    "words",
    [
        ("-z", "h", "1"),
        ("-e", "cat", "h", "1"),
        ("-F", "h", "1"),
        ("-u", "--lines", "h", "1"),
        ("-l", "--http", "1"),
        ("-lk", "--broker", "1"),
        ("-lk", "-u", "1"),
    ],
    ids=" ".join,
)
def test_where_there_could_be_no_sum_it_is_refused(words: tuple[str, ...]) -> None:
    result = run([*PYNC, "--checksum", *words])
    assert result.status == 2
    assert "--checksum" in result.err
