"""Unix sockets: streams and datagrams, paths and abstract names, and what becomes of a path.

pync takes a path over only from a socket that is dead, and removes every path that it has made, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from clients import is_true
from harness import (
    DEADLINE,
    DEVNULL,
    PAYLOAD,
    PYNC,
    Result,
    Running,
    announced,
    failure,
    listen,
    pync,
    require,
    run,
    success,
    without_ends,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
BIG = 2 << 20  # more than the buffers between two processes hold
STOPPING = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


class Peer(NamedTuple):
    """How a program is called; {path} is the path, {own} a path of its own, {kind} socat's word for abstract ones."""

    name: str
    client: str
    server: str
    ready: str

    def argv(self, line: str, path: str, own: str = "") -> list[str]:
        """The words of a command line."""
        kind, name = ("ABSTRACT", path[1:]) if path.startswith("@") else ("UNIX", path)
        words = line.format(path=path, own=own, kind=kind, name=name).split()
        return [require(words[0]), *words[1:]]


STREAMS = (
    Peer("openbsd", "nc.openbsd -NU {path}", "nc.openbsd -NvlU {path}", "^Listening on"),
    Peer("ncat", "ncat -U {path}", "ncat -vlU {path}", "Listening on"),
    Peer("socat", "socat -t 10 STDIO {kind}-CONNECT:{name}", "socat -d -d STDIO {kind}-LISTEN:{name}", "listening on"),
)
DATAGRAMS = (
    Peer("openbsd", "nc.openbsd -uU {path}", "nc.openbsd -vluU {path}", "^Bound on"),
    Peer("ncat", "ncat -uU {path}", "ncat -vluU {path}", "Listening on"),
    Peer(
        "socat",
        "socat STDIO UNIX-SENDTO:{path},bind={own}",
        "socat -d -d -d STDIO UNIX-RECVFROM:{path}",
        "receiving on",
    ),
)


@pytest.fixture
def path() -> Iterator[str]:
    """A path for a socket: short, for a socket's name holds 107 bytes."""
    with tempfile.TemporaryDirectory() as directory:
        yield f"{directory}/s"


@pytest.fixture
def abstract(path: str) -> str:
    """An abstract name that no other test has."""
    return "@" + path.strip("/").replace("/", "-")


@pytest.fixture(params=["path", pytest.param("abstract", marks=pytest.mark.needs("linux"))])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def each(peers: tuple[Peer, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("peer", peers, ids=[peer.name for peer in peers])


def system_name(name: str) -> str:
    """The name as the system writes it."""
    return "\0" + name[1:] if name.startswith("@") else name


def connected(name: str, kind: int = STREAM, own: str | None = None) -> socket.socket:
    """A socket connected to the name, on which every operation fails after ten seconds."""
    sock = socket.socket(socket.AF_UNIX, kind)
    sock.settimeout(DEADLINE)
    if own is not None:
        sock.bind(own)
    sock.connect(system_name(name))
    return sock


def bound(name: str, kind: int = DATAGRAM) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, kind)
    sock.settimeout(DEADLINE)
    sock.bind(system_name(name))
    return sock


# -- Streams ---------------------------------------------------------------------------------------------------------


@each(STREAMS)
def test_a_client_talks_with_another_netcats_server(peer: Peer, path: str) -> None:
    with Running(peer.argv(peer.server, path)) as server:
        server.expect(peer.ready)
        with pync("-U", path) as client:
            client.send(b"question\n")
            assert server.read_until(b"\n") == b"question\n"
            server.send(b"answer\n")
            assert client.read_until(b"\n") == b"answer\n"
            client.close_stdin()
            server.close_stdin()
            assert client.finish() == success()
            assert server.wait() == 0


@each(STREAMS)
def test_a_server_talks_with_another_netcats_client(peer: Peer, path: str) -> None:
    with listen("-U", path) as server, Running(peer.argv(peer.client, path)) as client:
        client.send(b"question\n")
        assert server.read_until(b"\n") == b"question\n"
        server.send(b"answer\n")
        assert client.read_until(b"\n") == b"answer\n"
        assert client.finish().status == 0
        assert server.wait() == 0


@pytest.mark.needs("linux")
@each((STREAMS[0], STREAMS[2]))
def test_abstract_names_are_those_of_others(peer: Peer, abstract: str) -> None:
    with listen("-U", abstract) as server:
        assert run(peer.argv(peer.client, abstract), b"from it").status == 0
        assert server.finish().out == b"from it"
    with Running(peer.argv(peer.server, abstract)) as theirs:
        theirs.expect(peer.ready)
        assert run([*PYNC, "-U", abstract], b"to it", stdout=DEVNULL).status == 0
        assert theirs.finish().out == b"to it"


def test_megabytes_go_both_ways_and_both_ends_are_passed_on(name: str, tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(there := PAYLOAD(BIG))
    (tmp_path / "back").write_bytes(back := there[::-1])
    with (
        (tmp_path / "there").open("rb") as stdin,
        (tmp_path / "back").open("rb") as answer,
        listen("-U", name, stdin=answer) as server,
    ):
        result = run([*PYNC, "-U", name], stdin)
        assert (result.status, result.err) == (0, "")
        assert result.out == back
        assert server.read_all() == there
        assert server.wait() == 0


def test_messages_name_the_path(path: str) -> None:
    with listen("-U", path) as server:
        result = run([*PYNC, "-v", "-U", path], b"hello")
        assert without_ends(result.err) == f"Connection to {path} succeeded!\n"
        result = server.finish()
        assert result.status_and_out == (0, b"hello")
        assert without_ends(result.err) == f"Listening on {path}\nConnection received on {path}\n"


def test_many_clients_are_served_at_once(name: str) -> None:
    with listen("-kU", "--exec", "cat", name) as server, connected(name) as one, connected(name) as two:
        for client in (one, two, one, two):
            client.sendall(b"hello")
            assert client.recv(100) == b"hello"
        server.signal(signal.SIGTERM)
        assert server.wait() == 143


def test_all_clients_receive_stdin_and_their_lines_are_received(name: str) -> None:
    with listen("-kU", name) as server, connected(name) as one, connected(name) as two:
        for client in (one, two):
            client.sendall(b"here\n")
            assert server.read_until(b"\n") == b"here\n"
        server.send(b"to all")
        assert [client.recv(100) for client in (one, two)] == [b"to all"] * 2


@pytest.mark.parametrize("option", ["--exec", "--filter"])
def test_a_program_is_put_on_the_connection(option: str, name: str) -> None:
    with listen("-U", option, "cat", name) as server:
        assert run([*PYNC, "-U", name], b"there and back") == success(b"there and back")
        assert server.wait() == 0


def test_a_program_gets_the_facts_of_its_peer(path: str) -> None:
    facts = 'echo "$PYNC_PROTO,$PYNC_LOCAL_ADDR,$PYNC_LOCAL_PORT,$PYNC_REMOTE_ADDR"'
    with listen("-U", "--sh-exec", facts, path) as server, connected(path, own=f"{path}.own") as client:
        assert client.recv(1000).decode() == f"UNIX,{path},,{path}.own\n"
        assert server.wait() == 0


def test_the_clients_program_is_put_on_the_connection(name: str) -> None:
    with listen("-U", name) as server, pync("-U", "--exec", "tr a-z A-Z", name) as client:
        server.send(b"question")
        server.close_stdin()
        assert server.read_all() == b"QUESTION"
        assert client.wait() == 0


def test_a_scan_reports_whether_a_path_has_a_listener(path: str) -> None:
    with bound(path, STREAM) as sock:
        sock.listen()
        assert run([*PYNC, "-zv", "-U", path]) == success(err=f"Connection to {path} succeeded!\n")
    assert run([*PYNC, "-zv", "-U", path]) == failure(f"connect to {path} failed: Connection refused")
    assert run([*PYNC, "-z", "-U", path]) == Result(status=1, out=b"", err="")
    with bound(f"{path}.d"):
        assert run([*PYNC, "-z", "-uU", f"{path}.d"]) == success()


def test_a_client_waits_for_a_place_in_a_full_backlog(path: str) -> None:
    with bound(path, STREAM) as sock:
        sock.listen(0)
        with connected(path), pync("-v", "-U", path) as client:  # a backlog of 0 holds one
            client.send(b"hello")
            sock.accept()[0].close()
            client.expect("^Connection to")
            with sock.accept()[0] as conn:
                conn.settimeout(DEADLINE)
                assert conn.recv(100) == b"hello"
            assert client.finish().status == 0


def test_waiting_for_a_full_backlog_has_its_limit(path: str) -> None:
    with bound(path, STREAM) as sock:
        sock.listen(0)
        with connected(path):
            result = run([*PYNC, "-w", "0.3", "-U", path])
            assert result == failure(f"connect to {path}: timed out", status=124)


def test_a_client_can_go_on_trying_until_a_server_comes(path: str) -> None:
    with pync("-vv", "--retry", "30", "-U", path) as client:
        client.expect(f" pync: connect to {path} failed: No such file or directory; the next attempt is in ")
        with listen("-U", path) as server:
            client.send(b"hello")
            client.close_stdin()
            assert server.finish().out == b"hello"
            assert client.wait() == 0


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ("nothing", "No such file or directory"),
        ("file", "it is a file and no socket"),
        ("directory", "it is a directory and no socket"),
        ("dead socket", "Connection refused"),
    ],
)
def test_a_path_without_a_listener_is_one_line(path: str, made: str, why: str) -> None:
    if made == "file":
        Path(path).write_text("data")
    if made == "directory":
        os.mkdir(path)
    if made == "dead socket":
        bound(path, STREAM).close()
    assert run([*PYNC, "-U", path], b"hello") == failure(f"connect to {path} failed: {why}")


@pytest.mark.parametrize("options", [("-U",), ("-lU",), ("-uU",), ("-luU",)])
def test_a_path_that_is_too_long_is_one_line(options: tuple[str, ...]) -> None:
    result = run([*PYNC, *options, "/tmp/" + 200 * "x"], b"hello")
    assert result.status_and_out == (1, b"")
    assert result.err.endswith("AF_UNIX path too long\n") and len(result.err.splitlines()) == 1


# -- What becomes of a path ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [("-lU",), ("-lU", "--exec", "cat"), ("-lU", "--filter", "cat")])
def test_the_path_is_removed_when_the_client_is_served(options: tuple[str, ...], path: str) -> None:
    with announced(pync("-v", *options, path)) as server:
        assert stat.S_ISSOCK(os.lstat(path).st_mode)
        run([*PYNC, "-U", path], b"hello")
        assert server.finish().status == 0
    assert not os.path.lexists(path)


@pytest.mark.parametrize("signum", STOPPING)
@pytest.mark.parametrize("options", [("-lU",), ("-lkU",), ("-luU",), ("-lkuU",), ("-lkU", "--exec", "cat")])
def test_the_path_is_removed_when_a_signal_has_struck(options: tuple[str, ...], signum: int, path: str) -> None:
    with announced(pync("-v", *options, path), "Bound" if "u" in options[0] else "Listening") as server:
        server.signal(signum)
        assert server.wait() == 128 + signum
    assert not os.path.lexists(path)


@pytest.mark.parametrize("options", [("-kU",), ("-kU", "--exec", "cat"), ("-kU", "--filter", "cat")])
def test_the_path_is_removed_when_a_signal_has_struck_a_server_at_work(options: tuple[str, ...], path: str) -> None:
    with listen(*options, path) as server, connected(path) as client:
        client.sendall(b"hello\n")
        assert (client.recv(100) if len(options) > 1 else server.read(6)) == b"hello\n"
        assert os.path.lexists(path)
        server.signal(signal.SIGTERM)
        assert server.wait() == 143
    assert not os.path.lexists(path)


@pytest.mark.parametrize("kind", [STREAM, DATAGRAM], ids=["stream", "datagram"])
def test_the_path_of_a_dead_socket_is_taken_over(kind: int, path: str) -> None:
    bound(path, kind).close()
    with listen("-uU" if kind == DATAGRAM else "-U", path) as server, connected(path, kind) as client:
        client.send(b"hello")
        assert server.read(5) == b"hello"


@pytest.mark.parametrize("options", ["-lU", "-luU"])
@pytest.mark.parametrize("made", ["file", "directory", "fifo", "link"])
def test_what_is_no_socket_is_left_alone(options: str, made: str, path: str) -> None:
    match made:
        case "file":
            Path(path).write_text("precious")
        case "directory":
            os.mkdir(path)
        case "fifo":
            os.mkfifo(path)
        case "link":  # even one to a dead socket: pync must not choose what a link leads to
            bound(f"{path}.dead", STREAM).close()
            os.symlink(f"{path}.dead", path)
    before = os.lstat(path)
    result = run([*PYNC, options, path])
    kind = "directory" if made == "directory" else "file"
    why = "Address already in use" if made == "link" else f"it is a {kind} and no socket"
    assert result == failure(f"listen on {path}: {why}")
    after = os.lstat(path)
    assert after.st_ino == before.st_ino
    assert after.st_mode == before.st_mode
    assert after.st_size == before.st_size


@pytest.mark.parametrize("kind", [STREAM, DATAGRAM], ids=["stream", "datagram"])
@pytest.mark.parametrize("options", ["-lU", "-luU"])
def test_a_living_sockets_path_is_left_alone(options: str, kind: int, path: str) -> None:
    with bound(path, kind) as living:
        if kind == STREAM:
            living.listen()
        result = run([*PYNC, options, path])
        assert result == failure(f"listen on {path}: Address already in use")
        connected(path, kind).close()


def test_a_socket_that_is_bound_and_does_not_listen_yet_is_left_alone_by_datagrams(path: str) -> None:
    with bound(path, STREAM):
        assert run([*PYNC, "-luU", path]).status == 1
        assert os.path.lexists(path)


def test_a_path_that_another_process_has_made_since_stays(path: str) -> None:
    with listen("-kU", path) as server:
        os.unlink(path)
        with bound(path, STREAM):
            server.signal(signal.SIGTERM)
            assert server.wait() == 143
            assert stat.S_ISSOCK(os.lstat(path).st_mode)


def test_a_path_that_was_removed_already_is_no_failure(path: str) -> None:
    with listen("-U", path) as server, connected(path) as client:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        client.close()
        assert server.finish().status == 0


@pytest.mark.parametrize(("umask", "mode"), [("077", 0o700), ("027", 0o750), ("0", 0o777)])
def test_permissions_are_the_umasks(umask: str, mode: int, path: str) -> None:
    line = f"umask {umask}; exec {PYNC[0]} -vlU {path}"
    with announced(Running(["sh", "-c", line])):
        assert stat.S_IMODE(os.lstat(path).st_mode) == mode


def test_a_directory_that_is_not_there_is_one_line(path: str) -> None:
    missing = f"{path}/there"
    assert run([*PYNC, "-lU", missing]) == failure(f"listen on {missing}: No such file or directory")


# -- Datagrams -------------------------------------------------------------------------------------------------------


@each(DATAGRAMS)
def test_a_datagram_client_talks_with_another_netcats_server(peer: Peer, path: str) -> None:
    with Running(peer.argv(peer.server, path)) as server:
        server.expect(peer.ready)
        with pync("-uU", path) as client:
            client.send(b"question\n")
            assert server.read_until(b"\n") == b"question\n"
            server.send(b"answer\n")
            assert client.read_until(b"\n") == b"answer\n"
            assert client.finish() == success()


@each(DATAGRAMS)
def test_a_datagram_server_talks_with_another_netcats_client(peer: Peer, path: str) -> None:
    with listen("-uU", path) as server, Running(peer.argv(peer.client, path, own=f"{path}.own")) as client:
        for word in (b"one\n", b"two\n"):
            client.send(word)
            assert server.read_until(b"\n") == word
            server.send(b"re: " + word)
            assert client.read_until(b"\n") == b"re: " + word


def test_datagram_conversations_have_names_of_every_kind(name: str) -> None:
    with listen("-uU", name) as server, pync("-uU", name) as client:
        client.send(b"question")
        assert server.read(8) == b"question"
        server.send(b"answer")
        assert client.finish() == success(b"answer")


@pytest.mark.parametrize("size", [0, 1, 65507, 150_000])
def test_a_datagram_is_received_whole(size: int, name: str) -> None:
    with listen("-uU", name) as server, connected(name, DATAGRAM) as peer:
        peer.send(data := PAYLOAD(size))
        peer.send(b"end")
        assert server.read(size + 3) == data + b"end"
    with listen("-ukU", name) as server, connected(name, DATAGRAM) as peer:
        peer.send(data)
        peer.send(b"end")
        assert server.read(size + 3) == data + b"end"


def test_an_answer_is_received_whole(path: str) -> None:
    with bound(path) as server, pync("-uU", path) as client:
        client.send(b"question")
        _, name = server.recvfrom(100)
        server.sendto(data := PAYLOAD(150_000), name)
        assert client.finish() == success(data)


def test_datagrams_are_received_from_the_first_peer_only(name: str, abstract: str) -> None:
    with listen("-uU", name) as server, bound(f"{abstract}-1") as peer, bound(f"{abstract}-2") as stranger:
        peer.sendto(b"one ", system_name(name))
        assert server.read(4) == b"one "
        with pytest.raises(PermissionError):  # the system refuses to send it
            stranger.sendto(b"FORGED ", system_name(name))
        peer.sendto(b"two", system_name(name))
        assert server.read(3) == b"two"


def test_what_others_had_sent_before_is_left_out(name: str, abstract: str) -> None:
    with listen("-uU", name) as server, bound(f"{abstract}-1") as peer, bound(f"{abstract}-2") as stranger:
        server.signal(signal.SIGSTOP)
        for sock, data in (peer, b"one "), (stranger, b"FORGED "), (peer, b"two "), (stranger, b"FORGED "):
            sock.sendto(data, system_name(name))
        peer.sendto(b"three", system_name(name))
        server.signal(signal.SIGCONT)
        assert server.read(13) == b"one two three"


def test_a_sender_without_a_name_is_received_from_each_time(path: str) -> None:
    with listen("-uU", path, stdin=DEVNULL) as server, socket.socket(socket.AF_UNIX, DATAGRAM) as sender:
        for word in (b"one", b"two"):
            sender.sendto(word, path)
            assert server.read(3) == word


def test_a_sender_without_a_name_cannot_be_answered(path: str) -> None:
    with listen("-uU", path) as server, socket.socket(socket.AF_UNIX, DATAGRAM) as sender:
        sender.sendto(b"hello", path)
        assert server.read(5) == b"hello"
        server.send(b"answer")
        assert server.wait() == 1
        assert server.stderr.splitlines()[-1].startswith("pync: datagrams to a unix socket without a name: ")
    assert not os.path.lexists(path)


def test_a_sender_without_a_name_does_not_harm_the_others(path: str) -> None:
    with (
        listen("-ukU", "--exec", "cat", path) as server,
        socket.socket(socket.AF_UNIX, DATAGRAM) as sender,
        connected(path, DATAGRAM, own=f"{path}.own") as peer,
    ):
        sender.sendto(b"hello", path)
        server.expect("^pync: datagrams to a unix socket without a name: it cannot be answered, 5 bytes were not sent$")
        peer.send(b"hello")
        assert peer.recv(100) == b"hello"


def test_each_peer_has_a_program_of_its_own(name: str, path: str) -> None:
    with (
        listen("-ukU", "--sh-exec", 'while read -r word; do echo "$$ $PYNC_REMOTE_ADDR $word"; done', name),
        connected(name, DATAGRAM, own=f"{path}.1") as one,
        connected(name, DATAGRAM, own=f"{path}.2") as two,
    ):
        pids: dict[str, set[bytes]] = {}
        for _ in range(2):
            one.send(b"hello\n")
            two.send(b"hello\n")
            for peer, own in (two, f"{path}.2"), (one, f"{path}.1"):
                pid, address, word = peer.recv(100).split()
                assert address.decode() == own
                assert word == b"hello"
                pids.setdefault(own, set()).add(pid)
        assert [len(own) for own in pids.values()] == [1, 1]
        assert len(set.union(*pids.values())) == 2


def test_a_client_may_have_a_path_of_its_own_and_removes_it(path: str) -> None:
    own = f"{path}.own"
    with bound(path) as server, pync("-uU", "-s", own, path) as client:
        client.send(b"question")
        assert server.recvfrom(100) == (b"question", own)
        server.sendto(b"answer", own)
        assert client.finish() == success(b"answer")
        assert not os.path.lexists(own)


@pytest.mark.parametrize("signum", STOPPING)
def test_a_clients_own_path_is_removed_when_a_signal_has_struck(signum: int, path: str) -> None:
    own = f"{path}.own"
    with bound(path) as server, pync("-uU", "-s", own, path) as client:
        client.send(b"hello")
        assert server.recvfrom(100) == (b"hello", own)
        client.signal(signum)
        assert client.wait() == 128 + signum
    assert not os.path.lexists(own)


def test_a_clients_own_path_is_removed_when_there_was_no_server(path: str) -> None:
    own = f"{path}.own"
    result = run([*PYNC, "-uU", "-s", own, path], b"hello")
    assert result == failure(f"connect to {path} failed: No such file or directory")
    assert not os.path.lexists(own)


@pytest.mark.parametrize("there", [True, False])
def test_a_clients_own_path_is_removed_after_a_scan(there: bool, path: str) -> None:
    own = f"{path}.own"
    with bound(path if there else f"{path}.other"):
        assert run([*PYNC, "-zuU", "-s", own, path]).status == (0 if there else 1)
    assert not os.path.lexists(own)


def test_a_clients_own_path_is_not_taken_from_a_file(path: str) -> None:
    own = f"{path}.own"
    Path(own).write_text("precious")
    with bound(path):
        result = run([*PYNC, "-uU", "-s", own, path], b"hello")
    assert result == failure(f"bind to {own}: it is a file and no socket")
    assert Path(own).read_text() == "precious"


def test_a_forwarder_reports_that_its_target_is_a_file(path: str) -> None:
    Path(path).write_text("data")
    with listen("-k", "127.0.0.1", "0", "--to", path) as server:
        assert run([*PYNC, "127.0.0.1", str(server.port)], b"hello").status == 1
        server.expect(f"^pync: connect to {re.escape(path)} failed: it is a file and no socket$")


@pytest.mark.needs("linux")
def test_a_clients_own_name_may_be_abstract(path: str, abstract: str) -> None:
    with bound(path) as server, pync("-uU", "-s", abstract, path) as client:
        client.send(b"question")
        assert server.recvfrom(100) == (b"question", os.fsencode(system_name(abstract)))


def test_log_lines_go_to_a_unix_socket(path: str) -> None:
    with listen("-uU", path, stdin=DEVNULL) as server:
        assert run([require("logger"), "-u", path, "-d", "-t", "test", "the disk is full"]).status == 0
        server.read_until(b"the disk is full")


def test_a_peer_that_has_left_ends_a_client(path: str) -> None:
    with bound(path) as server, pync("-uU", path) as client:
        client.send(b"one")
        assert server.recv(100) == b"one"
        server.close()
        client.send(b"two")
        assert client.wait() == 1
        assert client.stderr == f"pync: datagrams to {path}: Connection refused, 3 bytes were not sent\n"


@pytest.mark.parametrize("attempt", range(3))
def test_of_many_starts_over_one_dead_path_one_serves_and_the_others_are_refused(attempt: int, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(pync("-vlkU", "-e", "cat", path)) for _ in range(6)]
        is_true(lambda: sum("already in use" in each.stderr for each in started) == len(started) - 1, "one is left")
        (server,) = [each for each in started if "already in use" not in each.stderr]
        server.expect("^Listening on ")
        assert run([*PYNC, "-U", path], b"served") == success(b"served")
        server.signal(signal.SIGTERM)
        assert server.wait() == 143
    assert not os.path.exists(path)


@pytest.mark.parametrize("options", ["-luU", "-uUs"], ids=["listener", "client"])
def test_a_path_of_datagrams_that_another_process_has_made_since_stays(options: str, path: str) -> None:
    own, far = f"{path}.own", f"{path}.far"
    with bound(far) as peer:
        argv = [own] if options == "-luU" else [own, far]
        with Running([*PYNC, "-v", options, *argv]) as process:
            if options == "-luU":
                process.expect("^Bound on ")
                replace(own)
                peer.connect(f"{own}.old")
                peer.send(b"hello")
                process.read(5)
            else:
                process.send(b"hello")
                peer.recv(100)
                replace(own)
            process.signal(signal.SIGTERM)
            assert process.wait() == 143
    assert Path(own).read_text() == "precious"


def replace(path: str) -> None:
    """Move a socket away, and put a file in its place."""
    os.rename(path, f"{path}.old")
    Path(path).write_text("precious")
