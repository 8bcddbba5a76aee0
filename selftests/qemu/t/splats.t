#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# The list of splats: each pattern matches its samples, and none matches anything in
# a log without problems.

use strict;
use warnings;
use File::Temp qw(tempdir);
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

# found(LINE, QEMU-LINE): what find_splats.pl prints for such logs, and its exit status
my $dir = tempdir(CLEANUP => 1);

sub found
{
	my %logs = (console => $_[0], qemu => $_[1]);

	for my $name (keys(%logs)) {
		open(my $log, '>', "$dir/$name") or die("$dir/$name: $!\n");
		print($log "nothing\n$logs{$name}\n");
		close($log);
	}
	my $output = `'$^X' '$FindBin::Bin/../find_splats.pl' '$dir/console' '$dir/qemu'`;
	return $output . ($? >> 8);
}

is(found('fine', 'fine'), '0', 'find_splats.pl, two good logs');
is(found('[    1.0] BUG: KASAN: use-after-free', 'fine'), "[    1.0] BUG: KASAN: use-after-free\n1",
   'a splat of the kernel');
is(found('fine', 'vtd_dmar_fault sid 0x8'), "vtd_dmar_fault sid 0x8\n1", "a complaint of QEMU's");

done_testing();
