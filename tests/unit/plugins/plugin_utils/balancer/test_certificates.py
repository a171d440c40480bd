from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.balancer.certificates import CertificateError, checked
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


def write(folder: Path, *names: str, days: int = 30, passphrase: bytes = b"") -> tuple[str, str]:
    """Write a certificate for names and its key, and return the paths of both."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=90))
        .not_valid_after(now + timedelta(days=days))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    certificate, private = folder / "shop.pem", folder / "shop.key"
    certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    how = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
    return str(certificate), str(private)


def test_a_pair_is_one_text_for_haproxy(tmp_path: Path) -> None:
    certificate, key = write(tmp_path, "shop.example.org", "*.shop.example.org")
    pair = checked(certificate, key, ["shop.example.org", "www.shop.example.org"])
    assert pair.pem == Path(certificate).read_text() + Path(key).read_text()
    assert 29 <= (pair.ends - datetime.now(UTC)).days <= 30
    assert "PRIVATE" not in repr(pair)


@pytest.mark.parametrize("name", ["www.example.org", "a.b.shop.example.org", "example.org"])
def test_each_name_must_be_in_it(tmp_path: Path, name: str) -> None:
    certificate, key = write(tmp_path, "shop.example.org", "*.shop.example.org")
    with pytest.raises(CertificateError, match=rf"is for shop\.example\.org, .* and not for {name}: set it to one"):
        checked(certificate, key, ["shop.example.org", name])


def test_a_certificate_without_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match=r"is for no name, and not for shop\.example\.org"):
        checked(*write(tmp_path), ["shop.example.org"])


def test_an_expired_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match=r"expired on \d{4}-\d\d-\d\d: renew it"):
        checked(*write(tmp_path, "shop.example.org", days=-1), ["shop.example.org"])


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    certificate, _ = write(tmp_path, "shop.example.org")
    _, other = write(tmp_path / "other", "shop.example.org")
    with pytest.raises(CertificateError, match=r"key=.* does not belong to certificate=.*: set both"):
        checked(certificate, other, ["shop.example.org"])


def test_what_is_not_pem_is_refused_without_its_content(tmp_path: Path) -> None:
    certificate, key = write(tmp_path, "shop.example.org")
    bad = tmp_path / "bad"
    bad.write_text("-----BEGIN s3cr3t")
    with pytest.raises(CertificateError, match=r"is not a certificate in PEM format$"):
        checked(str(bad), key, ["shop.example.org"])
    with pytest.raises(CertificateError, match=r"is not a key in PEM format without a passphrase$") as error:
        checked(certificate, str(bad), ["shop.example.org"])
    assert "s3cr3t" not in str(error.value)


def test_a_key_with_a_passphrase_is_refused(tmp_path: Path) -> None:
    certificate, key = write(tmp_path, "shop.example.org", passphrase=b"x")
    with pytest.raises(CertificateError, match="without a passphrase"):
        checked(certificate, key, ["shop.example.org"])


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    certificate, key = write(tmp_path, "shop.example.org")
    with pytest.raises(CertificateError, match=r"key=.*/none cannot be read: No such file"):
        checked(certificate, str(tmp_path / "none"), ["shop.example.org"])
    with pytest.raises(CertificateError, match=r"certificate=.*/none cannot be read"):
        checked(str(tmp_path / "none"), key, ["shop.example.org"])
