// SPDX-License-Identifier: GPL-2.0
/*
 * Answers: words of the page array, and extents.
 *
 * The loops over page-table entries are here. The walk has already looked at what they
 * are given: each of these pages may be answered as it is.
 */
#include <linux/mm.h>

#include "answer.h"
#include "request.h"

/* Words per step: what the loops are unrolled for. */
#define STRIDE		16

/* Writes @npages words, the first one @value, each of the others greater by @step. */
static __always_inline void fill_words(unsigned long *word,
				       unsigned long npages,
				       unsigned long value, unsigned long step)
{
	unsigned long *end = word + npages;
	unsigned int i;

	for (; word + STRIDE <= end; word += STRIDE) {
#pragma GCC unroll 16
		for (i = 0; i < STRIDE; i++)
			word[i] = value + i * step;
		value += STRIDE * step;
	}
	for (; word < end; word++, value += step)
		*word = value;
}

/* Clears all bits but those of @keep in @npages words. */
static void mask_words(unsigned long *word, unsigned long npages,
		       unsigned long keep)
{
	unsigned long *end = word + npages;
	unsigned int i;

	for (; word + STRIDE <= end; word += STRIDE) {
#pragma GCC unroll 16
		for (i = 0; i < STRIDE; i++)
			word[i] &= keep;
	}
	for (; word < end; word++)
		*word &= keep;
}

/* Writes the page array's words of [@addr, @end). */
static noinline void emit_pages(struct hmm_mirror_walk *walk,
				unsigned long addr, unsigned long end,
				const struct page_leaf *leaf)
{
	struct hmm_mirror_range *range = walk->range;
	unsigned long keep = range->pfn_flags_mask;
	unsigned long *word = &range->hmm_pfns[slot_index(walk, addr)];
	unsigned long npages = (end - addr) >> PAGE_SHIFT;
	unsigned long value = leaf->flags | leaf->pfn;
	bool valid = leaf->flags & HMM_MIRROR_PFN_VALID;
	unsigned long i;

	if (!keep && valid) {
		fill_words(word, npages, value, 1);
	} else if (!keep) {
		fill_words(word, npages, value, 0);
	} else if (!value) {
		/* Common: pages that were not asked for and are not there. */
		mask_words(word, npages, keep);
	} else {
		for (i = 0; i < npages; i++, value += valid)
			word[i] = (word[i] & keep) | value;
	}
	walk->next = end;
}

/*
 * Whether @leaf at @addr continues @extent. Only at the border of a pageblock can the
 * next page of a contiguous run belong to another node, so the node is looked up only
 * there.
 */
static __always_inline bool
extends(const struct hmm_mirror_extent *extent, unsigned long addr,
	const struct page_leaf *leaf, unsigned long flags, unsigned int order,
	bool without_pfns)
{
	if (extent->addr + (extent->npages << PAGE_SHIFT) != addr ||
	    extent->entry != leaf->entry || extent->flags != flags ||
	    extent->order != order)
		return false;
	if (!(flags & HMM_MIRROR_PFN_VALID))
		return true;
	if (without_pfns)
		return pfn_to_nid(leaf->pfn) == extent->node;
	if (extent->pfn + extent->npages != leaf->pfn)
		return false;
	return !IS_ALIGNED(leaf->pfn, COMPAT_NODE_BLOCK_PAGES) ||
	       pfn_to_nid(leaf->pfn) == extent->node;
}

/* Appends [@addr, @end) to the extents. */
static __always_inline int emit_extent(struct hmm_mirror_walk *walk,
				       unsigned long addr, unsigned long end,
				       const struct page_leaf *leaf)
{
	struct hmm_mirror_extents *extents = walk->extents;
	unsigned int order = hmm_mirror_pfn_to_map_order(leaf->flags);
	unsigned long flags = leaf->flags & ~HMM_MIRROR_PFN_ORDER_MASK;
	unsigned long npages = (end - addr) >> PAGE_SHIFT;
	struct hmm_mirror_extent *extent;

	if (extents->nr) {
		extent = &extents->array[extents->nr - 1];
		if (extends(extent, addr, leaf, flags, order,
			    extents->without_pfns)) {
			extent->npages += npages;
			walk->next = end;
			return 0;
		}
	}
	if (extents->nr == extents->capacity) {
		walk->full = true;
		return STOP_WALK;
	}
	extent = &extents->array[extents->nr++];
	extent->addr = addr;
	extent->npages = npages;
	extent->pfn = extents->without_pfns ? 0 : leaf->pfn;
	extent->flags = flags;
	extent->order = order;
	extent->node = flags & HMM_MIRROR_PFN_VALID ? pfn_to_nid(leaf->pfn) :
						      NUMA_NO_NODE;
	extent->entry = leaf->entry;
	walk->next = end;
	return 0;
}

/**
 * hmm_mirror_answer() - answer the pages of one entry, or of a hole
 * @walk: the request
 * @addr: first page, all below it has been answered
 * @end: first address past the last page
 * @leaf: what the entry says, for the page at @addr
 *
 * Return: 0, or STOP_WALK if there is no room for another extent.
 */
int hmm_mirror_answer(struct hmm_mirror_walk *walk, unsigned long addr,
		      unsigned long end, const struct page_leaf *leaf)
{
	if (walk->extents)
		return emit_extent(walk, addr, end, leaf);
	emit_pages(walk, addr, end, leaf);
	return 0;
}

/**
 * hmm_mirror_answer_huge_pmds() - answer PMDs that are leaves of one kind
 * @walk: the request
 * @pmdp: entry for @addr
 * @addr: first page of a huge page, all below it has been answered
 * @end: first address past what may be answered, in the table of @pmdp
 * @known: an entry of that kind
 * @err: out: 0, or STOP_WALK if the walk has done enough, or there is no room for
 *	another extent
 *
 * Return: the first address that was not answered: where another kind begins, or @end.
 */
unsigned long hmm_mirror_answer_huge_pmds(struct hmm_mirror_walk *walk,
					  pmd_t *pmdp, unsigned long addr,
					  unsigned long end,
					  const struct known_entry *known,
					  int *err)
{
	/* Local copies: no store to an extent can change them. */
	const struct known_entry first = *known;
	const unsigned long pfn_bits = first.free & COMPAT_PTE_PFN_MASK;
	struct page_leaf leaf = first.leaf;
	unsigned long nr = 0;
	int stop = 0;

	while (addr < end && !stop) {
		unsigned long bits = compat_pmd_bits(compat_pmdp_get(pmdp));
		unsigned long next = min(addr + PMD_SIZE, end);

		if (!same_kind(&first, bits))
			break;
		if (pfn_bits)
			leaf.pfn = (bits & pfn_bits) >> PAGE_SHIFT;
		if (walk->extents) {
			stop = emit_extent(walk, addr, next, &leaf);
			if (stop)
				break;
		} else {
			emit_pages(walk, addr, next, &leaf);
			walk->budget -= PMD_SIZE >> PAGE_SHIFT;
			stop = walk->budget <= 0 ? STOP_WALK : 0;
		}
		addr = next;
		pmdp++;
		nr++;
	}
	if (walk->extents)
		walk->budget -= nr;
	walk->range->nr_slots += nr;
	*err = stop;
	return addr;
}

/*
 * What all entries of one kind have in common: in @mask they have the bits of @bits, and
 * their words are greater by @distance than the entries shifted by PAGE_SHIFT. Hints are
 * below that, so above it such entries differ in the page frame only.
 */
struct kind {
	unsigned long bits;
	unsigned long mask;
	unsigned long distance;
};

/* Writes the word for one entry, if it is of this kind. */
static __always_inline bool translate_entry(unsigned long *word,
					    const pte_t *ptep,
					    const struct kind *kind,
					    unsigned long keep)
{
	unsigned long bits = compat_pte_bits(READ_ONCE(*ptep));

	if ((bits ^ kind->bits) & kind->mask)
		return false;
	*word = (keep ? *word & keep : 0) |
		((bits >> PAGE_SHIFT) + kind->distance);
	return true;
}

/*
 * Writes a word for each entry from @ptep on, of which @known is the first, until one is
 * of another kind. Returns the number of words written.
 */
static __always_inline unsigned long
translate_entries(unsigned long *word, const pte_t *ptep, unsigned long nr,
		  const struct known_entry *known, unsigned long keep)
{
	const unsigned long value = known->leaf.flags | known->leaf.pfn;
	/* A local copy: no store to @word can change it. */
	const struct kind kind = {
		.bits = known->bits,
		.mask = ~known->free,
		.distance = value - (known->bits >> PAGE_SHIFT),
	};
	unsigned long i = 1;
	unsigned int k;

	word[0] = (keep ? word[0] & keep : 0) | value;
	for (; i + 4 <= nr; i += 4) {
#pragma GCC unroll 4
		for (k = 0; k < 4; k++) {
			if (!translate_entry(word + i + k, ptep + i + k, &kind,
					     keep))
				return i + k;
		}
	}
	while (i < nr && translate_entry(word + i, ptep + i, &kind, keep))
		i++;
	return i;
}

/**
 * hmm_mirror_answer_words() - answer PTEs of one kind in the page array
 * @walk: the request
 * @ptep: entry of the page at @addr
 * @addr: first page, all below it has been answered
 * @nr: number of pages that may be answered, at least 1
 * @known: the first of the entries, as it was read
 *
 * Return: the number of pages answered: up to the first entry of another kind.
 */
unsigned long hmm_mirror_answer_words(struct hmm_mirror_walk *walk,
				      const pte_t *ptep, unsigned long addr,
				      unsigned long nr,
				      const struct known_entry *known)
{
	struct hmm_mirror_range *range = walk->range;
	unsigned long keep = range->pfn_flags_mask;
	unsigned long *word = &range->hmm_pfns[slot_index(walk, addr)];

	if (!keep)
		nr = translate_entries(word, ptep, nr, known, 0);
	else
		nr = translate_entries(word, ptep, nr, known, keep);
	walk->next = addr + (nr << PAGE_SHIFT);
	return nr;
}

/*
 * How many of the @nr entries from @ptep on fit into one extent: absent in the same way,
 * or present, of one kind and physically contiguous. @known is the first of them, as it
 * was read. The border of a pageblock ends it: see extends().
 */
static unsigned long more_contiguous(const pte_t *ptep, unsigned long nr,
				     const struct known_entry *known)
{
	unsigned long in_block;

	if (!(known->leaf.flags & HMM_MIRROR_PFN_VALID))
		return 1 + count_entries(ptep + 1, nr - 1, known->bits, 0,
					 ~0UL);
	if (!(known->free & COMPAT_PTE_PFN_MASK))
		return 1;
	in_block = COMPAT_NODE_BLOCK_PAGES -
		   (known->leaf.pfn & (COMPAT_NODE_BLOCK_PAGES - 1));
	return 1 + count_entries(ptep + 1, min(nr, in_block) - 1,
				 known->bits + PAGE_SIZE, PAGE_SIZE,
				 ~known->free | COMPAT_PTE_PFN_MASK);
}

/* Most often it is one, or many. */
static __always_inline unsigned long
contiguous_entries(const pte_t *ptep, unsigned long nr,
		   const struct known_entry *known)
{
	unsigned long next = known->bits;

	if (known->leaf.flags & HMM_MIRROR_PFN_VALID)
		next += PAGE_SIZE;
	if (nr < 2 || compat_pte_bits(READ_ONCE(ptep[1])) != next)
		return 1;
	return more_contiguous(ptep, nr, known);
}

/**
 * hmm_mirror_answer_extents() - answer PTEs of one kind with extents
 * @walk: the request
 * @ptep: entry of the page at @addr
 * @addr: first page, all below it has been answered
 * @nr: number of pages that may be answered, at least 1
 * @first: the first of the entries, as it was read
 * @err: out: 0, or STOP_WALK if there is no room for another extent
 *
 * Return: the number of pages answered: up to the first entry of another kind.
 */
unsigned long hmm_mirror_answer_extents(struct hmm_mirror_walk *walk,
					const pte_t *ptep, unsigned long addr,
					unsigned long nr,
					const struct known_entry *first,
					int *err)
{
	struct known_entry known = *first;
	unsigned long i = 0;

	for (;;) {
		unsigned long alike = contiguous_entries(ptep + i, nr - i,
							 &known);
		unsigned long bits;

		*err = emit_extent(walk, addr, addr + (alike << PAGE_SHIFT),
				   &known.leaf);
		if (*err)
			return i;
		i += alike;
		if (i == nr)
			return i;
		addr += alike << PAGE_SHIFT;
		bits = compat_pte_bits(READ_ONCE(ptep[i]));
		if (!follow(&known, bits))
			return i;
	}
}

/*
 * Whether @nr pages, whose entries begin at @ptep and whose requests begin at @word, are
 * neither there nor asked for. Adds to @words every bit that is set in a request.
 */
static __always_inline bool all_unasked(const pte_t *ptep,
					const unsigned long *word,
					unsigned int nr, unsigned long mask,
					unsigned long *words)
{
	unsigned long bits = 0, any = 0;
	unsigned int k;

#pragma GCC unroll 32
	for (k = 0; k < nr; k++) {
		/* All that counts is whether every entry is empty. */
		bits |= compat_pte_bits(data_race(ptep[k]));
		any |= word[k];
	}
	*words |= any;
	return !bits && !(any & mask);
}

/*
 * How many of the @nr pages are neither there nor asked for; the first one is known to
 * be.
 */
static unsigned long count_unasked(const pte_t *ptep, const unsigned long *word,
				   unsigned long nr, unsigned long mask,
				   unsigned long *words)
{
	unsigned long all = word[0];
	unsigned long i = 1;

	while (i + 32 <= nr && all_unasked(ptep + i, word + i, 32, mask, &all))
		i += 32;
	while (i + 4 <= nr && all_unasked(ptep + i, word + i, 4, mask, &all))
		i += 4;
	while (i < nr && all_unasked(ptep + i, word + i, 1, mask, &all))
		i++;
	*words = all;
	return i;
}

/**
 * hmm_mirror_answer_unasked() - answer pages that are neither there nor asked for
 * @walk: the request, with per-page requests
 * @ptep: entry of the page at @addr, which is none
 * @addr: first page, which is not asked for; all below it has been answered
 * @nr: number of pages that may be answered, at least 1
 * @err: out: 0, or STOP_WALK if there is no room for another extent
 *
 * If few pages are asked for, these are most of the range.
 *
 * Return: the number of pages answered.
 */
unsigned long hmm_mirror_answer_unasked(struct hmm_mirror_walk *walk,
					const pte_t *ptep, unsigned long addr,
					unsigned long nr, int *err)
{
	const struct hmm_mirror_range *range = walk->range;
	const struct page_leaf none = { .entry = HMM_MIRROR_ENTRY_NONE };
	unsigned long words, alike, end;

	alike = count_unasked(ptep, &range->hmm_pfns[slot_index(walk, addr)],
			      nr, range->pfn_flags_mask &
			      HMM_MIRROR_PFN_REQ_FLAGS, &words);
	end = addr + (alike << PAGE_SHIFT);
	if (walk->extents || (words & ~range->pfn_flags_mask)) {
		*err = hmm_mirror_answer(walk, addr, end, &none);
		return *err ? 0 : alike;
	}
	/* The words already say so. */
	walk->next = end;
	*err = 0;
	return alike;
}
