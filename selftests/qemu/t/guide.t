#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# The code in docs/driver-guide.md can be compiled, in the kernel's style, and calls nothing
# that is not exported; its lines are as many as the guide says; links from one document to
# another lead somewhere; messages that are explained are printed by something; and the
# header, which is all that an installation has, documents what is exported.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/..";
use Kernels;
use Test::More;

my $top = "$FindBin::Bin/../../..";
my $guide = "$top/docs/driver-guide.md";
my $dir = Kernels::build_directory('guide');

# Parts of another make's command line must not get in the way.
delete(@ENV{qw(MAKEFLAGS MFLAGS MAKEOVERRIDES)});

sub read_file
{
	my ($path) = @_;

	open(my $file, '<', $path) or die("$path: $!\n");
	local $/ = undef;
	return <$file>;
}

sub write_file
{
	my ($path, @content) = @_;

	open(my $file, '>', $path) or die("$path: $!\n");
	print($file @content);
	close($file) or die("$path: $!\n");
}

# modules(TEXT): what is in blocks that begin with "```c NAME", by name
sub modules
{
	my ($text) = @_;
	my %modules;

	while ($text =~ /^```c (\w+)\n(.*?)^```$/msg) {
		my ($name, $code) = ($1, $2);

		$modules{$name} .= "\n" if defined($modules{$name});
		$modules{$name} .= $code;
	}
	return %modules;
}

# exported(): the names of what hmm_mirror.ko exports
sub exported
{
	my @names;

	for my $source (glob("$top/*.c")) {
		push(@names, read_file($source) =~ /^EXPORT_SYMBOL_GPL\((\w+)\);/mg);
	}
	return @names;
}

# exports(): a symbol file of hmm_mirror.ko, as if it had been built
sub exports
{
	return map { "0x00000000\t$_\thmm_mirror\tEXPORT_SYMBOL_GPL\t\n" } exported();
}

# undocumented(HEADER, NAME...): the functions of these that it declares without kernel-doc
sub undocumented
{
	my ($header, @names) = @_;

	return grep { $header =~ /^(?:\w.*\b)?\Q$_\E\(/m && $header !~ /^ \* \Q$_\E\(\) - /m } @names;
}

# build(KDIR, MODULES): exit status and output of make
sub build
{
	my ($kdir, %modules) = @_;

	for my $name (keys(%modules)) {
		# Nobody calls what the guide shows. It is compiled all the same, to the end.
		my %shown = map { $_ => 1 }
			    ($modules{$name} =~ /^static [^;={]*?\b(\w+)\(/mg,
			     $modules{$name} =~ /^static const struct \w+ (\w+) =/mg);

		write_file("$dir/$name.c", "// SPDX-License-Identifier: GPL-2.0\n",
			   "#include <linux/module.h>\n", $modules{$name},
			   "\nstatic const void *const shown[] __used = {\n",
			   map({ "\t&$_,\n" } sort(keys(%shown))), "};\n",
			   "MODULE_DESCRIPTION(\"a part of the driver guide\");\n",
			   "MODULE_LICENSE(\"GPL\");\n");
	}
	write_file("$dir/Kbuild", "# SPDX-License-Identifier: GPL-2.0\n",
		   map({ "obj-m += $_.o\n" } sort(keys(%modules))), "ccflags-y := -I$top\n");
	write_file("$dir/hmm_mirror.symvers", exports());
	return Kernels::run("make -s -C '$kdir' M='$dir' W=1 C=2 " .
			    "KBUILD_EXTRA_SYMBOLS='$dir/hmm_mirror.symvers' modules");
}

# anchors(TEXT): what GitHub makes of its headings
sub anchors
{
	my ($text) = @_;
	my %anchors;

	$text =~ s/^```.*?^```$//msg;
	for my $heading ($text =~ /^#+ (.*)$/mg) {
		my $anchor = lc($heading);

		$anchor =~ s/[^\w\- ]//g;
		$anchor =~ tr/ /-/;
		$anchors{$anchor} = 1;
	}
	return %anchors;
}

# dead_links(FILE): those of its links to files and headings here that lead nowhere
sub dead_links
{
	my ($file) = @_;
	my $text = read_file($file);
	my ($directory) = $file =~ m|^(.*)/|;
	my @dead;

	$text =~ s/^```.*?^```$//msg;
	for my $link ($text =~ /\]\(([^)\s]+)\)/g) {
		next if $link =~ /^[a-z]+:/;
		my ($path, $anchor) = split(/#/, $link, 2);
		my $target = $path eq '' ? $file : "$directory/$path";

		push(@dead, $link) if !-e $target;
		next if !-f $target || !defined($anchor);
		my %anchors = anchors(read_file($target));

		push(@dead, $link) if !$anchors{$anchor};
	}
	return @dead;
}

# In spoken(): what stands for a variable, and for the border of a literal; a quoted quote
my ($gap, $quote) = ("\0", "\cA");

# spoken(FILE): its text without comments, in which literals that are printed as one are one
sub spoken
{
	my ($file) = @_;
	my $text = read_file($file);

	$text =~ s/\\"/$quote/g;
	if ($file =~ /\.[ch]$/) {
		$text =~ s|/\*.*?\*/||gs;
		my %literals = $text =~ /^#define (\w+)\s+("[^"\n]*")$/mg;

		$text =~ s/\b$_\b/$literals{$_}/g for keys(%literals);
		$text =~ s/"\s*"//g;
		$text =~ s/%[-#0-9.*]*[hlz]*[a-zA-Z]/$gap/g;
	} else {
		$text =~ s/^\s*#.*//mg;
		# Words of a command, or strings with a dot
		$text =~ s/"\s*\\\n\s*"/ /g;
		$text =~ s/"\s*\.\s*"//g;
		# A name, unless DKMS= gives another
		$text =~ s/\$\{dkms%% \*\}/dkms/g;
		$text =~ s/\$\{\w+:[-+]|\$(\w+|\{[^}]*\}|\([^)]*\))/$gap/g;
	}
	$text =~ s/"|\\n/$gap/g;
	return $text =~ s/$quote/"/gr;
}

# is_said(PIECE, TEXT): whether such a text has it, or its beginning before and its end
# after a border
sub is_said
{
	my ($piece, $text) = @_;

	return 1 if index($text, $piece) >= 0;
	for my $length (3 .. length($piece) - 3) {
		return 1 if index($text, substr($piece, 0, $length) . $gap) >= 0 &&
			    index($text, $gap . substr($piece, $length)) >= 0;
	}
	return 0;
}

# messages(TEXT): what the first column of its tables of messages quotes; a word alone is
# a command
sub messages
{
	my ($text) = @_;
	my @messages;

	for my $rows ($text =~ /^\| message \|.*\n\|[-|]*\n((?:\|.*\n)+)/mg) {
		push(@messages, grep { / / } map { /`([^`]+)`/g } $rows =~ /^\|(.*?) \|/mg);
	}
	return @messages;
}

# unsaid(MESSAGE, TEXT): those of its pieces, with ... between them, that such a text has not.
# What "make install" and DKMS say begins with a name.
sub unsaid
{
	my ($message, $text) = @_;

	return grep { !is_said($_, $text) } map { s/^\s+|\s+$//gr }
		split(/\.\.\./, $message =~ s/^hmm_mirror: //r);
}

Kernels::packages(qw(gcc make sparse));
my $text = read_file($guide);
my %modules = modules($text);
my @readme = split(/\n/, read_file("$FindBin::Bin/../../../README.md"));
cmp_ok(scalar(@readme), '<=', 150, 'README.md is read to its end');
my $kernel = Kernels::any('stock');
my %location = Kernels::location($kernel);
my $kdir = $location{kernel_build};

is(() = $text =~ /^```c/mg, () = $text =~ /^```c \w+$/mg, 'each block of code belongs to a module');
cmp_ok(scalar(keys(%modules)), '>=', 5, 'there are modules');

my $sizes = "#include <hmm_mirror.h>\n";
$sizes .= "static_assert(sizeof($2) == $1);\n" while $text =~ /(\d+) bytes\s+of\s+`(struct \w+)`/g;
is(() = $sizes =~ /assert/g, 2, 'the guide says how large a window is');

my ($status, $output) = build($kdir, %modules, sizes => $sizes);
ok($status == 0 && $output !~ /\b(warning|error):/i,
   "they can be built for $kernel, without a warning, and the sizes are as the guide says")
	or diag($output);
chomp(my $source = `'$FindBin::Bin/../fetch_source.sh'`);
for my $name (sort(keys(%modules))) {
	ok(-e "$dir/$name.ko", "$name: there is a module");
	my ($findings) = (Kernels::run("'$source/scripts/checkpatch.pl' --no-tree --strict --terse " .
				       "--show-types --no-summary --quiet --ignore FILE_PATH_CHANGES " .
				       "-f '$dir/$name.c'"))[1];
	is($findings, '', "$name: checkpatch --strict");
}

# What is wrong is found.
for my $fault ([qr/hmm_mirror_no_such_call.* undefined!/, 'hmm_mirror_no_such_call();'],
	       [qr/dereference of noderef/, '*(int __iomem *)8 = 1;'],
	       [qr/no member named .*no_such_field/, '((struct hmm_mirror *)8)->no_such_field = 1;']) {
	my ($message, $statement) = @$fault;
	my ($status, $output) =
		build($kdir, faulty => "#include <hmm_mirror.h>\n" .
				       "void hmm_mirror_no_such_call(void);\n" .
				       "static void faulty(void)\n{\n\t$statement\n}\n");

	ok($status != 0 || $output =~ /\b(warning|error):/i, "what is wrong is found: $statement");
	like($output, $message, 'it is said');
}

# Rows of tables: `name` in one column, the number of its lines in the next or in the last
my %said;
for my $row ($text =~ /^\|.*\|$/mg) {
	my @cells = split(/ *\| */, $row);

	next if $cells[-1] !~ /^\d+$/ || !defined($cells[-2]);
	my @names = grep { $modules{$_} } $cells[-2] =~ /`(\w+)`/g;

	$said{join(' ', @names)} = $cells[-1] if @names;
}
cmp_ok(scalar(keys(%said)), '>=', 5, 'the guide says how many lines they have');
for my $names (sort(keys(%said))) {
	my $lines = 0;

	for my $name (split(' ', $names)) {
		write_file("$dir/count.c", $modules{$name});
		my ($count) = `'$top/selftests/compare/lines.pl' '$dir/count.c'` =~ /^ *(\d+)/;

		$lines += $count;
	}
	is($said{$names}, $lines, "$names: the guide says how many lines");
}

my ($sample_lines) = `'$top/selftests/compare/lines.pl' '$top/samples/edu_mirror/edu_mirror.c'` =~ /^ *(\d+)/;
cmp_ok($sample_lines, '<=', 250, 'the sample is short');

# What an installed header does not say, nobody who writes a driver can read.
is(join(' ', undocumented("int f(int);\n/**\n * g() - x\n */\nint g(int);\n/* h() */\n", qw(f g h))), 'f',
   'a function without kernel-doc is found');
is(join(' ', undocumented(read_file("$top/hmm_mirror.h"), exported())), '',
   'hmm_mirror.h has the kernel-doc of each exported function');

write_file("$dir/links.md", "# A heading, `here`\n[1](#a-heading-here) [2](#nowhere) [3](none.md) [4](links.md#no)\n");
is(join(' ', dead_links("$dir/links.md")), '#nowhere none.md links.md#no', 'dead links are found');
for my $document ("$top/README.md", glob("$top/docs/*.md")) {
	my ($name) = $document =~ m|([^/]*)$|;

	is(join(' ', dead_links($document)), '', "$name: its links lead somewhere");
}

# What the kernel, modprobe, insmod, rmmod and sudo say
my %foreign = map { $_ => 1 } (
	'Invalid module format', 'Key was rejected by service', 'Required key not available',
	'Operation not permitted', 'Resource temporarily unavailable',
	'Lockdown: insmod: unsigned module loading is restricted',
	'disagrees about version of symbol', 'version magic ... should be ...',
	'Module hmm_mirror is in use', 'Module hmm_mirror not found in directory /lib/modules/...',
	'loading out-of-tree module taints kernel',
	'ERROR: modpost: "hmm_mirror_..." [...] undefined!',
	'Unknown symbol in module', 'Unknown symbol hmm_mirror_... (err -2)',
	'module verification failed: signature and/or required key missing',
	'sudo: hmmctl: command not found',
);
my $sources = join("\n", map { spoken($_) } grep { -f } ("$top/Makefile", "$top/Kbuild"),
		   glob("$top/{.,tools,takeover,probes}/*.[ch] $top/install/*"),
		   glob("$top/selftests/qemu/*"));

write_file("$dir/example.c", <<'END');
	"a \"quoted\" "
	"literal: %s\n", bad ? "out of luck" : "lost" /* in fact */
END
is(join('|', map { unsaid($_, spoken("$dir/example.c")) }
	('a "quoted" literal: ... luck', 'quoted" literal: lost', 'literal: ... in fact',
	 'literally ... bad luck')),
   'in fact|literally|bad luck', 'what nothing says is found');
for my $document ("$top/README.md", "$top/docs/troubleshooting.md") {
	my ($name) = $document =~ m|([^/]*)$|;
	my @messages = messages(read_file($document));

	cmp_ok(scalar(@messages), '>=', 5, "$name explains messages");
	for my $message (@messages) {
		my $foreign = $foreign{$message};

		$foreign{$message} = 2 if $foreign;
		is(join('|', unsaid($message, $sources)), '', "$name: something says '$message'")
			if !$foreign;
	}
}
is(join('|', grep { $foreign{$_} == 1 } keys(%foreign)), '', "others' messages are explained");
done_testing();
