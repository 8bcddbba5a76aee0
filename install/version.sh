#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# version.sh: prints what version this is: in a git repository what git describe says,
# else what dkms.conf says. Of letters, digits and dots alone, and growing, for DKMS and
# package managers: 0.2 is the tag v0.2, 0.2.r5.g1a2b3c4 the fifth commit after it,
# "dirty" behind it is with changes that are not committed. Before the first tag commits
# are counted from the beginning.

set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' "$top/dkms.conf")

# Root may ask in a user's repository; nothing is written there.
ask_git()
{
	GIT_OPTIONAL_LOCKS=0 git -C "$top" -c safe.directory="$top" -c core.fsmonitor=false \
		"$@" 2>/dev/null
}

# A repository around us says nothing about us.
if [ -e "$top/.git" ] && commit=$(ask_git rev-parse --short=7 HEAD); then
	if described=$(ask_git describe --tags --long --match 'v[0-9]*'); then
		version=${described%-*-g*}
		version=${version#v}
		count=${described%-g*}
		count=${count##*-}
	else
		count=$(ask_git rev-list --count HEAD)
	fi
	[ "$count" -eq 0 ] || version=$version.r$count.g$commit
	[ -z "$(ask_git status --porcelain --untracked-files=no)" ] || version=$version.dirty
fi
printf '%s\n' "$version" | sed 's/[^A-Za-z0-9.]/./g'
