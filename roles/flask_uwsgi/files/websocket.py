"""Gives the connection of a WebSocket to libraries that speak its protocol themselves (simple-websocket, Flask-Sock).

uWSGI imports this before the application. For each WebSocket request it puts a ``Connection`` into the WSGI
environment as ``werkzeug.socket``, where such libraries look for it, and calls ``end`` when the request has ended.
"""

import functools
import os

# Imports nothing that gevent patches: this module is imported before the patch.
import uwsgi

# 1001, "going away": clients reconnect, to a generation that stays (RFC 6455, 7.4.1).
_GOING_AWAY = b"\x88\x02\x03\xe9"
# Seconds for a client to take that frame, or for a sender to release the connection for it.
_PATIENCE = 1.0
# Seconds of silence, between probes, and probes: a client that has vanished does not hold its thread forever.
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 20, "TCP_KEEPCNT": 3}


@functools.cache
def _connection():
    """Return the class. In gevent mode ``socket.socket`` is gevent's once the interpreter is patched."""
    import socket
    import threading

    class Connection(socket.socket):
        """A duplicate of a request's connection.

        uWSGI answers the request as usual, unless this is used: from then on it writes nothing to the client.

        Args:
            fd: the descriptor of the connection, which stays uWSGI's own.
            core: the worker's core with the request.
        """

        def __init__(self, fd, core):
            super().__init__(fileno=os.dup(fd))
            self._core = core
            self._taken = self._left = self._ended = False
            self._reader = None
            # A frame that is sent while another one waits for the client must not be mixed into it.
            self._sending = threading.Lock()

        def _take(self):
            if self._taken:
                return
            if self._ended:
                raise ConnectionAbortedError("the request of this WebSocket has ended")
            uwsgi.websocket_taken(self._core)
            self._taken = True
            # uWSGI's own descriptor is not in use in the meantime.
            self.setblocking(True)
            if self.family != socket.AF_UNIX:
                self.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                for option, value in _KEEPALIVE.items():
                    self.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
            if uwsgi.is_stopping():
                self.shutdown(socket.SHUT_RD)

        def send(self, data, *flags):
            # Sends everything: libraries expect send to block, which gevent's does not.
            self.sendall(data, *flags)
            return len(data)

        def sendall(self, data, *flags):
            self._take()
            with self._sending:
                # Nothing may follow a close frame.
                if not self._left:
                    self._send(data, *flags)

        def _send(self, data, *flags):
            # The parent's sendall would call the send above.
            rest = memoryview(data).cast("B")
            while rest:
                rest = rest[super().send(rest, *flags) :]

        def recv(self, *arguments):
            self._take()
            self._reader = threading.get_ident()
            return super().recv(*arguments) or self._at_end(b"")

        def recv_into(self, *arguments):
            self._take()
            self._reader = threading.get_ident()
            return super().recv_into(*arguments) or self._at_end(0)

        def _at_end(self, nothing):
            """Send the client a close frame if the input ended because uWSGI is about to end this worker."""
            if uwsgi.is_stopping() and not self._left and self._sending.acquire(timeout=_PATIENCE):
                try:
                    self._left = True
                    self.settimeout(_PATIENCE)
                    self._send(_GOING_AWAY)
                except OSError:
                    pass
                finally:
                    self._sending.release()
            return nothing

        def end(self):
            """End the connection for any thread that still uses it."""
            self._ended = True
            try:
                if not self._taken:
                    self.close()
                elif self._reader in (None, threading.get_ident()):
                    self.shutdown(socket.SHUT_RDWR)
                else:
                    # A thread of the library reads, and may be about to answer the client's close frame.
                    self.shutdown(socket.SHUT_RD)
            except OSError:
                # The client or the library closed it first.
                pass

    return Connection


def connection(fd, core):
    """Return the connection of a request for a WebSocket; uWSGI calls this."""
    return _connection()(fd, core)


uwsgi.websocket_connection = connection
