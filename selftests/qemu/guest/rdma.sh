#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What "make rdma" shows: Debian's ibv_rc_pingpong, ib_write_bw and ib_read_bw with
# on-demand paging over soft-RoCE, whose page faults are hmm_range_fault()'s. First
# as the kernel has it, then taken over by hmm_mirror. Memory is short, and what is
# there is paged out, unmapped and mapped again all the time (rdma_churn.c). The
# exit status says if all has ended well, with the right data.

# shellcheck source=guest/functions.sh
. /guest/functions.sh

failed=0
callers=/sys/kernel/debug/hmm_takeover/callers
cgroup=/tmp/cgroup
events=/sys/kernel/tracing/kprobe_events
address=10.9.0.1
device=rxe0
# Not busybox's
ip=/sbin/ip
table=/tmp/table
# Bytes of a message, how many, bytes of memory for a program, seconds for it
SIZE=$((8 << 20))
ITERATIONS=8
LIMIT=$((14 << 20))
RUN_LIMIT=300

must()
{
	"$@" || { echo "FAILED: $*"; exit 1; }
}

# Packets that a host sends to itself come back over its loop-back, whatever the
# device that has the address.
set_up()
{
	must $ip link set lo up
	must $ip link add veth0 type veth peer name veth1
	must $ip address add $address/24 dev veth0
	# Packets of whole pages: rxe copies others to and from the wrong place in a page
	# (__rxe_odp_mr_copy() in 7.3 forgets the offset), whoever has faulted it.
	must $ip link set veth0 mtu 9000 up
	must $ip link set veth1 mtu 9000 up
	must rdma link add $device type rxe netdev veth0
	wait_for test -e /dev/infiniband/uverbs0 || exit 1
	# The index of the address among the names of the device: v4-mapped
	gid=$(grep -l 'ffff:0a09:0001' /sys/class/infiniband/$device/ports/1/gids/* |
	      sed 's|.*/||' | head -n 1)
	[ -n "$gid" ] || { echo "FAILED: no GID"; exit 1; }
	mkdir $cgroup
	must mount -t cgroup2 cgroup2 $cgroup
	must sh -c "echo +memory >$cgroup/cgroup.subtree_control"
	must sh -c "echo 'p:odp ib_umem_odp_map_dma_and_lock' >$events"
	echo 1 >/sys/kernel/tracing/events/kprobes/odp/enable
}

# in_cgroup WHO PROGRAM ARGUMENT...: with little memory; it prints to /tmp/WHO.out
in_cgroup()
{
	who=$1
	shift
	[ -d "$cgroup/$who" ] || mkdir "$cgroup/$who"
	echo "$LIMIT" >"$cgroup/$who/memory.max"
	# shellcheck disable=SC2016 # for the other shell
	sh -c 'echo $$ >$1/cgroup.procs; shift; exec "$@"' - "$cgroup/$who" \
		env LD_PRELOAD=/guest/rdma_churn.so timeout "$RUN_LIMIT" "$@" \
		>"/tmp/$who.out" 2>&1
}

# counter NAME FILE
counter()
{
	awk -v name="$1" '$1 == name { print $2 }' "$2"
}

odp_calls()
{
	awk '$1 == "odp" { print $2 }' /sys/kernel/tracing/kprobe_profile
}

# snapshot: what the kernel has counted so far
snapshot()
{
	echo "$(odp_calls) $(counter pgfault /proc/vmstat)" \
	     "$(counter pgmajfault /proc/vmstat) $(cut -d . -f 1 /proc/uptime)"
}

# run WHAT NAME BYTES PROGRAM ARGUMENT...: a server and its client
run()
{
	what=$1
	export CHURN=1
	[ "$what" != undisturbed ] || CHURN=0
	name=$2
	bytes=$3
	shift 3
	before=$(snapshot)
	in_cgroup server "$@" &
	server=$!
	# There is no other sign that it listens.
	wait_for sh -c 'netstat -ltn | grep -q ":18515 "'
	in_cgroup client "$@" $address
	status=$?
	wait $server || status=$?
	after=$(snapshot)
	verdict=ok
	[ $status -eq 0 ] || verdict="failed ($status)"
	if ! verify "$name"; then
		verdict="$verdict, WRONG DATA"
	fi
	[ "$verdict" = ok ] || {
		failed=1
		sed "s/^/  $name, $what, server: /" /tmp/server.out
		sed "s/^/  $name, $what, client: /" /tmp/client.out
	}
	# shellcheck disable=SC2086 # lists of numbers
	set -- $before $after
	echo "$name|$what|$bytes|$(($5 - $1))|$(($6 - $2))|$(($7 - $3))|$(($8 - $4))|$verdict|$(
		sed -n 's/.*churn: .*remapped \([0-9]*\) and paged out \([0-9]*\).*/\1 \2/p' \
			/tmp/server.out /tmp/client.out | awk '{ a += $1; b += $2 }
			END { print a "|" b }')" >>$table
}

# half WHO WHICH: the hash of that half of its buffer
half()
{
	sed -n "s/^churn: .*$2 \([0-9a-f]\{16\}\).*/\1/p" "/tmp/$1.out" | grep .
}

# Whether what a client has written is with the server, or the other way round.
# pingpong looks for itself.
verify()
{
	case $1 in
	write | read)
		[ "$(half client own)" = "$(half server "others'")" ]
		;;
	pingpong)
		! grep -q 'invalid data' /tmp/server.out /tmp/client.out
		;;
	esac
}

run_all()
{
	run "$1" pingpong $((2 * SIZE * ITERATIONS)) \
		ibv_rc_pingpong -d $device -g "$gid" -m 4096 -o -c -s "$SIZE" \
		-n "$ITERATIONS" -r 4 -p 18515
	run "$1" write $((SIZE * ITERATIONS)) \
		ib_write_bw -d $device -x "$gid" -m 4096 --odp -s "$SIZE" \
		-n "$ITERATIONS" -t 2 -F -p 18515
	run "$1" read $((SIZE * ITERATIONS)) \
		ib_read_bw -d $device -x "$gid" -m 4096 --odp -s "$SIZE" \
		-n "$ITERATIONS" -t 2 -F -p 18515
}

set_up
echo "$(uname -r), $device over veth0, messages of $((SIZE >> 20)) MiB, $((LIMIT >> 20)) MiB of memory for each program"
run_all undisturbed
run_all kernel
take_over || { echo "FAILED: not taken over"; exit 1; }
run_all hmm_mirror
hmmctl info | grep takeover
hmmctl stats | sed -n '/taken over/,$p'
grep -q 'calls [1-9]' $callers || { echo "FAILED: nothing was taken over"; failed=1; }
give_back || failed=1

echo
sort -s -t '|' -k 1,1 $table | awk -F '|' '
	BEGIN { printf "%-9s %-11s %5s %10s %9s %9s %11s %9s %9s %5s  %s\n", "PROGRAM", "ANSWERED BY",
		"MiB", "ODP CALLS", "FAULTS", "MAJOR", "FAULTS/GiB", "REMAPS", "PAGEOUTS", "s", "COMPLETION, DATA" }
	{ printf "%-9s %-11s %5d %10d %9d %9d %11d %9d %9d %5d  %s\n", $1, $2, $3 / 1048576, $4, $5, $6,
		 $5 * 1073741824 / $3, $9, $10, $7, $8 }'
rdma link delete $device
exit $failed
