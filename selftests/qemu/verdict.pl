#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# verdict.pl [--expect FILE[|FILE...]]... FILE...: lets TAP::Harness (what "prove" is made of) judge TAP files.
# Prints what was skipped and what failed, a table of programs and kernels, one of what
# needs no kernel, what failed once more and in short, and as the last line "N passed,
# N failed, N skipped". Exits with 0 only if nothing failed.
#
# Stricter than prove: a skip without a reason fails, and so do TODO and XFAIL, since
# a test that may fail tests nothing. One of the files that --expect names must exist.
# A program that bails out ends only itself, not the others.

use strict;
use warnings;
use open qw(:std :encoding(UTF-8));
use TAP::Harness;

# build/KERNEL/tap/NAME.tap is KERNEL/NAME, any other NAME.tap is NAME. What needs no
# kernel has "harness" in the place of one.
sub display_name
{
	my ($path) = @_;

	return "$1/$2" if $path =~ m{([^/]+)/tap/([^/]+)\.tap$};
	return $1 if $path =~ m{([^/]+)\.tap$};
	return $path;
}

# Why a test that TAP calls good is not good enough, if so.
sub objection
{
	my ($test) = @_;
	my $reason = $test->explanation;

	return 'TODO is not accepted' if $test->has_todo;
	return 'XFAIL is not accepted' if $test->as_string =~ /#\s*XFAIL\b/i;
	return 'skipped without a reason'
		if $test->has_skip && $reason =~ /^\W*(unknown)?\W*$/i;
	return undef;
}

# Of each file, for several are read at a time: numbers, and lines to be printed
my (%passed, %failed, %skipped, %failures, %skips, %bailed_out);
# What --expect names, each a list of files
my @expected;

sub watch
{
	my ($name, $parser) = @_;
	my @comments;

	$passed{$name} = $failed{$name} = $skipped{$name} = 0;
	$parser->callback(comment => sub {
		my ($comment) = @_;

		$bailed_out{$name} = $1 if $comment->as_string =~ /^# Bail out!(.*)/;
		push(@comments, $comment->as_string)
			if $comment->as_string !~ /^#\s+(RUN|OK)\s/;
	});
	$parser->callback(test => sub {
		my ($test) = @_;
		my $label = "$name: " . $test->number . ' ' . $test->description;
		my $objection = objection($test);

		$label =~ s/ - / /;
		if (defined($objection)) {
			$failed{$name}++;
			push(@{$failures{$name}}, "$label: $objection");
		} elsif (!$test->is_ok) {
			$failed{$name}++;
			push(@{$failures{$name}}, $label, map { "    $_" } @comments);
		} elsif ($test->has_skip) {
			$skipped{$name}++;
			push(@{$skips{$name}}, "$label: " . $test->explanation);
		} else {
			$passed{$name}++;
		}
		@comments = ();
	});
}

# What is wrong with the file as a whole, once it was read to its end.
sub finish
{
	my ($name, $parser) = @_;
	my $ran = $parser->tests_run;
	my $planned = $parser->tests_planned // 0;
	my @problems;

	if (defined($parser->skip_all)) {
		if ($parser->skip_all =~ /^\W*(no reason given)?\W*$/i) {
			push(@problems, 'everything was skipped without a reason');
		} else {
			$skipped{$name}++;
			push(@{$skips{$name}}, "$name: " . $parser->skip_all);
		}
	} elsif (!$ran) {
		push(@problems, 'it ran no test');
	}
	push(@problems, "it bailed out$bailed_out{$name}") if defined($bailed_out{$name});
	push(@problems, 'exit status ' . $parser->exit) if $parser->exit;
	push(@problems, $parser->parse_errors);
	# Tests that were planned and never ran have failed.
	$failed{$name} += $planned - $ran if $planned > $ran;
	$failed{$name}++ if @problems && !$failed{$name};
	push(@{$failures{$name}}, map { "$name: $_" } @problems);
}

sub print_section
{
	my ($title, @lines) = @_;

	return if !@lines;
	print("\n$title:\n");
	print(map { "  $_\n" } @lines);
}

# build/KERNEL of each kernel
my %kernel_dirs;

# log/FILE of what check_log.pl has left about a kernel, as lines
sub kernel_log
{
	my ($kernel, $name) = @_;

	open(my $file, '<', "$kernel_dirs{$kernel}/log/$name") or return ();
	my @lines = <$file>;
	chomp(@lines);
	return @lines;
}

# "-" for none, so that what is not zero can be seen
sub dash
{
	return join('/', map { $_ || '-' } @_);
}

# The table of programs and kernels: passed/failed/skipped and seconds.
sub print_matrix
{
	my (@kernels, @programs, %seen, %seconds);

	for my $path (@ARGV, map { $_->[0] } @expected) {
		my ($dir, $kernel, $program) =
			$path =~ m{((?:.*/)?([^/]+))/tap/([^/]+)\.tap$};
		next if !$program || $kernel eq 'harness';
		push(@kernels, $kernel) if !$kernel_dirs{$kernel};
		$kernel_dirs{$kernel} = $dir;
		push(@programs, $program) if !$seen{$program}++;
	}
	return if !@kernels;
	my $corner = 'passed/failed/skipped';
	my ($width) = sort { $b <=> $a } map { length } $corner, @programs, @kernels;

	print("\nKernels:\n");
	for my $kernel (@kernels) {
		my ($version) = kernel_log($kernel, 'kernel');
		printf("  %-*s  %s\n", $width, $kernel, $version || 'not booted');
		$seconds{$kernel} = { map { split(' ') } kernel_log($kernel, 'times') };
	}
	# As many side by side as there is room for in a line.
	while (my @columns = splice(@kernels, 0, 4)) {
		printf("\n%-*s", $width, $corner);
		printf("  %18s", $_) for @columns;
		print("\n");
		for my $program (sort(@programs)) {
			my @cells = map { cell("$_/$program", $seconds{$_}{$program}) } @columns;

			printf("%-*s%s\n", $width, $program,
			       join('', map { sprintf('  %18s', $_) } @cells)) if grep { $_ } @cells;
		}
	}
}

# One result, "" if the program is not for that kernel
sub cell
{
	my ($name, $seconds) = @_;

	return '' if !defined($passed{$name});
	my $result = dash($passed{$name}, $failed{$name}, $skipped{$name});
	return $result . (defined($seconds) ? sprintf(' %4ds', $seconds) : '      ');
}

# What is no kernel's: style, and the tests of the harness itself.
sub print_others
{
	my @names = @_;
	my ($width) = sort { $b <=> $a } map { length } @names;

	return if !@names;
	printf("\n%-*s  passed  failed  skipped\n", $width, '');
	printf("%-*s %7d %7s %8s\n", $width, $_, $passed{$_}, $failed{$_} || '-',
	       $skipped{$_} || '-') for @names;
}

# Failures, with the first three lines of what is said about each
sub shortened
{
	my @lines = @_;
	my $quoted = 0;

	return grep { $quoted = /^ / ? $quoted + 1 : 0; $quoted <= 3 } @lines;
}

# Where to look, for those who see only the last lines: the first failure of each file, and
# of a machine each, with how its explanation begins, and how many there are. Programs that
# a stopped machine has not come to are a number.
sub print_failed
{
	my (@lines, %not_run);

	for my $name (grep { $failed{$_} } @_) {
		my @failures = @{$failures{$name}};

		if ($name =~ m{/guest$}) {
			push(@lines, shortened(@failures));
		} elsif ($name =~ m{(.*)/} && $failures[0] eq "$name: it ran no test" &&
			 $failed{"$1/guest"}) {
			$not_run{$1}++;
		} else {
			my ($first, @rest) = @failures;
			my @reasons;

			push(@reasons, shift(@rest)) while @rest && $rest[0] =~ /^ /;
			push(@lines, shortened($first, @reasons));
			push(@lines, "    $failed{$name} failed in all") if $failed{$name} > 1;
		}
	}
	push(@lines, map { "$_: $not_run{$_} programs ran no test" } sort(keys(%not_run)));
	print_section('Did not pass', map {
		length() > 100 ? substr($_, 0, 97) . '...' : $_;
	} @lines);
}

while (@ARGV > 1 && $ARGV[0] eq '--expect') {
	shift();
	push(@expected, [ split(/\|/, shift()) ]);
}
die("usage: verdict.pl [--expect FILE[|FILE...]]... FILE...\n") if !@ARGV && !@expected;

my $harness = TAP::Harness->new({
	# TAP::Harness would stop at another's "Bail out!".
	exec => ['sed', 's/^[[:space:]]*Bail out!/# Bail out!/'],
	verbosity => -3,
	jobs => 4,
	merge => 0,
});
my %parsers;
$harness->callback(made_parser => sub {
	my ($parser, $job) = @_;
	$parsers{$job->[1]} = $parser;
	watch($job->[1], $parser);
});
my @names = map { display_name($_) } @ARGV;
$harness->runtests(map { [$ARGV[$_], $names[$_]] } 0 .. $#ARGV) if @ARGV;
finish($_, $parsers{$_}) for @names;
for my $files (@expected) {
	my $name = display_name($files->[0]);

	next if grep { my $file = $_; grep { $_ eq $file } @ARGV } @$files;
	push(@names, $name);
	$passed{$name} = $skipped{$name} = 0;
	$failed{$name} = 1;
	push(@{$failures{$name}}, "$name: there is no verdict");
}

print_section('Skipped', map { @{$skips{$_} // []} } @names);
print_section('Failed', map { @{$failures{$_} // []} } @names);

print_matrix();
print_others(grep { !m{/} || m{^harness/} } @names);
print_failed(@names);

my %total = (passed => 0, failed => 0, skipped => 0);
for my $name (@names) {
	$total{passed} += $passed{$name};
	$total{failed} += $failed{$name};
	$total{skipped} += $skipped{$name};
}
printf("\n%d passed, %d failed, %d skipped\n", @total{qw(passed failed skipped)});
exit($total{failed} || !$total{passed} ? 1 : 0);
