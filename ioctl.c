// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/hmm_mirror. The only file that touches user pointers; it trusts nothing that it is
 * given. uapi/linux/hmm_mirror.h describes the ABI.
 */
#define pr_fmt(fmt) "hmm_mirror: " fmt

#include <linux/build_bug.h>
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pid.h>
#include <linux/poll.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/user_namespace.h>

#include "compat.h"
#include "device_user.h"
#include "event_queue.h"
#include "hmm_mirror.h"
#include "internal.h"
#include "uapi/linux/hmm_mirror.h"

/* Extents collected in kernel memory before they are copied out. */
#define RANGE_CHUNK	256

/* Events copied to a reader at a time, on the stack. */
#define READ_CHUNK	16

static unsigned int max_watches = 64;
module_param(max_watches, uint, 0444);
MODULE_PARM_DESC(max_watches, "Watches that one open file may have (64)");

static unsigned int max_events = 8192;
module_param(max_events, uint, 0444);
MODULE_PARM_DESC(max_events, "Invalidation events that one open file queues (8192)");

/**
 * struct device_file - an open /dev/hmm_mirror
 * @users: one for the open file, and one for each watch that is not gone yet
 * @opener: the user who opened it
 * @opener_mm: the address space whose calls are served; pinned by mmgrab(), so
 *	that it can still be compared after the process is gone
 * @pfns_visible: the opener had CAP_SYS_ADMIN
 * @lock: protects all that follows up to @events. Not held during any wait that
 *	depends on the mirrored process
 * @target_mm: the address space that is mirrored; pinned by mmgrab()
 * @watches: list of struct watch
 * @nr_watches: its length
 * @last_watch_id: id of the watch that was added last
 * @events: what read() returns
 * @read_lock: serialises readers
 */
struct device_file {
	refcount_t users;
	struct device_user *opener;
	struct mm_struct *opener_mm;
	bool pfns_visible;
	struct mutex lock; /* target_mm, watches */
	struct mm_struct *target_mm;
	struct list_head watches;
	unsigned int nr_watches;
	u32 last_watch_id;
	struct event_queue events;
	struct mutex read_lock; /* one reader at a time */
};

/**
 * struct watch - a range whose invalidations are reported
 * @mirror: the subscription
 * @file: the file that it belongs to
 * @id: id of the watch
 * @ready: it has a subscription. Until then its id is taken, but nobody knows it
 * @closed: it has ended, and queues no more events; protected by the queue's lock
 * @node: in device_file.watches
 */
struct watch {
	struct hmm_mirror mirror;
	struct device_file *file;
	u32 id;
	bool ready;
	bool closed;
	struct list_head node;
};

static void put_file(struct device_file *file)
{
	if (!refcount_dec_and_test(&file->users))
		return;
	/* Nobody else uses the file: no lock is needed. */
	device_user_put(file->opener, file->events.capacity);
	event_queue_destroy(&file->events);
	mmdrop(file->target_mm);
	mmdrop(file->opener_mm);
	mutex_destroy(&file->read_lock);
	mutex_destroy(&file->lock);
	kfree(file);
}

/*
 * Copies an argument struct whose first member is its size. Members that a newer program
 * has appended must be zero; an older program's shorter struct is padded with zeroes.
 */
static int copy_args_from_user(void *args, size_t known_size,
			       size_t minimum_size, const void __user *user)
{
	u32 size;
	int err;

	if (get_user(size, (const u32 __user *)user))
		return -EFAULT;
	if (size < minimum_size)
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	err = copy_struct_from_user(args, known_size, user, size);
	/* The caller may have changed it since; the size that was checked counts. */
	*(u32 *)args = size;
	return err;
}

/* Copies as much of the struct as the program knows of. */
static int copy_args_to_user(void __user *user, const void *args,
			     size_t known_size, u32 user_size)
{
	if (copy_to_user(user, args, min_t(size_t, known_size, user_size)))
		return -EFAULT;
	return 0;
}

static bool caller_is_opener(const struct device_file *file)
{
	return current->mm == file->opener_mm;
}

/*
 * Returns the mirrored address space, with a reference to its users; -ESRCH if it has
 * none, -EINTR on a fatal signal.
 */
static struct mm_struct *get_target_mm(struct device_file *file)
{
	struct mm_struct *mm;

	if (mutex_lock_killable(&file->lock))
		return ERR_PTR(-EINTR);
	mm = file->target_mm;
	if (!mmget_not_zero(mm))
		mm = ERR_PTR(-ESRCH);
	mutex_unlock(&file->lock);
	return mm;
}

/* INFO */

static u64 info_features(const struct device_file *file)
{
	u64 features = 0;

	if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		features |= HMM_MIRROR_FEATURE_THP;
	if (IS_ENABLED(CONFIG_HUGETLB_PAGE))
		features |= HMM_MIRROR_FEATURE_HUGETLB;
	if (IS_ENABLED(CONFIG_USERFAULTFD))
		features |= HMM_MIRROR_FEATURE_USERFAULTFD;
	if (IS_ENABLED(CONFIG_DEVICE_PRIVATE))
		features |= HMM_MIRROR_FEATURE_DEVICE_PRIVATE;
	if (IS_ENABLED(CONFIG_NUMA))
		features |= HMM_MIRROR_FEATURE_NUMA;
	if (IS_ENABLED(CONFIG_SWAP))
		features |= HMM_MIRROR_FEATURE_SWAP;
	if (IS_ENABLED(CONFIG_MIGRATION))
		features |= HMM_MIRROR_FEATURE_MIGRATION;
	if (IS_ENABLED(CONFIG_MEMORY_FAILURE))
		features |= HMM_MIRROR_FEATURE_MEMORY_FAILURE;
	if (IS_ENABLED(CONFIG_HMM_MIRROR))
		features |= HMM_MIRROR_FEATURE_KERNEL_HMM;
	if (IS_ENABLED(CONFIG_SECRETMEM))
		features |= HMM_MIRROR_FEATURE_SECRETMEM;
	if (compat_has_poison_markers())
		features |= HMM_MIRROR_FEATURE_POISON_MARKER;
	if (compat_has_guard_markers())
		features |= HMM_MIRROR_FEATURE_GUARD_MARKER;
	if (compat_has_shadow_stacks())
		features |= HMM_MIRROR_FEATURE_SHADOW_STACK;
	if (compat_has_huge_device_private())
		features |= HMM_MIRROR_FEATURE_DEVICE_PRIVATE_HUGE;
	if (file->pfns_visible)
		features |= HMM_MIRROR_FEATURE_PFNS_VISIBLE;
	return features;
}

static long ioctl_info(struct device_file *file, void __user *user)
{
	struct hmm_mirror_info info;
	u32 user_size;
	int err;

	err = copy_args_from_user(&info, sizeof(info),
				  offsetofend(struct hmm_mirror_info, reserved),
				  user);
	if (err)
		return err;
	if (info.reserved)
		return -EINVAL;

	user_size = info.size;
	info = (struct hmm_mirror_info){
		.size = sizeof(info),
		.abi_version = HMM_MIRROR_ABI_VERSION,
		.features = info_features(file),
		.page_size = PAGE_SIZE,
		.max_watches = max_watches,
		.max_events = max_events,
		.max_watches_per_user = device_user_max_watches,
		.max_events_per_user = device_user_max_events,
	};
	if (mutex_lock_killable(&file->lock))
		return -EINTR;
	info.task_size = file->target_mm->task_size;
	mutex_unlock(&file->lock);
	if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) ||
	    IS_ENABLED(CONFIG_HUGETLB_PAGE))
		info.pmd_order = PMD_SHIFT - PAGE_SHIFT;
	if (IS_ENABLED(CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD) ||
	    IS_ENABLED(CONFIG_ARCH_HAS_GIGANTIC_PAGE))
		info.pud_order = PUD_SHIFT - PAGE_SHIFT;
	return copy_args_to_user(user, &info, sizeof(info), user_size);
}

/* ATTACH */

/*
 * Returns the address space of a process, which lives as long as any of its threads: the
 * main thread may have exited.
 */
static struct mm_struct *get_process_mm(struct task_struct *task)
{
	struct mm_struct *mm = get_task_mm(task);
	struct task_struct *thread;

	if (mm)
		return mm;
	rcu_read_lock();
	for_each_thread(task, thread) {
		mm = get_task_mm(thread);
		if (mm)
			break;
	}
	rcu_read_unlock();
	return mm;
}

static struct mm_struct *grab_mm_of_pid(pid_t nr)
{
	struct task_struct *task;
	struct mm_struct *mm;
	struct pid *pid;

	pid = find_get_pid(nr);
	task = get_pid_task(pid, PIDTYPE_PID);
	put_pid(pid);
	if (!task)
		return ERR_PTR(-ESRCH);
	mm = get_process_mm(task);
	put_task_struct(task);
	if (!mm)
		return ERR_PTR(-EINVAL);
	mmgrab(mm);
	mmput_async(mm);
	return mm;
}

static long ioctl_attach(struct device_file *file, void __user *user)
{
	struct hmm_mirror_attach args;
	struct mm_struct *mm;
	int err;

	err = copy_args_from_user(&args, sizeof(args), sizeof(args), user);
	if (err)
		return err;
	if (args.flags || args.reserved)
		return -EINVAL;
	if (!capable(CAP_SYS_PTRACE))
		return -EPERM;
	mm = grab_mm_of_pid(args.pid);
	if (IS_ERR(mm))
		return PTR_ERR(mm);

	if (mutex_lock_killable(&file->lock)) {
		mmdrop(mm);
		return -EINTR;
	}
	if (file->nr_watches)
		err = -EBUSY;
	else
		swap(file->target_mm, mm);
	mutex_unlock(&file->lock);
	mmdrop(mm);
	return err;
}

/* RANGE */

static __always_inline u32 extent_info_flags(unsigned long flags)
{
	u32 info = 0;

	if (flags & HMM_MIRROR_PFN_VALID)
		info |= HMM_MIRROR_EXTENT_VALID;
	if (flags & HMM_MIRROR_PFN_WRITE)
		info |= HMM_MIRROR_EXTENT_WRITE;
	if (flags & HMM_MIRROR_PFN_ERROR)
		info |= HMM_MIRROR_EXTENT_ERROR;
	return info;
}

/* The ABI's numbers are fixed; the API's happen to be the same. */
#define ASSERT_KIND(kind) \
	static_assert((int)HMM_MIRROR_KIND_##kind == HMM_MIRROR_ENTRY_##kind)
ASSERT_KIND(NONE);
ASSERT_KIND(PRESENT);
ASSERT_KIND(ZERO);
ASSERT_KIND(SWAP);
ASSERT_KIND(MIGRATION);
ASSERT_KIND(DEVICE_PRIVATE);
ASSERT_KIND(DEVICE_EXCLUSIVE);
ASSERT_KIND(PROT_NONE);
ASSERT_KIND(UFFD_WP);
ASSERT_KIND(HWPOISON);
ASSERT_KIND(POISON);
ASSERT_KIND(GUARD);
ASSERT_KIND(SPECIAL);
ASSERT_KIND(NO_VMA);
ASSERT_KIND(UNREADABLE);
ASSERT_KIND(IO);
ASSERT_KIND(SECRETMEM);
ASSERT_KIND(BAD);
static_assert(HMM_MIRROR_KIND_BAD + 1 == (int)HMM_MIRROR_NR_ENTRIES);

/* Writes every byte of the caller's structs in place, without a copy of our own. */
static int put_extents(struct hmm_mirror_extent_info __user *user,
		       const struct hmm_mirror_extent *extent, unsigned int nr)
{
	const struct hmm_mirror_extent *end = extent + nr;

	if (!user_write_access_begin(user, nr * sizeof(*user)))
		return -EFAULT;
	for (; extent < end; extent++, user++) {
		unsafe_put_user(extent->addr, &user->addr, err_end);
		unsafe_put_user(extent->npages, &user->npages, err_end);
		unsafe_put_user(extent->pfn, &user->pfn, err_end);
		unsafe_put_user(extent_info_flags(extent->flags), &user->flags,
				err_end);
		unsafe_put_user(extent->entry, &user->kind, err_end);
		unsafe_put_user(extent->order, &user->order, err_end);
		unsafe_put_user(0, &user->reserved, err_end);
		unsafe_put_user(extent->node, &user->node, err_end);
		unsafe_put_user(0, &user->reserved_2, err_end);
	}
	user_write_access_end();
	return 0;

err_end:
	user_write_access_end();
	return -EFAULT;
}

/**
 * struct range_job - a RANGE call being served
 * @mirror: notices invalidations while extents are collected
 * @range: the request for the layer below; @range.start moves along
 * @extents: chunk being collected
 * @chunk: elements of its array
 * @user: the caller's array
 * @capacity: elements of @user; 0 if nothing is to be reported
 * @nr: how many of them are filled
 * @limit: how long it may take
 */
struct range_job {
	struct hmm_mirror mirror;
	struct hmm_mirror_range range;
	struct hmm_mirror_extents extents;
	u32 chunk;
	struct hmm_mirror_extent_info __user *user;
	u32 capacity;
	u32 nr;
	struct hmm_mirror_limit limit;
};

static void ignore_unmap(struct hmm_mirror *mirror, unsigned long start,
			 unsigned long end, enum mmu_notifier_event event)
{
	/* A RANGE call looks at the sequence number only. */
}

static const struct hmm_mirror_ops range_ops = { .unmap = ignore_unmap };

static void range_job_gone(struct hmm_mirror *mirror)
{
	kfree(container_of(mirror, struct range_job, mirror));
}

static int collect_chunk(struct range_job *job)
{
	int err = hmm_mirror_interrupted(&job->limit);

	if (err)
		return err;
	job->extents.capacity = job->chunk;
	if (job->capacity)
		job->extents.capacity = min(job->capacity - job->nr,
					    job->chunk);
	return hmm_mirror_collect_extents(&job->range, &job->extents,
					  job->mirror.mm, &job->limit);
}

/*
 * Copies the chunk out and advances the range. Extents that do not reach the caller's
 * array have not been reported: they are not counted, and the call does not end after
 * them.
 */
static int report_chunk(struct range_job *job)
{
	if (job->capacity) {
		if (put_extents(job->user + job->nr, job->extents.array,
				job->extents.nr))
			return -EFAULT;
		job->nr += job->extents.nr;
	}
	job->range.start = job->extents.next;
	return 0;
}

static void add_counters(struct hmm_mirror_range_args *args,
			 struct hmm_mirror_range *range)
{
	args->nr_faults += range->nr_faults;
	args->nr_walks += range->nr_walks;
	args->nr_restarts += range->nr_restarts;
	args->nr_slots += range->nr_slots;
	/* A call that gives up before it begins does not set them. */
	range->nr_faults = 0;
	range->nr_walks = 0;
	range->nr_restarts = 0;
	range->nr_slots = 0;
}

/* Serves the call and fills in the output fields of @args. */
static int run_range_job(struct range_job *job,
			 struct hmm_mirror_range_args *args)
{
	u64 begin = ktime_get_ns();
	int err = 0;

	while (!err && job->range.start < job->range.end &&
	       !(job->capacity && job->nr == job->capacity)) {
		err = collect_chunk(job);
		add_counters(args, &job->range);
		args->fault_addr = job->range.fault_addr;
		if (!err)
			err = report_chunk(job);
		cond_resched();
	}
	args->nr_extents = job->nr;
	args->next = job->range.start;
	args->nanoseconds = ktime_get_ns() - begin;
	return err;
}

static int check_range_args(const struct hmm_mirror_range_args *args)
{
	if (args->reserved ||
	    args->flags & ~(HMM_MIRROR_RANGE_FAULT | HMM_MIRROR_RANGE_WRITE))
		return -EINVAL;
	if ((args->flags & HMM_MIRROR_RANGE_WRITE) &&
	    !(args->flags & HMM_MIRROR_RANGE_FAULT))
		return -EINVAL;
	/* A call that neither faults nor reports anything must be a mistake. */
	if (!args->nr_extents &&
	    (args->extents || !(args->flags & HMM_MIRROR_RANGE_FAULT)))
		return -EINVAL;
	return 0;
}

static int check_user_range(u64 start, u64 end, const struct mm_struct *mm)
{
	if (!PAGE_ALIGNED(start) || !PAGE_ALIGNED(end) || start >= end ||
	    end > mm->task_size)
		return -EINVAL;
	return 0;
}

static unsigned long request_flags(u32 flags)
{
	unsigned long request = 0;

	if (flags & HMM_MIRROR_RANGE_FAULT)
		request |= HMM_MIRROR_PFN_REQ_FAULT;
	if (flags & HMM_MIRROR_RANGE_WRITE)
		request |= HMM_MIRROR_PFN_REQ_WRITE;
	return request;
}

static struct range_job *
create_range_job(const struct device_file *file,
		 const struct hmm_mirror_range_args *args, u32 capacity)
{
	struct range_job *job = kzalloc(sizeof(*job), GFP_KERNEL_ACCOUNT);

	if (!job)
		return NULL;
	job->user = u64_to_user_ptr(args->extents);
	job->capacity = capacity;
	/* Contiguity would reveal something about PFNs. */
	job->extents.without_pfns = !file->pfns_visible;
	job->extents.in_parts = true;
	job->range.start = args->start;
	job->range.end = args->end;
	job->range.default_flags = request_flags(args->flags);
	job->limit = hmm_mirror_limit_of(msecs_to_jiffies(args->timeout_ms));

	/* Allocated memory may be cleared: take no more than is needed. */
	job->chunk = min_t(u64, RANGE_CHUNK,
			   (args->end - args->start) >> PAGE_SHIFT);
	if (capacity)
		job->chunk = min(job->chunk, capacity);
	job->extents.array = kvmalloc_array(job->chunk,
					    sizeof(*job->extents.array),
					    GFP_KERNEL_ACCOUNT);
	if (!job->extents.array) {
		kfree(job);
		return NULL;
	}
	return job;
}

/* Subscribes to the job's range, within what is left of its time. */
static int register_range_job(struct range_job *job, struct mm_struct *mm)
{
	unsigned long timeout = 0;
	int err = hmm_mirror_make_room(mm, &job->limit);

	if (err)
		return err;
	/* 0 would mean no limit. */
	if (job->limit.has_deadline)
		timeout = max(hmm_mirror_time_left(&job->limit), 1L);
	job->range.notifier = &job->mirror.notifier;
	return hmm_mirror_register_timeout(&job->mirror, mm, job->range.start,
					   job->range.end - job->range.start,
					   &range_ops, timeout);
}

static int serve_range(struct device_file *file, struct mm_struct *mm,
		       struct hmm_mirror_range_args *args, u32 capacity)
{
	struct range_job *job;
	int err;

	err = check_user_range(args->start, args->end, mm);
	if (err)
		return err;
	job = create_range_job(file, args, capacity);
	if (!job)
		return -ENOMEM;
	err = register_range_job(job, mm);
	if (err) {
		kvfree(job->extents.array);
		kfree(job);
		return err;
	}
	err = run_range_job(job, args);
	kvfree(job->extents.array);
	hmm_mirror_forget(&job->mirror);
	hmm_mirror_unregister_async(&job->mirror, range_job_gone);
	return err;
}

static long ioctl_range(struct device_file *file, void __user *user)
{
	struct hmm_mirror_range_args args;
	struct mm_struct *mm;
	u32 capacity;
	int err;

	err = copy_args_from_user(&args, sizeof(args), sizeof(args), user);
	if (err)
		return err;
	err = check_range_args(&args);
	if (err)
		return err;
	mm = get_target_mm(file);
	if (IS_ERR(mm))
		return PTR_ERR(mm);

	capacity = args.nr_extents;
	args.nr_extents = 0;
	args.next = args.start;
	args.fault_addr = 0;
	args.nr_faults = 0;
	args.nr_walks = 0;
	args.nr_restarts = 0;
	args.nr_slots = 0;
	args.nanoseconds = 0;
	err = serve_range(file, mm, &args, capacity);
	if (err == -EBUSY)
		err = -ETIMEDOUT;
	/* If this is the last reference, a worker tears the memory down, not the caller. */
	mmput_async(mm);

	/* Also on failure: fault_addr, and what was done before it. */
	return copy_args_to_user(user, &args, sizeof(args), args.size) ?: err;
}

/* WATCH, UNWATCH */

static u32 event_kind(enum mmu_notifier_event event)
{
	switch (event) {
	case MMU_NOTIFY_UNMAP:
		return HMM_MIRROR_EVENT_UNMAP;
	case MMU_NOTIFY_CLEAR:
		return HMM_MIRROR_EVENT_CLEAR;
	case MMU_NOTIFY_PROTECTION_VMA:
		return HMM_MIRROR_EVENT_PROTECTION_VMA;
	case MMU_NOTIFY_PROTECTION_PAGE:
		return HMM_MIRROR_EVENT_PROTECTION_PAGE;
	case MMU_NOTIFY_SOFT_DIRTY:
		return HMM_MIRROR_EVENT_SOFT_DIRTY;
	case MMU_NOTIFY_RELEASE:
		return HMM_MIRROR_EVENT_RELEASE;
	case MMU_NOTIFY_MIGRATE:
		return HMM_MIRROR_EVENT_MIGRATE;
	case MMU_NOTIFY_EXCLUSIVE:
		return HMM_MIRROR_EVENT_EXCLUSIVE;
	default:
		return HMM_MIRROR_EVENT_OTHER;
	}
}

static void watch_unmap(struct hmm_mirror *mirror, unsigned long start,
			unsigned long end, enum mmu_notifier_event event)
{
	struct watch *watch = container_of(mirror, struct watch, mirror);
	const struct hmm_mirror_event queued = {
		.watch_id = watch->id,
		.kind = event_kind(event),
		.start = start,
		.end = end,
		.sequence = hmm_mirror_sequence(mirror),
	};

	event_queue_add(&watch->file->events, &queued, &watch->closed);
}

static const struct hmm_mirror_ops watch_ops = { .unmap = watch_unmap };

static struct watch *find_watch(struct device_file *file, u32 id)
{
	struct watch *watch;

	lockdep_assert_held(&file->lock);
	list_for_each_entry(watch, &file->watches, node)
		if (watch->id == id)
			return watch;
	return NULL;
}

/* Returns an id that is neither 0 nor in use. There are fewer watches than ids. */
static u32 new_watch_id(struct device_file *file)
{
	do {
		file->last_watch_id++;
	} while (!file->last_watch_id ||
		 find_watch(file, file->last_watch_id));
	return file->last_watch_id;
}

/* Allocates memory for events: all of it or none. */
static int allocate_events(struct device_file *file)
{
	int err;

	lockdep_assert_held(&file->lock);
	if (file->events.ring)
		return 0;
	if (!device_user_charge_events(file->opener, max_events))
		return -EDQUOT;
	err = event_queue_allocate(&file->events, max_events);
	if (err)
		device_user_uncharge_events(file->opener, max_events);
	return err;
}

/* Adds the watch to the file and gives it an id. */
static int enter_watch(struct device_file *file, struct mm_struct *mm,
		       struct watch *watch)
{
	int err;

	lockdep_assert_held(&file->lock);
	/* An ATTACH came in between. */
	if (file->target_mm != mm)
		return -EBUSY;
	if (file->nr_watches >= max_watches)
		return -ENOSPC;
	if (!device_user_charge_watch(file->opener))
		return -EDQUOT;
	err = allocate_events(file);
	if (err) {
		device_user_uncharge_watch(file->opener);
		return err;
	}
	refcount_inc(&file->users);
	watch->file = file;
	watch->id = new_watch_id(file);
	list_add(&watch->node, &file->watches);
	file->nr_watches++;
	return 0;
}

static void leave_watch(struct device_file *file, struct watch *watch)
{
	lockdep_assert_held(&file->lock);
	list_del(&watch->node);
	file->nr_watches--;
}

static void free_watch(struct watch *watch)
{
	device_user_uncharge_watch(watch->file->opener);
	put_file(watch->file);
	kfree(watch);
}

static void watch_gone(struct hmm_mirror *mirror)
{
	free_watch(container_of(mirror, struct watch, mirror));
}

/* Adds a watch of @mm and returns 0 with its id in @id. */
static int add_watch(struct device_file *file, struct mm_struct *mm,
		     unsigned long start, unsigned long end, u32 *id)
{
	struct watch *watch = kzalloc(sizeof(*watch), GFP_KERNEL_ACCOUNT);
	int err;

	if (!watch)
		return -ENOMEM;
	err = mutex_lock_killable(&file->lock);
	if (!err) {
		err = enter_watch(file, mm, watch);
		mutex_unlock(&file->lock);
	}
	if (err) {
		kfree(watch);
		return err;
	}
	*id = watch->id;
	/* This may take time, if something is wrong with the process. */
	err = hmm_mirror_register(&watch->mirror, mm, start, end - start,
				  &watch_ops);
	mutex_lock(&file->lock);
	if (err)
		leave_watch(file, watch);
	else
		watch->ready = true;
	mutex_unlock(&file->lock);
	if (err)
		free_watch(watch);
	return err;
}

/* When it returns, no more events of the watch are queued; the rest takes its time. */
static void remove_watch(struct device_file *file, struct watch *watch)
{
	leave_watch(file, watch);
	hmm_mirror_forget(&watch->mirror);
	event_queue_close(&file->events, &watch->closed);
	hmm_mirror_unregister_async(&watch->mirror, watch_gone);
}

static int remove_watch_id(struct device_file *file, u32 id)
{
	struct watch *watch = find_watch(file, id);

	if (!watch || !watch->ready)
		return -ENOENT;
	remove_watch(file, watch);
	return 0;
}

static long ioctl_watch(struct device_file *file, void __user *user)
{
	struct hmm_mirror_watch_args args;
	struct mm_struct *mm;
	int err;

	err = copy_args_from_user(&args, sizeof(args), sizeof(args), user);
	if (err)
		return err;
	if (args.flags || args.reserved)
		return -EINVAL;
	mm = get_target_mm(file);
	if (IS_ERR(mm))
		return PTR_ERR(mm);

	err = check_user_range(args.start, args.end, mm);
	if (!err)
		err = add_watch(file, mm, args.start, args.end,
				&args.watch_id);
	mmput_async(mm);
	if (err)
		return err;
	err = copy_args_to_user(user, &args, sizeof(args), args.size);
	if (err) {
		/* Nobody will ever know its id, so do not give up here. */
		mutex_lock(&file->lock);
		remove_watch_id(file, args.watch_id);
		mutex_unlock(&file->lock);
	}
	return err;
}

static long ioctl_unwatch(struct device_file *file, void __user *user)
{
	struct hmm_mirror_unwatch_args args;
	int err;

	err = copy_args_from_user(&args, sizeof(args), sizeof(args), user);
	if (err)
		return err;
	if (args.flags || args.reserved)
		return -EINVAL;
	if (mutex_lock_killable(&file->lock))
		return -EINTR;
	err = remove_watch_id(file, args.watch_id);
	mutex_unlock(&file->lock);
	return err;
}

/* STATS */

static long ioctl_stats(void __user *user)
{
	struct hmm_mirror_counters counters;
	struct hmm_mirror_stats stats;
	u32 user_size;
	int err;

	err = copy_args_from_user(&stats, sizeof(stats), sizeof(stats), user);
	if (err)
		return err;
	if (stats.reserved)
		return -EINVAL;
	user_size = stats.size;
	hmm_mirror_sum_counters(&counters);
	stats = (struct hmm_mirror_stats){
		.size = sizeof(stats),
		.range_calls = counters.range_calls,
		.range_errors = counters.range_errors,
		.faults = counters.faults,
		.walks = counters.walks,
		.restarts = counters.restarts,
		.invalidations = counters.invalidations,
		.events = counters.events,
		.events_lost = counters.events_lost,
		.open_files = atomic_long_read(&hmm_mirror_open_files),
		.subscriptions = atomic_long_read(&hmm_mirror_subscriptions),
		.dma_maps = counters.dma_maps,
		.dma_unmaps = counters.dma_unmaps,
		.dma_bytes = counters.dma_bytes,
	};
	return copy_args_to_user(user, &stats, sizeof(stats), user_size);
}

static long device_ioctl(struct file *filp, unsigned int cmd,
			 unsigned long arg)
{
	struct device_file *file = filp->private_data;
	void __user *user = (void __user *)arg;

	if (!caller_is_opener(file))
		return -EPERM;
	switch (cmd) {
	case HMM_MIRROR_INFO:
		return ioctl_info(file, user);
	case HMM_MIRROR_ATTACH:
		return ioctl_attach(file, user);
	case HMM_MIRROR_RANGE:
		return ioctl_range(file, user);
	case HMM_MIRROR_WATCH:
		return ioctl_watch(file, user);
	case HMM_MIRROR_UNWATCH:
		return ioctl_unwatch(file, user);
	case HMM_MIRROR_STATS:
		return ioctl_stats(user);
	default:
		return -ENOTTY;
	}
}

/*
 * Copies events until @count bytes are full or the queue is empty. Returns the number of
 * bytes, 0 if there was no event, or an errno.
 */
static ssize_t read_events(struct device_file *file, char __user *user,
			   size_t count, bool nonblocking)
{
	struct hmm_mirror_event events[READ_CHUNK];
	ssize_t done = 0;

	/* Another reader may be stuck in a page fault on its memory. */
	if (nonblocking) {
		if (!mutex_trylock(&file->read_lock))
			return -EAGAIN;
	} else if (mutex_lock_interruptible(&file->read_lock)) {
		return -ERESTARTSYS;
	}
	while (count - done >= sizeof(*events)) {
		size_t room = (count - done) / sizeof(*events);
		unsigned int nr;

		nr = event_queue_peek(&file->events, events,
				      min_t(size_t, room, READ_CHUNK));
		if (!nr)
			break;
		if (copy_to_user(user + done, events, nr * sizeof(*events))) {
			if (!done)
				done = -EFAULT;
			break;
		}
		event_queue_consume(&file->events, events, nr);
		done += nr * sizeof(*events);
	}
	mutex_unlock(&file->read_lock);
	return done;
}

static ssize_t device_read(struct file *filp, char __user *user, size_t count,
			   loff_t *position)
{
	struct device_file *file = filp->private_data;
	bool nonblocking = filp->f_flags & O_NONBLOCK;
	ssize_t done;

	if (!caller_is_opener(file))
		return -EPERM;
	if (count < sizeof(struct hmm_mirror_event))
		return -EINVAL;
	for (;;) {
		done = read_events(file, user, count, nonblocking);
		if (done)
			return done;
		if (nonblocking)
			return -EAGAIN;
		if (wait_event_interruptible(file->events.wait,
					     !event_queue_empty(&file->events)))
			return -ERESTARTSYS;
	}
}

static __poll_t device_poll(struct file *filp, poll_table *table)
{
	struct device_file *file = filp->private_data;

	if (!caller_is_opener(file))
		return EPOLLERR;
	poll_wait(filp, &file->events.wait, table);
	return event_queue_empty(&file->events) ? 0 : EPOLLIN | EPOLLRDNORM;
}

static int device_open(struct inode *inode, struct file *filp)
{
	struct device_file *file;

	/* A kernel thread has no address space to bind the file to. */
	if (!current->mm)
		return -EINVAL;
	file = kzalloc(sizeof(*file), GFP_KERNEL_ACCOUNT);
	if (!file)
		return -ENOMEM;
	file->opener = device_user_get(current_uid());
	if (!file->opener) {
		kfree(file);
		return -ENOMEM;
	}
	refcount_set(&file->users, 1);
	mutex_init(&file->lock);
	mutex_init(&file->read_lock);
	INIT_LIST_HEAD(&file->watches);
	event_queue_init(&file->events);
	file->pfns_visible = file_ns_capable(filp, &init_user_ns,
					     CAP_SYS_ADMIN);
	file->opener_mm = current->mm;
	mmgrab(file->opener_mm);
	file->target_mm = current->mm;
	mmgrab(file->target_mm);
	filp->private_data = file;
	atomic_long_inc(&hmm_mirror_open_files);
	return stream_open(inode, filp);
}

static int device_release(struct inode *inode, struct file *filp)
{
	struct device_file *file = filp->private_data;
	struct watch *watch, *next;

	mutex_lock(&file->lock);
	list_for_each_entry_safe(watch, next, &file->watches, node)
		remove_watch(file, watch);
	mutex_unlock(&file->lock);
	put_file(file);
	atomic_long_dec(&hmm_mirror_open_files);
	return 0;
}

static const struct file_operations device_fops = {
	.owner		= THIS_MODULE,
	.open		= device_open,
	.release	= device_release,
	.unlocked_ioctl	= device_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.read		= device_read,
	.poll		= device_poll,
};

static struct miscdevice hmm_mirror_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "hmm_mirror",
	.fops	= &device_fops,
	.mode	= 0600,
};

/**
 * hmm_mirror_device_register() - make /dev/hmm_mirror
 *
 * Return: 0 or an errno.
 */
int __init hmm_mirror_device_register(void)
{
	if (!max_events) {
		pr_err("max_events must be at least 1\n");
		return -EINVAL;
	}
	device_user_init(max_events);
	return misc_register(&hmm_mirror_device);
}

/**
 * hmm_mirror_device_unregister() - remove /dev/hmm_mirror
 *
 * No file is open: open files keep the module loaded.
 */
void hmm_mirror_device_unregister(void)
{
	misc_deregister(&hmm_mirror_device);
}
