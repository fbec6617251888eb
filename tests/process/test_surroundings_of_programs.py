"""What surrounds a program, in the installed pync: its environment, whatever a peer is called, and no terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest
from clients import drain, take
from encrypted import client_side, ours
from harness import DEADLINE, PYNC, Running, announced, connect, listen
from terminals import controlled, terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from certificates import Authority

OPTIONS = ["--exec", "--sh-exec", "--filter"]
every_option = pytest.mark.parametrize("option", OPTIONS)
PRINT = "sh -c 'printenv -0 PYNC_REMOTE_ADDR'"
# What a client can have in its name: NUL, no text, a variable's, a line's end, text that its locale cannot write.
TAILS = [b"\0b", b"\xff\xfe", b"=b", b"\nb\n", b"\xe4\xb8\xad", b"", b"\0" * 90]
# Abstract names are those of the whole machine, and several tests run at the same time.
NAMES = [b"\0%d" % os.getpid() + tail for tail in TAILS]
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # here Python takes file names for ASCII


@contextlib.contextmanager
def client_of(path: str, name: bytes, kind: int = socket.SOCK_STREAM) -> Iterator[socket.socket]:
    """A connected client with this name."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, kind)) as conn:
        conn.settimeout(DEADLINE)
        conn.bind(name)
        conn.connect(path)
        yield conn


def shown(name: bytes) -> bytes:
    """A name as a program sees it."""
    return b"@" + name[1:].replace(b"\0", b"@") if name.startswith(b"\0") else name


@every_option
@pytest.mark.parametrize("locale", [{}, ASCII], ids=["utf-8", "ascii"])
def test_no_name_of_a_client_ends_a_server_and_a_program_sees_the_name(
    option: str, locale: dict[str, str], tmp_path: Path
) -> None:
    path = str(tmp_path / "socket")
    paths = [os.fsencode(tmp_path) + b"/\xff=\n", os.fsencode(tmp_path) + "/中".encode()]
    with listen("-kU", option, PRINT, path, env={**os.environ, **locale}) as server:
        for name in (*NAMES, *paths):
            with client_of(path, name) as conn:
                conn.shutdown(socket.SHUT_WR)
                assert drain(conn) == shown(name) + b"\0"
        server.expect("^Connection received", count=len(NAMES) + len(paths))


@every_option
@pytest.mark.parametrize("name", [*NAMES, b"/own=\xff\n"], ids=[*map(repr, TAILS), "path"])
def test_no_name_of_a_sender_of_datagrams_ends_a_server(option: str, name: bytes, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    own = os.fsencode(tmp_path) + name if name.startswith(b"/") else name
    with listen("-kuU", option, PRINT, path), client_of(path, own, socket.SOCK_DGRAM) as conn:
        conn.send(b"hello")
        assert conn.recv(1 << 10) == shown(own) + b"\0"


@every_option
def test_a_program_does_not_get_the_password_for_a_proxy(option: str) -> None:
    secret = {"PYNC_PROXY_AUTH": "me:secret", "NCAT_PROXY_AUTH": "me:secret", "HARMLESS": "yes"}
    with (
        listen(option, "env", "0", env={**os.environ, **secret}) as server,
        connect(server.port) as conn,
    ):
        variables = drain(conn).split(b"\n")
        assert b"HARMLESS=yes" in variables
        assert not [variable for variable in variables if b"PROXY_AUTH" in variable or b"secret" in variable]


def test_a_variable_without_a_name_is_no_obstacle() -> None:
    with announced(Running(["env", "=nameless", *PYNC, "-vl", "-e", "echo hi", "0"])) as server:
        with connect(server.port) as conn:
            assert drain(conn) == b"hi\n"
        assert server.wait() == 0


@every_option
def test_a_program_does_not_have_our_terminal(option: str) -> None:
    command = "sh -c 'cut -d\" \" -f1,6,7 /proc/self/stat; (: </dev/tty) 2>&1 && echo open; true'"
    with terminal() as (_, screen), listen("-d", option, command, "0", stdin=screen, **controlled()) as server:
        with connect(server.port) as conn:
            conn.shutdown(socket.SHUT_WR)
            answer = drain(conn).decode()
        _, session, of_terminal = answer.split()[:3]
        assert (session != str(os.getsid(server.pid)), of_terminal) == (True, "0")
        assert "/dev/tty" in answer and "open" not in answer.split("\n")
        assert server.wait() == 0


# -- Which clients may have a program run, and how many at a time ------------------------------------------------------

WARNING = "pync: warning: any host can run the program on port "


def warnings(*args: str, word: str = "Listening") -> list[str]:
    """The warnings of a server, which has announced all its sockets and then serves a client or nothing."""
    with announced(Running([*PYNC, "-v", *args]), word) as server:
        server.signal(signal.SIGTERM)
        server.wait()
        return [line.replace(str(server.port), "PORT") for line in server.stderr.splitlines() if "warning" in line]


@every_option
@pytest.mark.parametrize("open_to_all", [(), ("-4",), ("-6",), ("0.0.0.0",), ("--deny", "192.0.2.1")], ids=" ".join)
def test_a_server_whose_program_any_host_can_run_warns_once(option: str, open_to_all: tuple[str, ...]) -> None:
    options, hosts = (
        [word for word in open_to_all if word != "0.0.0.0"],
        [*open_to_all][:1] * ("0.0.0.0" in open_to_all),
    )
    assert warnings("-lk", *options, option, "cat", *hosts, "0") == [f"{WARNING}PORT; see --allow"]


def test_a_server_of_datagrams_warns_too() -> None:
    assert warnings("-luk", "-e", "cat", "0", word="Bound") == [f"{WARNING}PORT; see --allow"]


def test_tls_without_certificates_of_the_clients_is_no_restriction(authority: Authority) -> None:
    own = ["--ssl", "--ssl-cert", str(authority.server.chain), "--ssl-key", str(authority.server.key)]
    assert warnings("-lk", *own, "-e", "cat", "0") == [f"{WARNING}PORT; see --allow"]
    trusting = [*own, "--ssl-verify", "--ssl-trustfile", str(authority.trust)]
    assert warnings("-lk", *trusting, "-e", "cat", "0") == []


def test_a_server_that_few_can_reach_or_that_serves_one_client_does_not_warn(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.write_text("127.0.0.1\n")
    assert warnings("-lk", "-e", "cat", "127.0.0.1", "0") == []
    assert warnings("-lk", "--allow", "127.0.0.1", "-e", "cat", "0") == []
    assert warnings("-lk", "--allowfile", str(allowed), "-e", "cat", "0") == []
    assert warnings("-lkU", "-e", "cat", str(tmp_path / "socket")) == []
    assert warnings("-l", "-e", "cat", "0") == []
    assert warnings("-lk", "0") == []


@every_option
def test_a_hundred_programs_run_at_the_same_time_and_no_more(option: str) -> None:
    with listen("-k", option, "cat", "127.0.0.1", "0") as server, contextlib.ExitStack() as stack:
        conns = [stack.enter_context(connect(server.port)) for _ in range(100)]
        for conn in conns:
            conn.sendall(b"served\n")
            assert take(conn, 7) == b"served\n"
        with connect(server.port) as late:
            server.expect("^pync: 100 programs run: the next clients wait, which --max-conns can change$")
            assert len(server.children()) == 100
            late.sendall(b"served\n")
            conns[0].close()
            assert take(late, 7) == b"served\n"


def test_clients_that_wait_for_a_program_have_their_turn_in_order() -> None:
    with listen("-k", "-e", "cat", "127.0.0.1", "0") as server, contextlib.ExitStack() as stack:
        conns = [stack.enter_context(connect(server.port)) for _ in range(104)]
        for number, conn in enumerate(conns):
            conn.sendall(b"%03d" % number)
        for number, conn in enumerate(conns[:100]):
            assert take(conn, 3) == b"%03d" % number
        for number in range(100, 104):
            with conns[number - 100]:
                pass
            assert take(conns[number], 3) == b"%03d" % number
        assert server.stderr.count("the next clients wait") == 1


def test_clients_that_begin_no_handshake_take_no_turn_for_a_program(authority: Authority) -> None:
    server = listen("-k", *ours(authority.server), "-e", "cat", "127.0.0.1", "0")
    with server, contextlib.ExitStack() as stack:
        for _ in range(150):
            stack.enter_context(connect(server.port))
        conn = stack.enter_context(
            client_side(authority).wrap_socket(connect(server.port), server_hostname="localhost")
        )
        conn.sendall(b"served\n")
        assert take(conn, 7) == b"served\n"
        assert "the next clients wait" not in server.stderr
