/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The interface between the kselftests and hmm_range_fault_test.ko. It is not a stable
 * ABI: module and tests are built from one tree.
 *
 * Words, requests and masks are in the format of hmm_mirror.h, which user space cannot
 * include: the bits are repeated here and range_fault_test.c asserts that they are the
 * same.
 */
#ifndef RANGE_FAULT_TEST_H
#define RANGE_FAULT_TEST_H

#include <linux/const.h>
#include <linux/ioctl.h>
#include <linux/types.h>

#define RANGE_FAULT_TEST_DEVICE		"/dev/hmm_range_fault_test"

#define RANGE_FAULT_TEST_VALID		_BITULL(63)
#define RANGE_FAULT_TEST_WRITE		_BITULL(62)
#define RANGE_FAULT_TEST_ERROR		_BITULL(61)
#define RANGE_FAULT_TEST_DMA_MAPPED	_BITULL(60)
#define RANGE_FAULT_TEST_P2PDMA		_BITULL(59)
#define RANGE_FAULT_TEST_P2PDMA_BUS	_BITULL(58)
#define RANGE_FAULT_TEST_ORDER_SHIFT	53
#define RANGE_FAULT_TEST_ORDER_MASK	(0x1fULL << 53)
#define RANGE_FAULT_TEST_REQ_FAULT	_BITULL(52)
#define RANGE_FAULT_TEST_REQ_WRITE	_BITULL(51)
#define RANGE_FAULT_TEST_PFN_MASK	0x1ffffffffffULL

/* What one call may make the module allocate: words for 1 GiB of 4K pages. */
#define RANGE_FAULT_TEST_MAX_WORDS	262144
#define RANGE_FAULT_TEST_MAX_EXTENTS	65536

/* range_fault_test_range.call: the function under test */
enum range_fault_test_call {
	RANGE_FAULT_TEST_PAGES			= 0,
	RANGE_FAULT_TEST_PAGES_UNLOCKED		= 1,
	RANGE_FAULT_TEST_EXTENTS		= 2,
	RANGE_FAULT_TEST_EXTENTS_UNLOCKED	= 3,
	/* The kernel's own hmm_range_fault(); EOPNOTSUPP where it has none. */
	RANGE_FAULT_TEST_KERNEL			= 4,
};

/* Bits of range_fault_test_range.flags */
/*
 * Subscribe to [interval_start, interval_start + interval_length) and not to
 * the range itself.
 */
#define RANGE_FAULT_TEST_INTERVAL	_BITUL(0)
/* Report the first EBUSY of the function under test; do not call it again. */
#define RANGE_FAULT_TEST_NO_RETRY	_BITUL(1)
/*
 * RANGE_FAULT_TEST_PAGES only: call the kernel's own function first, with the
 * same request, and both under one mmap_lock. Its answer goes to kernel_words
 * and kernel_error.
 */
#define RANGE_FAULT_TEST_COMPARE	_BITUL(2)
/* On behalf of the owner of /dev/hmm_dmirror0's memory. */
#define RANGE_FAULT_TEST_OWNER		_BITUL(3)

/**
 * struct range_fault_test_extent - struct hmm_mirror_extent
 * @addr:	first virtual address
 * @npages:	number of base pages
 * @pfn:	page frame number of the first page
 * @flags:	RANGE_FAULT_TEST_VALID, _WRITE, _ERROR
 * @order:	order of the mapping
 * @node:	NUMA node
 * @entry:	enum hmm_mirror_entry, numbered as enum hmm_mirror_kind
 * @reserved:	zero
 */
struct range_fault_test_extent {
	__u64 addr;
	__u64 npages;
	__u64 pfn;
	__u64 flags;
	__u32 order;
	__s32 node;
	__u32 entry;
	__u32 reserved;
};

/**
 * struct range_fault_test_range - RANGE_FAULT_TEST_RANGE: one request
 * @call:	in: enum range_fault_test_call
 * @flags:	in: RANGE_FAULT_TEST_INTERVAL, ...
 * @start:	in: as given to the function under test, not checked before
 * @end:	in: likewise
 * @default_flags: in: likewise
 * @pfn_flags_mask: in: likewise
 * @words:	in: pointer to @nr_words words, in and out; may be NULL for the
 *		extent calls
 * @kernel_words: in: pointer to @nr_words words, with RANGE_FAULT_TEST_COMPARE
 * @extents:	in: pointer to @nr_extents extents, for the extent calls
 * @interval_start: in: see RANGE_FAULT_TEST_INTERVAL
 * @interval_length: in: see RANGE_FAULT_TEST_INTERVAL
 * @nr_words:	in: at least the pages of the range
 * @nr_extents:	in: capacity; out: extents filled
 * @timeout_ms:	in: limit of an unlocked call, or of the caller's retries; 0
 *		for no limit
 * @max_retries: in: how often a call that said EBUSY, or whose answer is stale,
 *		is made again; 0 for no limit
 * @error:	out: errno of the call (positive), 0 for success
 * @kernel_error: out: the same of the kernel's own function
 * @caller_retries: out: how often the call was made again
 * @stale:	out: the last answer had been invalidated already
 * @fault_addr:	out: as hmm_mirror_range.fault_addr
 * @next:	out: as hmm_mirror_extents.next
 * @nr_faults:	out: sums over all calls made
 * @nr_walks:	out: likewise
 * @nr_restarts: out: likewise
 * @nr_slots:	out: likewise
 */
struct range_fault_test_range {
	__u32 call;
	__u32 flags;
	__u64 start;
	__u64 end;
	__u64 default_flags;
	__u64 pfn_flags_mask;
	__u64 words;
	__u64 kernel_words;
	__u64 extents;
	__u64 interval_start;
	__u64 interval_length;
	__u32 nr_words;
	__u32 nr_extents;
	__u32 timeout_ms;
	__u32 max_retries;

	__u32 error;
	__u32 kernel_error;
	__u32 caller_retries;
	__u32 stale;
	__u64 fault_addr;
	__u64 next;
	__u64 nr_faults;
	__u64 nr_walks;
	__u64 nr_restarts;
	__u64 nr_slots;
};

/**
 * struct range_fault_test_register - RANGE_FAULT_TEST_REGISTER: begin a mirror
 * @start:	in: passed to hmm_mirror_register()
 * @length:	in: likewise; at most RANGE_FAULT_TEST_MAX_WORDS pages
 * @map_error:	in: errno (positive) that the map callback shall return ...
 * @map_error_after: in: ... after so many calls that succeed
 * @error:	out: errno (positive) of hmm_mirror_register()
 * @reserved:	zero
 *
 * One mirror per open file (EBUSY), of the caller's address space.
 */
struct range_fault_test_register {
	__u64 start;
	__u64 length;
	__u32 map_error;
	__u32 map_error_after;
	__u32 error;
	__u32 reserved;
};

/**
 * struct range_fault_test_populate - RANGE_FAULT_TEST_POPULATE
 * @start:	in: struct hmm_mirror_request
 * @end:	in: likewise
 * @default_flags: in: likewise
 * @timeout_ms:	in: 0 for no limit
 * @error:	out: errno (positive) of hmm_mirror_populate()
 * @next:	out: struct hmm_mirror_request
 * @fault_addr:	out: likewise
 * @nr_faults:	out: likewise
 * @nr_restarts: out: likewise
 */
struct range_fault_test_populate {
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
 * struct range_fault_test_read - RANGE_FAULT_TEST_READ: be the device
 * @start:	in: first address, inside the mirror
 * @npages:	in: at most RANGE_FAULT_TEST_READ_MAX
 * @words:	in: pointer to @npages words: the mirror's page table
 * @data:	in: pointer to @npages words: the first 8 bytes of each page the
 *		table has VALID, read through that table; 0 of others
 *
 * Table and memory are read in one section of the mirror's lock, so a page that
 * is VALID there has not been given back to the kernel.
 */
struct range_fault_test_read {
	__u64 start;
	__u64 npages;
	__u64 words;
	__u64 data;
};

#define RANGE_FAULT_TEST_READ_MAX	4096

/* range_fault_test_record.violation: the first rule that a callback saw broken */
enum range_fault_test_violation {
	RANGE_FAULT_TEST_NO_VIOLATION		= 0,
	/* map: extents overlap, leave gaps, are empty or in descending order */
	RANGE_FAULT_TEST_EXTENTS_ORDER		= 1,
	/* map: an extent, or unmap: the interval reaches out of the mirror */
	RANGE_FAULT_TEST_OUT_OF_MIRROR		= 2,
	/* map: VALID and ERROR, or WRITE without VALID, or other bits */
	RANGE_FAULT_TEST_EXTENT_FLAGS		= 3,
	/* map: no extent at all */
	RANGE_FAULT_TEST_NO_EXTENTS		= 4,
	/* release: a second time */
	RANGE_FAULT_TEST_RELEASED_TWICE		= 5,
	/* release: pages are still mapped */
	RANGE_FAULT_TEST_RELEASED_MAPPED	= 6,
	/* map: after release */
	RANGE_FAULT_TEST_MAP_AFTER_RELEASE	= 7,
	/* any: after hmm_mirror_unregister() returned */
	RANGE_FAULT_TEST_NOT_REGISTERED		= 8,
};

#define RANGE_FAULT_TEST_RECORD_EVENTS	32

/**
 * struct range_fault_test_record - RANGE_FAULT_TEST_RECORD: what callbacks saw
 * @nr_map:	calls of map
 * @nr_map_extents: extents they were given
 * @nr_unmap:	calls of unmap
 * @nr_unmap_kind: the same, by enum hmm_mirror_event_kind
 * @nr_release:	calls of release
 * @violation:	enum range_fault_test_violation, the first seen
 * @nr_events:	elements of @events that are filled
 * @events:	the last calls of unmap, oldest first
 *
 * Survives RANGE_FAULT_TEST_UNREGISTER, is reset by RANGE_FAULT_TEST_REGISTER.
 */
struct range_fault_test_record {
	__u64 nr_map;
	__u64 nr_map_extents;
	__u64 nr_unmap;
	__u64 nr_unmap_kind[9];
	__u64 nr_release;
	__u32 violation;
	__u32 nr_events;
	struct {
		__u64 start;
		__u64 end;
		__u64 sequence;
		__u32 kind;
		__u32 reserved;
	} events[RANGE_FAULT_TEST_RECORD_EVENTS];
};

/*
 * mmap() of the device, MAP_SHARED; the offset, in pages, says what it gives:
 * MIXED: exactly so many pages of a VM_MIXEDMAP mapping: a page of memory, an address
 *	that has no struct page, and nothing
 * SHADOW_STACK: so many pages of memory or fewer, writable, that say they are a shadow
 *	stack, with a CPU that has none too. EOPNOTSUPP: the kernel has none.
 * SPECIAL_PMD: exactly one huge page of a VM_MIXEDMAP mapping of addresses that have no
 *	struct page. EOPNOTSUPP: the kernel has no such entries.
 * FOUND: exactly so many pages of a VM_MIXEDMAP mapping, in two halves. The entries of
 *	the first are special and equal, of one address that has no struct page. For
 *	each but FOUND_NONE the mapping's operations know of a page, which the second
 *	half maps; they tell only a thread that is in RANGE_FAULT_TEST_RANGE of the same
 *	open file. EOPNOTSUPP: the kernel does not ask.
 */
#define RANGE_FAULT_TEST_MMAP_MIXED		0
#define RANGE_FAULT_TEST_MMAP_SHADOW_STACK	1
#define RANGE_FAULT_TEST_MMAP_SPECIAL_PMD	2
#define RANGE_FAULT_TEST_MMAP_FOUND		3
#define RANGE_FAULT_TEST_MMAP_PAGES		3
#define RANGE_FAULT_TEST_SHADOW_STACK_PAGES	16
#define RANGE_FAULT_TEST_FOUND_PAGES		8
#define RANGE_FAULT_TEST_FOUND_NONE		2

#define RANGE_FAULT_TEST_IOCTL_TYPE	0xE2
#define RANGE_FAULT_TEST_RANGE \
	_IOWR(RANGE_FAULT_TEST_IOCTL_TYPE, 0x80, struct range_fault_test_range)
#define RANGE_FAULT_TEST_REGISTER \
	_IOWR(RANGE_FAULT_TEST_IOCTL_TYPE, 0x81, struct range_fault_test_register)
#define RANGE_FAULT_TEST_UNREGISTER \
	_IO(RANGE_FAULT_TEST_IOCTL_TYPE, 0x82)
#define RANGE_FAULT_TEST_POPULATE \
	_IOWR(RANGE_FAULT_TEST_IOCTL_TYPE, 0x83, struct range_fault_test_populate)
#define RANGE_FAULT_TEST_READ \
	_IOW(RANGE_FAULT_TEST_IOCTL_TYPE, 0x84, struct range_fault_test_read)
#define RANGE_FAULT_TEST_RECORD \
	_IOR(RANGE_FAULT_TEST_IOCTL_TYPE, 0x85, struct range_fault_test_record)
/*
 * Whether the answer to the last RANGE_FAULT_TEST_RANGE of this open file has
 * been invalidated since.
 */
#define RANGE_FAULT_TEST_IS_STALE \
	_IOR(RANGE_FAULT_TEST_IOCTL_TYPE, 0x86, __u32)

#endif /* RANGE_FAULT_TEST_H */
