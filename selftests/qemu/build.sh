#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# build.sh [NAME]: builds the modules, hmmctl and the tests for a kernel of the
# table "kernels" in build/NAME, and prints what fetch_kernel.sh says about it. Of a
# kernel with device-private memory its own tests of that are built too.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"

kernel=${1:-$(default_kernel)}
out=$top_dir/build/$kernel
jobs=$(nproc)

"$qemu_dir/packages.sh" ccache gcc libc6-dev make
location=$("$qemu_dir/fetch_kernel.sh" "$kernel")
eval "$location"
: "${kernel_release:?}" "${kernel_build:?}"
source_dir=$("$qemu_dir/fetch_source.sh")

# The test programs are the same for all kernels, and for the next clone of this tree:
# what has been compiled before is taken from the cache, its warnings included.
export PATH="/usr/lib/ccache:$PATH" CCACHE_DIR="$cache_dir/ccache" CCACHE_MAXSIZE=1G
export CCACHE_BASEDIR="$top_dir" CCACHE_NOHASHDIR=1

# Parts of another make's command line must not get in the way.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES KBUILD_EXTRA_SYMBOLS
say "building for $kernel ($kernel_release)"
mkdir -p "$out"
make -s -j "$jobs" -C "$top_dir" project_modules build_tools \
	KDIR="$kernel_build" OUT="$out" TOOLS_LDFLAGS=-static \
	KBUILD_FLAGS=KCFLAGS=-Werror >&2
make -s -j "$jobs" -C "$top_dir/selftests" OUTPUT="$out/tests" \
	KSELFTEST_DIR="$source_dir/tools/testing/selftests" >&2

mkdir -p "$out/kernel_tests"
if grep -qx CONFIG_DEVICE_PRIVATE=y "$kernel_build/.config"; then
	# By their own Makefile; it would look for installed kernel headers.
	headers="-isystem $kernel_build/tools/include/uapi"
	make -s -C "$kernel_build/tools/testing/selftests/mm" \
		OUTPUT="$out/kernel_tests" LDFLAGS=-static \
		KHDR_INCLUDES="$headers" TOOLS_INCLUDES="$headers" \
		"$out/kernel_tests/hmm-tests" >&2
fi

printf '%s\n' "$location"
