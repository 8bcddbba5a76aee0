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

/*
 * How far beyond the first missing page a walk looks for more: far enough that
 * the cost of a walk is nothing beside that of the faults, near enough that
 * nothing is looked at over and over when faults come one at a time.
 */
#define LOOK_AHEAD	PMD_SIZE

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
			 ((unsigned long)order << HMM_MIRROR_PFN_ORDER_SHIFT),
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
 * End of the pages from @addr that have the same request, at most @end. To find
 * it is work, and no more is done at once than a walk may do.
 */
static unsigned long same_request_end(struct hmm_mirror_walk *walk,
				      unsigned long addr, unsigned long end,
				      unsigned long request)
{
	unsigned long limit = max(walk->budget, 1L);
	unsigned long npages = 1;

	if (!walk->slot_requests)
		return end;
	while (npages < limit && addr + (npages << PAGE_SHIFT) < end &&
	       slot_request(walk, addr + (npages << PAGE_SHIFT)) == request)
		npages++;
	if (walk->extents)
		walk->budget -= npages;
	return addr + (npages << PAGE_SHIFT);
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

/* [@addr, @end) must be faulted before the answer can go on. */
static int want_fault(struct hmm_mirror_walk *walk, unsigned long addr,
		      unsigned long end, bool write, const struct leaf *leaf)
{
	struct hmm_mirror_fault_run *run = NULL;

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
	    check_add_overflow(addr, LOOK_AHEAD, &walk->horizon))
		walk->horizon = ULONG_MAX;
	if (addr >= walk->horizon)
		return STOP_WALK;

	if (walk->nr_runs)
		run = &walk->runs[walk->nr_runs - 1];
	if (!run || run->end != addr || run->write != write) {
		if (walk->nr_runs == HMM_MIRROR_MAX_FAULT_RUNS)
			return STOP_WALK;
		run = &walk->runs[walk->nr_runs++];
		run->start = addr;
		run->write = write;
	}
	run->end = min(end, walk->horizon);
	return run->end < end ? STOP_WALK : 0;
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
	unsigned long step = leaf->flags & HMM_MIRROR_PFN_VALID ? 1 : 0;
	unsigned long i;

	npages = min_t(unsigned long, npages, max(walk->budget, 1L));
	walk->budget -= npages;
	walk->next = addr + (npages << PAGE_SHIFT);

	if (!keep) {
		for (i = 0; i < npages; i++, value += step)
			word[i] = value;
	} else {
		for (i = 0; i < npages; i++, value += step)
			word[i] = (word[i] & keep) | value;
	}
	return walk->next < end ? STOP_WALK : 0;
}

/*
 * Whether @leaf at @addr continues @extent. Only at a pageblock's border can
 * the next page of a contiguous run belong to another node, so only there is
 * the node looked up.
 */
static bool extends(const struct hmm_mirror_extent *extent, unsigned long addr,
		    const struct leaf *leaf, unsigned long flags,
		    unsigned int order, bool without_pfns)
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
static int emit_extent(struct hmm_mirror_walk *walk, unsigned long addr,
		       unsigned long end, const struct leaf *leaf)
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

/* One request, one leaf: answer [@addr, @end) or note that it must be faulted. */
static int serve(struct hmm_mirror_walk *walk, unsigned long addr,
		 unsigned long end, unsigned long request,
		 const struct leaf *leaf)
{
	if (unlikely(!request_met(request, leaf->flags)))
		return want_fault(walk, addr, end, write_requested(request),
				  leaf);
	/* Answers are given in order: not beyond a page that is missing. */
	if (walk->nr_runs)
		return end >= walk->horizon ? STOP_WALK : 0;
	if (walk->extents)
		return emit_extent(walk, addr, end, leaf);
	return emit_pages(walk, addr, end, leaf);
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
	while (addr < end) {
		unsigned long request = slot_request(walk, addr);
		unsigned long stop = same_request_end(walk, addr, end, request);
		int err = serve(walk, addr, stop, request, &leaf);

		if (err)
			return err;
		if (walk->budget <= 0)
			return STOP_WALK;
		if (leaf.flags & HMM_MIRROR_PFN_VALID)
			leaf.pfn += (stop - addr) >> PAGE_SHIFT;
		addr = stop;
	}
	return walk->budget <= 0 ? STOP_WALK : 0;
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

static int walk_hole(unsigned long addr, unsigned long end,
		     __always_unused int depth, struct mm_walk *mm_walk)
{
	/* Between VMAs there is no VMA; an empty table slot is within one. */
	return serve_absent(mm_walk->private, addr, end,
			    mm_walk->vma ? HMM_MIRROR_ENTRY_NONE :
					   HMM_MIRROR_ENTRY_NO_VMA);
}

static int walk_ptes(struct hmm_mirror_walk *walk, struct vm_area_struct *vma,
		     pte_t *ptep, unsigned long addr, unsigned long end)
{
	unsigned long start = addr;
	unsigned long visited;
	int err = 0;

	while (addr < end && !err) {
		struct leaf leaf = pte_leaf(walk, vma, ptep_get_lockless(ptep));

		err = serve(walk, addr, addr + PAGE_SIZE,
			    slot_request(walk, addr), &leaf);
		addr += PAGE_SIZE;
		ptep++;
	}
	visited = (addr - start) >> PAGE_SHIFT;
	walk->range->nr_slots += visited;
	if (walk->extents)
		walk->budget -= visited;
	return err ?: walk->budget <= 0 ? STOP_WALK : 0;
}

static int walk_pmd(pmd_t *pmdp, unsigned long addr, unsigned long end,
		    struct mm_walk *mm_walk)
{
	struct hmm_mirror_walk *walk = mm_walk->private;
	struct vm_area_struct *vma = mm_walk->vma;
	pmd_t pmd;
	pte_t *ptep;
	int err = 0;

	/* A device whose page the entry names must not go away meanwhile. */
	rcu_read_lock();
	pmd = compat_pmdp_get(pmdp);
	if (!pmd_none(pmd) && !pmd_present(pmd)) {
		struct leaf leaf = pmd_swap_leaf(walk, pmd, addr);

		rcu_read_unlock();
		return serve_leaf(walk, addr, end, leaf);
	}
	rcu_read_unlock();

	if (pmd_none(pmd))
		return serve_absent(walk, addr, end, HMM_MIRROR_ENTRY_NONE);

	if (compat_pmd_leaf(pmd))
		return serve_leaf(walk, addr, end,
				  pmd_leaf_of(walk, vma, pmd, addr));

	if (pmd_bad(pmd))
		return serve_absent(walk, addr, end, HMM_MIRROR_ENTRY_BAD);

	rcu_read_lock();
	ptep = compat_pte_offset(pmdp, addr);
	if (ptep)
		err = walk_ptes(walk, vma, ptep, addr, end);
	else	/* It was a page table a moment ago: look again. */
		mm_walk->action = ACTION_AGAIN;
	rcu_read_unlock();
	return err;
}

/*
 * A PUD leaf is answered here, so that the walker does not split it. The entry
 * is read once: if it was a table then, the walker goes on below it and reads
 * again, and checks what it finds, as walk_pmd() does.
 */
static int walk_pud(pud_t *pudp, unsigned long addr, unsigned long end,
		    struct mm_walk *mm_walk)
{
	struct hmm_mirror_walk *walk = mm_walk->private;
	pud_t pud = compat_pudp_get(pudp);
	unsigned long offset = (addr & ~PUD_MASK) >> PAGE_SHIFT;

	if (pud_none(pud)) {
		mm_walk->action = ACTION_CONTINUE;
		return serve_absent(walk, addr, end, HMM_MIRROR_ENTRY_NONE);
	}
	if (!pud_present(pud)) {
		mm_walk->action = ACTION_CONTINUE;
		return serve_absent(walk, addr, end, HMM_MIRROR_ENTRY_BAD);
	}
	if (!compat_pud_leaf(pud))
		return 0;

	mm_walk->action = ACTION_CONTINUE;
	if (!compat_pud_has_page(mm_walk->vma, pud))
		return serve_absent(walk, addr, end, HMM_MIRROR_ENTRY_SPECIAL);
	return serve_leaf(walk, addr, end,
			  present_leaf(walk, HMM_MIRROR_ENTRY_PRESENT,
				       pud_pfn(pud) + offset, pud_write(pud),
				       PUD_SHIFT - PAGE_SHIFT));
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
static int walk_vma(unsigned long start, unsigned long end,
		    struct mm_walk *mm_walk)
{
	struct hmm_mirror_walk *walk = mm_walk->private;
	struct vm_area_struct *vma = mm_walk->vma;
	unsigned long vm_flags = vma->vm_flags;
	enum hmm_mirror_entry entry;

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

static const struct mm_walk_ops walk_ops = {
	.pud_entry	= walk_pud,
	.pmd_entry	= walk_pmd,
	.pte_hole	= walk_hole,
	.hugetlb_entry	= walk_hugetlb,
	.test_walk	= walk_vma,
	COMPAT_WALK_LOCK_READ
};

/**
 * hmm_mirror_walk() - one walk over the part of a request not yet answered
 * @walk: the request
 *
 * Ends at the end of the range, when the extents are full (@walk->full), when
 * faults are needed (@walk->nr_runs), or after a bounded amount of work, which
 * is not an error: the caller looks at @walk->next and calls again. At least one
 * page is answered or needs a fault if none of the others is the case.
 *
 * Locking: mmap_lock is held for reading or writing. Does not sleep.
 *
 * Return: 0, or the errno that the page at @walk->range->fault_addr fails with.
 */
int hmm_mirror_walk(struct hmm_mirror_walk *walk)
{
	struct hmm_mirror_range *range = walk->range;
	int err;

	walk->nr_runs = 0;
	walk->error = 0;
	walk->budget = WALK_BUDGET;
	walk->slot_requests = range->hmm_pfns &&
		(range->pfn_flags_mask & HMM_MIRROR_PFN_REQ_FLAGS);
	range->nr_walks++;
	err = hmm_mirror_walk_page_range(range->notifier->mm, walk->next,
					 range->end, &walk_ops, walk);
	return err == STOP_WALK ? walk->error : err;
}

static bool entry_mapped(bool present, bool writable, bool write)
{
	return present && (writable || !write);
}

/* As hmm_mirror_next_unmapped(), over one page table. */
static unsigned long next_unmapped_pte(pmd_t *pmdp, unsigned long addr,
				       unsigned long end, bool write)
{
	pte_t *ptep;

	rcu_read_lock();
	ptep = compat_pte_offset(pmdp, addr);
	for (; ptep && addr < end; addr += PAGE_SIZE, ptep++) {
		pte_t pte = ptep_get_lockless(ptep);

		if (!entry_mapped(pte_present(pte) && !pte_protnone(pte),
				  pte_write(pte), write))
			break;
	}
	rcu_read_unlock();
	return addr;
}

/**
 * hmm_mirror_next_unmapped() - skip pages that have been mapped meanwhile
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
unsigned long hmm_mirror_next_unmapped(struct mm_struct *mm, unsigned long addr,
				       unsigned long end, bool write)
{
	while (addr < end) {
		unsigned long next;
		pgd_t *pgdp = pgd_offset(mm, addr);
		p4d_t *p4dp;
		pud_t *pudp, pud;
		pmd_t *pmdp, pmd;

		if (pgd_none(READ_ONCE(*pgdp)))
			return addr;
		p4dp = p4d_offset(pgdp, addr);
		if (p4d_none(READ_ONCE(*p4dp)))
			return addr;
		pudp = pud_offset(p4dp, addr);
		pud = compat_pudp_get(pudp);
		if (pud_none(pud) || !pud_present(pud))
			return addr;
		if (compat_pud_leaf(pud)) {
			if (!entry_mapped(true, pud_write(pud), write))
				return addr;
			addr = pud_addr_end(addr, end);
			continue;
		}
		pmdp = pmd_offset(&pud, addr);
		pmd = compat_pmdp_get(pmdp);
		next = pmd_addr_end(addr, end);
		if (pmd_none(pmd) || !pmd_present(pmd))
			return addr;
		if (compat_pmd_leaf(pmd)) {
			if (!entry_mapped(!pmd_protnone(pmd), pmd_write(pmd),
					  write))
				return addr;
			addr = next;
			continue;
		}
		addr = next_unmapped_pte(pmdp, addr, next, write);
		if (addr < next)
			return addr;
	}
	return addr;
}
