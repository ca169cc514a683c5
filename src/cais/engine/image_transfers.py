"""Images from and to registries, and other places: what ``Images`` does beside what is here."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.engine.pull import Pulled
    from cais.engine.push import Pushed
    from cais.engine.stores import Stores
    from cais.ports import Progress
    from cais.spec.descriptor import Descriptor
    from cais.spec.platform import Platform


class ImageTransfers:
    """Each does one thing, and loads what it needs for that."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def pull(
        self,
        name: str,
        all_tags: bool = False,
        platform: Platform | None = None,
        all_platforms: bool = False,
        policy: str = "always",
        referrers: bool = False,
        progress: Progress | None = None,
    ) -> list[Pulled]:
        """From a registry: one image, or with ``all_tags`` each of the repository. See ``cais.engine.pull``."""
        from cais.engine.pull import PullOptions, pull, pull_all
        from cais.spec.progress import silent
        from cais.spec.reference import Reference

        options = PullOptions(platform, all_platforms, policy, referrers)
        reference = Reference.parse(name)
        progress = progress or silent
        if all_tags:
            pulled = pull_all(self._stores, reference, options, progress)
        else:
            pulled = [pull(self._stores, reference, options, progress)]
        shown = reference.familiar_name if all_tags else reference.familiar
        progress({"event": "pulled", "name": shown, "is_newer": any(item.is_newer for item in pulled)})
        return pulled

    def remote_tags(self, repository: str) -> list[str]:
        """The tags of a repository in its registry. Raises NotFound, Denied, Unauthorized, Unavailable."""
        from cais.engine.remote_images import tags

        return tags(self._stores, repository)

    def remote_digest(self, name: str) -> str:
        """What a name points at in its registry. Raises as ``remote_tags``."""
        from cais.engine.remote_images import digest

        return digest(self._stores, name)

    def remote_inspect(self, name: str, platform: Platform | None = None) -> dict[str, Any]:
        """``inspect`` of an image in its registry, without its layers. Raises as ``remote_tags``, Invalid."""
        from cais.engine.remote_images import inspect

        return inspect(self._stores, name, platform)

    def copy(
        self,
        source: str,
        target: str,
        platform: Platform | None = None,
        all_platforms: bool = False,
        referrers: bool = False,
        format: str = "",
        preserve_digests: bool = False,
        progress: Progress | None = None,
    ) -> Descriptor:
        """Between registries, layouts, archives and here (``cais.engine.places``); what was copied.

        See ``cais.engine.image_copy``.
        """
        from cais.engine.image_copy import CopyOptions, copy_image
        from cais.spec.progress import silent

        options = CopyOptions(platform, all_platforms, referrers, format, preserve_digests)
        return copy_image(self._stores, source, target, options, progress or silent)

    def push(
        self,
        name: str,
        all_tags: bool = False,
        platform: Platform | None = None,
        compression: str = "",
        referrers: bool = False,
        progress: Progress | None = None,
    ) -> list[Pushed]:
        """To the registry that the name says; with ``all_tags`` all that are here. See ``cais.engine.push``."""
        from cais.engine.push import PushOptions, push, tags_of
        from cais.spec.progress import silent
        from cais.spec.reference import Reference

        progress = progress or silent
        options = PushOptions(platform, compression, referrers)
        reference = Reference.parse(name)
        wanted = tags_of(self._stores, reference) if all_tags else [reference]
        progress({"event": "pushing", "repository": reference.name})
        return [push(self._stores, item, options, progress) for item in wanted]
