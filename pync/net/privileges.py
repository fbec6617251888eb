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
to become root again.

`settle` makes good what the ids do not. No program gains rights by its file any more, as by sudo(8)'s set-user-ID bit
(prctl(2), PR_SET_NO_NEW_PRIVS). HOME, USER and LOGNAME are the new user's; SHELL and PATH stay, because they give no
rights. A terminal as stderr can only be written to, so that a program cannot read what root types.

`creating_as` makes a file that is the new user's from its first moment, before the process becomes that user. To change
the owner afterwards would be a race: the path may lead to another file by then.

Afterwards the process's entries in /proc belong to root (proc(5), under "dumpable"): /proc/self/fd/N can no longer be
opened.
"""

from __future__ import annotations

import os

from pync.config import Frozen
from pync.errors import PyncError, reason
from pync.system import open_again, rights

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pwd
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

_LAST_ID = 2**32 - 2  # to the kernel the next number means: leave this id as it is


class PrivilegeError(PyncError):
    """Privileges could not be dropped for good."""


class Identity(Frozen):
    """A user to become. `name` is for messages, as the command line has it."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    login: str | None = None  # the name of the account, if there is one, and its home
    home: str | None = None


def lookup(text: str) -> Identity:
    """The user that is meant by NAME or NAME:GROUP. Raises PrivilegeError if the user or group does not exist."""
    name, colon, group = text.partition(":")
    uid, account = _user(name)
    login, home = (account.pw_name, account.pw_dir) if account else (None, None)
    if colon:
        gid = _group(group)
        return Identity(name=text, uid=uid, gid=gid, groups=(gid,), login=login, home=home)
    if account is None:
        raise PrivilegeError(f"user {name}", f"no account tells its group; name one, as in {name}:GROUP")
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    return Identity(name=text, uid=uid, gid=account.pw_gid, groups=tuple(groups), login=login, home=home)


def drop(identity: Identity) -> None:
    """Become this user and no other, for good. Raises PrivilegeError if that is not permitted or did not happen."""
    if not _is(identity):
        _become(identity)
    if not _is(identity):
        raise PrivilegeError(f"user {identity.name}", "the system did not change all the ids")
    if identity.uid != 0:
        _check_no_way_back(identity)


def settle(identity: Identity) -> None:
    """Have the programs of this process be those of the user that it is about to become. Raises PrivilegeError."""
    for name, value in (("HOME", identity.home), ("USER", identity.login), ("LOGNAME", identity.login)):
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if not rights.gain_nothing():
        raise PrivilegeError(f"user {identity.name}", "programs could gain other rights")


def close_terminal_for_reading() -> None:
    """Open our stderr again, for writing only, if it is a terminal, as long as we may. Raises PrivilegeError."""
    if os.isatty(2):
        try:
            fd = open_again(2, os.O_WRONLY)
        except OSError as error:
            raise PrivilegeError("open the terminal for writing only", reason(error)) from None
        os.dup2(fd, 2)
        os.close(fd)


def creating_as(identity: Identity, create: Callable[[], T]) -> T:
    """Call `create` and return its result; the files that it creates belong to the user. Raises PrivilegeError.

    Root keeps its capabilities meanwhile, so files are also created where the user may not create any. A root that
    may not keep them (capabilities(7), SECBIT_NO_SETUID_FIXUP) has the rights of the user for that time.
    """
    if _is(identity):
        return create()
    before = os.geteuid(), os.getegid()
    bits = rights.keep_capabilities()
    try:
        os.setegid(identity.gid)
        os.seteuid(identity.uid)
    except OSError as error:
        raise PrivilegeError(f"user {identity.name}", reason(error)) from None
    else:
        return create()
    finally:
        os.seteuid(before[0])
        os.setegid(before[1])
        rights.restore(bits)


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
    return rights.ids() == ({identity.uid}, {identity.gid}) and {*os.getgroups(), identity.gid} == {
        *identity.groups,
        identity.gid,
    }


def _become(identity: Identity) -> None:
    try:
        # The groups come first, because without root's user id they cannot be changed.
        os.setgroups(identity.groups)
        rights.become(identity.uid, identity.gid)
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
