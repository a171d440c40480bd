"""Certificates are read from files, from HAProxy's memory and from handshakes, and replaced without a reload."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer import certificates
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.certificates import Certificate, CertificateError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.runtime import Runtime, RuntimeAPIError

DAY = 86400


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with a certificate and its key."""
    key, made = tmp_path / "key", tmp_path / "shop.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "6",
         "-set_serial", "0x0abc", "-subj", "/CN=x", "-addext", "subjectAltName=DNS:Shop.example.org,DNS:b.example.org",
         "-keyout", key, "-out", made],
        check=True, capture_output=True,
    )  # fmt: skip
    made.write_text(made.read_text() + "\n" + key.read_text())
    return made


class Memory:
    """HAProxy's memory of certificates."""

    def __init__(self, haproxy: Any) -> None:
        self.refuses = ""
        self.asked: list[str] = []
        self.haproxy = haproxy

    def answer(self, text: str) -> str:
        self.asked.append(text)
        match text.split():
            case [verb, "ssl", "cert", *_] if verb == self.refuses:
                return "unable to load\n\n"
            case ["show", "ssl", "cert"]:
                return "# transaction\n*/x/other.pem\n# filename\n/x/shop.pem\n\n"
            case ["show", "ssl", "cert", "/x/shop.pem"]:
                return "Filename: /x/shop.pem\nStatus: Used\nSerial: 0ABC\n\n"
            case ["set", "ssl", "cert", name, "<<"]:
                return f"Transaction created for certificate {name}!\n\n"
            case ["commit", "ssl", "cert", name]:
                return f"Committing {name}.\nSuccess!\n\n"
        return "\n"


@pytest.fixture
def memory(haproxy: Any) -> Memory:
    found = Memory(haproxy)
    haproxy.answer = found.answer
    return found


def test_what_a_certificate_says(file: Path) -> None:
    found = certificates.kept(file)
    assert (found.serial, found.names, found.self_signed) == ("ABC", ["shop.example.org", "b.example.org"], True)
    assert found.ends - found.begins == 6 * DAY and abs(found.begins - time.time()) < 60


def test_what_is_no_certificate_is_named(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match=r"/none cannot be read: No such file"):
        certificates.kept(tmp_path / "none")
    (tmp_path / "bad").write_bytes(b"\xff s3cr3t")
    with pytest.raises(CertificateError, match=r"/bad is not a certificate in PEM format$"):
        certificates.kept(tmp_path / "bad")


@pytest.mark.parametrize(("days", "due_before_end"), [(6, 2), (90, 30)])
def test_a_certificate_is_due_at_a_third_of_its_lifetime(days: int, due_before_end: int) -> None:
    one = Certificate("1", [], 0, days * DAY, False)
    due = (days - due_before_end) * DAY
    assert not one.due(due - 1) and one.due(due + 1) and one.due(days * DAY)


def test_a_handshake_shows_what_is_served(file: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=answer)
        thread.start()
        assert certificates.served(server.getsockname()[1], "shop.example.org") == certificates.kept(file)
        thread.join()
        port = server.getsockname()[1]
    with pytest.raises(CertificateError, match=rf"no TLS handshake for a\.org at port {port}: Connection refused"):
        certificates.served(port, "a.org")


def test_what_haproxy_has_loaded(memory: Memory, runtime: Runtime) -> None:
    assert certificates.loaded(runtime) == {Path("/x/shop.pem"): "ABC"}


def test_a_certificate_is_replaced_in_memory_and_on_the_disk(memory: Memory, runtime: Runtime, tmp_path: Path) -> None:
    file = tmp_path / "a.pem"
    file.write_text("old")
    certificates.put(runtime, file, "new\n\nkey\n")
    assert file.read_text() == "new\n\nkey\n" and file.stat().st_mode & 0o777 == 0o600
    # What a killed process has left is aborted first.
    assert memory.asked[:2] == ["show ssl cert", "abort ssl cert /x/other.pem"]
    assert memory.asked[2:] == [f"set ssl cert {file} <<", f"commit ssl cert {file}"]


def test_what_haproxy_refuses_changes_nothing_and_shows_no_key(
    memory: Memory, runtime: Runtime, tmp_path: Path
) -> None:
    file = tmp_path / "a.pem"
    file.write_text("old")
    memory.refuses = "set"
    with pytest.raises(RuntimeAPIError, match=r"answers `set ssl cert .*/a\.pem` with: unable to load") as error:
        certificates.put(runtime, file, "s3cr3t")
    assert "s3cr3t" not in str(error.value) and memory.asked[-1] == f"abort ssl cert {file}"
    assert [path.name for path in tmp_path.glob("*.pem*")] == ["a.pem"] and file.read_text() == "old"
