#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# demo_files.sh DIRECTORY: puts there what the demonstration has in the guest on
# top of the usual: Debian's Python, as the process to mirror, and guest/demo*.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"

directory=$1

# The packages python3-minimal stands for, those they need, and the modules.
python_packages()
{
	minimal=$(apt-cache depends python3-minimal |
		  sed -n 's/.* \(python3\.[0-9]*-minimal\)$/\1/p' | head -n 1)
	[ -n "$minimal" ] || return 1
	printf '%s\n' "$minimal" "lib${minimal%-minimal}-stdlib"
	apt-cache depends "$minimal" | sed -n 's/.*Depends: \([^<]*\)$/\1/p'
}

packages=$(apt_retry python_packages) || die "python3-minimal is in no apt source"

rm -rf "$directory"
mkdir -p "$directory/guest" "$directory/bin"
for package in $packages; do
	unpacked=$("$qemu_dir/fetch_package.sh" "$package")
	add_tree "$unpacked" "$directory" --exclude=./usr/share --exclude='*/gconv'
done
ln -s "../usr/bin/$(cd "$directory/usr/bin" && echo python3.*[0-9])" \
	"$directory/bin/python3"

cp "$qemu_dir"/guest/demo* "$directory/guest"
# What a device needs to say of itself is all in the ioctl ABI.
for program in demo_memory demo_device; do
	gcc -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -static -pthread \
		-I"$top_dir/uapi" -iquote "$top_dir/selftests" \
		-o "$directory/guest/$program" "$qemu_dir/guest/$program.c"
done
