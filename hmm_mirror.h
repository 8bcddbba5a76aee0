/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hmm_mirror: mirror a process's address space on a device.
 *
 * This is the one header a driver includes. It offers three layers:
 *
 *  1.  hmm_mirror_range_fault(): read, and where asked fault in, a range of
 *      virtual addresses; one output word per page. Field names and return
 *      values are those of the kernel's struct hmm_range, porting is renaming.
 *  1b. hmm_mirror_range_extents(): the same request, answered with one entry
 *      for each run of pages that are alike.
 *  2.  struct hmm_mirror: a subscription to a range. The driver supplies
 *      callbacks; locking and revalidation are done here.
 *
 * None of it pins a page or takes a reference. What is reported is true until
 * the MMU interval notifier of the range says otherwise, and a driver may act
 * on it only after it has checked that, under the lock that its invalidation
 * callback also takes (see mmu_interval_read_retry()). Layer 2 does this check.
 */
#ifndef HMM_MIRROR_H
#define HMM_MIRROR_H

#include <linux/bits.h>
#include <linux/build_bug.h>
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
 *  none of the three: nothing is there now, a request would fault it in
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
 * interval notifier. A device-private page of the caller is returned too, see
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
 * flags. It can reach beyond the range that was asked for. A part of a compound
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
 * @start: first virtual address, page aligned
 * @end: first virtual address past the range, page aligned
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
 * @order_shift: the order's lowest bit in an output word, for those who must have
 *	it elsewhere; not for the extent calls. 0 for HMM_MIRROR_PFN_ORDER_SHIFT
 * @device_pages_as_is: a page of @dev_private_owner that was asked for writing,
 *	and that its driver does not make writable when it is faulted, is reported
 *	as it is, without WRITE. Otherwise the call tries on and on, or fails with
 *	-EBUSY
 * @fault_addr: out: the first address that could not be served, with -EFAULT,
 *	-EPERM, -EHWPOISON and -ENOMEM; otherwise 0
 * @nr_faults: out: page faults that were taken
 * @nr_waits: out: faults for which mmap_lock was dropped, taken or to be tried again
 * @nr_walks: out: page-table walks that were begun
 * @nr_restarts: out: how often the result was collected anew because of an
 *	invalidation
 * @nr_slots: out: entries looked at: pages, or whole holes and huge mappings
 *	where all of the entry is answered at once
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
 * From HWPOISON on the entries are ERROR. They fail a request with -EFAULT,
 * HWPOISON with -EHWPOISON.
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
 * that, if VALID, is physically contiguous. It never reaches out of the range
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
 * @nr: out: elements filled
 * @next: out: first address that is not covered by @array. Less than
 *	hmm_mirror_range.end if the array was full: set range.start to it and
 *	call again for the rest
 */
struct hmm_mirror_extents {
	struct hmm_mirror_extent *array;
	unsigned int capacity;
	bool without_pfns;
	unsigned int nr;
	unsigned long next;
};

int hmm_mirror_range_fault(struct hmm_mirror_range *range);
int hmm_mirror_range_fault_unlocked(struct hmm_mirror_range *range,
				    unsigned long timeout);
int hmm_mirror_range_extents(struct hmm_mirror_range *range,
			     struct hmm_mirror_extents *extents);
int hmm_mirror_range_extents_unlocked(struct hmm_mirror_range *range,
				      struct hmm_mirror_extents *extents,
				      unsigned long timeout);

struct hmm_mirror;

/**
 * struct hmm_mirror_ops - what a driver does for a mirror
 * @map: program the device with @nr extents, in ascending order of address,
 *	without gaps between them; needed for hmm_mirror_populate() only.
 *	Extents that are not VALID are holes, or cannot be mirrored, and come
 *	along so that a driver can clear what it had there. All of them are true
 *	at that moment and stay so until @unmap is called for them. Called with
 *	the mirror's lock held, so it must not allocate memory in a way that
 *	reclaims (no GFP_KERNEL), fault, or take mmap_lock or a page's lock.
 *	Return 0, or an errno that hmm_mirror_populate() passes on
 * @unmap: pages of [@start, @end) are about to change or go away: stop every
 *	use of them by the device before returning. @event says why. The
 *	interval is clipped to the mirror. Called with the mirror's lock held;
 *	may sleep, except that the OOM reaper waits for it: do not wait for
 *	memory or for another lock that is held while memory is allocated. Nor
 *	for a page's lock: some callers hold one (reclaim, migration). A page
 *	that the device has written to is marked dirty with set_page_dirty(),
 *	which takes none, before it returns: the CPU's entry may be writable and
 *	clean, and the page then be dropped instead of written out. Must not
 *	call hmm_mirror_*() functions other than hmm_mirror_sequence()
 * @migrate: optional; called instead of @unmap when pages of [@start, @end) are
 *	moved by a migrate_vma with the mirror's own @dev_private_owner as
 *	pgmap_owner. For drivers that know, in this place, that they have taken
 *	care of every one of their mirrors of that range: the migration may have
 *	been begun for another mirror of the same device, or by a CPU fault.
 *	Rules as for @unmap
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

/**
 * struct hmm_mirror - a subscription to a range of an address space
 * @notifier: private, the kernel's interval notifier
 * @ops: private, the driver's callbacks
 * @lock: private, held over every callback; see hmm_mirror_lock()
 * @dev_private_owner: owner of the driver's device-private memory, or NULL.
 *	Set it before hmm_mirror_register(). Its pages are reported VALID; see
 *	also hmm_mirror_ops.migrate
 * @released: private, @ops->release has been due
 *
 * Embed it in the driver's own struct and use container_of() in callbacks.
 */
struct hmm_mirror {
	struct mmu_interval_notifier notifier;
	const struct hmm_mirror_ops *ops;
	struct mutex lock; /* over callbacks, and the sequence check */
	void *dev_private_owner;
	bool released;
};

/**
 * struct hmm_mirror_request - what hmm_mirror_populate() shall map
 * @start: first virtual address, page aligned, inside the mirror
 * @end: first virtual address past the range, page aligned
 * @default_flags: HMM_MIRROR_PFN_REQ_FAULT, _REQ_WRITE, or 0 for what happens
 *	to be there
 * @timeout: jiffies after which to give up with -EBUSY, 0 for no limit
 * @next: out: everything below has been mapped
 * @fault_addr: out: as in struct hmm_mirror_range
 * @nr_faults: out: page faults that were taken
 * @nr_restarts: out: chunks that were collected anew because of invalidations
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

int hmm_mirror_register_class(struct hmm_mirror *mirror, struct mm_struct *mm,
			      unsigned long start, unsigned long length,
			      const struct hmm_mirror_ops *ops,
			      struct lock_class_key *key);
void hmm_mirror_unregister(struct hmm_mirror *mirror);
int hmm_mirror_populate(struct hmm_mirror *mirror,
			struct hmm_mirror_request *request);

/**
 * hmm_mirror_register() - subscribe to a range of an address space
 * @mirror: memory for the mirror, in the driver's own struct;
 *	@mirror->dev_private_owner is set, the rest need not be initialised
 * @mm: the address space; the caller has a reference to its users (mmget(), or
 *	it is current->mm)
 * @start: first virtual address, page aligned
 * @length: bytes, a multiple of PAGE_SIZE
 * @ops: callbacks; @ops->unmap is required. They can be called before this
 *	function returns
 *
 * The mirror keeps the mm_struct alive but not the memory: process exit is not
 * delayed. It does not follow fork(): the child's memory is not mirrored. For
 * lockdep the locks of all mirrors registered by one line of code are of one
 * class.
 *
 * Locking: none of the mm's locks may be held (the first registration for an mm
 * takes mmap_lock for writing), nor the lock of any mirror.
 * Context: sleeps.
 *
 * Return: 0, -EINVAL (misaligned, empty or wrapping range, no @ops->unmap),
 * -EOVERFLOW (the address past the range is 2^64), -ENOMEM, or, only from the
 * first registration for an mm, -EINTR (any signal is pending).
 */
#define hmm_mirror_register(mirror, mm, start, length, ops)		\
({									\
	static struct lock_class_key hmm_mirror_key;			\
									\
	hmm_mirror_register_class(mirror, mm, start, length, ops,	\
				  &hmm_mirror_key);			\
})

/**
 * hmm_mirror_lock() - keep the mirror's callbacks out
 * @mirror: registered mirror
 *
 * While held neither map, unmap nor release runs, so what @ops->map was given
 * and @ops->unmap has not taken back is true: the place to read a device page
 * table that the callbacks maintain. The rules of @ops->map hold: no fault, no
 * reclaiming allocation, no mmap_lock, no page's lock. The order of locks is
 * mmap_lock, page lock, mirror lock. Sleeps.
 */
static inline void hmm_mirror_lock(struct hmm_mirror *mirror)
{
	mutex_lock(&mirror->lock);
}

/**
 * hmm_mirror_unlock() - let the mirror's callbacks run again
 * @mirror: mirror locked with hmm_mirror_lock()
 */
static inline void hmm_mirror_unlock(struct hmm_mirror *mirror)
{
	mutex_unlock(&mirror->lock);
}

/**
 * hmm_mirror_sequence() - sequence number of the last invalidation
 * @mirror: registered mirror, its lock held (as in every callback)
 *
 * Return: a number that grows with invalidations of the mirror. Those that
 * overlap in time have the same.
 */
static inline unsigned long hmm_mirror_sequence(struct hmm_mirror *mirror)
{
	lockdep_assert_held(&mirror->lock);
	/* Written under the lock that the caller holds: no READ_ONCE needed. */
	return mirror->notifier.invalidate_seq;
}

/**
 * hmm_mirror_read_begin() - begin to work on pages without hmm_mirror_populate()
 * @mirror: registered mirror, its lock not held
 *
 * For what populate does not do, such as make_device_exclusive(): begin here, do
 * it, take hmm_mirror_lock() and ask hmm_mirror_read_retry(); only if that is
 * false the device may be programmed, before the lock is released. Pass the
 * mirror itself as owner to make_device_exclusive(): its own invalidation is
 * then not counted against it, while every other mirror is told. Nor is it
 * counted against a hmm_mirror_populate() of the same pages that runs at the same
 * time, which may map them over the exclusive entry: a driver that uses both
 * serialises them.
 *
 * Context: sleeps until a running invalidation of the mirror has ended.
 *
 * Return: a sequence number for hmm_mirror_read_retry().
 */
static inline unsigned long hmm_mirror_read_begin(struct hmm_mirror *mirror)
{
	return mmu_interval_read_begin(&mirror->notifier);
}

/**
 * hmm_mirror_read_retry() - has an invalidation come in between?
 * @mirror: registered mirror, its lock held
 * @sequence: from hmm_mirror_read_begin()
 *
 * Return: true if what was learnt since then is stale and must not be used.
 */
static inline bool hmm_mirror_read_retry(struct hmm_mirror *mirror,
					 unsigned long sequence)
{
	lockdep_assert_held(&mirror->lock);
	return mmu_interval_read_retry(&mirror->notifier, sequence);
}

#endif /* HMM_MIRROR_H */
