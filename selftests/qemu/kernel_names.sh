#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# kernel_names.sh: the names in the table of kernels; with --cache, where what
# was downloaded for them is kept. For "make help".

set -eu
qemu_dir=$(cd "$(dirname "$0")" && pwd)
. "$qemu_dir/common.sh"

case ${1:-} in
--cache) printf '%s\n' "$cache_dir" ;;
*) kernel_names | paste -s -d ' ' ;;
esac
