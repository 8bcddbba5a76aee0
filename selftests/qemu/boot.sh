#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# boot.sh OUT MODE [FILTER...]: boots OUT/initramfs.cpio with the kernel that
# fetch_kernel.sh described in the environment. What programs print in the guest
# goes, while it runs, through FILTER to stdout. Afterwards there is
#
#	OUT/log/console.log	everything the kernel said
#	OUT/log/programs.log	everything the programs printed
#	OUT/log/qemu.log	what QEMU itself had to say
#	OUT/log/qemu.status	its exit status, 124 if it ran out of time
#
# In mode "count" the machine has one CPU and its clocks count instructions: each
# takes a nanosecond, and waiting takes nothing.
#
# From the environment: HMM_MIRROR_ACCEL, HMM_MIRROR_TIME_LIMIT (seconds).

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"

out=$1
mode=$2
shift 2
log=$out/log
: "${kernel_image:?}"
time_limit=${HMM_MIRROR_TIME_LIMIT:-3600}

# A /dev/kvm that opens may still be unable to run a guest: only on request.
case ${HMM_MIRROR_ACCEL:-tcg} in
tcg) accel=tcg,thread=multi ;;
kvm) accel=kvm ;;
*) die "HMM_MIRROR_ACCEL must be tcg or kvm" ;;
esac

# console: every message, at once, and when it was. oops, panic: an oops ends the
# machine (with -no-reboot), the log has it all. devkmsg: no rate limit for our
# markers.
# numa_balancing: its scanner makes present pages PROT_NONE whenever it likes; a
# test that wants that can switch it on. no_timer_check: the check panics where a
# busy host lets a virtual timer wait. memmap: memory that the kernel leaves to
# dmirror, see guest/module_parameters; with "!", persistent memory, for device_dax.c:
# 1 GiB that begins at a border of 1 GiB, and 16 MiB in front of it for what describes
# it, and two of 16 MiB for devices with smaller entries. secretmem: memfd_secret(),
# which has to be asked for before v6.5.
cmdline="console=ttyS0 ignore_loglevel printk.devkmsg=on printk.time=1"
cmdline="$cmdline oops=panic panic=-1"
cmdline="$cmdline hugepagesz=1G hugepages=1 default_hugepagesz=2M"
cmdline="$cmdline numa_balancing=disable no_timer_check secretmem.enable=1"
cmdline="$cmdline ${kernel_cmdline:-}"

# Two nodes with some 2 GiB for the kernel each, and a CPU each where there are two.
machine="-smp 2,sockets=2 -numa node,nodeid=0,cpus=0,memdev=memory0"
machine="$machine -numa node,nodeid=1,cpus=1,memdev=memory1"

processor=max
case $mode in
count)
	[ "$accel" != kvm ] || die "only tcg can count instructions"
	accel=tcg,thread=single
	machine="-smp 1 -numa node,nodeid=0,cpus=0,memdev=memory0"
	machine="$machine -numa node,nodeid=1,memdev=memory1"
	machine="$machine -icount shift=0,sleep=off"
	;;
scale)
	;;
*)
	# What an emulated processor would be slow with. erms, fsrm: memory is copied and
	# cleared byte by byte with them. tsc: the counters of its processors agree, but
	# Linux finds that they do not when their threads run one after the other, and then
	# reads the time from a device.
	processor=$processor,-erms,-fsrm
	cmdline="$cmdline tsc=reliable"
	cmdline="$cmdline memmap=256M\$0x140000000 memmap=256M\$0x150000000"
	cmdline="$cmdline memmap=1040M!0x17f000000"
	cmdline="$cmdline memmap=16M!0x168000000 memmap=16M!0x170000000"
	# It has no disk, but memory that it can share.
	machine="$machine -device nvme,serial=hmm_mirror,cmb_size_mb=16"
	;;
esac

"$qemu_dir/packages.sh" qemu-system-x86

mkdir -p "$log"
rm -f "$log/console.log" "$log/qemu.log" "$log/qemu.status"
: >"$log/programs.log"

# qemu PROGRAM-CHANNEL
qemu()
{
	# shellcheck disable=SC2086 # $machine is a list of words
	exec timeout --foreground -k 10 "$time_limit" qemu-system-x86_64 \
		-machine q35 -accel "$accel" -cpu "$processor" -m 5G \
		-object memory-backend-ram,id=memory0,size=2G \
		-object memory-backend-ram,id=memory1,size=3G \
		$machine \
		-nodefaults -no-reboot -display none \
		-chardev file,id=console,path="$log/console.log" \
		-serial chardev:console \
		-chardev "$1" -serial chardev:programs \
		-kernel "$kernel_image" -initrd "$out/initramfs.cpio" \
		-append "$cmdline"
}

if [ "$mode" = shell ]; then
	time_limit=0
	(qemu stdio,id=programs,signal=off)
	exit
fi

(qemu file,id=programs,path="$log/programs.log") \
	</dev/null >"$log/qemu.log" 2>&1 &
qemu_pid=$!
trap 'kill "$qemu_pid" 2>/dev/null || :' EXIT
trap 'exit 130' INT TERM HUP

tail -n +1 -s 0.2 --pid="$qemu_pid" -f "$log/programs.log" | "$@"

status=0
wait "$qemu_pid" || status=$?
printf '%s\n' "$status" >"$log/qemu.status"
