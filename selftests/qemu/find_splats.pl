#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# find_splats.pl LOG QEMU-LOG: prints the lines of a kernel's log, and of QEMU's, that must
# never be in one. Exits with 0 if there is none.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Splats;

die("usage: find_splats.pl LOG QEMU-LOG\n") if @ARGV != 2;
my @splats = Splats::load();
my @logs;

for my $path (@ARGV) {
	open(my $log, '<', $path) or die("$path: $!\n");
	push(@logs, [<$log>]);
}
my @found = ((grep { Splats::matches($_, @splats) } @{$logs[0]}), Splats::complaints(@{$logs[1]}));
print(@found);
exit(@found ? 1 : 0);
