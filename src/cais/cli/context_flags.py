"""What the commands on contexts share: the flags of an endpoint, and the user's contexts."""

from __future__ import annotations

import os
import sys

from cais.cli.declare import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call
    from cais.engine.contexts import Contexts, Endpoint

ENDPOINT_HELP = """

Endpoint config (--docker and --cais take the same keys):

NAME                DESCRIPTION
from                Copy named context's endpoint configuration
host                Host to run on: ssh://[USER@]HOST[:PORT]
root                Root directory that holds images and containers there
program             Path of cais there, if it is not on the PATH of ssh"""

ENDPOINT = (
    Flag("cais", "", "stringArray", "set the endpoint: host, root, program (comma separated)"),
    Flag("description", "", "string", "Description of the context"),
    Flag("docker", "", "stringArray", "set the docker endpoint: host (comma separated)"),
)


def contexts() -> Contexts:
    """The user's."""
    from cais.engine.contexts import Contexts
    from cais.settings import config_directory

    return Contexts(config_directory(os.environ))


def endpoint_of(call: Call, known: Contexts) -> Endpoint:
    """Raises Invalid, NotFound, Unsupported."""
    from cais.engine.contexts import parse_endpoint

    return parse_endpoint([*call["docker"], *call["cais"]], known.get)


def done(name: str, line: str) -> int:
    """The name for programs, a line for people."""
    sys.stdout.write(f"{name}\n")
    sys.stdout.flush()
    sys.stderr.write(f"{line}\n")
    return 0
