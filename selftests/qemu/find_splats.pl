#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# find_splats.pl LOG: prints the lines of a kernel's log that must never be in
# one. Exits with 0 if there is none.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Splats;

die("usage: find_splats.pl LOG\n") if @ARGV != 1;
my @splats = Splats::load();
open(my $log, '<', $ARGV[0]) or die("$ARGV[0]: $!\n");
my @found = grep { Splats::matches($_, @splats) } <$log>;
print(@found);
exit(@found ? 1 : 0);
