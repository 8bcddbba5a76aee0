// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror_dma_test: drivers of devices that have no DMA but everything that is mapped
 * for it, for the kselftests.
 *
 * What a device is told is kept in an xarray, compared with what hmm_mirror_dma_lookup()
 * says, and followed through the IOMMU, if there is one, to the page that an access of the
 * device would end at. The order of calls is logged and watched.
 *
 * The device node shows physical addresses and is for root alone. Nothing but a test should
 * load this.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cgroup.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/memcontrol.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/sched/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

#include "hmm_mirror.h"
#include "dma_test.h"

static_assert(DMA_TEST_REQ_FAULT == HMM_MIRROR_PFN_REQ_FAULT);
static_assert(DMA_TEST_REQ_WRITE == HMM_MIRROR_PFN_REQ_WRITE);

/* QEMU's edu and pci-testdev */
static const struct pci_device_id pci_ids[] = {
	[DMA_TEST_PCI] = { PCI_DEVICE(0x1234, 0x11e8) },
	[DMA_TEST_PCI_PEER] = { PCI_DEVICE(0x1b36, 0x0005) },
};

/* An address of a page leaves room for these. */
#define SHADOW_WRITE		BIT_ULL(0)
#define SHADOW_P2P		BIT_ULL(1)

static struct platform_device *platform_devices[2];

struct test_file;

/* A device's side of a mirror */
struct test_device {
	struct hmm_mirror_dma dma;
	struct test_file *file;
	struct device *dev;
	u64 mask; /* of its driver, to be restored */
	bool active;
	/* Page number to what the device has been told; under the mirror's lock. */
	struct xarray shadow;
};

struct test_file {
	struct hmm_mirror mirror;
	struct mutex lock; /* over the calls of user space */
	bool has_mirror;
	struct test_device devices[DMA_TEST_NR_DEVICES];
	struct mem_cgroup *charged;
	struct cgroup_subsys_state *charged_css;

	/* Under the mirror's lock, from the first call on. */
	struct dma_test_knobs knobs;
	u32 nr_set;
	u32 violation;
	u32 nr_logged;
	u32 nr_lost;
	struct dma_test_entry *log;
};

static struct test_file *file_of(struct hmm_mirror *mirror)
{
	return container_of(mirror, struct test_file, mirror);
}

static struct test_device *device_of(struct hmm_mirror_dma *dma)
{
	return container_of(dma, struct test_device, dma);
}

static u32 number_of(const struct test_device *device)
{
	return device - device->file->devices;
}

static void violation(struct test_file *file, enum dma_test_violation what)
{
	if (!file->violation)
		file->violation = what;
}

static void log_call(struct test_file *file, const struct dma_test_entry *entry)
{
	lockdep_assert_held(&file->mirror.lock);
	if (file->nr_logged == DMA_TEST_LOG_MAX)
		file->nr_lost++;
	else
		file->log[file->nr_logged++] = *entry;
}

/* --- The device ---------------------------------------------------------------- */

static int test_set(struct hmm_mirror_dma *dma,
		    const struct hmm_mirror_dma_run *run)
{
	struct test_device *device = device_of(dma);
	struct test_file *file = device->file;
	struct dma_test_entry entry = {
		.call = DMA_TEST_SET,
		.device = number_of(device),
		.start = run->addr,
		.end = run->addr + (run->npages << PAGE_SHIFT),
		.dma = run->dma,
		.write = run->write,
		.order = run->order,
	};
	unsigned long block = PAGE_SIZE << run->order;
	unsigned long i;

	log_call(file, &entry);
	if (!run->npages || round_down(entry.start, block) !=
			    round_down(entry.end - 1, block))
		violation(file, DMA_TEST_RUN_LENGTH);
	if (file->knobs.set_error &&
	    file->nr_set++ >= file->knobs.set_error_after)
		return -(int)file->knobs.set_error;
	for (i = 0; i < run->npages; i++) {
		unsigned long index = (run->addr >> PAGE_SHIFT) + i;
		unsigned long value = run->dma + (i << PAGE_SHIFT);
		void *old;

		if (run->write)
			value |= SHADOW_WRITE;
		if (run->kind != HMM_MIRROR_DMA_SYSTEM)
			value |= SHADOW_P2P;
		old = xa_store(&device->shadow, index, xa_mk_value(value),
			       GFP_ATOMIC | __GFP_NOWARN);
		if (xa_is_err(old))
			return xa_err(old);
		if (old && xa_to_value(old) != value)
			violation(file, DMA_TEST_NOT_ZAPPED);
	}
	return 0;
}

static bool has_shadow(struct test_device *device, unsigned long start,
		       unsigned long end)
{
	unsigned long index = start >> PAGE_SHIFT;

	return xa_find(&device->shadow, &index, (end - 1) >> PAGE_SHIFT,
		       XA_PRESENT);
}

static bool is_mapped(struct test_device *device, unsigned long start,
		      unsigned long end)
{
	unsigned long addr;
	struct hmm_mirror_dma_run run;

	for (addr = start; addr < end; addr += PAGE_SIZE) {
		if (hmm_mirror_dma_lookup(&device->dma, addr, &run))
			return true;
	}
	return false;
}

static void check_whole_runs(struct test_device *device, unsigned long start,
			     unsigned long end)
{
	struct hmm_mirror_dma_run run;

	/* Too much to be looked through */
	if (end - start > SZ_1G) {
		violation(device->file, DMA_TEST_NOTHING_THERE);
		return;
	}
	if (!is_mapped(device, start, end))
		violation(device->file, DMA_TEST_NOTHING_THERE);
	if (hmm_mirror_dma_lookup(&device->dma, start, &run) &&
	    run.addr != start)
		violation(device->file, DMA_TEST_PART_OF_RUN);
	if (hmm_mirror_dma_lookup(&device->dma, end - 1, &run) &&
	    run.addr + (run.npages << PAGE_SHIFT) != end)
		violation(device->file, DMA_TEST_PART_OF_RUN);
}

static void test_zap(struct hmm_mirror_dma *dma, unsigned long start,
		     unsigned long end)
{
	struct test_device *device = device_of(dma);
	struct dma_test_entry entry = {
		.call = DMA_TEST_ZAP,
		.device = number_of(device),
		.start = start,
		.end = end,
	};
	unsigned long index;
	void *value;

	log_call(device->file, &entry);
	check_whole_runs(device, start, end);
	xa_for_each_range(&device->shadow, index, value, start >> PAGE_SHIFT,
			  (end - 1) >> PAGE_SHIFT)
		xa_erase(&device->shadow, index);
}

static void test_wait(struct hmm_mirror_dma *dma, unsigned long start,
		      unsigned long end)
{
	struct test_device *device = device_of(dma);
	u32 us = device->file->knobs.wait_us;
	struct dma_test_entry entry = {
		.call = DMA_TEST_WAIT,
		.device = number_of(device),
		.start = start,
		.end = end,
	};

	log_call(device->file, &entry);
	check_whole_runs(device, start, end);
	if (has_shadow(device, start, end))
		violation(device->file, DMA_TEST_WAIT_WITHOUT_ZAP);
	if (us)
		usleep_range(us, 2 * us);
}

static const struct hmm_mirror_dma_ops test_dma_ops = {
	.set = test_set,
	.zap = test_zap,
	.wait = test_wait,
};

/* --- Callbacks ------------------------------------------------------------------ */

static void check_unmapped(struct test_file *file, unsigned long start,
			   unsigned long end)
{
	unsigned int i;

	for (i = 0; i < DMA_TEST_NR_DEVICES; i++) {
		struct test_device *device = &file->devices[i];
		unsigned long from = start, to = end;

		if (!device->active)
			continue;
		if (hmm_mirror_dma_grow(&device->dma, &from, &to))
			violation(file, DMA_TEST_STILL_MAPPED);
		if (has_shadow(device, start, end))
			violation(file, DMA_TEST_STILL_SET);
	}
}

static int canned_map(struct hmm_mirror *mirror,
		      const struct hmm_mirror_extent *extents, unsigned int nr)
{
	struct mem_cgroup *old = set_active_memcg(file_of(mirror)->charged);
	int err = hmm_mirror_dma_ops_map(mirror, extents, nr);

	set_active_memcg(old);
	return err;
}

static void canned_unmap(struct hmm_mirror *mirror, unsigned long start,
			 unsigned long end, enum mmu_notifier_event event)
{
	hmm_mirror_dma_ops_unmap(mirror, start, end, event);
	check_unmapped(file_of(mirror), start, end);
}

static const struct hmm_mirror_ops canned_ops = {
	.map = canned_map,
	.unmap = canned_unmap,
};

/* As a driver has it that adds nothing: hmm_mirror_dma_populate() may look ahead. */
static const struct hmm_mirror_ops plain_ops = {
	.map = hmm_mirror_dma_ops_map,
	.unmap = canned_unmap,
};

static int map_extent_in_steps(struct test_device *device,
			       const struct hmm_mirror_extent *extent)
{
	struct hmm_mirror_dma *dma = &device->dma;
	struct hmm_mirror_dma_run run;
	unsigned long start, end;
	unsigned long pos = 0;
	int ret;

	if (hmm_mirror_dma_outdated(dma, extent, &start, &end)) {
		test_zap(dma, start, end);
		test_wait(dma, start, end);
		hmm_mirror_dma_unmap(dma, start, end);
	}
	while ((ret = hmm_mirror_dma_map(dma, extent, &run, &pos)) > 0) {
		ret = test_set(dma, &run);
		if (ret)
			return ret;
	}
	return ret;
}

static int map_in_steps(struct hmm_mirror *mirror,
			const struct hmm_mirror_extent *extents,
			unsigned int nr)
{
	struct test_file *file = file_of(mirror);
	struct mem_cgroup *old = set_active_memcg(file->charged);
	unsigned int i, j;
	int err = 0;

	for (i = 0; !err && i < DMA_TEST_NR_DEVICES; i++) {
		if (!file->devices[i].active)
			continue;
		for (j = 0; !err && j < nr; j++)
			err = map_extent_in_steps(&file->devices[i],
						  &extents[j]);
	}
	set_active_memcg(old);
	return err;
}

static void unmap_in_steps(struct hmm_mirror *mirror, unsigned long start,
			   unsigned long end, enum mmu_notifier_event event)
{
	struct test_file *file = file_of(mirror);
	unsigned int i;

	for (i = 0; i < DMA_TEST_NR_DEVICES; i++) {
		struct hmm_mirror_dma *dma = &file->devices[i].dma;
		unsigned long from = start, to = end;

		if (!file->devices[i].active ||
		    !hmm_mirror_dma_grow(dma, &from, &to))
			continue;
		test_zap(dma, from, to);
		test_wait(dma, from, to);
		hmm_mirror_dma_unmap(dma, from, to);
	}
	check_unmapped(file, start, end);
}

static const struct hmm_mirror_ops step_ops = {
	.map = map_in_steps,
	.unmap = unmap_in_steps,
};

/* --- Calls of user space ---------------------------------------------------------- */

static void exit_device(struct test_device *device)
{
	struct test_file *file = device->file;

	/* A driver with steps of its own stops the device itself. */
	if (!device->dma.ops)
		hmm_mirror_unmap_all(&file->mirror);
	hmm_mirror_dma_exit(&device->dma);
	hmm_mirror_lock(&file->mirror);
	device->active = false;
	if (!xa_empty(&device->shadow))
		violation(file, DMA_TEST_STILL_SET);
	hmm_mirror_unlock(&file->mirror);
	xa_destroy(&device->shadow);
	*device->dev->dma_mask = device->mask;
	put_device(device->dev);
}

static void end_mirror(struct test_file *file)
{
	unsigned int i;

	for (i = 0; i < DMA_TEST_NR_DEVICES; i++) {
		if (file->devices[i].active)
			exit_device(&file->devices[i]);
	}
	hmm_mirror_unregister(&file->mirror);
	file->has_mirror = false;
}

static struct device *find_device(u32 number)
{
	struct pci_dev *pci;

	if (number < ARRAY_SIZE(platform_devices))
		return get_device(&platform_devices[number]->dev);
	pci = pci_get_device(pci_ids[number].vendor, pci_ids[number].device,
			     NULL);
	return pci ? &pci->dev : NULL;
}

static bool is_translated(struct device *dev)
{
#ifdef CONFIG_IOMMU_API
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	return domain && (domain->type & __IOMMU_DOMAIN_DMA_API);
#else
	return false;
#endif
}

/* The page that an access of the device ends at. */
static unsigned long pfn_behind(struct device *dev, dma_addr_t addr)
{
#ifdef CONFIG_IOMMU_API
	if (is_translated(dev))
		return PHYS_PFN(iommu_iova_to_phys(iommu_get_domain_for_dev(dev),
						   addr));
#endif
	return PHYS_PFN(addr);
}

static int init_device(struct test_file *file, u32 number, u32 flags,
		       u32 mask_bits)
{
	struct test_device *device = &file->devices[number];
	unsigned int dma_flags = 0;
	int err;

	device->dev = find_device(number);
	if (!device->dev)
		return -ENODEV;
	device->mask = *device->dev->dma_mask;
	/* What dma_set_mask() may find too narrow for the kernel's own buffers. */
	err = dma_set_mask(device->dev, DMA_BIT_MASK(64));
	*device->dev->dma_mask = DMA_BIT_MASK(mask_bits);
	if (flags & DMA_TEST_FIXED)
		dma_flags |= HMM_MIRROR_DMA_FIXED;
	if (flags & DMA_TEST_TRACKED)
		dma_flags |= HMM_MIRROR_DMA_TRACKED;
	if (flags & DMA_TEST_UNKNOWN_FLAG)
		dma_flags |= BIT(31);
	device->dma.ops = flags & DMA_TEST_STEPS ? NULL : &test_dma_ops;
	xa_init(&device->shadow);
	if (!err)
		err = hmm_mirror_dma_init(&device->dma, &file->mirror,
					  device->dev, dma_flags);
	if (err) {
		*device->dev->dma_mask = device->mask;
		put_device(device->dev);
		return err;
	}
	/* With steps of one's own callbacks could use it from now on. */
	hmm_mirror_lock(&file->mirror);
	device->active = true;
	hmm_mirror_unlock(&file->mirror);
	return 0;
}

static const struct hmm_mirror_ops *ops_for(u32 flags)
{
	if (flags & DMA_TEST_STEPS)
		return &step_ops;
	return flags & DMA_TEST_PLAIN ? &plain_ops : &canned_ops;
}

static int call_register(struct test_file *file, void __user *user)
{
	struct dma_test_register args;
	int err;
	u32 i;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	if (args.devices >> DMA_TEST_NR_DEVICES || args.mask_bits < 12 ||
	    args.mask_bits > 64)
		return -EINVAL;
	if (file->has_mirror)
		return -EBUSY;
	file->mirror.dev_private_owner = NULL;
	file->violation = 0;
	file->nr_logged = 0;
	file->nr_lost = 0;
	file->nr_set = 0;
	args.translated = 0;
	args.max_pages = U32_MAX;
	err = hmm_mirror_register(&file->mirror, current->mm, args.start,
				  args.length, ops_for(args.flags));
	if (!err)
		file->has_mirror = true;
	for (i = 0; !err && i < DMA_TEST_NR_DEVICES; i++) {
		if (!(args.devices & BIT(i)))
			continue;
		err = init_device(file, i, args.flags, args.mask_bits);
		if (err)
			break;
		if (is_translated(file->devices[i].dev))
			args.translated |= BIT(i);
		args.max_pages = min_t(size_t, args.max_pages,
				       dma_max_mapping_size(file->devices[i].dev) >>
				       PAGE_SHIFT);
	}
	if (err && file->has_mirror)
		end_mirror(file);
	args.error = -err;
	return copy_to_user(user, &args, sizeof(args)) ? -EFAULT : 0;
}

static int call_populate(struct test_file *file, void __user *user)
{
	struct hmm_mirror_request request = {};
	struct dma_test_populate args;
	int err;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	request.start = args.start;
	request.end = args.end;
	request.default_flags = args.default_flags;
	if (args.flags & DMA_TEST_ONCE)
		err = hmm_mirror_populate(&file->mirror, &request);
	else
		err = hmm_mirror_dma_populate(&file->mirror, &request);
	args.error = -err;
	args.next = request.next;
	return copy_to_user(user, &args, sizeof(args)) ? -EFAULT : 0;
}

static u64 read_word(struct test_device *device, unsigned long addr,
		     u64 *address)
{
	void *entry = xa_load(&device->shadow, addr >> PAGE_SHIFT);
	struct hmm_mirror_dma_run run;
	unsigned long value;
	u64 word;

	*address = 0;
	if (!hmm_mirror_dma_lookup(&device->dma, addr, &run))
		return entry ? DMA_TEST_WRONG : 0;
	*address = run.dma + (addr - run.addr);
	value = *address | (run.write ? SHADOW_WRITE : 0) |
		(run.kind != HMM_MIRROR_DMA_SYSTEM ? SHADOW_P2P : 0);
	word = DMA_TEST_VALID;
	if (!entry || xa_to_value(entry) != value)
		word |= DMA_TEST_WRONG;
	if (run.write)
		word |= DMA_TEST_WRITE;
	if (run.addr == addr)
		word |= DMA_TEST_HEAD;
	if (run.kind != HMM_MIRROR_DMA_SYSTEM)
		word |= DMA_TEST_P2P;
	if (run.kind == HMM_MIRROR_DMA_P2P_BUS)
		word |= DMA_TEST_P2P_BUS;
	else
		word |= pfn_behind(device->dev, *address);
	return word;
}

static int call_read(struct test_file *file, void __user *user)
{
	struct test_device *device;
	u64 *words, *addresses;
	struct dma_test_read args;
	int ret = 0;
	u64 i;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	if (!args.npages || args.npages > DMA_TEST_READ_MAX || args.reserved ||
	    args.device >= DMA_TEST_NR_DEVICES ||
	    !file->devices[args.device].active)
		return -EINVAL;
	device = &file->devices[args.device];
	words = kvcalloc(2 * args.npages, sizeof(*words), GFP_KERNEL_ACCOUNT);
	if (!words)
		return -ENOMEM;
	addresses = words + args.npages;
	hmm_mirror_lock(&file->mirror);
	for (i = 0; i < args.npages; i++)
		words[i] = read_word(device, args.start + (i << PAGE_SHIFT),
				     &addresses[i]);
	hmm_mirror_unlock(&file->mirror);
	if (copy_to_user(u64_to_user_ptr(args.words), words,
			 args.npages * sizeof(*words)) ||
	    (args.addresses &&
	     copy_to_user(u64_to_user_ptr(args.addresses), addresses,
			  args.npages * sizeof(*addresses))))
		ret = -EFAULT;
	kvfree(words);
	return ret;
}

static int call_interval(struct test_file *file, unsigned int command,
			 void __user *user)
{
	struct dma_test_interval args;
	struct test_device *device;
	unsigned long start, end;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	if (args.device >= DMA_TEST_NR_DEVICES ||
	    !file->devices[args.device].active)
		return -EINVAL;
	device = &file->devices[args.device];
	start = args.start;
	end = args.end;
	args.result = 0;
	if (command == DMA_TEST_PREPARE) {
		args.result = -hmm_mirror_dma_prepare(&device->dma, start, end);
	} else {
		hmm_mirror_lock(&file->mirror);
		if (command == DMA_TEST_GROW)
			args.result = hmm_mirror_dma_grow(&device->dma, &start,
							  &end);
		else
			hmm_mirror_dma_written(&device->dma, start, end);
		hmm_mirror_unlock(&file->mirror);
	}
	args.start = start;
	args.end = end;
	return copy_to_user(user, &args, sizeof(args)) ? -EFAULT : 0;
}

static int call_knobs(struct test_file *file, void __user *user)
{
	struct dma_test_knobs knobs;

	if (copy_from_user(&knobs, user, sizeof(knobs)))
		return -EFAULT;
	if (knobs.reserved || knobs.set_error > MAX_ERRNO)
		return -EINVAL;
	hmm_mirror_lock(&file->mirror);
	file->knobs = knobs;
	file->nr_set = 0;
	hmm_mirror_unlock(&file->mirror);
	return 0;
}

static int call_log(struct test_file *file, void __user *user)
{
	struct dma_test_entry *entries;
	struct dma_test_log args;
	int ret = 0;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	entries = kvcalloc(DMA_TEST_LOG_MAX, sizeof(*entries),
			   GFP_KERNEL_ACCOUNT);
	if (!entries)
		return -ENOMEM;
	if (file->has_mirror)
		hmm_mirror_lock(&file->mirror);
	args.nr = file->nr_logged;
	args.lost = file->nr_lost;
	args.violation = file->violation;
	memcpy(entries, file->log, args.nr * sizeof(*entries));
	file->nr_logged = 0;
	file->nr_lost = 0;
	if (file->has_mirror)
		hmm_mirror_unlock(&file->mirror);
	if (copy_to_user(u64_to_user_ptr(args.entries), entries,
			 args.nr * sizeof(*entries)) ||
	    copy_to_user(user, &args, sizeof(args)))
		ret = -EFAULT;
	kvfree(entries);
	return ret;
}

static int call_charge(struct test_file *file, int fd)
{
#ifdef CONFIG_MEMCG
	struct cgroup *cgroup;

	file->charged = NULL;
	if (file->charged_css)
		css_put(file->charged_css);
	file->charged_css = NULL;
	if (fd < 0)
		return 0;
	cgroup = cgroup_get_from_fd(fd);
	if (IS_ERR(cgroup))
		return PTR_ERR(cgroup);
	file->charged_css = cgroup_get_e_css(cgroup, &memory_cgrp_subsys);
	file->charged = mem_cgroup_from_css(file->charged_css);
	cgroup_put(cgroup);
	return 0;
#else
	return -EOPNOTSUPP;
#endif
}

static int call_exit(struct test_file *file, unsigned long number)
{
	if (number >= DMA_TEST_NR_DEVICES || !file->devices[number].active)
		return -EINVAL;
	exit_device(&file->devices[number]);
	return 0;
}

static long test_ioctl(struct file *filp, unsigned int command,
		       unsigned long argument)
{
	struct test_file *file = filp->private_data;
	void __user *user = (void __user *)argument;
	long ret = -ENOENT;

	/* These can be called by several threads at a time. */
	if (command == DMA_TEST_POPULATE)
		return file->has_mirror ? call_populate(file, user) : -ENOENT;
	if (command == DMA_TEST_READ)
		return file->has_mirror ? call_read(file, user) : -ENOENT;

	if (mutex_lock_killable(&file->lock))
		return -EINTR;
	switch (command) {
	case DMA_TEST_REGISTER:
		ret = call_register(file, user);
		break;
	case DMA_TEST_LOG:
		ret = call_log(file, user);
		break;
	case DMA_TEST_CHARGE:
		ret = call_charge(file, argument);
		break;
	default:
		if (!file->has_mirror)
			break;
		ret = 0;
		switch (command) {
		case DMA_TEST_UNREGISTER:
			end_mirror(file);
			break;
		case DMA_TEST_PREPARE:
		case DMA_TEST_WRITTEN:
		case DMA_TEST_GROW:
			ret = call_interval(file, command, user);
			break;
		case DMA_TEST_KNOBS:
			ret = call_knobs(file, user);
			break;
		case DMA_TEST_EXIT:
			ret = call_exit(file, argument);
			break;
		case DMA_TEST_UNMAP_ALL:
			hmm_mirror_unmap_all(&file->mirror);
			break;
		default:
			ret = -ENOTTY;
		}
	}
	mutex_unlock(&file->lock);
	return ret;
}

static int test_open(struct inode *inode, struct file *filp)
{
	struct test_file *file = kzalloc(sizeof(*file), GFP_KERNEL_ACCOUNT);
	unsigned int i;

	if (!file)
		return -ENOMEM;
	file->log = kvcalloc(DMA_TEST_LOG_MAX, sizeof(*file->log),
			     GFP_KERNEL_ACCOUNT);
	if (!file->log) {
		kfree(file);
		return -ENOMEM;
	}
	mutex_init(&file->lock);
	for (i = 0; i < DMA_TEST_NR_DEVICES; i++)
		file->devices[i].file = file;
	filp->private_data = file;
	return 0;
}

static int test_release(struct inode *inode, struct file *filp)
{
	struct test_file *file = filp->private_data;

	if (file->has_mirror)
		end_mirror(file);
	/* Nobody will ask for it any more. */
	WARN_ON(file->violation);
	call_charge(file, -1);
	kvfree(file->log);
	kfree(file);
	return 0;
}

static const struct file_operations test_operations = {
	.owner = THIS_MODULE,
	.open = test_open,
	.release = test_release,
	.unlocked_ioctl = test_ioctl,
};

static struct miscdevice test_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hmm_mirror_dma_test",
	.fops = &test_operations,
	.mode = 0600,
};

static void remove_platform_devices(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(platform_devices); i++) {
		if (!IS_ERR_OR_NULL(platform_devices[i]))
			platform_device_unregister(platform_devices[i]);
	}
}

static int __init test_init(void)
{
	unsigned int i;
	int err;

	for (i = 0; i < ARRAY_SIZE(platform_devices); i++) {
		struct platform_device_info info = {
			.name = "hmm_mirror_dma_test",
			.id = i,
			.dma_mask = DMA_BIT_MASK(64),
		};

		platform_devices[i] = platform_device_register_full(&info);
		if (IS_ERR(platform_devices[i])) {
			err = PTR_ERR(platform_devices[i]);
			goto err_remove;
		}
	}
	err = misc_register(&test_misc);
	if (err)
		goto err_remove;
	return 0;

err_remove:
	remove_platform_devices();
	return err;
}
module_init(test_init);

static void __exit test_exit(void)
{
	misc_deregister(&test_misc);
	remove_platform_devices();
}
module_exit(test_exit);

MODULE_DESCRIPTION("Drivers of devices without DMA for the tests of hmm_mirror");
MODULE_AUTHOR("The hmm_mirror developers");
MODULE_LICENSE("GPL");
