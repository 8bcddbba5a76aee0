#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# module.sh BUILT ROOT DIRECTORY MAKE...: installs the modules that were built in BUILT
# in DIRECTORY, below ROOT ("" for /). MAKE... is how kbuild is called.
#
# From the environment: SIGN_FILE, SIGN_KEY and SIGN_CERT, to sign them with.

set -eu

install_dir=$(cd "$(dirname "$0")" && pwd)
built=$1
root=$2
directory=$3
shift 3

# kbuild installs as the kernel wants it, compressed for example, but not below a path
# with a blank in it. It gets a copy, in a place of its own: what was built is the
# user's, neither signed nor given to root.
stage=$(mktemp -d /tmp/hmm_mirror.XXXXXX)
trap 'rm -rf "$stage"' EXIT
mkdir "$stage/built" "$stage/root"
cp "$built"/*.ko "$stage/built"
sed "s|^$built/|$stage/built/|" "$built/modules.order" >"$stage/built/modules.order"
if [ -n "${SIGN_KEY:-}" ]; then
	for module in "$stage/built"/*.ko; do
		"$SIGN_FILE" sha256 "$SIGN_KEY" "${SIGN_CERT:-}" "$module"
	done
fi

# Not left to kbuild: depmod, for which it wants a file that headers do not have; and to
# sign with the key of who built the kernel, which is rarely here.
"$@" -s M="$stage/built" INSTALL_MOD_PATH="$stage/root" INSTALL_MOD_DIR=updates \
	CONFIG_MODULE_SIG_ALL= cmd_depmod=: quiet_cmd_depmod= modules_install

find "$stage/root" -name '*.ko*' -type f | while read -r module; do
	"$install_dir/files.sh" install "$directory/hmm_mirror.directories" "$root" 0644 \
		"$module" "$directory/${module##*/}" || exit 1
	# Of a kernel that was compressed differently
	for suffix in ko ko.gz ko.xz ko.zst; do
		other=${module##*/}
		other=$directory/${other%%.*}.$suffix
		[ "$other" = "$directory/${module##*/}" ] || rm -f "$other"
	done
done
