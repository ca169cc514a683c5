from __future__ import annotations

from cais.engine.schema import SCHEMAS
from cais.engine.stores import SCHEMA_VERSION


def test_the_version_is_the_number_of_all_steps():
    assert sum(len(steps) for steps in SCHEMAS.values()) == SCHEMA_VERSION
