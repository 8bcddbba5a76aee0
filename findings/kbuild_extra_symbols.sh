#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# kbuild of Linux 6.12.117 (Debian linux-headers-6.12.117+deb12-amd64 6.12.117-1~deb12u1):
# a module that uses a symbol of another external module has the symbol's version from the
# file that KBUILD_EXTRA_SYMBOLS names, but kbuild does not look whether that file has
# changed: make finds nothing to do, and exits with 0. It takes no change of the interface:
# one more #include in the file that exports the symbol makes another version of it, if it
# defines a structure that is only named without it. Seen:
#
#   built: the same version
#   one more include, both built: another version
#   Module.symvers of the user removed, built: the same version
#
# The kernel does not load such a module: "disagrees about version of symbol".

set -eu
version=6.12.117-1~deb12u1
release=6.12.117+deb12
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"

apt-get download -qq "linux-headers-$release-amd64=$version" \
	"linux-headers-$release-common=$version" "linux-kbuild-$release=$version" >/dev/null 2>&1
for package in ./*.deb; do
	dpkg-deb -x "$package" .
done
kernel=$directory/usr/src/linux-headers-$release-amd64
# It is not installed in /usr/src.
printf 'include %s\n' "$directory/usr/src/linux-headers-$release-common/Makefile" >"$kernel/Makefile"

mkdir provider user
printf 'obj-m := provider.o\n' >provider/Kbuild
printf 'obj-m := user.o\n' >user/Kbuild
cat >user/user.c <<'END'
#include <linux/module.h>
#include "../provider/thing.h"
static int __init user_init(void)
{
	return provide(NULL);
}
module_init(user_init);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("uses");
END
printf 'struct thing { struct secret *secret; };\nint provide(struct thing *thing);\n' >provider/thing.h
printf 'struct secret { int one; };\n' >provider/secret.h

# provider_includes HEADER...
provider_includes()
{
	printf '#include "%s"\n' "$@" >provider/provider.c
	cat >>provider/provider.c <<-'END'
	#include <linux/module.h>
	int provide(struct thing *thing)
	{
		return thing != NULL;
	}
	EXPORT_SYMBOL_GPL(provide);
	MODULE_LICENSE("GPL");
	MODULE_DESCRIPTION("provides");
	END
}

# build MODULE ARGUMENT...
build()
{
	module=$1
	shift
	make -s -C "$kernel" M="$directory/$module" "$@" modules >>log 2>&1
}

build_user()
{
	build user KBUILD_EXTRA_SYMBOLS="$directory/provider/Module.symvers"
}

# compare WHEN: the version that the provider has, and the one that its user asks for
compare()
{
	has=$(sed -n 's/^\(0x[0-9a-f]*\)\tprovide\t.*/\1/p' provider/Module.symvers)
	wants=$(sed -n 's/^\t{ \(0x[0-9a-f]*\), "provide" },$/\1/p' user/user.mod.c)
	if [ -z "$has" ] || [ -z "$wants" ]; then
		cat log
		exit 1
	elif [ "$has" = "$wants" ]; then
		printf '%s: the same version\n' "$1"
	else
		printf '%s: another version\n' "$1"
	fi
}

{
	provider_includes thing.h
	build provider && build_user
	compare built
	provider_includes secret.h thing.h
	build provider && build_user
	compare 'one more include, both built'
	rm user/Module.symvers
	build_user
	compare 'Module.symvers of the user removed, built'
} | tee seen
[ "$(cat seen)" = 'built: the same version
one more include, both built: another version
Module.symvers of the user removed, built: the same version' ] || { cat log; exit 1; }
