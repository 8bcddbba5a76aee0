#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# packages.sh PACKAGE[=VERSION]...: installs those of these Debian packages that
# are missing (or are there in another version), and nothing else.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"

# is_installed PACKAGE[=VERSION]
is_installed()
{
	installed=$(dpkg-query -W -f '${db:Status-Status} ${Version}' \
		    "${1%%=*}" 2>/dev/null) || return 1
	case $1 in
	*=*) [ "$installed" = "installed ${1#*=}" ] ;;
	*) [ "${installed%% *}" = installed ] ;;
	esac
}

install_packages()
{
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
		--no-install-recommends -o DPkg::Lock::Timeout=300 \
		-o Dpkg::Use-Pty=0 "$@" >"$output" 2>&1 </dev/null
}

missing=
for package; do
	is_installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

output=$(mktemp)
trap 'rm -f "$output"' EXIT
say "installing$missing"
# shellcheck disable=SC2086 # a list of words
apt_retry install_packages $missing || {
	# Pages of it, so only now.
	cat "$output" >&2
	die "cannot install$missing"
}
