#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# boot.sh OUT MODE [FILTER...]: boots OUT/initramfs.cpio with the kernel that
# fetch_kernel.sh described in the environment. While it runs, what programs print
# in the guest goes through FILTER to stdout. Afterwards there is
#
#	OUT/log/console.log	everything the kernel said
#	OUT/log/programs.log	everything the programs printed
#	OUT/log/qemu.log	what QEMU itself had to say
#	OUT/log/qemu.status	its exit status, 124 if it ran out of time
#
# In the modes "count", "count_dma", "dma" and "bounce" the machine has one CPU and its clocks
# count instructions: each takes a nanosecond, and waiting takes nothing. In mode "bounce"
# there is no IOMMU, and the kernel has to copy whatever a device reads or writes. In mode "dma"
# it trusts the host bridge to pass on what one PCI device sends another.
#
# The machine ends when any of the processes ends that have started this one, up to the
# one that lock_tree() has noted, and make.
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

# console: every message, at once, with its time. oops, panic: an oops ends the
# machine (with -no-reboot); the log has all of it. devkmsg: no rate limit for our
# markers.
# numa_balancing: its scanner makes present pages PROT_NONE whenever it likes; a
# test that wants this can switch it on. no_timer_check: the check panics if a busy
# host delays a virtual timer. memmap: memory that the kernel leaves to dmirror, see
# guest/module_parameters; with "!", persistent memory, for device_dax.c: 1 GiB that
# begins at a border of 1 GiB, with 16 MiB in front of it for its description, and two
# of 16 MiB for devices with smaller entries. secretmem: memfd_secret(), which must be
# requested before v6.5.
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
count | count_dma | dma | bounce)
	[ "$accel" != kvm ] || die "only tcg can count instructions"
	accel=tcg,thread=single
	machine="-smp 1 -numa node,nodeid=0,cpus=0,memdev=memory0"
	machine="$machine -numa node,nodeid=1,memdev=memory1"
	machine="$machine -icount shift=0,sleep=off"
	# A device behind an IOMMU that is flushed with each unmap, and a log of what the
	# IOMMU is told, with marks in a register of the device: see flushes.awk.
	if [ "$mode" = count_dma ]; then
		cmdline="$cmdline intel_iommu=on iommu.strict=1"
		machine="-device intel-iommu,intremap=off $machine"
		machine="$machine -device edu,dma_mask=0xffffffffffffffff"
		machine="$machine -trace vtd_inv_desc_iotlb* -trace pci_cfg_write"
	fi
	;;
esac
case $mode in
count | count_dma | scale)
	;;
*)
	# Features with which an emulated processor would be slow. erms, fsrm: with them
	# memory is copied and cleared byte by byte. tsc: the processors' counters agree,
	# but Linux thinks that they do not if their threads run one after the other, and
	# then reads the time from a device.
	processor=$processor,-erms,-fsrm
	cmdline="$cmdline tsc=reliable"
	cmdline="$cmdline memmap=256M\$0x140000000 memmap=256M\$0x150000000"
	cmdline="$cmdline memmap=1040M!0x17f000000"
	cmdline="$cmdline memmap=16M!0x168000000 memmap=16M!0x170000000"
	# It has no disk, but memory that can be shared; with a neighbour that has nothing
	# of its own, below a switch, where the two reach each other directly.
	switch="-device pcie-root-port,id=port0,chassis=1,slot=1"
	switch="$switch -device x3130-upstream,id=switch0,bus=port0"
	switch="$switch -device xio3130-downstream,id=below1,bus=switch0,chassis=2,slot=2"
	switch="$switch -device xio3130-downstream,id=below2,bus=switch0,chassis=2,slot=3"
	machine="$machine $switch -device nvme,serial=hmm_mirror,cmb_size_mb=16,bus=below1"
	# A device with DMA behind an IOMMU (edu_mirror.c, dma_map.c), which has to come
	# first, and says what it blocks: a line each, that check_log.pl finds. It leaves
	# interrupts alone, which would only take longer. edu's own mask would cut addresses
	# off without a word to the guest. And a disk to swap to: unlike zram it keeps what
	# has been read. One machine is for all, as a device's domain can be made strict,
	# lazy or none at all while it runs; programs that use none of this do not notice.
	edu="-device edu,dma_mask=0xffffffffffffffff"
	if [ "$mode" = dma ]; then
		# It asks no more of AMD's processors from this family on, but warns of a leak
		# that some have and this one has no microcode for, on 6.1 even if told not to
		# close it.
		processor=$processor,vendor=AuthenticAMD,family=23
		cmdline="$cmdline mitigations=off"
	fi
	if [ "$mode" = bounce ]; then
		# Without an IOMMU edu reaches its neighbour: QEMU's IOMMU also translates
		# what the switch would not let it see.
		cmdline="$cmdline swiotlb=force"
		machine="$machine $edu,bus=below2"
	else
		cmdline="$cmdline intel_iommu=on"
		machine="-device intel-iommu,intremap=off $machine -trace vtd_dmar_fault"
		machine="$machine -device pci-testdev,bus=below2 $edu"
	fi
	machine="$machine -drive if=none,id=swap,format=raw,cache=unsafe,file=$out/swap.img"
	machine="$machine -device virtio-blk-pci,drive=swap"
	rm -f "$out/swap.img"
	truncate -s 256M "$out/swap.img"
	;;
esac

"$qemu_dir/packages.sh" qemu-system-x86

mkdir -p "$log"
rm -f "$log/console.log" "$log/qemu.log" "$log/qemu.status"
: >"$log/programs.log"

# ancestors: the processes that have started this one, as far as they belong to the run;
# the kernel itself ends QEMU when its parent ends
ancestors()
{
	processes | awk -v pid=$PPID -v top="${HMM_MIRROR_RUN:-$PPID}" '
	{ parent[$1] = $2; name[$1] = $3 }
	END {
		while (pid in parent && pid != top && pid > 1) {
			print pid
			pid = parent[pid]
		}
		if (pid != top || !(pid in parent))
			exit 1
		print pid
		for (;;) {
			pid = parent[pid]
			if (name[pid] == "sh" && name[parent[pid]] == "make") {
				print pid
				pid = parent[pid]
			}
			if (name[pid] != "make")
				exit 0
			print pid
		}
	}'
}

# watch_run PID...: ends this script, and with it QEMU, when one of these is gone
watch_run()
{
	while processes | awk -v wanted="$*" '
		{ there[$1] = 1 }
		END {
			count = split(wanted, pids, " ")
			for (i = 1; i <= count; i++)
				if (!(pids[i] in there))
					exit 1
		}'
	do
		sleep 1
	done
	kill -KILL $$
}

# qemu PROGRAM-CHANNEL
qemu()
{
	# shellcheck disable=SC2086 # $machine is a list of words
	exec setpriv --pdeathsig KILL timeout --foreground -k 10 "$time_limit" \
		setpriv --pdeathsig KILL qemu-system-x86_64 \
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

run=$(ancestors) || die "the run that this belongs to has ended"
# shellcheck disable=SC2086 # a list of numbers
watch_run $$ $run >/dev/null 2>&1 &
watcher=$!
qemu_pid=
trap 'kill "$watcher" $qemu_pid 2>/dev/null || :' EXIT

if [ "$mode" = shell ]; then
	# It has the terminal, so wait for it as for a command: a signal with a trap would
	# be ignored until then.
	time_limit=0
	(qemu stdio,id=programs,signal=off)
	exit
fi
trap 'exit 130' INT TERM HUP

(qemu file,id=programs,path="$log/programs.log") \
	</dev/null >"$log/qemu.log" 2>&1 &
qemu_pid=$!

# The shell handles signals while it waits, not while a command runs.
tail -n +1 -s 0.2 --pid="$qemu_pid" -f "$log/programs.log" | "$@" &
wait $! || :

status=0
wait "$qemu_pid" || status=$?
printf '%s\n' "$status" >"$log/qemu.status"
