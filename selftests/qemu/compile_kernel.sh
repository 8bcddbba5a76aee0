#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# compile_kernel.sh TREE ROOT CONFIG...: configures and builds the kernel in TREE as
# tinyconfig and these fragments say, of which each line must take effect unless a
# later fragment contradicts it, installs the modules below ROOT and removes from
# TREE what neither modules nor the kernel's own tests need. Prints what the
# compiler prints.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"

tree=$1
root=$2
shift 2

# final_lines CONFIG...: what the fragments demand when all are read
final_lines()
{
	sed -n -e 's/^\(CONFIG_[A-Z0-9_]*\)=.*/\1 &/p' \
		-e 's/^# \(CONFIG_[A-Z0-9_]*\) is not set$/\1 &/p' "$@" |
		awk '{ name = $1; sub(/^[^ ]* /, ""); last[name] = $0 }
		     END { for (name in last) print last[name] }' | sort
}

# An option that depends on what is not there is not mentioned at all.
lost_lines()
{
	final_lines "$@" | while read -r line; do
		case $line in
		'# '*)
			name=${line#\# }
			! grep "^${name%% *}=" "$tree/.config" || : ;;
		*)
			grep -qxF "$line" "$tree/.config" ||
				printf '%s\n' "$line" ;;
		esac
	done
}

strip_tree()
{
	(
		cd "$1"
		find . -path ./scripts -prune -o -path ./tools -prune -o \
			\( -name '*.o' -o -name '*.a' -o -name '.*.cmd' \) \
			-exec rm -f {} +
		rm -rf Documentation drivers sound net fs crypto samples vmlinux
		find arch -mindepth 1 -maxdepth 1 -type d ! -name x86 \
			-exec rm -rf {} +
	)
}

# A sixth of the kernel is ACPI, which no test comes near. KASAN would take time there, when
# it is compiled and when it runs.
exempt_from_kasan()
{
	for directory in acpi acpi/acpica pnp pnp/pnpacpi; do
		printf 'KASAN_SANITIZE := n\nUBSAN_SANITIZE := n\n' \
			>>"$1/drivers/$directory/Makefile"
	done
}

unset MAKEFLAGS MFLAGS MAKEOVERRIDES
# It is kept as a whole. That the compiler's cache reads all there is a first time makes
# it take a quarter longer.
export CCACHE_DISABLE=1
make -s -C "$tree" tinyconfig
{
	final_lines "$@"
	printf 'CONFIG_LOCALVERSION="-hmm-mirror"\n'
} >>"$tree/.config"
make -s -C "$tree" olddefconfig
lost=$(lost_lines "$@")
[ -z "$lost" ] || die "this did not take effect: $lost"
exempt_from_kasan "$tree"
make -s -j "$(nproc)" -C "$tree" bzImage modules
make -s -C "$tree" modules_install INSTALL_MOD_PATH="$root"
mv "$tree/arch/x86/boot/bzImage" "$tree/bzImage"
rm -rf "$tree/arch/x86/boot"
strip_tree "$tree"
