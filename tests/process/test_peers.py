"""pync with the netcats, socat, curl and telnet, as their server and as their client: every byte arrives.

Each peer is a command line. A file is sent and received in both roles and compared by checksum, a conversation is held
line by line, an answer is given after a half-close. Both processes must end, by themselves and with status 0.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest
from harness import DEVNULL, PAYLOAD, PYNC, Running, digest, listen, pync, require, run
from servers import listening
from sorting import BYTEWISE, LINES, SORTED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


either_way = pytest.mark.usefixtures("either_way")


class Peer(NamedTuple):
    """A program's command line, with {host} and {port}; socat's address is {to} to connect, {at} to listen."""

    line: str
    families: tuple[str, ...] = ("127.0.0.1", "::1")

    def argv(self, host: str, port: int) -> list[str]:
        """The words of the command line."""
        version, bracketed = (6, f"[{host}]") if ":" in host else (4, host)
        to, at = f"TCP{version}:{bracketed}:{port}", f"TCP{version}-LISTEN:{port},bind={bracketed}"
        words = self.line.format(host=host, port=port, to=to, at=at).split()
        return [require(words[0]), *words[1:]]


def traditional(line: str) -> Peer:
    return Peer(line, families=("127.0.0.1",))


def on_each_family(*peers: Peer) -> pytest.MarkDecorator:
    """300 kB and 5 MB, on IPv4 and IPv6 where the program has both."""
    cases = []
    for peer in peers:
        for size, host in zip((300_000, 5_000_000), (peer.families[0], peer.families[-1]), strict=True):
            cases.append(pytest.param(peer, host, size, id=f"{peer.line.partition(' {')[0]}-{host}-{size}"))
    return pytest.mark.parametrize(("peer", "host", "size"), cases)


# -- Helpers -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Makes a file of the given number of bytes."""
    folder = tmp_path_factory.mktemp("files")

    def make(size: int) -> Path:
        path = folder / str(size)
        if not path.exists():
            path.write_bytes(PAYLOAD(size))
        return path

    return make


# -- A file, four ways -------------------------------------------------------------------------------------------


@on_each_family(
    Peer("nc.openbsd -N {host} {port}"),
    Peer("nc.openbsd -q 0 {host} {port}"),
    Peer("ncat {host} {port}"),
    Peer("ncat --send-only {host} {port}"),
    traditional("nc.traditional -q 0 {host} {port}"),
    Peer("socat -u STDIN {to}"),
    Peer("busybox nc {host} {port}"),
)
def test_a_listener_receives_a_whole_file(peer: Peer, host: str, size: int, file: Callable[[int], Path]) -> None:
    with listen(host, "0", stdin=DEVNULL) as listener, file(size).open("rb") as data:
        assert run(peer.argv(host, listener.port), data).status == 0
        result = listener.finish()
    assert (result.status, digest(result.out)) == (0, digest(PAYLOAD(size)))


@on_each_family(
    Peer("nc.openbsd {host} {port}"),
    Peer("nc.openbsd -d {host} {port}"),
    Peer("nc.openbsd -N {host} {port}"),
    Peer("ncat {host} {port}"),
    Peer("ncat --recv-only {host} {port}"),
    traditional("nc.traditional {host} {port}"),
    Peer("socat -u {to} STDOUT"),
    Peer("socat -t 10 STDIO {to}"),
    Peer("busybox nc {host} {port}"),
)
def test_a_listener_sends_a_whole_file(peer: Peer, host: str, size: int, file: Callable[[int], Path]) -> None:
    with file(size).open("rb") as data, listen(host, "0", stdin=data) as listener:
        result = run(peer.argv(host, listener.port), DEVNULL)
        assert listener.finish().status == 0
    assert (result.status, digest(result.out)) == (0, digest(PAYLOAD(size)))


@on_each_family(
    Peer("nc.openbsd -l {host} {port}"),
    Peer("nc.openbsd -l -d {host} {port}"),
    Peer("nc.openbsd -l -N {host} {port}"),
    Peer("ncat -l {host} {port}"),
    Peer("ncat -l --recv-only {host} {port}"),
    traditional("nc.traditional -l -n -s {host}"),
    Peer("socat -u {at} STDOUT"),
    Peer("socat -t 10 STDIO {at}"),
    Peer("busybox nc -l -p {port} {host}"),
)
def test_a_client_sends_a_whole_file(peer: Peer, host: str, size: int, file: Callable[[int], Path]) -> None:
    with file(size).open("rb") as data, listening(Running(peer.argv(host, 0), stdin=DEVNULL)) as listener:
        assert run([*PYNC, host, str(listener.port)], data).status == 0
        result = listener.finish()
    assert (result.status, digest(result.out)) == (0, digest(PAYLOAD(size)))


@on_each_family(
    Peer("nc.openbsd -l -N {host} {port}"),
    Peer("nc.openbsd -l -q 0 {host} {port}"),
    Peer("ncat -l {host} {port}"),
    Peer("ncat -l --send-only {host} {port}"),
    traditional("nc.traditional -l -n -q 0 -s {host}"),
    traditional("nc.traditional -l -n -q 1 -s {host}"),
    Peer("socat -u STDIN {at}"),
    Peer("socat -t 10 STDIO {at}"),
    Peer("busybox nc -l -p {port} {host}"),
)
def test_a_client_receives_a_whole_file(peer: Peer, host: str, size: int, file: Callable[[int], Path]) -> None:
    with file(size).open("rb") as data, listening(Running(peer.argv(host, 0), stdin=data)) as listener:
        result = run([*PYNC, host, str(listener.port)], DEVNULL)
        assert listener.finish().status == 0
    assert (result.status, digest(result.out)) == (0, digest(PAYLOAD(size)))


@either_way
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_two_pyncs_exchange_files(host: str, file: Callable[[int], Path]) -> None:
    with (
        file(300_000).open("rb") as small,
        listen(host, "0", stdin=small) as listener,
        file(5_000_000).open("rb") as large,
    ):
        result = run([*PYNC, host, str(listener.port)], large)
        received = listener.finish()
    assert (result.status, digest(result.out)) == (0, digest(PAYLOAD(300_000)))
    assert (received.status, digest(received.out)) == (0, digest(PAYLOAD(5_000_000)))


# -- A conversation ----------------------------------------------------------------------------------------------

TALKERS = ("nc.openbsd", "ncat", "nc.traditional -n", "socat", "busybox nc")


def talk(one: Running, other: Running) -> None:
    """Three questions and answers, line by line. Then both stdins end, and the processes must end."""
    for number in range(3):
        one.send(b"question %d\n" % number)
        assert other.read_until(b"\n") == b"question %d\n" % number
        other.send(b"answer %d\n" % number)
        assert one.read_until(b"\n") == b"answer %d\n" % number
    one.close_stdin()
    other.close_stdin()
    assert (one.finish().status, other.finish().status) == (0, 0)


@pytest.mark.parametrize(
    "peer",
    [
        Peer("nc.openbsd {host} {port}"),
        Peer("ncat {host} {port}"),
        traditional("nc.traditional {host} {port}"),
        Peer("socat -t 10 STDIO {to}"),
        Peer("busybox nc {host} {port}"),
    ],
    ids=TALKERS,
)
def test_a_listener_holds_a_conversation(peer: Peer) -> None:
    host = peer.families[-1]
    with listen(host, "0") as listener, Running(peer.argv(host, listener.port)) as client:
        talk(client, listener)


@pytest.mark.parametrize(
    "peer",
    [
        Peer("nc.openbsd -l {host} {port}"),
        Peer("ncat -l {host} {port}"),
        traditional("nc.traditional -l -n -s {host}"),
        Peer("socat -t 10 STDIO {at}"),
        Peer("busybox nc -l -p {port} {host}"),
    ],
    ids=TALKERS,
)
def test_a_client_holds_a_conversation(peer: Peer) -> None:
    host = peer.families[-1]
    with listening(Running(peer.argv(host, 0))) as listener, pync(host, str(listener.port)) as client:
        talk(client, listener)


def test_a_listener_holds_a_conversation_with_telnet() -> None:
    with (
        listen("-C", "-t", "127.0.0.1", "0") as listener,
        Running([require("telnet"), "127.0.0.1", str(listener.port)]) as telnet,
    ):
        telnet.read_until(b"Escape character is '^]'.\n")
        telnet.send(b"is it you?\n")
        assert listener.read_until(b"\n") == b"is it you?\n"
        listener.send(b"pync\n")
        assert telnet.read_until(b"\n") == b"pync\n"
        listener.close_stdin()
        telnet.expect("^Connection closed by foreign host")
        assert (telnet.wait(), listener.finish().status) == (0, 0)


def test_a_listener_holds_a_conversation_with_curl() -> None:
    with (
        listen("127.0.0.1", "0") as listener,
        Running([require("curl"), "-sSN", f"telnet://127.0.0.1:{listener.port}"]) as curl,
    ):
        talk(curl, listener)


# -- HTTP by hand --------------------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"


def test_a_listener_answers_curl_from_stdin() -> None:
    payload = PAYLOAD(5_000_000)
    with listen("127.0.0.1", "0") as listener:
        listener.send(HEAD % len(payload))
        with Running([require("curl"), "-sS", f"http://127.0.0.1:{listener.port}/page"], stdin=DEVNULL) as curl:
            listener.send(payload)
            listener.close_stdin()
            result = curl.finish()
            request = listener.finish()
    assert (result.status, digest(result.out)) == (0, digest(payload))
    assert (request.status, request.out[:20]) == (0, b"GET /page HTTP/1.1\r\n")


def test_a_listener_takes_an_upload_of_curl(file: Callable[[int], Path]) -> None:
    payload = PAYLOAD(5_000_000)
    with listen("127.0.0.1", "0") as listener:
        upload = [
            require("curl"),
            "-sS",
            "-H",
            "Expect:",
            "-T",
            str(file(5_000_000)),
            f"http://127.0.0.1:{listener.port}",
        ]
        with Running(upload, stdin=DEVNULL) as curl:
            request = listener.read_until(b"\r\n\r\n")
            body = listener.read(len(payload))
            listener.send(HEAD % 3 + b"ok\n")
            listener.close_stdin()
            assert curl.finish().status_and_out == (0, b"ok\n")
            assert listener.finish().status_and_out == (0, b"")
    assert b"PUT /5000000 HTTP/1.1\r\n" in request
    assert digest(body) == digest(payload)


def test_a_client_asks_a_server_by_hand(tmp_path: Path) -> None:
    (tmp_path / "page").write_bytes(PAYLOAD(300_000))
    server = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(tmp_path), "0"]
    with listening(Running(server, stdin=DEVNULL)) as http:
        request = b"GET /page HTTP/1.0\n\n"
        result = run([*PYNC, "-C", "127.0.0.1", str(http.port)], request)
    head, _, body = result.out.partition(b"\r\n\r\n")
    assert result.status == 0
    assert head.split()[1] == b"200"
    assert digest(body) == digest(PAYLOAD(300_000))


# -- An answer after the half-close --------------------------------------------------------------------------------


@pytest.mark.parametrize("program", ["--exec", "--sh-exec", "--filter"])
@pytest.mark.parametrize(
    "peer",
    [
        Peer("nc.openbsd -N {host} {port}"),
        Peer("ncat {host} {port}"),
        traditional("nc.traditional -q 10 {host} {port}"),
        Peer("socat -t 10 STDIO {to}"),
        Peer("busybox nc {host} {port}"),
    ],
    ids=TALKERS,
)
def test_sort_behind_a_listener_answers_at_the_half_close(peer: Peer, program: str) -> None:
    host = peer.families[-1]
    with listen(program, "sort", host, "0", stdin=DEVNULL, env=BYTEWISE) as listener:
        result = run(peer.argv(host, listener.port), LINES)
        assert (result.status, digest(result.out)) == (0, digest(SORTED))
        assert listener.finish().status_and_out == (0, b"")


@pytest.mark.parametrize(
    "peer",
    [
        traditional("nc.traditional -l -n -s {host} -e /usr/bin/sort"),
        Peer("socat -t 10 {at} EXEC:sort"),
        Peer("busybox nc -l -p {port} {host} -e sort"),
    ],
    ids=["nc.traditional", "socat", "busybox nc"],
)
def test_a_client_has_its_lines_sorted_by(peer: Peer) -> None:
    host = peer.families[-1]
    with listening(Running(peer.argv(host, 0), stdin=DEVNULL, env=BYTEWISE)) as listener:
        result = run([*PYNC, host, str(listener.port)], LINES)
        assert (result.status, digest(result.out)) == (0, digest(SORTED))
        assert listener.finish().status == 0


# -- Unix streams --------------------------------------------------------------------------------------------------


@either_way
@pytest.mark.parametrize("line", ["nc.openbsd -NU {}", "ncat -U {}", "socat -t 10 STDIO UNIX-CONNECT:{}"])
def test_a_unix_listener_and_a_client_exchange_files(line: str, tmp_path: Path, file: Callable[[int], Path]) -> None:
    path, payload = tmp_path / "socket", PAYLOAD(5_000_000)
    with file(300_000).open("rb") as data, listen("-U", str(path), stdin=data) as listener:
        result = run([require(line.split()[0]), *line.format(path).split()[1:]], payload)
        received = listener.finish()
    assert (result.status, digest(result.out)) == (0, digest(PAYLOAD(300_000)))
    assert (received.status, digest(received.out)) == (0, digest(payload))


@pytest.mark.parametrize("line", ["nc.openbsd -lNU {}", "ncat -lU {}", "socat -t 10 STDIO UNIX-LISTEN:{}"])
def test_a_unix_client_and_a_listener_exchange_files(line: str, tmp_path: Path, file: Callable[[int], Path]) -> None:
    path, payload = tmp_path / "socket", PAYLOAD(5_000_000)
    argv = [require(line.split()[0]), *line.format(path).split()[1:]]
    with file(300_000).open("rb") as data, Running(argv, stdin=data) as listener:
        result = run([*PYNC, "--retry", "10", "-U", str(path)], payload)
        received = listener.finish()
    assert (result.status, digest(result.out)) == (0, digest(PAYLOAD(300_000)))
    assert (received.status, digest(received.out)) == (0, digest(payload))
