#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# style.sh must report every fault of a tree that has one of each kind.

use strict;
use warnings;
use File::Temp qw(tempdir);
use FindBin;
use Test::More;

my $tree = tempdir(CLEANUP => 1);

sub add_file
{
	my ($name, $content) = @_;

	open(my $file, '>', "$tree/$name") or die("$name: $!\n");
	print($file $content);
	close($file);
}

add_file('Kbuild', "obj-m := hmm_mirror.o\n");
add_file('no_licence.pl', "#!/usr/bin/perl\nuse strict; \$undeclared = 1;\n");
add_file('script.sh', "#!/bin/sh\n# SPDX-License-Identifier: GPL-2.0\nrm -rf \$1\n");
# The misspelling is put together here, so that this file itself has none.
add_file('hmm_mirror.c', <<"END");
// SPDX-License-Identifier: GPL-2.0
#include <linux/module.h>
#include <linux/version.h>

/**
 * hmm_mirror_bad() - not all of its parameters are documented, which is ${\'teh'} point
 */
int hmm_mirror_bad(int __user *pointer);
int hmm_mirror_bad(int __user *pointer)
{
	return *pointer + LINUX_VERSION_CODE;
}

MODULE_DESCRIPTION("what sparse must find");
MODULE_LICENSE("GPL");
END

my @tap = `'$FindBin::Bin/../../style.sh' '$tree'`;
my %result = map { /^((?:not )?ok) \d+ - (.*)/ ? ($2 => $1) : () } @tap;
cmp_ok(scalar(keys(%result)), '>=', 8, 'the checks were run');
is($result{$_}, 'not ok', "it can fail: $_") for sort(keys(%result));
like(join('', @tap), qr/^# hmm_mirror\.c:11:\d+: warning: dereference of noderef/m,
     'sparse was run') or diag(@tap);

done_testing();
