#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# check_kernel.sh DIRECTORY: can hmm_mirror work with the kernel whose build tree
# this is? Says on stderr why not, each reason on a line. Used by make and, through
# dkms.conf, by DKMS.
# check_kernel.sh DIRECTORY OBJECT...: why could it not be linked? Fails in any case.

set -eu

directory=$1
shift
config=$directory/include/config/auto.conf
[ -e "$config" ] || config=$directory/.config
[ -e "$config" ] || {
	echo "hmm_mirror: $directory is no configured kernel build tree" >&2
	exit 1
}
release=$(sed -n 's/^.define UTS_RELEASE "\(.*\)"/\1/p' \
	  "$directory/include/generated/utsrelease.h" 2>/dev/null || :)

enabled()
{
	grep -q "^CONFIG_$1=[ym]$" "$config"
}

# before MAJOR.MINOR: is the kernel older?
before()
{
	printf '%s\n' "$release" | awk -F '[.-]' -v major="${1%.*}" \
		-v minor="${1#*.}" '
		{ exit !($1 ~ /^[0-9]+$/ && ($1 + 0 < major + 0 ||
			($1 + 0 == major + 0 && $2 + 0 < minor + 0))) }'
}

# What hmm_mirror needs and hardly any other module does: the first to go from a kernel
# that exports only what its own modules use.
exports='
	find_get_pid
	get_pid_task
	get_task_mm
	handle_mm_fault
	mmput_async
	mmu_interval_notifier_insert
	mmu_interval_notifier_remove
	mmu_interval_read_begin
	register_kprobe
	unregister_kprobe
'

# missing_exports: those of the symbols named on stdin that the kernel does not export
missing_exports()
{
	[ -e "$directory/Module.symvers" ] || return 0
	awk 'NR == FNR { exported[$2]; next }
	     NF && !($1 in exported) { print $1 }' "$directory/Module.symvers" -
}

trimmed()
{
	missing=$(missing_exports | paste -s -d ' ')
	[ -z "$missing" ] ||
		echo "CONFIG_TRIM_UNUSED_KSYMS is set, and these are not exported: $missing"
}

reasons()
{
	! before 6.1 ||
		echo "it is older than 6.1"
	enabled 64BIT ||
		echo "it is a 32-bit kernel: addresses and flags share 64-bit words"
	enabled MODULES ||
		echo "CONFIG_MODULES is not set: it cannot load modules"
	enabled MMU_NOTIFIER ||
		echo "CONFIG_MMU_NOTIFIER is not set: nothing tells when page tables change"
	enabled KPROBES ||
		echo "CONFIG_KPROBES is not set: walk_page_range() cannot be found"
	if enabled S390 && enabled HUGETLB_PAGE; then
		echo "on s390 a module cannot read hugetlb entries"
	fi
	! enabled TRIM_UNUSED_KSYMS || printf '%s\n' "$exports" | trimmed
}

if [ $# -gt 0 ]; then
	if enabled TRIM_UNUSED_KSYMS; then
		nm -u "$1" 2>/dev/null | awk '$2 != "__this_module" { print $2 }' | trimmed >&2
	fi
	exit 1
fi

found=$(reasons)
[ -n "$found" ] || exit 0
{
	echo "hmm_mirror does not work with the kernel ${release:-in $directory}:"
	printf '%s\n' "$found" | sed 's/^/  /'
} >&2
exit 1
