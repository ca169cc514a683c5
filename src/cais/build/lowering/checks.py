"""What in a Dockerfile deserves a warning by its text alone: BuildKit's checks, under their names.

``# check=skip=Name,Name`` (or ``skip=all``) leaves some out, ``# check=error=true`` makes errors of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cais.build.dockerfile.errors import DockerfileError, Span
from cais.build.dockerfile.instructions import (
    SHELL,
    Arg,
    Cmd,
    Entrypoint,
    Env,
    From,
    Healthcheck,
    Label,
    Maintainer,
    Shell,
)
from cais.build.dockerfile.parser import Dockerfile
from cais.build.lowering.result import Warned
from cais.build.secret_names import looks_secret

_RESERVED_STAGES = frozenset(("scratch", "context"))
_ONCE: tuple[tuple[type, str], ...] = ((Cmd, "CMD"), (Entrypoint, "ENTRYPOINT"), (Healthcheck, "HEALTHCHECK"))


def check(dockerfile: Dockerfile) -> list[Warned]:
    """The warnings, in no particular order."""
    return [*_text(dockerfile), *_stages(dockerfile), *_instructions(dockerfile)]


def heeded(dockerfile: Dockerfile, warnings: Iterable[Warned]) -> tuple[Warned, ...]:
    """``warnings`` by line, each once, without those that ``# check=skip=`` leaves out.

    Raises DockerfileError when ``# check=error=true`` and there are some of the Dockerfile's own.
    """
    options = {"skip": "", "error": ""}
    for option in dockerfile.lexed.directives.get("check", "").split(";"):
        name, _, value = option.partition("=")
        options[name.strip().lower()] = value.strip().lower()
    skipped = {item.strip() for item in options["skip"].split(",")}
    found = [
        warned
        for warned in dict.fromkeys(warnings)
        if not warned.line or ("all" not in skipped and warned.code.lower() not in skipped)
    ]
    found.sort(key=lambda warned: warned.line or 1 << 30)
    rules = sorted({warned.code for warned in found if warned.line})
    if rules and options["error"] == "true":
        line = found[0].line
        raise DockerfileError(f"lint violation found for rules: {', '.join(rules)}", Span(line, line))
    return tuple(found)


def _text(dockerfile: Dockerfile) -> Iterator[Warned]:
    upper = lower = 0
    statements = dockerfile.lexed.statements
    for statement in statements:
        upper += statement.keyword.isupper()
        lower += statement.keyword.islower()
        if statement.empty_continuation:
            yield Warned("NoEmptyContinuation", "Empty continuation line", statement.span.last_line)
    if upper + lower == len(statements) and not (upper and lower):
        return
    casing = "uppercase" if upper >= lower else "lowercase"
    for statement in statements:
        if statement.keyword != (statement.keyword.upper() if upper >= lower else statement.keyword.lower()):
            yield Warned(
                "ConsistentInstructionCasing",
                f"Command '{statement.keyword}' should match the case of the command majority ({casing})",
                statement.span.first_line,
            )


def _stages(dockerfile: Dockerfile) -> Iterator[Warned]:
    seen: set[str] = set()
    for stage in dockerfile.stages:
        head = stage.head
        line = head.span.first_line
        yield from _platform(head)
        if not head.name:
            continue
        if head.name in _RESERVED_STAGES:
            yield Warned(
                "ReservedStageName", f'Stage name should not use the same name as reserved stage "{head.name}"', line
            )
        if head.name in seen:
            yield Warned(
                "DuplicateStageName", f"Duplicate stage name '{head.name}', stage names should be unique", line
            )
        seen.add(head.name)
        if head.name_as_written != head.name:
            yield Warned("StageNameCasing", f"Stage name '{head.name_as_written}' should be lowercase", line)
        from_keyword = head.text[:4]
        if from_keyword.isupper() != head.as_keyword.isupper():
            yield Warned(
                "FromAsCasing", f"'{head.as_keyword}' and '{from_keyword}' keywords' casing do not match", line
            )


def _platform(head: From) -> Iterator[Warned]:
    if head.platform in ("$TARGETPLATFORM", "${TARGETPLATFORM}"):
        yield Warned(
            "RedundantTargetPlatform",
            f"Setting platform to predefined {head.platform} in FROM is redundant as this is the default behavior",
            head.span.first_line,
        )
    elif head.platform and "$" not in head.platform:
        architecture = head.platform.rpartition("/")[2]
        if not head.name or architecture not in head.name:
            yield Warned(
                "FromPlatformFlagConstDisallowed",
                f'FROM --platform flag should not use constant value "{head.platform}"',
                head.span.first_line,
            )


def _instructions(dockerfile: Dockerfile) -> Iterator[Warned]:
    for stage in dockerfile.stages:
        shell_given = False
        last: dict[type, int] = {}
        for item in stage.instructions:
            line = item.span.first_line
            shell_given = shell_given or isinstance(item, Shell)
            if isinstance(item, Maintainer):
                yield Warned(
                    "MaintainerDeprecated",
                    "Maintainer instruction is deprecated in favor of using label",
                    line,
                )
            elif isinstance(item, (Env, Label)):
                if any(pair.legacy for pair in item.pairs):
                    name = "ENV" if isinstance(item, Env) else "LABEL"
                    yield Warned(
                        "LegacyKeyValueFormat",
                        f'"{name} key=value" should be used instead of legacy "{name} key value" format',
                        line,
                    )
                if isinstance(item, Env):
                    yield from _secrets("ENV", [pair.key for pair in item.pairs], line)
            elif isinstance(item, Arg):
                yield from _secrets("ARG", [name for name, _ in item.pairs], line)
            elif isinstance(item, (Cmd, Entrypoint)) and item.command.form == SHELL and not shell_given:
                name = "CMD" if isinstance(item, Cmd) else "ENTRYPOINT"
                yield Warned(
                    "JSONArgsRecommended",
                    f"JSON arguments recommended for {name} to prevent unintended behavior related to OS signals",
                    line,
                )
            for kind, name in _ONCE:
                if isinstance(item, kind):
                    if kind in last:
                        yield Warned(
                            "MultipleInstructionsDisallowed",
                            f"Multiple {name} instructions should not be used in the same stage because only the last "
                            "one will be used",
                            last[kind],
                        )
                    last[kind] = line


def _secrets(keyword: str, names: list[str], line: int) -> Iterator[Warned]:
    for name in names:
        if looks_secret(name):
            yield Warned(
                "SecretsUsedInArgOrEnv",
                f'Do not use ARG or ENV instructions for sensitive data ({keyword} "{name}")',
                line,
            )
