"""From `config.Tls` to an `ssl.SSLContext`, made by hand so that every Python version does the same.

Theory: `ssl.create_default_context` is stricter from Python 3.13 on (VERIFY_X509_STRICT: it refuses the certificates of
many an authority at home for want of an extension). Here chain, dates, purpose and name are verified everywhere, and
nothing else. A certificate in the trust file is trusted itself, whoever signed it (VERIFY_X509_PARTIAL_CHAIN): that
is what the user says by naming it. A name must be among the subjectAltNames, never in the CN (RFC 9525 §2).

What the system's OpenSSL configuration demands (a newer version, other ciphers) stays.
"""

from __future__ import annotations

import os
import ssl
import string
import sys

from pync.errors import TlsError, reason
from pync.system import packed_address, socket
from pync.tls.certificate import install, self_signed
from pync.tls.reasons import broken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Tls

NAME = string.ascii_letters + string.digits + "-._"
FOREIGN = ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED")  # the latter: not even the key's kind is the same
ANY = ("", "*", "0.0.0.0", "::")  # addresses of a listener that say nothing about its name


def client_context(tls: Tls) -> ssl.SSLContext:
    """For connections that we make. Raises TlsError."""
    import encodings.idna  # noqa: F401 - `ssl` needs it for a name, when its file may be out of reach

    context = _context(ssl.PROTOCOL_TLS_CLIENT, tls)
    if tls.pin or not tls.verify:  # a pinned certificate is compared after the handshake: see `secure`
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.hostname_checks_common_name = False
        _trust(context, tls)
    if tls.certificate:
        _identify(context, tls.certificate, tls.key)
    return context


def server_context(tls: Tls, host: str | None) -> tuple[ssl.SSLContext, str | None]:
    """For connections that we accept, and the fingerprint of our certificate if it had to be made. Raises TlsError.

    `host` is the address that is listened on.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, tls)
    context.num_tickets = 0  # who only sends leaves them unread, and its close would be a reset that loses what it sent
    if tls.verify:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, tls)
    if tls.certificate:
        _identify(context, tls.certificate, tls.key)
        return context, None
    pem, fingerprint = self_signed(_names(host or ""))
    install(context, pem)
    return context, fingerprint


def _context(protocol: ssl._SSLMethod, tls: Tls) -> ssl.SSLContext:
    """What both sides have in common."""
    context = ssl.SSLContext(protocol)
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    context.options |= ssl.OP_NO_RENEGOTIATION  # an attack on TLS 1.2 in itself, and nobody needs it
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if tls.ciphers:
        try:
            context.set_ciphers(tls.ciphers)
        except ssl.SSLError:
            raise TlsError(f"ciphers {tls.ciphers}", "none of them can be used (those of TLS 1.3 are fixed)") from None
    if tls.alpn:
        try:
            context.set_alpn_protocols(list(tls.alpn))
        except (ssl.SSLError, UnicodeError):
            raise TlsError(f"protocols {','.join(tls.alpn)}", "each must be 1 to 255 ASCII characters") from None
    _log_keys(context, os.environ.get("SSLKEYLOGFILE"))
    return context


def _log_keys(context: ssl.SSLContext, path: str | None) -> None:
    """As Python's default contexts do: Wireshark can read what was recorded then."""
    if not path or sys.flags.ignore_environment:
        return
    try:
        context.keylog_filename = path
    except OSError as error:
        raise TlsError(f"SSLKEYLOGFILE {path}", reason(error)) from None


def _trust(context: ssl.SSLContext, tls: Tls) -> None:
    """Trust who is in the trust file, or else the system's authorities."""
    if tls.trust_file is None:
        context.load_default_certs()
        return
    try:
        context.load_verify_locations(tls.trust_file)
    except ssl.SSLError:
        raise TlsError(f"trusted certificates {tls.trust_file}", "it holds no certificate") from None
    except OSError as error:
        raise TlsError(f"trusted certificates {tls.trust_file}", reason(error)) from None


def _identify(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    """Show this certificate, and prove by the key that it is ours."""

    def ask() -> str:
        raise TlsError(f"key {key or certificate}", "it is encrypted, and nobody is asked for its password")

    try:
        context.load_cert_chain(certificate, key, ask)
    except ssl.SSLError as error:
        raise _unusable(error, certificate, key or certificate) from None
    except OSError as error:
        raise _unreadable(error, certificate, key or certificate) from None


def _unusable(error: ssl.SSLError, certificate: str, key: str) -> TlsError:
    """Which of the two files is to blame, and for what."""
    if error.reason in FOREIGN:
        return TlsError(f"key {key}", f"it does not belong to the certificate in {certificate}")
    if error.reason:
        return TlsError(f"certificate {certificate}", broken(error))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificate)
    except OSError:
        return TlsError(f"certificate {certificate}", "it holds no certificate")
    return TlsError(f"key {key}", "it holds no private key")


def _unreadable(error: OSError, certificate: str, key: str) -> TlsError:
    """The system does not say which of the two files it means."""
    try:
        open(certificate, "rb").close()
    except OSError as own:
        return TlsError(f"certificate {certificate}", reason(own))
    return TlsError(f"key {key}", reason(error))


def _names(host: str) -> list[str]:
    """What a client may call us."""
    names = ["localhost", "127.0.0.1", "::1", socket.gethostname(), host.partition("%")[0]]
    return [name for name in names if name not in ANY and (packed_address(name) or _is_name(name))]


def _is_name(name: str) -> bool:
    return name.isascii() and not name.strip(NAME)
