// SPDX-License-Identifier: GPL-2.0
#include <linux/migrate.h>

unsigned long probe(struct migrate_vma *migration);
unsigned long probe(struct migrate_vma *migration)
{
	migration->flags |= MIGRATE_VMA_SELECT_COMPOUND;
	return migration->src[0] & MIGRATE_PFN_COMPOUND;
}
