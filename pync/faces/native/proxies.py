"""What pync's own face makes of its options for proxies: the one to go through, and the one to be.

Theory: a URL says most, an option beside it must not contradict it, and the environment is for passwords. Imported
only where `own_extras.py` is.
"""

from __future__ import annotations

import os

from pync.config import Config, Proxy, ServeProxy, Tls
from pync.errors import UsageError
from pync.faces import option_values
from pync.faces.native.options import TABLE
from pync.faces.option_table import every, name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.faces.option_table import Values

PROXY = ("proxy", "socks_proxy")
AUTHS = ("PYNC_PROXY_AUTH", "NCAT_PROXY_AUTH")  # in the environment, where ps does not show a password
DEFAULT_PORTS = {"http": 3128, "https": 443, "socks4": 1080, "socks5": 1080}


def proxy(values: Values) -> Proxy | None:
    """The proxy to go through: what its URL says, or else the options, or else the default of its option.

    Raises UsageError.
    """
    dest = next((dest for dest in PROXY if dest in values), None)
    if dest is None:
        return None
    option, text = name(TABLE, dest), values[dest]
    if _ends_at_a_path(values):
        raise UsageError(f"{option} with a unix socket", "proxies know TCP alone")
    scheme, mark, rest = text.rpartition("://")
    login, _, place = rest.rpartition("@")
    kind = values.get("proxy_type") or ("http" if dest == "proxy" else "socks5")
    if mark:
        kind = _scheme(option, scheme, values.get("proxy_type"))
    host, port = host_and_port(option, place.removesuffix("/"))
    if not host:
        raise UsageError(option, "no host")  # there may be a password in what was given
    user, password = _login(values, login)
    return Proxy(
        kind="http" if kind == "https" else kind,  # type: ignore[arg-type]
        host=host,
        port=port_of(option, port, "tcp") if port else DEFAULT_PORTS[kind],
        tls=_trust(values) if kind == "https" else None,
        user=user,
        password=password,
        remote_names=values.get("proxy_dns") != "local",
    )


def _trust(values: Values) -> Tls:
    """Whom to trust is asked of the proxy as of the target; all else about TLS is the target's."""
    return Tls(verify="no_verify" not in values, trust_file=values.get("trust_file"))


def _ends_at_a_path(values: Values) -> bool:
    """Whether what is to be connected to, by us or for our clients, is a unix socket."""
    if "listen" not in values:
        return values.get("family") == "unix"
    target: str = values.get("to", "")
    return "/" in target or target.startswith("@")


def _scheme(option: str, scheme: str, asked: str | None) -> str:
    kinds = next(known for known in every(TABLE) if known.dest == "proxy_type").type
    try:
        kind: str = kinds(scheme)
    except ValueError as error:
        raise UsageError(f"{option} {scheme}://", str(error)) from None
    if asked not in (None, kind):
        raise UsageError(f"--proxy-type {asked}", f"the proxy's address says {scheme}")
    return kind


def served(values: Values) -> ServeProxy | None:
    """The proxy to be. Raises UsageError."""
    if "serve_proxy" not in values:
        return None
    kind = values["serve_proxy"]
    if kind not in ("http", "socks5"):
        raise UsageError(f"proxy type {kind}", "a proxy of ours is http or socks5")
    onward = [values[dest] for dest in PROXY if dest in values]
    if onward and "@" not in onward[0]:
        return ServeProxy(kind=kind)  # the login is meant for the next proxy, and all else about one, too
    if not onward and "proxy_dns" in values:
        raise UsageError("--proxy-dns without --proxy", "a proxy of ours looks names up")
    if not onward and (other := values.get("proxy_type", kind)) != kind:
        raise UsageError(f"--proxy-type {other} with --proxy-server {kind}", "it is one or the other")
    user, password = _login(values, "")
    if user is not None and not password:
        raise UsageError("--proxy-auth", "a proxy that wants no password should not ask for one")
    return ServeProxy(kind=kind, user=user, password=password or "")


def _login(values: Values, url: str) -> tuple[str | None, str | None]:
    """User and password, from the options, the URL or the environment. A password of None is to be asked for."""
    text = values.get("proxy_auth")
    if url and (text is None or "serve_proxy" in values):  # then the option says who may use ours
        from urllib.parse import unquote

        user, _, password = url.partition(":")
        return unquote(user), unquote(password)
    if text is None:
        text = next((auth for variable in AUTHS if (auth := os.environ.get(variable))), None)
    user, _, password = (text or "").partition(":")
    if "proxy_user" in values:
        return values["proxy_user"], password if user == values["proxy_user"] else None
    return (None, "") if text is None else (user, password)


def ask_password(config: Config) -> Config:
    """The config with the password for the proxy, which is asked for on the terminal. Raises UsageError."""
    proxy = config.proxy
    assert proxy is not None
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))  # without it getpass would read stdin
    except OSError:
        why = f"no terminal to ask for the password; use --proxy-auth, or {AUTHS[0]} in the environment"
        raise UsageError(f"-P {proxy.user}", why) from None
    from getpass import getpass

    try:
        password = getpass(f"Proxy password for {proxy.user}@{proxy.host}: ")
    except EOFError:
        raise UsageError(f"-P {proxy.user}", "no password was given") from None
    return config.but(proxy=proxy.but(password=password))


def host_and_port(option: str, text: str) -> tuple[str, str]:
    """HOST:PORT or [HOST]:PORT in two; the port may be missing. Raises UsageError."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise UsageError(f"{option} {text}", "not [HOST]:PORT")
        return host, rest[1:]
    if text.count(":") > 1:
        raise UsageError(f"{option} {text}", "an IPv6 address needs brackets, as in [::1]:8080")
    host, _, port = text.partition(":")
    return host, port


def port_of(option: str, text: str, protocol: str) -> int:
    """A port's number. Raises UsageError."""
    try:
        return option_values.port(text, protocol)
    except ValueError as error:
        raise UsageError(f"{option}: port", str(error)) from None
