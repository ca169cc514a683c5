"""The files that the flags of run, create and exec name, for who runs the command on another host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cais.container.options import RunOptions, parse_environment, read_pairs


def environment_of(files: Sequence[str], items: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """``NAME=value``, from files first; a lone name is one that is to be unset. Raises NotFound, Invalid."""
    return parse_environment(RunOptions("", env=items, env_files=files, environ=environ))


def label_lines(files: Sequence[str]) -> list[str]:
    """The lines of label files. Raises NotFound, Invalid."""
    return [line for path in files for line in read_pairs(path, None)]
