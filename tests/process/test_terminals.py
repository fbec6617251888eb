"""pync as a job of an interactive shell, on a terminal of its own, and on a serial line.

A process in the background that reads its terminal is stopped by the system (SIGTTIN), with its whole process group. So
pync does not read it there, and reads it again when it is in the foreground.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import socket
import struct
import termios
from typing import TYPE_CHECKING

import pytest
import roles
from clients import drain, is_true, line
from harness import PYNC, Running, connect, listen, require
from pairs import client, lives_on, nothing_from
from roles import either_way, in_both_roles
from terminals import controlled, interactive_shell, terminal

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

    from roles import Role
    from terminals import Shell

connected = roles.connected
CTRL_Z = "\x1a"


def unread(screen: IO[bytes]) -> int:
    """Bytes that were typed and not read."""
    (count,) = struct.unpack("i", fcntl.ioctl(screen, termios.FIONREAD, bytes(4)))
    return int(count)


# -- Jobs --------------------------------------------------------------------------------------------------------


def in_background(shell: Shell, *options: str) -> int:
    """Start a listener as `pync … > out &`, and return its port."""
    shell.type(f"{shlex.join(PYNC)} -v -l {' '.join(options)} 127.0.0.1 0 > out &\n")
    return int(shell.expect(r"Listening on \S+ (\d+)")[1])


def type_to_a_busy_shell(shell: Shell) -> None:
    """Type lines that wait in the terminal for a while, until the command that is in the foreground has ended."""
    shell.type("sleep 0.3; echo ready for $((1+1))\n")
    shell.type("echo typed $((1+1))\n")
    shell.expect("ready for 2")
    shell.expect("typed 2")


def at_hand(peer: socket.socket) -> bytes:
    """What has arrived, if anything has."""
    return b"" if nothing_from(peer) else peer.recv(1 << 16)


@pytest.mark.parametrize("options", [(), ("-k",), ("--chat",), ("--broker",), ("-k", "-i", "1ms")])
def test_a_job_in_the_background_is_not_stopped_by_what_is_typed(options: tuple[str, ...], tmp_path: Path) -> None:
    with interactive_shell(tmp_path) as shell, connect(in_background(shell, *options)) as peer:
        shell.expect("Connection received")
        type_to_a_busy_shell(shell)
        shell.type("jobs\n")
        shell.expect("Running")
        assert b"typed" not in at_hand(peer)


def test_a_listener_in_the_background_receives_and_ends(tmp_path: Path) -> None:
    with interactive_shell(tmp_path) as shell:
        with connect(in_background(shell)) as peer:
            shell.expect("Connection received")
            type_to_a_busy_shell(shell)
            peer.sendall(b"data")
        shell.type("wait %1; echo status $?\n")
        shell.expect("status 0")
        assert (tmp_path / "out").read_bytes() == b"data"


def test_in_the_foreground_again_the_terminal_is_read_again(tmp_path: Path) -> None:
    with interactive_shell(tmp_path) as shell, connect(in_background(shell)) as peer:
        shell.expect("Connection received")
        type_to_a_busy_shell(shell)
        shell.type("fg\n")
        shell.expect("pync .*> out")
        shell.type("for the peer\n")
        assert line(peer) == b"for the peer\n"
        shell.type(CTRL_Z)
        shell.expect("Stopped")
        shell.type("bg\n")
        type_to_a_busy_shell(shell)
        shell.type("jobs\n")
        shell.expect("Running")
        shell.type("fg\n")
        shell.expect("pync .*> out")
        shell.type("and more\n")
        assert line(peer) == b"and more\n"


def test_a_job_in_the_background_does_not_stop_its_pipeline(tmp_path: Path) -> None:
    with interactive_shell(tmp_path) as shell:
        shell.type(f"{shlex.join(PYNC)} -v -l 127.0.0.1 0 | cat > out &\n")
        with connect(int(shell.expect(r"Listening on \S+ (\d+)")[1])) as peer:
            shell.expect("Connection received")
            type_to_a_busy_shell(shell)
            shell.type("jobs\n")
            shell.expect("Running")
            peer.sendall(b"data")
        shell.type("wait %1; echo status $?\n")
        shell.expect("status 0")
        assert (tmp_path / "out").read_bytes() == b"data"


def test_a_job_in_the_background_takes_no_processor_time_while_lines_are_typed(tmp_path: Path) -> None:
    with interactive_shell(tmp_path) as shell, connect(in_background(shell)):
        shell.expect("Connection received")
        shell.type("exec sleep 60\n")
        shell.type("a line that no process reads\n")
        (job,) = [child for child in shell.process.children() if b"-l" in cmdline(child)]
        before = cpu_seconds(job)
        assert lives_on(job, 1.5)
        assert cpu_seconds(job) - before < 0.1


def cmdline(pid: int) -> bytes:
    """The words of a process's command."""
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used."""
    with open(f"/proc/{pid}/stat") as file:
        user, system = file.read().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


# -- The terminal of a person ------------------------------------------------------------------------------------


@either_way
def test_a_terminal_as_stdin_ends_with_the_peer(connected: Role) -> None:
    with terminal() as (_, screen), connected(stdin=screen, **controlled()) as (process, peer):
        peer.sendall(b"bye")
        peer.close()
        assert process.wait() == 0
        assert process.read_all() == b"bye"


@in_both_roles
def test_what_is_typed_is_sent_and_control_d_is_the_end(role: Role) -> None:
    with terminal() as (keyboard, screen), role(stdin=screen, **controlled()) as (process, peer):
        keyboard.write(b"typed\n\x04")
        assert drain(peer) == b"typed\n"
        peer.close()
        assert process.wait() == 0


def test_a_terminal_that_hangs_up_ends_it_by_that_signal() -> None:
    with terminal() as (keyboard, screen), client(stdin=screen, **controlled()) as (process, _):
        screen.close()
        keyboard.close()
        assert process.wait() == 129


@pytest.mark.parametrize("options", ["-k", "--chat", "--broker"])
def test_a_server_does_not_read_its_terminal_while_no_client_is_there(options: str) -> None:
    with (
        terminal() as (keyboard, screen),
        listen(options, "127.0.0.1", "0", stdin=screen, **controlled()) as process,
    ):
        keyboard.write(b"early\n")
        assert lives_on(process.pid, 0.3)
        assert unread(screen) == 6
        with connect(process.port):
            is_true(lambda: unread(screen) == 0, "the line is read for the client")


# -- A serial line ------------------------------------------------------------------------------------------------


@either_way
def test_the_answer_of_a_device_on_a_serial_line_outlives_the_peers_half_close(connected: Role) -> None:
    with terminal(raw=True) as (device, line), connected(stdin=line, stdout=line) as (process, peer):
        peer.sendall(b"status?")
        assert os.read(device.fileno(), 7) == b"status?"
        peer.shutdown(socket.SHUT_WR)
        device.write(b"ready")
        assert drain(peer) == b"ready"
        assert process.wait() == 0


def test_a_listener_on_a_serial_line_gives_its_answer_to_socat() -> None:
    with terminal(raw=True) as (device, line), listen("127.0.0.1", "0", stdin=line, stdout=line) as process:
        script = f"printf status? | {require('socat')} -t 5 - TCP:127.0.0.1:{process.port}"
        with Running(["sh", "-c", script]) as socat:
            assert os.read(device.fileno(), 7) == b"status?"
            device.write(b"ready")
            assert socat.finish().status_and_out == (0, b"ready")
            assert process.wait() == 0
