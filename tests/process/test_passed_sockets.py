"""Sockets that were passed to pync: by a service manager (sd_listen_fds(3), sd_notify(3)), or by inetd as stdin."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest
from clients import datagrams, drain, unix_client
from harness import DEADLINE, DEVNULL, PYNC, Result, Running, connect, require, run
from network import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHOW = (
    "echo ${LISTEN_FDS-none} ${LISTEN_PID-none} ${LISTEN_FDNAMES-none} ${NOTIFY_SOCKET-none}; ls /proc/$$/fd | tail -1"
)


def activated(sockets: dict[str, socket.socket], *options: str) -> list[str]:
    """The command that runs pync with these sockets, by name, as systemd passes them."""
    moves = " ".join(f"{3 + place}<&{sock.fileno()}" for place, sock in enumerate(sockets.values()))
    script = f'LISTEN_PID=$$ LISTEN_FDS={len(sockets)} LISTEN_FDNAMES={":".join(sockets)} exec "$@" {moves}'
    return ["/bin/bash", "-c", script, "sh", *PYNC, *options]


@contextlib.contextmanager
def passing(sockets: dict[str, socket.socket], *options: str) -> Iterator[Running]:
    fds = [sock.fileno() for sock in sockets.values()]
    with Running(activated(sockets, *options), stdin=DEVNULL, pass_fds=fds) as server:
        yield server


def refused(sockets: dict[str, socket.socket], *options: str) -> Result:
    return run(activated(sockets, *options), pass_fds=[sock.fileno() for sock in sockets.values()])


def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def ask(sock: socket.socket, question: bytes = b"") -> bytes:
    with sock:
        sock.sendall(question)
        sock.shutdown(socket.SHUT_WR)
        return drain(sock)


def test_streams_of_several_kinds_are_served_by_one_process(tmp_path: Path) -> None:
    path = tmp_path / "unix"
    with listener() as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))
        unix.listen()
        with passing({"a": tcp, "b": unix}, "-lkv", "-c", "echo $PYNC_PROTO; cat") as server:
            assert ask(connect(tcp.getsockname()[1]), b"hello\n") == b"TCP\nhello\n"
            assert ask(unix_client(path), b"hello\n") == b"UNIX\nhello\n"
            assert f"Listening on {path}\n" in server.stderr
            server.signal(signal.SIGTERM)
            assert server.wait() == 128 + signal.SIGTERM
        assert path.exists()  # it is not pync's


def test_programs_get_neither_the_variables_nor_the_sockets(tmp_path: Path) -> None:
    with listener() as tcp, passing({"a": tcp}, "-lk", "-c", SHOW):
        words = ask(connect(tcp.getsockname()[1])).split()
        assert words[:4] == [b"none"] * 4
        assert int(words[4]) <= 3  # the listing's own


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_process_1_of_a_container_hands_its_sockets_on_to_the_child_that_serves() -> None:
    require("unshare")
    with listener() as tcp:
        argv = ["unshare", "--pid", "--fork", "--kill-child", *activated({"a": tcp}, "-lv", "-c", "echo hello")]
        with Running(argv, stdin=DEVNULL, pass_fds=[tcp.fileno()]) as server:
            server.expect("^Listening on ")
            assert ask(connect(tcp.getsockname()[1])) == b"hello\n"
            assert server.wait() == 0


def test_a_name_chooses_among_the_sockets() -> None:
    with listener() as first, listener() as second:
        with passing({"a": first, "b": second}, "-lkv", "--fd-name", "b", "-c", "echo b") as server:
            server.expect(f"Listening on 127.0.0.1 {second.getsockname()[1]}\n")
            assert ask(connect(second.getsockname()[1])) == b"b\n"
            assert str(first.getsockname()[1]) not in server.stderr
        result = refused({"a": first}, "-l", "--fd-name", "c")
        assert (result.status, result.err) == (1, "pync: use socket c: the sockets that were passed to pync are a\n")


def test_without_many_the_first_client_is_the_only_one() -> None:
    with listener() as tcp, passing({"a": tcp}, "-l") as server:
        assert ask(connect(tcp.getsockname()[1]), b"hello\n") == b""
        assert server.finish() == Result(0, b"hello\n", "")


def test_datagrams_are_those_of_all_senders() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        with passing({"a": udp}, "-lku", "-e", "/bin/cat"):
            for _ in range(2):
                with datagrams(udp.getsockname()[1]) as peer:
                    peer.send(b"hello")
                    assert peer.recv(100) == b"hello"


def test_unix_datagrams_are_received(tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one,
    ):
        sock.bind(str(tmp_path / "unix"))
        with passing({"a": sock}, "-lkuU") as server:
            one.sendto(b"hello\n", str(tmp_path / "unix"))
            assert server.read(6) == b"hello\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-lku"], "pync: use socket a: it is not for datagrams; leave out -u"),
        (["-lU"], "pync: use socket a: its address is not of the family that was asked for (unix)"),
        (["-l6"], "pync: use socket a: its address is not of the family that was asked for (ipv6)"),
        (["-l", "0"], "pync: -l with an address: sockets were passed to pync (LISTEN_FDS); -l alone listens on them"),
    ],
)
def test_a_socket_that_does_not_fit_is_an_error(options: list[str], message: str) -> None:
    with listener() as tcp:
        result = refused({"a": tcp}, *options)
        assert (result.status, result.err.splitlines()[0]) == (2 if "address:" in message else 1, message)


def test_datagrams_do_not_fit_a_listener_for_streams_nor_one_for_one_sender() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        assert refused({"a": udp}, "-lk") == Result(1, b"", "pync: use socket a: it is for datagrams, which need -u\n")
        assert refused({"a": udp}, "-lu").status == 2


def test_what_is_no_socket_is_an_error(tmp_path: Path) -> None:
    script = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3</dev/null'
    result = run(["/bin/sh", "-c", script, "sh", *PYNC, "-l"])
    assert result.status == 1
    assert result.err.startswith("pync: use descriptor 3 (3): ")


def test_sockets_for_another_process_are_left_alone() -> None:
    env = {**os.environ, "LISTEN_FDS": "1", "LISTEN_PID": "1"}
    assert run([*PYNC, "-l"], env=env).status == 2
    assert run([*PYNC, "-l", "--fd-name", "a"], env=env).status == 2


# -- A connection ------------------------------------------------------------------------------------------------


def accepted() -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection over TCP: ours, and the one to be passed."""
    with listener() as server:
        ours = connect(server.getsockname()[1])
        return ours, server.accept()[0]


def test_a_connection_that_was_passed_is_the_only_client() -> None:
    ours, theirs = accepted()
    with theirs, passing({"connection": theirs}, "-l", "-c", "echo $PYNC_REMOTE_PORT; cat") as server:
        theirs.close()
        port: int = ours.getsockname()[1]
        assert ask(ours, b"hello\n") == b"%d\nhello\n" % port
        assert server.wait() == 0


@pytest.mark.parametrize("options", [["-k"], ["--broker"], ["--also", "0"]], ids=" ".join)
def test_a_connection_that_was_passed_leaves_no_room_for_others(options: list[str]) -> None:
    ours, theirs = accepted()
    with ours, theirs:
        assert refused({"connection": theirs}, "-l", *options).status == 2


def test_a_connection_that_is_denied_ends_the_run() -> None:
    ours, theirs = accepted()
    with ours, theirs:
        result = refused({"connection": theirs}, "-lv", "--deny", "127.0.0.1", "-e", "/bin/cat")
        assert (result.status, result.out) == (1, b"")
        assert "denied: not allowed" in result.err


def test_inetd_passes_the_client_as_stdin_and_stdout() -> None:
    ours, theirs = accepted()
    end = theirs.fileno()
    with (
        theirs,
        Running([*PYNC, "-lv", "-c", "cat; echo end"], stdin=end, stdout=end, stderr=end) as server,
    ):
        theirs.close()
        assert ask(ours, b"hello\n") == b"hello\nend\n"  # and no message
        assert server.wait() == 0


def test_a_client_as_stdin_is_received_from() -> None:
    ours, theirs = accepted()
    with theirs, Running([*PYNC, "-l"], stdin=theirs.fileno()) as server:
        theirs.close()
        assert ask(ours, b"hello\n") == b""
        assert server.finish() == Result(0, b"hello\n", "")


def test_a_client_as_stdin_and_stdout_has_nothing_to_talk_to() -> None:
    ours, theirs = accepted()
    with ours, theirs:
        result = run([*PYNC, "-l"], stdin=theirs.fileno(), stdout=theirs.fileno())
        assert result.status == 2
        assert "-l with the client as stdin: name a program" in result.err


def test_a_socket_pair_as_stdin_is_no_client() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        result = run([*PYNC, "-l"], stdin=theirs.fileno())
        assert (result.status, result.err.splitlines()[0]) == (2, "pync: missing port: as in 'pync -l 8080'")


# -- Notices -----------------------------------------------------------------------------------------------------


def test_the_manager_is_sent_when_pync_is_ready_and_when_it_stops(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(DEADLINE)
        manager.bind(str(tmp_path / "notify"))
        env = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with Running([*PYNC, "-lkv", "127.0.0.1", "0"], stdin=DEVNULL, env=env) as server:
            assert manager.recv(100) == b"READY=1"
            server.expect("^Listening on ")
            server.signal(signal.SIGTERM)
            assert manager.recv(100) == b"STOPPING=1"
            assert server.wait() == 128 + signal.SIGTERM


@pytest.mark.parametrize("place", ["/nowhere/notify", "@pync has no such manager", "vsock:2:1", ""])
def test_a_manager_that_is_not_there_changes_nothing(place: str) -> None:
    with listener() as tcp:
        sockets = {"a": tcp}
        argv = ["env", f"NOTIFY_SOCKET={place}", *activated(sockets, "-l")]
        with Running(argv, stdin=DEVNULL, pass_fds=[tcp.fileno()]) as server:
            ask(connect(tcp.getsockname()[1]))
            assert server.finish() == Result(0, b"", "")


# -- systemd's own activator -------------------------------------------------------------------------------------


@contextlib.contextmanager
def systemd(place: str, options: list[str], *command: str) -> Iterator[Running]:
    require("systemd-socket-activate")
    with Running(["systemd-socket-activate", *options, "-l", place, *PYNC, *command], stdin=DEVNULL) as process:
        process.expect("^Listening on ")
        yield process


@pytest.mark.parametrize(
    ("options", "command"),
    [([], ["-lk"]), (["--accept"], ["-l"]), (["--accept", "--inetd"], ["-l"])],
    ids=["one process", "Accept=yes", "inetd"],
)
def test_under_systemd_socket_activate_clients_are_served(
    options: list[str], command: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "unix"
    with systemd(str(path), options, *command, "-c", f"{SHOW}; cat"):
        for _ in range(2):
            answer = ask(unix_client(path), b"hello\n")
            assert answer.startswith(b"none none none none\n")
            assert answer.endswith(b"hello\n")
