"""What pync's own face makes of its options for TLS, relaying and rare sockets, and the words for what they report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pync.config import ServeProxy, Target, Tls
from pync.errors import UsageError
from pync.events import Address, CertificateMade, OpenProxy, TlsEstablished
from pync.faces.native.config import config as native_config
from pync.faces.native.messages import Messages
from pync.faces.native.options import HINTS, TABLE, TLS_AND_PROXY
from pync.faces.option_table import every, read

if TYPE_CHECKING:
    from pync.config import Config
    from pync.events import Event

DIGEST = "ab" * 32
PIN = f"sha256:{DIGEST}"


def asked(line: str) -> Config:
    return native_config(*read(TABLE, line.split(), HINTS))


def refusal(line: str) -> str:
    with pytest.raises(UsageError) as caught:
        asked(line)
    return str(caught.value)


def test_what_asks_for_the_extras_is_an_option() -> None:
    assert {option.dest for option in every(TABLE)} >= TLS_AND_PROXY


# -- TLS


@pytest.mark.parametrize(
    ("line", "tls"),
    [
        ("--ssl h 443", Tls()),
        ("--ssl-verify h 443", Tls()),
        ("--ssl --ssl-no-verify h 443", Tls(verify=False)),
        ("--ssl-no-verify h 443", Tls(verify=False)),
        (f"--ssl-pin {PIN} h 443", Tls(pin=bytes.fromhex(DIGEST))),
        (f"--ssl-pin {DIGEST.upper()} h 443", Tls(pin=bytes.fromhex(DIGEST))),
        (f"--ssl-pin SHA256:{':'.join(['AB'] * 32)} h 443", Tls(pin=bytes.fromhex(DIGEST))),
        ("--ssl-trustfile a.pem --ssl-servername n h 443", Tls(trust_file="a.pem", server_name="n")),
        ("--ssl-cert c --ssl-key k h 443", Tls(certificate="c", key="k")),
        ("--ssl-alpn h2,http/1.1 --ssl-ciphers HIGH h 443", Tls(alpn=("h2", "http/1.1"), ciphers="HIGH")),
        ("-l --ssl 443", Tls(verify=False)),
        ("-l --ssl-cert c 443", Tls(verify=False, certificate="c")),
        ("-l --ssl-verify 443", Tls(verify=True)),
        ("-l --ssl-trustfile a.pem 443", Tls(verify=True, trust_file="a.pem")),
        ("-U --ssl --ssl-servername n p", Tls(server_name="n")),
        ("h 443", None),
        ("-l --to h:1 --to-ssl --ssl-cert c 443", None),
        ("-l --to h:1 --to-ssl --ssl --ssl-cert c 443", Tls(verify=False, certificate="c")),
        ("-l --to h:1 --to-ssl --ssl --ssl-trustfile a 443", Tls(verify=False)),
        ("-l --to h:1 --to-ssl --ssl --ssl-verify --ssl-trustfile a 443", Tls(verify=True, trust_file="a")),
    ],
)
def test_how_a_connection_is_encrypted(line: str, tls: Tls | None) -> None:
    assert asked(line).tls == tls


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("-l --to h:80 1", Target(host="h", port=80)),
        ("-lk --to [::1]:http 1", Target(host="::1", port=80)),
        ("-l --to /run/s 1", Target(host="/run/s")),
        ("-l --to @s 1", Target(host="@s")),
        ("-lu --to h:53 1", Target(host="h", port=53)),
        ("-l --to h:80 --to-ssl 1", Target(host="h", port=80, tls=Tls())),
        (f"-l --to h:80 --to-ssl --ssl-pin {PIN} 1", Target(host="h", port=80, tls=Tls(pin=bytes.fromhex(DIGEST)))),
        (
            "-l --to h:80 --to-ssl --ssl-no-verify --ssl-cert c 1",
            Target(host="h", port=80, tls=Tls(verify=False, certificate="c")),
        ),
        (
            "-l --to h:80 --to-ssl --ssl --ssl-cert c --ssl-servername n 1",
            Target(host="h", port=80, tls=Tls(server_name="n")),
        ),
    ],
)
def test_where_clients_are_connected_to(line: str, target: Target) -> None:
    assert asked(line).target == target


# -- Relaying, and rare sockets


@pytest.mark.parametrize(
    ("line", "hub"), [("--broker 1", "broker"), ("--chat 1", "chat"), ("-l --chat --broker 1", "chat")]
)
def test_a_hub_listens_and_serves_many(line: str, hub: str) -> None:
    config = asked(line)
    assert (config.hub, config.mode, config.keep_open) == (hub, "listen", True)


@pytest.mark.parametrize(
    ("line", "host"),
    [
        ("-l --proxy-server http 1", "localhost"),
        ("-ln --proxy-server http 1", "127.0.0.1"),
        ("-l4 --proxy-server http 1", "localhost"),
        ("-lU --proxy-server http p", "p"),
        ("-l --vsock --proxy-server http 1", "4294967295"),
        ("-l --proxy-server socks5 0.0.0.0 1", "0.0.0.0"),
        ("-l --proxy-server http -s 192.0.2.1 1", "192.0.2.1"),
        ("-l --proxy-server http -p 1", "localhost"),
        ("-l --proxy-server http -p 1 192.0.2.1", "192.0.2.1"),
    ],
)
def test_a_proxy_listens_on_loopback_unless_an_address_is_given(line: str, host: str) -> None:
    assert asked(line).host == host


def test_a_listener_with_a_type_of_proxy_is_one_as_with_ncat() -> None:
    config = asked("-l --proxy-type http 3128")
    assert (config.serve_proxy, config.keep_open) == (ServeProxy(kind="http"), True)


@pytest.mark.parametrize(
    ("line", "host", "port"),
    [
        ("--vsock 3 1234", "3", 1234),
        ("--vsock host 4000000000", "2", 4000000000),
        ("-l --vsock 1234", "4294967295", 1234),
        ("-l --vsock local 0", "1", 4294967295),
    ],
)
def test_a_vsock_has_a_cid_and_a_port(line: str, host: str, port: int) -> None:
    config = asked(line)
    assert (config.family, config.host, config.ports) == ("vsock", host, (port,))


def test_sctp_is_another_transport_for_the_same_addresses() -> None:
    config = asked("--sctp h 80")
    assert (config.sctp, config.family, config.host, config.ports) == (True, "any", "h", (80,))


# -- What makes no sense


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("--ssl -u h 1", "-u with --ssl: TLS needs a stream"),
        ("--ssl -z h 1", "--ssl with -z: a scan transfers nothing"),
        ("--ssl-pin sha256:00 h 1", "--ssl-pin sha256:HEX: not sha256: and 64 hexadecimal digits: sha256:00"),
        ("--ssl-alpn a,,b h 1", "--ssl-alpn NAME,...: not a list of names: a,,b"),
        ("--ssl-key k h 1", "--ssl-key without --ssl-cert: one belongs to the other"),
        (f"-l --ssl-pin {PIN} 1", "--ssl-pin with -l: it is about a server's certificate"),
        ("-l --ssl-no-verify 1", "--ssl-no-verify with -l: it is about a server's certificate"),
        ("-l --ssl-servername n 1", "--ssl-servername with -l: it is about a server's certificate"),
        ("--ssl-no-verify --ssl-verify h 1", "--ssl-verify with --ssl-no-verify: one verifies, the other does not"),
        (
            f"--ssl-pin {PIN} --ssl-trustfile f h 1",
            "--ssl-trustfile with --ssl-pin: the one certificate that is accepted needs no authority",
        ),
        (
            "--ssl -U p",
            "--ssl with -U: a path is no name to verify; add one of --ssl-no-verify, --ssl-pin, --ssl-servername",
        ),
        (
            "-l --to /p --to-ssl 1",
            "--to-ssl with --to /p: a path is no name to verify;"
            " add one of --ssl-no-verify, --ssl-pin, --ssl-servername",
        ),
        ("--to h:1 h 1", "--to without -l: only a listener has clients"),
        ("--proxy-server http h 1", "--proxy-server without -l: only a listener has clients"),
        ("-l --to-ssl 1", "--to-ssl without --to: one belongs to the other"),
        ("-l --to h 1", "--to h: not HOST:PORT, nor the path of a unix socket"),
        ("-l --to :80 1", "--to :80: not HOST:PORT, nor the path of a unix socket"),
        ("-l --to ::1:80 1", "--to ::1:80: an IPv6 address needs brackets, as in [::1]:8080"),
        ("-l --to [::1 1", "--to [::1: not [HOST]:PORT"),
        ("-l --to h:99999 1", "--to: port: too large: 99999"),
        ("-l --to h:1 -e cat 1", "-e with --to: the clients are relayed already"),
        ("-l --to h:1 -C 1", "-C with --to: nothing of stdin is sent"),
        ("-l --to h:1 --proxy-server http 1", "--proxy-server with --to: where to is for the clients to say"),
        ("--chat --filter cat 1", "--filter with --chat: the clients are relayed already"),
        ("--broker -u 1", "-u with --broker: a hub is for all"),
        ("--broker --to h:1 1", "--to with --broker: the clients are relayed already"),
        ("-l -F 1", "-l with -F: it hands over one connection"),
        ("-F --ssl h 1", "--ssl with -F: the socket is somebody else's then"),
        ("--sctp -u h 1", "-u with --sctp: SCTP is another transport"),
        ("--vsock --sctp 1 1", "--vsock with --sctp: SCTP is another transport"),
        ("--vsock 1", "--vsock: takes CID PORT, or with -l [CID] PORT"),
        ("-l --vsock", "--vsock: takes CID PORT, or with -l [CID] PORT"),
        ("-l --vsock 1 2 3", "--vsock: takes CID PORT, or with -l [CID] PORT"),
        ("--vsock x 1", "--vsock: invalid: x"),
        ("--vsock 1 4294967296", "--vsock: too large: 4294967296"),
        ("-l --vsock --allow ::1 1", "--allow with --vsock: the addresses are of another kind"),
    ],
)
def test_a_command_line_is_refused(line: str, why: str) -> None:
    assert refusal(line) == why


# -- Words

PEER = Address(host="192.0.2.1", port=443)
SECURED = TlsEstablished(peer=PEER, protocol="TLSv1.3", cipher="AES", alpn=None, certificate=None)


@pytest.mark.parametrize(
    ("event", "verbosity", "line"),
    [
        (SECURED, 1, "pync: TLSv1.3 with 192.0.2.1:443: AES, no ALPN, no certificate"),
        (
            SECURED.but(alpn="h2", certificate="CN=h"),
            1,
            "pync: TLSv1.3 with 192.0.2.1:443: AES, ALPN h2, CN=h",
        ),
        (CertificateMade(fingerprint=PIN), 0, f"pync: no --ssl-cert: one was made, for this run, {PIN}"),
        (
            OpenProxy(address=Address(host="0.0.0.0", port=1080)),
            0,
            "pync: warning: everybody can use the proxy on 0.0.0.0:1080; see --proxy-auth and --allow",
        ),
    ],
)
def test_an_event_is_one_line(event: Event, verbosity: int, line: str, capfd: pytest.CaptureFixture[str]) -> None:
    Messages(asked("h 1").but(verbosity=verbosity)).report(event)
    assert capfd.readouterr() == ("", f"{line}\n")


def test_a_handshake_is_told_only_with_v(capfd: pytest.CaptureFixture[str]) -> None:
    Messages(asked("h 1")).report(SECURED)
    assert capfd.readouterr() == ("", "")
