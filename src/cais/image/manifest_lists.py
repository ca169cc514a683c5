"""Manifest lists that are being put together: which manifests, where they came from, and for which platforms.

They are facts of their own, unknown to ``image ls``: what is pushed is an index made of them.
"""

from __future__ import annotations

from cais.errors import Conflict, Invalid, NotFound
from cais.spec import encoding
from cais.spec import media_types as types
from cais.spec.named import NamedTuple
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from cais.host.database import Database

SCHEMA = (
    """CREATE TABLE manifest_lists (
        list TEXT NOT NULL,
        member TEXT NOT NULL,
        position INTEGER NOT NULL,
        descriptor TEXT NOT NULL,
        manifest BLOB NOT NULL,
        PRIMARY KEY (list, member)
    ) WITHOUT ROWID""",
)

# What Go knows, and so what Docker lets stand in a list.
_SYSTEMS = {
    "aix": "ppc64", "android": "386 amd64 arm arm64", "darwin": "386 amd64 arm arm64", "dragonfly": "amd64",
    "freebsd": "386 amd64 arm arm64", "js": "wasm",
    "linux": "386 amd64 arm arm64 loong64 ppc64 ppc64le mips64 mips64le mips mipsle riscv64 s390x",
    "netbsd": "386 amd64 arm", "openbsd": "386 amd64 arm", "plan9": "386 amd64 arm", "solaris": "amd64",
    "wasip1": "wasm", "windows": "386 amd64 arm arm64",
}  # fmt: skip
_PLATFORM_KEYS = ("architecture", "os", "os.version", "os.features", "variant")


class Member(NamedTuple):
    """``reference`` is where the manifest is, ``raw`` its bytes; ``fields`` are those of its descriptor in the list.

    The fields are JSON and no ``Descriptor``: a platform stands there as it was said.
    """

    reference: Reference
    fields: dict[str, Any]
    raw: bytes


class ManifestLists:
    """By the name that they will be pushed to."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def members(self, name: Reference) -> list[Member]:
        """In the order in which they came; [] where there is no such list."""
        rows = self._database.rows(
            "SELECT member, descriptor, manifest FROM manifest_lists WHERE list = ? ORDER BY position", (str(name),)
        )
        return [Member(Reference.parse(row[0]), encoding.decode(row[1]), bytes(row[2])) for row in rows]

    def create(self, name: Reference, members: Sequence[Member], *, amend: bool = False) -> None:
        """A list of these; with ``amend``, of these and those that it has. Raises Conflict where it is there."""
        with self._database.transaction() as change:
            known = change.row("SELECT max(position) FROM manifest_lists WHERE list = ?", (str(name),))[0]
            if known is not None and not amend:
                raise Conflict("refusing to amend an existing manifest list with no --amend flag")
            first = 0 if known is None else known + 1
            change.execute_many(
                "INSERT OR REPLACE INTO manifest_lists VALUES (?, ?, ?, ?, ?)",
                [
                    (str(name), str(member.reference), first + number, _text(member.fields), member.raw)
                    for number, member in enumerate(members)
                ],
            )

    def annotate(self, name: Reference, member: Reference, platform: dict[str, Any]) -> None:
        """What the list says of a member's platform, added to what it says already.

        Raises NotFound, Invalid (a platform that there is not).
        """
        with self._database.transaction() as change:
            found = [item for item in self.members(name) if item.reference == member]
            if not found:
                raise NotFound(f"manifest for image {member.familiar} does not exist in {name.familiar}")
            fields = found[0].fields
            said = {**fields.get("platform", {}), **platform}
            system, architecture = str(said.get("os", "")), str(said.get("architecture", ""))
            if architecture not in _SYSTEMS.get(system, "").split():
                raise Invalid(f"manifest entry for image has unsupported os/arch combination: {system}/{architecture}")
            fields["platform"] = {key: said[key] for key in _PLATFORM_KEYS if said.get(key)}
            change.execute(
                "UPDATE manifest_lists SET descriptor = ? WHERE list = ? AND member = ?",
                (_text(fields), str(name), str(member)),
            )

    def remove(self, name: Reference) -> None:
        """Raises NotFound."""
        with self._database.transaction() as change:
            removed = change.execute("DELETE FROM manifest_lists WHERE list = ?", (str(name),))
        if not removed:
            raise NotFound(f"No such manifest: {name.familiar}")


def document_of(members: Sequence[Member]) -> tuple[str, bytes]:
    """Media type and bytes of what is pushed: an OCI index where the first manifest is OCI's, else a list of Docker's.

    With Docker's own spaces, so that its digest is the one that Docker gives the same list.
    """
    import json

    oci = members[0].fields["mediaType"] == types.OCI_MANIFEST
    media_type = types.OCI_INDEX if oci else types.DOCKER_INDEX
    fields = {"schemaVersion": 2, "mediaType": media_type, "manifests": [member.fields for member in members]}
    return media_type, json.dumps(fields, indent=3, ensure_ascii=False).encode()


def _text(fields: dict[str, Any]) -> str:
    return encoding.encode(fields).decode()
