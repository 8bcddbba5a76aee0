#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# run.sh MODE [NAME]: boots a kernel of the table "kernels" to show something.
# MODE is "demo" (guest/demo.sh, its exit status is ours) or "shell".

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

case $mode in
shell)
	"$qemu_dir/make_initramfs.sh" "$out" shell
	say "booting $kernel ($kernel_release)"
	exec "$qemu_dir/boot.sh" "$out" shell
	;;
demo)
	"$qemu_dir/demo_files.sh" "$out/demo"
	"$qemu_dir/make_initramfs.sh" "$out" demo "$out/demo"
	say "booting $kernel ($kernel_release)"
	"$qemu_dir/boot.sh" "$out" demo sed -u '/^#@/d'
	;;
*)
	die "no mode '$mode'"
	;;
esac

status=$(sed -n 's/^#@ end demo status \([0-9]*\) .*/\1/p' "$out/log/programs.log")
if [ -z "$status" ]; then
	say "the guest stopped before the demonstration ended; the kernel's last lines:"
	tail -n 20 "$out/log/console.log" >&2
	status=1
fi
if ! "$qemu_dir/find_splats.pl" "$out/log/console.log" >&2; then
	say "the kernel complained; see $out/log/console.log"
	status=1
fi
exit "$status"
