"""Which peers are trusted under TLS, and what is reported of the others: certificates, pins, names, files, protocols.

A failure is one line with the reason and exit status 1, and nothing of stdin has been sent by then.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import ssl
from typing import TYPE_CHECKING

import pytest
from encrypted import REFUSED, client, client_side, drain_tls, listener, ours, send_end, server_side, trusting
from harness import DEADLINE, DEVNULL, PYNC, Result, Running, failure, listen, pync, require, run, serve, success
from tls_peers import VERSIONS, s_client, s_server

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from certificates import Authority, Certificate

    Received = queue.Queue[bytes | str]

SECRET = b"what stdin has\n"
# What a server receives from a client that refuses its certificate.
NOTHING = (b"", "UNEXPECTED_EOF_WHILE_READING", "[Errno 104] Connection reset by peer")
UNSENT = f"(, {len(SECRET)} bytes were not sent)?"  # in TLS 1.3 a client is refused only when it has begun to send
in_each_version = pytest.mark.parametrize("version", VERSIONS)


@contextlib.contextmanager
def witness(context: ssl.SSLContext, host: str = "127.0.0.1") -> Iterator[tuple[int, Received]]:
    """A server that ends each conversation when its client does: its port, and what it has received from each client.

    Where the handshake has failed, that is a text with the reason.
    """
    received: Received = queue.Queue()

    def listen_to(conn: socket.socket) -> None:
        try:
            with context.wrap_socket(conn, server_side=True) as peer:
                received.put(drain_tls(peer))
                send_end(peer)
        except OSError as error:
            received.put(getattr(error, "reason", str(error)))

    with serve(listen_to, host) as (_, port):
        yield port, received


def ask(port: int, *options: str, host: str = "localhost", env: Mapping[str, str] | None = None) -> Result:
    """Run a pync that sends its secret to a server."""
    return run([*PYNC, "-4", *options, host, str(port)], SECRET, env={**os.environ, **(env or {})})


# -- Certificates of servers -----------------------------------------------------------------------------------------


@in_each_version
@pytest.mark.parametrize("label", REFUSED)
def test_a_certificate_is_refused_with_the_reason(label: str, version: str, authority: Authority) -> None:
    with witness(server_side(getattr(authority, label), version)) as (port, received):
        result = ask(port, *trusting(authority))
        assert re.search("ALERT", str(received.get(timeout=DEADLINE)))
    assert result.status_and_out == (1, b"")
    assert re.fullmatch(rf"pync: TLS handshake with 127\.0\.0\.1:{port}: {REFUSED[label]}\n", result.err)


def test_a_certificate_must_be_for_the_address_that_is_connected_to(authority: Authority) -> None:
    with witness(server_side(authority.elsewhere)) as (port, _):
        result = ask(port, *trusting(authority), host="127.0.0.1")
    why = "the certificate is for elsewhere.example, not for 127.0.0.1"
    assert result == failure(f"TLS handshake with 127.0.0.1:{port}: {why}")


def test_the_systems_authorities_are_trusted_and_no_others(authority: Authority) -> None:
    with witness(server_side(authority.server)) as (port, received):
        result = ask(port, "--ssl")
        assert result.status_and_out == (1, b"")
        assert ": nobody whom we trust has signed the certificate, but O=trustme" in result.err
        assert received.get(timeout=DEADLINE) == "TLSV1_ALERT_UNKNOWN_CA"
        assert ask(port, "--ssl", env={"SSL_CERT_FILE": str(authority.trust)}) == success()
        assert received.get(timeout=DEADLINE) == SECRET


@in_each_version
@pytest.mark.parametrize("label", ["server", "chained"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_good_certificate_is_accepted(host: str, label: str, version: str, authority: Authority) -> None:
    with witness(server_side(getattr(authority, label), version)) as (port, received):
        assert ask(port, *trusting(authority), host=host) == success()
        assert received.get(timeout=DEADLINE) == SECRET


def test_a_self_signed_certificate_can_be_trusted_itself(authority: Authority) -> None:
    with witness(server_side(authority.self_signed)) as (port, received):
        assert ask(port, "--ssl-trustfile", str(authority.self_signed.chain)) == success()
        assert received.get(timeout=DEADLINE) == SECRET


@pytest.mark.parametrize("label", REFUSED)
def test_every_certificate_is_accepted_if_none_is_to_be_verified(label: str, authority: Authority) -> None:
    with witness(server_side(getattr(authority, label))) as (port, received):
        assert ask(port, "--ssl-no-verify") == success()
        assert received.get(timeout=DEADLINE) == SECRET


# -- Pins ------------------------------------------------------------------------------------------------------------


def colons(digits: str) -> str:
    return ":".join(digits[start : start + 2].upper() for start in range(0, len(digits), 2))


@pytest.mark.parametrize("write", ["sha256:{}".format, str, colons], ids=["sha256:", "digits", "as openssl does"])
@pytest.mark.parametrize("label", ["self_signed", "expired"])
def test_the_pinned_certificate_is_accepted(label: str, write: Callable[[str], str], authority: Authority) -> None:
    certificate: Certificate = getattr(authority, label)
    with witness(server_side(certificate)) as (port, received):
        assert ask(port, "--ssl-pin", write(certificate.fingerprint), host="127.0.0.1") == success()
        assert received.get(timeout=DEADLINE) == SECRET


@in_each_version
def test_no_other_certificate_is_accepted_and_nothing_is_sent(version: str, authority: Authority) -> None:
    held, pinned = authority.server.fingerprint, authority.self_signed.fingerprint
    with witness(server_side(authority.server, version)) as (port, received):
        result = ask(port, "--ssl-pin", f"sha256:{pinned}")
        assert received.get(timeout=DEADLINE) in NOTHING
    why = f"the certificate is sha256:{held}, not the pinned sha256:{pinned}"
    assert result == failure(f"TLS handshake with 127.0.0.1:{port}: {why}")


# -- Names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "options", "asked"),
    [
        ("localhost", [], "localhost"),
        ("127.0.0.1", [], None),
        ("127.0.0.1", ["--ssl-servername", "localhost"], "localhost"),
        ("localhost", ["--ssl-servername", "localhost."], "localhost"),
        ("localhost", ["--ssl-servername", "127.0.0.1"], None),
    ],
)
def test_the_server_receives_the_name_that_is_asked_for_but_no_address(
    host: str, options: list[str], asked: str | None, authority: Authority
) -> None:
    names: list[str | None] = []
    context = server_side(authority.server)
    context.sni_callback = lambda _, name, context: names.append(name)
    with witness(context) as (port, received):
        assert ask(port, *trusting(authority, *options), host=host) == success()
        assert received.get(timeout=DEADLINE) == SECRET
    assert names == [asked]


def test_the_name_that_is_asked_for_is_the_one_that_is_verified(authority: Authority) -> None:
    with witness(server_side(authority.elsewhere)) as (port, received):
        assert ask(port, *trusting(authority, "--ssl-servername", "elsewhere.example")) == success()
        assert received.get(timeout=DEADLINE) == SECRET
        result = ask(port, *trusting(authority, "--ssl-servername", "nowhere.example"))
    assert result.status == 1
    assert result.err.endswith(": the certificate is for elsewhere.example, not for nowhere.example\n")


# -- Certificates of clients -----------------------------------------------------------------------------------------


def shown(certificate: Certificate) -> tuple[str, ...]:
    return ("--ssl-cert", str(certificate.both))


@in_each_version
def test_a_client_shows_its_certificate_to_s_server(version: str, authority: Authority) -> None:
    with (
        s_server(authority.server, version, trust=authority.trust) as server,
        pync(*trusting(authority, *shown(authority.client)), "-4", "localhost", str(server.port)) as process,
    ):
        process.send(SECRET)
        assert server.read(len(SECRET)) == SECRET


@in_each_version
@pytest.mark.parametrize(
    ("label", "why"),
    [
        (None, r"the peer refused: (certificate required|no cipher in common, or it wants a certificate)"),
        ("strange", r"the peer refused: it does not know who signed the certificate"),
    ],
)
def test_a_client_reports_why_s_server_refuses_it(
    label: str | None, why: str, version: str, authority: Authority
) -> None:
    options = shown(getattr(authority, label)) if label else ()
    with s_server(authority.server, version, trust=authority.trust) as server:
        result = ask(server.port, *trusting(authority, *options))
    assert result.status_and_out == (1, b"")
    message = rf"pync: (TLS handshake with|connection to) 127\.0\.0\.1:{server.port}: {why}{UNSENT}\n"
    assert re.fullmatch(message, result.err)


@in_each_version
def test_a_listener_waits_for_a_client_with_a_good_certificate(version: str, authority: Authority) -> None:
    asks = ours(authority.server, "--ssl-verify", "--ssl-trustfile", str(authority.trust))
    with listen(*asks, "127.0.0.1", "0") as process:
        with s_client(process.port, authority.trust, version) as peer:
            process.expect(r"^pync: TLS handshake with 127\.0\.0\.1:\d+: the peer has shown no certificate$")
            assert peer.wait() == 1
        with s_client(process.port, authority.trust, version, certificate=authority.strange) as peer:
            process.expect(r"^pync: TLS handshake with .*: nobody whom we trust has signed the certificate$")
            assert peer.wait() == 1
        with s_client(process.port, authority.trust, version, certificate=authority.client) as peer:
            peer.send(SECRET)
            assert process.read(len(SECRET)) == SECRET
        process.expect(rf"^pync: TLSv{version} .* sha256:{authority.client.fingerprint}$")


def test_a_listener_and_a_client_know_each_other(authority: Authority) -> None:
    asks = ours(authority.server, "--ssl-verify", "--ssl-trustfile", str(authority.trust))
    with listen("-k", *asks, "127.0.0.1", "0", stdin=DEVNULL) as process:
        assert ask(process.port, *trusting(authority, *shown(authority.client))) == success()
        assert process.read(len(SECRET)) == SECRET
        for options in (), shown(authority.strange):
            result = ask(process.port, *trusting(authority, *options))
            assert result.status_and_out == (1, b"")
            assert re.fullmatch(r"pync: .*: the peer refused: .*\n", result.err)
        assert ask(process.port, *trusting(authority, *shown(authority.client))) == success()
        assert process.read(len(SECRET)) == SECRET


# -- Protocols -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "known", "chosen"),
    [("h2,http/1.1", ["http/1.1"], "http/1.1"), ("h2", ["http/1.1"], None), ("http/1.1,h2", ["h2", "http/1.1"], "h2")],
)
def test_a_client_offers_protocols_and_the_server_chooses(
    offered: str, known: list[str], chosen: str | None, authority: Authority
) -> None:
    context = server_side(authority.server)
    context.set_alpn_protocols(known)
    with client(context, *trusting(authority, "-v", "--ssl-alpn", offered)) as (process, peer):
        assert peer.selected_alpn_protocol() == chosen
        process.expect(f"^pync: TLSv1.3 with .*, {f'ALPN {chosen}' if chosen else 'no ALPN'}, ")


def test_a_listener_chooses_the_first_protocol_that_the_client_knows(authority: Authority) -> None:
    context = client_side(authority)
    context.set_alpn_protocols(["http/1.1", "h2"])
    with listener(context, *ours(authority.server, "--ssl-alpn", "spdy/3,h2,http/1.1")) as (process, peer):
        assert peer.selected_alpn_protocol() == "h2"
        process.expect("^pync: TLSv1.3 with .*, ALPN h2, ")


CIPHER = "ECDHE-ECDSA-AES128-GCM-SHA256"


def test_ciphers_are_chosen_in_both_roles(authority: Authority) -> None:
    with client(server_side(authority.server, "1.2"), *trusting(authority, "-v", "--ssl-ciphers", CIPHER)) as (_, peer):
        assert (peer.cipher() or ("",))[0] == CIPHER
    with listener(client_side(authority, "1.2"), *ours(authority.server, "--ssl-ciphers", CIPHER)) as (process, peer):
        assert (peer.cipher() or ("",))[0] == CIPHER
        process.expect(f"^pync: TLSv1.2 with .*: {CIPHER}, ")


def test_a_list_of_ciphers_that_means_nothing_is_an_error() -> None:
    why = "none of them can be used (those of TLS 1.3 are fixed)"
    for options in ["127.0.0.1", "1"], ["-l", "127.0.0.1", "0"]:
        result = run([*PYNC, "--ssl-ciphers", "NONSENSE", *options])
        assert result == failure(f"ciphers NONSENSE: {why}")


OLD = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]


def test_a_client_with_nothing_newer_than_tls_1_1_is_refused(authority: Authority) -> None:
    words = [require("openssl"), "s_client", *OLD, "-connect"]
    with listen("-k", *ours(authority.server), "127.0.0.1", "0") as process:
        assert run([*words, f"127.0.0.1:{process.port}"], DEVNULL).status == 1
        process.expect(r"^pync: TLS handshake with 127\.0\.0\.1:\d+: no protocol version in common$")


def test_a_server_with_nothing_newer_than_tls_1_1_is_refused(authority: Authority) -> None:
    with s_server(authority.server, "1.1", "-cipher", "ALL:@SECLEVEL=0", stdin=DEVNULL) as server:
        result = ask(server.port, *trusting(authority))
    why = "the peer refused: no protocol version in common"
    assert result == failure(f"TLS handshake with 127.0.0.1:{server.port}: {why}")


def test_what_was_agreed_is_reported_on_both_sides(authority: Authority) -> None:
    options = ours(authority.server, "--ssl-verify", "--ssl-trustfile", str(authority.trust), "--ssl-alpn", "x,y")
    with listen(*options, "127.0.0.1", "0", stdin=DEVNULL) as process:
        mine = trusting(authority, *shown(authority.client), "--ssl-alpn", "y", "-v")
        of_client = ask(process.port, *mine).err
        of_listener = process.finish().err
    agreed = r"^pync: TLSv1\.3 with 127\.0\.0\.1:\d+: TLS_\w+, ALPN y, O=trustme \S+, OU=Testing cert #\S+, signed by "
    for err, certificate in (of_client, authority.server), (of_listener, authority.client):
        assert re.search(rf"{agreed}.*, sha256:{certificate.fingerprint}$", err, re.MULTILINE)


@pytest.mark.parametrize(
    ("mode", "owner", "exposed"),
    [(0o600, 0, False), (0o640, 0, False), (0o644, 0, True), (0o640, 1, True), (0o604, 1, True), (0o660, 1, True)],
)
@pytest.mark.parametrize("combined", [False, True])
def test_a_key_that_other_users_can_read_is_reported_once(
    authority: Authority, combined: bool, mode: int, owner: int, exposed: bool
) -> None:
    if os.getuid() != 0 and owner == 0:
        pytest.skip("only root can give root a file")
    certificate = authority.issue("exposed", "localhost")
    path = certificate.both if combined else certificate.key
    path.chmod(mode)
    if os.getuid() == 0:
        os.chown(path, owner, owner)
    words = ("--ssl-cert", str(path)) if combined else ("--ssl-cert", str(certificate.chain), "--ssl-key", str(path))
    warning = f"pync: warning: other users can read the key in {path}; see chmod(1)\n" * exposed
    with listen("-k", *words, "127.0.0.1", "0", stdin=DEVNULL) as process:
        for _ in range(2):
            assert ask(process.port, "--ssl-no-verify", *words) == success(err=warning)
        process.expect(r"^Connection received", count=2)
        assert process.stderr.count("warning") == exposed


# -- A certificate made on the spot ----------------------------------------------------------------------------------


@pytest.fixture
def bereft(tmp_path: Path) -> dict[str, str]:
    """An environment in which there is no cryptography: a package that stands in its way."""
    (tmp_path / "cryptography.py").write_text("raise ImportError('not here')\n")
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def greet_by_its_fingerprint(process: Running) -> None:
    """A client that pins the fingerprint in the listener's message is served, and no other client."""
    pin = process.expect(r"^pync: no --ssl-cert: one was made, for this run, (sha256:[0-9a-f]{64})$")[1]
    for host in "localhost", "127.0.0.1":
        assert ask(process.port, "--ssl-pin", pin, host=host) == success()
        assert process.read(len(SECRET)) == SECRET
    assert ask(process.port, "--ssl").err.endswith(": the certificate is self-signed, and not one that we trust\n")


def test_a_listener_makes_a_certificate_that_can_be_pinned() -> None:
    with listen("-k", "--ssl", "127.0.0.1", "0", stdin=DEVNULL) as process:
        greet_by_its_fingerprint(process)


def test_without_cryptography_the_certificate_is_made_by_openssl(bereft: dict[str, str]) -> None:
    require("openssl")
    with listen("-k", "--ssl", "127.0.0.1", "0", stdin=DEVNULL, env=bereft) as process:
        greet_by_its_fingerprint(process)


def test_with_neither_the_message_names_what_is_missing(tmp_path: Path, bereft: dict[str, str]) -> None:
    result = run([*PYNC, "-l", "--ssl", "127.0.0.1", "0"], DEVNULL, env={**bereft, "PATH": str(tmp_path)})
    package, way_out = "the Python package cryptography (pync-netcat[tls])", "or give --ssl-cert"
    why = f"this takes {package} or the program openssl; {way_out}"
    assert result == failure(f"make a certificate: {why}")


# -- Files -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> dict[str, str]:
    """Files that do not hold what they should, by what they hold."""
    openssl, good = require("openssl"), authority.server
    folder = tmp_path_factory.mktemp("files")
    paths = {name: str(folder / name) for name in ("missing", "text", "rsa", "locked")}
    (folder / "text").write_text("hello\n")
    for words in (
        ["genpkey", "-quiet", "-algorithm", "RSA", "-out", paths["rsa"]],
        ["pkey", "-in", str(good.key), "-aes128", "-passout", "pass:x", "-out", paths["locked"]],
    ):
        assert run([openssl, *words]).status == 0
    return {**paths, "cert": str(good.chain), "key": str(good.key), "other": str(authority.client.key)}


@pytest.mark.parametrize(
    ("certificate", "key", "line"),
    [
        ("missing", None, "certificate {missing}: No such file or directory"),
        ("text", None, "certificate {text}: it holds no certificate"),
        ("cert", None, "key {cert}: it holds no private key"),
        ("cert", "missing", "key {missing}: No such file or directory"),
        ("cert", "text", "key {text}: it holds no private key"),
        ("cert", "other", "key {other}: it does not belong to the certificate in {cert}"),
        ("cert", "rsa", "key {rsa}: it does not belong to the certificate in {cert}"),
        ("cert", "locked", "key {locked}: it is encrypted, and nobody is asked for its password"),
    ],
)
@pytest.mark.parametrize("role", [["-l", "127.0.0.1", "0"], ["127.0.0.1", "1"]], ids=["listener", "client"])
def test_a_wrong_file_is_named(
    role: list[str], certificate: str, key: str | None, line: str, files: dict[str, str]
) -> None:
    options = ["--ssl-cert", files[certificate], *(["--ssl-key", files[key]] if key else [])]
    assert run([*PYNC, *options, *role], DEVNULL) == failure(line.format(**files))


@pytest.mark.parametrize(
    ("trusted", "line"),
    [
        ("missing", "trusted certificates {missing}: No such file or directory"),
        ("text", "trusted certificates {text}: it holds no certificate"),
        ("key", "trusted certificates {key}: it holds no certificate"),
    ],
)
def test_a_wrong_file_of_authorities_is_named(trusted: str, line: str, files: dict[str, str]) -> None:
    result = run([*PYNC, "--ssl-trustfile", files[trusted], "127.0.0.1", "1"], DEVNULL)
    assert result == failure(line.format(**files))


ROOT = os.geteuid() == 0
AS_NOBODY = ("--user", "nobody")


def not_permitted(*options: str) -> bool:
    """Whether only root may do this. Then pync refuses it before a client is served."""
    if ROOT:
        return False
    result = run([*PYNC, "-l", *options, "127.0.0.1", "0"])
    assert (result.status, result.err) == (1, "pync: user nobody: Operation not permitted\n")
    return True


def test_files_are_read_before_privileges_are_dropped(authority: Authority) -> None:
    options = ours(authority.server, "--ssl-verify", "--ssl-trustfile", str(authority.trust), *AS_NOBODY)
    if not_permitted(*options):
        return
    with listen("-k", *options, "127.0.0.1", "0", stdin=DEVNULL) as process:
        for path in authority.server.key, authority.trust:
            assert run([require("setpriv"), "--reuid=65534", "--clear-groups", "cat", str(path)]).status == 1
        for _ in range(2):
            assert ask(process.port, *trusting(authority, *shown(authority.client))) == success()
            assert process.read(len(SECRET)) == SECRET
        assert ask(process.port, *trusting(authority)).status == 1
        process.expect("^pync: TLS handshake with .*: the peer has shown no certificate$")


def test_forwarding_to_a_server_under_tls_needs_no_privileges(authority: Authority) -> None:
    options = trusting(authority, "--to-ssl", *AS_NOBODY)[1:]
    with witness(server_side(authority.server)) as (port, received):
        if not_permitted("--to", f"localhost:{port}", *options):
            return
        with listen("-k", "-4", "--to", f"localhost:{port}", *options, "127.0.0.1", "0", stdin=DEVNULL) as process:
            for _ in range(2):
                assert run([*PYNC, "127.0.0.1", str(process.port)], SECRET) == success()
                assert received.get(timeout=DEADLINE) == SECRET
