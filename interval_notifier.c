// SPDX-License-Identifier: GPL-2.0
/*
 * struct hmm_mirror: a subscription to a range of an address space, built on the kernel's
 * MMU interval notifier.
 *
 * One mutex per mirror, taken by invalidations and around the driver's map callback,
 * makes checking the sequence number and programming the device one step. A driver that
 * is only ever called under it cannot program a stale page.
 */
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/minmax.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "internal.h"
#include "trace.h"

/* Extents handed to the driver at a time. */
#define POPULATE_CHUNK	64
/* The first time, which is enough for what is mapped by a few entries. Kept on the stack. */
#define POPULATE_FEW	4

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
	 * After release the mappings still have to be torn down, and reclaim may come
	 * across them. Nothing of them is on the device any more.
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
 * The sequence number advances for every invalidation, even one that the driver causes by
 * its own migration: another thread may be just about to map a page that it collected
 * earlier.
 */
static bool invalidate(struct mmu_interval_notifier *notifier,
		       const struct mmu_notifier_range *range,
		       unsigned long cur_seq)
{
	struct hmm_mirror *mirror =
		container_of(notifier, struct hmm_mirror, notifier);

	/* Pairs with the WRITE_ONCE() of hmm_mirror_forget(). */
	if (unlikely(READ_ONCE(mirror->forgotten)))
		return true;
	/*
	 * The mirror's own make_device_exclusive(): the page stays what it is, and
	 * somebody who waits for it to be left alone must not disturb it.
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

int hmm_mirror_register_class(struct hmm_mirror *mirror, struct mm_struct *mm,
			      unsigned long start, unsigned long length,
			      const struct hmm_mirror_ops *ops,
			      unsigned long timeout,
			      struct lock_class_key *key)
{
	struct hmm_mirror_limit limit = hmm_mirror_limit_of(timeout);
	int err;

	if (!PAGE_ALIGNED(start) || !PAGE_ALIGNED(length) || !length ||
	    start + length - 1 < start || !ops->unmap)
		return -EINVAL;
	/* Callbacks are told the address past an interval. */
	if (start + length < start)
		return -EOVERFLOW;

	mirror->mm = hmm_mirror_mm_get(mm, &limit);
	if (IS_ERR(mirror->mm))
		return PTR_ERR(mirror->mm);

	mirror->ops = ops;
	mirror->released = false;
	mirror->forgotten = false;
	INIT_LIST_HEAD(&mirror->dmas);
	mirror->nr_starved = 0;
	__mutex_init(&mirror->lock, "hmm_mirror.lock", key);
	err = mmu_interval_notifier_insert(&mirror->notifier, mm, start, length,
					   &notifier_ops);
	if (err) {
		mutex_destroy(&mirror->lock);
		hmm_mirror_mm_put(mirror->mm);
		return err;
	}
	atomic_long_inc(&hmm_mirror_subscriptions);
	return 0;
}
EXPORT_SYMBOL_GPL(hmm_mirror_register_class);

/*
 * What a device still has mapped nobody watches from now on: the driver has forgotten
 * hmm_mirror_dma_exit(). No lock: with none of its devices left, nobody else uses the list.
 */
static void expect_no_dma(const struct hmm_mirror *mirror)
{
	WARN_ON_ONCE(!list_empty(&mirror->dmas));
}

void hmm_mirror_unregister(struct hmm_mirror *mirror)
{
	expect_no_dma(mirror);
	mmu_interval_notifier_remove(&mirror->notifier);
	mutex_destroy(&mirror->lock);
	atomic_long_dec(&hmm_mirror_subscriptions);
	hmm_mirror_mm_put(mirror->mm);
}
EXPORT_SYMBOL_GPL(hmm_mirror_unregister);

static void mirror_gone(struct hmm_mirror_removal *removal)
{
	struct hmm_mirror *mirror = container_of(removal, struct hmm_mirror,
						 removal);

	expect_no_dma(mirror);
	mutex_destroy(&mirror->lock);
	mirror->unregistered(mirror);
}

void hmm_mirror_unregister_async(struct hmm_mirror *mirror,
				 void (*done)(struct hmm_mirror *mirror))
{
	mirror->unregistered = done;
	mirror->removal.notifier = &mirror->notifier;
	mirror->removal.done = mirror_gone;
	atomic_long_dec(&hmm_mirror_subscriptions);
	hmm_mirror_mm_remove(mirror->mm, &mirror->removal);
}
EXPORT_SYMBOL_GPL(hmm_mirror_unregister_async);

void hmm_mirror_unmap_all(struct hmm_mirror *mirror)
{
	const struct interval_tree_node *interval =
		&mirror->notifier.interval_tree;

	mutex_lock(&mirror->lock);
	if (!mirror->released)
		mirror->ops->unmap(mirror, interval->start, interval->last + 1,
				   MMU_NOTIFY_UNMAP);
	mutex_unlock(&mirror->lock);
}
EXPORT_SYMBOL_GPL(hmm_mirror_unmap_all);

/**
 * hmm_mirror_forget() - stop calling a mirror's callbacks
 * @mirror: registered mirror, about to be unregistered
 *
 * For mirrors that have nothing mapped. A callback that is already running goes on.
 */
void hmm_mirror_forget(struct hmm_mirror *mirror)
{
	/* Pairs with the READ_ONCE() of invalidate(). */
	WRITE_ONCE(mirror->forgotten, true);
}

int hmm_mirror_read_begin_timeout(struct hmm_mirror *mirror,
				  unsigned long timeout,
				  unsigned long *sequence)
{
	struct hmm_mirror_limit limit = hmm_mirror_limit_of(timeout);

	return hmm_mirror_mm_read_begin(mirror->mm, &mirror->notifier, &limit,
					sequence);
}
EXPORT_SYMBOL_GPL(hmm_mirror_read_begin_timeout);

/*
 * The mirror's lock, which may be held by a callback that never returns. A mutex knows no
 * deadline: a caller with a deadline tries again and again.
 */
static int lock_mirror(struct hmm_mirror *mirror,
		       const struct hmm_mirror_limit *limit)
{
	unsigned int pause = 20;

	if (likely(mutex_trylock(&mirror->lock)))
		return 0;
	if (!limit->has_deadline)
		return mutex_lock_killable(&mirror->lock) ? -EINTR : 0;
	while (!mutex_trylock(&mirror->lock)) {
		int err = hmm_mirror_interrupted(limit);

		if (err)
			return err;
		usleep_range(pause, 2 * pause);
		pause = min(2 * pause, 1000U);
	}
	return 0;
}

/*
 * Collects extents from @request->next on and has the driver map them. Maps nothing, and
 * leaves @request->next where it is, if an invalidation came in between.
 */
static int populate_chunk(struct hmm_mirror *mirror,
			  struct hmm_mirror_request *request,
			  struct hmm_mirror_range *range,
			  struct hmm_mirror_extents *extents,
			  const struct hmm_mirror_limit *limit)
{
	int err;

	range->start = request->next;
	err = hmm_mirror_collect_extents(range, extents, mirror->mm, limit);
	request->nr_faults += range->nr_faults;
	request->nr_restarts += range->nr_restarts;
	request->fault_addr = range->fault_addr;
	if (!err)
		err = lock_mirror(mirror, limit);
	if (err)
		return err;
	if (mmu_interval_read_retry(range->notifier, range->notifier_seq)) {
		request->nr_restarts++;
		hmm_mirror_shorten(extents, extents->next - range->start);
	} else {
		err = mirror->ops->map(mirror, extents->array, extents->nr);
		if (!err)
			request->next = extents->next;
	}
	mutex_unlock(&mirror->lock);
	return err;
}

/* The few have been filled, and there is more to map. */
static int get_more_extents(struct hmm_mirror_extents *extents)
{
	struct hmm_mirror_extent *many;

	many = kmalloc_array(POPULATE_CHUNK, sizeof(*many),
			     GFP_KERNEL_ACCOUNT);
	if (!many)
		return -ENOMEM;
	extents->array = many;
	extents->capacity = POPULATE_CHUNK;
	return 0;
}

int hmm_mirror_populate(struct hmm_mirror *mirror,
			struct hmm_mirror_request *request)
{
	struct hmm_mirror_range range = {
		.notifier = &mirror->notifier,
		.end = request->end,
		.default_flags = request->default_flags,
		.dev_private_owner = mirror->dev_private_owner,
	};
	struct hmm_mirror_extent few[POPULATE_FEW] COMPAT_UNINITIALIZED;
	struct hmm_mirror_extents extents = {
		.array = few,
		.capacity = POPULATE_FEW,
		.in_parts = true,
	};
	struct hmm_mirror_limit limit = hmm_mirror_limit_of(request->timeout);
	int err;

	request->next = request->start;
	request->fault_addr = 0;
	request->nr_faults = 0;
	request->nr_restarts = 0;

	if (!mirror->ops->map)
		return -EOPNOTSUPP;
	if (!mmget_not_zero(mirror->notifier.mm))
		return -ESRCH;
	for (;;) {
		err = populate_chunk(mirror, request, &range, &extents, &limit);
		cond_resched();
		if (err || request->next == request->end)
			break;
		err = hmm_mirror_interrupted(&limit);
		if (!err && extents.nr == extents.capacity &&
		    extents.array == few)
			err = get_more_extents(&extents);
		if (err)
			break;
	}
	if (extents.array != few)
		kfree(extents.array);
	/*
	 * If this is the last reference, a worker tears the memory down, however long it
	 * takes.
	 */
	mmput_async(mirror->notifier.mm);
	return err;
}
EXPORT_SYMBOL_GPL(hmm_mirror_populate);
