#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# check.sh [NAME...]: runs the tests on these kernels of the table "kernels", on all
# if none is named, and ends with the verdict over everything.
#
# From the environment, both as make_initramfs.sh explains them: TESTS, ARGS.
# If one is set, only the programs are run, without the style checks; and, unless
# kernels are named, not on kernels that are only for certain tests. And
# HMM_MIRROR_JOBS: how many kernels at a time.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"
lock_tree "$0" "$@"

build_dir=$top_dir/build
# Seconds for one test of the harness; the slowest one takes five minutes on an idle machine
harness_limit=${HMM_MIRROR_HARNESS_LIMIT:-2400}

# A guest has two processors, but most of the time work for one, and 5 GiB of memory. With
# three guests on two processors hmm_benchmark did not finish in the time that the kernel's
# own test gives it.
default_jobs()
{
	awk -v processors="$(nproc)" '/^MemAvailable:/ {
		fit = int($2 / (6 * 1024 * 1024))
		jobs = processors < fit ? processors : fit
		print (jobs < 1 ? 1 : (jobs > 4 ? 4 : jobs))
	}' /proc/meminfo
}

# check_harness TEST...: what needs no kernel: style, and the tests of these scripts.
# They leave TAP in build/harness/tap/, and yield to the guests a little, but not so
# much that everything waits for them at the end. One that hangs is killed: its TAP then
# has no end, which is a failure.
check_harness()
{
	use_ccache
	for test; do
		case $test in
		*.t) timeout -k 10 "$harness_limit" nice -n 3 perl "$test" ;;
		*) timeout -k 10 "$harness_limit" nice -n 3 "$test" ;;
		esac >"$build_dir/harness/tap/$(basename "$test").tap" || :
	done
}

# What takes longest comes first, so that nothing is waited for at the end: kernels that
# must be built, and of those first the ones with many checks.
longest_first()
{
	for kernel; do
		case $(kernel_field "$kernel" 2),$(kernel_field "$kernel" 5) in
		built,*debug*) printf '1 %s\n' "$kernel" ;;
		built,* | compiled,*) printf '2 %s\n' "$kernel" ;;
		*) printf '3 %s\n' "$kernel" ;;
		esac
	done | sort -s -n -k 1,1 | cut -d ' ' -f 2
}

"$qemu_dir/packages.sh" perl
if [ $# -gt 0 ]; then
	kernels=$*
elif [ -n "${TESTS:-}" ]; then
	kernels=$(general_kernel_names)
else
	kernels=$(kernel_names)
fi
for kernel in $kernels; do
	kernel_field "$kernel" 1 >/dev/null
done

rm -rf "$build_dir/harness"
# Results of an earlier run must not be taken for those of this one.
for kernel in $kernels; do
	rm -rf "$build_dir/$kernel/tap"
done
mkdir -p "$build_dir/harness/tap"
harness=
if [ -z "${TESTS:-}${ARGS:-}" ]; then
	check_harness "$qemu_dir/../style.sh" "$qemu_dir"/t/*.t &
	harness=$!
fi
trap end_descendants EXIT
trap 'exit 130' INT TERM HUP
# shellcheck disable=SC2086 # a list of words
longest_first $kernels | xargs -n 1 -P "${HMM_MIRROR_JOBS:-$(default_jobs)}" \
	"$qemu_dir/check_kernel.sh" &
# The shell handles signals while it waits, not while a command runs.
wait $! || say "not every kernel was tested to its end"
[ -z "$harness" ] || wait "$harness" || say "not every test of the harness was run"
trap - EXIT
# At least one verdict for each kernel and for each test of the harness: that the machine
# ran to its end, or why there was none.
set --
for kernel in $kernels; do
	set -- "$@" --expect "$build_dir/$kernel/tap/guest.tap|$build_dir/$kernel/tap/build.tap"
done
if [ -n "$harness" ]; then
	for kernel in $kernels; do
		! shows_shell "$kernel" || set -- "$@" \
			--expect "$build_dir/$kernel/tap/shell.tap|$build_dir/$kernel/tap/build.tap"
	done
	for test in style.sh "$qemu_dir"/t/*.t; do
		set -- "$@" --expect "$build_dir/harness/tap/$(basename "$test").tap"
	done
fi
for kernel in ${harness:+harness} $kernels; do
	for file in "$build_dir/$kernel"/tap/*.tap; do
		[ ! -e "$file" ] || set -- "$@" "$file"
	done
done

say "verdict (logs: build/<kernel>/log/, TAP: build/<kernel>/tap/)"
"$qemu_dir/verdict.pl" "$@"
