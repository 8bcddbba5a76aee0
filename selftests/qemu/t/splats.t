#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# The list of splats: each pattern finds its samples, and none finds anything in
# a log where nothing is wrong.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/..";
use Splats;
use Test::More;

my @splats = Splats::load();

for my $splat (@splats) {
	my @samples = @{$splat->{samples}};
	my @missed = grep { "[   12.345678] $_" !~ $splat->{regex} } @samples;

	ok(@samples && !@missed, "finds its samples: $splat->{regex}") or
		diag(@missed ? "not found: @missed" : 'there is no sample');
}

open(my $file, '<', "$FindBin::Bin/benign.log") or die("benign.log: $!\n");
my @benign = <$file>;
cmp_ok(scalar(@benign), '>', 50, 'there is a benign log');
is(join('', grep { Splats::matches($_, @splats) } @benign), '',
   'nothing is found in it');

done_testing();
