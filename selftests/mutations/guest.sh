#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# In the guest: runs the differential test with the module as it is and then with
# each mutant. TAP; a test is good if the bug was found.

number=0

# with_module FILE: loads it in place of hmm_mirror, and all its clients again
with_module()
{
	tac /modules/project | while read -r module parameters; do
		rmmod "${module%.ko}" || exit 1
	done || return
	while read -r module parameters; do
		file=/modules/$module
		[ "$module" != hmm_mirror.ko ] || file=$1
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

echo "TAP version 13"
problem=
/tests/differential -t random --cases 500 >/tmp/log || problem="$(grep -m 1 fails: /tmp/log)"
report "$problem" none "no difference"
for mutant in /mutants/*.ko; do
	name=$(basename "$mutant" .ko)
	problem=
	if ! with_module "$mutant"; then
		problem="cannot be loaded"
	elif /tests/differential -t random --failures 1 --no-shrink >/tmp/log; then
		problem="was not found"
	elif ! grep -q ' fails: ' /tmp/log; then
		problem="the test failed, but not because of a difference"
	fi
	report "$problem" "$name" "caught, $(sed -n 's/^# --seed .* fails: //p' /tmp/log | head -n 1)"
done
echo "1..$number"
