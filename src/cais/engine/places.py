"""Places: where an image can be copied from and to, as skopeo writes them.

docker://NAME[:TAG|@DIGEST]     a registry
oci:DIRECTORY[:NAME]            an OCI image layout
oci-archive:FILE[:NAME]         an archive of one
docker-archive:FILE[:NAME]      an archive that Docker loads
[cais:]NAME[:TAG]               the images of this root directory
"""

from __future__ import annotations

from cais.errors import Invalid, Unsupported
from cais.spec.named import NamedTuple
from cais.spec.reference import Reference

KINDS = ("docker", "oci", "oci-archive", "docker-archive", "cais")
_OTHERS = frozenset(("dir", "docker-daemon", "containers-storage", "ostree", "sif", "tarball"))


class Place(NamedTuple):
    """``path`` is of a directory or a file; ``name`` what stands behind it, or the whole name of an image."""

    kind: str
    path: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Place:
        """Raises Invalid, Unsupported (a transport of skopeo's that is none of ours, a URL)."""
        kind, colon, rest = text.partition(":")
        if colon and kind not in KINDS and (kind in _OTHERS or rest.startswith("//")):
            raise Unsupported(f"the transport {kind!r} is not known", hint=f"There are: {', '.join(KINDS)}.")
        if not colon or kind not in KINDS:
            return cls("cais", "", text)
        if kind == "docker":
            if not rest.startswith("//"):
                raise Invalid(f"invalid place {text!r}: a name in a registry is written docker://NAME")
            return cls(kind, "", rest[2:])
        if kind == "cais":
            return cls(kind, "", rest)
        path, _, name = rest.partition(":")
        if not path:
            raise Invalid(f"invalid place {text!r}: it has no path")
        return cls(kind, path, name)

    @property
    def reference(self) -> Reference:
        """Of a registry or of this root directory. Raises Invalid."""
        return Reference.parse(self.name)

    def __str__(self) -> str:
        if self.kind in ("docker", "cais"):
            return f"{self.kind}:{'//' if self.kind == 'docker' else ''}{self.name}"
        return f"{self.kind}:{self.path}" + (f":{self.name}" if self.name else "")
