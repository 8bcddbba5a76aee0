#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# dkms 3.0.10 (Debian dkms 3.0.10-8+deb12u1): once a version is built, "dkms install" does
# not look at the source again. Without --force it says that it skips, and exits with 0;
# with --force it installs the old build once more and exits with 0. Seen, the text being
# the one in the module that is installed:
#
#   install: exit 0, first
#   source changed, install: exit 0, first
#   source changed, install --force: exit 0, first
#   removed, install: exit 0, second
#
# So a Makefile that installs by DKMS must remove the version first.

set -eu
version=3.0.10-8+deb12u1
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"

apt-get download -qq "dkms=$version" >/dev/null
dpkg-deb -x dkms_*.deb .
mkdir -p source/greeting-1.0 tree modules/6.0-test headers/include
touch headers/.config
# What is built need not be a module for this.
cat >source/greeting-1.0/dkms.conf <<'END'
PACKAGE_NAME=greeting
PACKAGE_VERSION=1.0
BUILT_MODULE_NAME[0]=greeting
DEST_MODULE_LOCATION[0]=/extra
MAKE[0]="gcc -c greeting.c -o greeting.ko"
CLEAN="rm -f greeting.ko"
END

source_is()
{
	printf 'const char text[] = "%s";\n' "$1" >source/greeting-1.0/greeting.c
}

dkms()
{
	usr/sbin/dkms --no-depmod --dkmstree "$directory/tree" --sourcetree "$directory/source" \
		--installtree "$directory/modules" --kernelsourcedir "$directory/headers" \
		-k 6.0-test "$@" >>log 2>&1
}

# try WHAT ARGUMENT...: how dkms ends, and what is installed then
try()
{
	what=$1
	shift
	status=0
	dkms "$@" || status=$?
	module=$(find modules -name 'greeting.ko*')
	printf '%s: exit %d, %s\n' "$what" "$status" "$(grep -aoE 'first|second' "$module")"
}

usr/sbin/dkms --version
{
	source_is first
	try install install greeting/1.0
	source_is second
	try 'source changed, install' install greeting/1.0
	try 'source changed, install --force' install --force greeting/1.0
	dkms remove greeting/1.0
	try 'removed, install' install greeting/1.0
} | tee seen
[ "$(cat seen)" = 'install: exit 0, first
source changed, install: exit 0, first
source changed, install --force: exit 0, first
removed, install: exit 0, second' ] || { cat log; exit 1; }
