/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Every difference between kernels that hmm_mirror knows of.
 *
 * HMM_MIRROR_HAVE_* are results of the build probes (probes/, run by Kbuild): each one
 * says that a few lines of C compiled against this kernel's headers. The version in a
 * comment is where mainline changed; stable trees backport, so nothing here asks for a
 * version.
 */
#ifndef HMM_MIRROR_COMPAT_H
#define HMM_MIRROR_COMPAT_H

#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/hugetlb.h>
#include <linux/iommu.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/pagewalk.h>
#include <linux/pgtable.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/timer.h>
#include <linux/userfaultfd_k.h>

#include "compat_probes.h"
#include "hmm_mirror.h"

#ifndef HMM_MIRROR_HAVE_SANITY
#error "Build probes do not work, see probes/sanity.log in the build directory"
#endif

#ifdef HMM_MIRROR_HAVE_LEAFOPS
/* "mm: introduce leaf entry type and use to simplify leaf entry logic", v6.19 */
#include <linux/leafops.h>
#endif

/*
 * Not in mainline: device memory outside the physical address space. Its entries hold an
 * offset instead of a page frame number.
 */
#ifdef HMM_MIRROR_HAVE_DEVICE_PRIVATE_OFFSET
#error "Device-private entries have no page frame number; hmm_mirror has to be adapted"
#endif

/* "mm: enable page walking API to lock vmas during the walk", v6.5 */
#ifdef HMM_MIRROR_HAVE_MM_WALK_LOCK
#define COMPAT_WALK_LOCK_READ	.walk_lock = PGWALK_RDLOCK,
#else
#define COMPAT_WALK_LOCK_READ
#endif

/* "mm: Introduce VM_SHADOW_STACK for shadow stack memory", v6.6 */
#ifndef VM_SHADOW_STACK
#define VM_SHADOW_STACK		VM_NONE
#endif

/* Whether programs can have shadow stacks: the CPU must support them, too. */
static inline bool compat_has_shadow_stacks(void)
{
#ifdef X86_FEATURE_USER_SHSTK
	return boot_cpu_has(X86_FEATURE_USER_SHSTK);
#else
	return VM_SHADOW_STACK != VM_NONE;
#endif
}

/*
 * "mm: userfaultfd: add new UFFDIO_POISON ioctl", v6.6; "mm: add PTE_MARKER_GUARD
 * PTE marker", v6.13. leafops.h came later than both.
 */
static inline bool compat_has_poison_markers(void)
{
#if defined(HMM_MIRROR_HAVE_LEAFOPS) || defined(HMM_MIRROR_HAVE_POISONED_SWP_ENTRY)
	return IS_ENABLED(CONFIG_USERFAULTFD);
#else
	return false;
#endif
}

static inline bool compat_has_guard_markers(void)
{
#if defined(HMM_MIRROR_HAVE_LEAFOPS) || defined(HMM_MIRROR_HAVE_GUARD_SWP_ENTRY)
	return true;
#else
	return false;
#endif
}

/* "mm/huge_memory: add device-private THP support to PMD operations", v6.19 */
static inline bool compat_has_huge_device_private(void)
{
#ifdef HMM_MIRROR_HAVE_PMD_DEVICE_PRIVATE
	return IS_ENABLED(CONFIG_DEVICE_PRIVATE) &&
	       IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE);
#else
	return false;
#endif
}

/*
 * "mm: Rename pmd_read_atomic()", v6.2; before, only 32 bit needed care. Pairs with the
 * WRITE_ONCE() of set_pmd().
 */
static inline pmd_t compat_pmdp_get(pmd_t *pmdp)
{
#ifdef HMM_MIRROR_HAVE_PMDP_GET_LOCKLESS
	return pmdp_get_lockless(pmdp);
#else
	return READ_ONCE(*pmdp);
#endif
}

/*
 * "mm: Introduce pudp/p4dp/pgdp_get() functions", v6.8. Pairs with the WRITE_ONCE() of
 * set_pud().
 */
static inline pud_t compat_pudp_get(pud_t *pudp)
{
#ifdef HMM_MIRROR_HAVE_PUDP_GET
	return pudp_get(pudp);
#else
	return READ_ONCE(*pudp);
#endif
}

/*
 * "mm: provide mm_struct and address to huge_ptep_get()", v6.11. Where the architecture
 * has a function of its own, it is not exported; except on s390, all that it adds to a
 * plain read is the accessed and dirty bits of the entry's parts.
 */
#if defined(CONFIG_S390) && defined(CONFIG_HUGETLB_PAGE)
#error "hugetlb entries cannot be read by a module on s390"
#endif
static inline pte_t compat_huge_ptep_get(struct mm_struct *mm,
					 unsigned long addr, pte_t *ptep)
{
#ifdef __HAVE_ARCH_HUGE_PTEP_GET
	return ptep_get(ptep);
#elif defined(HMM_MIRROR_HAVE_HUGE_PTEP_GET_MM)
	return huge_ptep_get(mm, addr, ptep);
#else
	return huge_ptep_get(ptep);
#endif
}

/* "mm: remove devmap related functions and page table bits", v6.17 */
static inline bool compat_pte_devmap(pte_t pte)
{
#ifdef HMM_MIRROR_HAVE_DEVMAP
	return pte_devmap(pte);
#else
	return false;
#endif
}

static inline bool compat_pmd_devmap(pmd_t pmd)
{
#ifdef HMM_MIRROR_HAVE_DEVMAP
	return pmd_devmap(pmd);
#else
	return false;
#endif
}

static inline bool compat_pud_devmap(pud_t pud)
{
#ifdef HMM_MIRROR_HAVE_DEVMAP
	return pud_devmap(pud);
#else
	return false;
#endif
}

/*
 * Before the removal of devmap, a PMD or PUD that maps DAX memory is huge without
 * pmd_trans_huge() being true. On x86 all of them have _PAGE_PSE, which is all that
 * pmd_leaf() looks at.
 */
static inline bool compat_pmd_leaf(pmd_t pmd)
{
	if (IS_ENABLED(CONFIG_X86_64))
		return pmd_leaf(pmd);
	return pmd_leaf(pmd) || pmd_trans_huge(pmd) || compat_pmd_devmap(pmd);
}

static inline bool compat_pud_leaf(pud_t pud)
{
	if (IS_ENABLED(CONFIG_X86_64))
		return pud_leaf(pud);
	return pud_leaf(pud) || pud_trans_huge(pud) || compat_pud_devmap(pud);
}

/*
 * "mm: new primitive pmd_special and pud_special": special bits in huge entries, v6.12.
 * On older kernels a huge entry without a struct page cannot be recognised, and none is
 * made outside of VM_PFNMAP.
 */
static inline bool compat_pmd_special(pmd_t pmd)
{
#ifdef HMM_MIRROR_HAVE_PMD_SPECIAL
	return pmd_special(pmd);
#else
	return false;
#endif
}

static inline bool compat_pud_special(pud_t pud)
{
#ifdef HMM_MIRROR_HAVE_PMD_SPECIAL
	return pud_special(pud);
#else
	return false;
#endif
}

/*
 * A mapping may know itself which page the special entry at an address stands for: "mm:
 * rename vm_ops->find_special_page() to vm_ops->find_normal_page()", v6.18; since then
 * only kernels for Xen have it.
 */
#if defined(HMM_MIRROR_HAVE_FIND_NORMAL_PAGE)
#define COMPAT_FIND_PAGE	find_normal_page
#elif defined(HMM_MIRROR_HAVE_FIND_SPECIAL_PAGE)
#define COMPAT_FIND_PAGE	find_special_page
#endif

static inline bool compat_can_find_page(const struct vm_area_struct *vma)
{
#ifdef COMPAT_FIND_PAGE
	return vma->vm_ops && vma->vm_ops->COMPAT_FIND_PAGE;
#else
	return false;
#endif
}

static inline struct page *compat_find_page(struct vm_area_struct *vma,
					    unsigned long addr)
{
#ifdef COMPAT_FIND_PAGE
	if (compat_can_find_page(vma))
		return vma->vm_ops->COMPAT_FIND_PAGE(vma, addr);
#endif
	return NULL;
}

/*
 * vm_normal_page() is not exported. Its contract: where the architecture has a special
 * bit, a special entry has no struct page that may be used. Elsewhere, an entry of a
 * VM_MIXEDMAP mapping is a normal page if it has a struct page at all. The zero page is
 * special, yet fine to read; and a mapping may know more about its own entries. Sets
 * *@pfn to the page's frame number.
 */
static inline bool compat_pte_has_page(struct vm_area_struct *vma,
				       unsigned long addr, pte_t pte,
				       unsigned long *pfn)
{
	struct page *page;

	*pfn = pte_pfn(pte);
	if (!IS_ENABLED(CONFIG_ARCH_HAS_PTE_SPECIAL))
		return !(vma->vm_flags & VM_MIXEDMAP) || pfn_valid(*pfn);
	if (likely(!pte_special(pte)) || compat_pte_devmap(pte) ||
	    is_zero_pfn(*pfn))
		return true;
	page = compat_find_page(vma, addr);
	if (page)
		*pfn = page_to_pfn(page);
	return page;
}

/*
 * Whether an entry with the same bits at another address can stand for something else.
 * The same is true of huge entries, but mappings that can find their pages have none.
 */
static inline bool compat_pte_is_unique(const struct vm_area_struct *vma,
					pte_t pte)
{
	return IS_ENABLED(CONFIG_ARCH_HAS_PTE_SPECIAL) && pte_present(pte) &&
	       unlikely(pte_special(pte)) && compat_can_find_page(vma);
}

/*
 * Since "mm/huge_memory: mark PMD mappings of the huge zero folio special",
 * v6.18, a special PMD can be the huge zero folio; a special one with nothing
 * behind it lives in a VM_MIXEDMAP mapping (VM_PFNMAP is not walked).
 */
static inline bool compat_pmd_has_page(struct vm_area_struct *vma, pmd_t pmd)
{
	return !compat_pmd_special(pmd) || !(vma->vm_flags & VM_MIXEDMAP);
}

static inline bool compat_pud_has_page(struct vm_area_struct *vma, pud_t pud)
{
	return !compat_pud_special(pud) || !(vma->vm_flags & VM_MIXEDMAP);
}

/*
 * What an entry's bits mean, so that an entry that says the same as another one, of
 * another page, can be recognised without decoding it: it differs only in
 * COMPAT_PTE_PFN_MASK and in compat_pte_hints(), which are bits below PAGE_SHIFT. The
 * entry of the next page frame is greater by PAGE_SIZE, if compat_entry_valid().
 *
 * None of it holds where compat_pte_format_known() is false.
 */
#ifdef CONFIG_X86_64
#define COMPAT_PTE_PFN_MASK	PTE_PFN_MASK

static inline bool compat_pte_format_known(void)
{
	/* A Xen PV guest's entries hold page frame numbers of the machine. */
	return !cpu_feature_enabled(X86_FEATURE_XENPV);
}

/*
 * An entry that the kernel calls present may be invalid for a moment, because of
 * pmdp_invalidate(); then its page frame number is stored inverted.
 */
static inline bool compat_entry_valid(unsigned long entry)
{
	return entry & _PAGE_PRESENT;
}

#define COMPAT_PTE_HINTS	(_PAGE_ACCESSED | _PAGE_SOFT_DIRTY | _PAGE_DIRTY)

/* Any other bit would end up in words as a part of the page frame number or as a flag. */
static_assert(COMPAT_PTE_HINTS < PAGE_SIZE,
	      "hints of a page-table entry are not below PAGE_SHIFT in this kernel; hmm_mirror has to be adapted");

/* Dirty but not writable has a meaning: a shadow stack. */
static inline unsigned long compat_pte_hints(unsigned long pte)
{
	return pte & _PAGE_RW ? COMPAT_PTE_HINTS :
				COMPAT_PTE_HINTS & ~_PAGE_DIRTY;
}
#else
#define COMPAT_PTE_PFN_MASK	0UL

static inline bool compat_pte_format_known(void)
{
	return false;
}

static inline bool compat_entry_valid(unsigned long entry)
{
	return false;
}

static inline unsigned long compat_pte_hints(unsigned long pte)
{
	return 0;
}
#endif

/* The raw bits of an entry. */
static inline unsigned long compat_pte_bits(pte_t pte)
{
	unsigned long bits;

	BUILD_BUG_ON(sizeof(pte) != sizeof(bits));
	memcpy(&bits, &pte, sizeof(bits));
	return bits;
}

static inline unsigned long compat_pmd_bits(pmd_t pmd)
{
	unsigned long bits;

	BUILD_BUG_ON(sizeof(pmd) != sizeof(bits));
	memcpy(&bits, &pmd, sizeof(bits));
	return bits;
}

/*
 * Whether @pmd names a page table, or is corrupt: it is neither none, nor swapped out,
 * nor a leaf. On x86 this is a single test.
 */
static inline bool compat_pmd_table(pmd_t pmd)
{
#ifdef CONFIG_X86_64
	return (compat_pmd_bits(pmd) & (_PAGE_PRESENT | _PAGE_PSE)) ==
	       _PAGE_PRESENT;
#else
	return !pmd_none(pmd) && pmd_present(pmd) && !compat_pmd_leaf(pmd);
#endif
}

/*
 * The size of blocks of page frames at whose borders the next frame may belong to another
 * node; nothing else about an entry tells. A node's memory is made of the kernel's own
 * pageblocks. Where their size is set at boot the variable is not exported, so this is a
 * part of one.
 */
#ifdef CONFIG_HUGETLB_PAGE_SIZE_VARIABLE
#define COMPAT_NODE_BLOCK_PAGES	((unsigned long)SZ_2M >> PAGE_SHIFT)
#else
#define COMPAT_NODE_BLOCK_PAGES	pageblock_nr_pages
#endif

/* For variables on the stack that CONFIG_INIT_STACK_ALL_ZERO should leave alone. */
#if __has_attribute(__uninitialized__)
#define COMPAT_UNINITIALIZED	__attribute__((__uninitialized__))
#else
#define COMPAT_UNINITIALIZED
#endif

/*
 * Finds the entry of @addr in the page table below *@pmdp, read as @pmd. Like
 * pte_offset_map(), whose out-of-line part is not exported ("mm/pgtable: allow
 * pte_offset_map[_lock]() to fail", v6.5). NULL if *@pmdp is no longer that page table.
 * The caller holds the RCU read lock as long as it uses the table, which keeps it from
 * being freed.
 */
static inline pte_t *compat_pte_offset(pmd_t *pmdp, pmd_t pmd,
				       unsigned long addr)
{
	if (compat_pmd_bits(compat_pmdp_get(pmdp)) != compat_pmd_bits(pmd))
		return NULL;
	return pte_offset_kernel(&pmd, addr);
}

/**
 * struct compat_swap_entry - a decoded non-present page-table entry
 * @entry: its kind
 * @pfn: device-private: the page
 * @write: device-private: the entry is writable
 */
struct compat_swap_entry {
	enum hmm_mirror_entry entry;
	unsigned long pfn;
	bool write;
};

#ifdef HMM_MIRROR_HAVE_LEAFOPS
static inline struct compat_swap_entry compat_decode(softleaf_t leaf)
{
	struct compat_swap_entry decoded = {};

	if (softleaf_is_swap(leaf)) {
		decoded.entry = HMM_MIRROR_ENTRY_SWAP;
	} else if (softleaf_is_migration(leaf)) {
		decoded.entry = HMM_MIRROR_ENTRY_MIGRATION;
	} else if (softleaf_is_device_private(leaf)) {
		decoded.entry = HMM_MIRROR_ENTRY_DEVICE_PRIVATE;
		decoded.pfn = softleaf_to_pfn(leaf);
		decoded.write = softleaf_is_device_private_write(leaf);
	} else if (softleaf_is_device_exclusive(leaf)) {
		decoded.entry = HMM_MIRROR_ENTRY_DEVICE_EXCLUSIVE;
	} else if (softleaf_is_hwpoison(leaf)) {
		decoded.entry = HMM_MIRROR_ENTRY_HWPOISON;
	} else if (softleaf_is_poison_marker(leaf)) {
		decoded.entry = HMM_MIRROR_ENTRY_POISON;
	} else if (softleaf_is_guard_marker(leaf)) {
		decoded.entry = HMM_MIRROR_ENTRY_GUARD;
	} else if (softleaf_is_marker(leaf)) {
		decoded.entry = HMM_MIRROR_ENTRY_UFFD_WP;
	} else {
		decoded.entry = HMM_MIRROR_ENTRY_BAD;
	}
	return decoded;
}

static inline struct compat_swap_entry compat_decode_pte(pte_t pte)
{
	return compat_decode(softleaf_from_pte(pte));
}

static inline struct compat_swap_entry compat_decode_pmd(pmd_t pmd)
{
	return compat_decode(softleaf_from_pmd(pmd));
}

#else /* !HMM_MIRROR_HAVE_LEAFOPS */

/*
 * Since "mm: userfaultfd: add new UFFDIO_POISON ioctl", v6.6, UFFDIO_POISON and failed
 * swap-ins share a marker; before, failed swap-ins had one of their own.
 */
static inline bool compat_is_poison_marker(swp_entry_t entry)
{
#ifdef HMM_MIRROR_HAVE_POISONED_SWP_ENTRY
	return is_poisoned_swp_entry(entry);
#else
	return is_swapin_error_entry(entry);
#endif
}

/* "mm: add PTE_MARKER_GUARD PTE marker", v6.13 */
static inline bool compat_is_guard_marker(swp_entry_t entry)
{
#ifdef HMM_MIRROR_HAVE_GUARD_SWP_ENTRY
	return is_guard_swp_entry(entry);
#else
	return false;
#endif
}

static inline struct compat_swap_entry compat_decode(swp_entry_t entry)
{
	struct compat_swap_entry decoded = {};

	if (!non_swap_entry(entry)) {
		decoded.entry = HMM_MIRROR_ENTRY_SWAP;
	} else if (is_migration_entry(entry)) {
		decoded.entry = HMM_MIRROR_ENTRY_MIGRATION;
	} else if (is_device_private_entry(entry)) {
		decoded.entry = HMM_MIRROR_ENTRY_DEVICE_PRIVATE;
		decoded.pfn = swp_offset_pfn(entry);
		decoded.write = is_writable_device_private_entry(entry);
	} else if (is_device_exclusive_entry(entry)) {
		decoded.entry = HMM_MIRROR_ENTRY_DEVICE_EXCLUSIVE;
	} else if (is_hwpoison_entry(entry)) {
		decoded.entry = HMM_MIRROR_ENTRY_HWPOISON;
	} else if (compat_is_poison_marker(entry)) {
		decoded.entry = HMM_MIRROR_ENTRY_POISON;
	} else if (compat_is_guard_marker(entry)) {
		decoded.entry = HMM_MIRROR_ENTRY_GUARD;
	} else if (is_pte_marker_entry(entry)) {
		decoded.entry = HMM_MIRROR_ENTRY_UFFD_WP;
	} else {
		decoded.entry = HMM_MIRROR_ENTRY_BAD;
	}
	return decoded;
}

static inline struct compat_swap_entry compat_decode_pte(pte_t pte)
{
	return compat_decode(pte_to_swp_entry(pte));
}

/* Before leafops.h, the only non-present PMD is a migration entry. */
static inline struct compat_swap_entry compat_decode_pmd(pmd_t pmd)
{
	struct compat_swap_entry decoded = { .entry = HMM_MIRROR_ENTRY_BAD };

	if (thp_migration_supported() && is_pmd_migration_entry(pmd))
		decoded.entry = HMM_MIRROR_ENTRY_MIGRATION;
	return decoded;
}
#endif /* !HMM_MIRROR_HAVE_LEAFOPS */

/*
 * Owner of the device memory that @pfn, which an entry names, is part of. Must be called
 * in the RCU read-side section in which the entry was read: drivers evict their pages
 * before memunmap_pages(), which then waits for such sections.
 *
 * "mm: allow compound zone device pages", v6.15, moved the pgmap to the folio, into the
 * word that makes other pages parts of a folio. While a device's folio is being split, or
 * made of single pages, that word of a page is first that of a part, then 0, then the
 * pgmap. All of a folio belongs to one device, so an old folio of the page is as good as
 * a new one; but its word must be read once only, and is a pointer only if it is neither
 * 0 nor odd.
 *
 * Returns false if the owner cannot be told at the moment. The entry is outdated then: no
 * page that is mapped is in such a state.
 */
static inline bool compat_device_private_owner(unsigned long pfn, void **owner)
{
#if !IS_ENABLED(CONFIG_DEVICE_PRIVATE)
	*owner = NULL;
#elif defined(HMM_MIRROR_HAVE_PAGE_PGMAP)
	const struct folio *folio = page_folio(pfn_to_page(pfn));
	/* Pairs with plain stores of the kernel: of one word, each of which is told apart. */
	const struct dev_pagemap *pgmap = READ_ONCE(folio->pgmap);

	if (unlikely(!pgmap || ((unsigned long)pgmap & 1)))
		return false;
	*owner = pgmap->owner;
#else
	*owner = pfn_to_page(pfn)->pgmap->owner;
#endif
	return true;
}

/* "timers: Rename del_timer_sync() to timer_delete_sync()", v6.2; in 6.1.84, too */
static inline void compat_timer_delete_sync(struct timer_list *timer)
{
#ifdef HMM_MIRROR_HAVE_TIMER_DELETE_SYNC
	timer_delete_sync(timer);
#else
	del_timer_sync(timer);
#endif
}

/* "timers: Rename destroy_timer_on_stack() as timer_destroy_on_stack()", v6.16 */
static inline void compat_timer_destroy_on_stack(struct timer_list *timer)
{
#ifdef HMM_MIRROR_HAVE_TIMER_DESTROY_ON_STACK
	timer_destroy_on_stack(timer);
#else
	destroy_timer_on_stack(timer);
#endif
}

/*
 * Not all kernels have mmap_write_trylock(). It must begin what mmap_write_unlock() ends:
 * "mm: convert mm_lock_seq to a proper seqcount", v6.14.
 */
static inline bool compat_mmap_write_trylock(struct mm_struct *mm)
{
	if (!down_write_trylock(&mm->mmap_lock))
		return false;
#ifdef HMM_MIRROR_HAVE_MM_LOCK_SEQCOUNT
	mm_lock_seqcount_begin(mm);
#endif
	return true;
}

/*
 * Whether a page fault holds the VMA's own lock: "mm: add per-VMA lock and helper
 * functions to control it", v6.4, a semaphore; "mm: replace vm_lock and detached flag
 * with a reference count", v6.15, which is 1 if nobody holds it. The caller holds
 * mmap_lock for writing.
 */
static inline bool compat_vma_is_read_locked(struct vm_area_struct *vma)
{
#if defined(HMM_MIRROR_HAVE_VMA_REFCNT)
	return refcount_read(&vma->vm_refcnt) > 1;
#elif defined(HMM_MIRROR_HAVE_VMA_LOCK)
	return rwsem_is_locked(&vma->vm_lock->lock);
#else
	return false;
#endif
}

/*
 * Keeps page faults out of the VMA until mmap_lock is released; the VMA's lock needs no
 * unlock of its own. Returns false if a page fault holds it. The caller holds mmap_lock
 * for writing.
 *
 * Where the lock is a reference count it cannot be tried, and vma_start_write() waits: a
 * page fault that takes the lock after the count was checked is waited for until it ends,
 * whatever the caller's deadline, with mmap_lock held all the time. For each VMA this is
 * a window of a few instructions.
 */
static inline bool compat_vma_try_start_write(struct vm_area_struct *vma)
{
#if defined(HMM_MIRROR_HAVE_VMA_REFCNT)
	if (compat_vma_is_read_locked(vma))
		return false;
	vma_start_write(vma);
#elif defined(HMM_MIRROR_HAVE_VMA_LOCK)
	if (!down_write_trylock(&vma->vm_lock->lock))
		return false;
	/*
	 * A VMA that has its mm's number is locked for writing. Pairs with the READ_ONCE()
	 * of vma_start_read().
	 */
#ifdef HMM_MIRROR_HAVE_MM_LOCK_SEQCOUNT
	WRITE_ONCE(vma->vm_lock_seq, vma->vm_mm->mm_lock_seq.sequence);
#else
	WRITE_ONCE(vma->vm_lock_seq, READ_ONCE(vma->vm_mm->mm_lock_seq));
#endif
	up_write(&vma->vm_lock->lock);
#endif
	return true;
}

/*
 * Nothing that is mapped with it is bounced (v7.3 has it). Where there is none it is found
 * out afterwards, see compat_dma_bounces().
 */
#ifdef DMA_ATTR_REQUIRE_COHERENT
#define COMPAT_DMA_REQUIRE_COHERENT	DMA_ATTR_REQUIRE_COHERENT
#else
#define COMPAT_DMA_REQUIRE_COHERENT	0
#endif

/*
 * "dma-mapping: export new dma_*map_phys() interface", v6.18: since then debug kernels
 * complain of pages of device memory in the older one, of coherent memory and DAX as well.
 */
static inline dma_addr_t compat_dma_map(struct device *dev, unsigned long pfn,
					size_t size,
					enum dma_data_direction direction,
					unsigned long attrs)
{
#ifdef HMM_MIRROR_HAVE_DMA_MAP_PHYS
	return dma_map_phys(dev, PFN_PHYS(pfn), size, direction, attrs);
#else
	return dma_map_page_attrs(dev, pfn_to_page(pfn), 0, size, direction,
				  attrs);
#endif
}

static inline void compat_dma_unmap(struct device *dev, dma_addr_t addr,
				    size_t size,
				    enum dma_data_direction direction,
				    unsigned long attrs)
{
#ifdef HMM_MIRROR_HAVE_DMA_MAP_PHYS
	dma_unmap_phys(dev, addr, size, direction, attrs);
#else
	dma_unmap_page_attrs(dev, addr, size, direction, attrs);
#endif
}

/*
 * "dma-mapping: add a dma_need_unmap helper", v6.16: without translation there is nothing to
 * do for a device, unless something is bounced or a debug kernel watches.
 */
static inline bool compat_dma_needs_unmap(struct device *dev)
{
#ifdef HMM_MIRROR_HAVE_DMA_NEED_UNMAP
	return dma_need_unmap(dev);
#else
	return true;
#endif
}

/* The translation that an IOMMU does for the DMA API; NULL if none does. */
static inline struct iommu_domain *compat_dma_domain(struct device *dev)
{
#ifdef CONFIG_IOMMU_API
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	if (domain && iommu_is_dma_domain(domain))
		return domain;
#endif
	return NULL;
}

/* Sizes that entries of the translation's page table may have, a bit for each. */
static inline unsigned long
compat_iommu_page_sizes(const struct iommu_domain *domain)
{
#ifdef CONFIG_IOMMU_API
	return domain ? domain->pgsize_bitmap : 0;
#else
	return 0;
#endif
}

/*
 * Whether a device without translation reaches memory. dma_capable() has the same answer,
 * but more questions since v7.3, and to ask by mapping ends in a WARN.
 */
static inline bool compat_dma_reaches(struct device *dev, phys_addr_t phys,
				      size_t size)
{
	dma_addr_t addr = phys_to_dma(dev, phys);

	return addr != DMA_MAPPING_ERROR &&
	       addr + size - 1 <= min_not_zero(dma_get_mask(dev),
					       dev->bus_dma_limit);
}

/*
 * Whether what has been mapped is a copy. With translation dma_need_sync() says so of all
 * that a device has mapped: always before "dma: avoid redundant calls for sync operations",
 * v6.10, and with CONFIG_DMA_API_DEBUG; else once one mapping has been bounced. What the
 * IOMMU translates to is the truth.
 */
static inline bool compat_dma_bounces(struct device *dev,
				      struct iommu_domain *domain,
				      dma_addr_t addr, phys_addr_t phys)
{
	if (!dma_need_sync(dev, addr))
		return false;
	return !domain || iommu_iova_to_phys(domain, addr) != phys;
}

/*
 * Whether the address that the DMA API has just given to memory is what it will give to all
 * memory that the device reaches, without anything else to do: physical addresses plus a
 * constant.
 */
static inline bool compat_dma_is_direct(struct device *dev, dma_addr_t addr,
					phys_addr_t phys)
{
	return !compat_dma_needs_unmap(dev) && !dev->dma_range_map &&
	       addr == phys_to_dma(dev, phys);
}

/* "dma-mapping: name SG DMA flag helpers consistently", v6.5 */
static inline bool compat_sg_is_bus_address(struct scatterlist *sg)
{
#ifdef HMM_MIRROR_HAVE_SG_DMA_IS_BUS_ADDRESS
	return sg_dma_is_bus_address(sg);
#else
	return sg_is_dma_bus_address(sg);
#endif
}

/*
 * I/O virtual addresses that are allocated once and linked to memory piece by piece:
 * "dma-mapping: Implement link/unlink ranges API", v6.16.
 */
#ifdef HMM_MIRROR_HAVE_DMA_IOVA
struct compat_iova {
	struct dma_iova_state state;
};

static inline bool compat_iova_is_allocated(struct compat_iova *iova)
{
	return dma_use_iova(&iova->state);
}

/* Whether there are such calls at all */
static inline bool compat_iova_exists(void)
{
	return true;
}

static inline bool compat_iova_allocate(struct device *dev,
					struct compat_iova *iova, size_t size)
{
	return dma_iova_try_alloc(dev, &iova->state, 0, size);
}

static inline void compat_iova_free(struct device *dev,
				    struct compat_iova *iova)
{
	dma_iova_free(dev, &iova->state);
}

static inline dma_addr_t compat_iova_address(struct compat_iova *iova,
					     size_t offset)
{
	return iova->state.addr + offset;
}

static inline int compat_iova_link(struct device *dev, struct compat_iova *iova,
				   phys_addr_t phys, size_t offset, size_t size,
				   enum dma_data_direction direction,
				   unsigned long attrs)
{
	int err = dma_iova_link(dev, &iova->state, phys, offset, size,
				direction, attrs);

	if (err)
		return err;
	err = dma_iova_sync(dev, &iova->state, offset, size);
	if (err)
		dma_iova_unlink(dev, &iova->state, offset, size, direction,
				attrs);
	return err;
}

static inline void compat_iova_unlink(struct device *dev,
				      struct compat_iova *iova, size_t offset,
				      size_t size, unsigned long attrs)
{
	/* The direction counts for what is not coherent. */
	dma_iova_unlink(dev, &iova->state, offset, size, DMA_BIDIRECTIONAL,
			attrs);
}

#else /* !HMM_MIRROR_HAVE_DMA_IOVA */
struct compat_iova {};

static inline bool compat_iova_is_allocated(struct compat_iova *iova)
{
	return false;
}

static inline bool compat_iova_exists(void)
{
	return false;
}

static inline bool compat_iova_allocate(struct device *dev,
					struct compat_iova *iova, size_t size)
{
	return false;
}

static inline void compat_iova_free(struct device *dev,
				    struct compat_iova *iova)
{
}

static inline dma_addr_t compat_iova_address(struct compat_iova *iova,
					     size_t offset)
{
	return DMA_MAPPING_ERROR;
}

static inline int compat_iova_link(struct device *dev, struct compat_iova *iova,
				   phys_addr_t phys, size_t offset, size_t size,
				   enum dma_data_direction direction,
				   unsigned long attrs)
{
	return -EOPNOTSUPP;
}

static inline void compat_iova_unlink(struct device *dev,
				      struct compat_iova *iova, size_t offset,
				      size_t size, unsigned long attrs)
{
}
#endif /* !HMM_MIRROR_HAVE_DMA_IOVA */

/*
 * Where a level is folded, these are just @end: they rely on a caller that has clipped at
 * the level above (asm-generic/pgtable-nopud.h, pgtable-nopmd.h; arm64 with two or three
 * levels, LoongArch). Use entry_end().
 */
#undef pgd_addr_end
#undef p4d_addr_end
#undef pud_addr_end
#undef pmd_addr_end
#pragma GCC poison pgd_addr_end p4d_addr_end pud_addr_end pmd_addr_end

#endif /* HMM_MIRROR_COMPAT_H */
