"""The programs that speak TLS with pync in the process tests, in both roles, and what each does at an end of file.

A client is started with a port and the file of the authority it trusts, a server with its certificate; both with the
only version that they may speak. They send what their stdin holds, and write to stdout what they receive.
`stunnel_client` and `stunnel_server` are services instead: TLS on one side, and for each connection a plain one on the
other. All that listen do so on 127.0.0.1, at `port`. None accepts a certificate that it was not configured to trust.
They must never know pync.

Theory: TLS has an end of file for each direction, close_notify, and the programs differ in what they make of it, the
same in both versions. CLIENTS and SERVERS record it as `Habits`, which `test_servers.py` measures again. In words:

    s_client         sends no close_notify when its stdin ends, and goes on receiving; with -no_ign_eof it sends
                     close_notify and ends. It ends at the other's close_notify, and drops what its stdin still holds.
    s_server         sends close_notify when its stdin ends, and ends: it drops what it would have received, and what
                     was on its way, too. It ends at the other's close_notify.
    ncat             ends TCP without close_notify when its stdin ends (which is a truncation), and goes on receiving;
                     with --no-shutdown it does nothing then. At the other's end a client goes on, a server ends.
    socat            sends close_notify when its stdin ends, goes on receiving for the time given by -t, and goes on
                     sending after the other's close_notify.
    stunnel          does the same as a service; on stdin and stdout it ends at the other's close_notify.

s_client and s_server end half a second late if the other does not end TCP. When a connection is cut without
close_notify, only s_client fails (status 1) for that reason; all others take it for an end, and fail only if they have
more to send. Without -quiet, s_client and s_server obey letters at the start of a line of their stdin.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from harness import DEVNULL, Running, require
from servers import listening, nameless

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Any

    from certificates import Certificate

VERSIONS = ("1.2", "1.3")


class Habits(NamedTuple):
    """What a program does at the two ends of file."""

    farewell: str  # what it sends when its stdin ends: "close_notify", "cut" (the end of TCP without it), or nothing
    listens_on: bool  # it goes on receiving after that
    goes_on: bool  # after the other's close_notify it still sends what its stdin holds


class Peer(NamedTuple):
    """A program in one role, with an option or not; it is called like the function that starts it."""

    start: Callable[..., Running]
    habits: Habits
    option: str = ""

    def __call__(self, *args: Any, **kw: Any) -> Running:
        """Start it: a client with (port, trust, version, …), a server with (certificate, version, …)."""
        return self.start(*args, *filter(None, [self.option]), **kw)


# -- openssl -----------------------------------------------------------------------------------------------------


def s_client(
    port: int, trust: Path, version: str, *options: str, certificate: Certificate | None = None, **popen: Any
) -> Running:
    """`openssl s_client`. It goes on after the end of its stdin unless `options` have -no_ign_eof."""
    words = [require("openssl"), "s_client", "-quiet", "-nocommands", _only(version)]
    words += ["-connect", f"127.0.0.1:{port}", "-servername", "localhost"]
    words += ["-CAfile", str(trust), "-verify_hostname", "localhost", "-verify_return_error"]
    if certificate:
        words += ["-cert", str(certificate.chain), "-key", str(certificate.key)]
    return Running([*words, *options], **popen)


def s_server(certificate: Certificate, version: str, *options: str, trust: Path | None = None, **popen: Any) -> Running:
    """`openssl s_server` for one connection. With `trust` it wants a certificate of the client."""
    words = [require("openssl"), "s_server", "-quiet", _only(version), "-accept", "127.0.0.1:0", "-naccept", "1"]
    words += ["-cert", str(certificate.chain), "-key", str(certificate.key), "-cert_chain", str(certificate.chain)]
    if trust:
        words += ["-CAfile", str(trust), "-Verify", "9", "-verify_return_error"]
    return listening(Running([*words, *options], **popen))


def _only(version: str) -> str:
    return "-tls" + version.replace(".", "_")


# -- ncat --------------------------------------------------------------------------------------------------------


def ncat_client(
    port: int, trust: Path, version: str, *options: str, certificate: Certificate | None = None, **popen: Any
) -> Running:
    """`ncat --ssl`."""
    words = ["-4", "--ssl", "--ssl-verify", "--ssl-trustfile", str(trust), *_ncat_files(certificate), *options]
    return _ncat(version, *words, "localhost", str(port), **popen)


def ncat_server(certificate: Certificate, version: str, *options: str, **popen: Any) -> Running:
    """`ncat -l --ssl`. It cannot ask for a certificate."""
    return listening(_ncat(version, "-l", "--ssl", *_ncat_files(certificate), *options, "127.0.0.1", "0", **popen))


def _ncat_files(certificate: Certificate | None) -> list[str]:
    return ["--ssl-cert", str(certificate.chain), "--ssl-key", str(certificate.key)] if certificate else []


ONLY = """
openssl_conf = modules
[modules]
ssl_conf = ssl
[ssl]
system_default = versions
[versions]
MinProtocol = TLSv{version}
MaxProtocol = TLSv{version}
"""


def _ncat(version: str, *words: str, **popen: Any) -> Running:
    """Start ncat with a configuration of its library that sets the version, for which ncat has no option."""
    with nameless(ONLY.format(version=version)) as conf:
        env = {**os.environ, "OPENSSL_CONF": f"/proc/self/fd/{conf}"}
        return Running([require("ncat"), *words], env=env, pass_fds=[conf], **popen)


# -- socat -------------------------------------------------------------------------------------------------------


def socat_client(
    port: int, trust: Path, version: str, *options: str, certificate: Certificate | None = None, **popen: Any
) -> Running:
    """`socat STDIO OPENSSL:…`; `options` are those of the address."""
    return _socat(f"OPENSSL:localhost:{port},pf=ip4,cafile={trust}", version, certificate, options, popen)


def socat_server(
    certificate: Certificate, version: str, *options: str, trust: Path | None = None, **popen: Any
) -> Running:
    """`socat STDIO OPENSSL-LISTEN:…`. With `trust` it wants a certificate of the client."""
    verify = f"verify=1,cafile={trust}" if trust else "verify=0"
    return listening(_socat(f"OPENSSL-LISTEN:0,bind=127.0.0.1,{verify}", version, certificate, options, popen))


def _socat(
    address: str, version: str, certificate: Certificate | None, options: Sequence[str], popen: dict[str, Any]
) -> Running:
    settings = [address, f"openssl-min-proto-version=TLS{version}", f"openssl-max-proto-version=TLS{version}", *options]
    if certificate:
        settings += [f"cert={certificate.chain}", f"key={certificate.key}"]
    return Running([require("socat"), "-t", "10", "STDIO", ",".join(settings)], **popen)


# -- stunnel -----------------------------------------------------------------------------------------------------


def stunnel(
    port: int, trust: Path, version: str, *options: str, certificate: Certificate | None = None, **popen: Any
) -> Running:
    """A client on stdin and stdout; `options` are lines of its configuration."""
    return _stunnel(version, [*_to_server(port, trust), *options], certificate, **popen)


def stunnel_client(
    port: int, trust: Path, version: str, *options: str, certificate: Certificate | None = None
) -> Running:
    """A service: each plain connection to it gets one by TLS to `port`."""
    lines = ["[service]", "accept = 127.0.0.1:0", *_to_server(port, trust), *options]
    return listening(_stunnel(version, lines, certificate, stdin=DEVNULL))


def stunnel_server(
    certificate: Certificate, version: str, *options: str, to: int, trust: Path | None = None
) -> Running:
    """A service: each connection by TLS to it gets a plain one to the port `to`."""
    verify = [f"CAfile = {trust}", "verifyChain = yes", "requireCert = yes"] if trust else []
    lines = ["[service]", "accept = 127.0.0.1:0", f"connect = 127.0.0.1:{to}", *verify, *options]
    return listening(_stunnel(version, lines, certificate, stdin=DEVNULL))


def _to_server(port: int, trust: Path) -> list[str]:
    return [
        "client = yes",
        f"connect = 127.0.0.1:{port}",
        f"CAfile = {trust}",
        "verifyChain = yes",
        "checkHost = localhost",
    ]


def _stunnel(version: str, lines: Sequence[str], certificate: Certificate | None, **popen: Any) -> Running:
    files = [f"cert = {certificate.chain}", f"key = {certificate.key}"] if certificate else []
    everywhere = ["foreground = yes", "pid =", "syslog = no", "output = /dev/stderr", "debug = warning"]
    with nameless("\n".join([*everywhere, *lines, f"sslVersion = TLSv{version}", *files, ""])) as conf:
        return Running([require("stunnel4"), "-fd", str(conf)], pass_fds=[conf], **popen)


# -- curl --------------------------------------------------------------------------------------------------------


def curl(port: int, trust: Path, version: str, *options: str) -> list[str]:
    """The words of a curl that asks https://localhost:PORT/ over HTTP/1.1."""
    words = [require("curl"), "-q", "-sS", "-4", "--noproxy", "*", "--http1.1", "--cacert", str(trust)]
    return [*words, f"--tlsv{version}", "--tls-max", version, *options, f"https://localhost:{port}/"]


# -- The habits of each ------------------------------------------------------------------------------------------

CLIENTS = {
    "s_client": Peer(s_client, Habits("", listens_on=True, goes_on=False)),
    "s_client -no_ign_eof": Peer(s_client, Habits("close_notify", listens_on=False, goes_on=False), "-no_ign_eof"),
    "ncat": Peer(ncat_client, Habits("cut", listens_on=True, goes_on=True)),
    "ncat --no-shutdown": Peer(ncat_client, Habits("", listens_on=True, goes_on=True), "--no-shutdown"),
    "socat": Peer(socat_client, Habits("close_notify", listens_on=True, goes_on=True)),
    "stunnel": Peer(stunnel, Habits("close_notify", listens_on=True, goes_on=False)),
}
SERVERS = {
    "s_server": Peer(s_server, Habits("close_notify", listens_on=False, goes_on=False)),
    "ncat": Peer(ncat_server, Habits("cut", listens_on=True, goes_on=False)),
    "ncat --no-shutdown": Peer(ncat_server, Habits("", listens_on=True, goes_on=False), "--no-shutdown"),
    "socat": Peer(socat_server, Habits("close_notify", listens_on=True, goes_on=True)),
}
SPEAKS_LAST = [
    name for name, peer in CLIENTS.items() if peer.habits.farewell == "close_notify" and peer.habits.listens_on
]
CUTS = [name for name, peer in CLIENTS.items() if peer.habits.farewell == "cut"]
