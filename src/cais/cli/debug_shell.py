"""A shell in a step of a build: what is said around it, and what it needs of this terminal."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cais.cli.progress import Display
    from cais.engine.build_debug import Place
    from cais.errors import CaisError


def has_terminal() -> bool:
    return os.isatty(0) and os.isatty(1)


def on_failure(shown: Display, tell: Callable[[CaisError], None], shell: str) -> Callable[[Place], None]:
    """For ``build --on-error=shell``: what failed is told, then there is a shell; the build fails after it."""

    def open_shell(place: Place) -> None:
        from cais.cli.call import error_text
        from cais.errors import CaisError

        shown.close()
        assert place.error is not None
        tell(place.error)
        if not has_terminal():
            sys.stderr.write(
                "--on-error=shell needs a terminal as standard input and output, and there is none. To look at the "
                "state before the step: cais builder debug STEP --command COMMAND.\n"
            )
            return
        try:
            interactive(place, shell)
        except CaisError as error:
            sys.stderr.write(error_text(error) + "\n")

    return open_shell


def interactive(place: Place, shell: str) -> int:
    """A shell on this terminal; its exit code."""
    when = "before" if place.is_before else "after"
    if place.error is not None:
        when = "as it was left by"
    sys.stderr.write(f"\nA shell {when} {place.title}; what is changed in it is thrown away. Leave it with exit.\n")
    sys.stderr.flush()
    return place.run((shell or place.shell,), terminal=True)
