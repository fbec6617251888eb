"""What stands behind the system's word for a failure: a reason that says more to the user, and the option that helps.

Theory: the system has few words for many faults. "Permission denied" is its answer to a broadcast address, "Invalid
argument" to a link-local address without its interface, "Address already in use" to the path of a file. Here the
failure, the config and the file at a path show which fault it was; the system's word stays where they do not.

Only a run that reports a failure imports this.
"""

from __future__ import annotations

import errno
import os
import stat

from pync.errors import BindError, ConnectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config
    from pync.errors import PyncError

DENIED, INVALID = os.strerror(errno.EACCES), os.strerror(errno.EINVAL)
IN_USE, REFUSED = os.strerror(errno.EADDRINUSE), os.strerror(errno.ECONNREFUSED)
# fe80::/10, and multicast groups of one link and of one interface (RFC 4291, sections 2.5.6 and 2.7).
LINK_LOCAL = ("fe8", "fe9", "fea", "feb", "ff01:", "ff02:")


def clearer(error: PyncError, config: Config) -> str:
    """The line for an error: what failed, and why."""
    if not isinstance(error, BindError | ConnectError):
        return str(error)
    return f"{error.what}: {reason_for(error.what, error.why, config)}"


def reason_for(what: str, why: str, config: Config) -> str:
    """Why `what` failed: `connect to …`, `listen on …` or `bind to …`. `why` is the system's word for it."""
    if why == DENIED and what.startswith("connect") and config.datagram and not config.socket.broadcast:
        return f"{why}; a broadcast address needs -b" if config.family not in ("unix", "vsock") else why
    if why == INVALID and (address := _without_zone(what)):
        return f"{why}; name its interface, as in {address}%eth0"
    paths = config.family == "unix" or (config.target and config.target.port is None)
    if why in (IN_USE, REFUSED) and paths and (kind := _kind_of_file(what)):
        return f"it is a {kind} and no socket"
    return why


def _without_zone(what: str) -> str:
    """The address in `what` that says nothing without an interface (RFC 4007, section 11), or ""."""
    words = (word.lstrip("[(").partition("]")[0].rstrip(")") for word in what.split())
    return next((word for word in words if word.lower().startswith(LINK_LOCAL) and ":" in word and "%" not in word), "")


def _kind_of_file(what: str) -> str:
    """What is at the path in `what`, if there is something that is no socket; or ""."""
    path = what.partition(" ")[2].partition(" ")[2].removesuffix(" failed")
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return ""
    return "" if stat.S_ISSOCK(mode) else "directory" if stat.S_ISDIR(mode) else "file"
