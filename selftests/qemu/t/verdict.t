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

is(verdict("1..1\nok 1\n", "1..1\nBail out! no device\n", "1..2\nok 1\nnot ok 2\n"),
   '2 passed, 2 failed, 0 skipped, exit 1', 'one that bails out does not hide another');
is(verdict("1..1\nok 1\nBail out!\n"), '1 passed, 1 failed, 0 skipped, exit 1', 'bailed out at its end');

# verdict.pl --expect ...: the last line
sub expecting
{
	my (@arguments) = @_;
	my @lines = `'$^X' '$program' @arguments 2>&1`;

	return $lines[-1] =~ s/\n//r . ', exit ' . ($? >> 8);
}

is(verdict("1..1\nok 1\n"), '1 passed, 0 failed, 0 skipped, exit 0', 'one file');
is(expecting("--expect '$dir/1.tap|$dir/0.tap' $dir/0.tap"), '1 passed, 0 failed, 0 skipped, exit 0',
   'one of two files is there');
is(expecting("--expect $dir/k/tap/guest.tap $dir/0.tap"), '1 passed, 1 failed, 0 skipped, exit 1',
   'a kernel without a verdict');
is(expecting("--expect $dir/k/tap/guest.tap"), '0 passed, 1 failed, 0 skipped, exit 1',
   'no file at all');

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
kernel_files('new', 'tap/two.tap' => "1..4\nok 1\n# b.c:7: 1 != 2\n# so much\n# for\n# that\nnot ok 2\n" .
				  "not ok 3\n# c.c:9\nnot ok 4\n",
	     'tap/one.tap' => "1..1\nok 1\n", 'log/times' => "one 12\ntwo 3\n");
kernel_files('harness', 'tap/style.tap' => "1..1\nok 1\n");
my $table = `'$^X' '$program' $build/old/tap/*.tap $build/new/tap/*.tap $build/harness/tap/style.tap`;
like($table, qr/^  old +6\.1\.0-1-test \(Debian 6\.1\.4-1\)\n  new +not booted\n/m, 'the kernels');
like($table, qr{^passed/failed/skipped +old +new$}m, 'the table has a column for each');
like($table, qr{^one +1/-/1 +7s +1/-/- +12s$}m, 'a program on both');
like($table, qr{^two +1/3/- +3s$}m, 'a program on one');
like($table, qr{^guest +1/-/- +31s +$}m, 'the guest');
like($table, qr{^harness/style +1 +- +-$}m, 'what is no kernel\'s');
like($table, qr{\nDid not pass:
  new/two: 2 ?
      # b\.c:7: 1 != 2
      # so much
      # for
      3 failed in all

5 passed, 3 failed, 1 skipped\n$}, 'what failed and why, and the sum over all');

# What the last lines say of a machine that has stopped
my $long = 'x' x 200;
kernel_files('stopped', 'tap/one.tap' => "1..3\nok 1\n", 'tap/two.tap' => '', 'tap/three.tap' => '',
	     'tap/guest.tap' => "1..4\nok 1 - set up\n# it stopped\nnot ok 2 - one ran to its end\n" .
				"# during one:\n#     Oops: int3\n#     CPU: 0\n#     RIP: 0\nnot ok 3 - no splat\n" .
				"# $long\nnot ok 4 - the machine\n");
like(`'$^X' '$program' $build/stopped/tap/*.tap`, qr/\nDid not pass:
  stopped\/guest: 2 one ran to its end
      # it stopped
  stopped\/guest: 3 no splat
      # during one:
      #     Oops: int3
      #     CPU: 0
  stopped\/guest: 4 the machine
      # x{80,}\.\.\.
  stopped\/one: Bad plan\.  You planned 3 tests but ran 1\.
      2 failed in all
  stopped: 2 programs ran no test

2 passed, 7 failed, 0 skipped\n$/, 'why a machine stopped');
kernel_files('stopped', 'tap/guest.tap' => "1..1\nok 1 - set up\n");
like(`'$^X' '$program' $build/stopped/tap/*.tap`, qr/\n  stopped\/two: it ran no test\n/,
     'a program that ran no test, on a machine that did not stop');

done_testing();
