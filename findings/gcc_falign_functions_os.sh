#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# gcc 12.2.0 (Debian gcc-12 12.2.0-14+deb12u1): -falign-functions=16 aligns functions with
# -O2, and does nothing with -Os, although it is given by name. Seen:
#
#   -O2 -falign-functions=16: 0 of 3 functions unaligned
#   -Os -falign-functions=16: 2 of 3 functions unaligned
#
# A kernel that relies on it must not be built for size: DYNAMIC_FTRACE_WITH_JMP of Linux
# 7.x, for one, uses bit 0 of the address of a handler.

set -eu
version=12.2.0-14+deb12u1
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"

apt-get download -qq "gcc-12=$version" "cpp-12=$version" >/dev/null
for package in *.deb; do
	dpkg-deb -x "$package" .
done
cat >functions.c <<'END'
int add(int value) { return value + 1; }
int multiply(int value) { return value * 3 + 1; }
int invert(int value) { return value ^ 5; }
END

# unaligned OPTION: how many of the three are not at a multiple of 16
unaligned()
{
	usr/bin/gcc-12 "$1" -falign-functions=16 -S -o functions.s functions.c
	as -o functions.o functions.s
	nm functions.o | awk '$2 == "T" && $1 !~ /0$/' | wc -l
}

usr/bin/gcc-12 --version | head -n 1
for option in -O2 -Os; do
	printf '%s -falign-functions=16: %d of 3 functions unaligned\n' \
		"$option" "$(unaligned "$option")"
done | tee seen
[ "$(cat seen)" = "-O2 -falign-functions=16: 0 of 3 functions unaligned
-Os -falign-functions=16: 2 of 3 functions unaligned" ]
