#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# make_initramfs.sh OUT MODE [DIRECTORY...]: writes OUT/initramfs.cpio, the whole
# file system of the guest, from what build.sh left in OUT, and the programs, which it
# builds. MODE is what the guest does: check, dma, bounce, demo, rdma, shell, or count, scale
# and count_dma for the parts of the benchmark. The DIRECTORYs' contents are put on top.
#
# From the environment: what fetch_kernel.sh printed, and for "check", "dma" and "bounce"
#	TESTS	which programs, as full names, or globs that match part of a name;
#		with a "!" before it, which not
#	ARGS	options for each of them
#	DMAS	how many DMAs the races of edu_mirror.c take, if not a few

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"

out=$1
mode=$2
shift 2
root=$out/initramfs
: "${kernel_release:?}" "${kernel_root:?}"

# module_files NAME...: the files to load, dependencies first, without builtins
module_files()
{
	for module; do
		modprobe --show-depends -d "$kernel_root" -S "$kernel_release" \
			"${module%\?}" >"$out/depends" 2>&1 ||
			case $module in
			*\?) continue ;;
			*) die "$kernel_release has no module '$module'" ;;
			esac
		sed -n 's/^insmod \([^ ]*\).*/\1/p' "$out/depends"
	done | awk '!seen[$0]++'
}

# add_module FILE LIST: puts it, unpacked, into the guest, and as the next one to
# load into the list ("kernel" or "project")
add_module()
{
	name=$(basename "$1")
	list=$2
	case $name in
	*.xz) set -- "$1" xzcat ;;
	*.gz) set -- "$1" zcat ;;
	*.zst) set -- "$1" zstdcat ;;
	*) set -- "$1" cat ;;
	esac
	name=${name%%.ko*}.ko
	"$2" "$1" >"$root/modules/$name"
	parameters=$(sed -n "s/^${name%.ko} //p" "$qemu_dir/guest/module_parameters")
	printf '%s\n' "$name $parameters" >>"$root/modules/$list"
}

# matches PROGRAM PATTERN: a program's full name means it alone
matches()
{
	[ "$1" != "$2" ] || return 0
	[ ! -e "$programs_dir/tests/$2" ] || return 1
	# shellcheck disable=SC2254 # it is a pattern
	case $1 in
	*$2*) return 0 ;;
	esac
	return 1
}

# is_wanted PROGRAM: does $TESTS ask for it? It asks for all that it does not exclude
# if it says no more than that.
is_wanted()
(
	set -f
	wanted=
	# shellcheck disable=SC2086 # a list of words
	for pattern in ${TESTS:-}; do
		case $pattern in
		!*) ! matches "$1" "${pattern#!}" || exit 1 ;;
		*)
			: "${wanted:=no}"
			! matches "$1" "$pattern" || wanted=yes
			;;
		esac
	done
	[ "$wanted" != no ]
)

"$qemu_dir/packages.sh" cpio kmod xz-utils zstd
"$qemu_dir/build_programs.sh"
busybox=$("$qemu_dir/fetch_package.sh" busybox-static)/bin/busybox

rm -rf "$root"
mkdir -p "$root/bin" "$root/modules" "$root/tests" "$root/guest"
: >"$root/modules/kernel"
cp "$busybox" "$root/bin/busybox"
ln -s busybox "$root/bin/sh"
cp "$qemu_dir/guest/init" "$root/init"
cp "$qemu_dir/guest/functions.sh" "$root/guest/functions.sh"
cp "$programs_dir/hmmctl" "$root/bin/hmmctl"
cp "$programs_dir/khugepaged_sleep" "$root/guest/khugepaged_sleep"

lists=$qemu_dir/guest/modules
[ ! -e "$lists.$mode" ] || lists="$lists $lists.$mode"
# shellcheck disable=SC2086 # a list of files
modules=$(sed '/^#/d' $lists)
# shellcheck disable=SC2086 # a list of words
for file in $(module_files $modules); do
	add_module "$file" kernel
done
add_module "$out/src/hmm_mirror.ko" project
# Of the modules that there are: those of a Kbuild that is gone lie about as well.
for directory in $(cd "$top_dir" && find samples takeover selftests -name Kbuild -printf '%h\n' | sort); do
	for file in "$out/src/$directory"/*.ko; do
		case $mode:$file in
		count:*/hmm_bench.ko | scale:*/hmm_bench.ko | count_dma:*/hmm_bench_dma.ko)
			add_module "$file" project ;;
		count:* | scale:* | count_dma:* | *:*/hmm_bench.ko | *:*/hmm_bench_dma.ko) ;;
		dma:*/edu_mirror.ko | dma:*/hmm_mirror_dma_test.ko | \
		bounce:*/edu_mirror.ko | bounce:*/hmm_mirror_dma_test.ko)
			add_module "$file" project ;;
		dma:* | bounce:*) ;;
		# Tests load these.
		*:*/missing_symbol.ko | *:*/hmm_takeover.ko) cp "$file" "$root/modules/" ;;
		*:*.ko) [ ! -e "$file" ] || add_module "$file" project ;;
		esac
	done
done

: >"$root/guest/tests"
case $mode in
demo | rdma) ;;
count | scale) cp "$programs_dir/tests/bench" "$root/bin/bench" ;;
count_dma) cp "$programs_dir/tests/bench_dma" "$root/bin/bench_dma" ;;
*)
	for name in $(make -s -C "$top_dir/selftests" list); do
		# Some run others.
		cp "$programs_dir/tests/$name" "$root/tests/$name"
		! is_wanted "$name" || printf '%s\n' "$name" >>"$root/guest/tests"
	done
	;;
esac
if [ "$mode" = check ] && [ ! -s "$root/guest/tests" ]; then
	die "no test program's name matches '${TESTS:-}'"
fi
cp "$root/guest/tests" "$out/tests.list"
find "$out/kernel_tests" -type f -exec cp -t "$root/guest" {} +
find "$kernel_root/lib/modules/$kernel_release" -name test_hmm.ko \
	-exec cp -t "$root/modules" {} +

{
	printf "mode='%s'\n" "$mode"
	printf "args='%s'\n" "${ARGS:-}"
	printf "dmas='%s'\n" "${DMAS:-}"
	printf "screen='%s'\n" "$(stty size 2>/dev/null | grep -v '^0' || :)"
	cat "$top_dir/selftests/settings"
} >"$root/guest/config"

for directory; do
	add_tree "$directory" "$root"
done

(cd "$root" && find . | sort | cpio --quiet -o -H newc -R 0:0) \
	>"$out/initramfs.cpio"
