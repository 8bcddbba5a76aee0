#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# The list of bugs to plant: each one changes its file, and the tests that must find it
# exist. Whether they find it is for "make mutations".

use strict;
use warnings;
use FindBin;
use Test::More;

my $top = "$FindBin::Bin/../../..";
my $list = "$top/selftests/mutations/list";

sub read_file
{
	my ($path) = @_;

	open(my $file, '<', $path) or return '';
	local $/ = undef;
	return <$file>;
}

# changed(FILE, SCRIPT): what sed makes of it, undef if it fails
sub changed
{
	my ($file, $script) = @_;

	open(my $sed, '-|', 'sed', '-e', $script, $file) or return undef;
	local $/ = undef;
	my $output = <$sed>;
	return close($sed) ? $output : undef;
}

# The names of the tests in the sources of a program, as that prints them
sub tests_of
{
	my ($program) = @_;
	my ($source) = glob("$top/selftests/*/$program.c");

	return defined($source) ?
		map { $_ => 1 } read_file($source) =~ /^TEST(?:_\w+)?\((?:\w+,\s*)?(\w+)/mg : ();
}

# Memory that a bug may need, by its name in differential
my $memory = join('', map { read_file($_) } glob("$top/selftests/core/differential/*.c"));

my (@bugs, %seen);
for my $line (split(/\n/, read_file($list))) {
	if ($line =~ /^\t(.*)/s && @bugs) {
		$bugs[-1]{script} .= "$1\n";
	} elsif ($line =~ /^(\w+) (\S+) ?(.*)$/) {
		push(@bugs, { name => $1, file => $2, hint => $3, script => '' });
	} elsif ($line !~ /^(#|$)/) {
		fail("a line of the list: $line");
	}
}
cmp_ok(scalar(@bugs), '>=', 40, 'there are bugs to plant');
for my $bug (@bugs) {
	my ($name, $file, $hint) = @{$bug}{qw(name file hint)};
	my $before = read_file("$top/$file");
	my $after = changed("$top/$file", $bug->{script});

	ok(!$seen{$name}++, "$name: the only one of its name");
	ok($before ne '' && defined($after) && $after ne $before, "$name: changes $file");
	for my $test (grep { /:/ } split(/,/, $hint)) {
		my ($program, $wanted) = split(/:/, $test);
		my %tests = tests_of($program);

		ok($tests{$wanted}, "$name: there is a test $test");
	}
	ok(index($memory, "\"$hint\"") >= 0, "$name: there is memory '$hint'") if $hint && $hint !~ /:/;
}
is(changed($list, 's/^#//;t;d') // '', join('', map { "$_\n" } read_file($list) =~ /^#(.*)$/mg),
   'a script is taken as it is');
done_testing();
