#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# rdma_files.sh DIRECTORY: puts there what "make rdma" has in the guest on top of the
# usual: Debian's RDMA programs with their libraries, and guest/rdma*.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"

directory=$1

# The packages of the programs, and of all libraries that any of them needs
rdma_packages()
{
	apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts \
		--no-breaks --no-replaces --no-enhances \
		ibverbs-utils ibverbs-providers perftest iproute2 |
		grep -E '^(ibverbs|perftest|iproute2|lib|zlib)' | sort -u
}

packages=$(apt_retry rdma_packages) || die "perftest is in no apt source"

rm -rf "$directory"
mkdir -p "$directory/guest" "$directory/bin"
for package in $packages; do
	unpacked=$("$qemu_dir/fetch_package.sh" "$package")
	add_tree "$unpacked" "$directory" --exclude=./usr/share --exclude='*/gconv' \
		--exclude='*.a'
done
# The guest's PATH is /bin.
for program in ibv_rc_pingpong ib_write_bw ib_read_bw rdma; do
	ln -s "../usr/bin/$program" "$directory/bin/$program"
done

cp "$qemu_dir/guest/rdma.sh" "$directory/guest"
gcc -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -shared -fPIC -pthread \
	-o "$directory/guest/rdma_churn.so" "$qemu_dir/guest/rdma_churn.c"
