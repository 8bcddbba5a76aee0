# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# What the scripts in this directory share. To be sourced after "set -eu" and
# after "qemu_dir" was set to this directory.

: "${qemu_dir:?}"
top_dir=$(cd "$qemu_dir/../.." && pwd)
cache_dir=${HMM_MIRROR_CACHE:-${XDG_CACHE_HOME:-${HOME:-$top_dir/build}/.cache}/hmm_mirror}
# Where build_programs.sh puts hmmctl and the tests
# shellcheck disable=SC2034 # for those that source this
programs_dir=$top_dir/build/programs
export LC_ALL=C

# Progress goes to stderr: the stdout of most scripts here is their result.
say()
{
	printf '== %s\n' "$*" >&2
}

die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

kernel_names()
{
	awk '!/^#/ && NF { print $1 }' "$qemu_dir/kernels"
}

# Those that are not for certain tests alone.
general_kernel_names()
{
	awk '!/^#/ && $6 ~ /^[*!]/ { print $1 }' "$qemu_dir/kernels"
}

default_kernel()
{
	kernel_names | head -n 1
}

# kernel_field NAME COLUMN: one field of a kernel's row in the table
kernel_field()
{
	field=$(awk -v name="$1" -v column="$2" '
		!/^#/ && $1 == name { print $column }' "$qemu_dir/kernels")
	[ -n "$field" ] ||
		die "no kernel '$1'; there is: $(kernel_names | tr '\n' ' ')"
	printf '%s\n' "$field"
}

# kernel_words NAME COLUMN: the words in such a field, none for "-" and "*"
kernel_words()
{
	kernel_field "$1" "$2" | tr ',' ' ' | sed 's/^[-*]$//'
}

# cached NAME COMMAND...: prints the path of the directory NAME in the cache.
# Where there is none yet, COMMAND is called with the path of an empty directory
# as its last argument, which gets its name only when COMMAND has succeeded: an
# interrupted download is never taken for a finished one.
cached()
{
	cached_path=$cache_dir/$1
	partial=$cache_dir/.partial/$1
	shift
	if [ ! -d "$cached_path" ]; then
		mkdir -p "${cached_path%/*}" "${partial%/*}"
		(
			# Two runs must not make the same thing at once, but what
			# takes one a minute need not wait for another's hour.
			flock 9
			[ ! -d "$cached_path" ] || exit 0
			rm -rf "$partial"
			mkdir "$partial"
			trap 'rm -rf "$partial"' EXIT
			"$@" "$partial" >&2 9>&- || exit 1
			mv -T "$partial" "$cached_path"
		) 9>"$partial.lock" || return 1
	fi
	printf '%s\n' "$cached_path"
}

# apt_retry COMMAND...: runs COMMAND; if it fails, once more with fresh package
# lists. They may be missing, or name versions the archive no longer has.
apt_retry()
{
	"$@" && return 0
	say "apt-get update"
	mkdir -p "$cache_dir"
	# It does not wait for another one, but fails.
	(
		flock 9
		as_root apt-get update -qq >&2 </dev/null 9>&-
	) 9>"$cache_dir/.apt.lock" || return 1
	"$@"
}

as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "must be root, or have sudo, to run: $*"
	fi
}

# candidate_version PACKAGE: the version apt would install
candidate_version()
{
	candidate=$(apt-cache policy "$1" | awk '$1 == "Candidate:" { print $2 }')
	[ -n "$candidate" ] && [ "$candidate" != "(none)" ] || return 1
	printf '%s\n' "$candidate"
}

# file_name VERSION: without the colon of an epoch, which separates paths
file_name()
{
	printf '%s\n' "$1" | tr : _
}

# unpack_package PACKAGE=VERSION DIRECTORY: without installing it
unpack_package()
{
	say "downloading ${1%=*} ${1#*=}"
	mkdir "$2/.download" &&
	(cd "$2/.download" &&
	 apt-get -qq -o APT::Sandbox::User=root download "$1" </dev/null) &&
	dpkg-deb -x "$2/.download/"*.deb "$2" &&
	rm -r "$2/.download"
}

# What has been compiled before is taken from the cache, its warnings included; in
# another clone only where nothing has the clone's path in it (with_same_name).
use_ccache()
{
	"$qemu_dir/packages.sh" ccache
	export PATH="/usr/lib/ccache:$PATH" CCACHE_DIR="$cache_dir/ccache"
	export CCACHE_MAXSIZE=1G CCACHE_BASEDIR="$top_dir" CCACHE_NOHASHDIR=1
}

# with_same_name NAME DIRECTORY COMMAND...: runs COMMAND, and its last argument is a name
# of DIRECTORY that is the same in every clone: kbuild has it in the compiler's options,
# and so in what the compiler's cache looks for. One at a time.
with_same_name()
{
	same_name=$cache_dir/clone/$1
	mkdir -p "${same_name%/*}"
	(
		flock 9 && ln -sfnT "$2" "$same_name" || exit 1
		shift 2
		"$@" "$same_name" 9>&-
	) 9>"$cache_dir/.clone.$1.lock"
}

# lock_tree SCRIPT ARGUMENT...: starts SCRIPT anew so that it is the only one
# that uses build/. The lock is flock's own: no child of ours can keep it.
lock_tree()
{
	[ -z "${HMM_MIRROR_TREE_LOCKED:-}" ] || return 0
	export HMM_MIRROR_TREE_LOCKED=1
	mkdir -p "$top_dir/build"
	flock -n "$top_dir/build/.lock" true ||
		say "waiting for another run in this tree"
	exec flock -o "$top_dir/build/.lock" "$@"
}
