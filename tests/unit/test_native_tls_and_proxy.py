"""What the options of TLS, proxies, relaying and rare sockets ask for, and which of their values are refused.

The rules about options that make no sense together are in test_native_conflicts.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pync.config import Access, Config, Proxy, Tls
from pync.errors import UsageError
from pync.faces.native.config import config
from pync.faces.native.options import HINTS, TABLE
from pync.faces.native.tls_and_proxy import LOGIN_VARIABLES
from pync.faces.option_table import read
from pync.listener_config import ServeProxy, Target

if TYPE_CHECKING:
    from typing import Any

    from pync.config import HubKind

DIGEST = "ab" * 32
PIN = f"sha256:{DIGEST}"


@pytest.fixture(autouse=True)
def no_login_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in LOGIN_VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def config_of(line: str) -> Config:
    return config(*read(TABLE, line.split(), HINTS))


def message_of(line: str) -> str:
    """The message with which a command line is refused."""
    with pytest.raises(UsageError) as caught:
        config_of(line)
    return str(caught.value)


NO_AUTHORITY = (
    "--ssl-verify without --ssl-trustfile: "
    "a certificate of any public authority would let its client in; name the authority of your clients"
)


# -- TLS -----------------------------------------------------------------------------------------------------------


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
        ("-l --ssl-verify --ssl-trustfile a.pem 443", Tls(verify=True, trust_file="a.pem")),
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
    assert config_of(line).tls == tls


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
    assert config_of(line).target == target


# -- Relaying, and rare sockets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "hub"), [("--broker 1", "broker"), ("--chat 1", "chat"), ("-l --chat --broker 1", "chat")]
)
def test_a_hub_listens_and_serves_many(line: str, hub: HubKind) -> None:
    assert config_of(line) == Config(mode="listen", ports=(1,), keep_open=True, hub=hub)


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
    assert config_of(line).host == host


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
    asked = config_of(line)
    assert asked.family == "vsock"
    assert asked.host == host
    assert asked.ports == (port,)


def test_sctp_is_another_transport_for_the_same_addresses() -> None:
    assert config_of("--sctp h 80") == Config(mode="connect", sctp=True, host="h", ports=(80,))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--ssl-pin sha256:00 h 1", "--ssl-pin sha256:HEX: not sha256: and 64 hexadecimal digits: sha256:00"),
        ("-l --ssl-verify 1", NO_AUTHORITY),
        ("-l --ssl --ssl-verify --to h:1 --to-ssl 1", NO_AUTHORITY),
        ("-l --ssl --ssl-verify --proxy-server http --proxy https://h 1", NO_AUTHORITY),
        ("--chat --ssl-verify 1", NO_AUTHORITY),
        ("--ssl-alpn a,,b h 1", "--ssl-alpn NAME,...: not a list of names: a,,b"),
        (
            "--ssl -U p",
            "--ssl with -U: a path is no name to verify; add one of --ssl-no-verify, --ssl-pin, --ssl-servername",
        ),
        (
            "-l --to /p --to-ssl 1",
            "--to-ssl with --to /p: a path is no name to verify;"
            " add one of --ssl-no-verify, --ssl-pin, --ssl-servername",
        ),
        ("-l --to h 1", "--to h: not HOST:PORT, nor the path of a unix socket"),
        ("-l --to tls://h:1 1", "--to tls://h:1: not HOST:PORT, the path of a unix socket, nor ws://; TLS is --to-ssl"),
        ("-l --to :80 1", "--to :80: not HOST:PORT, nor the path of a unix socket"),
        ("-l --to ::1:80 1", "--to ::1:80: an IPv6 address needs brackets, as in [::1]:8080"),
        ("-l --to [::1 1", "--to [::1: not [HOST]:PORT"),
        ("-l --to h:99999 1", "--to: port: too large: 99999"),
        ("--vsock 1", "--vsock: takes CID PORT, or with -l [CID] PORT"),
        ("-l --vsock", "--vsock: takes CID PORT, or with -l [CID] PORT"),
        ("-l --vsock 1 2 3", "--vsock: takes CID PORT, or with -l [CID] PORT"),
        ("--vsock x 1", "--vsock: invalid: x"),
        ("--vsock 1 4294967296", "--vsock: too large: 4294967296"),
    ],
)
def test_a_value_is_refused(line: str, message: str) -> None:
    assert message_of(line) == message


# -- The proxy to go through ---------------------------------------------------------------------------------------

HTTP = Proxy(kind="http", host="p", port=3128)
SOCKS4 = Proxy(kind="socks4", host="p", port=1080)
SOCKS5 = Proxy(kind="socks5", host="p", port=1080)
LOGIN: dict[str, Any] = {"user": "u", "password": "w"}


@pytest.mark.parametrize(
    ("options", "proxy"),
    [
        ("-x p", SOCKS5),
        ("-x p:7", SOCKS5.but(port=7)),
        ("-x p:http", SOCKS5.but(port=80)),
        ("-x [::1]", SOCKS5.but(host="::1")),
        ("-x [::1]:7", SOCKS5.but(host="::1", port=7)),
        ("-x p -X 5", SOCKS5),
        ("-x p -X 4", SOCKS4),
        ("-x p -X connect", HTTP),
        ("-x p -X https", HTTP.but(tls=Tls(), port=443)),
        ("-x http://p", HTTP),
        ("-x http://p:7/", HTTP.but(port=7)),
        ("--proxy p", HTTP),
        ("--proxy p --proxy-type http", HTTP),
        ("--proxy p --proxy-type socks4", SOCKS4),
        ("--proxy p --proxy-type socks5", SOCKS5),
        ("--proxy https://p", HTTP.but(tls=Tls(), port=443)),
        ("--proxy HTTPS://p:7", HTTP.but(tls=Tls(), port=7)),
        ("--proxy socks4://p", SOCKS4),
        ("--proxy socks4a://p", SOCKS4),
        ("--proxy socks5://p", SOCKS5),
        ("--proxy socks5h://[::1]:7", SOCKS5.but(host="::1", port=7)),
        ("--proxy socks5://p -X 5", SOCKS5),
        ("-x p --proxy-dns remote", SOCKS5),
        ("-x p --proxy-dns local", SOCKS5.but(remote_names=False)),
        ("--proxy p --proxy-auth u:w", HTTP.but(**LOGIN)),
        ("--proxy p --proxy-auth u:w:x", HTTP.but(user="u", password="w:x")),
        ("--proxy p --proxy-auth u", HTTP.but(user="u", password="")),
        ("--proxy http://u:w@p", HTTP.but(**LOGIN)),
        ("--proxy http://u%40x:w%3a%2F@p:7", HTTP.but(port=7, user="u@x", password="w:/")),
        ("--proxy http://u@v:w@p", HTTP.but(user="u@v", password="w")),
        ("--proxy http://u@p", HTTP.but(user="u", password="")),
        ("--proxy http://@p", HTTP),
        ("-x u:w@p", SOCKS5.but(**LOGIN)),
        ("--proxy http://a:b@p --proxy-auth u:w", HTTP.but(**LOGIN)),
        ("-x p -P u", SOCKS5.but(user="u", password=None)),
        ("-x p -P u --proxy-auth u:w", SOCKS5.but(**LOGIN)),
        ("-x p -P u --proxy-auth v:w", SOCKS5.but(user="u", password=None)),
        ("-x u:w@p -P u", SOCKS5.but(**LOGIN)),
    ],
)
def test_the_proxy_to_go_through_is_what_url_and_options_say(options: str, proxy: Proxy) -> None:
    assert config_of(f"{options} h 1") == Config(mode="connect", host="h", ports=(1,), proxy=proxy)


@pytest.mark.parametrize(
    ("options", "environment", "login"),
    [
        ("", {}, {}),
        ("", {"PYNC_PROXY_AUTH": "u:w"}, LOGIN),
        ("", {"NCAT_PROXY_AUTH": "u:w"}, LOGIN),
        ("", {"PYNC_PROXY_AUTH": "u:w", "NCAT_PROXY_AUTH": "v:x"}, LOGIN),
        ("", {"PYNC_PROXY_AUTH": "", "NCAT_PROXY_AUTH": "u:w"}, LOGIN),
        ("", {"PYNC_PROXY_AUTH": ""}, {}),
        ("--proxy-auth u:w", {"PYNC_PROXY_AUTH": "v:x"}, LOGIN),
        ("-P u", {"PYNC_PROXY_AUTH": "u:w"}, LOGIN),
        ("-P u", {"PYNC_PROXY_AUTH": "u"}, {"user": "u", "password": ""}),
        ("-P u", {"PYNC_PROXY_AUTH": "v:w"}, {"user": "u", "password": None}),
    ],
)
def test_the_login_may_be_in_the_environment(
    options: str, environment: dict[str, str], login: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, auth in environment.items():
        monkeypatch.setenv(variable, auth)
    assert config_of(f"-x p {options} h 1").proxy == SOCKS5.but(**login)


def test_the_environment_asks_for_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYNC_PROXY_AUTH", "u:w")
    assert config_of("h 1") == Config(mode="connect", host="h", ports=(1,))


def test_a_proxy_goes_with_scanning_programs_tls_and_a_socket_that_is_handed_over() -> None:
    usual = Config(mode="connect", host="h", ports=(1,), proxy=SOCKS5)
    assert config_of("-z -x p h 1") == usual.but(mode="scan")
    assert config_of("-x p -e cat h 1").program is not None
    assert config_of("-x p --ssl h 1") == usual.but(tls=Tls())
    assert config_of("-F -x p h 1") == usual.but(pass_descriptor=True)
    assert config_of("-lk --to h:1 -x p 8080") == Config(
        mode="listen", ports=(8080,), keep_open=True, target=Target(host="h", port=1), proxy=SOCKS5
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-x : h 1", "-x: no host"),
        ("--proxy http://u:secret@:80 h 1", "--proxy: no host"),
        ("-x [::1 h 1", "-x [::1: not [HOST]:PORT"),
        ("-x [::1]7 h 1", "-x [::1]7: not [HOST]:PORT"),
        ("-x ::1 h 1", "-x ::1: an IPv6 address needs brackets, as in [::1]:8080"),
        ("-x p:99999 h 1", "-x: port: too large: 99999"),
        ("-x p:0 h 1", "-x: port: too small: 0"),
        ("-x p -X 6 h 1", "-X, --proxy-type TYPE: not http or https or socks4 or socks5: 6"),
        ("--proxy ftp://p h 1", "--proxy ftp://: not http or https or socks4 or socks5: ftp"),
        ("--proxy socks5://p -X 4 h 1", "--proxy-type socks4: the proxy's address says socks5"),
        ("-x p --proxy-dns both h 1", "--proxy-dns WHERE: not local or remote: both"),
        ("-x p -U /a/path", "-x with a unix socket: proxies know TCP alone"),
        ("-l -x p --to /a/path 1", "-x with a unix socket: proxies know TCP alone"),
        ("-l -x p --to @name 1", "-x with a unix socket: proxies know TCP alone"),
    ],
)
def test_an_address_of_a_proxy_is_refused(line: str, message: str) -> None:
    assert message_of(line) == message


def test_an_empty_address_of_a_proxy_is_refused() -> None:
    with pytest.raises(UsageError, match="^-x: no host$"):
        config(*read(TABLE, ["-x", "", "h", "1"], HINTS))


@given(st.text(max_size=12))
def test_any_text_is_the_address_of_a_proxy_or_a_usage_error(text: str) -> None:
    try:
        config(*read(TABLE, ["-x", text, "h", "1"], HINTS))
    except UsageError as error:
        assert str(error).startswith("-x")


# -- The proxy to be -----------------------------------------------------------------------------------------------

LISTEN = Config(mode="listen", host="localhost", ports=(8080,))
SERVED = LISTEN.but(serve_proxy=ServeProxy(kind="http"))
KNOWN = ServeProxy(kind="http", user="u", password="w")


@pytest.mark.parametrize("variable", LOGIN_VARIABLES)
@pytest.mark.parametrize("line", ["-l --proxy-server http 8080", "-l -X http 8080", "-l --proxy-server 5 -x p 8080"])
def test_a_proxy_is_not_open_because_a_variable_is_empty(
    variable: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "")
    assert message_of(line) == f"{variable} is empty: a proxy without a login needs no variable: take it out"
    assert config_of("-l --proxy-server http --proxy-auth u:w 8080") == LISTEN.but(serve_proxy=KNOWN)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-l --proxy-server http 8080", SERVED),
        ("-lk --proxy-server http 8080", SERVED.but(keep_open=True)),
        ("-l --proxy-server socks5 8080", LISTEN.but(serve_proxy=ServeProxy(kind="socks5"))),
        ("-l --proxy-server 5 8080", LISTEN.but(serve_proxy=ServeProxy(kind="socks5"))),
        ("-l --proxy-server http -p 8080", SERVED),
        ("-l --proxy-server http h 8080", SERVED.but(host="h")),
        (
            "-l --proxy-server http --proxy-allow a,b --proxy-allow c --proxy-deny d --proxy-denyfile e 8080",
            LISTEN.but(
                serve_proxy=ServeProxy(
                    kind="http", targets=Access(allow=("a", "b", "c"), deny=("d",), deny_files=("e",))
                )
            ),
        ),
        (
            "-l -X 5 --proxy-allowfile e 8080",
            LISTEN.but(serve_proxy=ServeProxy(kind="socks5", targets=Access(allow_files=("e",))), keep_open=True),
        ),
        ("-l --proxy-server http :: 8080", SERVED.but(host="::")),
        ("-l --proxy-server http -s h 8080", SERVED.but(host="h")),
        ("-l --proxy-server http -n 8080", SERVED.but(host="127.0.0.1", numeric=True)),
        ("-l --proxy-type http 8080", SERVED.but(keep_open=True)),
        ("-l --proxy-type http localhost 8080", SERVED.but(keep_open=True)),
        ("-l -X 5 8080", LISTEN.but(serve_proxy=ServeProxy(kind="socks5"), keep_open=True)),
        ("-l --proxy-server http --proxy-type http 8080", SERVED),
        ("-l --proxy-server http --proxy-auth u:w 8080", SERVED.but(serve_proxy=KNOWN)),
        ("-l --proxy-server http -P u --proxy-auth u:w 8080", SERVED.but(serve_proxy=KNOWN)),
        ("-l --proxy-server http --ssl 8080", SERVED.but(tls=Tls(verify=False))),
        ("-l --proxy-server http -x p 8080", SERVED.but(proxy=SOCKS5)),
        ("-l --proxy-server http -x p -X 4 8080", SERVED.but(proxy=SOCKS4)),
        ("-l --proxy-server http -x p --proxy-dns local 8080", SERVED.but(proxy=SOCKS5.but(remote_names=False))),
        ("-l --proxy-server http -x p --proxy-auth u:w 8080", SERVED.but(proxy=SOCKS5.but(**LOGIN))),
        (
            "-l --proxy-server http -U /a/path",
            SERVED.but(family="unix", host="/a/path", ports=()),
        ),
    ],
)
def test_the_proxy_to_be_is_what_options_say(line: str, expected: Config) -> None:
    assert config_of(line) == expected


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_a_family_does_not_make_it_an_open_proxy(family: str) -> None:
    assert config_of(f"-l --proxy-server http {family} 8080").host == "localhost"


def test_a_proxy_of_ours_takes_its_login_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYNC_PROXY_AUTH", "u:w")
    assert config_of("-l --proxy-server http 8080").serve_proxy == KNOWN


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-l --proxy-server socks4 1", "--proxy-server TYPE: not http or socks5: socks4"),
        ("-l --proxy-type socks4 1", "proxy type socks4: a proxy of ours is http or socks5"),
        ("-l --proxy-type https 1", "proxy type https: a proxy of ours is http or socks5"),
        ("-l --proxy-server http -X 5 1", "--proxy-type socks5 with --proxy-server http: it is one or the other"),
        ("-l --proxy-type http --proxy-dns local 1", "--proxy-dns without --proxy: a proxy of ours looks names up"),
        (
            "-l --proxy-server http --proxy-auth u 1",
            "--proxy-auth: a proxy that wants no password should not ask for one",
        ),
        ("-l --proxy-server http -P u 1", "--proxy-auth: a proxy that wants no password should not ask for one"),
    ],
)
def test_a_proxy_that_pync_cannot_be_is_refused(line: str, message: str) -> None:
    assert message_of(line) == message


def test_in_a_chain_the_address_may_name_one_login_and_the_option_the_other() -> None:
    asked = config_of("-l --proxy-server http -x a:b@p --proxy-auth u:w 1")
    assert asked.proxy == SOCKS5.but(user="a", password="b")
    assert asked.serve_proxy == ServeProxy(kind="http", user="u", password="w")


@pytest.mark.parametrize(
    ("line", "to_the_proxy", "in_the_tunnel"),
    [
        ("--proxy https://p --ssl-trustfile f h 1", Tls(trust_file="f"), None),
        ("--proxy https://p --ssl-no-verify h 1", Tls(verify=False), None),
        ("--proxy https://p --ssl --ssl-trustfile f h 1", Tls(trust_file="f"), Tls(trust_file="f")),
        ("--proxy https://p --ssl-servername n h 1", Tls(), Tls(server_name="n")),
        ("-l --to h:1 --proxy https://p --ssl-no-verify 1", Tls(verify=False), None),
    ],
)
def test_options_of_trust_are_about_a_proxy_under_tls_too_and_ask_for_no_tls_in_the_tunnel(
    line: str, to_the_proxy: Tls, in_the_tunnel: Tls | None
) -> None:
    asked = config_of(line)
    assert asked.proxy is not None
    assert asked.proxy.tls == to_the_proxy
    assert asked.tls == in_the_tunnel
