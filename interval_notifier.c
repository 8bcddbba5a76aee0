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

/**
 * hmm_mirror_register_class() - what hmm_mirror_register() calls
 * @mirror: as there
 * @mm: as there
 * @start: as there
 * @length: as there
 * @ops: as there
 * @timeout: as hmm_mirror_register_timeout()
 * @key: lockdep class of the mirror's lock
 *
 * Return: as hmm_mirror_register().
 */
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

/**
 * hmm_mirror_unregister() - end a subscription
 * @mirror: registered mirror
 *
 * When it returns no callback runs and none will be called. @ops->unmap is not
 * called for what is still mapped: the driver tears down its page table itself.
 * Needed once for each successful hmm_mirror_register(), also after release.
 *
 * @mirror is the caller's memory, so neither a signal nor a deadline can cut this short.
 * If a callback of this or another driver hangs, or an invalidation takes long, it waits
 * as long; hmm_mirror_unregister_async() does not.
 *
 * Locking: not from a callback, and without mirror->lock or a lock that a
 * callback takes. No hmm_mirror_populate() of this mirror may be running.
 * Context: sleeps until running invalidations are done; no RCU or SRCU grace
 * period is waited for.
 */
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

/**
 * hmm_mirror_unregister_async() - end a subscription, without waiting
 * @mirror: registered mirror
 * @done: called when no callback runs and none will be called; may free @mirror
 *
 * Callbacks are called until then, so that what the device still has mapped is taken back
 * as before. @done tears down the rest. It runs in a worker and may sleep, but other
 * mirrors of the address space then wait, too. It is called soon, or soon after the end
 * of a running invalidation.
 *
 * A module that uses it calls hmm_mirror_unregister_barrier() before it is unloaded.
 *
 * Locking: no hmm_mirror_populate() of this mirror may be running. A callback may be
 * running, and may make this call.
 * Context: process context, which includes callbacks.
 */
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

/**
 * hmm_mirror_unmap_all() - take everything from the device
 * @mirror: registered mirror
 *
 * Calls @ops->unmap for all of the mirror, with MMU_NOTIFY_UNMAP as event, unless the
 * address space has gone away. For a driver that resets its device, is unbound, or makes
 * room: what is mapped is unmapped the way that it always is. A hmm_mirror_populate() that
 * runs at the same time may map again.
 *
 * Locking: not from a callback; takes the mirror's lock.
 * Context: sleeps.
 */
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

/**
 * hmm_mirror_read_begin_timeout() - hmm_mirror_read_begin() that ends
 * @mirror: registered mirror, its lock not held
 * @timeout: jiffies after which to give up with -EBUSY, 0 for no limit
 * @sequence: out: a sequence number for hmm_mirror_read_retry()
 *
 * Locking: the caller has a reference to the mm's users (mmget()), and holds neither
 * mmap_lock nor a lock that an invalidation takes.
 * Context: sleeps.
 *
 * Return: 0, -EBUSY, -EINTR (a fatal signal), or -ENOMEM.
 */
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
 * Collects extents from @range->start on and has the driver map them. Sets @stale and
 * maps nothing if an invalidation came in between.
 */
static int populate_chunk(struct hmm_mirror *mirror,
			  struct hmm_mirror_range *range,
			  struct hmm_mirror_extents *extents,
			  const struct hmm_mirror_limit *limit, bool *stale)
{
	int err = hmm_mirror_collect_extents(range, extents, mirror->mm, limit);

	*stale = false;
	if (!err)
		err = lock_mirror(mirror, limit);
	if (err)
		return err;
	*stale = mmu_interval_read_retry(range->notifier, range->notifier_seq);
	if (!*stale)
		err = mirror->ops->map(mirror, extents->array, extents->nr);
	else
		hmm_mirror_shorten(extents, extents->next - range->start);
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
 * Locking: the caller holds neither mmap_lock nor a lock that an invalidation
 * takes. Calls for the same mirror may run at the same time. The process may
 * exit at any time; then the call may hold the last reference to its memory, and a
 * worker tears it down, with the last calls of @ops->unmap and @ops->release.
 * Context: sleeps. SIGKILL and @request->timeout end its waits, as for
 * hmm_mirror_range_fault_unlocked(); @ops->map is not cut short.
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
	struct hmm_mirror_extent few[POPULATE_FEW] COMPAT_UNINITIALIZED;
	struct hmm_mirror_extent *many = NULL;
	struct hmm_mirror_extents extents = {
		.array = few,
		.capacity = POPULATE_FEW,
		.in_parts = true,
	};
	struct hmm_mirror_limit limit = hmm_mirror_limit_of(request->timeout);
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
	do {
		range.start = request->next;
		err = populate_chunk(mirror, &range, &extents, &limit, &stale);
		request->nr_faults += range.nr_faults;
		request->nr_restarts += range.nr_restarts;
		request->fault_addr = range.fault_addr;
		if (stale)
			request->nr_restarts++;
		else if (!err)
			request->next = extents.next;
		if (!err && request->next < request->end)
			err = hmm_mirror_interrupted(&limit);
		cond_resched();
		if (err || many || extents.nr < extents.capacity ||
		    request->next == request->end)
			continue;
		many = kmalloc_array(POPULATE_CHUNK, sizeof(*many),
				     GFP_KERNEL_ACCOUNT);
		if (!many) {
			err = -ENOMEM;
			break;
		}
		extents.array = many;
		extents.capacity = POPULATE_CHUNK;
	} while (!err && request->next < request->end);

	kfree(many);
	/*
	 * If this is the last reference, a worker tears the memory down, however long it
	 * takes.
	 */
	mmput_async(mirror->notifier.mm);
	return err;
}
EXPORT_SYMBOL_GPL(hmm_mirror_populate);
