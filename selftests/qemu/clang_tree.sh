#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# clang_tree.sh: prints the directory in the cache with a build tree of the default
# kernel's source that was configured and prepared for modules with clang, as a
# distribution's headers are whose kernel clang has built. There is no kernel.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"

config=$top_dir/selftests/config

# configure DIRECTORY: what the tests' kernels have, as far as clang can
configure()
{
	unset MAKEFLAGS MFLAGS MAKEOVERRIDES
	flags=$(compiler) &&
	make -s -C "$1" "$flags" tinyconfig &&
	cat "$config" >>"$1/.config" &&
	make -s -C "$1" "$flags" olddefconfig &&
	make -s -j "$(nproc)" -C "$1" "$flags" modules_prepare
}

# prepare_tree PACKAGE VERSION DIRECTORY: fails with 1 if the package cannot be had, with
# 2 if it cannot be prepared
prepare_tree()
{
	unpack_package "$1=$2" "$3" || return 1
	say "preparing $1 with clang"
	# Everything that a configuration is made of, but of the sources only what
	# modules, and the programs that build them, are made of
	tar -xJf "$3/usr/src/$1.tar.xz" -C "$3" --strip-components=1 \
		--exclude="$1/Documentation/*.*" --exclude="$1/tools/testing/*" \
		--exclude="$1/drivers/*.[ch]" --exclude="$1/sound/*.[ch]" \
		--exclude="$1/fs/*.[ch]" --exclude="$1/net/*.[ch]" || return 2
	rm -r "${3:?}/usr/src"
	configure "$3" >"$3/prepare.log" 2>&1 || {
		tail -n 40 "$3/prepare.log" >&2
		return 2
	}
	(
		cd "$3"
		rm -rf drivers sound net fs crypto samples kernel mm lib
		find arch -mindepth 1 -maxdepth 1 -type d ! -name x86 -exec rm -rf {} +
	)
}

# compiler: how make is told to use clang, whatever version of it there is
compiler()
{
	asked=$(mktemp -d) || return 1
	printf 'CONFIG_CC_IS_CLANG=y\nCONFIG_LD_IS_LLD=y\n' >"$asked/.config"
	"$top_dir/install/compiler.sh" "$asked"
	status=$?
	rm -r "$asked"
	return "$status"
}

fetch_tree()
{
	version=$(downloadable_version "$1") || return 1
	key=$({ cat "$config" "$0"; clang --version; } | cksum | cut -d ' ' -f 1)
	cached "clang/${1#linux-source-}_$(file_name "$version")_$key" \
		prepare_tree "$1" "$version"
}

"$qemu_dir/packages.sh" clang lld llvm make xz-utils bc bison flex libelf-dev libssl-dev
package=$(kernel_field "$(default_kernel)" 4)
apt_retry fetch_tree "$package" || die "cannot prepare $package with clang"
