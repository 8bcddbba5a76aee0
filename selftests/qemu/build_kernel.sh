#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# build_kernel.sh PACKAGE SUITES: builds the kernel of the source package with
# the options of selftests/config and prints the directory in the cache that has
#
#	tree/		the kernel's build tree, as far as modules and the
#			kernel's own tests need it
#	image, release	the kernel and its name
#	root/		its modules, below lib/modules/
#
# PACKAGE may be a pattern: then the highest version of all it matches is taken.
# SUITES is "-" for the machine's own apt sources.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"

pattern=$1
suites=$2
config=$top_dir/selftests/config

apt()
{
	if [ "$suites" = - ]; then
		"$@"
	else
		"$qemu_dir/suite_apt.sh" "$suites" "$@"
	fi
}

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

# check_config FILE: has every line of the fragment taken effect?
check_config()
{
	lost=$(grep '^CONFIG_' "$config" | grep -vxFf "$1" || :
	       sed -n 's/^# \(CONFIG_[A-Z0-9_]*\) is not set$/\1/p' "$config" |
			while read -r name; do
				grep "^$name=" "$1" || :
			done)
	[ -z "$lost" ] && return
	say "of selftests/config this did not take effect:"
	printf '%s\n' "$lost" >&2
	return 1
}

# Objects are of no use any more, nor is what no module or test looks at.
strip_tree()
{
	(
		cd "$1" &&
		find . -path ./scripts -prune -o -path ./tools -prune -o \
			\( -name '*.o' -o -name '*.a' -o -name '.*.cmd' \) \
			-exec rm -f {} + &&
		rm -rf Documentation drivers sound net fs crypto samples vmlinux \
			arch/x86/boot &&
		find arch -mindepth 1 -maxdepth 1 -type d ! -name x86 \
			-exec rm -rf {} +
	)
}

# compile TREE: as tinyconfig and the fragment say
compile()
{
	make -s -C "$1" tinyconfig &&
	cat "$config" >>"$1/.config" &&
	printf 'CONFIG_LOCALVERSION="-hmm-mirror"\n' >>"$1/.config" &&
	make -s -C "$1" olddefconfig &&
	check_config "$1/.config" &&
	make -s -j "$(nproc)" -C "$1" bzImage modules
}

# build_tree PACKAGE VERSION DIRECTORY
build_tree()
{
	tree=$3/tree
	(cd "$3" && mkdir .download && cd .download &&
	 say "downloading $1 $2" &&
	 apt apt-get -q -o APT::Sandbox::User=root download "$1=$2" </dev/null &&
	 dpkg-deb -x ./*.deb .) || return 1
	say "unpacking $1"
	mkdir "$tree" &&
	tar -xJf "$3/.download/usr/src/$1.tar.xz" -C "$tree" \
		--strip-components=1 || return 1
	rm -r "$3/.download"
	say "building the kernel (about ten minutes on two processors)"
	compile "$tree" >"$3/build.log" 2>&1 || {
		grep -v warning "$3/build.log" | tail -n 40 >&2
		return 1
	}
	make -s -C "$tree" kernelrelease >"$3/release" &&
	cp "$tree/arch/x86/boot/bzImage" "$3/image" &&
	make -s -C "$tree" modules_install INSTALL_MOD_PATH="$3/root" \
		>>"$3/build.log" 2>&1 &&
	strip_tree "$tree"
}

build_newest()
{
	found=$(newest_source) || return 1
	package=${found% *}
	version=${found#* }
	# Another compiler or configuration makes another kernel.
	key=$({ cat "$config" "$qemu_dir/build_kernel.sh"; gcc --version; } |
	      cksum | cut -d ' ' -f 1)
	cached "built/${package#linux-source-}_$(file_name "$version")_$key" \
		build_tree "$package" "$version"
}

"$qemu_dir/packages.sh" gcc make xz-utils bc bison flex libelf-dev libssl-dev \
	kmod rsync
unset MAKEFLAGS MFLAGS MAKEOVERRIDES
if [ "$suites" = - ]; then
	apt_retry build_newest || die "cannot build a kernel from $pattern"
else
	build_newest || die "cannot build a kernel from $pattern"
fi
