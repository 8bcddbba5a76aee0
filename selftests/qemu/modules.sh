#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# modules.sh [NAME]: builds the modules for a kernel of the table "kernels", and says where
# they are, and how a driver is built that uses them.

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"
lock_tree "$0" "$@"

kernel=${1:-$(default_kernel)}
location=$("$qemu_dir/build.sh" "$kernel")
eval "$location"
source=$top_dir/build/$kernel/src
driver="M=\"\$PWD\" CFLAGS_MODULE=-I$source KBUILD_EXTRA_SYMBOLS=$source/Module.symvers modules"

printf 'The modules are in %s.\n' "$source"
if [ -z "${kernel_builder:-}" ]; then
	printf 'A driver that uses hmm_mirror.h is built with, in its directory:\n\n'
	printf '    make -C %s %s\n' "${kernel_build:?}" "$driver"
else
	printf 'A driver that uses hmm_mirror.h is built with, in a directory below %s:\n\n' "$top_dir/build"
	printf '    %s %s make -C %s %s\n' "$qemu_dir/in_root.sh" "$kernel_builder" "${kernel_build:?}" "$driver"
fi
printf '\nThe virtual machine has it in / after: make shell KERNEL=%s WITH=<directory>\n' "$kernel"
