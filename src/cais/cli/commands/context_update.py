"""``cais context update``."""

from __future__ import annotations

from cais.cli.context_flags import ENDPOINT, ENDPOINT_HELP, contexts, done, endpoint_of
from cais.cli.declare import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] CONTEXT",
    "Update a context" + ENDPOINT_HELP,
    arguments=(1, 1),
    complete="context",
    flags=ENDPOINT,
    examples=("cais context update far --docker host=ssh://me@far.example:2222",),
)


def run(call: Call) -> int:
    (name,) = call.arguments
    known = contexts()
    context = known.get(name)
    if "description" in call.said:
        context = context._replace(description=call["description"])
    if call["docker"] or call["cais"]:
        context = context._replace(endpoint=endpoint_of(call, known))
    known.update(context)
    return done(name, f'Successfully updated context "{name}"')
