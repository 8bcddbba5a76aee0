#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# style.sh [TREE]: checks the style of the project's files (those in TREE, for
# the test of this script). Prints TAP, one test per kind of check, with what was
# found as the comments before it. The checkers come from the kernel's source
# package (checkpatch, kernel-doc) and from Debian (sparse, shellcheck, codespell).

set -eu
qemu_dir=$(cd "$(dirname "$0")/qemu" && pwd)
. "$qemu_dir/common.sh"

tree=$(cd "${1:-$top_dir}" && pwd)
kernel=$(default_kernel)
count=0

# files NAME-PATTERN...: the project's files whose names match
files()
{
	for pattern; do
		find . \( -path ./build -o -path ./.git \) -prune -o \
			-type f -name "$pattern" -printf '%P\n'
	done | sort
}

# Scripts without a suffix are found by their first line.
files_with_shebang()
{
	files '*' | while read -r file; do
		head -n 1 "$file" | grep -aq "$1" && printf '%s\n' "$file"
	done
	return 0
}

# test_clean NAME COMMAND...: COMMAND must print nothing and succeed
test_clean()
{
	name=$1
	shift
	count=$((count + 1))
	status=0
	findings=$("$@" 2>&1) || status=$?
	if [ "$status" -eq 0 ] && [ -z "$findings" ]; then
		printf 'ok %d - %s\n' "$count" "$name"
	else
		printf '%s\n' "$findings" | sed 's/^/# /'
		printf 'not ok %d - %s\n' "$count" "$name"
	fi
}

check_spdx()
{
	{
		files '*.[chS]' '*.sh' '*.pl' '*.pm' '*.t' '*.awk' '*.py' \
			'*.[1-9]' '*.md' '*.conf' Makefile 'Kbuild*'
		files_with_shebang '^#!'
	} | sort -u | while read -r file; do
		head -n 3 "$file" | grep -q 'SPDX-License-Identifier: GPL-2.0' ||
			printf '%s: no SPDX line in the first three lines\n' "$file"
	done
}

# What differs between kernels is found out by build probes, not by version.
check_version_tests()
{
	files '*.[chS]' 'Kbuild*' | grep -vx compat.h |
		xargs grep -nE '\b(LINUX_VERSION_CODE|KERNEL_VERSION)\b' || :
}

# checkpatch IGNORED: the files named on stdin, without these comma separated
# types of messages
checkpatch()
{
	xargs -r "$source_dir/scripts/checkpatch.pl" --no-tree --strict \
		--terse --show-types --no-summary --quiet --ignore "$1" -f
}

# What is ignored, and why:
#   in user space
#	BIT_MACRO, PREFER_KERNEL_TYPES, PREFER_DEFINED_ATTRIBUTE_MACRO
#			there is no BIT(), no u64 and no __printf() there
#	VOLATILE	how a test makes the compiler touch memory
#	LONG_LINE_STRING
#			messages are not broken up, so that they can be found
#			(checkpatch knows that of printk(), not of printf())
#   in trace.h
#	PARENTHESIS_ALIGNMENT, OPEN_ENDED_LINE
#			TRACE_EVENT() is laid out like everywhere in the kernel
#   everywhere
#	FILE_PATH_CHANGES
#			asks for an entry in the kernel's MAINTAINERS
check_checkpatch()
{
	user_space='^tools/|^selftests/(include|core|core/differential|ioctl|mirror|device|takeover|compare|qemu/guest|qemu/t)/[^/]*$|^selftests/bench/bench(_dma)?.[ch]$'
	status=0

	# FIXTURE_DATA(name) *self is not a multiplication.
	files '*.[chS]' | grep -E "$user_space" | checkpatch FILE_PATH_CHANGES,BIT_MACRO,PREFER_KERNEL_TYPES,PREFER_DEFINED_ATTRIBUTE_MACRO,VOLATILE,LONG_LINE_STRING |
		grep -v "SPACING: spaces preferred around that '\*' (ctx:WxV)" &&
		status=1
	files trace.h | checkpatch FILE_PATH_CHANGES,PARENTHESIS_ALIGNMENT,OPEN_ENDED_LINE ||
		status=1
	files '*.[chS]' | grep -vE "$user_space" | grep -vx trace.h |
		checkpatch FILE_PATH_CHANGES || status=1
	return "$status"
}

# From scratch: what make thinks up to date gets no warnings. Sparse is silent
# about a header's fault, so each line counts, wherever it is.
check_build()
{
	style_out=$tree/build/$kernel/style
	rm -rf "$style_out"
	unset MAKEFLAGS MFLAGS MAKEOVERRIDES
	mkdir -p "$style_out"
	with_same_name style "$style_out" check_modules >"$style_out/log" 2>&1 || {
		cat "$style_out/log"
		return 1
	}
	grep -iE '\b(warning|error): ' "$style_out/log" |
		sed "s|$cache_dir/clone/style/src/||" || :
}

# check_modules DIRECTORY: builds them there
check_modules()
{
	make -s -j "$(nproc)" -C "$tree" -f "$top_dir/Makefile" project_modules \
		KDIR="$kernel_build" OUT="$1" KBUILD_FLAGS="W=1 C=2"
}

check_kernel_doc()
{
	files '*.[ch]' | while read -r file; do
		"$source_dir/scripts/kernel-doc" -none -Wall -Werror "$file" || :
	done
}

check_shell()
{
	{
		files_with_shebang '^#!.*\<\(ba\)\?sh\>'
		files '*.sh'
	} | sort -u | xargs shellcheck -x -P SCRIPTDIR -P "$qemu_dir" -f gcc
}

check_perl()
{
	files_with_shebang '^#!.*\<perl\>' | while read -r file; do
		perl -I "$qemu_dir" -wc "$file" 2>&1 || :
	done | grep -v ' syntax OK$' || :
}

check_spelling()
{
	# filp is what the kernel calls a struct file *.
	files '*' | grep -vx COPYING | xargs codespell -q 3 -L filp,nd
}

"$qemu_dir/packages.sh" codespell gcc make perl shellcheck sparse
location=$(locate_kernel)
eval "$location"
kernel_build=${kernel_build:?}
source_dir=$("$qemu_dir/fetch_source.sh")

cd "$tree"
echo "TAP version 13"
echo "1..8"
test_clean "every source file has an SPDX line" check_spdx
test_clean "no kernel version is asked for outside compat.h" check_version_tests
test_clean "checkpatch --strict" check_checkpatch
test_clean "make W=1 C=2 on $kernel" check_build
test_clean "kernel-doc" check_kernel_doc
test_clean "shellcheck" check_shell
test_clean "perl -wc" check_perl
test_clean "codespell" check_spelling
