#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# in_root.sh runs commands in a later release of Debian, with this tree in it; no mount
# is visible outside, whatever happens to the command.

use strict;
use warnings;
use Cwd qw(abs_path);
use FindBin;
use lib "$FindBin::Bin/..";
use Kernels;
use POSIX qw(WNOHANG);
use Test::More;
use Time::HiRes qw(sleep);

my $top = abs_path("$FindBin::Bin/../../..");
my ($available) = Kernels::sort_out('later');
my ($kernel) = @$available;

plan(skip_all => 'no later kernel can be had, as its row of the table says') if !$kernel;
my $root = { Kernels::location($kernel) }->{kernel_builder};
my $in_root = "'$FindBin::Bin/../in_root.sh' '$root'";
my $dir = Kernels::build_directory('root');
my $mounts = `cat /proc/self/mounts`;

# below(DIRECTORY): what there is below it, seen from outside
sub below
{
	return `find '$root$_[0]' -mindepth 1 ! -type d`;
}

is((Kernels::run("$in_root sh -c 'exit 3'"))[0], 3, 'its exit status');
like((Kernels::run("$in_root cat /etc/os-release"))[1], qr/^VERSION_CODENAME=(?!bookworm)\w+/m, 'another release');
is((Kernels::run("$in_root id -u"))[1], "$>\n", 'who we are');
is((Kernels::run("cd '$top' && $in_root pwd"))[1], "$top\n", 'where we are');
is((Kernels::run("$in_root cat '$top/Makefile'"))[1], `cat '$top/Makefile'`, 'this tree is there');
is((Kernels::run("$in_root sh -c 'echo written >\"\$1\"' - '$dir/file'"))[0], 0, 'it can be written to');
is(`cat '$dir/file'`, "written\n", 'what is written is here');
is((Kernels::run("$in_root sh -c '[ -c /dev/null ] && [ -e /proc/self/mounts ]'"))[0], 0, '/dev and /proc');
like((Kernels::run("$in_root gcc -x c -o '$dir/program' - </dev/null"))[1], qr/undefined reference to .main/,
     'a compiler that links');

my $pid = fork() // die("fork: $!\n");
if (!$pid) {
	setpgrp();
	exec("exec $in_root sh -c 'echo \$\$ >\"\$1\"; exec sleep 60' - '$dir/running'") or die("$!\n");
}
for (1 .. 300) {
	last if -s "$dir/running";
	sleep(0.1);
}
ok(-s "$dir/running", 'a command that takes long');
is(`cat /proc/self/mounts`, $mounts, 'no mount is seen outside');
is(below($top), '', 'and nothing that is mounted');
kill('KILL', $pid);
waitpid($pid, 0);
is(`cat /proc/self/mounts`, $mounts, 'killed: no mount is left');
is(below($top), '', 'killed: and nothing that is mounted');
ok(-e "$top/Makefile" && -e "$dir/file", 'what was mounted is as it was');

done_testing();
