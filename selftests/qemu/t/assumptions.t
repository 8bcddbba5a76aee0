#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# What the modules assume about the kernel's headers: if a kernel's headers say something
# else, the build must fail with a sentence that says what it is. The headers are copies,
# made here, with a change that some kernel may have one day.

use strict;
use warnings;
use File::Basename qw(dirname);
use File::Path qw(make_path);
use FindBin;
use lib "$FindBin::Bin/..";
use Kernels;
use Test::More;

my $top = "$FindBin::Bin/../../..";
my $dir = Kernels::build_directory('assumptions');
my $kernel = Kernels::any('stock');
my %location;
my $count = 0;

# Parts of another make's command line must not get in the way.
delete(@ENV{qw(MAKEFLAGS MFLAGS MAKEOVERRIDES)});

# header(NAME): the text of the kernel's <NAME>
sub header
{
	my ($name) = @_;
	my ($path) = grep { -e } map { ("$_/include/$name", "$_/arch/x86/include/$name") }
		     glob("$location{kernel_build}/../linux-headers-*-common"),
		     $location{kernel_build};

	die("there is no $name in $location{kernel_build}\n") if !$path;
	open(my $file, '<', $path) or die("$path: $!\n");
	local $/;
	return <$file>;
}

# build(FLAGS, HEADERS, MODULE, OBJECT...): compiles objects of a module, "." or a
# directory below it, with HEADERS (name => text) in front of the kernel's own
sub build
{
	my ($flags, $headers, $module, @objects) = @_;
	my $include = "$dir/include." . $count++;

	make_path($include);
	for my $name (keys(%$headers)) {
		make_path(dirname("$include/$name"));
		open(my $file, '>', "$include/$name") or die("$include/$name: $!\n");
		print($file $headers->{$name});
		close($file);
	}
	return Kernels::run("make -s -C '$location{kernel_build}' M='$dir/src/$module' W=1 " .
			    "KCFLAGS='-Werror $flags' " .
			    "NOSTDINC_FLAGS='-nostdinc -I$include' @objects");
}

# changed(HEADER, FROM => TO...): the header's text after substitutions, all of which
# apply; @@ in TO is what FROM matched
sub changed
{
	my ($name, @changes) = @_;
	my $text = header($name);

	while (my ($from, $to) = splice(@changes, 0, 2)) {
		$text =~ s/$from/my $found = $&; $to =~ s|@@|$found|r/e or
			die("there is no $from in $name\n");
	}
	return { $name => $text };
}

sub builds
{
	my ($name, $headers, @what) = @_;
	my ($status, $output) = build('', $headers, @what);

	is($status, 0, "builds: $name") or diag($output);
}

sub refuses
{
	my ($name, $sentence, $headers, @what) = @_;
	my ($status, $output) = build('', $headers, @what);

	cmp_ok($status, '!=', 0, "does not build: $name");
	like($output, $sentence, "it says why: $name");
}

Kernels::packages(qw(binutils gcc libc6-dev make));
%location = Kernels::location($kernel);
make_path("$dir/src");
system("cd '$top' && find . -name build -prune -o -name '.?*' -prune -o -type f " .
       "\\( -name '*.[ch]' -o -name 'Kbuild*' \\) -print0 | " .
       "xargs -0 cp --parents -p -t '$dir/src'") == 0 or die("cannot copy the sources\n");

my @takeover = qw(takeover main.o range.o);
my $shift = qr/HMM_PFN_ORDER_SHIFT = \(BITS_PER_LONG - 8\),/;
my $flags = qr/HMM_PFN_FLAGS = 0xFFUL << HMM_PFN_ORDER_SHIFT,/;

builds('hmm_mirror, with the headers as they are', {}, '.', 'hmm_mirror.o');
builds('hmm_takeover, with the headers as they are', {}, @takeover);
like(`nm -u '$dir/src/takeover/main.o'`, qr/ hmm_range_fault\n/,
     'the version of what it replaces is compared when it is loaded');
builds('hmm_takeover, with an unknown name in a comment',
       changed('linux/hmm.h', qr/\z/, "/* HMM_PFN_DEVICE_PRIVATE */\n"), @takeover);
# As since v6.16
my @sticky = ($shift, 'HMM_PFN_DMA_MAPPED = 1UL << (BITS_PER_LONG - 4), ' .
		      'HMM_PFN_P2PDMA = 1UL << (BITS_PER_LONG - 5), ' .
		      'HMM_PFN_P2PDMA_BUS = 1UL << (BITS_PER_LONG - 6), ' .
		      'HMM_PFN_ORDER_SHIFT = (BITS_PER_LONG - 11),',
	      $flags, 'HMM_PFN_FLAGS = ~((1UL << HMM_PFN_ORDER_SHIFT) - 1),');
builds('hmm_takeover, with the flags of v6.16', changed('linux/hmm.h', @sticky), @takeover);

# Words and requests that hmm_takeover cannot translate
refuses('hmm_takeover, with a new flag', qr/<linux\/hmm\.h> has HMM_PFN_DEVICE_PRIVATE, which/,
	changed('linux/hmm.h', $shift, 'HMM_PFN_DEVICE_PRIVATE = 1UL << (BITS_PER_LONG - 4), ' .
				       'HMM_PFN_ORDER_SHIFT = (BITS_PER_LONG - 9),',
			       $flags, 'HMM_PFN_FLAGS = ~((1UL << HMM_PFN_ORDER_SHIFT) - 1),'),
	@takeover);
refuses('hmm_takeover, with a new request', qr/<linux\/hmm\.h> has HMM_PFN_REQ_MIGRATE, which/,
	changed('linux/hmm.h', qr/HMM_PFN_REQ_WRITE = HMM_PFN_WRITE,/,
		"@@ HMM_PFN_REQ_MIGRATE = HMM_PFN_ERROR,"), @takeover);
refuses('hmm_takeover, with a new macro', qr/<linux\/hmm\.h> has HMM_PFN_LOCKED, which/,
	changed('linux/hmm.h', $shift, "@@\n#define HMM_PFN_LOCKED 1UL\n"), @takeover);
refuses('hmm_takeover, with the order elsewhere', qr/the order .* is elsewhere; .* not built/,
	changed('linux/hmm.h', $shift, 'HMM_PFN_ORDER_SHIFT = (BITS_PER_LONG - 10),',
			       $flags, 'HMM_PFN_FLAGS = ~((1UL << HMM_PFN_ORDER_SHIFT) - 1),'),
	@takeover);
refuses('hmm_takeover, with the new place and the old flags',
	qr/the order .* is elsewhere; .* not built/,
	changed('linux/hmm.h', $shift, 'HMM_PFN_ORDER_SHIFT = (BITS_PER_LONG - 11),',
			       $flags, 'HMM_PFN_FLAGS = ~((1UL << HMM_PFN_ORDER_SHIFT) - 1),'),
	@takeover);
refuses('hmm_takeover, with a wider order', qr/hmm_pfn_to_map_order\(\) takes other bits; .* not built/,
	changed('linux/hmm.h', qr/& 0x1F;/, '& 0x3F;'), @takeover);
refuses('hmm_takeover, with more bits that are flags', qr/HMM_PFN_FLAGS has other bits .* not built/,
	changed('linux/hmm.h', $flags, 'HMM_PFN_FLAGS = ~((1UL << 54) - 1),'), @takeover);
refuses('hmm_takeover, with a flag elsewhere', qr/HMM_PFN_ERROR is another bit; .* not built/,
	changed('linux/hmm.h', qr/HMM_PFN_ERROR = 1UL << \(BITS_PER_LONG - 3\),/,
		'HMM_PFN_ERROR = 1UL << 50,'), @takeover);
refuses('hmm_takeover, with requests of their own', qr/requests are not bits of the answer; .* not built/,
	changed('linux/hmm.h', qr/HMM_PFN_REQ_WRITE = HMM_PFN_WRITE,/,
		'HMM_PFN_REQ_WRITE = 1UL << 50,'), @takeover);
refuses('hmm_takeover, with a new field of a request', qr/struct hmm_range has other fields; .* not built/,
	changed('linux/hmm.h', qr/void\s+\*dev_private_owner;/, "@@\nunsigned long migrate;"),
	@takeover);
refuses('hmm_takeover, with another hmm_range_fault()', qr/hmm_range_fault\(\) is called in another way; .* not built/,
	changed('linux/hmm.h', qr/int hmm_range_fault\(struct hmm_range \*range\);/,
		'int hmm_range_fault(struct hmm_range *range, unsigned long flags);'), @takeover);

# What hmm_mirror knows without asking
refuses('another walk_page_range()', qr/walk_page_range\(\) is called in another way/,
	changed('linux/pagewalk.h', qr/\bint walk_page_range\(struct mm_struct \*mm,/,
		'int walk_page_range(unsigned long flags, struct mm_struct *mm,'),
	'.', 'kernel_symbols.o');
refuses('hints that are not below the page frame', qr/hints .* are not below PAGE_SHIFT/,
	changed('asm/pgtable_types.h', qr/#define _PAGE_BIT_SOFT_DIRTY\s+\K_PAGE_BIT_SOFTW\d/,
		'_PAGE_BIT_SOFTW5'), '.', 'pagewalk_ops.o');
refuses('device-private entries without a page frame', qr/Device-private entries have no page frame number/,
	changed('linux/swapops.h', qr/\n#endif[^\n]*\n*\z/,
		"\n#define device_private_offset_to_page(offset) ((struct page *)NULL)@@"),
	'.', 'pagewalk_ops.o');

# A name that is a constant here and a variable there, which no module may use
my ($status, $output) = build('-DCONFIG_HUGETLB_PAGE_SIZE_VARIABLE=1', {}, '.', 'hmm_mirror.o');
is($status, 0, 'builds: with pageblocks of a size that is set at boot') or diag($output);
unlike(`nm -u '$dir/src/hmm_mirror.o'`, qr/pageblock/, 'that size is not exported, nor used');

done_testing();
