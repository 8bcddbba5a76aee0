#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The benchmark among the kernel's own hmm-tests, with dmirror and then with the
# kernel's test driver; what they print is shown side by side. It has two minutes of
# real time for what KASAN makes too slow on a machine that is emulated.

# shellcheck disable=SC3040 # it is busybox that runs this
set -o pipefail
program=/guest/hmm-tests
benchmark=benchmark_thp_migration
coherent=$(sed -n 's/^dmirror.ko //p' /modules/project)
failed=0

skip()
{
	echo "TAP version 13"
	echo "1..0 # SKIP $1"
	exit 4
}

[ -x $program ] || skip "this kernel has no device-private memory"
grep -q $benchmark $program || skip "this kernel's tests have no $benchmark"
! grep -q ' kasan_report$' /proc/kallsyms || skip "KASAN makes it too slow"

# run MODULE OPTION...: hmm-tests with the driver MODULE, and what it prints into
# /tmp/MODULE
run()
{
	module=$1
	shift
	# shellcheck disable=SC2086 # a list of words
	insmod "/modules/$module.ko" $coherent || return 1
	$program "$@" -t $benchmark >"/tmp/$module" 2>&1
	status=$?
	rmmod "$module" && return $status
}

# columns MODULE: the lines of its tables, "variant size direction|THP|no THP"
columns()
{
	awk -F ' *[|] *' '
		/RUN .*hmm_device_/ { variant = $1; sub(/.*hmm_device_/, "", variant)
				      sub(/[.].*/, "", variant) }
		/^===/ { size = $0; gsub(/ *=+ */, "", size); sub(/.*[(]/, "", size)
			 sub(/[)].*/, "", size) }
		/Migration +[|]/ { sub(/ Migration/, "", $1)
				   printf "%-9s %-9s %-9s|%-14s|%-14s\n", variant,
					  size, $1, $2, $3 }' "/tmp/$1"
}

echo "TAP version 13"
echo "1..1"
rmmod dmirror
if run dmirror; then
	echo "ok 1 - $benchmark"
else
	sed 's/^/# /' /tmp/dmirror
	echo "not ok 1 - $benchmark"
	failed=1
fi
# To compare with. Not with its coherent memory: when it has given out all of that
# it maps it once more, at which the kernel complains.
run test_hmm -V hmm_device_coherent || echo "# test_hmm has failed"
# shellcheck disable=SC2086 # a list of words
insmod /modules/dmirror.ko $coherent || failed=1

echo "# memory    size      direction|dmirror: THP  |dmirror: 4K   |test_hmm: THP |test_hmm: 4K"
columns dmirror >/tmp/left
columns test_hmm | cut -d '|' -f 2- >/tmp/right
awk 'NR == FNR { right[FNR] = $0; next }
     { print "# " $0 "|" (FNR in right ? right[FNR] : "-             |-") }' \
	/tmp/right /tmp/left
exit $failed
