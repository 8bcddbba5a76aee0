#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# What "make bench" makes of what was measured: the table, and whether the targets are
# reached. The figures are made up.

use strict;
use warnings;
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::Bin/..";
use Kernels;
use Test::More;

my $selftests = "$FindBin::Bin/../..";
my $top = tempdir(CLEANUP => 1);
my $bench = "$top/selftests/bench";
my $results = "$top/build/test/bench.rows";

sub write_file
{
	my ($path, @content) = @_;

	open(my $file, '>', $path) or die("$path: $!\n");
	print($file @content);
	close($file) or die("$path: $!\n");
}

sub content
{
	my ($path) = @_;

	open(my $file, '<', $path) or return '';
	local $/;
	return <$file> // '';
}

# report(LINE...): what report.pl makes of these: its exit status, and the table as lines of
# cells
sub report
{
	write_file($results, map { "$_\n" } @_);
	my ($status, $output) = Kernels::run("'$bench/report.pl' test 6.9 '$results' '$top/docs'");

	return ($status, map { [ split(/  +/) ] } split(/\n/, $output));
}

make_path("$top/build/test", "$top/docs", "$top/bin", "$top/selftests");
system("cp -r '$selftests/bench' '$selftests/qemu' '$top/selftests'") == 0 or die("cp failed\n");
write_file("$bench/rows", <<'END');
# A comment

walk | walk of pages | instructions per page | pages extents | kernel | pages <= 12
copy | copy | instructions | pages | kernel other | pages < 1 * kernel, pages <= 1.5 * walk:pages
scale | two CPUs | times the work of one | pages | - | pages >= 1.8
lost | not measured | pages | pages | kernel | pages <= 1
END

my @header = ('work', 'unit', 'hmm_mirror', 'others', 'ratio', 'target: reached');
my @good = ('row walk pages 12', 'row walk extents 1.256', 'row walk kernel 1500.4',
	    'row copy pages 17.5', 'row copy kernel 17.6', 'row scale pages 1.8',
	    'row scale kernel 1', 'a row walk pages 99', 'row walk pages', 'error none');
my ($status, @table) = report(@good);
is($status, 0, 'all targets are reached: exit status');
is_deeply(\@table, [
	\@header,
	['walk of pages', 'instructions per page', 'pages 12, extents 1.26', 'kernel 1500',
	 '1195 x', 'pages <= 12: yes'],
	['copy', 'instructions', 'pages 17.5', 'kernel 17.6', '1.01 x',
	 'pages < kernel: yes, pages <= 1.5 x walk:pages: yes'],
	['two CPUs', 'times the work of one', 'pages 1.8', 'pages >= 1.8: yes'],
], 'the table') or diag(explain(\@table));
my $markdown = content("$top/docs/test.md");
like($markdown, qr/^# Benchmarks on test\n\nKernel 6\.9\./m,
     'the page says of which kernel it is');
like($markdown, qr/^\| copy \| .* \| pages < kernel: yes, pages <= 1\.5 x walk:pages: yes \|$/m,
     'it has the table');
like(content("$top/docs/test.dat"), qr/\n"walk of pages"\t0\.00084\n"copy"\t0\.99432\n$/,
     'and this is to be drawn');

# Each target, just missed
for my $case (['walk pages 12.01', 1, 'pages <= 12'], ['copy kernel 17.5', 2, 'pages < kernel'],
	      ['copy pages 18.1', 2, 'pages <= 1.5 x walk:pages'],
	      ['scale pages 1.79', 3, 'pages >= 1.8']) {
	my ($line, $row, $target) = @$case;
	my ($status, @table) = report(@good, "row $line");

	is($status, 1, "$line: exit status");
	like($table[$row][-1], qr/(^|, )\Q$target\E: NO(,|$)/, "$line: it is said");
}
# What a target is a multiple of was not measured there.
($status, @table) = report('row copy pages 18');
is($status, 0, 'no target can be judged: exit status');
is_deeply(\@table, [ \@header, ['copy', 'instructions', 'pages 18'] ], 'nor is it');

# report.sh: where things are, and the same exit status
write_file("$top/bin/gnuplot", "#!/bin/sh\nprintf '<%s>' \"\$@\" >'$top/plotted'\n");
write_file("$top/selftests/qemu/packages.sh", "#!/bin/sh\n");
chmod(0755, "$top/bin/gnuplot", "$top/selftests/qemu/packages.sh");
for my $wanted (0, 1) {
	unlink("$top/plotted");
	write_file($results, map { "$_\n" } @good, $wanted ? 'row scale pages 1' : ());
	my $path = "PATH='$top/bin':\"\$PATH\"";
	my ($status, $output) = Kernels::run("$path '$bench/report.sh' test 6.9");

	is($status, $wanted, "report.sh, $wanted targets are missed: exit status");
	like($output, qr|^work  .*^== written: docs/benchmarks/test\.md, test\.svg\n$|ms,
	     'the table');
	ok(-s "$top/docs/benchmarks/test.$_", "there is test.$_") for qw(md dat);
	like(content("$top/plotted"), qr|\Q$top\E/docs/benchmarks/test\.svg'|, 'it is drawn');
}

# The real ones: each target can be read, and compares what is in its row
system("cp '$selftests/bench/rows' '$bench/rows'") == 0 or die("cp failed\n");
my (@ways, $targets);
for (grep { /^[^#]/ } split(/\n/, content("$bench/rows"))) {
	my ($name, undef, undef, $ours, $others, $target) = split(/ *\| */);

	push(@ways, map { "row $name $_ 1" } grep { /^[^-]/ && !/:/ } split(' ', "$ours $others"));
	$targets += () = $target =~ /[<>]/g;
}
push(@ways, 'row cow_256m kernel 1');
($status, @table) = report(@ways);
cmp_ok(scalar(@table), '>', 30, 'the table of all rows');
is(scalar(() = join(' ', map { $_->[-1] } @table) =~ /: (yes|NO)/g), $targets,
   'all targets are judged');

done_testing();
