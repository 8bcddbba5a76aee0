#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The differential test with hmm_takeover.ko in the place of the kernel's
# hmm_range_fault(): what a driver is answered through it, in the kernel's format,
# says the same as hmm_mirror's own functions. A difference here is one that the
# conversion makes. Options are those of differential; without, the first 2500 cases.

# shellcheck source=guest/functions.sh
. /guest/functions.sh

program=/tests/differential
callers=/sys/kernel/debug/hmm_takeover/callers

[ -d /sys/kernel/livepatch ] || skip "this kernel has no CONFIG_LIVEPATCH"
grep -q ' hmm_range_fault$' /proc/kallsyms ||
	skip "this kernel has no hmm_range_fault() (CONFIG_HMM_MIRROR)"
[ $# -gt 0 ] || set -- --cases 2500

if ! take_over; then
	echo "Bail out! hmm_takeover.ko cannot be loaded"
	exit 1
fi
$program "$@"
status=$?
called=$(sed -n 's/^hmm_differential //p' $callers)
give_back || status=1
echo "# taken over: $called"
# It counts only if they have been answered by ours.
case $called in
'' | 'calls 0 '*)
	echo "# nothing was taken over"
	exit 3
	;;
esac
exit $status
