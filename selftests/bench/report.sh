#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# report.sh KERNEL RELEASE: makes docs/benchmarks/KERNEL.{md,dat,svg} of what "make
# bench" measured last, build/KERNEL/bench.rows, and prints the table. Succeeds if
# all targets are reached.

set -eu
bench_dir=$(cd "$(dirname "$0")" && pwd)
qemu_dir=$bench_dir/../qemu
. "$qemu_dir/common.sh"

kernel=$1
release=$2
docs=$top_dir/docs/benchmarks

"$qemu_dir/packages.sh" gnuplot-nox perl
mkdir -p "$docs"
status=0
"$bench_dir/report.pl" "$kernel" "$release" "$top_dir/build/$kernel/bench.rows" \
	"$docs" || status=$?
gnuplot -e "data='$docs/$kernel.dat'; plot='$docs/$kernel.svg'" \
	-e "kernel='$kernel'" "$bench_dir/benchmarks.gnuplot"
say "written: docs/benchmarks/$kernel.md, $kernel.svg"
exit "$status"
