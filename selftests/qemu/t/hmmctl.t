#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# hmmctl with a device that answers as a script says (hmmctl_device.c) and with
# processes that are files: slow, wrong or hostile answers, and what happens between
# two looks at a process. Real processes are tested in the guest, by the test program
# hmmctl.
#
# HMMCTL=FILE tests that program instead of building it.

use strict;
use warnings;
use File::Path qw(make_path remove_tree);
use File::Temp qw(tempdir);
use FindBin;
use JSON::PP;
use POSIX qw(:sys_wait_h mkfifo);
use Test::More;
use Time::HiRes qw(sleep time);

my $top = "$FindBin::Bin/../../..";
my $tmp = tempdir(CLEANUP => 1);
my $hmmctl = $ENV{HMMCTL};
my $pid = 4711;
my $proc = "$tmp/proc";
my $log = "$tmp/log";

# What takes no time at all unless something is wrong takes less, in seconds.
my $patience = 15;

sub write_file
{
	my ($name, @content) = @_;

	open(my $file, '>', $name) or die("$name: $!\n");
	print($file @content);
	close($file) or die("$name: $!\n");
}

sub read_file
{
	my ($name) = @_;

	open(my $file, '<', $name) or return '';
	local $/ = undef;
	return <$file> // '';
}

sub build
{
	my $make = "make -s -C '$top/tools' O='$tmp/tools' 2>&1";
	my $output = `$make`;

	$? and BAIL_OUT("$make: $output");
	return "$tmp/tools/hmmctl";
}

system("$FindBin::Bin/../packages.sh", qw(fish gcc libc6-dev make zsh)) == 0 or
	BAIL_OUT('packages are missing');
$hmmctl //= build();
my $cc = $ENV{CC} // 'cc';
my $output = `$cc -D_GNU_SOURCE -D__SANE_USERSPACE_TYPES__ -I'$top/uapi' -shared -fPIC -O1 \\
	-Wall -Wextra -Werror -o '$tmp/device.so' '$FindBin::Bin/hmmctl_device.c' -ldl 2>&1`;
BAIL_OUT("cannot build the device: $output") if ($?);

# --- Processes that are files -----------------------------------------------------

my $maps = <<'END';
400000-500000 r-xp 00000000 08:01 42 /usr/bin/victim
10000000-18000000 rw-p 00000000 00:00 0 [heap]
20000000-20004000 rw-p 00000000 00:00 0 
END

sub stat_line
{
	my ($code, $stack) = @_;

	return "$pid (vic) tim) S 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 12345 1 1 " .
		"18446744073709551615 $code 2 $stack 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0\n";
}

my $status = "Name:\tvictim\nSigPnd:\t%s\nShdPnd:\t%s\nSigBlk:\t0000000000000000\n";
my $none = '0000000000000000';
my $sigkill = '0000000000000100';

sub make_thread
{
	my ($directory, %process) = @_;

	make_path($directory);
	write_file("$directory/comm", $process{name} // "victim\n");
	write_file("$directory/stat", $process{stat} // stat_line(4194304, 140000000));
	write_file("$directory/status", $process{status} // sprintf($status, $none, $none));
	write_file("$directory/$_", $process{maps} // $maps) for ('maps', 'smaps');
}

# A process with these files, instead of the one before
sub make_process
{
	my (%process) = @_;

	remove_tree($proc);
	make_thread("$proc/$pid", %process);
	make_path("$proc/$pid/task/$pid");
}

# --- Running it ---------------------------------------------------------------------

# start SCRIPT, OPTIONS, ARGUMENT...: of the options, what becomes of the output
# (a file by default), and "self", who /proc/self says it is
sub start
{
	my ($script, $options, @arguments) = @_;
	my %run = (out => '', begun => time());
	my $reader;

	write_file("$tmp/script", $script);
	unlink($log, "$tmp/out", "$tmp/err");
	pipe($reader, my $writer) or die("pipe: $!\n");
	$run{pid} = fork() // die("fork: $!\n");
	if (!$run{pid}) {
		setpgrp(0, 0);
		unlink("$proc/self");
		make_path($proc);
		symlink($options->{self} // $$, "$proc/self");
		make_thread("$proc/$$", maps => "600000-601000 rw-p 00000000 00:00 0 [self]\n")
			if (!$options->{self});
		open(STDIN, '<', '/dev/null');
		open(STDERR, '>', "$tmp/err");
		if ($options->{pipe}) {
			open(STDOUT, '>&', $writer);
		} else {
			open(STDOUT, '>', "$tmp/out");
		}
		close($_) for ($reader, $writer);
		%ENV = (PATH => $ENV{PATH}, LD_PRELOAD => "$tmp/device.so",
			HMMCTL_SCRIPT => "$tmp/script", HMMCTL_PROC => $proc, HMMCTL_LOG => $log,
			%{$options->{environment} // {}});
		exec(@{$options->{command} // [$hmmctl, @arguments]}) or die("$hmmctl: $!\n");
	}
	close($writer);
	$run{reader} = $reader;
	return \%run;
}

# Waits so long for its end, and says how it ended: its exit status, "signal N", or
# "does not end". Notes how much memory and processor time it took.
sub finish
{
	my ($run, $seconds) = @_;
	my $until = time() + ($seconds // 30);

	$run->{status} = 'does not end';
	$run->{processor} = -(times())[2];
	while (1) {
		my $memory = read_file("/proc/$run->{pid}/status") =~ /^VmHWM:\s+(\d+)/m ? $1 : 0;

		$run->{memory} = $memory if ($memory);
		if (waitpid($run->{pid}, WNOHANG) > 0) {
			$run->{status} = $? & 127 ? 'signal ' . ($? & 127) : $? >> 8;
			last;
		}
		last if (time() > $until);
		sleep(0.02);
	}
	$run->{seconds} = time() - $run->{begun};
	$run->{processor} += (times())[2];
	kill('KILL', -$run->{pid});
	waitpid($run->{pid}, 0) if ($run->{status} eq 'does not end');
	close($run->{reader});
	$run->{out} .= read_file("$tmp/out");
	$run->{err} = read_file("$tmp/err");
	$run->{log} = read_file($log);
	return $run;
}

sub run
{
	return finish(start(@_));
}

sub hmmctl
{
	return run('', {}, @_);
}

# wait_for CONDITION: until it holds
sub wait_for
{
	my ($condition) = @_;
	my $until = time() + 30;

	sleep(0.02) until ($condition->() || time() > $until);
}

sub json
{
	my ($text, $what) = @_;
	my $value = eval { JSON::PP->new()->utf8()->decode($text) };

	ok($value, "$what: one JSON document") or diag($text);
	return $value // {};
}

sub json_lines
{
	my ($text, $what) = @_;
	my @lines = map { eval { JSON::PP->new()->utf8()->decode($_) } // { type => $_ } }
		split(/\n/, $text);

	ok(!(grep { $_->{type} !~ /^[a-z]+$/ } @lines), "$what: lines of JSON") or diag($text);
	return @lines;
}

# check RUN, WHAT, STATUS, STREAM => PATTERN...: a pattern after a ! must not match
sub check
{
	my ($run, $what, $wanted, @patterns) = @_;
	my $good = is($run->{status}, $wanted, "$what: exit status");

	while (my ($stream, $pattern) = splice(@patterns, 0, 2)) {
		if ($stream =~ s/^!//) {
			$good &= unlike($run->{$stream}, $pattern, "$what: $stream");
		} else {
			$good &= like($run->{$stream}, $pattern, "$what: $stream");
		}
	}
	$good or diag("out: $run->{out}err: $run->{err}");
	return $run;
}

# --- It works at all ---------------------------------------------------------------

make_process();
check(hmmctl('info'), 'info', 0, out => qr/^ABI version +\d/m);
check(hmmctl('map', $pid), 'map', 0, out => qr/^process $pid \(victim\)$/m,
      out => qr/^10000000-18000000 +rw-p +128M .* \[heap\]$/m, out => qr/^ *total .* 3 mappings$/m,
      log => qr/^ATTACH $pid$/m);
check(hmmctl('fault', '--pid', $pid, '0x10000000', '16K'), 'fault', 0,
      out => qr/^range +0x10000000-0x10004000, 16 KiB, for reading$/m);
check(run("event 0 20000000 20001000\n", {}, 'watch', $pid, '--duration', '0.5'), 'watch', 0,
      out => qr/unmap +20000000-20001000 +4K +anon$/m, out => qr/: 1 event, .* 4 KiB invalidated/);
check(hmmctl('stats'), 'stats', 0, out => qr/^range_calls +0/m);
check(hmmctl('map'), 'map of itself', 0, out => qr/\[self\]/, '!log' => qr/ATTACH/);
check(run('', { command => ['sh', '-c', "exec '$hmmctl' watch \$\$ --duration 0.2"] }),
      'watch of itself', 2, err => qr/cannot watch itself/, '!log' => qr/WATCH/);

# --- /proc of another PID namespace ------------------------------------------------

for my $arguments (['map', $pid], ['watch', $pid, '--duration', '0.2'],
		   ['fault', '--pid', $pid, '10000000-10001000']) {
	check(run('', { self => 1 }, @$arguments), "@$arguments[0] with a /proc that is not ours", 1,
	      err => qr/PID namespace/, '!out' => qr/victim/, '!log' => qr/ATTACH|RANGE/);
}

# --- Processes that are not what they were ------------------------------------------

make_process(maps => '', stat => stat_line(0, 0));
make_thread("$proc/$pid/task/4712");
check(hmmctl('map', $pid), 'map, the main thread has exited', 0, out => qr/\[heap\]/);
check(run("event 1 10000000 10001000\n", {}, 'watch', $pid, '--duration', '0.4'),
      'watch, the main thread has exited', 0, out => qr/10000000-10001000 .* \[heap\]$/m);

make_process(maps => '', stat => stat_line(0, 0));
check(hmmctl('map', $pid), 'map of a process that has exited', 1, err => qr/ESRCH/,
      '!out' => qr/nothing is mapped/);
check(hmmctl('map', $pid, '--json'), 'the same in JSON', 1, err => qr/ESRCH/,
      '!out' => qr/"complete": true/);

# The number belongs to another process when it is attached to.
make_thread("$tmp/other", name => "other\n", stat => stat_line(4198400, 150000000));
make_thread("$tmp/other/task/$pid");
for my $arguments (['fault', '--pid', $pid, '10000000-10001000', '--write'], ['map', $pid],
		   ['watch', $pid, '--duration', '0.2']) {
	make_process();
	check(run("ATTACH run rm -r $proc/$pid && cp -r $tmp/other $proc/$pid\n", {}, @$arguments),
	      "@$arguments[0], its number is another process's before it is attached to", 1,
	      err => qr/ESRCH/, '!out' => qr/other/, '!log' => qr/RANGE|WATCH/);
	is(read_file("$proc/$pid/comm"), "other\n", '... which is there');
}

# What happens while the page tables are read
my %fates = (
	'exits' => "rm -r $proc/$pid/*",
	'calls execve()' => "cp $tmp/other_stat $proc/$pid/stat",
	'is killed' => "cp $tmp/killed $proc/$pid/status",
);
write_file("$tmp/other_stat", stat_line(4194304, 150000000));
write_file("$tmp/killed", sprintf($status, $sigkill, $none));
for my $fate (sort(keys(%fates))) {
	my $script = "RANGE run $fates{$fate}\n";

	make_process();
	my $map = check(run($script, {}, 'map', $pid, '--json'), "map, the process $fate", 1,
			err => qr/ESRCH/);
	ok(!json($map->{out}, "map, the process $fate")->{complete}, "... it is not complete");
	make_process();
	check(run($script, {}, 'fault', '-p', $pid, '0x10000000', '4K'),
	      "fault, the process $fate", 1, err => qr/ESRCH/);
}
make_process();
check(run("WATCH run $fates{'calls execve()'}\n", {}, 'watch', $pid, '--duration', '0.2'),
      'watch, the process calls execve()', 1, err => qr/ESRCH/);

# The OOM killer has taken the memory: EFAULT, at no address
make_process(status => sprintf($status, $none, $sigkill));
check(run("RANGE errno 14\n", {}, 'fault', '-p', $pid, '0x10000000', '4K'),
      'fault of memory that was taken', 1, err => qr/ESRCH/, '!err' => qr/0x0\b/,
      '!out' => qr/EiB|0x0\b/);
make_process();
check(run("RANGE errno 14\n", {}, 'fault', '-p', $pid, '0x10000000', '4K'),
      'EFAULT at no address', 1, err => qr/EFAULT/, '!err' => qr/0x0\b/, '!out' => qr/EiB|0x0\b/);

# A module that is wrong
for my $field ('nr_extents 4000000000', 'next 0x7fffffffffff000', 'next 0') {
	for my $arguments (['map', $pid], ['fault', '-p', $pid, '0x10000000', '4K']) {
		check(run("RANGE $field\n", {}, @$arguments), "@$arguments[0], $field", 1,
		      err => qr/does not get on/);
	}
}

# --- watch: many mappings, endless output ------------------------------------------

sub many_mappings
{
	my ($nr) = @_;

	return join('', map { sprintf("%x-%x rw-p 00000000 08:01 %d /data/file-%d\n",
				      0x80000000 + $_ * 0x2000, 0x80001000 + $_ * 0x2000, $_,
				      $_) } (1 .. $nr));
}

my $everything = '0 7ffffffff000';
make_process(maps => many_mappings(131_000));
my $run = check(run("event 4 $everything\n" x 3 . "event 5 $everything\n", {}, 'watch', $pid, '--json'),
		'131,000 mappings', 0, out => qr/"nr_mappings": 131000/);
cmp_ok($run->{seconds}, '<', $patience, '131,000 mappings: three events of all of them');
note(sprintf('%.2f seconds', $run->{seconds}));
my ($summary) = grep { $_->{type} eq 'summary' } json_lines($run->{out}, '131,000 mappings');
is($summary->{bytes}, 4 * 131_000 * 4096, '131,000 mappings: all are counted');

# One of them is taken apart: each page that goes makes two of one.
my @pages = map { sprintf("event 0 %x %x\n", 0x10000000 + $_ * 0x2000, 0x10001000 + $_ * 0x2000) }
	(1 .. 20_000);
make_process(maps => "10000000-20000000 rw-p 00000000 00:00 0 [heap]\n" . many_mappings(131_000));
$run = check(run(join('', @pages, "event 5 $everything\n"), {}, 'watch', $pid, '--json'),
	     'a mapping that becomes 20,000', 0);
($summary) = grep { $_->{type} eq 'summary' } json_lines($run->{out}, 'a mapping that becomes 20,000');
# What is left of it goes at last.
is_deeply([map { [@{$_}{'mapping', 'events', 'bytes'}] } grep { $_->{mapping} eq '[heap]' } @{$summary->{top_mappings}}],
	  [['[heap]', 20_000, 20_000 * 4096]], '... each page is counted once');
is($summary->{bytes}, 0x10000000 + 131_000 * 4096, '... and what is left at the end');
cmp_ok($run->{processor}, '<', 1, '... and that is quick');
note(sprintf('%.2f seconds', $run->{processor}));

# It must listen while it is busy.
make_process(maps => many_mappings(262_144));
$run = start("event 4 $everything\n" x 1000, {}, 'watch', $pid, '--rates');
wait_for(sub { read_file($log) =~ /WATCH/ });
sleep(2);
kill('INT', $run->{pid});
my $signalled = time();
finish($run, 60);
check($run, '262,144 mappings, a thousand events of all of them, SIGINT', 0, out => qr/^process /m);
cmp_ok(time() - $signalled, '<', $patience, '... it is heeded');
note(sprintf('%.2f seconds', time() - $signalled));

# The process decides what there is to remember.
make_process();
$run = run("maps 20000\n" . "event 0 1000 2000\nevent 4 $everything\npause 0.2\n" x 90, {},
	   'watch', $pid, '--rates', '--duration', 24);
check($run, 'mappings that change all the time', 0, out => qr/too many to be told apart/);
cmp_ok(() = $run->{log} =~ /^file maps$/mg, '>', 3, '... have been read again and again');
cmp_ok($run->{memory}, '<', 40_000, '... take no more memory than some');
note("$run->{memory} kB");

for my $arguments (['watch', $pid], ['stats', '--interval', 3600]) {
	make_process();
	$run = start('', { pipe => 1 }, @$arguments);
	is(sysread($run->{reader}, my $line, 1), 1, "@$arguments[0] | head: something is read");
	close($run->{reader});
	check(finish($run, $patience), "@$arguments[0] | head", 'signal 13', err => qr/^$/);
}

# Nobody reads, but nobody has closed it either.
for my $mode ([], ['--json']) {
	$run = start("forever 1 10000000 10001000\n", { pipe => 1 }, 'watch', $pid, @$mode);
	sleep(1);
	kill('INT', $run->{pid});
	check(finish($run, $patience), "watch @$mode, SIGINT while its output is stuck", 1,
	      err => qr/not read any more/);
}

# Nor does the kernel answer.
make_process();
unlink("$proc/$pid/maps");
mkfifo("$proc/$pid/maps", 0600);
$run = start('', {}, 'watch', $pid);
wait_for(sub { read_file($log) =~ /^file maps$/m });
kill('TERM', $run->{pid});
check(finish($run, $patience), 'watch, SIGTERM while maps cannot be read', 0, out => qr/no invalidation/);

make_process();
$run = run("event 4 10000000 10001000\n", {}, 'watch', $pid, '--json', '--duration', '0.4', '-r',
	   '0x10000000+1M', '--range', '400000-401000', '-r', '400000-480000', '-r', '480000-481000');
check($run, 'several ranges', 0, log => qr/^WATCH 10000000-10100000$/m,
      log => qr/^WATCH 400000-481000$/m);
is(() = $run->{log} =~ /^WATCH/mg, 2, 'several ranges: those that overlap or touch are one');
my @lines = json_lines($run->{out}, 'several ranges');
is_deeply($lines[0]{ranges}, [{ start => '0x400000', end => '0x481000' },
			      { start => '0x10000000', end => '0x10100000' }],
	  'several ranges: they are told');
is_deeply([@{$lines[-1]{top_mappings}[0]}{'mapping', 'start', 'end'}],
	  ['[heap]', '0x10000000', '0x10100000'], 'mappings are cut to the ranges');
check(hmmctl('map', $pid, '--range', '400000-401000', '--range', '0x10000000+4K'),
      'map of several ranges', 0, out => qr/^ +400000-401000 /m, out => qr/^10000000-10001000 /m);
check(run("info max_watches 1\nWATCH errno 28\n", {}, 'watch', $pid, '-d', '0.1'),
      'more ranges than the module watches', 1, err => qr/no more than 1 range/);
check(run("info max_watches_per_user 7\nWATCH errno 122\n", {}, 'watch', $pid, '-d', '0.1'),
      'more than a user may have', 1, err => qr/all files of this user .* 7 watches .*EDQUOT/);
check(run("info max_watches_per_user 7\n", {}, 'info'), 'info says what a user may have', 0,
      out => qr/^limits per user +7 watches, /m);

# --- Names that steer a terminal ----------------------------------------------------

my $evil = "a\e[2Jb\xc2\x9b31mc\x9bd\xe2\x80\xaee\xe2\x81\xa6f\x7fg\xed\xa0\x80h\xc0\xafi\xf3\xa0\x81\xa1j";
# What is good UTF-8 stays.
my $good = "\xc3\xbc\xe6\x97\xa5\xf0\x9f\x98\x80";
make_process(name => "$evil$good\n", maps =>
	     "400000-401000 r--p 00000000 08:01 1 /tmp/$evil$good\n");
my @commands = (['map', $pid], ['map', $pid, '--extents'], ['watch', $pid, '--duration', '0.4'],
		['fault', '-p', $pid, '400000-401000', '--write']);
for my $arguments (@commands) {
	my $script = "event 1 400000 401000\n";

	$script .= "RANGE errno 1\nRANGE fault_addr 0x400000\n" if ($arguments->[0] eq 'fault');
	$run = run($script, {}, @$arguments);
	my $text = $run->{out} . $run->{err};
	like($text, qr/a\?\[2Jb\?31mc\?d\?e\?f\?g\?+h\?+i\?j$good/, "@$arguments: a name is printed");
	unlike($text, qr/[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80\xae|\xe2\x81\xa6/,
	       "@$arguments: it steers no terminal");
	my $copy = $text;
	ok(utf8::decode($copy), "@$arguments: the output is UTF-8");

	$run = run($script, {}, @$arguments, '--json');
	like($run->{out}, qr/a\\u001b\[2Jb\\u009b31mc\\ufffdd\\u202ee\\u2066f\\u007fg(\\ufffd)+h(\\ufffd)+i\\udb40\\udc61j$good/,
	     "@$arguments --json: it is escaped");
	unlike($run->{out}, qr/[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80\xae/,
	       "@$arguments --json: it steers no terminal");
}
make_process(name => "two\nlines\n");
check(hmmctl('map', $pid), 'a name of two lines', 0, out => qr/^process $pid \(two\?lines\)$/m);
is(json(hmmctl('map', $pid, '--json')->{out}, 'a name of two lines')->{name}, "two\nlines",
   'JSON has the name as it is');

# --- Numbers -------------------------------------------------------------------------

make_process();
my @refused = (
	[[qw(fault -p 4711 400000 4K)], qr/0x400000 .*0x61a80/],
	[[qw(fault -p 4711 4000a0 4K)], qr/0x4000a0/],
	[[qw(fault -p 4711 0x400000 ff)], qr/0xff/],
	[[qw(map 4711 --range 40960000+4K)], qr/0x40960000/],
	[[qw(watch 4711 --range 40960000+4K)], qr/0x40960000/],
	[[qw(map 4711 --range 5000-5000)], qr/holds nothing/],
	[[qw(map 4711 --range 5000-4000)], qr/holds nothing/],
	[[qw(map 4711 --range 0x5000+0)], qr/holds nothing/],
	[[qw(fault -p 4711 0x5000 0)], qr/holds nothing/],
	[[qw(watch 4711 --range 0xfffffffffffff000+4K)], qr/beyond/],
	[[qw(map 4711 --range 5000)], qr/START-END/],
	[[qw(map 0x1267)], qr/decimal/],
	[[qw(map -p 0)], qr/not a process ID/],
	[[qw(map -p 4711 4711)], qr/unexpected argument/],
	[[qw(map -p 4711 --pid 4712)], qr/given twice/],
	[[qw(watch -p 4711 -p 4711)], qr/given twice/],
	[[qw(fault -p 4711 --write --pid=4712 400000 4K)], qr/given twice/],
	[[qw(watch -p 4711 4711)], qr/unexpected argument/],
	[[qw(watch)], qr/a process is needed/],
	[[qw(fault 0x400000 4K)], qr/a process is needed/],
);
for my $case (@refused) {
	my ($arguments, $pattern) = @$case;

	check(hmmctl(@$arguments), "@$arguments", 2, err => $pattern,
	      '!log' => qr/ATTACH|RANGE|WATCH/);
}
check(hmmctl(qw(fault -p 4711 0x400000 1000)), 'a length that is no multiple of the page size', 1,
      err => qr/decimal.*0x1000\b/);
check(hmmctl('map', $_, $pid), "map $_", 0, log => qr/^ATTACH $pid$/m) for ('-p', '--pid');
check(run('', {}, 'watch', $_, $pid, '-d', '0.1'), "watch $_", 0, log => qr/^ATTACH $pid$/m)
	for ('-p', '--pid');
check(hmmctl('map', $pid, '-r', '30000000-30001000'), 'a range where nothing is', 0,
      out => qr/nothing is mapped in 0x30000000-0x30001000/);
check(hmmctl('map', $pid, '-r', '30000000-30001000', '-r', '400000-401000'),
      'a range where nothing is, beside another', 0,
      out => qr/nothing is mapped in 0x30000000-0x30001000/, '!out' => qr/mapped in 0x400000/);
# Where both readings are the same there is nothing to ask.
check(run("RANGE errno 14\n", {}, 'fault', '-p', $pid, '0', '4K'), 'address 0', 1,
      log => qr/^RANGE 0-1000 /m, out => qr/failed +at 0x0\b/);

# --- Cost and deadlines ---------------------------------------------------------------

for my $arguments (['map', $pid, '--range', '0x10000000+4K'], ['map', $pid]) {
	check(hmmctl(@$arguments), "@$arguments", 0, log => qr/^file maps$/m,
	      '!log' => qr/^file smaps$/m);
}
# A file on tmpfs, or on hugetlbfs: a look at the file system tells.
my $memory = "30000000-30200000 rw-s 00000000 00:0f 7 /memory\n";
make_process(maps => $maps . $memory . "VmFlags: rd wr sh ht \n");
check(hmmctl('map', $pid, '-r', '30000000-30001000'), 'a file that may be of hugetlbfs', 0,
      out => qr/HUGETLB/, log => qr/^file smaps$/m);
make_path("$proc/$pid/map_files");
write_file("$proc/$pid/map_files/30000000-30200000", '');
check(hmmctl('map', $pid), 'a file that is not', 0, '!out' => qr/HUGETLB/, '!log' => qr/^file smaps$/m);

for my $mode ([], ['--json']) {
	make_process();
	$run = start("RANGE step 1048576\nRANGE after 3\nRANGE delay 60\n", {}, 'fault', '-p', $pid,
		     '0x10000000', '64M', @$mode);
	wait_for(sub { (() = read_file($log) =~ /^RANGE/mg) >= 4 });
	kill('INT', $run->{pid});
	check(finish($run, $patience), "fault @$mode, SIGINT", 1,
	      err => qr/interrupted; 3 MiB of 64 MiB is complete, up to 0x10300000/);
	if (@$mode) {
		my $document = json($run->{out}, 'fault, SIGINT');
		is($document->{next}, '0x10300000', 'fault, SIGINT: JSON says how far it came');
		is($document->{error}{errno}, 'EINTR', 'fault, SIGINT: JSON says why');
	} else {
		like($run->{out}, qr/^complete +up to 0x10300000, 3 MiB$/m,
		     'fault, SIGINT: it says how far it came');
	}
}
make_process();
$run = start("RANGE step 4096\nRANGE delay 0.01\n", {}, 'fault', '-p', $pid, '0x10000000', '64M');
wait_for(sub { (() = read_file($log) =~ /^RANGE/mg) >= 4 });
kill('TERM', $run->{pid});
check(finish($run, $patience), 'fault, SIGTERM between calls', 1, err => qr/interrupted/,
      out => qr/^complete +up to /m);
check(run("RANGE errno 110\nRANGE delay 0.1\n", {}, 'fault', '-p', $pid, '0x10000000', '64M', '-t', 500),
      'fault --timeout', 1, err => qr/ETIMEDOUT/);
check(run("RANGE step 1048576\nRANGE delay 0.05\n", {}, 'fault', '-p', $pid, '0x10000000', '64M',
	  '--progress'), 'fault --progress', 0,
      err => qr{^faulting: \d.* of 64 MiB \(\d+%\), [\d.]+ MiB/s, \d+:\d\d left$}m);

for my $case (["RANGE delay 60\n", 'a call does not return'], ["RANGE errno 110\nRANGE delay 0.2\n", 'calls return'],
	      ["RANGE step 4096\nRANGE delay 0.01\n", 'calls do little']) {
	my ($script, $what) = @$case;

	make_process();
	$run = run($script, {}, 'map', $pid, '--timeout', 500, '--json');
	check($run, "map --timeout, $what", 1, err => qr/ETIMEDOUT/);
	cmp_ok($run->{seconds}, '<', $patience, "... it holds");
	ok(!json($run->{out}, "map --timeout, $what")->{complete}, '... it is not complete');
}
$run = run("RANGE after 2\nRANGE delay 60\n", {}, 'map', $pid, '--timeout', 500, '--json', '--extents');
is(@{json($run->{out}, 'map --timeout --extents')->{mappings}}, 3, '... what was read until then is there');
check(run("RANGE after 2\nRANGE delay 60\n", {}, 'map', $pid, '--timeout', 500), 'map --timeout', 1,
      out => qr/^10000000-18000000 /m, err => qr/ETIMEDOUT/);
unlink("$proc/$pid/maps");
mkfifo("$proc/$pid/maps", 0600);
check(run('', {}, 'map', $pid, '--timeout', 500), 'map --timeout, maps cannot be read', 1,
      err => qr/ETIMEDOUT/);

# --- Figures that do not mislead --------------------------------------------------------

make_process();
# KSM clears. A single unmap takes most.
$run = run("event 3 10000000 10001000\n" x 20 . "event 0 10000000 14000000\n" . "event 1 0 1000\n" .
	   "event 2 20000000 20001000\n", {}, 'watch', $pid, '--duration', '0.5');
check($run, 'what it was mostly', 0, out => qr/^ +21 .* unmap +\S+ +\[heap\]$/m,
      out => qr/^clear .*KSM/m, '!out' => qr/^protection-page .*KSM/m,
      out => qr/^unmap .*OOM/m, out => qr/^protection-vma .*userfaultfd.*PAGEMAP_SCAN/m);

# Addresses that nobody saw mapped, one of them all the time
$run = run("event 0 50000000 50002000\n" x 324 . "event 0 60000000 60002000\nevent 0 70000000 70001000\n" x 3 .
	   "event 0 80000000 80001000 100\n", {}, 'watch', $pid, '--duration', '0.5');
check($run, 'short-lived mappings', 0,
      out => qr/^ +324 .* 50000000-50002000 +\(short-lived\)$/m,
      out => qr/^ +100 .* 80000000-80064000 +\(short-lived\)$/m,
      out => qr/^ +3 .* 60000000-60002000 +\(short-lived\)$/m);

# The end: all that was mapped, and no size of the address space
for my $size ('0x7ffffffff000', '0xfffffffffff000') {
	$run = run("info task_size $size\n" . sprintf("event 5 0 %s\n", substr($size, 2)), {}, 'watch',
		   $pid, '--duration', 5);
	check($run, "the process exits, address space $size", 0, '!out' => qr/\d[PT]\b|\d [PT]iB/,
	      out => qr/1 event, .* 129 MiB invalidated/);
	$run = run("info task_size $size\n" . sprintf("event 4 0 %s\n", substr($size, 2)), {}, 'watch',
		   $pid, '--duration', '0.5');
	check($run, "an event of all, address space $size", 0, '!out' => qr/\d[PT]\b|\d [PT]iB/,
	      out => qr/soft-dirty .* 129M +\S+ and 2 more$/m);
}

# --- Convenience --------------------------------------------------------------------------

check(hmmctl('-V'), '-V', 0, out => qr/^hmmctl \d/);
for my $command (qw(info map fault watch stats)) {
	my $help = hmmctl($command, '--help')->{out};

	is(hmmctl('help', $command)->{out}, $help, "help $command");
	# What is offered is told by the man page, and completed.
	my @options = $help =~ /^ +(?:-\w, )?(--[a-z]+)/mg;
	my $man = read_file("$top/tools/hmmctl.1") =~ s/\\-/-/gr;
	cmp_ok(@options, '>', 1, "$command has options");
	for my $option (@options) {
		like($man, qr/\Q$option\E/, "the man page has $option");
		my $name = substr($option, 2);
		like(read_file("$top/tools/completions/hmmctl.bash"), qr/\Q$option\E/, "bash: $option");
		like(read_file("$top/tools/completions/_hmmctl"), qr/\Q$option\E/, "zsh: $option");
		like(read_file("$top/tools/completions/hmmctl.fish"), qr/-l $name\b/, "fish: $option");
	}
}
check(hmmctl('help', 'nothing'), 'help nothing', 2, err => qr/unknown command/);

make_process(maps => '400000-401000 r--p 00000000 08:01 1 /' . 'long/' x 40 . "end\n");
my ($longest) = sort { $b <=> $a } map { length } split(/\n/, run('', { environment => { COLUMNS => 70 } },
								  'map', $pid)->{out});
is($longest, 70, 'COLUMNS counts where there is no terminal');
like(hmmctl('map', $pid)->{out}, qr{(long/){40}end}, 'without it nothing is cut');

# A terminal, by script(1)
sub on_terminal
{
	my ($environment, $script, @arguments) = @_;

	return run($script, { environment => { TERM => 'xterm', %$environment },
			 command => ['script', '-qec',
				     "ln -sfn \$\$ $proc/self; exec $hmmctl @arguments",
				     "$tmp/typescript"] });
}

SKIP: {
	skip('there is no script(1)', 10) if (system('script --version >/dev/null 2>&1'));
	check(on_terminal({}, '', 'info'), 'on a terminal', 0, out => qr/\e\[1m/);
	check(on_terminal({ NO_COLOR => 1 }, '', 'info'), 'NO_COLOR', 0, '!out' => qr/\e/);
	check(on_terminal({ NO_COLOR => '' }, '', 'info'), 'an empty NO_COLOR', 0, out => qr/\e\[1m/);
	my $slow = "RANGE step 1048576\nRANGE delay 0.05\n";
	check(on_terminal({}, $slow, 'fault', '-p', $pid, '0x10000000', '32M'), 'a progress bar', 0,
	      out => qr{\rfaulting \[#+\.*\] \d.* of 32 MiB \(\d+%\), [\d.]+ MiB/s, \d+:\d\d left\e});
	check(on_terminal({ TERM => 'dumb' }, '', 'info'), 'TERM=dumb', 0, '!out' => qr/\e/);
}
unlike(hmmctl('info')->{out}, qr/\e/, 'no colour where there is no terminal');

# Completion in bash
sub complete
{
	my (@words) = @_;
	my $line = join(' ', map { "'$_'" } @words);

	return `bash -c '. "\$0"; shift; COMP_WORDS=("\$@"); COMP_CWORD=\$((\$# - 1)); _hmmctl hmmctl; \\
		printf "%s\\n" "\${COMPREPLY[@]}"' '$top/tools/completions/hmmctl.bash' - $line`;
}

like(complete('hmmctl', ''), qr/^watch$/m, 'bash completes commands');
is(complete('hmmctl', 'wa'), "watch\n", 'bash completes one command');
is(complete('hmmctl', 'map', '--ex'), "--extents\n", 'bash completes options');
like(complete('hmmctl', 'watch', ''), qr/^1$/m, 'bash completes processes');
like(complete('hmmctl', 'fault', '--pid', ''), qr/^1$/m, 'bash completes them after --pid');

# The others, which keep something at home
my $alone = "env -i HOME='$tmp' PATH=\"\$PATH\" timeout 60";

is(`$alone zsh -n '$top/tools/completions/_hmmctl' 2>&1`, '', 'zsh can read its completion');
is(`$alone fish --no-execute '$top/tools/completions/hmmctl.fish' 2>&1`, '',
   'fish can read its completion');
like(`$alone fish -c "source '$top/tools/completions/hmmctl.fish'; \\
	complete -C 'hmmctl watch --ra'"`, qr/^--rates\t/m, 'fish completes options');

# On a terminal, with a tab at the end of each line
write_file("$tmp/complete.zsh", <<'END');
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "fpath=('$1' \$fpath); autoload -U compinit; compinit -u -D"
zpty -w shell 'hmmctl() { print -r "arguments: $*"; }'
shift
for line; do
	zpty -w shell $line$'\t'
done
zpty -w shell exit
while zpty -r shell; do :; done
END
my $lines = `$alone zsh -f '$tmp/complete.zsh' '$top/tools/completions' 'hmmctl wa' \\
	'hmmctl map --ex' 2>&1`;
like($lines, qr/^arguments: watch *\r?$/m, 'zsh completes commands') or diag($lines);
like($lines, qr/^arguments: map --extents *\r?$/m, 'zsh completes options') or diag($lines);

# Where the shells look for it
system("make -s -C '$top/tools' O='$tmp/tools' DESTDIR='$tmp/root' install") == 0 or
	fail('make install');
for my $file ('share/bash-completion/completions/hmmctl', 'share/zsh/site-functions/_hmmctl',
	      'share/fish/vendor_completions.d/hmmctl.fish', 'share/man/man1/hmmctl.1', 'bin/hmmctl') {
	ok(-s "$tmp/root/usr/local/$file", "$file is installed");
}

done_testing();
