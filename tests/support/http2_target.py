"""A small HTTP/2 server for the load tests: it answers every request with status 200 and no body."""

from __future__ import annotations

import contextlib
import datetime
import socketserver
import ssl
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NAME = "shop.example.org"
# RFC 9113: types of frames, flags, and what begins a connection. RFC 7541, appendix A: ":status: 200".
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, ACK, END_HEADERS = 1, 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STATUS_200 = b"\x88"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


class Http2Server:
    """An HTTP/2 server on the loopback address, in its own threads.

    Args:
        folder: for its certificate.
        tls: whether it speaks TLS, with a self-signed certificate for :data:`NAME`.
        alpn: the protocols that it offers in TLS.
    """

    def __init__(self, folder: Path, tls: bool = True, alpn: tuple[str, ...] = ("h2",)) -> None:
        self.seen = 0
        self.names: set[str] = set()
        self._context = self._settings(folder, alpn) if tls else None
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                # A client may leave at any time.
                with contextlib.suppress(OSError, EOFError):
                    outer._serve(self.request)

        socketserver.ThreadingTCPServer.daemon_threads = True
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> Http2Server:
        """Return the running server."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()

    def _settings(self, folder: Path, alpn: tuple[str, ...]) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + datetime.timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        pair = folder / "pair.pem"
        private = serialization.PrivateFormat.PKCS8
        pair.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption())
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair)
        context.set_alpn_protocols(list(alpn))
        context.sni_callback = lambda _socket, name, _context: self.names.add(name)
        return context

    def _serve(self, connection: Any) -> None:
        if self._context:
            connection = self._context.wrap_socket(connection, server_side=True)
        stream = connection.makefile("rwb")
        if self._exactly(stream, len(PREFACE)) != PREFACE:
            return
        stream.write(frame(SETTINGS, 0, 0))
        stream.flush()
        while True:
            head = self._exactly(stream, 9)
            self._exactly(stream, int.from_bytes(head[:3]))
            kind, flags, number = head[3], head[4], int.from_bytes(head[5:])
            if kind == SETTINGS and not flags & ACK:
                stream.write(frame(SETTINGS, ACK, 0))
            elif kind in (HEADERS, DATA) and flags & END_STREAM:
                self.seen += 1
                stream.write(frame(HEADERS, END_HEADERS | END_STREAM, number, STATUS_200))
            stream.flush()

    @staticmethod
    def _exactly(stream: Any, size: int) -> bytes:
        data: bytes = stream.read(size)
        if len(data) < size:
            raise EOFError
        return data
