#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# The Makefile: what it calls, where it puts things, and what it does not touch. Kernel,
# compilers and virtual machine are stand-ins that record what they were told; install.t
# and dkms.t use real ones.

use strict;
use warnings;
use Cwd qw(abs_path);
use File::Path qw(make_path remove_tree);
use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::Bin/..";
use Kernels;
use Test::More;

my $top = abs_path("$FindBin::Bin/../../..");
my $dir = tempdir(CLEANUP => 1);
my $release = '6.9.0-test';
my @suited = qw(64BIT MODULES MMU_NOTIFIER KPROBES);
my $is_root = $> == 0;

# Parts of another make's command line must not get in the way.
delete(@ENV{qw(MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL DESTDIR PREFIX KDIR OUT LLVM CC),
	    qw(HMM_MIRROR_CACHE KERNEL TESTS ARGS DMAS NAMES SIGN_KEY SIGN_CERT DKMS)});
$ENV{LC_ALL} = 'C';
umask(0022);

sub write_file
{
	my ($path, $content, $mode) = @_;

	(my $parent = $path) =~ s|/[^/]*$||;
	make_path($parent);
	open(my $file, '>', $path) or die("$path: $!\n");
	print($file $content);
	close($file);
	chmod($mode // 0644, $path);
}

sub content
{
	my ($path) = @_;

	open(my $file, '<', $path) or return '';
	local $/;
	return <$file> // '';
}

# word(TEXT): for the shell
sub word
{
	my ($text) = @_;

	$text =~ s/'/'\\''/g;
	return "'$text'";
}

# below(DIRECTORY, OPTIONS of find): what is there, sorted
sub below
{
	my ($root, $options) = @_;

	return join('', sort(`cd @{[word($root)]} && find . -mindepth 1 @{[$options // '']}`));
}

# What starts virtual machines says what it was told, and does nothing.
my $stub = "#!/bin/sh\nprintf '%s' \"\${0##*/}\"\n" .
	   "printf ' <%s>' \"\$@\" \"\$TESTS\" \"\$ARGS\" \"\$DMAS\" \"\$NAMES\" \"\$WITH\"\necho\n";

# copy_tree(PATH): the project without what was built
sub copy_tree
{
	my ($path) = @_;

	make_path($path);
	system("tar -C @{[word($top)]} --exclude=./build --exclude=./.git -c . | " .
	       "tar -C @{[word($path)]} -x") == 0 or die("cannot copy the tree\n");
	write_file("$path/selftests/$_", $stub, 0755)
		for qw(qemu/run.sh qemu/check.sh qemu/modules.sh compare/run.sh mutations/run.sh style.sh);
}

# What this machine has that a mistake could change
sub machine
{
	return join('', sort(map { -e $_ ? `find $_ -maxdepth 3 -printf '%p %T@\n'` : () }
			     qw(/usr/src /var/lib/dkms /lib/modules /usr/local)));
}
my $machine = machine();

# kernel(NAME, CONFIG...): a build tree, in which make writes down how it was called
sub kernel
{
	my ($name, @config) = @_;
	my $path = "$dir/$name";

	write_file("$path/$_", join('', map { /=/ ? "CONFIG_$_\n" : "CONFIG_$_=y\n" } @config))
		for '.config', 'include/config/auto.conf';
	write_file("$path/include/generated/utsrelease.h", "#define UTS_RELEASE \"$release\"\n");
	write_file("$path/include/generated/autoconf.h", '');
	write_file("$path/scripts/sign-file", "#!/bin/sh\nprintf ' signed %s %s' \"\$2\" \"\$3\" >>\"\$4\"\n",
		   0755);
	write_file("$path/Makefile", <<'END');
name := $(shell sed -n 's/^obj-m := \(.*\)[.]o/\1/p' $(M)/Kbuild 2>/dev/null)
log := $(dir $(lastword $(MAKEFILE_LIST)))log
modules:
	@echo 'modules M=$(M) CC=$(CC) LLVM=$(LLVM) W=$(W) PROBE=$(PROBE)' >>$(log)
	@echo '$(M): $(wildcard $(M)/Module.symvers)' >>$(log).symvers
	@$(if $(PROBE),mkdir -p $(M)/probes && echo said >$(M)/probes/$(PROBE).log && echo result >$(M)/probes/$(PROBE).result)
	@printf 'module, LLVM=$(LLVM)' >$(M)/$(name).ko
	@echo $(M)/$(name).o >$(M)/modules.order
	@echo $${SYMBOLS:-symbols} >$(M)/Module.symvers
modules_install:
	@echo 'modules_install' >>$(log)
	@mkdir -p $(INSTALL_MOD_PATH)/lib/modules/6.9.0-test/$(INSTALL_MOD_DIR)
	@for m in $$(sed 's/[.]o$$/.ko/' $(M)/modules.order); do \
		cp $$m $(INSTALL_MOD_PATH)/lib/modules/6.9.0-test/$(INSTALL_MOD_DIR); done
END
	return $path;
}

# calls(KERNEL): what its make was told since the last time
sub calls
{
	my ($path) = @_;
	my $log = content("$path/log");

	unlink("$path/log");
	return $log;
}

# make(ARGUMENTS): in the tree; exit status, output
sub make
{
	my ($arguments, $tree) = @_;

	return Kernels::run("cd @{[word($tree // \"$dir/tree\")]} && make --no-print-directory $arguments");
}

sub make_ok
{
	my ($name, $arguments, $tree) = @_;
	my ($status, $output) = make($arguments, $tree);

	is($status, 0, $name) or diag("make $arguments\n$output");
	return $output;
}

# DKMS of the machine is not for us.
write_file("$dir/bin/dkms", "#!/bin/sh\nexit 1\n", 0755);
# The compiler of hmmctl
write_file("$dir/bin/cc", <<'END', 0755);
#!/bin/sh
while [ $# -gt 0 ]; do
	[ "$1" != -o ] || { printf '#!/bin/sh\n' >"$2"; chmod +x "$2"; }
	shift
done
END
$ENV{PATH} = "$dir/bin:$ENV{PATH}";

copy_tree("$dir/tree");
my $kdir = kernel('kernel', @suited, 'CC_IS_GCC');
my $out = "$dir/out";
my $build = "KDIR=$kdir OUT=$out";

# --- help, and paths that cannot work -----------------------------------------

{
	my $odd = "$dir/a clone";

	copy_tree($odd);
	my $help = make_ok('make help', 'help');
	for my $target (qw(takeover probe install install_takeover uninstall install_dkms uninstall_dkms
			   run rdma dma check bench compare mutations shell modules style clean)) {
		like($help, qr/^  make \Q$target\E\b/m, "help has make $target");
	}
	is(make_ok('make help where there is a blank in the path', 'help', $odd), $help,
	   'it says the same');
	for my $goal ('', qw(all install uninstall install_dkms check run style), '-j4 install') {
		my ($status, $output) = make("$goal KDIR=$kdir DESTDIR=$dir/odd", $odd);

		is($status, 2, "make $goal where there is a blank in the path");
		like($output, qr/^Makefile:\d+: \*\*\* [^\n]*\Q$odd\E[^\n]*\n$/,
		     "one sentence names the path (make $goal)") or diag($output);
	}
	is(below($odd, '-name build'), '', 'nothing was built there');
	ok(!-e "$dir/odd", 'and nothing installed');
	make_ok('make clean where there is a blank in the path', 'clean', $odd);

	for my $variable ('KDIR', 'OUT') {
		for my $path ("$dir/with blank", "$dir/with:colon", map { "$dir/R${_}D" }
			      split(//, '&;()<>|\'"`$\\*?[]#%')) {
			my $value = $path =~ s/\$/\$\$/gr =~ s/'/'\\''/gr;
			my ($status, $output) = make("$build $variable='$value'");

			is($status, 2, "make $variable='$path'");
			like($output, qr/^Makefile:\d+: \*\*\* [^\n]*\($variable\)[^\n]*\Q$path\E[^\n]*\n$/,
			     'one sentence names it') or diag($output);
		}
	}
	# The clone itself: half of the name would be a command
	$odd = "$dir/R&touch odd;D";
	copy_tree($odd);
	like((make('all', $odd))[1], qr/^Makefile:\d+: \*\*\* [^\n]*\Q$odd\E\.  Stop\.\n$/, 'make where there is an & in the path');
	$odd = "$dir/it's";
	copy_tree($odd);
	like((make('all', $odd))[1], qr/^Makefile:\d+: \*\*\* [^\n]*\Q$odd\E\.  Stop\.\n$/, 'make where there is a quote in the path');

	local $ENV{HMM_MIRROR_CACHE} = "$dir/a cache";
	like(make_ok('make help with a blank in the path of the cache', 'help'),
	     qr|\Q$dir\E/a cache|, 'help names the cache');
	for my $goal (qw(run shell check bench compare mutations rdma dma modules style)) {
		my ($status, $output) = make($goal);

		is($status, 2, "make $goal with a blank in the path of the cache");
		like($output, qr|^Makefile:\d+: \*\*\* [^\n]*HMM_MIRROR_CACHE[^\n]*\Q$dir\E/a cache[^\n]*\n$|,
		     'one sentence names it') or diag($output);
	}
	ok(!-e "$dir/a cache", 'nothing was put there');
	is(calls($kdir), '', 'no kernel was asked to build');
}

# --- no headers -----------------------------------------------------------------

for my $goal ('', '-j4', qw(takeover install install_takeover build_modules), '-j4 install',
	      'probe NAME=leafops') {
	my ($status, $output) = make("$goal KDIR=$dir/none DESTDIR=$dir/none.root");

	is($status, 2, "make $goal without headers");
	like($output, qr/There are no kernel headers in \Q$dir\E\/none/, 'it says so');
	ok(!-e "$dir/tree/build", "nothing is left behind (make $goal)") or
		diag(below("$dir/tree/build", '-maxdepth 2'));
	ok(!-e "$dir/none.root", 'and nothing installed');
	remove_tree("$dir/tree/build", "$dir/none.root");
}
make_ok('hmmctl needs no headers', "install_tools KDIR=$dir/none DESTDIR=$dir/none.root");
ok(-x "$dir/none.root/usr/local/bin/hmmctl", 'it is there');
make_ok('make clean', 'clean');
ok(!-e "$dir/tree/build", 'build/ is gone');
ok(-e "$dir/tree/Makefile", 'and nothing else');

# --- building -------------------------------------------------------------------

{
	my $output = make_ok('make', $build);

	like($output, qr|Built: \Q$out\E/src/hmm_mirror.ko\n +\Q$out\E/tools/hmmctl|,
	     'it says what is where');
	like(calls($kdir), qr|^modules M=\Q$out\E/src CC=\S* LLVM= W= PROBE=$|,
	     'kbuild is called, without W=1, which needs more than a compiler');
	make_ok('make takeover', "takeover $build");
	like(calls($kdir), qr|^modules M=\Q$out\E/src .*\nmodules M=\Q$out\E/src/takeover .*\n$|,
	     'it builds that one too');
	make_ok('make project_modules', "project_modules $build KBUILD_FLAGS=W=1");
	my $calls = calls($kdir);
	for my $module (map { m|^\./(.+)/Kbuild$| ? $1 : () }
			`cd '$dir/tree' && find . -name Kbuild`) {
		like($calls, qr|^modules M=\Q$out\E/src/$module CC=\S* LLVM= W=1|m, "it builds $module");
	}
	like(content("$top/selftests/qemu/build.sh"), qr/KBUILD_FLAGS=.*\bW=1\b/,
	     'the tests build with W=1');
	my ($status, $names) = make("probe $build");
	is($status, 2, 'make probe');
	like($names, qr/^  leafops\n(.*\n)*  selftests\/dmirror\/page_pgmap\n/m,
	     'it says which there are');
	like(make_ok('make probe NAME=leafops', "probe NAME=leafops $build"),
	     qr/The compiler on probes\/leafops.c:\nsaid\nResult:\nresult\n/,
	     'it says what the compiler said');
	like(calls($kdir), qr/PROBE=leafops$/, 'and had asked it');
}

{
	my $takeover = "$out/src/takeover";
	my $lines = sub {
		my $log = content("$kdir/log.symvers");

		unlink("$kdir/log.symvers");
		return join('', $log =~ /^\Q$takeover\E(:.*\n)/mg);
	};

	make_ok('make takeover', "takeover $build");
	$lines->();
	make_ok('make takeover again', "takeover $build");
	is($lines->(), ": $takeover/Module.symvers\n", 'what kbuild knows of symbols is left to it');
	local $ENV{SYMBOLS} = 'others';
	make_ok('make takeover, other symbols', "takeover $build");
	is($lines->(), ": \n", 'it has to look at them again');
}

# --- which compiler ---------------------------------------------------------------

{
	my $bin = "$dir/clang";
	my @clang = (@suited, 'CC_IS_CLANG', 'LD_IS_LLD', 'CLANG_VERSION=190107');
	my $clang = kernel('clang_kernel', @clang);
	my $make = "build_modules KDIR=$clang OUT=$dir/clang.out";
	# A machine with these programs, and without others of the name
	my $machine = sub {
		my (@programs) = @_;

		remove_tree($bin);
		write_file("$bin/$_", "#!/bin/sh\n", 0755) for @programs;
		for my $program (glob('/usr/bin/*'), glob('/bin/*')) {
			(my $name = $program) =~ s|.*/||;
			symlink($program, "$bin/$name") unless
				$name =~ /^(clang|ld\.lld|llvm)/ || -e "$bin/$name";
		}
		return "$dir/bin:$bin";
	};

	{
		local $ENV{PATH} = $machine->('clang', 'ld.lld', 'clang-18', 'ld.lld-18');
		make_ok('a kernel that clang has built', $make);
		like(calls($clang), qr/ LLVM=1 /, 'LLVM=1 by itself');
		make_ok('somebody knows better', "$make LLVM=-18");
		like(calls($clang), qr/ LLVM=-18 /, 'and is listened to');
		make_ok('or names a compiler', "$make CC=/opt/clang");
		like(calls($clang), qr/ CC=\/opt\/clang LLVM= /, 'and is listened to');
		make_ok('a kernel that gcc has built', "build_modules $build");
		like(calls($kdir), qr/ LLVM= /, 'no LLVM=1');
	}
	{
		local $ENV{PATH} = $machine->('clang-14', 'ld.lld-14', 'clang-20', 'clang-19',
					      'ld.lld-19');
		make_ok('clang with a version in its name', $make);
		like(calls($clang), qr/ LLVM=-19 /, 'the one that has built the kernel');
	}
	{
		local $ENV{PATH} = $machine->('clang-14', 'ld.lld-14', 'clang-16', 'ld.lld-16',
					      'clang-20');
		make_ok('only other versions', $make);
		like(calls($clang), qr/ LLVM=-16 /, 'the newest that is complete');
	}
	{
		local $ENV{PATH} = $machine->('clang-18');
		my $bfd = kernel('clang_bfd_kernel', @suited, 'CC_IS_CLANG', 'CLANG_VERSION=190107');

		make_ok('clang and GNU ld', "build_modules KDIR=$bfd OUT=$dir/clang.out");
		like(calls($bfd), qr/ CC=clang-18 LLVM= /, 'CC=clang, with the version');

		remove_tree("$dir/clang.out");
		for my $goal ('', 'install', '-j4 install') {
			my ($status, $output) =
				make("$goal KDIR=$clang OUT=$dir/clang.out DESTDIR=$dir/clang.root");

			is($status, 2, "make $goal without ld.lld");
			like($output, qr/\Q$clang\E was built with clang 19.*\n.*apt-get install clang lld/,
			     'it says what to install') or diag($output);
			ok(!-e "$dir/clang.out" && !-e "$dir/clang.root", 'before anything is done');
		}
		is(calls($clang), '', 'kbuild was not called');
	}

	# What was built is what is installed.
	local $ENV{PATH} = $machine->('clang', 'ld.lld');
	make_ok('make LLVM=1', "$build OUT=$dir/llvm LLVM=1");
	calls($kdir);
	my $install = "install $build OUT=$dir/llvm DESTDIR=$dir/llvm.root";
	my $installed = "$dir/llvm.root/lib/modules/$release/updates/hmm_mirror.ko";
	my $state = "-printf '%p %T@ %u\\n'";
	my $before = below("$dir/llvm", $state);
	make_ok('make install', $install);
	is(calls($kdir), "modules_install\n", 'nothing is built again');
	is(content($installed), 'module, LLVM=1', 'what was built is installed');
	is(below("$dir/llvm", $state), $before, 'and nothing written where it was built');
	utime(undef, undef, "$dir/tree/ioctl.c");
	make_ok('make install after a source has changed', $install);
	like(calls($kdir), qr/^modules .* LLVM=1 W= PROBE=\nmodules_install\n$/,
	     'it is built again, by the same compiler');
	utime(undef, undef, "$kdir/include/generated/autoconf.h");
	make_ok('make install after the headers have changed', "$install LLVM=-19");
	like(calls($kdir), qr/^modules .* LLVM=-19 W= /, 'by another if told so');
	make_ok('make without a word of the compiler', "$build OUT=$dir/llvm");
	like(calls($kdir), qr/^modules .* LLVM= W= /, 'takes the usual one');
	make_ok('make install', $install);
	is(content($installed), 'module, LLVM=', 'and that is installed');
	calls($kdir);
	make_ok('make install_takeover', "install_takeover $build OUT=$dir/llvm DESTDIR=$dir/llvm.root");
	like(calls($kdir), qr|^modules_install\nmodules M=\Q$dir\E/llvm/src/takeover .*\nmodules_install\n$|,
	     'it builds only what is missing');
	make_ok('and again', "install_takeover $build OUT=$dir/llvm DESTDIR=$dir/llvm.root");
	is(calls($kdir), "modules_install\nmodules_install\n", 'nothing is built again');
	ok(-e "$dir/llvm.root/lib/modules/$release/updates/hmm_takeover.ko", 'it is there');
}

# --- installing and removing ----------------------------------------------------------

my @installed = (map({ "./lib/modules/$release/updates/$_\n" }
		     qw(hmm_mirror.directories hmm_mirror.ko hmm_mirror.symvers)),
		 map({ "./usr/local/$_\n" }
		     qw(bin/hmmctl include/hmm_mirror/hmm_mirror.h include/linux/hmm_mirror.h
			share/bash-completion/completions/hmmctl
			share/fish/vendor_completions.d/hmmctl.fish
			share/hmm_mirror/directories share/man/man1/hmmctl.1
			share/zsh/site-functions/_hmmctl)));

# Odd names, and what the shell would make of them
for my $name ('a blank', "a 'quote'", 'two  blanks; touch oops', '*', '"', '&') {
	my $root = "$dir/roots/$name";
	my $destdir = 'DESTDIR=' . word($root);

	make_path("$dir/roots/a");
	make_ok("make install in $name", "install $build $destdir");
	is(below($root, '! -type d'), join('', sort(@installed)), "all is there ($name)");
	make_ok("make install_dkms in $name", "install_dkms $build $destdir");
	like(below($root), qr|^\./usr/src/hmm_mirror-[^/]*/dkms.conf$|m, "the sources are there ($name)");
	make_ok("make uninstall_dkms in $name", "uninstall_dkms $build $destdir");
	is(below($root, '-path "*usr/src/*"'), '', "the sources are gone ($name)");
	make_ok("make uninstall in $name", "uninstall $build $destdir");
	is(below($root, '! -type d'), '', "all is gone ($name)");
	remove_tree($root);
}
{
	my $root = "$dir/roots/prefix";
	my $arguments = "$build DESTDIR=$root PREFIX='/opt/a b'";

	make_ok('make install below a PREFIX with a blank', "install $arguments");
	is(below($root, '! -type d'),
	   join('', sort(map { s|^\./usr/local/|./opt/a b/|r } @installed)), 'all is there');
	make_ok('make uninstall there', "uninstall $arguments");
	is(below($root, '! -type d'), '', 'all is gone');
	remove_tree($root);
}
is(below("$dir/roots"), "./a\n", 'nothing else was touched');
is(below($dir, '-name oops'), '', 'no name was run as a command');

# Relative to where make was called
{
	calls($kdir);
	make_ok('make install in a relative directory', "install $build DESTDIR=relative/root");
	is(below("$dir/tree/relative/root", '! -type d'), join('', sort(@installed)), 'all is there');
	is(below($kdir, '-name relative'), '', 'and not where kbuild is');
	make_ok('make uninstall there', "uninstall $build DESTDIR=./relative/root/");
	is(below("$dir/tree/relative/root"), '', 'all is gone');
	make_ok('from another directory', "-C $dir/tree install $build DESTDIR=relative PREFIX=odd", $dir);
	ok(-e "$dir/tree/relative$dir/tree/odd/bin/hmmctl" &&
	   -e "$dir/tree/relative/lib/modules/$release/updates/hmm_mirror.ko", 'where make was');
	remove_tree("$dir/tree/relative");

	my $destdir = word("$dir/a tool's");
	make_ok('make -C tools install',
		"-C $dir/tree/tools O=$out/tools install DESTDIR=$destdir PREFIX=/opt");
	ok(-x "$dir/a tool's/opt/bin/hmmctl" && -e "$dir/a tool's/opt/share/man/man1/hmmctl.1",
	   'hmmctl and its man page are there');
	is((make("-C $dir/tree/tools O='$dir/$_'"))[0], 2, "make -C tools O='$_'") for ('a:b', 'a&b', 'a(b');
	my ($status, $output) = make("-C $dir/tree/tools O='$dir/a b'");
	is($status, 2, 'make -C tools where there is a blank in the path');
	like($output, qr/^Makefile:\d+: \*\*\* [^\n]*\Q$dir\E\/a b[^\n]*\n$/, 'one sentence names it');
	ok(!-e "$dir/a", 'and nothing was made');
}

# An image's own empty directories stay; DESTDIR=/ is no DESTDIR.
{
	my $root = "$dir/image";

	make_path(map { "$root/$_" } qw(proc sys tmp home/user/empty usr/local/bin
					lib/modules/6.1.0/updates usr/src));
	write_file("$root/lib/modules/$release/modules.order", '');
	my $before = below($root);
	make_ok('make install in an image', "install install_takeover $build DESTDIR=$root");
	make_ok('and again', "install $build DESTDIR=$root");
	make_ok('make uninstall', "uninstall $build DESTDIR=$root");
	is(below($root), $before, 'it is what it was');
	make_ok('make uninstall again', "uninstall $build DESTDIR=$root");
	is(below($root), $before, 'it still is');
	make_ok('make install_dkms in an image', "install_dkms $build DESTDIR=$root");
	make_ok('make uninstall_dkms', "uninstall_dkms $build DESTDIR=$root");
	is(below($root), $before, 'it is what it was');

	make_ok('make install', "install $build DESTDIR=$root");
	write_file("$root/usr/local/include/hmm_mirror/mine.h", '');
	write_file("$root/lib/modules/$release/updates/hmm_mirror.ko.orig", '');
	make_ok('make uninstall', "uninstall $build DESTDIR=$root");
	ok(-e "$root/usr/local/include/hmm_mirror/mine.h", "what is somebody else's stays");
	ok(-e "$root/lib/modules/$release/updates/hmm_mirror.ko.orig", 'also beside the module');

	my ($status, $commands) = make("-n uninstall $build DESTDIR=/");
	is($status, 0, 'make -n uninstall DESTDIR=/');
	is($commands, (make("-n uninstall $build"))[1], 'is make uninstall');
	unlike($commands, qr/find|rm -r|-delete/, 'and searches for nothing to remove');
	like((make("-n install_dkms $build DESTDIR=/"))[1], qr/DKMS='dkms'/, 'DKMS is called');
	like((make("-n install_dkms $build DESTDIR=/x"))[1], qr/DKMS='' /, 'with DESTDIR it is not');
}

# Installed by the first version, which kept no lists
{
	my $root = "$dir/first";

	write_file("$root/" . s/\n//r, '')
		for grep({ !/directories/ } @installed), "lib/modules/$release/updates/hmm_takeover.ko.xz";
	make_ok('make uninstall of what has no list of directories', "uninstall $build DESTDIR=$root");
	is(below($root, '! -type d'), '', 'all files are gone');
}

# Whoever calls, with whatever umask: for all to read, and root's if root has called
{
	my $old = umask(0077);
	my $root = "$dir/modes";

	make_path($root);
	make_ok('make install with umask 077', "install $build DESTDIR=$root");
	make_ok('make install_dkms with umask 077', "install_dkms $build DESTDIR=$root");
	umask($old);
	is(below($root, '-type d ! -perm 0755'), '', 'directories have 0755');
	is(below($root, '-type f ! -perm 0644 ! -perm 0755'), '', 'files have 0644 or 0755');
	is(below("$root/usr", '-type f -perm /111 -printf "%f\n"'),
	   join('', map { "$_\n" } sort(qw(check_kernel.sh compiler.sh hmmctl symvers.sh))),
	   'what is run has 0755');
}
SKIP: {
	skip('only root can have files of others', 4) unless $is_root;
	my $theirs = "$dir/theirs";

	copy_tree($theirs);
	# nobody's
	chmod(0755, $dir);
	system('chown', '-R', '65534:65534', $theirs);
	system('chmod', '-R', 'go-rwx', $theirs);
	my $old = umask(0077);
	make_ok('make install_dkms from a checkout of somebody else',
		"install_dkms $build DESTDIR=$dir/roots", $theirs);
	make_ok('make install from it', "install $build DESTDIR=$dir/roots", $theirs);
	umask($old);
	is(below("$dir/roots/usr", '! -uid 0 -o ! -gid 0 -o ! -perm -0444 -o -perm /022'), '',
	   "all is root's, for all to read, for none to write");
	is(below($theirs, '-uid 0'), '', "and nothing in the checkout is root's");
	remove_tree("$dir/roots");
}

# PATH as "su" leaves it to root on Debian
{
	my $root = "$dir/index";
	my $modules = "$root/lib/modules/$release";

	write_file("$dir/sbin/depmod", "#!/bin/sh\necho \"depmod \$*\" >>'$dir/depmod.log'\n", 0755);
	write_file("$modules/modules.dep", '');
	for my $goal (qw(install uninstall)) {
		my $output = make_ok("make $goal where modules are indexed",
				     "$goal $build DESTDIR=$root PATH=\"$dir/sbin:\$PATH\"");
		is(content("$dir/depmod.log"), "depmod -b $root/ $release\n", 'depmod is run') or
			diag($output);
		unlink("$dir/depmod.log");
	}
	local $ENV{PATH} = "$dir/bin:/usr/bin:/bin";
	write_file("$dir/tree/paths.mk", "include Makefile\npaths:\n\t\@echo \$\$PATH\n");
	like((make('-f paths.mk paths'))[1], qr|:/usr/sbin:/sbin$|, 'programs are found in /sbin');
	unlink("$dir/tree/paths.mk");
}

# Signed by a key of the user's, wherever it is
{
	my $root = "$dir/signed";
	my ($key, $cert) = map { "$dir/the user's $_" } qw(key certificate);
	my $sign = 'SIGN_KEY=' . word($key) . ' SIGN_CERT=' . word($cert);

	for my $time ('', ' again') {
		make_ok("make install of a signed module$time",
			"install_takeover $build DESTDIR=$root $sign");
		for my $module (qw(hmm_mirror hmm_takeover)) {
			is(content("$root/lib/modules/$release/updates/$module.ko"),
			   "module, LLVM= signed $key $cert", "$module is signed, once$time");
		}
	}
	make_ok('make install without a key', "install $build DESTDIR=$root");
	is(content("$root/lib/modules/$release/updates/hmm_mirror.ko"), 'module, LLVM=',
	   'it is not signed');
}

# Where the headers are gone
{
	my $root = "$dir/gone";
	my $module = "$root/lib/modules/$release/updates/hmm_mirror.ko";

	make_ok('make install', "install $build DESTDIR=$root");
	my ($status, $output) = make("uninstall KDIR=$dir/gone.headers DESTDIR=$root");
	is($status, 2, 'make uninstall where the headers are gone fails');
	like($output, qr|No module was removed: there are no kernel headers in \Q$dir\E/gone.headers|,
	     'it says that it did nothing for modules');
	like($output, qr|^  \Q$module\E\n +make uninstall KDIR=/lib/modules/\Q$release\E/build\n|m,
	     'and what is left, and how to remove it');
	ok(-e $module, 'the module is there');
	ok(!-e "$root/usr/local/bin/hmmctl", 'hmmctl is not');
	make_ok('make uninstall as told', "uninstall KDIR=/lib/modules/$release/build DESTDIR=$root");
	is(below($root), '', 'all is gone');
	like(make_ok('make uninstall where nothing is left', "uninstall KDIR=$dir/gone.headers DESTDIR=$root"),
	     qr/No module was removed/, 'it says so there too');
}

# --- the version ------------------------------------------------------------------------

{
	my $tree = "$dir/version";
	my $version = sub { return `'$tree/install/version.sh'` };
	my $git = sub {
		my ($command) = @_;

		system("git -c user.name=tester -c user.email=tester\@localhost -C '$tree' " .
		       "$command >/dev/null") == 0 or die("git $command\n");
	};

	copy_tree($tree);
	my ($package) = content("$tree/dkms.conf") =~ /^PACKAGE_VERSION="(.*)"$/m;
	is($version->(), "$package\n", 'without git the version is that of dkms.conf');
	SKIP: {
		skip('there is no git', 10) if system('git --version >/dev/null 2>&1');
		local $ENV{GIT_CONFIG_GLOBAL} = '/dev/null';
		system("git init -q '$dir'") == 0 or die("git init\n");
		is($version->(), "$package\n", 'a repository around it says nothing');
		remove_tree("$dir/.git");
		$git->('init -q');
		$git->('add .');
		$git->('commit -q -m first');
		like($version->(), qr/^\Q$package\E\.r1\.g[0-9a-f]{7,}$/, 'commits are counted');
		$git->('tag v0.7');
		is($version->(), "0.7\n", 'a tag is the version');
		write_file("$tree/new.h", '');
		is($version->(), "0.7\n", 'a file that git does not know changes nothing');
		$git->('add new.h');
		is($version->(), "0.7.dirty\n", 'changes that are not committed are said');
		$git->('commit -q -m second');
		like($version->(), qr/^0\.7\.r1\.g[0-9a-f]{7,}$/, 'commits since the tag are counted');
		chomp(my $described = $version->());
		make_ok('make install_dkms', "install_dkms $build DESTDIR=$dir/version.root", $tree);
		like(content("$dir/version.root/usr/src/hmm_mirror-$described/dkms.conf"),
		     qr/^PACKAGE_VERSION="\Q$described\E"$/m, 'DKMS is told that version');
		skip('only root can have files of others', 2) unless $is_root;
		system('chown', '-R', '65534:65534', $tree);
		is($version->(), "$described\n", "in somebody else's repository too");
		is(below("$tree/.git", '-uid 0'), '', 'where nothing is written');
	}
}

# --- what is done in a virtual machine -----------------------------------------------------

{
	my $tree = "$dir/stubs";
	my %wanted = (
		'run' => 'run.sh <demo>',
		'run KERNEL=stock-6.1' => 'run.sh <demo> <stock-6.1>',
		'rdma' => 'run.sh <rdma> <stock-7>',
		'rdma KERNEL=x' => 'run.sh <rdma> <x>',
		'dma' => 'run.sh <dma>',
		'dma KERNEL=x DMAS=500' => 'run.sh <dma> <x> <500>',
		'shell KERNEL=x' => 'run.sh <shell> <x>',
		q(shell WITH='a b') => 'run.sh <shell> <a b>',
		'modules KERNEL=x' => 'modules.sh <x>',
		'bench' => 'run.sh <bench>',
		'compare KERNEL=x' => 'run.sh <x>',
		'mutations KERNEL=x' => 'run.sh <x>',
		q(mutations NAMES='a b*') => 'run.sh <a b*>',
		'check' => 'check.sh',
		q(check KERNEL='a b') => 'check.sh <a> <b>',
		q(check TESTS='a !b*' ARGS="-t it's") => "check.sh <a !b*> <-t it's>",
		'style' => 'style.sh',
	);

	copy_tree($tree);
	for my $arguments (sort(keys(%wanted))) {
		my $output = make_ok("make $arguments", $arguments, $tree);

		$output =~ s/ <>//g;
		is($output, "$wanted{$arguments}\n", "what make $arguments calls");
	}
	write_file("$tree/selftests/qemu/build.sh", "#!/bin/sh\necho kernel_build=/kernel/of/\$1\n" .
						    "echo kernel_builder=\$ROOT\n", 0755);
	system('cp', "$top/selftests/qemu/modules.sh", "$tree/selftests/qemu/modules.sh");
	for my $in ('', '/root/of/13') {
		local $ENV{ROOT} = $in;
		my $said = make_ok("make modules ($in)", 'modules KERNEL=x', $tree);

		like($said, qr|^ +@{[$in ? "\Q$tree\E/selftests/qemu/in_root.sh $in " : '']}make -C /kernel/of/x |m,
		     'it says how a driver is built');
		like($said, qr|KBUILD_EXTRA_SYMBOLS=\Q$tree\E/build/x/src/Module.symvers |,
		     'with the versions of its symbols');
	}
}

is(machine(), $machine, 'nothing was changed on this machine');
done_testing();
