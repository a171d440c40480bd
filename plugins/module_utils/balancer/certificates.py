"""Certificates of a balancer: in files, in HAProxy's memory, and as visitors get them."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ..host import files
from .runtime import Runtime, RuntimeAPIError

_TIMEOUT_S = 10
_SHOW = ("openssl", "x509", "-noout", "-serial", "-dates", "-subject", "-issuer", "-ext", "subjectAltName")
_MODE = 0o600


class CertificateError(Exception):
    """A certificate cannot be read, or visitors do not get it; the message is for the operator."""


@dataclass(frozen=True)
class Certificate:
    """What a certificate says.

    Args:
        serial: its serial number, hexadecimal.
        names: the host names that it is for.
        begins: when it begins to be valid, in seconds since 1970.
        ends: when it expires, in seconds since 1970.
        self_signed: whether nobody vouches for it.
    """

    serial: str
    names: list[str]
    begins: float
    ends: float
    self_signed: bool

    def due(self, now: float) -> bool:
        """Return whether less than a third of its lifetime is left, whether that is six days or ninety.

        Args:
            now: seconds since 1970.
        """
        return self.ends - now < (self.ends - self.begins) / 3


def read(pem: str) -> Certificate:
    """Return what the first certificate in a text says.

    Args:
        pem: a certificate in PEM format; anything may follow.

    Raises:
        CertificateError: it is no certificate.
    """
    shown = subprocess.run(_SHOW, input=pem, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    found = dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)
    try:
        return Certificate(
            serial=_serial(found["serial"]),
            names=[name.lower() for name in re.findall(r"DNS:([^,\s]+)", shown.stdout)],
            begins=ssl.cert_time_to_seconds(found["notBefore"]),
            ends=ssl.cert_time_to_seconds(found["notAfter"]),
            self_signed=found["subject"] == found["issuer"],
        )
    except (KeyError, ValueError) as error:
        raise CertificateError("openssl finds no certificate there") from error


def kept(file: Path) -> Certificate:
    """Return what the certificate in a file says.

    Args:
        file: a certificate in PEM format, and perhaps its key.

    Raises:
        CertificateError: it cannot be read.
    """
    try:
        return read(file.read_text())
    except OSError as error:
        raise CertificateError(f"{file} cannot be read: {error.strerror}") from error
    except (CertificateError, ValueError) as error:
        raise CertificateError(f"{file} is not a certificate in PEM format") from error


def loaded(runtime: Runtime) -> dict[Path, str]:
    """Return the serial number of each certificate in HAProxy's memory, by its file.

    Args:
        runtime: HAProxy.

    Raises:
        RuntimeAPIError: HAProxy does not answer.
    """
    names = [line for line in runtime.ask("show ssl cert").splitlines() if line.startswith("/")]
    shown = {Path(name): re.search(r"^Serial: (\w+)$", runtime.ask(f"show ssl cert {name}"), re.M) for name in names}
    return {file: _serial(found[1]) for file, found in shown.items() if found}


def served(port: int, name: str) -> Certificate:
    """Return the certificate that a visitor of a name gets from this balancer.

    Args:
        port: HAProxy's port for HTTPS.
        name: the host name that the visitor asks for.

    Raises:
        CertificateError: the handshake fails.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Whoever has issued it: the question is which one is served.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=name) as connection,
        ):
            found = connection.getpeercert(binary_form=True) or b""
    except OSError as error:
        raise CertificateError(f"no TLS handshake for {name} at port {port}: {error.strerror or error}") from error
    return read(ssl.DER_cert_to_PEM_cert(found))


def put(runtime: Runtime, file: Path, pem: str) -> None:
    """Serve another certificate from now on, without a reload, and keep it on the disk.

    Both are prepared before either is changed: the new file is complete on the disk, and HAProxy has checked that the
    key belongs to the certificate. So neither a full disk nor a bad certificate changes anything. The file comes first:
    what HAProxy serves then is also what it reads after a crash, and if this process ends between the two, the next
    renewal finds that the file is not what is served, and puts it in again.

    Args:
        runtime: HAProxy.
        file: the file from which HAProxy has read the present certificate.
        pem: the certificate with its chain, and its key.

    Raises:
        RuntimeAPIError: HAProxy refuses it, or does not answer.
        OSError: the file cannot be written.
    """
    new = file.with_name(f".{file.name}.new")
    files.write(new, pem, _MODE)
    try:
        # HAProxy prepares one at a time, and a process that was killed has left it prepared.
        for line in runtime.ask("show ssl cert").splitlines():
            if line.startswith("*"):
                runtime.ask(f"abort ssl cert {line[1:]}")
        _succeeds(runtime, "set", file, "Transaction", pem)
        files.place(new, file)
        _succeeds(runtime, "commit", file, "Success!")
    except BaseException:
        new.unlink(missing_ok=True)
        runtime.ask(f"abort ssl cert {file}")
        raise


def _succeeds(runtime: Runtime, verb: str, file: Path, word: str, payload: str = "") -> None:
    answer = runtime.ask(f"{verb} ssl cert {file}", payload)
    if word not in answer:
        said = " ".join(answer.split()) or "nothing"
        raise RuntimeAPIError(f"HAProxy answers `{verb} ssl cert {file}` with: {said}")


def _serial(text: str) -> str:
    return f"{int(text, 16):X}"
