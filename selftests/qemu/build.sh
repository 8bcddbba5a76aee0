#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# build.sh [NAME]: builds the modules for a kernel of the table "kernels" in build/NAME,
# and prints what fetch_kernel.sh says about it. Of a kernel with device-private
# memory its own tests of that are built too.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"

kernel=${1:-$(default_kernel)}
out=$top_dir/build/$kernel
jobs=$(nproc)

# build_modules DIRECTORY
build_modules()
{
	make -s -j "$jobs" -C "$top_dir" project_modules KDIR="${kernel_build:?}" \
		OUT="$1" KBUILD_FLAGS=KCFLAGS=-Werror
}

"$qemu_dir/packages.sh" gcc libc6-dev make
use_ccache
location=$("$qemu_dir/fetch_kernel.sh" "$kernel")
eval "$location"
: "${kernel_release:?}" "${kernel_build:?}"

# Parts of another make's command line must not get in the way.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES KBUILD_EXTRA_SYMBOLS
say "building for $kernel ($kernel_release)"
mkdir -p "$out"
with_same_name "$kernel" "$out" build_modules >&2

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
