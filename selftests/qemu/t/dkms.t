#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# DKMS builds and installs the module for each of Debian's own kernels, and leaves
# alone kernels that the module cannot work with. All trees are temporary ones.

use strict;
use warnings;
use File::Path qw(make_path);
use FindBin;
use lib "$FindBin::Bin/..";
use Kernels;
use Test::More;

my $top = "$FindBin::Bin/../../..";
my $dir = Kernels::build_directory('dkms');
my ($version) = `cat '$top/dkms.conf'` =~ /^PACKAGE_VERSION="(.*)"$/m;
my $package = "hmm_mirror/$version";

# Otherwise it makes a key, and signs with it, in a directory of the machine's own.
my $environment = "mok_signing_key='$dir/mok.key' mok_certificate='$dir/mok.pub'";
# It insists on that for everything that installs.
my $root = $> == 0 ? '' : 'sudo';

delete(@ENV{qw(MAKEFLAGS MFLAGS MAKEOVERRIDES DESTDIR)});

sub dkms
{
	my ($action, %location) = @_;
	my $kernel = $location{kernel_release} ?
		"-k '$location{kernel_release}' --kernelsourcedir='$location{kernel_build}'" : '';

	my $sign = $location{kernel_build} ?
		"sign_file='$location{kernel_build}/scripts/sign-file'" : '';

	return "$root env $environment $sign dkms $action '$package' $kernel " .
	       "--sourcetree='$dir/usr/src' --dkmstree='$dir/dkms' " .
	       "--installtree='$dir/lib/modules' --no-depmod";
}

# What DKMS has on this machine, and the index of the machine's modules
sub machine
{
	my @found;

	for my $tree (['/var/lib/dkms', 1], ['/usr/src', 1], ['/lib/modules', 2]) {
		my ($path, $depth) = @$tree;

		push(@found, `find '$path' -maxdepth $depth -printf '%p %T@\n'`) if -e $path;
	}
	return join('', sort(@found));
}

sub test_kernel
{
	my ($name) = @_;
	my %location = Kernels::location($name);
	my $release = $location{kernel_release};
	my $modules = "$dir/lib/modules/$release";

	make_path($modules);
	system("cp '$location{kernel_root}/lib/modules/$release'/modules.* '$modules'");
	Kernels::run_ok("$name: dkms build", dkms('build', %location));
	my ($log) = glob("$dir/dkms/hmm_mirror/$version/$release/*/log/make.log");
	ok($log, "$name: there is a log") and
		unlike(`cat '$log'`, qr/\b(warning|error):/i, "$name: without a warning");
	Kernels::run_ok("$name: dkms install", dkms('install', %location));
	my ($module) = glob("$modules/updates/dkms/hmm_mirror.ko*");
	ok($module, "$name: the module is there") or return;
	like(`modinfo -F vermagic '$module'`, qr/^\Q$release\E /, "$name: a module for $release");
	is(`modinfo -F version '$module'`, "$version\n", "$name: of the package's version");
	is(`modinfo -F signer '$module'`, "DKMS module signing key\n", "$name: signed");
	like(`$root depmod -b '$dir' '$release' 2>&1;
	      modprobe --show-depends -d '$dir' -S '$release' hmm_mirror 2>&1`,
	     qr|^insmod \Q$module\E|, "$name: modprobe finds it");
	like((Kernels::run(dkms('status')))[1], qr/^\Q$package\E, \Q$release\E, \S+: installed$/m,
	     "$name: dkms status");
}

# A kernel as far as DKMS looks before it builds
sub unsuited_kernel
{
	my ($name, $release, @config) = @_;
	my $build = "$dir/$name";

	make_path("$build/include/generated", "$build/include/config");
	for my $file ("$build/.config", "$build/include/config/auto.conf") {
		open(my $config, '>', $file) or die("$file: $!\n");
		print($config map { "CONFIG_$_=y\n" } @config);
		close($config);
	}
	open(my $header, '>', "$build/include/generated/utsrelease.h") or die("$!\n");
	print($header "#define UTS_RELEASE \"$release\"\n");
	close($header);
	make_path("$dir/lib/modules/$release");
	return (kernel_release => $release, kernel_build => $build);
}

sub test_unsuited
{
	my ($name, $reason, $release, @config) = @_;
	my %kernel = unsuited_kernel($name, $release, @config);
	my ($status, $output) = Kernels::run(dkms('build', %kernel));

	# 77: passed over, which is no error when kernels are installed
	is($status, 77, "a kernel that is unsuited ($name)") or diag($output);
	like($output, qr/does not work with the kernel \Q$release\E:\n  .*$reason/,
	     "DKMS says why ($name)");
	cmp_ok((Kernels::run("make -s -C '$top' OUT='$dir/out' KDIR='$kernel{kernel_build}'"))[0],
	       '!=', 0, "make refuses it ($name)");
}

Kernels::packages(qw(dkms gcc kmod make openssl xz-utils));
my $before = machine();

make_path("$dir/dkms");
Kernels::run_ok('make install_dkms', "make -s -C '$top' install_dkms DESTDIR='$dir'");
Kernels::run_ok('dkms add', dkms('add'));
test_kernel($_) for Kernels::names('stock');

my @suited = qw(64BIT MODULES MMU_NOTIFIER KPROBES);
Kernels::run_ok('a kernel that is suited',
		"'$top/install/check_kernel.sh' '" .
		{ unsuited_kernel('suited', '6.1.0-1-test', @suited) }->{kernel_build} . "'");
for my $option (@suited) {
	test_unsuited($option, $option eq '64BIT' ? '32-bit kernel' : "CONFIG_$option is not set",
		      '6.9.0-1-test', grep { $_ ne $option } @suited);
}
test_unsuited('too-old', 'older than 6.1', '5.10.0-9-test', @suited);
test_unsuited('hardly-too-old', 'older than 6.1', '6.0.19', @suited);
for my $release ('6.1.0', '6.12.117+deb12-amd64', '7.0-rc1', '10.0.0') {
	Kernels::run_ok("$release is not too old",
			"'$top/install/check_kernel.sh' '" .
			{ unsuited_kernel($release, $release, @suited) }->{kernel_build} . "'");
}

Kernels::run_ok('dkms remove', dkms('remove') . ' --all');
is(`find '$dir/lib' -name 'hmm_mirror*'`, '', 'no module is left');
is(machine(), $before, 'nothing was changed on this machine');
# They may be root's.
system("$root rm -rf '$dir/dkms' '$dir/lib'");
done_testing();
