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

# A guest has two processors but most of the time work for one, and 5 GiB of memory.
default_jobs()
{
	awk -v processors="$(nproc)" '/^MemAvailable:/ {
		fit = int($2 / (6 * 1024 * 1024))
		jobs = processors < fit ? processors : fit
		print (jobs < 1 ? 1 : (jobs > 4 ? 4 : jobs))
	}' /proc/meminfo
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

rm -rf "$build_dir/tap"
mkdir -p "$build_dir/tap"
set --
style=
if [ -z "${TESTS:-}${ARGS:-}" ]; then
	style=style
	set -- "$qemu_dir"/t/*.t "$build_dir/tap/style.tap"
fi
# Style is checked when there is not much else left to do.
# shellcheck disable=SC2086,SC2016 # lists of words; for the other shell
{ longest_first $kernels; printf '%s' "$style"; } |
	xargs -n 1 -P "${HMM_MIRROR_JOBS:-$(default_jobs)}" sh -c '
		case $3 in
		style) "$1/../style.sh" >"$2" || : ;;
		*) "$1/check_kernel.sh" "$3" ;;
		esac' - "$qemu_dir" "$build_dir/tap/style.tap"
for kernel in $kernels; do
	set -- "$@" "$build_dir/$kernel"/tap/*.tap
done

say "verdict (logs: build/<kernel>/log/, TAP: build/<kernel>/tap/)"
"$qemu_dir/verdict.pl" "$@"
