"""`--user`, in the installed pync as root: what belongs to the new user, and what its programs cannot do.

Without root, the only law is that becoming another user is refused in one line, with every kind of socket.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from clients import ask, drain
from harness import DEADLINE, PYNC, UNMEASURED, Running, announced, connect, failure, listen, require, run
from terminals import controlled, terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody")
FREE_ID = next(number for number in range(54321, 60000) if number not in {entry.pw_uid for entry in pwd.getpwall()})
as_root = pytest.mark.skipif(not ROOT, reason="only root can become another user")
streams_and_datagrams = pytest.mark.parametrize("options", ["-lU", "-luU", "-lkU", "-lkuU"])


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory of root's in which other users may search, which they may not in `tmp_path`."""
    with tempfile.TemporaryDirectory(prefix="pync-test-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def kind(options: str) -> int:
    return socket.SOCK_DGRAM if "u" in options else socket.SOCK_STREAM


def announcement(options: str) -> str:
    return "Bound" if "u" in options else "Listening"


@as_root
@streams_and_datagrams
@pytest.mark.parametrize("user", ["nobody", f"{FREE_ID}:{FREE_ID}"])
@pytest.mark.parametrize("dead", [False, True], ids=["new", "dead"])
def test_a_path_is_the_users_though_the_user_may_not_write_there(
    options: str, user: str, dead: bool, directory: Path
) -> None:
    path = directory / "socket"
    if dead:
        with contextlib.closing(socket.socket(socket.AF_UNIX, kind(options))) as sock:
            sock.bind(str(path))
    argv = [*PYNC, "-v", options, "--user", user, "-e", "cat", str(path)]
    with announced(Running(argv, env=UNMEASURED), announcement(options)) as server:
        status = path.stat()
        uid = NOBODY.pw_uid if user == "nobody" else FREE_ID
        assert status.st_uid == uid
        assert os.stat(directory).st_uid == 0
        assert Path(f"/proc/{server.pid}/status").read_text().split("Uid:")[1].split()[:4] == [str(uid)] * 4


@as_root
@streams_and_datagrams
def test_no_file_changes_its_owner(options: str, directory: Path) -> None:
    """A path may lead to any file of root's when the owner of what is there is changed."""
    require("strace")
    log, path = directory / "calls", directory / "socket"
    calls = "trace=chown,fchown,lchown,fchownat"
    argv = ["strace", "-D", "-f", "-o", str(log), "-e", calls, *PYNC, "-v", options, "--user", "nobody", str(path)]
    with announced(Running(argv, env=UNMEASURED), announcement(options)):
        assert path.owner() == "nobody"
    assert "chown" not in log.read_text()


@as_root
@streams_and_datagrams
def test_a_link_in_the_place_of_the_path_is_left_alone(options: str, directory: Path) -> None:
    precious, path = directory / "precious", directory / "socket"
    for there in (True, False):
        path.symlink_to(precious)
        precious.touch() if there else precious.unlink()
        result = run([*PYNC, options, "--user", "nobody", str(path)], env=UNMEASURED)
        assert result == failure(
            f"listen on {path}: {'it is a file and no socket' if there else 'Address already in use'}"
        )
        assert precious.exists() == there and (not there or precious.owner() == "root")
        assert path.is_symlink()
        path.unlink()


@streams_and_datagrams
def test_without_root_a_path_for_another_user_is_refused_in_one_line(options: str, directory: Path) -> None:
    argv = [*PYNC, options, "--user", "daemon", str(directory / "socket")]
    needed = "-setuid,-setgid,-chown"  # what root needs to become another user; its interpreter may be root's alone
    without = [require("setpriv"), "--bounding-set", needed, "--inh-caps", needed]
    result = run([*without, *argv] if ROOT else argv, env=UNMEASURED)
    assert result == failure("user daemon: Operation not permitted")
    assert not [*directory.iterdir()]


@as_root
@pytest.mark.parametrize("option", ["--exec", "--sh-exec", "--filter"])
def test_the_environment_of_a_program_is_the_users(option: str) -> None:
    before = {**UNMEASURED, "HOME": "/root", "USER": "root", "LOGNAME": "root", "SHELL": "/bin/sh"}
    with listen("-k", "--user", "nobody", option, "env", "0", env=before) as server:
        variables = ask(server.port).decode().split("\n")
        wanted = {f"HOME={NOBODY.pw_dir}", "USER=nobody", "LOGNAME=nobody", "SHELL=/bin/sh", f"PATH={before['PATH']}"}
        assert wanted <= {*variables}
    with listen("--user", f"{FREE_ID}:{FREE_ID}", option, "env", "0", env=before) as server:
        names = {variable.partition("=")[0] for variable in ask(server.port).decode().split("\n")}
        assert names.isdisjoint({"HOME", "USER", "LOGNAME"})


@as_root
@pytest.mark.parametrize("option", ["--exec", "--sh-exec", "--filter"])
def test_a_program_gains_no_rights_by_the_file_of_another(option: str) -> None:
    with listen("--user", "nobody", option, "grep NoNewPrivs /proc/self/status", "0", env=UNMEASURED) as server:
        assert ask(server.port).split() == [b"NoNewPrivs:", b"1"]


@as_root
@pytest.mark.parametrize("option", ["--sh-exec", "--filter"])
def test_a_program_can_write_to_the_terminal_of_root_and_neither_read_it_nor_type_into_it(option: str) -> None:
    type_into = f"{require('perl')} -e '$x = q(x); ioctl(STDERR, 0x5412, $x) or print qq($!)'"  # TIOCSTI
    command = f"echo shown >&2; head -c1 <&2 2>&1; {type_into}; true"
    with terminal() as (keyboard, screen):
        # stderr is the terminal, so the port is announced there.
        process = Running(
            [*PYNC, "-vld", "--user", "nobody", option, command, "0"],
            stdin=screen,
            stderr=screen,
            env=UNMEASURED,
            **controlled(),
        )
        with process:
            said = b""
            while b"\n" not in said:
                said += os.read(keyboard.fileno(), 1 << 10)
            keyboard.write(b"secret\n")
            with connect(int(said.split()[3])) as conn:
                conn.shutdown(socket.SHUT_WR)
                answer = drain(conn)
            assert b"Bad file descriptor" in answer and b"secret" not in answer
            assert b"Operation not permitted" in answer or b"Input/output error" in answer
            assert process.wait(DEADLINE) == 0
