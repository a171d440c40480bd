import io
import tarfile

from sandbox.fleet import archive


def test_the_archive_of_a_host_has_its_files_and_no_padding() -> None:
    files = {"/etc/pip.conf": b"[global]\n", "/etc/ssh/ssh_host_ed25519_key": b"x" * 513}
    data = archive(files)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {f"/{entry.name}": (tar.extractfile(entry).read(), entry.mode) for entry in tar}  # type: ignore[union-attr]
    assert found == {"/etc/pip.conf": (b"[global]\n", 0o644), "/etc/ssh/ssh_host_ed25519_key": (b"x" * 513, 0o600)}
    # Two headers, one and two blocks of content, and the two empty blocks at the end.
    assert len(data) == 512 * (2 + 1 + 2 + 2)
    assert data.endswith(bytes(1024))
