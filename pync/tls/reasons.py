"""The reasons why TLS fails, in words for people, and the description of a peer's certificate.

Theory: OpenSSL decides; here its decision is only put into words. OpenSSL verifies the chain and the name within the
handshake, so a certificate for another name is refused before any data is sent, and with the right alert; a matcher of
our own could only be wrong. Once OpenSSL has refused, the certificate is out of reach of the public interface of `ssl`.
But the object behind an `SSLObject` still has it (Python 3.10 and later; `truststore` reads it there, too). That is
good enough for words: where the certificate is missing, the reason has fewer details.

A certificate was written by a stranger: no letter of it that could command a terminal is passed on, and of a long name
only the beginning. It may even be one that `ssl` cannot read (a name that is not UTF-8, a bad string); the reason then
has no details either, and the fingerprint is all that is known of it.
"""

from __future__ import annotations

import ssl

from pync.printable import printable, question_mark
from pync.tls.certificate import fingerprint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

NAMES_LISTED = 5  # of a certificate; the others are only counted
LONGEST = 255  # letters of one name that are shown: no name of a host has more (RFC 1035, section 2.3.4)

# The short names of the parts of a distinguished name (RFC 4514 §3 and openssl-x509(1)).
SHORT_NAMES = {
    "commonName": "CN",
    "countryName": "C",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
}

# OpenSSL's name for the reason of a failure, and its meaning.
REASONS = {
    "BAD_RECORD_TYPE": "what the peer sends is not TLS",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": "a record was changed on its way",
    "HTTP_REQUEST": "the peer speaks HTTP without TLS",
    "HTTPS_PROXY_REQUEST": "the peer speaks HTTP without TLS",
    "NO_PROTOCOLS_AVAILABLE": "no protocol version in common",
    "NO_SHARED_CIPHER": "no cipher in common",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "no signature algorithm in common",
    "PACKET_LENGTH_TOO_LONG": "what the peer sends is not TLS",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer has shown no certificate",
    "RECORD_LAYER_FAILURE": "what the peer sends is not TLS",
    "UNKNOWN_PROTOCOL": "what the peer sends is not TLS",
    "UNSUPPORTED_PROTOCOL": "no protocol version in common",
    "VERSION_TOO_LOW": "no protocol version in common",
    "WRONG_VERSION_NUMBER": "what the peer sends is not TLS",
}

# The alerts by which a peer refuses (RFC 8446 §6.2) whose names are not clear enough, after one of OpenSSL's prefixes.
ALERT_PREFIXES = ("SSLV3_ALERT_", "TLSV13_ALERT_", "TLSV1_ALERT_", "TLSV1_")
ALERTS = {
    "BAD_CERTIFICATE": "it does not accept the certificate",
    "CERTIFICATE_EXPIRED": "the certificate has expired",
    "CERTIFICATE_REVOKED": "the certificate is revoked",
    "CERTIFICATE_UNKNOWN": "it does not accept the certificate",
    "HANDSHAKE_FAILURE": "no cipher in common, or it wants a certificate",
    "NO_APPLICATION_PROTOCOL": "no application protocol (ALPN) in common",
    "PROTOCOL_VERSION": "no protocol version in common",
    "UNKNOWN_CA": "it does not know who signed the certificate",
    "UNRECOGNIZED_NAME": "it does not go by that name",
    "UNSUPPORTED_CERTIFICATE": "it cannot use the certificate",
}

# X509_V_ERR_… (X509_STORE_CTX_get_error(3)). All others are worded by OpenSSL.
NOT_YET_VALID, EXPIRED, SELF_SIGNED, SELF_SIGNED_ROOT, WRONG_PURPOSE = 9, 10, 18, 19, 26
UNKNOWN_ISSUER = (2, 20, 21)
WRONG_NAME = (62, 64)


def handshake_failure(error: ssl.SSLError, tls: ssl.SSLObject, server_name: str | None) -> str:
    """The reason why a handshake failed. `server_name` is the one that the certificate had to be for."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _unverified(error, peer_certificate(tls), server_name)
    return failure_reason(error)


def failure_reason(error: ssl.SSLError) -> str:
    """The reason why TLS failed, if it was not the verification of a certificate."""
    words = str(error).partition("] ")[2].partition(" (_ssl")[0]
    # Python does not know the names of the newer reasons.
    reason = error.reason or words.upper().replace(" ", "_")
    if reason in REASONS:
        return REASONS[reason]
    for prefix in ALERT_PREFIXES:
        if reason.startswith(prefix):
            alert = reason.removeprefix(prefix)
            return "the peer refused: " + ALERTS.get(alert, alert.lower().replace("_", " "))
    return words or "it failed"


def _unverified(
    error: ssl.SSLCertVerificationError, certificate: dict[str, Any] | None, server_name: str | None
) -> str:
    code = error.verify_code
    if code in WRONG_NAME:
        known = f"is for {_names(certificate)}," if certificate else "is"
        return f"the certificate {known} not for {server_name}"
    if code in UNKNOWN_ISSUER or code == SELF_SIGNED_ROOT:
        signer = f", but {_person(certificate, 'issuer')}" if certificate else ""
        return f"nobody whom we trust has signed the certificate{signer}"
    certificate = certificate or {}
    return "the certificate " + {
        NOT_YET_VALID: f"is not valid before {certificate.get('notBefore', 'a later time')}",
        EXPIRED: f"has expired: {certificate.get('notAfter', 'some time ago')}",
        SELF_SIGNED: "is self-signed, and not one that we trust",
        WRONG_PURPOSE: "is for another purpose",
    }.get(code, f"is not accepted: {error.verify_message}")


def peer_certificate(tls: ssl.SSLObject) -> dict[str, Any] | None:
    """The peer's certificate, verified or not, in the form of `getpeercert`.

    None if it has shown none, or one that `ssl` cannot read.
    """
    get_chain: Callable[[], Any] = getattr(getattr(tls, "_sslobj", None), "get_unverified_chain", list)
    try:
        chain = get_chain()
        return chain[0].get_info() if chain else None
    except (ssl.SSLError, ValueError):  # ValueError: a name is not UTF-8, or has no form that `ssl` knows
        return None


def describe_certificate(tls: ssl.SSLObject) -> str | None:
    """The subject, the issuer and the fingerprint of the peer's certificate; None if it has shown none."""
    der = tls.getpeercert(binary_form=True)
    if der is None:
        return None
    words = fingerprint(der)
    if certificate := peer_certificate(tls):
        words = f"{_person(certificate, 'subject')}, signed by {_person(certificate, 'issuer')}, {words}"
    return words


def _names(certificate: dict[str, Any]) -> str:
    names = [
        _shown(name) if isinstance(name, str) else _distinguished(name)
        for _, name in certificate.get("subjectAltName", ())
    ]
    return _listed(names) or "nobody by name"


def _person(certificate: dict[str, Any], role: str) -> str:
    return _distinguished(certificate.get(role, ())) or "somebody without a name"


def _distinguished(name: Iterable[Iterable[tuple[str, str]]]) -> str:
    return _listed([f"{SHORT_NAMES.get(key, key)}={_shown(value)}" for part in name for key, value in part])


def _listed(names: list[str]) -> str:
    more = [f"{len(names) - NAMES_LISTED} others"] if len(names) > NAMES_LISTED else []
    return ", ".join(names[:NAMES_LISTED] + more)


def _shown(name: str) -> str:
    """The name, or its beginning, as it may be written to a terminal."""
    return printable(name[:LONGEST], question_mark) + "..." * (len(name) > LONGEST)
