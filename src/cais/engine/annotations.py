"""Annotations of images: ``--annotation`` and ``--output annotation..=``, as buildx has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cais.errors import Invalid
from cais.spec.named import NamedTuple
from cais.spec.platform import Platform

KINDS = ("manifest", "index", "manifest-descriptor", "index-descriptor")
_ARGUMENT_RE = re.compile(r"(?:([^:=\s]+):)?([^\s=:][^\s=]*)=(.*)", re.DOTALL)
_TYPE_RE = re.compile(r"([a-z-]+)(?:\[([A-Za-z0-9_/-]+)\])?")
_OPTION_RE = re.compile(r"annotation(?:-([a-z-]+))?(?:\[([A-Za-z0-9_/-]+)\])?\.(\S+)")


class Annotation(NamedTuple):
    """``kind`` says what is annotated; ``platform`` which of the manifests, None all of them."""

    kind: str
    platform: Platform | None
    key: str
    value: str


def parse_annotations(texts: Iterable[str]) -> list[Annotation]:
    """``[KIND[PLATFORM][,KIND..]:]KEY=VALUE``, each; without a kind the manifest is meant. Raises Invalid."""
    return [annotation for text in texts if text for annotation in _parse(text)]


def _parse(text: str) -> list[Annotation]:
    if "=" not in text:
        raise Invalid(f'invalid annotation "{text}", expected key=value')
    match = _ARGUMENT_RE.fullmatch(text)
    if match is None:
        raise Invalid(f'invalid annotation format, expected <type>:<key>=<value>, got "{text}"')
    types, key, value = match.groups()
    found = []
    for part in types.split(",") if types else ("manifest",):
        meant = _TYPE_RE.fullmatch(part)
        if meant is None:
            raise Invalid(
                f'invalid annotation type "{part}", expected type and optional platform in square brackets',
                hint=f"The types are: {', '.join(KINDS)}.",
            )
        found.append(_annotation(meant[1], meant[2], key, value))
    return found


def annotation_option(key: str, value: str) -> Annotation:
    """An option of ``--output``, ``annotation[-KIND][[PLATFORM]].KEY``. Raises Invalid."""
    match = _OPTION_RE.fullmatch(key)
    if match is None:
        raise Invalid(f"invalid annotation option {key!r}", hint="As in annotation.KEY= or annotation-index.KEY=.")
    return _annotation(match[1] or "manifest", match[2], match[3], value)


def _annotation(kind: str, platform: str | None, key: str, value: str) -> Annotation:
    if kind not in KINDS:
        raise Invalid(f'unknown annotation type "{kind}"', hint=f"The types are: {', '.join(KINDS)}.")
    try:
        return Annotation(kind, Platform.parse(platform) if platform else None, key, value)
    except Invalid as error:
        error.message = f'invalid platform "{platform}" in an annotation: {error.message}'
        raise


def check_annotations(annotations: Sequence[Annotation], platforms: int) -> None:
    """Raises Invalid for those of an index where there will be none."""
    if platforms == 1 and any(item.kind.startswith("index") for item in annotations):
        raise Invalid(
            "index annotations not supported for single platform export",
            hint="An index is made of several platforms: --platform linux/amd64,linux/arm64.",
        )
