#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# check.sh [NAME...]: runs all tests on these kernels of the table "kernels", on
# all that are always tested if none is named, and ends with the verdict over
# everything.
#
# From the environment, both as make_initramfs.sh explains them: TESTS, ARGS.
# Where one is set only the programs are run, without the style checks.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"
lock_tree "$0" "$@"

build_dir=$top_dir/build

# failed_stage FILE STAGE LOG: TAP that says that STAGE has failed
failed_stage()
{
	{
		printf 'TAP version 13\n1..1\n'
		tail -n 20 "$3" | sed 's/^/# /'
		printf 'not ok 1 - %s\n' "$2"
	} >"$1"
}

# boot_tests NAME: builds everything and runs the guest
boot_tests()
{
	location=$("$qemu_dir/build.sh" "$1") || return 1
	eval "$location"
	export kernel_release kernel_image kernel_root
	"$qemu_dir/make_initramfs.sh" "$build_dir/$1" check || return 1
	say "booting $1 ($kernel_release)"
	"$qemu_dir/boot.sh" "$build_dir/$1" check awk -f "$qemu_dir/progress.awk"
}

check_kernel()
{
	out=$build_dir/$1
	rm -rf "$out/tap" "$out/log"
	mkdir -p "$out/tap" "$out/log"
	: >"$out/tests.list"
	# The exit status of boot_tests, not that of tee.
	{
		{ boot_tests "$1" && touch "$out/log/booted"; } 2>&1
	} | tee "$out/log/run.log"
	if [ -e "$out/log/booted" ]; then
		"$qemu_dir/check_log.pl" "$out"
	else
		failed_stage "$out/tap/build.tap" "built and booted" \
			"$out/log/run.log"
	fi
}

"$qemu_dir/packages.sh" perl
kernels=${*:-$(kernel_names always)}
for kernel in $kernels; do
	kernel_field "$kernel" 1 >/dev/null
done

rm -rf "$build_dir/tap"
mkdir -p "$build_dir/tap"
set --
if [ -z "${TESTS:-}${ARGS:-}" ]; then
	say "style checks"
	"$qemu_dir/../style.sh" | tee "$build_dir/tap/style.tap" |
		sed -n '/^not ok /s/^/   /p'
	set -- "$qemu_dir"/t/*.t "$build_dir/tap/style.tap"
fi
for kernel in $kernels; do
	check_kernel "$kernel"
	set -- "$@" "$build_dir/$kernel"/tap/*.tap
done

say "verdict (logs: build/<kernel>/log/, TAP: build/<kernel>/tap/)"
"$qemu_dir/verdict.pl" "$@"
