"""What a command line says about proxies, as facts: the one to go through, the one to be; and what makes no sense."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pync.config import Config, Proxy, ServeProxy, Target, Tls
from pync.errors import UsageError
from pync.faces.native.config import config as native_config
from pync.faces.native.options import HINTS, TABLE
from pync.faces.native.tls_and_proxy import LOGIN_VARIABLES
from pync.faces.option_table import read
from pync.faces.option_values import host_and_port

if TYPE_CHECKING:
    from typing import Any


@pytest.fixture(autouse=True)
def no_login_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in LOGIN_VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def asked(line: str) -> Config:
    return native_config(*read(TABLE, line.split(), HINTS))


def refusal(line: str) -> str:
    with pytest.raises(UsageError) as caught:
        asked(line)
    return str(caught.value)


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
def test_what_options_say_of_the_proxy_to_go_through(options: str, proxy: Proxy) -> None:
    assert asked(f"{options} h 1") == Config(mode="connect", host="h", ports=(1,), proxy=proxy)


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
    assert asked(f"-x p {options} h 1").proxy == SOCKS5.but(**login)


def test_the_environment_asks_for_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYNC_PROXY_AUTH", "u:w")
    assert asked("h 1") == Config(mode="connect", host="h", ports=(1,))


def test_a_proxy_goes_with_scanning_programs_tls_and_a_socket_that_is_handed_over() -> None:
    usual = Config(mode="connect", host="h", ports=(1,), proxy=SOCKS5)
    assert asked("-z -x p h 1") == usual.but(mode="scan")
    assert asked("-x p -e cat h 1").program is not None
    assert asked("-x p --ssl h 1") == usual.but(tls=Tls())
    assert asked("-F -x p h 1") == usual.but(pass_descriptor=True)
    assert asked("-lk --to h:1 -x p 8080") == Config(
        mode="listen", ports=(8080,), keep_open=True, target=Target(host="h", port=1), proxy=SOCKS5
    )


@pytest.mark.parametrize(
    ("line", "words"),
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
        ("-x p --proxy q h 1", "-x with --proxy: one proxy at a time"),
        ("-x p -u h 1", "-u with -x: a proxy passes on streams alone"),
        ("-x p --sctp h 1", "--sctp with -x: proxies know TCP alone"),
        ("-x p --vsock 2 1", "--vsock with -x: proxies know TCP alone"),
        ("-x p -U /a/path", "-x with a unix socket: proxies know TCP alone"),
        ("-l -x p --to /a/path 1", "-x with a unix socket: proxies know TCP alone"),
        ("-l -x p --to @name 1", "-x with a unix socket: proxies know TCP alone"),
        ("-l -x p 1", "-x with -l: a listener connects to nobody"),
        ("-X 5 h 1", "-X without --proxy: there is no proxy to say it to"),
        ("-P u h 1", "-P without --proxy: there is no proxy to say it to"),
        ("--proxy-auth u:w h 1", "--proxy-auth without --proxy: there is no proxy to say it to"),
        ("--proxy-dns local h 1", "--proxy-dns without --proxy: there is no proxy to say it to"),
        ("-l --proxy-auth u:w 1", "--proxy-auth without --proxy: there is no proxy to say it to"),
        ("-F -z h 1", "-F with -z: a scan transfers nothing"),
        ("-F -C h 1", "-C with -F: the socket is somebody else's then"),
        ("-F -e cat h 1", "-e with -F: the socket is somebody else's then"),
        ("-F --ssl h 1", "--ssl with -F: the socket is somebody else's then"),
        ("-F -l 1", "-l with -F: it hands over one connection"),
        ("-F -u h 1", "-u with -F: it hands over one connection"),
    ],
)
def test_what_makes_no_sense_with_a_proxy_is_refused(line: str, words: str) -> None:
    assert refusal(line) == words


def test_an_empty_address_is_refused() -> None:
    with pytest.raises(UsageError, match="^-x: no host$"):
        native_config(*read(TABLE, ["-x", "", "h", "1"], HINTS))


HOSTS = st.one_of(st.ip_addresses().map(str), st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True))


@given(HOSTS, st.integers(1, 65535))
def test_a_host_and_a_port_are_read_as_they_are_written(host: str, port: int) -> None:
    written = f"[{host}]" if ":" in host else host
    assert host_and_port(f"{written}:{port}") == (host, str(port))
    assert host_and_port(written) == (host, "")


@given(st.text(max_size=12))
def test_any_text_is_an_address_or_a_usage_error(text: str) -> None:
    try:
        native_config(*read(TABLE, ["-x", text, "h", "1"], HINTS))
    except UsageError as error:
        assert str(error).startswith("-x")


# -- The proxy to be -----------------------------------------------------------------------------------------------

LISTEN = Config(mode="listen", host="localhost", ports=(8080,))
SERVED = LISTEN.but(serve_proxy=ServeProxy(kind="http"))
KNOWN = ServeProxy(kind="http", user="u", password="w")


@pytest.mark.parametrize(
    ("line", "config"),
    [
        ("-l --proxy-server http 8080", SERVED),
        ("-lk --proxy-server http 8080", SERVED.but(keep_open=True)),
        ("-l --proxy-server socks5 8080", LISTEN.but(serve_proxy=ServeProxy(kind="socks5"))),
        ("-l --proxy-server 5 8080", LISTEN.but(serve_proxy=ServeProxy(kind="socks5"))),
        ("-l --proxy-server http -p 8080", SERVED),
        ("-l --proxy-server http h 8080", SERVED.but(host="h")),
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
def test_what_options_say_of_the_proxy_to_be(line: str, config: Config) -> None:
    assert asked(line) == config


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_a_family_does_not_open_the_proxy_to_all(family: str) -> None:
    assert asked(f"-l --proxy-server http {family} 8080").host == "localhost"


def test_a_proxy_of_ours_takes_its_login_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYNC_PROXY_AUTH", "u:w")
    assert asked("-l --proxy-server http 8080").serve_proxy == KNOWN


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--proxy-server http h 1", "--proxy-server without -l: only a listener has clients"),
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
        ("-l --proxy-server http --to h:1 1", "--proxy-server with --to: where to is for the clients to say"),
        ("-l --proxy-server http -u 1", "-u with --proxy-server: a proxy passes on streams alone"),
        ("-l --proxy-server http -e cat 1", "-e with --proxy-server: the clients are relayed already"),
        ("-l --proxy-server http --http 1", "--http with --proxy-server: the clients are relayed already"),
        ("-l --proxy-server http --broker 1", "--proxy-server with --broker: the clients are relayed already"),
        ("-l --proxy-server http -d 1", "-d with --proxy-server: nothing of stdin is sent"),
        ("-l --proxy-server http -N 1", "-N with --proxy-server: nothing of stdin is sent"),
        ("-l --proxy-server http -W 1 1", "-W with --proxy-server: nothing of stdin is sent"),
    ],
)
def test_what_makes_no_sense_for_a_proxy_of_ours_is_refused(line: str, words: str) -> None:
    assert refusal(line) == words


def test_in_a_chain_the_address_may_name_one_login_and_the_option_the_other() -> None:
    config = asked("-l --proxy-server http -x a:b@p --proxy-auth u:w 1")
    assert config.proxy is not None
    assert (config.proxy.user, config.proxy.password) == ("a", "b")
    assert config.serve_proxy == ServeProxy(kind="http", user="u", password="w")


@pytest.mark.parametrize(
    ("line", "proxy", "target"),
    [
        ("--proxy https://p --ssl-trustfile f h 1", Tls(trust_file="f"), None),
        ("--proxy https://p --ssl-no-verify h 1", Tls(verify=False), None),
        ("--proxy https://p --ssl --ssl-trustfile f h 1", Tls(trust_file="f"), Tls(trust_file="f")),
        ("--proxy https://p --ssl-servername n h 1", Tls(), Tls(server_name="n")),
        ("-l --to h:1 --proxy https://p --ssl-no-verify 1", Tls(verify=False), None),
    ],
)
def test_whom_to_trust_is_asked_of_a_proxy_too_and_asks_for_no_tls_in_the_tunnel(
    line: str, proxy: Tls, target: Tls | None
) -> None:
    config = asked(line)
    assert config.proxy is not None
    assert (config.proxy.tls, config.tls) == (proxy, target)
