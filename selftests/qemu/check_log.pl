#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# check_log.pl OUT: judges what boot.sh left in OUT/log. Each program of
# OUT/tests.list gets its own TAP file OUT/tap/NAME.tap, and OUT/tap/guest.tap
# has the tests that are about the whole: did every program run to its end, did
# the kernel complain, did the machine reach its end.
#
# For the table of the verdict OUT/log/kernel says which kernel it was, and which
# packages of another version its modules were built with (OUT/log/packages); and each
# line of OUT/log/times a program and its seconds in the guest; "guest" is all.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Splats;

# A splat's trace that is quoted: enough to see where it comes from.
use constant QUOTED_LINES => 40;
# Taint bits that stand for damage: machine check, bad page, oops, warning,
# soft lockup (Documentation/admin-guide/tainted-kernels.rst).
my %BAD_TAINT = (
	1 << 4 => 'machine check',
	1 << 5 => 'bad page',
	1 << 7 => 'oops',
	1 << 9 => 'warning',
	1 << 14 => 'soft lockup',
);
# kselftest's exit status: a test failed; the whole program was skipped
use constant { KSFT_FAIL => 1, KSFT_SKIP => 4 };

my @results;

# result(NAME, PROBLEM...): one TAP test; no problem, no failure
sub result
{
	my ($name, @problems) = @_;

	push(@results, map { "# $_\n" } map { split(/\n/) } @problems);
	push(@results, (@problems ? 'not ok' : 'ok') . " - $name\n");
}

sub read_lines
{
	my ($path) = @_;

	open(my $file, '<', $path) or return ();
	my @lines = <$file>;
	chomp(@lines);
	s/\r$// for @lines;
	return @lines;
}

sub write_file
{
	my ($path, @content) = @_;

	open(my $file, '>', $path) or die("$path: $!\n");
	print($file @content);
	close($file) or die("$path: $!\n");
}

# Splits programs.log at its markers. Returns what each program printed and how
# it ended, and what the guest said about itself.
sub parse_programs
{
	my (@lines) = @_;
	my (%programs, %guest, $current);

	$guest{errors} = [];
	for my $line (@lines) {
		if ($line =~ /^#@ begin (\S+)$/) {
			$current = $1;
			$guest{last} = $current;
			$programs{$current} = { output => [] };
		} elsif ($line =~ /^#@ end (\S+) (.*)$/) {
			$programs{$1}{end} = { split(' ', $2) };
			undef $current;
		} elsif ($line =~ /^#@ error (.*)$/) {
			push(@{$guest{errors}}, $1);
		} elsif ($line =~ /^#@ (ready|unloaded|finished)$/) {
			$guest{$1} = 1;
		} elsif (defined($current) && $line ne '') {
			push(@{$programs{$current}{output}}, $line);
		}
	}
	return (\%programs, \%guest);
}

# What is wrong with how a program ran. What its tests found is for its own TAP.
sub program_problems
{
	my ($program) = @_;

	return 'it was never started' if !$program;
	my $end = $program->{end};
	return 'the machine stopped while it ran' if !$end;

	my @problems;
	my $status = $end->{status};
	my @plans = map { /^1\.\.(\d+)/ ? $1 : () } @{$program->{output}};
	my $skipped = @plans && $plans[0] == 0;
	# Then the exit status says nothing that the TAP does not.
	my $failed = grep { /^not ok\b/ } @{$program->{output}};

	if ($status != 0 && $end->{seconds} >= $end->{limit}) {
		push(@problems, "it was stopped after its time limit of $end->{limit} s");
	} elsif ($status > 128) {
		push(@problems, 'it was killed by signal ' . ($status - 128));
	} elsif ($status != 0 && !($status == KSFT_SKIP && $skipped) &&
		 !($status == KSFT_FAIL && $failed)) {
		push(@problems, "its exit status was $status");
	}
	push(@problems, map { /^\s*(Bail out!.*)/ ? "it said: $1" : () } @{$program->{output}});
	push(@problems, 'it printed no plan') if !@plans;
	push(@problems, 'it printed ' . @plans . ' plans') if @plans > 1;
	if (@problems && @{$program->{output}}) {
		my @output = @{$program->{output}};
		splice(@output, 0, @output - 5) if @output > 5;
		push(@problems, 'the last it printed:', map { "    $_" } @output);
	}
	return @problems;
}

# Each splat as one text: the program that ran, and the log from there on.
sub splat_problems
{
	my (@console) = @_;
	my @splats = Splats::load();
	my ($program, $quoted) = ('the boot', 0);
	my @problems;

	for my $line (@console) {
		$program = $1 if $line =~ /\bhmm_mirror guest: begin (\S+)/;
		if (Splats::matches($line, @splats) && !$quoted) {
			push(@problems, "during $program:");
			$quoted = QUOTED_LINES;
		}
		if ($quoted) {
			push(@problems, "    $line");
			$quoted--;
			$quoted = 0 if $line =~ /---\[ end /;
		}
	}
	return @problems;
}

sub taint_problems
{
	my (@programs) = @_;
	my @problems;
	my $seen = 0;

	for my $program (@programs) {
		my $taint = $program->{end} ? $program->{end}{tainted} : 0;
		for my $bit (sort { $a <=> $b } keys(%BAD_TAINT)) {
			next if !($taint & $bit) || ($seen & $bit);
			push(@problems, "since $program->{name}: $BAD_TAINT{$bit}");
			$seen |= $bit;
		}
	}
	return @problems;
}

sub machine_problems
{
	my ($guest, $status, $qemu_log, @console) = @_;
	my $last = $guest->{last} // 'the boot';
	my @complaints = Splats::complaints(@$qemu_log);
	my @problems;

	if (!defined($status) || $status eq '') {
		push(@problems, 'QEMU was not run to its end');
	} elsif ($status == 124 || $status == 137) {
		push(@problems, "it ran out of time, during $last");
	} elsif ($status != 0) {
		push(@problems, "QEMU's exit status was $status; see log/qemu.log");
	}
	push(@problems, "it stopped during $last, before it had run everything")
		if !$guest->{finished} && !@problems;
	if (@problems) {
		splice(@console, 0, @console - 10) if @console > 10;
		push(@problems, "the kernel's last lines:", map { "    $_" } @console);
	}
	push(@problems, 'QEMU has said:', map { "    $_" } @complaints) if @complaints;
	return @problems;
}

# What the kernel says it is, and the package it is from if it says that.
sub kernel_version
{
	my ($console) = @_;

	return '' if $console !~ /\] Linux version (\S+)/m;
	my $version = $1;
	$version .= " (Debian $1)" if $console =~ /\] Linux version .* SMP .* Debian (\S+) /m;
	return $version;
}

sub seconds_of_boot
{
	my @stamps = map { /^\[ *(\d+)\./ ? $1 : () } @_;

	return @stamps ? $stamps[-1] : 0;
}

die("usage: check_log.pl OUT\n") if @ARGV != 1;
my ($out) = @ARGV;

my @console = read_lines("$out/log/console.log");
my ($programs, $guest) = parse_programs(read_lines("$out/log/programs.log"));
my @names = read_lines("$out/tests.list");
my ($qemu_status) = read_lines("$out/log/qemu.status");

mkdir("$out/tap");
unlink(glob("$out/tap/*.tap"));
for my $name (@names) {
	my $program = $programs->{$name};
	write_file("$out/tap/$name.tap",
		   map { "$_\n" } @{$program ? $program->{output} : []});
	$program->{name} = $name if $program;
}

result('there are tests to run', @names ? () : 'tests.list is empty');
result('the guest was set up', $guest->{ready} ? () :
       (@{$guest->{errors}}, 'it did not get ready'));
result("$_ ran to its end", program_problems($programs->{$_})) for @names;
result("the project's modules were unloaded", $guest->{unloaded} ? () :
       (@{$guest->{errors}}, 'it did not come to that'));
result("the kernel's log has no splat",
       @console ? splat_problems(@console) : 'there is no log');
result('the kernel is not tainted by damage',
       taint_problems(map { $programs->{$_} // () } @names));
result('the machine ran to its end', machine_problems($guest, $qemu_status, [read_lines("$out/log/qemu.log")], @console));

my ($packages) = read_lines("$out/log/packages");
write_file("$out/log/kernel", kernel_version(join("\n", @console)) .
	   ($packages ? ", built with " . join(', ', split(/,/, $packages)) : '') . "\n");
write_file("$out/log/times",
	   (map { $programs->{$_} && $programs->{$_}{end} ?
			"$_ $programs->{$_}{end}{seconds}\n" : () } @names),
	   'guest ' . seconds_of_boot(@console) . "\n");

my $count = grep { !/^#/ } @results;
write_file("$out/tap/guest.tap", "TAP version 13\n", "1..$count\n", @results);
