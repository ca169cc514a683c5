"""An engine on a root directory of its own, and images to put into it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cais.engine import Engine, Settings
from cais.image.assemble import NewLayer, assemble, store
from cais.image.records import ImageRecord
from cais.spec.descriptor import Descriptor
from cais.spec.reference import Reference


def layer_tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(Settings(str(tmp_path / "root"))) as engine:
        yield engine


@pytest.fixture
def make_image(engine: Engine) -> Callable[..., ImageRecord]:
    """Makes an image of plain tars and registers it under names."""

    def make(
        *names: str,
        layers: tuple[Mapping[str, bytes], ...] = ({"file": b"content"},),
        created: str = "2024-01-31T12:00:00Z",
        run: Mapping[str, Any] | None = None,
    ) -> ImageRecord:
        stores = engine._stores
        new = []
        for files in layers:
            data = layer_tar(files)
            digest = stores.content.add(data)
            new.append(NewLayer(digest, len(data)))
        history = [{"created": created, "created_by": f"COPY {number}"} for number in range(len(new))]
        made = assemble(None, new, run or {}, history, created=created, platform=stores.platform)
        target: Descriptor = store(stores.content, made)
        return stores.images.register(target, [Reference.parse(name) for name in names])

    return make
