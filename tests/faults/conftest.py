from __future__ import annotations

import os
import shutil

import pytest
from cais_process import Cais


@pytest.fixture
def cais(tmp_path):
    runtime = shutil.which("crun") or shutil.which("runc")
    if os.geteuid() != 0 or not os.path.exists("/bin/busybox") or not runtime:
        pytest.skip("needs root, busybox-static and an OCI runtime")
    return Cais(tmp_path)


@pytest.fixture
def cais_with_base(cais):
    cais.make_base()
    return cais
