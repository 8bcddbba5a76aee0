// SPDX-License-Identifier: GPL-2.0
/*
 * The ioctls. Whatever the caller asks for, memory is used by the chunk.
 */
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/jiffies.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "dmirror.h"
#include "uapi.h"

/* Data that is copied between two looks at a signal, and under one lock. */
#define BOUNCE_SIZE		(16 * PAGE_SIZE)

/* Pages of a snapshot that are reported at a time, one byte each. */
#define SNAPSHOT_PAGES		PAGE_SIZE

/* READ_UNLOCKED alone waits for ever. */
#define COMMAND_TIMEOUT		(10 * HZ)

/**
 * struct transfer - data on its way between the device and the caller
 * @client: client
 * @end: end of the range
 * @flags: what the device asks of pages that it misses; 0: only what is there
 * @write: the device writes
 * @required: DMIRROR_ENTRY_* that entries must have
 * @in_device_memory: pages must be in the device's memory
 * @timeout: jiffies to wait for pages
 * @populated: the page table has been filled up to here
 * @faults: times that the device had to stop because of a missing page
 * @missed: the address that was missing last, +1
 */
struct transfer {
	struct dmirror_client *client;
	unsigned long end;
	unsigned long flags;
	bool write;
	unsigned long required;
	bool in_device_memory;
	unsigned long timeout;
	unsigned long populated;
	unsigned long faults;
	unsigned long missed;
};

/*
 * The page that has the data of @addr, or NULL if the device may not use it.
 * Called, and the page used, under the mirror's lock.
 */
static struct page *device_access(const struct transfer *transfer,
				  unsigned long addr)
{
	struct dmirror_device *device = transfer->client->device;
	unsigned long entry = dmirror_table_get(transfer->client, addr);
	unsigned long pfn = entry >> DMIRROR_ENTRY_SHIFT;

	if ((entry & transfer->required) != transfer->required)
		return NULL;
	if (transfer->in_device_memory && !dmirror_memory_owns(device, pfn))
		return NULL;
	/*
	 * The CPU's entry may be clean, and the device has no dirty bit to be
	 * asked later: without this the page could be dropped, not written.
	 */
	if (transfer->write)
		set_page_dirty(pfn_to_page(pfn));
	return dmirror_memory_data(pfn);
}

/* Copies from @addr on, up to the first page that is missing. */
static unsigned long copy_present(const struct transfer *transfer,
				  unsigned long addr, void *data,
				  unsigned long size)
{
	unsigned long done;

	hmm_mirror_lock(&transfer->client->mirror);
	for (done = 0; done < size; done += PAGE_SIZE) {
		struct page *page = device_access(transfer, addr + done);

		if (!page)
			break;
		if (transfer->write)
			memcpy_to_page(page, 0, data + done, PAGE_SIZE);
		else
			memcpy_from_page(data + done, page, 0, PAGE_SIZE);
	}
	hmm_mirror_unlock(&transfer->client->mirror);
	return done;
}

/*
 * The device has come to @addr and misses the page. A fault is counted for the
 * first one, and if a page that has been there is gone again, not each time
 * that the next part of a long range is populated.
 */
static int device_fault(struct transfer *transfer, unsigned long addr)
{
	if (!transfer->faults || addr < transfer->populated)
		transfer->faults++;
	/* What is there is all there is: there is no point in waiting. */
	if (!transfer->flags && transfer->missed == addr + 1)
		return -ENOENT;
	transfer->missed = addr + 1;
	transfer->populated = addr + min(transfer->end - addr, DMIRROR_WINDOW);
	return dmirror_populate(transfer->client, addr, transfer->populated,
				transfer->flags, transfer->timeout);
}

static int copy_all(struct transfer *transfer, unsigned long addr, void *data,
		    unsigned long size)
{
	unsigned long done = 0;

	for (;;) {
		int err;

		done += copy_present(transfer, addr + done, data + done,
				     size - done);
		if (done == size)
			return 0;
		err = device_fault(transfer, addr + done);
		if (err)
			return err;
		if (fatal_signal_pending(current))
			return -EINTR;
	}
}

/* Moves the data of @cmd's range between the device and the caller's buffer. */
static int run_transfer(struct transfer *transfer, struct hmm_dmirror_cmd *cmd)
{
	char __user *user = u64_to_user_ptr(cmd->ptr);
	unsigned long addr = cmd->addr;
	unsigned long size;
	int err = 0;
	void *data;

	transfer->end = addr + (cmd->npages << PAGE_SHIFT);
	data = kvmalloc(BOUNCE_SIZE, GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!data)
		return -ENOMEM;
	for (; addr < transfer->end && !err; addr += size, user += size) {
		size = min(transfer->end - addr, BOUNCE_SIZE);
		if (transfer->write && copy_from_user(data, user, size))
			err = -EFAULT;
		if (!err)
			err = copy_all(transfer, addr, data, size);
		if (!err && !transfer->write && copy_to_user(user, data, size))
			err = -EFAULT;
		cond_resched();
	}
	kvfree(data);
	cmd->cpages = cmd->npages;
	cmd->faults = transfer->faults;
	return err;
}

static int read_range(struct dmirror_client *client,
		      struct hmm_dmirror_cmd *cmd, unsigned long timeout)
{
	struct transfer transfer = {
		.client = client,
		.flags = HMM_MIRROR_PFN_REQ_FAULT,
		.required = DMIRROR_ENTRY_VALID,
		.timeout = timeout,
	};

	return run_transfer(&transfer, cmd);
}

static int write_range(struct dmirror_client *client,
		       struct hmm_dmirror_cmd *cmd)
{
	struct transfer transfer = {
		.client = client,
		.flags = HMM_MIRROR_PFN_REQ_FAULT | HMM_MIRROR_PFN_REQ_WRITE,
		.write = true,
		.required = DMIRROR_ENTRY_VALID | DMIRROR_ENTRY_WRITE,
		.timeout = COMMAND_TIMEOUT,
	};

	return run_transfer(&transfer, cmd);
}

static int migrate_to_device(struct dmirror_client *client,
			     struct hmm_dmirror_cmd *cmd)
{
	struct transfer transfer = {
		.client = client,
		.required = DMIRROR_ENTRY_VALID,
		.in_device_memory = true,
		.timeout = COMMAND_TIMEOUT,
	};
	int err = dmirror_migrate_to_device(client, cmd->addr, cmd->addr +
					    (cmd->npages << PAGE_SHIFT));

	if (err)
		return err;
	err = run_transfer(&transfer, cmd);
	cmd->faults = 0;
	return err;
}

static int migrate_to_system(struct dmirror_client *client,
			     struct hmm_dmirror_cmd *cmd)
{
	unsigned long migrated;
	int err = dmirror_migrate_to_system(client, cmd->addr, cmd->addr +
					    (cmd->npages << PAGE_SHIFT),
					    &migrated);

	cmd->cpages = migrated;
	return err;
}

static int make_exclusive(struct dmirror_client *client,
			  struct hmm_dmirror_cmd *cmd)
{
	struct transfer transfer = {
		.client = client,
		.required = DMIRROR_ENTRY_VALID | DMIRROR_ENTRY_EXCLUSIVE,
		.timeout = COMMAND_TIMEOUT,
	};
	int err = dmirror_make_exclusive(client, cmd->addr, cmd->addr +
					 (cmd->npages << PAGE_SHIFT));

	if (err)
		return err;
	err = run_transfer(&transfer, cmd);
	cmd->faults = 0;
	return err;
}

static int check_exclusive(struct dmirror_client *client,
			   struct hmm_dmirror_cmd *cmd)
{
	unsigned long end = cmd->addr + (cmd->npages << PAGE_SHIFT);
	unsigned long addr = cmd->addr;
	bool exclusive = false;

	while (addr < end && !exclusive) {
		unsigned long next;

		if (fatal_signal_pending(current))
			return -EINTR;
		hmm_mirror_lock(&client->mirror);
		addr = dmirror_table_next(client, addr, end);
		next = min(end - 1, addr | ~PMD_MASK) + 1;
		for (; addr < next && !exclusive; addr += PAGE_SIZE)
			exclusive = dmirror_table_get(client, addr) &
				    DMIRROR_ENTRY_EXCLUSIVE;
		hmm_mirror_unlock(&client->mirror);
		cond_resched();
	}
	return exclusive ? -EPERM : 0;
}

/**
 * struct snapshot - a part of a snapshot
 * @mirror: a mirror of just that part, so that the client's own page table is
 *	not changed by having a look
 * @device: the client's device
 * @start: first address
 * @bytes: what is found, HMM_DMIRROR_PROT_*
 */
struct snapshot {
	struct hmm_mirror mirror;
	struct dmirror_device *device;
	unsigned long start;
	unsigned char bytes[SNAPSHOT_PAGES];
};

static unsigned char kind_of_page(struct dmirror_device *device,
				  const struct hmm_mirror_extent *extent,
				  unsigned long pfn)
{
	struct page *page = pfn_to_page(pfn);
	bool local = dmirror_memory_owns(device, pfn);

	if (extent->entry == HMM_MIRROR_ENTRY_ZERO)
		return HMM_DMIRROR_PROT_ZERO;
	if (is_device_private_page(page))
		return local ? HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL :
			       HMM_DMIRROR_PROT_DEV_PRIVATE_REMOTE;
	if (is_device_coherent_page(page))
		return local ? HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL :
			       HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE;
	return HMM_DMIRROR_PROT_NONE;
}

static unsigned char describe(struct dmirror_device *device,
			      const struct hmm_mirror_extent *extent,
			      unsigned long pfn)
{
	unsigned char byte;

	if (extent->flags & HMM_MIRROR_PFN_ERROR)
		return HMM_DMIRROR_PROT_ERROR;
	if (!(extent->flags & HMM_MIRROR_PFN_VALID))
		return HMM_DMIRROR_PROT_NONE;
	byte = kind_of_page(device, extent, pfn);
	byte |= extent->flags & HMM_MIRROR_PFN_WRITE ? HMM_DMIRROR_PROT_WRITE :
						       HMM_DMIRROR_PROT_READ;
	if (extent->order + PAGE_SHIFT == PMD_SHIFT)
		byte |= HMM_DMIRROR_PROT_PMD;
	else if (extent->order + PAGE_SHIFT == PUD_SHIFT)
		byte |= HMM_DMIRROR_PROT_PUD;
	return byte;
}

static int snapshot_map(struct hmm_mirror *mirror,
			const struct hmm_mirror_extent *extents,
			unsigned int nr)
{
	struct snapshot *snapshot = container_of(mirror, struct snapshot,
						 mirror);
	unsigned int i;

	for (i = 0; i < nr; i++) {
		const struct hmm_mirror_extent *extent = &extents[i];
		unsigned long index = (extent->addr - snapshot->start) >>
				      PAGE_SHIFT;
		unsigned long page;

		for (page = 0; page < extent->npages; page++)
			snapshot->bytes[index + page] =
				describe(snapshot->device, extent,
					 extent->pfn + page);
	}
	return 0;
}

static void snapshot_unmap(struct hmm_mirror *mirror, unsigned long start,
			   unsigned long end, enum mmu_notifier_event event)
{
	/* It was true when it was taken. A snapshot is no more than that. */
}

static const struct hmm_mirror_ops snapshot_ops = {
	.map = snapshot_map,
	.unmap = snapshot_unmap,
};

static int take_snapshot(struct snapshot *snapshot, struct mm_struct *mm,
			 unsigned long size)
{
	struct hmm_mirror_request request = {
		.start = snapshot->start,
		.end = snapshot->start + size,
		.timeout = COMMAND_TIMEOUT,
	};
	int err;

	err = hmm_mirror_register(&snapshot->mirror, mm, snapshot->start, size,
				  &snapshot_ops);
	if (err)
		return err;
	err = hmm_mirror_populate(&snapshot->mirror, &request);
	hmm_mirror_unregister(&snapshot->mirror);
	return err;
}

static int snapshot_range(struct dmirror_client *client,
			  struct hmm_dmirror_cmd *cmd)
{
	unsigned char __user *user = u64_to_user_ptr(cmd->ptr);
	struct snapshot *snapshot;
	int err = 0;

	if (!mmget_not_zero(client->mm))
		return -ESRCH;
	snapshot = kzalloc(sizeof(*snapshot), GFP_KERNEL_ACCOUNT);
	if (!snapshot) {
		err = -ENOMEM;
		goto out_mmput;
	}
	snapshot->device = client->device;
	snapshot->start = cmd->addr;
	snapshot->mirror.dev_private_owner = client->device;
	while (cmd->cpages < cmd->npages && !err) {
		unsigned long npages = min_t(u64, cmd->npages - cmd->cpages,
					     SNAPSHOT_PAGES);

		err = take_snapshot(snapshot, client->mm, npages << PAGE_SHIFT);
		if (!err && copy_to_user(user, snapshot->bytes, npages))
			err = -EFAULT;
		if (fatal_signal_pending(current))
			err = -EINTR;
		snapshot->start += npages << PAGE_SHIFT;
		cmd->cpages += npages;
		user += npages;
		cond_resched();
	}
	kfree(snapshot);
out_mmput:
	mmput(client->mm);
	return err;
}

static int set_flags(struct dmirror_client *client, u64 flags)
{
	if (flags & ~HMM_DMIRROR_FLAG_FAIL_ALLOC)
		return -EINVAL;
	if (flags & HMM_DMIRROR_FLAG_FAIL_ALLOC)
		set_bit(0, &client->fail_huge);
	else
		clear_bit(0, &client->fail_huge);
	return 0;
}

static int run_command(struct dmirror_client *client, unsigned int command,
		       struct hmm_dmirror_cmd *cmd)
{
	switch (command) {
	case HMM_DMIRROR_READ:
		return read_range(client, cmd, COMMAND_TIMEOUT);
	case HMM_DMIRROR_READ_UNLOCKED:
		return read_range(client, cmd, 0);
	case HMM_DMIRROR_WRITE:
		return write_range(client, cmd);
	case HMM_DMIRROR_MIGRATE_TO_DEV:
		return migrate_to_device(client, cmd);
	case HMM_DMIRROR_MIGRATE_TO_SYS:
		return migrate_to_system(client, cmd);
	case HMM_DMIRROR_SNAPSHOT:
		return snapshot_range(client, cmd);
	case HMM_DMIRROR_EXCLUSIVE:
		return make_exclusive(client, cmd);
	case HMM_DMIRROR_CHECK_EXCLUSIVE:
		return check_exclusive(client, cmd);
	case HMM_DMIRROR_RELEASE:
		return dmirror_memory_release(client->device);
	case HMM_DMIRROR_FLAGS:
		return set_flags(client, cmd->npages);
	default:
		return -EINVAL;
	}
}

/* @addr is page aligned, and the range neither empty nor beyond what there is. */
static bool range_valid(const struct hmm_dmirror_cmd *cmd)
{
	const u64 limit = ULONG_MAX & PAGE_MASK;

	return PAGE_ALIGNED(cmd->addr) && cmd->npages && cmd->addr < limit &&
	       cmd->npages <= (limit - cmd->addr) >> PAGE_SHIFT;
}

long dmirror_ioctl(struct file *file, unsigned int command, unsigned long arg)
{
	struct hmm_dmirror_cmd __user *user = (void __user *)arg;
	struct hmm_dmirror_cmd cmd;
	int err;

	if (copy_from_user(&cmd, user, sizeof(cmd)))
		return -EFAULT;
	if (command != HMM_DMIRROR_FLAGS && !range_valid(&cmd))
		return -EINVAL;
	cmd.cpages = 0;
	cmd.faults = 0;
	err = run_command(file->private_data, command, &cmd);
	if (err)
		return err;
	return copy_to_user(user, &cmd, sizeof(cmd)) ? -EFAULT : 0;
}
