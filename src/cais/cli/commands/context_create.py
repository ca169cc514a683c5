"""``cais context create``."""

from __future__ import annotations

from cais.cli.context_flags import ENDPOINT, ENDPOINT_HELP, contexts, done, endpoint_of
from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] CONTEXT",
    "Create a context" + ENDPOINT_HELP,
    arguments=(1, 1),
    flags=(*ENDPOINT, Flag("from", "", "string", "create context from a named context", complete="context")),
    examples=(
        "cais context create far --docker host=ssh://me@far.example",
        "cais context create test --cais root=/srv/cais-test",
    ),
)


def run(call: Call) -> int:
    from cais.engine.contexts import Context

    (name,) = call.arguments
    known = contexts()
    base = known.get(call["from"]) if call["from"] else Context(name)
    endpoint = endpoint_of(call, known) if call["docker"] or call["cais"] else base.endpoint
    known.create(Context(name, endpoint, call["description"] or base.description))
    return done(name, f'Successfully created context "{name}"')
