"""Why there is no TLS, in words for people, and whose certificate a peer has shown.

Theory: OpenSSL decides, here it is only said. The chain and the name are verified by OpenSSL within the handshake, so
a certificate for another name is refused before anything of ours is sent, with the right alert; a matcher of our own
could only be wrong. Once it has refused, the certificate is out of reach of the public interface of `ssl`. But
the object behind an `SSLObject` still has it (Python 3.10 and later; it is what `truststore` reads, too). That is
enough for words: where it is missing, they are fewer.

What a certificate says was written by a stranger: nothing of it that could control a terminal is passed on.
"""

from __future__ import annotations

import ssl

from pync.printable import printable, question_mark
from pync.tls.certificate import fingerprint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MANY = 5  # names of a certificate that are listed

# Short for parts of a distinguished name (RFC 4514 §3 and openssl-x509(1)).
SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
}

# Why OpenSSL itself fails: its name for the reason, and what it means.
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

# What a peer refuses by an alert (RFC 8446 §6.2), where the alert's name does not say it.
ALERT = ("SSLV3_ALERT_", "TLSV13_ALERT_", "TLSV1_ALERT_", "TLSV1_")
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

# X509_V_ERR_… (X509_STORE_CTX_get_error(3)); the others are said in OpenSSL's own words.
NOT_YET_VALID, EXPIRED, SELF_SIGNED, SELF_SIGNED_ROOT, WRONG_PURPOSE = 9, 10, 18, 19, 26
UNKNOWN_ISSUER = (2, 20, 21)
WRONG_NAME = (62, 64)


def refused(error: ssl.SSLError, tls: ssl.SSLObject, server_name: str | None) -> str:
    """Why a handshake failed. `server_name` is the one that the certificate had to be for."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _unverified(error, shown(tls) or {}, server_name)
    return broken(error)


def broken(error: ssl.SSLError) -> str:
    """Why TLS failed where no certificate was to be verified."""
    said = str(error).partition("] ")[2].partition(" (_ssl")[0]
    reason = error.reason or said.upper().replace(" ", "_")  # Python does not know the names of the newer ones
    if reason in REASONS:
        return REASONS[reason]
    for prefix in ALERT:
        if reason.startswith(prefix):
            alert = reason.removeprefix(prefix)
            return "the peer refused: " + ALERTS.get(alert, alert.lower().replace("_", " "))
    return said or "it failed"


def _unverified(error: ssl.SSLCertVerificationError, certificate: dict[str, Any], server_name: str | None) -> str:
    code = error.verify_code
    if code in WRONG_NAME:
        return f"the certificate is for {_names(certificate)}, not for {server_name}"
    if code in UNKNOWN_ISSUER or code == SELF_SIGNED_ROOT:
        signer = f", but {_person(certificate, 'issuer')}" if certificate else ""
        return f"nobody whom we trust has signed the certificate{signer}"
    return "the certificate " + {
        NOT_YET_VALID: f"is not valid before {certificate.get('notBefore', 'a later time')}",
        EXPIRED: f"has expired: {certificate.get('notAfter', 'some time ago')}",
        SELF_SIGNED: "is self-signed, and not one that we trust",
        WRONG_PURPOSE: "is for another purpose",
    }.get(code, f"is not accepted: {error.verify_message}")


def shown(tls: ssl.SSLObject) -> dict[str, Any] | None:
    """What the peer's certificate says, verified or not, as `getpeercert` has it; None if it has shown none."""
    ask: Callable[[], Any] = getattr(getattr(tls, "_sslobj", None), "get_unverified_chain", list)
    chain = ask()
    return chain[0].get_info() if chain else None


def described(tls: ssl.SSLObject) -> str | None:
    """Whose the peer's certificate is, who signed it, and its fingerprint; None if it has shown none."""
    der = tls.getpeercert(binary_form=True)
    if der is None:
        return None
    words = fingerprint(der)
    if certificate := shown(tls):
        words = f"{_person(certificate, 'subject')}, signed by {_person(certificate, 'issuer')}, {words}"
    return words


def _names(certificate: dict[str, Any]) -> str:
    names = [printable(name, question_mark) for _, name in certificate.get("subjectAltName", ())]
    more = [f"{len(names) - MANY} others"] if len(names) > MANY else []
    return ", ".join(names[:MANY] + more) or "nobody by name"


def _person(certificate: dict[str, Any], role: str) -> str:
    parts = [
        f"{SHORT.get(key, key)}={printable(value, question_mark)}"
        for part in certificate.get(role, ())
        for key, value in part
    ]
    return ", ".join(parts) or "somebody without a name"
