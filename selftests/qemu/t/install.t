#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# make install and uninstall, for each of Debian's own kernels, below DESTDIR; and make
# probe.

use strict;
use warnings;
use File::Path qw(make_path);
use FindBin;
use lib "$FindBin::Bin/..";
use Kernels;
use Test::More;

my $top = "$FindBin::Bin/../../..";
my $dir = Kernels::build_directory('install');

# Parts of another make's command line must not get in the way.
delete(@ENV{qw(MAKEFLAGS MFLAGS MAKEOVERRIDES DESTDIR PREFIX)});

sub write_file
{
	my ($path, $content) = @_;

	make_path($path =~ s|/[^/]*$||r);
	open(my $file, '>', $path) or die("$path: $!\n");
	print($file $content);
	close($file);
}

sub files_below
{
	my ($root) = @_;

	return join('', sort(`cd '$root' && find . -mindepth 1 ! -type d`));
}

# A driver and a program that know nothing of this tree
my $client = <<'END';
// SPDX-License-Identifier: GPL-2.0
#include <linux/module.h>
#include <hmm_mirror.h>

static int __init client_init(void)
{
	struct hmm_mirror_range range = {};

	return hmm_mirror_range_fault(&range);
}
module_init(client_init);

MODULE_DESCRIPTION("a client");
MODULE_LICENSE("GPL");
END
my $program = <<'END';
#include <linux/hmm_mirror.h>
int main(void) { return sizeof(struct hmm_mirror_info) + HMM_MIRROR_INFO == 0; }
END

sub test_kernel
{
	my ($name) = @_;
	my %location = Kernels::location($name);
	my ($release, $kdir) = @location{qw(kernel_release kernel_build)};
	my $root = "$dir/$name/root";
	my $modules = "$root/lib/modules/$release";
	my $inside = Kernels::inside(%location);
	my $make = "${inside}make -s -C '$top' KDIR='$kdir' OUT='$dir/$name/out' DESTDIR='$root'";
	my $depends = "modprobe --show-depends -d '$root' -S '$release' hmm_mirror";

	make_path($root, "$dir/$name/client");
	# A root of another release has no git to ask.
	my $version = `$inside'$top/install/version.sh'`;
	Kernels::run_ok("$name: make install", "$make install");
	my ($module) = glob("$modules/updates/hmm_mirror.ko*");
	ok($module, "$name: the module is there") or return;
	(my $file = $module) =~ s|.*/||;
	is(files_below($root), <<"END", "$name: all is there, and nothing else");
./lib/modules/$release/updates/hmm_mirror.directories
./lib/modules/$release/updates/$file
./lib/modules/$release/updates/hmm_mirror.symvers
./usr/local/bin/hmmctl
./usr/local/include/hmm_mirror/hmm_mirror.h
./usr/local/include/linux/hmm_mirror.h
./usr/local/share/bash-completion/completions/hmmctl
./usr/local/share/fish/vendor_completions.d/hmmctl.fish
./usr/local/share/hmm_mirror/directories
./usr/local/share/man/man1/hmmctl.1
./usr/local/share/zsh/site-functions/_hmmctl
END
	like(`modinfo -F vermagic '$module'`, qr/^\Q$release\E /, "$name: a module for $release");
	is(`modinfo -F version '$module'`, $version,
	   "$name: it has the version that DKMS is told");
	is(`modinfo -F signer '$module'`, '', "$name: nobody has signed it");
	like(Kernels::run_ok("$name: hmmctl", "$inside'$root/usr/local/bin/hmmctl' --help"),
	     qr/^Usage: hmmctl/, "$name: hmmctl can be run");

	my $needed = join('', map { (split())[1] . "\n" } `nm -u '$dir/$name/out/src/hmm_mirror.ko'`);
	my ($exports) = `cat '$top/install/check_kernel.sh'` =~ /^exports='\n(.*?)'/ms;
	is(join(' ', grep { $needed !~ /^$_$/m } split(' ', $exports)), '',
	   "$name: check_kernel.sh looks for nothing that is not needed");
	# Since v6.13 kbuild looks for what it needs where the links lead to.
	test_trimmed($name, $kdir) if !$inside;
	like(Kernels::run_ok("$name: make probe", "$make probe NAME=sanity"),
	     qr/^The compiler on probes\/sanity\.c:\nResult:\n#define HMM_MIRROR_HAVE_SANITY 1\n/m,
	     "$name: it shows the result");

	write_file("$dir/$name/client/client.c", $client);
	write_file("$dir/$name/client/Kbuild",
		   "obj-m := client.o\nccflags-y := -I$root/usr/local/include/hmm_mirror\n");
	Kernels::run_ok("$name: a driver that uses what was installed",
			"${inside}make -s -C '$kdir' M='$dir/$name/client' W=1 modules " .
			"KBUILD_EXTRA_SYMBOLS='$modules/updates/hmm_mirror.symvers'");
	is(`modinfo -F depends '$dir/$name/client/client.ko'`, "hmm_mirror\n",
	   "$name: it depends on the module");
	write_file("$dir/$name/program.c", $program);
	Kernels::run_ok("$name: a program that uses what was installed",
			"gcc -Wall -Wextra -Werror -I'$root/usr/local/include' " .
			"-fsyntax-only '$dir/$name/program.c'");

	# Where modules have an index it is kept.
	is(system("cp '$location{kernel_root}/lib/modules/$release'/modules.* '$modules'"), 0,
	   "$name: a machine's index");
	cmp_ok((Kernels::run($depends))[0], '!=', 0, "$name: the module is not in it");
	Kernels::run_ok("$name: make install into a machine", "$make install");
	like((Kernels::run($depends))[1], qr|^insmod \Q$module\E|, "$name: modprobe finds the module");

	Kernels::run_ok("$name: make install_takeover", "$make install_takeover");
	(my $takeover = $depends) =~ s/hmm_mirror$/hmm_takeover/;
	like((Kernels::run($takeover))[1],
	     qr|^insmod \Q$module\E.*\ninsmod \Q$modules\E/updates/hmm_takeover[.]ko|,
	     "$name: modprobe finds it, and what it needs");

	# Signed by a key of the user's
	my $key = "SIGN_KEY='$dir/$name/MOK.priv' SIGN_CERT='$dir/$name/MOK.der'";
	Kernels::run_ok("$name: a key",
		"openssl req -new -x509 -newkey rsa:2048 -nodes -days 2 -outform DER -batch " .
		"-subj /CN=tester/ -keyout '$dir/$name/MOK.priv' -out '$dir/$name/MOK.der' 2>&1");
	test_hint($name, $module, $kdir, 1);
	Kernels::run_ok("$name: make install of a signed module", "$make install $key");
	is(`modinfo -F signer '$module'`, "tester\n", "$name: it is signed");
	test_hint($name, $module, $kdir, 0);

	Kernels::run_ok("$name: make uninstall", "$make uninstall");
	cmp_ok((Kernels::run($depends))[0], '!=', 0, "$name: modprobe does not find it any more");
	unlink(glob("$modules/modules.*"));
	Kernels::run_ok("$name: make uninstall where nothing is installed", "$make uninstall");
	is(`cd '$root' && find . -mindepth 1 | sort`, <<"END", "$name: where the index was is left");
./lib
./lib/modules
./lib/modules/$release
END
	rmdir("$modules");
	Kernels::run_ok("$name: make install once more", "$make install");
	Kernels::run_ok("$name: make uninstall", "$make uninstall");
	is(`cd '$root' && find . -mindepth 1 | sort`, <<"END", "$name: nothing else is");
./lib
./lib/modules
END
}

# The kernel as it would be with CONFIG_TRIM_UNUSED_KSYMS and no module that needs put_pid()
sub test_trimmed
{
	my ($name, $kdir) = @_;
	my $tree = "$dir/$name/trimmed";

	SKIP: {
		# Modules for such a kernel before 6.6 are built with a script that Debian,
		# whose kernels are not trimmed, does not package.
		skip("$name: there is no gen_ksymdeps.sh", 2) if !-e "$kdir/scripts/gen_ksymdeps.sh" &&
			`grep -l gen_ksymdeps '$kdir'/../linux-headers-*-common/scripts/Makefile.build`;
		make_path($tree);
	}
	return if !-e $tree;
	for my $entry (glob("$kdir/* $kdir/.config $kdir/.kernelvariables")) {
		symlink($entry, $tree . ($entry =~ s|.*/|/|r)) unless
			$entry =~ /\/(Makefile|Module.symvers|include|vmlinux)$/;
	}
	# What is below it is found from where the original is.
	write_file("$tree/Makefile", "include $kdir/Makefile\n");
	system("cp -r '$kdir/include' '$kdir/Module.symvers' '$tree' && " .
	       "echo CONFIG_TRIM_UNUSED_KSYMS=y >>'$tree/include/config/auto.conf' && " .
	       "sed -i '/\\tput_pid\\t/d' '$tree/Module.symvers'") == 0 or die("sed\n");
	my ($status, $output) = Kernels::run("make -s -C '$top' KDIR='$tree' OUT='$dir/$name/trimmed.out'");
	is($status, 2, "$name: make for a kernel that lacks an export");
	like($output, qr/^CONFIG_TRIM_UNUSED_KSYMS is set, and these are not exported: put_pid$/m,
	     "$name: it says which, and why") or diag($output);
}

# test_hint(..., WANTED): is it told how to sign, where that is needed?
sub test_hint
{
	my ($name, $module, $kdir, $wanted) = @_;
	my $sys = "$dir/$name/sys";
	my $hint = "'$top/install/signing_hint.sh' '$module' '$kdir' '$dir/$name'";
	my @machines = (
		[ 'N', '[none] integrity confidentiality', 0 ],
		[ 'Y', '[none] integrity confidentiality', $wanted ],
		[ 'N', 'none [integrity] confidentiality', $wanted ],
		[ 'N', 'none integrity [confidentiality]', $wanted ],
	);

	make_path("$sys/module/module/parameters", "$sys/kernel/security");
	for my $machine (@machines) {
		my ($enforce, $lockdown, $told) = @$machine;

		write_file("$sys/module/module/parameters/sig_enforce", "$enforce\n");
		write_file("$sys/kernel/security/lockdown", "$lockdown\n");
		my ($status, $output) = Kernels::run($hint);
		is($status, 0, "$name: the hint, sig_enforce $enforce, lockdown $lockdown");
		is($output =~ /mokutil --import/ ? 1 : 0, $told,
		   $told ? "$name: how to sign is told" : "$name: no word of signing") or
			diag($output);
	}
}

Kernels::packages(qw(binutils gcc kmod libc6-dev make openssl xz-utils));
test_kernel($_) for Kernels::available('stock', 'later');
done_testing();
