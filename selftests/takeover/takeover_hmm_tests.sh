#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The kernel's own hmm-tests with the kernel's own test driver, both unmodified,
# first with its hmm_range_fault() and then with hmm_takeover.ko in its place. No
# test may fail then that has passed before.
#
# By default a few of them, which fault and look at memory of each kind; with
# ARGS=--all all of them, twice, which takes minutes. Both with device-private memory
# only: that driver maps its coherent memory once more when all of it has been given
# out, at which the kernel complains. Other arguments are options of hmm-tests.

# shellcheck source=guest/functions.sh
. /guest/functions.sh

program=/guest/hmm-tests
callers=/sys/kernel/debug/hmm_takeover/callers
coherent=$(sed -n 's/^dmirror.ko //p' /modules/project)
failed=0

[ -x $program ] || skip "this kernel has no device-private memory"
[ -e /modules/test_hmm.ko ] || skip "this kernel has no test_hmm"
[ -d /sys/kernel/livepatch ] || skip "this kernel has no CONFIG_LIVEPATCH"
# Whoever asks for more than a check gets it, and what kmemleak says of it.
case $#$(uname -r) in
06.*) [ ! -e /sys/kernel/debug/kmemleak ] ||
	skip "this kernel's test_hmm leaks the names of its devices, kmemleak reports that" ;;
esac

private="-V hmm_device_coherent -V hmm2_device_coherent"
case ${1:-} in
--all)
	shift
	# shellcheck disable=SC2086 # a list of words
	set -- "$@" $private
	# It has two minutes of real time, too few for an emulated machine with KASAN.
	! grep -q ' kasan_report$' /proc/kallsyms ||
		set -- "$@" -T benchmark_thp_migration
	;;
'')
	# shellcheck disable=SC2086 # a list of words
	set -- $private \
		-t anon_read -t anon_read_prot -t anon_write -t anon_write_prot \
		-t anon_write_child -t anon_write_huge -t file_read -t migrate \
		-t migrate_fault -t migrate_mixed -t snapshot -t double_map \
		-t exclusive_cow -t hmm_cow_in_device -t userfaultfd_read
	;;
esac

# run FILE OPTION...: hmm-tests with the kernel's driver
run()
{
	output=$1
	shift
	# shellcheck disable=SC2086 # a list of words
	insmod /modules/test_hmm.ko $coherent || return 1
	$program "$@" >"$output" 2>&1
	rmmod test_hmm
}

# results FILE: "NAME ok", "NAME not ok" or "NAME skipped" for each test
results()
{
	sed -n 's/^\(ok\|not ok\) [0-9]* \([^ ]*\)\(.*\)$/\2 \1\3/p' "$1" |
		sed 's/ ok # SKIP.*/ skipped/'
}

rmmod dmirror
run /tmp/without "$@" || failed=1
take_over || failed=1
run /tmp/with "$@" || failed=1
called=$(sed -n 's/^test_hmm //p' $callers)
give_back || failed=1
# shellcheck disable=SC2086 # a list of words
insmod /modules/dmirror.ko $coherent || failed=1

results /tmp/without >/tmp/without.results
results /tmp/with >/tmp/with.results
echo "TAP version 13"
echo "1..$(($(wc -l </tmp/without.results) + 1))"
grep '^#.*:.*Expected' /tmp/without | sed 's/^/# without: /'
grep '^#.*:.*Expected' /tmp/with | sed 's/^/# taken over: /'
awk 'NR == FNR { after[$1] = substr($0, length($1) + 2); next }
     { name = $1; before = substr($0, length(name) + 2)
       now = name in after ? after[name] : "missing"
       fine = now == "ok" || before != "ok" && now == before
       print (fine ? "ok" : "not ok") " " FNR " " name ": " now \
	     (now == before ? "" : ", without " before) }' \
	/tmp/with.results /tmp/without.results
# It counts only if they have been answered by ours.
nr=$(($(wc -l </tmp/without.results) + 1))
if [ $failed -eq 0 ] && [ "${called#calls 0 }" = "$called" ] && [ -n "$called" ]; then
	echo "ok $nr taken over: $called"
else
	sed 's/^/# /' /tmp/with
	echo "not ok $nr taken over: ${called:-no calls}"
	exit 1
fi
