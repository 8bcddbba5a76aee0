#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The kernel's own hmm-tests, unchanged from its source package, with dmirror in place
# of the kernel's test driver. Nothing may be skipped, except what needs the kernel's
# gup_test driver if that was not built: the guest has everything else that they need.

# shellcheck disable=SC3040 # it is busybox that runs this
set -o pipefail
# shellcheck source=guest/functions.sh
. /guest/functions.sh

program=/guest/hmm-tests
output=/tmp/hmm_tests.tap
thp=/sys/kernel/mm/transparent_hugepage/enabled

[ -x $program ] || skip "this kernel has no device-private memory"

# The benchmark among them has a program of its own, hmm_benchmark.sh. It fails with ENOENT
# now and then after others have run, for a reason that is not known (seen on 7.3).
set -- "$@" -T benchmark_thp_migration

# They want huge pages, which other programs may have left no room for.
echo 3 >/proc/sys/vm/drop_caches
echo 1 >/proc/sys/vm/compact_memory

# Huge pages wherever they fit make it harder, for the driver and for the tests.
before=$(sed 's/.*\[\(.*\)\].*/\1/' $thp)
echo always >$thp
$program "$@" | tee $output
status=$?
echo "$before" >$thp
# On top of the TAP, where this would count as fine.
allowed=nothing
[ -e /sys/kernel/debug/gup_test ] || allowed='could not find gup_test driver'
if grep '^ok .* # SKIP' $output | grep -qv "$allowed"; then
	echo "# a test was skipped"
	exit 3
fi
exit $status
