// SPDX-License-Identifier: GPL-2.0
/* The way of RDMA drivers with on-demand paging. */
#include "ways.h"

#if IS_ENABLED(CONFIG_INFINIBAND_ON_DEMAND_PAGING)
#include <linux/err.h>
#include <linux/hmm.h>
#include <linux/minmax.h>
#include <linux/pci-p2pdma.h>
#include <linux/slab.h>
#include <rdma/ib_umem_odp.h>
#include <rdma/ib_verbs.h>

/* Never registered: it says which device does the DMA. */
struct bench_ib {
	struct ib_device base;
};

struct watch {
	struct bench_ib *ib;
	struct ib_umem_odp *odp;
};

/*
 * "RDMA/umem: Store ODP access mask information in PFN" and "RDMA/umem: Separate implicit ODP
 * initialization from explicit ODP", v6.16: what is asked for is said with HMM's flags, and
 * the driver has each page mapped by a call of its own.
 */
#ifdef ODP_WRITE_ALLOWED_BIT
#define ACCESS_MASK	(ODP_READ_ALLOWED_BIT | ODP_WRITE_ALLOWED_BIT)

static bool page_address_of(struct ib_umem_odp *odp, size_t index,
			    dma_addr_t *dma)
{
	*dma = odp->dma_list[index] & ODP_DMA_ADDR_MASK;
	return odp->dma_list[index] & ODP_WRITE_ALLOWED_BIT;
}

static int map_pages(struct ib_umem_odp *odp, unsigned long start,
		     unsigned long end)
{
	return 0;
}
#else
#define ACCESS_MASK	HMM_PFN_WRITE

static bool page_address_of(struct ib_umem_odp *odp, size_t index,
			    dma_addr_t *dma)
{
	struct pci_p2pdma_map_state p2pdma_state = {};
	struct hmm_dma_map *map = &odp->map;

	if (!(map->pfn_list[index] & HMM_PFN_DMA_MAPPED))
		return false;
	/* It is kept nowhere if it follows from the page: ask again. */
	*dma = hmm_dma_map_pfn(odp->umem.ibdev->dma_device, map, index,
			       &p2pdma_state);
	return map->pfn_list[index] & HMM_PFN_WRITE;
}

static int map_pages(struct ib_umem_odp *odp, unsigned long start,
		     unsigned long end)
{
	struct device *dev = odp->umem.ibdev->dma_device;
	struct pci_p2pdma_map_state p2pdma_state = {};
	size_t index = (start - ib_umem_start(odp)) >> PAGE_SHIFT;

	for (; start < end; start += PAGE_SIZE) {
		dma_addr_t dma = hmm_dma_map_pfn(dev, &odp->map, index++,
						 &p2pdma_state);

		if (dma_mapping_error(dev, dma))
			return -EFAULT;
	}
	return 0;
}
#endif

static bool invalidate(struct mmu_interval_notifier *notifier,
		       const struct mmu_notifier_range *range,
		       unsigned long sequence)
{
	struct ib_umem_odp *odp = container_of(notifier, struct ib_umem_odp,
					       notifier);

	if (!mmu_notifier_range_blockable(range))
		return false;
	mutex_lock(&odp->umem_mutex);
	mmu_interval_set_seq(notifier, sequence);
	ib_umem_odp_unmap_dma_pages(odp, max(ib_umem_start(odp), range->start),
				    min(ib_umem_end(odp), range->end));
	mutex_unlock(&odp->umem_mutex);
	return true;
}

static const struct mmu_interval_notifier_ops notifier_ops = {
	.invalidate = invalidate,
};

static void *odp_open(struct device *dev, unsigned long start,
		      unsigned long length)
{
	struct watch *watch = kzalloc(sizeof(*watch), GFP_KERNEL);
	int err = -ENOMEM;

	if (!watch)
		return ERR_PTR(-ENOMEM);
	watch->ib = ib_alloc_device(bench_ib, base);
	if (!watch->ib)
		goto err_free;
	watch->ib->base.dma_device = dev;
	watch->odp = ib_umem_odp_get(&watch->ib->base, start, length,
				     IB_ACCESS_ON_DEMAND |
				     IB_ACCESS_LOCAL_WRITE, &notifier_ops);
	err = PTR_ERR_OR_ZERO(watch->odp);
	if (!err)
		return watch;
	ib_dealloc_device(&watch->ib->base);

err_free:
	kfree(watch);
	return ERR_PTR(err);
}

static void odp_close(void *data)
{
	struct watch *watch = data;

	ib_umem_odp_release(watch->odp);
	ib_dealloc_device(&watch->ib->base);
	kfree(watch);
}

static int odp_populate(void *data, unsigned long start, unsigned long end)
{
	struct watch *watch = data;
	int ret = ib_umem_odp_map_dma_and_lock(watch->odp, start, end - start,
					       ACCESS_MASK, true);

	if (ret < 0)
		return ret;
	ret = map_pages(watch->odp, start, end);
	mutex_unlock(&watch->odp->umem_mutex);
	return ret;
}

static void odp_unmap(void *data)
{
	struct watch *watch = data;

	mutex_lock(&watch->odp->umem_mutex);
	ib_umem_odp_unmap_dma_pages(watch->odp, ib_umem_start(watch->odp),
				    ib_umem_end(watch->odp));
	mutex_unlock(&watch->odp->umem_mutex);
}

static bool odp_lookup(void *data, unsigned long addr, dma_addr_t *dma)
{
	struct watch *watch = data;
	bool found;

	mutex_lock(&watch->odp->umem_mutex);
	found = page_address_of(watch->odp,
				(addr - ib_umem_start(watch->odp)) >> PAGE_SHIFT,
				dma);
	mutex_unlock(&watch->odp->umem_mutex);
	return found;
}

const struct bench_way bench_odp = {
	.open = odp_open,
	.close = odp_close,
	.populate = odp_populate,
	.unmap = odp_unmap,
	.lookup = odp_lookup,
};
#else
const struct bench_way bench_odp = {};
#endif
