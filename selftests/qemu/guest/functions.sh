#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What scripts in the guest share: ". /guest/functions.sh".

livepatch=/sys/kernel/livepatch/hmm_takeover

# skip REASON: ends a test script that this kernel is not for
skip()
{
	echo "TAP version 13"
	echo "1..0 # SKIP $1"
	exit 4
}

# wait_for COMMAND...: until it succeeds, for as long as a transition may take
wait_for()
{
	tries=1000
	until "$@" 2>/dev/null; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		usleep 100000
	done
}

# shellcheck disable=SC2317 # wait_for calls it
is_active()
{
	grep -qx 1 "$livepatch/enabled" && grep -qx 0 "$livepatch/transition"
}

# processors ONLINE: takes all but one away, or brings them back. A kernel that is
# patched while it runs is more than QEMU's emulator can do with two, see
# selftests/takeover/takeover.c.
processors()
{
	echo "$1" >/sys/devices/system/cpu/cpu1/online
}

# take_over: has hmm_takeover.ko answer for the kernel's hmm_range_fault()
take_over()
{
	processors 0
	insmod /modules/hmm_takeover.ko && wait_for is_active
	set -- $?
	processors 1
	return "$1"
}

# give_back: and no longer
give_back()
{
	processors 0
	echo 0 >"$livepatch/enabled"
	wait_for rmmod hmm_takeover
	set -- $?
	processors 1
	return "$1"
}
