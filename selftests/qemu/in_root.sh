#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# in_root.sh ROOT COMMAND...: runs COMMAND, as who we are and in this directory, in the
# Debian release that fetch_root.sh has put into ROOT. This tree and the cache have the
# same names there. They are mounted where nobody else sees it, and no mount outlives the
# last process in it: whatever is done to ROOT from outside never gets to what is mounted.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"

root=$1
shift
release=${root%/root}
release=${release##*/}

# shellcheck disable=SC2016 # for the other shell
as_root unshare -m --propagation private sh -euc '
	root=$1 ids=$2 directories=$3
	shift 3
	for directory in $directories; do
		mkdir -p "$root$directory"
		mount --bind "$directory" "$root$directory"
	done
	mount -t proc proc "$root/proc"
	exec chroot --userspec="$ids" "$root" "$@"' - "$root" "$(id -u):$(id -g)" \
	"$top_dir $cache_dir" env -i -C "$PWD" HOME=/tmp LC_ALL=C \
	PATH=/usr/lib/ccache:/usr/sbin:/usr/bin:/sbin:/bin \
	CCACHE_DIR="$cache_dir/ccache.${release%%_*}" CCACHE_MAXSIZE=1G \
	CCACHE_BASEDIR="$top_dir" CCACHE_NOHASHDIR=1 "$@"
