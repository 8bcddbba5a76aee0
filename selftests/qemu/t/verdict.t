#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# verdict.pl must fail whenever a test did, or did not run, and count right.

use strict;
use warnings;
use File::Basename qw(dirname);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use FindBin;
use Test::More;

my $program = "$FindBin::Bin/../verdict.pl";
my $dir = tempdir(CLEANUP => 1);

# verdict(TAP...): last line and exit status of the verdict over these files
sub verdict
{
	my @paths;

	for my $tap (@_) {
		push(@paths, "$dir/" . @paths . '.tap');
		open(my $file, '>', $paths[-1]) or die("$paths[-1]: $!\n");
		print($file $tap);
		close($file);
	}
	open(my $output, '-|', "'$^X' '$program' @paths 2>&1") or die("$!\n");
	my @lines = <$output>;
	close($output);
	chomp(@lines);
	return ($lines[-1] // '') . ', exit ' . ($? >> 8);
}

is(verdict("1..2\nok 1\nok 2\n"), '2 passed, 0 failed, 0 skipped, exit 0', 'passed');
is(verdict("1..1\nok 1\n", "1..1\nok 1\n"),
   '2 passed, 0 failed, 0 skipped, exit 0', 'two files');
is(verdict("1..2\nok 1\nnot ok 2\n"), '1 passed, 1 failed, 0 skipped, exit 1', 'failed');
is(verdict("1..3\nok 1\n"), '1 passed, 2 failed, 0 skipped, exit 1', 'too few tests');
is(verdict("1..1\nok 1\nok 2\n"), '1 passed, 1 failed, 0 skipped, exit 1', 'too many tests');
is(verdict("ok 1\n"), '1 passed, 1 failed, 0 skipped, exit 1', 'no plan');
is(verdict("1..1\nok 1\n", ''), '1 passed, 1 failed, 0 skipped, exit 1', 'an empty file');
is(verdict("1..2\nok 1\nok 2 # SKIP no GPU\n"),
   '1 passed, 0 failed, 1 skipped, exit 0', 'skipped');
is(verdict("1..2\nok 1\nok 2 # SKIP\n"),
   '1 passed, 1 failed, 0 skipped, exit 1', 'skipped without a reason');
is(verdict("1..2\nok 1\nok 2 # SKIP unknown\n"),
   '1 passed, 1 failed, 0 skipped, exit 1', 'skipped for a reason the harness made up');
is(verdict("1..1\nok 1\n", "1..0 # SKIP no GPU\n"),
   '1 passed, 0 failed, 1 skipped, exit 0', 'all of a file skipped');
is(verdict("1..1\nok 1\n", "1..0 # SKIP\n"),
   '1 passed, 1 failed, 0 skipped, exit 1', 'all of a file skipped without a reason');
is(verdict("1..0 # SKIP no GPU\n"),
   '0 passed, 0 failed, 1 skipped, exit 1', 'nothing was tested at all');
is(verdict("1..2\nok 1\nnot ok 2 # TODO later\n"),
   '1 passed, 1 failed, 0 skipped, exit 1', 'TODO');
is(verdict("1..2\nok 1\nok 2 x # XFAIL known\n"),
   '1 passed, 1 failed, 0 skipped, exit 1', 'XFAIL');

# The table: kernels side by side, with what check_log.pl has left about them
my $build = "$dir/tree/build";

sub kernel_files
{
	my ($kernel, %files) = @_;

	for my $name (keys(%files)) {
		make_path(dirname("$build/$kernel/$name"));
		open(my $file, '>', "$build/$kernel/$name") or die("$name: $!\n");
		print($file $files{$name});
		close($file);
	}
}

kernel_files('old', 'tap/one.tap' => "1..2\nok 1\nok 2 # SKIP no GPU\n",
	     'tap/guest.tap' => "1..1\nok 1\n", 'log/times' => "one 7\nguest 31\n",
	     'log/kernel' => "6.1.0-1-test (Debian 6.1.4-1)\n");
kernel_files('new', 'tap/two.tap' => "1..2\nok 1\nnot ok 2\n",
	     'tap/one.tap' => "1..1\nok 1\n", 'log/times' => "one 12\ntwo 3\n");
kernel_files('harness', 'tap/style.tap' => "1..1\nok 1\n");
my $table = `'$^X' '$program' $build/old/tap/*.tap $build/new/tap/*.tap $build/harness/tap/style.tap`;
like($table, qr/^  old +6\.1\.0-1-test \(Debian 6\.1\.4-1\)\n  new +not booted\n/m, 'the kernels');
like($table, qr{^passed/failed/skipped +old +new$}m, 'the table has a column for each');
like($table, qr{^one +1/-/1 +7s +1/-/- +12s$}m, 'a program on both');
like($table, qr{^two +1/1/- +3s$}m, 'a program on one');
like($table, qr{^guest +1/-/- +31s +$}m, 'the guest');
like($table, qr{^harness/style +1 +- +-$}m, 'what is no kernel\'s');
like($table, qr/\nDid not pass:\n  new\/two: 2 ?\n\n5 passed, 1 failed, 1 skipped\n$/,
     'what failed, and the sum over all');

done_testing();
