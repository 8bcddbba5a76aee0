// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_range_fault_test: a driver without a device, for the kselftests.
 *
 * It passes requests from user space to the functions of hmm_mirror.h and their answers
 * back, as any driver would call them: an interval notifier of its own with a lock around
 * the sequence number, mmap_lock if the function wants it, and the request repeated on
 * -EBUSY. The mirror that it can set up has an array for a device page table.
 *
 * The device node reveals physical addresses and is for root only. Nothing but a test
 * should load this.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/build_bug.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/hmm.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/pfn.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>

#include "../../dmirror/owner.h"
#include "hmm_mirror.h"
#include "mappings.h"
#include "range_fault_test.h"

static_assert(sizeof(unsigned long) == sizeof(__u64));
static_assert(RANGE_FAULT_TEST_VALID == HMM_MIRROR_PFN_VALID);
static_assert(RANGE_FAULT_TEST_WRITE == HMM_MIRROR_PFN_WRITE);
static_assert(RANGE_FAULT_TEST_ERROR == HMM_MIRROR_PFN_ERROR);
static_assert(RANGE_FAULT_TEST_DMA_MAPPED == HMM_MIRROR_PFN_DMA_MAPPED);
static_assert(RANGE_FAULT_TEST_P2PDMA == HMM_MIRROR_PFN_P2PDMA);
static_assert(RANGE_FAULT_TEST_P2PDMA_BUS == HMM_MIRROR_PFN_P2PDMA_BUS);
static_assert(RANGE_FAULT_TEST_ORDER_SHIFT == HMM_MIRROR_PFN_ORDER_SHIFT);
static_assert(RANGE_FAULT_TEST_ORDER_MASK == HMM_MIRROR_PFN_ORDER_MASK);
static_assert(RANGE_FAULT_TEST_REQ_FAULT == HMM_MIRROR_PFN_REQ_FAULT);
static_assert(RANGE_FAULT_TEST_REQ_WRITE == HMM_MIRROR_PFN_REQ_WRITE);
static_assert(RANGE_FAULT_TEST_PFN_MASK == HMM_MIRROR_PFN_PFN_MASK);

/*
 * Layer 1: one request. Its subscription stays until the next request, so that a test can
 * ask whether its answer is still true.
 */

struct test_subscription {
	struct mmu_interval_notifier notifier;
	spinlock_t lock; /* what a driver protects its device page table with */
	unsigned long sequence; /* of the answer */
};

static bool test_invalidate(struct mmu_interval_notifier *notifier,
			    const struct mmu_notifier_range *invalidated,
			    unsigned long sequence)
{
	struct test_subscription *subscription =
		container_of(notifier, struct test_subscription, notifier);

	spin_lock(&subscription->lock);
	mmu_interval_set_seq(notifier, sequence);
	spin_unlock(&subscription->lock);
	return true;
}

static const struct mmu_interval_notifier_ops test_notifier_ops = {
	.invalidate = test_invalidate,
};

/* An open file: the last request, and a mirror. */
struct test_file {
	/*
	 * Read for calls that use what follows, write to create or end it: two threads
	 * may populate one mirror at the same time.
	 */
	struct rw_semaphore lock;
	struct test_subscription *kept;
	struct hmm_mirror mirror;
	bool has_mirror;
	struct task_struct *asking; /* a thread that is in RANGE_FAULT_TEST_RANGE */

	/* The rest belongs to the callbacks and is protected by the mirror's lock. */
	bool registered;
	unsigned long start;
	unsigned long end;
	unsigned long *table; /* one word per page, as in hmm_pfns; 0: nothing */
	unsigned int map_error;
	unsigned int map_error_after;
	unsigned int next_event;
	struct range_fault_test_record record;
};

/* Everything one RANGE_FAULT_TEST_RANGE needs until it returns. */
struct test_request {
	struct range_fault_test_range args;
	struct test_subscription *subscription;
	struct hmm_mirror_range range;
	struct hmm_mirror_extents extents;
	unsigned long *words;
	unsigned long *kernel_words;
};

#ifdef CONFIG_HMM_MIRROR
static unsigned long test_word_to_kernel(unsigned long word)
{
	unsigned long kernel_word = 0;

	if (word & HMM_MIRROR_PFN_REQ_FAULT)
		kernel_word |= HMM_PFN_REQ_FAULT;
	if (word & HMM_MIRROR_PFN_REQ_WRITE)
		kernel_word |= HMM_PFN_REQ_WRITE;
	return kernel_word;
}

static unsigned long test_word_from_kernel(unsigned long kernel_word)
{
	unsigned long word = kernel_word & ~HMM_PFN_FLAGS;

	if (kernel_word & HMM_PFN_VALID)
		word |= HMM_MIRROR_PFN_VALID;
	if (kernel_word & HMM_PFN_WRITE)
		word |= HMM_MIRROR_PFN_WRITE;
	if (kernel_word & HMM_PFN_ERROR)
		word |= HMM_MIRROR_PFN_ERROR;
	return word | (unsigned long)hmm_pfn_to_map_order(kernel_word) <<
		      HMM_MIRROR_PFN_ORDER_SHIFT;
}

/*
 * When it is called again, the kernel's own function takes its output for a request, so
 * it always works on a fresh copy of the request in kernel_words.
 */
static int test_call_kernel(struct test_request *request)
{
	struct range_fault_test_range *args = &request->args;
	struct hmm_range range = {
		.notifier = &request->subscription->notifier,
		.notifier_seq = request->range.notifier_seq,
		.start = args->start,
		.end = args->end,
		.hmm_pfns = request->kernel_words,
		.default_flags = test_word_to_kernel(args->default_flags),
		.pfn_flags_mask = test_word_to_kernel(args->pfn_flags_mask),
		.dev_private_owner = request->range.dev_private_owner,
	};
	unsigned int i;
	int ret;

	for (i = 0; i < args->nr_words; i++)
		request->kernel_words[i] =
			test_word_to_kernel(request->words[i]);
	ret = hmm_range_fault(&range);
	for (i = 0; i < args->nr_words; i++)
		request->kernel_words[i] =
			test_word_from_kernel(request->kernel_words[i]);
	return ret;
}
#else
static int test_call_kernel(struct test_request *request)
{
	return -EOPNOTSUPP;
}
#endif

static bool test_call_is_unlocked(u32 call)
{
	return call == RANGE_FAULT_TEST_PAGES_UNLOCKED ||
	       call == RANGE_FAULT_TEST_EXTENTS_UNLOCKED;
}

static bool test_call_has_extents(u32 call)
{
	return call == RANGE_FAULT_TEST_EXTENTS ||
	       call == RANGE_FAULT_TEST_EXTENTS_UNLOCKED;
}

static int test_call_locked(struct test_request *request)
{
	struct range_fault_test_range *args = &request->args;
	struct hmm_mirror_range *range = &request->range;
	struct mm_struct *mm = range->notifier->mm;
	int ret;

	/* Waits for invalidations that may want mmap_lock: do not hold it. */
	range->notifier_seq = mmu_interval_read_begin(range->notifier);
	ret = mmap_read_lock_killable(mm);
	if (ret)
		return ret;
	if (args->call == RANGE_FAULT_TEST_KERNEL) {
		ret = test_call_kernel(request);
	} else if (args->call == RANGE_FAULT_TEST_EXTENTS) {
		ret = hmm_mirror_range_extents(range, &request->extents);
	} else {
		if (args->flags & RANGE_FAULT_TEST_COMPARE) {
			ret = test_call_kernel(request);
			args->kernel_error = -ret;
		}
		if (ret != -EBUSY)
			ret = hmm_mirror_range_fault(range);
	}
	mmap_read_unlock(mm);
	return ret;
}

static int test_call_once(struct test_request *request)
{
	struct range_fault_test_range *args = &request->args;
	struct hmm_mirror_range *range = &request->range;
	unsigned long timeout = msecs_to_jiffies(args->timeout_ms);
	int ret;

	range->nr_faults = 0;
	range->nr_walks = 0;
	range->nr_restarts = 0;
	range->nr_slots = 0;
	range->fault_addr = 0;
	if (args->call == RANGE_FAULT_TEST_PAGES_UNLOCKED)
		ret = hmm_mirror_range_fault_unlocked(range, timeout);
	else if (args->call == RANGE_FAULT_TEST_EXTENTS_UNLOCKED)
		ret = hmm_mirror_range_extents_unlocked(range,
							&request->extents,
							timeout);
	else
		ret = test_call_locked(request);
	args->nr_faults += range->nr_faults;
	args->nr_walks += range->nr_walks;
	args->nr_restarts += range->nr_restarts;
	args->nr_slots += range->nr_slots;
	args->fault_addr = range->fault_addr;
	args->next = request->extents.next;
	return ret;
}

/* Calls until there is an answer that is not stale, as a driver does. */
static int test_call(struct test_request *request)
{
	struct range_fault_test_range *args = &request->args;
	struct test_subscription *subscription = request->subscription;
	unsigned long deadline = jiffies + msecs_to_jiffies(args->timeout_ms);
	int ret;

	for (;;) {
		ret = test_call_once(request);
		if (ret && ret != -EBUSY)
			return ret;
		if (!ret) {
			spin_lock(&subscription->lock);
			args->stale =
				mmu_interval_read_retry(&subscription->notifier,
							request->range.notifier_seq);
			spin_unlock(&subscription->lock);
			if (!args->stale)
				return 0;
		} else if (test_call_is_unlocked(args->call)) {
			/* It retries by itself; this is its deadline. */
			return ret;
		}
		if (args->flags & RANGE_FAULT_TEST_NO_RETRY)
			return ret;
		if (args->max_retries &&
		    args->caller_retries >= args->max_retries)
			return -EBUSY;
		if (args->timeout_ms && time_after(jiffies, deadline))
			return -EBUSY;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
		args->caller_retries++;
	}
}

/* Like a driver without device memory, or like the owner of some. */
static int test_call_as(struct test_request *request)
{
	void *(*owner)(void);
	int ret;

	if (!(request->args.flags & RANGE_FAULT_TEST_OWNER))
		return test_call(request);
	owner = symbol_get(dmirror_owner);
	if (!owner)
		return -ENODEV;
	request->range.dev_private_owner = owner();
	ret = test_call(request);
	symbol_put(dmirror_owner);
	return ret;
}

static int test_subscribe(struct test_request *request)
{
	struct range_fault_test_range *args = &request->args;
	unsigned long start = args->start & PAGE_MASK;
	unsigned long length = PAGE_SIZE;
	int err;

	if (args->flags & RANGE_FAULT_TEST_INTERVAL) {
		start = args->interval_start;
		length = args->interval_length;
	} else if (args->end > args->start) {
		/*
		 * The function under test must refuse what is not a range; it gets a
		 * subscription nevertheless.
		 */
		length = (((args->end - 1) | ~PAGE_MASK) + 1) - start;
	}
	request->subscription = kzalloc(sizeof(*request->subscription),
					GFP_KERNEL_ACCOUNT);
	if (!request->subscription)
		return -ENOMEM;
	spin_lock_init(&request->subscription->lock);
	err = mmu_interval_notifier_insert(&request->subscription->notifier,
					   current->mm, start, length,
					   &test_notifier_ops);
	if (err)
		kfree(request->subscription);
	return err;
}

static int test_copy_words_in(struct test_request *request)
{
	struct range_fault_test_range *args = &request->args;
	unsigned long nr_pages;

	if (!args->words) {
		if (!test_call_has_extents(args->call))
			return -EINVAL;
		return 0;
	}
	if (!args->nr_words || args->nr_words > RANGE_FAULT_TEST_MAX_WORDS)
		return -EINVAL;
	/* The function under test must never write past the array. */
	if (args->end > args->start) {
		nr_pages = ((args->end - 1) >> PAGE_SHIFT) -
			   (args->start >> PAGE_SHIFT) + 1;
		if (nr_pages > args->nr_words)
			return -EINVAL;
	}
	request->words = kvmalloc_array(args->nr_words, sizeof(*request->words),
					GFP_KERNEL_ACCOUNT);
	if (!request->words)
		return -ENOMEM;
	if (copy_from_user(request->words, u64_to_user_ptr(args->words),
			   args->nr_words * sizeof(*request->words)))
		return -EFAULT;
	if (args->call != RANGE_FAULT_TEST_KERNEL &&
	    !(args->flags & RANGE_FAULT_TEST_COMPARE))
		return 0;
	request->kernel_words = kvcalloc(args->nr_words,
					 sizeof(*request->kernel_words),
					 GFP_KERNEL_ACCOUNT);
	return request->kernel_words ? 0 : -ENOMEM;
}

static int test_copy_words_out(struct test_request *request)
{
	struct range_fault_test_range *args = &request->args;
	unsigned long size = args->nr_words * sizeof(*request->words);
	unsigned long *words = request->words;

	if (args->flags & RANGE_FAULT_TEST_COMPARE) {
		if (copy_to_user(u64_to_user_ptr(args->kernel_words),
				 request->kernel_words, size))
			return -EFAULT;
	}
	if (args->call == RANGE_FAULT_TEST_KERNEL)
		words = request->kernel_words;
	if (words && copy_to_user(u64_to_user_ptr(args->words), words, size))
		return -EFAULT;
	return 0;
}

static int test_copy_extents_out(struct test_request *request)
{
	struct range_fault_test_extent __user *to =
		u64_to_user_ptr(request->args.extents);
	unsigned int i;

	for (i = 0; i < request->extents.nr; i++) {
		const struct hmm_mirror_extent *from =
			&request->extents.array[i];
		struct range_fault_test_extent extent = {
			.addr = from->addr,
			.npages = from->npages,
			.pfn = from->pfn,
			.flags = from->flags,
			.order = from->order,
			.node = from->node,
			.entry = from->entry,
		};

		if (copy_to_user(to + i, &extent, sizeof(extent)))
			return -EFAULT;
	}
	return 0;
}

static bool test_range_args_valid(const struct range_fault_test_range *args)
{
	if (args->call > RANGE_FAULT_TEST_KERNEL)
		return false;
	if (args->flags & ~(RANGE_FAULT_TEST_INTERVAL |
			    RANGE_FAULT_TEST_NO_RETRY |
			    RANGE_FAULT_TEST_COMPARE |
			    RANGE_FAULT_TEST_OWNER))
		return false;
	if ((args->flags & RANGE_FAULT_TEST_COMPARE) &&
	    args->call != RANGE_FAULT_TEST_PAGES)
		return false;
	if (test_call_has_extents(args->call) &&
	    args->nr_extents > RANGE_FAULT_TEST_MAX_EXTENTS)
		return false;
	return true;
}

/* @subscription, if any, replaces that of the previous request. */
static void test_keep_subscription(struct test_file *file,
				   struct test_subscription *subscription)
{
	down_write(&file->lock);
	swap(file->kept, subscription);
	up_write(&file->lock);
	if (!subscription)
		return;
	mmu_interval_notifier_remove(&subscription->notifier);
	kfree(subscription);
}

static int test_is_stale(struct test_file *file, __u32 __user *user_stale)
{
	struct test_subscription *subscription;
	bool stale = true;

	down_read(&file->lock);
	subscription = file->kept;
	if (subscription) {
		spin_lock(&subscription->lock);
		stale = mmu_interval_read_retry(&subscription->notifier,
						subscription->sequence);
		spin_unlock(&subscription->lock);
	}
	up_read(&file->lock);
	return put_user(stale, user_stale);
}

/* Whether the current thread is asking what is mapped, through @filp. */
bool test_is_asking(const struct file *filp)
{
	const struct test_file *file = filp->private_data;

	/* Threads that ask at the same time overwrite it, no more. */
	return READ_ONCE(file->asking) == current;
}

static int test_range(struct test_file *file,
		      struct range_fault_test_range __user *user_args)
{
	struct test_request *request;
	int ret;

	request = kzalloc(sizeof(*request), GFP_KERNEL_ACCOUNT);
	if (!request)
		return -ENOMEM;
	if (copy_from_user(&request->args, user_args, sizeof(request->args))) {
		ret = -EFAULT;
		goto out_free_request;
	}
	request->args.error = 0;
	request->args.kernel_error = 0;
	request->args.caller_retries = 0;
	request->args.stale = 0;
	request->args.nr_faults = 0;
	request->args.nr_walks = 0;
	request->args.nr_restarts = 0;
	request->args.nr_slots = 0;
	if (!test_range_args_valid(&request->args)) {
		ret = -EINVAL;
		goto out_free_request;
	}

	ret = test_copy_words_in(request);
	if (ret)
		goto out_free_arrays;
	if (test_call_has_extents(request->args.call)) {
		/* The function under test must refuse a capacity of 0. */
		request->extents.capacity = request->args.nr_extents;
		request->extents.array =
			kvcalloc(max(request->args.nr_extents, 1U),
				 sizeof(*request->extents.array),
				 GFP_KERNEL_ACCOUNT);
		if (!request->extents.array) {
			ret = -ENOMEM;
			goto out_free_arrays;
		}
	}
	ret = test_subscribe(request);
	if (ret)
		goto out_free_arrays;

	request->range.notifier = &request->subscription->notifier;
	request->range.start = request->args.start;
	request->range.end = request->args.end;
	request->range.hmm_pfns = request->words;
	request->range.default_flags = request->args.default_flags;
	request->range.pfn_flags_mask = request->args.pfn_flags_mask;
	WRITE_ONCE(file->asking, current);
	request->args.error = -test_call_as(request);
	WRITE_ONCE(file->asking, NULL);
	request->subscription->sequence = request->range.notifier_seq;
	test_keep_subscription(file, request->subscription);

	if (WARN_ON(request->extents.nr > request->extents.capacity))
		request->extents.nr = 0;
	request->args.nr_extents = request->extents.nr;
	ret = test_copy_words_out(request);
	if (!ret)
		ret = test_copy_extents_out(request);
	if (!ret && copy_to_user(user_args, &request->args,
				 sizeof(request->args)))
		ret = -EFAULT;

out_free_arrays:
	kvfree(request->extents.array);
	kvfree(request->kernel_words);
	kvfree(request->words);
out_free_request:
	kfree(request);
	return ret;
}

/*
 * Layer 2: a mirror whose device page table is an array.
 */

static struct test_file *test_mirror_file(struct hmm_mirror *mirror)
{
	return container_of(mirror, struct test_file, mirror);
}

static void test_violation(struct test_file *file,
			   enum range_fault_test_violation violation)
{
	if (file->record.violation == RANGE_FAULT_TEST_NO_VIOLATION)
		file->record.violation = violation;
}

static bool test_extent_flags_valid(unsigned long flags)
{
	switch (flags) {
	case 0:
	case HMM_MIRROR_PFN_ERROR:
	case HMM_MIRROR_PFN_VALID:
	case HMM_MIRROR_PFN_VALID | HMM_MIRROR_PFN_WRITE:
		return true;
	}
	return false;
}

static int test_mirror_map(struct hmm_mirror *mirror,
			   const struct hmm_mirror_extent *extents,
			   unsigned int nr)
{
	struct test_file *file = test_mirror_file(mirror);
	unsigned long expected_addr;
	unsigned int i;

	if (!file->registered) {
		test_violation(file, RANGE_FAULT_TEST_NOT_REGISTERED);
		return 0;
	}
	if (file->record.nr_release)
		test_violation(file, RANGE_FAULT_TEST_MAP_AFTER_RELEASE);
	if (file->map_error && file->record.nr_map >= file->map_error_after)
		return -(int)file->map_error;
	file->record.nr_map++;
	file->record.nr_map_extents += nr;
	if (!nr) {
		test_violation(file, RANGE_FAULT_TEST_NO_EXTENTS);
		return 0;
	}

	expected_addr = extents[0].addr;
	for (i = 0; i < nr; i++) {
		const struct hmm_mirror_extent *extent = &extents[i];
		unsigned long first = (extent->addr - file->start) >> PAGE_SHIFT;
		unsigned long word = 0;
		unsigned long page;

		if (extent->addr != expected_addr || !extent->npages)
			test_violation(file, RANGE_FAULT_TEST_EXTENTS_ORDER);
		if (!test_extent_flags_valid(extent->flags))
			test_violation(file, RANGE_FAULT_TEST_EXTENT_FLAGS);
		if (extent->addr < file->start || extent->addr >= file->end ||
		    extent->npages > (file->end - extent->addr) >> PAGE_SHIFT) {
			test_violation(file, RANGE_FAULT_TEST_OUT_OF_MIRROR);
			return 0;
		}
		expected_addr = extent->addr + (extent->npages << PAGE_SHIFT);

		if (extent->flags & HMM_MIRROR_PFN_VALID)
			word = extent->flags | extent->pfn |
			       (unsigned long)extent->order <<
			       HMM_MIRROR_PFN_ORDER_SHIFT;
		for (page = 0; page < extent->npages; page++)
			file->table[first + page] = word ? word + page : 0;
	}
	return 0;
}

static u32 test_event_kind(enum mmu_notifier_event event)
{
	/* The numbers of enum hmm_mirror_event_kind. */
	switch (event) {
	case MMU_NOTIFY_UNMAP:
		return 0;
	case MMU_NOTIFY_CLEAR:
		return 1;
	case MMU_NOTIFY_PROTECTION_VMA:
		return 2;
	case MMU_NOTIFY_PROTECTION_PAGE:
		return 3;
	case MMU_NOTIFY_SOFT_DIRTY:
		return 4;
	case MMU_NOTIFY_RELEASE:
		return 5;
	case MMU_NOTIFY_MIGRATE:
		return 6;
	case MMU_NOTIFY_EXCLUSIVE:
		return 7;
	default:
		return 8;
	}
}

static void test_mirror_unmap(struct hmm_mirror *mirror, unsigned long start,
			      unsigned long end, enum mmu_notifier_event event)
{
	struct test_file *file = test_mirror_file(mirror);
	struct range_fault_test_record *record = &file->record;
	u32 kind = test_event_kind(event);
	unsigned int slot;

	if (!file->registered) {
		test_violation(file, RANGE_FAULT_TEST_NOT_REGISTERED);
		return;
	}
	if (start < file->start || end > file->end || start >= end ||
	    !PAGE_ALIGNED(start) || !PAGE_ALIGNED(end)) {
		test_violation(file, RANGE_FAULT_TEST_OUT_OF_MIRROR);
		return;
	}
	memset(&file->table[(start - file->start) >> PAGE_SHIFT], 0,
	       ((end - start) >> PAGE_SHIFT) * sizeof(*file->table));

	record->nr_unmap++;
	record->nr_unmap_kind[kind]++;
	slot = file->next_event++ % RANGE_FAULT_TEST_RECORD_EVENTS;
	record->events[slot].start = start;
	record->events[slot].end = end;
	record->events[slot].sequence = hmm_mirror_sequence(mirror);
	record->events[slot].kind = kind;
}

static void test_mirror_release(struct hmm_mirror *mirror)
{
	struct test_file *file = test_mirror_file(mirror);
	unsigned long nr_pages = (file->end - file->start) >> PAGE_SHIFT;

	if (!file->registered) {
		test_violation(file, RANGE_FAULT_TEST_NOT_REGISTERED);
		return;
	}
	if (file->record.nr_release++)
		test_violation(file, RANGE_FAULT_TEST_RELEASED_TWICE);
	if (memchr_inv(file->table, 0, nr_pages * sizeof(*file->table)))
		test_violation(file, RANGE_FAULT_TEST_RELEASED_MAPPED);
}

static const struct hmm_mirror_ops test_mirror_ops = {
	.map = test_mirror_map,
	.unmap = test_mirror_unmap,
	.release = test_mirror_release,
};

static int test_register(struct test_file *file,
			 struct range_fault_test_register __user *user_args)
{
	struct range_fault_test_register args;
	unsigned long nr_pages;
	int ret;

	if (copy_from_user(&args, user_args, sizeof(args)))
		return -EFAULT;
	if (args.reserved || args.map_error > MAX_ERRNO)
		return -EINVAL;
	/* The function under test must refuse what else is wrong. */
	nr_pages = args.length >> PAGE_SHIFT;
	if (nr_pages > RANGE_FAULT_TEST_MAX_WORDS)
		return -EINVAL;

	if (down_write_killable(&file->lock))
		return -EINTR;
	ret = -EBUSY;
	if (file->has_mirror)
		goto out_unlock;
	ret = -ENOMEM;
	file->table = kvcalloc(nr_pages + 1, sizeof(*file->table),
			       GFP_KERNEL_ACCOUNT);
	if (!file->table)
		goto out_unlock;

	memset(&file->record, 0, sizeof(file->record));
	file->next_event = 0;
	file->start = args.start;
	file->end = args.start + (nr_pages << PAGE_SHIFT);
	file->map_error = args.map_error;
	file->map_error_after = args.map_error_after;
	file->registered = true;
	ret = hmm_mirror_register(&file->mirror, current->mm, args.start,
				  args.length, &test_mirror_ops);
	args.error = -ret;
	if (ret) {
		file->registered = false;
		kvfree(file->table);
		file->table = NULL;
	} else {
		file->has_mirror = true;
	}
	ret = copy_to_user(user_args, &args, sizeof(args)) ? -EFAULT : 0;

out_unlock:
	up_write(&file->lock);
	return ret;
}

/* With the file's lock held for writing, or while the file is being closed. */
static void test_end_mirror(struct test_file *file)
{
	if (!file->has_mirror)
		return;
	hmm_mirror_unregister(&file->mirror);
	/* No callback runs any more, so this needs no lock; check that none does. */
	file->registered = false;
	file->has_mirror = false;
	kvfree(file->table);
	file->table = NULL;
}

static int test_unregister(struct test_file *file)
{
	int ret = 0;

	if (down_write_killable(&file->lock))
		return -EINTR;
	if (file->has_mirror)
		test_end_mirror(file);
	else
		ret = -ENOENT;
	up_write(&file->lock);
	return ret;
}

static int test_populate(struct test_file *file,
			 struct range_fault_test_populate __user *user_args)
{
	struct range_fault_test_populate args;
	struct hmm_mirror_request request = {};
	int ret;

	if (copy_from_user(&args, user_args, sizeof(args)))
		return -EFAULT;
	request.start = args.start;
	request.end = args.end;
	request.default_flags = args.default_flags;
	request.timeout = msecs_to_jiffies(args.timeout_ms);

	if (down_read_killable(&file->lock))
		return -EINTR;
	ret = -ENOENT;
	if (!file->has_mirror)
		goto out_unlock;
	args.error = -hmm_mirror_populate(&file->mirror, &request);
	ret = 0;
out_unlock:
	up_read(&file->lock);
	if (ret)
		return ret;

	args.next = request.next;
	args.fault_addr = request.fault_addr;
	args.nr_faults = request.nr_faults;
	args.nr_restarts = request.nr_restarts;
	return copy_to_user(user_args, &args, sizeof(args)) ? -EFAULT : 0;
}

/* With the mirror's lock held, so that no page of the table can go away. */
static u64 test_device_read(unsigned long word)
{
	void *page_address;
	u64 data;

	if (!(word & HMM_MIRROR_PFN_VALID))
		return 0;
	page_address = kmap_local_page(hmm_mirror_pfn_to_page(word));
	/* The process may be writing to it. */
	data = READ_ONCE(*(u64 *)page_address);
	kunmap_local(page_address);
	return data;
}

static int test_read(struct test_file *file,
		     struct range_fault_test_read __user *user_args)
{
	struct range_fault_test_read args;
	unsigned long first;
	unsigned long i;
	u64 *words;
	u64 *data;
	int ret;

	if (copy_from_user(&args, user_args, sizeof(args)))
		return -EFAULT;
	if (!args.npages || args.npages > RANGE_FAULT_TEST_READ_MAX)
		return -EINVAL;
	words = kvcalloc(args.npages, 2 * sizeof(*words), GFP_KERNEL_ACCOUNT);
	if (!words)
		return -ENOMEM;
	data = words + args.npages;

	if (down_read_killable(&file->lock)) {
		ret = -EINTR;
		goto out_free;
	}
	ret = -ENOENT;
	if (!file->has_mirror)
		goto out_unlock;
	ret = -EINVAL;
	if (!PAGE_ALIGNED(args.start) || args.start < file->start ||
	    args.start >= file->end ||
	    args.npages > (file->end - args.start) >> PAGE_SHIFT)
		goto out_unlock;
	first = (args.start - file->start) >> PAGE_SHIFT;
	hmm_mirror_lock(&file->mirror);
	for (i = 0; i < args.npages; i++) {
		words[i] = file->table[first + i];
		data[i] = test_device_read(words[i]);
	}
	hmm_mirror_unlock(&file->mirror);
	ret = 0;

out_unlock:
	up_read(&file->lock);
	if (!ret && (copy_to_user(u64_to_user_ptr(args.words), words,
				  args.npages * sizeof(*words)) ||
		     copy_to_user(u64_to_user_ptr(args.data), data,
				  args.npages * sizeof(*data))))
		ret = -EFAULT;
out_free:
	kvfree(words);
	return ret;
}

static int test_record(struct test_file *file,
		       struct range_fault_test_record __user *user_record)
{
	struct range_fault_test_record *record;
	unsigned int i;
	int ret;

	record = kzalloc(sizeof(*record), GFP_KERNEL_ACCOUNT);
	if (!record)
		return -ENOMEM;
	if (down_read_killable(&file->lock)) {
		ret = -EINTR;
		goto out_free;
	}
	if (file->has_mirror)
		hmm_mirror_lock(&file->mirror);
	*record = file->record;
	record->nr_events = min_t(unsigned int, file->next_event,
				  RANGE_FAULT_TEST_RECORD_EVENTS);
	/* Oldest first: the array is a ring that begins at next_event. */
	for (i = 0; i < record->nr_events; i++)
		record->events[i] =
			file->record.events[(file->next_event -
					     record->nr_events + i) %
					    RANGE_FAULT_TEST_RECORD_EVENTS];
	if (file->has_mirror)
		hmm_mirror_unlock(&file->mirror);
	up_read(&file->lock);
	ret = copy_to_user(user_record, record, sizeof(*record)) ? -EFAULT : 0;

out_free:
	kfree(record);
	return ret;
}

/*
 * The device node.
 */

static int test_open(struct inode *inode, struct file *filp)
{
	struct test_file *file;

	file = kzalloc(sizeof(*file), GFP_KERNEL_ACCOUNT);
	if (!file)
		return -ENOMEM;
	init_rwsem(&file->lock);
	filp->private_data = file;
	return 0;
}

static int test_release(struct inode *inode, struct file *filp)
{
	struct test_file *file = filp->private_data;

	test_keep_subscription(file, NULL);
	test_end_mirror(file);
	kfree(file);
	return 0;
}

static long test_ioctl(struct file *filp, unsigned int command,
		       unsigned long argument)
{
	struct test_file *file = filp->private_data;
	void __user *user_args = (void __user *)argument;

	switch (command) {
	case RANGE_FAULT_TEST_RANGE:
		return test_range(file, user_args);
	case RANGE_FAULT_TEST_IS_STALE:
		return test_is_stale(file, user_args);
	case RANGE_FAULT_TEST_REGISTER:
		return test_register(file, user_args);
	case RANGE_FAULT_TEST_UNREGISTER:
		return test_unregister(file);
	case RANGE_FAULT_TEST_POPULATE:
		return test_populate(file, user_args);
	case RANGE_FAULT_TEST_READ:
		return test_read(file, user_args);
	case RANGE_FAULT_TEST_RECORD:
		return test_record(file, user_args);
	}
	return -ENOTTY;
}

static const struct file_operations test_fops = {
	.owner = THIS_MODULE,
	.open = test_open,
	.release = test_release,
	.mmap = test_mmap,
	.unlocked_ioctl = test_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice test_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hmm_range_fault_test",
	.fops = &test_fops,
	.mode = 0600,
};

module_misc_device(test_device);

MODULE_DESCRIPTION("Calls the functions of hmm_mirror for the kselftests");
MODULE_LICENSE("GPL");
