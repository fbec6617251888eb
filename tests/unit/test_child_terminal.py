"""A program on a terminal of its own: what it finds there, its end, and how it notices that no more is typed."""

from __future__ import annotations

import errno
import os
import signal
import sys
import termios
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conformance import Bench, descriptors, gather, join, same
from harness import PAYLOAD, require
from hypothesis import given, settings
from hypothesis import strategies as st
from test_child import Memory, descriptors_left, descriptors_of

from pync.config import Program
from pync.endpoints import child_terminal
from pync.endpoints.child_terminal import ChildOnTerminal, variables
from pync.errors import ProgramError
from pync.loop.tasks import Condition
from pync.relay.flow import Flow
from pync.system import processes, queued

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pync.loop.kernel import Loop

END = b"\x04"


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program is silent sooner than it is for a person."""
    monkeypatch.setattr(child_terminal, "SILENCE", 0.3)
    monkeypatch.setattr(child_terminal, "STARTING", 0.0)


@asynccontextmanager
async def started(loop: Loop, script: str, **environment: str) -> AsyncIterator[ChildOnTerminal]:
    """A shell's command on a terminal, whose end is watched. It is terminated at the end, and leaves no zombie."""
    argv = (require("bash"), "--norc", "--noprofile", "-c", script)
    process = child_terminal.start(loop, Program(argv=argv, terminal=True), {**os.environ, **environment})
    watching = loop.spawn(process.ended(), Condition())
    try:
        yield process
    finally:
        await loop.cancel_and_wait(watching)
        await process.terminate()
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)


async def output(process: ChildOnTerminal) -> bytes:
    """All that it writes until it ends."""
    pieces = []
    while (data := await process.output.read()) is not None:
        pieces.append(data)
    return b"".join(pieces)


async def shown(process: ChildOnTerminal, end: bytes) -> bytes:
    """What it writes up to this."""
    data = b""
    while end not in data:
        data += await process.output.read() or pytest.fail(f"its output ends with {data!r}")
    return data


async def ran(loop: Loop, script: str, **environment: str) -> bytes:
    """What a command writes."""
    async with started(loop, script, **environment) as process:
        return await output(process)


# -- What a program finds ----------------------------------------------------------------------------------------


async def test_its_three_descriptors_are_the_controlling_terminal_of_its_own_session(real_loop: Bench) -> None:
    script = "for fd in 0 1 2; do tty <&$fd; done; tty </dev/tty; ps -o pid=,pgid=,sid=,tpgid= -p $$; echo $$"
    *names, controlling, numbers, pid = (await ran(real_loop, script)).decode().split("\r\n")[:-1]
    assert names[0].startswith("/dev/") and names == [names[0]] * 3
    assert controlling == "/dev/tty"
    assert numbers.split() == [pid] * 4


async def test_a_terminal_is_as_a_login_finds_it(real_loop: Bench) -> None:
    settings = (await ran(real_loop, "stty size; stty -a")).decode()
    assert settings.startswith("24 80\r\n")
    flags = settings.replace(";", " ").split()
    for flag in ("icanon", "isig", "echo", "icrnl", "onlcr", "opost", "ixon"):
        assert flag in flags


async def test_it_has_no_descriptor_of_ours(real_loop: Bench) -> None:
    async with started(real_loop, "echo ready; exec sleep 60") as process:
        await shown(process, b"ready\r\n")
        assert descriptors_of(process.pid) == {0, 1, 2}


async def test_it_does_not_become_our_terminal(real_loop: Bench) -> None:
    def ours() -> str:
        return Path("/proc/self/stat").read_text().rpartition(")")[2].split()[4]

    before = ours()
    assert await ran(real_loop, "echo x") == b"x\r\n"
    assert ours() == before


@pytest.mark.parametrize(("ours", "its"), [("xterm-256color", "xterm-256color"), ("", "vt100"), (None, "vt100")])
def test_the_kind_of_terminal_is_ours_and_its_size_is_not(ours: str | None, its: str) -> None:
    environment = {"A": "b", "LINES": "50", "COLUMNS": "132"} | ({} if ours is None else {"TERM": ours})
    assert variables(environment) == {"A": "b", "TERM": its}


async def test_signals_of_keys_and_of_job_control_have_their_defaults(real_loop: Bench) -> None:
    before = [signal.signal(signum, signal.SIG_IGN) for signum in processes.OF_TERMINALS]
    try:
        ignored = int((await ran(real_loop, "exec grep SigIgn /proc/self/status")).split()[1], 16)
    finally:
        for signum, handler in zip(processes.OF_TERMINALS, before, strict=True):
            signal.signal(signum, handler)
    every = processes.OF_TERMINALS + processes.BACK_TO_DEFAULT
    assert not [signum for signum in every if ignored & 1 << signum - 1]


async def test_its_size_can_be_changed_of_which_it_is_notified(real_loop: Bench) -> None:
    script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done"
    async with started(real_loop, script) as process:
        await shown(process, b"ready\r\n")
        process.resize(50, 132)
        assert await output(process) == b"50 132\r\n"
        process.close()
        process.resize(1, 1)


@pytest.mark.parametrize("by", ["fork", "posix_spawn"])
async def test_without_the_systems_help_it_is_forked(
    real_loop: Bench, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise NotImplementedError("setsid")

    if by == "fork":
        monkeypatch.setattr(os, "posix_spawnp", refuse)
    before = descriptors()
    assert await ran(real_loop, "tty </dev/tty; [ -t 0 -a -t 1 -a -t 2 ]; echo $?") == b"/dev/tty\r\n0\r\n"
    assert descriptors() == before


# -- What cannot be started --------------------------------------------------------------------------------------


def refused(loop: Loop, *argv: str) -> tuple[str, bool]:
    with pytest.raises(ProgramError) as raised:
        child_terminal.start(loop, Program(argv=argv, terminal=True), os.environ)
    return str(raised.value), raised.value.found


async def test_a_program_that_does_not_exist_is_not_found(real_loop: Bench, tmp_path: Path) -> None:
    before = descriptors()
    assert refused(real_loop, "no-such-program") == ("no-such-program: No such file or directory", False)
    assert refused(real_loop, str(tmp_path)) == (f"{tmp_path}: Permission denied", True)
    assert descriptors() == before


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (errno.ENOSPC, "none is left"),
        (errno.EAGAIN, "none is left"),
        (errno.ENOENT, "No such file or directory"),
    ],
)
async def test_without_a_terminal_it_is_not_started(
    real_loop: Bench, code: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> tuple[int, int]:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "openpty", refuse)
    assert refused(real_loop, "cat") == (f"cat: no terminal for it: {why}", True)


@pytest.mark.parametrize("free", range(3))
async def test_without_descriptors_it_is_not_started_and_nothing_is_left(real_loop: Bench, free: int) -> None:
    before = descriptors()
    with descriptors_left(free):
        assert refused(real_loop, "cat") == ("cat: no terminal for it: Too many open files", True)
    assert descriptors() == before


@pytest.mark.parametrize("call", ["dup", "posix_spawnp"])
async def test_a_bug_at_its_start_leaves_nothing(real_loop: Bench, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> int:
        raise MemoryError

    before = descriptors()
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(os, call, fail)
        child_terminal.start(real_loop, Program(argv=("cat",), terminal=True), os.environ)
    assert descriptors() == before


# -- Its output --------------------------------------------------------------------------------------------------


async def test_all_of_much_output_comes(real_loop: Bench) -> None:
    expected = b"".join(b"%d\r\n" % number for number in range(1, 300_001))
    same([await ran(real_loop, "seq 300000")], [expected])


@pytest.mark.parametrize("held", ["", "sleep 60 & "], ids=["alone", "held by another process"])
@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 9000])
async def test_what_is_in_the_terminal_when_the_program_ends_comes(real_loop: Bench, held: str, size: int) -> None:
    async with started(real_loop, f"{held}head -c {size} /dev/zero | tr '\\0' x") as process:
        while process.status is None:  # before anything is read
            await real_loop.sleep(0.01)
            if size > 4096 and queued_enough(process):
                break
        same([await output(process)], [b"x" * size])


def queued_enough(process: ChildOnTerminal) -> bool:
    """Whether so much waits in the terminal that the program may not be able to end."""
    return queued(process.output.fd or 0) >= 4095


async def test_after_the_programs_end_another_process_that_writes_on_is_not_waited_for(real_loop: Bench) -> None:
    async with started(real_loop, "trap '' HUP; echo first; yes & exit") as process:
        written = await output(process)
    assert written.startswith(b"first\r\n") and len(written) < 2 * child_terminal.HELD + 65536


async def test_a_terminal_that_no_process_has_open_is_no_end_while_the_program_runs(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_terminal, "LOOK", 0.01)
    script = "exec 0<&- 1<&- 2<&-; sleep 0.1; exec >/dev/tty; echo again"
    assert await ran(real_loop, "echo first; " + script) == b"first\r\nagain\r\n"


# -- Its input ---------------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.lists(st.integers(0, 5000), max_size=5))
async def test_however_it_is_cut_every_byte_is_typed(real_loop: Bench, sizes: list[int]) -> None:
    data = PAYLOAD(sum(sizes))
    async with started(real_loop, "stty raw -echo; echo ready; exec cat") as process:
        await shown(process, b"ready\n")

        async def typing() -> None:
            rest = data
            for size in sizes:
                await Flow(real_loop, Memory(rest[:size]), process.input).copy()
                rest = rest[size:]

        task = real_loop.spawn(typing(), Condition())
        chunks = await gather(process.output.read, len(data))
        await join(real_loop, task)
    same(chunks, [data])


@pytest.mark.parametrize("text", [b"", b"a line\n", b"no end", b"two\nlines", b"ends with a return\r"])
async def test_a_program_that_takes_lines_reads_an_end_of_file(real_loop: Bench, text: bytes) -> None:
    async with started(real_loop, "stty -echo; echo ready; cat; echo end") as process:
        await shown(process, b"ready\r\n")
        if text:
            await process.input.write(text)
        task = real_loop.spawn(process.input.send_eof(), Condition())
        expected = text.replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        assert await output(process) == expected + b"end\r\n"
        await join(real_loop, task)


async def test_each_reader_of_a_shell_reads_the_end_of_file(real_loop: Bench) -> None:
    async with started(real_loop, "cat; cat; echo end") as process:
        task = real_loop.spawn(process.input.send_eof(), Condition())
        assert await output(process) == b"end\r\n"
        await join(real_loop, task)


@pytest.mark.parametrize("mode", ["-icanon", "-icanon -isig"])
@pytest.mark.parametrize(("trap", "seen"), [("trap 'echo hung up; exit' HUP", b"hung up"), ("trap '' HUP", b"")])
async def test_a_program_that_takes_single_keys_gets_the_key_if_keys_mean_something_and_is_hung_up(
    real_loop: Bench, mode: str, trap: str, seen: bytes
) -> None:
    script = f"{trap}; stty -echo {mode}; echo ready; cat -v; true"
    async with started(real_loop, script) as process:
        await shown(process, b"ready\r\n")
        await process.input.write(b"a")
        task = real_loop.spawn(process.input.send_eof(), Condition())
        key = b"" if "isig" in mode else b"^D"
        written = (await output(process)).replace(b"Hangup\r\n", b"")  # which bash reports of its cat
        assert written.rstrip() == b"a" + key + seen
        await join(real_loop, task)


async def test_a_program_whose_output_waits_for_the_peer_is_not_silent(real_loop: Bench) -> None:
    async with started(real_loop, "stty raw -echo; echo ready; seq 100000; echo end") as process:
        assert (await process.output.read() or b"").startswith(b"ready\n")
        task = real_loop.spawn(process.input.send_eof(), Condition())
        await real_loop.sleep(5 * child_terminal.SILENCE)  # much more than until the hanging up
        assert (await output(process)).endswith(b"100000\nend\n")
        await join(real_loop, task)


@pytest.mark.parametrize("lacks", ["key", "mode"])
async def test_without_an_end_of_file_key_the_program_is_hung_up(
    real_loop: Bench, lacks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int) -> list[object]:
        raise termios.error(errno.EIO, os.strerror(errno.EIO))

    async with started(real_loop, f"stty -echo {'eof undef' if lacks == 'key' else ''}; echo ready; cat") as process:
        await shown(process, b"ready\r\n")
        if lacks == "mode":
            monkeypatch.setattr(termios, "tcgetattr", refuse)
        task = real_loop.spawn(process.input.send_eof(), Condition())
        assert await output(process) == b""
        assert await process.ended() == 129
        await join(real_loop, task)


# -- Its session -------------------------------------------------------------------------------------------------

# Jobs are found in a list of all processes.
finds_jobs = pytest.mark.needs("linux", "proc", "waitid")
JOB = "set -m; sleep 60 & echo $!; "  # it has a process group of its own


@asynccontextmanager
async def watched(loop: Loop, pid: int) -> AsyncIterator[int]:
    """A descriptor that is readable once a process has ended, which is killed afterwards."""
    fd = os.pidfd_open(pid)
    try:
        yield fd
    finally:
        loop.forget(fd)
        try:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.close(fd)


async def ends(loop: Loop, fd: int, seconds: float = 10) -> bool:
    return await loop.readable(fd, loop.clock() + seconds)


@finds_jobs
@pytest.mark.parametrize(
    ("job", "survives"),
    [(JOB, False), ("nohup sleep 60 >/dev/null 2>&1 & echo $!; ", True), ("setsid sleep 60 & echo $!; ", True)],
    ids=["job", "nohup", "setsid"],
)
async def test_after_a_proper_end_the_rest_of_the_session_is_hung_up(
    real_loop: Bench, job: str, survives: bool
) -> None:
    async with started(real_loop, f"stty -echo; {job}read; exit 3") as process:
        pid = int(await shown(process, b"\r\n"))
        async with watched(real_loop, pid) as left:
            while Path(f"/proc/{pid}/comm").read_text() != "sleep\n":
                await real_loop.sleep(0.01)
            await process.input.write(b"\n")
            assert await output(process) == b""
            assert await process.ended() == 3
            process.reap()
            assert await ends(real_loop, left, 0.3 if survives else 10) is not survives


@finds_jobs
@pytest.mark.parametrize("stopped", ["", "kill -STOP $!; "])
@pytest.mark.parametrize("ignores", ["", "trap '' HUP; ", "trap '' HUP TERM; "])
async def test_all_jobs_of_a_broken_session_are_terminated(real_loop: Bench, ignores: str, stopped: str) -> None:
    async with started(real_loop, f"{ignores}{JOB}{stopped}echo; cat") as process:
        pid = int((await shown(process, b"\r\n\r\n")).split()[0])
        async with watched(real_loop, pid) as left:
            assert os.getpgid(pid) == pid
            await process.terminate()
            assert await ends(real_loop, left)
            assert process.reaped


async def test_without_a_list_of_processes_the_leaders_group_is_signalled(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> list[str]:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    async with started(real_loop, "echo; cat") as process:
        await shown(process, b"\r\n")
        with monkeypatch.context() as patch:
            patch.setattr(os, "listdir", refuse)
            await process.terminate()
        assert process.status == 129


def test_the_session_of_a_process_that_has_ended_is_not_known() -> None:
    assert processes.session_of(os.getpid()) == os.getsid(0)
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", ""], os.environ)
    os.waitpid(pid, 0)
    assert processes.session_of(pid) is None


def test_the_end_of_file_key_is_what_the_terminal_says() -> None:
    master, slave = os.openpty()
    assert termios.tcgetattr(master)[6][termios.VEOF] == END
    os.close(master)
    os.close(slave)
