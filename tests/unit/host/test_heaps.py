from __future__ import annotations

import subprocess
import sys

import pytest

# Pieces of a megabyte from one thread to the next, some of them under way at a time, as streams are moved.
PROGRAM = """
import resource, sys, threading
from queue import Queue
from cais.host.heaps import keep_pieces
if sys.argv[1] == "kept":
    keep_pieces()
under_way = Queue(3)
def take():
    while under_way.get():
        pass
def move(count):
    taker = threading.Thread(target=take)
    taker.start()
    for number in range(count):
        under_way.put(b"%d" % (number % 10) * (1 << 20))
    under_way.put(b"")
    taker.join()
move(20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
move(200)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Of 4 KiB pages, while 200 MiB are moved."""
    return int(subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, text=True).stdout)


def test_memory_that_is_given_back_is_not_asked_for_again() -> None:
    kept, usual = faults("kept"), faults("usual")
    if usual < 2_000:
        pytest.skip("this C library keeps what is given back anyway")
    assert kept < usual / 3
