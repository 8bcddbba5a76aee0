// SPDX-License-Identifier: GPL-2.0
#include <linux/memremap.h>

void probe(struct dev_pagemap_ops *ops,
	   void (*split)(struct folio *head, struct folio *tail));
void probe(struct dev_pagemap_ops *ops,
	   void (*split)(struct folio *head, struct folio *tail))
{
	ops->folio_split = split;
}
