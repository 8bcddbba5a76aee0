/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Every difference between kernels that hmm_mirror knows of.
 *
 * HMM_MIRROR_HAVE_* are results of the build probes (probes/, run by Kbuild):
 * each says that a few lines of C compiled against this kernel's headers. The
 * version that a comment names is where mainline changed; stable trees backport,
 * so nothing here asks for a version.
 */
#ifndef HMM_MIRROR_COMPAT_H
#define HMM_MIRROR_COMPAT_H

#include <linux/hugetlb.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/pagewalk.h>
#include <linux/pgtable.h>
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

/* Whether a program can have a shadow stack: the CPU has a say in it. */
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

/* "mm: Rename pmd_read_atomic()", v6.2; before, only 32 bit needed care */
static inline pmd_t compat_pmdp_get(pmd_t *pmdp)
{
#ifdef HMM_MIRROR_HAVE_PMDP_GET_LOCKLESS
	return pmdp_get_lockless(pmdp);
#else
	return READ_ONCE(*pmdp);
#endif
}

/* "mm: Introduce pudp/p4dp/pgdp_get() functions", v6.8 */
static inline pud_t compat_pudp_get(pud_t *pudp)
{
#ifdef HMM_MIRROR_HAVE_PUDP_GET
	return pudp_get(pudp);
#else
	return READ_ONCE(*pudp);
#endif
}

/*
 * "mm: provide mm_struct and address to huge_ptep_get()", v6.11. Where the
 * architecture has a function of its own it is not exported; all it adds to a
 * plain read, except on s390, is the accessed and dirty bits of the entry's parts.
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
 * Before the removal of devmap a PMD or PUD that maps DAX memory is huge
 * without pmd_trans_huge() being true. On x86 all of them have _PAGE_PSE, and
 * pmd_leaf() looks at nothing else.
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
 * "mm: new primitive pmd_special and pud_special": special bits in huge
 * entries, v6.12. Earlier no huge entry without a struct page can be told, and
 * none is made outside of VM_PFNMAP.
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
 * vm_normal_page() is not exported. Its contract: a special entry has no
 * struct page that may be used, where the architecture has the bit. Elsewhere
 * a VM_MIXEDMAP mapping holds a normal page where there is a struct page at
 * all. The zero page is special, yet fine to read.
 */
static inline bool compat_pte_has_page(struct vm_area_struct *vma, pte_t pte)
{
	if (IS_ENABLED(CONFIG_ARCH_HAS_PTE_SPECIAL))
		return likely(!pte_special(pte)) || compat_pte_devmap(pte) ||
		       is_zero_pfn(pte_pfn(pte));
	return !(vma->vm_flags & VM_MIXEDMAP) || pfn_valid(pte_pfn(pte));
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
 * What an entry's bits mean, to recognise without decoding it one that says the
 * same as another, of another page: it differs from that in COMPAT_PTE_PFN_MASK
 * and in compat_pte_hints() only, the latter being bits below PAGE_SHIFT. The
 * entry of the next page frame is PAGE_SIZE greater, if compat_entry_valid().
 *
 * Nothing of it holds where compat_pte_format_known() is false.
 */
#ifdef CONFIG_X86_64
#define COMPAT_PTE_PFN_MASK	PTE_PFN_MASK

static inline bool compat_pte_format_known(void)
{
	/* The entries of a Xen PV guest have the machine's page frames. */
	return !cpu_feature_enabled(X86_FEATURE_XENPV);
}

/*
 * What the kernel calls present may have been made invalid for a moment, by
 * pmdp_invalidate(); then its page frame is stored inverted.
 */
static inline bool compat_entry_valid(unsigned long entry)
{
	return entry & _PAGE_PRESENT;
}

/* Dirty but not writable means something: a shadow stack. */
static inline unsigned long compat_pte_hints(unsigned long pte)
{
	return pte & _PAGE_RW ?
	       _PAGE_ACCESSED | _PAGE_SOFT_DIRTY | _PAGE_DIRTY :
	       _PAGE_ACCESSED | _PAGE_SOFT_DIRTY;
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

/* The bits of an entry itself, whatever they mean. */
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

/* For a variable on the stack that CONFIG_INIT_STACK_ALL_ZERO shall spare. */
#if __has_attribute(__uninitialized__)
#define COMPAT_UNINITIALIZED	__attribute__((__uninitialized__))
#else
#define COMPAT_UNINITIALIZED
#endif

/*
 * Finds the entry of @addr in the page table below *@pmdp, read as @pmd, like
 * pte_offset_map(), whose out-of-line part is not exported ("mm/pgtable: allow
 * pte_offset_map[_lock]() to fail", v6.5). NULL if *@pmdp is not that page table
 * any more. The caller holds the RCU read lock for as long as it uses the
 * table, so that it is not freed under it.
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
 * UFFDIO_POISON and failed swap-ins share a marker since "mm: userfaultfd: add
 * new UFFDIO_POISON ioctl", v6.6; failed swap-ins alone have had a name before.
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

/* The only non-present PMD before leafops.h is a migration entry. */
static inline struct compat_swap_entry compat_decode_pmd(pmd_t pmd)
{
	struct compat_swap_entry decoded = { .entry = HMM_MIRROR_ENTRY_BAD };

	if (thp_migration_supported() && is_pmd_migration_entry(pmd))
		decoded.entry = HMM_MIRROR_ENTRY_MIGRATION;
	return decoded;
}
#endif /* !HMM_MIRROR_HAVE_LEAFOPS */

/*
 * Owner of the device memory that @pfn is part of. The entry that names @pfn has
 * been read in the RCU read-side section this is called in: drivers evict their
 * pages before memunmap_pages(), which then waits for such sections.
 *
 * "mm: allow compound zone device pages", v6.15, moved the pgmap to the folio.
 */
static inline void *compat_device_private_owner(unsigned long pfn)
{
#if !IS_ENABLED(CONFIG_DEVICE_PRIVATE)
	return NULL;
#elif defined(HMM_MIRROR_HAVE_PAGE_PGMAP)
	return page_pgmap(pfn_to_page(pfn))->owner;
#else
	return pfn_to_page(pfn)->pgmap->owner;
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

#endif /* HMM_MIRROR_COMPAT_H */
