# SPDX-License-Identifier: GPL-2.0
#
# What tests outside of the virtual machine need to know about kernels, and a way
# to run commands.

package Kernels;

use strict;
use warnings;
use Fcntl qw(:flock);
use File::Basename qw(dirname);
use File::Path qw(make_path remove_tree);
use Test::More;

my $dir = dirname(__FILE__);

# names(HOW...): the kernels of the table "kernels" of these kinds; of rows that are for
# the same kernel the first
sub names
{
	my %wanted = map { $_ => 1 } @_;
	my (@names, %seen);

	open(my $table, '<', "$dir/kernels") or die("kernels: $!\n");
	while (<$table>) {
		next if /^(#|$)/;
		my ($name, $kind, $image, $source, $config) = split();
		push(@names, $name) if $wanted{$kind} && !$seen{"$image $source $config"}++;
	}
	return @names;
}

my %locations;

# location(NAME): what fetch_kernel.sh prints, as a hash
sub location
{
	my ($name) = @_;
	my $location = $locations{$name} //= {
		map { /^(\w+)='(.*)'$/ ? ($1 => $2) : () } `'$dir/fetch_kernel.sh' '$name'`
	};

	die("cannot get the kernel $name\n") if !$location->{kernel_build};
	return %$location;
}

# inside(LOCATION): what to put before a command that must run where modules for this
# kernel are built
sub inside
{
	my (%location) = @_;

	return $location{kernel_builder} ? "'$dir/in_root.sh' '$location{kernel_builder}' " : '';
}

# sort_out(HOW...): names(HOW...), those that can be had and the others
sub sort_out
{
	my %found = (0 => [], 1 => []);

	for my $name (names(@_)) {
		my $had = eval { location($name); 1 } // 0;

		push(@{$found{$had}}, $name);
	}
	return @found{1, 0};
}

# available(HOW...): those of names(HOW...) that can be had. One that cannot has its own row in
# the table, where that is a failure: here it is passed over, but one must be left.
sub available
{
	my ($available, $others) = sort_out(@_);

	ok(scalar(@$available), 'there is a kernel to try it with');
	for my $name (@$others) {
		SKIP: {
			skip("$name cannot be had, as its own row of the table says", 1);
		}
	}
	return @$available;
}

# any(HOW...): the first of names(HOW...) that can be had, for what one kernel is as good for
# as another
sub any
{
	for my $name (names(@_)) {
		return $name if eval { location($name); 1 };
	}
	die("no kernel can be had\n");
}

my %locks;

# build_directory(NAME): an empty directory, ours until we end. Its path is the same in
# every clone: it is in the compiler's options, and so in what the compiler's cache
# looks for.
sub build_directory
{
	my ($name) = @_;

	chomp(my $path = `'$dir/kernel_names.sh' --cache`);
	$path .= "/clone/$name.test";
	make_path(dirname($path));
	open(my $lock, '>', "$path.lock") or die("$path.lock: $!\n");
	flock($lock, LOCK_EX) or die("$path.lock: $!\n");
	$locks{$path} = $lock;
	remove_tree($path);
	die("cannot remove $path\n") if -e $path;
	make_path($path);
	return $path;
}

END
{
	local $?;

	remove_tree($_) for keys(%locks);
}

# packages(PACKAGE...): installs those that are missing
sub packages
{
	system("$dir/packages.sh", @_) == 0 or die("cannot install @_\n");
}

# run(COMMAND): a shell command's exit status, and all that it printed
sub run
{
	my ($command) = @_;
	my $output = `( $command ) 2>&1 </dev/null`;

	return ($? >> 8, $output);
}

# run_ok(NAME, COMMAND): it succeeds and the compiler has no warnings
sub run_ok
{
	my ($name, $command) = @_;
	my ($status, $output) = run($command);

	# DKMS looks for the compiler in a file that has no such section.
	$output =~ s/^readelf: Warning: Section '\.comment' .*\n//mg;
	my $good = $status == 0 && $output !~ /\b(warning|error):/i;

	ok($good, $name) or diag("$command\nexit status $status\n$output");
	return $output;
}

1;
