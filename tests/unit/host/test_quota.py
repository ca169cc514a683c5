"""Quotas: what the kernel is told has the layout of its headers; a file system without them says so."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from cais.container import storage
from cais.errors import CaisError, Unsupported
from cais.host import quota
from cais.volume import options

PROGRAM = r"""
#include <stdio.h>
#include <stddef.h>
#include <linux/fs.h>
#include <sys/quota.h>
int main(void) {
    printf("%zu %zu %lu %lu %u %u %zu %zu %d\n", sizeof(struct fsxattr), offsetof(struct fsxattr, fsx_projid),
           (unsigned long)FS_IOC_FSGETXATTR, (unsigned long)FS_IOC_FSSETXATTR, FS_XFLAG_PROJINHERIT, Q_SETQUOTA,
           sizeof(struct dqblk), offsetof(struct dqblk, dqb_valid), QIF_BLIMITS);
}
"""


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
def test_layout(tmp_path):
    (tmp_path / "program.c").write_text(PROGRAM)
    subprocess.run(["gcc", "-o", tmp_path / "program", tmp_path / "program.c"], check=True)
    found = [int(word) for word in subprocess.run([tmp_path / "program"], capture_output=True).stdout.split()]
    assert found == [
        quota._FSXATTR.size, 12, quota._FS_IOC_FSGETXATTR, quota._FS_IOC_FSSETXATTR, quota._FS_XFLAG_PROJINHERIT,
        quota._Q_SETQUOTA, quota._DQBLK.size, 64, quota._BLOCK_LIMITS,
    ]  # fmt: skip
    assert quota._FSXATTR.unpack(bytes(12) + b"\7\0\0\0" + bytes(12))[3] == 7


def test_a_file_system_without_quotas():
    with pytest.raises(OSError) as caught:
        quota.set_limit(["/proc/self/fd"], 1 << 20)
    assert quota.is_missing(caught.value)
    with pytest.raises(CaisError) as refused:
        options.bound("/proc/self/fd", 1 << 20)
    assert isinstance(refused.value, Unsupported) and "no quota support" in refused.value.message


def test_a_container_says_so_in_dockers_words(tmp_path):
    for name in ("fs", "work"):
        (tmp_path / name).mkdir()
    try:
        storage.bound(str(tmp_path), ("size=1g",))
    except CaisError as error:
        assert error.message == "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"
        assert error.exit_code == 125
