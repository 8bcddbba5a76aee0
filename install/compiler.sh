#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# compiler.sh DIRECTORY: prints what make needs to be told to build for the kernel
# whose build tree this is: nothing, or, if the kernel was built with clang, LLVM=1 or
# LLVM=-VERSION, whichever is installed (CC=clang if it was linked with GNU ld). Says on
# stderr what to install if none is.

set -eu

directory=$1
config=$directory/include/config/auto.conf
[ -e "$config" ] || config=$directory/.config

is_set()
{
	grep -q "^CONFIG_$1=y$" "$config" 2>/dev/null
}

is_set CC_IS_CLANG || exit 0

linker=
! is_set LD_IS_LLD || linker=ld.lld

# use SUFFIX: prints how to use the tools by these names, if they are there
use()
{
	for tool in clang $linker; do
		command -v "$tool$1" >/dev/null || return 1
	done
	if [ -z "$linker" ]; then
		echo "CC=clang$1"
	else
		echo "LLVM=${1:-1}"
	fi
}

# The versions that are installed beside each other
versions()
{
	printf '%s\n' "$PATH" | tr ':' '\n' | while IFS= read -r path; do
		find -L "${path:-.}" -maxdepth 1 -name 'clang-[0-9]*' 2>/dev/null
	done | sed -n 's/.*clang-\([0-9]*\)$/\1/p' | sort -u -n -r
}

! use "" || exit 0
version=$(sed -n 's/^CONFIG_CLANG_VERSION=\([0-9]*\)[0-9][0-9][0-9][0-9]$/\1/p' "$config")
for suffix in $version $(versions); do
	! use "-$suffix" || exit 0
done
{
	echo "The kernel of $directory was built with clang${version:+ $version}, and so must its"
	echo "modules be. Install clang and lld (on Debian: apt-get install clang lld llvm)."
} >&2
exit 1
