"""The environment of a program: ours without secrets, with the facts of its connection.

A module of its own, because it is all that a peer can put into a program's environment, and what must not come out of
ours. A peer chooses its address if that is a unix path or an abstract name: any bytes, also NUL and what is no text.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pync.events import Address

SECRET = ("PYNC_PROXY_AUTH", "NCAT_PROXY_AUTH")  # variables that hold a password for a proxy
OURS = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET")  # what concerns our process alone
LIBSTDBUF = ("/usr/libexec/coreutils/libstdbuf.so", "/usr/lib/coreutils/libstdbuf.so")


def environment(protocol: str, local: Address, remote: Address) -> dict[str, str]:
    """Our environment with the facts of the connection, as PYNC_* and as NCAT_* (ncat(1), "NCAT_REMOTE_ADDR").

    A variable without a name, which a process can be started with, cannot be passed on. What a service manager has
    passed to us is not for our programs (sd_listen_fds(3), sd_notify(3)).
    """
    facts = {
        "REMOTE_ADDR": remote.host,
        "REMOTE_PORT": "" if remote.port is None else str(remote.port),
        "LOCAL_ADDR": local.host,
        "LOCAL_PORT": "" if local.port is None else str(local.port),
        "PROTO": protocol.upper(),
    }
    # No variable can hold NUL, which an abstract name can. The system shows it as @, too (/proc/net/unix).
    shown = {name: value.replace("\0", "@") for name, value in facts.items()}
    ours = {name: value for name, value in os.environ.items() if name and name not in SECRET + OURS}
    return {**ours, **{f"{prefix}_{name}": value for prefix in ("PYNC", "NCAT") for name, value in shown.items()}}


def unbuffered(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that make C programs write at once; none without libstdbuf (stdbuf(1) does the same)."""
    library = next(filter(os.path.exists, LIBSTDBUF), None)
    if library is None:
        return {}
    preloaded = environment.get("LD_PRELOAD", "")
    return {"LD_PRELOAD": f"{preloaded}:{library}".lstrip(":"), "_STDBUF_O": "0"}
