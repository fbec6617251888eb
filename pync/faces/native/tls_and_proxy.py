"""What pync's own face makes of its options for TLS, relaying and rare sockets; for proxies see `own_proxies.py`.

Theory: this is imported only if one of them is there, because every run pays for what its face imports. It does what
`own.py` does for the rest: words become facts, and what makes no sense together is a usage error.
"""

from __future__ import annotations

from pync.config import Target, Tls
from pync.errors import UsageError
from pync.faces import option_values
from pync.faces.native.options import TABLE
from pync.faces.native.proxies import PROXY, host_and_port, port_of, proxy, served
from pync.faces.option_table import check_conflicts, name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Set
    from typing import Any

    from pync.faces.option_table import Rule, Values

TLS = ("tls", *Tls.__annotations__, "no_verify")  # each of them asks for TLS
OURS = ("certificate", "key", "alpn", "ciphers")
THEIRS = ("trust_file", "pin", "server_name")
CLIENT = ("no_verify", "pin", "server_name")  # what only who connects can want
TRUST = frozenset(("no_verify", "trust_file"))
PROGRAMS = ("exec", "sh_exec", "filter", "http")
DATA = ("crlf", "telnet", "pace", "delay", "send_only", "recv_only", "at_once", "no_shutdown", "receive_limit")
HUBS = ("broker", "chat")
RELAYS = (*HUBS, "to", "serve_proxy")
CIDS = {"hypervisor": 0, "local": 1, "host": 2, "any": 2**32 - 1}  # vsock(7)
ANY_PORT = 2**32 - 1  # the ephemeral one among vsock's

CONFLICTS: tuple[Rule, ...] = (
    ("no_verify", ("verify", "pin", "trust_file"), "one verifies, the other does not"),
    ("pin", ("trust_file",), "the one certificate that is accepted needs no authority"),
    *((which, ("datagram",), "TLS needs a stream") for which in TLS),
    *((which, ("datagram",), "a proxy passes on streams alone") for which in (*PROXY, "serve_proxy")),
    *((which, ("vsock", "sctp"), "proxies know TCP alone") for which in PROXY),
    ("proxy", ("socks_proxy",), "one proxy at a time"),
    *(("scan", (which,), "a scan transfers nothing") for which in (*TLS, "pass_descriptor")),
    *((which, PROGRAMS, "the clients are relayed already") for which in RELAYS),
    *((which, (*DATA, "no_stdin"), "nothing of stdin is sent") for which in ("to", "serve_proxy")),
    *((which, (*DATA[1:], "quit_after", "datagram"), "a hub is for all") for which in HUBS),
    *((which, ("to", "serve_proxy"), "the clients are relayed already") for which in HUBS),
    ("to", ("serve_proxy",), "where to is for the clients to say"),
    ("pass_descriptor", (*TLS, *PROGRAMS, *DATA), "the socket is somebody else's then"),
    ("pass_descriptor", ("listen", "datagram"), "it hands over one connection"),
    ("sctp", ("datagram", "vsock"), "SCTP is another transport"),
    ("vsock", ("family", "allow", "deny", "allow_files", "deny_files"), "the addresses are of another kind"),
    ("vsock", ("source_host", "source_port", "scan"), "a CID and a port are all there is"),
)


def extras(values: Values, operands: list[str]) -> tuple[Values, list[str], dict[str, Any]]:
    """The values with what some of them imply, the operands, and the facts for Config. Raises UsageError."""
    values = _implied(values)
    through = proxy(values)
    trust = TRUST if through and through.tls else frozenset()  # may be about the proxy alone
    _check(values, trust)
    facts: dict[str, Any] = {
        "tls": _tls(values, {*TLS} - trust),
        "proxy": through,
        "hub": values.get("hub"),
        "target": _target(values),
        "serve_proxy": served(values),
    }
    if "vsock" in values:
        facts |= _vsock(values, operands)
        operands = ["vsock", "1"] if "listen" not in values else ["1"]
    elif "serve_proxy" in values and _is_anywhere(values, operands):
        facts["host"] = "127.0.0.1" if "numeric" in values else "localhost"  # never an open proxy by accident
    return values, operands, facts


def _is_anywhere(values: Values, operands: list[str]) -> bool:
    """Whether no address to listen on is given."""
    operand = len(operands) > ("source_port" not in values)
    return not (operand or "source_host" in values or values.get("family") == "unix")


def _implied(values: Values) -> Values:
    """Ncat's customs: a hub listens, and a listener with a type of proxy is one. Both serve many."""
    more: Values = {}
    if values.keys() & {"broker", "chat"}:
        more = {"hub": "chat" if "chat" in values else "broker", "listen": True, "keep_open": True}
    elif "listen" in values and "proxy_type" in values and values.keys().isdisjoint((*PROXY, "serve_proxy")):
        more = {"serve_proxy": values["proxy_type"], "keep_open": True}
    return {**values, **more}


def _check(values: Values, trust: Set[str]) -> None:
    check_conflicts(TABLE, values, CONFLICTS)
    for dest in "to", "serve_proxy":
        if dest in values and "listen" not in values:
            raise UsageError(f"{name(TABLE, dest)} without -l", "only a listener has clients")
    for dest, other in (("to_tls", "to"), ("key", "certificate")):
        if dest in values and other not in values:
            raise UsageError(f"{name(TABLE, dest)} without {name(TABLE, other)}", "one belongs to the other")
    for dest in CLIENT:
        if dest in values and "listen" in values and "to_tls" not in values and dest not in trust:
            raise UsageError(f"{name(TABLE, dest)} with -l", "it is about a server's certificate")
    for dest in PROXY:
        if dest in values and "listen" in values and values.keys().isdisjoint({"to", "serve_proxy"}):
            raise UsageError(f"{name(TABLE, dest)} with -l", "a listener connects to nobody")
    for dest in "proxy_user", "proxy_auth", "proxy_dns", "proxy_type":
        if dest in values and values.keys().isdisjoint((*PROXY, "serve_proxy")):
            raise UsageError(f"{name(TABLE, dest)} without --proxy", "there is no proxy to say it to")


# -- TLS


def _check_name(values: Values, what: str) -> None:
    """A path is nothing that a certificate could be for."""
    if values.keys().isdisjoint(CLIENT):
        raise UsageError(
            what, f"a path is no name to verify; add one of {', '.join(name(TABLE, one) for one in CLIENT)}"
        )


def _tls(values: Values, asking: Set[str]) -> Tls | None:
    """How the server, or our clients, are spoken to: by TLS if one of the options `asking` for it is there."""
    if not ("tls" in values if "to_tls" in values else values.keys() & asking):
        return None
    if "listen" not in values:
        if values.get("family") == "unix":
            _check_name(values, "--ssl with -U")
        return Tls(**_chosen(values, *OURS, *THEIRS), verify="no_verify" not in values)
    verify = "verify" in values or ("trust_file" in values and "to_tls" not in values and "trust_file" in asking)
    return Tls(**_chosen(values, *OURS, *("trust_file",) * verify), verify=verify)


def _chosen(values: Values, *which: str) -> dict[str, Any]:
    return {dest: values[dest] for dest in which if dest in values}


def _target(values: Values) -> Target | None:
    if "to" not in values:
        return None
    tls = _target_tls(values) if "to_tls" in values else None
    text = values["to"]
    if "/" in text or text.startswith("@"):
        if tls:
            _check_name(values, f"--to-ssl with --to {text}")
        return Target(host=text, tls=tls)
    host, port = host_and_port("--to", text)
    if not host or not port:
        raise UsageError(f"--to {text}", "not HOST:PORT, nor the path of a unix socket")
    return Target(host=host, port=port_of("--to", port, "udp" if "datagram" in values else "tcp"), tls=tls)


def _target_tls(values: Values) -> Tls:
    """What is ours is for our clients if those are spoken to by TLS, and otherwise shown to the target."""
    ours = () if "tls" in values else OURS
    return Tls(**_chosen(values, *ours, *THEIRS), verify="no_verify" not in values)


# -- Places


def _vsock(values: Values, operands: list[str]) -> dict[str, Any]:
    """[CID] PORT, each of 32 bits (vsock(7))."""
    *where, port = operands or [""]
    if len(where) > 1 or (not where and "listen" not in values) or not operands:
        raise UsageError("--vsock", "takes CID PORT, or with -l [CID] PORT")
    cid = CIDS.get(where[0].lower()) if where else CIDS["any"]
    number = option_values.count(0, 2**32 - 1)
    try:
        ports = (number(port) or (ANY_PORT if "listen" in values else 0),)
        return {"family": "vsock", "host": str(number(where[0]) if cid is None else cid), "ports": ports}
    except ValueError as error:
        raise UsageError("--vsock", str(error)) from None
