#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The demonstration "make run" shows: hmm_mirror looks at a process that knows
# nothing of it, faults memory of each kind, and reports invalidations live. Each
# "verified" line is a check; the exit status says if all of them held.

failed=0
# The "verified" lines come last, together.
verdicts=/tmp/verdicts

# verify COMMAND...: what it says is shown at the end
verify()
{
	"$@" >>$verdicts 2>&1 || failed=1
}

echo "hmm_mirror on Linux $(uname -r): $(nproc) CPUs, 2 NUMA nodes, swap on zram"
echo

mkfifo /tmp/commands /tmp/answers
python3 /guest/demo_workload.py </tmp/commands >/tmp/answers &
python=$!
# Opening waits for the other end: python is there when both are open.
exec 3>/tmp/commands 4</tmp/answers
read -r answer <&4
[ "$answer" = ready ] || exit 1

echo "1. A process nobody here wrote: Debian's $(python3 --version), with 16 MiB of bytes, 8 MiB paged out,"
echo "   a forked child that shares it all. Its largest mappings, by \"hmmctl map $python\":"
hmmctl map "$python" >/tmp/map || failed=1
awk '/ADDRESS/ || / total / || $3 ~ /[MG]$/ && $3 + 0 >= 2 { print "  " $0 }' /tmp/map
hmmctl map "$python" --extents --json >/tmp/map.json || failed=1
verify python3 /guest/demo_verify.py map "$python" /tmp/map.json
echo

echo "2. Memory of each kind, faulted in for writing by a device:"
/guest/demo_memory >/tmp/memory || failed=1
awk -v verdicts=$verdicts '
	/^(verified|FAILED)/ { verdict = 1 }
	verdict { print >>verdicts; next }
	{ print }' /tmp/memory
echo

section=3
if hmmctl info --json | grep -q '"device-private": true'; then
	section=4
	echo "3. A device with memory of its own (dmirror): what becomes of a program's pages, and what the map"
	echo "   says of them after each step:"
	/guest/demo_device >/tmp/device || failed=1
	awk -v verdicts=$verdicts '
		/^(verified|FAILED)/ { verdict = 1 }
		verdict { print >>verdicts; next }
		{ print }' /tmp/device
	echo
fi

echo "$section. Python goes on working; \"hmmctl watch $python\" says what each step would cost a device:"
hmmctl watch "$python" --json >/tmp/events &
events=$!
hmmctl watch "$python" | awk '
	/^process / { summary = 1 }
	/^Mappings/ { exit }
	summary ? NF : (NR > 2 && NR < 8) { print "  " $0; fflush() }' &
shown=$!
sleep 1
echo work >&3
read -r answer <&4
echo "$answer" >/tmp/counts
sleep 1
killall -INT hmmctl
wait "$events" || failed=1
wait "$shown"
verify python3 /guest/demo_verify.py watch /tmp/counts /tmp/events
echo

echo quit >&3
wait "$python" || failed=1
cat $verdicts
exit "$failed"
