import socket

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import address

LONG = f"/run/{'s' * 100}.sock"


@pytest.mark.parametrize(
    ("bind", "text", "instance"),
    [
        ("0.0.0.0", "0.0.0.0:8040", "0.0.0.0:8040"),
        ("[::]", "[::]:8040", ":::8040"),
        ("::", "[::]:8040", ":::8040"),
        ("[::1]", "[::1]:8040", "::1:8040"),
        ("FD00:0::0:5", "[fd00::5]:8040", "fd00::5:8040"),
        ("2001:db8:1:2:3:4:5:6", "[2001:db8:1:2:3:4:5:6]:8040", "2001:db8:1:2:3:4:5:6:8040"),
        ("/run/shop.sock", "/run/shop.sock", ":run:shop.sock"),
        ("/run/my-shop/a_b.c.sock", "/run/my-shop/a_b.c.sock", ":run:my-shop:a_b.c.sock"),
    ],
)
def test_an_address_has_one_form_and_one_unit(bind: str, text: str, instance: str) -> None:
    assert address.problem(bind) == ""
    found = address.of(bind, 8040)
    assert found.text == text
    assert address.read(text) == found
    assert address.instance(text) == instance
    assert address.of_instance(instance) == text
    assert address.FORM.fullmatch(text)


@pytest.mark.parametrize(
    ("bind", "words"),
    [
        ("", "is not valid: set it to 0.0.0.0"),
        ("localhost", "is not valid: set it to 0.0.0.0"),
        ("999.1.1.1", "is not valid"),
        ("[::", "is not valid"),
        ("::]", "is not valid"),
        ("[[::]]", "is not valid"),
        ("[0.0.0.0]", "set it to 0.0.0.0, for only IPv6 is in brackets"),
        ("::1%eth0", "has a zone"),
        ("[fe80::1%2]", "has a zone"),
        ("fe80::1", "is a link-local address, which needs a zone"),
        ("ff02::1", "is a multicast address"),
        ("224.0.0.1", "is a multicast address"),
        ("::ffff:10.0.0.5", "set it to 10.0.0.5"),
        ("[::]:8040", "has a port: set it to [::], and flask_uwsgi_port to 8040"),
        ("127.0.0.1:80", "has a port: set it to 127.0.0.1, and flask_uwsgi_port to 80"),
        ("0.0.0.0:8040:8041", "is not valid"),
        ("unix:/run/shop.sock", "set it to the path alone, /run/shop.sock"),
        ("run/shop.sock", "is a relative path: set it to an absolute one, such as /run/shop.sock"),
        ("./shop.sock", "is a relative path"),
        ("/run/../etc/shop.sock", "without . and .."),
        ("/run//shop.sock", "is not valid"),
        ("/run/shop", "ends in .sock"),
        ("/run/shop.sock/", "ends in .sock"),
        ("/run/sh%p.sock", "is not valid"),
        ("/run/a+b.sock", "of A-Z, a-z, 0-9, ., _ and - that"),
        ("/run/sh:p.sock", "is not valid"),
        ("/run/shop.sock\n", "is not valid"),
        (LONG, "has 110 bytes, and the kernel allows 107"),
    ],
)
def test_what_nothing_can_listen_on_is_refused(bind: str, words: str) -> None:
    assert words in address.problem(bind)


def test_the_longest_path_is_the_kernel_s() -> None:
    with socket.socket(socket.AF_UNIX) as one, pytest.raises(OSError, match="too long"):
        one.bind("/nonexistent/" + "s" * (address.LONGEST_PATH - 12))
    with socket.socket(socket.AF_UNIX) as one, pytest.raises(FileNotFoundError):
        one.bind("/nonexistent/" + "s" * (address.LONGEST_PATH - 13))


@pytest.mark.parametrize(
    ("one", "other", "collide"),
    [
        ("0.0.0.0:80", "0.0.0.0:80", True),
        ("0.0.0.0:80", "0.0.0.0:81", False),
        ("0.0.0.0:80", "10.0.0.1:80", True),
        ("10.0.0.2:80", "10.0.0.1:80", False),
        ("[::]:80", "0.0.0.0:80", True),
        ("[::]:80", "10.0.0.1:80", True),
        ("[::]:80", "[fd00::5]:80", True),
        ("0.0.0.0:80", "[fd00::5]:80", False),
        ("[fd00::5]:80", "[fd00::5]:80", True),
        ("[fd00::6]:80", "[fd00::5]:80", False),
        ("/run/a.sock", "/run/a.sock", True),
        ("/run/a.sock", "/run/b.sock", False),
        ("/run/a.sock", "[::]:80", False),
    ],
)
def test_two_programs_cannot_have_the_same(one: str, other: str, collide: bool) -> None:
    assert address.read(one).collides(address.read(other)) is collide
    assert address.read(other).collides(address.read(one)) is collide


@pytest.mark.parametrize("text", ["gevent", "a:1", "", ":", "a b:1", "x:" + "9" * 400, "[::", "\udc80:1"])
def test_a_damaged_address_is_one_that_nothing_listens_on(text: str) -> None:
    assert address.read(text).collides(address.read("0.0.0.0:80")) is False
