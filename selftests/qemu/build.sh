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
	set -- make -s -j "$jobs" -C "$top_dir" project_modules KDIR="${kernel_build:?}" \
		OUT="$1" KBUILD_FLAGS="W=1 KCFLAGS=-Werror"
	[ -z "${kernel_builder:-}" ] || set -- "$qemu_dir/in_root.sh" "$kernel_builder" "$@"
	"$@"
}

# copy_kernel_tests TREE DIRECTORY: what the kernel's own tests are built from. The tree
# is one for all clones.
copy_kernel_tests()
{
	[ "$(cat "$2/copied_from" 2>/dev/null)" != "$1" ] || return 0
	rm -rf "$2"
	mkdir -p "$2"
	# shellcheck disable=SC2046 # a list of words
	(cd "$1" && cp --parents -rt "$2" $(sed '/^#/d' "$qemu_dir/kernel_test_files")) &&
	rm -f "$2"/tools/testing/selftests/mm/local_config.* &&
	printf '%s\n' "$1" >"$2/copied_from"
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
if [ -n "${kernel_tests:-}" ]; then
	# By their own Makefile, which writes beside itself, and would look for installed
	# kernel headers.
	tests=$out/kernel_tests.source
	copy_kernel_tests "$kernel_tests" "$tests"
	headers="-isystem $tests/tools/include/uapi"
	make -s -C "$tests/tools/testing/selftests/mm" \
		OUTPUT="$out/kernel_tests" LDFLAGS=-static \
		KHDR_INCLUDES="$headers" TOOLS_INCLUDES="$headers" \
		"$out/kernel_tests/hmm-tests" >&2
fi

printf '%s\n' "$location"
