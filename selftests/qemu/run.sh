#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# run.sh MODE [NAME]: boots a kernel of the table "kernels" to show something.
# MODE is "demo" or "rdma" (guest/$MODE.sh, its exit status is ours), "shell", or
# "bench": the benchmark, whose results go to docs/.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"
lock_tree "$0" "$@"

mode=$1
kernel=${2:-$(default_kernel)}
out=$top_dir/build/$kernel

location=$("$qemu_dir/build.sh" "$kernel")
eval "$location"
export kernel_release kernel_image kernel_root kernel_cmdline

# judge PROGRAM: did it run to its end, without a complaint by the kernel?
judge()
{
	status=$(sed -n "s/^#@ end $1 status \([0-9]*\) .*/\1/p" \
		 "$out/log/programs.log")
	if [ -z "$status" ]; then
		say "the guest stopped before '$1' ended; the kernel's last lines:"
		tail -n 20 "$out/log/console.log" >&2
		status=1
	fi
	if ! "$qemu_dir/find_splats.pl" "$out/log/console.log" >&2; then
		say "the kernel complained; see $out/log/console.log"
		status=1
	fi
	[ "$status" -eq 0 ] || exit "$status"
}

# measure PART: one part of the benchmark; its lines are added to the results
measure()
{
	"$qemu_dir/make_initramfs.sh" "$out" "$1"
	say "booting $kernel ($kernel_release) for the benchmark, part '$1'"
	"$qemu_dir/boot.sh" "$out" "$1" \
		sed -u -n 's/\r$//; s/^row /   /p; s/^error /   &/p'
	judge "$1"
	tr -d '\r' <"$out/log/programs.log" | grep '^row ' >>"$out/bench.rows"
}

case $mode in
shell)
	"$qemu_dir/make_initramfs.sh" "$out" shell
	say "booting $kernel ($kernel_release)"
	exec "$qemu_dir/boot.sh" "$out" shell
	;;
demo | rdma)
	"$qemu_dir/${mode}_files.sh" "$out/$mode"
	"$qemu_dir/make_initramfs.sh" "$out" "$mode" "$out/$mode"
	say "booting $kernel ($kernel_release)"
	"$qemu_dir/boot.sh" "$out" "$mode" sed -u '/^#@/d'
	judge "$mode"
	;;
bench)
	: >"$out/bench.rows"
	measure count
	measure scale
	"$qemu_dir/../bench/report.sh" "$kernel" "$kernel_release"
	;;
*)
	die "no mode '$mode'"
	;;
esac
