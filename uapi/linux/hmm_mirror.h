/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The ioctl ABI of /dev/hmm_mirror.
 *
 * Every argument struct begins with its own size. The kernel accepts a longer
 * struct whose extra bytes are zero and a shorter one down to the first
 * published size, so that programs and modules of different ages work together.
 * Unknown flags and reserved fields that are not zero are refused with EINVAL; a
 * struct that is longer than a page, or has more than the kernel knows, with E2BIG.
 *
 * An open file is bound to the address space of the process that opened it: a
 * call from any other address space (the file was passed on, or inherited over
 * fork() or execve()) fails with EPERM. So only the process that opened the file
 * can read what it reports, whichever process it is attached to.
 */
#ifndef _UAPI_LINUX_HMM_MIRROR_H
#define _UAPI_LINUX_HMM_MIRROR_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define HMM_MIRROR_ABI_VERSION	1

#define HMM_MIRROR_IOCTL_TYPE	0xE2

/* The size travels in the struct, so it is not part of the number. */
#define HMM_MIRROR_INFO		_IO(HMM_MIRROR_IOCTL_TYPE, 0x00)
#define HMM_MIRROR_ATTACH	_IO(HMM_MIRROR_IOCTL_TYPE, 0x01)
#define HMM_MIRROR_RANGE	_IO(HMM_MIRROR_IOCTL_TYPE, 0x02)
#define HMM_MIRROR_WATCH	_IO(HMM_MIRROR_IOCTL_TYPE, 0x03)
#define HMM_MIRROR_UNWATCH	_IO(HMM_MIRROR_IOCTL_TYPE, 0x04)
#define HMM_MIRROR_STATS	_IO(HMM_MIRROR_IOCTL_TYPE, 0x05)

/* Bits of hmm_mirror_info.features: what this kernel and this file can do. */
#define HMM_MIRROR_FEATURE_THP			0x1ULL
#define HMM_MIRROR_FEATURE_HUGETLB		0x2ULL
#define HMM_MIRROR_FEATURE_USERFAULTFD		0x4ULL
#define HMM_MIRROR_FEATURE_DEVICE_PRIVATE	0x8ULL
#define HMM_MIRROR_FEATURE_NUMA			0x10ULL
#define HMM_MIRROR_FEATURE_SWAP			0x20ULL
#define HMM_MIRROR_FEATURE_MIGRATION		0x40ULL
#define HMM_MIRROR_FEATURE_MEMORY_FAILURE	0x80ULL
/* The kernel has its own hmm_range_fault() too. */
#define HMM_MIRROR_FEATURE_KERNEL_HMM		0x100ULL
/* The opener of this file had CAP_SYS_ADMIN: extents carry PFNs. */
#define HMM_MIRROR_FEATURE_PFNS_VISIBLE		0x200ULL
/* UFFDIO_POISON */
#define HMM_MIRROR_FEATURE_POISON_MARKER	0x400ULL
/* MADV_GUARD_INSTALL */
#define HMM_MIRROR_FEATURE_GUARD_MARKER		0x800ULL
/* This CPU and kernel have shadow stacks of user space. */
#define HMM_MIRROR_FEATURE_SHADOW_STACK		0x1000ULL
/* memfd_secret(), unless the kernel's command line disables it */
#define HMM_MIRROR_FEATURE_SECRETMEM		0x2000ULL
/* Huge pages of device-private memory, mapped as such */
#define HMM_MIRROR_FEATURE_DEVICE_PRIVATE_HUGE	0x4000ULL

/**
 * struct hmm_mirror_info - HMM_MIRROR_INFO: what this module and kernel can do
 * @size:	in: size of this struct; out: size the kernel knows
 * @abi_version: out: HMM_MIRROR_ABI_VERSION of the module
 * @features:	out: HMM_MIRROR_FEATURE_*
 * @task_size:	out: first address that is never mapped in this process
 * @page_size:	out: bytes in a base page
 * @pmd_order:	out: order, in base pages, of a PMD mapping; 0 if the kernel
 *		makes none
 * @pud_order:	out: the same of a PUD mapping
 * @max_watches: out: watches one open file may have
 * @max_events:	out: invalidation events one open file queues
 * @reserved:	zero
 * @max_watches_per_user: out: watches that all files opened by one user may have,
 *		including those that have ended but that the kernel keeps until a
 *		running invalidation ends
 * @max_events_per_user: out: invalidation events that all these files queue; each
 *		file that has, or has had, watches counts as @max_events
 */
struct hmm_mirror_info {
	__u32 size;
	__u32 abi_version;
	__u64 features;
	__u64 task_size;
	__u32 page_size;
	__u32 pmd_order;
	__u32 pud_order;
	__u32 max_watches;
	__u32 max_events;
	__u32 reserved;
	__u32 max_watches_per_user;
	__u32 max_events_per_user;
};

/**
 * struct hmm_mirror_attach - HMM_MIRROR_ATTACH: mirror another process
 * @size:	size of this struct
 * @pid:	process to mirror, as the caller's PID namespace numbers it
 * @flags:	zero
 * @reserved:	zero
 *
 * Needs CAP_SYS_PTRACE in the initial user namespace (EPERM). Nothing else is
 * checked: neither Yama nor another security module has a say, and a process that
 * drops the capability later stays attached. EBUSY while the file has watches,
 * ESRCH if there is no such process, EINVAL if it has no address space (a kernel
 * thread or a zombie; it has one if only its main thread has exited).
 */
struct hmm_mirror_attach {
	__u32 size;
	__s32 pid;
	__u32 flags;
	__u32 reserved;
};

/* Bits of hmm_mirror_extent_info.flags */
#define HMM_MIRROR_EXTENT_VALID		0x1	/* mapped, readable */
#define HMM_MIRROR_EXTENT_WRITE		0x2	/* mapped writable */
#define HMM_MIRROR_EXTENT_ERROR		0x4	/* can never be mirrored */

/* hmm_mirror_extent_info.kind: what the page table holds there */
enum hmm_mirror_kind {
	HMM_MIRROR_KIND_NONE		 = 0,	/* nothing there yet */
	HMM_MIRROR_KIND_PRESENT		 = 1,	/* a page of memory */
	HMM_MIRROR_KIND_ZERO		 = 2,	/* the zero page */
	HMM_MIRROR_KIND_SWAP		 = 3,	/* swapped out */
	HMM_MIRROR_KIND_MIGRATION	 = 4,	/* being migrated */
	HMM_MIRROR_KIND_DEVICE_PRIVATE	 = 5,	/* in a device's own memory */
	HMM_MIRROR_KIND_DEVICE_EXCLUSIVE = 6,	/* a device has exclusive access */
	HMM_MIRROR_KIND_PROT_NONE	 = 7,	/* NUMA hint */
	HMM_MIRROR_KIND_UFFD_WP		 = 8,	/* userfaultfd-wp marker */
	HMM_MIRROR_KIND_HWPOISON	 = 9,	/* hardware memory error */
	HMM_MIRROR_KIND_POISON		 = 10,	/* poison marker */
	HMM_MIRROR_KIND_GUARD		 = 11,	/* guard region */
	HMM_MIRROR_KIND_SPECIAL		 = 12,	/* no struct page behind it */
	HMM_MIRROR_KIND_NO_VMA		 = 13,	/* address is not mapped */
	HMM_MIRROR_KIND_UNREADABLE	 = 14,	/* mapping without PROT_READ */
	HMM_MIRROR_KIND_IO		 = 15,	/* VM_IO or VM_PFNMAP mapping */
	HMM_MIRROR_KIND_SECRETMEM	 = 16,	/* memfd_secret() mapping */
	HMM_MIRROR_KIND_BAD		 = 17,	/* corrupt page table entry */
};

/**
 * struct hmm_mirror_extent_info - a run of pages that are alike
 * @addr:	first virtual address
 * @npages:	number of base pages
 * @pfn:	page frame number of the first page if HMM_MIRROR_EXTENT_VALID
 *		is set, the others follow it; 0 unless the file's opener had
 *		CAP_SYS_ADMIN, and then the pages need not be contiguous
 * @flags:	HMM_MIRROR_EXTENT_*
 * @kind:	enum hmm_mirror_kind
 * @order:	order, in base pages, at which the page table maps them
 * @node:	NUMA node of the memory, -1 where there is none
 * @reserved:	zero
 * @reserved_2:	zero
 *
 * If PFNs are hidden, so is physical contiguity: extents then end only where one
 * of the other fields changes.
 */
struct hmm_mirror_extent_info {
	__u64 addr;
	__u64 npages;
	__u64 pfn;
	__u32 flags;
	__u16 kind;
	__u8  order;
	__u8  reserved;
	__s32 node;
	__u32 reserved_2;
};

/* Bits of hmm_mirror_range_args.flags; none asks for a snapshot. */
#define HMM_MIRROR_RANGE_FAULT	0x1	/* fault in what is missing */
#define HMM_MIRROR_RANGE_WRITE	0x2	/* ... for writing */

/**
 * struct hmm_mirror_range_args - HMM_MIRROR_RANGE: read page tables of a range
 * @size:	in: size of this struct
 * @flags:	in: HMM_MIRROR_RANGE_*
 * @start:	in: first address, page aligned
 * @end:	in: first address past the range, page aligned
 * @extents:	in: pointer to an array of struct hmm_mirror_extent_info
 * @nr_extents:	in: elements of @extents; may be 0 (and @extents NULL) with
 *		HMM_MIRROR_RANGE_FAULT, to fault without a report;
 *		out: elements filled
 * @timeout_ms:	in: give up with ETIMEDOUT after this many milliseconds;
 *		0 for no limit
 * @next:	out: continue here. Equals @end when the range is complete,
 *		less when @extents was full or the call failed
 * @fault_addr:	out: first address that failed, valid with EFAULT, EPERM,
 *		EHWPOISON, ENOMEM
 * @nr_faults:	out: page faults taken
 * @nr_walks:	out: page-table walks
 * @nr_restarts: out: how often an invalidation made it start over
 * @nr_slots:	out: base pages (or whole holes and huge mappings) looked at
 * @nanoseconds: out: time spent
 * @reserved:	zero
 *
 * The output fields are written on failure too, except with ESRCH before anything has
 * been done and if the struct itself is refused. Extents that were filled before a
 * failure are valid, cover [@start, @next) and are counted in @nr_extents.
 *
 * @timeout_ms and SIGKILL end the call whatever the process does or is stuck in: an
 * invalidation that a driver's callback holds up, a page fault or a system call that
 * holds mmap_lock. Others can still look at the process (/proc/PID/maps).
 *
 * Except in a page fault that this call itself takes, with HMM_MIRROR_RANGE_FAULT: there
 * both end the wait for a userfaultfd handler. Only SIGKILL ends a wait for storage, and
 * only where the file system allows it (a frozen one does not). Nothing ends the wait for
 * a page that is being migrated, or for a driver that the fault calls: it invalidates what
 * it unshares after fork(), and fetches pages from device memory.
 *
 * For the first subscription to a process's memory the kernel takes the locks of all
 * mapped files and of all anonymous memory. It waits until nobody holds one, as long as
 * @timeout_ms and SIGKILL allow; nothing ends the wait for one that is taken between this
 * look at it and the moment when the kernel takes it.
 *
 * Errors: EINVAL (range misaligned, empty or beyond the address space, unknown
 * flag, reserved field), EFAULT (a requested address cannot be mirrored, see
 * @fault_addr; or a bad pointer, or the OOM killer has taken the memory, and
 * @fault_addr is 0), EPERM (write requested, mapping read-only; or the file
 * belongs to another process), EHWPOISON, ENOMEM, EINTR (a fatal signal; while
 * the first range of the mirrored process is subscribed to, any signal),
 * ETIMEDOUT, ESRCH (the process has exited, or did while the call was served).
 */
struct hmm_mirror_range_args {
	__u32 size;
	__u32 flags;
	__u64 start;
	__u64 end;
	__u64 extents;
	__u32 nr_extents;
	__u32 timeout_ms;
	__u64 next;
	__u64 fault_addr;
	__u64 nr_faults;
	__u64 nr_walks;
	__u64 nr_restarts;
	__u64 nr_slots;
	__u64 nanoseconds;
	__u64 reserved;
};

/**
 * struct hmm_mirror_watch_args - HMM_MIRROR_WATCH: report invalidations
 * @size:	in: size of this struct
 * @flags:	in: zero
 * @start:	in: first address, page aligned
 * @end:	in: first address past the range, page aligned
 * @watch_id:	out: names the watch, never 0, unique in this open file
 * @reserved:	in: zero
 *
 * Errors: EINVAL, EFAULT (bad pointer), ENOSPC (max_watches), EDQUOT
 * (max_watches_per_user or max_events_per_user), ENOMEM, ESRCH, EINTR (as above), EPERM,
 * EBUSY (another thread has attached the file to another process in the meantime).
 *
 * Waits for nothing, except that the first subscription to a process's memory waits as
 * for HMM_MIRROR_RANGE; then SIGKILL ends it.
 */
struct hmm_mirror_watch_args {
	__u32 size;
	__u32 flags;
	__u64 start;
	__u64 end;
	__u32 watch_id;
	__u32 reserved;
};

/**
 * struct hmm_mirror_unwatch_args - HMM_MIRROR_UNWATCH: end a watch
 * @size:	size of this struct
 * @watch_id:	from HMM_MIRROR_WATCH
 * @flags:	zero
 * @reserved:	zero
 *
 * Events that are already queued stay queued; no more events of the watch are queued.
 * ENOENT: no such watch.
 *
 * Waits for nothing. While an invalidation of the process runs, the watch's memory is
 * kept, and counts towards max_watches_per_user. The same holds when the file is closed.
 */
struct hmm_mirror_unwatch_args {
	__u32 size;
	__u32 watch_id;
	__u32 flags;
	__u32 reserved;
};

/* hmm_mirror_event.kind: what happened to the range, in the kernel's terms */
enum hmm_mirror_event_kind {
	HMM_MIRROR_EVENT_UNMAP		 = 0,	/* munmap(), mremap(); OOM reaper up to 7.2 */
	HMM_MIRROR_EVENT_CLEAR		 = 1,	/* reclaim, COW, madvise(), KSM, OOM reaper ... */
	HMM_MIRROR_EVENT_PROTECTION_VMA	 = 2,	/* mprotect(), NUMA hints, uffd-wp ... */
	HMM_MIRROR_EVENT_PROTECTION_PAGE = 3,	/* write-back, fork() */
	HMM_MIRROR_EVENT_SOFT_DIRTY	 = 4,	/* soft-dirty tracking */
	HMM_MIRROR_EVENT_RELEASE	 = 5,	/* the address space is going away */
	HMM_MIRROR_EVENT_MIGRATE	 = 6,	/* migrate_vma, to or from a device */
	HMM_MIRROR_EVENT_EXCLUSIVE	 = 7,	/* exclusive access for a device */
	HMM_MIRROR_EVENT_OTHER		 = 8,	/* a kind that this ABI has no name for */
	HMM_MIRROR_EVENT_LOST		 = 255,	/* the queue was full */
};

/**
 * struct hmm_mirror_event - what read() returns, whole events only
 * @watch_id:	the watch; 0 for HMM_MIRROR_EVENT_LOST
 * @kind:	enum hmm_mirror_event_kind
 * @start:	first address invalidated, clipped to the watch
 * @end:	first address past it
 * @sequence:	the watch's invalidation sequence number: an extent collected
 *		before the event is stale after it. It grows, but events of
 *		invalidations that overlap in time share a number
 * @lost:	HMM_MIRROR_EVENT_LOST: events dropped at this point of the
 *		stream; otherwise 0
 *
 * read() blocks until there is an event (EAGAIN with O_NONBLOCK, also while another
 * thread is in read() of the same file); a buffer smaller than one event is EINVAL.
 * poll() reports POLLIN. There is no end of file: no more events come after
 * HMM_MIRROR_EVENT_RELEASE, but a file can be attached and given watches at any time.
 */
struct hmm_mirror_event {
	__u32 watch_id;
	__u32 kind;
	__u64 start;
	__u64 end;
	__u64 sequence;
	__u64 lost;
};

/**
 * struct hmm_mirror_stats - HMM_MIRROR_STATS: the module's counters
 * @size:	in: size of this struct; out: size the kernel knows
 * @reserved:	zero
 * @range_calls: range requests served, all entry points
 * @range_errors: of those, how many failed
 * @faults:	page faults taken
 * @walks:	page-table walks
 * @restarts:	requests started over because of an invalidation
 * @invalidations: invalidations of subscribed ranges
 * @events:	events queued to readers
 * @events_lost: events dropped because a queue was full
 * @open_files:	open files of the device, now
 * @subscriptions: subscribed ranges, now
 * @dma_maps:	runs of pages that drivers have had mapped for DMA
 * @dma_unmaps:	of those, how many have been unmapped
 * @dma_bytes:	memory in @dma_maps
 *
 * They cover all users and are public, like /proc/vmstat: whoever can open the device
 * sees how much is done with it, but not by whom, nor to which process.
 */
struct hmm_mirror_stats {
	__u32 size;
	__u32 reserved;
	__u64 range_calls;
	__u64 range_errors;
	__u64 faults;
	__u64 walks;
	__u64 restarts;
	__u64 invalidations;
	__u64 events;
	__u64 events_lost;
	__u64 open_files;
	__u64 subscriptions;
	__u64 dma_maps;
	__u64 dma_unmaps;
	__u64 dma_bytes;
};

#endif /* _UAPI_LINUX_HMM_MIRROR_H */
