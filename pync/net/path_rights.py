"""The permissions and the owner of the path of a unix listener (--mode, --owner), right from the first moment.

Theory: to change them once the path is there would be a race. A client could connect before, and the path may lead to
another file by then. So the path is made as it shall be. The kernel takes the permissions of the socket itself
(fchmod(2) before bind(2)) without those of the umask, and makes the file as the effective user: see `creating_as` in
`privileges.py`. A directory may have rules of its own (its set-group-ID bit, a default ACL), so the result is checked.

A module of its own, because a listener without these options does not import it.
"""

from __future__ import annotations

import os
import stat

from pync.errors import BindError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.net.privileges import Identity
    from pync.net.unix_path import UnixPath
    from pync.system import socket

ALL = 0o777


def bind_with_mode(sock: socket.socket, name: Any, mode: int) -> None:
    """Bind to a path that gets these permissions. Raises OSError."""
    try:
        os.fchmod(sock.fileno(), mode)
    except OSError:  # not every system can do it, and the umask alone is enough where there are no ACLs
        pass
    before = os.umask(ALL & ~mode)
    try:
        sock.bind(name)
    finally:
        os.umask(before)


def owner_of_path(identity: Identity, text: str) -> Identity:
    """The user that creates the path for `--owner`: without a group, the group stays our own."""
    return identity if ":" in text else identity.but(gid=os.getegid())


def check_rights(place: UnixPath, mode: int | None, owner: Identity | None) -> None:
    """Raise BindError if a rule of the directory has made the path another one than was asked for."""
    status = os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)
    made = stat.S_IMODE(status.st_mode)
    if mode is not None and made != mode:
        raise BindError(f"give {place.path} mode {mode:o}", f"its directory makes that {made:o}")
    if owner and (status.st_uid, status.st_gid) != (owner.uid, owner.gid):
        why = f"it belongs to {status.st_uid}:{status.st_gid} in this directory"
        raise BindError(f"give {place.path} to {owner.name}", why)
