"""Laws of --user: which user a name means, and that a process becomes that user for good.

What the kernel does is tried in real processes, which report their ids afterwards. What the kernel should never do
(change only some of the ids, or let a process become root again) is done by a stand-in.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pync.net import privileges
from pync.net.privileges import Identity, PrivilegeError, drop, lookup
from pync.system import rights

ROOT = os.geteuid() == 0
NOT_PERMITTED = "Operation not permitted"
FREE_ID = next(number for number in range(54321, 60000) if number not in {entry.pw_uid for entry in pwd.getpwall()})

# A child process becomes one user after the other, and then prints what the kernel has in /proc about it, or the error.
# It imports its modules first, while it may still read them.
CHILD = """
import grp, pwd, sys
from pync.net.privileges import PrivilegeError, drop, lookup
try:
    for user in sys.argv[1:]:
        drop(lookup(user))
except PrivilegeError as error:
    sys.exit(str(error))
for line in open("/proc/self/status"):
    if line.startswith(("Uid:", "Gid:", "Groups:", "CapPrm:", "CapEff:")):
        print(*line.split())
"""


class Ended(NamedTuple):
    """What a child process has reported."""

    status: dict[str, list[str]]  # the lines of /proc/self/status
    error: str = ""


def run(*users: str) -> Ended:
    """Become each user in a child process."""
    result = subprocess.run(
        [sys.executable, "-c", CHILD, *users],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=Path(__file__).parent.parent.parent,
        env={},  # without the switch of coverage, which could not write its data as another user
    )
    assert result.returncode == bool(result.stderr), result
    status = {name: values for name, *values in map(str.split, result.stdout.splitlines())}
    return Ended(status, result.stderr.strip())


def refused(user: str) -> Ended:
    """The report of a process that was not permitted to become this user."""
    return Ended({}, f"user {user}: {NOT_PERMITTED}")


def check_became(user: str, uid: int, gid: int, groups: set[int]) -> None:
    """A process of root becomes exactly this; one of another user is not permitted to."""
    status, error = run(user)
    if not ROOT:
        assert (status, error) == refused(user)
        return
    assert error == ""
    assert status["Uid:"] == [str(uid)] * 4  # real, effective, saved, file system
    assert status["Gid:"] == [str(gid)] * 4
    assert set(map(int, status["Groups:"])) == groups
    assert (int(status["CapPrm:"][0], 16), int(status["CapEff:"][0], 16)) == (0, 0)


def why(text: str) -> str:
    """The error of a look-up."""
    with pytest.raises(PrivilegeError) as caught:
        lookup(text)
    return str(caught.value)


class Kernel:
    """A stand-in for the system calls of `os`, as a process of root sees them."""

    def __init__(self, *, ignores: str = "", lets_back: str = "", error: int = 0) -> None:
        self.uid: tuple[int, ...] = (0, 0, 0)
        self.gid: tuple[int, ...] = (0, 0, 0)
        self.groups = [0]
        self.calls: list[str] = []
        self.ignores, self.lets_back, self.error = ignores, lets_back, error

    def setgroups(self, groups: tuple[int, ...]) -> None:
        self._call("setgroups")
        self.groups = self.groups if self.ignores == "setgroups" else list(groups)

    def setresgid(self, *gid: int) -> None:
        self._call("setresgid")
        self.gid = self.gid if self.ignores == "setresgid" else gid

    def setresuid(self, *uid: int) -> None:
        self._call("setresuid")
        self.uid = self.uid if self.ignores == "setresuid" else uid

    def setuid(self, _: int) -> None:
        self._back("setuid")

    def setgid(self, _: int) -> None:
        self._back("setgid")

    def getresuid(self) -> tuple[int, ...]:
        return self.uid

    def getresgid(self) -> tuple[int, ...]:
        return self.gid

    def getgroups(self) -> list[int]:
        return self.groups

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.error:
            raise OSError(self.error, os.strerror(self.error))

    def _back(self, name: str) -> None:
        self.calls.append(name)
        if self.lets_back != name:
            raise PermissionError(errno.EPERM, NOT_PERMITTED)


def drop_on(kernel: Kernel, monkeypatch: pytest.MonkeyPatch, uid: int = 7, gid: int = 8) -> str:
    """Drop on the stand-in: the error, or nothing."""
    monkeypatch.setattr(privileges, "os", kernel)
    monkeypatch.setattr(rights, "os", kernel)
    try:
        drop(Identity(name="someone", uid=uid, gid=gid, groups=(gid, 9)))
    except PrivilegeError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("account", pwd.getpwall(), ids=lambda account: account.pw_name)
def test_a_name_is_the_account_with_all_its_groups(account: pwd.struct_passwd) -> None:
    listed = {entry.gr_gid for entry in grp.getgrall() if account.pw_name in entry.gr_mem}
    found = lookup(account.pw_name)
    assert (found.name, found.uid, found.gid) == (account.pw_name, account.pw_uid, account.pw_gid)
    assert set(found.groups) == {account.pw_gid} | listed


def test_a_group_given_is_the_only_one() -> None:
    group = grp.getgrgid(pwd.getpwnam("daemon").pw_gid)
    home = pwd.getpwuid(0).pw_dir
    identity = Identity(name="x", uid=0, gid=group.gr_gid, groups=(group.gr_gid,), login="root", home=home)
    assert lookup(f"root:{group.gr_name}") == identity.but(name=f"root:{group.gr_name}")
    assert lookup(f"0:{group.gr_gid}") == identity.but(name=f"0:{group.gr_gid}")


def test_a_number_is_the_account_of_that_id() -> None:
    daemon = pwd.getpwnam("daemon")
    assert lookup(str(daemon.pw_uid)) == lookup("daemon").but(name=str(daemon.pw_uid))


def test_a_number_without_an_account_needs_a_group() -> None:
    assert why(f"{FREE_ID}") == f"user {FREE_ID}: no account tells its group; name one, as in {FREE_ID}:GROUP"
    bare = lookup(f"{FREE_ID}:4242")
    assert (bare.uid, bare.gid, bare.groups) == (FREE_ID, 4242, (4242,))


@pytest.mark.parametrize("name", ["", "nobodyx", "-1", "4294967295", "9" * 5000, "1_0", "٣", "a\0b", "\ud800"])
def test_what_does_not_exist_is_an_error(name: str) -> None:
    assert why(name) == why(f"{name}:0") == f"user {name}: no such user"
    assert why(f"root:{name}") == f"group {name}: no such group"


@given(st.text())
def test_any_text_is_a_user_or_an_error_with_a_reason(text: str) -> None:
    try:
        assert lookup(text).name == text
    except PrivilegeError as error:
        assert error.why


@pytest.mark.parametrize("account", [a for a in pwd.getpwall() if a.pw_uid][:3], ids=lambda account: account.pw_name)
def test_a_process_becomes_the_user_for_good(account: pwd.struct_passwd) -> None:
    groups = set(os.getgrouplist(account.pw_name, account.pw_gid))
    check_became(account.pw_name, account.pw_uid, account.pw_gid, groups)
    check_became(str(account.pw_uid), account.pw_uid, account.pw_gid, groups)


def test_a_process_becomes_a_user_with_one_group_only() -> None:
    check_became(f"{FREE_ID}:4242", FREE_ID, 4242, {4242})
    check_became(f"{FREE_ID}:0", FREE_ID, 0, {0})


@pytest.mark.parametrize("user", [f"{FREE_ID + 1}:4242", f"{FREE_ID}:4243", f"{FREE_ID}:0", "0:4242", "root"])
def test_a_process_that_is_not_root_is_not_permitted_to_change(user: str) -> None:
    if ROOT:
        assert run(f"{FREE_ID}:4242", user) == refused(user)
    else:
        assert run(user) == refused(user)


def test_any_process_may_become_the_user_that_it_is_already() -> None:
    if ROOT:
        assert run(*[f"{FREE_ID}:4242"] * 2) == run(f"{FREE_ID}:4242")
    groups = {*os.getgroups(), os.getgid()}
    me = Identity(name="me", uid=os.getuid(), gid=os.getgid(), groups=tuple(groups))
    drop(me)
    assert os.getresuid() == (me.uid,) * 3 and {*os.getgroups(), os.getgid()} == groups


def test_groups_change_first_and_the_way_back_is_tried_last(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel()
    assert drop_on(kernel, monkeypatch) == ""
    assert (kernel.uid, kernel.gid, kernel.groups) == ((7, 7, 7), (8, 8, 8), [8, 9])
    assert kernel.calls == ["setgroups", "setresgid", "setresuid", "setuid", "setgid"]


def test_a_refusal_stops_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(error=errno.EPERM)
    assert drop_on(kernel, monkeypatch) == f"user someone: {NOT_PERMITTED}"
    assert kernel.calls == ["setgroups"]


@pytest.mark.parametrize("call", ["setgroups", "setresgid", "setresuid"])
def test_a_change_that_did_not_happen_is_noticed(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    assert drop_on(Kernel(ignores=call), monkeypatch) == "user someone: the system did not change all the ids"


@pytest.mark.parametrize("call", ["setuid", "setgid"])
def test_a_way_back_is_noticed(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    assert drop_on(Kernel(lets_back=call), monkeypatch) == "user someone: the process could become root again"


def test_the_way_back_is_tried_only_where_root_was_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drop_on(Kernel(lets_back="setgid"), monkeypatch, gid=0) == ""
    assert drop_on(Kernel(lets_back="setuid"), monkeypatch, uid=0) == ""
