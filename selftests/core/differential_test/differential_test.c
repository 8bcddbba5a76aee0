// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_differential: hmm_mirror and the kernel's own hmm_range_fault() on the same
 * page tables, for the test program differential.
 *
 * A run is a few calls of these functions, one after the other under one
 * mmap_read_lock() and with one sequence number of one interval notifier. All
 * words are handed back, in one format; the program, which has built the address
 * space and knows what is in it, judges what may differ.
 *
 * What makes the comparison a fair one:
 *
 * - The state is the same. The sequence number is checked after the last call: if
 *   others have removed or changed anything in the meantime, the run is stale and is
 *   repeated. What is only added (the end of a migration) invalidates nothing; so
 *   the kernel's snapshot is taken before and after the others, and each of the
 *   others must agree with one of the two in every page.
 * - A snapshot changes nothing, so snapshots are compared word by word.
 * - A request to fault changes the state, and the second function finds done what
 *   the first one did. So the first two answers cannot be compared. Instead one of
 *   the functions serves the request alone (DIFFERENTIAL_REPEAT), each of them in
 *   turn, and then all of them serve the same request again on what that one left
 *   behind: they must take no more faults, and agree in errno, in where it failed,
 *   in all words, and with what the first one said. A fault that was forgotten, or
 *   taken for reading instead of writing, shows there; one too many shows in the
 *   snapshot that is taken before.
 * - The kernel's function faults more than it is asked for, does not say where it
 *   failed, and overlooks requests within a hugetlb page. None of this can happen
 *   with a range of one page. The reference for requests is therefore
 *   hmm_range_fault() called page by page (DIFFERENTIAL_KERNEL_BY_PAGE): the first
 *   page that fails, and how, is what to expect of the range. The kernel's answer to
 *   the whole range is compared as well; where it differs from the kernel's own
 *   answer page by page, that is counted.
 * - The arrays are filled with a pattern in all bits that the functions must not
 *   look at, so that a word that was not written is noticed.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/build_bug.h>
#include <linux/hmm.h>
#include <linux/kernel.h>
#include <linux/memremap.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "differential_test.h"
#include "differential_test_probes.h"
#include "hmm_mirror.h"

#ifndef DIFFERENTIAL_HAVE_SANITY
#error "Build probes do not work, see probes/sanity.log in the build directory"
#endif

static_assert(DIFFERENTIAL_VALID == HMM_MIRROR_PFN_VALID);
static_assert(DIFFERENTIAL_WRITE == HMM_MIRROR_PFN_WRITE);
static_assert(DIFFERENTIAL_ERROR == HMM_MIRROR_PFN_ERROR);
static_assert(DIFFERENTIAL_DMA_MAPPED == HMM_MIRROR_PFN_DMA_MAPPED);
static_assert(DIFFERENTIAL_P2PDMA == HMM_MIRROR_PFN_P2PDMA);
static_assert(DIFFERENTIAL_P2PDMA_BUS == HMM_MIRROR_PFN_P2PDMA_BUS);
static_assert(DIFFERENTIAL_ORDER_SHIFT == HMM_MIRROR_PFN_ORDER_SHIFT);
static_assert(DIFFERENTIAL_ORDER_MASK == HMM_MIRROR_PFN_ORDER_MASK);
static_assert(DIFFERENTIAL_REQ_FAULT == HMM_MIRROR_PFN_REQ_FAULT);
static_assert(DIFFERENTIAL_REQ_WRITE == HMM_MIRROR_PFN_REQ_WRITE);
static_assert(DIFFERENTIAL_PFN_MASK == HMM_MIRROR_PFN_PFN_MASK);

/* Faults come to an end, even if each of them causes an invalidation. */
#define MAX_REPEATS	(64 + 2 * DIFFERENTIAL_MAX_PAGES)

struct subscription {
	struct mmu_interval_notifier notifier;
	spinlock_t lock; /* what a driver protects its device page table with */
};

static bool invalidate(struct mmu_interval_notifier *notifier,
		       const struct mmu_notifier_range *range,
		       unsigned long sequence)
{
	struct subscription *subscription =
		container_of(notifier, struct subscription, notifier);

	spin_lock(&subscription->lock);
	mmu_interval_set_seq(notifier, sequence);
	spin_unlock(&subscription->lock);
	return true;
}

static const struct mmu_interval_notifier_ops notifier_ops = {
	.invalidate = invalidate,
};

#define WORDS_SIZE	(DIFFERENTIAL_MAX_PAGES * sizeof(unsigned long))
#define ENTRIES_SIZE	PAGE_ALIGN(DIFFERENTIAL_MAX_PAGES)
#define EXTENTS_SIZE \
	PAGE_ALIGN(DIFFERENTIAL_MAX_PAGES * sizeof(struct hmm_mirror_extent))

static_assert(WORDS_SIZE % PAGE_SIZE == 0);
static_assert(sizeof(struct hmm_mirror_extent) % sizeof(u64) == 0);

/**
 * struct call - a call with what it needs in the kernel
 * @args: from and to user space
 * @memory: of what follows. It is allocated once, for the largest call: to do so
 *	for each takes longer than the call where the kernel looks for leaks and
 *	for accesses to what is freed. All arrays end where their memory ends, so
 *	that a write past an array is found on any kernel
 * @requests: what @words is before the call
 * @copy: of @requests
 * @words: in the format of hmm_mirror.h
 * @array: for extents
 * @entries: for extents
 * @owner: of device-private memory
 */
struct call {
	struct differential_call args;
	struct {
		void *requests;
		void *copy;
		void *words;
		void *array;
		void *entries;
	} memory;
	unsigned long *requests;
	unsigned long *copy;
	unsigned long *words;
	struct hmm_mirror_extent *array;
	u8 *entries;
	void *owner;
};

/* An open file. */
struct run {
	struct mutex lock; /* one run at a time */
	struct differential_run args;
	struct subscription subscription;
	unsigned long sequence;
	struct call calls[DIFFERENTIAL_MAX_CALLS];
};

static unsigned long charged_faults(void)
{
	return current->min_flt + current->maj_flt;
}

/* The owner of the device-private page @pfn, to take requests in its name. */
static void *owner_of(unsigned long pfn)
{
#if IS_ENABLED(CONFIG_DEVICE_PRIVATE)
	const struct dev_pagemap *pgmap __maybe_unused;
	struct page *page;

	if (!pfn || !pfn_valid(pfn))
		return NULL;
	page = pfn_to_page(pfn);
	if (!is_device_private_page(page))
		return NULL;
	/* "mm: allow compound zone device pages", v6.15 */
#ifdef DIFFERENTIAL_HAVE_PAGE_PGMAP
	pgmap = READ_ONCE(page_folio(page)->pgmap);
	/* A huge page that is being split has no owner for a moment. */
	return pgmap && !((unsigned long)pgmap & 1) ? pgmap->owner : NULL;
#else
	return page->pgmap->owner;
#endif
#else
	return NULL;
#endif
}

#ifdef CONFIG_HMM_MIRROR
static unsigned long word_to_kernel(unsigned long word)
{
	/* All bits but the requests are there to be overwritten. */
	unsigned long kernel_word = word & HMM_MIRROR_PFN_PFN_MASK;

	if (word & HMM_MIRROR_PFN_REQ_FAULT)
		kernel_word |= HMM_PFN_REQ_FAULT;
	if (word & HMM_MIRROR_PFN_REQ_WRITE)
		kernel_word |= HMM_PFN_REQ_WRITE;
	/* "mm/hmm: let users to tag specific PFN with DMA mapped bit", v6.16 */
#ifdef DIFFERENTIAL_HAVE_HMM_PFN_DMA_MAPPED
	if (word & HMM_MIRROR_PFN_DMA_MAPPED)
		kernel_word |= HMM_PFN_DMA_MAPPED;
#endif
	return kernel_word;
}

static unsigned long word_from_kernel(unsigned long kernel_word)
{
	unsigned long word = kernel_word & ~HMM_PFN_FLAGS;

	if (kernel_word & HMM_PFN_VALID)
		word |= HMM_MIRROR_PFN_VALID;
	if (kernel_word & HMM_PFN_WRITE)
		word |= HMM_MIRROR_PFN_WRITE;
	if (kernel_word & HMM_PFN_ERROR)
		word |= HMM_MIRROR_PFN_ERROR;
#ifdef DIFFERENTIAL_HAVE_HMM_PFN_DMA_MAPPED
	if (kernel_word & HMM_PFN_DMA_MAPPED)
		word |= HMM_MIRROR_PFN_DMA_MAPPED;
#endif
	return word | (unsigned long)hmm_pfn_to_map_order(kernel_word) <<
		      HMM_MIRROR_PFN_ORDER_SHIFT;
}

/* Pages @first to @last (past it) of the range. */
static int call_kernel_part(struct run *run, struct call *call,
			    unsigned long first, unsigned long last)
{
	struct hmm_range range = {
		.notifier = &run->subscription.notifier,
		.notifier_seq = run->sequence,
		.start = call->args.start + (first << PAGE_SHIFT),
		.end = call->args.start + (last << PAGE_SHIFT),
		.hmm_pfns = call->words + first,
		.default_flags =
			word_to_kernel(call->args.default_flags),
		.pfn_flags_mask =
			word_to_kernel(call->args.pfn_flags_mask),
		.dev_private_owner = call->owner,
	};
	unsigned long i;
	int ret;

	for (i = first; i < last; i++)
		call->words[i] = word_to_kernel(call->requests[i]);
	ret = hmm_range_fault(&range);
	for (i = first; i < last; i++)
		call->words[i] = word_from_kernel(call->words[i]);
	return ret;
}
#else
static int call_kernel_part(struct run *run, struct call *call,
			    unsigned long first, unsigned long last)
{
	return -EOPNOTSUPP;
}
#endif

static void violation(struct call *call, enum differential_violation what)
{
	if (call->args.violation == DIFFERENTIAL_NO_VIOLATION)
		call->args.violation = what;
}

/* Writes extents into the words as pages would have been. */
static void expand(struct call *call, const struct hmm_mirror_extents *extents,
		   unsigned long from, unsigned long end)
{
	unsigned long expected = from;
	unsigned int i;

	for (i = 0; i < extents->nr; i++) {
		const struct hmm_mirror_extent *extent = &extents->array[i];
		const struct hmm_mirror_extent *before = extent - 1;
		unsigned long first, page;

		if (extent->addr != expected || !extent->npages ||
		    extent->npages > (end - extent->addr) >> PAGE_SHIFT) {
			violation(call, DIFFERENTIAL_EXTENT_BOUNDS);
			return;
		}
		expected += extent->npages << PAGE_SHIFT;
		if (i && before->flags == extent->flags &&
		    before->order == extent->order &&
		    before->node == extent->node &&
		    before->entry == extent->entry &&
		    (!(extent->flags & HMM_MIRROR_PFN_VALID) ||
		     before->pfn + before->npages == extent->pfn))
			violation(call, DIFFERENTIAL_EXTENTS_SPLIT);

		first = (extent->addr - call->args.start) >> PAGE_SHIFT;
		for (page = 0; page < extent->npages; page++) {
			unsigned long word = extent->flags;

			if (word & HMM_MIRROR_PFN_VALID)
				word |= (extent->pfn + page) |
					(unsigned long)extent->order <<
					HMM_MIRROR_PFN_ORDER_SHIFT;
			if ((word & HMM_MIRROR_PFN_VALID) &&
			    pfn_to_nid(extent->pfn + page) != extent->node)
				violation(call, DIFFERENTIAL_EXTENT_NODE);
			call->words[first + page] = word;
			call->entries[first + page] = extent->entry;
		}
	}
	if (extents->next != expected ||
	    (expected < end && extents->nr != extents->capacity))
		violation(call, DIFFERENTIAL_EXTENTS_MISSING);
}

static int call_extents(struct call *call, struct hmm_mirror_range *range,
			bool unlocked)
{
	struct hmm_mirror_extents extents = {
		.array = call->array,
		.capacity = call->args.capacity,
	};
	unsigned long *requests = call->copy;
	size_t size = call->args.npages * sizeof(*requests);
	unsigned long nr_faults = 0;
	unsigned long sequence = 0;
	int ret;

	memcpy(requests, call->requests, size);
	do {
		range->hmm_pfns = requests + ((range->start - call->args.start)
					      >> PAGE_SHIFT);
		if (unlocked)
			ret = hmm_mirror_range_extents_unlocked(range, &extents,
								0);
		else
			ret = hmm_mirror_range_extents(range, &extents);
		nr_faults += range->nr_faults;
		if (ret)
			break;
		if (range->start == call->args.start)
			sequence = range->notifier_seq;
		expand(call, &extents, range->start, range->end);
		if (extents.next <= range->start) {
			violation(call, DIFFERENTIAL_EXTENTS_MISSING);
			break;
		}
		range->start = extents.next;
	} while (range->start < range->end);
	/* Each of several calls takes a sequence number of its own. */
	if (!ret && unlocked &&
	    mmu_interval_check_retry(range->notifier, sequence))
		ret = -EBUSY;
	if (memcmp(requests, call->requests, size))
		violation(call, DIFFERENTIAL_REQUESTS_CHANGED);
	range->nr_faults = nr_faults;
	return ret;
}

static int call_mirror(struct run *run, struct call *call)
{
	struct differential_call *args = &call->args;
	struct hmm_mirror_range range = {
		.notifier = &run->subscription.notifier,
		.notifier_seq = run->sequence,
		.start = args->start,
		.end = args->start + (args->npages << PAGE_SHIFT),
		.hmm_pfns = call->words,
		.default_flags = args->default_flags,
		.pfn_flags_mask = args->pfn_flags_mask,
		.dev_private_owner = call->owner,
	};
	int ret;

	switch (args->function) {
	case DIFFERENTIAL_PAGES:
	case DIFFERENTIAL_PAGES_UNLOCKED:
		memcpy(call->words, call->requests,
		       args->npages * sizeof(*call->words));
		if (args->function == DIFFERENTIAL_PAGES)
			ret = hmm_mirror_range_fault(&range);
		else
			ret = hmm_mirror_range_fault_unlocked(&range, 0);
		break;
	default:
		ret = call_extents(call, &range,
				   args->function ==
				   DIFFERENTIAL_EXTENTS_UNLOCKED);
		break;
	}
	args->nr_faults += range.nr_faults;
	args->fault_page = 0;
	if (range.fault_addr)
		args->fault_page = (range.fault_addr - args->start) >>
				   PAGE_SHIFT;
	return ret;
}

static bool is_unlocked(const struct call *call)
{
	return call->args.function == DIFFERENTIAL_PAGES_UNLOCKED ||
	       call->args.function == DIFFERENTIAL_EXTENTS_UNLOCKED;
}

/* One call, @call->args.fault_page says where a call by page is to begin. */
static int call_function(struct run *run, struct call *call)
{
	struct differential_call *args = &call->args;
	unsigned long before = charged_faults();
	int ret = 0;

	switch (args->function) {
	case DIFFERENTIAL_KERNEL:
		ret = call_kernel_part(run, call, 0, args->npages);
		break;
	case DIFFERENTIAL_KERNEL_BY_PAGE:
		while (!ret && args->fault_page < args->npages) {
			ret = call_kernel_part(run, call, args->fault_page,
					       args->fault_page + 1);
			if (!ret)
				args->fault_page++;
		}
		break;
	default:
		ret = call_mirror(run, call);
		break;
	}
	args->charged_faults += charged_faults() - before;
	args->error = -ret;
	return ret;
}

/* A call that may have to be repeated, since it invalidates its own range. */
static int repeat_call(struct run *run)
{
	struct mm_struct *mm = current->mm;
	struct call *call = &run->calls[0];
	unsigned int repeats = 0;
	int ret;

	do {
		/* Waits for invalidations, so it must not hold mmap_lock. */
		run->sequence =
			mmu_interval_read_begin(&run->subscription.notifier);
		if (is_unlocked(call)) {
			ret = call_function(run, call);
		} else {
			if (mmap_read_lock_killable(mm))
				return -EINTR;
			ret = call_function(run, call);
			mmap_read_unlock(mm);
		}
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	} while (ret == -EBUSY && ++repeats < MAX_REPEATS);
	return 0;
}

static int make_calls(struct run *run)
{
	struct mmu_interval_notifier *notifier = &run->subscription.notifier;
	struct mm_struct *mm = current->mm;
	unsigned int i;

	if (run->args.flags & DIFFERENTIAL_REPEAT)
		return repeat_call(run);

	run->sequence = mmu_interval_read_begin(notifier);
	if (mmap_read_lock_killable(mm))
		return -EINTR;
	for (i = 0; i < run->args.nr_calls; i++) {
		if (call_function(run, &run->calls[i]) == -EBUSY)
			break;
	}
	run->args.stale = mmu_interval_check_retry(notifier, run->sequence);
	mmap_read_unlock(mm);
	return 0;
}

static int prepare_call(struct call *call)
{
	struct differential_call *args = &call->args;
	size_t size = args->npages * sizeof(*call->words);

	args->error = 0;
	args->violation = DIFFERENTIAL_NO_VIOLATION;
	args->fault_page = 0;
	args->nr_faults = 0;
	args->charged_faults = 0;
	if (args->function >= DIFFERENTIAL_NR_FUNCTIONS || !args->npages ||
	    args->npages > DIFFERENTIAL_MAX_PAGES || !args->capacity ||
	    args->capacity > DIFFERENTIAL_MAX_PAGES)
		return -EINVAL;
	call->requests = call->memory.requests + WORDS_SIZE - size;
	call->copy = call->memory.copy + WORDS_SIZE - size;
	call->words = call->memory.words + WORDS_SIZE - size;
	call->entries = call->memory.entries + ENTRIES_SIZE - args->npages;
	call->array = call->memory.array + EXTENTS_SIZE -
		      args->capacity * sizeof(*call->array);
	memset(call->words, 0xff, size);
	memset(call->entries, 0xff, args->npages);
	if (copy_from_user(call->requests, u64_to_user_ptr(args->requests),
			   size))
		return -EFAULT;
	call->owner = owner_of(args->owner_pfn);
	return 0;
}

static int copy_out(struct run *run, struct differential_run __user *user_run)
{
	unsigned int i;

	for (i = 0; i < run->args.nr_calls; i++) {
		struct call *call = &run->calls[i];
		struct differential_call *args = &call->args;

		if (copy_to_user(u64_to_user_ptr(args->words), call->words,
				 args->npages * sizeof(*call->words)))
			return -EFAULT;
		if (args->entries &&
		    copy_to_user(u64_to_user_ptr(args->entries), call->entries,
				 args->npages))
			return -EFAULT;
		if (copy_to_user((struct differential_call __user *)
				 u64_to_user_ptr(run->args.calls) + i, args,
				 sizeof(*args)))
			return -EFAULT;
	}
	return copy_to_user(user_run, &run->args, sizeof(run->args)) ? -EFAULT :
								       0;
}

static int do_run(struct run *run, struct differential_run __user *user_run)
{
	struct subscription *subscription = &run->subscription;
	unsigned int i;
	int ret;

	if (copy_from_user(&run->args, user_run, sizeof(run->args)))
		return -EFAULT;
	run->args.stale = 0;
	if ((run->args.flags & ~DIFFERENTIAL_REPEAT) || run->args.reserved ||
	    !run->args.nr_calls ||
	    run->args.nr_calls > DIFFERENTIAL_MAX_CALLS ||
	    ((run->args.flags & DIFFERENTIAL_REPEAT) &&
	     run->args.nr_calls != 1))
		return -EINVAL;
	for (i = 0; i < run->args.nr_calls; i++) {
		struct call *call = &run->calls[i];
		struct differential_call __user *user_call =
			u64_to_user_ptr(run->args.calls);

		if (copy_from_user(&call->args, user_call + i,
				   sizeof(call->args)))
			return -EFAULT;
		if (is_unlocked(call) &&
		    !(run->args.flags & DIFFERENTIAL_REPEAT))
			return -EINVAL;
		ret = prepare_call(call);
		if (ret)
			return ret;
	}

	ret = mmu_interval_notifier_insert(&subscription->notifier, current->mm,
					   run->args.start,
					   run->args.npages << PAGE_SHIFT,
					   &notifier_ops);
	if (ret)
		return ret;
	ret = make_calls(run);
	mmu_interval_notifier_remove(&subscription->notifier);
	return ret ?: copy_out(run, user_run);
}

static long differential_ioctl(struct file *filp, unsigned int command,
			       unsigned long argument)
{
	struct run *run = filp->private_data;
	int ret;

	if (command != DIFFERENTIAL_RUN)
		return -ENOTTY;
	if (!IS_ENABLED(CONFIG_HMM_MIRROR))
		return -EOPNOTSUPP;
	if (mutex_lock_killable(&run->lock))
		return -EINTR;
	ret = do_run(run, (void __user *)argument);
	mutex_unlock(&run->lock);
	return ret;
}

static void free_run(struct run *run)
{
	unsigned int i;

	for (i = 0; i < DIFFERENTIAL_MAX_CALLS; i++) {
		struct call *call = &run->calls[i];

		vfree(call->memory.requests);
		vfree(call->memory.copy);
		vfree(call->memory.words);
		vfree(call->memory.array);
		vfree(call->memory.entries);
	}
	mutex_destroy(&run->lock);
	kfree(run);
}

static bool allocate_call(struct call *call)
{
	call->memory.requests = vmalloc(WORDS_SIZE);
	call->memory.copy = vmalloc(WORDS_SIZE);
	call->memory.words = vmalloc(WORDS_SIZE);
	call->memory.array = vmalloc(EXTENTS_SIZE);
	call->memory.entries = vmalloc(ENTRIES_SIZE);
	return call->memory.requests && call->memory.copy &&
	       call->memory.words && call->memory.array &&
	       call->memory.entries;
}

static int differential_open(struct inode *inode, struct file *filp)
{
	struct run *run = kzalloc(sizeof(*run), GFP_KERNEL);
	unsigned int i;

	if (!run)
		return -ENOMEM;
	mutex_init(&run->lock);
	spin_lock_init(&run->subscription.lock);
	for (i = 0; i < DIFFERENTIAL_MAX_CALLS; i++) {
		if (!allocate_call(&run->calls[i])) {
			free_run(run);
			return -ENOMEM;
		}
	}
	filp->private_data = run;
	return 0;
}

static int differential_release(struct inode *inode, struct file *filp)
{
	free_run(filp->private_data);
	return 0;
}

static const struct file_operations differential_fops = {
	.owner = THIS_MODULE,
	.open = differential_open,
	.release = differential_release,
	.unlocked_ioctl = differential_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice differential_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hmm_differential",
	.fops = &differential_fops,
	.mode = 0600,
};

module_misc_device(differential_device);

MODULE_DESCRIPTION("Calls hmm_mirror and hmm_range_fault() for the kselftests");
MODULE_LICENSE("GPL");
