#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# common.sh's cache: whatever has a name in it is complete, and on the disk.

use strict;
use warnings;
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use FindBin;
use Test::More;

my $dir = tempdir(CLEANUP => 1);
my $real_mv = `sh -c "command -v mv"`;

chomp($real_mv);
make_path("$dir/bin");
for my $command (['sync', 'exit 0'], ['mv', "exec '$real_mv' \"\$@\""]) {
	my ($name, $action) = @$command;

	open(my $file, '>', "$dir/bin/$name") or die("$!\n");
	print($file "#!/bin/sh\necho $name \"\$@\" >>'$dir/log'\n$action\n");
	close($file);
	chmod(0755, "$dir/bin/$name");
}

# in_shell(COMMANDS, CACHE): their output and exit status, with common.sh
sub in_shell
{
	my ($commands, $cache) = @_;
	my $output = `cd '$dir' && qemu_dir='$FindBin::Bin/..' HMM_MIRROR_CACHE='@{[$cache // "$dir/cache"]}' PATH='$dir/bin':"\$PATH" sh -euc '. "\$qemu_dir/common.sh"
		good() { echo content >"\$1/file"; }
		bad() { echo content >"\$1/file"; return \$failure; }
		$commands' 2>/dev/null`;

	return $output . 'status ' . ($? >> 8);
}

is(in_shell('cached a/thing good'), "$dir/cache/a/thing\nstatus 0", 'it is made');
is(`cat '$dir/cache/a/thing/file'`, "content\n", 'it is there');
like(`cat '$dir/log'`, qr{^sync -f \S+/\.partial/a/thing\nmv -T \S+ \S+/a/thing\nsync -f \S+/cache/a\n$},
     'its files are written before it gets its name, and then the name');
is(in_shell('cached a/thing false'), "$dir/cache/a/thing\nstatus 0", 'it is not made again');
is(in_shell('failure=2; cached b bad || echo $?'), "2\nstatus 0", 'a failure, and which');
ok(!-e "$dir/cache/b", 'what failed has no name');
unlink("$dir/log");
is(in_shell('tries=0; command() { echo try >>' . "$dir/tries" . '; return 2; }; apt_retry command || echo $?'),
   "2\nstatus 0", 'what fresh lists cannot help');
is(`cat '$dir/tries'`, "try\n", 'it is not tried again');
is(in_shell('cd /; cached c good; echo "$HMM_MIRROR_CACHE"', 'relative'),
   "$dir/relative/c\n$dir/relative\nstatus 0", 'it may be relative to where it was said');

done_testing();
