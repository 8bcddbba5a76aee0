// SPDX-License-Identifier: GPL-2.0
/*
 * What the module knows about an address space in which it has subscriptions, so that all
 * of its waits can be ended.
 *
 * With the kernel's interval notifiers there are three waits: for the first subscription
 * of an address space the kernel takes mmap_lock for writing and then all other locks,
 * mmu_interval_read_begin() waits for the end of a running invalidation, and so does
 * mmu_interval_notifier_remove(). None of them can be cut short, and each lasts as long
 * as the slowest callback of any driver. Here
 *
 * - the first subscription does not stay in the queue for mmap_lock, where it would keep
 *   others out, but tries again and again;
 *
 * - a probe, a subscription to a page at which nothing is ever mapped, tells without
 *   waiting whether an invalidation is running. Whoever has to wait for its end sleeps
 *   here, until a worker that waits in their place says that it is over;
 *
 * - a worker removes subscriptions.
 *
 * How a probe tells: the kernel keeps one sequence number for an address space, which is
 * odd while an invalidation runs that has met a subscription. Such an invalidation leaves
 * the number in each subscription that it meets; a subscription is being invalidated as
 * long as its number is the current one. While the current number is odd, a new
 * subscription gets that number and is deferred: its node is in no tree yet. So a
 * notifier whose number was read before the probe was inserted is being invalidated if
 * the probe has been deferred with that same number, and is not if the probe has another
 * number or is in the tree. Numbers only grow, so an invalidation that was found to be
 * over stays over.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/hashtable.h>
#include <linux/interval_tree.h>
#include <linux/kthread.h>
#include <linux/llist.h>
#include <linux/mmap_lock.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "internal.h"

/* Nothing is mapped there on any architecture: it is where error pointers point. */
#define PROBE_START	(-PAGE_SIZE)

/* How many subscriptions of an address space may be waiting for removal. */
#define MAX_LEAVING	1024

/* They are removed in batches: a worker is woken for this many, or at the next tick. */
#define LEAVING_BATCH	64

/* The longest pause between two attempts at a first subscription, in jiffies. */
#define MAX_PAUSE	max(HZ / 50, 1)

/* How long an attempt may keep others from mmap_lock, in its queue and holding it. */
#define TIME_TO_WAIT	max(HZ / 100, 2)

/**
 * struct hmm_mirror_mm - an address space with subscriptions of ours
 * @guard: the first of them, to the page that probes subscribe to. It stays until the
 *	address space is torn down, pins the mm_struct, and is told of its end
 * @guard_removal: removes @guard
 * @retired: the removal of @guard has been requested
 * @hash_node: in all_by_mm, until it is retired
 * @node: in all_mms
 * @users: one for @guard, one for each subscription, probe, or call that uses it, and
 *	one while @removal is pending or runs
 * @lock: protects @awaited, and changes of @quiet
 * @quiet: invalidations with this sequence number, or a lower one, are over
 * @awaited: the sequence number whose end a worker is waiting for, or last waited for
 * @wait: those who wait for @quiet to grow, or for room in @leaving
 * @leaving: subscriptions to be removed
 * @nr_leaving: how many, with those that the worker has taken off the list
 * @removal: removes them
 * @callers: calls for somebody else's address space that are being served, see
 *	hmm_mirror_mm_callers()
 * @rcu: frees it after a grace period
 */
struct hmm_mirror_mm {
	struct mmu_interval_notifier guard;
	struct hmm_mirror_removal guard_removal;
	atomic_t retired;
	struct hlist_node hash_node;
	struct list_head node;
	refcount_t users;
	spinlock_t lock; /* awaited, quiet */
	unsigned long quiet;
	unsigned long awaited;
	wait_queue_head_t wait;
	struct llist_head leaving;
	atomic_t nr_leaving;
	struct delayed_work removal;
	atomic_long_t callers;
	struct rcu_head rcu;
};

/**
 * struct probe - tells whether an invalidation is running
 * @notifier: a subscription that does nothing else
 * @removal: removes it
 * @work: waits for the end of the invalidation that it has found
 * @mm: where it is
 */
struct probe {
	struct mmu_interval_notifier notifier;
	struct hmm_mirror_removal removal;
	struct work_struct work;
	struct hmm_mirror_mm *mm;
};

/**
 * struct removal_barrier - tells when all earlier removals are done
 * @removal: in the list; without a subscription
 * @reached: the worker has got to it
 */
struct removal_barrier {
	struct hmm_mirror_removal removal;
	struct completion reached;
};

static struct workqueue_struct *workers;

static DEFINE_SPINLOCK(all_lock); /* all_by_mm, all_mms */
static DEFINE_HASHTABLE(all_by_mm, 8);
static LIST_HEAD(all_mms);

static void put_mm(struct hmm_mirror_mm *mm, unsigned int users)
{
	if (!refcount_sub_and_test(users, &mm->users))
		return;
	spin_lock(&all_lock);
	list_del(&mm->node);
	spin_unlock(&all_lock);
	kfree_rcu(mm, rcu);
}

/**
 * hmm_mirror_mm_put() - end the use of an address space
 * @mm: from hmm_mirror_mm_get()
 */
void hmm_mirror_mm_put(struct hmm_mirror_mm *mm)
{
	put_mm(mm, 1);
}

/* The removal worker: nobody else waits in mmu_interval_notifier_remove(). */
static void remove_leaving(struct work_struct *work)
{
	struct hmm_mirror_mm *mm = container_of(to_delayed_work(work),
						struct hmm_mirror_mm, removal);
	struct hmm_mirror_removal *removal, *next;
	struct llist_node *first;
	unsigned int nr = 0;

	/* Oldest first: what precedes a barrier is gone when the barrier is reached. */
	first = llist_reverse_order(llist_del_all(&mm->leaving));
	llist_for_each_entry_safe(removal, next, first, node) {
		if (removal->notifier)
			mmu_interval_notifier_remove(removal->notifier);
		removal->done(removal);
		/* Pairs with the atomic_read_acquire() of await_removals(). */
		(void)atomic_dec_return_release(&mm->nr_leaving);
		if (wq_has_sleeper(&mm->wait))
			wake_up_all(&mm->wait);
		nr++;
		cond_resched();
	}
	/* Plus the work's own use. It may be the last one. */
	put_mm(mm, nr + 1);
}

/**
 * hmm_mirror_mm_remove() - have a subscription removed, without waiting
 * @mm: where it is; the caller's use of it passes to the removal
 * @removal: the subscription, and what to call when it is gone
 *
 * Context: process context, which includes callbacks of notifiers.
 */
void hmm_mirror_mm_remove(struct hmm_mirror_mm *mm,
			  struct hmm_mirror_removal *removal)
{
	int nr = atomic_inc_return(&mm->nr_leaving);
	bool queued;

	/* Pending work holds a use. */
	refcount_inc(&mm->users);
	if (llist_add(&removal->node, &mm->leaving))
		queued = queue_delayed_work(workers, &mm->removal, 1);
	else if (!(nr % LEAVING_BATCH))
		queued = !mod_delayed_work(workers, &mm->removal, 0);
	else
		queued = false;
	if (!queued)
		put_mm(mm, 1);
}

static void barrier_reached(struct hmm_mirror_removal *removal)
{
	complete(&container_of(removal, struct removal_barrier, removal)->reached);
}

/*
 * Waits for all removals that have been requested. Flushing the work would not do:
 * whoever finds the list empty queues the work, but may not have got to that yet.
 */
static void await_removals(struct hmm_mirror_mm *mm)
{
	struct removal_barrier barrier = {
		.removal.done = barrier_reached,
	};

	/* Pairs with the atomic_dec_return_release() of remove_leaving(). */
	if (!atomic_read_acquire(&mm->nr_leaving))
		return;
	init_completion(&barrier.reached);
	/* A removal takes a use over. */
	refcount_inc(&mm->users);
	hmm_mirror_mm_remove(mm, &barrier.removal);
	wait_for_completion(&barrier.reached);
}

static void guard_gone(struct hmm_mirror_removal *removal)
{
	/* The worker puts the use. */
}

/* From now on nobody finds it any more; its guard is removed. */
static void retire(struct hmm_mirror_mm *mm)
{
	if (atomic_xchg(&mm->retired, 1))
		return;
	spin_lock(&all_lock);
	hash_del_rcu(&mm->hash_node);
	spin_unlock(&all_lock);
	hmm_mirror_mm_remove(mm, &mm->guard_removal);
}

static bool guard_invalidate(struct mmu_interval_notifier *notifier,
			     const struct mmu_notifier_range *range,
			     unsigned long cur_seq)
{
	struct hmm_mirror_mm *mm = container_of(notifier, struct hmm_mirror_mm,
						guard);

	mmu_interval_set_seq(notifier, cur_seq);
	if (range->event == MMU_NOTIFY_RELEASE)
		retire(mm);
	return true;
}

static const struct mmu_interval_notifier_ops guard_ops = {
	.invalidate = guard_invalidate,
};

static bool probe_invalidate(struct mmu_interval_notifier *notifier,
			     const struct mmu_notifier_range *range,
			     unsigned long cur_seq)
{
	/*
	 * What concerns all addresses, such as the end of the address space, comes here
	 * too.
	 */
	mmu_interval_set_seq(notifier, cur_seq);
	return true;
}

static const struct mmu_interval_notifier_ops probe_ops = {
	.invalidate = probe_invalidate,
};

/* Whether @semaphore is still taken at @until. */
static bool stays_locked(struct rw_semaphore *semaphore, unsigned long until)
{
	while (rwsem_is_locked(semaphore)) {
		if (time_after_eq(jiffies, until))
			return true;
		usleep_range(20, 50);
	}
	return false;
}

/*
 * Whether a page fault still holds the VMA's lock at @until. If not, no fault can take it
 * any more.
 */
static bool stays_read_locked(struct vm_area_struct *vma, unsigned long until)
{
	while (!compat_vma_try_start_write(vma)) {
		if (time_after_eq(jiffies, until))
			return true;
		usleep_range(20, 50);
	}
	return false;
}

/*
 * Whether mm_take_all_locks() would find one of its locks held by somebody who does not
 * release it within @patience jiffies. VMAs are locked on the way, so that no page fault
 * can take one that has already been checked. What is left is a short window for each
 * VMA, and a permanent one for the locks of files and of anonymous memory, which are
 * shared with other processes.
 */
static bool locks_are_taken(struct mm_struct *mm, unsigned long patience)
{
	unsigned long until = jiffies + patience;
	struct anon_vma_chain *chain;
	struct vma_iterator iterator;
	struct vm_area_struct *vma;

	mmap_assert_write_locked(mm);
	vma_iter_init(&iterator, mm, 0);
	for_each_vma(iterator, vma) {
		/* Check all of them first, so that none is locked in vain. */
		if (!patience && compat_vma_is_read_locked(vma))
			return true;
	}
	vma_iter_init(&iterator, mm, 0);
	for_each_vma(iterator, vma) {
		if (stays_read_locked(vma, until))
			return true;
	}
	vma_iter_init(&iterator, mm, 0);
	for_each_vma(iterator, vma) {
		if (vma->vm_file && vma->vm_file->f_mapping &&
		    stays_locked(&vma->vm_file->f_mapping->i_mmap_rwsem, until))
			return true;
		if (!vma->anon_vma)
			continue;
		list_for_each_entry(chain, &vma->anon_vma_chain, same_vma)
			if (stays_locked(&chain->anon_vma->root->rwsem, until))
				return true;
	}
	return false;
}

/**
 * struct first_insertion - our first subscription in an address space
 * @notifier: as mmu_interval_notifier_insert() takes it
 * @mm: likewise
 * @start: likewise
 * @length: likewise
 * @ops: likewise
 * @cancelled: tells the thread that queues for mmap_lock to give up
 * @done: the thread is done
 * @err: its result
 */
struct first_insertion {
	struct mmu_interval_notifier *notifier;
	struct mm_struct *mm;
	unsigned long start;
	unsigned long length;
	const struct mmu_interval_notifier_ops *ops;
	bool cancelled;
	struct completion done;
	int err;
};

/* mmap_lock is held for writing, and is released here. -EAGAIN: not now. */
static int insert_and_unlock(struct first_insertion *first,
			     unsigned long patience)
{
	int err = -EAGAIN;

	if (!locks_are_taken(first->mm, patience))
		err = mmu_interval_notifier_insert_locked(first->notifier,
							  first->mm,
							  first->start,
							  first->length,
							  first->ops);
	mmap_write_unlock(first->mm);
	return err;
}

/* A thread, because it can be killed when its creator merely runs out of time. */
static int insert_in_queue_thread(void *argument)
{
	struct first_insertion *first = argument;

	allow_signal(SIGKILL);
	first->err = -EAGAIN;
	/* Pairs with the WRITE_ONCE() of insert_in_queue(): too early for a signal. */
	if (!READ_ONCE(first->cancelled) &&
	    !mmap_write_lock_killable(first->mm)) {
		first->err = insert_and_unlock(first, TIME_TO_WAIT);
		if (first->err == -EINTR)
			first->err = -EAGAIN;
	}
	kthread_complete_and_exit(&first->done, 0);
}

/*
 * Queues for mmap_lock like any writer, which keeps out those who come later, but not for
 * long enough that anybody would notice.
 */
static int insert_in_queue(struct first_insertion *first)
{
	struct task_struct *thread;

	first->cancelled = false;
	init_completion(&first->done);
	thread = kthread_create(insert_in_queue_thread, first, "hmm_mirror");
	if (IS_ERR(thread))
		return -EAGAIN;
	get_task_struct(thread);
	wake_up_process(thread);
	if (wait_for_completion_killable_timeout(&first->done, TIME_TO_WAIT) <= 0) {
		/* Pairs with the READ_ONCE() of the thread. */
		WRITE_ONCE(first->cancelled, true);
		send_sig(SIGKILL, thread, 1);
		/* Not for long. The thread uses our stack. */
		wait_for_completion(&first->done);
	}
	put_task_struct(thread);
	return first->err;
}

/*
 * Makes the first subscription. A writer that waits for mmap_lock keeps out all readers
 * that come after it: if an earlier reader is stuck in a page fault, this includes
 * /proc/PID/maps and ps. So this writer does not queue but comes back later. Yet the
 * readers of a busy process may never leave a gap, and its page faults none between the
 * locks of VMAs: now and then it joins the queue, and waits for those locks, for a
 * moment.
 */
static int insert_first(struct first_insertion *first,
			const struct hmm_mirror_limit *limit)
{
	unsigned long next_wait = jiffies + TIME_TO_WAIT;
	unsigned long interval = 2 * TIME_TO_WAIT;
	long pause = 0;
	int err;

	for (;;) {
		bool wait = time_after_eq(jiffies, next_wait);

		err = -EAGAIN;
		if (compat_mmap_write_trylock(first->mm))
			err = insert_and_unlock(first, wait ? TIME_TO_WAIT : 0);
		else if (wait)
			err = insert_in_queue(first);
		if (wait) {
			next_wait = jiffies + interval;
			interval = min(2 * interval, (unsigned long)HZ);
		}
		if (err != -EAGAIN)
			return err;
		err = hmm_mirror_interrupted(limit);
		if (err)
			return err;
		if (pause)
			schedule_timeout_killable(pause);
		else
			usleep_range(50, 200);
		pause = min(pause + 1, (long)MAX_PAUSE);
	}
}

/* Takes a use of what is known about @mm, if anything is. */
static struct hmm_mirror_mm *find_mm(struct mm_struct *mm)
{
	struct hmm_mirror_mm *found;

	rcu_read_lock();
	hash_for_each_possible_rcu(all_by_mm, found, hash_node,
				   (unsigned long)mm)
		if (found->guard.mm == mm && refcount_inc_not_zero(&found->users))
			break;
	rcu_read_unlock();
	return found;
}

/*
 * A guard that was deferred when its process ended has not been told. This is rare;
 * whoever adds to its bucket removes it.
 */
static void retire_forgotten(struct mm_struct *mm)
{
	struct hmm_mirror_mm *found, *forgotten = NULL;

	spin_lock(&all_lock);
	hash_for_each_possible(all_by_mm, found, hash_node, (unsigned long)mm) {
		if (!atomic_read(&found->guard.mm->mm_users) &&
		    refcount_inc_not_zero(&found->users)) {
			forgotten = found;
			break;
		}
	}
	spin_unlock(&all_lock);
	if (forgotten) {
		retire(forgotten);
		put_mm(forgotten, 1);
	}
}

static struct hmm_mirror_mm *
create_mm(struct mm_struct *mm, const struct hmm_mirror_limit *limit,
	  bool has_subscriptions)
{
	struct first_insertion first = {
		.mm = mm,
		.start = PROBE_START,
		.length = PAGE_SIZE,
		.ops = &guard_ops,
	};
	struct hmm_mirror_mm *new, *other;
	int err;

	new = kzalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
	if (!new)
		return ERR_PTR(-ENOMEM);
	first.notifier = &new->guard;
	new->guard_removal.notifier = &new->guard;
	new->guard_removal.done = guard_gone;
	/* For the guard, and for the caller. */
	refcount_set(&new->users, 2);
	spin_lock_init(&new->lock);
	init_waitqueue_head(&new->wait);
	init_llist_head(&new->leaving);
	INIT_DELAYED_WORK(&new->removal, remove_leaving);
	INIT_HLIST_NODE(&new->hash_node);
	if (has_subscriptions)
		err = mmu_interval_notifier_insert(&new->guard, mm, PROBE_START,
						   PAGE_SIZE, &guard_ops);
	else
		err = insert_first(&first, limit);
	if (err) {
		kfree(new);
		return ERR_PTR(err);
	}

	spin_lock(&all_lock);
	list_add(&new->node, &all_mms);
	hash_for_each_possible(all_by_mm, other, hash_node, (unsigned long)mm)
		if (other->guard.mm == mm && refcount_inc_not_zero(&other->users))
			break;
	if (!other)
		hash_add_rcu(all_by_mm, &new->hash_node, (unsigned long)mm);
	spin_unlock(&all_lock);
	retire_forgotten(mm);
	if (!other)
		return new;
	/* Two threads at once, and the other one was faster. */
	retire(new);
	put_mm(new, 1);
	return other;
}

/**
 * hmm_mirror_mm_get() - prepare an address space for subscriptions
 * @mm: the caller has a reference to its users
 * @limit: how long it may take
 *
 * Afterwards mmu_interval_notifier_insert() for this mm waits for nothing.
 *
 * Return: what is known about the address space, to be released with
 * hmm_mirror_mm_put(), or an errno: -ENOMEM, -EBUSY (@limit), -EINTR (a fatal signal, or
 * any signal if the address space has had no subscription before).
 */
struct hmm_mirror_mm *hmm_mirror_mm_get(struct mm_struct *mm,
					const struct hmm_mirror_limit *limit)
{
	return find_mm(mm) ?: create_mm(mm, limit, false);
}

/**
 * hmm_mirror_mm_callers() - who keeps an address space that is not theirs
 * @mm: from hmm_mirror_mm_get()
 *
 * Return: in the lower half, how many calls for it are being served that each have a
 * reference of their own to the users of the mm; in the upper half, how often that has
 * changed. A call adds HMM_MIRROR_CALLER_ENTERS and HMM_MIRROR_CALLER_LEAVES.
 */
atomic_long_t *hmm_mirror_mm_callers(struct hmm_mirror_mm *mm)
{
	return &mm->callers;
}

/* Sleeps until the condition is true. Yields 0, -EINTR, or -EBUSY. */
#define WAIT_LIMITED(mm, condition, limit)				\
({									\
	long left__ = hmm_mirror_time_left(limit);			\
									\
	if (left__)							\
		left__ = wait_event_killable_timeout((mm)->wait,	\
						     condition, left__); \
	left__ < 0 ? -EINTR : left__ ? 0 : -EBUSY;			\
})

static bool is_crowded(const struct hmm_mirror_mm *mm)
{
	return atomic_read(&mm->nr_leaving) >= MAX_LEAVING;
}

/**
 * hmm_mirror_make_room() - wait while too many subscriptions await their removal
 * @mm: where to subscribe
 * @limit: how long it may take
 *
 * None is removed while an invalidation runs. For callers that leave one behind with
 * each call: this bounds the memory that they take.
 *
 * Return: 0, -EINTR, or -EBUSY.
 */
int hmm_mirror_make_room(struct mm_struct *mm,
			 const struct hmm_mirror_limit *limit)
{
	struct hmm_mirror_mm *found = find_mm(mm);
	int err = 0;

	if (!found)
		return 0;
	if (unlikely(is_crowded(found)))
		err = WAIT_LIMITED(found, !is_crowded(found), limit);
	put_mm(found, 1);
	return err;
}

/* Whether an invalidation with this number is known to be over. */
static bool is_over(const struct hmm_mirror_mm *mm, unsigned long sequence)
{
	/*
	 * Pairs with the smp_store_release() of note_over(): whoever knows that an
	 * invalidation is over sees the page tables as it left them.
	 */
	return (long)(smp_load_acquire(&mm->quiet) - sequence) >= 0;
}

static void note_over(struct hmm_mirror_mm *mm, unsigned long sequence)
{
	spin_lock(&mm->lock);
	if (!is_over(mm, sequence))
		smp_store_release(&mm->quiet, sequence); /* pairs with is_over() */
	spin_unlock(&mm->lock);
}

static void probe_gone(struct hmm_mirror_removal *removal)
{
	kfree(container_of(removal, struct probe, removal));
}

/* A worker: nobody else waits in mmu_interval_read_begin(). */
static void await_end(struct work_struct *work)
{
	struct probe *probe = container_of(work, struct probe, work);
	struct hmm_mirror_mm *mm = probe->mm;

	note_over(mm, mmu_interval_read_begin(&probe->notifier));
	wake_up_all(&mm->wait);
	hmm_mirror_mm_remove(mm, &probe->removal);
}

/* Whether a worker is already waiting for that end, and has not returned yet. */
static bool is_awaited(struct hmm_mirror_mm *mm, unsigned long sequence)
{
	bool awaited;

	spin_lock(&mm->lock);
	awaited = mm->awaited == sequence && !is_over(mm, sequence);
	spin_unlock(&mm->lock);
	return awaited;
}

/* Whether this caller is the first to need a worker that waits for that end. */
static bool first_to_await(struct hmm_mirror_mm *mm, unsigned long sequence)
{
	bool first;

	spin_lock(&mm->lock);
	first = mm->awaited != sequence;
	mm->awaited = sequence;
	spin_unlock(&mm->lock);
	return first;
}

/*
 * Whether an invalidation with @sequence, which was read from a notifier before, is
 * running; if so, @mm->wait is woken when it ends. Or an errno.
 */
static int is_running(struct hmm_mirror_mm *mm, struct mm_struct *kernel_mm,
		      unsigned long sequence)
{
	unsigned long current_sequence;
	struct probe *probe;
	bool aside;
	int err;

	/* Every probe stays until that end: one is enough. */
	if (is_awaited(mm, sequence))
		return true;
	probe = kmalloc(sizeof(*probe), GFP_KERNEL_ACCOUNT);
	if (!probe)
		return -ENOMEM;
	err = mmu_interval_notifier_insert(&probe->notifier, kernel_mm,
					   PROBE_START, PAGE_SIZE, &probe_ops);
	if (err) {
		kfree(probe);
		return err;
	}
	refcount_inc(&mm->users);
	probe->mm = mm;
	probe->removal.notifier = &probe->notifier;
	probe->removal.done = probe_gone;
	/*
	 * While the probe is deferred, nothing changes its number. It gets into the tree
	 * when the invalidation ends: if the number is read too late, so is the node.
	 */
	current_sequence = READ_ONCE(probe->notifier.invalidate_seq);
	smp_rmb(); /* pairs with the lock of the kernel that both are written under */
	aside = READ_ONCE(probe->notifier.interval_tree.rb.__rb_parent_color) ==
		(unsigned long)&probe->notifier.interval_tree.rb;

	if (aside && current_sequence == sequence) {
		INIT_WORK(&probe->work, await_end);
		if (first_to_await(mm, sequence))
			queue_work(workers, &probe->work);
		else
			hmm_mirror_mm_remove(mm, &probe->removal);
		return true;
	}
	/*
	 * That it is over shows in what the kernel wrote afterwards, under its lock. What
	 * the invalidation has done must not be read before that.
	 */
	smp_acquire__after_ctrl_dep();
	/* Numbers are odd: the previous one is two less. */
	note_over(mm, aside ? current_sequence - 2 : sequence);
	hmm_mirror_mm_remove(mm, &probe->removal);
	return false;
}

/**
 * hmm_mirror_mm_read_begin() - mmu_interval_read_begin() that ends
 * @mm: address space of @notifier
 * @notifier: a registered notifier
 * @limit: how long it may take
 * @sequence: out: what mmu_interval_read_begin() would return
 *
 * The caller has a reference to the mm's users.
 *
 * Return: 0, -EINTR (a fatal signal), -EBUSY (@limit), or -ENOMEM.
 */
int hmm_mirror_mm_read_begin(struct hmm_mirror_mm *mm,
			     struct mmu_interval_notifier *notifier,
			     const struct hmm_mirror_limit *limit,
			     unsigned long *sequence)
{
	int err;

	for (;;) {
		/* Pairs with the WRITE_ONCE() of mmu_interval_set_seq(). */
		unsigned long seen = READ_ONCE(notifier->invalidate_seq);

		*sequence = seen;
		if (likely(is_over(mm, seen)))
			return 0;
		err = is_running(mm, notifier->mm, seen);
		if (err <= 0)
			return err;
		err = WAIT_LIMITED(mm, is_over(mm, seen), limit);
		if (err)
			return err;
	}
}

/**
 * hmm_mirror_read_begin_limited() - the same for a notifier that is not ours
 * @notifier: a registered notifier
 * @limit: how long it may take
 * @sequence: out: what mmu_interval_read_begin() would return
 *
 * Return: as hmm_mirror_mm_read_begin().
 */
int hmm_mirror_read_begin_limited(struct mmu_interval_notifier *notifier,
				  const struct hmm_mirror_limit *limit,
				  unsigned long *sequence)
{
	struct hmm_mirror_mm *mm = find_mm(notifier->mm);
	int err;

	/* @notifier is a subscription itself, so the guard is not the first one. */
	if (!mm)
		mm = create_mm(notifier->mm, limit, true);
	if (IS_ERR(mm))
		return PTR_ERR(mm);
	err = hmm_mirror_mm_read_begin(mm, notifier, limit, sequence);
	put_mm(mm, 1);
	return err;
}

/* The next one after @mm, or the first one, with a use of it; puts the use of @mm. */
static struct hmm_mirror_mm *next_mm(struct hmm_mirror_mm *mm)
{
	struct hmm_mirror_mm *next = mm;

	spin_lock(&all_lock);
	if (!next)
		next = list_entry(&all_mms, struct hmm_mirror_mm, node);
	/* One without uses is about to be taken off the list. */
	list_for_each_entry_continue(next, &all_mms, node)
		if (refcount_inc_not_zero(&next->users))
			break;
	if (list_entry_is_head(next, &all_mms, node))
		next = NULL;
	spin_unlock(&all_lock);
	if (mm)
		put_mm(mm, 1);
	return next;
}

static bool are_mms(void)
{
	bool are;

	spin_lock(&all_lock);
	are = !list_empty(&all_mms);
	spin_unlock(&all_lock);
	return are;
}

void hmm_mirror_unregister_barrier(void)
{
	struct hmm_mirror_mm *mm;

	for (mm = next_mm(NULL); mm; mm = next_mm(mm))
		await_removals(mm);
}
EXPORT_SYMBOL_GPL(hmm_mirror_unregister_barrier);

/**
 * hmm_mirror_mm_init() - call before anything else in this file
 *
 * Return: 0 or -ENOMEM.
 */
int __init hmm_mirror_mm_init(void)
{
	/*
	 * Not WQ_MEM_RECLAIM: it frees little memory. An invalidation that hangs keeps
	 * two workers busy, one in a probe and one in a removal. Once half as many
	 * address spaces hang as there may be workers, the others have to wait, until
	 * their deadlines.
	 */
	workers = alloc_workqueue("hmm_mirror", WQ_UNBOUND,
				  WQ_UNBOUND_MAX_ACTIVE);
	return workers ? 0 : -ENOMEM;
}

/**
 * hmm_mirror_mm_exit() - remove all subscriptions that are still there
 *
 * Nobody calls anything else in this file any more. Waits for running invalidations.
 */
void hmm_mirror_mm_exit(void)
{
	struct hmm_mirror_mm *mm;

	/* First the waiting probes: afterwards they are among the removals. */
	flush_workqueue(workers);
	/*
	 * Repeatedly: a process that ends may be just about to request its guard's
	 * removal, and a worker to put the last use.
	 */
	while (are_mms()) {
		for (mm = next_mm(NULL); mm; mm = next_mm(mm)) {
			retire(mm);
			await_removals(mm);
		}
		usleep_range(1000, 2000);
	}
	destroy_workqueue(workers);
}
