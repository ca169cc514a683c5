"""A build's files put out as they are: to a directory, or as a tar; those of several platforms each in its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from cais.engine.build_input import temporary_directory
from cais.engine.build_options import BuildOptions
from cais.engine.output_options import Output
from cais.engine.stores import Stores
from cais.errors import Conflict, Invalid, from_os_error
from cais.spec.digest import Digest
from cais.spec.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

Target = tuple[Platform, Digest | None]
# Given the number of a target, and where its files are: what stands beside them, by name.
Beside = Callable[[int, str], Mapping[str, bytes]]


def put_files(stores: Stores, output: Output, targets: Sequence[Target], options: BuildOptions, beside: Beside) -> None:
    """``targets`` are the platforms' file systems. Raises Conflict where two platforms want one name."""
    split = output.split and len(targets) > 1
    names = [str(platform).replace("/", "_") if split else "" for platform, _ in targets]
    if len(targets) > 1 and not split:
        _refuse_overwriting(stores, targets)
    if output.kind == "tar":
        write(output.destination, options.stdout, _tars(stores, targets, names, options.epoch, beside))
        return
    for number, ((_, chain), name) in enumerate(zip(targets, names, strict=True)):
        directory = os.path.join(output.destination, name) if name else output.destination
        with ViewedFiles(stores, chain) as root:
            added = _free(root, beside(number, root))
            _copy(root, directory, options.epoch)
        for name, data in added.items():
            write(os.path.join(directory, name), None, [data])


def _free(root: str, added: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """``added``, where nothing of these names is there. Raises Conflict."""
    for name in added:
        if os.path.lexists(os.path.join(root, name)):
            raise Conflict(
                f"the result has a file /{name}, where its attestation would stand",
                hint="Leave the attestation out, or build an image.",
            )
    return added


def _copy(root: str, directory: str, epoch: int | None) -> None:
    from cais.host.copying import copy_tree

    try:
        os.makedirs(directory, exist_ok=True)
        # As with Docker, the files are the caller's own, and the directory that takes them stays as it is.
        copy_tree(root, directory, replace=True, root=False, owners=False, modified=epoch)
    except OSError as error:
        raise from_os_error(error, f"write the build's files to {directory}")


def _tars(
    stores: Stores, targets: Sequence[Target], names: Sequence[str], epoch: int | None, beside: Beside
) -> Iterator[bytes]:
    """One archive of all; what has to be mounted for a target is there while it is read."""
    from cais.host.tar_writer import TarEntry, header, padding, trailer
    from cais.snapshot.changes import tree_changes
    from cais.snapshot.pack import pack

    for number, ((_, chain), name) in enumerate(zip(targets, names, strict=True)):
        prefix = f"{name}/".encode() if name else b""
        if prefix:
            yield header(TarEntry(prefix, "directory", 0o755, mtime=epoch or 0))
        with ViewedFiles(stores, chain) as root:
            added = _free(root, beside(number, root))
            yield from pack(
                tree_changes(None, root),
                root,
                owners=stores.snapshots.owners,
                modified=epoch,
                prefix=prefix,
                last=False,
                plain=True,
            )
        for name, data in added.items():
            entry = TarEntry(prefix + name.encode(), "file", 0o644, mtime=epoch or 0, size_bytes=len(data))
            yield header(entry) + data + padding(len(data))
    yield trailer()


def _refuse_overwriting(stores: Stores, targets: Sequence[Target]) -> None:
    """Before anything is written. Raises Conflict."""
    from cais.snapshot.changes import tree_changes

    owner: dict[bytes, Platform] = {}
    for platform, chain in targets:
        with ViewedFiles(stores, chain) as root:
            for change in tree_changes(None, root):
                if change.kind == "directory":
                    continue
                other = owner.setdefault(change.path, platform)
                if other != platform:
                    raise Conflict(
                        f"cannot overwrite {os.fsdecode(change.path)} from {other} with {platform} when split option "
                        "is disabled",
                        hint="Without platform-split=false each platform gets a directory of its own.",
                    )


class ViewedFiles:
    """``with ViewedFiles(stores, chain) as directory``: a file system to be read, mounted where it must be."""

    def __init__(self, stores: Stores, chain: Digest | None) -> None:
        self._stores = stores
        self._mounts = stores.snapshots.view(chain) if chain is not None else ()
        self._root = ""

    def __enter__(self) -> str:
        from cais.host.mounts import realise
        from cais.host.namespaces import enter
        from cais.spec.mount import plain_directory

        directory = plain_directory(self._mounts)
        if directory:
            self._stores.snapshots.reach()
            return directory
        enter()
        self._root = temporary_directory(self._stores)
        os.makedirs(self._root, 0o700)
        try:
            realise(self._mounts, self._root)
        except BaseException:
            self._remove()
            raise
        return self._root

    def __exit__(self, *_: object) -> None:
        if not self._root:
            return
        from cais.host.mounts import unmount

        try:
            if self._mounts:
                unmount(self._root)
        finally:
            self._remove()

    def _remove(self) -> None:
        from cais.host.files import remove_tree

        remove_tree(self._root)


def write(destination: str, stdout: BinaryIO | None, pieces: Iterable[bytes]) -> None:
    """To a file, which is replaced when all is there; a device or a pipe is written to; ``-`` is ``stdout``."""
    if destination == "-":
        if stdout is None or stdout.isatty():
            raise Invalid("refusing to write an archive to a terminal", hint="Give --output a dest=FILE, or redirect.")
        for piece in pieces:
            stdout.write(piece)
        stdout.flush()
        return
    from cais.host.files import random_name

    # A device or a pipe is written to, a link's target replaced.
    path = os.path.realpath(destination)
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
        raise from_os_error(error, f"write {destination}")
