"""Rules that look at the text: of the whole file, and of its FROM lines. One function each."""

from __future__ import annotations

from collections.abc import Mapping

from cais.build.checks.report import Checks
from cais.build.dockerfile.errors import Span, nearest
from cais.build.dockerfile.expand import Expansion, ExpansionError, expand
from cais.build.dockerfile.instructions import Arg, From, Maintainer
from cais.build.dockerfile.lexer import Statement
from cais.build.dockerfile.parser import Dockerfile
from cais.errors import Invalid
from cais.spec.platform import Platform

_RESERVED_STAGES = frozenset(("scratch", "context"))


def check_text(dockerfile: Dockerfile, checks: Checks) -> None:
    """All rules that need nothing but the text; a stage need not be wanted by anything to be looked at."""
    for rule in _TEXT:
        rule(dockerfile, checks)
    if checks.options.wants("InvalidDefinitionDescription"):
        invalid_definition_description(dockerfile, checks)


def check_heads(
    dockerfile: Dockerfile, checks: Checks, arguments: Mapping[str, str], defaults: Mapping[str, str] | None
) -> None:
    """The rules of FROM lines. ``arguments`` is what they see; ``defaults`` the same had nothing been given.

    ``defaults`` of None: they cannot be made, which is said elsewhere.
    """
    declared = {name for instruction in dockerfile.globals for name, _ in instruction.pairs}
    for stage in dockerfile.stages:
        head = stage.head
        if defaults is not None:
            invalid_default_arg_in_from(dockerfile, head, checks, defaults)
        if "$" not in head.base and not head.platform:
            continue
        undefined_arg_in_from(dockerfile.escape, head, checks, arguments, declared)
        platform = _expanded(head.platform, arguments, dockerfile.escape) if head.platform else None
        if platform is not None:
            redundant_target_platform(head, checks, platform, arguments)
            from_platform_flag_const_disallowed(head, checks, platform)


def no_empty_continuation(dockerfile: Dockerfile, checks: Checks) -> None:
    for statement in dockerfile.lexed.statements:
        if statement.empty_continuation:
            last = statement.span.last_line
            checks.warn("NoEmptyContinuation", "Empty continuation line", Span(last, last))


def consistent_instruction_casing(dockerfile: Dockerfile, checks: Checks) -> None:
    """ARGs above the first FROM neither count nor are looked at."""
    statements = dockerfile.lexed.statements[len(dockerfile.globals) :]
    lower = sum(statement.keyword == statement.keyword.lower() for statement in statements)
    upper = sum(statement.keyword == statement.keyword.upper() for statement in statements)
    if len(statements) in (lower, upper):
        return
    casing = "lowercase" if lower > upper else "uppercase"
    for statement in statements:
        keyword = statement.keyword
        if keyword != (keyword.lower() if lower > upper else keyword.upper()):
            checks.warn(
                "ConsistentInstructionCasing",
                f"Command '{keyword}' should match the case of the command majority ({casing})",
                statement.span,
            )


def stage_name_casing(dockerfile: Dockerfile, checks: Checks) -> None:
    for stage in dockerfile.stages:
        if stage.head.name_as_written != stage.name:
            checks.warn(
                "StageNameCasing", f"Stage name '{stage.head.name_as_written}' should be lowercase", stage.head.span
            )


def from_as_casing(dockerfile: Dockerfile, checks: Checks) -> None:
    """A FROM that is neither in lower nor in upper case is the business of ConsistentInstructionCasing."""
    for stage in dockerfile.stages:
        keyword, word = written_keyword(stage.head.text), stage.head.as_keyword
        if not word or keyword not in (keyword.lower(), keyword.upper()):
            continue
        if word != (word.lower() if keyword == keyword.lower() else word.upper()):
            checks.warn("FromAsCasing", f"'{word}' and '{keyword}' keywords' casing do not match", stage.head.span)


def reserved_stage_name(dockerfile: Dockerfile, checks: Checks) -> None:
    for stage in dockerfile.stages:
        if stage.name in _RESERVED_STAGES:
            checks.warn(
                "ReservedStageName",
                f'Stage name should not use the same name as reserved stage "{stage.name}"',
                stage.head.span,
            )


def duplicate_stage_name(dockerfile: Dockerfile, checks: Checks) -> None:
    seen: set[str] = set()
    for stage in dockerfile.stages:
        if stage.name and stage.name in seen:
            checks.warn(
                "DuplicateStageName",
                f'Duplicate stage name "{stage.name}", stage names should be unique',
                stage.head.span,
            )
        seen.add(stage.name)


def maintainer_deprecated(dockerfile: Dockerfile, checks: Checks) -> None:
    for instruction in dockerfile.instructions:
        if isinstance(instruction, Maintainer):
            checks.warn(
                "MaintainerDeprecated", "Maintainer instruction is deprecated in favor of using label", instruction.span
            )


def invalid_definition_description(dockerfile: Dockerfile, checks: Checks) -> None:
    """A comment right above a FROM with a name, or above an ARG, begins with that name."""
    above = comments_above(dockerfile)
    for instruction in dockerfile.instructions:
        if isinstance(instruction, From):
            keyword, names = "FROM", [instruction.name] if instruction.name else []
        elif isinstance(instruction, Arg):
            keyword, names = "ARG", [name for name, _ in instruction.pairs]
        else:
            continue
        comments = above.get(instruction.span.first_line)
        if not comments or not names or comments[-1].split(" ")[0] in names:
            continue
        example = names[0] if len(names) == 1 else "<arg_key>"
        checks.warn(
            "InvalidDefinitionDescription",
            f"Comment for {keyword} should follow the format: `# {example} <description>`",
            instruction.span,
        )


def invalid_default_arg_in_from(
    dockerfile: Dockerfile, head: From, checks: Checks, defaults: Mapping[str, str]
) -> None:
    if "$" not in head.base:
        return
    expanded = _expanded(head.base, defaults, dockerfile.escape)
    if expanded is None or any(stage.name == expanded.text.lower() for stage in dockerfile.stages if stage.name):
        return
    from cais.spec.reference import Reference

    try:
        Reference.parse(expanded.text)
    except Invalid:
        checks.warn(
            "InvalidDefaultArgInFrom",
            f"Default value for ARG {head.base} results in empty or invalid base image name",
            head.span,
        )


def undefined_arg_in_from(
    escape: str, head: From, checks: Checks, arguments: Mapping[str, str], declared: set[str]
) -> None:
    """An ARG without a value is declared all the same."""
    for text in (head.base, head.platform):
        expanded = _expanded(text, arguments, escape)
        for name in sorted(expanded.unset - declared) if expanded is not None else ():
            near = nearest(name, [*declared, *arguments])
            meant = f" (did you mean {near}?)" if near else ""
            checks.warn("UndefinedArgInFrom", f"FROM argument '{name}' is not declared{meant}", head.span)


def redundant_target_platform(head: From, checks: Checks, platform: Expansion, arguments: Mapping[str, str]) -> None:
    if platform.used == {"TARGETPLATFORM"} and not platform.unset and platform.text == arguments["TARGETPLATFORM"]:
        checks.warn(
            "RedundantTargetPlatform",
            f"Setting platform to predefined {head.platform} in FROM is redundant as this is the default behavior",
            head.span,
        )


def from_platform_flag_const_disallowed(head: From, checks: Checks, platform: Expansion) -> None:
    """A stage whose name says for which platform it is may be for that one."""
    if platform.used or platform.unset or "$" in head.platform:
        return
    try:
        parsed = Platform.parse(platform.text)
    except Invalid:
        return  # said where it is used
    if parsed.os not in head.name and parsed.architecture not in head.name:
        checks.warn(
            "FromPlatformFlagConstDisallowed",
            f'FROM --platform flag should not use constant value "{platform.text}"',
            head.span,
        )


_TEXT = (
    no_empty_continuation,
    consistent_instruction_casing,
    stage_name_casing,
    from_as_casing,
    reserved_stage_name,
    duplicate_stage_name,
    maintainer_deprecated,
)


def written_keyword(text: str) -> str:
    """An instruction's keyword as it stands in the file."""
    return text.split(None, 1)[0]


def comments_above(dockerfile: Dockerfile) -> dict[int, list[str]]:
    """The comments right above each instruction, by its first line; a blank line or an empty comment parts them.

    Parser directives are none.
    """
    found: dict[int, list[str]] = {}
    raw = ""
    first = True
    for part in dockerfile.lexed.parts:
        if not isinstance(part, Statement):
            raw = part.raw
            continue
        comments: list[str] = []
        for line in raw.splitlines():
            comment = line.strip().removeprefix("#").strip()
            if not comment:
                comments.clear()
            elif not (first and comment.partition("=")[0].strip().lower() in dockerfile.lexed.directives):
                comments.append(comment)
        if comments:
            found[part.span.first_line] = comments
        raw, first = "", False
    return found


def _expanded(text: str, arguments: Mapping[str, str], escape: str) -> Expansion | None:
    """None where it cannot be expanded, which is said where it is used."""
    try:
        return expand(text, arguments, escape=escape)
    except ExpansionError:
        return None
