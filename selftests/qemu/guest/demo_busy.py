#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
#
# What there is to watch in "make shell": a process that never ends, and once a second
# does one of the things with its memory that a device would have to hear of.

import itertools
import mmap
import os
import time

MADV_PAGEOUT = 21  # not among Python's names
MEBIBYTE = 1 << 20
FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS

block = os.urandom(MEBIBYTE)
heap = mmap.mmap(-1, 16 * MEBIBYTE, flags=FLAGS)
cold = mmap.mmap(-1, 4 * MEBIBYTE, flags=FLAGS)


def write():
    """New pages, or copies of those that a child has as well."""
    for start in range(0, len(heap), MEBIBYTE):
        heap[start : start + MEBIBYTE] = block


def fork():
    """Everything is shared with a child, and write-protected for that."""
    child = os.fork()
    if child == 0:
        time.sleep(2)
        os._exit(0)


def page_out():
    """Memory that is used rarely goes to swap."""
    cold[:] = block * (len(cold) // len(block))
    cold.madvise(MADV_PAGEOUT)


def give_back():
    """Memory is given back, as by an allocator."""
    heap.madvise(mmap.MADV_DONTNEED, 0, 8 * MEBIBYTE)


def unmap():
    """A buffer that comes and goes"""
    buffer = mmap.mmap(-1, MEBIBYTE, flags=FLAGS)
    buffer[:] = block
    buffer.close()


for step in itertools.cycle((write, fork, write, page_out, give_back, unmap)):
    step()
    time.sleep(1)
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                break
        except ChildProcessError:
            break
