// SPDX-License-Identifier: GPL-2.0
/*
 * Reads page tables for a range request.
 *
 * A walk answers page after page, into the page array or the extents of the
 * request. Where a page was asked for and is not there it is noted as part of a
 * run to be faulted; from then on the walk only looks a little ahead for more
 * such runs, and ends. It never faults itself: no page-table, hugetlb or RCU
 * lock may be held over handle_mm_fault(), and the walker holds such locks.
 *
 * Entries are read without taking their lock, once each, and what was read is
 * believed: whoever changes an entry tells the interval notifier, and the caller
 * looks at that before using the answer.
 */
#define pr_fmt(fmt) "hmm_mirror: " fmt

#include <linux/hugetlb.h>
#include <linux/huge_mm.h>
#include <linux/limits.h>
#include <linux/magic.h>
#include <linux/mm.h>

#include "compat.h"
#include "internal.h"

/* Returned through the walker by callbacks that end the walk. */
#define STOP_WALK	(-ECANCELED)

/* How many pages a walk looks at before it lets its caller reschedule. */
#define WALK_BUDGET	65536

/* For an entry of a table of PMDs: it is not any more what it was, read it again. */
#define LOOK_AGAIN	(-EAGAIN)

/*
 * How far beyond the first missing page a walk looks for more: far enough that
 * the cost of a walk is nothing beside that of the faults, near enough that
 * little is looked at over and over when faults come one at a time. That is what
 * they do where pages have requests of their own and few are asked for.
 */
#define LOOK_AHEAD	(128 * PAGE_SIZE)
#define LOOK_AHEAD_SLOTS	(32 * PAGE_SIZE)

/* How many entries, or words, a loop takes at a time: those it is unrolled for. */
#define STRIDE		16

/**
 * struct leaf - what one entry, or the absence of any, says of its pages
 * @flags: VALID, WRITE, ERROR and order, as in an hmm_pfns word
 * @pfn: first page frame if VALID, else 0
 * @entry: kind of entry
 */
struct leaf {
	unsigned long flags;
	unsigned long pfn;
	enum hmm_mirror_entry entry;
};

static struct leaf absent_leaf(enum hmm_mirror_entry entry)
{
	return (struct leaf){
		.flags = entry >= HMM_MIRROR_ENTRY_HWPOISON ?
			 HMM_MIRROR_PFN_ERROR : 0,
		.entry = entry,
	};
}

static struct leaf present_leaf(const struct hmm_mirror_walk *walk,
				enum hmm_mirror_entry entry, unsigned long pfn,
				bool write, unsigned int order)
{
	struct leaf leaf = {
		.flags = HMM_MIRROR_PFN_VALID |
			 ((unsigned long)order << walk->order_shift),
		.pfn = pfn,
		.entry = entry,
	};

	/* A shadow stack's entries are writable, but for the CPU alone. */
	if (write && walk->write_allowed)
		leaf.flags |= HMM_MIRROR_PFN_WRITE;
	return leaf;
}

static unsigned long slot_index(const struct hmm_mirror_walk *walk,
				unsigned long addr)
{
	return (addr - walk->range->start) >> PAGE_SHIFT;
}

static unsigned long slot_request(const struct hmm_mirror_walk *walk,
				  unsigned long addr)
{
	const struct hmm_mirror_range *range = walk->range;
	unsigned long request = range->default_flags;

	if (walk->slot_requests)
		request |= range->hmm_pfns[slot_index(walk, addr)] &
			   range->pfn_flags_mask & HMM_MIRROR_PFN_REQ_FLAGS;
	return request;
}

/*
 * How many of the @nr pages from @addr on have the same request. To find it is
 * work, and no more is done at once than a walk may do.
 */
static unsigned long same_requests(struct hmm_mirror_walk *walk,
				   unsigned long addr, unsigned long nr)
{
	const struct hmm_mirror_range *range = walk->range;
	const unsigned long *word = &range->hmm_pfns[slot_index(walk, addr)];
	const unsigned long mask = range->pfn_flags_mask &
				   HMM_MIRROR_PFN_REQ_FLAGS;
	unsigned long i = 0;

	nr = min_t(unsigned long, nr, max(walk->budget, 1L));
	if (!(word[0] & mask)) {
		/* Long ranges in which nothing is asked for are common. */
		for (; i + STRIDE <= nr; i += STRIDE) {
			unsigned long any = 0;
			unsigned int k;

#pragma GCC unroll 16
			for (k = 0; k < STRIDE; k++)
				any |= word[i + k];
			if (any & mask)
				break;
		}
	}
	while (i < nr && !((word[i] ^ word[0]) & mask))
		i++;
	return i;
}

static bool write_requested(unsigned long request)
{
	return (request & HMM_MIRROR_PFN_REQ_FLAGS) ==
	       HMM_MIRROR_PFN_REQ_FLAGS;
}

static bool request_met(unsigned long request, unsigned long flags)
{
	if (!(request & HMM_MIRROR_PFN_REQ_FAULT))
		return true;
	if (write_requested(request))
		return flags & HMM_MIRROR_PFN_WRITE;
	return flags & HMM_MIRROR_PFN_VALID;
}

/* A page in the caller's own device memory; only such are VALID there. */
static bool is_own_device(const struct leaf *leaf)
{
	return leaf->entry == HMM_MIRROR_ENTRY_DEVICE_PRIVATE &&
	       (leaf->flags & HMM_MIRROR_PFN_VALID);
}

/* Whether the page at @addr must be faulted before it is reported. */
static bool must_fault(const struct hmm_mirror_walk *walk, unsigned long addr,
		       unsigned long request, const struct leaf *leaf)
{
	return !request_met(request, leaf->flags) &&
	       !(addr < walk->as_is_end && is_own_device(leaf));
}

/*
 * The page at @addr cannot be had. That counts only if nothing below it waits
 * to be faulted: that fault may fail, and then it is the first address that
 * failed. If it succeeds the next walk comes here again.
 */
static int refuse(struct hmm_mirror_walk *walk, unsigned long addr, int error)
{
	if (!walk->nr_runs) {
		walk->error = error;
		walk->range->fault_addr = addr;
	}
	return STOP_WALK;
}

static unsigned long run_end(const struct hmm_mirror_fault_run *run)
{
	return run->start + ((unsigned long)run->npages << PAGE_SHIFT);
}

/* Notes that [@addr, @end), which ends at the horizon or before it, is to be faulted. */
static __always_inline int add_run(struct hmm_mirror_walk *walk,
				   unsigned long addr, unsigned long end,
				   bool write)
{
	struct hmm_mirror_fault_run *run = walk->runs + walk->nr_runs;

	if (walk->nr_runs && run_end(run - 1) == addr &&
	    run[-1].write == write) {
		run--;
	} else {
		if (walk->nr_runs == HMM_MIRROR_MAX_FAULT_RUNS)
			return STOP_WALK;
		walk->nr_runs++;
		run->start = addr;
		run->write = write;
	}
	run->npages = (end - run->start) >> PAGE_SHIFT;
	return end == walk->horizon ? STOP_WALK : 0;
}

/* [@addr, @end) must be faulted before the answer can go on. */
static int want_fault(struct hmm_mirror_walk *walk, unsigned long addr,
		      unsigned long end, bool write, const struct leaf *leaf)
{
	if (leaf->entry == HMM_MIRROR_ENTRY_HWPOISON)
		return refuse(walk, addr, -EHWPOISON);
	if (leaf->flags & HMM_MIRROR_PFN_ERROR)
		return refuse(walk, addr, -EFAULT);
	if (write && !walk->write_allowed)
		return refuse(walk, addr, -EPERM);

	/* No fault for what could not be reported anyway. */
	if (!walk->nr_runs && walk->extents &&
	    walk->extents->nr == walk->extents->capacity) {
		walk->full = true;
		return STOP_WALK;
	}
	if (!walk->nr_runs &&
	    check_add_overflow(addr, walk->slot_requests ? LOOK_AHEAD_SLOTS :
			       LOOK_AHEAD, &walk->horizon))
		walk->horizon = ULONG_MAX;
	if (addr >= walk->horizon)
		return STOP_WALK;

	if (!walk->nr_runs)
		walk->stuck_on_device = is_own_device(leaf);
	return add_run(walk, addr, min(end, walk->horizon), write);
}

/* Writes @npages words from @value on, which grows by @step. */
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

/* Writes the page array's words of [@addr, @end). */
static int emit_pages(struct hmm_mirror_walk *walk, unsigned long addr,
		      unsigned long end, const struct leaf *leaf)
{
	struct hmm_mirror_range *range = walk->range;
	unsigned long keep = range->pfn_flags_mask;
	unsigned long *word = &range->hmm_pfns[slot_index(walk, addr)];
	unsigned long npages = (end - addr) >> PAGE_SHIFT;
	unsigned long value = leaf->flags | leaf->pfn;
	bool valid = leaf->flags & HMM_MIRROR_PFN_VALID;
	unsigned long i;

	npages = min_t(unsigned long, npages, max(walk->budget, 1L));
	walk->budget -= npages;
	walk->next = addr + (npages << PAGE_SHIFT);

	if (!keep && valid) {
		fill_words(word, npages, value, 1);
	} else if (!keep) {
		fill_words(word, npages, value, 0);
	} else if (!value) {
		/* Much of what is not asked for is not there. */
		for (i = 0; i + STRIDE <= npages; i += STRIDE) {
			unsigned int k;

#pragma GCC unroll 16
			for (k = 0; k < STRIDE; k++)
				word[i + k] &= keep;
		}
		for (; i < npages; i++)
			word[i] &= keep;
	} else {
		for (i = 0; i < npages; i++, value += valid)
			word[i] = (word[i] & keep) | value;
	}
	return walk->next < end ? STOP_WALK : 0;
}

/*
 * Whether @leaf at @addr continues @extent. Only at a pageblock's border can
 * the next page of a contiguous run belong to another node, so only there is
 * the node looked up.
 */
static __always_inline bool
extends(const struct hmm_mirror_extent *extent, unsigned long addr,
	const struct leaf *leaf, unsigned long flags, unsigned int order,
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
	return !IS_ALIGNED(leaf->pfn, pageblock_nr_pages) ||
	       pfn_to_nid(leaf->pfn) == extent->node;
}

/* Appends [@addr, @end) to the extents. */
static __always_inline int emit_extent(struct hmm_mirror_walk *walk,
				       unsigned long addr, unsigned long end,
				       const struct leaf *leaf)
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

static noinline int answer(struct hmm_mirror_walk *walk, unsigned long addr,
			   unsigned long end, const struct leaf *leaf)
{
	if (walk->extents)
		return emit_extent(walk, addr, end, leaf);
	return emit_pages(walk, addr, end, leaf);
}

/* One request, one leaf: answer [@addr, @end) or note that it must be faulted. */
static int serve(struct hmm_mirror_walk *walk, unsigned long addr,
		 unsigned long end, unsigned long request,
		 const struct leaf *leaf)
{
	if (unlikely(must_fault(walk, addr, request, leaf)))
		return want_fault(walk, addr, end, write_requested(request),
				  leaf);
	/* Answers are given in order: not beyond a page that is missing. */
	if (walk->nr_runs)
		return end >= walk->horizon ? STOP_WALK : 0;
	return answer(walk, addr, end, leaf);
}

/* How much of @nr pages from @addr on the walk still wants to know about. */
static unsigned long ahead(const struct hmm_mirror_walk *walk,
			   unsigned long addr, unsigned long nr)
{
	if (!walk->nr_runs || addr >= walk->horizon)
		return nr;
	return min(nr, DIV_ROUND_UP(walk->horizon - addr, PAGE_SIZE));
}

/*
 * All of [@addr, @end) is covered by one leaf. Where all pages are asked for the
 * same an extent is one step of work, however long it is.
 */
static int serve_leaf(struct hmm_mirror_walk *walk, unsigned long addr,
		      unsigned long end, struct leaf leaf)
{
	walk->range->nr_slots++;
	walk->budget--;
	do {
		unsigned long request = slot_request(walk, addr);
		unsigned long nr = (end - addr) >> PAGE_SHIFT;
		int err;

		if (walk->slot_requests)
			nr = same_requests(walk, addr, ahead(walk, addr, nr));
		err = serve(walk, addr, addr + (nr << PAGE_SHIFT), request,
			    &leaf);
		if (err)
			return err;
		if (walk->slot_requests && walk->extents)
			walk->budget -= nr;
		if (walk->budget <= 0)
			return STOP_WALK;
		if (leaf.flags & HMM_MIRROR_PFN_VALID)
			leaf.pfn += nr;
		addr += nr << PAGE_SHIFT;
	} while (addr < end);
	return 0;
}

static int serve_absent(struct hmm_mirror_walk *walk, unsigned long addr,
			unsigned long end, enum hmm_mirror_entry entry)
{
	return serve_leaf(walk, addr, end, absent_leaf(entry));
}

/* An entry that is neither none nor present. */
static struct leaf swap_leaf(const struct hmm_mirror_walk *walk,
			     const struct compat_swap_entry *decoded,
			     unsigned int order)
{
	void *owner = walk->range->dev_private_owner;

	/*
	 * Validity of the caller's own device memory rests on the notifier as
	 * that of any other page. NULL owns nothing.
	 */
	if (decoded->entry == HMM_MIRROR_ENTRY_DEVICE_PRIVATE && owner &&
	    compat_device_private_owner(decoded->pfn) == owner)
		return present_leaf(walk, decoded->entry, decoded->pfn,
				    decoded->write, order);
	return absent_leaf(decoded->entry);
}

static struct leaf pte_leaf(const struct hmm_mirror_walk *walk,
			    struct vm_area_struct *vma, pte_t pte)
{
	enum hmm_mirror_entry entry = HMM_MIRROR_ENTRY_PRESENT;

	if (likely(pte_present(pte) && !pte_protnone(pte))) {
		if (unlikely(!compat_pte_has_page(vma, pte)))
			return absent_leaf(HMM_MIRROR_ENTRY_SPECIAL);
		if (unlikely(is_zero_pfn(pte_pfn(pte))))
			entry = HMM_MIRROR_ENTRY_ZERO;
		return present_leaf(walk, entry, pte_pfn(pte), pte_write(pte),
				    0);
	}
	if (pte_none(pte))
		return absent_leaf(HMM_MIRROR_ENTRY_NONE);
	if (!pte_present(pte)) {
		struct compat_swap_entry decoded = compat_decode_pte(pte);

		return swap_leaf(walk, &decoded, 0);
	}
	return absent_leaf(HMM_MIRROR_ENTRY_PROT_NONE);
}

static struct leaf pmd_leaf_of(const struct hmm_mirror_walk *walk,
			       struct vm_area_struct *vma, pmd_t pmd,
			       unsigned long addr)
{
	unsigned long offset = (addr & ~PMD_MASK) >> PAGE_SHIFT;
	enum hmm_mirror_entry entry = HMM_MIRROR_ENTRY_PRESENT;

	if (pmd_protnone(pmd))
		return absent_leaf(HMM_MIRROR_ENTRY_PROT_NONE);
	if (!compat_pmd_has_page(vma, pmd))
		return absent_leaf(HMM_MIRROR_ENTRY_SPECIAL);
	/*
	 * What an anonymous mapping maps huge is either anonymous memory or
	 * the huge zero page, whose address is not exported. Only extents tell
	 * the difference. The folio may be on its way out; then the notifier
	 * will say that this answer is stale.
	 */
	if (walk->extents && vma_is_anonymous(vma) && !pmd_write(pmd) &&
	    !folio_test_anon(page_folio(pfn_to_page(pmd_pfn(pmd)))))
		entry = HMM_MIRROR_ENTRY_ZERO;
	return present_leaf(walk, entry, pmd_pfn(pmd) + offset, pmd_write(pmd),
			    PMD_SHIFT - PAGE_SHIFT);
}

static struct leaf pmd_swap_leaf(const struct hmm_mirror_walk *walk, pmd_t pmd,
				 unsigned long addr)
{
	struct compat_swap_entry decoded = compat_decode_pmd(pmd);

	decoded.pfn += (addr & ~PMD_MASK) >> PAGE_SHIFT;
	return swap_leaf(walk, &decoded, PMD_SHIFT - PAGE_SHIFT);
}

static int walker_hole(unsigned long addr, unsigned long end,
		       __always_unused int depth, struct mm_walk *mm_walk)
{
	/* Between VMAs there is no VMA; an empty table is within one. */
	return serve_absent(mm_walk->private, addr, end,
			    mm_walk->vma ? HMM_MIRROR_ENTRY_NONE :
					   HMM_MIRROR_ENTRY_NO_VMA);
}

/*
 * How many of @nr entries from @ptep on are, in the bits of @mask, @expected,
 * then @expected + @step and so on.
 */
static __always_inline unsigned long
count_entries(const pte_t *ptep, unsigned long nr, unsigned long expected,
	      unsigned long step, unsigned long mask)
{
	unsigned long i = 0;

	/* Runs are short or long. */
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

/**
 * struct known_entry - a decoded entry, to recognise others by
 * @bits: the entry
 * @free: bits in which another one may differ and still says the same, but of
 *	another page frame; 0 if none may
 * @leaf: what it says
 */
struct known_entry {
	unsigned long bits;
	unsigned long free;
	struct leaf leaf;
};

/* What @bits differ in from the known entry, if that is the page frame alone. */
static bool same_kind(const struct known_entry *known, unsigned long bits)
{
	return !((bits ^ known->bits) & ~known->free);
}

/*
 * @known becomes, of the same kind, @bits. A difference of the page frame in the
 * entry is the same difference in the frame's number.
 */
static void follow(struct known_entry *known, unsigned long bits)
{
	known->leaf.pfn ^= ((bits ^ known->bits) & COMPAT_PTE_PFN_MASK) >>
			   PAGE_SHIFT;
	known->bits = bits;
}

static void know_pte(struct known_entry *known,
		     const struct hmm_mirror_walk *walk,
		     struct vm_area_struct *vma, pte_t pte)
{
	known->leaf = pte_leaf(walk, vma, pte);
	known->bits = compat_pte_bits(pte);
	known->free = 0;
	if (!pte_present(pte) || !(known->leaf.flags & HMM_MIRROR_PFN_VALID) ||
	    !compat_pte_format_known() || !compat_entry_valid(known->bits))
		return;
	known->free = compat_pte_hints(known->bits);
	/* Another entry with the zero page's bits may have no page at all. */
	if (known->leaf.entry != HMM_MIRROR_ENTRY_ZERO)
		known->free |= COMPAT_PTE_PFN_MASK;
}

/*
 * How many of the @nr entries from @ptep on, of which @known is the first as it
 * was read, one leaf answers: absent in the same way, or present, of one kind,
 * and physically contiguous. A pageblock's border ends it: see extends().
 */
static unsigned long more_leaf_entries(const pte_t *ptep, unsigned long nr,
				       const struct known_entry *known)
{
	unsigned long in_block;

	if (!known->bits)
		return 1 + count_entries(ptep + 1, nr - 1, 0, 0, ~0UL);
	if (!(known->leaf.flags & HMM_MIRROR_PFN_VALID))
		return 1 + count_entries(ptep + 1, nr - 1, known->bits, 0,
					 ~0UL);
	if (!known->free)
		return 1;
	in_block = pageblock_nr_pages -
		   (known->leaf.pfn & (pageblock_nr_pages - 1));
	return 1 + count_entries(ptep + 1, min(nr, in_block) - 1,
				 known->bits + PAGE_SIZE, PAGE_SIZE,
				 ~known->free | COMPAT_PTE_PFN_MASK);
}

/* Mostly it is one, or many. */
static __always_inline unsigned long
leaf_entries(const pte_t *ptep, unsigned long nr,
	     const struct known_entry *known)
{
	unsigned long next = known->bits;

	if (known->leaf.flags & HMM_MIRROR_PFN_VALID)
		next += PAGE_SIZE;
	if (nr < 2 || compat_pte_bits(READ_ONCE(ptep[1])) != next)
		return 1;
	return more_leaf_entries(ptep, nr, known);
}

/* The word for one entry, if that is of the same kind as @known. */
static __always_inline bool translate_entry(unsigned long *word,
					    const pte_t *ptep,
					    const struct known_entry *known,
					    unsigned long keep)
{
	unsigned long difference = compat_pte_bits(READ_ONCE(*ptep)) ^
				   known->bits;

	if (difference & ~known->free)
		return false;
	/* Hints are below PAGE_SHIFT, and what is above the frame is equal. */
	*word = (keep ? *word & keep : 0) |
		((known->leaf.flags | known->leaf.pfn) ^
		 (difference >> PAGE_SHIFT));
	return true;
}

/*
 * Writes a word for each entry from @ptep on, of which @first is the first, until
 * one is of another kind. Returns how many it were.
 */
static __always_inline unsigned long
translate_entries(unsigned long *word, const pte_t *ptep, unsigned long nr,
		  const struct known_entry *first, unsigned long keep)
{
	/* A copy that no store to @word can change. */
	const struct known_entry known = *first;
	unsigned long i = 1;
	unsigned int k;

	word[0] = (keep ? word[0] & keep : 0) | known.leaf.flags |
		  known.leaf.pfn;
	for (; i + 4 <= nr; i += 4) {
#pragma GCC unroll 4
		for (k = 0; k < 4; k++) {
			if (!translate_entry(word + i + k, ptep + i + k, &known,
					     keep))
				return i + k;
		}
	}
	while (i < nr && translate_entry(word + i, ptep + i, &known, keep))
		i++;
	return i;
}

/* Answers in the page array, and returns how many pages it were. */
static unsigned long emit_entries(struct hmm_mirror_walk *walk,
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
	walk->budget -= nr;
	walk->next = addr + (nr << PAGE_SHIFT);
	return nr;
}

/*
 * Appends extents for as many of the @nr entries from @ptep on as are of the kind
 * of @known, which is the first. Returns how many it were.
 */
static unsigned long
emit_entry_extents(struct hmm_mirror_walk *walk, const pte_t *ptep,
		   unsigned long addr, unsigned long nr,
		   struct known_entry *known, int *err)
{
	unsigned long i = 0;

	for (;;) {
		unsigned long alike = leaf_entries(ptep + i, nr - i, known);
		unsigned long bits;

		*err = emit_extent(walk, addr, addr + (alike << PAGE_SHIFT),
				   &known->leaf);
		if (*err)
			return i;
		i += alike;
		if (i == nr)
			return i;
		addr += alike << PAGE_SHIFT;
		bits = compat_pte_bits(READ_ONCE(ptep[i]));
		if (!same_kind(known, bits))
			return i;
		follow(known, bits);
	}
}

/*
 * Whether @nr pages, whose entries begin at @ptep and whose requests at @word, are
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
		/* That there is nothing in any entry is all that counts. */
		bits |= compat_pte_bits(data_race(ptep[k]));
		any |= word[k];
	}
	*words |= any;
	return !bits && !(any & mask);
}

/* How many of the @nr pages are such, of which the first one is known to be one. */
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

/*
 * Pages that are not there and of which, unlike of others, nothing is asked: most
 * of a request for few pages. The first of the @nr from @addr on is one. Returns
 * how many it were.
 */
static unsigned long serve_unasked(struct hmm_mirror_walk *walk,
				   const pte_t *ptep, unsigned long addr,
				   unsigned long nr, int *err)
{
	const struct hmm_mirror_range *range = walk->range;
	const struct leaf none = { .entry = HMM_MIRROR_ENTRY_NONE };
	unsigned long words, alike;

	alike = count_unasked(ptep, &range->hmm_pfns[slot_index(walk, addr)],
			      nr, range->pfn_flags_mask &
			      HMM_MIRROR_PFN_REQ_FLAGS, &words);
	if (walk->nr_runs)
		return alike;
	if (walk->extents || (words & ~range->pfn_flags_mask)) {
		*err = answer(walk, addr, addr + (alike << PAGE_SHIFT), &none);
	} else {
		/* The words say so already. */
		walk->next = addr + (alike << PAGE_SHIFT);
		walk->budget -= alike;
	}
	return alike;
}

/*
 * Behind the first page that must be faulted nothing is answered any more: what is
 * there is passed over, what is not is noted. One request, to fault, is for all of the
 * @nr pages from @addr on, of which the first is as @known, and good enough. Goes on
 * while entries are of that kind or empty, and returns how many they were.
 */
static unsigned long look_ahead(struct hmm_mirror_walk *walk, const pte_t *ptep,
				unsigned long addr, unsigned long nr,
				const struct known_entry *known, int *err)
{
	const bool write = write_requested(walk->range->default_flags);
	unsigned long i = 1;

	/* Then no other entry can be recognised by it. */
	if (!known->free)
		return i;
	while (i < nr && !*err) {
		unsigned long bits = compat_pte_bits(READ_ONCE(ptep[i]));
		unsigned long from = addr + (i << PAGE_SHIFT);

		if (bits && !same_kind(known, bits))
			break;
		i++;
		if (!bits)
			*err = add_run(walk, from, from + PAGE_SIZE, write);
	}
	return i;
}

static int walk_ptes(struct hmm_mirror_walk *walk, struct vm_area_struct *vma,
		     pte_t *ptep, unsigned long addr, unsigned long end)
{
	static const struct known_entry none;
	const bool slot_requests = walk->slot_requests;
	unsigned long request = walk->range->default_flags;
	unsigned long nr = (end - addr) >> PAGE_SHIFT;
	struct known_entry known = {};
	unsigned long i = 0;
	int err = 0;

	while (i < nr && walk->budget > 0 && !err) {
		unsigned long left = ahead(walk, addr, nr - i);
		pte_t pte = ptep_get_lockless(ptep + i);
		unsigned long bits = compat_pte_bits(pte);
		const struct known_entry *seen = &none;
		unsigned long alike;

		left = min_t(unsigned long, left, walk->budget);
		if (bits) {
			if (known.free && same_kind(&known, bits))
				follow(&known, bits);
			else
				know_pte(&known, walk, vma, pte);
			seen = &known;
		}
		if (slot_requests)
			request = slot_request(walk, addr);

		if (must_fault(walk, addr, request, &seen->leaf)) {
			left = min_t(unsigned long, left,
				     LOOK_AHEAD >> PAGE_SHIFT);
			alike = leaf_entries(ptep + i, left, seen);
			if (slot_requests && alike > 1)
				alike = same_requests(walk, addr, alike);
			err = want_fault(walk, addr,
					 addr + (alike << PAGE_SHIFT),
					 write_requested(request), &seen->leaf);
		} else if (!bits && !request && slot_requests) {
			alike = serve_unasked(walk, ptep + i, addr, left, &err);
		} else if (walk->nr_runs) {
			alike = slot_requests ? 1 :
				look_ahead(walk, ptep + i, addr, left, &known,
					   &err);
		} else if (walk->extents && !slot_requests && known.free &&
			   bits) {
			alike = emit_entry_extents(walk, ptep + i, addr, left,
						   &known, &err);
		} else if (walk->extents || slot_requests) {
			alike = leaf_entries(ptep + i, left, seen);
			if (slot_requests && alike > 1)
				alike = same_requests(walk, addr, alike);
			err = answer(walk, addr, addr + (alike << PAGE_SHIFT),
				     &seen->leaf);
		} else {
			alike = emit_entries(walk, ptep + i, addr, left, seen);
		}
		addr += alike << PAGE_SHIFT;
		i += alike;
		if (walk->nr_runs && addr >= walk->horizon)
			err = err ?: STOP_WALK;
	}
	walk->range->nr_slots += i;
	if (walk->extents)
		walk->budget -= i;
	return err ?: walk->budget <= 0 ? STOP_WALK : 0;
}

/* An entry that is neither none nor present. */
static int walk_swap_pmd(struct hmm_mirror_walk *walk, pmd_t *pmdp,
			 unsigned long addr, unsigned long end)
{
	struct leaf leaf;
	pmd_t pmd;
	int err;

	/* A device whose page the entry names must not go away meanwhile. */
	rcu_read_lock();
	pmd = compat_pmdp_get(pmdp);
	if (pmd_none(pmd) || pmd_present(pmd)) {
		rcu_read_unlock();
		return LOOK_AGAIN;
	}
	leaf = pmd_swap_leaf(walk, pmd, addr);
	err = serve_leaf(walk, addr, end, leaf);
	rcu_read_unlock();
	return err;
}

/*
 * How many of the huge pages behind the one that *@pmdp, which is @known, maps up
 * to *@next continue it, on the same node. Moves *@next to their end.
 */
static unsigned long more_huge_pmds(const struct known_entry *known,
				    const pmd_t *pmdp, unsigned long *next,
				    unsigned long end)
{
	const unsigned long mask = ~known->free | COMPAT_PTE_PFN_MASK;
	unsigned long pfn = ALIGN_DOWN(known->leaf.pfn, PMD_SIZE >> PAGE_SHIFT);
	unsigned long bits = known->bits;
	unsigned long nr = 0;
	int node;

	/* Then the first one may have no page to ask for its node. */
	if (!known->free)
		return 0;
	node = pfn_to_nid(pfn);
	while (end - *next >= PMD_SIZE) {
		bits += PMD_SIZE;
		pfn += PMD_SIZE >> PAGE_SHIFT;
		if (((compat_pmd_bits(READ_ONCE(pmdp[nr + 1])) ^ bits) & mask) ||
		    pfn_to_nid(pfn) != node)
			break;
		*next += PMD_SIZE;
		nr++;
	}
	return nr;
}

/*
 * The huge page that *@pmdp, read as @pmd, maps at *@addr, and those behind it as
 * long as they are mapped in the same way. Moves *@addr to where it stopped.
 */
static int walk_huge_pmds(struct hmm_mirror_walk *walk,
			  struct vm_area_struct *vma, pmd_t *pmdp, pmd_t pmd,
			  unsigned long *addr, unsigned long end)
{
	struct known_entry known = {
		.bits = compat_pmd_bits(pmd),
		.leaf = pmd_leaf_of(walk, vma, pmd, *addr),
	};
	unsigned long next = pmd_addr_end(*addr, end);
	unsigned long nr = 0;
	int err;

	/*
	 * Not what takes a look at each page's request, is to be faulted, may
	 * not be answered, or is the huge zero page for all its entry says.
	 */
	if (walk->slot_requests || walk->nr_runs ||
	    !request_met(walk->range->default_flags, known.leaf.flags) ||
	    (walk->extents && !pmd_write(pmd))) {
		err = serve_leaf(walk, *addr, next, known.leaf);
		*addr = next;
		return err;
	}

	if ((known.leaf.flags & HMM_MIRROR_PFN_VALID) &&
	    compat_pte_format_known() && compat_entry_valid(known.bits))
		known.free = (COMPAT_PTE_PFN_MASK & PMD_MASK) |
			     compat_pte_hints(known.bits);
	for (;;) {
		unsigned long bits;

		if (walk->extents)
			nr += more_huge_pmds(&known, pmdp + nr, &next, end);
		err = answer(walk, *addr, next, &known.leaf);
		nr++;
		*addr = next;
		if (err || next == end || !known.free || (long)nr >= walk->budget)
			break;
		bits = compat_pmd_bits(compat_pmdp_get(pmdp + nr));
		if (!same_kind(&known, bits))
			break;
		/* The first one's may be a page in the middle of it. */
		known.leaf.pfn = ALIGN_DOWN(known.leaf.pfn,
					    PMD_SIZE >> PAGE_SHIFT);
		follow(&known, bits);
		next = pmd_addr_end(next, end);
	}
	walk->range->nr_slots += nr;
	walk->budget -= nr;
	return err ?: walk->budget <= 0 ? STOP_WALK : 0;
}

static int walk_pmd_leaf(struct hmm_mirror_walk *walk,
			 struct vm_area_struct *vma, pmd_t *pmdp, pmd_t pmd,
			 unsigned long *addr, unsigned long end)
{
	int err = LOOK_AGAIN;

	/* As in walk_swap_pmd(): DAX memory can go away. */
	rcu_read_lock();
	if (compat_pmd_bits(compat_pmdp_get(pmdp)) == compat_pmd_bits(pmd))
		err = walk_huge_pmds(walk, vma, pmdp, pmd, addr, end);
	rcu_read_unlock();
	return err;
}

static int walk_pmd_table(struct hmm_mirror_walk *walk,
			  struct vm_area_struct *vma, pmd_t *pmdp, pmd_t pmd,
			  unsigned long addr, unsigned long end)
{
	int err = LOOK_AGAIN;
	pte_t *ptep;

	rcu_read_lock();
	ptep = compat_pte_offset(pmdp, pmd, addr);
	if (ptep)
		err = walk_ptes(walk, vma, ptep, addr, end);
	rcu_read_unlock();
	return err;
}

/*
 * End of the empty entries from @pmdp on, of which the first is for @addr. Where
 * they are to be faulted there is no need to know how far they go.
 */
static unsigned long pmd_hole_end(struct hmm_mirror_walk *walk, pmd_t *pmdp,
				  unsigned long addr, unsigned long end)
{
	unsigned long next = pmd_addr_end(addr, end);

	if (walk->slot_requests || !request_met(walk->range->default_flags, 0))
		return next;
	while (next < end && pmd_none(compat_pmdp_get(++pmdp))) {
		next = pmd_addr_end(next, end);
		walk->budget--;
	}
	return next;
}

/*
 * All of a table of PMDs. walk_page_range() could do this, but would call back
 * for each entry; here an empty gigabyte is one step.
 */
static int walk_pmds(struct hmm_mirror_walk *walk, struct vm_area_struct *vma,
		     pmd_t *table, unsigned long addr, unsigned long end)
{
	pmd_t *first = table - pmd_index(addr);

	while (addr < end) {
		pmd_t *pmdp = first + pmd_index(addr);
		unsigned long next = pmd_addr_end(addr, end);
		pmd_t pmd = compat_pmdp_get(pmdp);
		int err;

		if (pmd_none(pmd)) {
			next = pmd_hole_end(walk, pmdp, addr, end);
			err = serve_absent(walk, addr, next,
					   HMM_MIRROR_ENTRY_NONE);
		} else if (!pmd_present(pmd)) {
			err = walk_swap_pmd(walk, pmdp, addr, next);
		} else if (compat_pmd_leaf(pmd)) {
			next = addr;
			err = walk_pmd_leaf(walk, vma, pmdp, pmd, &next, end);
		} else if (pmd_bad(pmd)) {
			err = serve_absent(walk, addr, next,
					   HMM_MIRROR_ENTRY_BAD);
		} else {
			err = walk_pmd_table(walk, vma, pmdp, pmd, addr, next);
		}
		if (err == LOOK_AGAIN)
			continue;
		if (err)
			return err;
		addr = next;
	}
	return 0;
}

static int walk_pud_leaf(struct hmm_mirror_walk *walk,
			 struct vm_area_struct *vma, pud_t *pudp,
			 unsigned long addr, unsigned long end)
{
	unsigned long offset = (addr & ~PUD_MASK) >> PAGE_SHIFT;
	struct leaf leaf;
	pud_t pud;
	int err;

	/* Read once more, because now what it maps cannot go away. */
	rcu_read_lock();
	pud = compat_pudp_get(pudp);
	if (!pud_present(pud) || !compat_pud_leaf(pud))
		/* Somebody has taken it away: as stale as any answer. */
		leaf = absent_leaf(HMM_MIRROR_ENTRY_NONE);
	else if (!compat_pud_has_page(vma, pud))
		leaf = absent_leaf(HMM_MIRROR_ENTRY_SPECIAL);
	else
		leaf = present_leaf(walk, HMM_MIRROR_ENTRY_PRESENT,
				    pud_pfn(pud) + offset, pud_write(pud),
				    PUD_SHIFT - PAGE_SHIFT);
	err = serve_leaf(walk, addr, end, leaf);
	rcu_read_unlock();
	return err;
}

/*
 * Everything below one entry of a table of PUDs. It is read once: if it is a table
 * it stays that one for as long as mmap_lock is held, because only what unmaps all
 * that is around it frees a table of PMDs.
 */
static int walk_pud(struct hmm_mirror_walk *walk, struct vm_area_struct *vma,
		    pud_t *pudp, unsigned long addr, unsigned long end)
{
	pud_t pud = compat_pudp_get(pudp);

	if (pud_none(pud))
		return serve_absent(walk, addr, end, HMM_MIRROR_ENTRY_NONE);
	if (!pud_present(pud))
		return serve_absent(walk, addr, end, HMM_MIRROR_ENTRY_BAD);
	if (!compat_pud_leaf(pud)) {
		if (unlikely(pud_bad(pud)))
			return serve_absent(walk, addr, end,
					    HMM_MIRROR_ENTRY_BAD);
		/* Not of the copy: where PMDs are folded, it is the PMD. */
		return walk_pmds(walk, vma, pmd_offset(pudp, addr), addr, end);
	}
	return walk_pud_leaf(walk, vma, pudp, addr, end);
}

/* The walker neither splits what is a leaf nor goes on below. */
static int walker_pud(pud_t *pudp, unsigned long addr, unsigned long end,
		      struct mm_walk *mm_walk)
{
	mm_walk->action = ACTION_CONTINUE;
	return walk_pud(mm_walk->private, mm_walk->vma, pudp, addr, end);
}

#ifdef CONFIG_HUGETLB_PAGE
static int walk_hugetlb(pte_t *ptep, unsigned long hmask, unsigned long addr,
			unsigned long end, struct mm_walk *mm_walk)
{
	struct hmm_mirror_walk *walk = mm_walk->private;
	unsigned long offset = (addr & ~hmask) >> PAGE_SHIFT;
	unsigned int order = ilog2(~hmask + 1) - PAGE_SHIFT;
	pte_t pte = compat_huge_ptep_get(mm_walk->mm, addr & hmask, ptep);

	if (huge_pte_none(pte))
		return serve_absent(walk, addr, end, HMM_MIRROR_ENTRY_NONE);
	if (!pte_present(pte)) {
		struct compat_swap_entry decoded = compat_decode_pte(pte);

		return serve_absent(walk, addr, end, decoded.entry);
	}
	if (pte_protnone(pte))
		return serve_absent(walk, addr, end,
				    HMM_MIRROR_ENTRY_PROT_NONE);
	return serve_leaf(walk, addr, end,
			  present_leaf(walk, HMM_MIRROR_ENTRY_PRESENT,
				       pte_pfn(pte) + offset,
				       huge_pte_write(pte), order));
}
#else
#define walk_hugetlb NULL
#endif

/*
 * Pages of memfd_secret() are not in the kernel's own map and must not reach a
 * device; get_user_pages() refuses them too. vma_is_secretmem() is not exported.
 */
static bool is_secretmem(const struct vm_area_struct *vma)
{
	return vma->vm_file &&
	       file_inode(vma->vm_file)->i_sb->s_magic == SECRETMEM_MAGIC;
}

/*
 * Decides on the part of a VMA that is in the range. Returns 0 to have it
 * walked, 1 if it has been answered here.
 */
static int walk_vma(struct hmm_mirror_walk *walk, struct vm_area_struct *vma,
		    unsigned long start, unsigned long end)
{
	unsigned long vm_flags = vma->vm_flags;
	enum hmm_mirror_entry entry;

	walk->vma = vma;
	walk->write_allowed = (vm_flags & VM_WRITE) &&
			      !(vm_flags & VM_SHADOW_STACK);

	if (vm_flags & (VM_IO | VM_PFNMAP))
		entry = HMM_MIRROR_ENTRY_IO;
	else if (!(vm_flags & VM_READ))
		entry = HMM_MIRROR_ENTRY_UNREADABLE;
	else if (is_secretmem(vma))
		entry = HMM_MIRROR_ENTRY_SECRETMEM;
	else
		return 0;

	return serve_absent(walk, start, end, entry) ?: 1;
}

static int walker_vma(unsigned long start, unsigned long end,
		      struct mm_walk *mm_walk)
{
	return walk_vma(mm_walk->private, mm_walk->vma, start, end);
}

/*
 * What is left is a part of one VMA below one entry of a table of PUDs. Nothing
 * has to be walked to get there, which for a few pages would cost more than the
 * pages. Returns false, and has done nothing, if it is more than that. With @part
 * only so much of it is looked at: the walk will end soon, at the next page to be
 * faulted, and if not another one goes on from there.
 *
 * This is what walk_page_range() would do: find the VMA, ask walk_vma() about
 * it, and go down to the PUD, from where both ways are one, walk_pud(). That the
 * tables above stay where they are follows from mmap_lock and a VMA that is there.
 * All else is left to walk_page_range(): holes above the PUD, entries that are
 * bad, addresses without a VMA, and hugetlb, which has locks of its own.
 */
static bool walk_one_pud(struct hmm_mirror_walk *walk, bool part, int *err)
{
	struct mm_struct *mm = walk->range->notifier->mm;
	unsigned long addr = walk->next;
	unsigned long end = walk->range->end;
	struct vm_area_struct *vma = walk->vma;
	pgd_t *pgdp, pgd;
	p4d_t *p4dp, p4d;

	mmap_assert_locked(mm);
	if (part)
		end = pud_addr_end(addr, end);
	else if ((addr ^ (end - 1)) & PUD_MASK)
		return false;
	if (!vma || addr < vma->vm_start || addr >= vma->vm_end)
		vma = vma_lookup(mm, addr);
	if (!vma || is_vm_hugetlb_page(vma))
		return false;
	if (vma->vm_end < end) {
		if (!part)
			return false;
		end = vma->vm_end;
	}
	pgdp = pgd_offset(mm, addr);
	pgd = READ_ONCE(*pgdp);
	if (pgd_none(pgd) || unlikely(pgd_bad(pgd)))
		return false;
	p4dp = p4d_offset(pgdp, addr);
	p4d = READ_ONCE(*p4dp);
	if (p4d_none(p4d) || unlikely(p4d_bad(p4d)))
		return false;

	*err = walk_vma(walk, vma, addr, end);
	if (!*err)
		*err = walk_pud(walk, vma, pud_offset(p4dp, addr), addr, end);
	else if (*err > 0)
		*err = 0;
	return true;
}

static const struct mm_walk_ops walk_ops = {
	.pud_entry	= walker_pud,
	.pte_hole	= walker_hole,
	.hugetlb_entry	= walk_hugetlb,
	.test_walk	= walker_vma,
	COMPAT_WALK_LOCK_READ
};

/**
 * hmm_mirror_walk() - one walk over the part of a request not yet answered
 * @walk: the request
 *
 * Ends at the end of the range, when the extents are full (@walk->full), when
 * faults are needed (@walk->nr_runs), or after a bounded amount of work (after
 * faults, at the end of a VMA or PUD already), which is not an error: the caller
 * looks at @walk->next and calls again. At least one page is answered or needs a
 * fault if none of the others is the case.
 *
 * Locking: mmap_lock is held for reading or writing. Does not sleep.
 *
 * Return: 0, or the errno that the page at @walk->range->fault_addr fails with.
 */
int hmm_mirror_walk(struct hmm_mirror_walk *walk)
{
	struct hmm_mirror_range *range = walk->range;
	bool after_faults = walk->nr_runs;
	int err;

	walk->nr_runs = 0;
	walk->error = 0;
	walk->budget = WALK_BUDGET;
	walk->slot_requests = range->hmm_pfns &&
		(range->pfn_flags_mask & HMM_MIRROR_PFN_REQ_FLAGS);
	walk->order_shift = range->order_shift ?: HMM_MIRROR_PFN_ORDER_SHIFT;
	range->nr_walks++;
	if (!walk_one_pud(walk, after_faults, &err))
		err = hmm_mirror_walk_page_range(range->notifier->mm,
						 walk->next, range->end,
						 &walk_ops, walk);
	return err == STOP_WALK ? walk->error : err;
}

static __always_inline bool entry_mapped(bool present, bool writable, bool write)
{
	return present && (writable || !write);
}

static __always_inline bool pte_mapped(pte_t pte, bool write)
{
	return compat_pte_bits(pte) &&
	       entry_mapped(pte_present(pte) && !pte_protnone(pte),
			    pte_write(pte), write);
}

/*
 * Makes @cursor remember the page table of @addr. Where there is none it returns
 * false, and what is known of the pages up to @next.
 */
static bool move_cursor(struct hmm_mirror_cursor *cursor, struct mm_struct *mm,
			unsigned long addr, unsigned long *next, bool write,
			bool *mapped)
{
	pgd_t *pgdp = pgd_offset(mm, addr);
	p4d_t *p4dp;
	pud_t *pudp, pud;
	pmd_t pmd;

	*mapped = false;
	cursor->ptes = NULL;
	if (pgd_none(READ_ONCE(*pgdp)))
		return false;
	p4dp = p4d_offset(pgdp, addr);
	if (p4d_none(READ_ONCE(*p4dp)))
		return false;
	pudp = pud_offset(p4dp, addr);
	pud = compat_pudp_get(pudp);
	if (pud_none(pud) || !pud_present(pud))
		return false;
	if (!compat_pud_leaf(pud) && unlikely(pud_bad(pud)))
		return false;
	if (compat_pud_leaf(pud)) {
		*mapped = entry_mapped(true, pud_write(pud), write);
		*next = pud_addr_end(addr, *next);
		return false;
	}
	cursor->pmdp = pmd_offset(pudp, addr);
	pmd = compat_pmdp_get(cursor->pmdp);
	*next = pmd_addr_end(addr, *next);
	if (pmd_none(pmd) || !pmd_present(pmd))
		return false;
	if (compat_pmd_leaf(pmd)) {
		*mapped = entry_mapped(!pmd_protnone(pmd), pmd_write(pmd),
				       write);
		return false;
	}
	if (pmd_bad(pmd))
		return false;
	cursor->start = addr & PMD_MASK;
	cursor->table = compat_pmd_bits(pmd);
	cursor->ptes = pte_offset_kernel(&pmd, cursor->start);
	return true;
}

/*
 * Whether the page table that @cursor remembers is still where it was, and stays
 * there until the end of the RCU read-side section.
 */
static __always_inline bool cursor_valid(const struct hmm_mirror_cursor *cursor)
{
	return compat_pmd_bits(compat_pmdp_get(cursor->pmdp)) == cursor->table;
}

static noinline unsigned long
search_unmapped(struct hmm_mirror_cursor *cursor, struct mm_struct *mm,
		unsigned long addr, unsigned long end, bool write)
{
	while (addr < end) {
		unsigned long next = end;
		bool mapped;

		if (!move_cursor(cursor, mm, addr, &next, write, &mapped)) {
			if (!mapped)
				return addr;
			addr = next;
			continue;
		}
		rcu_read_lock();
		while (addr < next && cursor_valid(cursor) &&
		       pte_mapped(ptep_get_lockless(cursor->ptes +
						    pte_index(addr)), write))
			addr += PAGE_SIZE;
		rcu_read_unlock();
		if (addr < next)
			return addr;
	}
	return addr;
}

/**
 * hmm_mirror_next_unmapped() - skip pages that have been mapped meanwhile
 * @cursor: all zero at first, and again whenever mmap_lock was dropped
 * @mm: address space
 * @addr: where to begin
 * @end: where to end
 * @write: pages count as mapped only if they are writable
 *
 * A fault can map more than the page it was taken for: its neighbours, a huge
 * page. This finds where the next one is needed. It is a hint, good for not
 * taking needless faults; whether a page can be had is for hmm_mirror_walk() to
 * say. Not for hugetlb mappings.
 *
 * Locking: mmap_lock is held for reading or writing. Does not sleep.
 *
 * Return: the first address from @addr on that is not mapped, or @end.
 */
unsigned long hmm_mirror_next_unmapped(struct hmm_mirror_cursor *cursor,
				       struct mm_struct *mm, unsigned long addr,
				       unsigned long end, bool write)
{
	bool unmapped = false;

	/*
	 * Mostly one page was mapped, and this is the one behind it. For one entry
	 * preemption is disabled, which RCU waits for just as well: to mark a
	 * reader would cost more than to read.
	 */
	if (cursor->ptes && cursor->start == (addr & PMD_MASK)) {
		rcu_read_lock_sched();
		unmapped = cursor_valid(cursor) &&
			   !pte_mapped(ptep_get_lockless(cursor->ptes +
							 pte_index(addr)),
				       write);
		rcu_read_unlock_sched();
	}
	return unmapped ? addr :
	       search_unmapped(cursor, mm, addr, end, write);
}
