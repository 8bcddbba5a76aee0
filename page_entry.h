/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What one page-table entry says about its pages. Knows no request, no answer and no
 * walk.
 *
 * Entries are read without taking their lock, once each, and what was read is believed:
 * whoever changes an entry tells the interval notifier, and the caller checks that before
 * using the answer. Entries that name device memory are read and decoded within one RCU
 * read-side section, so that the device cannot go away.
 */
#ifndef HMM_MIRROR_PAGE_ENTRY_H
#define HMM_MIRROR_PAGE_ENTRY_H

#include <linux/hugetlb.h>
#include <linux/huge_mm.h>
#include <linux/log2.h>
#include <linux/mm.h>

#include "compat.h"
#include "debug.h"
#include "hmm_mirror.h"

/**
 * struct entry_rules - what else the meaning of an entry depends on
 * @vma: the VMA it is in
 * @write_allowed: a device may write to that VMA
 * @find_huge_zero: tell the huge zero page from other huge pages
 * @order_shift: lowest bit of the order in @flags of struct page_leaf
 * @dev_private_owner: whose device-private pages are VALID; NULL for nobody's
 */
struct entry_rules {
	struct vm_area_struct *vma;
	bool write_allowed;
	bool find_huge_zero;
	unsigned int order_shift;
	void *dev_private_owner;
};

/**
 * struct page_leaf - what one entry, or its absence, says about its pages
 * @flags: VALID, WRITE, ERROR and order, as in an hmm_pfns word
 * @pfn: first page frame if VALID, else 0
 * @entry: kind of entry
 */
struct page_leaf {
	unsigned long flags;
	unsigned long pfn;
	enum hmm_mirror_entry entry;
};

/*
 * A kind of entry: device memory whose owner cannot be told at the moment. It has been
 * replaced already, or will be in a moment, so it has to be read again. A fault is no way
 * out: it could take the page away from its owner, who has asked for it where it is.
 */
#define ENTRY_UNKNOWN	((enum hmm_mirror_entry)~0U)

/*
 * End of what the entry for @addr covers, but at most @end; @mask is the level's. The
 * kernel's pmd_addr_end() and its like are just @end where the level is folded.
 */
static inline unsigned long entry_end(unsigned long addr, unsigned long end,
				      unsigned long mask)
{
	/* The address past the highest entry is 0. */
	return min((addr | ~mask), end - 1) + 1;
}

static inline struct page_leaf absent_leaf(enum hmm_mirror_entry entry)
{
	return (struct page_leaf){
		.flags = entry >= HMM_MIRROR_ENTRY_HWPOISON ?
			 HMM_MIRROR_PFN_ERROR : 0,
		.entry = entry,
	};
}

static inline struct page_leaf
present_leaf(const struct entry_rules *rules, enum hmm_mirror_entry entry,
	     unsigned long pfn, bool write, unsigned int order)
{
	struct page_leaf leaf = {
		.flags = HMM_MIRROR_PFN_VALID |
			 ((unsigned long)order << rules->order_shift),
		.pfn = pfn,
		.entry = entry,
	};

	/* A shadow stack's entries are writable, but only for the CPU. */
	if (write && rules->write_allowed)
		leaf.flags |= HMM_MIRROR_PFN_WRITE;
	return leaf;
}

/* A page in the caller's own device memory; no other device-private page is VALID. */
static inline bool is_own_device(const struct page_leaf *leaf)
{
	return leaf->entry == HMM_MIRROR_ENTRY_DEVICE_PRIVATE &&
	       (leaf->flags & HMM_MIRROR_PFN_VALID);
}

/* An entry that is neither none nor present, for the page at @offset in what it covers. */
static inline struct page_leaf
swap_leaf(const struct entry_rules *rules,
	  const struct compat_swap_entry *decoded, unsigned long offset,
	  unsigned int order)
{
	void *owner = NULL;

	/*
	 * The notifier vouches for the caller's own device memory as for any other page.
	 * NULL owns nothing.
	 */
	if (decoded->entry != HMM_MIRROR_ENTRY_DEVICE_PRIVATE ||
	    !rules->dev_private_owner)
		return absent_leaf(decoded->entry);
	if (unlikely(!hmm_mirror_debug_owner_known() ||
		     !compat_device_private_owner(decoded->pfn, &owner))) {
		hmm_mirror_debug_owner_unknown();
		return (struct page_leaf){ .entry = ENTRY_UNKNOWN };
	}
	if (owner == rules->dev_private_owner)
		return present_leaf(rules, decoded->entry,
				    decoded->pfn + offset, decoded->write,
				    order);
	return absent_leaf(decoded->entry);
}

static inline struct page_leaf read_pte(const struct entry_rules *rules,
					unsigned long addr, pte_t pte)
{
	enum hmm_mirror_entry entry = HMM_MIRROR_ENTRY_PRESENT;
	unsigned long pfn;

	if (likely(pte_present(pte) && !pte_protnone(pte))) {
		if (unlikely(!compat_pte_has_page(rules->vma, addr, pte, &pfn)))
			return absent_leaf(HMM_MIRROR_ENTRY_SPECIAL);
		if (unlikely(is_zero_pfn(pfn)))
			entry = HMM_MIRROR_ENTRY_ZERO;
		return present_leaf(rules, entry, pfn, pte_write(pte), 0);
	}
	if (pte_none(pte))
		return absent_leaf(HMM_MIRROR_ENTRY_NONE);
	if (!pte_present(pte)) {
		struct compat_swap_entry decoded = compat_decode_pte(pte);

		return swap_leaf(rules, &decoded, 0, 0);
	}
	return absent_leaf(HMM_MIRROR_ENTRY_PROT_NONE);
}

/* A PMD that is a leaf, for the page at @addr. */
static inline struct page_leaf read_huge_pmd(const struct entry_rules *rules,
					     pmd_t pmd, unsigned long addr)
{
	unsigned long offset = (addr & ~PMD_MASK) >> PAGE_SHIFT;
	enum hmm_mirror_entry entry = HMM_MIRROR_ENTRY_PRESENT;

	if (pmd_protnone(pmd))
		return absent_leaf(HMM_MIRROR_ENTRY_PROT_NONE);
	if (!compat_pmd_has_page(rules->vma, pmd))
		return absent_leaf(HMM_MIRROR_ENTRY_SPECIAL);
	/*
	 * A huge page in an anonymous mapping is either anonymous memory or the huge zero
	 * page, whose address is not exported. The folio may be about to be freed; then
	 * the notifier will say that this answer is stale.
	 */
	if (rules->find_huge_zero && vma_is_anonymous(rules->vma) &&
	    !pmd_write(pmd) &&
	    !folio_test_anon(page_folio(pfn_to_page(pmd_pfn(pmd)))))
		entry = HMM_MIRROR_ENTRY_ZERO;
	return present_leaf(rules, entry, pmd_pfn(pmd) + offset, pmd_write(pmd),
			    PMD_SHIFT - PAGE_SHIFT);
}

/* A PMD that is neither none nor present, for the page at @addr. */
static inline struct page_leaf read_swap_pmd(const struct entry_rules *rules,
					     pmd_t pmd, unsigned long addr)
{
	struct compat_swap_entry decoded = compat_decode_pmd(pmd);

	return swap_leaf(rules, &decoded, (addr & ~PMD_MASK) >> PAGE_SHIFT,
			 PMD_SHIFT - PAGE_SHIFT);
}

/* A PUD that was a leaf a moment ago, for the page at @addr. */
static inline struct page_leaf read_huge_pud(const struct entry_rules *rules,
					     pud_t pud, unsigned long addr)
{
	unsigned long offset = (addr & ~PUD_MASK) >> PAGE_SHIFT;

	/* It has just been removed: the answer is stale anyway. */
	if (!pud_present(pud) || !compat_pud_leaf(pud))
		return absent_leaf(HMM_MIRROR_ENTRY_NONE);
	if (!compat_pud_has_page(rules->vma, pud))
		return absent_leaf(HMM_MIRROR_ENTRY_SPECIAL);
	return present_leaf(rules, HMM_MIRROR_ENTRY_PRESENT,
			    pud_pfn(pud) + offset, pud_write(pud),
			    PUD_SHIFT - PAGE_SHIFT);
}

#ifdef CONFIG_HUGETLB_PAGE
/* A hugetlb entry, for the page at @addr; @mask is that of its huge page. */
static inline struct page_leaf read_hugetlb(const struct entry_rules *rules,
					    pte_t pte, unsigned long mask,
					    unsigned long addr)
{
	if (huge_pte_none(pte))
		return absent_leaf(HMM_MIRROR_ENTRY_NONE);
	if (!pte_present(pte))
		return absent_leaf(compat_decode_pte(pte).entry);
	if (pte_protnone(pte))
		return absent_leaf(HMM_MIRROR_ENTRY_PROT_NONE);
	return present_leaf(rules, HMM_MIRROR_ENTRY_PRESENT,
			    pte_pfn(pte) + ((addr & ~mask) >> PAGE_SHIFT),
			    huge_pte_write(pte), ilog2(~mask + 1) - PAGE_SHIFT);
}
#endif

/**
 * struct known_entry - a decoded entry, by which others of its table are recognised
 * @bits: the entry, or NO_ENTRY if it tells nothing about others
 * @free: bits in which another entry may differ and still say the same, of another
 *	page frame; 0 if it may not differ
 * @leaf: what it says
 *
 * All zero, it is a none entry.
 */
struct known_entry {
	unsigned long bits;
	unsigned long free;
	struct page_leaf leaf;
};

/* Whether @bits say the same as @known, apart from the page frame. */
static inline bool same_kind(const struct known_entry *known,
			     unsigned long bits)
{
	return known->free && !((bits ^ known->bits) & ~known->free);
}

/* If @bits are of the same kind, makes them @known. */
static inline bool follow(struct known_entry *known, unsigned long bits)
{
	unsigned long pfn_bits = known->free & COMPAT_PTE_PFN_MASK;

	if (!same_kind(known, bits))
		return false;
	if (pfn_bits)
		known->leaf.pfn = (bits & pfn_bits) >> PAGE_SHIFT;
	known->bits = bits;
	return true;
}

static inline void know_entry(struct known_entry *known, unsigned long bits,
			      unsigned long pfn_bits)
{
	known->bits = bits;
	known->free = 0;
	if (!(known->leaf.flags & HMM_MIRROR_PFN_VALID) ||
	    !compat_pte_format_known() || !compat_entry_valid(bits))
		return;
	known->free = compat_pte_hints(bits);
	/* With another page frame, the zero page's bits may mean that there is no page. */
	if (known->leaf.entry != HMM_MIRROR_ENTRY_ZERO)
		known->free |= pfn_bits;
}

/* No entry of any page table looks like this: every bit is set. */
#define NO_ENTRY	(~0UL)

static inline void know_pte(struct known_entry *known,
			    const struct entry_rules *rules, unsigned long addr,
			    pte_t pte)
{
	known->leaf = read_pte(rules, addr, pte);
	know_entry(known, compat_pte_bits(pte), COMPAT_PTE_PFN_MASK);
	if (unlikely(compat_pte_is_unique(rules->vma, pte))) {
		known->bits = NO_ENTRY;
		known->free = 0;
	}
}

/* A PMD that is a leaf, for the page at @addr. */
static inline void know_huge_pmd(struct known_entry *known,
				 const struct entry_rules *rules, pmd_t pmd,
				 unsigned long addr)
{
	known->leaf = read_huge_pmd(rules, pmd, addr);
	know_entry(known, compat_pmd_bits(pmd), COMPAT_PTE_PFN_MASK & PMD_MASK);
	/* Another entry with these bits may or may not be the huge zero page. */
	if (rules->find_huge_zero && !pmd_write(pmd))
		known->free = 0;
}

/*
 * How many of the @nr entries from @ptep on are, in the bits of @mask, @expected, then
 * @expected + @step, and so on.
 */
static __always_inline unsigned long
count_entries(const pte_t *ptep, unsigned long nr, unsigned long expected,
	      unsigned long step, unsigned long mask)
{
	/* Entries per step. */
	enum { STRIDE = 16 };
	unsigned long i = 0;

	/* Most runs are very short or very long. */
	if (!nr || (compat_pte_bits(READ_ONCE(*ptep)) ^ expected) & mask)
		return 0;
	for (; i + STRIDE <= nr; i += STRIDE) {
		unsigned long difference = 0;
		unsigned int k;

#pragma GCC unroll 16
		for (k = 0; k < STRIDE; k++)
			difference |= compat_pte_bits(READ_ONCE(ptep[i + k])) ^
				      (expected + k * step);
		if (difference & mask)
			break;
		expected += STRIDE * step;
	}
	for (; i < nr; i++, expected += step) {
		if ((compat_pte_bits(READ_ONCE(ptep[i])) ^ expected) & mask)
			break;
	}
	return i;
}

/* How many of the @nr entries from @ptep on are alike; @known is the first of them. */
static inline unsigned long entries_of_kind(const pte_t *ptep, unsigned long nr,
					    const struct known_entry *known)
{
	/* Where nothing may differ, a mapped page is one of its kind. */
	if (known->bits && !known->free &&
	    (known->leaf.flags & HMM_MIRROR_PFN_VALID))
		return 1;
	return 1 + count_entries(ptep + 1, nr - 1, known->bits, 0,
				 ~known->free);
}

#endif /* HMM_MIRROR_PAGE_ENTRY_H */
