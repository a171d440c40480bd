from pathlib import Path

import pytest

from sandbox.restricted import needed

UNIFIED = "25 30 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)
ALL_CAPABILITIES = "000001ffffffffff"
WITHOUT_SYS_RESOURCE = "000001fffeffffff"


@pytest.mark.parametrize(
    ("mounts", "controllers", "capabilities", "expected"),
    [
        (UNIFIED, "cpuset cpu io memory pids", ALL_CAPABILITIES, False),
        (UNIFIED, "cpuset cpu io memory pids", WITHOUT_SYS_RESOURCE, True),
        (UNIFIED, "hugetlb", ALL_CAPABILITIES, True),
        (HYBRID, None, ALL_CAPABILITIES, True),
        ("", None, ALL_CAPABILITIES, True),
    ],
)
def test_the_fallback_is_chosen_by_the_kind_of_machine(
    tmp_path: Path, mounts: str, controllers: str | None, capabilities: str, expected: bool
) -> None:
    process, cgroups = tmp_path / "proc/self", tmp_path / "sys/fs/cgroup"
    process.mkdir(parents=True)
    cgroups.mkdir(parents=True)
    (process / "mountinfo").write_text(f"22 27 0:21 / /proc rw - proc proc rw\n{mounts}")
    (process / "status").write_text(f"Name:\tpython3\nCapPrm:\t0\nCapEff:\t{capabilities}\n")
    if controllers is not None:
        (cgroups / "cgroup.controllers").write_text(f"{controllers}\n")
    assert needed(tmp_path) is expected
