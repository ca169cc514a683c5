"""What glibc's malloc does with memory that is given back.

Whoever moves pieces of a megabyte through several threads gives back as much as he takes, all the time. By default each
thread gets a heap of its own, which keeps what was freed in it; and the end of a heap goes back to the kernel again and
again, to be asked for, and filled with zeros, a moment later. That took as long as hashing what was moved.
"""

from __future__ import annotations

import functools

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_HEAPS = 2
_KEPT_BYTES = 8 << 20
_ALONE_BYTES = 32 << 20  # larger ones come from the kernel and go back to it; malloc takes no larger limit


@functools.cache
def keep_pieces() -> None:
    """From now on all threads of the process share two heaps, and each keeps some megabytes that are free."""
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return  # another C library
    for option, value in ((_M_ARENA_MAX, _HEAPS), (_M_TRIM_THRESHOLD, _KEPT_BYTES), (_M_MMAP_THRESHOLD, _ALONE_BYTES)):
        mallopt(option, value)
