"""Root directories with images, for tests that move images between them: what is pushed, pulled and copied."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

from cais.engine import Engine, Settings
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.image_config import ImageConfig
from cais.spec.manifest import Index, Manifest
from cais.spec.platform import Platform
from cais.spec.reference import Reference
from registry_servers import Server


class Host:
    """One root directory."""

    def __init__(self, root: Path) -> None:
        self.engine = Engine(Settings(str(root), driver="copies"), {})
        self.stores = self.engine._stores

    def image(self, name: str, *layers: dict[str, bytes], platform: str = "linux/amd64") -> Descriptor:
        """An image whose layers are plain tars, as those that are built here."""
        target = self.manifest(*layers, platform=platform)
        self.stores.images.register(target, [Reference.parse(name)])
        return target

    def manifest(self, *layers: dict[str, bytes], platform: str = "linux/amd64") -> Descriptor:
        content, descriptors = self.stores.content, []
        for files in layers:
            raw = tar(files)
            descriptors.append(Descriptor(types.OCI_LAYER, content.add(raw), len(raw)))
        config = ImageConfig(
            {
                **Platform.parse(platform).to_json(),
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [item.digest for item in descriptors]},
            }
        )
        content.add(config.raw)
        manifest = Manifest.encode(config.descriptor, descriptors)
        content.add(manifest.raw)
        return manifest.descriptor

    def index(self, name: str, **platforms: dict[str, bytes]) -> Descriptor:
        """An image for ``linux/<name of the argument>`` each."""
        children = []
        for architecture, files in platforms.items():
            platform = Platform("linux", architecture)
            children.append(self.manifest(files, platform=str(platform))._replace(platform=platform))
        index = Index.encode(children)
        self.stores.content.add(index.raw)
        self.stores.images.register(index.descriptor, [Reference.parse(name)])
        return index.descriptor

    def push(self, name: str, **options: Any) -> Any:
        return self.engine.images.push(name, **options)[-1]

    def pull(self, name: str, **options: Any) -> Any:
        return self.engine.images.pull(name, **options)[-1]

    def file(self, name: str, path: str) -> bytes:
        chain = self.engine.images.get(name).chain
        return Path(self.stores.snapshots.directories(chain)[0], "fs", path).read_bytes()

    def file_of(self, name: str, path: str) -> bytes:
        """As ``file``, of an image that need not have been unpacked."""
        self.stores.images.ensure_unpacked(self.engine.images.get(name))
        return self.file(name, path)

    def has(self, digest: str) -> bool:
        return self.stores.content.size_of(Digest(digest)) is not None


def tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


class Asked:
    """The requests that a registry answered within the block."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def __enter__(self) -> Asked:
        self._before = len(self._server.requests())
        return self

    def __exit__(self, *_: object) -> None:
        self.requests = self._server.requests()[self._before :]

    def of(self, method: str, part: str = "") -> list[str]:
        return [request for request in self.requests if request.startswith(method + " ") and part in request]
