"""What pync/system/ adds to the system's own modules, and that it alone names what is Linux's own."""

from __future__ import annotations

import ast
import ipaddress
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from layers import MODULES, parsed, within
from taken_away import FEATURES

from pync.system import looks, moving, packed_address, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What only Linux has, or only some systems: names of the modules, and beginnings of paths.
NAMES = {name.removeprefix("_") for names in FEATURES.values() for name in names} | {
    *("ctypes.CDLL", "os.O_DIRECT", "selectors.DefaultSelector", "os.eventfd", "os.copy_file_range"),
    *("socket.TCP_INFO", "socket.IP_PKTINFO", "socket.SCM_CREDENTIALS", "socket.UDP_SEGMENT", "os.posix_spawnp"),
}
PATHS = ("/proc", "/dev/fd")


def linux_only(tree: ast.Module) -> Iterator[str]:
    """The names and paths in the code of a module that are Linux's own. Docstrings do not count."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in NAMES:
            yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            yield from ({f"{node.module}.{alias.name}" for alias in node.names} & NAMES)
        elif isinstance(node, ast.Constant) and str(node.value).startswith(PATHS) and id(node) not in prose:
            yield str(node.value)


OTHERS = [name for name in MODULES if name and not within(name, "system")]


@pytest.mark.parametrize("name", OTHERS)
def test_only_system_names_what_is_linuxs_own(name: str) -> None:
    tree = parsed(name)
    for node in ast.walk(tree):  # annotations are not evaluated
        if isinstance(node, ast.AnnAssign | ast.arg):
            node.annotation = ast.Constant(None)
    assert sorted(linux_only(tree)) == []


def test_a_name_and_a_path_of_linux_are_found() -> None:
    source = '"""Of /proc."""\nfrom select import epoll\nos.splice(0, 1)\nopen(f"/proc/{x}")'
    assert sorted(linux_only(ast.parse(source))) == ["/proc/", "os.splice", "select.epoll"]


def test_a_selector_elsewhere_refuses_what_is_always_ready(tmp_path: Path) -> None:
    with waiting.Waiting() as selector, (tmp_path / "file").open("w") as file, open(os.devnull) as null:
        for always in (file, null):
            with pytest.raises(PermissionError):
                selector.register(always, 1)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            selector.register(ours, 1)
            theirs.send(b"x")
            assert [key.fileobj for key, _ in selector.select(10)] == [ours]
            selector.unregister(ours)


def test_a_pipe_with_a_path_is_known(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    named = os.open(tmp_path / "fifo", os.O_RDWR)
    reading, writing = os.pipe()
    assert looks.is_named(named) and not looks.is_named(reading)
    for fd in (named, reading, writing):
        os.close(fd)


@pytest.mark.parametrize("poll", [True, False], ids=["poll", "select"])
@pytest.mark.parametrize("rdhup", [True, False], ids=["rdhup", "peek"])
def test_an_end_and_a_break_are_seen_by_whatever_there_is(
    poll: bool, rdhup: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not poll:
        monkeypatch.delattr("select.poll")
    if not rdhup or not poll:
        monkeypatch.setattr(looks, "RDHUP", 0)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not looks.has_ended(ours.fileno()) and looks.takes_more(ours.fileno(), 0)
        theirs.shutdown(socket.SHUT_WR)
        assert looks.has_ended(ours.fileno()) and not looks.is_over(ours.fileno())
        theirs.close()
        assert looks.is_over(ours.fileno())
    reading, writing = os.pipe()
    assert not looks.hangs_up(writing)
    os.close(reading)
    assert looks.hangs_up(writing) and looks.is_broken(writing)
    os.close(writing)


@pytest.mark.parametrize("position", [None, 2])
def test_a_file_is_sent_from_a_position_or_from_where_it_stands(
    position: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "LINUX", False)
    (tmp_path / "file").write_bytes(b"0123456789")
    ours, theirs = socket.socketpair()
    with ours, theirs, (tmp_path / "file").open("rb", buffering=0) as file:
        file.seek(4)
        assert moving.send_file(ours.fileno(), file.fileno(), position, 0) == 0
        assert moving.send_file(ours.fileno(), file.fileno(), position, 3) == 3
        assert theirs.recv(10) == (b"456" if position is None else b"234")
        assert file.tell() == (7 if position is None else 4)


CHILDREN = """
import os
from pync.system import processes
assert processes.REAPED_EARLY
pid = processes.spawn(("sh", "-c", "sleep 60 & kill -9 $$"), None, (0, 1), os.environ, new_session=True)
while (status := processes.child_status(pid)) is None:
    pass
assert status == -9 and processes.is_inhabited(pid) and os.getpgid(0) != pid
os.killpg(pid, 15)
while processes.is_inhabited(pid):
    pass
processes.reap(pid)
"""


def test_without_waitid_and_setsid_a_child_is_reaped_at_once_and_its_group_is_asked() -> None:
    take = f"import sys; sys.path[:0] = {sys.path!r}; import taken_away; taken_away.take_away(); "
    script = f"{take}exec({CHILDREN!r}, {{'__name__': 'pync.probe', '__builtins__': __builtins__}})"
    environment = {**os.environ, "PORTABLE_WITHOUT": "everything"}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=20)


def packed_by_ipaddress(host: str) -> bytes | None:
    try:
        return ipaddress.ip_address(host).packed
    except ValueError:
        return None


@given(st.ip_addresses().map(str) | st.text("0123456789abf:.%/") | st.text())
def test_an_address_is_packed_and_anything_else_is_not(host: str) -> None:
    zone = "%" in host  # the ipaddress module takes fe80::1%eth0, but the zone is not in the 16 bytes
    assert packed_address(host) == (None if zone else packed_by_ipaddress(host))
