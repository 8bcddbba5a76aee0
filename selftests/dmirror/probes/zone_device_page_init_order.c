// SPDX-License-Identifier: GPL-2.0
#include <linux/memremap.h>

void probe(struct page *page, struct dev_pagemap *pagemap, unsigned int order);
void probe(struct page *page, struct dev_pagemap *pagemap, unsigned int order)
{
	zone_device_folio_init(page_folio(page), pagemap, order);
}
