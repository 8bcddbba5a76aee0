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
#
# The image is unpacked into the cache and never installed: running our tests
# must not change anybody's boot menu. The headers are installed.

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

unpack_kernel()
{
	unpack_package "$1" "$3" && depmod -b "$3" "$2"
}

fetch_stock()
{
	resolved=$(resolve_image "$1") || return 1
	image=${resolved% *}
	version=${resolved#* }
	kernel_release=${image#linux-image-}

	kernel_root=$(cached "kernels/${kernel_release}_$(file_name "$version")" \
		      unpack_kernel "$image=$version" "$kernel_release") &&
	# Modules must be built with the headers of exactly this image.
	"$qemu_dir/packages.sh" "linux-headers-$kernel_release=$version" ||
		return 1

	kernel_image=$kernel_root/boot/vmlinuz-$kernel_release
	kernel_build=/lib/modules/$kernel_release/build
}

build_from_source()
{
	built=$("$qemu_dir/build_kernel.sh" "$1" "$2") || exit 1
	kernel_release=$(cat "$built/release")
	kernel_image=$built/image
	kernel_root=$built/root
	kernel_build=$built/tree
}

[ $# -eq 1 ] || die "usage: fetch_kernel.sh NAME"
how=$(kernel_field "$1" 2)
"$qemu_dir/packages.sh" kmod

case $how in
stock)
	meta_package=$(kernel_field "$1" 3)
	apt_retry fetch_stock "$meta_package" ||
		die "cannot get $meta_package from the apt sources" \
		    "(Debian 12 has it in bookworm-security)"
	;;
built)
	build_from_source "$(kernel_field "$1" 4)" "$(kernel_field "$1" 3)"
	;;
*)
	die "$1: cannot make a kernel of the kind '$how'"
	;;
esac

for file in "$kernel_image" "$kernel_build"; do
	[ -e "$file" ] || die "$1: there is no $file"
done
cat <<END
kernel_release='$kernel_release'
kernel_image='$kernel_image'
kernel_root='$kernel_root'
kernel_build='$kernel_build'
END
