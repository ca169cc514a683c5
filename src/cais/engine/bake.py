"""Bake: several builds that files describe, from the files to what is built.

Targets are built side by side, what others are linked to first; a step that several of them have is made once. All of
them hold what they make until the last one is done, so that a context ``target:NAME`` is an image that needs no name.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Mapping, Sequence

from cais.build.at_work import AtWork
from cais.build.bake.choose import Chosen, choose
from cais.build.bake.definition import Definition, File, read
from cais.build.bake.fields import Target
from cais.engine.build_options import BuildOptions, Limits
from cais.engine.stores import Stores
from cais.errors import CaisError, Cancelled, Denied, Invalid, NotFound, from_os_error
from cais.host.threads import Thread, end_all
from cais.spec.named import NamedTuple
from cais.spec.platform import Platform
from cais.spec.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from cais.engine.build import BuildResult
    from cais.spec.descriptor import Descriptor

__all__ = ["BakeOptions", "Baked", "Chosen", "Definition"]

DEFAULT_FILES = (
    "compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml", "docker-bake.json", "docker-bake.hcl",
    "docker-bake.override.json", "docker-bake.override.hcl",
)  # fmt: skip
# At once; each has as many steps at once as there can be.
_TARGETS_AT_ONCE = 8
_JOIN_SECONDS = 0.5
_FILE_LIMIT_BYTES = 4 << 20
_LINK = "target:"


class BakeOptions(NamedTuple):
    """What ``builder bake`` takes. ``files`` are paths, ``-`` for ``stdin``; none: those of DEFAULT_FILES that exist.

    ``targets`` are names, groups or patterns, none: ``default``. ``sets`` are ``PATTERN.KEY=VALUE``. ``environment``
    gives variables their values, and so do ``variables``, which win. ``directory`` is where relative paths begin.
    """

    files: Sequence[str] = ()
    targets: Sequence[str] = ()
    sets: Sequence[str] = ()
    variables: Mapping[str, str] = {}
    allow: Sequence[str] = ()
    environment: Mapping[str, str] = {}
    directory: str = "."
    epoch: int | None = None
    result_provenance: str = ""
    stdin: BinaryIO | None = None
    stdout: BinaryIO | None = None


class Baked(NamedTuple):
    """What will be built: ``options`` by target, in their order; ``links`` are the targets whose images others need."""

    options: Mapping[str, BuildOptions]
    links: frozenset[str]
    calls: Mapping[str, str]  # what each is called for, "" to build it


def definition(options: BakeOptions) -> Definition:
    """What the files define. Raises NotFound, Invalid."""
    files = []
    for name in options.files or DEFAULT_FILES:
        file = _read(name, options, required=bool(options.files))
        if file is not None:
            files.append(file)
    if not files:
        raise NotFound("couldn't find a bake definition", hint="Write docker-bake.hcl, or name a file with -f.")
    built_in = {
        "BAKE_CMD_CONTEXT": "cwd://",
        "BAKE_LOCAL_PLATFORM": str(Platform.normalised("linux", os.uname().machine)),
    }
    return read(files, {**options.environment, **options.variables}, built_in, options.directory)


def _read(name: str, options: BakeOptions, *, required: bool) -> File | None:
    try:
        if name == "-":
            if options.stdin is None:
                raise Invalid("standard input is asked for, and there is none")
            raw = options.stdin.read(_FILE_LIMIT_BYTES + 1)
        else:
            with open(os.path.join(options.directory, name.removeprefix("cwd://")), "rb") as file:
                raw = file.read(_FILE_LIMIT_BYTES + 1)
    except FileNotFoundError:
        if not required:
            return None
        raise NotFound(f"open {name}: no such file or directory")
    except OSError as error:
        raise from_os_error(error, f"read {name}")
    if len(raw) > _FILE_LIMIT_BYTES:
        raise Invalid(f"{name} is larger than {_FILE_LIMIT_BYTES >> 20} MiB: that is no bake file")
    try:
        return File(name, raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise Invalid(f"{name} is no text: it is not UTF-8")


def chosen(options: BakeOptions) -> Chosen:
    """The targets as they would be built; nothing is opened for it. Raises NotFound, Invalid."""
    return choose(definition(options), options.targets, options.sets, options.environment)


def baked(options: BakeOptions, targets: Chosen) -> Baked:
    """The builds. Raises Invalid; Denied for what ``allow`` does not give."""
    for name, target in targets.targets.items():
        missing = sorted({*(target.get("entitlements") or ())} - set(options.allow))
        if missing:
            raise Denied(
                f"target {name} asks for {', '.join(missing)}, which is not allowed",
                hint=f"If you trust the bake file: --allow {' --allow '.join(missing)}",
            )
    links = frozenset(
        value[len(_LINK) :]
        for target in targets.targets.values()
        for value in (target.get("contexts") or {}).values()
        if value.startswith(_LINK)
    )
    calls = {
        name: "" if target.get("call") in (None, "", "build") or name in targets.linked else target["call"]
        for name, target in targets.targets.items()
    }
    builds = {}
    for name, target in targets.targets.items():
        build = _build_options(name, target, options, name in links)
        if calls[name]:
            # Who only looks at a Dockerfile needs no image.
            contexts = {key: value.replace(_LINK, "docker-image://", 1) for key, value in build.contexts.items()}
            build = build._replace(contexts=contexts)
        builds[name] = build
    return Baked(builds, links, calls)


def build_targets(
    stores: Stores, baked: Baked, progress: Callable[[str], Progress]
) -> tuple[dict[str, BuildResult], bool]:
    """The results, and whether anything had to be made for them. Raises what the first failure raised."""
    if len(baked.options) > 1:
        # What is mounted is every thread's, if this one is where mounts go with the process before there are others.
        from cais.host.namespaces import enter

        try:
            enter()
        except Denied:
            pass  # who needs it says so
    return _Oven(stores, baked, progress).run()


class _Oven:
    """Builds targets side by side, each as soon as those are done whose images it needs."""

    def __init__(self, stores: Stores, baked: Baked, progress: Callable[[str], Progress]) -> None:
        self._stores = stores
        self._baked = baked
        self._progress = {name: progress(name) for name in baked.options}
        self._waiting = list(baked.options)
        self._at_work = AtWork()
        self._changed = threading.Condition()
        self._running = 0
        self._images: dict[str, Descriptor] = {}
        self._results: dict[str, BuildResult] = {}
        self._made_something = False
        self._error: BaseException | None = None

    def run(self) -> tuple[dict[str, BuildResult], bool]:
        count = min(_TARGETS_AT_ONCE, len(self._waiting))
        # A lone target is built here.
        threads = [Thread(target=self._work, name="bake", daemon=True) for _ in range(count)]
        if count <= 1:
            self._work()
            threads = []
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(_JOIN_SECONDS)  # not for ever: a signal is to be heard
        except BaseException as error:
            self._fail(error)
            end_all(threads)
        if self._error is not None:
            raise self._error
        return {name: self._results[name] for name in self._baked.options}, self._made_something

    def _work(self) -> None:
        while (name := self._next()) is not None:
            try:
                self._build(name)
            except BaseException as error:
                self._fail(error)
            finally:
                with self._changed:
                    self._running -= 1
                    self._changed.notify_all()

    def _next(self) -> str | None:
        """A target that can be built; waited for where one that runs may make one so."""
        with self._changed:
            while self._waiting and self._error is None:
                for name in self._waiting:
                    if all(link in self._images for link in _links(self._baked.options[name])):
                        self._waiting.remove(name)
                        self._running += 1
                        return name
                assert self._running, "targets that are linked to one another in a circle are refused before"
                self._changed.wait()
            return None

    def _build(self, name: str) -> None:
        from cais.engine.build import build_in
        from cais.engine.build_log import said_of_failure

        options = self._baked.options[name]._replace(linked=dict(self._images))
        try:
            self._at_work.check()
            result, made = build_in(self._stores, options, self._progress[name], at_work=self._at_work)
        except CaisError as error:
            error.message = f"target {name}: {said_of_failure(error)}"
            raise
        with self._changed:
            self._results[name] = result
            self._made_something = self._made_something or made
            if name in self._baked.links:
                assert result.target is not None
                self._images[_LINK + name] = result.target

    def _fail(self, error: BaseException) -> None:
        """The first one counts; that others stopped for it is no news."""
        with self._changed:
            if self._error is None or (isinstance(self._error, Cancelled) and not isinstance(error, Cancelled)):
                self._error = error
            self._changed.notify_all()
        self._at_work.stop(Cancelled("stopped, as another target failed"))


def _links(options: BuildOptions) -> list[str]:
    return [value for value in options.contexts.values() if value.startswith(_LINK)]


def _build_options(name: str, target: Target, options: BakeOptions, linked: bool) -> BuildOptions:
    context = _path(target["context"], options.directory)
    inline = target.get("dockerfile-inline")
    dockerfile = "-" if inline is not None else _dockerfile(target["dockerfile"], context, options.directory)
    outputs = list(target.get("output") or ())
    if linked:
        # What others are linked to is an image, whatever else is put out.
        outputs = [text for text in outputs if text != "type=cacheonly"] or (
            ["type=image"] if target.get("tags") else []
        )
        outputs.append("type=image,store=false")
    entitlements = [item for item in target.get("entitlements") or () if item in options.allow]
    try:
        return BuildOptions(
            context=context,
            dockerfile=dockerfile,
            tags=target.get("tags") or (),
            build_args={key: value for key, value in (target.get("args") or {}).items() if value is not None},
            target=target.get("target") or "",
            no_cache=bool(target.get("no-cache")),
            labels={key: value for key, value in (target.get("labels") or {}).items() if value is not None},
            platform=",".join(target.get("platforms") or ()),
            network=target.get("network") or "default",
            outputs=outputs,
            epoch=options.epoch,
            stdin=io.BytesIO(inline.encode("utf-8", "surrogateescape")) if inline is not None else options.stdin,
            stdout=options.stdout,
            contexts={
                key: value if value.startswith(_LINK) else _path(value, options.directory)
                for key, value in (target.get("contexts") or {}).items()
            },
            secrets=target.get("secret") or (),
            ssh=target.get("ssh") or (),
            allow=entitlements,
            add_hosts=[
                f"{host}:{address}"
                for host, addresses in (target.get("extra-hosts") or {}).items()
                for address in (addresses or "").split(",")
            ],
            limits=Limits(shm_bytes=_size(target.get("shm-size") or ""), ulimits=tuple(target.get("ulimits") or ())),
            no_cache_filter=target.get("no-cache-filter") or (),
            pull=bool(target.get("pull")),
            annotations=target.get("annotations") or (),
            cache_from=target.get("cache-from") or (),
            cache_to=target.get("cache-to") or (),
            attest=target.get("attest") or (),
            result_provenance=options.result_provenance,
            environment=options.environment,
        )
    except CaisError as error:
        error.message = f"target {name}: {error.message}"
        raise


def _path(value: str, directory: str) -> str:
    """A directory as this process reaches it; what is none is as it was."""
    if value.startswith("cwd://"):
        value = value.removeprefix("cwd://") or "."
    if "://" in value or value == "-" or directory in ("", "."):
        return value
    there = os.path.join(directory, value)
    return there if os.path.lexists(there) else value


def _dockerfile(value: str, context: str, directory: str) -> str:
    """It lies in the context, unless it says otherwise."""
    if value.startswith("cwd://"):
        return os.path.join(directory, value.removeprefix("cwd://"))
    if "://" in value or os.path.isabs(value) or not os.path.isdir(context):
        return value
    joined = os.path.join(context, value)
    if value == "Dockerfile" and not os.path.lexists(joined):
        return ""  # the default has two spellings
    return joined


def _size(text: str) -> int:
    """Raises Invalid."""
    if not text:
        return 0
    from cais.container.options import parse_bytes

    return parse_bytes(text, "shm-size")
