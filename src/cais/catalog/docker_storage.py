"""The storage directory of a docker-registry (distribution, file system driver), read only.

    docker/registry/v2/blobs/sha256/AB/HEX/data                       bytes, of blobs and manifests alike
    docker/registry/v2/repositories/NAME/_layers/sha256/HEX/link      the repository has this blob
                                        /_manifests/revisions/sha256/HEX/link   ... this manifest
                                        /_manifests/tags/TAG/current/link       ... this tag

Nothing in it is believed: what is no name, tag or digest is left out and named by ``odd``.
"""

from __future__ import annotations

import os

from cais.catalog import names
from cais.errors import CaisError, Invalid, from_os_error
from cais.spec.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_BELOW = os.path.join("docker", "registry", "v2")
_LINK_LIMIT_BYTES = 200


class DockerStorage:
    """``odd`` collects paths that were left out because they are not what they should be."""

    def __init__(self, root: str) -> None:
        """``root`` is what the registry calls its ``rootdirectory``. Raises Invalid: there is no storage below it."""
        self.odd: list[str] = []
        for candidate in (os.path.join(root, _BELOW), root):
            if os.path.isdir(os.path.join(candidate, "repositories")):
                self._root = candidate
                return
        raise Invalid(
            f"{root} holds no storage of a docker-registry: there is no {_BELOW}/repositories in it",
            hint="Name the directory that its configuration calls rootdirectory (/var/lib/registry in its image).",
        )

    def repositories(self) -> Iterator[str]:
        """Their names, sorted."""
        top = os.path.join(self._root, "repositories")
        for directory, below, _ in os.walk(top):
            found = "_manifests" in below or "_layers" in below
            below[:] = sorted(name for name in below if not name.startswith("_"))
            if found:
                name = os.path.relpath(directory, top)
                try:
                    yield names.repository_name(name)
                except CaisError:
                    self.odd.append(directory)

    def blobs(self, repository: str) -> Iterator[Digest]:
        """What the repository has beside its manifests; manifests may stand here, too."""
        return self._links(repository, "_layers")

    def manifests(self, repository: str) -> Iterator[Digest]:
        """All its manifests and indexes, tagged or not."""
        return self._links(repository, "_manifests", "revisions")

    def tags(self, repository: str) -> Iterator[tuple[str, Digest]]:
        """Each tag, with the digest that it names."""
        directory = self._repository(repository, "_manifests", "tags")
        for tag in _listed(directory):
            path = os.path.join(directory, tag, "current", "link")
            digest = self._link(path)
            try:
                if digest is not None:
                    yield names.tag_name(tag), digest
            except CaisError:
                self.odd.append(path)

    def blob_path(self, digest: Digest) -> str:
        """The file of its bytes, whether it is there or not."""
        return os.path.join(self._root, "blobs", digest.algorithm, digest.hex[:2], digest.hex, "data")

    def _repository(self, repository: str, *below: str) -> str:
        return os.path.join(self._root, "repositories", repository, *below)

    def _links(self, repository: str, *below: str) -> Iterator[Digest]:
        directory = self._repository(repository, *below)
        for algorithm in _listed(directory):
            for name in _listed(os.path.join(directory, algorithm)):
                # What was deleted keeps its directory without the link.
                digest = self._link(os.path.join(directory, algorithm, name, "link"))
                if digest is not None and digest == f"{algorithm}:{name}":
                    yield digest

    def _link(self, path: str) -> Digest | None:
        try:
            with open(path, "rb") as file:
                return Digest.parse(file.read(_LINK_LIMIT_BYTES).decode("ascii", "replace").strip())
        except FileNotFoundError:
            return None
        except (Invalid, NotADirectoryError, IsADirectoryError):
            self.odd.append(path)
            return None
        except OSError as error:
            raise from_os_error(error, f"read {path}")


def _listed(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise from_os_error(error, f"read {directory}")
