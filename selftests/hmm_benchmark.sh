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

# run MODULE: hmm-tests with the driver MODULE, and what it prints into /tmp/MODULE
run()
{
	# shellcheck disable=SC2086 # a list of words
	insmod "/modules/$1.ko" $coherent || return 1
	$program -t $benchmark >"/tmp/$1" 2>&1
	status=$?
	grep -e '^not ok' -e '^#.*\(rror\|xpected\|imed out\)' "/tmp/$1" | sed 's/^/# /'
	rmmod "$1" && return $status
}

# columns MODULE: the lines of its tables, "variant: size: what | THP | no THP"
columns()
{
	awk -F ' *[|] *' '
		/RUN .*hmm_device_/ { variant = $1; sub(/.*hmm_device_/, "", variant)
				      sub(/[.].*/, "", variant) }
		/^===/ { size = $0; gsub(/ *=+ */, "", size); sub(/.*[(]/, "", size)
			 sub(/[)].*/, "", size) }
		/Migration +[|]/ { sub(/ Migration/, "", $1)
				   printf "%-9s %-9s %-9s|%-16s|%-16s\n", variant,
					  size, $1, $2, $3 }' "/tmp/$1"
}

echo "TAP version 13"
echo "1..2"
number=0
rmmod dmirror
for module in dmirror test_hmm; do
	number=$((number + 1))
	if run $module; then
		echo "ok $number - $benchmark on $module"
	else
		sed 's/^/# /' /tmp/$module
		echo "not ok $number - $benchmark on $module"
		failed=1
	fi
done
# shellcheck disable=SC2086 # a list of words
insmod /modules/dmirror.ko $coherent || failed=1

echo "# memory    size      direction | dmirror: THP   | dmirror: 4K    | test_hmm: THP  | test_hmm: 4K"
columns dmirror >/tmp/left
columns test_hmm | cut -d '|' -f 2- >/tmp/right
paste -d '|' /tmp/left /tmp/right | sed 's/^/# /'
exit $failed
