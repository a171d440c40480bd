"""Certificates and keys on the controller, checked before a load balancer gets them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key


class CertificateError(Exception):
    """A certificate or a key cannot be used."""


@dataclass(frozen=True)
class Pair:
    """A certificate with its chain, and its key.

    Args:
        pem: both in one text, as HAProxy reads them.
        ends: when the certificate expires.
    """

    pem: str = field(repr=False)
    ends: datetime


def checked(certificate: str, key: str, names: Sequence[str]) -> Pair:
    """Return a certificate and its key.

    Args:
        certificate: a PEM file with the certificate and its chain, the site's own first.
        key: a PEM file with its key.
        names: the host names that it must have.

    Raises:
        CertificateError: a file cannot be read, the two do not belong together, a name is missing, or it has expired.
    """
    chain, secret = _read("certificate", certificate), _read("key", key)
    try:
        own = x509.load_pem_x509_certificates(chain)[0]
    except ValueError as error:
        raise CertificateError(f"certificate={certificate} is not a certificate in PEM format") from error
    try:
        private = load_pem_private_key(secret, None)
    except (TypeError, ValueError) as error:
        # The library's message could quote the file.
        raise CertificateError(f"key={key} is not a key in PEM format without a passphrase") from error
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) != own.public_key().public_bytes(*form):
        raise CertificateError(f"key={key} does not belong to certificate={certificate}: set both to those of one pair")
    has = list(_names(own))
    if missing := [name for name in names if not _covers(has, name)]:
        raise CertificateError(
            f"certificate={certificate} is for {', '.join(has) or 'no name'}, and not for {', '.join(missing)}: "
            "set it to one for all names of the site"
        )
    if own.not_valid_after_utc < datetime.now(UTC):
        raise CertificateError(f"certificate={certificate} expired on {own.not_valid_after_utc:%Y-%m-%d}: renew it")
    return Pair(f"{chain.decode().strip()}\n{secret.decode().strip()}\n", own.not_valid_after_utc)


def _read(what: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CertificateError(f"{what}={path} cannot be read: {error.strerror}") from error


def _names(certificate: x509.Certificate) -> Iterator[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return
    yield from (name.lower() for name in found.value.get_values_for_type(x509.DNSName))


def _covers(has: Sequence[str], name: str) -> bool:
    parent = name.partition(".")[2]
    return name in has or (bool(parent) and f"*.{parent}" in has)
