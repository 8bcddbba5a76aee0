// SPDX-License-Identifier: GPL-2.0
/*
 * The module: loading, unloading, and the range-fault loop: walk, fault in what the walk
 * found missing, walk on.
 *
 * The notifier's sequence number is checked when an answer is complete, not while pages
 * are being faulted in: a write fault on a copy-on-write page invalidates the very range
 * it is taken for, and must not throw away what was done before. So the work grows with
 * the number of pages only; after a restart the pages are already there.
 */
#define pr_fmt(fmt) "hmm_mirror: " fmt

#include <linux/delay.h>
#include <linux/hugetlb.h>
#include <linux/jiffies.h>
#include <linux/mmap_lock.h>
#include <linux/module.h>
#include <linux/oom.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include <linux/task_work.h>
#include <linux/timer.h>

#include "compat.h"
#include "internal.h"
#include "mapped.h"
#include "trace.h"

/*
 * A caller that keeps mmap_lock and has no deadline gets -EBUSY if the same page is still
 * missing after this many faults. All of them succeeded, so somebody takes the page away
 * faster than it can be looked at, or keeps it. The same if nothing can be said of its
 * entry this many times in a row.
 */
#define MAX_FAULTS_WITHOUT_PROGRESS	64

/*
 * How often the driver of a caller's own device memory is asked to make a page writable,
 * if the caller can do without. Once it has refused, further pages are tried once each.
 */
#define MAX_FAULTS_OF_DEVICE_PAGE	4

/*
 * How long, in ns, and for how many faults mmap_lock is kept although others wait for it.
 * More than one fault, so that a request gets somewhere even if there is always somebody
 * waiting.
 */
#define TURN		(200 * NSEC_PER_USEC)
#define TURN_FAULTS	4

/**
 * struct fault_context - how faults may be taken for a request
 * @mm: address space
 * @limit: how long it may take
 * @may_unlock: mmap_lock is taken here, not by the caller, and faults may drop it
 * @locked: mmap_lock is held
 * @tried: address of the last fault that asked to be retried, +1; or 0
 * @locked_at: local_clock() when mmap_lock was taken, if @may_unlock
 * @faults_before: how many faults had been taken then
 * @stuck_at: first address that the last walk could not answer
 * @stuck: how many walks in a row have stopped there because of a missing page
 * @unread: how many because nothing could be said of its entry
 * @faulted: of the first run that a walk has found: the end of what the faults for it have
 *	got to, in one go
 * @callers: of hmm_mirror_mm_callers(), where that is known and the mm is not
 *	current->mm: this call is one of them
 */
struct fault_context {
	struct mm_struct *mm;
	struct hmm_mirror_limit limit;
	bool may_unlock;
	bool locked;
	unsigned long tried;
	u64 locked_at;
	unsigned long faults_before;
	unsigned long stuck_at;
	unsigned int stuck;
	unsigned int unread;
	unsigned long faulted;
	atomic_long_t *callers;
};

/*
 * Whether the process is gone, and its memory is kept only by callers' references. A
 * caller must have a reference of its own, or the last one could be the process's. A
 * caller that is a thread of the process need not have one, and is not asked.
 *
 * A call is counted after it has got its reference, and not any more before it gives it
 * back, so a process that lives is one user more, at least.
 */
static bool target_gone(const struct fault_context *context)
{
	long before = 1, after = 1;
	int users;

	if (!context->may_unlock || context->mm == current->mm)
		return false;
	if (context->callers)
		before = atomic_long_read_acquire(context->callers);
	users = atomic_read(&context->mm->mm_users);
	if (likely(users > (int)before))
		return false;
	/* Of one who came or went meanwhile, only one of the numbers may know. */
	smp_rmb(); /* pairs with count_caller() and uncount_caller() */
	if (context->callers)
		after = atomic_long_read(context->callers);
	return before == after;
}

/**
 * struct wait_alarm - puts a deadline on a wait that has none
 * @timer: fires at the deadline, and then again and again until it is deleted
 * @task: the task that waits
 * @notify: only a signal ends the wait: make the task look as if it had one pending
 */
struct wait_alarm {
	struct timer_list timer;
	struct task_struct *task;
	bool notify;
};

static void alarm_rings(struct timer_list *timer)
{
	struct wait_alarm *alarm = container_of(timer, struct wait_alarm,
						timer);

	/* Again: the task may only have been about to go to sleep. */
	mod_timer(&alarm->timer, jiffies + max(HZ / 20, 1));
	if (alarm->notify)
		set_tsk_thread_flag(alarm->task, TIF_NOTIFY_SIGNAL);
	wake_up_process(alarm->task);
}

static void begin_alarm(struct wait_alarm *alarm,
			const struct hmm_mirror_limit *limit)
{
	timer_setup_on_stack(&alarm->timer, alarm_rings, 0);
	mod_timer(&alarm->timer, limit->deadline);
}

static void end_alarm(struct wait_alarm *alarm)
{
	compat_timer_delete_sync(&alarm->timer);
	compat_timer_destroy_on_stack(&alarm->timer);
	if (!alarm->notify)
		return;
	/*
	 * It would end the caller's next wait, too. But task work that was added
	 * meanwhile needs it.
	 */
	clear_notify_signal();
	if (task_work_pending(current))
		set_thread_flag(TIF_NOTIFY_SIGNAL);
}

/*
 * A userfaultfd handler may never answer. handle_userfault() sleeps once and returns
 * VM_FAULT_RETRY whatever woke it, so waking the task is all that it takes to keep the
 * deadline; every other wait checks its condition and goes back to sleep.
 */
static noinline vm_fault_t
fault_with_alarm(struct fault_context *context, struct vm_area_struct *vma,
		 unsigned long addr, unsigned int flags)
{
	struct wait_alarm alarm = { .task = current };
	vm_fault_t result;

	begin_alarm(&alarm, &context->limit);
	result = handle_mm_fault(vma, addr, flags, NULL);
	end_alarm(&alarm);
	return result;
}

/* Of a fault: mmap_lock was dropped. What the walk has found may not be true any more. */
#define UNLOCKED	1

/* What a fault that did not simply succeed means for the request. */
static noinline int fault_outcome(struct hmm_mirror_range *range,
				  struct fault_context *context,
				  unsigned long addr, vm_fault_t result)
{
	if (result & (VM_FAULT_RETRY | VM_FAULT_COMPLETED))
		range->nr_waits++;
	if (result & VM_FAULT_RETRY) {
		/* The kernel does not account it as a fault, so neither do we. */
		context->locked = false;
		context->tried = addr + 1;
		range->nr_faults--;
	} else if (result & VM_FAULT_COMPLETED) {
		context->locked = false;
	}
	if (!context->locked && WARN_ON_ONCE(!context->may_unlock)) {
		/* The handler broke its contract; ours is to return with the lock held. */
		mmap_read_lock(context->mm);
		context->locked = true;
		return -EBUSY;
	}
	if (result & VM_FAULT_ERROR) {
		int err = vm_fault_to_errno(result, FOLL_HWPOISON);

		range->fault_addr = addr;
		return err ?: -EFAULT;
	}
	return context->locked ? 0 : UNLOCKED;
}

/*
 * Takes one fault. Returns UNLOCKED, or an error, if mmap_lock is not held afterwards; @vma
 * may then be gone.
 */
static __always_inline int fault_page(struct hmm_mirror_range *range,
				      struct fault_context *context,
				      struct vm_area_struct *vma,
				      unsigned long addr, unsigned int flags)
{
	vm_fault_t result;

	if (unlikely(context->tried)) {
		if (context->tried == addr + 1)
			flags |= FAULT_FLAG_TRIED;
		context->tried = 0;
	}
	if (context->limit.has_deadline && context->may_unlock &&
	    userfaultfd_armed(vma))
		result = fault_with_alarm(context, vma, addr, flags);
	else
		result = handle_mm_fault(vma, addr, flags, NULL);
	trace_hmm_mirror_fault(addr, flags & FAULT_FLAG_WRITE,
			       (__force unsigned int)result);
	range->nr_faults++;
	if (likely(!(result & (VM_FAULT_ERROR | VM_FAULT_RETRY |
			       VM_FAULT_COMPLETED))))
		return 0;
	return fault_outcome(range, context, addr, result);
}

/**
 * struct fault_position - what the faults for a walk's runs have mapped so far
 * @cursor: where the page tables were last looked at; not for hugetlb
 * @hugetlb_end: end of the last hugetlb page that was faulted: [0] at all, [1] for
 *	writing
 * @reached: if the faults ended early: first address that none was completed for
 */
struct fault_position {
	struct hmm_mirror_cursor cursor;
	unsigned long hugetlb_end[2];
	unsigned long reached;
};

static void note_hugetlb_fault(struct fault_position *position,
			       struct vm_area_struct *vma, unsigned long addr,
			       bool write)
{
	unsigned long end = ALIGN(addr + 1, huge_page_size(hstate_vma(vma)));

	position->hugetlb_end[0] = end;
	if (write)
		position->hugetlb_end[1] = end;
}

/* The first address in [@addr, @end) of @vma that still needs a fault, or @end. */
static __always_inline unsigned long
next_fault(struct fault_position *position, struct vm_area_struct *vma,
	   bool hugetlb, unsigned long addr, unsigned long end, bool write)
{
	if (addr >= end)
		return end;
	if (hugetlb)
		return clamp(position->hugetlb_end[write], addr, end);
	return hmm_mirror_next_unmapped(&position->cursor, vma->vm_mm, addr,
					end, write);
}

static void unlock_mm(struct fault_context *context)
{
	if (context->locked)
		mmap_read_unlock(context->mm);
	context->locked = false;
}

/* Whether it is time to let somebody else have mmap_lock. */
static bool turn_is_over(const struct hmm_mirror_range *range,
			 const struct fault_context *context)
{
	return context->may_unlock && mmap_lock_is_contended(context->mm) &&
	       (range->nr_faults - context->faults_before >= TURN_FAULTS ||
		local_clock() - context->locked_at >= TURN);
}

/*
 * Gives mmap_lock to those who wait for it. A writer that has been woken is not running
 * yet, and a reader that came straight back would overtake it.
 */
static noinline void yield_mm(struct fault_context *context)
{
	unsigned int i;

	unlock_mm(context);
	for (i = 0; i < 20 && mmap_lock_is_contended(context->mm); i++)
		usleep_range(20, 40);
}

/*
 * Faults in [@addr, @end), which lies in @vma. Returns UNLOCKED early if mmap_lock was
 * dropped: by a fault, or for somebody who waits for it.
 */
static __always_inline int fault_part(struct hmm_mirror_range *range,
				      struct fault_context *context,
				      struct fault_position *position,
				      struct vm_area_struct *vma,
				      unsigned long addr, unsigned long end,
				      unsigned int flags)
{
	const bool hugetlb = is_vm_hugetlb_page(vma);
	const bool write = flags & FAULT_FLAG_WRITE;

	do {
		int err = hmm_mirror_interrupted(&context->limit);

		if (err)
			return err;
		if (!(range->nr_faults % 16)) {
			cond_resched();
			if (target_gone(context))
				return -ESRCH;
		}
		err = fault_page(range, context, vma, addr, flags);
		if (err) {
			/* One that was completed may drop mmap_lock, too. */
			position->reached = err == UNLOCKED && !context->tried ?
					    addr + PAGE_SIZE : addr;
			return err;
		}
		if (hugetlb)
			note_hugetlb_fault(position, vma, addr, write);
		if (turn_is_over(range, context)) {
			position->reached = addr + PAGE_SIZE;
			yield_mm(context);
			return UNLOCKED;
		}
		addr = next_fault(position, vma, hugetlb, addr + PAGE_SIZE, end,
				  write);
	} while (addr < end);
	return 0;
}

/*
 * What it means for the request that not all runs were faulted in, but those before @run
 * and what @position says.
 */
static int runs_outcome(struct hmm_mirror_walk *walk,
			struct fault_context *context,
			const struct hmm_mirror_fault_run *run,
			const struct fault_position *position, int err)
{
	struct hmm_mirror_range *range = walk->range;

	if (run == walk->runs)
		context->faulted = position->reached;
	if (err == UNLOCKED)
		return 0;
	if (range->fault_addr && range->fault_addr != walk->runs[0].start) {
		range->fault_addr = 0;
		return 0;
	}
	return err;
}

/*
 * Faults in what the last walk found missing. Returns early, with 0, if mmap_lock was
 * dropped: mappings may have changed, so it takes another walk to know what to fault.
 * Also if a fault other than the first one fails: a page before it may need another
 * fault, and the address that is reported must be the lowest one that cannot be served.
 *
 * Out of line, since the caller seldom needs it: its stack frame should not be paid for
 * by every walk.
 */
static noinline int fault_runs(struct hmm_mirror_walk *walk,
			       struct fault_context *context)
{
	struct hmm_mirror_range *range = walk->range;
	const struct hmm_mirror_fault_run *const end_run = walk->runs + walk->nr_runs;
	const struct hmm_mirror_fault_run *run;
	struct fault_position position = {};
	/* Valid while mmap_lock is held, as are the runs. */
	struct vm_area_struct *vma = walk->rules.vma;
	unsigned int flags = FAULT_FLAG_REMOTE;

	context->faulted = hmm_mirror_run_end(walk->runs);
	if (context->may_unlock)
		flags |= FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_KILLABLE;
	for (run = walk->runs; run < end_run; run++) {
		unsigned long addr = run->start;
		unsigned long end = hmm_mirror_run_end(run);

		while (addr < end) {
			unsigned long stop;
			int err;

			if (addr < vma->vm_start || addr >= vma->vm_end) {
				vma = vma_lookup(context->mm, addr);
				/* The walk saw one, and mmap_lock is still held. */
				if (WARN_ON_ONCE(!vma))
					return -EFAULT;
			}
			stop = min(end, vma->vm_end);
			/* A fault for an earlier run may have mapped a huge page. */
			if (run->one_entry && run != walk->runs)
				addr = next_fault(&position, vma,
						  is_vm_hugetlb_page(vma), addr,
						  stop, run->write);
			err = addr == stop ? 0 :
			      fault_part(range, context, &position, vma, addr,
					 stop, run->write ?
					 flags | FAULT_FLAG_WRITE : flags);
			if (err)
				return runs_outcome(walk, context, run,
						    &position, err);
			addr = stop;
		}
	}
	return 0;
}

/* Tries again and again: with a signal pending, the task cannot wait in the queue. */
static int poll_mmap_lock(struct mm_struct *mm,
			  const struct hmm_mirror_limit *limit)
{
	unsigned int pause = 20;

	while (!mmap_read_trylock(mm)) {
		int err = hmm_mirror_interrupted(limit);

		if (err)
			return err;
		usleep_range(pause, 2 * pause);
		pause = min(2 * pause, 1000U);
	}
	return 0;
}

/*
 * Waits for mmap_lock in its queue: a caller that only tries may never get it if it keeps
 * changing hands. No function waits there until a deadline, but one waits until a signal
 * is pending, and TIF_NOTIFY_SIGNAL, which an alarm sets, counts as one without being
 * one. If a real signal is pending, which is no reason to fail unless it is fatal, trying
 * has to do.
 */
static noinline int wait_for_mmap_lock(struct fault_context *context)
{
	struct wait_alarm alarm = { .task = current, .notify = true };
	struct mm_struct *mm = context->mm;
	int err;

	if (!context->limit.has_deadline)
		return mmap_read_lock_killable(mm) ? -EINTR : 0;
	err = hmm_mirror_interrupted(&context->limit);
	if (err)
		return err;
	begin_alarm(&alarm, &context->limit);
	err = down_read_interruptible(&mm->mmap_lock);
	end_alarm(&alarm);
	return err ? poll_mmap_lock(mm, &context->limit) : 0;
}

static int lock_mm(struct hmm_mirror_walk *walk, struct fault_context *context)
{
	int err;

	if (context->locked)
		return 0;
	if (!mmap_read_trylock(context->mm)) {
		err = wait_for_mmap_lock(context);
		if (err)
			return err;
	}
	context->locked = true;
	context->locked_at = local_clock();
	context->faults_before = walk->range->nr_faults;
	walk->rules.vma = NULL;
	/* The OOM reaper takes pages away without a fault to show it. */
	return unlikely(check_stable_address_space(context->mm)) ? -EFAULT : 0;
}

/* Whether one walk after the other has led nowhere, and no deadline ends that. */
static bool no_progress(struct hmm_mirror_walk *walk,
			struct fault_context *context)
{
	if (walk->next != context->stuck_at) {
		context->stuck = 0;
		context->unread = 0;
	}
	context->stuck_at = walk->next;
	if (walk->nr_runs)
		context->stuck++;
	else
		context->unread++;
	return !context->may_unlock &&
	       context->stuck + context->unread > MAX_FAULTS_WITHOUT_PROGRESS;
}

/*
 * Whether the next walk is to report what the last one found missing as it is: as much of
 * the run as has been faulted since the walk before, and the first page of it that often.
 */
static bool take_device_pages(struct hmm_mirror_walk *walk,
			      const struct fault_context *context)
{
	unsigned int tries = walk->as_is_end ? 1 : MAX_FAULTS_OF_DEVICE_PAGE;

	if (!walk->range->device_pages_as_is || !walk->stuck_on_device ||
	    context->stuck <= tries || context->faulted <= walk->next)
		return false;
	walk->as_is_end = min(hmm_mirror_run_end(walk->runs), context->faulted);
	return true;
}

/*
 * Answers the request from @walk->next to its end, or until the extents are full. The
 * caller checks whether the answer is still true.
 */
static int collect(struct hmm_mirror_walk *walk, struct fault_context *context)
{
	struct hmm_mirror_range *range = walk->range;

	while (walk->next < range->end && !walk->full) {
		/* Waiting for a fault may have used up all the time. */
		int err = context->locked ? 0 :
			  hmm_mirror_interrupted(&context->limit);

		if (!err)
			err = lock_mm(walk, context);
		if (!err && target_gone(context))
			err = -ESRCH;
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
			err = hmm_mirror_interrupted(&context->limit);
			if (!err && no_progress(walk, context))
				err = -EBUSY;
			if (err)
				return err;
			/* lock_mm() forgets the VMA, which is valid only under the lock. */
			if (turn_is_over(range, context))
				yield_mm(context);
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

/* Whether the order overlaps nothing else in a word. */
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
	/* Outside the interval, invalidations would go unnoticed. */
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
	/* If there is something to fault, do it first: the next try will find it done. */
	if (!wants_faults(range) &&
	    mmu_interval_check_retry(range->notifier, range->notifier_seq))
		return end_request(&walk, -EBUSY);

	begin_answer(&walk);
	err = collect(&walk, &context);
	smp_rmb(); /* the entries first, then the number */
	if (!err &&
	    mmu_interval_check_retry(range->notifier, range->notifier_seq))
		err = -EBUSY;
	return end_request(&walk, err);
}

/*
 * Where to end an answer that may be given in parts. The shorter it is, the sooner it is
 * complete: before the next invalidation, if they come fast.
 */
static unsigned long short_end(const struct hmm_mirror_range *range,
			       const struct hmm_mirror_extents *extents,
			       unsigned long end)
{
	unsigned long npages = (end - range->start) >> PAGE_SHIFT;

	if (extents && extents->in_parts && extents->max_pages &&
	    extents->max_pages < npages)
		return range->start + (extents->max_pages << PAGE_SHIFT);
	return end;
}

/* Callers that say what is known of the mm have a reference for each call. */
static void count_caller(struct fault_context *context, struct hmm_mirror_mm *mm)
{
	if (!mm || context->mm == current->mm)
		return;
	context->callers = hmm_mirror_mm_callers(mm);
	/* Fully ordered: after the caller's mmget(). */
	atomic_long_add_return(HMM_MIRROR_CALLER_ENTERS, context->callers);
}

static void uncount_caller(struct fault_context *context)
{
	/* Fully ordered: before the caller's mmput(). */
	if (context->callers)
		atomic_long_add_return(HMM_MIRROR_CALLER_LEAVES, context->callers);
}

static int begin_reading(struct hmm_mirror_range *range, struct hmm_mirror_mm *mm,
			 const struct hmm_mirror_limit *limit)
{
	if (mm)
		return hmm_mirror_mm_read_begin(mm, range->notifier, limit,
						&range->notifier_seq);
	return hmm_mirror_read_begin_limited(range->notifier, limit,
					     &range->notifier_seq);
}

static int range_fault_unlocked(struct hmm_mirror_range *range,
				struct hmm_mirror_extents *extents,
				struct hmm_mirror_mm *mm,
				const struct hmm_mirror_limit *limit)
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
		.limit = *limit,
	};
	unsigned long end = range->end;
	int err;

	might_sleep();
	begin_request(range, extents);
	if (!request_valid(range, extents))
		return end_request(&walk, -EINVAL);
	/* A caller that serves a long range call by call must be killable, too. */
	if (fatal_signal_pending(current))
		return end_request(&walk, -EINTR);

	count_caller(&context, mm);
	for (;;) {
		err = begin_reading(range, mm, limit);
		if (err)
			break;
		begin_answer(&walk);
		range->end = short_end(range, extents, end);
		err = lock_mm(&walk, &context);
		if (!err)
			err = collect(&walk, &context);
		unlock_mm(&context);
		smp_rmb(); /* the entries first, then the number */
		if (err ||
		    !mmu_interval_check_retry(range->notifier,
					      range->notifier_seq))
			break;
		err = hmm_mirror_interrupted(limit);
		if (err)
			break;
		range->nr_restarts++;
		context.stuck = 0;
		context.unread = 0;
		if (extents)
			hmm_mirror_shorten(extents, walk.next - range->start);
		cond_resched();
	}
	uncount_caller(&context);
	range->end = end;
	if (extents && !err && !range->nr_restarts)
		hmm_mirror_lengthen(extents);
	return end_request(&walk, err);
}

/**
 * hmm_mirror_collect_extents() - hmm_mirror_range_extents_unlocked() for a mirror
 * @range: the request
 * @extents: where the answer goes
 * @mm: address space of @range->notifier; this call has a reference of its own to its
 *	users, unless it is current->mm
 * @limit: how long it may take
 *
 * Return: as hmm_mirror_range_extents_unlocked().
 */
int hmm_mirror_collect_extents(struct hmm_mirror_range *range,
			       struct hmm_mirror_extents *extents,
			       struct hmm_mirror_mm *mm,
			       const struct hmm_mirror_limit *limit)
{
	return range_fault_unlocked(range, extents, mm, limit);
}

int hmm_mirror_range_fault(struct hmm_mirror_range *range)
{
	return range_fault_locked(range, NULL);
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_fault);

int hmm_mirror_range_fault_unlocked(struct hmm_mirror_range *range,
				    unsigned long timeout)
{
	struct hmm_mirror_limit limit = hmm_mirror_limit_of(timeout);

	return range_fault_unlocked(range, NULL, NULL, &limit);
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_fault_unlocked);

int hmm_mirror_range_extents(struct hmm_mirror_range *range,
			     struct hmm_mirror_extents *extents)
{
	return range_fault_locked(range, extents);
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_extents);

int hmm_mirror_range_extents_unlocked(struct hmm_mirror_range *range,
				      struct hmm_mirror_extents *extents,
				      unsigned long timeout)
{
	struct hmm_mirror_limit limit = hmm_mirror_limit_of(timeout);

	return range_fault_unlocked(range, extents, NULL, &limit);
}
EXPORT_SYMBOL_GPL(hmm_mirror_range_extents_unlocked);

static int __init hmm_mirror_init(void)
{
	int err = hmm_mirror_resolve_symbols();

	if (err)
		return err;
	err = hmm_mirror_mm_init();
	if (err)
		return err;
	err = hmm_mirror_device_register();
	if (err)
		hmm_mirror_mm_exit();
	return err;
}
module_init(hmm_mirror_init);

static void __exit hmm_mirror_exit(void)
{
	hmm_mirror_device_unregister();
	hmm_mirror_mm_exit();
}
module_exit(hmm_mirror_exit);

MODULE_DESCRIPTION("Mirror a process's address space on a device, without pinning it");
MODULE_AUTHOR("The hmm_mirror developers");
MODULE_VERSION(HMM_MIRROR_VERSION);
MODULE_LICENSE("GPL");
