#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# resolve_kernel.pl [--without PACKAGE=VERSION]... META APT-CACHE...: chooses the
# packages of one of Debian's kernels, and those that modules are built with, as apt
# would: whatever satisfies the dependencies, the candidate first, then the newest. The
# archive is updated in pieces, so two packages need not have the same version. META is
# the package that names the newest image; if that image has no headers, or none that
# anything fits, the next older one is taken. APT-CACHE is the command to ask; packages
# that --without names are treated as missing.
#
# Prints lines of words:
#
#	image PACKAGE VERSION
#	package PACKAGE VERSION		each of the rest, all named linux-*
#	needs PACKAGE			what the programs in them need of the machine
#
# and on stderr why images were passed over.

use strict;
use warnings;

my (%without, @apt_cache, %versions, %compared);
# Why the image that was tried last does not do
my $reason;

# apt_cache(ARGUMENT...): the paragraphs of what it prints
sub apt_cache
{
	open(my $output, '-|', 'sh', '-c', 'exec "$@" 2>/dev/null', 'sh', @apt_cache, @_) or
		die("$apt_cache[0]: $!\n");
	local $/ = '';
	my @paragraphs = <$output>;
	close($output);
	return @paragraphs;
}

# relations(DEPENDS): a list of dependencies, each a list of alternatives
sub relations
{
	my ($depends) = @_;

	return map { [ map {
		my ($name, $operator, $version) =
			/^([^\s:(]+)(?::\w+)?(?:\s*\(([<>=]+)\s*([^)]+)\))?/;

		{ name => $name, operator => $operator, version => $version, text => $_ };
	} split(/\s*\|\s*/) ] } split(/\s*,\s*/, $depends);
}

# Reads all there is of the kernel's packages: asking for one at a time takes long where
# apt has no cache of its own.
sub read_packages
{
	my @names = grep { /^linux-(base|binary|compiler|headers|image|kbuild|modules)\b/ }
		    map { split() } apt_cache('pkgnames', 'linux-');
	my (%candidate, %seen);

	return if !@names;
	for (map { split(/^(?=\S)/m) } apt_cache('policy', @names)) {
		$candidate{$1} = $2 if /^(\S+):\n.*^ *Candidate: (\S+)/ms;
	}
	for (apt_cache('show', @names)) {
		my %field = /^([\w-]+): *(.*)$/mg;
		my ($name, $version) = @field{qw(Package Version)};

		# What is only installed on this machine has no file name.
		next if !$field{Filename} || $seen{"$name $version"}++;
		if ($version eq ($candidate{$name} // '')) {
			unshift(@{$versions{$name}}, \%field);
		} else {
			push(@{$versions{$name}}, \%field);
		}
	}
}

# versions(PACKAGE): those that can be downloaded, the candidate first
sub versions
{
	my ($name) = @_;

	return grep { !$without{"$name=$_->{Version}"} } @{$versions{$name} // []};
}

# compare(VERSION, OPERATOR, VERSION)
sub compare
{
	my ($left, $operator, $right) = @_;

	return $compared{"$left $operator $right"} //=
		system('dpkg', '--compare-versions', $left, $operator, $right) == 0 ? 1 : 0;
}

# Does VERSION satisfy a relation?
sub satisfies
{
	my ($version, $relation) = @_;

	return !$relation->{operator} ||
	       compare($version, $relation->{operator}, $relation->{version});
}

# choose(CHOSEN, DEPENDENCY...): CHOSEN (packages and their records) and what satisfies
# the dependencies, and theirs, or undef. What is not the kernel's is not looked at.
# Each dependency is [ who, alternatives ].
sub choose
{
	my ($chosen, @dependencies) = @_;
	my $dependency = shift(@dependencies) or return $chosen;
	my ($who, $alternatives) = @$dependency;

	return choose($chosen, @dependencies) if $alternatives->[0]{name} !~ /^linux-/;
	my @there;
	for my $relation (@$alternatives) {
		my $name = $relation->{name};
		my $already = $chosen->{$name};

		for my $record ($already ? $already : versions($name)) {
			push(@there, "$name $record->{Version}");
			next if !satisfies($record->{Version}, $relation);
			my $found = choose({ %$chosen, $name => $record }, @dependencies,
				$already ? () : map { [ "$name $record->{Version}", $_ ] }
						relations($record->{Depends} // ''));
			return $found if $found;
		}
	}
	# The first one to fail is the one that is missing.
	$reason //= "$who depends on " . join(' | ', map { $_->{text} } @$alternatives) .
		    ', there is ' . (join(', ', @there) || 'none');
	return undef;
}

# images(META): names and versions of the images to try: those that META has named, then
# older ones of the same series that it no longer names
sub images
{
	my ($meta) = @_;
	my ($newest, @older) = versions($meta) or die("there is no $meta\n");
	my (@images, $form, $series, %seen);
	my $form_of = sub { $_[0] =~ s/\d+(\.\d+)*/N/gr };

	# A pin keeps apt from newer versions.
	for my $record ($newest, grep { compare($_->{Version}, 'lt', $newest->{Version}) } @older) {
		for my $alternatives (relations($record->{Depends} // '')) {
			my $image = $alternatives->[0];

			next if $image->{name} !~ /^linux-image-/;
			$form //= $form_of->($image->{name});
			($series) = $record->{Version} =~ /^(\d+\.\d+)/ if !defined($series);
			push(@images, map { [ $image->{name}, $_->{Version} ] }
				grep { satisfies($_->{Version}, $image) } versions($image->{name}));
		}
	}
	die("$meta names no image\n") if !defined($form);
	my @others = grep { $_->[1] =~ /^\Q$series\E\b/ && compare($_->[1], 'lt', $newest->{Version}) }
		     map { my $name = $_; map { [ $name, $_->{Version} ] } versions($name) }
		     grep { $form_of->($_) eq $form } keys(%versions);
	@others = sort { compare($b->[1], 'gt', $a->[1]) - compare($b->[1], 'lt', $a->[1]) } @others;
	return grep { !$seen{"@$_"}++ } @images, @others;
}

while (@ARGV && $ARGV[0] eq '--without') {
	shift();
	$without{shift()} = 1;
}
my $meta = shift();
@apt_cache = @ARGV;
die("usage: resolve_kernel.pl [--without PACKAGE=VERSION]... META APT-CACHE...\n") if !@apt_cache;

read_packages();
for (images($meta)) {
	my ($image, $version) = @$_;
	my $headers = $image =~ s/^linux-image-/linux-headers-/r;
	my @wanted = ([ $meta, relations("$image (= $version)") ],
		      [ "building for $image $version", relations($headers) ]);

	undef $reason;
	my $chosen = choose({}, @wanted);
	if (!$chosen) {
		print(STDERR "$reason\n");
		next;
	}
	print("image $image $version\n");
	for my $name (sort(grep { $_ ne $image } keys(%$chosen))) {
		print("package $name $chosen->{$name}{Version}\n");
	}
	# The image itself is never installed.
	my %needs = map { $_ => 1 } grep { !/^linux-/ } map { $_->[0]{name} }
		    map { relations($chosen->{$_}{Depends} // '') }
		    grep { /^linux-(headers|kbuild|compiler)-/ } keys(%$chosen);
	print(map { "needs $_\n" } sort(keys(%needs)));
	exit(0);
}
print(STDERR "$meta: nothing to be had fits together\n");
exit(1);
