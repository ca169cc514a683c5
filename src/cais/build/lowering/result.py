"""What lowering gives."""

from __future__ import annotations

from cais.build.graph import Vertex
from cais.spec.image_config import ImageConfig
from cais.spec.named import NamedTuple
from cais.spec.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HISTORY_COMMENT = "buildkit.dockerfile.v0"


class HistoryEntry(NamedTuple):
    """One instruction in the image's history. ``vertex`` made the layer; None: it has none."""

    created_by: str
    vertex: Vertex | None = None

    def to_json(self, created: str = "") -> dict[str, Any]:
        """As the image config has it (OCI image-spec, config.md)."""
        value: dict[str, Any] = {"created": created} if created else {}
        value["created_by"] = self.created_by
        value["comment"] = HISTORY_COMMENT
        if self.vertex is None:
            value["empty_layer"] = True
        return value


class Warned(NamedTuple):
    """``code`` is the name of the check, where there is one; ``line`` 0 is no line, ``last_line`` 0 the same line."""

    code: str
    message: str
    line: int = 0
    last_line: int = 0


class LoweredStage(NamedTuple):
    """A stage that the target needs, as progress shows it: ``name`` is "" where the file has only one."""

    number: int
    name: str
    steps: int
    first_line: int


class Lowered(NamedTuple):
    """The target stage.

    ``vertex`` is its final file system, None: empty. ``base_reference`` and ``base`` are the image under its first
    layer ("" and None: scratch), whose history and layers come first; ``history`` is what the Dockerfile adds.
    ``base_platform`` is the one that it was asked for. ``run`` is the whole ``config`` object of the new image.
    ``author`` is "" where only the base says one.
    """

    vertex: Vertex | None
    run: dict[str, Any]
    history: tuple[HistoryEntry, ...]
    platform: Platform
    base_reference: str
    base: ImageConfig | None
    author: str
    warnings: tuple[Warned, ...]
    stages: tuple[LoweredStage, ...]
    base_platform: Platform = Platform()

    @property
    def layers(self) -> tuple[Vertex, ...]:
        """The vertices that each add a layer on top of the base, lowest first."""
        return tuple(entry.vertex for entry in self.history if entry.vertex is not None)
