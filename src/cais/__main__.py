"""``python -m cais``: the same as the command."""

from __future__ import annotations

from cais.cli import main

raise SystemExit(main())
