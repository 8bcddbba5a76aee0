# SPDX-License-Identifier: GPL-2.0
#
# Reads the file "splats" and finds what it describes in a kernel's log; and what QEMU's
# devices say of a driver that asks for what they cannot do in QEMU's.

package Splats;

use strict;
use warnings;
use File::Basename qw(dirname);

# Returns a list of { regex, samples }.
sub load
{
	my ($path) = @_;
	my @splats;

	$path //= dirname(__FILE__) . '/splats';
	open(my $file, '<', $path) or die("$path: $!\n");
	while (my $line = <$file>) {
		chomp($line);
		next if $line =~ /^(#|$)/;
		if ($line =~ s/^\t//) {
			die("$path:$.: a sample without a pattern\n") if !@splats;
			push(@{$splats[-1]{samples}}, $line);
		} else {
			push(@splats, { regex => qr/$line/, samples => [] });
		}
	}
	return @splats;
}

# Is this line of the log one?
sub matches
{
	my ($line, @splats) = @_;

	# What our own guest writes into the log quotes names, not the kernel.
	return 0 if $line =~ /\bhmm_mirror guest: /;
	return scalar(grep { $line =~ $_->{regex} } @splats);
}

# Those of the lines of QEMU's log that are complaints
sub complaints
{
	return grep { /\bEDU:|\b(vtd|amdvi)_\w+:|\bvtd_dmar_fault\b|\bguest (bug|error)\b/i } @_;
}

1;
