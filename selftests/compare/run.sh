#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# run.sh [KERNEL]: runs the program compare and prints, after the verdict, its rows as
# one table.

set -eu
qemu_dir=$(cd "$(dirname "$0")/../qemu" && pwd)
. "$qemu_dir/common.sh"

kernel=${1:-$(default_kernel)}
log=$top_dir/build/$kernel/log

TESTS=compare "$qemu_dir/check.sh" "$kernel"
printf '\n%s\n\n' "$(cat "$log/kernel"):"
printf '| | | mm/hmm.c | hmm_mirror |\n|---|---|---|---|\n'
sed -n 's/^#|/|/p' "$log/programs.log" | LC_ALL=C sort -s -V -k 2,2
