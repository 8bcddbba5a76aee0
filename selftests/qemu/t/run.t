#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# check.sh, check_kernel.sh and boot.sh, with stand-ins for what they call: no run that
# went wrong may succeed, and no machine may outlive its run.

use strict;
use warnings;
use File::Basename qw(dirname);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::Bin/..";
use Kernels;
use POSIX qw(WNOHANG);
use Test::More;
use Time::HiRes qw(sleep time);

Kernels::packages(qw(ccache perl qemu-system-x86));
delete(@ENV{qw(MAKEFLAGS MFLAGS MAKEOVERRIDES TESTS ARGS HMM_MIRROR_TREE_LOCKED HMM_MIRROR_RUN
	       HMM_MIRROR_TIME_LIMIT HMM_MIRROR_HARNESS_LIMIT HMM_MIRROR_JOBS)});
my $top = tempdir(CLEANUP => 1);
my $qemu = "$top/selftests/qemu";

sub write_file
{
	my ($path, $content, $mode) = @_;

	make_path(dirname($path));
	unlink($path);
	open(my $file, '>', $path) or die("$path: $!\n");
	print($file $content);
	close($file) or die("$path: $!\n");
	chmod($mode, $path) if $mode;
}

sub script
{
	my ($path, $content) = @_;

	write_file($path, "#!/bin/sh\n$content", 0755);
}

make_path("$top/selftests");
system("cp -r '$FindBin::Bin/..' '$qemu' && rm -r '$qemu/t'") == 0 or die("cp failed\n");
write_file("$qemu/kernels", "one stock a b - * -\ntwo built a b - * -\n");
script("$qemu/t/a.t", '');
write_file("$qemu/t/a.t", "print(\"1..1\\nok 1\\n\");\n");
script("$top/selftests/style.sh", "printf '1..1\\nok 1\\n'\n");
script("$qemu/fetch_kernel.sh", '');
script("$qemu/build.sh", "echo kernel_release=6 kernel_image=/dev/null kernel_root= kernel_cmdline=\n");
script("$qemu/make_initramfs.sh", "echo test >\$1/tests.list\n");
my $good_boot = <<'END';
cat >$1/log/programs.log <<'LOG'
#@ ready
#@ begin test
1..1
ok 1
#@ end test status 0 seconds 0 limit 9 tainted 0
#@ unloaded
#@ finished
LOG
echo '[    0.0] Linux version 6' >$1/log/console.log
echo 0 >$1/log/qemu.status
END
my $boot = `cat '$qemu/boot.sh'`;
my %real = map { $_ => scalar(`cat '$qemu/$_'`) } qw(check_kernel.sh check_log.pl check_shell.pl boot.sh);

# check(FILE => CONTENT...): how check.sh ends with these in the place of the real ones
sub check
{
	my (%files) = ('boot.sh' => "#!/bin/sh\n$good_boot",
		       'check_shell.pl' => "#!/bin/sh\nprintf '1..1\\nok 1\\n'\n", @_);

	write_file("$qemu/$_", $files{$_} // $real{$_}, 0755) for keys(%real);
	my @lines = `'$qemu/check.sh' 2>&1`;
	my $status = $? >> 8;

	chomp(my $last = $lines[-1] // '');
	return ("$last, exit $status", join('', @lines));
}

is((check())[0], '19 passed, 0 failed, 0 skipped, exit 0', 'a good run') or diag((check())[1]);
like((check('check_log.pl' => "#!/usr/bin/perl\ndie(\"no space left\\n\");\n"))[1],
     qr/no space left.*\n3 passed, 2 failed, 0 skipped\n$/s, 'logs that cannot be judged');
like((check('check_log.pl' => $real{'check_log.pl'} =~ s/^my (?=\$count = )/die("no space left\\n"); my /mr))[1],
     qr/no space left.*\n5 passed, 2 failed, 0 skipped\n$/s, 'logs that are judged in part');
is((check('check_kernel.sh' => "#!/bin/sh\n"))[0], '2 passed, 3 failed, 0 skipped, exit 1',
   'kernels without a verdict, where an earlier run had one');
is((check('check_kernel.sh' => "#!/bin/sh\nmkdir -p '$top/build/'\$1/tap\n" .
	  "printf '1..1\\nok 1\\n' >'$top/build/'\$1/tap/test.tap\n"))[0],
   '4 passed, 3 failed, 0 skipped, exit 1', 'kernels with a good program, and no verdict');
is((check('check_shell.pl' => "#!/bin/sh\nrm \"\$1/tap/shell.tap\"\n"))[0],
   '18 passed, 1 failed, 0 skipped, exit 1', 'what make shell shows was not looked at');
is((check('check_kernel.sh' => "#!/bin/sh\nkill -9 \$\$\n"))[0], '2 passed, 3 failed, 0 skipped, exit 1',
   'a kernel whose run is killed');
# crashing(TIMES, CODE): a boot.sh whose machine runs into an int3 the first so many times, and
# the kernel then prints this code
sub crashing
{
	my ($times, $code) = @_;

	return "#!/bin/sh\necho >>'$top/boots.'\$(basename \$1)\n" .
	       "if [ \$(wc -l <'$top/boots.'\$(basename \$1)) -gt $times ]; then\n$good_boot\nelse\n" .
	       "echo '#@ ready' >\$1/log/programs.log\necho 0 >\$1/log/qemu.status\n" .
	       "printf '%s\\n' '[    0.0] Linux version 6' '[    1.0] Oops: int3: 0000 [#1] SMP' " .
	       "'[    1.0] Code: $code' >\$1/log/console.log\nfi\n";
}

sub boots
{
	my $boots = join(' ', map { scalar(() = `cat '$_'` =~ /\n/g) } sort(glob("$top/boots.*")));

	unlink(glob("$top/boots.*"));
	return $boots;
}

is((check('boot.sh' => crashing(1, '00 0f <1f> 44')))[0], '19 passed, 0 failed, 0 skipped, exit 0',
   "a crash that is QEMU's is passed over");
is(boots(), '2 2', 'by booting once more');
like((check('boot.sh' => crashing(9, '00 0f <1f> 44')))[0], qr/, [1-9]\d* failed, .*, exit 1$/, 'but not for ever');
is(boots(), '2 2', 'only once');
like((check('boot.sh' => crashing(1, '00 cc <1f> 44')))[0], qr/, [1-9]\d* failed, .*, exit 1$/,
     'a breakpoint of the kernel is a crash');
is(boots(), '1 1', 'and not tried again');
# Its parent is the time limit; who has started that runs them all.
script("$top/selftests/style.sh", "kill -9 \$(cut -d ' ' -f 4 /proc/\$PPID/stat)\n");
is((check())[0], '17 passed, 2 failed, 0 skipped, exit 1', 'tests of the harness that were not run');
script("$top/selftests/style.sh", "printf '1..2\\nok 1\\n'\nsleep 600\n");
{
	local $ENV{HMM_MIRROR_HARNESS_LIMIT} = 2;

	is((check())[0], '19 passed, 1 failed, 0 skipped, exit 1', 'a test of the harness that hangs');
}
script("$top/selftests/style.sh", "printf '1..1\\nok 1\\n'\n");

# The machine is a program that does nothing, for long.
write_file("$qemu/$_", $real{$_}, 0755) for keys(%real);
my $machine = "$top/bin/qemu-system-x86_64";
script($machine, "echo \$\$ >>'$top/machines'\nexec sleep 600\n");
$ENV{PATH} = "$top/bin:$ENV{PATH}";
$ENV{kernel_image} = '/dev/null';

# wait_until(SECONDS, CONDITION): whether it has come true
sub wait_until
{
	my ($seconds, $condition) = @_;
	my $end = time() + $seconds;

	until ($condition->()) {
		return 0 if time() > $end;
		sleep(0.1);
	}
	return 1;
}

sub machines
{
	my @pids;

	if (open(my $file, '<', "$top/machines")) {
		chomp(@pids = <$file>);
	}
	return @pids;
}

sub alive
{
	return grep { my $status = "/proc/$_/status"; -e $status && `cat $status` !~ /^State:\s+[ZX]/m } @_;
}

# children(PID): of a process, and all that they have started
sub children
{
	my @found = @_;
	my %parent;

	for (glob('/proc/[0-9]*/stat')) {
		open(my $file, '<', $_) or next;
		my ($pid, $parent) = (<$file> // '') =~ /^(\d+) .*\) \S (\d+)/ or next;
		$parent{$pid} = $parent;
	}
	for (my $i = 0; $i < @found; $i++) {
		push(@found, grep { $parent{$_} == $found[$i] } keys(%parent));
	}
	shift(@found);
	return @found;
}

# ends(WHAT, COUNT, COMMAND, VICTIM, SIGNAL): of a run that COMMAND starts, one process is
# sent a signal, and then no machine is left; VICTIM gets the run's process id
sub ends
{
	my ($what, $count, $command, $victim, @signals) = @_;

	for my $signal (@signals) {
		unlink("$top/machines");
		my $pid = fork() // die("fork: $!\n");

		if (!$pid) {
			setpgrp();
			# A shell has its background commands ignore them, us too.
			$SIG{$_} = 'DEFAULT' for qw(INT QUIT);
			open(STDOUT, '>', "$top/output");
			open(STDERR, '>&', \*STDOUT);
			exec('sh', '-c', "exec $command") or die("$!\n");
		}
		my $started = wait_until(30, sub { machines() >= $count });
		my @started = machines();
		my ($process) = $victim->($pid);
		my @all = ($pid, children($pid));

		ok($started && $process, "$what, $signal: it runs") or diag(`cat '$top/output'`);
		kill($signal, $process) if $process;
		ok(wait_until(10, sub { waitpid($pid, WNOHANG); !alive(@started) }),
		   "$what, $signal: no machine is left");
		kill('KILL', alive(@started), alive(@all));
		waitpid($pid, 0);
	}
}

sub named
{
	my ($name) = @_;

	return sub {
		my ($pid) = @_;

		for my $process ($pid, children($pid)) {
			open(my $file, '<', "/proc/$process/cmdline") or next;
			return $process if (<$file> // '') =~ /$name/;
		}
		return undef;
	};
}

make_path("$top/out/log");
my $itself = sub { $_[0] };
my @signals = qw(TERM INT HUP KILL);

ends('boot.sh', 1, "'$qemu/boot.sh' '$top/out' check cat", $itself, @signals);
ends('boot.sh for a shell', 1, "'$qemu/boot.sh' '$top/out' shell", $itself, qw(TERM KILL));
ends('what runs QEMU', 1, "'$qemu/boot.sh' '$top/out' check cat", named('^timeout'), qw(TERM KILL));
ends('who reads what the guest says', 1, "sh -c \"'$qemu/boot.sh' '$top/out' check cat; true\"",
     $itself, qw(TERM KILL));
ends('check.sh', 2, "env HMM_MIRROR_JOBS=2 '$qemu/check.sh'", named('check[.]sh'), @signals);
ends('xargs', 2, "env HMM_MIRROR_JOBS=2 '$qemu/check.sh'", named('^xargs'), qw(TERM KILL));
# One, as xargs waits for the others. It is in the background, where shells ignore INT.
ends('check_kernel.sh', 1, "env HMM_MIRROR_JOBS=1 '$qemu/check.sh'",
     named('^/bin/sh\0.*check_kernel[.]sh'), qw(TERM HUP KILL));
ends('flock', 2, "env HMM_MIRROR_JOBS=2 '$qemu/check.sh'", named('^flock'), qw(TERM KILL));
write_file("$top/Makefile", "check:\n\t\@HMM_MIRROR_JOBS=2 $qemu/check.sh\n");
ends('make', 2, "make -C '$top' check", named('^make'), qw(TERM KILL));

done_testing();
