import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flaskops.uwsgi.plugins.filter import compare


def test_a_page_shows_what_its_folder_has(
    tmp_path: Path, made: Callable[..., dict[str, Any]], clients: dict[str, Any]
) -> None:
    with pytest.raises(AnsibleFilterError, match=r"contains neither compare\.json nor clients\.json: measure first"):
        compare.compare_page(str(tmp_path))
    (tmp_path / "clients.json").write_text(json.dumps(clients))
    assert compare.compare_page(str(tmp_path))["clients"]["verdict"] == "Indistinguishable in time."
    (tmp_path / "compare.json").write_text(json.dumps(made({"gevent": {10: [49.0]}})))
    assert compare.compare_page(str(tmp_path))["host"] == "app1"


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_file_that_is_no_comparison_is_named_with_the_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / "compare.json").write_text(text)
    with pytest.raises(AnsibleFilterError, match=r"compare\.json is not .*: remove it, and measure again"):
        compare.compare_page(str(tmp_path))
