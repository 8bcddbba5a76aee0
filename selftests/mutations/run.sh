#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# run.sh [KERNEL]: do the tests find bugs? Builds hmm_mirror.ko, or samples/edu_mirror,
# with each of the bugs in the file "list", loads one after the other in one virtual
# machine, and runs the test with it, which must fail. Without a bug it must pass. A bug
# in the handling of memory that the kernel does not support is skipped.
#
# From the environment: NAMES, which bugs, as names or globs; all if there is none.

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
		$1 == name && /^[^#\t]/ { found = 1 }' "$mutations_dir/list"
}

location=$("$qemu_dir/build.sh" "$kernel")
eval "$location"
: "${kernel_build:?}"
export kernel_release kernel_image kernel_root kernel_cmdline

# A tree of its own, in which only what a bug changes is compiled again.
tree=$mutants/tree

# build_modules NAME: from $tree; NAME is for the messages
build_modules()
{
	what=$1
	set -- make -s -j "$(nproc)" -C "$tree" project_modules KDIR="$kernel_build" \
		OUT="$mutants/out" KCFLAGS=-Wno-unused
	[ -z "${kernel_builder:-}" ] || set -- "$qemu_dir/in_root.sh" "$kernel_builder" "$@"
	"$@" >"$mutants/log" 2>&1 || {
		cat "$mutants/log" >&2
		die "$what does not compile"
	}
}

# build_mutant NAME FILE: the module with the bug NAME, as guest/mutants/NAME.ko. In NAME.module
# is which module that is, in NAME.hint what is known to find it.
build_mutant()
{
	sed_script "$1" >"$mutants/script.sed"
	sed -f "$mutants/script.sed" "$top_dir/$2" >"$tree/$2"
	if cmp -s "$tree/$2" "$top_dir/$2"; then
		die "the mutation $1 changes nothing in $2: see selftests/mutations/list"
	fi
	build_modules "the mutation $1"
	case $2 in
	samples/*) module=${2%.c}.ko ;;
	*) module=hmm_mirror.ko ;;
	esac
	cp "$mutants/out/src/$module" "$mutants/guest/mutants/$1.ko"
	cp "$top_dir/$2" "$tree/$2"
	printf '%s\n' "${module##*/}" >"$mutants/guest/mutants/$1.module"
	sed -n "s/^$1 [^ ]* //p" "$mutations_dir/list" >"$mutants/guest/mutants/$1.hint"
}

# is_wanted NAME: does $NAMES ask for it?
is_wanted()
(
	set -f
	# shellcheck disable=SC2086 # a list of words
	set -- "$1" ${NAMES:-*}
	name=$1
	shift
	for pattern; do
		# shellcheck disable=SC2254 # it is a pattern
		case $name in
		$pattern) exit 0 ;;
		esac
	done
	exit 1
)

rm -rf "$mutants"
mkdir -p "$mutants/guest/mutants" "$mutants/guest/guest" "$mutants/guest/tests" "$tree"
(cd "$top_dir" && cp -r Makefile Kbuild* ./*.[ch] uapi probes install samples "$tree")
build_modules "the module"
names=
bugs=$(awk '/^[^#\t]/ { print $1 ":" $2 }' "$mutations_dir/list")
for name in $bugs; do
	is_wanted "${name%:*}" || continue
	say "planting ${name%:*}"
	build_mutant "${name%:*}" "${name#*:}"
	names="$names $name"
done
[ -n "$names" ] || die "no bug's name matches '${NAMES:-}'"
"$qemu_dir/build_programs.sh"
for program in differential $(grep -h : "$mutants"/guest/mutants/*.hint | tr ',' '\n' | sed 's/:.*//' | sort -u); do
	cp "$programs_dir/tests/$program" "$mutants/guest/tests/"
done
cp "$mutations_dir/guest.sh" "$mutants/guest/guest/demo.sh"

"$qemu_dir/make_initramfs.sh" "$out" demo "$mutants/guest"
say "booting $kernel ($kernel_release)"
"$qemu_dir/boot.sh" "$out" demo sed -u '/^#@/d'

# One line for each, and one for the module as it is.
# shellcheck disable=SC2086 # a list of words
expected=$(printf '%s\n' $names | wc -l)
skipped=$(grep -c '^ok .* # SKIP' "$out/log/programs.log" || :)
expected=$((expected - skipped))
caught=$(grep -c '^ok .* caught' "$out/log/programs.log" || :)
if [ "$caught" -ne "$expected" ] ||
   ! grep -q '^ok 1 - none' "$out/log/programs.log"; then
	say "$caught of $expected bugs were found"
	exit 1
fi
say "all $expected bugs were found, $skipped were left out"
