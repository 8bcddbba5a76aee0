#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The benchmark among the kernel's own hmm-tests, with dmirror. It gets two minutes of
# real time, for what KASAN makes too slow on an emulated machine. With ARGS=--compare it
# also runs with the kernel's test driver, and the results are printed side by side; that
# driver needs longer, and may still be in use after the time-out: its removal waits.

# shellcheck disable=SC3040 # it is busybox that runs this
set -o pipefail
# shellcheck source=guest/functions.sh
. /guest/functions.sh

program=/guest/hmm-tests
benchmark=benchmark_thp_migration
coherent=$(sed -n 's/^dmirror.ko //p' /modules/project)
failed=0

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
if [ "${1:-}" = --compare ]; then
	# Not with its coherent memory: when it has given out all of that it maps it
	# once more, at which the kernel complains.
	run test_hmm -V hmm_device_coherent || echo "# test_hmm has failed"
	wait_for sh -c '! grep -q ^test_hmm /proc/modules || rmmod test_hmm'
fi
# shellcheck disable=SC2086 # a list of words
insmod /modules/dmirror.ko $coherent || failed=1

columns dmirror >/tmp/left
if [ -e /tmp/test_hmm ]; then
	heading="# memory    size      direction|dmirror: THP  |dmirror: 4K   |test_hmm: THP |test_hmm: 4K"
	columns test_hmm | cut -d '|' -f 2- >/tmp/right
else
	heading="# memory    size      direction|dmirror: THP  |dmirror: 4K   "
	: >/tmp/right
fi
echo "$heading"
awk -v compared="$(wc -l </tmp/right)" '
	FILENAME == "/tmp/right" { right[FNR] = $0; next }
	{ print "# " $0 (compared ? "|" (FNR in right ? right[FNR] : "-             |-") : "") }' \
	/tmp/right /tmp/left
exit $failed
