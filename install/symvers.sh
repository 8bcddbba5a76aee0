#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What DKMS runs after building, installing and removing, so that drivers can be built
# for what it has installed; see dkms.conf.
#
# symvers.sh build TREE VERSION RELEASE ARCH
#	Keeps Module.symvers of the current directory beside the module in DKMS's tree.
# symvers.sh install TREE VERSION RELEASE ARCH MODULES
#	Installs it below MODULES/RELEASE/updates.
# symvers.sh remove TREE VERSION RELEASE ARCH MODULES
#	Removes it there, unless another version is installed by now.

set -eu

action=$1
kept=$2/$3/$4/$5/hmm_mirror.symvers
link=$2/kernel-$4-$5
updates=${6:-}/$4/updates

case $action in
build)
	install -m 0644 Module.symvers "$kept"
	;;
install)
	install -d -m 0755 "$updates"
	install -m 0644 "$kept" "$updates/hmm_mirror.symvers"
	;;
remove)
	[ ! -L "$link" ] || exit 0
	rm -f "$updates/hmm_mirror.symvers"
	[ ! -d "$updates" ] || rmdir --ignore-fail-on-non-empty "$updates"
	;;
esac
