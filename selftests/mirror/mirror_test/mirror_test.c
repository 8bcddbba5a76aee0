// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror_test: a driver whose device is an xarray, for the kselftests.
 *
 * Each open file can have one struct hmm_mirror. What map is given is kept as a device's
 * page table would be, to be compared with what the process has; all callbacks are
 * logged, and checked for what they must never do.
 *
 * The device node reveals physical addresses and is for root only. Nothing but a test
 * should load this.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/build_bug.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/migrate.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

#include "hmm_mirror.h"
#include "mirror_test.h"

static_assert(MIRROR_TEST_VALID == HMM_MIRROR_PFN_VALID);
static_assert(MIRROR_TEST_WRITE == HMM_MIRROR_PFN_WRITE);
static_assert(MIRROR_TEST_ERROR == HMM_MIRROR_PFN_ERROR);
static_assert(MIRROR_TEST_REQ_FAULT == HMM_MIRROR_PFN_REQ_FAULT);
static_assert(MIRROR_TEST_REQ_WRITE == HMM_MIRROR_PFN_REQ_WRITE);
static_assert(MIRROR_TEST_PFN_MASK == HMM_MIRROR_PFN_PFN_MASK);

/* An xarray value has one bit less than a word, so these use bits of their own. */
#define SHADOW_WRITE	BIT_ULL(62)

/* Its address serves as the owner of device-private memory, if there were any. */
static char test_owner, test_other_owner;

struct test_file {
	struct hmm_mirror mirror;
	struct hmm_mirror_ops ops;
	/*
	 * Read for calls that use the mirror, write to create or end it: two threads may
	 * populate one mirror at the same time.
	 */
	struct rw_semaphore lock;
	bool has_mirror;
	unsigned long start;
	unsigned long end;
	struct completion let_go;
	/* The mirror is being unregistered; once it is gone there is no mirror. */
	bool leaving;
	struct completion gone;

	/* Page number to what the device has there; under the mirror's lock. */
	struct xarray shadow;
	struct mirror_test_knobs knobs; /* whole words, read and written once */

	/*
	 * Not under the mirror's lock, so that callbacks that come without it, or too
	 * late, are detected and do no harm.
	 */
	spinlock_t record_lock; /* all below */
	bool registered;
	unsigned int running;
	unsigned long last_sequence;
	struct mirror_test_record record;
	struct mirror_test_entry *log;
	unsigned int nr_logged;
	unsigned int nr_lost;
	u32 nr_calls;
};

static struct test_file *test_file_of(struct hmm_mirror *mirror)
{
	return container_of(mirror, struct test_file, mirror);
}

static void test_violation(struct test_file *file,
			   enum mirror_test_violation violation)
{
	lockdep_assert_held(&file->record_lock);
	if (file->record.violation == MIRROR_TEST_NO_VIOLATION)
		file->record.violation = violation;
}

static void test_log(struct test_file *file,
		     const struct mirror_test_entry *entry)
{
	lockdep_assert_held(&file->record_lock);
	if (file->nr_logged == MIRROR_TEST_LOG_MAX) {
		file->nr_lost++;
		return;
	}
	file->log[file->nr_logged] = *entry;
	file->log[file->nr_logged++].call = file->nr_calls;
}

/* Every callback begins with this; false if it should not have been called. */
static bool test_callback_begin(struct test_file *file)
{
	bool allowed;

	spin_lock(&file->record_lock);
	if (!file->registered)
		test_violation(file, MIRROR_TEST_NOT_REGISTERED);
	if (file->record.nr_release)
		test_violation(file, MIRROR_TEST_AFTER_RELEASE);
	if (file->running++)
		test_violation(file, MIRROR_TEST_TWO_CALLBACKS);
	file->nr_calls++;
	allowed = file->registered;
	spin_unlock(&file->record_lock);
	return allowed;
}

static void test_callback_end(struct test_file *file)
{
	spin_lock(&file->record_lock);
	file->running--;
	spin_unlock(&file->record_lock);
}

static void test_delay(u32 microseconds)
{
	if (microseconds)
		usleep_range(microseconds, microseconds * 2);
}

static bool test_in_mirror(const struct test_file *file, unsigned long start,
			   unsigned long end)
{
	return PAGE_ALIGNED(start) && PAGE_ALIGNED(end) && start < end &&
	       start >= file->start && end <= file->end;
}

/* Removes a range from the device. Returns how many pages it had there. */
static unsigned long test_clear(struct test_file *file, unsigned long start,
				unsigned long end)
{
	unsigned long nr = 0;
	unsigned long index;
	void *entry;

	xa_for_each_range(&file->shadow, index, entry, start >> PAGE_SHIFT,
			  (end - 1) >> PAGE_SHIFT) {
		xa_erase(&file->shadow, index);
		nr++;
	}
	return nr;
}

static bool test_has_pages(struct test_file *file, unsigned long start,
			   unsigned long end)
{
	unsigned long index = start >> PAGE_SHIFT;

	return xa_find(&file->shadow, &index, (end - 1) >> PAGE_SHIFT,
		       XA_PRESENT);
}

static int test_program(struct test_file *file,
			const struct hmm_mirror_extent *extent)
{
	unsigned long end = extent->addr + (extent->npages << PAGE_SHIFT);
	unsigned long value = extent->pfn;
	unsigned long i;

	if (!(extent->flags & HMM_MIRROR_PFN_VALID)) {
		test_clear(file, extent->addr, end);
		return 0;
	}
	if (extent->flags & HMM_MIRROR_PFN_WRITE)
		value |= SHADOW_WRITE;
	for (i = 0; i < extent->npages; i++) {
		unsigned long index = (extent->addr >> PAGE_SHIFT) + i;
		void *old = xa_store(&file->shadow, index,
				     xa_mk_value(value + i),
				     GFP_ATOMIC | __GFP_NOWARN);

		if (xa_is_err(old)) {
			/* What was there before may no longer be true. */
			test_clear(file, extent->addr, end);
			return xa_err(old);
		}
	}
	return 0;
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

/* Returns false if the extents cannot be programmed. */
static bool test_check_extents(struct test_file *file,
			       const struct hmm_mirror_extent *extents,
			       unsigned int nr)
{
	unsigned long expected;
	unsigned int i;
	bool good = true;

	lockdep_assert_held(&file->record_lock);
	if (!nr) {
		test_violation(file, MIRROR_TEST_EXTENTS_ORDER);
		return false;
	}
	expected = extents[0].addr;
	for (i = 0; i < nr; i++) {
		const struct hmm_mirror_extent *extent = &extents[i];
		unsigned long end = extent->addr +
				    (extent->npages << PAGE_SHIFT);

		if (extent->addr != expected || !extent->npages)
			test_violation(file, MIRROR_TEST_EXTENTS_ORDER);
		if (!test_extent_flags_valid(extent->flags))
			test_violation(file, MIRROR_TEST_EXTENT_FLAGS);
		if (!test_in_mirror(file, extent->addr, end)) {
			test_violation(file, MIRROR_TEST_OUT_OF_MIRROR);
			good = false;
		}
		expected = end;
	}
	return good;
}

static int test_map(struct hmm_mirror *mirror,
		    const struct hmm_mirror_extent *extents, unsigned int nr)
{
	struct test_file *file = test_file_of(mirror);
	u32 error = READ_ONCE(file->knobs.map_error);
	unsigned int i;
	bool good;
	int ret = 0;

	if (!test_callback_begin(file))
		goto out;
	spin_lock(&file->record_lock);
	good = test_check_extents(file, extents, nr);
	if (error &&
	    file->record.nr_map >= READ_ONCE(file->knobs.map_error_after))
		ret = -(int)error;
	for (i = 0; good && !ret && i < nr; i++) {
		struct mirror_test_entry entry = {
			.callback = MIRROR_TEST_CALLED_MAP,
			.entry = extents[i].entry,
			.start = extents[i].addr,
			.end = extents[i].addr +
			       (extents[i].npages << PAGE_SHIFT),
			.word = extents[i].flags | extents[i].pfn,
			.sequence = hmm_mirror_sequence(mirror),
		};

		test_log(file, &entry);
	}
	spin_unlock(&file->record_lock);
	if (!good || ret)
		goto out;

	test_delay(READ_ONCE(file->knobs.map_delay_us));
	for (i = 0; !ret && i < nr; i++)
		ret = test_program(file, &extents[i]);
	if (!ret) {
		spin_lock(&file->record_lock);
		file->record.nr_map++;
		spin_unlock(&file->record_lock);
	}
out:
	test_callback_end(file);
	return ret;
}

static const enum mmu_notifier_event test_events[] = {
	/* In the order of enum hmm_mirror_event_kind. */
	MMU_NOTIFY_UNMAP,
	MMU_NOTIFY_CLEAR,
	MMU_NOTIFY_PROTECTION_VMA,
	MMU_NOTIFY_PROTECTION_PAGE,
	MMU_NOTIFY_SOFT_DIRTY,
	MMU_NOTIFY_RELEASE,
	MMU_NOTIFY_MIGRATE,
	MMU_NOTIFY_EXCLUSIVE,
};

static u32 test_event_kind(enum mmu_notifier_event event)
{
	u32 kind;

	for (kind = 0; kind < ARRAY_SIZE(test_events); kind++) {
		if (test_events[kind] == event)
			break;
	}
	return kind;
}

/* What unmap and migrate have in common. Returns false if there is nothing to do. */
static bool test_invalidation(struct test_file *file,
			      struct mirror_test_entry *entry, u64 *counter)
{
	bool good = test_in_mirror(file, entry->start, entry->end);

	entry->sequence = hmm_mirror_sequence(&file->mirror);
	spin_lock(&file->record_lock);
	if (!good)
		test_violation(file, MIRROR_TEST_OUT_OF_MIRROR);
	if (entry->sequence < file->last_sequence)
		test_violation(file, MIRROR_TEST_SEQUENCE_BACK);
	file->last_sequence = entry->sequence;
	++*counter;
	test_log(file, entry);
	spin_unlock(&file->record_lock);
	return good;
}

/* Whether this call of unmap is to forget its job. */
static bool test_skip_unmap(struct test_file *file, unsigned long start,
			    unsigned long end)
{
	u32 skip = READ_ONCE(file->knobs.skip_unmaps);

	if (!skip || !test_has_pages(file, start, end))
		return false;
	WRITE_ONCE(file->knobs.skip_unmaps, skip - 1);
	spin_lock(&file->record_lock);
	file->record.skipped_unmaps++;
	spin_unlock(&file->record_lock);
	return true;
}

static void test_unmap(struct hmm_mirror *mirror, unsigned long start,
		       unsigned long end, enum mmu_notifier_event event)
{
	struct test_file *file = test_file_of(mirror);
	struct mirror_test_entry entry = {
		.callback = MIRROR_TEST_CALLED_UNMAP,
		.event = test_event_kind(event),
		.start = start,
		.end = end,
	};

	if (!test_callback_begin(file))
		goto out;
	test_delay(READ_ONCE(file->knobs.unmap_delay_us));
	if (test_invalidation(file, &entry, &file->record.nr_unmap) &&
	    !test_skip_unmap(file, start, end))
		test_clear(file, start, end);
out:
	test_callback_end(file);
}

/* The driver knows where the pages go: in this test, what it has stays. */
static void test_migrate(struct hmm_mirror *mirror, unsigned long start,
			 unsigned long end)
{
	struct test_file *file = test_file_of(mirror);
	struct mirror_test_entry entry = {
		.callback = MIRROR_TEST_CALLED_MIGRATE,
		.start = start,
		.end = end,
	};

	if (test_callback_begin(file))
		test_invalidation(file, &entry, &file->record.nr_migrate);
	test_callback_end(file);
}

static void test_released(struct hmm_mirror *mirror)
{
	struct test_file *file = test_file_of(mirror);
	struct mirror_test_entry entry = {
		.callback = MIRROR_TEST_CALLED_RELEASE,
		.start = file->start,
		.end = file->end,
		.sequence = hmm_mirror_sequence(mirror),
	};

	if (!test_callback_begin(file))
		goto out;
	spin_lock(&file->record_lock);
	if (test_has_pages(file, file->start, file->end))
		test_violation(file, MIRROR_TEST_RELEASED_MAPPED);
	file->record.nr_release++;
	test_log(file, &entry);
	spin_unlock(&file->record_lock);
out:
	test_callback_end(file);
}

static int test_register(struct test_file *file, void __user *user)
{
	struct mirror_test_register args;
	int ret;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	if (args.flags & ~(MIRROR_TEST_NO_UNMAP | MIRROR_TEST_NO_MAP |
			   MIRROR_TEST_MIGRATE))
		return -EINVAL;
	if (down_write_killable(&file->lock))
		return -EINTR;
	ret = -EBUSY;
	if (file->has_mirror ||
	    (file->leaving && !try_wait_for_completion(&file->gone)))
		goto out_unlock;
	file->leaving = false;

	file->ops = (struct hmm_mirror_ops){
		.map = args.flags & MIRROR_TEST_NO_MAP ? NULL : test_map,
		.unmap = args.flags & MIRROR_TEST_NO_UNMAP ? NULL : test_unmap,
		.migrate = args.flags & MIRROR_TEST_MIGRATE ? test_migrate :
							      NULL,
		.release = test_released,
	};
	file->start = args.start;
	file->end = args.start + args.length;
	spin_lock(&file->record_lock);
	memset(&file->record, 0, sizeof(file->record));
	file->last_sequence = 0;
	file->nr_logged = 0;
	file->nr_lost = 0;
	file->nr_calls = 0;
	file->registered = true;
	spin_unlock(&file->record_lock);

	/* Whatever it held before does not matter. */
	memset(&file->mirror, 0xa5, sizeof(file->mirror));
	file->mirror.dev_private_owner = &test_owner;
	args.error = -hmm_mirror_register(&file->mirror, current->mm,
					  args.start, args.length, &file->ops);
	if (!args.error) {
		file->has_mirror = true;
	} else {
		spin_lock(&file->record_lock);
		file->registered = false;
		spin_unlock(&file->record_lock);
	}
	ret = copy_to_user(user, &args, sizeof(args)) ? -EFAULT : 0;

out_unlock:
	up_write(&file->lock);
	return ret;
}

/* With the file's lock held for writing, or while the file is being closed. */
static void test_end_mirror(struct test_file *file)
{
	hmm_mirror_unregister(&file->mirror);
	spin_lock(&file->record_lock);
	if (file->running)
		test_violation(file, MIRROR_TEST_STILL_RUNNING);
	file->registered = false;
	spin_unlock(&file->record_lock);
	file->has_mirror = false;
	xa_destroy(&file->shadow);
}

static int test_unregister(struct test_file *file)
{
	int ret = -ENOENT;

	if (down_write_killable(&file->lock))
		return -EINTR;
	if (file->has_mirror) {
		test_end_mirror(file);
		ret = 0;
	}
	up_write(&file->lock);
	return ret;
}

static void test_gone(struct hmm_mirror *mirror)
{
	struct test_file *file = test_file_of(mirror);

	spin_lock(&file->record_lock);
	if (file->running)
		test_violation(file, MIRROR_TEST_STILL_RUNNING);
	file->registered = false;
	file->record.gone = 1;
	spin_unlock(&file->record_lock);
	xa_destroy(&file->shadow);
	complete(&file->gone);
}

static int test_unregister_async(struct test_file *file)
{
	int ret = -ENOENT;

	if (down_write_killable(&file->lock))
		return -EINTR;
	if (file->has_mirror) {
		file->has_mirror = false;
		file->leaving = true;
		hmm_mirror_unregister_async(&file->mirror, test_gone);
		ret = 0;
	}
	up_write(&file->lock);
	return ret;
}

/* Takes the file's lock if it has a mirror. */
static int test_begin_use(struct test_file *file)
{
	if (down_read_killable(&file->lock))
		return -EINTR;
	if (file->has_mirror)
		return 0;
	up_read(&file->lock);
	return -ENOENT;
}

static void test_end_use(struct test_file *file)
{
	up_read(&file->lock);
}

static int test_populate(struct test_file *file, void __user *user)
{
	struct hmm_mirror_request request;
	struct mirror_test_populate args;
	int ret;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	/* Outputs are written whatever they contained. */
	memset(&request, 0xa5, sizeof(request));
	request.start = args.start;
	request.end = args.end;
	request.default_flags = args.default_flags;
	request.timeout = msecs_to_jiffies(args.timeout_ms);

	ret = test_begin_use(file);
	if (ret)
		return ret;
	args.error = -hmm_mirror_populate(&file->mirror, &request);
	spin_lock(&file->record_lock);
	file->record.nr_populates++;
	file->record.populate_error = args.error;
	spin_unlock(&file->record_lock);
	test_end_use(file);

	args.next = request.next;
	args.fault_addr = request.fault_addr;
	args.nr_faults = request.nr_faults;
	args.nr_restarts = request.nr_restarts;
	return copy_to_user(user, &args, sizeof(args)) ? -EFAULT : 0;
}

static u64 test_shadow_word(struct test_file *file, unsigned long index)
{
	void *entry = xa_load(&file->shadow, index);
	unsigned long value;

	if (!entry)
		return 0;
	value = xa_to_value(entry);
	return HMM_MIRROR_PFN_VALID | (value & HMM_MIRROR_PFN_PFN_MASK) |
	       (value & SHADOW_WRITE ? HMM_MIRROR_PFN_WRITE : 0);
}

static int test_read(struct test_file *file, void __user *user)
{
	struct mirror_test_read args;
	unsigned long i;
	u64 *words;
	int ret;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	if (!args.npages || args.npages > MIRROR_TEST_READ_MAX)
		return -EINVAL;
	words = kvcalloc(args.npages, sizeof(*words), GFP_KERNEL_ACCOUNT);
	if (!words)
		return -ENOMEM;
	ret = test_begin_use(file);
	if (ret)
		goto out_free;
	hmm_mirror_lock(&file->mirror);
	for (i = 0; i < args.npages; i++)
		words[i] = test_shadow_word(file,
					    (args.start >> PAGE_SHIFT) + i);
	hmm_mirror_unlock(&file->mirror);
	test_end_use(file);
	if (copy_to_user(u64_to_user_ptr(args.words), words,
			 args.npages * sizeof(*words)))
		ret = -EFAULT;
out_free:
	kvfree(words);
	return ret;
}

static int test_set_knobs(struct test_file *file, void __user *user)
{
	struct mirror_test_knobs knobs;

	if (copy_from_user(&knobs, user, sizeof(knobs)))
		return -EFAULT;
	if (knobs.reserved || knobs.map_error > MAX_ERRNO)
		return -EINVAL;
	/* Pair with the READ_ONCE() of the callbacks. */
	WRITE_ONCE(file->knobs.map_error, knobs.map_error);
	WRITE_ONCE(file->knobs.map_error_after, knobs.map_error_after);
	WRITE_ONCE(file->knobs.map_delay_us, knobs.map_delay_us);
	WRITE_ONCE(file->knobs.unmap_delay_us, knobs.unmap_delay_us);
	WRITE_ONCE(file->knobs.skip_unmaps, knobs.skip_unmaps);
	return 0;
}

/* Takes no lock that a callback holds for long: it reports what they do. */
static int test_get_record(struct test_file *file, void __user *user)
{
	struct mirror_test_record record;
	unsigned long index;
	void *entry;

	spin_lock(&file->record_lock);
	record = file->record;
	spin_unlock(&file->record_lock);
	xa_for_each(&file->shadow, index, entry)
		record.nr_shadow++;
	return copy_to_user(user, &record, sizeof(record)) ? -EFAULT : 0;
}

static int test_take_log(struct test_file *file, void __user *user)
{
	struct mirror_test_entry *entries;
	struct mirror_test_log args;
	int ret = 0;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	entries = kvcalloc(MIRROR_TEST_LOG_MAX, sizeof(*entries),
			   GFP_KERNEL_ACCOUNT);
	if (!entries)
		return -ENOMEM;
	spin_lock(&file->record_lock);
	args.nr = file->nr_logged;
	args.lost = file->nr_lost;
	memcpy(entries, file->log, args.nr * sizeof(*entries));
	file->nr_logged = 0;
	file->nr_lost = 0;
	spin_unlock(&file->record_lock);
	if (copy_to_user(u64_to_user_ptr(args.entries), entries,
			 args.nr * sizeof(*entries)) ||
	    copy_to_user(user, &args, sizeof(args)))
		ret = -EFAULT;
	kvfree(entries);
	return ret;
}

static void *test_owner_pointer(struct test_file *file, u32 owner)
{
	switch (owner) {
	case MIRROR_TEST_OWNER_SELF:
		return &test_owner;
	case MIRROR_TEST_OWNER_OTHER:
		return &test_other_owner;
	case MIRROR_TEST_OWNER_MIRROR:
		return &file->mirror;
	}
	return NULL;
}

static int test_invalidate(struct test_file *file, void __user *user)
{
	struct mirror_test_invalidate args;
	struct mmu_notifier_range range = {};
	struct mmu_interval_notifier *notifier = &file->mirror.notifier;
	unsigned long sequence;
	int ret;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	if (args.event >= ARRAY_SIZE(test_events) ||
	    args.owner > MIRROR_TEST_OWNER_MIRROR ||
	    (args.flags & MIRROR_TEST_BLOCKABLE &&
	     args.flags & MIRROR_TEST_LOCKED))
		return -EINVAL;
	ret = test_begin_use(file);
	if (ret)
		return ret;
	range.mm = notifier->mm;
	range.start = args.start;
	range.end = args.end;
	range.event = test_events[args.event];
	range.owner = test_owner_pointer(file, args.owner);
	if (args.flags & MIRROR_TEST_BLOCKABLE)
		range.flags = MMU_NOTIFIER_RANGE_BLOCKABLE;

	hmm_mirror_lock(&file->mirror);
	/* Odd, like all of them, and none that the kernel will get to soon. */
	sequence = hmm_mirror_sequence(&file->mirror) + BIT_ULL(40);
	if (!(args.flags & MIRROR_TEST_LOCKED))
		hmm_mirror_unlock(&file->mirror);
	args.refused = !notifier->ops->invalidate(notifier, &range, sequence);
	if (args.flags & MIRROR_TEST_LOCKED)
		hmm_mirror_unlock(&file->mirror);
	test_end_use(file);
	return copy_to_user(user, &args, sizeof(args)) ? -EFAULT : 0;
}

#ifdef CONFIG_DEVICE_MIGRATION
static int test_move_pages(struct test_file *file,
			   struct mirror_test_move *args)
{
	unsigned long src[MIRROR_TEST_MOVE_MAX] = {};
	unsigned long dst[MIRROR_TEST_MOVE_MAX] = {};
	struct migrate_vma migrate = {
		.src = src,
		.dst = dst,
		.start = args->start,
		.end = args->start + (args->npages << PAGE_SHIFT),
		.pgmap_owner = test_owner_pointer(file, args->owner),
		.flags = MIGRATE_VMA_SELECT_SYSTEM,
	};
	unsigned long i;
	int ret = -EINVAL;

	mmap_read_lock(current->mm);
	migrate.vma = vma_lookup(current->mm, args->start);
	if (migrate.vma)
		ret = migrate_vma_setup(&migrate);
	if (!ret) {
		for (i = 0; i < args->npages; i++)
			args->nr_isolated += !!(src[i] & MIGRATE_PFN_MIGRATE);
		migrate_vma_pages(&migrate);
		migrate_vma_finalize(&migrate);
	}
	mmap_read_unlock(current->mm);
	return ret;
}
#else
static int test_move_pages(struct test_file *file,
			   struct mirror_test_move *args)
{
	return -EOPNOTSUPP;
}
#endif

static int test_move(struct test_file *file, void __user *user)
{
	struct mirror_test_move args;
	int ret;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	if (!args.npages || args.npages > MIRROR_TEST_MOVE_MAX ||
	    !PAGE_ALIGNED(args.start))
		return -EINVAL;
	args.nr_isolated = 0;
	ret = test_begin_use(file);
	if (ret)
		return ret;
	ret = test_move_pages(file, &args);
	test_end_use(file);
	if (ret)
		return ret;
	return copy_to_user(user, &args, sizeof(args)) ? -EFAULT : 0;
}

static void test_count_holders(struct test_file *file, int change)
{
	spin_lock(&file->record_lock);
	file->record.holders += change;
	spin_unlock(&file->record_lock);
}

static int test_hold(struct test_file *file)
{
	int ret = test_begin_use(file);

	if (ret)
		return ret;
	hmm_mirror_lock(&file->mirror);
	test_count_holders(file, 1);
	/* Why it ends does not matter. */
	wait_for_completion_killable_timeout(&file->let_go, 10 * HZ);
	test_count_holders(file, -1);
	hmm_mirror_unlock(&file->mirror);
	test_end_use(file);
	return 0;
}

static int test_read_begin(struct test_file *file, unsigned long timeout_ms)
{
	unsigned long sequence;
	struct mm_struct *mm;
	int ret = test_begin_use(file);

	if (ret)
		return ret;
	mm = file->mirror.notifier.mm;
	ret = -ESRCH;
	if (mmget_not_zero(mm)) {
		ret = hmm_mirror_read_begin_timeout(&file->mirror,
						    msecs_to_jiffies(timeout_ms),
						    &sequence);
		mmput_async(mm);
	}
	test_end_use(file);
	return ret;
}

/* Like somebody who is stuck in a page fault. */
static int test_hold_mmap_lock(struct test_file *file)
{
	if (mmap_read_lock_killable(current->mm))
		return -EINTR;
	test_count_holders(file, 1);
	wait_for_completion_killable_timeout(&file->let_go, 10 * HZ);
	test_count_holders(file, -1);
	mmap_read_unlock(current->mm);
	return 0;
}

/* Like somebody who changes mappings, or gets stuck doing so. */
static int test_write_mmap_lock(struct test_file *file, unsigned int ms)
{
	if (mmap_write_lock_killable(current->mm))
		return -EINTR;
	test_count_holders(file, 1);
	if (ms)
		msleep(ms);
	else
		wait_for_completion_killable_timeout(&file->let_go, 30 * HZ);
	test_count_holders(file, -1);
	mmap_write_unlock(current->mm);
	return 0;
}

static int test_open(struct inode *inode, struct file *filp)
{
	struct test_file *file;

	file = kzalloc(sizeof(*file), GFP_KERNEL_ACCOUNT);
	if (!file)
		return -ENOMEM;
	file->log = kvcalloc(MIRROR_TEST_LOG_MAX, sizeof(*file->log),
			     GFP_KERNEL_ACCOUNT);
	if (!file->log) {
		kfree(file);
		return -ENOMEM;
	}
	init_rwsem(&file->lock);
	init_completion(&file->let_go);
	init_completion(&file->gone);
	spin_lock_init(&file->record_lock);
	xa_init(&file->shadow);
	filp->private_data = file;
	return 0;
}

static int test_release(struct inode *inode, struct file *filp)
{
	struct test_file *file = filp->private_data;

	if (file->has_mirror)
		test_end_mirror(file);
	if (file->leaving)
		wait_for_completion(&file->gone);
	/* Nobody can read the record any more. */
	WARN_ON(file->record.violation == MIRROR_TEST_STILL_RUNNING ||
		file->record.violation == MIRROR_TEST_NOT_REGISTERED);
	xa_destroy(&file->shadow);
	kvfree(file->log);
	kfree(file);
	return 0;
}

static long test_ioctl(struct file *filp, unsigned int command,
		       unsigned long argument)
{
	struct test_file *file = filp->private_data;
	void __user *user = (void __user *)argument;

	switch (command) {
	case MIRROR_TEST_REGISTER:
		return test_register(file, user);
	case MIRROR_TEST_UNREGISTER:
		return test_unregister(file);
	case MIRROR_TEST_POPULATE:
		return test_populate(file, user);
	case MIRROR_TEST_READ:
		return test_read(file, user);
	case MIRROR_TEST_KNOBS:
		return test_set_knobs(file, user);
	case MIRROR_TEST_RECORD:
		return test_get_record(file, user);
	case MIRROR_TEST_LOG:
		return test_take_log(file, user);
	case MIRROR_TEST_INVALIDATE:
		return test_invalidate(file, user);
	case MIRROR_TEST_MOVE:
		return test_move(file, user);
	case MIRROR_TEST_HOLD:
		return test_hold(file);
	case MIRROR_TEST_UNREGISTER_ASYNC:
		return test_unregister_async(file);
	case MIRROR_TEST_READ_BEGIN:
		return test_read_begin(file, argument);
	case MIRROR_TEST_HOLD_MMAP_LOCK:
		return test_hold_mmap_lock(file);
	case MIRROR_TEST_WRITE_MMAP_LOCK:
		return test_write_mmap_lock(file, argument);
	case MIRROR_TEST_LET_GO:
		complete(&file->let_go);
		return 0;
	}
	return -ENOTTY;
}

static const struct file_operations test_fops = {
	.owner = THIS_MODULE,
	.open = test_open,
	.release = test_release,
	.unlocked_ioctl = test_ioctl,
};

static struct miscdevice test_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = MIRROR_TEST_MODULE,
	.fops = &test_fops,
	.mode = 0600,
};

static int __init test_init(void)
{
	return misc_register(&test_device);
}
module_init(test_init);

static void __exit test_exit(void)
{
	misc_deregister(&test_device);
	/* The last test_gone() may have woken somebody, but not returned yet. */
	hmm_mirror_unregister_barrier();
}
module_exit(test_exit);

MODULE_DESCRIPTION("A mirror with an xarray for a device, for the kselftests");
MODULE_LICENSE("GPL");
