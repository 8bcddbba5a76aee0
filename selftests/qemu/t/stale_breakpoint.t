#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# stale_breakpoint.awk must know the crash that is QEMU's, and no other.

use strict;
use warnings;
use FindBin;
use Test::More;

# stale(LINE...): is a log of these lines taken for QEMU's crash?
sub stale
{
	open(my $awk, '|-', 'awk', '-f', "$FindBin::Bin/../stale_breakpoint.awk") or die("awk: $!\n");
	print($awk map { "[  175.250605] $_\n" } @_);
	close($awk);
	return $? >> 8 == 0 ? 'stale' : 'not';
}

my $int3 = 'Oops: int3: 0000 [#1] SMP NOPTI';
my @between = ('CPU: 0 UID: 0 PID: 15 Comm: rcu_preempt Not tainted 7.3.4', 'RIP: 0010:__schedule+0x30c/0x1080');

is(stale('hmm_mirror guest: ready'), 'not', 'no crash');
is(stale(), 'not', 'no log');
is(stale($int3, @between, 'Code: e9 e5 05 00 00 0f <1f> 44 00 00', 'Call Trace:'), 'stale',
   'the breakpoint had been replaced by a nop');
is(stale($int3, @between, 'Code: e9 e5 05 00 00 e9 <1f> 44 00 00'), 'stale', 'or by a jump');
is(stale($int3, @between, 'Code: 5b 5d 41 5c c3 cc <cc> cc cc cc'), 'not',
   'the kernel ran into a breakpoint that is there');
is(stale($int3, @between, 'Code: Unable to access opcode bytes at 0xffffffffc0000000.'), 'not',
   'the code could not be read');
is(stale($int3, @between), 'not', 'the log ends before the code');
is(stale('Oops: int3: 0000 [#2] SMP NOPTI', @between, 'Code: 00 0f <1f> 44 00 00'), 'not',
   'another crash had come before');
is(stale('Oops: invalid opcode: 0000 [#1] SMP NOPTI', @between, 'Code: 0f 0b <0f> 1f 44 00 00'), 'not',
   'another crash');
is(stale('Oops: invalid opcode: 0000 [#1] SMP NOPTI', @between, 'Code: 90 <0f> 0b 1f 44', $int3,
	 'Code: 00 cc <1f> 44 00 00'), 'not', 'only the code of the int3 counts');

done_testing();
