"""`--pty`, in the installed pync: real programs that need a terminal, and a person's side of it, on every way there.

A `Seat` is that person: it types into a connection, and waits for what is shown.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import encrypted
import pytest
from clients import drain, is_true, meanwhile, reset, unix_client, watched
from harness import (
    DEADLINE,
    PAYLOAD,
    PYNC,
    Result,
    Running,
    announced,
    connect,
    digest,
    failure,
    listen,
    pync,
    require,
    run,
)
from terminals import Shell, controlled, terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from certificates import Authority

ROOT = os.geteuid() == 0
finds_jobs = pytest.mark.needs("linux", "proc", "waitid")  # in a list of all processes
PROMPT = "ready> "
BASH = f"env PS1='{PROMPT}' HISTFILE=/dev/null bash --norc --noprofile -i"
PLAIN = f"{BASH} --noediting".replace("-i --noediting", "--noediting -i")  # it takes lines, as dash does


class Seat:
    """A person at the other end of a connection."""

    def __init__(self, conn: socket.socket) -> None:
        self.conn = conn
        self._shown = ""

    def type(self, text: str) -> None:
        """Type something, at once."""
        self.conn.sendall(text.encode())

    def expect(self, pattern: str) -> re.Match[str]:
        """Wait until this is shown, after all that was waited for before."""
        while not (found := re.search(pattern, self._shown)):
            try:
                data = self.conn.recv(1 << 16)
            except TimeoutError:
                data = b""
            assert data, f"there is no {pattern!r} in {self._shown!r}"
            self._shown += data.decode(errors="replace")
        self._shown = self._shown[found.end() :]
        return found

    def rest(self) -> str:
        """All that is still shown until the end."""
        with contextlib.suppress(ssl.SSLZeroReturnError):
            return self._shown + drain(self.conn).decode(errors="replace")
        return self._shown


@contextlib.contextmanager
def seated(*options: str, **popen: object) -> Iterator[tuple[Running, Seat]]:
    """A listener with a program on a terminal, and its client over TCP."""
    with listen("--pty", *options, "127.0.0.1", "0", **popen) as server, connect(server.port) as conn:
        yield server, Seat(conn)


def shown_by(*options: str) -> Result:
    """What a program on a terminal shows a client that types nothing, and the status of the listener."""
    with seated(*options) as (server, seat):
        return Result(0, seat.rest().encode(), "")._replace(status=server.wait())


# -- The ways to a terminal ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def over_unix(folder: Path, authority: Authority, program: Sequence[str]) -> Iterator[tuple[Running, Seat]]:
    path = folder / "socket"
    with listen("-U", "--pty", *program, str(path)) as server, unix_client(path) as conn:
        yield server, Seat(conn)


@contextlib.contextmanager
def over_tls(folder: Path, authority: Authority, program: Sequence[str]) -> Iterator[tuple[Running, Seat]]:
    options = encrypted.ours(authority.server, "--pty", *program)
    with encrypted.listener(encrypted.client_side(authority), *options) as (server, conn):
        yield server, Seat(conn)


@contextlib.contextmanager
def over_websocket(folder: Path, authority: Authority, program: Sequence[str]) -> Iterator[tuple[Running, Seat]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(DEADLINE)
    with ours, listen("--ws", "--pty", *program, "127.0.0.1", "0") as server:
        with theirs:
            client = pync("--ws", "127.0.0.1", str(server.port), stdin=theirs.fileno(), stdout=theirs.fileno())
        with client:
            yield server, Seat(ours)


@contextlib.contextmanager
def from_a_client(folder: Path, authority: Authority, program: Sequence[str]) -> Iterator[tuple[Running, Seat]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)
        with pync("--pty", *program, "127.0.0.1", str(listener.getsockname()[1])) as client:
            conn = listener.accept()[0]
            conn.settimeout(DEADLINE)
            with conn:
                yield client, Seat(conn)


@contextlib.contextmanager
def through_a_proxy(folder: Path, authority: Authority, program: Sequence[str]) -> Iterator[tuple[Running, Seat]]:
    with (
        listen("-k", "--proxy-server", "http", "--proxy-allow", "127.0.0.1", "127.0.0.1", "0") as proxy,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        listener.settimeout(DEADLINE)
        words = ["--proxy", f"127.0.0.1:{proxy.port}", "--pty", *program, "127.0.0.1", str(listener.getsockname()[1])]
        with pync(*words) as client:
            conn = listener.accept()[0]
            conn.settimeout(DEADLINE)
            with conn:
                yield client, Seat(conn)


@contextlib.contextmanager
def over_tcp(folder: Path, authority: Authority, program: Sequence[str]) -> Iterator[tuple[Running, Seat]]:
    with seated(*program) as pair:
        yield pair


@contextlib.contextmanager
def with_stages(folder: Path, authority: Authority, program: Sequence[str]) -> Iterator[tuple[Running, Seat]]:
    with seated("-t", "-o", str(folder / "log"), "--idle-timeout", "60", "--checksum", *program) as pair:
        yield pair


WAYS = [over_tcp, over_unix, over_tls, over_websocket, from_a_client, through_a_proxy, with_stages]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_shell_has_job_control(
    way: Callable[[Path, Authority, Sequence[str]], contextlib.AbstractContextManager[tuple[Running, Seat]]],
    tmp_path: Path,
    authority: Authority,
) -> None:
    require("bash")
    with way(tmp_path, authority, ["-e", PLAIN]) as (process, seat):
        seat.expect(PROMPT)
        seat.type("echo pid $$\n")
        shell = int(seat.expect(r"pid (\d+)\r\n")[1])
        seat.expect(PROMPT)
        seat.type("sleep 60\n")
        sleeps_in_foreground(shell)
        seat.type("\x03")
        seat.expect(PROMPT)
        seat.type("echo status $?; sleep 61\n")
        seat.expect(r"status 130\r\n")
        sleeps_in_foreground(shell)
        seat.type("\x1a")
        seat.expect(r"\[1\]\+ +Stopped +sleep 61")
        seat.type("bg\n")
        seat.expect(r"\[1\]\+ sleep 61 &")
        seat.type("jobs\n")
        seat.expect(r"\[1\]\+ +Running +sleep 61 &")
        seat.type("fg\n")
        sleeps_in_foreground(shell)
        seat.type("\x03")
        seat.expect(PROMPT)
        seat.type("exit 3\n")
        assert seat.rest().endswith("exit\r\n")
        assert process.wait() == 3


def sleeps_in_foreground(shell: int) -> None:
    """Wait until sleep(1) has the shell's terminal. Before it is executed, the shell's child ignores some keys."""
    is_true(lambda: name_of(int(fields(shell)[5])) == "sleep", "it sleeps")


def fields(pid: int) -> list[str]:
    """What the system shows of a process, from its state on (proc_pid_stat(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def name_of(pid: int) -> str:
    """The name of the program that a process runs."""
    return Path(f"/proc/{pid}/comm").read_text().rstrip()


# -- Programs ------------------------------------------------------------------------------------------------------


def test_a_shell_that_edits_lines_ends_by_ctrl_d() -> None:
    with seated("-e", BASH) as (server, seat):
        seat.expect(PROMPT)
        seat.type("ech\x1b[Dx\x7f\x05o $-\r")  # left, a wrong key, backspace, to the end
        assert "i" in seat.expect(r"\r\n(?:\x1b\S+\r)?(\w+)\r\n")[1]
        seat.expect(PROMPT)
        seat.type("(exit 7)\r")
        seat.expect(PROMPT)
        seat.type("\x04")
        seat.rest()
        assert server.wait() == 7


def test_the_terminal_is_that_of_a_login() -> None:
    env = {**os.environ, "TERM": "xterm-mono", "LINES": "3", "COLUMNS": "7"}
    with seated("-c", "tty; stty size; echo $TERM $LINES $COLUMNS; stty -a", env=env) as (server, seat):
        name, size, kind, *settings = seat.rest().split("\r\n")
        assert name.startswith("/dev/pts/")
        assert (size, kind) == ("24 80", "xterm-mono")
        assert " icanon " in " ".join(settings) and "eof = ^D;" in " ".join(settings)
        assert server.wait() == 0


def test_top_shows_the_processes_and_ends_by_its_key() -> None:
    require("top")
    once = shown_by("-c", "top -b -n1")
    assert once.status == 0 and b"load average" in once.out
    with seated("-e", "top") as (server, seat):
        seat.expect("load average")
        seat.type("q")
        seat.rest()
        assert server.wait() == 0


def test_vi_writes_a_file(tmp_path: Path) -> None:
    require("vi")
    file = tmp_path / "note"
    with seated("-e", f"vi {file}", env={**os.environ, "TERM": "vt100"}) as (server, seat):
        seat.expect("note")
        seat.type("ihello\rworld\x1b")
        seat.type(":wq\r")
        seat.rest()
        assert server.wait() == 0
        assert file.read_text() == "hello\nworld\n"


def test_less_shows_a_page_at_a_time(tmp_path: Path) -> None:
    require("less")
    file = tmp_path / "text"
    file.write_text("".join(f"line {number}.\n" for number in range(1, 100)))
    with seated("-e", f"less {file}") as (server, seat):
        first = seat.expect(r"line 23\.[^.]*text")
        assert "line 24." not in first.string
        seat.type(" ")
        seat.expect(r"line 46\.")
        seat.type("q")
        assert "line 47." not in seat.rest()
        assert server.wait() == 0


def test_python_prompts() -> None:
    with seated("-e", f"{require('python3')} -iq") as (server, seat):
        seat.expect(">>> ")
        seat.type("6 * 7\r")
        seat.expect("42\r\n")
        seat.type("exit(4)\r")
        seat.rest()
        assert server.wait() == 4


@pytest.mark.skipif(not ROOT, reason="only root logs in without a password")
def test_a_login_closes_its_terminal_and_opens_it_again() -> None:
    require("login")
    with seated("-e", "login -f root") as (server, seat):
        seat.type("tty; exit 5\r")
        seat.expect(r"[\r\n]/dev/pts/\d+\r\n")
        seat.rest()
        assert server.wait() in (0, 5)  # login reports its own status, not the shell's


# -- Ends ----------------------------------------------------------------------------------------------------------

PEERS = {
    "pync": [*PYNC],
    "nc.openbsd": ["nc.openbsd", "-N"],
    "ncat": ["ncat"],
    "socat": ["socat", "-t9", "-"],
}


@pytest.mark.parametrize("name", PEERS)
def test_a_peers_half_close_is_an_end_of_file(name: str) -> None:
    words = PEERS[name]
    require(words[0])
    with listen("--pty", "-e", "cat", "127.0.0.1", "0") as server:
        place = [f"TCP:127.0.0.1:{server.port}"] if name == "socat" else ["127.0.0.1", str(server.port)]
        shown = run([*words, *place], b"hello\nno end").out  # the echo, and what cat writes, in any order
        assert (shown.count(b"hello\r\n"), shown.count(b"no end"), len(shown)) == (2, 2, 26)
        assert server.wait() == 0


def test_a_script_for_a_shell_is_done_to_its_end() -> None:
    script = b"echo $((6*7))\nsleep 0.7\ncat\nthe input of cat\n"
    for shell in (PLAIN, BASH):
        with listen("--pty", "-e", shell, "127.0.0.1", "0") as server, connect(server.port) as conn:
            conn.sendall(script)
            conn.shutdown(socket.SHUT_WR)
            shown = drain(conn)
            assert b"42\r\n" in shown and shown.endswith(b"exit\r\n")
            assert server.wait() == 0


def test_a_program_that_takes_every_byte_gets_no_key_and_is_hung_up(tmp_path: Path) -> None:
    file = tmp_path / "upload"
    data = bytes(range(256)) + PAYLOAD(50_000)
    with seated("-c", f"stty raw -echo; echo ready; exec cat > {file}") as (server, seat):
        seat.expect("ready\n")
        seat.conn.sendall(data)
        seat.conn.shutdown(socket.SHUT_WR)
        assert seat.rest() == ""
        assert server.wait() == 129
        assert digest(file.read_bytes()) == digest(data)


def test_megabytes_come_whole_and_only_line_ends_are_changed() -> None:
    result = shown_by("-c", "seq 1000000")
    expected = b"".join(b"%d\r\n" % number for number in range(1, 1_000_001))
    assert result.digested() == Result(0, digest(expected), "")
    raw = shown_by("-c", "stty -opost; seq 1000000")
    assert raw.digested() == Result(0, digest(expected.replace(b"\r", b"")), "")


@pytest.mark.parametrize("left", ["", "trap '' HUP; sleep 3 & "], ids=["alone", "with another process"])
def test_the_last_output_comes_before_the_end(left: str) -> None:
    with listen("-k", "--pty", "-c", f"{left}seq 3000", "127.0.0.1", "0") as server:
        for _ in range(20):
            with connect(server.port) as conn:
                assert drain(conn).endswith(b"\n2999\r\n3000\r\n")


@finds_jobs
@pytest.mark.parametrize("keep_open", [(), ("-k",)], ids=["once", "keep-open"])
@pytest.mark.parametrize("kept_by", ["", "nohup ", "setsid "])
def test_the_session_ends_with_its_program_and_hangs_up_what_is_left(kept_by: str, keep_open: tuple[str, ...]) -> None:
    job = f"{kept_by}sleep 60 >/dev/null 2>&1 & echo pid $!"
    with seated(*keep_open, "-e", PLAIN) as (server, seat):
        seat.expect(PROMPT)
        # Without job control setsid need not fork.
        seat.type(f"{'set +m; ' if kept_by else ''}{job}\n")
        pid = int(seat.expect(r"pid (\d+)\r\n")[1])
        with watched(pid) as ended:
            is_true(lambda: name_of(pid) == "sleep", "it runs")
            seat.type("exit 3\n")
            assert seat.rest().endswith("exit\r\n")
            if not keep_open:
                assert server.wait() == 3
            if kept_by:
                is_true(lambda: not server.children(), "the program is reaped")
                assert fields(pid)[0] == "S"
            else:
                ended()


@finds_jobs
@pytest.mark.parametrize("ignores", ["", "trap '' HUP TERM; "], ids=["obeys", "stubborn"])
@pytest.mark.parametrize("keep_open", [(), ("-k",)], ids=["once", "keep-open"])
def test_every_job_ends_when_the_client_resets_the_connection(keep_open: tuple[str, ...], ignores: str) -> None:
    with seated(*keep_open, "-e", PLAIN) as (server, seat), contextlib.ExitStack() as stack:
        ends = jobs(stack, seat, ignores)
        reset(seat.conn)
        for ended in ends:
            ended()
        server.expect("^pync: connection to 127.0.0.1:.*: Connection reset by peer")
        if not keep_open:
            assert server.wait() == 1
        is_true(lambda: not server.children(), "the program is reaped")


@finds_jobs
def test_every_job_ends_when_a_signal_ends_the_server() -> None:
    with listen("-k", "--pty", "-e", PLAIN, "127.0.0.1", "0") as server, contextlib.ExitStack() as stack:
        seats = [Seat(stack.enter_context(connect(server.port))) for _ in range(3)]
        ends = [ended for seat in seats for ended in jobs(stack, seat)]
        server.signal(signal.SIGTERM)
        for ended in ends:
            ended()
        assert server.wait() == 143


def jobs(stack: contextlib.ExitStack, seat: Seat, ignores: str = "") -> list[Callable[[], None]]:
    """Start a job in the background, one that is stopped, and one in the foreground; what waits for their ends."""
    seat.expect(PROMPT)
    seat.type(f"{ignores}sleep 60 & echo pid $!; sleep 61 & kill -STOP $!; echo pid $!\n")
    pids = [int(seat.expect(r"pid (\d+)\r\n")[1]) for _ in range(2)]
    seat.type("echo pid $BASHPID; exec sleep 62\n")
    pids.append(int(seat.expect(r"pid (\d+)\r\n")[1]))
    return [stack.enter_context(watched(pid)) for pid in pids]


def test_an_idle_limit_ends_the_session() -> None:
    with seated("--idle-timeout", "200ms", "-e", PLAIN) as (server, seat):
        seat.expect(PROMPT)
        with contextlib.suppress(ConnectionResetError):
            seat.rest()
        assert server.wait() == 124


# -- Many terminals, and none ------------------------------------------------------------------------------------------


def test_many_clients_have_a_terminal_each_and_nothing_of_it_is_left() -> None:
    with listen("-k", "--pty", "-e", PLAIN, "127.0.0.1", "0") as server, contextlib.ExitStack() as stack:

        def held() -> list[str]:
            return [link for link in server.descriptors() if "ptmx" in link or "socket" in link]

        before = held()
        seats = [Seat(stack.enter_context(connect(server.port))) for _ in range(20)]
        for number, seat in enumerate(seats):
            seat.expect(PROMPT)
            seat.type(f"tty; echo I am $(({number}+100))\n")
        names = set()
        for number, seat in enumerate(seats):
            names.add(seat.expect(r"/dev/pts/\d+")[0])
            seat.expect(rf"I am {number + 100}\r\n")
            seat.type("exit\n")
            seat.rest()
            seat.conn.close()
        assert len(names) == 20
        is_true(lambda: not server.children(), "no zombie is left")
        is_true(lambda: held() == before, "no descriptor is left")


@pytest.mark.skipif(not ROOT, reason="only root mounts")
def test_without_a_terminal_one_session_fails_and_the_server_goes_on() -> None:
    require("unshare")
    few = "mount -t devpts -o newinstance,ptmxmode=666,max=2 devpts /dev/pts && mount --bind /dev/pts/ptmx /dev/ptmx"
    argv = [*PYNC, "-v", "-lk", "--pty", "-c", "read x", "127.0.0.1", "0"]
    server = Running(["unshare", "-m", "sh", "-c", f'{few} && exec "$@"', "sh", *argv])
    with announced(server), connect(server.port) as first, connect(server.port) as second:
        for conn in (first, second):
            conn.sendall(b"x")
            assert conn.recv(1) == b"x"
        with connect(server.port) as third:
            assert drain(third) == b""
        server.expect("^pync: /bin/sh: no terminal for it: none is left$")
        first.sendall(b"\n")
        assert drain(first) == b"\r\n"

        def is_served() -> bool:  # as soon as the system has removed the terminal
            with connect(server.port) as fourth, contextlib.suppress(ConnectionResetError):
                fourth.sendall(b"y\n")
                return drain(fourth) == b"y\r\n"
            return False

        is_true(is_served, "a client has the place of the first one")


@pytest.mark.parametrize("program", [("-e", "/no/such/program"), ("-e", "/"), ("-c", "exit 127")], ids=" ".join)
@pytest.mark.parametrize("role", ["listener", "client"])
def test_what_cannot_be_run_is_reported_as_without_a_terminal(program: tuple[str, str], role: str) -> None:
    def ends(*pty: str) -> tuple[int, str]:
        if role == "listener":
            with pync("-l", *pty, *program, "127.0.0.1", "0") as server:
                is_true(lambda: listens_on(server) > 0, "it listens")
                with connect(listens_on(server)) as conn:
                    drain(conn)
                return server.finish()[::2]
        with socket.create_server(("127.0.0.1", 0)) as peer:
            return run([*PYNC, *pty, *program, "127.0.0.1", str(peer.getsockname()[1])])[::2]

    assert ends("--pty") == ends()


def listens_on(process: Running) -> int:
    """The port of a process that does not report it; 0 while it listens nowhere."""
    sockets = {link[8:-1] for link in process.descriptors() if link.startswith("socket:[")}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[9] in sockets and words[3] == "0A":
            return int(words[1].partition(":")[2], 16)
    return 0


def test_a_terminal_needs_a_program_and_a_stream() -> None:
    for words, message in (
        ("--pty h 1", "--pty without -e: it is for the program of -e or -c"),
        ("--pty --filter cat -l 1", "--pty without -e: it is for the program of -e or -c"),
        ("--pty --pipes -e cat h 1", "--pipes with --pty: the program has one or the other"),
        ("--pty -u -e cat h 1", "-u with --pty: a terminal needs a stream"),
    ):
        result = run([*PYNC, *words.split()])
        assert result._replace(err=result.err.partition("\n")[0] + "\n") == failure(message, 2)


# -- pync itself ----------------------------------------------------------------------------------------------------


def test_a_server_without_a_terminal_does_not_get_that_of_a_program() -> None:
    with seated("-k", "-e", PLAIN, start_new_session=True) as (server, seat):
        seat.expect(PROMPT)
        assert fields(server.pid)[4] == "0"
        seat.type("sleep 60\n")
        sleeps_in_foreground(*server.children())
        seat.type("\x03")
        seat.expect(PROMPT)
        seat.type("exit\n")
        seat.rest()
        assert fields(server.pid)[4] == "0"


def test_ctrl_c_means_something_though_a_script_has_started_the_server_in_the_background() -> None:
    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGQUIT, signal.SIG_IGN)

    with seated("-e", "sleep 60", preexec_fn=ignore) as (server, seat):
        is_true(lambda: [name_of(pid) for pid in server.children()] == ["sleep"], "it runs")
        seat.type("\x03")
        seat.rest()
        assert server.wait() == 130


def test_keys_of_pyncs_own_terminal_are_not_the_programs() -> None:
    with terminal() as (keyboard, screen):
        popen = {"stdin": screen, "stdout": screen, **controlled()}
        with seated("-e", PLAIN, **popen) as (server, seat):
            seat.expect(PROMPT)
            seat.type("tty; echo $?\n")
            name = seat.expect(r"/dev/pts/\d+")[0]
            assert name != os.ttyname(screen.fileno())
            keyboard.write(b"\x03")
            assert server.wait() == 130
            with contextlib.suppress(ConnectionResetError):
                seat.rest()


@pytest.mark.skipif(not ROOT, reason="only root can become another user")
def test_the_terminal_belongs_to_the_user_of_the_program() -> None:
    with seated("--user", "nobody", "-c", "id -un; stat -c %U $(tty); tty </dev/tty") as (server, seat):
        assert seat.rest().split("\r\n")[:-1] == ["nobody", "nobody", "/dev/tty"]
        assert server.wait() == 0


def test_a_person_with_socat_has_every_key() -> None:
    socat = require("socat")
    with listen("--pty", "-e", BASH, "127.0.0.1", "0") as server, terminal() as (keyboard, screen):
        popen = {"stdin": screen, "stdout": screen, **controlled()}
        with Running([socat, "FILE:/dev/tty,raw,echo=0", f"TCP:127.0.0.1:{server.port}"], **popen) as client:
            person = Shell(keyboard, client)
            person.expect(PROMPT)
            person.type("echo $((6*7)); sleep 60\r")
            person.expect("42\r\n")
            sleeps_in_foreground(*server.children())
            person.type("\x03")
            person.expect(PROMPT)
            person.type("exit 6\r")
            person.expect("exit\r\n")
            assert server.wait() == 6
            assert client.wait() == 0


def test_a_peer_that_sends_bytes_without_end_does_no_harm() -> None:
    with listen("-k", "--pty", "-e", "sleep 60", "127.0.0.1", "0") as server, connect(server.port) as flood:
        with meanwhile(fill, flood):
            pass
        used = server.cpu_seconds()
        with connect(server.port) as conn:
            conn.sendall(b"\x03")
            assert drain(conn) == b"^C"
        assert server.cpu_seconds() - used < 1


def fill(conn: socket.socket) -> None:
    """Send lines until no more are taken."""
    conn.settimeout(1)
    with contextlib.suppress(TimeoutError):
        while True:
            conn.sendall(b"a line\n" * 1000)
