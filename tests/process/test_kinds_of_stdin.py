"""A stdin that is not what it usually is: not readable, a directory, or one socket together with stdout."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import roles
from clients import drain, take
from harness import DEADLINE, PYNC, Running, connect, failure, listen, require, run, serve
from pairs import lives_on, nothing_from, through
from roles import in_both_roles, listening
from terminals import controlled, terminal

if TYPE_CHECKING:
    from roles import Role

connected = roles.connected
ROOT = Path(__file__).parent.parent.parent


# -- A stdin that cannot be read ---------------------------------------------------------------------------------


@in_both_roles
def test_under_nohup_stdin_is_not_read(role: Role) -> None:
    nohup = through(f'exec {require("nohup")} "$@"')
    with terminal() as (_, screen), role(start=nohup, stdin=screen, **controlled()) as (process, peer):
        assert nothing_from(peer, 1)  # no end-of-file either
        peer.sendall(b"answer")
        peer.close()
        assert process.wait() == 0
        assert process.read_all() == b"answer"
        assert "reading" not in process.stderr


@pytest.mark.parametrize("options", [(), ("-u",), ("-k",), ("--chat",)])
def test_a_server_under_nohup_goes_on(options: tuple[str, ...]) -> None:
    with open(os.devnull, "wb") as unreadable, listen(*options, "127.0.0.1", "0", stdin=unreadable) as process:
        assert lives_on(process.pid, 0.5)


def test_a_file_that_is_open_for_writing_alone_is_not_read(connected: Role, tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as unreadable, connected(stdin=unreadable) as (process, peer):
        assert nothing_from(peer, 0.7)
        peer.close()
        assert process.wait() == 0


# -- A directory -------------------------------------------------------------------------------------------------


def broken_off(conn: socket.socket) -> None:
    """What was to be sent must not look whole, though it looks empty."""
    with pytest.raises(ConnectionResetError):
        conn.recv(1)


def test_a_directory_is_an_error_in_one_line() -> None:
    # Python itself refuses to start with such a stdin. So it becomes one when Python runs.
    code = "import os; os.dup2(os.open('/', os.O_RDONLY), 0); from pync.cli import main; main()"
    with serve(broken_off) as (host, port):
        result = run([sys.executable, "-P", "-c", code, host, str(port)])
    assert result == failure("reading stdin: Is a directory")


def test_the_script_of_a_checkout_refuses_a_directory_before_python_does() -> None:
    directory = os.open("/", os.O_RDONLY)
    try:
        result = run([str(ROOT / "scripts" / "pync"), "127.0.0.1", "9"], directory)
    finally:
        os.close(directory)
    assert result == failure("reading stdin: Is a directory")


# -- One socket as stdin and stdout ------------------------------------------------------------------------------


def test_the_peers_end_is_a_half_close_of_the_socket(connected: Role) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, connected(stdin=theirs.fileno(), stdout=theirs.fileno()) as (process, peer):
        ours.settimeout(DEADLINE)
        peer.shutdown(socket.SHUT_WR)
        assert drain(ours) == b""  # although this test has a descriptor of the same socket
        ours.sendall(b"late")
        assert take(peer, 4) == b"late"
        ours.close()
        assert drain(peer) == b""
        assert process.wait() == 0


@pytest.mark.parametrize("command", ["true", "echo hi", "cat"])
def test_a_pync_that_is_the_program_of_a_server_passes_both_ends_on(command: str) -> None:
    with listen("-k", "-c", command, "127.0.0.1", "0") as target:
        words = " ".join([*PYNC, "127.0.0.1", str(target.port)])
        with listen("-k", "-e", words, "127.0.0.1", "0") as server, connect(server.port) as client:
            if command == "cat":
                client.sendall(b"hi\n")
                client.shutdown(socket.SHUT_WR)
            assert drain(client) == (b"" if command == "true" else b"hi\n")


def test_a_socket_whose_other_side_has_ended_is_left_to_the_commands_after_pync() -> None:
    ours, theirs = socket.socketpair()
    with ours, serve(lambda conn: conn.sendall(b"answer\n")) as (host, port):
        ours.settimeout(DEADLINE)
        ours.shutdown(socket.SHUT_WR)
        script = '"$@"; echo done'
        words = ["sh", "-c", script, "sh", *PYNC, host, str(port)]
        with theirs, Running(words, stdin=theirs.fileno(), stdout=theirs.fileno()) as process:
            theirs.close()
            assert drain(ours) == b"answer\ndone\n"
            assert process.wait() == 0


@listening
def test_a_service_of_inetd_ends_with_its_client(connected: Role) -> None:
    near, far = socket.create_server(("127.0.0.1", 0)), socket.socket()
    far.connect(near.getsockname())
    client = near.accept()[0]
    client.settimeout(DEADLINE)
    with near, far, client, connected(stdin=far.fileno(), stdout=far.fileno()) as (process, peer):
        far.close()
        client.sendall(b"question")
        assert take(peer, 8) == b"question"
        peer.sendall(b"answer")
        peer.shutdown(socket.SHUT_WR)
        assert drain(client) == b"answer"
        client.close()
        assert drain(peer) == b""
        assert process.wait() == 0
