#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# fetch_kernel.sh with archives whose packages do not fit together, as happens in a real
# archive while it is being updated: a stand-in is made of tiny packages, and apt knows of
# nothing else.

use strict;
use warnings;
use File::Basename qw(basename dirname);
use File::Path qw(make_path remove_tree);
use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::Bin/..";
use Kernels;
use Test::More;

my $qemu = "$FindBin::Bin/..";
my $dir = tempdir(CLEANUP => 1);
my $archive = "$dir/archive";

# Installs what the scripts would, so that none of them asks the stand-in for it
Kernels::packages(qw(ccache dpkg gcc kmod libc6-dev make xz-utils));

delete(@ENV{qw(MAKEFLAGS MFLAGS MAKEOVERRIDES)});
$ENV{HMM_MIRROR_CACHE} = "$dir/cache";
$ENV{APT_CONFIG} = "$dir/apt.conf";
$ENV{LC_ALL} = 'C';

sub write_file
{
	my ($path, $content) = @_;

	make_path(dirname($path));
	open(my $file, '>', $path) or die("$path: $!\n");
	print($file $content);
	close($file) or die("$path: $!\n");
}

write_file($ENV{APT_CONFIG}, <<"END");
APT::Architecture "amd64";
APT::Sandbox::User "root";
APT::Get::AllowUnauthenticated "true";
Acquire::AllowInsecureRepositories "true";
Acquire::Languages "none";
Acquire::Retries "0";
Dir::Etc::sourcelist "$dir/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "$dir/preferences";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "$dir/state";
Dir::State::lists "$dir/state/lists";
Dir::State::status "$dir/status";
Dir::Cache "$dir/apt-cache";
END
write_file("$dir/sources.list", "deb [trusted=yes] copy:$archive ./\n");

# A package is [ name, version, depends, files... ]. Its files contain its name, except
# these, which are copies of others.
my %contents;

# package_file(PACKAGE): the file in the archive, built if it is not there
sub package_file
{
	my ($name, $version, $depends, @files) = @{$_[0]};
	my $file = "$archive/${name}_$version.deb";

	if (!-e $file) {
		my $tree = "$dir/tree";

		remove_tree($tree);
		write_file("$tree/DEBIAN/control", <<"END" . ($depends ? "Depends: $depends\n" : ''));
Package: $name
Version: $version
Architecture: amd64
Maintainer: nobody <nobody\@example.org>
Description: stands for a package of that name
END
		for my $path (@files) {
			write_file("$tree/$path", "$name $version\n");
			system("cp '$contents{$path}' '$tree/$path'") if $contents{$path};
		}
		make_path($archive);
		system("dpkg-deb --root-owner-group -b '$tree' '$file' >/dev/null") == 0 or
			die("dpkg-deb failed\n");
	}
	return $file;
}

# index_of(PACKAGE...): as in a file "Packages"
sub index_of
{
	my $index = '';

	for my $package (@_) {
		my $file = package_file($package);
		my ($sum) = `sha256sum '$file'` =~ /^(\w+)/;

		$index .= `dpkg-deb -f '$file'` . 'Filename: ' . basename($file) .
			  "\nSize: " . (-s $file) . "\nSHA256: $sum\n\n";
	}
	return $index;
}

# publish(PACKAGE...): these are what the archive has, from the next update on
sub publish
{
	write_file("$archive/Packages", index_of(@_));
}

# withdraw(NAME...): files that the archive's index still has, but nobody can load
sub withdraw
{
	unlink(glob("$archive/$_.deb")) or die("no $_\n") for @_;
}

# stand_in(STATUS, PACKAGE...): a new archive, and lists that are up to date with it
sub stand_in
{
	my ($status, @packages) = @_;

	remove_tree($archive, "$dir/state", "$dir/apt-cache", "$dir/cache");
	make_path("$dir/state/lists/partial", "$dir/apt-cache/archives/partial");
	write_file("$dir/status", $status);
	write_file("$dir/preferences", '');
	publish(@packages);
	system('apt-get update -qq') == 0 or die("apt-get update failed\n");
}

# Packages as those of Linux 6.1 are: a kernel whose modules are built with any kbuild
# that is as new
sub image
{
	my ($release, $version) = @_;

	return [ "linux-image-$release", $version, 'kmod, linux-base, initramfs-tools | linux-initramfs-tool',
		 "boot/vmlinuz-$release", map { "lib/modules/$release/modules.$_" } qw(order builtin) ];
}

sub headers
{
	my ($release, $version, $kbuild) = @_;
	my $common = "linux-headers-" . $release =~ s/amd64$/common/r;

	return ([ "linux-headers-$release", $version,
		  "$common (= $version), linux-kbuild-6.1$kbuild, linux-compiler-gcc-12-x86",
		  "usr/src/linux-headers-$release/Makefile" ],
		[ $common, $version, '', "usr/src/$common/Makefile" ]);
}

sub meta
{
	my ($release, $version, $name) = @_;

	return [ $name // 'linux-image-amd64', $version, "linux-image-$release (= $version)" ];
}

sub kbuild
{
	return map { [ 'linux-kbuild-6.1', $_, 'dpkg', 'usr/lib/linux-kbuild-6.1/scripts/kbuild' ] } @_;
}

my @others = ([ 'linux-base', '4.12', '' ], [ 'linux-compiler-gcc-12-x86', '6.1.9-1', 'dpkg' ],
	      map { [ $_, '1', '' ] } qw(dpkg initramfs-tools kmod));

# a kernel, all of one version but the things in @others
sub kernel
{
	my ($release, $version) = @_;

	return (meta($release, $version), image($release, $version),
		headers($release, $version, " (>= $version)"));
}

# fetch(NAME): what fetch_kernel.sh has chosen, as "RELEASE PACKAGES", or "failed"; and
# what it has said
sub fetch
{
	my ($name) = @_;
	my $output = `'$qemu/fetch_kernel.sh' '$name' 2>'$dir/stderr'`;
	my $failed = $?;
	my %is = $output =~ /^(\w+)='(.*)'$/mg;
	my $said = `cat '$dir/stderr'`;

	return ('failed', $said) if $failed;
	for my $file ($is{kernel_image}, "$is{kernel_build}/Makefile",
		      "$is{kernel_root}/lib/modules/$is{kernel_release}/modules.dep") {
		return ("$file is missing", $said) if !-e $file;
	}
	my ($kbuild) = `cat '$is{kernel_root}/usr/lib/linux-kbuild-6.1/scripts/kbuild'` =~ / (\S+)/;

	return ("$is{kernel_release}, kbuild $kbuild" .
		($is{kernel_packages} ? ", $is{kernel_packages}" : ''), $said);
}

# fetches(WHAT, EXPECTED, SAID)
sub fetches
{
	my ($what, $expected, $wanted) = @_;
	my ($got, $said) = fetch('stock-6.1');

	is($got, $expected, $what) or diag($said);
	like($said, $wanted, "$what: it is said") if $wanted;
}

my @old = kernel('6.1.0-8-amd64', '6.1.8-1');
my @new = kernel('6.1.0-9-amd64', '6.1.9-1');

stand_in('', @others, @old, @new, kbuild('6.1.9-1', '6.1.8-1'));
fetches('all fits', '6.1.0-9-amd64, kbuild 6.1.9-1');

stand_in('', @others, @old, @new, kbuild('6.1.8-1', '6.1.9-2'));
fetches('kbuild is newer', '6.1.0-9-amd64, kbuild 6.1.9-2, linux-kbuild-6.1 6.1.9-2');

stand_in('', @others, meta('6.1.0-9-amd64', '6.1.9-1'), image('6.1.0-9-amd64', '6.1.9-1'),
	 headers('6.1.0-9-amd64', '6.1.9-1', ''), kbuild('6.1.8-1'));
fetches('an older kbuild, and no version that is asked for',
	'6.1.0-9-amd64, kbuild 6.1.8-1, linux-kbuild-6.1 6.1.8-1');

stand_in('', @others, @old, @new, kbuild('6.1.8-1'));
fetches('kbuild is too old', '6.1.0-8-amd64, kbuild 6.1.8-1, linux-compiler-gcc-12-x86 6.1.9-1',
	qr/^linux-headers-6.1.0-9-amd64 6.1.9-1 depends on linux-kbuild-6.1 \(>= 6.1.9-1\), there is linux-kbuild-6.1 6.1.8-1$/m);

stand_in('', @others, @old, (grep { $_->[0] !~ /headers/ } @new), kbuild('6.1.9-1'));
fetches('an image without headers',
	'6.1.0-8-amd64, kbuild 6.1.9-1, linux-compiler-gcc-12-x86 6.1.9-1,linux-kbuild-6.1 6.1.9-1',
	qr/linux-headers-6.1.0-9-amd64, there is none/);

stand_in('', @others, @new, (grep { $_->[0] !~ /common/ } @new), @old, kbuild('6.1.9-1'));
withdraw('linux-headers-6.1.0-9-common_6.1.9-1');
fetches('headers whose common part is not there',
	'6.1.0-8-amd64, kbuild 6.1.9-1, linux-compiler-gcc-12-x86 6.1.9-1,linux-kbuild-6.1 6.1.9-1',
	qr/without linux-headers-6.1.0-9-common=6.1.9-1/);

stand_in('', @others, (grep { $_->[0] ne 'linux-image-amd64' } @old), $new[0], kbuild('6.1.9-1'));
fetches('an image that is not named any more',
	'6.1.0-8-amd64, kbuild 6.1.9-1, linux-compiler-gcc-12-x86 6.1.9-1,linux-kbuild-6.1 6.1.9-1');

# Headers that are rebuilt without a new name: they fit the image of their own version.
stand_in('', @others, @new, kbuild('6.1.9-1'),
	 [ 'linux-headers-6.1.0-9-amd64', '6.1.9-2',
	   'linux-headers-6.1.0-9-common (= 6.1.9-2), linux-image-6.1.0-9-amd64 (= 6.1.9-2), linux-kbuild-6.1' ],
	 [ 'linux-headers-6.1.0-9-common', '6.1.9-2', '' ]);
fetches('headers of an image that is not there', '6.1.0-9-amd64, kbuild 6.1.9-1');

stand_in('', @others, @old, @new, kbuild('6.1.9-1'),
	 meta('6.12.4-amd64', '6.12.4-1'), image('6.12.4-amd64', '6.12.4-1'),
	 headers('6.12.4-amd64', '6.12.4-1', ''));
write_file("$dir/preferences", "Package: linux-image-amd64\nPin: version 6.12*\nPin-Priority: 50\n");
fetches('a newer series, which apt would not take', '6.1.0-9-amd64, kbuild 6.1.9-1');

# The archive moves on after its lists have been read.
stand_in('', @others, @old, kbuild('6.1.8-1'));
publish(@others, @new, kbuild('6.1.9-1'));
withdraw('linux-image-6.1.0-8-amd64_6.1.8-1', 'linux-kbuild-6.1_6.1.8-1');
fetches('what vanishes between two calls', '6.1.0-9-amd64, kbuild 6.1.9-1', qr/apt-get update/);
publish();
fetches('what is in the cache needs no archive', '6.1.0-9-amd64, kbuild 6.1.9-1');

# A mirror whose index is newer than its files.
stand_in('', @others, @old, @new, kbuild('6.1.9-1', '6.1.8-1'));
withdraw('linux-image-6.1.0-9-amd64_6.1.9-1', 'linux-kbuild-6.1_6.1.9-1');
fetches('what the index names and nobody has',
	'6.1.0-8-amd64, kbuild 6.1.8-1, linux-compiler-gcc-12-x86 6.1.9-1',
	qr/without linux-image-6.1.0-9-amd64=6.1.9-1\n/);

# One source of several is not there.
stand_in('', @others, @new, kbuild('6.1.9-1'));
write_file("$dir/sources.list", "deb [trusted=yes] copy:$archive ./\ndeb [trusted=yes] copy:$dir/nosuch ./\n");
remove_tree("$dir/state/lists");
make_path("$dir/state/lists/partial");
fetches('one of two sources that cannot be read', '6.1.0-9-amd64, kbuild 6.1.9-1',
	qr/not all package lists could be read/);
write_file("$dir/sources.list", "deb [trusted=yes] copy:$archive ./\n");

# What is installed is not always in the archive.
stand_in(<<'END', [ 'busybox-static', '1:1.35', '', 'bin/busybox' ]);
Package: busybox-static
Status: install ok installed
Version: 1:1.36
Architecture: amd64
Maintainer: nobody
Description: from elsewhere

END
my $busybox = `'$qemu/fetch_package.sh' busybox-static`;
chomp($busybox);
is(`cat '$busybox/bin/busybox'`, "busybox-static 1:1.35\n", 'a version that is only installed is not asked for');

# One kernel that cannot be had
stand_in('', @others, meta('6.12.4-amd64', '6.12.4-1', 'linux-image-6.12-amd64'),
	 image('6.12.4-amd64', '6.12.4-1'), headers('6.12.4-amd64', '6.12.4-1', ''), @new, kbuild('6.1.8-1'));
fetches('nothing that fits', 'failed', qr/Depends: linux-kbuild-6.1 \(>= 6.1.9-1\) but /);
is_deeply([ fetch('stock-6.12') ]->[0], '6.12.4-amd64, kbuild 6.1.8-1, linux-compiler-gcc-12-x86 6.1.9-1,linux-kbuild-6.1 6.1.8-1',
	  'the other kernel can be had');
is_deeply([ Kernels::sort_out('stock') ], [ [ 'stock-6.12' ], [ 'stock-6.1' ] ],
	  'tests of the harness use that one');
is(Kernels::any('stock'), 'stock-6.12', 'tests that are content with one kernel, too');
{
	no warnings 'redefine';
	local *Kernels::location = sub { die("not to be had\n") if $_[0] eq 'stock-6.12' };

	is(Kernels::any('stock'), 'stock-6.1', 'whichever it is');
}

# Its row of the table, from a tree of its own
make_path("$dir/top/selftests");
system("cp -r '$qemu' '$dir/top/selftests/qemu'") == 0 or die("cp failed\n");
system("'$dir/top/selftests/qemu/check_kernel.sh' stock-6.1 >/dev/null 2>&1");
my $row = `cat '$dir/top/build/stock-6.1/tap/'*.tap`;
like($row, qr/^# .*Depends: linux-kbuild-6.1 \(>= 6.1.9-1\) but .*^not ok 1 - built and booted$/ms,
     'its own row has failed, with the words of apt');

# A later release, from suites of its own: with packages that share the work of one
$qemu = "$dir/top/selftests/qemu";
write_file("$qemu/fetch_root.sh", "#!/bin/sh\necho \"$dir/root \$*\"\n");

# publish_suite(SUITE, PACKAGE...)
sub publish_suite
{
	my ($suite, @packages) = @_;
	my $path = 'main/binary-amd64/Packages';
	my $top = "$archive/dists/$suite";

	write_file("$top/$path", index_of(@packages));
	my ($sum) = `sha256sum '$top/$path'` =~ /^(\w+)/;
	write_file("$top/Release", "Origin: Debian\nLabel: Debian\nSuite: $suite\nCodename: $suite\n" .
		   "Architectures: amd64\nComponents: main\n" .
		   ($suite =~ /backports/ ? "NotAutomatic: yes\nButAutomaticUpgrades: yes\n" : '') .
		   "SHA256:\n $sum " . (-s "$top/$path") . " $path\n");
}

sub later_kernel
{
	my ($release, $version) = @_;
	my $base = "linux-base-$release (= $version)";
	my $config = "usr/src/linux-headers-$release/.config";

	return (meta($release, $version),
		[ "linux-image-$release", $version, "dracut | linux-initramfs-tool, $base, " .
		  "linux-binary-$release (= $version), linux-modules-$release (= $version)" ],
		[ "linux-base-$release", $version, '' ],
		[ "linux-binary-$release", $version, $base, "usr/lib/modules/$release/vmlinuz" ],
		[ "linux-modules-$release", $version, $base,
		  map { "usr/lib/modules/$release/modules.$_" } qw(order builtin) ],
		[ "linux-headers-$release", $version, "gcc-14-for-host, linux-base (>= 4.12~), " .
		  "linux-headers-$release-common (= $version), linux-kbuild-$release",
		  "usr/src/linux-headers-$release/Makefile", $config ],
		[ "linux-headers-$release-common", $version, '' ],
		[ "linux-kbuild-$release", $version, 'pahole', "usr/lib/linux-kbuild-$release/kbuild" ]);
}

stand_in('', @others);
write_file("$archive/Release", "Origin: Debian\nLabel: Debian\n");
publish_suite('trixie', meta('6.12.4-amd64', '6.12.4-1'), image('6.12.4-amd64', '6.12.4-1'),
	      headers('6.12.4-amd64', '6.12.4-1', ''), @others);
publish_suite('trixie-backports', later_kernel('7.3.4-amd64', '7.3.4-1'));
system('apt-get update -qq') == 0 or die("apt-get update failed\n");

# later(): what it is, without what does not fit into one line
sub later
{
	my $output = `'$qemu/fetch_kernel.sh' stock-7 2>'$dir/stderr'`;
	my %is = $output =~ /^(\w+)='(.*)'$/mg;

	return $? ? 'failed: ' . `cat '$dir/stderr'` :
	       join(', ', map { $is{"kernel_$_"} =~ s|^\Q$dir\E/||r } qw(release image builder packages));
}

is(later(), '7.3.4-amd64, cache/stock/7.3.4-amd64_7.3.4-1/lib/modules/7.3.4-amd64/vmlinuz, ' .
   'root trixie-backports,trixie gcc-14-for-host pahole, ', 'a later kernel');
ok(-e "$dir/cache/stock/7.3.4-amd64_7.3.4-1/lib/modules/7.3.4-amd64/modules.dep", 'its modules have an index');
publish_suite('trixie-backports', later_kernel('7.3.5-amd64', '7.3.5-1'));
withdraw('linux-*7.3.4*');
remove_tree("$dir/cache/stock");
is(later(), '7.3.5-amd64, cache/stock/7.3.5-amd64_7.3.5-1/lib/modules/7.3.5-amd64/vmlinuz, ' .
   'root trixie-backports,trixie gcc-14-for-host pahole, ', 'a suite that has moved since its lists were read');

# The kernel's own tests, from a source package of another version
write_file("$dir/linux-source-7.3/tools/testing/selftests/mm/hmm-tests.c", "tests\n");
write_file("$dir/linux-source-7.3/$_", "\n") for qw(lib/test_hmm_uapi.h mm/gup_test.h scripts/subarch.include
	tools/arch/x86/include/uapi/a tools/include/uapi/a tools/scripts/a tools/testing/selftests/lib.mk
	tools/testing/selftests/x86/a.c other/file);
system("tar -C '$dir' -cJf '$dir/source.tar.xz' linux-source-7.3") == 0 or die("tar failed\n");
my @private = later_kernel('7.3.6-amd64', '7.3.6-1');
my @source = ([ 'linux-source-7.3', '7.3.7-1', '', 'usr/src/linux-source-7.3.tar.xz' ]);
$contents{'usr/src/linux-source-7.3.tar.xz'} = "$dir/source.tar.xz";
write_file("$dir/config", "CONFIG_DEVICE_PRIVATE=y\n");
$contents{'usr/src/linux-headers-7.3.6-amd64/.config'} = "$dir/config";
publish_suite('trixie-backports', @private, @source);
withdraw('linux-*7.3.5*');
remove_tree("$dir/cache/stock");
like(later(), qr/^7.3.6-amd64, .*, linux-source-7.3 7.3.7-1$/, 'tests from a source that is newer than the kernel');
is(join('', `cd '$dir'/cache/sources/linux-source-7.3_* && find . -type f | sort`) =~ s/\n/ /gr,
   './lib/test_hmm_uapi.h ./mm/gup_test.h ./scripts/subarch.include ./tools/arch/x86/include/uapi/a ' .
   './tools/include/uapi/a ./tools/scripts/a ./tools/testing/selftests/lib.mk ' .
   './tools/testing/selftests/mm/hmm-tests.c ./tools/testing/selftests/x86/a.c ', 'what is needed of it');

done_testing();
