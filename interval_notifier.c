// SPDX-License-Identifier: GPL-2.0
/*
 * struct hmm_mirror: a subscription to a range of an address space, on the
 * kernel's MMU interval notifier.
 *
 * One mutex per mirror, taken by invalidations and around the driver's map
 * callback, makes the check of the sequence number and the programming of the
 * device one step. A driver that is only ever called under it cannot program a
 * stale page.
 */
#include <linux/minmax.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "internal.h"
#include "trace.h"

/* Extents handed to the driver at a time. */
#define POPULATE_CHUNK	64

/* Whether a migration is by this mirror's driver, to or from its own memory. */
static bool own_migration(const struct hmm_mirror *mirror,
			  const struct mmu_notifier_range *range)
{
	return range->owner && range->owner == mirror->dev_private_owner;
}

static void tell_driver(struct hmm_mirror *mirror,
			const struct mmu_notifier_range *range)
{
	unsigned long start = hmm_mirror_invalid_start(mirror, range);
	unsigned long end = hmm_mirror_invalid_end(mirror, range);

	/*
	 * After release the mappings are still to be torn down, and reclaim may
	 * come across them. Nothing of them is on the device any more.
	 */
	if (mirror->released)
		return;
	if (unlikely(range->event == MMU_NOTIFY_MIGRATE) &&
	    mirror->ops->migrate && own_migration(mirror, range)) {
		mirror->ops->migrate(mirror, start, end);
		return;
	}
	mirror->ops->unmap(mirror, start, end, range->event);

	if (unlikely(range->event == MMU_NOTIFY_RELEASE)) {
		mirror->released = true;
		if (mirror->ops->release)
			mirror->ops->release(mirror);
	}
}

/*
 * The sequence number advances for every invalidation, also for one that the
 * driver causes by its own migration: another thread may just be about to map a
 * page that it has collected before.
 */
static bool invalidate(struct mmu_interval_notifier *notifier,
		       const struct mmu_notifier_range *range,
		       unsigned long cur_seq)
{
	struct hmm_mirror *mirror =
		container_of(notifier, struct hmm_mirror, notifier);

	/*
	 * The mirror's own make_device_exclusive(): the page stays what it is,
	 * and whoever waits for it to be undisturbed must not disturb it.
	 */
	if (unlikely(range->event == MMU_NOTIFY_EXCLUSIVE) &&
	    range->owner == mirror)
		return true;

	if (likely(mmu_notifier_range_blockable(range)))
		mutex_lock(&mirror->lock);
	else if (!mutex_trylock(&mirror->lock))
		return false;
	mmu_interval_set_seq(notifier, cur_seq);
	hmm_mirror_count(invalidations, 1);
	trace_hmm_mirror_invalidate(mirror, range);
	tell_driver(mirror, range);
	mutex_unlock(&mirror->lock);
	return true;
}

static const struct mmu_interval_notifier_ops notifier_ops = {
	.invalidate = invalidate,
};

/**
 * hmm_mirror_register_class() - what hmm_mirror_register() calls
 * @mirror: as there
 * @mm: as there
 * @start: as there
 * @length: as there
 * @ops: as there
 * @key: lockdep class of the mirror's lock
 *
 * Return: as hmm_mirror_register().
 */
int hmm_mirror_register_class(struct hmm_mirror *mirror, struct mm_struct *mm,
			      unsigned long start, unsigned long length,
			      const struct hmm_mirror_ops *ops,
			      struct lock_class_key *key)
{
	int err;

	if (!PAGE_ALIGNED(start) || !PAGE_ALIGNED(length) || !length ||
	    start + length - 1 < start || !ops->unmap)
		return -EINVAL;
	/* Callbacks are told the address past an interval. */
	if (start + length < start)
		return -EOVERFLOW;

	mirror->ops = ops;
	mirror->released = false;
	__mutex_init(&mirror->lock, "hmm_mirror.lock", key);
	err = mmu_interval_notifier_insert(&mirror->notifier, mm, start, length,
					   &notifier_ops);
	if (err) {
		mutex_destroy(&mirror->lock);
		return err;
	}
	atomic_long_inc(&hmm_mirror_subscriptions);
	return 0;
}
EXPORT_SYMBOL_GPL(hmm_mirror_register_class);

/**
 * hmm_mirror_unregister() - end a subscription
 * @mirror: registered mirror
 *
 * When it returns no callback runs and none will be called. @ops->unmap is not
 * called for what is still mapped: the driver tears down its page table itself.
 * Needed once for each successful hmm_mirror_register(), also after release.
 *
 * Locking: not from a callback, and without mirror->lock or a lock that a
 * callback takes. No hmm_mirror_populate() of this mirror may be running.
 * Context: sleeps until running invalidations are done; no RCU or SRCU grace
 * period is waited for.
 */
void hmm_mirror_unregister(struct hmm_mirror *mirror)
{
	mmu_interval_notifier_remove(&mirror->notifier);
	mutex_destroy(&mirror->lock);
	atomic_long_dec(&hmm_mirror_subscriptions);
}
EXPORT_SYMBOL_GPL(hmm_mirror_unregister);

/* Whether @request->timeout has passed; else what is left of it, 0 for no limit. */
static bool time_is_up(const struct hmm_mirror_request *request,
		       unsigned long deadline, unsigned long *left)
{
	unsigned long now = jiffies;

	*left = 0;
	if (!request->timeout)
		return false;
	*left = deadline - now;
	return time_after_eq(now, deadline);
}

/*
 * Collects extents from @range->start on and has the driver map them. Sets
 * @stale, and maps nothing, if an invalidation came in between.
 */
static int populate_chunk(struct hmm_mirror *mirror,
			  struct hmm_mirror_range *range,
			  struct hmm_mirror_extents *extents,
			  unsigned long timeout, bool *stale)
{
	int err = hmm_mirror_range_extents_unlocked(range, extents, timeout);

	*stale = false;
	if (err)
		return err;
	mutex_lock(&mirror->lock);
	*stale = mmu_interval_read_retry(range->notifier, range->notifier_seq);
	if (!*stale)
		err = mirror->ops->map(mirror, extents->array, extents->nr);
	mutex_unlock(&mirror->lock);
	return err;
}

/**
 * hmm_mirror_populate() - fault a range and map it on the device
 * @mirror: registered mirror with @ops->map
 * @request: what to map, see struct hmm_mirror_request
 *
 * Calls @ops->map with the range's extents, chunk by chunk. Each chunk is
 * collected without a lock, then the mirror's lock is taken and the sequence
 * number checked: a chunk that an invalidation has made stale in between is
 * collected again. Kernel memory used does not depend on the length of the
 * range.
 *
 * Chunks that were mapped before a failure stay mapped, up to @request->next.
 *
 * Locking: the caller holds no lock that an invalidation takes, and not
 * mmap_lock. Calls for the same mirror may run at the same time. The process may
 * exit at any time; then the call may hold the last reference to its memory, and
 * @ops->unmap and @ops->release run in the caller's context before it returns.
 * Context: sleeps.
 *
 * Return: 0, an errno of hmm_mirror_range_extents_unlocked() with
 * @request->fault_addr as there, -EBUSY (@request->timeout has passed), -ESRCH
 * (the address space is gone), -ENOMEM, -EOPNOTSUPP (no @ops->map), or the errno
 * that @ops->map returned.
 */
int hmm_mirror_populate(struct hmm_mirror *mirror,
			struct hmm_mirror_request *request)
{
	struct hmm_mirror_range range = {
		.notifier = &mirror->notifier,
		.start = request->start,
		.end = request->end,
		.default_flags = request->default_flags,
		.dev_private_owner = mirror->dev_private_owner,
	};
	struct hmm_mirror_extents extents = { .capacity = POPULATE_CHUNK };
	unsigned long left = min(request->timeout, MAX_JIFFY_OFFSET);
	unsigned long deadline = jiffies + left;
	bool stale;
	int err;

	request->next = request->start;
	request->fault_addr = 0;
	request->nr_faults = 0;
	request->nr_restarts = 0;

	if (!mirror->ops->map)
		return -EOPNOTSUPP;
	if (!mmget_not_zero(mirror->notifier.mm))
		return -ESRCH;
	extents.array = kmalloc_array(POPULATE_CHUNK, sizeof(*extents.array),
				      GFP_KERNEL_ACCOUNT);
	if (!extents.array) {
		err = -ENOMEM;
		goto out_mmput;
	}

	do {
		range.start = request->next;
		err = populate_chunk(mirror, &range, &extents, left, &stale);
		request->nr_faults += range.nr_faults;
		request->nr_restarts += range.nr_restarts;
		request->fault_addr = range.fault_addr;
		if (stale) {
			request->nr_restarts++;
			err = fatal_signal_pending(current) ? -EINTR : 0;
		} else if (!err) {
			request->next = extents.next;
		}
		if (!err && request->next < request->end &&
		    time_is_up(request, deadline, &left))
			err = -EBUSY;
		cond_resched();
	} while (!err && request->next < request->end);

	kfree(extents.array);
out_mmput:
	mmput(mirror->notifier.mm);
	return err;
}
EXPORT_SYMBOL_GPL(hmm_mirror_populate);
