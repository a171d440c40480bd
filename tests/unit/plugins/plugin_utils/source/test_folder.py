from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.artifact import ArtifactError
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.folder import (
    Distribution,
    Folder,
    Git,
    Package,
    parse,
)


def problem(text: str) -> str:
    with pytest.raises(ArtifactError) as caught:
        parse(text)
    return str(caught.value)


def test_a_folder_is_one_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("app", "shop.zip", "shop==1"):
        (tmp_path / name).mkdir()
        assert parse(name) == Folder(Path(name))
    assert parse("~/app") == Folder(tmp_path / "app")


@pytest.mark.parametrize("text", ["/nonexistent", "~/nonexistent", "./nonexistent"])
def test_a_missing_folder_is_reported(text: str) -> None:
    message = problem(text)
    assert message.startswith(f"flask_uwsgi_source={text} is not a directory on the controller: set it to the folder")
    assert "==VERSION" not in message


@pytest.mark.parametrize("name", ["shop-1.4-py3-none-any.whl", "shop-1.4.tar.gz", "shop-1.4.zip"])
def test_a_file_is_a_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert parse(name) == parse(str(tmp_path / name)) == Distribution(tmp_path / name)
    assert problem(f"dist/{name}").startswith(f"flask_uwsgi_source=dist/{name} does not exist on the controller: set")


@pytest.mark.parametrize(
    ("text", "package"),
    [
        ("httpbin==0.10.2", Package("httpbin", "0.10.2", "httpbin==0.10.2")),
        ("My_Shop.web [ a, b ] == 1!2.0rc1", Package("my-shop-web", "1!2.0rc1", "My_Shop.web[a,b]==1!2.0rc1")),
        ("x===1", Package("x", "1", "x==1")),
    ],
)
def test_a_pinned_package_is_one(text: str, package: Package) -> None:
    assert parse(text) == package


@pytest.mark.parametrize("text", ["httpbin>=0.10", "httpbin~=1", "httpbin==0.10.*", "httpbin==", "h[a]<2", "h==1,<2"])
def test_a_package_without_an_exact_version_is_reported(text: str) -> None:
    name = text[0] if text.startswith(("h[", "h=")) else "httpbin"
    message = problem(text)
    assert message.startswith(f"flask_uwsgi_source={text} has no exact version: set it to {name}==VERSION"), message


def test_a_bare_name_may_be_a_folder_or_a_package() -> None:
    assert problem("httpbin").endswith("holds your application, or to httpbin==VERSION if you mean the package")


@pytest.mark.parametrize(
    ("text", "url", "ref", "subdirectory"),
    [
        ("git+https://h/o/x.git@v1.4", "https://h/o/x.git", "v1.4", "."),
        ("git+https://user:t%40ken@h:8443/x.git@feature/a", "https://user:t%40ken@h:8443/x.git", "feature/a", "."),
        ("git+ssh://git@h/x.git@main#subdirectory=a/b", "ssh://git@h/x.git", "main", "a/b"),
        ("git+ssh://git@h:22/x.git@main#egg=x&subdirectory=a", "ssh://git@h:22/x.git", "main", "a"),
        ("git+file:///srv/x@" + "a" * 40, "file:///srv/x", "a" * 40, "."),
        ("git+/srv/we@re/x@v1", "/srv/we@re/x", "v1", "."),
        ("git+git://h/x@refs/tags/v1", "git://h/x", "refs/tags/v1", "."),
        ("git+http://[::1]:80/x@v1", "http://[::1]:80/x", "v1", "."),
    ],
)
def test_a_repository_is_named_as_for_pip(text: str, url: str, ref: str, subdirectory: str) -> None:
    assert parse(text) == Git(url, ref, subdirectory)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("git+https://h/x.git", "git+https://h/x.git names no ref: add @ and a branch, tag or commit"),
        ("git+ssh://git@h/x.git", "git+ssh://…@h/x.git names no ref"),
        ("git+https://h/x.git@", "has the ref '', which git does not allow"),
        ("git+https://h/x.git@--upload-pack=reboot", "has the ref '--upload-pack=reboot', which git does not allow"),
        ("git+https://h/x.git@a..b", "has the ref 'a..b'"),
        ("git+https://h/x.git@HEAD~1", "has the ref 'HEAD~1'"),
        ("git+https://h/x.git@v1#subdirectory=../y", "ends with #subdirectory=../y: only #subdirectory=DIR"),
        ("git+https://h/x.git@v1#subdirectory=/y", "ends with #subdirectory=/y"),
        ("git+https://h/x.git@v1#branch=y", "ends with #branch=y"),
        ("git+ext::sh -c reboot@v1", "git+… is not the address of a git repository"),
        ("git+git@h:x.git@v1", "write git+https://HOST/PATH@REF, git+ssh://git@HOST/PATH@REF"),
        ("git+https://u:pass/word@h/x@v1", "special characters of a password as %XX"),
        ("https://h/x.git", "https://h/x.git is an address: write a git repository as git+https://"),
        ("git@h:o/x.git", "is an address: write a git repository as"),
        ("https://u:hunter2@h/shop-1.0.tar.gz", "https://…@h/shop-1.0.tar.gz is an address"),
    ],
)
def test_what_is_not_a_repository_at_a_ref_is_reported(text: str, says: str) -> None:
    message = problem(text)
    assert message.startswith("flask_uwsgi_source=") and says in message, message
    for secret in ("hunter2", "word@", "pass/"):
        assert secret not in message
