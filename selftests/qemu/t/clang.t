#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# A kernel that was built with clang: make and DKMS use clang by themselves, whatever it
# is called, and make install installs what make has built, even if there is no clang.

use strict;
use warnings;
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/..";
use Kernels;
use Test::More;

my $top = "$FindBin::Bin/../../..";
my $dir = Kernels::build_directory('clang');

# Parts of another make's command line must not get in the way.
delete(@ENV{qw(MAKEFLAGS MFLAGS MAKEOVERRIDES DESTDIR PREFIX KDIR OUT LLVM CC)});
# There is no kernel, so nobody knows what it exports.
$ENV{KBUILD_MODPOST_WARN} = 1;

# compiler(MODULE)
sub compiler
{
	my ($module) = @_;

	return join(' ', sort(`readelf -p .comment '$module'` =~ /\] +.*?\b(clang|GCC)\b/g));
}

# without(PATTERN): a PATH that has no programs of such names
sub without
{
	my ($pattern) = @_;
	my $path = "$dir/bin";

	remove_tree($path);
	make_path($path);
	for my $program (map { glob("$_/*") } split(':', $ENV{PATH})) {
		my ($name) = $program =~ m|([^/]*)$|;

		# ccache would look for the compiler in this very PATH.
		next if (readlink($program) // '') =~ m{(^|/)ccache$};
		symlink($program, "$path/$name") unless $name =~ $pattern || -l "$path/$name";
	}
	return $path;
}

# build_ok(NAME, COMMAND): a success, without warnings but of exports that are not there
sub build_ok
{
	my ($name, $command) = @_;
	my ($status, $output) = Kernels::run($command);

	$output =~ s/^WARNING: .*(Module\.symvers|undefined!|suppressed).*\n//mg;
	ok($status == 0 && $output !~ /\b(warning|error):/i, $name) or
		diag("$command\nexit status $status\n$output");
}

Kernels::packages(qw(binutils dkms gcc kmod libc6-dev make));
chomp(my $kdir = `'$FindBin::Bin/../clang_tree.sh'`);
die("there is no kernel tree\n") if $? || !-d $kdir;
my ($release) = `cat '$kdir/include/generated/utsrelease.h'` =~ /UTS_RELEASE "(.*)"/;
my $make = "make -s -C '$top' KDIR='$kdir' OUT='$dir/out'";
my $module = "$dir/out/src/hmm_mirror.ko";
my $root = "$dir/root";

build_ok('make', "$make takeover");
is(compiler($module), 'clang', 'it was clang') or diag(`readelf -p .comment '$module'`);
is(compiler("$dir/out/src/takeover/hmm_takeover.ko"), 'clang', 'for hmm_takeover.ko too');
my $built = `cksum '$module'`;
{
	local $ENV{PATH} = without(qr/^(clang|ld\.lld|llvm|lld)/);

	build_ok('make install where there is no clang', "$make install DESTDIR='$root'");
	is(`cksum '$module'`, $built, 'nothing was built again');
	my ($installed) = glob("$root/lib/modules/$release/updates/hmm_mirror.ko*");
	is(compiler($installed), 'clang', 'what clang has built is installed');
	my ($status, $output) = Kernels::run("make -s -C '$top' KDIR='$kdir' OUT='$dir/none'");
	cmp_ok($status, '!=', 0, 'make where there is no clang');
	like($output, qr/was built with clang.*\n.*apt-get install clang lld/, 'it says what to install');
	ok(!-e "$dir/none", 'before anything is done');
}

# DKMS says CC=clang, or LLVM=1, whether there is a program of this name or not.
SKIP: {
	skip('DKMS wants to be root', 3) if $> != 0;
	my ($version) = `cat '$top/dkms.conf'` =~ /^PACKAGE_VERSION="(.*)"$/m;
	my $dkms = "env mok_signing_key=$dir/mok.key mok_certificate=$dir/mok.pub " .
		   "dkms --sourcetree=$root/usr/src --dkmstree=$root/var/lib/dkms " .
		   "--installtree=$root/lib/modules --no-depmod";
	local $ENV{PATH} = without(qr/^(clang|ld\.lld|lld|llvm-[a-z-]*)$/);

	remove_tree($root);
	make_path("$root/var/lib/dkms", "$root/lib/modules/$release");
	system("tar -C '$top' --exclude=./build --exclude=./.git -c . | tar -C '$dir/bin' -x --one-top-level=tree") == 0
		or die("cannot copy the tree\n");
	Kernels::run_ok('make install_dkms where clang has its version in its name',
			"make -s -C '$dir/bin/tree' OUT='$dir/out' KDIR='$kdir' DESTDIR='$root' " .
			"DKMS='$dkms' install_dkms");
	my ($installed) = glob("$root/lib/modules/$release/updates/dkms/hmm_mirror.ko*");
	is(compiler($installed // ''), 'clang', 'it was clang');
	is(`modinfo -F version '@{[$installed // '']}'`, "$version\n", 'for DKMS');
}
done_testing();
