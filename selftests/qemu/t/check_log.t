#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# check_log.pl must find each way in which a run can go wrong.

use strict;
use warnings;
use File::Temp qw(tempdir);
use FindBin;
use Test::More;

my $program = "$FindBin::Bin/../check_log.pl";
my %GOOD = (
	'tests.list' => "one\ntwo\n",
	'log/qemu.status' => "0\n",
	'log/console.log' => <<~'END',
		[    1.0] hmm_mirror guest: begin one
		[    2.0] hmm_mirror guest: begin two
		END
	'log/programs.log' => <<~'END',
		#@ ready
		#@ begin one
		TAP version 13
		1..1
		ok 1 a
		#@ end one status 0 seconds 2 limit 9 tainted 12288
		#@ begin two
		1..0 # SKIP no such device
		#@ end two status 4 seconds 0 limit 9 tainted 12288
		#@ unloaded
		#@ finished
		END
);

# judge(NAME => CONTENT...): the directory of a run with these files instead of those
# of the good one, after it was judged
sub judge
{
	my %files = (%GOOD, @_);
	my $out = tempdir(CLEANUP => 1);

	mkdir("$out/log");
	for my $name (keys(%files)) {
		next if !defined($files{$name});
		open(my $file, '>', "$out/$name") or die("$name: $!\n");
		print($file $files{$name});
		close($file);
	}
	system($^X, $program, $out) == 0 or die("check_log.pl failed\n");
	return $out;
}

# left_files(NAME => CONTENT...): what it has written beside the TAP
sub left_files
{
	my $out = judge(@_);

	return map { my $name = $_; $name => scalar(`cat '$out/log/$name'`) } qw(kernel times);
}

# problems(NAME => CONTENT...): guest.tap's failed tests for a run with these
# files instead of those of the good one
sub problems
{
	my $out = judge(@_);

	open(my $tap, '<', "$out/tap/guest.tap") or die("guest.tap: $!\n");
	return join('', grep { /^not ok|^# / } <$tap>);
}

# programs.log with one thing replaced by another
sub programs
{
	my ($old, $new) = @_;
	my $log = $GOOD{'log/programs.log'};

	die("no '$old' in the log\n") if index($log, $old) < 0;
	$log =~ s/\Q$old\E.*/$new/s;
	return ('log/programs.log' => $log);
}

sub console
{
	my ($line) = @_;

	return ('log/console.log' => $GOOD{'log/console.log'} . $line);
}

my $end = "#@ end two status 4 seconds 0 limit 9 tainted 12288\n#@ unloaded\n#@ finished\n";

is(problems(), '', 'a good run has no problem');
like(problems('tests.list' => ''), qr/not ok - there are tests/, 'nothing to run');
like(problems('tests.list' => "one\ntwo\nthree\n"),
     qr/never started\nnot ok - three ran/, 'a program that was forgotten');
like(problems(programs('#@ ready', "#@ error 'insmod' failed: EPERM\n")),
     qr/EPERM.*not ok - the guest was set up/s, 'a guest that is not set up');
like(problems(programs('#@ end two', '')),
     qr/stopped while it ran\nnot ok - two ran/, 'a program that never ended');
like(problems(programs('#@ end two', "#@ end two status 143 seconds 9 limit 9 tainted 0\n")),
     qr/its time limit of 9 s\n.*not ok - two ran/s, 'a program that hangs');
like(problems(programs('#@ end two', "#@ end two status 139 seconds 0 limit 9 tainted 0\n")),
     qr/killed by signal 11\n.*not ok - two ran/s, 'a program that crashes');
like(problems(programs('#@ end two', "#@ end two status 3 seconds 0 limit 9 tainted 0\n")),
     qr/exit status was 3\n.*not ok - two ran/s, 'a bad exit status');
like(problems(programs('1..0', "1..1\nok 1\n$end")),
     qr/exit status was 4\n.*not ok - two ran/s, '"skipped" as exit status of a test that ran');
like(problems(programs('1..0', "1..1\nok 1\n#@ end two status 1 seconds 0 limit 9 tainted 0\n")),
     qr/exit status was 1\n.*not ok - two ran/s, '"failed" as exit status without a failed test');
unlike(problems(programs('1..0', "1..1\nnot ok 1\n#@ end two status 1 seconds 0 limit 9 tainted 0\n")),
       qr/not ok - two ran/, 'a failed test is for the TAP to tell');
like(problems(programs('1..0', "ok 1\n$end")),
     qr/no plan\n.*not ok - two ran/s, 'no plan');
like(problems(programs('1..0', "1..1\nok 1\n1..1\n$end")),
     qr/2 plans\n.*not ok - two ran/s, 'two plans');
like(problems(programs('#@ end two', "#@ end two status 4 seconds 0 limit 9 tainted 12800\n#@ unloaded\n#@ finished\n")),
     qr/since two: warning\nnot ok - the kernel is not tainted/, 'a tainted kernel');
like(problems(console("[    3.0] WARNING: CPU: 0 PID: 1 at mm/hmm.c:1 f+0x1\n")),
     qr/during two:\n.*mm\/hmm.c:1.*not ok - the kernel's log/s, 'a warning');
like(problems('log/console.log' => undef),
     qr/not ok - the kernel's log/, 'no log');
like(problems(programs('#@ finished', '')),
     qr/stopped during two.*not ok - the machine ran/s, 'a machine that stops early');
like(problems(programs('#@ unloaded', "#@ error 'rmmod' failed: EBUSY\n#@ finished\n")),
     qr/EBUSY.*not ok - the project's modules were unloaded/s, 'a module in use for ever');
like(problems('log/qemu.status' => "124\n"),
     qr/out of time, during two.*not ok - the machine ran/s, 'a machine that hangs');
like(problems('log/qemu.status' => "1\n"),
     qr/exit status was 1.*not ok - the machine ran/s, 'QEMU fails');
like(problems('log/qemu.status' => undef),
     qr/not ok - the machine ran/, 'QEMU was not run');

for my $said ('EDU: clamping DMA 0x1000000000 to 0x40000!', 'EDU: DMA range 0x1-0x2 out of bounds (0x3-0x4)!',
	      'qemu-system-x86_64: vtd_iommu_translate: detected translation failure (dev=00:04:00, iova=0x1000)',
	      '31337@1795920356.123456:vtd_dmar_fault sid 0x20 fault 6 addr 0xfffff000 write 0') {
	like(problems('log/qemu.log' => "$said\n"), qr/QEMU has said:.*not ok - the machine ran/s,
	     "QEMU's own log: $said");
}
is(problems('log/qemu.log' => "qemu-system-x86_64: warning: TCG doesn't support requested feature\n"), '',
   'QEMU warns of itself');
like(problems(programs('1..0', "1..1\nok 1\nBail out! no device\n$end")),
     qr/it said: Bail out! no device\n.*not ok - two ran/s, 'a program that bails out');

# What the table of the verdict is made from
my %left = left_files('log/console.log' => <<~'END');
	[    0.000000] Linux version 6.1.0-1-test (a@b) (gcc-12 (Debian 12.2.0-14) 12.2.0, GNU ld) #1 SMP PREEMPT_DYNAMIC Debian 6.1.4-1 (2026-01-02)
	[    1.0] hmm_mirror guest: begin one
	[   44.5] hmm_mirror guest: begin two
	END
is($left{kernel}, "6.1.0-1-test (Debian 6.1.4-1)\n", 'the kernel\'s version');
like({ left_files('log/packages' => "linux-kbuild-6.1 6.1.9-3,linux-x 2\n") }->{kernel},
     qr/, built with linux-kbuild-6.1 6.1.9-3, linux-x 2$/, 'packages of another version');
is($left{times}, "one 2\ntwo 0\nguest 44\n", 'how long it took');
%left = left_files('log/console.log' => "[    0.000000] Linux version 7.3.4-test (a\@b) (gcc) #1 SMP x\n");
is($left{kernel}, "7.3.4-test\n", 'the version of a kernel from source');
is({ left_files('log/console.log' => undef) }->{kernel}, "\n", 'no kernel at all');

done_testing();
