#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# build.sh builds a kernel's own tests from a copy in each clone: their Makefile writes
# beside itself, and all clones on a machine share the kernel's tree.

use strict;
use warnings;
use File::Basename qw(dirname);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::Bin/..";
use Kernels;
use Test::More;

Kernels::packages(qw(ccache make));
delete(@ENV{qw(MAKEFLAGS MFLAGS MAKEOVERRIDES)});
my $top = tempdir(CLEANUP => 1);
my $mm = 'tools/testing/selftests/mm';

$ENV{HMM_MIRROR_CACHE} = "$top/cache";

sub write_file
{
	my ($path, $content) = @_;

	make_path(dirname($path));
	open(my $file, '>', $path) or die("$path: $!\n");
	print($file $content);
	close($file) or die("$path: $!\n");
	chmod(0755, $path);
}

sub content
{
	my ($path) = @_;

	open(my $file, '<', $path) or return '';
	local $/;
	return <$file> // '';
}

# kernel(NAME): a kernel's tree, with all that its tests are built from
sub kernel
{
	my ($name) = @_;
	my $tree = "$top/$name";
	my @paths = split(/\n/, content("$FindBin::Bin/../kernel_test_files"));

	write_file("$tree/" . s/[*][.][*]/file.h/r, '') for grep { !/^#/ && $_ ne $mm } @paths;
	# Left by somebody else's build
	write_file("$tree/$mm/local_config.h", "theirs\n");
	write_file("$tree/$mm/Makefile", <<"END");
\$(OUTPUT)/hmm-tests: local_config.h local_config.mk
	\@echo '$name' \$(CURDIR) >\$@
local_config.h local_config.mk:
	\@sleep 0.2; echo ours >\$@
END
	return $tree;
}

# clone(NAME): a tree with stand-ins for what takes long to get and to make; its kernel is
# where the link "kernel" leads
sub clone
{
	my ($name) = @_;
	my $qemu = "$top/$name/selftests/qemu";

	make_path(dirname($qemu));
	system("cp -r '$FindBin::Bin/..' '$qemu'") == 0 or die("cp failed\n");
	write_file("$qemu/fetch_kernel.sh",
		   "#!/bin/sh\necho kernel_release=6 kernel_build=/none\n" .
		   "echo kernel_tests=\$(readlink '$top/kernel')\n");
	write_file("$qemu/packages.sh", "#!/bin/sh\n");
	write_file("$top/$name/Makefile", "project_modules:\n");
	return "'$qemu/build.sh' stock-6.12";
}

# state(TREE): its files, what is in them, and when they and their directories were changed
sub state
{
	my ($tree) = @_;

	return `cd '$tree' && find . -printf '%p %T@ %C@\n' | sort &&
		find . -type f | sort | xargs cksum`;
}

# built(CLONE): which kernel's tests are there, and where they were built
sub built
{
	my ($name) = @_;

	return split(' ', content("$top/$name/build/stock-6.12/kernel_tests/hmm-tests"));
}

my $tree = kernel('first');
my $before = state($tree);
my @builds = (clone('a'), clone('b'));

symlink($tree, "$top/kernel") or die("symlink: $!\n");
# At the same time
my ($status, $said) = Kernels::run("$builds[0] & $builds[1] && wait \$!");
is($status, 0, "two clones build a kernel's tests") or diag($said);
my @where = map { (built($_))[1] // '' } qw(a b);
like($where[0], qr|^\Q$top\E/a/|, 'one in a directory of its own');
like($where[1], qr|^\Q$top\E/b/|, 'the other too');
is(content("$_/local_config.h"), "ours\n", 'where their Makefile writes') for @where;
is(state($tree), $before, "the kernel's tree is as it was");

($status, $said) = Kernels::run($builds[0]);
is($status, 0, 'and again') or diag($said);
is(state($tree), $before, 'it still is');

# Another version of the kernel
my $second = kernel('second');
unlink("$top/kernel");
symlink($second, "$top/kernel") or die("symlink: $!\n");
($status, $said) = Kernels::run($builds[0]);
is($status, 0, 'another version of the kernel') or diag($said);
is((built('a'))[0], 'second', 'its tests are those that are built');

done_testing();
