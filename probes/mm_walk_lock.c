// SPDX-License-Identifier: GPL-2.0
#include <linux/pagewalk.h>

const struct mm_walk_ops probe = { .walk_lock = PGWALK_RDLOCK };
