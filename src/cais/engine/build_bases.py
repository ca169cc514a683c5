"""The images that a build's stages begin with or copy from."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from cais.engine.stores import Stores
from cais.errors import NotFound
from cais.spec import media_types
from cais.spec.digest import Digest
from cais.spec.image_config import ImageConfig
from cais.spec.platform import Platform
from cais.spec.progress import Progress
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.engine.build_layouts import Layouted, Linked
    from cais.image.store import Image


class Bases:
    """Each is looked for once, by its full name and the platform that a stage wants."""

    def __init__(self, stores: Stores, layouts: Mapping[str, Layouted | Linked] | None = None) -> None:
        """``layouts`` are images of image layouts and of other builds, by the full names that lowering asks for."""
        self._stores = stores
        self._layouts = layouts or {}
        self._found: dict[tuple[str, Platform], Image] = {}
        self._unpacking = threading.Lock()

    def config(self, reference: str, platform: Platform) -> ImageConfig:
        """What lowering asks. Raises NotFound where there is no such image, or not for ``platform``."""
        images = self._stores.images
        layout = self._layouts.get(reference)
        if layout is not None:
            image = self._found[reference, platform] = layout.receive(self._stores, platform)
            return image.config
        try:
            record = images.resolve(reference)
        except NotFound as error:
            error.message = f"{Reference.parse(reference).familiar}: not found among the local images"
            error.hint = "Load or build it first: this version does not pull (cais image ls lists what is here)."
            raise
        # What is no index is taken as it is; that it is another platform's is a warning (of lowering).
        several = record.target.media_type in media_types.INDEXES
        try:
            image = images.get(reference, platform if several else None)
        except NotFound as error:
            error.message = (
                f"failed to resolve source metadata for {reference}: no match for platform in manifest: not found"
            )
            found = ", ".join(dict.fromkeys(str(config.platform) for config in images.configs(record)))
            error.hint = f"{platform} is asked for; the image is there for {found}."
            raise
        self._found[reference, platform] = image
        return image.config

    def image(self, reference: str, platform: Platform) -> Image:
        """One that ``config`` was asked for."""
        return self._found[reference, platform]

    def warn_of_pull(self, progress: Progress) -> None:
        """Docker would ask the registries; who says --pull should know that nobody was asked."""
        for name in sorted({reference for reference, _ in self._found if reference not in self._layouts}):
            said = f"--pull: {name} is taken as it is here: this version of cais asks no registry"
            progress({"event": "warning", "message": said, "line": 0})

    def ensure(self, chain: Digest) -> None:
        """Unpacks the layers of the image that ends with ``chain``, if it is one."""
        with self._unpacking:  # stages that begin with the same image do it once
            for image in self._found.values():
                if image.chain == chain:
                    self._stores.images.ensure_unpacked(image)

    def time(self, chain: Digest) -> int:
        """When the image that ends with ``chain`` was made, in seconds since 1970; 0 where it does not say."""
        from cais.spec import timestamp

        times = [image.config.created for image in self._found.values() if image.chain == chain]
        return max((int(timestamp.parse(text)) for text in times if text), default=0)
