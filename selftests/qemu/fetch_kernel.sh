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
#	kernel_builder	directory with the Debian release that modules must be built in
#			(in_root.sh), empty for this machine
#	kernel_tests	directory with tools/testing/selftests, where the kernel has tests
#			for hmm_mirror to pass
#	kernel_packages	packages whose version is not the image's, with their versions,
#			separated by commas
#
# Image and headers are unpacked into the cache and never installed: running our
# tests must not change anybody's boot menu, and Debian's headers depend on the
# image. Only what the headers need to be used (a compiler, pahole) is installed.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"

# The packages that could not be downloaded
unavailable=$(mktemp)
trap 'rm -f "$unavailable"' EXIT

# resolve META: what resolve_kernel.pl finds, without what could not be downloaded
resolve()
{
	meta=$1
	set --
	while read -r package; do
		set -- "$@" --without "$package"
	done <"$unavailable"
	if [ "$apt_suites" = - ]; then
		set -- "$@" "$meta"
	else
		set -- "$@" "$meta" "$qemu_dir/suite_apt.sh" "$apt_suites"
	fi
	"$qemu_dir/resolve_kernel.pl" "$@" apt-cache
}

# unpack_kernel RELEASE PACKAGE=VERSION... DIRECTORY
unpack_kernel()
{
	unpacked_release=$1
	shift
	for directory; do :; done
	# Where they have moved below /usr, and this machine does not look for them
	mkdir -p "$directory/usr/lib"
	case " $*" in
	*' linux-modules-'*) ln -s usr/lib "$directory/lib" ;;
	esac
	while [ $# -gt 1 ]; do
		unpack_package "$1" "$directory" || return 1
		shift
	done
	# The only absolute path in the headers; the symbolic links are relative.
	# shellcheck disable=SC2016 # for make
	sed -i 's|/usr/src/|$(dir $(lastword $(MAKEFILE_LIST)))../|' \
		"$directory/usr/src/linux-headers-$unpacked_release/Makefile" &&
	depmod -b "$directory" "$unpacked_release"
}

# cache_key: the name in the cache of what resolve() has found, which has versions that
# are not the image's as well
cache_key()
{
	awk '
	$1 == "image" { sub(/^linux-image-/, "", $2); version = $3; key = $2 "_" $3 }
	$1 == "package" && $2 != "linux-base" && $3 != version {
		key = key "_" substr($2, 7) "_" $3 }
	END { print key }' | tr : _
}

fetch_stock()
{
	resolved=$(resolve "$1") || return 1
	kernel_release=$(printf '%s\n' "$resolved" | sed -n 's/^image linux-image-\([^ ]*\) .*/\1/p')
	# linux-base is only for what installs kernels.
	packages=$(printf '%s\n' "$resolved" | awk '
		$1 ~ /^(image|package)$/ && $2 != "linux-base" { print $2 "=" $3 }')
	needed=$(printf '%s\n' "$resolved" | sed -n 's/^needs //p')
	kernel_packages=$(printf '%s\n' "$resolved" | awk '
		$1 == "image" { version = $3 }
		$1 == "package" && $2 != "linux-base" && $3 != version { print $2 " " $3 }' |
		paste -s -d ,)

	# shellcheck disable=SC2086 # lists of words
	needs_are_met $needed && kernel_root=$(cached "stock/$(printf '%s\n' "$resolved" | cache_key)" \
		      unpack_kernel "$kernel_release" $packages) ||
		return 1

	kernel_image=$kernel_root/boot/vmlinuz-$kernel_release
	[ -e "$kernel_image" ] || kernel_image=$kernel_root/lib/modules/$kernel_release/vmlinuz
	kernel_build=$kernel_root/usr/src/linux-headers-$kernel_release
}

# needs_are_met PACKAGE...: the programs of the headers can run, on this machine or in a
# root of their own
needs_are_met()
{
	if [ "$apt_suites" = - ]; then
		"$qemu_dir/packages.sh" "$@"
	else
		kernel_builder=$("$qemu_dir/fetch_root.sh" "$apt_suites" "$@")
	fi
}

# extract_tests PACKAGE VERSION DIRECTORY: the kernel's own tests
extract_tests()
{
	unpack_package "$1=$2" "$3" || return 1
	say "unpacking what is needed of $1"
	mv "$3/usr" "$3/.package" &&
	sed -e '/^#/d' -e "s|^|$1/|" "$qemu_dir/kernel_test_files" >"$3/.list" &&
	tar -xJf "$3/.package/src/$1.tar.xz" -C "$3" --strip-components=1 \
		--wildcards --no-wildcards-match-slash -T "$3/.list" &&
	rm -r "$3/.package" "$3/.list"
}

# fetch_tests: from the source package of the kernel's own version, else from the newest of
# its series
fetch_tests()
{
	series=$(printf '%s\n' "$kernel_release" | sed 's/^\([0-9]*\.[0-9]*\).*/\1/')
	wanted=$(printf '%s\n' "$resolved" | sed -n 's/^image [^ ]* //p')
	package=linux-source-$series
	version=$(apt apt-cache madison "$package" |
		  awk -F ' *[|] *' -v wanted="$wanted" '
		$2 == wanted || found == "" { found = $2 }
		END { print found }' | grep .) || return 1
	[ "$version" = "$wanted" ] ||
		kernel_packages="${kernel_packages:+$kernel_packages,}$package $version"
	list_key=$(cksum <"$qemu_dir/kernel_test_files" | cut -d ' ' -f 1)
	kernel_tests=$(cached "sources/${package}_$(file_name "$version")_$list_key" \
		extract_tests "$package" "$version")
}

# What could not be downloaded with old lists may be there with new ones.
fetch_first()
{
	: >"$unavailable"
	fetch_stock "$1"
}

# fetch_other META: after a failure, without what could not be downloaded, for as long as
# that changes anything
fetch_other()
{
	known=0
	while [ "$(wc -l <"$unavailable")" -gt "$known" ]; do
		known=$(wc -l <"$unavailable")
		say "without $(paste -s -d ' ' "$unavailable")"
		! fetch_stock "$1" || return 0
	done
	return 1
}

# explain META: what apt says of the newest image and its headers
explain()
{
	image=$(apt apt-cache depends "$1" 2>/dev/null |
		sed -n 's/^ *Depends: linux-image-/linux-image-/p' | head -n 1)
	# shellcheck disable=SC2086 # none if there is no image
	apt apt-get -s -q -o Dir::State::status=/dev/null -o Debug::NoLocking=1 \
		--no-install-recommends install "$1" ${image:+"linux-headers-${image#linux-image-}"} \
		2>&1 </dev/null | grep -v -e '^Inst ' -e '^Conf ' >&2 || :
}

build_from_source()
{
	built=$("$qemu_dir/build_kernel.sh" "$1" "$2" "$3") || exit 1
	kernel_release=$(cat "$built/release")
	kernel_image=$built/image
	kernel_root=$built/root
	kernel_build=$built/tree
	! grep -sqx CONFIG_DEVICE_PRIVATE=y "$kernel_build/.config" ||
		kernel_tests=$kernel_build
}

[ $# -eq 1 ] || die "usage: fetch_kernel.sh NAME"
how=$(kernel_field "$1" 2)
kernel_packages=
kernel_builder=
kernel_tests=
"$qemu_dir/packages.sh" kmod perl xz-utils

case $how in
stock | later)
	meta_package=$(kernel_field "$1" 3)
	if [ "$how" = later ]; then
		apt_suites=${meta_package%%:*}
		meta_package=${meta_package#*:}
	fi
	apt_retry fetch_first "$meta_package" || fetch_other "$meta_package" || {
		explain "$meta_package"
		die "cannot get $meta_package from the apt sources" \
		    "(Debian 12 has it in bookworm-security)"
	}
	! grep -sqx CONFIG_DEVICE_PRIVATE=y "$kernel_build/.config" ||
		apt_retry fetch_tests || die "there is no source for $kernel_release"
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
kernel_packages='$kernel_packages'
kernel_builder='$kernel_builder'
kernel_tests='$kernel_tests'
END
