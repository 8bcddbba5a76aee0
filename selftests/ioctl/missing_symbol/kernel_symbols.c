// SPDX-License-Identifier: GPL-2.0
/* What hmm_mirror.ko does on a kernel that has no such function. */
#define WALK_PAGE_RANGE_SYMBOL	"hmm_mirror_no_such_function"
#include "../../../kernel_symbols.c"
