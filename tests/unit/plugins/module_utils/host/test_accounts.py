import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import accounts
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.accounts import Account


@pytest.mark.parametrize(
    ("groups", "expected"), [(["nogroup", "nobody"], ["nogroup"]), (["nobody"], ["nobody"]), ([], [])]
)
def test_an_account_is_removed_without_its_group(
    monkeypatch: pytest.MonkeyPatch, groups: list[str], expected: list[str]
) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(accounts, "_run", lambda *command: ran.append(command))
    monkeypatch.setattr(accounts, "group", lambda name: Account(name, 65534) if name in groups else None)
    accounts.remove_user(Account("shop", 990, made=True))
    assert ran == [*(("usermod", "--gid", name, "shop") for name in expected), ("userdel", "shop")]
