#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# suite_apt.sh [--update] SUITE[,SUITE...] COMMAND...: runs an apt command (apt-cache,
# apt-get) as if the machine's Debian mirror had these suites and no others. The
# machine's own package lists are not touched, and nothing can be installed. The
# mirror may be behind: what it has is signed, whenever that was. The first suite goes
# before the others. With --update the
# package lists are read now, otherwise once a day.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"

write_sources()
{
	mirror=$(debian_mirror) || return 1
	for suite in $(printf '%s\n' "$suites" | tr , ' '); do
		printf 'deb [signed-by=%s check-valid-until=no] %s %s main\n' \
			"$debian_keyring" "$mirror" "$suite"
	done >"$apt_dir/sources.list"
}

update=
if [ "$1" = --update ]; then
	update=1
	shift
fi
suites=$1
shift
apt_dir=$cache_dir/apt/$suites
mkdir -p "$apt_dir/lists/partial" "$apt_dir/archives/partial"
options="-o Dir::Etc::sourcelist=$apt_dir/sources.list
	-o Dir::Etc::sourceparts=-
	-o Dir::State::lists=$apt_dir/lists
	-o Dir::Cache=$apt_dir
	-o APT::Default-Release=${suites%%,*}
	-o APT::Sandbox::User=root"

# The lists are a day's: these suites move, and have no old versions.
read_lists()
{
	[ -n "$update" ] || [ -z "$(find "$apt_dir/updated" -mtime -1 2>/dev/null)" ] ||
		return 0
	"$qemu_dir/packages.sh" debian-archive-keyring || return 1
	apt_retry write_sources || die "no Debian mirror in the apt sources"
	say "reading the package lists of $suites"
	# shellcheck disable=SC2086 # a list of words
	apt-get $options -q update >"$apt_dir/update.log" 2>&1 || {
		cat "$apt_dir/update.log" >&2
		die "cannot read the package lists of $suites"
	}
	touch "$apt_dir/updated"
}

# Not two at a time.
(flock 9 && read_lists) 9>"$apt_dir/.lock" || exit 1

command=$1
shift
# shellcheck disable=SC2086 # a list of words
exec "$command" $options "$@"
