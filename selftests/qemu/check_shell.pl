#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# check_shell.pl OUT: what somebody sees who types "make shell", with the modules in
# OUT/src, and tries there what "make run" shows. Prints TAP. From the environment: what
# fetch_kernel.sh printed.

use strict;
use warnings;
use FindBin;
use IO::Select;
use IPC::Open2;
use POSIX qw(WNOHANG);
use Test::More tests => 10;
use Time::HiRes qw(sleep time);

use constant { ROWS => 50, COLUMNS => 132, BOOT_LIMIT => 600, LIMIT => 120 };

die("usage: check_shell.pl OUT\n") if @ARGV != 1;
my ($out) = @ARGV;
my $dir = $FindBin::Bin;
my $seen = '';

mkdir("$out/shell");
system("ln -sfnT ../src '$out/shell/src' && mkdir -p '$out/shell/kernel_tests' '$out/shell/files/of' &&" .
       "echo mine >'$out/shell/files/of/mine' &&" .
       "'$dir/demo_files.sh' '$out/shell/demo'") == 0 or die("cannot get the files\n");

# A terminal of that size
my $command = 'stty rows ' . ROWS . ' columns ' . COLUMNS . " && " .
	      "'$dir/make_initramfs.sh' '$out/shell' shell '$out/shell/demo' " .
	      "'$out/shell/files' && " .
	      "exec '$dir/boot.sh' '$out/shell' shell";
my $pid = open2(my $screen, my $keyboard, 'script', '-q', '-e', '-c', $command, '/dev/null');
$keyboard->autoflush(1);

# The shell waits for a line. What is typed before may be lost: it takes the terminal over
# when it is about to ask.
my $prompt = qr/# \z/;

# expect(SECONDS, REGEX): reads until it is on the screen, and returns what it has found
sub expect
{
	my ($limit, $regex) = @_;
	my $select = IO::Select->new($screen);
	my $end = time() + $limit;
	my $new = '';

	while (time() < $end) {
		return $1 // 1 if $new =~ $regex;
		next if !$select->can_read(1);
		sysread($screen, my $part, 4096) or last;
		$seen .= $part;
		$new .= $part;
		# The shell asks where the cursor is.
		$new =~ s/\r|\e\[6n//g;
	}
	return $new =~ $regex ? $1 // 1 : undef;
}

# answer(LINE, REGEX): types it, and returns what of its output is found before the next
# prompt
sub answer
{
	my ($line, $regex) = @_;

	print($keyboard "$line\r");
	return expect(LIMIT, qr/$regex.*$prompt/ms);
}

my $process = expect(BOOT_LIMIT, qr/^Process (\d+) \(python3\) works.*$prompt/ms);
ok($process, 'there is a prompt, and a process that works') or diag($seen);
$process //= 0;
is(answer('stty size', qr/^(\d+ \d+)\n/m), ROWS . ' ' . COLUMNS,
   'the screen is as large as the one outside');
cmp_ok(answer("timeout 20 hmmctl watch $process --json | wc -l | sed 's/^/events: /'",
	      qr/^events: (\d+)\n/m) // 0, '>', 5, 'there is something to watch');
is(answer('sed "s/^/file: /" /of/mine', qr/^file: (.*)\n/m), 'mine', "a file of one's own is there");
ok(answer("hmmctl map $process | tail -n 1 | sed 's/.*/mapped/'", qr/^(mapped)\n/m),
   'its memory can be looked at');
is(answer('sh /guest/demo.sh >/tmp/shown 2>&1; echo "status: $?"', qr/^status: (\d+)\n/m), 0,
   'the demonstration of "make run" succeeds');
my $private = answer("hmmctl info --json | grep -c '\"device-private\": true' | sed 's/^/private: /'",
		     qr/^private: (\d+)\n/m) // 0;
is(answer("grep -c ^verified /tmp/shown | sed 's/^/verified: /'", qr/^verified: (\d+)\n/m) // 0,
   3 + $private, 'it has verified what it shows' . ($private ? ', of device memory too' : ''));
is(answer("grep ^FAILED /tmp/shown | sed '1!d; s/^/it says: /'; echo nothing else",
	  qr/^(it says: .*|nothing else)\n/m), 'nothing else', 'and nothing failed');
print($keyboard "\x04");
expect(LIMIT, qr/(?!)/);
my $ended = 0;
for (1 .. 100) {
	last if ($ended = waitpid($pid, WNOHANG)) != 0;
	sleep(0.1);
}
my $status = $?;
if (!$ended) {
	# Nothing else would end the machine.
	kill('KILL', $pid);
	waitpid($pid, 0);
	$status = 'none, it was killed';
}
is($status, 0, 'Ctrl-D ends it') or diag($seen);
unlike($seen, qr/^#@/m, 'what the harness talks with the guest is not shown');
