#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# On a kernel with folded page-table levels, pud_addr_end(addr, end) and its like are
# just "end": they clip nothing. No kernel that boots here has such levels, but its
# headers can be made to say so: the module must then be the same code, byte for byte.

use strict;
use warnings;
use File::Path qw(remove_tree);
use FindBin;
use lib "$FindBin::Bin/..";
use Kernels;
use Test::More;

my $top = "$FindBin::Bin/../../..";
my $dir = Kernels::build_directory('folded');

# Parts of another make's command line must not get in the way.
delete(@ENV{qw(MAKEFLAGS MFLAGS MAKEOVERRIDES)});

# build(KDIR, NAME, LINE...): the machine code of hmm_mirror.ko, disassembled, of which
# each file begins with these lines. All are built in one place, since WARN_ON() puts the
# path of its file into the module.
sub build
{
	my ($kdir, $name, @lines) = @_;
	my $out = "$dir/build";

	remove_tree($out);
	open(my $header, '>', "$dir/first_lines.h") or die("$dir/first_lines.h: $!\n");
	print($header map { "$_\n" } @lines);
	close($header);
	Kernels::run_ok("built: $name",
			"make -s -C '$top' build_modules KDIR='$kdir' OUT='$out' " .
			"KBUILD_FLAGS=KCFLAGS='\"-include $dir/first_lines.h\"'");
	my ($status, $code) = Kernels::run("objdump -dr --no-addresses " .
					   "--no-show-raw-insn '$out/src/hmm_mirror.ko' | " .
					   "sed 1,2d");
	return $status ? '' : $code;
}

my $kernel = Kernels::any('stock');
my %location = Kernels::location($kernel);
my $kdir = $location{kernel_build};

my $usual = build($kdir, 'usual');
my $folded = build($kdir, 'folded',
		   map { "#define ${_}_addr_end(addr, end) (end)" } qw(p4d pud pmd));
like($usual, qr/<hmm_mirror_walk>:/, 'there is code to compare');
ok($usual eq $folded, 'no code depends on what clips nothing where levels are folded');

done_testing();
