// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror's way: a driver of a device that has no page table of its own, and starts DMA
 * with what hmm_mirror_dma_lookup() says.
 */
#include <linux/err.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "hmm_mirror.h"
#include "ways.h"

struct watch {
	struct hmm_mirror mirror;
	struct hmm_mirror_dma dma;
};

static const struct hmm_mirror_dma_ops no_page_table = {};

static void *mirror_open(struct device *dev, unsigned long start,
			 unsigned long length)
{
	struct watch *watch = kzalloc(sizeof(*watch), GFP_KERNEL_ACCOUNT);
	int err;

	if (!watch)
		return ERR_PTR(-ENOMEM);
	err = hmm_mirror_register(&watch->mirror, current->mm, start, length,
				  &hmm_mirror_dma_mirror_ops);
	if (err)
		goto err_free;
	watch->dma.ops = &no_page_table;
	err = hmm_mirror_dma_init(&watch->dma, &watch->mirror, dev, 0);
	if (err)
		goto err_unregister;
	return watch;

err_unregister:
	hmm_mirror_unregister(&watch->mirror);
err_free:
	kfree(watch);
	return ERR_PTR(err);
}

static void mirror_close(void *data)
{
	struct watch *watch = data;

	hmm_mirror_dma_exit(&watch->dma);
	hmm_mirror_unregister(&watch->mirror);
	kfree(watch);
}

static int mirror_populate(void *data, unsigned long start, unsigned long end)
{
	struct watch *watch = data;
	struct hmm_mirror_request request = {
		.start = start,
		.end = end,
		.default_flags = HMM_MIRROR_PFN_REQ_FAULT |
				 HMM_MIRROR_PFN_REQ_WRITE,
	};

	return hmm_mirror_dma_populate(&watch->mirror, &request);
}

static void mirror_unmap(void *data)
{
	struct watch *watch = data;

	hmm_mirror_unmap_all(&watch->mirror);
}

static bool mirror_lookup(void *data, unsigned long addr, dma_addr_t *dma)
{
	struct watch *watch = data;
	struct hmm_mirror_dma_run run;
	bool found;

	hmm_mirror_lock(&watch->mirror);
	found = hmm_mirror_dma_lookup(&watch->dma, addr, &run) && run.write;
	hmm_mirror_unlock(&watch->mirror);
	if (found)
		*dma = run.dma + (addr - run.addr);
	return found;
}

const struct bench_way bench_mirror = {
	.open = mirror_open,
	.close = mirror_close,
	.populate = mirror_populate,
	.unmap = mirror_unmap,
	.lookup = mirror_lookup,
};
