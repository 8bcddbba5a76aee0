/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: mirror a process's address space on a device.
 *
 * This is the one header a driver includes. It offers three layers:
 *
 *  1.  hmm_mirror_range_fault(): read a range of virtual addresses and fault in
 *      what is asked for; one output word per page. Field names and return
 *      values are those of the kernel's struct hmm_range: porting is renaming.
 *  1b. hmm_mirror_range_extents(): the same request, answered with one entry
 *      for each run of pages that are alike.
 *  2.  struct hmm_mirror: a subscription to a range. The driver supplies
 *      callbacks; locking and revalidation are done here.
 *  3.  struct hmm_mirror_dma: what is in a mirror, mapped for DMA by a device.
 *
 * None of it pins a page or takes a reference. What is reported is true until
 * the MMU interval notifier of the range says otherwise. A driver must check
 * this before it acts on it, under the lock that its invalidation callback also
 * takes (see mmu_interval_read_retry()). Layer 2 does this check.
 */
#ifndef HMM_MIRROR_H
#define HMM_MIRROR_H

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/pfn.h>
#include <linux/types.h>

/*
 * Words of hmm_mirror_range.hmm_pfns.
 *
 * Out, written by the range fault:
 *  HMM_MIRROR_PFN_VALID: the page is mapped and may be read
 *  HMM_MIRROR_PFN_WRITE: it is mapped writable too; only with VALID
 *  HMM_MIRROR_PFN_ERROR: the address can never be mirrored
 *  none of the three: nothing is there now; a request would fault it in
 *  order and pfn: see hmm_mirror_pfn_to_map_order(), hmm_mirror_pfn_to_page()
 *
 * In, chosen by hmm_mirror_range.pfn_flags_mask and kept unchanged:
 *  HMM_MIRROR_PFN_REQ_FAULT: the page must come back VALID, or the call fails
 *  HMM_MIRROR_PFN_REQ_WRITE: with REQ_FAULT, it must come back with WRITE too
 *
 * The driver's own, kept unchanged where pfn_flags_mask selects them, else
 * cleared:
 *  HMM_MIRROR_PFN_DMA_MAPPED: the page has a DMA mapping
 *  HMM_MIRROR_PFN_P2PDMA: it is peer-to-peer memory mapped through the host bridge
 *  HMM_MIRROR_PFN_P2PDMA_BUS: it is peer-to-peer memory at its bus address
 */
static_assert(BITS_PER_LONG == 64, "hmm_mirror is for 64-bit kernels");
#define HMM_MIRROR_PFN_VALID		BIT(63)
#define HMM_MIRROR_PFN_WRITE		BIT(62)
#define HMM_MIRROR_PFN_ERROR		BIT(61)
#define HMM_MIRROR_PFN_DMA_MAPPED	BIT(60)
#define HMM_MIRROR_PFN_P2PDMA		BIT(59)
#define HMM_MIRROR_PFN_P2PDMA_BUS	BIT(58)
#define HMM_MIRROR_PFN_ORDER_SHIFT	53
#define HMM_MIRROR_PFN_ORDER_MASK	GENMASK(57, 53)
#define HMM_MIRROR_PFN_REQ_FAULT	BIT(52)
#define HMM_MIRROR_PFN_REQ_WRITE	BIT(51)
#define HMM_MIRROR_PFN_PFN_MASK		GENMASK(40, 0)

#define HMM_MIRROR_PFN_REQ_FLAGS \
	(HMM_MIRROR_PFN_REQ_FAULT | HMM_MIRROR_PFN_REQ_WRITE)
#define HMM_MIRROR_PFN_DRIVER_FLAGS \
	(HMM_MIRROR_PFN_DMA_MAPPED | HMM_MIRROR_PFN_P2PDMA | \
	 HMM_MIRROR_PFN_P2PDMA_BUS)

/**
 * hmm_mirror_pfn_to_phys() - physical address of a VALID word
 * @hmm_pfn: word with HMM_MIRROR_PFN_VALID set
 *
 * Return: the physical address of the page's first byte.
 */
static inline phys_addr_t hmm_mirror_pfn_to_phys(unsigned long hmm_pfn)
{
	return PFN_PHYS(hmm_pfn & HMM_MIRROR_PFN_PFN_MASK);
}

/**
 * hmm_mirror_pfn_to_page() - struct page of a VALID word
 * @hmm_pfn: word with HMM_MIRROR_PFN_VALID set
 *
 * No reference is taken: the page may be used only under the rules of the MMU
 * interval notifier. It may be one of the caller's device-private pages, see
 * is_device_private_page().
 *
 * Return: the struct page.
 */
static inline struct page *hmm_mirror_pfn_to_page(unsigned long hmm_pfn)
{
	return pfn_to_page(hmm_pfn & HMM_MIRROR_PFN_PFN_MASK);
}

/**
 * hmm_mirror_pfn_to_map_order() - order at which the CPU maps a VALID word
 * @hmm_pfn: word with HMM_MIRROR_PFN_VALID set
 *
 * The naturally aligned block of 2^order base pages around the address is
 * mapped by one page-table entry, to physically contiguous memory, with these
 * flags. It may extend beyond the range that was asked for. A part of a compound
 * page that is mapped page by page has order 0.
 *
 * Return: the order, in base pages.
 */
static inline unsigned int hmm_mirror_pfn_to_map_order(unsigned long hmm_pfn)
{
	return (hmm_pfn & HMM_MIRROR_PFN_ORDER_MASK) >>
		HMM_MIRROR_PFN_ORDER_SHIFT;
}

/**
 * struct hmm_mirror_range - a request to read and fault a range, and its result
 * @notifier: the interval notifier that tells when the result goes stale; its
 *	interval includes [@start, @end)
 * @notifier_seq: result of mmu_interval_read_begin(@notifier). In for
 *	hmm_mirror_range_fault(), out for hmm_mirror_range_fault_unlocked()
 * @start: first virtual address, page aligned, without a tag (untagged_addr())
 * @end: first virtual address past the range, page aligned, without a tag
 * @hmm_pfns: array with one word per page. The extent calls take it as an
 *	optional array of per-page requests and do not write to it
 * @default_flags: HMM_MIRROR_PFN_REQ_FAULT and _REQ_WRITE asked of every page
 * @pfn_flags_mask: bits of @hmm_pfns that the call looks at and preserves: any
 *	of HMM_MIRROR_PFN_REQ_FLAGS and HMM_MIRROR_PFN_DRIVER_FLAGS. What a page
 *	is asked for is (hmm_pfns[i] & pfn_flags_mask) | default_flags. With 0
 *	the array need not be initialised
 * @dev_private_owner: device-private pages whose pgmap has this owner are
 *	reported; those of others are faulted back to system memory when asked.
 *	NULL for a driver that has no device-private memory
 * @order_shift: the order's lowest bit in an output word, for callers that need
 *	it elsewhere; not for the extent calls. 0 for HMM_MIRROR_PFN_ORDER_SHIFT
 * @device_pages_as_is: a page of @dev_private_owner that is asked for writing,
 *	and that its driver does not make writable when it is faulted, is reported
 *	as it is, without WRITE. Otherwise the call keeps trying, or fails with
 *	-EBUSY
 * @fault_addr: out: the first address that could not be served, with -EFAULT,
 *	-EPERM, -EHWPOISON and -ENOMEM; otherwise 0
 * @nr_faults: out: page faults that were taken
 * @nr_waits: out: faults that dropped mmap_lock, whether completed or to be retried
 * @nr_walks: out: page-table walks that were begun
 * @nr_restarts: out: how often the result was collected again because of an
 *	invalidation
 * @nr_slots: out: entries looked at: pages, or whole holes and huge mappings
 *	if they were answered at once
 *
 * A snapshot is a request for nothing: @default_flags and @pfn_flags_mask 0.
 */
struct hmm_mirror_range {
	struct mmu_interval_notifier *notifier;
	unsigned long notifier_seq;
	unsigned long start;
	unsigned long end;
	unsigned long *hmm_pfns;
	unsigned long default_flags;
	unsigned long pfn_flags_mask;
	void *dev_private_owner;
	unsigned int order_shift;
	bool device_pages_as_is;

	unsigned long fault_addr;
	unsigned long nr_faults;
	unsigned long nr_waits;
	unsigned long nr_walks;
	unsigned long nr_restarts;
	unsigned long nr_slots;
};

/**
 * enum hmm_mirror_entry - what the page table holds at an address
 * @HMM_MIRROR_ENTRY_NONE: nothing, at any level
 * @HMM_MIRROR_ENTRY_PRESENT: a page
 * @HMM_MIRROR_ENTRY_ZERO: the zero page or the huge zero page
 * @HMM_MIRROR_ENTRY_SWAP: a swapped-out page
 * @HMM_MIRROR_ENTRY_MIGRATION: a page being migrated
 * @HMM_MIRROR_ENTRY_DEVICE_PRIVATE: a page in device-private memory; VALID if
 *	the caller owns it
 * @HMM_MIRROR_ENTRY_DEVICE_EXCLUSIVE: a page a device has exclusive access to
 * @HMM_MIRROR_ENTRY_PROT_NONE: a page hidden by NUMA balancing
 * @HMM_MIRROR_ENTRY_UFFD_WP: a userfaultfd write-protect marker
 * @HMM_MIRROR_ENTRY_HWPOISON: memory that failed; -EHWPOISON when asked for
 * @HMM_MIRROR_ENTRY_POISON: a poison marker (UFFDIO_POISON, failed swap-in)
 * @HMM_MIRROR_ENTRY_GUARD: a guard region (MADV_GUARD_INSTALL)
 * @HMM_MIRROR_ENTRY_SPECIAL: memory that has no struct page
 * @HMM_MIRROR_ENTRY_NO_VMA: the address is not part of a mapping
 * @HMM_MIRROR_ENTRY_UNREADABLE: the mapping may not be read
 * @HMM_MIRROR_ENTRY_IO: a VM_IO or VM_PFNMAP mapping
 * @HMM_MIRROR_ENTRY_SECRETMEM: a memfd_secret() mapping
 * @HMM_MIRROR_ENTRY_BAD: a corrupt entry
 * @HMM_MIRROR_NR_ENTRIES: number of kinds
 *
 * HWPOISON and all that follow are ERROR. A request for them fails with -EFAULT,
 * for HWPOISON with -EHWPOISON.
 */
enum hmm_mirror_entry {
	HMM_MIRROR_ENTRY_NONE,
	HMM_MIRROR_ENTRY_PRESENT,
	HMM_MIRROR_ENTRY_ZERO,
	HMM_MIRROR_ENTRY_SWAP,
	HMM_MIRROR_ENTRY_MIGRATION,
	HMM_MIRROR_ENTRY_DEVICE_PRIVATE,
	HMM_MIRROR_ENTRY_DEVICE_EXCLUSIVE,
	HMM_MIRROR_ENTRY_PROT_NONE,
	HMM_MIRROR_ENTRY_UFFD_WP,
	HMM_MIRROR_ENTRY_HWPOISON,
	HMM_MIRROR_ENTRY_POISON,
	HMM_MIRROR_ENTRY_GUARD,
	HMM_MIRROR_ENTRY_SPECIAL,
	HMM_MIRROR_ENTRY_NO_VMA,
	HMM_MIRROR_ENTRY_UNREADABLE,
	HMM_MIRROR_ENTRY_IO,
	HMM_MIRROR_ENTRY_SECRETMEM,
	HMM_MIRROR_ENTRY_BAD,
	HMM_MIRROR_NR_ENTRIES,
};

/**
 * struct hmm_mirror_extent - a run of pages that are alike
 * @addr: first virtual address
 * @npages: number of base pages
 * @pfn: page frame number of the first page, the others follow; 0 unless VALID,
 *	or if hmm_mirror_extents.without_pfns
 * @flags: HMM_MIRROR_PFN_VALID, _WRITE, _ERROR as in an hmm_pfns word
 * @order: order at which the CPU maps the pages, in base pages
 * @node: NUMA node of the memory, NUMA_NO_NODE unless VALID
 * @entry: what the page table holds
 *
 * An extent is the longest run with equal @flags, @order, @node and @entry
 * that, if VALID, is physically contiguous. It never extends beyond the range
 * that was asked for.
 */
struct hmm_mirror_extent {
	unsigned long addr;
	unsigned long npages;
	unsigned long pfn;
	unsigned long flags;
	unsigned int order;
	int node;
	enum hmm_mirror_entry entry;
};

/**
 * struct hmm_mirror_extents - where the extent calls put their answer
 * @array: caller's array
 * @capacity: its number of elements, at least 1
 * @without_pfns: leave the PFNs out: @pfn is 0 everywhere, and pages of an extent
 *	need not be physically contiguous
 * @in_parts: an unlocked call may answer only a part of the range if invalidations
 *	would otherwise make it start over again and again. If they overlap and leave no
 *	gap, not even one page can be answered: only a deadline or SIGKILL ends the call.
 *	A part may end within a huge page; what follows has an answer of its own
 * @max_pages: private, for @in_parts; 0 at first: pages to answer at most, 0 for no
 *	limit. Lowered when a call has to start over, raised when it does not; leave it
 *	alone between calls for the parts of a range
 * @nr: out: elements filled
 * @next: out: first address that is not covered by @array. Less than
 *	hmm_mirror_range.end if the array was full, or with @in_parts: set range.start
 *	to it and call again for the rest
 */
struct hmm_mirror_extents {
	struct hmm_mirror_extent *array;
	unsigned int capacity;
	bool without_pfns;
	bool in_parts;
	unsigned long max_pages;
	unsigned int nr;
	unsigned long next;
};

/**
 * hmm_mirror_range_fault() - read, and fault in where asked, a range
 * @range: the request, see struct hmm_mirror_range
 *
 * On success every word of @range->hmm_pfns has been written, and every page
 * that was asked for is VALID, with WRITE where that was asked for. Only pages
 * that were asked for have been faulted in. On failure the output bits of
 * @hmm_pfns mean nothing; requests are intact in either case.
 *
 * The answer may be used only if mmu_interval_read_retry(@range->notifier,
 * @range->notifier_seq) returns false under the lock that the notifier's
 * invalidate callback takes. -EBUSY means that it is already stale, not that
 * work was lost: everything has been faulted in once, so the next try finds the
 * pages there. Copy-on-write faults cause one such -EBUSY.
 *
 * Since mmap_lock is never dropped, userfaultfd cannot be served (-EFAULT); see
 * hmm_mirror_range_fault_unlocked().
 *
 * Locking: the caller holds mmap_lock of @range->notifier->mm, which is still
 * held on return, and has a reference to the mm's users (mmget()). It holds no lock that
 * an invalidation takes.
 * Context: sleeps.
 *
 * Return: 0, or
 * -EINVAL: the range is misaligned, empty, or not inside the notifier's
 *	interval; unknown flags; no array. Nothing has been touched.
 * -EBUSY: the range has been invalidated since @range->notifier_seq was taken;
 *	start over with mmu_interval_read_begin(). Or a page kept vanishing after
 *	it had been faulted in, or stayed in a state in which nothing can be said
 *	of it.
 * -EFAULT: a page was asked for that cannot be mirrored: no mapping, VM_IO,
 *	VM_PFNMAP, not readable, secret memory, beyond the end of a file, poison or
 *	guard marker; @range->fault_addr says where.
 * -EPERM: asked to write to a read-only mapping or a shadow stack.
 * -EHWPOISON: the memory failed.
 * -ENOMEM: no memory for a fault.
 * -EINTR: a fatal signal is pending.
 */
int hmm_mirror_range_fault(struct hmm_mirror_range *range);

/**
 * hmm_mirror_range_fault_unlocked() - hmm_mirror_range_fault() that takes mmap_lock itself
 * @range: the request; @range->notifier_seq is an output here
 * @timeout: jiffies after which to give up with -EBUSY, 0 for no limit
 *
 * Differs from hmm_mirror_range_fault() in that mmap_lock may be dropped while
 * waiting for a page, so that userfaultfd and slow storage are served, and in
 * that a stale answer is collected again until it is current or @timeout has
 * passed. SIGKILL and the one deadline are checked between steps, and cut short a wait
 * for the end of an invalidation, for mmap_lock, and for a userfaultfd handler. Of the
 * other waits in a page fault that this call takes, the deadline ends none, and SIGKILL
 * that for storage where the file system allows it (a frozen one does not). Nothing ends
 * a fault's wait for a page that is being migrated, or for a driver's callback: for the
 * invalidation that the fault itself causes (it unshares forked memory, or takes a page
 * back that a device has exclusive access to), and for migrate_to_ram().
 * A caller with a deadline and a pending non-fatal signal cannot queue for mmap_lock: it
 * only tries, and others may keep getting the lock until the deadline. A userfaultfd
 * with UFFD_USER_MODE_ONLY refuses all faults but the process's own (-EFAULT).
 *
 * Locking: the caller holds neither mmap_lock nor a lock that an invalidation
 * takes, and has a reference of its own to the mm's users (mmget()), unless the mm is
 * current->mm. Without one of its own, a process that is alive, and whose reference is
 * the only one, would be taken for one that has ended.
 * Context: sleeps.
 *
 * Return: 0, or an errno of hmm_mirror_range_fault(), where -EBUSY means that @timeout has
 * passed; or, with @range->fault_addr 0,
 * -EFAULT: the OOM killer has taken the address space apart.
 * -ENOMEM: no memory to wait for the end of an invalidation.
 * -ESRCH: the process has ended, and the caller has the only reference to the mm's users.
 */
int hmm_mirror_range_fault_unlocked(struct hmm_mirror_range *range,
				    unsigned long timeout);

/**
 * hmm_mirror_range_extents() - hmm_mirror_range_fault() with extents
 * @range: the request; its page array, if any, holds requests only
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
 * Return: 0, or an errno of hmm_mirror_range_fault(), where -EINVAL can also mean that
 * @extents has no array or no room, or that @range->order_shift is not 0.
 */
int hmm_mirror_range_extents(struct hmm_mirror_range *range,
			     struct hmm_mirror_extents *extents);

/**
 * hmm_mirror_range_extents_unlocked() - hmm_mirror_range_extents() that takes mmap_lock itself
 * @range: the request; @range->notifier_seq is an output here
 * @extents: where the answer goes
 * @timeout: jiffies after which to give up with -EBUSY, 0 for no limit
 *
 * What hmm_mirror_range_fault_unlocked() says of waits goes for this call, too.
 *
 * With @extents->in_parts the answer may end before @range->end although the array is not
 * full: invalidations of the range come so fast that a longer one would be stale before
 * it is complete. It covers at least one page, so calling again and again gets to the
 * end. If invalidations overlap and leave no gap, only @timeout and SIGKILL end the call.
 * Without @extents->in_parts, only they end a call whose range keeps being invalidated.
 *
 * Locking: as hmm_mirror_range_fault_unlocked().
 * Context: sleeps.
 *
 * Return: 0, or an errno of hmm_mirror_range_fault_unlocked(), where -EINVAL can also mean
 * that @extents has no array or no room, or that @range->order_shift is not 0.
 */
int hmm_mirror_range_extents_unlocked(struct hmm_mirror_range *range,
				      struct hmm_mirror_extents *extents,
				      unsigned long timeout);

struct hmm_mirror;

/**
 * struct hmm_mirror_ops - what a driver does for a mirror
 * @map: program the device with @nr extents, in ascending order of address,
 *	without gaps between them; needed for hmm_mirror_populate() only.
 *	Extents that are not VALID are holes, or cannot be mirrored; they are
 *	included so that a driver can clear what it had there. All of them are true
 *	at that moment, and the device may use what is VALID until @unmap is called
 *	for it. An extent may replace one that was mapped before without an @unmap in
 *	between: a request brings all of its range, also what the device has, and it is
 *	no invalidation that the CPU may now write to a read-only page where it is, that
 *	a hole has been filled, or that the mirror itself has made a page exclusive. A
 *	page gives way to another one only after @unmap, or @migrate. Called with
 *	the mirror's lock held, so it must not allocate memory in a way that
 *	reclaims (no GFP_KERNEL), fault, or take mmap_lock or a page's lock.
 *	Return 0, or an errno that hmm_mirror_populate() passes on
 * @unmap: pages of [@start, @end) are about to change or go away: stop every
 *	use of them by the device before returning. @event says why; hmmctl(1)
 *	has the causes of each (MMU_NOTIFY_CLEAR is its "clear"). The interval
 *	is clipped to the mirror. Called with the mirror's lock held; may sleep,
 *	but the OOM reaper waits for it: do not wait for memory or for another
 *	lock that is held while memory is allocated. Nor for a page's lock: some
 *	callers hold one (reclaim, migration). Before it returns, mark pages
 *	that the device has written to dirty with set_page_dirty(), which takes
 *	no page's lock: the CPU's entry may be writable and clean, and the page
 *	would then be dropped instead of written out. Must not call
 *	hmm_mirror_*() functions other than hmm_mirror_sequence(), and those of
 *	layer 3 that are called with the mirror's lock held
 * @migrate: optional; called instead of @unmap when pages of [@start, @end) are
 *	moved by a migrate_vma with the mirror's own @dev_private_owner as
 *	pgmap_owner. For drivers that know at this point that they have taken
 *	care of each of their mirrors of that range: the migration may have been
 *	begun for another mirror of the same device, or by a CPU fault. Rules as
 *	for @unmap
 * @release: optional; the address space is going away (process exit or
 *	execve()). Everything has been unmapped before. Called at most once, with
 *	the mirror's lock held, and as the last callback. The mirror must still
 *	be unregistered
 */
struct hmm_mirror_ops {
	int (*map)(struct hmm_mirror *mirror,
		   const struct hmm_mirror_extent *extents, unsigned int nr);
	void (*unmap)(struct hmm_mirror *mirror, unsigned long start,
		      unsigned long end, enum mmu_notifier_event event);
	void (*migrate)(struct hmm_mirror *mirror, unsigned long start,
			unsigned long end);
	void (*release)(struct hmm_mirror *mirror);
};

struct hmm_mirror_mm;

/**
 * struct hmm_mirror_removal - private, a subscription that is being removed
 * @node: in a list of them
 * @notifier: the subscription, or NULL if only @done is to be called
 * @done: called when it is gone
 */
struct hmm_mirror_removal {
	struct llist_node node;
	struct mmu_interval_notifier *notifier;
	void (*done)(struct hmm_mirror_removal *removal);
};

/**
 * struct hmm_mirror - a subscription to a range of an address space
 * @notifier: private, the kernel's interval notifier
 * @ops: private, the driver's callbacks
 * @lock: private, held over every callback; see hmm_mirror_lock()
 * @dev_private_owner: owner of the driver's device-private memory, or NULL.
 *	Set it before hmm_mirror_register(). Its pages are reported VALID; see
 *	also hmm_mirror_ops.migrate
 * @released: private, the address space has ended; @ops->release, if any, was called
 * @forgotten: private, callbacks are no longer called
 * @mm: private, what is known about the address space
 * @removal: private, for hmm_mirror_unregister_async()
 * @unregistered: private, its @done
 * @dmas: private, its struct hmm_mirror_dma, under @lock
 * @nr_starved: private, how often one of them lacked memory, written under @lock
 *
 * Embed it in the driver's own struct and use container_of() in callbacks.
 */
struct hmm_mirror {
	struct mmu_interval_notifier notifier;
	const struct hmm_mirror_ops *ops;
	struct mutex lock; /* over callbacks, and the sequence check */
	void *dev_private_owner;
	bool released;
	bool forgotten;
	struct hmm_mirror_mm *mm;
	struct hmm_mirror_removal removal;
	void (*unregistered)(struct hmm_mirror *mirror);
	struct list_head dmas;
	unsigned long nr_starved;
};

/**
 * struct hmm_mirror_request - what hmm_mirror_populate() is to map
 * @start: first virtual address, page aligned, inside the mirror, without a tag
 * @end: first virtual address past the range, page aligned, without a tag
 * @default_flags: HMM_MIRROR_PFN_REQ_FAULT, _REQ_WRITE, or 0 for what happens
 *	to be there
 * @timeout: jiffies after which to give up with -EBUSY, 0 for no limit
 * @next: out: everything below it has been mapped
 * @fault_addr: out: as in struct hmm_mirror_range
 * @nr_faults: out: page faults that were taken
 * @nr_restarts: out: how often a chunk was collected again because of an invalidation
 */
struct hmm_mirror_request {
	unsigned long start;
	unsigned long end;
	unsigned long default_flags;
	unsigned long timeout;

	unsigned long next;
	unsigned long fault_addr;
	unsigned long nr_faults;
	unsigned long nr_restarts;
};

/**
 * hmm_mirror_register() - subscribe to a range of an address space
 * @mirror: memory for the mirror, in the driver's own struct;
 *	@mirror->dev_private_owner is set, the rest need not be initialised
 * @mm: the address space; the caller has a reference to its users (mmget(), or
 *	it is current->mm)
 * @start: first virtual address, page aligned, without a tag: nothing is ever found at a
 *	tagged one, see hmm_mirror_populate()
 * @length: bytes, a multiple of PAGE_SIZE
 * @ops: callbacks; @ops->unmap is required. They can be called before this
 *	function returns
 *
 * The mirror keeps the mm_struct alive but not the memory: process exit is not
 * delayed. It does not follow fork(): the child's memory is not mirrored. For
 * lockdep, the locks of all mirrors registered by one line of code form one class.
 *
 * Locking: none of the mm's locks may be held (the first registration for an mm
 * takes mmap_lock for writing), nor the lock of any mirror.
 * Context: sleeps. The first registration for an mm waits until nobody holds mmap_lock
 * or the lock of a VMA, without keeping others from them; SIGKILL ends this wait. Then it
 * takes the locks of mapped files and of anonymous memory for a moment; nothing cuts
 * short the wait for one that is taken between the look at it and that moment. From
 * Linux 6.15 on this goes for the lock of a VMA, too.
 *
 * Return: 0, -EINVAL (misaligned, empty or wrapping range, no @ops->unmap),
 * -EOVERFLOW (the address past the range is 2^64), -ENOMEM, or -EINTR (a fatal signal;
 * from the first registration for an mm, any signal is pending).
 */
#define hmm_mirror_register(mirror, mm, start, length, ops)		\
	hmm_mirror_register_timeout(mirror, mm, start, length, ops, 0)

/**
 * hmm_mirror_register_timeout() - hmm_mirror_register() with a deadline
 * @mirror: memory for the mirror, as for hmm_mirror_register()
 * @mm: the address space, to whose users the caller has a reference
 * @start: first virtual address, page aligned
 * @length: bytes, a multiple of PAGE_SIZE
 * @ops: callbacks, @ops->unmap at least
 * @timeout: jiffies after which to give up with -EBUSY, 0 for no limit
 *
 * Locking: as hmm_mirror_register().
 * Context: sleeps. The deadline ends the waits that SIGKILL ends there.
 *
 * Return: 0, an errno of hmm_mirror_register(), or -EBUSY.
 */
#define hmm_mirror_register_timeout(mirror, mm, start, length, ops, timeout) \
({									\
	static struct lock_class_key hmm_mirror_key;			\
									\
	hmm_mirror_register_class(mirror, mm, start, length, ops,	\
				  timeout, &hmm_mirror_key);		\
})

/**
 * hmm_mirror_register_class() - what hmm_mirror_register() calls
 * @mirror: memory for the mirror, as for hmm_mirror_register()
 * @mm: the address space, to whose users the caller has a reference
 * @start: first virtual address, page aligned
 * @length: bytes, a multiple of PAGE_SIZE
 * @ops: callbacks, @ops->unmap at least
 * @timeout: jiffies after which to give up with -EBUSY, 0 for no limit
 * @key: lockdep class of the mirror's lock, in static memory
 *
 * For a driver in which one line registers mirrors whose locks are not alike.
 *
 * Locking: as hmm_mirror_register().
 * Context: sleeps, as hmm_mirror_register_timeout().
 *
 * Return: 0, an errno of hmm_mirror_register(), or -EBUSY.
 */
int hmm_mirror_register_class(struct hmm_mirror *mirror, struct mm_struct *mm,
			      unsigned long start, unsigned long length,
			      const struct hmm_mirror_ops *ops,
			      unsigned long timeout,
			      struct lock_class_key *key);

/**
 * hmm_mirror_unregister() - end a subscription
 * @mirror: registered mirror
 *
 * When it returns no callback runs and none will be called. @ops->unmap is not
 * called for what is still mapped: the driver tears down its page table itself, or calls
 * hmm_mirror_unmap_all() before. Needed once for each successful hmm_mirror_register(),
 * also after release.
 *
 * @mirror is the caller's memory, so neither a signal nor a deadline can cut this short.
 * If a callback of this or another driver hangs, or an invalidation takes long, it waits
 * as long; hmm_mirror_unregister_async() does not.
 *
 * Locking: not from a callback, and without the mirror's lock or a lock that a
 * callback takes. No hmm_mirror_populate() of this mirror may be running.
 * Context: sleeps until running invalidations are done; no RCU or SRCU grace
 * period is waited for.
 */
void hmm_mirror_unregister(struct hmm_mirror *mirror);

/**
 * hmm_mirror_unregister_async() - end a subscription, without waiting
 * @mirror: registered mirror
 * @done: called when no callback runs and none will be called; may free @mirror
 *
 * Callbacks are called until then, so that what the device still has mapped is taken back
 * as before. @done tears down the rest. It runs in a worker and may sleep, but other
 * mirrors of the address space then wait, too. It is called soon, or soon after the end
 * of a running invalidation.
 *
 * A module that uses it calls hmm_mirror_unregister_barrier() before it is unloaded.
 *
 * Locking: no hmm_mirror_populate() of this mirror may be running. A callback may be
 * running, and may make this call.
 * Context: process context, which includes callbacks. Does not sleep.
 */
void hmm_mirror_unregister_async(struct hmm_mirror *mirror,
				 void (*done)(struct hmm_mirror *mirror));

/**
 * hmm_mirror_unregister_barrier() - wait for mirrors that are being unregistered
 *
 * When it returns, every earlier hmm_mirror_unregister_async() is complete: its @done has
 * been called and has returned. A module calls it before it is unloaded.
 *
 * Locking: not from a callback or from a @done, and without a lock that one of these
 * takes.
 * Context: sleeps until running invalidations are done; nothing cuts this short.
 */
void hmm_mirror_unregister_barrier(void);

/**
 * hmm_mirror_unmap_all() - take everything from the device
 * @mirror: registered mirror
 *
 * Calls @ops->unmap for all of the mirror, with MMU_NOTIFY_UNMAP as event, unless the
 * address space has gone away. For a driver that resets its device, is unbound, or makes
 * room: what is mapped is unmapped the way that it always is. A hmm_mirror_populate() that
 * runs at the same time may map again.
 *
 * Locking: not from a callback; takes the mirror's lock.
 * Context: sleeps.
 */
void hmm_mirror_unmap_all(struct hmm_mirror *mirror);

/**
 * hmm_mirror_populate() - fault a range and map it on the device
 * @mirror: registered mirror with @ops->map
 * @request: what to map, see struct hmm_mirror_request
 *
 * Calls @ops->map with the range's extents, chunk by chunk. Each chunk is
 * collected without a lock, then the mirror's lock is taken and the sequence
 * number checked: a chunk that an invalidation has made stale in between is
 * collected again. Kernel memory used does not depend on the length of the
 * range.
 *
 * Chunks that were mapped before a failure stay mapped, up to @request->next. If it is
 * @ops->map that fails, half-way through its chunk, what it has mapped of the chunk stays
 * mapped beyond @request->next until it is unmapped: the driver must cope with an @ops->unmap
 * for it, and with being given all of the chunk again.
 *
 * Addresses have no tag. The caller takes it off what a program or a device has said, with
 * untagged_addr(), or where current->mm is not the mirror's with untagged_addr_remote() under
 * mmap_lock. A tagged address is outside of the mirror (-EINVAL), or nothing is found there
 * (-EFAULT where that is asked for).
 *
 * Any task may call it, for a mirror of its own or of another process, and so may a kernel
 * worker, without mmget() and without kthread_use_mm(): the call takes a reference of its own
 * to the mm's users. A caller that holds another one keeps the memory of a process that has
 * ended, and then the call does not notice the end.
 *
 * Locking: not from a callback. The caller holds neither mmap_lock nor a VMA's or a page's
 * lock, nor the lock of any mirror, nor another one that an invalidation takes. Calls for
 * the same mirror may run at the same time. The process may exit at any time; then the call
 * may hold the last reference to its memory, and a worker tears it down, with the last calls
 * of @ops->unmap and @ops->release.
 * Context: sleeps. SIGKILL and @request->timeout end its waits, as for
 * hmm_mirror_range_fault_unlocked(); a kernel worker gets no SIGKILL, and needs a timeout.
 * @ops->map is not cut short.
 *
 * Return: 0, or
 * -EINVAL, -EFAULT, -EPERM, -EHWPOISON, -ENOMEM, -EINTR: as
 *	hmm_mirror_range_fault_unlocked(), with @request->fault_addr in place of
 *	@range->fault_addr; -EINVAL if the range is not inside the mirror. -ENOMEM also if
 *	there is no memory for a longer chunk.
 * -EBUSY: @request->timeout has passed.
 * -ESRCH: the process has ended, or has called execve().
 * -EOPNOTSUPP: there is no @ops->map.
 * Or the errno that @ops->map returned.
 */
int hmm_mirror_populate(struct hmm_mirror *mirror,
			struct hmm_mirror_request *request);

/**
 * hmm_mirror_lock() - keep the mirror's callbacks out
 * @mirror: registered mirror
 *
 * While it is held neither map, unmap nor release runs, so what @ops->map was
 * given and @ops->unmap has not taken back is true: this is the place to read a
 * device page table that the callbacks maintain. The rules of @ops->map apply:
 * no fault, no reclaiming allocation, no mmap_lock, no page's lock. The order of
 * locks is mmap_lock, page lock, mirror lock.
 *
 * Context: sleeps until a running callback has returned; nothing cuts this short.
 */
static inline void hmm_mirror_lock(struct hmm_mirror *mirror)
{
	mutex_lock(&mirror->lock);
}

/**
 * hmm_mirror_unlock() - let the mirror's callbacks run again
 * @mirror: mirror locked with hmm_mirror_lock()
 *
 * Context: does not sleep.
 */
static inline void hmm_mirror_unlock(struct hmm_mirror *mirror)
{
	mutex_unlock(&mirror->lock);
}

/**
 * hmm_mirror_sequence() - sequence number of the last invalidation
 * @mirror: registered mirror, its lock held (as in every callback)
 *
 * Context: does not sleep.
 *
 * Return: a number that grows with invalidations of the mirror. Those that
 * overlap in time share a number.
 */
static inline unsigned long hmm_mirror_sequence(struct hmm_mirror *mirror)
{
	lockdep_assert_held(&mirror->lock);
	/* Written under the lock that the caller holds: no READ_ONCE() is needed. */
	return mirror->notifier.invalidate_seq;
}

/**
 * hmm_mirror_read_begin() - begin to work on pages without hmm_mirror_populate()
 * @mirror: registered mirror, its lock not held
 *
 * For what populate does not do, such as make_device_exclusive(): begin here, do
 * it, take hmm_mirror_lock() and call hmm_mirror_read_retry(); only if that
 * returns false may the device be programmed, before the lock is released. Pass
 * the mirror itself as owner to make_device_exclusive(): its own invalidation
 * then does not count against it, while every other mirror is told. Nor does it
 * count against a concurrent hmm_mirror_populate() of the same pages, which may
 * map them over the exclusive entry: a driver that uses both serialises them.
 *
 * Locking: the caller holds no lock that an invalidation takes.
 * Context: sleeps until a running invalidation of the mirror has ended; nothing cuts this
 * short. See hmm_mirror_read_begin_timeout().
 *
 * Return: a sequence number for hmm_mirror_read_retry().
 */
static inline unsigned long hmm_mirror_read_begin(struct hmm_mirror *mirror)
{
	return mmu_interval_read_begin(&mirror->notifier);
}

/**
 * hmm_mirror_read_begin_timeout() - hmm_mirror_read_begin() that ends
 * @mirror: registered mirror, its lock not held
 * @timeout: jiffies after which to give up with -EBUSY, 0 for no limit
 * @sequence: out: a sequence number for hmm_mirror_read_retry()
 *
 * Locking: the caller has a reference to the mm's users (mmget()), and holds neither
 * mmap_lock nor a lock that an invalidation takes.
 * Context: sleeps.
 *
 * Return: 0, -EBUSY (@timeout has passed), -EINTR (a fatal signal), or -ENOMEM.
 */
int hmm_mirror_read_begin_timeout(struct hmm_mirror *mirror,
				  unsigned long timeout,
				  unsigned long *sequence);

/**
 * hmm_mirror_read_retry() - has there been an invalidation?
 * @mirror: registered mirror, its lock held
 * @sequence: from hmm_mirror_read_begin(), or hmm_mirror_read_begin_timeout()
 *
 * Context: does not sleep.
 *
 * Return: true if what was read since then is stale and must not be used.
 */
static inline bool hmm_mirror_read_retry(struct hmm_mirror *mirror,
					 unsigned long sequence)
{
	lockdep_assert_held(&mirror->lock);
	return mmu_interval_read_retry(&mirror->notifier, sequence);
}

/**
 * DOC: Layer 3: DMA
 *
 * The pages of a mirror, mapped for DMA by a device, and unmapped before they change or
 * go away. What is mapped at a time is a *run*: pages that are contiguous in virtual and
 * in physical memory, at most as many as the CPU maps with one entry of its page table,
 * so that an invalidation of a part need not take more from the device than the CPU
 * itself takes apart.
 *
 * The short way is hmm_mirror_dma_ops: the driver says how its device gets an entry, how
 * it loses one, and how to wait for the DMA that it has begun. It registers its mirror
 * with hmm_mirror_dma_mirror_ops, and maps with hmm_mirror_dma_populate():
 *
 *	hmm_mirror_register(mirror, mm, start, length, &hmm_mirror_dma_mirror_ops);
 *	dma->ops = &my_dma_ops;
 *	hmm_mirror_dma_init(dma, mirror, &pci_dev->dev, 0);
 *	...
 *	hmm_mirror_dma_populate(mirror, &request);
 *	...
 *	hmm_mirror_dma_exit(dma);
 *	hmm_mirror_unregister(mirror);
 *
 * A driver with callbacks of its own leaves @ops NULL and calls the single steps from
 * them. In map: hmm_mirror_dma_outdated(), hmm_mirror_dma_map() until it returns 0. In
 * unmap, in this order, or the device works on memory that is somebody else's: grow, clear
 * the device's entries, flush its TLB, wait for the DMA that it has begun, unmap (which
 * marks the pages dirty).
 *
 * Everything happens under the mirror's lock, and nothing of it waits for memory. The
 * device must be coherent with the CPU's caches, and must reach the memory itself: there
 * is nobody to copy from and to a bounce buffer, as neither side knows when the other
 * accesses the memory. What cannot be mapped so is refused.
 */

/**
 * enum hmm_mirror_dma_kind - what is behind a run
 * @HMM_MIRROR_DMA_SYSTEM: memory of the machine
 * @HMM_MIRROR_DMA_P2P_HOST: memory of another PCI device, by way of the host bridge
 * @HMM_MIRROR_DMA_P2P_BUS: the same, directly: @dma of the run is an address on the bus
 *	that both devices are on, and passes no IOMMU
 */
enum hmm_mirror_dma_kind {
	HMM_MIRROR_DMA_SYSTEM,
	HMM_MIRROR_DMA_P2P_HOST,
	HMM_MIRROR_DMA_P2P_BUS,
};

/**
 * struct hmm_mirror_dma_run - pages that are mapped for DMA as one
 * @addr: first virtual address
 * @npages: number of base pages
 * @dma: address of the first byte for the device; the others follow
 * @order: order at which the CPU maps the pages, in base pages. Around @addr the
 *	naturally aligned block of that order may reach beyond the run
 * @write: the device may write; otherwise it can only read, and an IOMMU sees to that
 * @kind: what is behind it
 */
struct hmm_mirror_dma_run {
	unsigned long addr;
	unsigned long npages;
	dma_addr_t dma;
	unsigned int order;
	bool write;
	enum hmm_mirror_dma_kind kind;
};

struct device;
struct hmm_mirror_dma;
struct hmm_mirror_dma_tables;

/**
 * struct hmm_mirror_dma_ops - what a device does with runs
 * @set: give the device an entry for @run, in place of what it has for these pages. May be
 *	called again for pages that it has already been told of; the address is the same
 *	unless @zap has been called for them. Return 0, or an errno: hmm_mirror_populate()
 *	fails with it, and the run, with what has been mapped behind it, is zapped and
 *	unmapped as others are
 * @zap: clear the device's entries of [@start, @end) and flush its TLB: no DMA that begins
 *	from now on may use them. The interval covers whole runs, and reaches less than
 *	2 MiB beyond the first and the last one unless the invalidation ends there
 * @wait: return when no DMA runs that has used an entry of [@start, @end). NULL for a
 *	device of which @zap is enough. A device that is gone, or that hangs, must be
 *	stopped another way: there is no errno. With HMM_MIRROR_DMA_TRACKED this is the
 *	last moment for hmm_mirror_dma_written()
 *
 * All are called with the mirror's lock held, under the rules of hmm_mirror_ops.map for
 * @set and hmm_mirror_ops.unmap for the others. @zap and @wait are not called for an
 * interval in which nothing is mapped. A device that has no page table needs neither @set
 * nor @zap: its driver calls hmm_mirror_dma_lookup() and starts the DMA before it lets go
 * of the lock.
 */
struct hmm_mirror_dma_ops {
	int (*set)(struct hmm_mirror_dma *dma,
		   const struct hmm_mirror_dma_run *run);
	void (*zap)(struct hmm_mirror_dma *dma, unsigned long start,
		    unsigned long end);
	void (*wait)(struct hmm_mirror_dma *dma, unsigned long start,
		     unsigned long end);
};

/**
 * struct hmm_mirror_dma - a mirror's memory, mapped for DMA by a device
 * @ops: for hmm_mirror_dma_mirror_ops: to be set before hmm_mirror_dma_init(). NULL for a
 *	driver that calls the single steps
 * @mirror: private, the mirror
 * @dev: private, the device
 * @node: private, among those of the mirror
 * @tables: private, what is mapped
 *
 * Embed it in the driver's own struct and use container_of() in callbacks.
 */
struct hmm_mirror_dma {
	const struct hmm_mirror_dma_ops *ops;
	struct hmm_mirror *mirror;
	struct device *dev;
	struct list_head node;
	struct hmm_mirror_dma_tables *tables;
};

/* Flags of hmm_mirror_dma_init() */
#define HMM_MIRROR_DMA_FIXED	BIT(0)
#define HMM_MIRROR_DMA_TRACKED	BIT(1)

/**
 * hmm_mirror_dma_init() - prepare a mirror's memory for DMA by a device
 * @dma: memory for it, in the driver's own struct, with @dma->ops set; the rest need not
 *	be initialised
 * @mirror: registered mirror. It may be registered for DMA by several devices
 * @dev: the device that does the DMA, with its DMA masks set, as by
 *	dma_set_mask_and_coherent()
 * @flags: HMM_MIRROR_DMA_FIXED: the mirror is a window that is mapped again and again, an
 *	RDMA region say: I/O virtual addresses are allocated once for all of it, where there
 *	is an IOMMU and the kernel can do that (6.16 on). Where it cannot be had each run
 *	gets an address of its own, as without the flag: nothing but speed is different.
 *	HMM_MIRROR_DMA_TRACKED: the driver tells with hmm_mirror_dma_written() what the
 *	device has written; otherwise whatever it could have written counts as written
 *
 * Locking: not from a callback, nor with the lock of a mirror held.
 * Context: sleeps.
 *
 * Return: 0, -EINVAL (unknown flag, no DMA mask),
 * -EOPNOTSUPP (the device is not coherent with the CPU's caches), or -ENOMEM.
 */
int hmm_mirror_dma_init(struct hmm_mirror_dma *dma, struct hmm_mirror *mirror,
			struct device *dev, unsigned int flags);

/**
 * hmm_mirror_dma_exit() - unmap everything, and end
 * @dma: from hmm_mirror_dma_init()
 *
 * Before hmm_mirror_unregister(), for a page may be marked dirty only while the mirror
 * watches it; and before the driver's remove() returns, for nothing of a device that is
 * unbound may stay mapped. With @dma->ops the device is stopped with @zap and @wait;
 * without, the driver has stopped it. Invalidations go on until the mirror is
 * unregistered: the steps can still be called, and find nothing mapped; map and prepare
 * return -ENODEV.
 *
 * Locking: not from a callback; takes the mirror's lock.
 * Context: sleeps.
 */
void hmm_mirror_dma_exit(struct hmm_mirror_dma *dma);

/**
 * hmm_mirror_dma_prepare() - get the memory that hmm_mirror_dma_map() could not get
 * @dma: from hmm_mirror_dma_init()
 * @start: first virtual address, that of the request that failed
 * @end: first virtual address past it
 *
 * hmm_mirror_dma_map() cannot wait for memory, and returns -EAGAIN instead. The driver
 * lets hmm_mirror_populate() return that, calls this, which can wait, and populates again
 * from hmm_mirror_request.next on: with what has been put by, at least one run more is
 * mapped than before. There is no need to call it without an -EAGAIN. The memory is
 * charged to the caller's cgroup, which of a kernel worker is the root cgroup: up to 8 KiB
 * for each 2 MiB of addresses in which more than one run is mapped. What is put by and not
 * used is kept until hmm_mirror_dma_exit(), at most 36 KiB.
 *
 * Locking: not from a callback; takes the mirror's lock.
 * Context: sleeps.
 *
 * Return: 0, -EINVAL (an empty range), -ENOMEM, -ENODEV (after hmm_mirror_dma_exit()), or
 * -EINTR (a fatal signal while waiting for the lock).
 */
int hmm_mirror_dma_prepare(struct hmm_mirror_dma *dma, unsigned long start,
			   unsigned long end);

/**
 * hmm_mirror_dma_map() - map the next run of an extent
 * @dma: from hmm_mirror_dma_init()
 * @extent: one that hmm_mirror_ops.map has been given, or a part of it
 * @run: out: the run, as far as it is in @extent
 * @pos: pages of @extent that are done; 0 at first, and left alone between calls
 *
 * A page that is mapped already keeps its address. Where another page is mapped, or the
 * same one only for reading and @extent has WRITE, that run is unmapped first: the device
 * must not be using it. See hmm_mirror_dma_outdated().
 *
 * An extent that is not VALID, or device-private, has no runs.
 *
 * Locking: the mirror's lock is held, as in hmm_mirror_ops.map.
 * Context: does not wait for memory.
 *
 * Return: 1 and @run; 0 at the end of @extent; or
 * -EAGAIN: no memory for tables, see hmm_mirror_dma_prepare().
 * -ENOMEM: no I/O virtual addresses, or no memory for the IOMMU's tables.
 * -EOPNOTSUPP: the device cannot reach the memory itself (beyond its DMA mask, or bounce
 *	buffers are forced), or the two devices of peer-to-peer DMA cannot reach each other.
 * -ENODEV: after hmm_mirror_dma_exit().
 * What has been mapped before an error stays mapped.
 */
int hmm_mirror_dma_map(struct hmm_mirror_dma *dma,
		       const struct hmm_mirror_extent *extent,
		       struct hmm_mirror_dma_run *run, unsigned long *pos);

/**
 * hmm_mirror_dma_outdated() - what hmm_mirror_dma_map() would have to unmap
 * @dma: from hmm_mirror_dma_init()
 * @extent: extent that is about to be mapped
 * @start: out: first virtual address of what is in the way
 * @end: out: first virtual address past it
 *
 * A page that the CPU may write to at last, where it is, is no invalidation: the device
 * may be reading it when it is mapped for writing. Stop it in [@start, @end) as for an
 * invalidation, call hmm_mirror_dma_unmap(), and then map.
 *
 * Locking: the mirror's lock is held.
 * Context: does not sleep.
 *
 * Return: true and the interval, of whole runs, or false.
 */
bool hmm_mirror_dma_outdated(struct hmm_mirror_dma *dma,
			     const struct hmm_mirror_extent *extent,
			     unsigned long *start, unsigned long *end);

/**
 * hmm_mirror_dma_grow() - to whole runs
 * @dma: from hmm_mirror_dma_init()
 * @start: first virtual address, page aligned
 * @end: first virtual address past the interval, page aligned
 *
 * A run can only be unmapped as it was mapped. Called first in hmm_mirror_ops.unmap: what
 * the device has of the longer interval is to be cleared, waited for and unmapped.
 *
 * Locking: the mirror's lock is held.
 * Context: does not sleep.
 *
 * Return: true if anything is mapped in the interval; otherwise there is nothing to do.
 */
bool hmm_mirror_dma_grow(struct hmm_mirror_dma *dma, unsigned long *start,
			 unsigned long *end);

/**
 * hmm_mirror_dma_unmap() - unmap an interval
 * @dma: from hmm_mirror_dma_init()
 * @start: first virtual address, from hmm_mirror_dma_grow()
 * @end: first virtual address past it, from hmm_mirror_dma_grow()
 *
 * After the device has stopped. Runs are unmapped, the IOMMU is flushed as its driver does
 * it (not at once in its lazy mode: it is no barrier against a device that has not
 * stopped), and pages are marked dirty that the device has, or may have, written.
 *
 * Locking: the mirror's lock is held, and no spinlock.
 * Context: may let other tasks run; does not wait for memory.
 */
void hmm_mirror_dma_unmap(struct hmm_mirror_dma *dma, unsigned long start,
			  unsigned long end);

/**
 * hmm_mirror_dma_written() - the device has written here
 * @dma: from hmm_mirror_dma_init(), with HMM_MIRROR_DMA_TRACKED
 * @start: first virtual address
 * @end: first virtual address past it; neither need be aligned
 *
 * To be called before the pages are unmapped, in hmm_mirror_dma_ops.wait at the latest.
 *
 * Locking: the mirror's lock is held.
 * Context: does not sleep.
 */
void hmm_mirror_dma_written(struct hmm_mirror_dma *dma, unsigned long start,
			    unsigned long end);

/**
 * hmm_mirror_dma_lookup() - the run at an address
 * @dma: from hmm_mirror_dma_init()
 * @addr: virtual address, of any alignment
 * @run: out: the whole run around it
 *
 * Locking: the mirror's lock is held; @run is true as long as it is.
 * Context: does not sleep.
 *
 * Return: true, or false if nothing is mapped there.
 */
bool hmm_mirror_dma_lookup(struct hmm_mirror_dma *dma, unsigned long addr,
			   struct hmm_mirror_dma_run *run);

/**
 * hmm_mirror_dma_populate() - hmm_mirror_populate(), with the memory that it takes
 * @mirror: registered mirror with hmm_mirror_dma_mirror_ops, or the callbacks in it
 * @request: what to map, see struct hmm_mirror_request
 *
 * Whatever the tables of the mirror's struct hmm_mirror_dma lack is got, and the request
 * continued. With hmm_mirror_dma_ops_map() as hmm_mirror_ops.map, and all of the range
 * mapped for writing by all devices, there is nothing to do, and @set is not called.
 *
 * A run is mapped anew, after @zap, when it is found to have become writable: without
 * HMM_MIRROR_PFN_REQ_WRITE, what a request has mapped may so be gone when it returns, as it
 * may be by an invalidation. The device faults again.
 *
 * Locking: as hmm_mirror_populate().
 * Context: sleeps.
 *
 * Return: as hmm_mirror_populate(); -ENODEV if the mirror is mapped for no device (any
 * more); an errno of hmm_mirror_dma_map(), or of hmm_mirror_dma_ops.set. -EAGAIN only if it
 * comes from @set, or from a driver's own hmm_mirror_ops.map: what the driver lacks it must
 * get itself, and then continue from hmm_mirror_request.next.
 */
int hmm_mirror_dma_populate(struct hmm_mirror *mirror,
			    struct hmm_mirror_request *request);

/**
 * hmm_mirror_dma_ops_map() - hmm_mirror_ops.map that keeps the order
 * @mirror: registered mirror
 * @extents: what to map, in ascending order of address, without gaps between them
 * @nr: number of @extents
 *
 * Maps the extents for each of the mirror's devices and has @set called. What is outdated
 * is zapped, waited for and unmapped before.
 *
 * Locking: the mirror's lock is held, as in hmm_mirror_ops.map.
 * Context: sleeps if @set, @zap or @wait does; does not wait for memory.
 *
 * Return: 0, -ENODEV if there is no device, or an errno as hmm_mirror_dma_populate(), or
 * -EAGAIN.
 */
int hmm_mirror_dma_ops_map(struct hmm_mirror *mirror,
			   const struct hmm_mirror_extent *extents,
			   unsigned int nr);

/**
 * hmm_mirror_dma_ops_unmap() - hmm_mirror_ops.unmap that keeps the order
 * @mirror: registered mirror
 * @start: first virtual address, page aligned
 * @end: first virtual address past the interval, page aligned
 * @event: why; not used
 *
 * Grows, has all devices zapped, then all waited for, then unmaps, flushes, and marks what
 * was written dirty.
 *
 * Locking: the mirror's lock is held, as in hmm_mirror_ops.unmap.
 * Context: sleeps if @zap or @wait does, and may let other tasks run; does not wait for
 * memory.
 */
void hmm_mirror_dma_ops_unmap(struct hmm_mirror *mirror, unsigned long start,
			      unsigned long end,
			      enum mmu_notifier_event event);

/*
 * For hmm_mirror_register(). A driver that has more callbacks puts the two functions into
 * a struct hmm_mirror_ops of its own.
 */
extern const struct hmm_mirror_ops hmm_mirror_dma_mirror_ops;

#endif /* HMM_MIRROR_H */
