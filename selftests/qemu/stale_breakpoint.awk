# SPDX-License-Identifier: GPL-2.0
#
# awk -f stale_breakpoint.awk LOG: did the emulator end this kernel? QEMU 7.2 with two
# processors may run an int3 that the other one has replaced already: the kernel patches
# itself in this way, a tracepoint in schedule() for example, and dies of a breakpoint
# that is not its own. Exits with 0 if that is what the log shows: an int3 where, when
# the kernel prints its code, no int3 is (it is the byte in front of the one in <>).

/int3: 0000 \[#1\]/ { crashed = 1 }

crashed && /Code: / {
	sub(/.*Code: /, "")
	for (i = 2; i <= NF; i++)
		if ($i ~ /^</)
			stale = $(i - 1) ~ /^[0-9a-f][0-9a-f]$/ && $(i - 1) != "cc"
	exit
}

END { exit !stale }
