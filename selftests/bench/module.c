// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_bench: calls hmm_mirror's functions and the kernel's own hmm_range_fault() on the
 * same memory, as a driver does, and reads the time stamp counter before and after. It
 * does not measure seconds: "make bench" has the virtual machine count instructions with
 * it.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/hmm.h>
#include <linux/kernel.h>
#include <linux/limits.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/timex.h>
#include <linux/uaccess.h>

#include "hmm_mirror.h"
#include "module.h"

#define BENCH_MAX_PAGES		BIT(30 - PAGE_SHIFT)
#define BENCH_MAX_INTERVALS	200000

/* One of a file's intervals, of either kind. */
struct bench_interval {
	union {
		struct {
			struct mmu_interval_notifier notifier;
			struct mutex lock; /* as a driver protects its pages */
		};
		struct hmm_mirror mirror;
	};
	struct bench_file *file;
};

struct bench_file {
	struct mutex lock; /* one call of an open file at a time */
	u32 kind;
	u32 nr;
	struct bench_interval *intervals;
	atomic64_t nr_called;
};

/* Everything one BENCH_CALL needs until it returns. */
struct bench_job {
	struct bench_call args;
	struct bench_interval subscription;
	struct hmm_mirror_range range;
	struct hmm_mirror_extents extents;
	unsigned long *words;
};

static bool bare_invalidate(struct mmu_interval_notifier *notifier,
			    const struct mmu_notifier_range *range,
			    unsigned long sequence)
{
	struct bench_interval *interval =
		container_of(notifier, struct bench_interval, notifier);

	if (mmu_notifier_range_blockable(range))
		mutex_lock(&interval->lock);
	else if (!mutex_trylock(&interval->lock))
		return false;
	mmu_interval_set_seq(notifier, sequence);
	if (interval->file)
		atomic64_inc(&interval->file->nr_called);
	mutex_unlock(&interval->lock);
	return true;
}

static const struct mmu_interval_notifier_ops bare_ops = {
	.invalidate = bare_invalidate,
};

static void mirror_unmap(struct hmm_mirror *mirror, unsigned long start,
			 unsigned long end, enum mmu_notifier_event event)
{
	struct bench_interval *interval =
		container_of(mirror, struct bench_interval, mirror);

	atomic64_inc(&interval->file->nr_called);
}

static const struct hmm_mirror_ops mirror_ops = { .unmap = mirror_unmap };

#ifdef CONFIG_HMM_MIRROR
static unsigned long kernel_word(unsigned long word)
{
	unsigned long result = 0;

	if (word & HMM_MIRROR_PFN_REQ_FAULT)
		result |= HMM_PFN_REQ_FAULT;
	if (word & HMM_MIRROR_PFN_REQ_WRITE)
		result |= HMM_PFN_REQ_WRITE;
	return result;
}

static int call_kernel(struct bench_job *job)
{
	struct hmm_range range = {
		.notifier = job->range.notifier,
		.notifier_seq = job->range.notifier_seq,
		.start = job->range.start,
		.end = job->range.end,
		.hmm_pfns = job->words,
		.default_flags = kernel_word(job->range.default_flags),
		.pfn_flags_mask = kernel_word(job->range.pfn_flags_mask),
	};

	return hmm_range_fault(&range);
}
#else
static int call_kernel(struct bench_job *job)
{
	return -EOPNOTSUPP;
}
#endif

/* One call of the function, with mmap_lock held as it requires. */
static int call_locked(struct bench_job *job)
{
	struct mm_struct *mm = job->range.notifier->mm;
	int err;

	job->range.notifier_seq = mmu_interval_read_begin(job->range.notifier);
	err = mmap_read_lock_killable(mm);
	if (err)
		return err;
	switch (job->args.function) {
	case BENCH_PAGES:
		err = hmm_mirror_range_fault(&job->range);
		break;
	case BENCH_EXTENTS:
		err = hmm_mirror_range_extents(&job->range, &job->extents);
		break;
	case BENCH_KERNEL:
		err = call_kernel(job);
		break;
	}
	mmap_read_unlock(mm);
	job->args.nr_calls++;
	return err;
}

/* Until the whole request is answered and not stale, as a driver does it. */
static int serve(struct bench_job *job)
{
	struct bench_interval *subscription = &job->subscription;
	int err;

	for (;;) {
		err = call_locked(job);
		job->args.nr_faults += job->range.nr_faults;
		if (err && err != -EBUSY)
			return err;
		if (fatal_signal_pending(current))
			return -EINTR;
		if (!err) {
			mutex_lock(&subscription->lock);
			if (mmu_interval_read_retry(&subscription->notifier,
						    job->range.notifier_seq))
				err = -EBUSY;
			mutex_unlock(&subscription->lock);
		}
		if (err)
			continue;
		if (job->args.function != BENCH_EXTENTS)
			return 0;
		job->args.nr_extents += job->extents.nr;
		if (job->extents.next == job->args.end)
			return 0;
		if (job->words)
			job->range.hmm_pfns += (job->extents.next -
						job->range.start) >> PAGE_SHIFT;
		job->range.start = job->extents.next;
	}
}

static void begin(struct bench_job *job)
{
	unsigned long npages = (job->args.end - job->args.start) >> PAGE_SHIFT;
	unsigned long request = 0;
	unsigned long i;

	if (job->args.flags & BENCH_FAULT)
		request |= HMM_MIRROR_PFN_REQ_FAULT;
	if (job->args.flags & BENCH_WRITE)
		request |= HMM_MIRROR_PFN_REQ_WRITE;
	job->args.nr_faults = 0;
	job->args.nr_calls = 0;
	job->args.nr_extents = 0;
	job->range.nr_faults = 0;
	job->range.start = job->args.start;
	job->range.end = job->args.end;
	job->range.hmm_pfns = job->words;
	if (!job->args.stride) {
		job->range.default_flags = request;
		return;
	}
	job->range.pfn_flags_mask = request;
	for (i = 0; i < npages; i++) {
		unsigned long asked = i % job->args.stride ? 0 : request;
#ifdef CONFIG_HMM_MIRROR
		if (job->args.function == BENCH_KERNEL)
			asked = kernel_word(asked);
#endif
		job->words[i] = asked;
	}
}

static int measure(struct bench_job *job)
{
	u32 i;

	job->args.ticks = U64_MAX;
	for (i = 0; i < job->args.repeat; i++) {
		cycles_t ticks;
		int err = 0;

		begin(job);
		ticks = get_cycles();
		if (job->args.function != BENCH_NOTHING)
			err = serve(job);
		ticks = get_cycles() - ticks;
		if (err)
			return err;
		job->args.ticks = min_t(u64, job->args.ticks, ticks);
		cond_resched();
	}
	return 0;
}

static int allocate(struct bench_job *job)
{
	unsigned long npages = (job->args.end - job->args.start) >> PAGE_SHIFT;

	if (job->args.function == BENCH_EXTENTS) {
		job->extents.capacity = BENCH_EXTENT_CAPACITY;
		job->extents.array = kvcalloc(BENCH_EXTENT_CAPACITY,
					      sizeof(*job->extents.array),
					      GFP_KERNEL_ACCOUNT);
		if (!job->extents.array)
			return -ENOMEM;
		if (!job->args.stride)
			return 0;
	}
	if (npages > BENCH_MAX_PAGES)
		return -EINVAL;
	job->words = kvcalloc(npages, sizeof(*job->words), GFP_KERNEL_ACCOUNT);
	return job->words ? 0 : -ENOMEM;
}

static int bench_call(struct bench_call __user *user_args)
{
	struct bench_job *job;
	int err;

	job = kzalloc(sizeof(*job), GFP_KERNEL_ACCOUNT);
	if (!job)
		return -ENOMEM;
	err = -EFAULT;
	if (copy_from_user(&job->args, user_args, sizeof(job->args)))
		goto out_free;
	err = -EINVAL;
	if (job->args.function >= BENCH_NR_FUNCTIONS ||
	    job->args.start >= job->args.end || !job->args.repeat)
		goto out_free;
	err = allocate(job);
	if (err)
		goto out_free;
	mutex_init(&job->subscription.lock);
	err = mmu_interval_notifier_insert(&job->subscription.notifier,
					   current->mm, job->args.start,
					   job->args.end - job->args.start,
					   &bare_ops);
	if (err)
		goto out_free;
	job->range.notifier = &job->subscription.notifier;
	err = measure(job);
	mmu_interval_notifier_remove(&job->subscription.notifier);
	if (!err && copy_to_user(user_args, &job->args, sizeof(job->args)))
		err = -EFAULT;

out_free:
	kvfree(job->words);
	kvfree(job->extents.array);
	kfree(job);
	return err;
}

static void unsubscribe(struct bench_file *file)
{
	u32 i;

	for (i = 0; i < file->nr; i++) {
		struct bench_interval *interval = &file->intervals[i];

		if (file->kind == BENCH_MIRROR)
			hmm_mirror_unregister(&interval->mirror);
		else
			mmu_interval_notifier_remove(&interval->notifier);
		cond_resched();
	}
	kvfree(file->intervals);
	file->intervals = NULL;
	file->nr = 0;
}

static int subscribe(struct bench_file *file, const struct bench_subscribe *args)
{
	if (args->nr > BENCH_MAX_INTERVALS || args->kind > BENCH_MIRROR)
		return -EINVAL;
	file->intervals = kvcalloc(args->nr, sizeof(*file->intervals),
				   GFP_KERNEL_ACCOUNT);
	if (!file->intervals)
		return -ENOMEM;
	file->kind = args->kind;
	atomic64_set(&file->nr_called, 0);
	for (file->nr = 0; file->nr < args->nr; file->nr++) {
		struct bench_interval *interval = &file->intervals[file->nr];
		unsigned long start = args->start + file->nr * args->length;
		int err;

		interval->file = file;
		if (args->kind == BENCH_MIRROR) {
			err = hmm_mirror_register(&interval->mirror,
						  current->mm, start,
						  args->length, &mirror_ops);
		} else {
			mutex_init(&interval->lock);
			err = mmu_interval_notifier_insert(&interval->notifier,
							   current->mm, start,
							   args->length,
							   &bare_ops);
		}
		if (err) {
			unsubscribe(file);
			return err;
		}
		cond_resched();
	}
	return 0;
}

static int bench_subscribe(struct bench_file *file,
			   struct bench_subscribe __user *user_args)
{
	struct bench_subscribe args;
	int err = 0;

	if (copy_from_user(&args, user_args, sizeof(args)))
		return -EFAULT;
	mutex_lock(&file->lock);
	unsubscribe(file);
	if (args.nr)
		err = subscribe(file, &args);
	args.nr_called = atomic64_read(&file->nr_called);
	mutex_unlock(&file->lock);
	if (!err && copy_to_user(user_args, &args, sizeof(args)))
		err = -EFAULT;
	return err;
}

static int bench_open(struct inode *inode, struct file *filp)
{
	struct bench_file *file = kzalloc(sizeof(*file), GFP_KERNEL_ACCOUNT);

	if (!file)
		return -ENOMEM;
	mutex_init(&file->lock);
	filp->private_data = file;
	return 0;
}

static int bench_release(struct inode *inode, struct file *filp)
{
	struct bench_file *file = filp->private_data;

	unsubscribe(file);
	kfree(file);
	return 0;
}

static long bench_ioctl(struct file *filp, unsigned int command,
			unsigned long argument)
{
	switch (command) {
	case BENCH_CALL:
		return bench_call((void __user *)argument);
	case BENCH_SUBSCRIBE:
		return bench_subscribe(filp->private_data,
				       (void __user *)argument);
	}
	return -ENOTTY;
}

static const struct file_operations bench_fops = {
	.owner = THIS_MODULE,
	.open = bench_open,
	.release = bench_release,
	.unlocked_ioctl = bench_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice bench_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hmm_bench",
	.fops = &bench_fops,
	.mode = 0600,
};

module_misc_device(bench_device);

MODULE_DESCRIPTION("Measures hmm_mirror beside the kernel's own hmm_range_fault()");
MODULE_LICENSE("GPL");
