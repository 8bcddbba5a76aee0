#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# In the guest: runs the differential test with the module as it is and then with
# each mutant, or the tests that are known to find the bug. TAP; a test is good if the bug
# was found, and says by whom.

number=0

# with_module FILE MODULE: loads it in place of that module, and all others again
with_module()
{
	tac /modules/project | while read -r module parameters; do
		rmmod "${module%.ko}" || exit 1
	done || return
	while read -r module parameters; do
		file=/modules/$module
		[ "$module" != "$2" ] || file=$1
		# shellcheck disable=SC2086 # a list of words
		insmod "$file" $parameters || return
	done </modules/project
}

# report PROBLEM NAME WHAT
report()
{
	number=$((number + 1))
	if [ -n "$1" ]; then
		echo "not ok $number - $2: $1"
	else
		echo "ok $number - $2: $3"
	fi
}

# ran LOG: whether anything in it was not skipped
ran()
{
	grep -v '# SKIP' "$1" | grep -qE '^(not )?ok '
}

# run_hints HINT...: runs each of PROGRAM:TEST; all they say is in /tmp/log. Prints those that
# have failed.
run_hints()
{
	: >/tmp/log
	for test; do
		"/tests/${test%:*}" -t "${test#*:}" >/tmp/log.one
		! grep -q '^not ok' /tmp/log.one || echo "$test"
		cat /tmp/log.one >>/tmp/log
	done
}

# said PATTERN WHO: prints WHO if the kernel's log has it
said()
{
	lines=$(dmesg | grep -cE "$1")
	[ "$lines" -eq 0 ] || echo "$2 ($lines lines)"
}

# who_noticed: what fails a run of the tests, in the order in which they run
who_noticed()
{
	# shellcheck disable=SC2046 # a list of words
	run_hints $(echo "$1" | tr ',' ' ')
	said 'DMAR: .*\[DMA (Read|Write)' DMAR
	said 'DMA-API:' 'DMA debug'
	said 'WARNING: .* (at|CPU)' 'a warning'
	said 'BUG: ' 'a bug'
}

echo "TAP version 13"
problem=
/tests/differential -t random --cases 500 >/tmp/none || problem="$(grep -m 1 fails: /tmp/none)"
report "$problem" none "no difference"
for mutant in /mutants/*.ko; do
	name=$(basename "$mutant" .ko)
	problem=
	hint=$(cat "${mutant%.ko}.hint")
	if [ -n "$hint" ] && grep -q "^# $hint .*cannot be made here" /tmp/none; then
		report "" "$name" "# SKIP $hint: this kernel has none"
		continue
	fi
	who=
	dmesg -c >/dev/null
	if ! with_module "$mutant" "$(cat "${mutant%.ko}.module")"; then
		problem="cannot be loaded"
	elif [ "${hint#*:}" != "$hint" ]; then
		who=$(who_noticed "$hint" | paste -s -d , | sed 's/,/, /g')
		if grep -q '^ok .*# SKIP' /tmp/log && ! ran /tmp/log; then
			report "" "$name" "# SKIP $hint: $(sed -n 's/^ok .*# SKIP *//p' /tmp/log | head -n 1)"
			continue
		fi
		[ -n "$who" ] || problem="was not found"
	elif /tests/differential -t random --failures 1 --no-shrink >/tmp/log; then
		problem="was not found"
	elif ! grep -q ' fails: ' /tmp/log; then
		problem="the test failed, but not because of a difference"
	fi
	[ -n "$who" ] || who=$(sed -n 's/^# --seed .* fails: //p' /tmp/log | head -n 1)
	report "$problem" "$name" "caught, $who"
done
echo "1..$number"
