#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# make_initramfs.sh puts one tree on top of another. Links in them are for the guest:
# nothing may be written where they lead on this machine.

use strict;
use warnings;
use File::Basename qw(dirname);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::Bin/..";
use Kernels;
use Test::More;

Kernels::packages(qw(cpio kmod make xz-utils zstd));
delete(@ENV{qw(MAKEFLAGS MFLAGS MAKEOVERRIDES TESTS ARGS)});
my $top = tempdir(CLEANUP => 1);
my $qemu = "$top/selftests/qemu";
my $out = "$top/build/kernel";

sub write_file
{
	my ($path, $content) = @_;

	make_path(dirname($path));
	open(my $file, '>', $path) or die("$path: $!\n");
	print($file $content);
	close($file) or die("$path: $!\n");
	chmod(0755, $path);
}

# A tree with stand-ins for what takes long to make
make_path("$top/selftests", "$out/kernel_tests", "$top/root/lib/modules/6");
system("cp -r '$FindBin::Bin/..' '$qemu'") == 0 or die("cp failed\n");
write_file("$qemu/build_programs.sh", "#!/bin/sh\n");
write_file("$qemu/fetch_package.sh", "#!/bin/sh\necho '$top/busybox'\n");
write_file("$top/busybox/bin/busybox", "busybox\n");
write_file("$top/build/programs/$_", "$_\n") for qw(hmmctl khugepaged_sleep);
write_file("$out/src/hmm_mirror.ko", "module\n");
write_file("$top/selftests/settings", "timeout=1\n");
write_file("$qemu/guest/modules", "");
write_file("$top/selftests/Makefile", "list:\n");

# What must stay as it is
write_file("$top/victim/lib/file", "the machine's\n");
write_file("$top/victim/passwd", "the machine's\n");

# Two trees; where the first has links the second has what they must not be followed for.
make_path(map { "$top/first/$_" } qw(etc usr/lib deep/er));
symlink("$top/victim/lib", "$top/first/lib");
symlink("$top/victim/passwd", "$top/first/etc/passwd");
symlink('/usr/lib/real', "$top/first/deep/er/absolute");
symlink('/', "$top/first/rootlink");
symlink('../usr', "$top/first/etc/relative");
write_file("$top/first/usr/lib/real", "real\n");
write_file("$top/second/lib/file", "the guest's\n");
write_file("$top/second/lib/new", "the guest's\n");
write_file("$top/second/etc/passwd", "the guest's\n");

$ENV{kernel_release} = '6';
$ENV{kernel_root} = "$top/root";
my ($status, $said) = Kernels::run("'$qemu/make_initramfs.sh' '$out' demo '$top/first' '$top/second'");
is($status, 0, 'it is made') or diag($said);
is(`cat '$top/victim/lib/file' '$top/victim/passwd'`, "the machine's\n" x 2, 'files behind links are as they were');
is(`find '$top/victim' -type f | wc -l` + 0, 2, 'and no others are there');

make_path("$top/unpacked");
system("cd '$top/unpacked' && cpio --quiet -id <'$out/initramfs.cpio'") == 0 or die("cpio failed\n");
is(join('', map { `cat '$top/unpacked/$_' 2>&1` } qw(lib/file lib/new etc/passwd)), "the guest's\n" x 3,
   'the guest has the second tree');
is(`cat '$top/unpacked/deep/er/absolute' 2>&1`, "real\n", 'an absolute link leads to the same file in the guest');
is(readlink("$top/unpacked/etc/relative"), '../usr', 'a relative one is left alone');
is(`cd '$top/unpacked' && cat rootlink/usr/lib/real`, "real\n", 'a link to the root');
is(`find '$top/unpacked' -lname '/*'`, '', 'no absolute link is left');

done_testing();
