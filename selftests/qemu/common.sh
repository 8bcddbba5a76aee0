# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# What the scripts in this directory share. To be sourced after "set -eu" and
# after "qemu_dir" was set to this directory.

: "${qemu_dir:?}"
top_dir=$(cd "$qemu_dir/../.." && pwd)
cache_dir=${HMM_MIRROR_CACHE:-${XDG_CACHE_HOME:-${HOME:-$top_dir/build}/.cache}/hmm_mirror}
# Wherever we and what we call go from here
case $cache_dir in
/*) ;;
*)
	HMM_MIRROR_CACHE=$PWD/$cache_dir
	export HMM_MIRROR_CACHE
	cache_dir=$HMM_MIRROR_CACHE
	;;
esac
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

# Those that are not only for certain tests.
general_kernel_names()
{
	awk '!/^#/ && $6 ~ /^[*!]/ { print $1 }' "$qemu_dir/kernels"
}

default_kernel()
{
	kernel_names | head -n 1
}

# shows_shell NAME: whether "make shell" and "make run" are tried on it: on the default
# kernel, and on those that have what it lacks, a device's own memory
shows_shell()
{
	[ "$1" = "$(default_kernel)" ] || [ "$(kernel_field "$1" 2)" = later ]
}

# locate_kernel: what fetch_kernel.sh says about the default kernel; if that cannot be
# had, about the first of Debian's own that can
locate_kernel()
{
	for located_name in $(kernel_names); do
		[ "$(kernel_field "$located_name" 2)" = stock ] || continue
		! "$qemu_dir/fetch_kernel.sh" "$located_name" || return 0
	done
	return 1
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

# cached NAME COMMAND...: prints the path of the directory NAME in the cache. If
# there is none yet, it calls COMMAND with the path of an empty directory as its
# last argument. That gets its name only when COMMAND has succeeded: an interrupted
# download is never taken for a finished one.
cached()
{
	cached_path=$cache_dir/$1
	partial=$cache_dir/.partial/$1
	shift
	if [ ! -d "$cached_path" ]; then
		mkdir -p "${cached_path%/*}" "${partial%/*}"
		(
			# Two runs must not make the same thing at once, but one that
			# takes a minute need not wait for another that takes an hour.
			flock 9
			[ ! -d "$cached_path" ] || exit 0
			rm -rf "$partial"
			mkdir "$partial"
			trap 'rm -rf "$partial"' EXIT
			"$@" "$partial" >&2 9>&- || exit
			# A power cut must not leave a name without its contents.
			sync -f "$partial" && mv -T "$partial" "$cached_path" &&
			sync -f "${cached_path%/*}"
		) 9>"$partial.lock" || return
	fi
	printf '%s\n' "$cached_path"
}

# The suites that apt() looks at, separated by commas; "-" for the machine's own sources
apt_suites=-

# apt COMMAND...: runs apt-get or apt-cache, with these suites
apt()
{
	if [ "$apt_suites" = - ]; then
		"$@"
	else
		"$qemu_dir/suite_apt.sh" "$apt_suites" "$@"
	fi
}

# shellcheck disable=SC2034 # for those that source this
debian_keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# debian_mirror: the mirror of the main Debian archive that the machine itself uses
debian_mirror()
{
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format '$(LABEL) $(REPO_URI)' \
		'Created-By: Packages' |
		awk '$1 == "Debian" { print $2; exit }' | grep .
}

# Whether we may write apt's lists as this user; they may not be the machine's.
own_lists()
{
	eval "$(apt-config shell apt_lists Dir::State::lists/d)"
	[ -w "${apt_lists:-/}" ]
}

update_lists()
{
	say "apt-get update"
	if [ "$apt_suites" != - ]; then
		"$qemu_dir/suite_apt.sh" --update "$apt_suites" true
	elif own_lists; then
		apt-get update -qq >&2 </dev/null
	else
		as_root apt-get update -qq >&2 </dev/null
	fi
}

# apt_retry COMMAND...: runs COMMAND; if it fails, runs it once more with fresh package
# lists. They may be missing, or name versions that the archive no longer has. Not if it
# fails with 2, which has other reasons.
apt_retry()
{
	retry_status=0
	"$@" || retry_status=$?
	case $retry_status in
	0 | 2) return "$retry_status" ;;
	esac
	mkdir -p "$cache_dir"
	# apt-get does not wait for another apt-get, but fails. If one of several sources
	# cannot be read, the others have been.
	(
		flock 9
		update_lists 9>&-
	) 9>"$cache_dir/.apt.lock" ||
		say "not all package lists could be read"
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

# downloadable_version PACKAGE: the version that apt would install; if that is only
# installed, and no longer in the archive, the newest that is there
downloadable_version()
{
	candidate=$(apt apt-cache policy "$1" | awk '$1 == "Candidate:" { print $2 }')
	apt apt-cache madison "$1" 2>/dev/null |
		awk -F ' *[|] *' -v candidate="$candidate" '
		$3 ~ / Packages$/ { version = version == "" || $2 == candidate ? $2 : version }
		END { print version }' | grep .
}

# file_name VERSION: without the colon of an epoch, which separates paths
file_name()
{
	printf '%s\n' "$1" | tr : _
}

# download_package PACKAGE=VERSION DIRECTORY: into an empty directory. A package that
# cannot be had is added to the list $unavailable, if that names a file.
download_package()
{
	say "downloading ${1%=*} ${1#*=}"
	(cd "$2" &&
	 apt apt-get -qq -o APT::Sandbox::User=root download "$1" </dev/null &&
	 [ -n "$(find . -name '*.deb' -size +0)" ]) && return
	[ -z "${unavailable:-}" ] || printf '%s\n' "$1" >>"$unavailable"
	return 1
}

# unpack_package PACKAGE=VERSION DIRECTORY: without installing it
unpack_package()
{
	mkdir "$2/.download" &&
	download_package "$1" "$2/.download" &&
	dpkg-deb -x "$2/.download/"*.deb "$2" &&
	rm -r "$2/.download"
}

# add_tree FROM TO [--exclude=PATTERN...]: puts what is in the directory FROM on top of what is in TO. Nothing is
# written through a link, as cp does: an absolute one means the guest's root, and is this
# machine's. They are made relative, so that nobody else follows them either.
add_tree()
{
	from=$1
	to=$2
	shift 2
	tar -C "$from" -c "$@" . | tar -C "$to" -x || return 1
	find "$to" -type l -lname '/*' -printf '%d %l\n%p\n' | while
		read -r depth target && read -r link
	do
		up=$(printf '%*s' "$((depth - 1))" '' | sed 's|.|../|g')
		target=$(printf '%s\n' "$target" | sed 's|^/*||')
		ln -sfnT "${up:-./}$target" "$link" || return 1
	done
}

# What was compiled before comes from the cache, including its warnings; in another
# clone only if nothing contains the clone's path (with_same_name).
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

# processes: "PID PARENT NAME" of all processes except zombies
processes()
{
	cat /proc/[0-9]*/status 2>/dev/null | awk '
	$1 == "Name:" { name = $2 }
	$1 == "State:" { state = $2 }
	$1 == "Pid:" { pid = $2 }
	$1 == "PPid:" && state !~ /[ZX]/ { print pid, $2, name }'
}

# end_descendants: all processes that this one and its children have started
end_descendants()
{
	# shellcheck disable=SC2046 # a list of numbers
	kill $(processes | awk -v top=$$ '
		{ parent[$1] = $2 }
		END {
			below[top] = 1
			do {
				found = 0
				for (pid in parent)
					if (!(pid in below) && parent[pid] in below)
						found = below[pid] = 1
			} while (found)
			delete below[top]
			for (pid in below)
				print pid
		}') 2>/dev/null || :
}

# lock_tree SCRIPT ARGUMENT...: restarts SCRIPT so that it is the only one that
# uses build/. The lock is flock's own: no child of ours can keep it.
lock_tree()
{
	[ -z "${HMM_MIRROR_TREE_LOCKED:-}" ] || return 0
	export HMM_MIRROR_TREE_LOCKED=1
	# This process becomes flock, and ends with all that it started (boot.sh).
	export HMM_MIRROR_RUN=$$
	mkdir -p "$top_dir/build"
	flock -n "$top_dir/build/.lock" true ||
		say "waiting for another run in this tree"
	exec flock -o "$top_dir/build/.lock" "$@"
}
