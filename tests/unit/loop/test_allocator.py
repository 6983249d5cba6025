"""Memory goes back to the system after a burst."""

from __future__ import annotations

import subprocess
import sys

import pytest
from waypost.loop import allocator

PROGRAM = """
from waypost.loop.allocator import Trimmer, set_thresholds
set_thresholds()
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
trimmer = Trimmer()
assert not trimmer.check()
blocks = [bytes([1]) * 60_000 for _ in range(1000)]
kept = blocks[-1]  # the end of the heap is in use
assert not trimmer.check()
full = resident()
del blocks
assert trimmer.check()
assert full - resident() > 40_000_000, (full, resident())
assert not trimmer.check()
"""


def test_a_heap_that_has_become_free_is_trimmed():
    if allocator._library() is None:
        pytest.skip("the C library is not glibc 2.33 or later")
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
