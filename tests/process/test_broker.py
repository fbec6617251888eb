"""--broker and --chat in the installed pync, with the other netcats as clients.

A client receives what the others send: every byte, in order, even if one of them is slow, stuck, broken or a liar.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import select
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest
from clients import drain, is_true, line, meanwhile, pour, reset, take
from encrypted import client_side, greeted, ours, send_end
from harness import (
    DEADLINE,
    DEVNULL,
    PAYLOAD,
    PYNC,
    Running,
    announced,
    connect,
    listen,
    many_descriptors,
    require,
    run,
)
from tls_peers import ncat_client, s_client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from certificates import Authority

MB = 1 << 20
CUT_OFF = "cut off: it takes nothing, and others wait, [0-9]+ bytes were not sent$"


@contextlib.contextmanager
def members(server: Running, count: int) -> Iterator[list[socket.socket]]:
    """`count` clients that the server has accepted; closed at the end."""
    before = server.stderr.count("\nConnection received")
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(connect(server.port)) for _ in range(count)]
        server.expect("^Connection received on ", count=before + count)
        yield conns


@contextlib.contextmanager
def chatters(server: Running, count: int) -> Iterator[list[socket.socket]]:
    """`count` clients of a chat that have read every announcement; closed at the end."""
    with contextlib.ExitStack() as stack:
        conns: list[socket.socket] = []
        for _ in range(count):
            conns.append(stack.enter_context(connect(server.port)))
            assert [b" is connected as " in line(conn) for conn in conns] == [True] * len(conns)
            assert b"already connected" in line(conns[-1])
        yield conns


def name(server: Running, conn: socket.socket) -> str:
    """How messages name a client."""
    return "{}:{}".format(*conn.getsockname())


# -- Which client receives what --------------------------------------------------------------------------------------


def test_a_broker_passes_every_byte_to_all_others_and_none_back() -> None:
    data = bytes(range(256)) * 10
    with listen("--broker", "0") as server, members(server, 3) as conns:
        for speaker in conns:
            speaker.sendall(data)
            assert [take(conn, len(data)) for conn in conns if conn is not speaker] == [data] * 2
        server.send(b"from stdin\n")
        assert [line(conn) for conn in conns] == [b"from stdin\n"] * 3
        server.close_stdin()
        conns[0].sendall(b"and on\n")
        assert line(conns[1]) == b"and on\n"
        server.signal(signal.SIGTERM)
        assert server.finish().status_and_out == (143, b"")


def shell(port: int) -> list[str]:
    """Bash itself as a client: it writes to stdout what it receives, and sends what it reads from stdin."""
    script = f"exec 3<>/dev/tcp/127.0.0.1/{port}; cat <&3 & cat >&3; wait"
    return [require("bash"), "-c", script]


@pytest.mark.parametrize("kind", ["--broker", "--chat"])
def test_netcats_of_all_kinds_talk_to_each_other(kind: str) -> None:
    with listen(kind, "0") as server, contextlib.ExitStack() as stack:
        port = str(server.port)
        argvs = [
            [require("ncat"), "127.0.0.1", port],
            [require("nc.openbsd"), "127.0.0.1", port],
            [require("nc.traditional"), "127.0.0.1", port],
            [require("socat"), "-", f"TCP:127.0.0.1:{port}"],
            shell(server.port),
            [*PYNC, "127.0.0.1", port],
        ]
        peers = []
        for argv in argvs:
            peers.append(stack.enter_context(Running(argv)))
            server.expect("^Connection received on ", count=len(peers))
        for number, speaker in enumerate(peers, 1):
            speaker.send(b"%d says hello\n" % number)
            prefix = b"<user%d> " % number if kind == "--chat" else b""
            for peer in peers:
                if peer is not speaker:
                    assert peer.read_until(b"hello\n").split(b"\n")[-2] == prefix + b"%d says hello" % number


def test_a_client_whose_stdin_has_ended_goes_on_receiving() -> None:
    with listen("--broker", "0") as server, members(server, 1) as [speaker]:
        port = str(server.port)
        with (
            Running([require("ncat"), "--recv-only", "127.0.0.1", port], stdin=DEVNULL) as ncat,
            Running([require("nc.openbsd"), "-N", "127.0.0.1", port], stdin=DEVNULL) as openbsd,
            Running([*PYNC, "127.0.0.1", port], stdin=DEVNULL) as own,
        ):
            server.expect("^Connection received on ", count=4)
            for turn in range(3):
                speaker.sendall(b"%d\n" % turn)
                assert [peer.read_until(b"\n") for peer in (ncat, openbsd, own)] == [b"%d\n" % turn] * 3


def test_the_descriptors_of_clients_that_have_left_are_closed() -> None:
    with listen("--broker", "0") as server, members(server, 1) as [stays]:
        before = len(server.descriptors())
        for _ in range(3):  # the server notices only when it sends to them that they have left
            with members(server, 10) as conns:
                for conn in conns[:5]:
                    conn.shutdown(socket.SHUT_WR)
                stays.sendall(b"news\n")
                assert {line(conn).lstrip(b".") for conn in conns} == {b"news\n"}
            is_true(lambda: stays.send(b".") == 1 and len(server.descriptors()) <= before + 1, "all have left")
        assert "connection to" not in server.stderr


# -- Floods ----------------------------------------------------------------------------------------------------------


def test_of_several_clients_that_flood_each_is_received_whole_and_in_order() -> None:
    count = 4
    # Each client sends bytes of a range of its own.
    words = [bytes(64 * number + byte % 64 for byte in PAYLOAD(MB)) for number in range(count)]
    with listen("--broker", "0") as server, members(server, count + 2) as conns, contextlib.ExitStack() as stack:
        for conn, text in zip(conns, words, strict=False):
            stack.enter_context(meanwhile(conn.sendall, text))
            stack.enter_context(meanwhile(take, conn, (count - 1) * MB))
        received = [take(conn, count * MB) for conn in conns[count:]]
    for data in received:
        for number, text in enumerate(words):
            others = bytes(byte for byte in range(256) if byte // 64 != number)
            assert data.translate(None, others) == text


def digest(conn: socket.socket, size: int) -> str:
    """The hash of the next `size` bytes."""
    found = hashlib.sha256()
    while size and (data := conn.recv(min(size, MB))):
        found.update(data)
        size -= len(data)
    return found.hexdigest()


def test_a_client_that_receives_nothing_is_cut_off_and_the_others_get_every_byte() -> None:
    data = PAYLOAD(24 * MB)
    with listen("--broker", "0") as server, members(server, 4) as (speaker, one, stuck, other):
        begun = time.monotonic()
        with meanwhile(speaker.sendall, data):
            wanted = hashlib.sha256(data).hexdigest()
            with meanwhile(lambda: [digest(other, len(data)) == wanted or pytest.fail("not the same bytes")]):
                assert digest(one, len(data)) == wanted
        assert 1.9 < time.monotonic() - begun < 20
        server.expect(f"^pync: connection to {name(server, stuck)}: {CUT_OFF}")
        assert server.stderr.count("cut off") == 1
        with pytest.raises(ConnectionResetError):
            drain(stuck)
        one.sendall(b"still there\n")
        assert line(other) == b"still there\n"


def test_a_slow_client_gets_every_byte_too_and_slows_down_the_sender() -> None:
    data = PAYLOAD(24 * MB)
    with listen("--broker", "0") as server, members(server, 3) as (speaker, fast, slow):
        with meanwhile(speaker.sendall, data), meanwhile(digest, fast, len(data)):
            got = hashlib.sha256()
            left = len(data)
            # At most 8 MB a second, and most of the data fits into no buffer.
            while left:
                chunk = slow.recv(min(left, MB // 8))
                got.update(chunk)
                left -= len(chunk)
                time.sleep(len(chunk) / (8 * MB))
        assert got.hexdigest() == hashlib.sha256(data).hexdigest()
        assert "cut off" not in server.stderr


def test_memory_is_bounded_while_all_clients_send_and_none_receives() -> None:
    with listen("--broker", "0") as server, members(server, 6) as conns:
        with contextlib.ExitStack() as stack:
            for conn in conns:
                stack.enter_context(meanwhile(pour, conn))
            server.expect(CUT_OFF, count=5, timeout=30)  # the last client has no other to send to
            for conn in conns:
                with contextlib.suppress(OSError):
                    conn.shutdown(socket.SHUT_RDWR)
        assert peak(server) < 120 * MB


@pytest.mark.usefixtures("_many_descriptors")
def test_what_many_clients_send_at_once_takes_no_more_memory_than_what_a_few_do() -> None:
    count = 400
    with listen("--broker", "0") as server, members(server, count) as conns:
        before = peak(server)
        for conn in conns:
            conn.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                conn.send(bytes(MB))
        server.expect(CUT_OFF, count=count // 2, timeout=40)
        assert peak(server) - before < 40 * MB


@pytest.mark.usefixtures("_many_descriptors")
@pytest.mark.parametrize("kind", ["--broker", "-k"])
def test_memory_and_descriptors_return_when_thousands_of_clients_have_left(kind: str) -> None:
    with listen(kind, "0") as server, members(server, 1) as [stays]:
        before, sizes = len(server.descriptors()), []
        for turn in range(5):
            with members(server, 2000) as conns:
                for conn in conns[::100]:
                    conn.sendall(b"x" * 1000 + b"\n")
                server.send(b"news %d\n" % turn)
                for conn in (conns[1], stays):
                    while not line(conn).startswith(b"news %d" % turn):
                        pass
            is_true(lambda: is_alone(server, before), "all have left")
            sizes.append(memory(server))
        # The first clients make the allocator take memory, which it keeps for the next.
        assert sizes[4] - sizes[2] < 4 * MB, sizes


def is_alone(server: Running, descriptors: int) -> bool:
    """Whether all clients but the first have left, which the server finds out by sending to them."""
    server.send(b".\n")
    return len(server.descriptors()) <= descriptors


def memory(server: Running) -> int:
    """The memory that it uses now, in bytes."""
    with open(f"/proc/{server.pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def peak(server: Running) -> int:
    """The most memory that it has used, in bytes."""
    with open(f"/proc/{server.pid}/status") as status:
        return next(int(row.split()[1]) for row in status if row.startswith("VmHWM")) * 1024


def test_a_reset_is_reported_and_the_others_go_on() -> None:
    with listen("--broker", "0") as server, members(server, 3) as (one, broken, other):
        broken.sendall(b"my last\n")
        assert [line(one), line(other)] == [b"my last\n"] * 2
        client = name(server, broken)
        reset(broken)
        server.expect(f"^pync: connection to {client}: Connection reset by peer$")
        one.sendall(b"on\n")
        assert line(other) == b"on\n"


@pytest.fixture
def _many_descriptors() -> Iterator[None]:
    """This process may open thousands of sockets."""
    with many_descriptors(4000):
        yield


@pytest.mark.usefixtures("_many_descriptors")
def test_a_thousand_clients_receive_what_one_of_them_sends() -> None:
    data = b"".join(b"line %05d\n" % number for number in range(2000))
    with listen("--broker", "0") as server, members(server, 1000) as conns:
        with meanwhile(conns[0].sendall, data):
            assert {digest(conn, len(data)) for conn in conns[1:]} == {hashlib.sha256(data).hexdigest()}
        server.signal(signal.SIGTERM)
        assert server.wait() == 143


# -- Which clients are served, and for how long ----------------------------------------------------------------------


def test_the_rules_and_the_limit_of_connections_apply() -> None:
    with (
        listen("--broker", "--deny", "127.0.0.2", "--max-conns", "2", "0") as server,
        members(server, 2) as (one, other),
    ):
        with socket.create_connection(("127.0.0.1", server.port), DEADLINE, source_address=("127.0.0.2", 0)) as denied:
            assert drain(denied) == b""
        with connect(server.port) as third:
            assert drain(third) == b""
        server.expect(r"denied: connection limit reached \(2\)$")
        one.sendall(b"two of us\n")
        assert line(other) == b"two of us\n"


def test_a_client_that_is_idle_for_too_long_is_dropped() -> None:
    with listen("--broker", "--idle-timeout", "0.4", "0") as server, members(server, 1) as [one]:
        assert drain(one) == b""
        server.expect("^pync: connection to 127.0.0.1:[0-9]+: nothing came or went for 0.4 s$")


def test_clients_on_a_unix_path_are_members_like_others(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with (
        announced(Running([*PYNC, "-v", "--chat", "-U", path])) as server,
        Running([require("nc.openbsd"), "-U", path]) as other,
        socket.socket(socket.AF_UNIX) as one,
    ):
        server.expect("^Connection received on ")
        other.read_until(b"nobody.\n")
        one.settimeout(DEADLINE)
        one.connect(path)
        assert line(one) == b"<announce> a unix client is connected as <user2>.\n"
        assert line(one) == b"<announce> already connected: a unix client as <user1>.\n"
        one.sendall(b"hello\n")
        assert other.read_until(b"hello\n").endswith(b"\n<user2> hello\n")
        one.close()
        assert other.read_until(b"\n") == b"<announce> <user2> is disconnected.\n"


# -- Chat ------------------------------------------------------------------------------------------------------------


def test_a_chat_announces_in_ncats_words_and_never_uses_a_name_again() -> None:
    with listen("--chat", "-4", "0") as server, connect(server.port) as one:
        assert line(one) == b"<announce> 127.0.0.1 is connected as <user1>.\n"
        assert line(one) == b"<announce> already connected: nobody.\n"
        for number in range(2, 6):
            with connect(server.port) as other:
                assert line(other) == b"<announce> 127.0.0.1 is connected as <user%d>.\n" % number
                assert line(other) == b"<announce> already connected: 127.0.0.1 as <user1>.\n"
                assert line(one) == b"<announce> 127.0.0.1 is connected as <user%d>.\n" % number
            assert line(one) == b"<announce> <user%d> is disconnected.\n" % number


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        (b"hi\n<announce> <user1> is disconnected.\n", [b"hi", b"<announce> <user1> is disconnected."]),
        (b"hi\r<user1> no\n", [rb"hi\015<user1> no"]),
        (b"\x1b[2J\x1b]0;title\x07\n", [rb"\033[2J\033]0;title\007"]),
        ("Grüße\u2028<user1> \u202eno\n".encode(), ["Grüße".encode() + rb"\342\200\250<user1> \342\200\256no"]),
        (b"telnet\r\n", [b"telnet"]),
    ],
    ids=["lines", "return", "escape", "separator", "telnet"],
)
def test_no_client_forges_a_line_or_controls_a_terminal(words: bytes, seen: list[bytes]) -> None:
    with listen("--chat", "0") as server, chatters(server, 2) as (victim, liar):
        for at in range(len(words)):
            liar.send(words[at : at + 1])
        assert [line(victim) for _ in seen] == [b"<user2> " + text + b"\n" for text in seen]


def test_the_server_of_a_chat_sends_too_and_receives_nothing() -> None:
    with listen("--chat", "-C", "0") as server, chatters(server, 2) as (one, other):
        server.send(b"welcome\n")
        assert [line(conn) for conn in (one, other)] == [b"<user0> welcome\r\n"] * 2
        one.sendall(b"thanks")
        one.shutdown(socket.SHUT_WR)
        assert line(one) == b"<announce> you are only listening now.\n"
        assert line(other) == b"<user1> thanks\n"
        other.sendall(b"bye\n")
        assert line(one) == b"<user2> bye\n"
        server.signal(signal.SIGTERM)
        assert server.finish().out == b""


@pytest.mark.usefixtures("_many_descriptors")
def test_hundreds_chat() -> None:
    count = 300
    with listen("--chat", "0") as server, contextlib.ExitStack() as stack:
        conns = [stack.enter_context(connect(server.port)) for _ in range(count)]
        texts = dict.fromkeys(conns, b"")
        for conn in conns:
            conn.setblocking(False)
        conns[0].send(b"the end\n")
        read(texts, lambda: all(b"<user%d>." % count in text for text in texts.values()))
        conns[1].send(b"hello, all\n")
        read(texts, lambda: all(b"<user2> hello, all\n" in texts[conn] for conn in conns if conn is not conns[1]))
        for number, text in enumerate(texts.values(), 1):
            arrivals = [int(found) for found in re.findall(rb"connected as <user(\d+)>\.\n", text)]
            assert arrivals == [*range(number, count + 1)]


def read(texts: dict[socket.socket, bytes], enough: object) -> None:
    """Read from all of them until it is enough."""
    until = time.monotonic() + 20
    while not enough():  # type: ignore[operator]
        assert time.monotonic() < until
        for conn in select.select([*texts], [], [], 1)[0]:
            texts[conn] += conn.recv(1 << 16)


# -- TLS -------------------------------------------------------------------------------------------------------------


def test_clients_under_tls_are_members_like_others(authority: Authority) -> None:
    with (
        listen("--broker", *ours(authority.server), "127.0.0.1", "0") as server,
        s_client(server.port, authority.trust, "1.3") as one,
        ncat_client(server.port, authority.trust, "1.2") as two,
        greeted(client_side(authority), server.port) as three,
        Running([*PYNC, "--ssl", "--ssl-trustfile", str(authority.trust), "localhost", str(server.port)]) as four,
    ):
        server.expect("^pync: TLSv1", count=4)
        talk = [one, two, four]
        for speaker in talk:
            word = b"%d\n" % speaker.pid
            speaker.send(word)
            assert [peer.read_until(b"\n") for peer in talk if peer is not speaker] == [word] * 2
            assert three.recv(100) == word
        data = PAYLOAD(4 * MB)
        with meanwhile(three.sendall, data):
            assert [peer.read(len(data)) for peer in (one, four)] == [data] * 2
            left = 16 * 1024  # ncat may show the end of the last record only when more has come
            assert two.read(len(data) - left) == data[:-left]
        send_end(three)
        one.send(b"after its end\n")
        assert three.recv(100) == b"after its end\n"


def test_a_handshake_that_never_comes_does_not_hold_up_the_others(authority: Authority) -> None:
    with (
        listen("--chat", *ours(authority.server), "127.0.0.1", "0") as server,
        connect(server.port),
        greeted(client_side(authority), server.port) as one,
    ):
        assert one.recv(100).startswith(b"<announce> 127.0.0.1 is connected as <user1>.\n")


def test_help_for_scripts_a_word_to_all_in_one_line() -> None:
    with listen("--broker", "0") as server, members(server, 1) as [one]:
        port = str(server.port)
        assert run([*PYNC, "--send-only", "127.0.0.1", port], b"a word\n").status == 0
        assert line(one) == b"a word\n"
        with contextlib.closing(socket.create_connection(("127.0.0.1", server.port), DEADLINE)) as conn:
            os.write(conn.fileno(), b"another\n")
        assert line(one) == b"another\n"
