"""A listener's other places: the sockets that were passed to this process (systemd, podman, inetd), and `--also`.

Theory: `-l` without an address means the sockets that were passed. sd_listen_fds(3) numbers them from 3, and names the
process that they are for; inetd(8) passes one socket as stdin. An address next to sockets of systemd is refused: one of
them would be left unused. A socket pair as stdin is no connection with a client (a parent process that talks to us has
made it), and has no name of its own.

A module of its own, because a listener with one address does not import it.
"""

from __future__ import annotations

from pync.config import Target
from pync.errors import UsageError
from pync.faces import option_values
from pync.faces.option_table import read_value
from pync.net.inherited import has_manager, keep_messages_from_client, stdin_is_a_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.faces.option_table import Values


def passed(values: Values, *, named: bool) -> tuple[str, ...] | None:
    """The names of the passed sockets that are asked for, () for all of them; None if none are meant.

    `named`: the command line has an address. Raises UsageError.
    """
    names: tuple[str, ...] = values.get("fd_names", ())
    managed = has_manager()
    if names and not managed:
        raise UsageError("--fd-name", "no sockets were passed to pync (LISTEN_FDS)")
    if named and managed:
        raise UsageError("-l with an address", "sockets were passed to pync (LISTEN_FDS); -l alone listens on them")
    if managed:
        return names
    if named or not stdin_is_a_client():
        return None
    keep_messages_from_client()
    return ()


def also(values: Values) -> tuple[Target, ...]:
    """The places of `--also`. Raises UsageError."""
    protocol = "udp" if "datagram" in values else "tcp"
    return tuple(_place(text, protocol, unix=values.get("family") == "unix") for text in values["also"])


def _place(text: str, protocol: str, *, unix: bool) -> Target:
    what = f"--also {text}"
    if "/" in text or text.startswith("@"):
        return Target(host=text)
    if unix:
        raise UsageError(what, "not the path of a unix socket; give -l the port, and --also the path")
    host, port = read_value(what, option_values.host_and_port, text if ":" in text else f":{text}")
    if not port:
        raise UsageError(what, "not [HOST:]PORT, nor the path of a unix socket")
    return Target(host=host, port=read_value(f"{what}: port", option_values.listen_port, port, protocol))
