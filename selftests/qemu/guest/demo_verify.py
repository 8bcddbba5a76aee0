#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
#
# Compares what hmmctl reported of the demonstration's Python process with what
# the kernel says elsewhere, and with what Python itself says it did.
#
#	demo_verify.py map PID MAP	hmmctl map PID --extents --json
#	demo_verify.py watch COUNTS EVENTS
#					the workload's answer, hmmctl watch --json

import json
import struct
import sys

PAGE_SIZE = 4096
MEBIBYTE = 1 << 20
# Documentation/admin-guide/mm/pagemap.rst
PRESENT = 1 << 63
SWAPPED = 1 << 62
PFN_MASK = (1 << 55) - 1


def fail(text):
    print(f"FAILED: {text}")
    sys.exit(1)


def read_pagemap(pid, start, pages):
    with open(f"/proc/{pid}/pagemap", "rb") as file:
        file.seek(start // PAGE_SIZE * 8)
        return struct.unpack(f"={pages}Q", file.read(pages * 8))


def expected_entry(extent, index):
    """What of a pagemap entry follows from an extent."""
    if extent["valid"]:
        return PRESENT | int(extent["pfn"], 0) + index
    return SWAPPED if extent["kind"] == "swap" else 0


def seen_entry(entry):
    # The lower bits of a swapped page say where it is in the swap.
    return entry & (PRESENT | PFN_MASK) if entry & PRESENT else entry & SWAPPED


def smaps_sum(pid, field):
    with open(f"/proc/{pid}/smaps", encoding="ascii") as file:
        return 1024 * sum(int(line.split()[1]) for line in file if line.startswith(field))


def verify_map(pid, path):
    with open(path, encoding="ascii") as file:
        mappings = json.load(file)["mappings"]
    pages = {"valid": 0, "swap": 0, "none": 0, "error": 0}
    huge = 0

    for mapping in mappings:
        next_address = int(mapping["start"], 0)
        for extent in mapping["extents"]:
            start = int(extent["start"], 0)
            if start != next_address:
                fail(f"nothing was reported of {next_address:x}")
            next_address = start + extent["pages"] * PAGE_SIZE
            if extent["error"]:
                pages["error"] += extent["pages"]
                continue
            pages["valid" if extent["valid"] else extent["kind"]] += extent["pages"]
            huge += extent["pages"] if extent["valid"] and extent["order"] == 9 else 0
            for index, entry in enumerate(read_pagemap(pid, start, extent["pages"])):
                if seen_entry(entry) != expected_entry(extent, index):
                    fail(f"{start + index * PAGE_SIZE:x}: {extent}, but pagemap says {entry:x}")
        if next_address != int(mapping["end"], 0):
            fail(f"nothing was reported of {next_address:x}")

    if not pages["valid"] or not pages["swap"]:
        fail(f"too little was mirrored: {pages}")
    seen_huge = sum(smaps_sum(pid, name) for name in
                    ("AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:"))
    if huge * PAGE_SIZE != seen_huge:
        fail(f"2M mappings: {huge * PAGE_SIZE} bytes, but smaps says {seen_huge}")

    print(f"verified: {pages['valid']} pages of Python have the PFN that /proc/{pid}/pagemap has, "
          f"{pages['swap']} are in")
    print(f"          swap and {pages['none']} nowhere there too; "
          f"{seen_huge // MEBIBYTE} MiB are in 2M mappings, as in smaps")


def verify_watch(counts_path, events_path):
    with open(counts_path, encoding="ascii") as file:
        done = json.load(file)
    with open(events_path, encoding="ascii") as file:
        events = [json.loads(line) for line in file]

    if any(event["type"] == "lost" for event in events):
        fail("events were lost")
    seen = {}
    for event in events:
        if event["type"] == "event":
            size = int(event["size"])
            key = (event["kind"], size if size == MEBIBYTE else 0)
            seen[key] = seen.get(key, 0) + 1
    if seen.get(("unmap", MEBIBYTE), 0) != done["munmap"]:
        fail(f"{done['munmap']} munmap() of 1 MiB, but the events were {seen}")
    if seen.get(("clear", MEBIBYTE), 0) != done["madvise"]:
        fail(f"{done['madvise']} MADV_DONTNEED of 1 MiB, but the events were {seen}")
    if seen.get(("protection-page", 0), 0) < done["fork"]:
        fail(f"{done['fork']} fork(), but the events were {seen}")

    print(f"verified: each of Python's {done['munmap']} munmap(), {done['madvise']} "
          f"madvise() and {done['fork']} fork() was reported, no event lost")


if sys.argv[1] == "map":
    verify_map(sys.argv[2], sys.argv[3])
else:
    verify_watch(sys.argv[2], sys.argv[3])
