#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# report.pl KERNEL RELEASE RESULTS DIRECTORY: makes of what bench printed
#
#	a table on stdout
#	DIRECTORY/KERNEL.md	the same table, and what follows from it
#	DIRECTORY/KERNEL.dat	what benchmarks.gnuplot draws
#
# Exits with 0 if all targets that were measured are reached.

use strict;
use warnings;
use FindBin;

my ($kernel, $release, $results, $directory) = @ARGV;
die("usage: report.pl KERNEL RELEASE RESULTS DIRECTORY\n") if @ARGV != 4;

my %value;
my @rows;
my $missed = 0;

sub read_results
{
	open(my $file, '<', $results) or die("$results: $!\n");
	while (<$file>) {
		$value{"$1:$2"} = $3 if /^row (\S+) (\S+) (\S+)$/;
	}
}

sub read_rows
{
	open(my $file, '<', "$FindBin::Bin/rows") or die("rows: $!\n");
	while (<$file>) {
		next if /^#/ || !/\S/;
		chomp;
		my %row;
		@row{qw(name work unit ours others targets)} =
			map { s/^\s+|\s+$//gr } split(/\|/);
		for (@row{qw(ours others)}) {
			$_ = [ map { /:/ ? $_ : "$row{name}:$_" }
			       grep { $_ ne '-' } split ];
		}
		$row{targets} = [ grep { $_ ne '-' }
				  split(/\s*,\s*/, $row{targets}) ];
		push(@rows, \%row);
	}
}

sub number
{
	my ($number) = @_;

	return sprintf('%.0f', $number) if $number >= 1000;
	return sprintf('%.1f', $number) =~ s/\.0$//r if $number >= 100;
	return sprintf('%.2f', $number) =~ s/\.?0+$//r;
}

# describe(WAY): how it is called in the table, with what it took
sub describe
{
	my ($way) = @_;

	return "$1 " . number($value{$way}) if $way =~ /:(.*)/;
}

# How many times less the best of ours took than the best known way.
sub ratio
{
	my ($row) = @_;
	my @ours = sort { $a <=> $b } grep { defined } @value{@{$row->{ours}}};
	my ($kernel) = grep { defined } @value{@{$row->{others}}};

	return '' if !@ours || !$kernel || !$ours[0] || $row->{name} eq 'scale';
	return number($kernel / $ours[0]) . ' x';
}

# judge(ROW, TARGET): the target as text, and whether it is reached
sub judge
{
	my ($row, $target) = @_;
	my ($way, $relation, $factor, $other) =
		$target =~ /^(\S+) (<=|<|>=) (\S+)(?: \* (\S+))?$/ or
		die("rows: cannot read '$target'\n");
	my $measured = $value{"$row->{name}:$way"};
	my $limit = $factor;

	if ($other) {
		my $key = $other =~ /:/ ? $other : "$row->{name}:$other";

		return unless defined($value{$key});
		$limit *= $value{$key};
	}
	return unless defined($measured);
	my $reached = $relation eq '>=' ? $measured >= $limit :
		      $relation eq '<' ? $measured < $limit : $measured <= $limit;
	$missed++ unless $reached;
	$target =~ s/ 1 \* / /;
	$target =~ s/\*/x/;
	return "$target: " . ($reached ? 'yes' : 'NO');
}

sub table
{
	my @lines = ([ 'work', 'unit', 'hmm_mirror', 'others', 'ratio',
		       'target: reached' ]);

	for my $row (@rows) {
		next unless grep { defined($value{$_}) } @{$row->{ours}};
		push(@lines, [
			$row->{work}, $row->{unit},
			join(', ', map { describe($_) }
			     grep { defined($value{$_}) } @{$row->{ours}}),
			join(', ', map { describe($_) }
			     grep { defined($value{$_}) } @{$row->{others}}),
			ratio($row),
			join(', ', map { judge($row, $_) } @{$row->{targets}}),
		]);
	}
	return @lines;
}

sub print_text
{
	my @lines = @_;
	my @widths = (0) x 6;

	for my $line (@lines) {
		for (0 .. 5) {
			my $length = length($line->[$_]);
			$widths[$_] = $length if $length > $widths[$_];
		}
	}
	for my $line (@lines) {
		print(join('  ', map { sprintf('%-*s', $widths[$_], $line->[$_]) }
			   0 .. 5) =~ s/\s+$//r, "\n");
	}
}

# What mirroring 4 TiB of huge pages costs, by the constants measured.
sub estimate
{
	my $pmds = 4 << (40 - 21);
	my $kernel = $value{'snapshot_thp_pmd:kernel'};
	my $extents = $value{'snapshot_thp_pmd:extents'};

	return '' unless $kernel && $extents;
	my $ours = $pmds * $extents / 1e6;
	my $theirs = $pmds * $kernel / 1e6;
	return <<"END" . sprintf(<<'END', $theirs, $ours, $theirs / $ours);

## A process of 4 TiB, on paper

4 TiB of transparent huge pages are $pmds PMDs, or 1073741824 pages of 4K. From the
rows above:

END
| | kernel's `hmm_range_fault()` | `hmm_mirror_range_extents()` |
|---|---|---|
| instructions for one snapshot, millions | %.0f | %.0f (%.0f x fewer) |
| memory for the answer, one call for all | 8 GiB of words | 96 MiB of extents at most: 48 bytes for each run of contiguous huge pages, 2097152 if no two are |
| memory for the answer, in chunks | as much as the driver chooses, 4 KiB for each 2 MiB | as much as the driver chooses, 48 bytes for each 2 MiB |
| after each chunk | the driver looks for runs in 512 words for each PMD | nothing is left to do |
| invalidation in the middle of it | starts over | starts over with the chunk |
END
}

sub write_markdown
{
	my @lines = @_;
	my $path = "$directory/$kernel.md";

	open(my $file, '>', $path) or die("$path: $!\n");
	print($file <<"END");
<!-- SPDX-License-Identifier: GPL-2.0 -->
# Benchmarks on $kernel

Kernel $release. Made by `make bench KERNEL=$kernel`, which writes this file
and the plot anew.

![instructions beside those of the kernel's own functions]($kernel.svg)

All figures are **instructions** of the guest, kernel and user, counted by QEMU
(`-icount shift=0,sleep=off`, one CPU) and repeat to within about 1 %. They say nothing
of cache misses, nor of seconds. "pages" is `hmm_mirror_range_fault()`, "extents"
`hmm_mirror_range_extents()`, "kernel" `hmm_range_fault()`, all from taking the sequence
number to checking it, on the same memory in one boot. Faults are taken in memory
that has been used and given back before, with its page tables in place unless the
row says empty, the least of some tries; clearing or copying a page is counted
iteration by iteration. "single" is one page by a request of its own.
The kernel's figure for 1 TiB is 1024 times that for 1 GiB of it. An invalidation is
what `MADV_DONTNEED` of one page costs more than without a subscription.

Rows on DMA are of a machine with an IOMMU in strict mode. "hmm_mirror" is
`hmm_mirror_dma_populate()`, "drm_gpusvm", on kernels that have it, the kernel's module
for GPU drivers, "one_by_one" `dma_map_page()` and `dma_unmap_page()` of each page.
[What they do](../benchmarks.md#dma)

END
	for my $i (0 .. $#lines) {
		print($file '| ', join(' | ', @{$lines[$i]}), " |\n");
		print($file '|---' x 6, "|\n") if !$i;
	}
	print($file estimate());
	close($file) or die("$path: $!\n");
}

# One line for each comparison with the kernel's own function.
sub write_plot_data
{
	my $path = "$directory/$kernel.dat";

	open(my $file, '>', $path) or die("$path: $!\n");
	print($file "# SPDX-License-Identifier: GPL-2.0\n",
	      "# work, hmm_mirror's instructions per instruction of the kernel's\n");
	for my $row (@rows) {
		my ($reference) = grep { defined }
				  @value{grep { /:(kernel|notifier)$/ }
					 @{$row->{others}}};
		my @ours = sort { $a <=> $b } grep { defined }
			   @value{@{$row->{ours}}};

		next if !@ours || !$reference || $row->{unit} !~ /instr/;
		my $work = $row->{unit} =~ /(per PMD)/ ?
			   "$row->{work}, extents" : $row->{work};
		printf($file "\"%s\"\t%.5f\n", $work, $ours[0] / $reference);
	}
	close($file) or die("$path: $!\n");
}

read_results();
read_rows();
my @lines = table();
print_text(@lines);
write_markdown(@lines);
write_plot_data();
exit($missed ? 1 : 0);
