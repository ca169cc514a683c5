"""Looking at a Dockerfile without building: the build checks, its targets, what a target takes.

The base images need not be here: what only they could tell is left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from cais.build.checks.report import Checks
from cais.build.checks.rules import RULES
from cais.build.checks.text import check_text
from cais.build.dockerfile.errors import Located, ParseError, Span, marked_lines
from cais.build.dockerfile.parser import Dockerfile, parse
from cais.build.lower import Lowering
from cais.build.outline import Outline, Target
from cais.engine.build_bases import Bases
from cais.engine.build_input import BuildInput, open_input
from cais.engine.build_options import BuildOptions, platforms
from cais.engine.build_settings import run_settings
from cais.engine.build_sources import Sources
from cais.engine.stores import Stores
from cais.errors import CaisError, NotFound
from cais.spec.image_config import ImageConfig
from cais.spec.named import NamedTuple
from cais.spec.platform import Platform


class Finding(NamedTuple):
    """What a rule found. ``description`` is the rule's, ``message`` is about the lines; ``page`` explains the rule."""

    rule: str
    description: str
    page: str
    message: str
    first_line: int
    last_line: int


class CheckReport(NamedTuple):
    """``error`` is why the Dockerfile cannot be built, or that its findings are errors; ``source`` its text."""

    findings: tuple[Finding, ...]
    error: CaisError | None
    dockerfile_name: str
    source: bytes

    def marked_lines(self, first_line: int, last_line: int) -> str:
        """These lines and those around them, as an error shows them."""
        return marked_lines(self.dockerfile_name, self.source, Span(first_line, last_line))


def check(stores: Stores, options: BuildOptions) -> CheckReport:
    """Every rule, in every stage (with ``options.target``, in those that it needs). Raises what opening them raises."""
    with open_input(stores, options, "") as given:
        checks, error = _checked(stores, options, given)
        if isinstance(error, CaisError) and error.span is not None and not error.lines:
            error.lines = marked_lines(given.dockerfile_name, given.source, Span(*error.span))
        return CheckReport(tuple(_findings(checks)), error, given.dockerfile_name, given.source)


def outline(stores: Stores, options: BuildOptions) -> tuple[Outline, bytes]:
    """What the target takes, and the Dockerfile. Raises Invalid."""
    from cais.build.outline import outline as outline_of

    with open_input(stores, options, "") as given:
        dockerfile = parse(given.source)
        checks = Checks.of(dockerfile, options.build_args)
        lowered = lowering(stores, options, dockerfile, checks)
        lowered.lower({}, every_stage=False)
        return outline_of(lowered), given.source


def targets(stores: Stores, options: BuildOptions) -> tuple[list[Target], bytes]:
    """The stages, and the Dockerfile. Raises Invalid."""
    from cais.build.outline import targets as targets_of

    with open_input(stores, options, "") as given:
        return targets_of(parse(given.source)), given.source


def _checked(stores: Stores, options: BuildOptions, given: BuildInput) -> tuple[Checks, CaisError | None]:
    leaves_out = given.contexts.own.leaves_out
    try:
        dockerfile = parse(given.source)
    except Located as error:
        # What stands before it is looked at all the same.
        before = _parsed_before(given.source, error.span[0]) if isinstance(error, ParseError) and error.span else None
        if before is None:
            return Checks(), error
        checks = Checks.of(before, options.build_args, leaves_out)
        check_text(before, checks)
        return checks, error
    checks = Checks.of(dockerfile, options.build_args, leaves_out)
    try:
        lowering(stores, options, dockerfile, checks).lower({}, every_stage=not options.target)
    except CaisError as error:
        return checks, error
    return checks, None


def _parsed_before(source: bytes, line: int) -> Dockerfile | None:
    try:
        return parse(b"".join(source.splitlines(keepends=True)[: line - 1]))
    except CaisError:
        return None


def lowering(stores: Stores, options: BuildOptions, dockerfile: Dockerfile, checks: Checks) -> Lowering:
    """To be lowered without the base images: of one that is not here nothing is known."""
    sources = Sources(stores, options)
    bases = Bases(stores, sources.layouts)

    def base(reference: str, platform: Platform) -> ImageConfig:
        try:
            return bases.config(reference, platform)
        except NotFound:
            checks.unknown.add(reference)
            return ImageConfig({})

    return Lowering(
        dockerfile,
        base,
        platforms(options.platform, stores.platform)[0],
        stores.platform,
        dict(options.build_args),
        options.target,
        run_settings(options),
        dict(sources.lowered),
        False,
        checks,
    )


def _findings(checks: Checks) -> Iterator[Finding]:
    for warned in checks.heeded:
        if warned.line:
            rule = RULES.get(warned.code)
            yield Finding(
                warned.code,
                rule.description if rule else "",
                rule.page if rule else "",
                warned.message,
                warned.line,
                warned.last_line or warned.line,
            )
