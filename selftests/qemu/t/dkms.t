#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# make install_dkms: DKMS builds and installs the module for each of Debian's own
# kernels, and what uses it, and leaves alone kernels that the module cannot work with.
# For the kernel of a later release that release's DKMS does it. All trees are temporary.

use strict;
use warnings;
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/..";
use Kernels;
use Test::More;

my $top = "$FindBin::Bin/../../..";
# What the subroutines work with: a directory, what to run commands with, and kernels
our $dir = Kernels::build_directory('dkms');
our $inside = '';
our @kernels;
our $dkms;
# A copy without git: its version stays the same, and it can be changed.
my $tree = "$dir/tree";
my ($version) = `cat '$top/dkms.conf'` =~ /^PACKAGE_VERSION="(.*)"$/m;
# It insists on that for everything that installs.
my $root = $> == 0 ? '' : 'sudo';

# Parts of another make's command line must not get in the way.
delete(@ENV{qw(MAKEFLAGS MFLAGS MAKEOVERRIDES DESTDIR PREFIX DKMS KDIR OUT)});
umask(0022);

# dkms_for(KERNEL): how it is called. Otherwise it makes a key, and signs with it, in a
# directory of the machine's own.
sub dkms_for
{
	my ($kernel) = @_;
	my $call = "$root env mok_signing_key=$dir/mok.key mok_certificate=$dir/mok.pub " .
		   "sign_file=$kernel->{kernel_build}/scripts/sign-file " .
		   "dkms --sourcetree=$dir/usr/src --dkmstree=$dir/var/lib/dkms " .
		   "--installtree=$dir/lib/modules --no-depmod";

	return $call =~ s/^ //r;
}

# with_locations(NAME...)
sub with_locations
{
	return map { { name => $_, Kernels::location($_) } } @_;
}

@kernels = with_locations(Kernels::available('stock'));
$dkms = dkms_for($kernels[0]);

sub write_file
{
	my ($path, $content) = @_;

	(my $parent = $path) =~ s|/[^/]*$||;
	make_path($parent);
	open(my $file, '>', $path) or die("$path: $!\n");
	print($file $content);
	close($file);
}

# for_kernel(KERNEL): options of dkms
sub for_kernel
{
	my ($kernel) = @_;

	return "-k '$kernel->{kernel_release}' --kernelsourcedir='$kernel->{kernel_build}'";
}

# make(GOAL, KERNEL): the command, as a user's in the copy of the tree but for the places
sub make
{
	my ($goal, $kernel) = @_;
	my $of = $kernel // $kernels[0];

	return "${inside}make -s -C '$tree' $goal DESTDIR='$dir' DKMS='$dkms' OUT='$dir/out/$of->{name}' " .
	       "KDIR='$of->{kernel_build}'";
}

# What a machine with @kernels has
sub prepare_trees
{
	make_path("$dir/var/lib/dkms");
	for my $kernel (@kernels) {
		my $modules = "$dir/lib/modules/$kernel->{kernel_release}";

		make_path($modules);
		symlink($kernel->{kernel_build}, "$modules/build");
		system("cp '$kernel->{kernel_root}/lib/modules/$kernel->{kernel_release}'/modules.* '$modules'");
	}
}

# What DKMS has on this machine, and the index of the machine's modules
sub machine
{
	my @found;

	for my $tree (['/var/lib/dkms', 1], ['/usr/src', 1], ['/lib/modules', 2], ['/usr/local', 2]) {
		my ($path, $depth) = @$tree;

		push(@found, `find '$path' -maxdepth $depth -printf '%p %T@\n'`) if -e $path;
	}
	return join('', sort(@found));
}

# modules(KERNEL): all of ours that are there
sub modules
{
	my ($kernel) = @_;

	my $release = "$dir/lib/modules/$kernel->{kernel_release}";
	my @found = glob("$release/{updates,updates/dkms,extra}/hmm_mirror.ko*");

	return @found;
}

# test_installed(KERNEL, VERSION, WHEN): is it there, and all that belongs to it?
sub test_installed
{
	my ($kernel, $wanted, $when) = @_;
	my ($name, $release) = @{$kernel}{qw(name kernel_release)};
	my $modules = "$dir/lib/modules/$release";
	my @modules = modules($kernel);

	is(scalar(@modules), 1, "$name: one module is there $when") or diag("@modules");
	like($modules[0] // '', qr|/updates/dkms/|, "$name: it is that of DKMS");
	like(`modinfo -F vermagic '$modules[0]'`, qr/^\Q$release\E /, "$name: a module for $release");
	is(`modinfo -F version '$modules[0]'`, "$wanted\n", "$name: of the package's version");
	is(`modinfo -F signer '$modules[0]'`, "DKMS module signing key\n", "$name: signed");
	my ($log) = glob("$dir/var/lib/dkms/hmm_mirror/$wanted/$release/*/log/make.log");
	ok($log, "$name: there is a log") and
		unlike(`cat '$log'`, qr/\b(warning|error):/i, "$name: without a warning");
	like(`$root depmod -b '$dir' '$release' 2>&1;
	      modprobe --show-depends -d '$dir' -S '$release' hmm_mirror 2>&1`,
	     qr|^insmod \Q$modules[0]\E|, "$name: modprobe finds it");
	like((Kernels::run("$inside$dkms status hmm_mirror"))[1],
	     qr/^hmm_mirror\/\Q$wanted\E, \Q$release\E, \S+: installed$/m, "$name: dkms status");
	like(`cat '$modules/updates/hmm_mirror.symvers'`, qr/\thmm_mirror_range_fault\t/,
	     "$name: the versions of its symbols");
}

sub description
{
	my ($kernel) = @_;
	my ($module) = modules($kernel);

	return $module ? `modinfo -F description '$module'` : 'none';
}

sub sources
{
	my @found = glob("$dir/usr/src/{*,.hmm*}");

	return join(' ', map { s|.*/||r } @found);
}

# describe(TEXT): a change of the sources that can be seen in the module
sub describe
{
	my ($text) = @_;

	system("sed -i 's/^MODULE_DESCRIPTION.*/MODULE_DESCRIPTION(\"$text\");/' " .
	       "\$(grep -l '^MODULE_DESCRIPTION' '$tree'/*.c)") == 0 or die("sed\n");
}

# A driver that DKMS builds too; in the alphabet it comes before hmm_mirror
sub add_client
{
	my $source = "$dir/usr/src/a_client-1.0";

	write_file("$source/a_client.c", <<'END');
// SPDX-License-Identifier: GPL-2.0
#include <linux/module.h>
#include <hmm_mirror.h>

static int __init a_client_init(void)
{
	struct hmm_mirror_range range = {};

	return hmm_mirror_range_fault(&range);
}
module_init(a_client_init);

MODULE_DESCRIPTION("a client");
MODULE_LICENSE("GPL");
END
	# As docs/drivers.md says, but for the places
	write_file("$source/Kbuild", "obj-m := a_client.o\n" .
		   "ccflags-y += -I$dir/usr/local/include/hmm_mirror\n");
	my ($conf) = `cat '$top/docs/drivers.md'` =~ /^( +PACKAGE_NAME="my_driver"\n(?: +.*\n)+)/m;
	ok($conf, 'docs/drivers.md has a dkms.conf for a driver') or return;
	$conf =~ s/^ +//mg;
	$conf =~ s/my_driver/a_client/g;
	$conf =~ s|/lib/modules|$dir/lib/modules|g;
	write_file("$source/dkms.conf", $conf);
	Kernels::run_ok('dkms add of a client', "$inside$dkms add a_client/1.0");
}

sub test_client
{
	my ($kernel, $when) = @_;
	my ($name, $release) = @{$kernel}{qw(name kernel_release)};
	my ($module) = glob("$dir/lib/modules/$release/updates/dkms/a_client.ko*");

	ok($module, "$name: a client is there $when") or return;
	is(`modinfo -F depends '$module'`, "hmm_mirror\n", "$name: it depends on hmm_mirror");
	system("$root depmod -b '$dir' '$release' 2>&1");
	like(`modprobe --show-depends -d '$dir' -S '$release' a_client 2>&1`,
	     qr|^insmod .*/hmm_mirror\.ko.*\ninsmod .*/a_client\.ko|, "$name: modprobe loads both");
}

# A kernel as far as DKMS looks before it builds
sub unsuited_kernel
{
	my ($name, $release, @config) = @_;
	my $build = "$dir/$name";
	my $lines = join('', map { "CONFIG_$_=y\n" } @config);

	write_file("$build/.config", $lines);
	write_file("$build/include/config/auto.conf", $lines);
	write_file("$build/include/generated/utsrelease.h", "#define UTS_RELEASE \"$release\"\n");
	make_path("$dir/lib/modules/$release");
	return { name => $name, kernel_release => $release, kernel_build => $build };
}

sub test_unsuited
{
	my ($name, $reason, $kernel) = @_;
	my ($status, $output) =
		Kernels::run("$dkms build hmm_mirror/$version " . for_kernel($kernel));

	# 77: passed over, which is no error when kernels are installed
	is($status, 77, "a kernel that is unsuited ($name)") or diag($output);
	like($output, qr/does not work with the kernel \Q$kernel->{kernel_release}\E:\n  .*$reason/,
	     "DKMS says why ($name)");
	cmp_ok((Kernels::run(make('', $kernel)))[0], '!=', 0, "make refuses it ($name)");
}

Kernels::packages(qw(dkms gcc kmod libc6-dev make openssl xz-utils));
my $before = machine();
my $kernel = $kernels[0];

make_path($tree);
system("tar -C '$top' --exclude=./build --exclude=./.git -c . | tar -C '$tree' -x") == 0 or
	die("cannot copy the tree\n");
prepare_trees();

# On top of what "make install" has installed
Kernels::run_ok('make install', make('install'));
ok(glob("$dir/lib/modules/$kernel->{kernel_release}/updates/hmm_mirror.ko*"), 'a module is there');
my ($status, $output) = Kernels::run(make('install_dkms') . " DKMS=$dir/no_dkms");
cmp_ok($status, '!=', 0, 'make install_dkms without DKMS');
like($output, qr/there is no \S*no_dkms here.*apt-get install dkms/, 'it says what to install');
Kernels::run_ok('make install_dkms', make('install_dkms'));
test_installed($kernel, $version, 'after make install_dkms');
is(`cd '$dir/usr/local' && find . ! -type d | sort`, <<'END', 'and all that belongs to it');
./bin/hmmctl
./include/hmm_mirror/hmm_mirror.h
./include/linux/hmm_mirror.h
./share/bash-completion/completions/hmmctl
./share/fish/vendor_completions.d/hmmctl.fish
./share/hmm_mirror/directories
./share/man/man1/hmmctl.1
./share/zsh/site-functions/_hmmctl
END
like((Kernels::run("'$dir/usr/local/bin/hmmctl' --help"))[1], qr/^Usage: hmmctl/, 'hmmctl can be run');
($status, $output) = Kernels::run(make('install'));
cmp_ok($status, '!=', 0, 'make install beside DKMS fails');
like($output, qr/DKMS has installed it for the kernel \Q$kernel->{kernel_release}\E.*uninstall_dkms/,
     'it says why, and what to do');
is(scalar(my @still = modules($kernel)), 1, 'there is still one module');
($status, $output) = Kernels::run(make('uninstall'));
cmp_ok($status, '!=', 0, 'and so does make uninstall');
ok(-e "$dir/usr/local/bin/hmmctl", 'which leaves hmmctl');

# A second time: the new one is what counts, of the same version or another.
describe('the second one');
Kernels::run_ok('make install_dkms of another module, of the same version', make('install_dkms'));
is(description($kernel), "the second one\n", 'it is the new one');
test_installed($kernel, $version, 'after the second time');

# What cannot be built replaces nothing.
my $source = `cat '$tree/stats.c'`;
for my $change ('', "sed -i 's/^PACKAGE_VERSION=.*/PACKAGE_VERSION=\"9.9\"/' '$tree/dkms.conf'") {
	my $which = $change ? 'of a new version' : 'of the same version';

	system($change) if $change;
	describe('the broken one');
	write_file("$tree/stats.c", "#error broken\n");
	($status, $output) = Kernels::run(make('install_dkms'));
	cmp_ok($status, '!=', 0, "make install_dkms of what cannot be built, $which");
	like($output, qr/#error broken/, 'the reason is there') or diag($output);
	like($output, qr/could not be installed for the kernel \Q$kernel->{kernel_release}\E/, 'it is said');
	test_installed($kernel, $version, "after a failure $which");
	is(description($kernel), "the second one\n", 'it is the old one');
	is(sources(), "hmm_mirror-$version", 'and so are the sources');
	ok(!grep({ /error broken/ } `cat '$dir/usr/src/hmm_mirror-$version/stats.c'`), 'unchanged');
}
write_file("$tree/stats.c", $source);

add_client();
Kernels::run_ok('dkms install of the client', "$dkms install a_client/1.0 " . for_kernel($kernel));
test_client($kernel, 'after dkms install');

# Kernels are installed: each gets both modules, that of hmm_mirror first.
for my $new (@kernels[1 .. $#kernels]) {
	Kernels::run_ok("$new->{name}: dkms autoinstall", "$dkms autoinstall " . for_kernel($new));
	test_installed($new, $version, 'after dkms autoinstall');
	is(description($new), "the second one\n", "$new->{name}: it is the new one");
	test_client($new, 'after dkms autoinstall');
}

describe('the third one');
Kernels::run_ok('make install_dkms of a new version', make('install_dkms'));
for my $other (@kernels) {
	test_installed($other, '9.9', 'after an update');
	is(description($other), "the third one\n", "$other->{name}: it is the new one");
}
is(sources(), 'a_client-1.0 hmm_mirror-9.9', 'of the sources only the new ones are left');

# Against it the client is built again.
system("sed -i 's/\"a client\"/\"the client, again\"/' '$dir/usr/src/a_client-1.0/a_client.c'");
my @again = `cat '$top/docs/drivers.md'` =~ /^ +sudo dkms (.* my_driver\/1\.0)$/mg;
is(scalar(@again), 2, 'docs/drivers.md says how a driver is built again');
for my $command (@again) {
	Kernels::run_ok("dkms $command",
			"$dkms " . $command =~ s/my_driver/a_client/r . ' ' . for_kernel($kernel));
}
test_client($kernel, 'after an update');
my ($client) = glob("$dir/lib/modules/$kernel->{kernel_release}/updates/dkms/a_client.ko*");
is(`modinfo -F description '$client'`, "the client, again\n", 'it is the new one');

my @suited = qw(64BIT MODULES MMU_NOTIFIER KPROBES);
$version = '9.9';
my $suited = unsuited_kernel('suited', '6.1.0-1-test', @suited);
Kernels::run_ok('a kernel that is suited', "'$top/install/check_kernel.sh' '$suited->{kernel_build}'");
for my $option (@suited) {
	test_unsuited($option, $option eq '64BIT' ? '32-bit kernel' : "CONFIG_$option is not set",
		      unsuited_kernel($option, '6.9.0-1-test', grep { $_ ne $option } @suited));
}
test_unsuited('too-old', 'older than 6.1', unsuited_kernel('too-old', '5.10.0-9-test', @suited));
test_unsuited('hardly-too-old', 'older than 6.1',
	      unsuited_kernel('hardly-too-old', '6.0.19', @suited));
for my $release ('6.1.0', '6.12.117+deb12-amd64', '7.0-rc1', '10.0.0') {
	my $new = unsuited_kernel($release, $release, @suited);

	Kernels::run_ok("$release is not too old",
			"'$top/install/check_kernel.sh' '$new->{kernel_build}'");
}
# A kernel that exports only what its own modules use
my $trimmed = unsuited_kernel('trimmed', '6.9.0-2-test', @suited, 'TRIM_UNUSED_KSYMS');
system("cp '$kernel->{kernel_build}/Module.symvers' '$trimmed->{kernel_build}'");
Kernels::run_ok('a kernel that exports enough', "'$top/install/check_kernel.sh' '$trimmed->{kernel_build}'");
system("sed -i '/\\t\\(mmu_interval_read_begin\\|handle_mm_fault\\)\\t/d' " .
       "'$trimmed->{kernel_build}/Module.symvers'");
test_unsuited('trimmed', 'CONFIG_TRIM_UNUSED_KSYMS is set.*: handle_mm_fault mmu_interval_read_begin\n',
	      $trimmed);

Kernels::run_ok('dkms remove of the client', "$dkms remove a_client/1.0 --all");
Kernels::run_ok('make uninstall_dkms', make('uninstall_dkms'));
is((Kernels::run("$dkms status"))[1], '', 'DKMS knows nothing of it');
is(`cd '$dir' && find lib usr var -name '*hmm*'`, '', 'nothing is left');
is(`cd '$dir' && find usr/local -mindepth 1 2>/dev/null`, '', 'no directory either');
Kernels::run_ok('make uninstall_dkms again', make('uninstall_dkms'));
Kernels::run_ok('make install', make('install'));
is(scalar(my @modules = modules($kernel)), 1, 'without DKMS it can be installed again');

# Another release, another DKMS; a kernel that cannot be had is a failure of its own row
my ($there, $not_there) = Kernels::sort_out('later');
for my $name (@$not_there) {
	SKIP: {
		skip("$name cannot be had, as its own row of the table says", 1);
	}
}
for my $later (with_locations(@$there)) {
	local $dir = "$dir/$later->{name}";
	local @kernels = ($later);
	local $inside = Kernels::inside(%$later);
	local $dkms = dkms_for($later);

	SKIP: {
		skip('DKMS wants to be root there', 1) if $root;
		prepare_trees();
		Kernels::run_ok("$later->{name}: make install_dkms", make('install_dkms'));
		test_installed($later, $version, 'by the DKMS of its release');
		add_client();
		Kernels::run_ok("$later->{name}: dkms install of the client",
				"$inside$dkms install a_client/1.0 " . for_kernel($later));
		test_client($later, 'by the DKMS of its release');
		Kernels::run_ok("$later->{name}: dkms remove of the client",
				"$inside$dkms remove a_client/1.0 --all");
		Kernels::run_ok("$later->{name}: make uninstall_dkms", make('uninstall_dkms'));
		is(`cd '$dir' && find lib usr var -name '*hmm*'`, '', "$later->{name}: nothing is left");
	}
}
is(machine(), $before, 'nothing was changed on this machine');
# They may be root's.
system("$root rm -rf '$dir/var' '$dir/lib'");
done_testing();
