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

# names(HOW): the kernels of the table "kernels" of this kind; of rows that are for
# the same kernel the first
sub names
{
	my ($how) = @_;
	my (@names, %seen);

	open(my $table, '<', "$dir/kernels") or die("kernels: $!\n");
	while (<$table>) {
		next if /^(#|$)/;
		my ($name, $kind, $image, $source, $config) = split();
		push(@names, $name) if $kind eq $how && !$seen{"$image $source $config"}++;
	}
	return @names;
}

# location(NAME): what fetch_kernel.sh prints, as a hash
sub location
{
	my ($name) = @_;
	my %location = map { /^(\w+)='(.*)'$/ ? ($1 => $2) : () }
		       `'$dir/fetch_kernel.sh' '$name'`;

	die("cannot get the kernel $name\n") if $? || !$location{kernel_build};
	return %location;
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
