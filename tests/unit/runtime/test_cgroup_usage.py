"""What control groups say, in both versions: files as the kernel writes them, and a group of this host."""

from __future__ import annotations

import os

import pytest

from cais.runtime import cgroup_usage
from cais.runtime.cgroup_usage import GroupUsage

V1 = {
    "cpuacct/cais/x/cpuacct.usage": "5000000000\n",
    "memory/cais/x/memory.usage_in_bytes": "1000000\n",
    "memory/cais/x/memory.stat": "cache 700000\ninactive_file 1\ntotal_inactive_file 400000\n",
    "memory/cais/x/memory.limit_in_bytes": "67108864\n",
    "blkio/cais/x/blkio.throttle.io_service_bytes_recursive": (
        "8:0 Read 100\n8:0 Write 20\n8:0 Sync 120\n8:0 Async 0\n8:0 Total 120\n8:16 Read 1\n8:16 Write 2\nTotal 123\n"
    ),
    "pids/cais/x/pids.current": "3\n",
}
V2 = {
    "cais/x/cpu.stat": "usage_usec 5000000\nuser_usec 1\n",
    "cais/x/memory.current": "1000000\n",
    "cais/x/memory.stat": "anon 1\ninactive_file 400000\n",
    "cais/x/memory.max": "67108864\n",
    "cais/x/io.stat": "8:0 rbytes=100 wbytes=20 rios=1 wios=1 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2\n",
    "cais/x/pids.current": "3\n",
}


@pytest.mark.parametrize("files", [V1, V2], ids=["v1", "v2"])
def test_both_versions(files, tmp_path, monkeypatch):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(cgroup_usage, "_ROOT", str(tmp_path))
    assert cgroup_usage.read("/cais/x") == GroupUsage(5_000_000_000, 600_000, 67_108_864, 101, 22, 3)


@pytest.mark.parametrize("limit", ["max\n", "9223372036854771712\n"])
def test_no_limit_is_the_host_s_memory(limit, tmp_path, monkeypatch):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "memory.current").write_text("100\n")
    (tmp_path / "x" / "memory.max").write_text(limit)
    monkeypatch.setattr(cgroup_usage, "_ROOT", str(tmp_path))
    found = cgroup_usage.read("/x")
    assert found.memory_bytes == 100
    assert found.memory_limit_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert found.cpu_nanoseconds is None
    assert found.read_bytes is None


def test_what_is_not_there():
    assert cgroup_usage.read("") == GroupUsage()
    assert cgroup_usage.read("/cais/never") == GroupUsage()
    assert cgroup_usage.processes("/cais/never") is None
    assert cgroup_usage.processes("") is None
