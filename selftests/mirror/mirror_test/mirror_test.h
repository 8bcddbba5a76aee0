/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The interface between the kselftests and hmm_mirror_test.ko. It is not a stable ABI:
 * module and tests are built from one tree.
 */
#ifndef MIRROR_TEST_H
#define MIRROR_TEST_H

#include <linux/const.h>
#include <linux/ioctl.h>
#include <linux/types.h>

#define MIRROR_TEST_DEVICE		"/dev/hmm_mirror_test"
#define MIRROR_TEST_MODULE		"hmm_mirror_test"

/* Words of the shadow page table, and flags of requests, as in hmm_mirror.h. */
#define MIRROR_TEST_VALID		_BITULL(63)
#define MIRROR_TEST_WRITE		_BITULL(62)
#define MIRROR_TEST_ERROR		_BITULL(61)
#define MIRROR_TEST_REQ_FAULT		_BITULL(52)
#define MIRROR_TEST_REQ_WRITE		_BITULL(51)
#define MIRROR_TEST_PFN_MASK		0x1ffffffffffULL

/* Bits of mirror_test_register.flags */
#define MIRROR_TEST_NO_UNMAP		_BITUL(0) /* ops without unmap */
#define MIRROR_TEST_NO_MAP		_BITUL(1) /* ops without map */
#define MIRROR_TEST_MIGRATE		_BITUL(2) /* ops with migrate */

/**
 * struct mirror_test_register - MIRROR_TEST_REGISTER: hmm_mirror_register()
 * @start:	in: passed on, unchecked
 * @length:	in: likewise
 * @flags:	in: MIRROR_TEST_NO_UNMAP, ...
 * @error:	out: errno (positive) of hmm_mirror_register(), 0 for success
 *
 * One mirror per open file (EBUSY), of the caller's address space. All mirrors
 * have the same owner of device-private memory.
 */
struct mirror_test_register {
	__u64 start;
	__u64 length;
	__u32 flags;
	__u32 error;
};

/**
 * struct mirror_test_populate - MIRROR_TEST_POPULATE: hmm_mirror_populate()
 * @start:	in: struct hmm_mirror_request, unchecked
 * @end:	in: likewise
 * @default_flags: in: likewise
 * @timeout_ms:	in: 0 for no limit
 * @error:	out: errno (positive) of hmm_mirror_populate(), 0 for success
 * @next:	out: struct hmm_mirror_request
 * @fault_addr:	out: likewise
 * @nr_faults:	out: likewise
 * @nr_restarts: out: likewise
 *
 * Any process that has the file may call it.
 */
struct mirror_test_populate {
	__u64 start;
	__u64 end;
	__u64 default_flags;
	__u32 timeout_ms;
	__u32 error;
	__u64 next;
	__u64 fault_addr;
	__u64 nr_faults;
	__u64 nr_restarts;
};

/**
 * struct mirror_test_read - MIRROR_TEST_READ: what the device has
 * @start:	in: first address
 * @npages:	in: at most MIRROR_TEST_READ_MAX
 * @words:	in: pointer to @npages words: those of the shadow page table, 0
 *		where it has nothing
 *
 * Read in one section of the mirror's lock.
 */
struct mirror_test_read {
	__u64 start;
	__u64 npages;
	__u64 words;
};

#define MIRROR_TEST_READ_MAX	16384

/**
 * struct mirror_test_knobs - MIRROR_TEST_KNOBS: how the callbacks behave
 * @map_error:	errno (positive) that map returns, 0 for none ...
 * @map_error_after: ... after so many calls that succeed
 * @map_delay_us: how long map sleeps
 * @unmap_delay_us: how long unmap sleeps before it does anything
 * @skip_unmaps: so many calls of unmap that would take something back do not: a
 *		driver with a bug
 * @reserved:	zero
 */
struct mirror_test_knobs {
	__u32 map_error;
	__u32 map_error_after;
	__u32 map_delay_us;
	__u32 unmap_delay_us;
	__u32 skip_unmaps;
	__u32 reserved;
};

/* mirror_test_record.violation: the first rule that a callback saw broken */
enum mirror_test_violation {
	MIRROR_TEST_NO_VIOLATION	= 0,
	/* map: extents overlap, leave gaps, are empty, or there are none */
	MIRROR_TEST_EXTENTS_ORDER	= 1,
	/* map: an extent, unmap, migrate: the interval is not in the mirror */
	MIRROR_TEST_OUT_OF_MIRROR	= 2,
	/* map: VALID and ERROR, or WRITE without VALID, or other bits */
	MIRROR_TEST_EXTENT_FLAGS	= 3,
	/* release: pages are still mapped */
	MIRROR_TEST_RELEASED_MAPPED	= 4,
	/* any: after release */
	MIRROR_TEST_AFTER_RELEASE	= 5,
	/* any: still running when hmm_mirror_unregister() returned */
	MIRROR_TEST_STILL_RUNNING	= 6,
	/* any: after hmm_mirror_unregister() returned */
	MIRROR_TEST_NOT_REGISTERED	= 7,
	/* any: while another one runs */
	MIRROR_TEST_TWO_CALLBACKS	= 8,
	/* unmap, migrate: the sequence number is less than it was */
	MIRROR_TEST_SEQUENCE_BACK	= 9,
};

/**
 * struct mirror_test_record - MIRROR_TEST_RECORD: what has happened
 * @nr_map:	calls of map that succeeded
 * @nr_unmap:	calls of unmap
 * @nr_migrate:	calls of migrate
 * @nr_release:	calls of release
 * @nr_shadow:	pages in the shadow page table
 * @nr_populates: calls of hmm_mirror_populate() that have returned
 * @populate_error: errno (positive) of the last one
 * @skipped_unmaps: calls of unmap that were skipped
 * @violation:	enum mirror_test_violation, the first seen
 * @holders:	threads that MIRROR_TEST_HOLD has in the mirror's lock, or that
 *		MIRROR_TEST_HOLD_MMAP_LOCK or MIRROR_TEST_WRITE_MMAP_LOCK has in mmap_lock
 * @gone:	MIRROR_TEST_UNREGISTER_ASYNC has come to its end
 * @reserved:	zero
 *
 * Survives MIRROR_TEST_UNREGISTER, is reset by MIRROR_TEST_REGISTER.
 */
struct mirror_test_record {
	__u64 nr_map;
	__u64 nr_unmap;
	__u64 nr_migrate;
	__u64 nr_release;
	__u64 nr_shadow;
	__u64 nr_populates;
	__u32 populate_error;
	__u32 skipped_unmaps;
	__u32 violation;
	__u32 holders;
	__u32 gone;
	__u32 reserved;
};

/* mirror_test_entry.callback */
enum mirror_test_callback {
	MIRROR_TEST_CALLED_MAP		= 0, /* one entry for each extent */
	MIRROR_TEST_CALLED_UNMAP	= 1,
	MIRROR_TEST_CALLED_MIGRATE	= 2,
	MIRROR_TEST_CALLED_RELEASE	= 3,
};

/**
 * struct mirror_test_entry - a line of the log of callbacks
 * @callback:	enum mirror_test_callback
 * @event:	unmap: numbered as enum hmm_mirror_event_kind
 * @call:	counts calls: the extents of one call of map have the same
 * @entry:	map: enum hmm_mirror_entry, numbered as enum hmm_mirror_kind
 * @start:	first address
 * @end:	first address past it
 * @word:	map: of the first page, 0 if not VALID
 * @sequence:	sequence number of the mirror
 */
struct mirror_test_entry {
	__u32 callback;
	__u32 event;
	__u32 call;
	__u32 entry;
	__u64 start;
	__u64 end;
	__u64 word;
	__u64 sequence;
};

#define MIRROR_TEST_LOG_MAX	4096

/**
 * struct mirror_test_log - MIRROR_TEST_LOG: take the log
 * @entries:	in: pointer to MIRROR_TEST_LOG_MAX entries
 * @nr:		out: entries filled
 * @lost:	out: entries that found no room
 *
 * Empties the log.
 */
struct mirror_test_log {
	__u64 entries;
	__u32 nr;
	__u32 lost;
};

/* mirror_test_invalidate.owner */
enum mirror_test_owner {
	MIRROR_TEST_OWNER_NONE		= 0,
	MIRROR_TEST_OWNER_SELF		= 1, /* owner of the device memory */
	MIRROR_TEST_OWNER_OTHER		= 2,
	MIRROR_TEST_OWNER_MIRROR	= 3, /* the mirror, for EXCLUSIVE */
};

/* Bits of mirror_test_invalidate.flags */
#define MIRROR_TEST_BLOCKABLE	_BITUL(0)
#define MIRROR_TEST_LOCKED	_BITUL(1) /* with the mirror's lock held */

/**
 * struct mirror_test_invalidate - MIRROR_TEST_INVALIDATE: be the kernel
 * @start:	in: first address
 * @end:	in: first address past it
 * @event:	in: numbered as enum hmm_mirror_event_kind, up to EXCLUSIVE
 * @owner:	in: enum mirror_test_owner
 * @flags:	in: MIRROR_TEST_BLOCKABLE, ...
 * @refused:	out: the mirror's notifier returned false
 *
 * Calls what the kernel calls on an invalidation, directly. The function that
 * does all of it, mmu_notifier_invalidate_range_start_nonblock(), is not
 * exported, and the only caller that must not block is the OOM reaper.
 */
struct mirror_test_invalidate {
	__u64 start;
	__u64 end;
	__u32 event;
	__u32 owner;
	__u32 flags;
	__u32 refused;
};

/**
 * struct mirror_test_move - MIRROR_TEST_MOVE: begin a migrate_vma and give it up
 * @start:	in: first address
 * @npages:	in: at most MIRROR_TEST_MOVE_MAX, in one mapping
 * @owner:	in: enum mirror_test_owner, the pgmap_owner
 * @nr_isolated: out: pages that could have been moved
 */
struct mirror_test_move {
	__u64 start;
	__u64 npages;
	__u32 owner;
	__u32 nr_isolated;
};

#define MIRROR_TEST_MOVE_MAX	32

#define MIRROR_TEST_IOCTL_TYPE	0xE2
#define MIRROR_TEST_REGISTER \
	_IOWR(MIRROR_TEST_IOCTL_TYPE, 0xA0, struct mirror_test_register)
#define MIRROR_TEST_UNREGISTER	_IO(MIRROR_TEST_IOCTL_TYPE, 0xA1)
#define MIRROR_TEST_POPULATE \
	_IOWR(MIRROR_TEST_IOCTL_TYPE, 0xA2, struct mirror_test_populate)
#define MIRROR_TEST_READ \
	_IOW(MIRROR_TEST_IOCTL_TYPE, 0xA3, struct mirror_test_read)
#define MIRROR_TEST_KNOBS \
	_IOW(MIRROR_TEST_IOCTL_TYPE, 0xA4, struct mirror_test_knobs)
#define MIRROR_TEST_RECORD \
	_IOR(MIRROR_TEST_IOCTL_TYPE, 0xA5, struct mirror_test_record)
#define MIRROR_TEST_LOG \
	_IOWR(MIRROR_TEST_IOCTL_TYPE, 0xA6, struct mirror_test_log)
#define MIRROR_TEST_INVALIDATE \
	_IOWR(MIRROR_TEST_IOCTL_TYPE, 0xA7, struct mirror_test_invalidate)
#define MIRROR_TEST_MOVE \
	_IOWR(MIRROR_TEST_IOCTL_TYPE, 0xA8, struct mirror_test_move)
/* Sits in the mirror's lock until MIRROR_TEST_LET_GO, or for ten seconds. */
#define MIRROR_TEST_HOLD	_IO(MIRROR_TEST_IOCTL_TYPE, 0xA9)
#define MIRROR_TEST_LET_GO	_IO(MIRROR_TEST_IOCTL_TYPE, 0xAA)
/* The same with the caller's mmap_lock, for reading; needs no mirror. */
#define MIRROR_TEST_HOLD_MMAP_LOCK _IO(MIRROR_TEST_IOCTL_TYPE, 0xAB)
/*
 * And for writing. The argument says for how many milliseconds; 0 is until
 * MIRROR_TEST_LET_GO, or for thirty seconds.
 */
#define MIRROR_TEST_WRITE_MMAP_LOCK _IO(MIRROR_TEST_IOCTL_TYPE, 0xAE)

/* hmm_mirror_unregister_async(); mirror_test_record.gone says when it has ended. */
#define MIRROR_TEST_UNREGISTER_ASYNC _IO(MIRROR_TEST_IOCTL_TYPE, 0xAC)
/*
 * hmm_mirror_read_begin_timeout(); the argument is the time limit in milliseconds, the
 * errno that of the function.
 */
#define MIRROR_TEST_READ_BEGIN	_IO(MIRROR_TEST_IOCTL_TYPE, 0xAD)

#endif /* MIRROR_TEST_H */
