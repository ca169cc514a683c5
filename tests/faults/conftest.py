from __future__ import annotations

import os
import shutil

import pytest
from cais_process import Cais
from container_process import Cais as Container


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


@pytest.fixture(scope="module")
def box(busybox_tar, tmp_path_factory) -> Container:
    """The command on a root directory that has the image ``box``, and conmon to leave containers to."""
    if not shutil.which("conmon"):
        pytest.skip("needs conmon")
    if os.geteuid() != 0 or not (shutil.which("crun") or shutil.which("runc")):
        pytest.skip("needs root and an OCI runtime")
    made = Container(tmp_path_factory.mktemp("root"))
    made("import", "--change", "CMD sh", str(busybox_tar), "box")
    return made
