#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# run.sh MODE [NAME]: boots a kernel of the table "kernels" to show something.
# MODE is "demo" or "rdma" (guest/$MODE.sh, its exit status is ours), "shell", "dma": the
# long form of edu_mirror.c's races, or "bench": the benchmark, whose results go to docs/.
#
# From the environment: DMAS, how many there are to be in mode "dma", strict and lazy each;
# WITH, a directory whose contents the guest has in / in mode "shell".

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
	if ! "$qemu_dir/find_splats.pl" "$out/log/console.log" "$out/log/qemu.log" >&2; then
		say "the kernel complained, or a device; see $out/log/console.log and qemu.log"
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
	awk -f "$qemu_dir/../bench/flushes.awk" "$out/log/programs.log" \
		"$out/log/qemu.log" >>"$out/bench.rows"
}

# test_dma MODE PROGRAMS TEST...: these tests, in a machine of that mode
test_dma()
{
	dma_mode=$1
	programs=$2
	shift 2
	rm -rf "$out/tap" "$out/log"
	mkdir -p "$out/log"
	TESTS=$programs ARGS="$(printf -- '-t %s ' "$@")" \
		"$qemu_dir/make_initramfs.sh" "$out" "$dma_mode"
	say "booting $kernel ($kernel_release), '$dma_mode'"
	"$qemu_dir/boot.sh" "$out" "$dma_mode" \
		sed -u -n 's/\r$//; s/^# race /   /p; /^not ok/p'
	"$qemu_dir/check_log.pl" "$out"
	"$qemu_dir/verdict.pl" "$out"/tap/*.tap
}

case $mode in
shell)
	[ -d "${WITH:-.}" ] || die "WITH=$WITH: there is no such directory"
	"$qemu_dir/demo_files.sh" "$out/demo"
	"$qemu_dir/make_initramfs.sh" "$out" shell "$out/demo" ${WITH:+"$WITH"}
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
dma)
	export DMAS="${DMAS:-10000}"
	case $DMAS in
	*[!0-9]* | 0*) die "DMAS=$DMAS: a number of DMAs is needed" ;;
	esac
	test_dma bounce "edu_mirror dma_map" bounce_buffers peer_to_peer
	test_dma dma "edu_mirror dma_map" races peer_to_peer
	;;
bench)
	: >"$out/bench.rows"
	for part in count scale count_dma; do
		measure "$part"
	done
	"$qemu_dir/../bench/report.sh" "$kernel" "$kernel_release"
	;;
*)
	die "no mode '$mode'"
	;;
esac
