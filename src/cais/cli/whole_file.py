"""A file that is under its own name only when it is complete."""

from __future__ import annotations

import os

from cais.errors import NotFound, from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


class WholeFile:
    """``with WholeFile(path) as file``: what is not a plain file (/dev/stdout, a pipe) is written as it is."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._place = os.path.realpath(path)
        self._plain = not os.path.exists(self._place) or os.path.isfile(self._place)
        self._partial = f"{self._place}.{os.getpid()}.partial" if self._plain else self._place

    def __enter__(self) -> BinaryIO:
        directory = os.path.dirname(self._place)
        if not os.path.isdir(directory):
            raise NotFound(f'invalid output path: directory "{directory}" does not exist')
        try:
            self._file: BinaryIO = open(self._partial, "wb")
        except OSError as error:
            raise from_os_error(error, f"write {self._path}")
        return self._file

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._file.close()
            if self._plain and kind is None:
                os.replace(self._partial, self._place)
        except OSError as error:
            if kind is None:
                raise from_os_error(error, f"write {self._path}")
        finally:
            if self._plain and os.path.exists(self._partial):
                os.unlink(self._partial)
