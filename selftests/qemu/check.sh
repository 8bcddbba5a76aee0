#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# check.sh [NAME...]: runs the tests on these kernels of the table "kernels", on all
# if none is named, and ends with the verdict over everything.
#
# From the environment, both as make_initramfs.sh explains them: TESTS, ARGS.
# Where one is set only the programs are run, without the style checks; and, unless
# kernels are named, not on kernels that are for certain tests alone. And
# HMM_MIRROR_JOBS: how many kernels at a time.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"
lock_tree "$0" "$@"

build_dir=$top_dir/build

# A guest has two processors but most of the time work for one, and 5 GiB of memory. With
# three on two processors hmm_benchmark did not end in the time that the kernel's own test
# gives it.
default_jobs()
{
	awk -v processors="$(nproc)" '/^MemAvailable:/ {
		fit = int($2 / (6 * 1024 * 1024))
		jobs = processors < fit ? processors : fit
		print (jobs < 1 ? 1 : (jobs > 4 ? 4 : jobs))
	}' /proc/meminfo
}

# check_harness TEST...: what needs no kernel: style, and the tests of all this itself.
# They leave TAP in build/harness/tap/, and give way to the guests a little, but not so
# much that everybody waits for them at the end.
check_harness()
{
	use_ccache
	pid=
	trap '[ -z "$pid" ] || kill "$pid"; exit 1' TERM
	for test; do
		case $test in
		*.t) nice -n 3 perl "$test" ;;
		*) nice -n 3 "$test" ;;
		esac >"$build_dir/harness/tap/$(basename "$test").tap" &
		pid=$!
		wait "$pid" || :
	done
}

# What takes longest comes first, that nothing else is left to wait for at the end:
# kernels that must be built, before others those with many checks.
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
mkdir -p "$build_dir/harness/tap"
harness=
if [ -z "${TESTS:-}${ARGS:-}" ]; then
	check_harness "$qemu_dir/../style.sh" "$qemu_dir"/t/*.t &
	harness=$!
	trap 'kill "$harness" 2>/dev/null || :' EXIT
	trap 'exit 130' INT TERM HUP
fi
# shellcheck disable=SC2086 # a list of words
longest_first $kernels | xargs -n 1 -P "${HMM_MIRROR_JOBS:-$(default_jobs)}" \
	"$qemu_dir/check_kernel.sh"
if [ -n "$harness" ]; then
	wait "$harness"
	trap - EXIT
fi
set --
for kernel in ${harness:+harness} $kernels; do
	set -- "$@" "$build_dir/$kernel"/tap/*.tap
done

say "verdict (logs: build/<kernel>/log/, TAP: build/<kernel>/tap/)"
"$qemu_dir/verdict.pl" "$@"
