#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# check_kernel.sh NAME: builds everything for a kernel of the table "kernels", boots
# it, and leaves TAP that says how it went in build/NAME/tap/. Several can run at the
# same time, so each line that is printed begins with the kernel's name.
#
# From the environment: TESTS, ARGS.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"

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
	printf '%s\n' "${kernel_packages:-}" >"$build_dir/$1/log/packages"
	TESTS=$(tests_for "$1") \
		"$qemu_dir/make_initramfs.sh" "$build_dir/$1" check || return 1
	say "booting $1 ($kernel_release)"
	boot_check "$1" || return 1
	# A crash that is QEMU's is passed over, once; its log is kept.
	console=$build_dir/$1/log/console
	if [ -e "$console.log" ] &&
	   awk -f "$qemu_dir/stale_breakpoint.awk" "$console.log"; then
		say "QEMU ran a breakpoint that was no longer there; booting $1 once more"
		mv "$console.log" "$console.first.log"
		boot_check "$1"
	fi
}

# boot_check NAME: runs its tests in the guest
boot_check()
{
	"$qemu_dir/boot.sh" "$build_dir/$1" check awk -f "$qemu_dir/progress.awk"
}

# compile_modules NAME: builds everything, from scratch: what make thinks is up to date
# gives no warnings
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

# check_shell NAME: what "make shell" and "make run" show, where shows_shell says so; after
# check_log.pl, which removes TAP that is not its own
check_shell()
{
	if [ -z "${TESTS:-}${ARGS:-}" ] && shows_shell "$1"; then
		location=$("$qemu_dir/fetch_kernel.sh" "$1") || return 0
		eval "$location"
		export kernel_release kernel_image kernel_root kernel_cmdline
		# More than the sum of its own limits
		timeout -k 10 1800 "$qemu_dir/check_shell.pl" "$build_dir/$1" \
			>"$build_dir/$1/tap/shell.tap" || :
	fi
}

# check_booted NAME: its tests, in a virtual machine
check_booted()
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
		"$qemu_dir/check_log.pl" "$out" 2>"$out/log/check_log.log" ||
			failed_stage "$out/tap/build.tap" "its logs were judged" \
				"$out/log/check_log.log"
		check_shell "$1"
	else
		failed_stage "$out/tap/build.tap" "built and booted" \
			"$out/log/run.log"
	fi
}

case $(kernel_field "$1" 2) in
compiled) check_compiled "$1" ;;
*) check_booted "$1" ;;
esac 2>&1 | sed -u "s/^/[$1] /"
