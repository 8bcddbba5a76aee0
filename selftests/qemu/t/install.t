#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# make install and uninstall, for each of Debian's own kernels, below DESTDIR.

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
	my $make = "make -s -C '$top' KDIR='$kdir' OUT='$dir/$name/out' DESTDIR='$root'";
	my $depends = "modprobe --show-depends -d '$root' -S '$release' hmm_mirror";

	make_path($root, "$dir/$name/client");
	Kernels::run_ok("$name: make install", "$make install");
	my ($module) = glob("$modules/updates/hmm_mirror.ko*");
	ok($module, "$name: the module is there") or return;
	(my $file = $module) =~ s|.*/||;
	is(files_below($root), <<"END", "$name: all is there, and nothing else");
./lib/modules/$release/updates/$file
./lib/modules/$release/updates/hmm_mirror.symvers
./usr/local/bin/hmmctl
./usr/local/include/hmm_mirror/hmm_mirror.h
./usr/local/include/linux/hmm_mirror.h
./usr/local/share/man/man1/hmmctl.1
END
	like(`modinfo -F vermagic '$module'`, qr/^\Q$release\E /, "$name: a module for $release");
	is(`modinfo -F version '$module'`, `. '$top/dkms.conf' 2>/dev/null; echo \$PACKAGE_VERSION`,
	   "$name: it has the version that DKMS is told");
	is(`modinfo -F signer '$module'`, '', "$name: nobody has signed it");
	like(Kernels::run_ok("$name: hmmctl", "'$root/usr/local/bin/hmmctl' --help"),
	     qr/^Usage: hmmctl/, "$name: hmmctl can be run");

	write_file("$dir/$name/client/client.c", $client);
	write_file("$dir/$name/client/Kbuild",
		   "obj-m := client.o\nccflags-y := -I$root/usr/local/include/hmm_mirror\n");
	Kernels::run_ok("$name: a driver that uses what was installed",
			"make -s -C '$kdir' M='$dir/$name/client' W=1 modules " .
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
	is(`cd '$root' && find . -mindepth 1`, '', "$name: nothing is left behind");
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

Kernels::packages(qw(gcc kmod libc6-dev make openssl xz-utils));
test_kernel($_) for Kernels::names('stock');
done_testing();
