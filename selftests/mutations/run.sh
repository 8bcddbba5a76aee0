#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# run.sh [KERNEL]: does the differential test find bugs? Builds hmm_mirror.ko with
# each of the bugs in the file "list", loads one after the other in one virtual
# machine, and runs the test with it, which must fail. Without a bug it must pass.

set -eu
qemu_dir=$(cd "$(dirname "$0")/../qemu" && pwd)
. "$qemu_dir/common.sh"
lock_tree "$0" "$@"

mutations_dir=$top_dir/selftests/mutations
kernel=${1:-$(default_kernel)}
out=$top_dir/build/$kernel
mutants=$out/mutants

# sed_script NAME: of a mutation
sed_script()
{
	awk -v name="$1" '
		/^#/ || !NF { found = 0 }
		found { sub(/^\t/, ""); print }
		$1 == name && NF == 2 { found = 1 }' "$mutations_dir/list"
}

location=$("$qemu_dir/build.sh" "$kernel")
eval "$location"
: "${kernel_build:?}"
export kernel_release kernel_image kernel_root kernel_cmdline

# A tree of its own, in which only what a bug changes is compiled again.
tree=$mutants/tree

# build_module NAME: hmm_mirror.ko from $tree; NAME is for the messages
build_module()
{
	make -s -j "$(nproc)" -C "$tree" build_modules KDIR="$kernel_build" \
		OUT="$mutants/out" KCFLAGS=-Wno-unused >"$mutants/log" 2>&1 || {
		cat "$mutants/log" >&2
		die "$1 does not compile"
	}
}

# build_mutant NAME FILE: hmm_mirror.ko with the bug NAME as guest/mutants/NAME.ko
build_mutant()
{
	sed_script "$1" >"$mutants/script.sed"
	sed -f "$mutants/script.sed" "$top_dir/$2" >"$tree/$2"
	if cmp -s "$tree/$2" "$top_dir/$2"; then
		die "the mutation $1 changes nothing in $2: see selftests/mutations/list"
	fi
	build_module "the mutation $1"
	cp "$mutants/out/src/hmm_mirror.ko" "$mutants/guest/mutants/$1.ko"
	cp "$top_dir/$2" "$tree/$2"
}

rm -rf "$mutants"
mkdir -p "$mutants/guest/mutants" "$mutants/guest/guest" "$mutants/guest/tests" "$tree"
(cd "$top_dir" && cp -r Makefile Kbuild* ./*.[ch] uapi probes install "$tree")
build_module "the module"
names=$(awk '/^[^#\t]/ && NF == 2 { print $1 ":" $2 }' "$mutations_dir/list")
for name in $names; do
	say "planting ${name%:*}"
	build_mutant "${name%:*}" "${name#*:}"
done
"$qemu_dir/build_programs.sh"
cp "$programs_dir/tests/differential" "$mutants/guest/tests/"
cp "$mutations_dir/guest.sh" "$mutants/guest/guest/demo.sh"

"$qemu_dir/make_initramfs.sh" "$out" demo "$mutants/guest"
say "booting $kernel ($kernel_release)"
"$qemu_dir/boot.sh" "$out" demo sed -u '/^#@/d'

# One line for each, and one for the module as it is.
expected=$(printf '%s\n' "$names" | wc -l)
caught=$(grep -c '^ok .* caught' "$out/log/programs.log" || :)
if [ "$caught" -ne "$expected" ] ||
   ! grep -q '^ok 1 - none' "$out/log/programs.log"; then
	say "$caught of $expected bugs were found"
	exit 1
fi
say "all $expected bugs were found"
