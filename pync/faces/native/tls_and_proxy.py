"""What the options of TLS, proxies, relaying and rare sockets ask for; `config.py` does the rest.

Only a command line with one of these options imports this, because every run pays for what its face imports.

Theory: a proxy's URL says most about it, and an option beside the URL must not contradict it. The login for a proxy
can be in the environment, where ps(1) does not show a password. Options of TLS may be about several connections at
once: to a proxy, and to the target or from the clients.
"""

from __future__ import annotations

import os

from pync.config import Access, Config, Proxy, Tls
from pync.errors import UsageError
from pync.faces import option_values
from pync.faces.native.conflicts import PROXIES, TLS, check_tls_and_proxy
from pync.faces.native.options import PROXY_TYPE, TABLE
from pync.faces.option_table import read_value, spelling_of
from pync.listener_config import ServeProxy, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from pync.config import ProxyKind
    from pync.faces.option_table import Values

LOGIN_VARIABLES = ("PYNC_PROXY_AUTH", "NCAT_PROXY_AUTH")
# For each type of proxy the protocol that is spoken to it, and its usual port.
KINDS_AND_PORTS: dict[str, tuple[ProxyKind, int]] = {
    "http": ("http", 3128),
    "https": ("http", 443),
    "socks4": ("socks4", 1080),
    "socks5": ("socks5", 1080),
}
OWN_SIDE = ("certificate", "key", "alpn", "ciphers")  # what pync shows and offers in a handshake
SERVER_SIDE = ("trust_file", "pin", "server_name")  # how the server's certificate is verified
WAYS_WITHOUT_A_HOST = ("no_verify", "pin", "server_name")  # those that need no host's name for it
CIDS = {"hypervisor": 0, "local": 1, "host": 2, "any": 2**32 - 1}  # vsock(7)
EPHEMERAL_VSOCK_PORT = 2**32 - 1  # VMADDR_PORT_ANY


def tls_and_proxy(values: Values, operands: list[str]) -> tuple[Values, list[str], dict[str, Any]]:
    """The values with what some of them imply, the operands, and more facts for Config. Raises UsageError."""
    values = _implied(values)
    proxy = _proxy(values)
    if proxy and proxy.tls:
        values["proxy_tls"] = True
    check_tls_and_proxy(values)
    facts: dict[str, Any] = {
        "tls": _tls(values),
        "proxy": proxy,
        "hub": values.get("hub"),
        "target": _target(values),
        "serve_proxy": _served_proxy(values),
    }
    if "vsock" in values:
        facts |= _vsock(values, operands)
        # `config.py` reads the operands as a host and ports. These pass there, and `facts` overrules what it reads.
        operands = ["vsock", "1"] if "listen" not in values else ["1"]
    elif "serve_proxy" in values and not _has_own_address(values, operands):
        facts["host"] = "127.0.0.1" if "numeric" in values else "localhost"  # never an open proxy by accident
    return values, operands, facts


def _implied(values: Values) -> Values:
    """A copy with Ncat's customs: a hub listens, and a listener with a type of proxy is one. Both serve many.

    --to may name a WebSocket: `to_websocket` is no option.
    """
    more: Values = {}
    scheme = values.get("to", "").partition("://")[0].lower()
    if scheme in ("ws", "wss"):
        return {**values, "to_websocket": True, **({"to_tls": True} if scheme == "wss" else {})}
    if values.keys() & {"broker", "chat"}:
        more = {"hub": "chat" if "chat" in values else "broker", "listen": True, "keep_open": True}
    elif "listen" in values and "proxy_type" in values and values.keys().isdisjoint((*PROXIES, "serve_proxy")):
        more = {"serve_proxy": values["proxy_type"], "keep_open": True}
    return {**values, **more}


def _has_own_address(values: Values, operands: list[str]) -> bool:
    """Whether a listener is given an address to listen on."""
    operand = len(operands) > ("source_port" not in values)
    return operand or "source_host" in values or values.get("family") == "unix"


def _is_unix_path(target: str) -> bool:
    """Whether the value of --to names a unix socket."""
    return "/" in target or target.startswith("@")


def _subset(values: Values, dests: Iterable[str]) -> dict[str, Any]:
    return {dest: values[dest] for dest in dests if dest in values}


# -- TLS -----------------------------------------------------------------------------------------------------------


def _tls(values: Values) -> Tls | None:
    """TLS with the server that pync connects to, or with the clients of a listener. None if no option asks for it.

    Next to --to-ssl only --ssl asks for it: the other options are about the target. Next to a proxy under TLS the
    options of trust may be about that proxy alone.
    """
    asking = {"tls"} if "to_tls" in values else {*TLS}
    if "proxy_tls" in values:
        asking -= {"no_verify", "trust_file"}
    if not values.keys() & asking:
        return None
    if "listen" not in values:
        if values.get("family") == "unix":
            _check_verifiable(values, "--ssl with -U")
        return Tls(**_subset(values, OWN_SIDE + SERVER_SIDE), verify="no_verify" not in values)
    verify = "verify" in values or ("trust_file" in values and "trust_file" in asking)
    if verify and "trust_file" not in values:
        why = "a certificate of any public authority would let its client in; name the authority of your clients"
        raise UsageError("--ssl-verify without --ssl-trustfile", why)
    return Tls(**_subset(values, OWN_SIDE + ("trust_file",) * verify), verify=verify)


def _target_tls(values: Values) -> Tls:
    """TLS with the target of --to. With --ssl our certificate is for the clients, otherwise it is for the target."""
    shown = () if "tls" in values else OWN_SIDE
    return Tls(**_subset(values, shown + SERVER_SIDE), verify="no_verify" not in values)


def _check_verifiable(values: Values, what: str) -> None:
    """Raise UsageError unless there is a way to verify the server at a path: no certificate is for a path."""
    if values.keys().isdisjoint(WAYS_WITHOUT_A_HOST):
        ways = ", ".join(spelling_of(TABLE, dest) for dest in WAYS_WITHOUT_A_HOST)
        raise UsageError(what, f"a path is no name to verify; add one of {ways}")


# -- Relaying ------------------------------------------------------------------------------------------------------


def _target(values: Values) -> Target | None:
    """Where a listener connects its clients to. Raises UsageError."""
    if "to" not in values:
        return None
    text = values["to"]
    websocket = None
    if "to_websocket" in values:
        from pync.faces.native.websocket import target

        text, websocket = target(values)
    elif "://" in text:  # its slashes would make it a path
        raise UsageError(f"--to {text}", "not HOST:PORT, the path of a unix socket, nor ws://; TLS is --to-ssl")
    tls = _target_tls(values) if "to_tls" in values else None
    if _is_unix_path(text):
        if tls:
            _check_verifiable(values, f"--to-ssl with --to {text}")
        return Target(host=text, tls=tls, proxy_header=values.get("proxy_header"))
    host, port = read_value(f"--to {text}", option_values.host_and_port, text)
    if not host or not port:
        raise UsageError(f"--to {text}", "not HOST:PORT, nor the path of a unix socket")
    number = read_value("--to: port", option_values.port, port, "udp" if "datagram" in values else "tcp")
    return Target(host=host, port=number, tls=tls, websocket=websocket, proxy_header=values.get("proxy_header"))


# -- Proxies -------------------------------------------------------------------------------------------------------


def _proxy(values: Values) -> Proxy | None:
    """The proxy to go through. Raises UsageError."""
    dest = next((dest for dest in PROXIES if dest in values), None)
    if dest is None:
        return None
    option, url = spelling_of(TABLE, dest), values[dest]
    if _connects_to_a_path(values):
        raise UsageError(f"{option} with a unix socket", "proxies know TCP alone")
    scheme, login, address = _split_url(url)
    # The type is that of the URL, or else of --proxy-type, or else the one that the option is for.
    name = values.get("proxy_type") or ("http" if dest == "proxy" else "socks5")
    if scheme is not None:
        name = _scheme(option, scheme, values.get("proxy_type"))
    host, port = read_value(f"{option} {address}", option_values.host_and_port, address)
    if not host:
        raise UsageError(option, "no host")  # without the URL: there may be a password in it
    kind, usual_port = KINDS_AND_PORTS[name]
    user, password = _login(values, login)
    return Proxy(
        kind=kind,
        host=host,
        port=read_value(f"{option}: port", option_values.port, port) if port else usual_port,
        tls=Tls(verify="no_verify" not in values, trust_file=values.get("trust_file")) if name == "https" else None,
        user=user,
        password=password,
        remote_names=values.get("proxy_dns") != "local",
    )


def _connects_to_a_path(values: Values) -> bool:
    """Whether a unix socket is connected to: by a client, or by a listener for its clients."""
    return _is_unix_path(values.get("to", "")) if "listen" in values else values.get("family") == "unix"


def _split_url(url: str) -> tuple[str | None, str, str]:
    """The scheme, the login and the address in [SCHEME://][LOGIN@]ADDRESS[/]. None: there is no scheme."""
    scheme, mark, rest = url.rpartition("://")
    login, _, address = rest.rpartition("@")
    return scheme if mark else None, login, address.removesuffix("/")


def _scheme(option: str, scheme: str, asked: str | None) -> str:
    """The type of proxy that a URL's scheme names; `asked` is the one of --proxy-type. Raises UsageError."""
    name: str = read_value(f"{option} {scheme}://", PROXY_TYPE, scheme)
    if asked not in (None, name):
        raise UsageError(f"--proxy-type {asked}", f"the proxy's address says {scheme}")
    return name


def _served_proxy(values: Values) -> ServeProxy | None:
    """The proxy to be. Raises UsageError."""
    if "serve_proxy" not in values:
        return None
    kind = values["serve_proxy"]
    if kind not in ("http", "socks5"):
        raise UsageError(f"proxy type {kind}", "a proxy of ours is http or socks5")
    _check_environment(values)
    next_proxy = next((values[dest] for dest in PROXIES if dest in values), None)
    if next_proxy is not None and "@" not in next_proxy:
        return ServeProxy(kind=kind)  # the login, as all else about a proxy, is meant for the next one
    targets = Access(
        **{field: values[f"proxy_{field}"] for field in Access.__annotations__ if f"proxy_{field}" in values}
    )
    if next_proxy is None and "proxy_dns" in values:
        raise UsageError("--proxy-dns without --proxy", "a proxy of ours looks names up")
    if next_proxy is None and (other := values.get("proxy_type", kind)) != kind:
        raise UsageError(f"--proxy-type {other} with --proxy-server {kind}", "it is one or the other")
    user, password = _login(values, "")
    if user is not None and not password:
        raise UsageError("--proxy-auth", "a proxy that wants no password should not ask for one")
    return ServeProxy(kind=kind, user=user, password=password or "", targets=targets)


def _check_environment(values: Values) -> None:
    """Raise UsageError for a login in the environment that is empty: a script may have meant to set one."""
    if "proxy_auth" in values:
        return
    for variable in LOGIN_VARIABLES:
        if os.environ.get(variable) == "":
            raise UsageError(f"{variable} is empty", "a proxy without a login needs no variable: take it out")


def _login(values: Values, url_login: str) -> tuple[str | None, str | None]:
    """User and password, from the option, the URL or the environment. A password of None is to be asked for.

    In a chain of proxies the URL has the login for the next one, and the option the login for ours.
    """
    text = values.get("proxy_auth")
    if url_login and (text is None or "serve_proxy" in values):
        from urllib.parse import unquote

        user, _, password = url_login.partition(":")
        return unquote(user), unquote(password)
    if text is None:
        text = next((login for variable in LOGIN_VARIABLES if (login := os.environ.get(variable))), None)
    user, _, password = (text or "").partition(":")
    if "proxy_user" in values:
        return values["proxy_user"], password if user == values["proxy_user"] else None
    return (None, "") if text is None else (user, password)


def ask_password(config: Config) -> Config:
    """The config with the password for the proxy, which is asked for on the terminal. Raises UsageError."""
    proxy = config.proxy
    assert proxy is not None
    from pync.faces.password import ask

    try:
        password = ask(f"Proxy password for {proxy.user}@{proxy.host}: ")
    except OSError:
        why = f"no terminal to ask for the password; use --proxy-auth, or {LOGIN_VARIABLES[0]} in the environment"
        raise UsageError(f"-P {proxy.user}", why) from None
    except EOFError:
        raise UsageError(f"-P {proxy.user}", "no password was given") from None
    proxy = proxy.but(password=password)
    asked: Config = config.but(proxy=proxy, places=tuple(place.but(proxy=proxy) for place in config.places))
    return asked


# -- Rare sockets --------------------------------------------------------------------------------------------------


def _vsock(values: Values, operands: list[str]) -> dict[str, Any]:
    """[CID] PORT, each of 32 bits (vsock(7)). Raises UsageError."""
    *cids, port = operands or [""]
    if len(cids) > 1 or (not cids and "listen" not in values) or not operands:
        raise UsageError("--vsock", "takes CID PORT, or with -l [CID] PORT")
    number = option_values.integer(0, 2**32 - 1)
    port_number = read_value("--vsock", number, port) or (EPHEMERAL_VSOCK_PORT if "listen" in values else 0)
    cid = CIDS.get(cids[0].lower()) if cids else CIDS["any"]
    if cid is None:
        cid = read_value("--vsock", number, cids[0])
    return {"family": "vsock", "host": str(cid), "ports": (port_number,)}
