"""Rules that look at one instruction of a stage that is lowered. One function each."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from cais.build.checks.report import Checks
from cais.build.checks.text import written_keyword
from cais.build.dockerfile.errors import Span
from cais.build.dockerfile.instructions import (
    SHELL,
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Healthcheck,
    Instruction,
    Label,
)
from cais.build.lowering.gotext import quoted
from cais.build.secret_names import WORDS
from cais.spec.platform import Platform

# A name with one of them is not the secret, but where it is, or about it.
_HARMLESS_WORDS = frozenset(("public", "file", "version"))


def check_step(instruction: Instruction, checks: Checks, *, shell: bool, once: dict[type, Span]) -> None:
    """The rules that need no value of the stage. ``shell``: its config names one.

    ``once`` is the stage's own, and remembers the instructions of which only the last counts.
    """
    if isinstance(instruction, (Cmd, Entrypoint, Healthcheck)):
        multiple_instructions_disallowed(instruction, checks, once)
        if not isinstance(instruction, Healthcheck) and not shell:
            json_args_recommended(instruction, checks)
    elif isinstance(instruction, (Env, Label)):
        legacy_key_value_format(instruction, checks)
        if isinstance(instruction, Env):
            secrets_used_in_arg_or_env("ENV", [pair.key for pair in instruction.pairs], checks, instruction.span)
    elif isinstance(instruction, Arg):
        secrets_used_in_arg_or_env("ARG", [name for name, _ in instruction.pairs], checks, instruction.span)


def multiple_instructions_disallowed(
    instruction: Cmd | Entrypoint | Healthcheck, checks: Checks, once: dict[type, Span]
) -> None:
    """It is about the earlier one, which is without effect."""
    before = once.get(type(instruction))
    if before is not None:
        checks.warn(
            "MultipleInstructionsDisallowed",
            f"Multiple {written_keyword(instruction.text)} instructions should not be used in the same stage because "
            "only the last one will be used",
            before,
        )
    once[type(instruction)] = instruction.span


def json_args_recommended(instruction: Cmd | Entrypoint, checks: Checks) -> None:
    if instruction.command.form == SHELL:
        checks.warn(
            "JSONArgsRecommended",
            f"JSON arguments recommended for {written_keyword(instruction.text)} to prevent unintended behavior "
            "related to OS signals",
            instruction.span,
        )


def legacy_key_value_format(instruction: Env | Label, checks: Checks) -> None:
    if any(pair.legacy for pair in instruction.pairs):
        keyword = written_keyword(instruction.text)
        checks.warn(
            "LegacyKeyValueFormat",
            f'"{keyword} key=value" should be used instead of legacy "{keyword} key value" format',
            instruction.span,
        )


def secrets_used_in_arg_or_env(keyword: str, names: Iterable[str], checks: Checks, span: Span) -> None:
    for name in names:
        words = frozenset(name.lower().split("_"))
        if WORDS & words and not _HARMLESS_WORDS & words:
            checks.warn(
                "SecretsUsedInArgOrEnv",
                f"Do not use ARG or ENV instructions for sensitive data ({keyword} {quoted(name)})",
                span,
            )


def workdir_relative_path(path: str, checks: Checks, span: Span) -> None:
    """To be asked about the first WORKDIR of a stage and of those that it stands on; the others depend on that one."""
    if not path.startswith("/"):
        checks.warn(
            "WorkdirRelativePath",
            f"Relative workdir {quoted(path)} can have unexpected results if the base image changes",
            span,
        )


def expose_format(word: str, checks: Checks, span: Span) -> None:
    """ExposeProtoCasing and ExposeInvalidFormat: ``word`` is one port as it was expanded."""
    outer, _, inner = word.rpartition(":")
    protocol = inner.partition("/")[2]
    if protocol != protocol.lower():
        checks.warn("ExposeProtoCasing", f"Defined protocol '{word}' in EXPOSE instruction should be lowercase", span)
    if outer.strip(":"):
        checks.warn(
            "ExposeInvalidFormat",
            f"EXPOSE instruction should not define an IP address or host-port mapping, found '{word}'",
            span,
        )


def copy_ignored_file(instruction: Copy | Add, sources: Iterable[str], checks: Checks) -> None:
    """``sources`` are those that come from the build's own context."""
    for source in sources:
        path = posixpath.normpath(source)
        if checks.ignored(path):
            word = "Add" if isinstance(instruction, Add) else "Copy"
            checks.warn(
                "CopyIgnoredFile",
                f"Attempting to {word} file {quoted(path)} that is excluded by .dockerignore",
                instruction.span,
            )


def invalid_base_image_platform(name: str, found: Platform, wanted: Platform, checks: Checks, span: Span) -> None:
    if found.os and found.architecture and (found.os, found.architecture) != (wanted.os, wanted.architecture):
        checks.warn(
            "InvalidBaseImagePlatform",
            f'Base image {name} was pulled with platform "{found}", expected "{wanted}" for current build',
            span,
        )
