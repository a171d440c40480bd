"""What a run of Ansible keeps to itself."""

import pytest
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run import seal
from cryptography.fernet import Fernet


def test_a_seal_is_opened_in_its_run_only(monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = seal.seal("s3cr3t ä")
    assert "s3cr3t" not in sealed and seal.opened(sealed) == "s3cr3t ä"
    monkeypatch.setattr(seal, "_KEY", Fernet.generate_key())
    for text in (sealed, "", "x"):
        with pytest.raises(seal.SealError):
            seal.opened(text)


def test_equal_texts_have_the_same_fingerprint_in_one_run_only(monkeypatch: pytest.MonkeyPatch) -> None:
    found = seal.fingerprint("1234")
    assert found == seal.fingerprint("1234") != seal.fingerprint("1235")
    monkeypatch.setattr(seal, "_KEY", Fernet.generate_key())
    assert seal.fingerprint("1234") != found
