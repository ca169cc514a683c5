"""The images that a build's stages begin with or copy from: those that are here, and those of registries."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from cais.build.at_work import AtWork
from cais.engine.stores import Stores
from cais.errors import CaisError, NotFound
from cais.spec import media_types
from cais.spec.digest import Digest
from cais.spec.image_config import ImageConfig
from cais.spec.platform import Platform
from cais.spec.progress import Progress, silent
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.engine.build_layouts import Layouted, Linked
    from cais.image.store import Image
    from cais.spec.descriptor import Descriptor


class Bases:
    """Each is looked for once, by its full name and the platform that a stage wants.

    Of one that is in a registry only the documents are read, until ``bring`` or ``ensure`` wants its layers: then it is
    an image that is here, as a pulled one.
    """

    def __init__(
        self,
        stores: Stores,
        layouts: Mapping[str, Layouted | Linked] | None = None,
        ask: str = "never",
        at_work: AtWork | None = None,
    ) -> None:
        """``layouts`` are images of image layouts and of other builds, by the full names that lowering asks for.

        ``ask`` says when registries are asked: never, for what is missing here, always (``--pull``). ``at_work`` is
        shared with builds that go on at once.
        """
        self._stores = stores
        self._layouts = layouts or {}
        self._ask_when = ask
        self._found: dict[tuple[str, Platform], Image] = {}
        self._elsewhere: dict[tuple[str, Platform], Descriptor] = {}  # in a registry, and not here yet
        self._at_work = at_work or AtWork()
        self._unpacking = threading.Lock()

    def config(self, reference: str, platform: Platform) -> ImageConfig:
        """What lowering asks. Raises NotFound where there is no such image, or not for ``platform``; what asking a
        registry raises."""
        layout = self._layouts.get(reference)
        if layout is not None:
            image = self._found[reference, platform] = layout.receive(self._stores, platform)
            return image.config
        here: Image | None = None
        absent: NotFound | None = None
        try:
            here = self._here(reference, platform)
        except NotFound as error:
            if self._ask_when == "never":
                raise
            absent = error
        # What a digest names does not change.
        if absent is not None or (self._ask_when == "always" and Reference.parse(reference).digest is None):
            here = self._ask(reference, platform, here, absent)
        assert here is not None
        self._found[reference, platform] = here
        return here.config

    def _here(self, reference: str, platform: Platform) -> Image:
        images = self._stores.images
        try:
            record = images.resolve(reference)
        except NotFound as error:
            error.message = f"{Reference.parse(reference).familiar}: not found among the local images"
            error.hint = "Pull, load or build it first (cais image ls lists what is here)."
            raise
        # What is no index is taken as it is; that it is another platform's is a warning (of lowering).
        several = record.target.media_type in media_types.INDEXES
        try:
            return images.get(reference, platform if several else None)
        except NotFound as error:
            error.message = (
                f"failed to resolve source metadata for {reference}: no match for platform in manifest: not found"
            )
            found = ", ".join(dict.fromkeys(str(config.platform) for config in images.configs(record)))
            error.hint = f"{platform} is asked for; the image is there for {found}."
            raise

    def _ask(self, reference: str, platform: Platform, here: Image | None, absent: NotFound | None) -> Image:
        from cais.engine.build_pull import look

        try:
            image = look(self._stores, Reference.parse(reference), platform, here)
        except CaisError as error:
            if absent is not None and absent.message.startswith("failed to resolve"):
                raise absent  # it is here for another platform, which says more than that nobody was reached
            what = f"{reference}: not found" if isinstance(error, NotFound) and not error.hint else error.message
            error.message = f"failed to resolve source metadata for {reference}: {what}"
            if not error.hint and absent is not None:
                error.hint = absent.hint
            raise
        if image is not here:
            self._elsewhere[reference, platform] = image.target
        return image

    def image(self, reference: str, platform: Platform) -> Image:
        """One that ``config`` was asked for."""
        return self._found[reference, platform]

    def is_elsewhere(self, reference: str, platform: Platform) -> bool:
        """Whether ``bring`` would have to fetch it."""
        return (reference, platform) in self._elsewhere

    def bring(self, reference: str, platform: Platform, progress: Progress = silent) -> Image:
        """The image, with its layers here. Raises what pulling raises."""
        key = (reference, platform)
        target = self._elsewhere.get(key)
        if target is not None:
            from cais.engine.build_pull import bring

            with self._at_work.lock(target.digest):
                if key in self._elsewhere:
                    self._found[key] = bring(self._stores, Reference.parse(reference), target, platform, progress)
                    del self._elsewhere[key]
        return self._found[key]

    def ensure(self, chain: Digest) -> None:
        """Unpacks the layers of the image that ends with ``chain``, if it is one."""
        for key, image in [*self._found.items()]:
            if image.chain == chain:
                image = self.bring(*key)
                with self._unpacking:  # stages that begin with the same image do it once
                    self._stores.images.ensure_unpacked(image)

    def keep(self, chain: Digest) -> None:
        """Makes snapshots of the image that ends with ``chain``, if it is one; files that nothing needs stay packed."""
        if self._stores.snapshots.hold(chain):
            return
        for key, image in [*self._found.items()]:
            if image.chain == chain:
                image = self.bring(*key)
                with self._unpacking:
                    self._stores.images.ensure_kept(image)

    def time(self, chain: Digest) -> int:
        """When the image that ends with ``chain`` was made, in seconds since 1970; 0 where it does not say."""
        from cais.spec import timestamp

        times = [image.config.created for image in self._found.values() if image.chain == chain]
        return max((int(timestamp.parse(text)) for text in times if text), default=0)
