#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# build_kernel.sh PACKAGE SUITES CONFIGS: builds the kernel of the source package with
# the options of selftests/config and, for each word in CONFIGS, selftests/config.WORD,
# and prints the directory in the cache that has
#
#	tree/		the kernel's build tree, as far as modules and the
#			kernel's own tests need it
#	image, release	the kernel and its name
#	root/		its modules, below lib/modules/
#
# PACKAGE may be a pattern: then the highest version of all it matches is taken.
# SUITES is "-" for the machine's own apt sources, CONFIGS separated by commas, "-" for
# none; after the word "only" selftests/config does not count.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"

pattern=$1
apt_suites=$2
configs=$top_dir/selftests/config
for word in $(printf '%s\n' "$3" | tr ',' ' '); do
	case $word in
	-) ;;
	only) configs= ;;
	*) configs="$configs $top_dir/selftests/config.$word" ;;
	esac
done

# "PACKAGE VERSION" of the newest source package that matches
newest_source()
{
	best=
	for name in $(apt apt-cache pkgnames linux-source- |
		      grep -x "$pattern"); do
		version=$(apt apt-cache madison "$name" |
			  awk -F ' *[|] *' '{ print $2; exit }')
		if [ -n "$version" ] && { [ -z "$best" ] || dpkg \
		   --compare-versions "$version" gt "${best#* }"; }; then
			best="$name $version"
		fi
	done
	[ -n "$best" ] && printf '%s\n' "$best"
}

# build_tree PACKAGE VERSION DIRECTORY: fails with 1 if the package cannot be had, with 2
# if it cannot be built
build_tree()
{
	tree=$3/tree
	mkdir "$3/package" && unpack_package "$1=$2" "$3/package" || return 1
	say "unpacking $1"
	mkdir "$tree" &&
	tar -xJf "$3/package/usr/src/$1.tar.xz" -C "$tree" \
		--strip-components=1 || return 2
	rm -r "$3/package"
	say "building the kernel (ten minutes on two processors, with checks up to forty)"
	# It comes after the guests that run meanwhile, but not after the harness's tests:
	# guests wait for it.
	# shellcheck disable=SC2086 # a list of files
	nice -n 3 "$qemu_dir/compile_kernel.sh" "$tree" "$3/root" $configs \
		>"$3/build.log" 2>&1 || {
		grep -v warning "$3/build.log" | tail -n 40 >&2
		return 2
	}
	make -s -C "$tree" kernelrelease >"$3/release" &&
	mv "$tree/bzImage" "$3/image" || return 2
}

build_newest()
{
	found=$(newest_source) || return 1
	package=${found% *}
	version=${found#* }
	# Another compiler or configuration makes another kernel.
	# shellcheck disable=SC2086 # a list of files
	key=$({ cat $configs "$qemu_dir/compile_kernel.sh"; gcc --version; } |
	      cksum | cut -d ' ' -f 1)
	cached "built/${package#linux-source-}_$(file_name "$version")_$key" \
		build_tree "$package" "$version"
}

"$qemu_dir/packages.sh" gcc make xz-utils bc bison flex libelf-dev libssl-dev \
	kmod lz4 rsync
unset MAKEFLAGS MFLAGS MAKEOVERRIDES
apt_retry build_newest || die "cannot build a kernel from $pattern"
