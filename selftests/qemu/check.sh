#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# check.sh [NAME...]: runs the tests on these kernels of the table "kernels", on all
# if none is named, and ends with the verdict over everything.
#
# From the environment, both as make_initramfs.sh explains them: TESTS, ARGS.
# Where one is set only the programs are run, without the style checks; and, unless
# kernels are named, not on kernels that are for certain tests alone.

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

# tests_for NAME: what is to be run there, as TESTS
tests_for()
{
	if [ -n "${TESTS:-}" ]; then
		printf '%s\n' "$TESTS"
	else
		kernel_words "$1" 6
	fi
}

# boot_tests NAME: builds everything and runs the guest
boot_tests()
{
	location=$("$qemu_dir/build.sh" "$1") || return 1
	eval "$location"
	export kernel_release kernel_image kernel_root kernel_cmdline
	TESTS=$(tests_for "$1") \
		"$qemu_dir/make_initramfs.sh" "$build_dir/$1" check || return 1
	say "booting $1 ($kernel_release)"
	"$qemu_dir/boot.sh" "$build_dir/$1" check awk -f "$qemu_dir/progress.awk"
}

# compile_modules NAME: builds everything, from scratch: what make thinks up to date
# gets no warnings
compile_modules()
{
	rm -rf "$build_dir/$1/src"
	location=$("$qemu_dir/build.sh" "$1") || return 1
	eval "$location"
	printf '%s, not booted\n' "$kernel_release" >"$build_dir/$1/log/kernel"
}

# check_compiled NAME: can the modules be built for a kernel that is not booted?
check_compiled()
{
	out=$build_dir/$1
	rm -rf "$out/tap" "$out/log"
	mkdir -p "$out/tap" "$out/log"
	say "compiling for $1"
	if compile_modules "$1" >"$out/log/run.log" 2>&1 &&
	   ! grep -iqE '\b(warning|error): ' "$out/log/run.log"; then
		printf 'TAP version 13\n1..1\nok 1 - %s\n' \
			"the modules build without a warning" >"$out/tap/build.tap"
	else
		failed_stage "$out/tap/build.tap" \
			"the modules build without a warning" "$out/log/run.log"
	fi
}

# get_kernels NAME...: what takes long to download or build is got while tests run,
# for which a guest needs one processor most of the time
get_kernels()
{
	for kernel; do
		nice -n 19 "$qemu_dir/fetch_kernel.sh" "$kernel" || :
	done >"$build_dir/get_kernels.log" 2>&1 </dev/null
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
if [ $# -gt 0 ]; then
	kernels=$*
elif [ -n "${TESTS:-}" ]; then
	kernels=$(kernel_names '*')
else
	kernels=$(kernel_names any)
fi
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
# shellcheck disable=SC2086 # a list of words
get_kernels $kernels &
getter=$!
trap 'kill "$getter" 2>/dev/null || :' EXIT
trap 'exit 130' INT TERM HUP
for kernel in $kernels; do
	case $(kernel_field "$kernel" 2) in
	compiled) check_compiled "$kernel" ;;
	*) check_kernel "$kernel" ;;
	esac
	set -- "$@" "$build_dir/$kernel"/tap/*.tap
done

say "verdict (logs: build/<kernel>/log/, TAP: build/<kernel>/tap/)"
"$qemu_dir/verdict.pl" "$@"
