"""``python -m cais``: the same as the command."""

from __future__ import annotations

import os
import sys

from cais.cli import main

code = main()
try:
    sys.stdout.flush()
    sys.stderr.flush()
finally:
    os._exit(code)
