"""The rules about options that make no sense together, or alone: which command lines they refuse, and what they say.

The rules name dests, so these tests also hold that there are options with such dests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pync.errors import UsageError
from pync.faces.native.config import config
from pync.faces.native.conflicts import PROXIES, PROXY_DETAILS, PROXY_TARGETS, RULES, TLS, TLS_AND_PROXY_RULES
from pync.faces.native.options import HINTS, TABLE, TLS_AND_PROXY
from pync.faces.option_table import every, read

if TYPE_CHECKING:
    from pync.faces.option_table import Rule

PIN = f"sha256:{'ab' * 32}"
DESTS = {option.dest for option in every(TABLE)}


def message_of(line: str) -> str:
    """The message with which a command line is refused."""
    with pytest.raises(UsageError) as caught:
        config(*read(TABLE, line.split(), HINTS))
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-k h 80", "-k without -l: only a listener has clients; TCP keep-alive is --tcp-keepalive"),
        ("-z --progress h 80", "--progress with -z: a scan transfers nothing"),
        ("--size 5 h 80", "--size without --progress: it shows how far a transfer has come"),
        ("-lk --progress --size 5 80", "--size with -k: the clients' transfers have no size in common"),
        ("--checksum -e cat h 80", "--checksum with -e: the program has the connection for itself"),
        ("-lku --checksum 80", "--checksum with -u and -k: the peers share one conversation"),
        ("-lk --chat --checksum 80", "--checksum with --chat: a hub is for all"),
        ("--max-conns 1 h 80", "--max-conns without -l: only a listener has clients"),
        ("--allow a h 80", "--allow without -l: only a listener has clients"),
        ("--allowfile a h 80", "--allowfile without -l: only a listener has clients"),
        ("--deny a h 80", "--deny without -l: only a listener has clients"),
        ("--denyfile a h 80", "--denyfile without -l: only a listener has clients"),
        ("--user u h 80", "--user without -l: only a listener has clients"),
        ("--http h 80", "--http without -l: only a listener has clients"),
        ("-lz 80", "-z with -l: a listener connects to nobody"),
        ("-lr 80", "-r with -l: a listener connects to nobody"),
        ("-l --retry 1 80", "--retry with -l: a listener connects to nobody"),
        ("-l --proxy-server http --retry 1 80", "--retry with -l: a listener connects to nobody"),
        ("-l --connect-timeout 1 80", "--connect-timeout with -l: a listener connects to nobody"),
        ("-z -e a h 80", "-e with -z: a scan transfers nothing"),
        ("-z -c a h 80", "-c with -z: a scan transfers nothing"),
        ("-z --filter a h 80", "--filter with -z: a scan transfers nothing"),
        ("-l --reconnect 1 80", "--reconnect with -l: a listener connects to nobody"),
        ("-z --reconnect 1 h 80", "--reconnect with -z: a scan transfers nothing"),
        ("-u --reconnect 1 h 80", "--reconnect with -u: datagrams have no connection that could end"),
        ("-uU --reconnect 1 p", "--reconnect with -u: datagrams have no connection that could end"),
        ("-c a --reconnect 1 h 80", "--reconnect with -c: the program has one connection for itself"),
        ("-W 1 --reconnect 1 h 80", "--reconnect with -W: one goes on, the other leaves"),
        ("--any h:80 h:81", "--any without -z: they are about the places that -z waits for"),
        ("-z --any --closed h:80 h:81", "--closed with --any: one waits for an open port, the other for none"),
        ("-e a -c b h 80", "-c with -e: the program has the connection for itself"),
        ("-e a --filter b h 80", "--filter with -e: the program has the connection for itself"),
        ("-c a --filter b h 80", "--filter with -c: the program has the connection for itself"),
        ("-l -e a --http 80", "--http with -e: the program has the connection for itself"),
        ("-c a --recv-only h 80", "--recv-only with -c: the program has the connection for itself"),
        ("--filter a --send-only h 80", "--send-only with --filter: the filter has both directions for itself"),
        ("--pipes h 80", "--pipes without -e: it is for the program of -e or -c"),
        ("--pipes --filter a h 80", "--pipes without -e: it is for the program of -e or -c"),
        ("--pty h 80", "--pty without -e: it is for the program of -e or -c"),
        ("--pty --filter a h 80", "--pty without -e: it is for the program of -e or -c"),
        ("--pty --pipes -e a h 80", "--pipes with --pty: the program has one or the other"),
        ("--pty -u -e a h 80", "-u with --pty: a terminal needs a stream"),
        ("--pty -luU -c a path", "-u with --pty: a terminal needs a stream"),
        ("--send-only --recv-only h 80", "--recv-only with --send-only: nothing would be left to do"),
        ("--send-only -d h 80", "-d with --send-only: nothing would be left to do"),
        ("-N --no-shutdown h 80", "--no-shutdown with -N: one half-closes, the other never does"),
        ("--lines h 80", "--lines without -u: a stream has no datagrams"),
        ("--datagram-size 9 h 80", "--datagram-size without -u: a stream has no datagrams"),
        ("-zu --lines h 80", "--lines with -z: a scan transfers nothing"),
        ("-lu --http 80", "-u with --http: HTTP needs a stream"),
        ("-z --raw h 80", "--raw with -z: a scan transfers nothing"),
        ("-c a --raw h 80", "--raw with -c: the program has the connection for itself"),
        ("-d --raw h 80", "--raw with -d: what is typed is to be sent, and the answer to be seen"),
        ("--send-only --raw h 80", "--raw with --send-only: what is typed is to be sent, and the answer to be seen"),
        ("-u --raw h 80", "--raw with -u: what is typed has to arrive, and in order"),
        ("-lk --raw 80", "--raw with -k: the terminal is for one peer"),
        ("-l --http --raw 80", "--raw with --http: keys are no lines"),
        ("-C --raw h 80", "--raw with -C: keys are no lines"),
        ("-i 1 --raw h 80", "--raw with -i: keys are no lines"),
        ("--window-size h 80", "--window-size without --raw: there is no window"),
        ("-t --raw --window-size h 80", "--window-size with -t: TELNET itself uses the same escapes"),
        ("--append-output h 80", "--append-output alone: there is no log to append to; add -o or --hex-dump"),
        ("-z -o f h 80", "-o with -z: a scan transfers nothing"),
        ("-z --hex-dump f --timestamps h 80", "--hex-dump with -z: a scan transfers nothing"),
        (
            "-o f --timestamps h 80",
            "--timestamps without --hex-dump: the time stands in front of the blocks of a hex dump",
        ),
    ],
)
def test_usual_options_that_make_no_sense_together(line: str, message: str) -> None:
    assert message_of(line) == message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--ssl -u h 1", "-u with --ssl: TLS needs a stream"),
        ("--ssl-key k h 1", "--ssl-key without --ssl-cert: one belongs to the other"),
        (f"-l --ssl-pin {PIN} 1", "--ssl-pin with -l: it is about a server's certificate"),
        ("-l --ssl-no-verify 1", "--ssl-no-verify with -l: it is about a server's certificate"),
        ("-l --ssl-servername n 1", "--ssl-servername with -l: it is about a server's certificate"),
        ("--ssl-no-verify --ssl-verify h 1", "--ssl-verify with --ssl-no-verify: one verifies, the other does not"),
        (
            f"--ssl-pin {PIN} --ssl-trustfile f h 1",
            "--ssl-trustfile with --ssl-pin: the one certificate that is accepted needs no authority",
        ),
        ("--to h:1 h 1", "--to without -l: only a listener has clients"),
        ("--proxy-server http h 1", "--proxy-server without -l: only a listener has clients"),
        ("-l --to-ssl 1", "--to-ssl without --to: one belongs to the other"),
        ("-l --to h:1 -e cat 1", "-e with --to: the clients are relayed already"),
        ("-l --to h:1 -C 1", "-C with --to: nothing of stdin is sent"),
        ("-l --to h:1 --proxy-server http 1", "--proxy-server with --to: where to is for the clients to say"),
        ("--chat --filter cat 1", "--filter with --chat: the clients are relayed already"),
        ("--broker -u 1", "-u with --broker: a hub is for all"),
        ("--broker --to h:1 1", "--to with --broker: the clients are relayed already"),
        ("--chat --raw 1", "--raw with --chat: the clients are relayed already"),
        ("-l --to h:1 --raw 1", "--raw with --to: the clients are relayed already"),
        ("-F --raw h 1", "--raw with -F: the socket is somebody else's then"),
        ("-l -F 1", "-l with -F: it hands over one connection"),
        ("-F --ssl h 1", "--ssl with -F: the socket is somebody else's then"),
        ("-F -o f h 1", "-o with -F: the socket is somebody else's then"),
        ("-F --hex-dump f h 1", "--hex-dump with -F: the socket is somebody else's then"),
        ("--sctp -u h 1", "-u with --sctp: SCTP is another transport"),
        ("--vsock --sctp 1 1", "--vsock with --sctp: SCTP is another transport"),
        ("-l --vsock --allow ::1 1", "--allow with --vsock: the addresses are of another kind"),
    ],
)
def test_options_of_tls_relaying_and_rare_sockets_that_make_no_sense_together(line: str, message: str) -> None:
    assert message_of(line) == message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-x p --proxy q h 1", "-x with --proxy: one proxy at a time"),
        ("-x p -u h 1", "-u with -x: a proxy passes on streams alone"),
        ("-x p --sctp h 1", "--sctp with -x: proxies know TCP alone"),
        ("-x p --vsock 2 1", "--vsock with -x: proxies know TCP alone"),
        ("-l -x p 1", "-x with -l: a listener connects to nobody"),
        ("-X 5 h 1", "-X without --proxy: there is no proxy to say it to"),
        ("-P u h 1", "-P without --proxy: there is no proxy to say it to"),
        ("--proxy-auth u:w h 1", "--proxy-auth without --proxy: there is no proxy to say it to"),
        ("--proxy-dns local h 1", "--proxy-dns without --proxy: there is no proxy to say it to"),
        ("-l --proxy-auth u:w 1", "--proxy-auth without --proxy: there is no proxy to say it to"),
        ("-F -z h 1", "-F with -z: a scan transfers nothing"),
        ("-F -C h 1", "-C with -F: the socket is somebody else's then"),
        ("-F -e cat h 1", "-e with -F: the socket is somebody else's then"),
        ("-F -l 1", "-l with -F: it hands over one connection"),
        ("-F -u h 1", "-u with -F: it hands over one connection"),
    ],
)
def test_options_that_make_no_sense_with_a_proxy_to_go_through(line: str, message: str) -> None:
    assert message_of(line) == message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-l --proxy-server http --to h:1 1", "--proxy-server with --to: where to is for the clients to say"),
        ("-l --proxy-server http -u 1", "-u with --proxy-server: a proxy passes on streams alone"),
        ("-l --proxy-server http -e cat 1", "-e with --proxy-server: the clients are relayed already"),
        ("-l --proxy-server http --http 1", "--http with --proxy-server: the clients are relayed already"),
        ("-l --proxy-server http --broker 1", "--proxy-server with --broker: the clients are relayed already"),
        ("-l --proxy-server http -d 1", "-d with --proxy-server: nothing of stdin is sent"),
        ("-l --proxy-server http -N 1", "-N with --proxy-server: nothing of stdin is sent"),
        (
            "--proxy-allow a h 80",
            "--proxy-allow without --proxy-server: only the clients of a proxy choose their targets",
        ),
        (
            "-l --to a:1 --proxy-denyfile a 80",
            "--proxy-denyfile without --proxy-server: only the clients of a proxy choose their targets",
        ),
        (
            "-l --proxy-server http -x p --proxy-deny a 80",
            "--proxy-deny with -x: the next proxy looks up the targets",
        ),
        ("-l --proxy-server http -W 1 1", "-W with --proxy-server: nothing of stdin is sent"),
    ],
)
def test_options_that_make_no_sense_for_a_proxy_to_be(line: str, message: str) -> None:
    assert message_of(line) == message


def test_a_command_line_that_breaks_two_rules_is_refused_by_the_first() -> None:
    assert message_of("-k --max-conns 1 -N --no-shutdown h 1").startswith("-k without -l: ")
    assert message_of("-k --ssl -u h 1") == "-u with --ssl: TLS needs a stream"


# -- The rules as data ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [*RULES, *TLS_AND_PROXY_RULES], ids=str)
def test_a_rule_is_about_options_of_the_table(rule: Rule) -> None:
    dests, _, others, why, unless = rule
    assert why
    assert {*dests, *others} <= DESTS
    assert {*unless} <= DESTS | {"proxy_tls", "to_websocket"}


def test_the_groups_of_the_rules_are_the_sections_of_the_table() -> None:
    sections = {section.title: {option.dest for option in section.options} for section in TABLE}
    assert sections["Encryption"] == {*TLS}
    assert sections["Proxies"] == {*PROXIES, *PROXY_DETAILS, *PROXY_TARGETS, "serve_proxy"}


def test_the_usual_rules_leave_the_options_of_tls_and_proxies_to_the_others() -> None:
    """A rule may have an exception for one of them: without the option, the exception is none."""
    usual = {dest for dests, _, others, _, _ in RULES for dest in (*dests, *others)}
    assert usual.isdisjoint(TLS_AND_PROXY)
