"""What ``--build-context NAME=VALUE`` says, as Docker's client reads it."""

from __future__ import annotations

import os

from cais.engine.build_sources import shown_text
from cais.errors import Invalid, NotFound
from cais.spec.reference import Reference

_IMAGE = "docker-image://"
_LAYOUT = "oci-layout://"


def kind_of(name: str, value: str) -> str:
    """``image``, ``layout``, ``directory``, ``git`` or ``http``. Raises Invalid, NotFound with the flag's text."""
    flag = f"(--build-context {name}={shown_text(value)})"
    try:
        Reference.parse(name.partition("::")[0])
    except Invalid as error:
        raise Invalid(f"invalid context name {name}: {error.message} {flag}", hint=error.hint)
    if value.startswith(_IMAGE):
        try:
            Reference.parse(value[len(_IMAGE) :])
        except Invalid as error:
            raise Invalid(f"{error.message} {flag}", hint=error.hint)
        return "image"
    if value.startswith(_LAYOUT):
        return "layout"
    if os.path.isdir(value):
        return "directory"
    from cais.sources.git_urls import parse_git_url
    from cais.sources.urls import is_http

    if not os.path.lexists(value):
        if parse_git_url(value) is not None:
            return "git"
        if is_http(value):
            return "http"
        if "://" in value or value.startswith("target:"):
            raise Invalid(
                f"unsupported context source {value.partition(':')[0]} for {name} {flag}",
                hint="A context is a directory, docker-image://, oci-layout://, a git repository or an archive's URL.",
            )
        raise NotFound(f"failed to get build context {name}: stat {value}: no such file or directory {flag}")
    raise Invalid(f"failed to get build context path {value}: not a directory {flag}")
