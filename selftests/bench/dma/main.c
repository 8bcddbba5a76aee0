// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_bench_dma: has memory mapped for DMA by devices that do none, by hmm_mirror and by what
 * else does it, and reads the time stamp counter before and after. As in hmm_bench, "make
 * bench" has the virtual machine count instructions with it.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/timex.h>
#include <linux/uaccess.h>

#include "dma.h"
#include "ways.h"

#define HUGE_ORDER	9
#define HUGE_PAGES	BIT(HUGE_ORDER)

static const struct bench_way *const ways[BENCH_DMA_NR_WAYS] = {
	[BENCH_DMA_MIRROR] = &bench_mirror,
	[BENCH_DMA_GPUSVM] = &bench_gpusvm,
	[BENCH_DMA_ODP] = &bench_odp,
};

static struct device *targets[BENCH_DMA_NR_TARGETS];

struct bench_file {
	struct mutex lock; /* one call of an open file at a time */
	const struct bench_way *way;
	struct device *dev;
	void *watch;
};

/* The translation in front of the device, or NULL */
static struct iommu_domain *translation_of(struct device *dev)
{
#ifdef CONFIG_IOMMU_API
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	if (domain && (domain->type & __IOMMU_DOMAIN_PAGING))
		return domain;
#endif
	return NULL;
}

static unsigned long pfn_behind(struct device *dev, dma_addr_t dma)
{
	struct iommu_domain *domain = translation_of(dev);

	return PHYS_PFN(domain ? iommu_iova_to_phys(domain, dma) : dma);
}

static void close_watch(struct bench_file *file)
{
	if (file->watch)
		file->way->close(file->watch);
	file->watch = NULL;
}

static int call_open(struct bench_file *file, void __user *user)
{
	const struct bench_way *way;
	struct bench_dma_open args;
	struct device *dev;
	void *watch;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	if (args.way >= BENCH_DMA_NR_WAYS || args.target >= BENCH_DMA_NR_TARGETS)
		return -EINVAL;
	close_watch(file);
	dev = targets[args.target];
	way = ways[args.way];
	if (!dev)
		return -ENODEV;
	if (!way->open)
		return -EOPNOTSUPP;
	args.translated = !!translation_of(dev);
	if (copy_to_user(user, &args, sizeof(args)))
		return -EFAULT;
	watch = way->open(dev, args.start, args.length);
	if (IS_ERR(watch))
		return PTR_ERR(watch);
	file->way = way;
	file->dev = dev;
	file->watch = watch;
	return 0;
}

static bool interval_valid(u64 start, u64 end)
{
	return PAGE_ALIGNED(start | end) && start < end && end <= TASK_SIZE;
}

static int call_populate(struct bench_file *file, void __user *user)
{
	struct bench_dma_populate args;
	unsigned long addr;
	cycles_t ticks;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	if (!interval_valid(args.start, args.end) || !args.step ||
	    (args.end - args.start) % args.step)
		return -EINVAL;
	ticks = get_cycles();
	for (addr = args.start; addr < args.end; addr += args.step) {
		int err = file->way->populate(file->watch, addr,
					      addr + args.step);

		if (err)
			return err;
	}
	args.ticks = get_cycles() - ticks;
	return copy_to_user(user, &args, sizeof(args)) ? -EFAULT : 0;
}

static int call_unmap(struct bench_file *file, u64 __user *user)
{
	cycles_t ticks = get_cycles();

	file->way->unmap(file->watch);
	ticks = get_cycles() - ticks;
	return put_user((u64)ticks, user);
}

static int call_sum(struct bench_file *file, void __user *user)
{
	struct bench_dma_sum args;
	unsigned long addr;
	dma_addr_t dma;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	if (!interval_valid(args.start, args.end))
		return -EINVAL;
	args.nr_pages = 0;
	args.sum = 0;
	for (addr = args.start; addr < args.end; addr += PAGE_SIZE) {
		if (!file->way->lookup(file->watch, addr, &dma))
			continue;
		args.nr_pages++;
		args.sum = args.sum * 31 + pfn_behind(file->dev, dma) +
			   (addr >> PAGE_SHIFT);
		cond_resched();
	}
	return copy_to_user(user, &args, sizeof(args)) ? -EFAULT : 0;
}

/* What a driver does that knows nothing of runs. */
static int map_one_by_one(struct device *dev, struct page *pages,
			  dma_addr_t *dma)
{
	unsigned int i, mapped;
	int err = 0;

	for (mapped = 0; mapped < HUGE_PAGES; mapped++) {
		dma[mapped] = dma_map_page(dev, pages + mapped, 0, PAGE_SIZE,
					   DMA_BIDIRECTIONAL);
		err = dma_mapping_error(dev, dma[mapped]);
		if (err)
			break;
	}
	for (i = 0; i < mapped; i++)
		dma_unmap_page(dev, dma[i], PAGE_SIZE, DMA_BIDIRECTIONAL);
	return err;
}

static int call_pages(void __user *user)
{
	struct bench_dma_pages args;
	struct page *pages;
	dma_addr_t *dma;
	int err = 0;
	u32 i;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	if (args.target >= BENCH_DMA_NR_TARGETS || !args.repeat)
		return -EINVAL;
	if (!targets[args.target])
		return -ENODEV;
	dma = kcalloc(HUGE_PAGES, sizeof(*dma), GFP_KERNEL);
	if (!dma)
		return -ENOMEM;
	pages = alloc_pages(GFP_KERNEL, HUGE_ORDER);
	if (!pages) {
		kfree(dma);
		return -ENOMEM;
	}
	args.ticks = U64_MAX;
	for (i = 0; !err && i < args.repeat; i++) {
		cycles_t ticks = get_cycles();

		err = map_one_by_one(targets[args.target], pages, dma);
		ticks = get_cycles() - ticks;
		args.ticks = min_t(u64, args.ticks, ticks);
		cond_resched();
	}
	__free_pages(pages, HUGE_ORDER);
	kfree(dma);
	if (!err && copy_to_user(user, &args, sizeof(args)))
		err = -EFAULT;
	return err;
}

static long call_watch(struct bench_file *file, unsigned int command,
		       void __user *user)
{
	if (!file->watch)
		return -EINVAL;
	switch (command) {
	case BENCH_DMA_POPULATE:
		return call_populate(file, user);
	case BENCH_DMA_UNMAP:
		return call_unmap(file, user);
	case BENCH_DMA_SUM:
		return call_sum(file, user);
	case BENCH_DMA_CLOSE:
		close_watch(file);
		return 0;
	}
	return -ENOTTY;
}

static long bench_ioctl(struct file *filp, unsigned int command,
			unsigned long argument)
{
	struct bench_file *file = filp->private_data;
	void __user *user = (void __user *)argument;
	long err;

	mutex_lock(&file->lock);
	switch (command) {
	case BENCH_DMA_OPEN:
		err = call_open(file, user);
		break;
	case BENCH_DMA_PAGES:
		err = call_pages(user);
		break;
	default:
		err = call_watch(file, command, user);
		break;
	}
	mutex_unlock(&file->lock);
	return err;
}

static int bench_open(struct inode *inode, struct file *filp)
{
	struct bench_file *file = kzalloc(sizeof(*file), GFP_KERNEL);

	if (!file)
		return -ENOMEM;
	mutex_init(&file->lock);
	filp->private_data = file;
	return 0;
}

static int bench_release(struct inode *inode, struct file *filp)
{
	struct bench_file *file = filp->private_data;

	close_watch(file);
	kfree(file);
	return 0;
}

static const struct file_operations bench_fops = {
	.owner = THIS_MODULE,
	.open = bench_open,
	.release = bench_release,
	.unlocked_ioctl = bench_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice bench_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hmm_bench_dma",
	.fops = &bench_fops,
	.mode = 0600,
};

static struct platform_device *platform_device;

static void put_targets(void)
{
	put_device(targets[BENCH_DMA_PCI]);
	platform_device_unregister(platform_device);
}

static int __init find_targets(void)
{
	const struct platform_device_info info = {
		.name = "hmm_bench_dma",
		.id = PLATFORM_DEVID_NONE,
		.dma_mask = DMA_BIT_MASK(64),
	};
	struct pci_dev *pci = pci_get_device(0x1234, 0x11e8, NULL);
	unsigned int i;
	int err = 0;

	targets[BENCH_DMA_PCI] = pci ? &pci->dev : NULL;
	platform_device = platform_device_register_full(&info);
	if (IS_ERR(platform_device)) {
		put_device(targets[BENCH_DMA_PCI]);
		return PTR_ERR(platform_device);
	}
	targets[BENCH_DMA_PLATFORM] = &platform_device->dev;
	for (i = 0; !err && i < BENCH_DMA_NR_TARGETS; i++) {
		if (targets[i])
			err = dma_set_mask_and_coherent(targets[i],
							DMA_BIT_MASK(64));
	}
	if (err)
		put_targets();
	return err;
}

static int __init bench_init(void)
{
	int err = find_targets();

	if (err)
		return err;
	err = misc_register(&bench_device);
	if (err)
		put_targets();
	return err;
}
module_init(bench_init);

static void __exit bench_exit(void)
{
	misc_deregister(&bench_device);
	put_targets();
}
module_exit(bench_exit);

MODULE_DESCRIPTION("Measures the DMA of hmm_mirror beside that of others");
MODULE_LICENSE("GPL");
