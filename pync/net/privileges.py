"""Becoming another user for good: --user NAME[:GROUP].

`lookup` reads the account files, before anything is bound, so that a wrong name is an early error. `drop` only
makes system calls, once the sockets are bound, and believes none of them: it looks at what the process is then,
and tries to go back. A process that could not be made what was asked for must not serve anybody.

Who the process becomes:
- NAME: the account's user, its group, and the supplementary groups that the system's group database gives it.
- NAME:GROUP: the user with that one group, and no other.
- A number is looked up as a name first, then as an id. A user id without an account needs a GROUP, as for chroot(1).

Real, effective and saved ids all change, and root's capabilities go with them (capabilities(7): a change of all
user ids from 0 to others clears them, unless the process was told to keep them; CAP_SETUID and CAP_SETGID kept are
found out by trying to go back). The environment stays as it is: programs that pync starts see the HOME and USER of
whoever started pync, as under setpriv(1).

Afterwards the process's entries in /proc belong to root (proc(5), under "dumpable"): /proc/self/fd/N can no
longer be opened.
"""

from __future__ import annotations

import os

from pync.config import Frozen
from pync.errors import PrivilegeError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pwd
    from collections.abc import Callable

_LAST_ID = 2**32 - 2  # to the kernel, the number after it means "leave this id alone"


class Identity(Frozen):
    """Who to become. `name` is what was asked for, for messages."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


def lookup(text: str) -> Identity:
    """Who NAME or NAME:GROUP is. Raises PrivilegeError for a user or a group that does not exist."""
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
    """Become this user and no other, for good. Raises PrivilegeError when that is not permitted or not so."""
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
    except (KeyError, ValueError):  # ValueError: not even a C string
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
        os.setgroups(identity.groups)  # the groups first: without root's user id they cannot be changed
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
