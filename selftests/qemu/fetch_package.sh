#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# fetch_package.sh PACKAGE: prints the directory in the cache where the Debian
# package is unpacked. Used for what must not be installed: a package for the
# guest could conflict with what its owner has chosen for this machine.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"

fetch_package()
{
	version=$(downloadable_version "$1") || return 1
	cached "packages/$1_$(file_name "$version")" unpack_package "$1=$version"
}

apt_retry fetch_package "$1" || die "cannot download the package $1"
