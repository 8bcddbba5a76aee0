#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# What README says about giving /dev/hmm_mirror to a group: systemd 258 and later require
# a system group.

use strict;
use warnings;
use File::Temp qw(tempdir);
use FindBin;
use Test::More;

my $dir = tempdir(CLEANUP => 1);

open(my $file, '<', "$FindBin::Bin/../../../README.md") or die("README.md: $!\n");
my $readme = join('', <$file>);
close($file);

my ($rule, $group) = $readme =~ /(KERNEL=="hmm_mirror",[^'\n]* GROUP="(\w+)"[^'\n]*)/;
ok($group, 'README has a rule with a group') or BAIL_OUT('no rule');
my ($create) = $readme =~ /^ +sudo (groupadd .*\b\Q$group\E)$/m;
ok($create, 'it says how to create the group');
like($create // '', qr/ --system /, 'as a system group');
like($readme, qr|\Q$rule\E.*\n(.*\n)*? +sudo udevadm control --reload\n +sudo udevadm trigger /dev/hmm_mirror\b|,
     'and how to apply the rule to what is there');

SKIP: {
	skip('only root can create groups', 2) if $> != 0;
	$ENV{PATH} .= ':/usr/sbin:/sbin';
	mkdir("$dir/etc");
	system("cp /etc/login.defs '$dir/etc' && echo root:x:0: >'$dir/etc/group' && " .
	       "echo 'root:*::' >'$dir/etc/gshadow'");
	is(system(($create // 'false') . " --prefix '$dir' >&2"), 0, 'the command works');
	my ($id) = `cat '$dir/etc/group'` =~ /^\Q$group\E:x:(\d+):/m;
	cmp_ok($id // 1000, '<', 1000, 'it makes a system group');
}
done_testing();
