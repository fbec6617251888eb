"""From the values of options and operands to a Config: what a command line asks for, and which one is refused.

The rules about options that make no sense together are in test_native_conflicts.py, and the options of TLS, proxies
and relaying in test_native_tls_and_proxy.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pync.config import Access, Config, Ending, Logs, Program, SocketOptions, Tls
from pync.errors import UsageError
from pync.faces.native.face import asked_for
from pync.faces.native.options import HINTS, TABLE
from pync.faces.option_table import every, read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

CONNECT = Config(mode="connect", host="h", ports=(1,))
LISTEN = Config(mode="listen", ports=(8080,))
SERVE = LISTEN.but(keep_open=True)


SCAN = CONNECT.but(mode="scan")


def waiting(*places: Config, **facts: Any) -> Config:
    return places[0].but(host=None, ports=(), places=places, **facts)


PLACES = waiting(SCAN, SCAN.but(host="::1", ports=(2,)))


def config_of(argv: Sequence[str]) -> Config:
    return asked_for(list(argv), *read(TABLE, list(argv), HINTS))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("h 1", CONNECT),
        ("h 1 3-5 9-8", CONNECT.but(ports=(1, 3, 4, 5, 8, 9))),
        ("h http 443", CONNECT.but(ports=(80, 443))),
        ("-u h tftp", CONNECT.but(datagram=True, ports=(69,))),
        ("0 1", CONNECT.but(host="0")),
        ("-4 h 1", CONNECT.but(family="ipv4")),
        ("-4 --ipv6 h 1", CONNECT.but(family="ipv6")),
        ("-U -4 h 1", CONNECT.but(family="ipv4")),
        ("-n h 1", CONNECT.but(numeric=True)),
        ("-p 7 -s a h 1", CONNECT.but(source_port=7, source_host="a")),
        ("-p 0 h 1", CONNECT.but(source_port=0)),
        ("-up tftp h 1", CONNECT.but(datagram=True, source_port=69)),
        ("-z h 1-3", CONNECT.but(mode="scan", ports=(1, 2, 3))),
        ("-z --retry 3 h 1", CONNECT.but(mode="scan", retry=3)),
        ("-zr h 1", CONNECT.but(mode="scan", shuffle=True)),
        ("-vv h 1", CONNECT.but(verbosity=2)),
        ("-l 8080", LISTEN),
        ("-l 0", LISTEN.but(ports=(0,))),
        ("-l http-alt", LISTEN),
        ("-ul tftp", LISTEN.but(datagram=True, ports=(69,))),
        ("-l h 8080", LISTEN.but(host="h")),
        ("-l 0 8080", LISTEN.but(host="0")),
        ("-l -p 8080", LISTEN),
        ("-l -p 8080 h", LISTEN.but(host="h")),
        ("-l h -p 8080", LISTEN.but(host="h")),
        ("-l -p 8080 -s h", LISTEN.but(host="h")),
        ("-l -s h 8080", LISTEN.but(host="h")),
        ("-U p", Config(mode="connect", family="unix", host="p")),
        ("-lU @p", Config(mode="listen", family="unix", host="@p")),
        ("-uU p", Config(mode="connect", family="unix", datagram=True, host="p")),
        ("-uUs own p", Config(mode="connect", family="unix", datagram=True, host="p", source_host="own")),
        ("-luU p", Config(mode="listen", family="unix", datagram=True, host="p")),
        ("-zU p", Config(mode="scan", family="unix", host="p")),
        ("-lk 8080", SERVE),
        ("-lk --max-conns 3 8080", SERVE.but(max_conns=3)),
        (
            "-lk --allow a,b --allow c --deny d --allowfile e --denyfile f --denyfile g 8080",
            SERVE.but(
                access=Access(allow=("a", "b", "c"), deny=("d",), allow_files=("e",), deny_files=("f", "g")),
            ),
        ),
        ("-l --user u:g 8080", LISTEN.but(user="u:g")),
        ("-l --http 8080", LISTEN.but(http=True)),
        ("-lU --http p", Config(mode="listen", family="unix", host="p", http=True)),
        ("-lk -e cat 8080", SERVE.but(program=Program(argv=("cat",)))),
        ("-lku -e cat 8080", SERVE.but(program=Program(argv=("cat",)), datagram=True)),
        ("-lk -e cat --max-conns 500 8080", SERVE.but(program=Program(argv=("cat",)), max_conns=500)),
        ("-c cat -l 8080", LISTEN.but(program=Program(argv=("/bin/sh", "-c", "cat")))),
        ("--pipes -e cat h 1", CONNECT.but(program=Program(argv=("cat",), pipes=True))),
        ("--pty -e cat h 1", CONNECT.but(program=Program(argv=("cat",), terminal=True))),
        ("-e cat -d h 1", CONNECT.but(program=Program(argv=("cat",)), send=False)),
        ("--filter cat h 1", CONNECT.but(program=Program(argv=("/bin/sh", "-c", "cat"), filters=True))),
        ("-d h 1", CONNECT.but(send=False)),
        ("--recv-only h 1", CONNECT.but(send=False)),
        ("--send-only h 1", CONNECT.but(receive=False)),
        ("-Ct h 1", CONNECT.but(crlf=True, telnet=True)),
        ("-i 1.5 --delay 20ms h 1", CONNECT.but(pace=1.5, delay=0.02)),
        ("-i 0 --delay 0 --retry 0 h 1", CONNECT),
        ("--reconnect 10m h 1", CONNECT.but(reconnect=600)),
        ("-o f h 1", CONNECT.but(logs=Logs(raw="f"))),
        ("--hex-dump f --append-output h 1", CONNECT.but(logs=Logs(hexadecimal="f", append=True))),
        ("--hex-dump f --timestamps h 1", CONNECT.but(logs=Logs(hexadecimal="f", timestamps=True))),
        ("-o 5%% --hex-dump %a.%n h 1", CONNECT.but(logs=Logs(raw="5%", hexadecimal=("", "a", ".", "n", "")))),
        ("-N h 1", CONNECT.but(ending=Ending(at_once=True))),
        ("--no-shutdown h 1", CONNECT.but(ending=Ending(half_close=False))),
        ("-q 0 h 1", CONNECT.but(ending=Ending(quit_after=0))),
        ("-q -1 h 1", CONNECT),
        ("--raw h 1", CONNECT.but(raw_terminal=True, ending=Ending(quit_after=0))),
        ("--raw -q -1 h 1", CONNECT.but(raw_terminal=True)),
        ("--raw -q 5 --window-size h 1", CONNECT.but(raw_terminal=True, window_size=True, ending=Ending(quit_after=5))),
        ("-q 5 -W 2 h 1", CONNECT.but(ending=Ending(quit_after=5, receive_limit=2))),
        ("-w 300 h 1", CONNECT.but(connect_timeout=300, ending=Ending(idle_timeout=300))),
        ("-w 0 h 1", CONNECT),
        ("-w 5 --idle-timeout 0 h 1", CONNECT.but(connect_timeout=5)),
        ("-u --lines --datagram-size 9 h 1", CONNECT.but(datagram=True, lines=True, datagram_size=9)),
        ("-u --interface lo h 1", CONNECT.but(datagram=True, socket=SocketOptions(interface="lo"))),
        ("-u -w 0 h 1", CONNECT.but(datagram=True, ending=Ending(answer_wait=0))),
        ("-uw 5 h 1", CONNECT.but(datagram=True, connect_timeout=5, ending=Ending(idle_timeout=5, answer_wait=5))),
        ("-u --idle-timeout 5 h 1", CONNECT.but(datagram=True, ending=Ending(idle_timeout=5))),
        ("-luw 5 1", LISTEN.but(ports=(1,), datagram=True, connect_timeout=5, ending=Ending(idle_timeout=5))),
        ("--connect-timeout 1m -w 5 h 1", CONNECT.but(connect_timeout=60, ending=Ending(idle_timeout=5))),
        ("--idle-timeout 1 --retry 2 h 1", CONNECT.but(retry=2, ending=Ending(idle_timeout=1))),
        ("-bD --tcp-keepalive h 1", CONNECT.but(socket=SocketOptions(broadcast=True, debug=True, keepalive=True))),
        ("-I 1 -O 2 -T ef h 1", CONNECT.but(socket=SocketOptions(receive_buffer=1, send_buffer=2, tos=0xB8))),
        ("h:1", CONNECT),
        ("h:http", CONNECT.but(ports=(80,))),
        ("-z h:1-3", CONNECT.but(mode="scan", ports=(1, 2, 3))),
        ("-z tls://h:1", SCAN.but(tls=Tls())),
        ("-z h:1 --", SCAN),
        ("-z -- h 1", SCAN),
        ("-z ::1 1", SCAN.but(host="::1")),
        ("-z [::1] 1", SCAN.but(host="::1")),
        ("-z h:1 [::1]:2", PLACES),
        ("-z -- h:1 [::1]:2", PLACES),
        ("--any -z h:1 [::1]:2", PLACES.but(wanted="any")),
        ("-z --closed h:1 [::1]:2 -- a -b -- c:d", PLACES.but(wanted="none", command=("a", "-b", "--", "c:d"))),
        ("-z --closed -- h:1 [::1]:2 -- a", PLACES.but(wanted="none", command=("a",))),
        ("-zw 5 h:1 -- a", waiting(SCAN.but(connect_timeout=5, ending=Ending(idle_timeout=5)), command=("a",))),
        ("-z --ssl-no-verify h:1 tls://h:1", waiting(SCAN, SCAN.but(tls=Tls(verify=False)))),
        ("-z --ssl --ssl-no-verify h:1 tls://h:1", waiting(*[SCAN.but(tls=Tls(verify=False))] * 2)),
        ("-z udp://h:1 unix://p", waiting(SCAN.but(datagram=True), Config(mode="scan", family="unix", host="p"))),
        ("[::1]:1", CONNECT.but(host="::1")),
        ("[fe80::1%lo]:1", CONNECT.but(host="fe80::1%lo")),
        ("[::1] 1", CONNECT.but(host="::1")),
        ("-s [::2] [::1] 1", CONNECT.but(host="::1", source_host="::2")),
        ("h:2 1", CONNECT.but(host="h:2")),
        ("tcp://h:1", CONNECT),
        ("TCP://h:1/", CONNECT),
        ("udp://h:1", CONNECT.but(datagram=True)),
        ("-u udp://h:1", CONNECT.but(datagram=True)),
        ("tls://h:1", CONNECT.but(tls=Tls())),
        ("ssl://h:1", CONNECT.but(tls=Tls())),
        ("unix:///a/b", Config(mode="connect", family="unix", host="/a/b")),
        ("-lu unix://p", Config(mode="listen", family="unix", datagram=True, host="p")),
        ("-U h:1", Config(mode="connect", family="unix", host="h:1")),
        ("-U tcp://h:1", Config(mode="connect", family="unix", host="tcp://h:1")),
        ("-l h:8080", LISTEN.but(host="h")),
        ("-l :8080", LISTEN),
        ("-l [::]:8080", LISTEN.but(host="::")),
        ("-l -p 8080 ::1", LISTEN.but(host="::1")),
        ("-l -p 8080 [::1]", LISTEN.but(host="::1")),
        ("-lk tcp://0.0.0.0:8080", SERVE.but(host="0.0.0.0")),
        ("0 http", CONNECT.but(host="0", ports=(80,))),
        ("-l 0 http-alt", LISTEN.but(host="0")),
        ("-M 3 -m 4 h 1", CONNECT.but(socket=SocketOptions(ttl=3, min_ttl=4))),
    ],
)
def test_a_command_line_asks_for(line: str, expected: Config) -> None:
    assert config_of(line.split()) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "missing host and port: as in 'pync localhost 8080', or 'pync -l 8080' to listen"),
        ("8080", "missing host: 'pync HOST 8080' connects to a port, 'pync -l 8080' listens on it"),
        ("h", "missing port: as in 'pync h 80'"),
        ("h 0", "port: too small: 0"),
        ("h 65536", "port: too large: 65536"),
        ("h 80 nosuch", "port: invalid: nosuch"),
        ("-p nosuch h 80", "source port: invalid: nosuch"),
        ("8080 80", "host 8080: a mere number is no host"),
        ("-d 2 h 80", "host 2: a mere number is no host; Ncat's -d TIME is --delay TIME"),
        ("-s 7 h 80", "host 7: a mere number is no host"),
        ("-l", "missing port: as in 'pync -l 8080'"),
        ("-l -s h", "missing port: as in 'pync -l 8080'"),
        ("-l 70000", "port: too large: 70000"),
        ("-l 10-20", "port: invalid: 10-20"),
        ("-l 8080 h", "host 8080: HOST comes before PORT, as in 'pync -l h 8080'"),
        ("-l 80 81", "host 80: a mere number is no host"),
        ("-l -p 80 81", "two ports, 80 and 81: a listener has one"),
        ("-l -p 80 h 81", "two ports, 80 and 81: a listener has one"),
        ("-l -s a h 80", "two addresses, a and h: a listener has one; -s is the other way to name it"),
        ("-l a b 80", "operand b: a listener takes [HOST] PORT"),
        ("-U", "missing path: name the unix socket"),
        ("-lU", "missing path: name the unix socket"),
        ("-U p 80", "operand 80: -U takes a path and nothing else"),
        ("-U -p 80 p", "-p with -U: a unix socket has no port"),
        ("-U -s own p", "-s with -U: only a datagram socket that connects has a path of its own; add -u"),
        ("-luU -s own p", "-s with -U: only a datagram socket that connects has a path of its own; add -u"),
        ("8080 h", "host 8080: HOST comes before PORT, as in 'pync h 8080'"),
        ("-l8080", "-l8080: -l takes no value; write -l 8080"),
        ("-vlk8080 -w5", "-vlk8080: -k takes no value; write -vlk 8080"),
        ("-uz80 h", "-uz80: -z takes no value; write -uz 80"),
        ("-l4444", "missing port: as in 'pync -l 8080'; the port stands apart from the letters"),
        ("-w5 -8", "-8: no such option"),
        ("h 80,443", "port: invalid: 80,443; blanks divide ports, as in 80 443"),
        ("-z h:22,80-90", "port: invalid: 22,80-90; blanks divide ports, as in 22 80-90"),
        ("::1", "missing port: as in 'pync ::1 80'"),
        ("h:", "missing port: as in 'pync h 80'"),
        (":80", "missing host: 'pync HOST 80' connects to a port, 'pync -l 80' listens on it"),
        ("/run/x", "missing port: as in 'pync /run/x 80'; a unix socket needs -U"),
        ("tcp://::1:80", "operand tcp://::1:80: an IPv6 address needs brackets, as in [::1]:8080"),
        ("tcp://h", "missing port: as in 'pync h 80'"),
        ("-u tcp://h:1", "-u with tcp://h:1: it is one transport or the other"),
        ("--sctp tcp://h:1", "--sctp with tcp://h:1: it is one transport or the other"),
        ("-u tls://h:1", "-u with --ssl: TLS needs a stream"),
        ("--reconnect 1 h 1 2", "--reconnect with several ports: it goes on with one connection"),
        ("--reconnect 1 h 1-2", "--reconnect with several ports: it goes on with one connection"),
        ("-z h:1 h2:1-3", "operand h2:1-3: one port for each place; a range is for a scan of one HOST"),
        ("-z h:1 2", "operand 2: not HOST:PORT, as the places before it are"),
        ("-z h 1 h2:2", "port: invalid: h2:2"),
        ("-zr h:1 h:2", "-r with several places: all of them are tried at the same time"),
        ("-zp -- -- h:1 h:2", "source port: invalid: --"),
        ("-z h 1 -- ./a", "a command after HOST PORT: it follows HOST:PORT, as in 'pync -z h:1 -- ./a'"),
        ("-z --any h 1", "--any without HOST:PORT: as in 'pync -z --any localhost:80 [::1]:81'"),
        ("-z --closed ::1 1", "--closed without HOST:PORT: as in 'pync -z --closed localhost:80 [::1]:81'"),
        ("-zp 1 h:1 unix://p", "-p with -U: a unix socket has no port"),
        ("-zU /p:1 /q:1", "operand /q:1: -U takes a path and nothing else"),
        ("-l -p 80 h:81", "two ports, 80 and 81: a listener has one"),
        (
            "tcp://h 80",
            "operand tcp://h: a URL is the only operand, and names the port, as in tcp://HOST:PORT",
        ),
        ("ftp://h", "operand ftp://h: a URL of pync begins with one of tcp, udp, tls, ssl, unix, ws, wss"),
        (
            "http://h/",
            "operand http://h: pync makes no HTTP requests, but connects: pync h 80",
        ),
        (
            "https://user:secret@h:8443/x?y",
            "operand https://h:8443: pync makes no HTTP requests, but connects: pync --ssl h 8443",
        ),
        ("http://a:b:c/", "operand http://a:b:c: pync makes no HTTP requests, but connects: pync HOST 80"),
        ("http://h 80", "operand http://h: pync makes no HTTP requests, but connects: pync h 80"),
        (
            "-l http://h:80",
            "operand http://h:80: a listener takes [HOST] PORT, as in 'pync -l --http localhost 8080'",
        ),
        ("--insecure h 80", "--insecure: no such option; --ssl-no-verify accepts any certificate"),
        ("--quiet h 80", "--quiet: no such option; only errors are reported without -v"),
        ("--timeout=3 h 80", "--timeout: no such option; the limit for connecting and for silence is -w"),
        ("--verison", "--verison: no such option; did you mean --version?"),
        ("--silence h 80", "--silence: no such option"),
        ("-V 1 h 80", "-V N: there are no routing tables to choose from"),
        ("-w -1 h 80", "-w, --wait TIME: too small: -1"),
        ("-W 0 h 80", "-W, --receive-limit N: too small: 0"),
        ("-Z h 80", "-Z: no such option; there is no DCCP"),
    ],
)
def test_a_command_line_is_refused(line: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        config_of(line.split())
    assert str(caught.value) == message


@pytest.mark.parametrize("spelling", HINTS)
def test_a_remark_is_about_a_spelling_that_pync_has_not(spelling: str) -> None:
    with pytest.raises(UsageError) as caught:
        config_of([spelling, "h", "80"])
    assert str(caught.value) == f"{spelling}: no such option; {HINTS[spelling]}"


def test_a_remark_names_options_that_exist() -> None:
    spellings = {spelling for option in every(TABLE) for spelling in option.spellings} | {"-lk"}
    for remark in HINTS.values():
        named = {word.strip(";,") for word in remark.split() if word.startswith("-")}
        assert named <= spellings, remark


@pytest.mark.parametrize("argv", [["", "80"], ["-s", "", "h", "80"], ["-l", "", "80"], ["-U", ""], ["-uUs", "", "p"]])
def test_an_empty_host_or_path_is_refused(argv: list[str]) -> None:
    with pytest.raises(UsageError, match="^empty host|empty file name$"):
        config_of(argv)
