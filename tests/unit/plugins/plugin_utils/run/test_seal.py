"""Values that only one run of Ansible can read."""

import pytest
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run import seal
from cryptography.fernet import Fernet


def test_a_seal_can_be_opened_only_in_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = seal.seal("s3cr3t ä")
    assert "s3cr3t" not in sealed and seal.opened(sealed) == "s3cr3t ä"
    monkeypatch.setattr(seal, "_KEY", Fernet.generate_key())
    for text in (sealed, "", "x"):
        with pytest.raises(seal.SealError):
            seal.opened(text)


def test_equal_texts_have_the_same_fingerprint_only_in_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    found = seal.fingerprint("1234")
    assert found == seal.fingerprint("1234") != seal.fingerprint("1235")
    monkeypatch.setattr(seal, "_KEY", Fernet.generate_key())
    assert seal.fingerprint("1234") != found
