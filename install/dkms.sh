#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What make install_dkms and uninstall_dkms do. ROOT is "" for /.
#
# dkms.sh install ROOT VERSION RELEASE FILE...
#	Gives DKMS the sources, as VERSION, and has it build and install the module: for the
#	kernel RELEASE, and for those that an earlier version was installed for. That one
#	goes only when the new one is there; else it is kept and this fails.
# dkms.sh remove ROOT
#	All of it.
# dkms.sh is_absent ROOT [RELEASE]
#	Fails, and says so, if DKMS has installed the module for this kernel, or for any.
#
# From the environment: DKMS, how dkms is called ("" to copy the sources and no more);
# KERNEL_SOURCE, the kernel's build tree if it is not where DKMS looks.

set -eu

name=hmm_mirror
install_dir=$(cd "$(dirname "$0")" && pwd)
dkms=${DKMS:-}
action=$1
root=$2
shift 2

say()
{
	printf '%s: %s\n' "$name" "$*" >&2
}

die()
{
	say "$*"
	exit 1
}

# dkms_do ACTION ARGUMENT...
dkms_do()
{
	# shellcheck disable=SC2086 # a command and its options
	$dkms "$@"
}

# status: a line for each version and kernel, "VERSION KERNEL STATE", without the
# kernel for one that is merely known
status()
{
	[ -z "$dkms" ] || dkms_do status "$name" 2>/dev/null | sed -n \
		-e "s|^${name}[,/] *\([^,: ]*\), \([^, ]*\), [^:]*: \([a-z]*\).*|\1 \2 \3|p" \
		-e "s|^${name}[,/] *\([^,: ]*\): \([a-z]*\).*|\1 - \2|p"
}

versions()
{
	status | cut -d ' ' -f 1 | sort -u
}

# modules RELEASE: what "make install" has put there, which would be a second module for
# the same kernel
modules()
{
	updates=$root/lib/modules/$1/updates
	# DKMS's own is elsewhere, or there if DKMS has installed one and nothing elsewhere.
	if is_installed "$1" && [ -z "$(find "$updates/dkms" "$updates/../extra" \
			-name "$name.ko*" 2>/dev/null)" ]; then
		return
	fi
	for suffix in ko ko.gz ko.xz ko.zst; do
		[ ! -e "$updates/$name.$suffix" ] || printf '%s\n' "$updates/$name.$suffix"
	done
}

# is_installed RELEASE: has DKMS installed the module for this kernel?
is_installed()
{
	find "$root/var/lib/dkms/$name" -maxdepth 1 -type l -name "kernel-${1:-*}-*" \
		2>/dev/null | grep -q .
}

# install_for VERSION RELEASE
install_for()
{
	modules "$2" | while IFS= read -r module; do
		mv "$module" "$module.aside"
	done
	set -- "$2" "$name/$1" -k "$2" --force
	# DKMS may look only where this machine has its headers.
	if [ -n "${KERNEL_SOURCE:-}" ] && [ "$1" = "$release" ]; then
		set -- "$@" --kernelsourcedir="$KERNEL_SOURCE"
	elif [ -n "$root" ] && [ -e "$root/lib/modules/$1/build" ]; then
		set -- "$@" --kernelsourcedir="$root/lib/modules/$1/build"
	fi
	for_release=$1
	shift
	installed=0
	dkms_do install "$@" || installed=$?
	for module in "$root/lib/modules/$for_release/updates/$name".*.aside; do
		[ -e "$module" ] || continue
		if [ "$installed" -eq 0 ]; then
			rm "$module"
		else
			mv "$module" "${module%.aside}"
		fi
	done
	return "$installed"
}

# copy_sources VERSION FILE...: root's, for all to read, whoever has the checkout: root
# compiles them when kernels are updated.
copy_sources()
{
	source=$root/usr/src/$name-$1
	version=$1
	shift
	owner=
	[ "$(id -u)" -ne 0 ] || owner='-o root -g root'
	mkdir -p "$root/usr/src"
	rm -rf "$source"
	for file; do
		mode=0644
		[ ! -x "$file" ] || mode=0755
		# shellcheck disable=SC2086 # options
		install -d $owner -m 0755 "$source" "$source/$(dirname "$file")" &&
			install $owner -m "$mode" "$file" "$source/$file" || return 1
	done
	sed -i "s/^PACKAGE_VERSION=.*/PACKAGE_VERSION=\"$version\"/" "$source/dkms.conf"
}

# forget VERSION: sources and all
forget()
{
	if [ -n "$dkms" ] && versions | grep -qxF "$1"; then
		dkms_do remove "$name/$1" --all || return 1
	fi
	rm -rf "$root/usr/src/$name-$1"
}

# The versions there are sources of, whether DKMS knows them or not
source_versions()
{
	for source in "$root/usr/src/$name"-*; do
		! grep -qs "^PACKAGE_NAME=\"$name\"" "$source/dkms.conf" ||
			printf '%s\n' "${source#"$root/usr/src/$name-"}"
	done
}

# take_back VERSION: the new one cannot be installed
take_back()
{
	log=$root/var/lib/dkms/$name/$1/build/make.log
	[ ! -e "$log" ] || tail -n 20 "$log" >&2
	forget "$1" || :
	if [ -d "$kept" ]; then
		mv "$kept" "$root/usr/src/$name-$1"
		dkms_do add "$name/$1" || :
		for kernel in $kernels; do
			install_for "$1" "$kernel" || :
		done
	fi
	rm -rf "$keep"
	die "$1 could not be installed for the kernel $release; what was installed before still is."
}

install_version()
{
	version=$1
	release=$2
	shift 2
	umask 022
	if [ -z "$dkms" ]; then
		copy_sources "$version" "$@"
		return
	fi
	command -v "${dkms%% *}" >/dev/null ||
		die "there is no ${dkms%% *} here. Install it (on Debian: apt-get install dkms)."
	[ -n "$release" ] || die "there are no kernel headers to say which kernel it is for."

	others=$({ versions; source_versions; } | sort -u | grep -vxF "$version" || :)
	kernels=$(status | awk '$3 == "installed" { print $2 }' | sort -u)
	mkdir -p "$root/usr/src"
	keep=$(mktemp -d "$root/usr/src/.$name.XXXXXX")
	trap 'rm -rf "$keep"' EXIT
	kept=$keep/old
	# DKMS would not look at another one of the same name.
	if versions | grep -qxF "$version"; then
		cp -a "$root/usr/src/$name-$version" "$kept"
		forget "$version"
	fi
	copy_sources "$version" "$@"
	if ! dkms_do add "$name/$version" || ! install_for "$version" "$release"; then
		take_back "$version"
	fi
	failed=
	for kernel in $kernels; do
		[ "$kernel" = "$release" ] || install_for "$version" "$kernel" ||
			failed="$failed $kernel"
	done
	[ -z "$failed" ] ||
		die "$version could not be installed for:$failed."
	for other in $others; do
		forget "$other"
	done
}

case $action in
install)
	install_version "$@"
	;;
remove)
	[ -z "$dkms" ] || command -v "${dkms%% *}" >/dev/null || dkms=
	for version in $({ versions; source_versions; } | sort -u); do
		forget "$version"
	done
	# Directories that "make install" had made before DKMS took its place
	for list in "$root"/lib/modules/*/updates/"$name".directories; do
		if [ -e "$list" ] && [ -z "$(find "${list%/*}" -name "$name.ko*")" ]; then
			"$install_dir/files.sh" remove "$list" "$root"
		fi
	done
	;;
is_absent)
	! is_installed "${1:-}" ||
		die "DKMS has installed it${1:+ for the kernel $1}:" \
		    "\"make install_dkms\" updates it, \"make uninstall_dkms\" removes it."
	;;
esac
