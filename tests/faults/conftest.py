from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from cais_process import Cais
from container_process import Cais as Container

if TYPE_CHECKING:
    from own_host import OwnHost


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: Any = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report


_FAILED = pytest.StashKey[bool]()


@pytest.fixture(autouse=True)
def _ended(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test that failed has left running does not disturb those after it."""
    hosts = [request.getfixturevalue(name) for name in ("cais", "box") if name in request.fixturenames]
    yield
    if request.node.stash.get(_FAILED, False):
        for host in hosts:
            host.end_all()


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
def box(busybox_tar, tmp_path_factory) -> Iterator[Container]:
    """The command on a root directory that has the image ``box``, and conmon to leave containers to."""
    if not shutil.which("conmon"):
        pytest.skip("needs conmon")
    if os.geteuid() != 0 or not (shutil.which("crun") or shutil.which("runc")):
        pytest.skip("needs root and an OCI runtime")
    made = Container(tmp_path_factory.mktemp("root"))
    made("import", "--change", "CMD sh", str(busybox_tar), "box")
    yield made
    made.end_all()


@pytest.fixture(scope="module")
def host(busybox_tar, tmp_path_factory) -> Iterator[OwnHost]:
    """As ``box``, on a host of its own (a network namespace), where everything that is left can be seen."""
    from own_host import OwnHost

    if os.geteuid() != 0 or not all(map(shutil.which, ("conmon", "unshare", "nft", "ip"))):
        pytest.skip("needs root, conmon, nftables, iproute2")
    made = OwnHost(tmp_path_factory.mktemp("host"))
    made("import", "--change", "CMD sh", str(busybox_tar), "box")
    yield made
    made.close()
