import socket

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import sockets


@pytest.mark.parametrize(("address", "listens"), [("127.0.0.1", True), ("0.0.0.0", True), ("127.0.0.2", False)])
def test_the_kernel_reports_listening_sockets(address: str, listens: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert sockets.listening(f"{address}:{port}") is listens
    assert sockets.listening(f"127.0.0.1:{port}") is False
