#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# lines.pl FILE [FUNCTION...]: counts the lines of code of a C file in the kernel's style,
# or of functions in it: without comments, without blank lines. A function counts from the
# line that its type is on. It fails if there is no such function.

use strict;
use warnings;

# code(TEXT): its lines, without comments and blank ones
sub code
{
	my ($text) = @_;

	# What is in quotes is matched first, that no comment begins in it.
	$text =~ s{("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|/\*.*?\*/|//[^\n]*}{$1 // ''}gse;
	return grep { /\S/ } split(/\n/, $text);
}

# function(NAME, LINE...): how many lines it has, 0 if it is not there
sub function
{
	my ($name, @lines) = @_;

	for my $i (0 .. $#lines) {
		next if $lines[$i] !~ /^\w.*\b\Q$name\E\(|^\Q$name\E\(/;
		my $last = $i;

		# A declaration ends before there is a body.
		$last++ while $last < $#lines && $lines[$last] !~ /^\{|;$/;
		next if $lines[$last] !~ /^\{/;
		$last++ while $last < $#lines && $lines[$last] !~ /^\}/;
		my $first = $i;

		$first-- if $i && $lines[$i - 1] =~ /^\w/ && $lines[$i - 1] !~ /[;:)]$/;
		return $last - $first + 1;
	}
	return 0;
}

my ($file, @functions) = @ARGV;
die("usage: $0 FILE [FUNCTION...]\n") if !defined($file);
open(my $source, '<', $file) or die("$file: $!\n");
local $/ = undef;
my @lines = code(<$source>);
my $total = 0;

if (!@functions) {
	printf("%5d %s\n", scalar(@lines), $file);
	exit;
}
for my $name (@functions) {
	my $nr = function($name, @lines) or die("$file: there is no function $name()\n");

	printf("%5d %s\n", $nr, $name);
	$total += $nr;
}
printf("%5d in all\n", $total);
