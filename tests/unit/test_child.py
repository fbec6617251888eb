"""Programs: what they are given, that every byte of theirs arrives, and that none of them outlives its client."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import sys
import termios
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conformance import (
    LARGEST,
    Bench,
    Far,
    FarSocket,
    descriptors,
    gather,
    join,
    same,
    terminal,
    turns,
    unix_pair,
)
from doubles import pipe, together
from harness import PAYLOAD, run, success
from hypothesis import given, settings
from hypothesis import strategies as st

from pync.config import Program
from pync.endpoints import Sink, Source, child, child_environment, children
from pync.endpoints.child import TERMINAL, Child, ChildStdout
from pync.errors import ProgramError
from pync.events import Address
from pync.loop.tasks import Cancelled, Condition
from pync.relay.flow import Flow
from pync.system import processes
from pync.system.processes import BACK_TO_DEFAULT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from pync.endpoints import Bytes
    from pync.loop.kernel import Loop

SERVES, FILTERS = "serves", "filters"
both_ways = pytest.mark.parametrize("way", [SERVES, FILTERS])
MIB = 1 << 20


@asynccontextmanager
async def started(loop: Loop, *argv: str, way: str = FILTERS, **environment: str) -> AsyncIterator[Child]:
    """A program that is terminated at the end, and then is no child of ours any more."""
    process = child.start(loop, Program(argv=argv, filters=way == FILTERS), {**os.environ, **environment})
    try:
        yield process
    finally:
        await process.terminate()
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)


class Memory(Source, Sink):
    """A source that gives its data in one read, and a sink that keeps what is written."""

    def __init__(self, data: bytes = b"") -> None:
        self.left = [data] if data else []
        self.written = b""

    async def read(self) -> bytes | None:
        return self.left.pop() if self.left else None

    async def write(self, data: Bytes) -> int:
        self.written += data
        return len(data)

    async def send_eof(self) -> None: ...


class Ran(NamedTuple):
    """What a program made of its input."""

    output: bytes
    status: int


async def through(loop: Loop, *argv: str, data: bytes = b"", way: str = FILTERS, **environment: str) -> Ran:
    """Run a program with this input."""
    memory = Memory(data)
    async with started(loop, *argv, way=way, **environment) as process:
        await together(loop, Flow(loop, memory, process.input).run(), Flow(loop, process.output, memory).run())
        return Ran(memory.written, await process.ended())


async def shell(loop: Loop, script: str, *, data: bytes = b"", way: str = FILTERS, **environment: str) -> Ran:
    """Run a shell script with this input."""
    return await through(loop, "sh", "-c", script, data=data, way=way, **environment)


# -- Every byte arrives, unchanged --------------------------------------------------------------------------------


@both_ways
async def test_every_byte_value_passes_unchanged(real_loop: Bench, way: str) -> None:
    data = bytes(range(256)) * 2
    assert await through(real_loop, "cat", data=data, way=way) == (data, 0)


@both_ways
@pytest.mark.parametrize("attempt", range(20))
async def test_the_tail_of_the_output_arrives(real_loop: Bench, way: str, attempt: int) -> None:
    data = PAYLOAD(MIB + attempt)
    answer, status = await through(real_loop, "cat", data=data, way=way)
    same([answer], [data])
    assert status == 0


@both_ways
async def test_a_filter_of_bulk_is_exact(real_loop: Bench, way: str) -> None:
    data = PAYLOAD(MIB)
    answer, status = await through(real_loop, "tr", "a-z", "A-Z", data=data, way=way, LC_ALL="C")
    same([answer], [data.translate(bytes.maketrans(bytes(range(97, 123)), bytes(range(65, 91))))])
    assert status == 0


@both_ways
async def test_a_program_that_answers_at_the_end_gets_its_end_of_file(real_loop: Bench, way: str) -> None:
    assert await through(real_loop, "sort", data=b"b\na\n", way=way) == (b"a\nb\n", 0)
    assert (await through(real_loop, "wc", "-c", data=PAYLOAD(MIB), way=way)).output.split() == [b"%d" % MIB]


async def test_a_filter_answers_at_once(real_loop: Bench) -> None:
    unbuffered = any(map(os.path.exists, child_environment.LIBSTDBUF))
    words = [b"no", b"newline"] if unbuffered else [b"a line\n", b"another\n"]
    async with started(real_loop, "tr", "a-z", "A-Z") as process:
        for word in words:
            await process.input.write(word)
            assert b"".join(await gather(process.output.read, len(word))) == word.upper()


@both_ways
async def test_what_a_program_does_not_read_is_dropped(real_loop: Bench, way: str) -> None:
    assert await shell(real_loop, "exit 3", data=PAYLOAD(MIB), way=way) == (b"", 3)
    assert await through(real_loop, "head", "-c", "10", data=PAYLOAD(MIB), way=way) == (PAYLOAD(MIB)[:10], 0)


@both_ways
async def test_what_is_written_to_a_closed_input_is_dropped(real_loop: Bench, way: str) -> None:
    async with started(real_loop, "sh", "-c", "exec <&-; echo closed; exec sleep 60", way=way) as process:
        assert await process.output.read() == b"closed\n"
        assert await process.input.write(PAYLOAD(MIB)) == MIB


@both_ways
async def test_its_output_is_read_in_pieces_of_a_given_size(real_loop: Bench, way: str) -> None:
    program = Program(argv=("printf", "123456789"), filters=way == FILTERS)
    process = child.start(real_loop, program, os.environ, most=4)
    assert await process.ended() == 0
    assert [await process.output.read() for _ in range(4)] == [b"1234", b"5678", b"9", None]
    await process.terminate()


@asynccontextmanager
async def screen(loop: Loop) -> AsyncIterator[tuple[ChildStdout, Far]]:
    """The output of a program that has a terminal, and the end where that program writes."""
    master, slave = terminal()
    os.set_blocking(master, False)
    output, far = ChildStdout(loop, master), Far(loop, writing=slave)
    try:
        yield output, far
    finally:
        output.close()
        far.close()


@settings(max_examples=30)
@given(
    st.lists(st.sampled_from([1, TERMINAL - 1, TERMINAL, TERMINAL + 1, 70_000]) | st.integers(1, 20_000), max_size=6)
)
async def test_however_a_terminal_cuts_it_every_byte_comes_and_a_read_fits_a_datagram(
    real_loop: Bench, sizes: list[int]
) -> None:
    data = PAYLOAD(sum(sizes))

    async def write(loop: Bench, far: Far) -> None:
        rest = data
        for size in sizes:
            await far.give(rest[:size])
            rest = rest[size:]
            await loop.sleep(0)

    async with screen(real_loop) as (output, far):
        writing = real_loop.spawn(write(real_loop, far), Condition())
        chunks = await gather(output.read, len(data))
        await join(real_loop, writing)
        far.hang_up()
        assert await output.read() is None
    same(chunks, [data])
    assert all(len(chunk) <= LARGEST for chunk in chunks)


@pytest.mark.parametrize("size", [1, TERMINAL - 1, TERMINAL])
async def test_a_single_piece_of_a_terminal_is_passed_on_at_once(real_loop: Bench, size: int) -> None:
    async with screen(real_loop) as (output, far):
        await far.give(PAYLOAD(size))
        while held(master_of(output)) < size:  # the system passes them on in its own time
            await real_loop.sleep(0)
        reading = real_loop.spawn(output.read(), Condition())
        await turns(real_loop, 5)
        assert reading.done
        same([reading.value], [PAYLOAD(size)])


def master_of(output: ChildStdout) -> int:
    assert output.fd is not None
    return output.fd


def held(terminal: int) -> int:
    """Bytes that can be read from a terminal."""
    return int.from_bytes(fcntl.ioctl(terminal, termios.FIONREAD, bytes(4)), sys.byteorder)


async def test_pieces_that_are_there_are_read_together(real_loop: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.read
    monkeypatch.setattr(os, "read", lambda fd, size: really(fd, min(size, TERMINAL)))  # as a terminal gives them
    with pipe() as (reading, writing):
        output = ChildStdout(real_loop, reading)
        os.write(writing, PAYLOAD(3 * TERMINAL + 5))
        assert await output.read() == PAYLOAD(3 * TERMINAL + 5)
        output.close()


async def test_much_from_a_terminal_is_all_of_it_in_order(real_loop: Bench) -> None:
    async with screen(real_loop) as (output, far):
        giving = real_loop.spawn(far.give(PAYLOAD(MIB)), Condition())
        same(await gather(output.read, MIB), [PAYLOAD(MIB)])
        await join(real_loop, giving)


async def test_an_end_behind_a_full_piece_is_found_again(real_loop: Bench) -> None:
    with pipe() as (reading, writing):
        output = ChildStdout(real_loop, reading)
        os.write(writing, PAYLOAD(TERMINAL))
        os.close(writing)
        same([await output.read() or b""], [PAYLOAD(TERMINAL)])
        assert [await output.read(), await output.read()] == [None, None]
        output.close()


async def test_without_pseudo_terminals_a_filter_gets_a_pipe(real_loop: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> tuple[int, int]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "openpty", refuse)
    assert await shell(real_loop, "[ -t 1 ]; echo $?; cat", data=bytes(range(256))) == (b"1\n" + bytes(range(256)), 0)


async def test_only_the_output_of_a_filter_is_a_terminal(real_loop: Bench) -> None:
    asked = "for fd in 0 1; do [ -t $fd ]; echo $?; done"
    assert (await shell(real_loop, asked, way=FILTERS)).output == b"1\n0\n"
    assert (await shell(real_loop, asked, way=SERVES)).output == b"1\n1\n"


# -- What a program is given -------------------------------------------------------------------------------------


def descriptors_of(pid: int) -> set[int]:
    """The descriptors of a process, but for those that the tests themselves were started with and hand on."""
    handed_on = {int(fd) for fd in descriptors() if int(fd) > 2 and os.get_inheritable(int(fd))}
    return {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")} - handed_on


@both_ways
async def test_a_program_has_its_three_descriptors_and_none_of_ours(real_loop: Bench, way: str) -> None:
    with pipe():
        async with started(real_loop, "cat", way=way) as process:
            await process.input.write(b"ready")
            assert await process.output.read() == b"ready"
            assert descriptors_of(process.pid) == {0, 1, 2}


async def test_a_program_has_the_default_signal_dispositions(real_loop: Bench) -> None:
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN  # as Python has it
    ran = await through(real_loop, "grep", "SigIgn", "/proc/self/status")
    ignored = int(ran.output.split()[1], 16)
    assert not [name for name in BACK_TO_DEFAULT if ignored & 1 << name - 1]


@both_ways
@pytest.mark.parametrize(("code", "session"), [(0, True), (errno.ENXIO, False), (errno.EMFILE, True)])
async def test_a_program_leads_a_process_group_and_a_session_if_we_may_have_a_terminal(
    real_loop: Bench, way: str, code: int, session: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = os.open

    def open_it(path: str, *args: int) -> int:
        if path != "/dev/tty":
            return really(path, *args)
        if code:
            raise OSError(code, os.strerror(code))
        return os.dup(0)

    monkeypatch.setattr(os, "open", open_it)
    async with started(real_loop, "cat", way=way) as process:
        assert os.getpgid(process.pid) == process.pid != os.getpgrp()
        assert (os.getsid(process.pid) == process.pid) is session


def test_a_program_gets_the_addresses_in_its_environment() -> None:
    facts = child_environment.environment("tcp", Address(host="127.0.0.1", port=80), Address(host="::1", port=5000))
    about = {
        "REMOTE_ADDR": "::1",
        "REMOTE_PORT": "5000",
        "LOCAL_ADDR": "127.0.0.1",
        "LOCAL_PORT": "80",
        "PROTO": "TCP",
    }
    added = {f"{prefix}_{name}": value for prefix in ("PYNC", "NCAT") for name, value in about.items()}
    assert facts == {**os.environ, **added}


async def test_a_program_sees_its_environment(real_loop: Bench) -> None:
    assert await shell(
        real_loop, 'echo "$PYNC_REMOTE_ADDR $NCAT_LOCAL_PORT"', PYNC_REMOTE_ADDR="::1", NCAT_LOCAL_PORT="80"
    ) == (
        b"::1 80\n",
        0,
    )


def test_a_unix_connection_has_no_ports() -> None:
    facts = child_environment.environment("unix", Address(host="/run/socket"), Address(host=""))
    assert [facts[f"PYNC_{name}"] for name in ("LOCAL_ADDR", "LOCAL_PORT", "REMOTE_ADDR", "REMOTE_PORT", "PROTO")] == [
        "/run/socket",
        "",
        "",
        "",
        "UNIX",
    ]


@pytest.mark.parametrize(("before", "after"), [("", "{0}"), ("/lib/own.so", "/lib/own.so:{0}")])
async def test_what_was_preloaded_stays_so(
    real_loop: Bench, before: str, after: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "libstdbuf.so"
    library.touch()
    monkeypatch.setattr(child_environment, "LIBSTDBUF", ("/nowhere/libstdbuf.so", str(library)))
    given: list[dict[str, str]] = []

    def spawn(path: str, argv: object, environment: dict[str, str], **_: object) -> int:
        given.append(environment)
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "posix_spawnp", spawn)
    for filters in (True, False):
        with pytest.raises(ProgramError):
            child.start(real_loop, Program(argv=("x",), filters=filters), {"LD_PRELOAD": before})
    assert given == [{"LD_PRELOAD": after.format(library), "_STDBUF_O": "0"}, {"LD_PRELOAD": before}]


async def test_without_libstdbuf_nothing_is_preloaded(real_loop: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_environment, "LIBSTDBUF", ())
    assert (await shell(real_loop, 'echo "${LD_PRELOAD-unset}"', LANG="C")).output == b"%s\n" % os.environ.get(
        "LD_PRELOAD", "unset"
    ).encode()


# -- The socket itself -------------------------------------------------------------------------------------------


async def test_a_program_that_serves_can_have_the_socket_itself(real_loop: Bench) -> None:
    near, other = unix_pair()
    far = FarSocket(real_loop, other)
    process = child.hand_over(real_loop, Program(argv=("cat",)), near, os.environ)
    await far.give(b"a question")
    assert await far.take() == b"a question"
    assert descriptors_of(process.pid) == {0, 1, 2}
    links = {os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in (0, 1)}
    assert links == {os.readlink(f"/proc/self/fd/{near.fileno()}")}
    assert near.getblocking()
    far.hang_up()
    assert await process.ended() == 0
    assert await process.output.read() is None and await process.input.write(b"unread") == 6
    await process.input.send_eof()
    near.close()  # our copy was the last
    assert await far.take() is None
    far.close()


# -- A program that cannot be run --------------------------------------------------------------------------------


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str, int], str]:
    """Writes a file that a test may try to run."""

    def write(text: str, mode: int) -> str:
        path = tmp_path / f"program {mode:o}"
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    return write


def refused(loop: Loop, program: str, way: str) -> ProgramError:
    """The error of starting a program that cannot be run."""
    with pytest.raises(ProgramError) as raised:
        child.start(loop, Program(argv=(program,), filters=way == FILTERS), os.environ)
    assert raised.value.what == program
    return raised.value


@both_ways
async def test_a_program_that_does_not_exist_is_not_found(real_loop: Bench, way: str, tmp_path: Path) -> None:
    for name in ("no-such-program-anywhere", str(tmp_path / "missing")):
        error = refused(real_loop, name, way)
        assert (str(error), error.found) == (f"{name}: No such file or directory", False)


@both_ways
async def test_what_cannot_be_executed_was_found(
    real_loop: Bench, way: str, tmp_path: Path, script: Callable[[str, int], str]
) -> None:
    for name, why in (
        (str(tmp_path), "Permission denied"),
        (script("echo", 0o644), "Permission denied"),
        (script("no first line that names an interpreter", 0o755), "Exec format error"),
    ):
        error = refused(real_loop, name, way)
        assert (str(error), error.found) == (f"{name}: {why}", True)


@contextmanager
def descriptors_left(free: int) -> Iterator[None]:
    """Inside, `free` descriptors can be opened."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, descriptors())) + 10, limits[1]))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        for _ in range(free):
            os.close(taken.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in taken:
            os.close(fd)


@both_ways
@pytest.mark.parametrize("free", range(4))
async def test_without_descriptors_a_program_cannot_be_run_and_nothing_is_left(
    real_loop: Bench, way: str, free: int
) -> None:
    with descriptors_left(free), pytest.raises(ProgramError) as raised:
        child.start(real_loop, Program(argv=("cat",), filters=way == FILTERS), os.environ)
    error = raised.value
    assert (str(error), error.found) == ("cat: Too many open files", True)


# -- Its status --------------------------------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 3", 3), ("exit 127", 127), ("kill -9 $$", 137), ("kill -1 $$", 129)]
)
async def test_the_status_is_what_a_shell_would_show(real_loop: Bench, script: str, status: int, way: str) -> None:
    assert await shell(real_loop, script, way=way) == (b"", status)


async def test_the_status_can_be_asked_for_again(real_loop: Bench) -> None:
    async with started(real_loop, "sh", "-c", "exit 5") as process:
        assert [await process.ended(), await process.ended()] == [5, 5]


async def test_where_its_end_is_reported_once_two_tasks_can_wait_for_it(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (processes, children):
        monkeypatch.setattr(module, "REAPED_EARLY", True)
    process = child.start(real_loop, Program(argv=("sh", "-c", "exit 5")), os.environ)
    tasks = [real_loop.spawn(process.ended(), Condition()) for _ in range(2)]
    assert [await join(real_loop, task) for task in tasks] == [5, 5]
    process.close()


# -- Its end -----------------------------------------------------------------------------------------------------


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals that programs are sent."""
    signals: list[int] = []
    really = os.killpg

    def killpg(group: int, signum: int) -> None:
        really(group, signum)
        if signum:
            signals.append(signum)

    monkeypatch.setattr(os, "killpg", killpg)
    return signals


async def dismissed(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, script: str, obeys: int = 0, way: str = FILTERS
) -> int | None:
    """The status of a program that is terminated once it is ready; `obeys` is the signal that it is given time for."""
    patient = tuple((signum, 30.0 if signum == obeys else grace) for signum, grace in child.TERMINATION_STEPS)
    monkeypatch.setattr(child, "TERMINATION_STEPS", patient)
    async with started(loop, "sh", "-c", script, way=way) as process:
        assert (await process.output.read() or b"").startswith(b"ready\n")
    return process.status


@both_ways
async def test_a_program_that_got_its_end_of_file_is_given_time_to_end_by_itself(
    real_loop: Bench, way: str, sent: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "TAKING", 30.0)
    async with started(real_loop, "sh", "-c", "echo ready; cat >/dev/null; exit 7", way=way) as process:
        await process.input.send_eof()
    assert process.status == 7
    assert sent == []


@both_ways
async def test_a_program_that_still_reads_is_hung_up_on_before_its_end_of_file(
    real_loop: Bench, way: str, sent: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    marker = tmp_path / "complete"
    script = f"echo ready; cat >/dev/null && echo > {marker}"
    assert await dismissed(real_loop, monkeypatch, script, signal.SIGHUP, way=way) == 129
    assert sent == [signal.SIGHUP]
    assert not marker.exists()


@both_ways
async def test_a_program_that_ignores_the_hangup_gets_its_end_of_file_after_it(
    real_loop: Bench, way: str, sent: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "trap '' HUP; echo ready; cat >/dev/null; exit 7"
    assert await dismissed(real_loop, monkeypatch, script, signal.SIGHUP, way=way) == 7
    assert sent == [signal.SIGHUP]


async def test_a_program_that_does_not_read_is_hung_up_on(
    real_loop: Bench, sent: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await dismissed(real_loop, monkeypatch, "echo ready; exec sleep 60", signal.SIGHUP) == 129
    assert sent == [signal.SIGHUP]


async def test_a_program_that_ignores_the_hangup_is_terminated(
    real_loop: Bench, sent: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await dismissed(real_loop, monkeypatch, "trap '' HUP; echo ready; exec sleep 60", signal.SIGTERM) == 143
    assert sent == [signal.SIGHUP, signal.SIGTERM]


async def test_a_stubborn_program_is_killed_with_all_that_it_has_started(real_loop: Bench, sent: list[int]) -> None:
    async with started(real_loop, "sh", "-c", "trap '' HUP TERM; sleep 60 & echo $!; wait") as process:
        offspring = os.pidfd_open(int(await process.output.read() or b""))
        begun = real_loop.clock()
    assert process.status == 137
    assert sent == [signal.SIGHUP, signal.SIGTERM, signal.SIGKILL]
    assert 2.3 <= real_loop.clock() - begun < 10
    assert await real_loop.readable(offspring, real_loop.clock() + 10), "it lives on"
    real_loop.forget(offspring)
    os.close(offspring)


async def test_a_program_that_is_reaped_is_sent_nothing(real_loop: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async with started(real_loop, "true") as process:
        await process.ended()
        process.reap()
        with monkeypatch.context() as patch:  # its number may be another process's by now
            patch.setattr(os, "killpg", lambda *_: pytest.fail("a signal was sent"))
            await process.terminate()
            await process.terminate()


async def test_a_program_that_has_ended_keeps_its_number_until_it_is_reaped(real_loop: Bench, sent: list[int]) -> None:
    async with started(real_loop, "true") as process:
        await process.ended()
        assert os.getpgid(process.pid) == process.pid
    assert process.reaped
    assert sent == []


LEAVES = "{ %s echo $BASHPID; exec sleep 60 >/dev/null; } & read pid <&0; exit 3"


@pytest.mark.parametrize(
    ("ignores", "signals"),
    [
        ("", [signal.SIGHUP]),
        ("trap '' HUP;", [signal.SIGHUP, signal.SIGTERM]),
        ("trap '' HUP TERM;", [signal.SIGHUP, signal.SIGTERM, signal.SIGKILL]),
    ],
)
@both_ways
async def test_what_a_program_that_has_ended_leaves_in_its_group_gets_the_same_signals(
    real_loop: Bench, way: str, ignores: str, signals: list[int], sent: list[int]
) -> None:
    async with started(real_loop, "bash", "-c", LEAVES % ignores, way=way) as process:
        left = os.pidfd_open(int(await process.output.read() or b""))
        await process.input.send_eof()
        assert await process.ended() == 3
        begun = real_loop.clock()
    assert real_loop.clock() - begun < 10
    assert sent == signals
    assert await real_loop.readable(left, real_loop.clock() + 10), "it lives on"
    real_loop.forget(left)
    os.close(left)


async def test_an_interruption_leaves_no_step_of_a_termination_out(
    real_loop: Bench, sent: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "TERMINATION_STEPS", tuple((signum, 30.0) for signum, _ in child.TERMINATION_STEPS))
    process = child.start(real_loop, Program(argv=("sh", "-c", "trap '' HUP TERM; echo; exec sleep 60")), os.environ)
    await process.output.read()
    ending = real_loop.spawn(process.terminate(), Condition())
    while not ending.done:
        await turns(real_loop, 5)
        ending.cancel()
    assert isinstance(ending.error, Cancelled)
    assert sent == [signal.SIGHUP, signal.SIGTERM, signal.SIGKILL]
    await process.terminate()
    assert process.reaped


async def test_a_program_that_not_even_the_last_signal_ends_is_left_alone(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "TERMINATION_STEPS", tuple((signum, 0.0) for signum, _ in child.TERMINATION_STEPS))
    monkeypatch.setattr(os, "killpg", lambda *_: None)  # as while it hangs in the system
    process = child.start(real_loop, Program(argv=("sleep", "60")), os.environ)
    await process.terminate(0.05)
    assert not process.reaped
    os.kill(process.pid, signal.SIGKILL)
    await process.terminate(None)
    assert process.reaped


async def test_a_program_that_may_not_be_signalled_is_waited_for(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(group: int, signum: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "killpg", refuse)  # as for sudo(8)
    assert await dismissed(real_loop, monkeypatch, "echo ready; cat >/dev/null; exit 7") == 7


async def test_after_the_closing_reading_ends_and_writing_goes_nowhere(real_loop: Bench) -> None:
    async with started(real_loop, "cat") as process:
        process.close()
        assert await process.output.read() is None
        assert await process.input.write(b"unread") == 6
        await process.input.send_eof()


def test_a_task_that_cleans_up_is_woken_by_the_end_of_its_program() -> None:
    script = """if True:
        import os
        from pync.config import Program
        from pync.endpoints import child
        from pync.loop.kernel import Loop
        from pync.loop.tasks import Condition

        loop = Loop()

        async def session():
            process = child.start(loop, Program(argv=("sleep", "0.1")), os.environ)
            try:
                await loop.wait(Condition())
            finally:
                print(await process.ended())

        async def main():
            loop.spawn(session())
            await loop.sleep(0)

        loop.run(main())
    """
    assert run([sys.executable, "-c", script]) == success(b"0\n")
