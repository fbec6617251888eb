"""`--raw`: the keys of our terminal go to a shell on a terminal of its own, and ours is afterwards as it was before.

A terminal that is not given back shows nothing of what its user types. So each way in which a session can end is tried,
and the attributes of the terminal are compared with those of before, byte for byte.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import termios
from typing import IO, TYPE_CHECKING, NamedTuple

import encrypted
import pytest
import roles
from clients import drain, is_true, reset, take
from encrypted import ours, trusting
from harness import DEVNULL, PYNC, Running, free_port, listen, pync, require, run, serve
from pairs import client, flood
from roles import in_both_roles, over_tcp
from servers import listening
from terminals import Shell, controlled, interactive_shell, resize, terminal

from pync.stages.window_size import message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from certificates import Authority
    from roles import Role

connected = roles.connected
END = b"\x1d"  # Ctrl-]
ALL_KEYS = bytes(byte for byte in range(256) if byte != END[0])


def attributes(screen: IO[bytes]) -> list[Any]:
    return termios.tcgetattr(screen)


def is_raw(screen: IO[bytes]) -> bool:
    modes = attributes(screen)
    return not (modes[3] & (termios.ICANON | termios.ISIG | termios.ECHO) or modes[1] & termios.OPOST)


@contextlib.contextmanager
def unusual_terminal() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """A terminal whose attributes no program would restore by guessing; they must be the same at the end."""
    with terminal() as (keyboard, screen):
        modes = attributes(screen)
        modes[0] |= termios.IXANY | termios.ISTRIP
        modes[3] |= termios.ECHO | termios.ECHOPRT
        modes[6][termios.VERASE] = b"#"
        termios.tcsetattr(screen, termios.TCSANOW, modes)
        found = attributes(screen)
        yield keyboard, screen
        assert attributes(screen) == found


class Session(NamedTuple):
    """A pync with a terminal in raw mode, and what it is connected to."""

    keyboard: IO[bytes]
    screen: IO[bytes]
    process: Running
    peer: socket.socket


@contextlib.contextmanager
def session(role: Role, *options: str, **kw: Any) -> Iterator[Session]:
    """A pync with `--raw`, once its terminal is raw. In the end the terminal must be as it was before."""
    with (
        unusual_terminal() as (keyboard, screen),
        role("--raw", *options, stdin=screen, **controlled(), **kw) as (process, peer),
    ):
        is_true(lambda: is_raw(screen), "the terminal is raw")
        yield Session(keyboard, screen, process, peer)


# -- What is typed -----------------------------------------------------------------------------------------------


def test_every_key_but_one_is_sent_as_it_is_typed(connected: Role) -> None:
    with session(connected) as (keyboard, _, process, peer):
        for key in b"\x03", b"\x04", b"\x1a", b"\x1c", b"\r", b"\n", b"\x11", b"\x13":
            keyboard.write(key)
            assert take(peer, 1) == key
        keyboard.write(ALL_KEYS)
        assert take(peer, len(ALL_KEYS)) == ALL_KEYS
        peer.sendall(ALL_KEYS + END)
        assert process.read(256) == ALL_KEYS + END
        keyboard.write(END)
        assert drain(peer) == b""
        assert process.wait() == 0


@in_both_roles
@pytest.mark.parametrize("typed", [b"\x1d", b"before\x1dafter", b"x" * 3000 + b"\x1d\x1d"], ids=len)
def test_control_bracket_ends_it_after_what_was_typed_before(typed: bytes, role: Role) -> None:
    with session(role) as (keyboard, _, process, peer):
        keyboard.write(typed)
        assert drain(peer) == typed.partition(END)[0]
        assert process.wait() == 0


@pytest.mark.parametrize("role", ["client", "listener"])
def test_control_bracket_ends_tls_properly(role: str, authority: Authority) -> None:
    with unusual_terminal() as (keyboard, screen):
        given: dict[str, Any] = {"stdin": screen, **controlled()}
        pair = (
            encrypted.client(encrypted.server_side(authority.server), "--raw", *trusting(authority), **given)
            if role == "client"
            else encrypted.listener(encrypted.client_side(authority), "--raw", *ours(authority.server), **given)
        )
        with pair as (process, peer):
            is_true(lambda: is_raw(screen), "the terminal is raw")
            keyboard.write(b"before\x1d")
            assert drain(peer) == b"before"  # to a close_notify, or else reading fails
            assert process.wait() == 0


def test_control_bracket_does_not_wait_for_a_peer_that_stays(connected: Role) -> None:
    with session(connected) as (keyboard, _, process, _):
        keyboard.write(END)
        assert process.wait(5) == 0


@in_both_roles
def test_a_flood_that_the_terminal_does_not_show_does_not_hold_up_control_bracket(role: Role) -> None:
    with (
        unusual_terminal() as (keyboard, screen),
        role("--raw", stdin=screen, stdout=screen, **controlled()) as (process, peer),
    ):
        is_true(lambda: is_raw(screen), "the terminal is raw")
        flood(peer, bytes(1 << 16))
        keyboard.write(END)
        assert process.wait(5) == 0


def test_the_next_prompt_begins_a_line(tmp_path: Path) -> None:
    with interactive_shell(tmp_path) as shell:
        peer, _ = raw_job(shell)
        with peer:
            is_true(lambda: is_raw(shell.keyboard), "the terminal is raw")
            peer.send(b"there> ")
            shell.expect("there> ")
            shell.type(END.decode())
            shell.expect("^\r\nready> ")


def test_with_a_quit_time_the_peer_may_still_answer_after_control_bracket() -> None:
    with session(client, "-q", "60", "-N") as (keyboard, screen, process, peer):
        keyboard.write(b"question" + END)
        assert drain(peer) == b"question"
        is_true(lambda: not is_raw(screen), "the terminal is given back")
        peer.sendall(b"answer")
        peer.close()
        assert process.finish().status_and_out == (0, b"answer")


# -- The terminal is given back --------------------------------------------------------------------------------------


ENDS: dict[str, tuple[Callable[[Session], object], int]] = {
    "the peer ends": (lambda it: it.peer.close(), 0),
    "the peer half-closes": (lambda it: it.peer.shutdown(socket.SHUT_WR), 0),
    "Ctrl-]": (lambda it: it.keyboard.write(END), 0),
    "SIGTERM": (lambda it: it.process.signal(signal.SIGTERM), 143),
    "SIGHUP": (lambda it: it.process.signal(signal.SIGHUP), 129),
    "SIGQUIT": (lambda it: it.process.signal(signal.SIGQUIT), 131),
    "SIGINT": (lambda it: it.process.signal(signal.SIGINT), 130),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_terminal_is_given_back(end: str, connected: Role) -> None:
    deed, status = ENDS[end]
    with session(connected) as it:
        deed(it)
        assert it.process.wait() == status


@over_tcp
def test_the_terminal_is_given_back_when_the_connection_breaks(connected: Role) -> None:
    with session(connected) as it:
        reset(it.peer)
        assert it.process.wait() == 1
        assert "Connection reset by peer" in it.process.stderr


@in_both_roles
def test_the_terminal_is_given_back_by_a_limit(role: Role) -> None:
    with session(role, "--idle-timeout", "300ms") as it:
        assert it.process.wait() == 124


@in_both_roles
def test_the_terminal_is_given_back_when_no_process_reads_stdout(role: Role) -> None:
    reading, writing = os.pipe()
    with session(role, stdout=writing) as it:
        os.close(writing)
        os.close(reading)
        it.peer.sendall(b"data")
        assert it.process.wait() == 141


def test_the_terminal_is_given_back_before_a_failure_is_reported() -> None:
    with unusual_terminal() as (keyboard, screen):
        popen: dict[str, Any] = {"stdin": screen, "stdout": screen, "stderr": screen}
        with client("--raw", **popen, **controlled()) as (process, peer):
            is_true(lambda: is_raw(screen), "the terminal is raw")
            reset(peer)
            Shell(keyboard, process).expect(r"pync: [^\r]*Connection reset by peer\r\n")
            assert not is_raw(screen)
            assert process.wait() == 1


def test_the_terminal_is_not_raw_between_two_connections() -> None:
    with unusual_terminal() as (keyboard, screen), socket.create_server(("127.0.0.1", 0)) as server:
        words = ["--raw", "--reconnect", "60", "127.0.0.1", str(server.getsockname()[1])]
        with pync(*words, stdin=screen, **controlled()) as process:
            for key in b"1", b"2":
                with server.accept()[0] as peer:
                    is_true(lambda: is_raw(screen), "the terminal is raw")
                    keyboard.write(key)
                    assert take(peer, 1) == key
            server.close()
            is_true(lambda: not is_raw(screen), "the terminal is given back")
            keyboard.write(b"\x03")
            assert process.wait() == 130


def test_control_bracket_ends_a_connection_after_which_there_would_be_another() -> None:
    with session(client, "--reconnect", "60") as (keyboard, _, process, peer):
        keyboard.write(b"last" + END)
        assert drain(peer) == b"last"
        assert process.wait() == 0


# -- It was never raw --------------------------------------------------------------------------------------------


def test_control_c_ends_a_listener_that_waits() -> None:
    with (
        unusual_terminal() as (keyboard, screen),
        listen("--raw", "127.0.0.1", "0", stdin=screen, **controlled()) as process,
    ):
        assert not is_raw(screen)
        keyboard.write(b"\x03")
        assert process.wait() == 130


def test_a_connection_that_is_refused_leaves_the_terminal_alone() -> None:
    with (
        unusual_terminal() as (_, screen),
        free_port() as port,
        pync("--raw", "127.0.0.1", str(port), stdin=screen, **controlled()) as process,
    ):
        assert process.wait() == 1


def test_a_handshake_that_fails_leaves_the_terminal_alone(authority: Authority) -> None:
    with unusual_terminal() as (_, screen), serve(lambda conn: conn.sendall(b"no TLS\n")) as (host, port):
        words = ["--raw", *trusting(authority), host, str(port)]
        with pync(*words, stdin=screen, **controlled()) as process:
            assert process.wait() == 1


def test_stdin_has_to_be_a_terminal() -> None:
    for words in ["127.0.0.1", "1"], ["-l", "127.0.0.1", "0"]:
        result = run([*PYNC, "--raw", *words], stdin=DEVNULL)
        assert result == (2, b"", "pync: --raw: stdin is not a terminal\nTry 'pync --help'.\n")


def test_several_ports_are_refused() -> None:
    result = run([*PYNC, "--raw", "127.0.0.1", "1", "2"], stdin=DEVNULL)
    assert result == (2, b"", "pync: --raw with several ports: a terminal is for one connection\nTry 'pync --help'.\n")


# -- Signals that stop it ----------------------------------------------------------------------------------------


def raw_job(shell: Shell) -> tuple[Running, int]:
    """A listener that a shell has connected to on its terminal as `pync --raw`, and the job's process id."""
    peer = listen("127.0.0.1", "0")
    shell.type(f"{shlex.join(PYNC)} --raw 127.0.0.1 {peer.port}\n")
    peer.expect("^Connection received")
    (job,) = shell.process.children()
    return peer, job


@pytest.mark.parametrize("stop", [signal.SIGTSTP, signal.SIGSTOP])
def test_it_can_be_stopped_and_is_raw_again_in_the_foreground(stop: signal.Signals, tmp_path: Path) -> None:
    with interactive_shell(tmp_path) as shell:
        peer, job = raw_job(shell)
        with peer:
            is_true(lambda: is_raw(shell.keyboard), "the terminal is raw")
            for word in b"first", b"second":
                os.kill(job, stop)
                shell.expect("Stopped")
                shell.type("echo typed $((1+1))\n")
                shell.expect("typed 2")
                assert not is_raw(shell.keyboard)
                shell.type("fg\n")
                is_true(lambda: is_raw(shell.keyboard), "the terminal is raw again")
                shell.type(word.decode())
                assert peer.read(len(word)) == word
            shell.type(END.decode())
            shell.expect(r"pync --raw [^\r]*\r\n\r\nready> ")
            shell.type("echo status $?\n")
            shell.expect("status 0")


def test_in_the_background_it_leaves_the_terminal_to_the_shell(tmp_path: Path) -> None:
    with interactive_shell(tmp_path) as shell:
        peer, job = raw_job(shell)
        with peer:
            is_true(lambda: is_raw(shell.keyboard), "the terminal is raw")
            os.kill(job, signal.SIGTSTP)
            shell.expect("Stopped")
            shell.type("bg\n")
            for _ in range(3):
                shell.type("sleep 0.3; echo typed $((1+1))\n")
                shell.expect("typed 2")
                assert not is_raw(shell.keyboard)
            shell.type("fg\n")
            is_true(lambda: is_raw(shell.keyboard), "the terminal is raw again")
            shell.type("key")
            assert peer.read(3) == b"key"
            os.kill(job, signal.SIGTERM)
            shell.expect("Terminated")
            shell.type("echo typed $((1+1))\n")
            shell.expect("typed 2")
            assert not is_raw(shell.keyboard)


def test_a_job_that_is_moved_to_the_foreground_is_raw_there(tmp_path: Path) -> None:
    with interactive_shell(tmp_path) as shell, listen("127.0.0.1", "0") as peer:
        shell.type(f"{shlex.join(PYNC)} --raw 127.0.0.1 {peer.port} &\n")
        peer.expect("^Connection received")
        shell.type("echo typed $((1+1))\n")
        shell.expect("typed 2")
        assert not is_raw(shell.keyboard)
        shell.type("fg\n")
        is_true(lambda: is_raw(shell.keyboard), "the terminal is raw")
        shell.type("key" + END.decode())
        assert peer.read_all() == b"key"
        is_true(lambda: not is_raw(shell.keyboard), "the terminal is given back")


def test_a_stop_that_the_system_ignores_changes_nothing() -> None:
    with session(client) as it:  # its process group is an orphan, which SIGTSTP does not stop
        it.process.signal(signal.SIGTSTP)
        for key in b"1", b"2":
            it.keyboard.write(key)
            assert take(it.peer, 1) == key
        is_true(lambda: is_raw(it.screen), "the terminal is raw")
        it.keyboard.write(END)
        assert it.process.wait() == 0


@in_both_roles
def test_a_terminal_that_hangs_up_ends_it_by_that_signal(role: Role) -> None:
    with terminal() as (keyboard, screen), role("--raw", stdin=screen, **controlled()) as (process, _):
        is_true(lambda: is_raw(screen), "the terminal is raw")
        screen.close()
        keyboard.close()
        assert process.wait() == 129


# -- Messages ----------------------------------------------------------------------------------------------------


def test_messages_begin_at_the_left_while_the_terminal_is_raw() -> None:
    with unusual_terminal() as (keyboard, screen):
        popen: dict[str, Any] = {"stdin": screen, "stdout": DEVNULL, "stderr": screen}
        with client("--raw", "-v", **popen, **controlled()) as (process, peer):
            is_true(lambda: is_raw(screen), "the terminal is raw")
            process.signal(signal.SIGUSR1)
            Shell(keyboard, process).expect(r"^[^\n]*[^\r\n]\r\n(?:[^\r\n]+\r\n)+$")
            peer.close()
            assert process.wait() == 0


def test_messages_in_a_file_end_as_always() -> None:
    with session(client) as it:
        it.process.signal(signal.SIGUSR1)
        it.process.expect(r"^pync: [^\r\n]*\n")
        it.peer.close()
        assert it.process.wait() == 0
        assert "\r" not in it.process.stderr


# -- A shell at the other side -----------------------------------------------------------------------------------

BASH = "EXEC:bash --norc --noprofile -i,pty,stderr,setsid,ctty,sigint,sane"
ENVIRONMENT = {**os.environ, "PS1": "there> ", "HISTFILE": "/dev/null", "TERM": "dumb"}


@contextlib.contextmanager
def on_a_terminal(*words: str) -> Iterator[tuple[Shell, IO[bytes]]]:
    """A pync that has the terminal for all three."""
    with unusual_terminal() as (keyboard, screen):
        popen: dict[str, Any] = {"stdin": screen, "stdout": screen, "stderr": screen}
        with pync(*words, **popen, **controlled()) as process:
            yield Shell(keyboard, process), screen


@contextlib.contextmanager
def bound_shell(kind: str, folder: Path, authority: Authority) -> Iterator[Shell]:
    """A shell that socat serves, and a pync that has connected to it."""
    where, words = {
        "TCP": ("TCP-LISTEN:0,bind=127.0.0.1", ["127.0.0.1"]),
        "TLS": (
            f"OPENSSL-LISTEN:0,bind=127.0.0.1,cert={authority.server.both},verify=0",
            [*trusting(authority), "localhost"],
        ),
        "unix": (f"UNIX-LISTEN:{folder}/socket", ["-U", f"{folder}/socket"]),
    }[kind]
    with Running([require("socat", "bash"), where, BASH], env=ENVIRONMENT, cwd=folder) as socat:
        if kind == "unix":
            is_true((folder / "socket").exists, "socat listens")
        else:
            words = [*words, str(listening(socat).port)]
        with on_a_terminal("--raw", *words) as (shell, _):
            yield shell


@contextlib.contextmanager
def reverse_shell(kind: str, folder: Path, authority: Authority) -> Iterator[Shell]:
    """A pync that listens, and a shell that socat has connected to it."""
    tls = ours(authority.server) if kind == "TLS" else ()
    where = ["-U", f"{folder}/socket"] if kind == "unix" else ["127.0.0.1", "0"]
    with on_a_terminal("-v", "-l", "--raw", *tls, *where) as (shell, _):
        port = shell.expect(r"Listening on \S+(?: (\d+))?\r\n")[1]
        goal = {
            "TCP": f"TCP:127.0.0.1:{port}",
            "TLS": f"OPENSSL:localhost:{port},cafile={authority.trust}",
            "unix": f"UNIX-CONNECT:{folder}/socket",
        }[kind]
        with Running([require("socat", "bash"), goal, BASH], env=ENVIRONMENT, cwd=folder):
            yield shell


@pytest.mark.parametrize("kind", ["TCP", "TLS", "unix"])
@pytest.mark.parametrize("way", [bound_shell, reverse_shell], ids=["bind", "reverse"])
def test_a_shell_there_has_its_job_control_and_its_editor(
    way: Callable[..., Any], kind: str, tmp_path: Path, authority: Authority
) -> None:
    with way(kind, tmp_path, authority) as shell:
        for key, shown in ("\x03", "there> "), ("\x1a", "Stopped"):
            shell.type("sh -c 'echo begun; exec sleep 100'\r")  # it is in the foreground when it says so
            shell.expect("\nbegun\r\n")
            shell.type(key)
            shell.expect(shown)
            shell.type("echo status $?\r")
            shell.expect("status (130|148)\r\n")
        shell.type("echo one \x7f\x7f\x7f\x7ftwo\r")
        shell.expect("\ntwo\r\n")
        shell.type("exec true\r")
        assert shell.process.wait() == 0


def test_vi_there_writes_a_file(tmp_path: Path, authority: Authority) -> None:
    require("vi")
    with bound_shell("TCP", tmp_path, authority) as shell:
        shell.expect("there> ")
        shell.type("TERM=xterm vi -u NONE file\r")
        shell.expect("~")
        shell.type("ifirst\rsecomd\x1b")
        shell.type("Fmrn")
        shell.type(":wq\r")
        shell.expect("there> ")
        assert (tmp_path / "file").read_text() == "first\nsecond\n"
        shell.type(END.decode())
        assert shell.process.wait() == 0


def test_keys_reach_a_server_of_websocket() -> None:
    with listen("--ws", "127.0.0.1", "0") as server, unusual_terminal() as (keyboard, screen):
        words = ["--raw", f"ws://127.0.0.1:{server.port}/"]
        with pync(*words, stdin=screen, **controlled()) as process:
            is_true(lambda: is_raw(screen), "the terminal is raw")
            keyboard.write(b"\x03")
            assert server.read(1) == b"\x03"
            server.send(b"answer")
            assert process.read(6) == b"answer"
            keyboard.write(b"last" + END)
            assert process.wait() == 0
            assert server.read_all() == b"last"


# -- The size of the window --------------------------------------------------------------------------------------


@in_both_roles
def test_the_size_of_the_window_is_sent_at_first_and_when_it_changes(role: Role) -> None:
    with terminal() as (keyboard, screen):
        resize(screen, 24, 80)
        with role("--raw", "--window-size", stdin=screen, **controlled()) as (process, peer):
            assert take(peer, 9) == message(24, 80)
            keyboard.write(b"\xffkey")
            assert take(peer, 5) == b"\xff\xffkey"
            resize(keyboard, 255, 132)
            assert take(peer, 10) == message(255, 132)
            keyboard.write(END)
            assert drain(peer) == b""
            assert process.wait() == 0


# -- pync at both sides ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def bound_pync(*options: str) -> Iterator[Shell]:
    """A shell that pync serves, and a pync that has connected to it."""
    with (
        listen("--pty", *options, "-c", BASH_THERE, "127.0.0.1", "0", env=ENVIRONMENT) as server,
        on_a_terminal("--raw", *options, "127.0.0.1", str(server.port)) as (shell, _),
    ):
        yield shell


@contextlib.contextmanager
def reverse_pync(*options: str) -> Iterator[Shell]:
    """A pync that listens, and a shell that another one has connected to it."""
    with on_a_terminal("-v", "-l", "--raw", *options, "127.0.0.1", "0") as (shell, _):
        port = shell.expect(r"Listening on \S+ (\d+)\r\n")[1]
        with pync("--pty", *options, "-c", BASH_THERE, "127.0.0.1", port, env=ENVIRONMENT):
            yield shell


BASH_THERE = "exec bash --norc --noprofile -i"
pync_at_both_sides = pytest.mark.parametrize("way", [bound_pync, reverse_pync], ids=["bind", "reverse"])
TRAP = "trap 'echo now $(stty size)' WINCH\r"


@pync_at_both_sides
def test_the_window_there_has_the_size_of_the_window_here(way: Callable[..., Any]) -> None:
    with way("--window-size") as shell:
        shell.expect("there> ")
        shell.type("stty size\r")
        shell.expect("\r\n24 80\r\n")  # our terminal has no size yet, so the one there keeps its own
        resize(shell.keyboard, 255, 132)
        shell.type('sh -c \'while [ "$(stty size)" != "255 132" ]; do :; done; stty size\'\r')
        shell.expect("\r\n255 132\r\n")
        shell.type(f'sh -c "{TRAP[:-1]}; echo set; while :; do sleep 0.05; done"\r'.replace("$(", "\\$("))
        shell.expect("\r\nset\r\n")
        resize(shell.keyboard, 10, 20)
        shell.expect("now 10 20\r\n")
        shell.type("\x03")
        shell.expect("there> ")
        shell.type(END.decode())
        assert shell.process.wait() == 0


@pync_at_both_sides
def test_a_shell_on_the_terminal_of_another_pync(way: Callable[..., Any]) -> None:
    with way() as shell:
        shell.expect("there> ")
        shell.type("sh -c 'echo begun; exec sleep 100'\r")
        shell.expect("\nbegun\r\n")
        shell.type("\x03")
        shell.expect("there> ")
        shell.type("echo status $?\r")
        shell.expect("status 130\r\n")
        shell.type("exit 0\r")
        assert shell.process.wait() == 0
