"""What becomes of a build's result: an image that is kept, an archive, a directory, a tar."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from cais.engine.build_bases import Bases
from cais.engine.build_input import temporary_directory
from cais.engine.build_options import BuildOptions
from cais.engine.build_run import Built
from cais.engine.stores import Stores
from cais.errors import Failed, Invalid, Unsupported, from_os_error
from cais.image.assemble import Assembled, Base, NewLayer, assemble, store
from cais.image.store import Image
from cais.spec import timestamp
from cais.spec.digest import Digest
from cais.spec.named import NamedTuple
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

KINDS = ("image", "docker", "oci", "local", "tar")


class Output(NamedTuple):
    """One ``--output``. ``destination`` is a path, ``-`` for standard output, or ""."""

    kind: str
    destination: str = ""
    names: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Output:
        """``type=KIND[,dest=PATH][,name=..]``; a lone path is ``local``, a lone ``-`` ``tar``. Raises Invalid."""
        if not text:
            raise Invalid("--output is empty", hint="Give a directory, or type=KIND,dest=PATH.")
        if "=" not in text:
            return cls("tar", "-") if text == "-" else cls("local", text)
        kind = destination = ""
        names: tuple[str, ...] = ()
        for field in text.split(","):
            key, equals, value = field.partition("=")
            key = key.strip().lower()
            if not equals:
                raise Invalid(f"invalid value {field!r} in --output {text!r}", hint="It is key=value,key=value.")
            if key == "type":
                kind = value
            elif key == "dest":
                destination = value
            elif key == "name":
                names += (value,)
            else:
                raise Unsupported(f"the option {key!r} of --output is not in this version (in {text!r})")
        if kind not in KINDS:
            raise (Unsupported if kind == "registry" else Invalid)(
                f"--output type {kind!r} is not known to this version", hint=f"The types are: {', '.join(KINDS)}."
            )
        if kind in ("oci", "local", "tar") and not destination:
            raise Invalid(f"--output type={kind} needs a dest=")
        if kind == "local" and destination == "-":
            raise Invalid("--output type=local needs a directory, not standard output")
        return cls(kind, destination, names)

    @property
    def keeps_image(self) -> bool:
        return self.kind == "image" or (self.kind == "docker" and not self.destination)


def parse_outputs(options: BuildOptions) -> list[Output]:
    """Without any, the image is kept."""
    return [Output.parse(text) for text in options.outputs] or [Output("image")]


def put_out(
    stores: Stores,
    options: BuildOptions,
    names: Sequence[Reference],
    built: Sequence[Built],
    bases: Bases,
) -> tuple[str, str]:
    """Returns the image's id and the digest of its manifest; "" and "" where no output wanted an image."""
    (only,) = built
    outputs = parse_outputs(options)
    names = [*names, *(Reference.parse(name) for output in outputs for name in output.names)]
    image_id = digest = ""
    assembled: Assembled | None = None
    for output in outputs:
        if output.kind in ("local", "tar"):
            _files(stores, output, only.chain, options.stdout)
            continue
        if assembled is None:
            assembled = _assembled(options, only, bases)
            store(stores.content, assembled)
            image_id, digest = assembled.config.digest, assembled.target.digest
        if output.keeps_image:
            stores.images.register(assembled.target, names)
        else:
            _archive(stores, output, assembled, names, options.stdout)
    return image_id, digest


def _assembled(options: BuildOptions, built: Built, bases: Bases) -> Assembled:
    lowered, results = built.lowered, built.results
    layers = []
    newest = 0
    for vertex in lowered.layers:
        record = results[vertex].layer
        if record is None:
            raise Failed(f"{vertex.origin.text} gave no layer")
        layers.append(NewLayer(record.diff_id, record.size_bytes))
        newest = max(newest, record.newest)
    base = bases.image(lowered.base_reference, lowered.base_platform) if lowered.base is not None else None
    # The same files give the same image on any day: its time is that of the newest thing in it.
    created = options.epoch
    if created is None:
        created = max(newest, int(timestamp.parse(base.config.created)) if base and base.config.created else 0)
    when = timestamp.format(created)
    return assemble(
        Base(base.config, base.manifest) if base is not None else None,
        layers,
        lowered.run,
        [entry.to_json(when) for entry in lowered.history],
        created=when,
        platform=lowered.platform,
        author=lowered.author,
    )


def _archive(
    stores: Stores, output: Output, assembled: Assembled, names: Sequence[Reference], stdout: BinaryIO | None
) -> None:
    from cais.image.save import Wanted, save

    image = Image(assembled.config.digest, assembled.target, assembled.manifest, assembled.config, tuple(names))
    _write(output, stdout, save(stores.images, [Wanted(image, tuple(names))]))


def _files(stores: Stores, output: Output, chain: Digest | None, stdout: BinaryIO | None) -> None:
    from cais.host.files import remove_tree
    from cais.host.mounts import realise, unmount
    from cais.host.namespaces import enter
    from cais.spec.mount import plain_directory

    mounts = stores.snapshots.view(chain) if chain is not None else ()
    directory = plain_directory(mounts)
    if directory:
        stores.snapshots.reach()
        _write_files(stores, output, directory, stdout)
        return
    enter()
    root = temporary_directory(stores)
    os.makedirs(root, 0o700)
    try:
        realise(mounts, root)
        try:
            _write_files(stores, output, root, stdout)
        finally:
            if mounts:
                unmount(root)
    finally:
        remove_tree(root)


def _write_files(stores: Stores, output: Output, root: str, stdout: BinaryIO | None) -> None:
    from cais.host.copying import copy_tree
    from cais.snapshot.changes import tree_changes
    from cais.snapshot.pack import pack

    try:
        if output.kind == "tar":
            _write(output, stdout, pack(tree_changes(None, root), root, owners=stores.snapshots.owners))
        else:
            os.makedirs(output.destination, exist_ok=True)
            # As with Docker, the files are the caller's own, and the directory that takes them stays as it is.
            copy_tree(root, output.destination, replace=True, root=False, owners=False)
    except OSError as error:
        raise from_os_error(error, f"write the build's files to {output.destination}")


def _write(output: Output, stdout: BinaryIO | None, pieces: Iterable[bytes]) -> None:
    if output.destination in ("", "-"):
        if stdout is None or stdout.isatty():
            raise Invalid("refusing to write an archive to a terminal", hint="Give --output a dest=FILE, or redirect.")
        for piece in pieces:
            stdout.write(piece)
        stdout.flush()
        return
    from cais.host.files import random_name

    # A device or a pipe is written to, a link's target replaced.
    path = os.path.realpath(output.destination)
    in_place = os.path.lexists(path) and not os.path.isfile(path)
    temporary = path if in_place else f"{path}.{random_name(6)}.part"
    try:
        try:
            with open(temporary, "wb") as file:
                for piece in pieces:
                    file.write(piece)
            if not in_place:
                os.rename(temporary, path)
        finally:
            if not in_place and os.path.lexists(temporary):
                os.unlink(temporary)
    except OSError as error:
        raise from_os_error(error, f"write {output.destination}")
