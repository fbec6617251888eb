"""Becoming another user for good: --user NAME[:GROUP].

`lookup` reads the account files before anything is bound, so that a wrong name is an early error. `drop` makes only
system calls, once the sockets are bound, and trusts none of them: afterwards it checks the ids of the process, and
tries to become root again. A process that could not become the user must not serve any client.

The user that the process becomes:
- NAME: the account's user, its group, and the supplementary groups that the system's group database gives it.
- NAME:GROUP: the user with that one group, and no other.
- A number is looked up as a name first, then as an id. A user id without an account needs a GROUP, as for chroot(1).

Real, effective and saved ids all change. That clears root's capabilities (capabilities(7): when all user ids change
from 0 to others), unless the process is set to keep them. CAP_SETUID and CAP_SETGID that were kept are found by trying
to become root again. The environment stays as it is: programs that pync starts see the HOME and USER of the user that
started pync, as under setpriv(1).

Afterwards the process's entries in /proc belong to root (proc(5), under "dumpable"): /proc/self/fd/N can no longer be
opened.
"""

from __future__ import annotations

import os

from pync.config import Frozen
from pync.errors import PrivilegeError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pwd
    from collections.abc import Callable

_LAST_ID = 2**32 - 2  # to the kernel the next number means: leave this id as it is


class Identity(Frozen):
    """A user to become. `name` is for messages, as the command line has it."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


def lookup(text: str) -> Identity:
    """The user that is meant by NAME or NAME:GROUP. Raises PrivilegeError if the user or group does not exist."""
    name, colon, group = text.partition(":")
    uid, account = _user(name)
    if colon:
        gid = _group(group)
        return Identity(name=text, uid=uid, gid=gid, groups=(gid,))
    if account is None:
        raise PrivilegeError(f"user {name}", f"no account tells its group; name one, as in {name}:GROUP")
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    return Identity(name=text, uid=uid, gid=account.pw_gid, groups=tuple(groups))


def drop(identity: Identity) -> None:
    """Become this user and no other, for good. Raises PrivilegeError if that is not permitted or did not happen."""
    if not _is(identity):
        _become(identity)
    if not _is(identity):
        raise PrivilegeError(f"user {identity.name}", "the system did not change all the ids")
    if identity.uid != 0:
        _check_no_way_back(identity)


def _user(name: str) -> tuple[int, pwd.struct_passwd | None]:
    import pwd

    try:
        account = pwd.getpwnam(name)
        return account.pw_uid, account
    except (KeyError, ValueError):  # ValueError: the name cannot be passed to the system
        uid = _id("user", name)
    try:
        return uid, pwd.getpwuid(uid)
    except KeyError:
        return uid, None


def _group(name: str) -> int:
    import grp

    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        return _id("group", name)


def _id(kind: str, text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _LAST_ID:
        return int(text)
    raise PrivilegeError(f"{kind} {text}", f"no such {kind}")


def _is(identity: Identity) -> bool:
    return (
        os.getresuid() == (identity.uid,) * 3
        and os.getresgid() == (identity.gid,) * 3
        and {*os.getgroups(), identity.gid} == {*identity.groups, identity.gid}
    )


def _become(identity: Identity) -> None:
    try:
        # The groups come first, because without root's user id they cannot be changed.
        os.setgroups(identity.groups)
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
    except OSError as error:
        raise PrivilegeError(f"user {identity.name}", reason(error)) from error


def _check_no_way_back(identity: Identity) -> None:
    if _succeeds(os.setuid) or (identity.gid != 0 and _succeeds(os.setgid)):
        raise PrivilegeError(f"user {identity.name}", "the process could become root again")


def _succeeds(become: Callable[[int], None]) -> bool:
    try:
        become(0)
    except OSError:
        return False
    return True
