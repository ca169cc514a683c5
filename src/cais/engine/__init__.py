"""The engine: one module per use case, composed of the rooms below; the public Python API.

    import cais

    with cais.open() as engine:
        for image in engine.images.list():
            print(image.id, image.repository, image.tag)

    settings, stores, schema   the wiring: what a user may set, the rooms of one root directory, all their tables
    registries                 the wiring of what is remote: mirrors, credentials, proxies

    images, image_*            images that are here, and where else they go
    remote_images, search, logins, manifests, imagetools
                               registries looked at, signed in to, given lists
    pull, arriving, push, push_streams, copy, places, referrers
                               how images move: ``copy`` is the one function that all of them use
    annotations, changes       what else is written into images

    build, build_options, build_input
                               Builder: what a build is asked for, what it starts from
    build_run                  one build, from its input to its results; build_*: its parts, one subject each
    bake                       several builds that files describe
    named_contexts, context_archive, context_report
                               directories that builds read
    output_options, output_files, cache_*
                               what builds put out; caches that are carried

    containers, container_*    a module for each thing that is done with them; container_runs wires their rooms
    finish, exec_ended, health programs that are run after a container's end, or for a check of it
    boot, boot_unit            containers that start with the host
    flag_files                 files that flags name, for a command on another host
    networks, volumes, volume_*, standstill
                               networks; volumes, and containers that stand still while theirs are copied

    system, host_facts, registry_facts, usage
                               what this host can do, and what takes the space
    check, collect             whether all is well; what nobody needs goes
    events                     what happens, in all processes
    contexts                   other places where commands may run

``environment`` is that of the process, where registries are spoken to: credentials (DOCKER_CONFIG, HOME), proxies.
An ``Engine`` works on one root directory; any number of engines and processes may work on the same one at once. Methods
raise ``cais.errors``.
"""

from __future__ import annotations

from cais.engine.settings import Settings
from cais.engine.stores import Stores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cais.engine.build import Builder
    from cais.engine.containers import Containers
    from cais.engine.images import Images
    from cais.engine.imagetools import ImageTools
    from cais.engine.logins import Logins
    from cais.engine.manifests import Manifests
    from cais.engine.networks import Networks
    from cais.engine.search import Found
    from cais.engine.system import System
    from cais.engine.volumes import Volumes

__all__ = ["Engine", "Settings"]


class Engine:
    """Images, containers, volumes, builds and the system of one root directory."""

    def __init__(self, settings: Settings, environment: Mapping[str, str] | None = None) -> None:
        self.settings = settings
        self._stores = Stores(settings, environment)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What registries have warned of so far, a line each."""
        return self._stores.warnings

    @property
    def images(self) -> Images:
        from cais.engine.images import Images

        return Images(self._stores)

    @property
    def builder(self) -> Builder:
        from cais.engine.build import Builder

        return Builder(self._stores)

    @property
    def containers(self) -> Containers:
        from cais.engine.containers import Containers

        return Containers(self._stores)

    @property
    def logins(self) -> Logins:
        from cais.engine.logins import Logins

        return Logins(self._stores)

    def search(self, term: str, filters: Mapping[str, Sequence[str]] | None = None, limit: int = 0) -> list[Found]:
        """Repositories of a registry; see ``cais.engine.search``."""
        from cais.engine.search import search

        return search(self._stores, term, filters, limit)

    @property
    def imagetools(self) -> ImageTools:
        from cais.engine.imagetools import ImageTools

        return ImageTools(self._stores)

    @property
    def manifests(self) -> Manifests:
        from cais.engine.manifests import Manifests

        return Manifests(self._stores)

    @property
    def networks(self) -> Networks:
        from cais.engine.networks import Networks

        return Networks(self._stores)

    @property
    def volumes(self) -> Volumes:
        from cais.engine.volumes import Volumes

        return Volumes(self._stores)

    @property
    def system(self) -> System:
        from cais.engine.system import System

        return System(self._stores)

    def foresee_start(self) -> None:
        """Something is about to be started in a container: what the kernel takes its time for is asked for now, while
        all that it takes is still to be loaded. Only ever a matter of speed."""
        self._stores.moves.ask()

    def close(self) -> None:
        """Lets go of what this engine holds; what nothing else needs may be collected from now on."""
        self._stores.close()

    def release(self) -> None:
        """``close`` for a process that ends now: quicker, as the database is left to the kernel."""
        self._stores.release()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
