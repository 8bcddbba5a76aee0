#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# fetch_kernel.sh NAME: gets a kernel of the table "kernels" and prints shell
# assignments that say where it is:
#
#	kernel_release	what uname -r says in it
#	kernel_image	the file to boot
#	kernel_root	directory with lib/modules/$kernel_release in it
#	kernel_build	where modules for it are built (KDIR)
#	kernel_cmdline	what to add to its command line
#
# Image and headers are unpacked into the cache and never installed: running our
# tests must not change anybody's boot menu, and Debian's headers depend on the
# image. Only what the headers need to be used (a compiler, pahole) is installed.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"

# "PACKAGE VERSION" of the kernel that a meta package names
resolve_image()
{
	candidate=$(candidate_version "$1") &&
	apt-cache show "$1=$candidate" | sed -n \
		's/^Depends:.*\(linux-image-[^ ,]*\) (= \([^)]*\)).*/\1 \2/p' |
		grep .
}

# dependencies PACKAGE VERSION: the names of the packages it depends on, the
# first of alternatives
dependencies()
{
	apt-cache show "$1=$2" | sed -n 's/^Depends: //p' | tr ',' '\n' |
		sed 's/^ *\([^ ]*\).*/\1/'
}

# header_packages HEADERS VERSION: all packages that modules are built with
header_packages()
{
	printf '%s\n' "$1"
	dependencies "$1" "$2" | grep -e '^linux-headers-' -e '^linux-kbuild-'
}

# What the programs of these packages need that is none of the kernel's.
install_build_dependencies()
{
	needed=$(header_packages "$1" "$2" | while read -r package; do
			dependencies "$package" "$2"
		done | grep -v '^linux-' | sort -u)
	# shellcheck disable=SC2086 # a list of words
	"$qemu_dir/packages.sh" $needed
}

# unpack_kernel RELEASE VERSION DIRECTORY
unpack_kernel()
{
	headers=linux-headers-$1
	packages=$(header_packages "$headers" "$2") || return 1
	for package in "linux-image-$1" $packages; do
		unpack_package "$package=$2" "$3" || return 1
	done
	# The only absolute path in the headers; the symbolic links are relative.
	# shellcheck disable=SC2016 # for make
	sed -i 's|/usr/src/|$(dir $(lastword $(MAKEFILE_LIST)))../|' \
		"$3/usr/src/$headers/Makefile" &&
	depmod -b "$3" "$1"
}

fetch_stock()
{
	resolved=$(resolve_image "$1") || return 1
	image=${resolved% *}
	version=${resolved#* }
	kernel_release=${image#linux-image-}

	kernel_root=$(cached "stock/${kernel_release}_$(file_name "$version")" \
		      unpack_kernel "$kernel_release" "$version") &&
	install_build_dependencies "linux-headers-$kernel_release" "$version" ||
		return 1

	kernel_image=$kernel_root/boot/vmlinuz-$kernel_release
	kernel_build=$kernel_root/usr/src/linux-headers-$kernel_release
}

build_from_source()
{
	built=$("$qemu_dir/build_kernel.sh" "$1" "$2" "$3") || exit 1
	kernel_release=$(cat "$built/release")
	kernel_image=$built/image
	kernel_root=$built/root
	kernel_build=$built/tree
}

[ $# -eq 1 ] || die "usage: fetch_kernel.sh NAME"
how=$(kernel_field "$1" 2)
"$qemu_dir/packages.sh" kmod xz-utils

case $how in
stock)
	meta_package=$(kernel_field "$1" 3)
	apt_retry fetch_stock "$meta_package" ||
		die "cannot get $meta_package from the apt sources" \
		    "(Debian 12 has it in bookworm-security)"
	;;
built)
	build_from_source "$(kernel_field "$1" 4)" "$(kernel_field "$1" 3)" \
		"$(kernel_field "$1" 5)"
	;;
compiled)
	build_from_source "$(kernel_field "$1" 4)" "$(kernel_field "$1" 3)" \
		"only,$(kernel_field "$1" 5)"
	;;
*)
	die "$1: cannot make a kernel of the kind '$how'"
	;;
esac

for file in "$kernel_image" "$kernel_build/Makefile"; do
	[ -e "$file" ] || die "$1: there is no $file"
done
cat <<END
kernel_release='$kernel_release'
kernel_image='$kernel_image'
kernel_root='$kernel_root'
kernel_build='$kernel_build'
kernel_cmdline='$(kernel_words "$1" 7)'
END
