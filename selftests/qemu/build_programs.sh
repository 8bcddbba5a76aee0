#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# build_programs.sh: builds hmmctl, the test programs and what guest/init runs, in
# build/programs. They are linked statically, and the same for all kernels.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"

"$qemu_dir/packages.sh" gcc libc6-dev make
use_ccache
source_dir=$("$qemu_dir/fetch_source.sh")

# Parts of another make's command line must not get in the way.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES
mkdir -p "$programs_dir"
(
	# The first kernel builds them, others wait.
	flock 9
	jobs=$(nproc)
	make -s -j "$jobs" -C "$top_dir/tools" O="$programs_dir" LDFLAGS=-static 9>&-
	make -s -j "$jobs" -C "$top_dir/selftests" OUTPUT="$programs_dir/tests" \
		KSELFTEST_DIR="$source_dir/tools/testing/selftests" 9>&-
	make -s -C "$programs_dir" -f "$qemu_dir/guest/Makefile" 9>&-
) 9>"$programs_dir/.lock" >&2
