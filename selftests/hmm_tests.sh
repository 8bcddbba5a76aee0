#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The kernel's own hmm-tests, as its source package has them, with dmirror in the
# place of the kernel's test driver. Nothing may be skipped: the guest has all they
# ask for.

# shellcheck disable=SC3040 # it is busybox that runs this
set -o pipefail
# shellcheck source=guest/functions.sh
. /guest/functions.sh

program=/guest/hmm-tests
output=/tmp/hmm_tests.tap
thp=/sys/kernel/mm/transparent_hugepage/enabled

[ -x $program ] || skip "this kernel has no device-private memory"

# One test is a benchmark that has two minutes of real time. KASAN alone makes that
# too short, on a machine that is emulated.
if grep -q ' kasan_report$' /proc/kallsyms; then
	echo "# benchmark_thp_migration is left out: this kernel has KASAN"
	set -- "$@" -T benchmark_thp_migration
fi

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
if grep -q '^ok .* # SKIP' $output; then
	echo "# a test was skipped"
	exit 3
fi
exit $status
