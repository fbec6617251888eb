"""pync under TLS against openssl, ncat, socat, stunnel, curl and chromium: as their server and as their client.

Each peer speaks one version and no other. `tls_peers.py` describes what a peer does at an end of file; the tests here
show what pync makes of it: every byte arrives, and an end without close_notify is reported. Certificates and trust are
in `test_encrypted_trust.py`, connections that break in `test_encrypted_ends.py`.
"""

from __future__ import annotations

import contextlib
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest
from clients import take
from encrypted import (
    TRUNCATED,
    client,
    client_side,
    drain_tls,
    greeted,
    listener,
    ours,
    send_end,
    server_side,
    trusting,
)
from harness import DEVNULL, PAYLOAD, PYNC, Result, Running, digest, listen, pync, require, run, success
from pairs import complaints, nothing_from
from servers import listening
from sorting import BYTEWISE, LINES, SORTED
from tls_peers import CLIENTS, CUTS, SERVERS, SPEAKS_LAST, VERSIONS, curl, stunnel_client, stunnel_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import IO

    from certificates import Authority
    from encrypted import Pair

    Start = Callable[..., AbstractContextManager[Pair]]

LARGE = PAYLOAD(3_000_000)

in_each_version = pytest.mark.parametrize("version", VERSIONS)
# It takes what was received for the whole, although the client has not ended it properly.
ANSWERS_A_CUT = """sh -c "trap '' HUP; exec sort" """
PROGRAMS = pytest.mark.parametrize("program", ["--exec", "--sh-exec", "--filter"])


# -- Megabytes ---------------------------------------------------------------------------------------------------


def exchange(process: Running, peer: Running, *, goes_on: bool = True) -> None:
    """Megabytes both ways at the same time. Then pync's stdin ends, and the peer's if that does not end it."""
    with ThreadPoolExecutor() as pool:
        sending = pool.submit(process.send, LARGE)
        peer.send(LARGE)
        sending.result()
    assert digest(process.read(len(LARGE))) == digest(LARGE)
    process.close_stdin()
    assert digest(peer.read(len(LARGE))) == digest(LARGE)  # ncat may keep the last bytes until something else happens
    if goes_on:
        peer.close_stdin()
    assert peer.wait() == 0


@in_each_version
@pytest.mark.parametrize("name", CLIENTS)
def test_a_listener_and_a_client_exchange_megabytes(name: str, version: str, authority: Authority) -> None:
    with (
        listen(*ours(authority.server), "127.0.0.1", "0") as process,
        CLIENTS[name](process.port, authority.trust, version) as peer,
    ):
        exchange(process, peer, goes_on=CLIENTS[name].habits.goes_on)
        result, cut = process.finish(), name in CUTS
        assert result.status_and_out == (int(cut), b"")
        assert f"pync: TLSv{version} with 127.0.0.1:" in result.err
        assert ("truncated" in result.err) == cut


@in_each_version
@pytest.mark.parametrize("name", SERVERS)
def test_a_client_and_a_server_exchange_megabytes(name: str, version: str, authority: Authority) -> None:
    with (
        SERVERS[name](authority.server, version) as peer,
        pync(*trusting(authority), "-4", "localhost", str(peer.port)) as process,
    ):
        exchange(process, peer, goes_on=SERVERS[name].habits.goes_on)
        assert process.finish() == success()


@pytest.fixture
def large(tmp_path: Path) -> Iterator[IO[bytes]]:
    """A regular file."""
    (tmp_path / "large").write_bytes(LARGE)
    with (tmp_path / "large").open("rb") as file:
        yield file


def test_two_pyncs_exchange_megabytes_and_end_at_once(large: IO[bytes], authority: Authority) -> None:
    with listen(*ours(authority.server), "127.0.0.1", "0", stdin=large) as process:
        result = run([*PYNC, *trusting(authority), "-4", "localhost", str(process.port)], LARGE)
        received = process.finish()
    assert result.digested() == success(LARGE).digested()
    assert (received.status, digest(received.out)) == (0, digest(LARGE))


@in_each_version
def test_a_listener_and_socat_end_while_both_are_sending(large: IO[bytes], version: str, authority: Authority) -> None:
    with (
        listen(*ours(authority.server), "127.0.0.1", "0", stdin=large) as process,
        CLIENTS["socat"](process.port, authority.trust, version) as peer,
    ):
        peer.send(LARGE)
        result, received = peer.finish(), process.finish()
    assert (result.status, digest(result.out)) == (0, digest(LARGE))
    assert (received.status, digest(received.out)) == (0, digest(LARGE))


@in_each_version
def test_a_client_and_socat_end_while_both_are_sending(large: IO[bytes], version: str, authority: Authority) -> None:
    with SERVERS["socat"](authority.server, version, stdin=large) as peer:
        result = run([*PYNC, *trusting(authority), "-4", "localhost", str(peer.port)], LARGE)
        received = peer.finish()
    assert result.digested() == success(LARGE).digested()
    assert (received.status, digest(received.out)) == (0, digest(LARGE))


@in_each_version
def test_stunnel_carries_megabytes_to_a_listener(version: str, authority: Authority) -> None:
    with (
        listen(*ours(authority.server), "127.0.0.1", "0") as process,
        stunnel_client(process.port, authority.trust, version) as stunnel,
        pync("127.0.0.1", str(stunnel.port)) as peer,
    ):
        exchange(process, peer)
        assert process.finish().status_and_out == (0, b"")


@in_each_version
def test_stunnel_carries_megabytes_to_a_server(version: str, authority: Authority) -> None:
    with (
        listen("127.0.0.1", "0") as peer,
        stunnel_server(authority.server, version, to=peer.port) as stunnel,
        pync(*trusting(authority), "-4", "localhost", str(stunnel.port)) as process,
    ):
        exchange(process, peer)
        assert process.finish() == success()


# -- An answer after the half-close ---------------------------------------------------------------------------------


@in_each_version
@PROGRAMS
@pytest.mark.parametrize("name", SPEAKS_LAST)
def test_sort_behind_a_listener_answers_at_the_close_notify(
    name: str, program: str, version: str, authority: Authority
) -> None:
    with (
        listen(*ours(authority.server, program, "sort"), "127.0.0.1", "0", stdin=DEVNULL, env=BYTEWISE) as process,
        CLIENTS[name](process.port, authority.trust, version) as peer,
    ):
        peer.send(LINES)
        result = peer.finish()
        assert (result.status, digest(result.out)) == (0, digest(SORTED))
        assert process.finish().status_and_out == (0, b"")


@in_each_version
@PROGRAMS
@pytest.mark.parametrize("name", CUTS)
def test_a_client_that_cuts_the_connection_is_answered_by_a_program_that_ignores_sighup(
    name: str, program: str, version: str, authority: Authority
) -> None:
    with (
        listen(
            *ours(authority.server, program, ANSWERS_A_CUT), "127.0.0.1", "0", stdin=DEVNULL, env=BYTEWISE
        ) as process,
        CLIENTS[name](process.port, authority.trust, version) as peer,
    ):
        peer.send(LINES)
        result = peer.finish()
        assert (result.status, digest(result.out)) == (0, digest(SORTED))
        process.expect(f"^{TRUNCATED}$")
        assert process.finish().status_and_out == (1, b"")


@PROGRAMS
@pytest.mark.parametrize("name", CUTS)
def test_a_program_that_hangs_up_gives_a_client_that_cuts_the_connection_no_answer(
    name: str, program: str, authority: Authority
) -> None:
    with (
        listen(*ours(authority.server, program, "sort"), "127.0.0.1", "0", stdin=DEVNULL, env=BYTEWISE) as process,
        CLIENTS[name](process.port, authority.trust, "1.3") as peer,
    ):
        peer.send(LINES)
        assert peer.finish().out == b""
        process.expect(f"^{TRUNCATED}$")
        assert process.finish().status_and_out == (1, b"")


def test_a_client_has_its_lines_sorted_by_socat(authority: Authority) -> None:
    files = f"cert={authority.server.chain},key={authority.server.key},verify=0"
    words = [require("socat"), "-t", "10", f"OPENSSL-LISTEN:0,bind=127.0.0.1,{files}", "EXEC:sort"]
    with listening(Running(words, stdin=DEVNULL, env=BYTEWISE)) as server:
        result = run([*PYNC, *trusting(authority), "-4", "localhost", str(server.port)], LINES)
        assert (result.status, digest(result.out)) == (0, digest(SORTED))
        assert server.finish().status == 0


@in_each_version
def test_a_client_has_its_lines_sorted_behind_stunnel(version: str, authority: Authority) -> None:
    with (
        listen("--exec", "sort", "127.0.0.1", "0", stdin=DEVNULL, env=BYTEWISE) as server,
        stunnel_server(authority.server, version, to=server.port) as stunnel,
    ):
        result = run([*PYNC, *trusting(authority), "-4", "localhost", str(stunnel.port)], LINES)
    assert (result.status, digest(result.out)) == (0, digest(SORTED))


def test_a_client_puts_a_program_on_the_connection(authority: Authority) -> None:
    with SERVERS["socat"](authority.server, "1.3") as server:
        words = [*trusting(authority), "--sh-exec", "tr a-z A-Z; exit 3", "-4", "localhost", str(server.port)]
        with pync(*words) as process:
            server.send(b"hello\n")
            server.close_stdin()
            assert server.read_all() == b"HELLO\n"
            assert process.finish() == Result(status=3, out=b"", err="")


# -- Many at the same time -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def all_kinds(port: int, authority: Authority) -> Iterator[list[Running]]:
    """A client of each kind that waits for answers, in each version."""
    peers = [peer for peer in CLIENTS.values() if peer.habits.listens_on]
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(peer(port, authority.trust, version)) for peer in peers for version in VERSIONS]


def test_all_kinds_of_clients_are_served_at_the_same_time(authority: Authority) -> None:
    with (
        listen("-k", *ours(authority.server, "--exec", "cat"), "127.0.0.1", "0") as process,
        all_kinds(process.port, authority) as peers,
    ):
        for number in range(20):
            for peer in peers:
                peer.send(b"question %d\n" % number)
            for peer in peers:
                assert peer.read_until(b"\n") == b"question %d\n" % number


def test_a_file_is_served_whole_to_all_kinds_of_clients(large: IO[bytes], authority: Authority) -> None:
    with (
        listen("-k", *ours(authority.server), "127.0.0.1", "0", stdin=large) as process,
        all_kinds(process.port, authority) as peers,
    ):
        for peer in peers:
            assert digest(peer.read(len(LARGE))) == digest(LARGE)


# -- Relaying ------------------------------------------------------------------------------------------------------


def test_a_hub_relays_between_clients_under_tls(authority: Authority) -> None:
    context = client_side(authority)
    with (
        listen("--broker", *ours(authority.server), "127.0.0.1", "0", stdin=DEVNULL) as process,
        greeted(context, process.port) as one,
        greeted(context, process.port) as other,
    ):
        process.expect("^pync: TLSv1.3 with", count=2)
        one.sendall(LARGE)
        assert digest(take(other, len(LARGE))) == digest(LARGE)
        send_end(one)
        other.sendall(b"answer\n")
        assert take(one, 7) == b"answer\n"


@in_each_version
def test_a_forwarder_passes_half_closes_on_from_tls_to_tls(version: str, authority: Authority) -> None:
    to_server = ("--to-ssl", "--ssl-trustfile", str(authority.trust))
    sort = (*ours(authority.server), "--exec", "sort", "127.0.0.1", "0")
    with listen(*sort, stdin=DEVNULL, env=BYTEWISE) as server:
        to = ("--to", f"localhost:{server.port}", *to_server)
        with (
            listen("-k", "-4", *ours(authority.server), *to, "127.0.0.1", "0", stdin=DEVNULL) as process,
            CLIENTS["socat"](process.port, authority.trust, version) as peer,
        ):
            peer.send(LINES)
            result = peer.finish()
        assert server.finish().status == 0
    assert (result.status, digest(result.out)) == (0, digest(SORTED))


# -- HTTP ----------------------------------------------------------------------------------------------------------

PAGE = b"<!DOCTYPE html><title>Encrypted</title><p id=words>Read by two only.</p>"


@pytest.fixture
def site(tmp_path: Path, authority: Authority) -> Iterator[Running]:
    """A pync that serves one page by https."""
    (tmp_path / "page.html").write_bytes(PAGE)
    with (
        (tmp_path / "page.html").open("rb") as page,
        listen("-k", *ours(authority.server, "--http"), "127.0.0.1", "0", stdin=page) as process,
    ):
        yield process


@in_each_version
def test_curl_gets_a_page(site: Running, version: str, authority: Authority) -> None:
    for _ in range(2):
        assert run(curl(site.port, authority.trust, version)) == success(PAGE)
    assert site.read_until(b"\r\n\r\n").startswith(b"GET / HTTP/1.1\r\n")
    assert all("TLSv" in line for line in complaints(site))


@in_each_version
def test_curl_gets_megabytes(version: str, authority: Authority) -> None:
    with (
        listen("-k", *ours(authority.server, "--http"), "127.0.0.1", "0") as process,
        Running(curl(process.port, authority.trust, version)) as peer,
    ):
        process.read_until(b"\r\n\r\n")
        process.send(LARGE)
        process.close_stdin()
        result = peer.finish()
    assert result.digested() == success(LARGE).digested()


def test_a_browser_shows_a_page(site: Running, tmp_path: Path) -> None:
    quiet = ["--disable-gpu", "--disable-extensions", "--no-first-run", "--disable-background-networking"]
    words = [require("chromium"), "--headless", "--no-sandbox", *quiet, f"--user-data-dir={tmp_path / 'profile'}"]
    words += ["--ignore-certificate-errors", "--dump-dom", f"https://127.0.0.1:{site.port}/"]
    result = run(words, DEVNULL, timeout=50)
    assert result.status == 0
    assert b'<p id="words">Read by two only.</p>' in result.out
    assert b"GET / HTTP/1.1\r\n" in site.read_until(b"\r\n\r\n")


# -- Unix sockets --------------------------------------------------------------------------------------------------

NAMED = ("--ssl-servername", "localhost")  # a path is no name that could be verified


def test_two_pyncs_exchange_megabytes_over_a_unix_socket(tmp_path: Path, authority: Authority) -> None:
    path = str(tmp_path / "socket")
    with (
        listen(*ours(authority.server), "-U", path) as process,
        pync(*trusting(authority, *NAMED), "-U", path) as peer,
    ):
        exchange(process, peer)
        assert process.finish().status_and_out == (0, b"")


def test_s_client_talks_to_a_listener_over_a_unix_socket(tmp_path: Path, authority: Authority) -> None:
    path = str(tmp_path / "socket")
    words = [require("openssl"), "s_client", "-quiet", "-nocommands", "-unix", path, "-CAfile", str(authority.trust)]
    with listen(*ours(authority.server), "-U", path) as process, Running(words) as peer:
        exchange(process, peer, goes_on=False)
        assert process.finish().status_and_out == (0, b"")


def test_a_client_talks_to_s_server_over_a_unix_socket(tmp_path: Path, authority: Authority) -> None:
    # s_server accepts no long paths, so it is started in the directory of the socket.
    words = [require("openssl"), "s_server", "-quiet", "-naccept", "1", "-unix", "socket"]
    words += ["-cert", str(authority.server.chain), "-key", str(authority.server.key)]
    with (
        Running(words, cwd=tmp_path) as peer,
        pync(*trusting(authority, *NAMED, "--retry", "10"), "-U", str(tmp_path / "socket")) as process,
    ):
        exchange(process, peer, goes_on=False)
        assert process.finish() == success()


def test_over_a_unix_socket_the_certificate_can_be_pinned(tmp_path: Path, authority: Authority) -> None:
    path = str(tmp_path / "socket")
    with listen(*ours(authority.server), "-U", path) as process:
        assert run([*PYNC, "--ssl-pin", authority.server.fingerprint, "-U", path], b"hello\n") == success()
        assert process.finish().status_and_out == (0, b"hello\n")


# -- What else can be asked for ------------------------------------------------------------------------------------


@pytest.fixture(params=["client", "listener"])
def start(request: pytest.FixtureRequest, authority: Authority) -> Start:
    """Starts a pync in either role with some options, and gives it with our own side of its connection."""
    if request.param == "client":
        return partial(client, server_side(authority.server), *trusting(authority))
    return partial(listener, client_side(authority), *ours(authority.server))


def test_line_ends_become_cr_lf_before_they_are_encrypted(start: Start) -> None:
    with start("-C") as (process, peer):
        process.send(b"one\ntwo\n")
        assert take(peer, 10) == b"one\r\ntwo\r\n"


def test_the_logs_hold_what_was_not_encrypted(start: Start, tmp_path: Path) -> None:
    raw, dump = tmp_path / "raw", tmp_path / "dump"
    with start("-o", str(raw), "--hex-dump", str(dump)) as (process, peer):
        process.send(b"question\n")
        assert take(peer, 9) == b"question\n"
        peer.sendall(b"answer\n")
        assert process.read(7) == b"answer\n"
    assert raw.read_bytes() == b"question\nanswer\n"
    assert re.findall("question|answer", dump.read_text()) == ["question", "answer"]


def test_a_pync_that_only_sends_sends_everything_and_discards_what_it_receives(start: Start) -> None:
    with start("--send-only") as (process, peer):
        peer.sendall(LARGE)
        process.send(LARGE)
        process.close_stdin()
        assert digest(drain_tls(peer)) == digest(LARGE)
        send_end(peer)
        assert process.finish().status_and_out == (0, b"")


def test_a_pync_that_only_receives_sends_close_notify_at_the_end(start: Start) -> None:
    with start("-d") as (process, peer):
        peer.sendall(LARGE)
        assert digest(process.read(len(LARGE))) == digest(LARGE)
        send_end(peer)
        assert drain_tls(peer) == b""
        assert process.finish().status_and_out == (0, b"")


def test_a_pync_that_does_not_wait_sends_close_notify(start: Start) -> None:
    with start("-q", "0") as (process, peer):
        process.send(LARGE)
        process.close_stdin()
        assert digest(drain_tls(peer)) == digest(LARGE)
        assert process.finish().status_and_out == (0, b"")


def test_a_pync_that_never_half_closes_sends_close_notify_at_the_very_end(start: Start) -> None:
    with start("--no-shutdown") as (process, peer):
        process.send(b"question\n")
        process.close_stdin()
        assert take(peer, 9) == b"question\n"
        peer.sendall(b"answer\n")
        assert process.read(7) == b"answer\n"
        assert nothing_from(peer)
        send_end(peer)
        assert drain_tls(peer) == b""
        assert process.finish().status_and_out == (0, b"")
