#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
#
# What the demonstration lets Python do: it fills its memory, then waits for
# "work" on its input, does some and says what it was.

import json
import mmap
import os
import signal
import sys

MADV_PAGEOUT = 21  # not among Python's names
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
MEBIBYTE = 1 << 20
ROUNDS = 40

# Memory of many kinds: small objects, a large block, one that is paged out, a
# mapped file ...
words = {f"key {number}": str(number) * 3 for number in range(100000)}
block = bytearray(os.urandom(4096)) * 4096
cold = mmap.mmap(-1, 8 * MEBIBYTE, flags=PRIVATE)
cold[:] = block[: len(cold)]
cold.madvise(MADV_PAGEOUT)
with open(sys.executable, "rb") as file:
    program = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
checksum = sum(program[::4096])

# ... and a child that shares all of it until one of the two writes to it.
child = os.fork()
if child == 0:
    signal.pause()

print("ready", flush=True)
sys.stdin.readline()

counts = {"munmap": 0, "madvise": 0, "fork": 0}
scratch = mmap.mmap(-1, MEBIBYTE, flags=PRIVATE)
for number in range(ROUNDS):
    # A temporary buffer, as of a library that reads files
    buffer = mmap.mmap(-1, MEBIBYTE, flags=PRIVATE)
    buffer[:] = block[: len(buffer)]
    buffer.close()
    counts["munmap"] += 1

    # Memory that is given back and used again, as by an allocator
    scratch[:] = block[: len(scratch)]
    scratch.madvise(mmap.MADV_DONTNEED)
    counts["madvise"] += 1

    # Changed objects are copied: the child still has the old ones
    for key in list(words)[number * 500 : number * 500 + 500]:
        words[key] = json.loads(json.dumps([key, words[key]]))

    if number % 10 == 0:
        process = os.fork()
        if process == 0:
            os._exit(0)
        os.waitpid(process, 0)
        counts["fork"] += 1

os.kill(child, signal.SIGKILL)
print(json.dumps(counts), flush=True)
sys.stdin.readline()
