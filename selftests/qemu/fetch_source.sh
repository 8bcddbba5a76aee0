#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# fetch_source.sh: prints the directory in the cache that has the files listed
# in "source_files", from the source package of the default kernel. Kernel code
# is used from there and never copied into this project.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"

list=$qemu_dir/source_files

extract_files()
{
	unpack_package "$1=$2" "$3" || return 1
	say "unpacking what is needed of $1"
	# The list stands before the option: tar reads it for members.
	sed -e '/^#/d' -e "s|^|$1/|" "$list" >"$3/.list" &&
	tar -xJf "$3/usr/src/$1.tar.xz" -C "$3" --strip-components=1 \
		-T "$3/.list" &&
	rm -r "${3:?}/usr" "$3/.list"
}

fetch_source()
{
	version=$(downloadable_version "$1") || return 1
	list_key=$(cksum <"$list" | cut -d ' ' -f 1)
	cached "sources/$1_$(file_name "$version")_$list_key" extract_files "$1" "$version"
}

"$qemu_dir/packages.sh" xz-utils
kernel=$(default_kernel)
package=$(kernel_field "$kernel" 4)
apt_retry fetch_source "$package" || die "cannot get $package"
