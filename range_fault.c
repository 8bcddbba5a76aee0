// SPDX-License-Identifier: GPL-2.0
/*
 * The range-fault loop: walk, fault what the walk found missing, walk on.
 *
 * The notifier's sequence number is looked at when an answer is complete, not
 * while pages are being faulted in: a write fault on a copy-on-write page
 * invalidates the very range it works for, and must not cost what was done
 * before. So work grows with the number of pages alone; whoever has to start
 * over finds the pages present.
 */
#define pr_fmt(fmt) "hmm_mirror: " fmt

#include <linux/hugetlb.h>
#include <linux/jiffies.h>
#include <linux/mmap_lock.h>
#include <linux/module.h>
#include <linux/oom.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/timer.h>

#include "compat.h"
#include "internal.h"
#include "trace.h"

/*
 * A caller that keeps mmap_lock and has no deadline gets -EBUSY if the same
 * page is still missing after so many faults. They all returned success, so
 * somebody takes the page away, or holds it, faster than it can be looked at.
 */
#define MAX_FAULTS_WITHOUT_PROGRESS	64

/*
 * And so often a caller's own device memory is asked to make a page writable, if
 * its caller can do without; once it has refused, other pages are tried once.
 */
#define MAX_FAULTS_OF_DEVICE_PAGE	4

/**
 * struct fault_context - how faults may be taken for a request
 * @mm: address space
 * @deadline: jiffies at which to give up
 * @has_deadline: @deadline counts
 * @may_unlock: faults may drop mmap_lock; the request holds it, not its caller
 * @locked: mmap_lock is held
 * @tried: address of the last fault that asked to be tried again, +1; or 0
 * @stuck_at: first missing address of the last walk
 * @stuck: how many walks in a row it has been that address
 */
struct fault_context {
	struct mm_struct *mm;
	unsigned long deadline;
	bool has_deadline;
	bool may_unlock;
	bool locked;
	unsigned long tried;
	unsigned long stuck_at;
	unsigned int stuck;
};

static __always_inline bool deadline_passed(const struct fault_context *context)
{
	return context->has_deadline &&
	       time_after_eq(jiffies, context->deadline);
}

/* The errno that ends a request between two steps of its work, or 0. */
static __always_inline int interrupted(const struct fault_context *context)
{
	if (fatal_signal_pending(current))
		return -EINTR;
	if (deadline_passed(context))
		return -EBUSY;
	return 0;
}

/**
 * struct fault_alarm - ends a wait in a fault handler when the deadline has passed
 * @timer: fires at the deadline, and then again and again until it is deleted
 * @task: the task that waits
 */
struct fault_alarm {
	struct timer_list timer;
	struct task_struct *task;
};

static void alarm_rings(struct timer_list *timer)
{
	struct fault_alarm *alarm = container_of(timer, struct fault_alarm,
						 timer);

	/* Again, in case the task was only about to go to sleep. */
	mod_timer(&alarm->timer, jiffies + max(HZ / 20, 1));
	wake_up_process(alarm->task);
}

/*
 * A userfaultfd handler need never answer. handle_userfault() sleeps once and
 * returns VM_FAULT_RETRY whatever woke it, so waking it is all that the
 * deadline needs; all other waits check their condition and sleep on.
 */
static noinline vm_fault_t
fault_with_alarm(struct fault_context *context, struct vm_area_struct *vma,
		 unsigned long addr, unsigned int flags)
{
	struct fault_alarm alarm = { .task = current };
	vm_fault_t result;

	timer_setup_on_stack(&alarm.timer, alarm_rings, 0);
	mod_timer(&alarm.timer, context->deadline);
	result = handle_mm_fault(vma, addr, flags, NULL);
	timer_delete_sync(&alarm.timer);
	compat_timer_destroy_on_stack(&alarm.timer);
	return result;
}

/* What a fault that did not simply succeed means for the request. */
static noinline int fault_outcome(struct hmm_mirror_range *range,
				  struct fault_context *context,
				  unsigned long addr, vm_fault_t result)
{
	if (result & (VM_FAULT_RETRY | VM_FAULT_COMPLETED))
		range->nr_waits++;
	if (result & VM_FAULT_RETRY) {
		/* Not accounted as a fault by the kernel, nor here. */
		context->locked = false;
		context->tried = addr + 1;
		range->nr_faults--;
	} else if (result & VM_FAULT_COMPLETED) {
		context->locked = false;
	}
	if (!context->locked && WARN_ON_ONCE(!context->may_unlock)) {
		/* The handler broke its contract; ours is to stay locked. */
		mmap_read_lock(context->mm);
		context->locked = true;
		return -EBUSY;
	}
	if (result & VM_FAULT_ERROR) {
		int err = vm_fault_to_errno(result, FOLL_HWPOISON);

		range->fault_addr = addr;
		return err ?: -EFAULT;
	}
	return 0;
}

/*
 * Takes one fault. Afterwards @context->locked says whether mmap_lock is still
 * held; if not, @vma may be gone.
 */
static __always_inline int fault_page(struct hmm_mirror_range *range,
				      struct fault_context *context,
				      struct vm_area_struct *vma,
				      unsigned long addr, bool write)
{
	unsigned int flags = FAULT_FLAG_REMOTE;
	vm_fault_t result;

	if (write)
		flags |= FAULT_FLAG_WRITE;
	if (context->may_unlock) {
		flags |= FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_KILLABLE;
		if (context->tried == addr + 1)
			flags |= FAULT_FLAG_TRIED;
	}

	if (context->may_unlock && context->has_deadline &&
	    userfaultfd_armed(vma))
		result = fault_with_alarm(context, vma, addr, flags);
	else
		result = handle_mm_fault(vma, addr, flags, NULL);
	trace_hmm_mirror_fault(addr, write, (__force unsigned int)result);

	context->tried = 0;
	range->nr_faults++;
	if (likely(!(result & (VM_FAULT_ERROR | VM_FAULT_RETRY |
			       VM_FAULT_COMPLETED))))
		return 0;
	return fault_outcome(range, context, addr, result);
}

/* Where up to @end the next fault of @vma is needed, after one at @addr. */
static unsigned long next_fault(struct hmm_mirror_cursor *cursor,
				struct vm_area_struct *vma, unsigned long addr,
				unsigned long end, bool write)
{
	if (addr + PAGE_SIZE >= end)
		return end;
	if (is_vm_hugetlb_page(vma))
		return ALIGN(addr + 1, huge_page_size(hstate_vma(vma)));
	return hmm_mirror_next_unmapped(cursor, vma->vm_mm, addr + PAGE_SIZE,
					end, write);
}

/*
 * Faults [@addr, @end), all of @vma. Returns early, and successfully, if mmap_lock
 * was dropped.
 */
static __always_inline int fault_part(struct hmm_mirror_range *range,
				      struct fault_context *context,
				      struct hmm_mirror_cursor *cursor,
				      struct vm_area_struct *vma,
				      unsigned long addr, unsigned long end,
				      bool write)
{
	do {
		int err = interrupted(context);

		if (err)
			return err;
		if (!(range->nr_faults % 16))
			cond_resched();
		err = fault_page(range, context, vma, addr, write);
		if (err || !context->locked)
			return err;
		addr = next_fault(cursor, vma, addr, end, write);
	} while (addr < end);
	return 0;
}

/*
 * Faults what the last walk found missing. Returns early, and successfully, if
 * mmap_lock was dropped: mappings may have changed, so it takes another walk to
 * know what to fault. Also if a fault fails that is not the first: one fault may
 * not have been enough for a page before it, and the address that is reported
 * shall be the lowest that cannot be served. Not part of its caller, which most
 * often has no use for it, and need not make room for what it uses.
 */
static noinline int fault_runs(struct hmm_mirror_walk *walk,
			       struct fault_context *context)
{
	struct hmm_mirror_range *range = walk->range;
	struct hmm_mirror_cursor cursor = {};
	/* For as long as mmap_lock is held, and so are the runs. */
	struct vm_area_struct *vma = walk->vma;
	unsigned int i;

	for (i = 0; i < walk->nr_runs; i++) {
		const struct hmm_mirror_fault_run *run = &walk->runs[i];
		unsigned long addr = run->start;
		unsigned long end = addr +
				    ((unsigned long)run->npages << PAGE_SHIFT);

		while (addr < end) {
			unsigned long stop;
			int err;

			if (addr < vma->vm_start || addr >= vma->vm_end)
				vma = vma_lookup(context->mm, addr);
			/* The walk saw one, and mmap_lock is still held. */
			if (WARN_ON_ONCE(!vma))
				return -EFAULT;
			stop = min(end, vma->vm_end);
			err = fault_part(range, context, &cursor, vma, addr,
					 stop, run->write);
			if (err && range->fault_addr &&
			    range->fault_addr != walk->runs[0].start) {
				range->fault_addr = 0;
				return 0;
			}
			if (err || !context->locked)
				return err;
			addr = stop;
		}
	}
	return 0;
}

static int lock_mm(struct hmm_mirror_walk *walk, struct fault_context *context)
{
	if (context->locked)
		return 0;
	if (mmap_read_lock_killable(context->mm))
		return -EINTR;
	context->locked = true;
	walk->vma = NULL;
	return 0;
}

static void unlock_mm(struct fault_context *context)
{
	if (context->locked)
		mmap_read_unlock(context->mm);
	context->locked = false;
}

/* Whether the faults of one walk after the other have led nowhere. */
static bool no_progress(struct hmm_mirror_walk *walk,
			struct fault_context *context)
{
	if (walk->runs[0].start != context->stuck_at)
		context->stuck = 0;
	context->stuck_at = walk->runs[0].start;
	context->stuck++;
	return !context->may_unlock &&
	       context->stuck > MAX_FAULTS_WITHOUT_PROGRESS;
}

/*
 * Whether the next walk shall report what the last one found missing. Each of its
 * faults went to all pages of the run.
 */
static bool take_device_pages(struct hmm_mirror_walk *walk,
			      const struct fault_context *context)
{
	unsigned int tries = walk->as_is_end ? 1 : MAX_FAULTS_OF_DEVICE_PAGE;

	if (!walk->range->device_pages_as_is || !walk->stuck_on_device ||
	    context->stuck <= tries)
		return false;
	walk->as_is_end = walk->runs[0].start +
			  ((unsigned long)walk->runs[0].npages << PAGE_SHIFT);
	return true;
}

/*
 * Answers the request from @walk->next to its end, or until the extents are
 * full. Whether the answer is still true is for the caller to check.
 */
static int collect(struct hmm_mirror_walk *walk, struct fault_context *context)
{
	struct hmm_mirror_range *range = walk->range;

	while (walk->next < range->end && !walk->full) {
		/* Waiting for a fault may have taken all the time there was. */
		int err = context->locked ? 0 : interrupted(context);

		if (!err)
			err = lock_mm(walk, context);
		if (err)
			return err;
		err = hmm_mirror_walk(walk);
		if (err)
			return err;
		if (walk->nr_runs) {
			if (no_progress(walk, context))
				return -EBUSY;
			if (take_device_pages(walk, context))
				continue;
			err = fault_runs(walk, context);
			if (err)
				return err;
		} else if (walk->next < range->end && !walk->full) {
			err = interrupted(context);
			if (err)
				return err;
			/* The VMA needs the lock, and lock_mm() forgets it. */
			if (context->may_unlock &&
			    mmap_lock_is_contended(context->mm))
				unlock_mm(context);
			cond_resched();
		}
	}
	return 0;
}

static void begin_answer(struct hmm_mirror_walk *walk)
{
	walk->next = walk->range->start;
	walk->full = false;
	if (walk->extents)
		walk->extents->nr = 0;
}

static void begin_request(struct hmm_mirror_range *range,
			  struct hmm_mirror_extents *extents)
{
	range->fault_addr = 0;
	range->nr_faults = 0;
	range->nr_waits = 0;
	range->nr_walks = 0;
	range->nr_restarts = 0;
	range->nr_slots = 0;
	if (extents) {
		extents->nr = 0;
		extents->next = range->start;
	}
}

static int end_request(struct hmm_mirror_walk *walk, int err)
{
	struct hmm_mirror_range *range = walk->range;

	if (walk->extents && !err)
		walk->extents->next = walk->next;
	hmm_mirror_count(range_calls, 1);
	hmm_mirror_count(faults, range->nr_faults);
	hmm_mirror_count(walks, range->nr_walks);
	hmm_mirror_count(restarts, range->nr_restarts);
	if (err)
		hmm_mirror_count(range_errors, 1);
	trace_hmm_mirror_range(range, err);
	return err;
}

/* Whether the order has a place of its own in a word. */
static bool order_shift_valid(const struct hmm_mirror_range *range)
{
	unsigned long taken = HMM_MIRROR_PFN_VALID | HMM_MIRROR_PFN_WRITE |
			      HMM_MIRROR_PFN_ERROR | HMM_MIRROR_PFN_PFN_MASK |
			      range->pfn_flags_mask;
	unsigned long order = HMM_MIRROR_PFN_ORDER_MASK >>
			      HMM_MIRROR_PFN_ORDER_SHIFT;

	return !range->order_shift ||
	       (range->order_shift < BITS_PER_LONG &&
		order << range->order_shift >> range->order_shift == order &&
		!(order << range->order_shift & taken));
}

static __always_inline bool
request_valid(const struct hmm_mirror_range *range,
	      const struct hmm_mirror_extents *extents)
{
	const struct interval_tree_node *interval =
		&range->notifier->interval_tree;

	if (!PAGE_ALIGNED(range->start) || !PAGE_ALIGNED(range->end) ||
	    range->start >= range->end)
		return false;
	/* Outside of the interval invalidations would go unseen. */
	if (range->start < interval->start || range->end - 1 > interval->last)
		return false;
	if (range->default_flags & ~HMM_MIRROR_PFN_REQ_FLAGS)
		return false;
	if (range->pfn_flags_mask &
	    ~(HMM_MIRROR_PFN_REQ_FLAGS | HMM_MIRROR_PFN_DRIVER_FLAGS))
		return false;
	if (extents)
		return extents->array && extents->capacity &&
		       !range->order_shift;
	return range->hmm_pfns && order_shift_valid(range);
}

static bool wants_faults(const struct hmm_mirror_range *range)
{
	unsigned long request = range->default_flags;

	if (range->hmm_pfns)
		request |= range->pfn_flags_mask;
	return request & HMM_MIRROR_PFN_REQ_FAULT;
}

static int range_fault_locked(struct hmm_mirror_range *range,
			      struct hmm_mirror_extents *extents)
{
	struct hmm_mirror_fault_run runs[HMM_MIRROR_MAX_FAULT_RUNS]
		COMPAT_UNINITIALIZED;
	struct hmm_mirror_walk walk = {
		.range = range,
		.extents = extents,
		.runs = runs,
	};
	struct fault_context context = {
		.mm = range->notifier->mm,
		.locked = true,
	};
	int err;

	mmap_assert_locked(context.mm);
	begin_request(range, extents);
	if (!request_valid(range, extents))
		return end_request(&walk, -EINVAL);
	/* A request to fault is served first: the next try shall find it done. */
	if (!wants_faults(range) &&
	    mmu_interval_check_retry(range->notifier, range->notifier_seq))
		return end_request(&walk, -EBUSY);

	begin_answer(&walk);
	err = collect(&walk, &context);
	if (!err &&
	    mmu_interval_check_retry(range->notifier, range->notifier_seq))
		err = -EBUSY;
	return end_request(&walk, err);
}

static int range_fault_unlocked(struct hmm_mirror_range *range,
				struct hmm_mirror_extents *extents,
				unsigned long timeout)
{
	struct hmm_mirror_fault_run runs[HMM_MIRROR_MAX_FAULT_RUNS]
		COMPAT_UNINITIALIZED;
	struct hmm_mirror_walk walk = {
		.range = range,
		.extents = extents,
		.runs = runs,
	};
	struct fault_context context = {
		.mm = range->notifier->mm,
		.may_unlock = true,
		.has_deadline = timeout,
		.deadline = jiffies + min(timeout, MAX_JIFFY_OFFSET),
	};
	int err;

	might_sleep();
	begin_request(range, extents);
	if (!request_valid(range, extents))
		return end_request(&walk, -EINVAL);
	/* Whoever calls again and again for a long range must end too. */
	if (fatal_signal_pending(current))
		return end_request(&walk, -EINTR);

	for (;;) {
		range->notifier_seq = mmu_interval_read_begin(range->notifier);
		begin_answer(&walk);
		err = lock_mm(&walk, &context);
		if (err)
			break;
		/* The OOM reaper takes pages away without a fault to show it. */
		err = check_stable_address_space(context.mm) ? -EFAULT : 0;
		if (!err)
			err = collect(&walk, &context);
		unlock_mm(&context);
		if (err ||
		    !mmu_interval_check_retry(range->notifier,
					      range->notifier_seq))
			break;
		err = interrupted(&context);
		if (err)
			break;
		range->nr_restarts++;
		cond_resched();
	}
	return end_request(&walk, err);
}

/**
 * hmm_mirror_range_fault() - read, and fault in where asked, a range
 * @range: the request, see struct hmm_mirror_range
 *
 * On success every word of @range->hmm_pfns has been written, and every page
 * that was asked for is VALID, with WRITE where that was asked. Only pages that
 * were asked for have been faulted. On failure the output bits of @hmm_pfns
 * mean nothing; requests are intact in either case.
 *
 * The answer may be used only if mmu_interval_read_retry(@range->notifier,
 * @range->notifier_seq) returns false under the lock that the notifier's
 * invalidate callback takes. -EBUSY means that it is stale already, not that
 * work was lost: everything has been faulted once, so that the next try finds
 * the pages there. Faults on copy-on-write pages make that happen once.
 *
 * Since mmap_lock is never dropped, userfaultfd cannot be served (-EFAULT); see
 * hmm_mirror_range_fault_unlocked().
 *
 * Locking: the caller holds mmap_lock of @range->notifier->mm, which is held on
 * return too, and has a reference to the mm's users (mmget()).
 * Context: sleeps.
 *
 * Return: 0, or
 * -EINVAL: the range is misaligned, empty, or not inside the notifier's
 *	interval; unknown flags; no array. Nothing has been touched.
 * -EBUSY: the range has been invalidated since @range->notifier_seq was taken;
 *	begin anew with mmu_interval_read_begin(). Or a page vanished again and
 *	again after it had been faulted.
 * -EFAULT: a page was asked for that cannot be mirrored: no mapping, VM_IO,
 *	VM_PFNMAP, not readable, secret memory, beyond the end of a file, poison or
 *	guard marker; @range->fault_addr says where.
 * -EPERM: asked to write to a read-only mapping or a shadow stack.
 * -EHWPOISON: the memory failed.
 * -ENOMEM: no memory for a fault.
 * -EINTR: a fatal signal is pending.
 */
int hmm_mirror_range_fault(struct hmm_mirror_range *range)
{
	return range_fault_locked(range, NULL);
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_fault);

/**
 * hmm_mirror_range_fault_unlocked() - the same, taking mmap_lock itself
 * @range: the request; @range->notifier_seq is an output here
 * @timeout: jiffies after which to give up with -EBUSY, 0 for no limit
 *
 * Differs from hmm_mirror_range_fault() in that mmap_lock may be dropped while
 * a page is waited for, so that userfaultfd and slow storage are served, and in
 * that a stale answer is collected anew until it is current or @timeout has
 * passed. The one deadline is looked at between steps, and cuts a wait for a
 * userfaultfd handler short; waits for storage or for a lock are not cut short.
 * A userfaultfd with UFFD_USER_MODE_ONLY refuses all faults that are not the
 * process's own (-EFAULT).
 *
 * Locking: the caller holds neither mmap_lock nor a lock that an invalidation
 * takes, and has a reference to the mm's users (mmget()).
 * Context: sleeps.
 *
 * Return: as hmm_mirror_range_fault(), where -EBUSY means that @timeout has
 * passed. -EFAULT with @range->fault_addr 0: the OOM killer has taken the
 * address space apart.
 */
int hmm_mirror_range_fault_unlocked(struct hmm_mirror_range *range,
				    unsigned long timeout)
{
	return range_fault_unlocked(range, NULL, timeout);
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_fault_unlocked);

/**
 * hmm_mirror_range_extents() - hmm_mirror_range_fault() with extents
 * @range: the request; its page array is an optional array of requests
 * @extents: where the answer goes
 *
 * When the array of extents is full the call succeeds with @extents->next less
 * than @range->end; pages from there on may have been faulted, but are not
 * reported. To continue set @range->start to @extents->next (and move
 * @range->hmm_pfns along, if it is used).
 *
 * Locking: as hmm_mirror_range_fault().
 * Context: sleeps.
 *
 * Return: as hmm_mirror_range_fault(); also -EINVAL if @extents has no array or
 * no room.
 */
int hmm_mirror_range_extents(struct hmm_mirror_range *range,
			     struct hmm_mirror_extents *extents)
{
	return range_fault_locked(range, extents);
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_extents);

/**
 * hmm_mirror_range_extents_unlocked() - the same, taking mmap_lock itself
 * @range: the request; @range->notifier_seq is an output here
 * @extents: where the answer goes
 * @timeout: jiffies after which to give up with -EBUSY, 0 for no limit
 *
 * Locking: as hmm_mirror_range_fault_unlocked().
 * Context: sleeps.
 *
 * Return: as hmm_mirror_range_fault_unlocked(); also -EINVAL if @extents has no
 * array or no room.
 */
int hmm_mirror_range_extents_unlocked(struct hmm_mirror_range *range,
				      struct hmm_mirror_extents *extents,
				      unsigned long timeout)
{
	return range_fault_unlocked(range, extents, timeout);
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_extents_unlocked);
