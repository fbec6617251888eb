"""From `config.Tls` to an `ssl.SSLContext`, made by hand so that every Python version does the same.

Theory: `ssl.create_default_context` is stricter from Python 3.13 on (VERIFY_X509_STRICT: it refuses the certificates of
many private authorities, because they lack an extension). Here chain, dates, purpose and name are verified everywhere,
and nothing else. A certificate in the trust file is trusted itself, whatever has signed it (VERIFY_X509_PARTIAL_CHAIN),
because the user has named it. A name must be among the subjectAltNames, never in the CN (RFC 9525 §2).

What the system's OpenSSL configuration demands (a newer version, other ciphers) stays.
"""

from __future__ import annotations

import codecs
import os
import ssl
import string
import sys

from pync.errors import TlsError, reason
from pync.system import packed_address, socket
from pync.tls.certificate import load_from_memory, self_signed
from pync.tls.reasons import failure_reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Tls

SERVER_NAME_LETTERS = string.ascii_letters + string.digits + "-._"
# OpenSSL's reasons if a key does not belong to its certificate; the second if it is not even of the same kind.
WRONG_KEY = ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
UNSPECIFIED_ADDRESSES = ("", "*", "0.0.0.0", "::")  # a listener on one of these has no name by it


def client_context(tls: Tls) -> ssl.SSLContext:
    """The context for connections that are made. Raises TlsError."""
    # `ssl` loads this codec for the name of a server. By then its file may be out of reach.
    codecs.lookup("idna")
    context = _context(ssl.PROTOCOL_TLS_CLIENT, tls)
    # A pinned certificate is compared after the handshake: see `secure`.
    if tls.pin or not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.hostname_checks_common_name = False
        _trust(context, tls)
    if tls.certificate:
        _identify(context, tls.certificate, tls.key)
    return context


def server_context(tls: Tls, host: str | None) -> tuple[ssl.SSLContext, str | None]:
    """The context for connections that are accepted, and the fingerprint of its certificate if that had to be made.

    `host` is the address that is listened on. Raises TlsError.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, tls)
    # A client that only sends leaves session tickets unread. Its close would then be a reset, and destroy what it sent.
    context.num_tickets = 0
    if tls.verify:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, tls)
    if tls.certificate:
        _identify(context, tls.certificate, tls.key)
        return context, None
    pem, fingerprint = self_signed(_names(host or ""))
    load_from_memory(context, pem)
    return context, fingerprint


def _context(protocol: ssl._SSLMethod, tls: Tls) -> ssl.SSLContext:
    """A context with all that clients and servers have in common."""
    context = ssl.SSLContext(protocol)
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    # Renegotiation is of no use here, and a way to attack TLS 1.2.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if tls.ciphers is not None:
        try:
            context.set_ciphers(tls.ciphers)
        except (ssl.SSLError, ValueError):  # ValueError: the text cannot even be passed to OpenSSL
            raise TlsError(f"ciphers {tls.ciphers}", "none of them can be used (those of TLS 1.3 are fixed)") from None
    if tls.alpn:
        try:
            context.set_alpn_protocols(list(tls.alpn))
        except (ssl.SSLError, UnicodeError):
            raise TlsError(f"protocols {','.join(tls.alpn)}", "each must be 1 to 255 ASCII characters") from None
    _log_keys(context, os.environ.get("SSLKEYLOGFILE"))
    return context


def _log_keys(context: ssl.SSLContext, path: str | None) -> None:
    """Log the keys as Python's default contexts do, so that Wireshark can read a recorded connection."""
    if not path or sys.flags.ignore_environment:
        return
    try:
        context.keylog_filename = path
    except OSError as error:
        raise TlsError(f"SSLKEYLOGFILE {path}", reason(error)) from None


def _trust(context: ssl.SSLContext, tls: Tls) -> None:
    """Trust the certificates in the trust file, or else the system's authorities."""
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
    """Show this certificate to peers, and prove by the key that it is ours."""

    def ask_password() -> str:
        raise TlsError(f"key {key or certificate}", "it is encrypted, and nobody is asked for its password")

    try:
        context.load_cert_chain(certificate, key, ask_password)
    except ssl.SSLError as error:
        raise _unusable(error, certificate, key or certificate) from None
    except OSError as error:
        raise _unreadable(error, certificate, key or certificate) from None


def _unusable(error: ssl.SSLError, certificate: str, key: str) -> TlsError:
    """The error that names the file at fault, where OpenSSL does not take what the two contain."""
    if error.reason in WRONG_KEY:
        return TlsError(f"key {key}", f"it does not belong to the certificate in {certificate}")
    if error.reason:
        return TlsError(f"certificate {certificate}", failure_reason(error))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificate)
    except OSError:
        return TlsError(f"certificate {certificate}", "it holds no certificate")
    return TlsError(f"key {key}", "it holds no private key")


def _unreadable(error: OSError, certificate: str, key: str) -> TlsError:
    """The error that names the file that cannot be read; the system does not name it."""
    try:
        open(certificate, "rb").close()
    except OSError as own:
        return TlsError(f"certificate {certificate}", reason(own))
    return TlsError(f"key {key}", reason(error))


def _names(host: str) -> list[str]:
    """The names by which a client may know a listener on this address."""
    names = ["localhost", "127.0.0.1", "::1", socket.gethostname(), host.partition("%")[0]]
    return [name for name in names if name not in UNSPECIFIED_ADDRESSES and (packed_address(name) or _is_name(name))]


def _is_name(name: str) -> bool:
    return name.isascii() and not name.strip(SERVER_NAME_LETTERS)
