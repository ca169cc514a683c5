"""``--platform`` as a value."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.spec.platform import Platform


def chosen(text: str) -> Platform | None:
    """None where none was said. Raises Invalid."""
    if not text:
        return None
    from cais.spec.platform import Platform

    return Platform.parse(text)
