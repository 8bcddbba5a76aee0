// SPDX-License-Identifier: GPL-2.0
#include <linux/memremap.h>

void probe(struct dev_pagemap_ops *ops, void (*free)(struct folio *folio));
void probe(struct dev_pagemap_ops *ops, void (*free)(struct folio *folio))
{
	ops->folio_free = free;
}
