"""What the rules find, and what of it counts.

``# check=skip=Name,Name;error=true;experimental=Name`` (``all`` for every name), in any order. The build argument
``BUILDKIT_DOCKERFILE_CHECK`` stands in its place. Names that no rule has mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cais.build.dockerfile.errors import DockerfileError, Span
from cais.build.dockerfile.parser import Dockerfile
from cais.build.lowering.result import Warned
from cais.errors import Invalid
from cais.spec.named import NamedTuple

ARGUMENT = "BUILDKIT_DOCKERFILE_CHECK"
# Found only where they are asked for.
EXPERIMENTAL = frozenset(("CopyIgnoredFile", "InvalidDefinitionDescription"))
_ALL = frozenset(("all",))
_YES = ("1", "t", "T", "TRUE", "true", "True")
_NO = ("0", "f", "F", "FALSE", "false", "False")


class CheckOptions(NamedTuple):
    """``skip`` and ``experimental`` are names of rules, or ``all`` alone. ``error``: what is found fails the build."""

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False

    @classmethod
    def parse(cls, text: str) -> CheckOptions:
        """The value of ``# check=``. Raises Invalid, with BuildKit's words."""
        options = cls()
        if not text.strip():
            return options
        for part in text.strip().split(";", 2):
            key, equals, value = part.partition("=")
            key, value = key.strip(), value.strip()
            if not equals:
                raise _bad(f'invalid check option "{part}"')
            names = _ALL if value == "all" else frozenset(name.strip() for name in value.split(","))
            if key == "skip":
                options = options._replace(skip=names)
            elif key == "experimental":
                options = options._replace(experimental=names)
            elif key == "error":
                if value not in (*_YES, *_NO):
                    raise _bad(f'failed to parse check option "{part}": invalid syntax "{value}"')
                options = options._replace(error=value in _YES)
            else:
                raise _bad(f'invalid check option "{key}"')
        return options

    def wants(self, rule: str) -> bool:
        """Whether what ``rule`` finds is shown."""
        if rule in EXPERIMENTAL:
            return self.experimental is _ALL or rule in self.experimental
        return self.skip is not _ALL and rule not in self.skip


_NONE = CheckOptions()


class Checks:
    """Gathers what is found in one Dockerfile, however often and for however many platforms it is lowered.

    ``ignores`` says of a path whether the context leaves it out. Images in ``unknown`` are not here: what only their
    config could tell is not looked for.
    """

    __slots__ = ("_found", "_ignores", "options", "unknown")

    def __init__(self, options: CheckOptions = _NONE, ignores: Callable[[str], bool] | None = None) -> None:
        self.options = options
        self.unknown: set[str] = set()
        self._found: dict[Warned, None] = {}
        self._ignores = ignores

    @classmethod
    def of(
        cls,
        dockerfile: Dockerfile,
        build_args: Mapping[str, str],
        ignores: Callable[[str], bool] | None = None,
    ) -> Checks:
        """Those that the Dockerfile, or the build argument, asks for. Raises Invalid."""
        text = build_args.get(ARGUMENT)
        return cls(CheckOptions.parse(dockerfile.lexed.directives.get("check", "") if text is None else text), ignores)

    def add(self, warned: Warned) -> None:
        self._found[warned] = None

    def warn(self, rule: str, message: str, span: Span) -> None:
        self.add(Warned(rule, message, span.first_line, span.last_line))

    def ignored(self, path: str) -> bool:
        """Whether the context leaves ``path`` out, where the rule about that is wanted at all."""
        return self._ignores is not None and self.options.wants("CopyIgnoredFile") and self._ignores(path)

    @property
    def heeded(self) -> tuple[Warned, ...]:
        """What counts, by line; what has none is not about the Dockerfile, counts always, and comes last."""
        found = [warned for warned in self._found if not warned.line or self.options.wants(warned.code)]
        return tuple(sorted(found, key=lambda warned: warned.line or 1 << 30))

    def refuse(self) -> None:
        """Raises DockerfileError when ``error=true`` and something was found in the Dockerfile."""
        found = [warned for warned in self.heeded if warned.line]
        if found and self.options.error:
            rules = ", ".join(sorted({warned.code for warned in found}))
            raise DockerfileError(
                f"lint violation found for rules: {rules}", Span(found[0].line, found[0].last_line or found[0].line)
            )


def _bad(reason: str) -> Invalid:
    return Invalid(
        f"failed to parse check options: {reason}", hint="It is as in # check=skip=JSONArgsRecommended;error=true."
    )
