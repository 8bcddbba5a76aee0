#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# fetch_root.sh SUITES PACKAGE...: prints the directory in the cache that has the Debian
# release of the last of SUITES, with these packages and what modules are built and
# installed with. What runs in it is run by in_root.sh.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"

apt_suites=$1
shift
release=${apt_suites##*,}
# kernel-doc, which "make W=1" runs, is Python
packages=$(printf '%s\n' "$@" ccache dkms gcc kmod libc6-dev make openssl perl python3-minimal xz-utils |
	   sort -u | paste -s -d ,)

# make_root DIRECTORY: what debootstrap mounts there nobody else sees, and it is gone with
# debootstrap, however that ends
make_root()
{
	mirror=$(debian_mirror) || die "no Debian mirror in the apt sources"
	say "debootstrap $release"
	as_root unshare -m debootstrap --variant=minbase --keyring="$debian_keyring" \
		--include="$packages" "$release" "$1/root" "$mirror" >"$1/log" 2>&1 </dev/null || {
		tail -n 20 "$1/log" >&2
		return 1
	}
	as_root find "$1/root/var/cache/apt/archives" -name '*.deb' -delete
}

"$qemu_dir/packages.sh" debian-archive-keyring debootstrap
key=$(printf '%s\n' "$packages" | cksum | cut -d ' ' -f 1)
apt_suites=-
made=$(apt_retry cached "releases/${release}_$key" make_root) ||
	die "cannot make a root of $release"
printf '%s\n' "$made/root"
