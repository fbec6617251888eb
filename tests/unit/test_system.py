"""What pync/system adds to the system's own modules."""

from __future__ import annotations

import ast
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from layers import MODULES, parsed

from pync.system import packed_address


def packed_by_ipaddress(host: str) -> bytes | None:
    try:
        return ipaddress.ip_address(host).packed
    except ValueError:
        return None


@given(st.ip_addresses().map(str) | st.text("0123456789abf:.%/") | st.text())
def test_an_address_is_packed_and_anything_else_is_not(host: str) -> None:
    zone = "%" in host  # the ipaddress module takes fe80::1%eth0, but the zone is not in the 16 bytes
    assert packed_address(host) == (None if zone else packed_by_ipaddress(host))


# Names of calls, options and numbers that Linux has and other systems lack, or have in another form.
LINUX_ONLY = {
    *("epoll", "EpollSelector", "EPOLLRDHUP", "POLLRDHUP", "splice", "sendfile", "pidfd_open", "memfd_create"),
    *("F_SETPIPE_SZ", "F_GETPIPE_SZ", "O_PATH", "O_TMPFILE", "pipe2", "waitid", "setresuid", "setresgid"),
    *("SO_PEERCRED", "SO_BINDTODEVICE", "TCP_INFO", "TCP_KEEPIDLE", "MSG_DONTWAIT", "TIOCOUTQ", "AF_VSOCK"),
}


SYSTEM = {"os", "select", "selectors", "socket", "fcntl", "signal", "termios", "resource"}


def is_asked_for(node: ast.AST) -> bool:
    """Whether this takes something that is Linux's own out of a module of the system."""
    of_system = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in SYSTEM
    return of_system and isinstance(node, ast.Attribute) and node.attr in LINUX_ONLY


@pytest.mark.parametrize("name", [name for name in MODULES if name.partition(".")[0] != "system"])
def test_only_the_folder_system_names_what_is_linuxs_own(name: str) -> None:
    nodes = list(ast.walk(parsed(name)))
    types = {id(part) for node in nodes for part in ast.walk(getattr(node, "annotation", None) or ast.Pass())}
    assert [ast.unparse(node) for node in nodes if is_asked_for(node) and id(node) not in types] == []
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert [text for text in texts if text in LINUX_ONLY or text.startswith(("/proc/", "/dev/fd"))] == []
