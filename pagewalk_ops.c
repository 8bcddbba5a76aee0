// SPDX-License-Identifier: GPL-2.0
/*
 * Walks page tables for a range request.
 *
 * A walk answers page after page, into the page array or the extents of the request. A
 * page that was asked for and is missing is noted as part of a run to be faulted; from
 * then on the walk only looks a little ahead for more such runs, and then ends. It never
 * faults itself: no page-table, hugetlb or RCU lock may be held over handle_mm_fault(),
 * and the walker holds such locks.
 *
 * One entry of the page table gets one answer: no page of a huge entry is reported before
 * everything that its pages are asked for has been faulted in.
 */
#define pr_fmt(fmt) "hmm_mirror: " fmt

#include <linux/hugetlb.h>
#include <linux/magic.h>
#include <linux/mm.h>

#include "answer.h"
#include "compat.h"
#include "internal.h"
#include "page_entry.h"
#include "request.h"

/* How many pages a walk looks at before it lets its caller reschedule. */
#define WALK_BUDGET	65536L

/* Of a PMD: it has changed, read it again. */
#define LOOK_AGAIN	(-EAGAIN)

/*
 * How much of a hole one fault can fill with one entry. Whether it does is known only
 * afterwards, so that much of a hole gets one answer.
 */
#define HOLE_MASK	(IS_ENABLED(CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD) ? \
			 PUD_MASK : PMD_MASK)

/* All of [@addr, @end) is covered by one entry; @leaf is for the page at @addr. */
static int serve_entry(struct hmm_mirror_walk *walk, unsigned long addr,
		       unsigned long end, const struct page_leaf *leaf)
{
	unsigned long unmet = first_unmet(walk, addr, end, leaf);
	int err;

	walk->range->nr_slots++;
	/* An extent is one step of work, unless each page's request is looked at. */
	walk->budget -= walk->extents && !walk->slot_requests ?
			1 : (end - addr) >> PAGE_SHIFT;
	if (unlikely(unmet < end))
		return want_fault(walk, unmet, end, leaf, true);
	/* Answers are given in order: none beyond a page that is missing. */
	if (walk->nr_runs)
		return end >= walk->horizon ? STOP_WALK : 0;
	err = hmm_mirror_answer(walk, addr, end, leaf);
	return err ?: walk->budget <= 0 ? STOP_WALK : 0;
}

static int serve_absent(struct hmm_mirror_walk *walk, unsigned long addr,
			unsigned long end, enum hmm_mirror_entry entry)
{
	const struct page_leaf leaf = absent_leaf(entry);

	return serve_entry(walk, addr, end, &leaf);
}

/* [@addr, @end) has no entry, or none that may be looked at. */
static int serve_hole(struct hmm_mirror_walk *walk, unsigned long addr,
		      unsigned long end, enum hmm_mirror_entry entry)
{
	unsigned long mask = HOLE_MASK;
	int err;

	if (walk->extents && !walk->slot_requests)
		mask = 0;
	do {
		unsigned long next = entry_end(addr, end, mask);

		err = serve_absent(walk, addr, next, entry);
		addr = next;
	} while (!err && addr < end);
	return err;
}

static int walker_hole(unsigned long addr, unsigned long end,
		       __always_unused int depth, struct mm_walk *mm_walk)
{
	struct hmm_mirror_walk *walk = mm_walk->private;

	/* No VMA: a gap between mappings. With one, it is an empty table. */
	if (!mm_walk->vma)
		return serve_hole(walk, addr, end, HMM_MIRROR_ENTRY_NO_VMA);
	/* The walker calls this for each huge page. */
	if (is_vm_hugetlb_page(mm_walk->vma))
		return serve_absent(walk, addr, end, HMM_MIRROR_ENTRY_NONE);
	return serve_hole(walk, addr, end, HMM_MIRROR_ENTRY_NONE);
}

/*
 * What is known of @pte: it is @known, or of the same kind, or none, or it becomes
 * @known. NULL if nothing can be known now: the walk must end here, and the next one will
 * find another entry.
 */
static __always_inline const struct known_entry *
recognise(struct known_entry *known, const struct hmm_mirror_walk *walk,
	  unsigned long addr, pte_t pte)
{
	static const struct known_entry none;
	unsigned long bits = compat_pte_bits(pte);

	if (!bits)
		return &none;
	if (!follow(known, bits)) {
		know_pte(known, &walk->rules, addr, pte);
		if (unlikely(known->leaf.entry == ENTRY_UNKNOWN))
			return NULL;
	}
	return known;
}

/*
 * Answers the pages of @nr PTEs up to the first one that must be faulted in. Returns how
 * many were answered; if that is not all and there is no error, @seen says what the next
 * PTE holds.
 */
static unsigned long answer_ptes(struct hmm_mirror_walk *walk, pte_t *ptep,
				 unsigned long addr, unsigned long nr,
				 struct known_entry *known,
				 const struct known_entry **seen, int *err)
{
	const bool slot_requests = walk->slot_requests;
	unsigned long i = 0;

	while (i < nr && !*err) {
		unsigned long from = addr + (i << PAGE_SHIFT);
		unsigned long left = nr - i;

		*seen = recognise(known, walk, from,
				  ptep_get_lockless(ptep + i));
		if (unlikely(!*seen)) {
			*err = STOP_WALK;
			break;
		}
		if (slot_requests && !(*seen)->bits &&
		    !(slot_request(walk, from) & HMM_MIRROR_PFN_REQ_FAULT)) {
			i += hmm_mirror_answer_unasked(walk, ptep + i, from,
						       left, err);
			continue;
		}
		/* Do not search all remaining requests for every entry. */
		if (slot_requests && !((*seen)->leaf.flags & HMM_MIRROR_PFN_WRITE))
			left = min(left, LOOK_AHEAD_SLOTS);
		left = (first_unmet(walk, from, from + (left << PAGE_SHIFT),
				    &(*seen)->leaf) - from) >> PAGE_SHIFT;
		if (!left)
			break;
		if (walk->extents)
			i += hmm_mirror_answer_extents(walk, ptep + i, from,
						       left, *seen, err);
		else
			i += hmm_mirror_answer_words(walk, ptep + i, from,
						     left, *seen);
	}
	return i;
}

/*
 * What most often follows a missing page, if all pages are asked for the same: those that
 * are missing, too, are noted, and those of the kind of @known are skipped if it meets
 * the request. Moves *@i, the index of the PTE, to the first one of the @nr that is
 * neither. Returns 0 to have that one looked at.
 */
static __always_inline int find_absent(struct hmm_mirror_walk *walk,
				       const pte_t *ptep, unsigned long addr,
				       unsigned long nr, unsigned long *i,
				       const struct known_entry *known)
{
	const unsigned long request = walk->range->default_flags;
	const bool write = write_requested(request);
	const bool skip = known->free && request_met(request, known->leaf.flags);
	/* Otherwise nothing is skipped: only an empty entry is like an empty one. */
	const unsigned long kind = skip ? known->bits : 0;
	const unsigned long mask = skip ? ~known->free : ~0UL;
	const unsigned long end = min(nr, (walk->horizon - addr) >> PAGE_SHIFT);
	struct hmm_mirror_fault_run *run = walk->runs + walk->nr_runs;
	unsigned long at = *i;
	int err = 0;

	/* What continues the last run is part of it: there are only so many. */
	if (at < end && !compat_pte_bits(READ_ONCE(ptep[at]))) {
		unsigned long first = at;

		at += count_entries(ptep + at, end - at, 0, 0, ~0UL);
		if (!add_run(walk, addr + (first << PAGE_SHIFT),
			     addr + (at << PAGE_SHIFT), write, false))
			return STOP_WALK;
		run = walk->runs + walk->nr_runs;
	}
	while (at < end) {
		unsigned long bits = compat_pte_bits(READ_ONCE(ptep[at]));
		unsigned long first = at;

		if (bits && ((bits ^ kind) & mask))
			break;
		at++;
		if (bits)
			continue;
		if (run == walk->runs + HMM_MIRROR_MAX_FAULT_RUNS) {
			at = first;
			err = STOP_WALK;
			break;
		}
		at += count_entries(ptep + at, end - at, 0, 0, ~0UL);
		*run++ = (struct hmm_mirror_fault_run) {
			.start = addr + (first << PAGE_SHIFT),
			.npages = at - first,
			.write = write,
		};
	}
	walk->nr_runs = run - walk->runs;
	*i = at;
	return addr + (at << PAGE_SHIFT) == walk->horizon ? STOP_WALK : err;
}

/*
 * From the first page that must be faulted in, nothing is answered any more: pages that
 * are there are skipped, those that are missing are noted, up to the horizon. @seen says
 * what the first of the @nr PTEs holds. Returns how many pages were looked at.
 *
 * Out of line: both this and answer_ptes() need all registers.
 */
static noinline unsigned long find_runs(struct hmm_mirror_walk *walk,
					pte_t *ptep, unsigned long addr,
					unsigned long nr,
					struct known_entry *known,
					const struct known_entry *seen,
					int *err)
{
	const unsigned long most = look_ahead(walk);
	/* If all pages are asked for the same, absent ones need no second look. */
	const bool none_met = walk->slot_requests ||
			      request_met(walk->range->default_flags, 0);
	const bool refused = write_requested(walk->range->default_flags) &&
			     !walk->rules.write_allowed;
	unsigned long i = 0;
	pte_t pte;

	for (;;) {
		unsigned long alike = entries_of_kind(ptep + i,
						      min(nr - i, most), seen);
		unsigned long from = addr + (i << PAGE_SHIFT);
		unsigned long end = from + (alike << PAGE_SHIFT);
		unsigned long unmet = from;

		if (seen->bits || none_met)
			unmet = first_unmet(walk, from, end, &seen->leaf);
		i += alike;
		if (unmet < end)
			*err = want_fault(walk, unmet, end, &seen->leaf, false);
		else if (end >= walk->horizon)
			*err = STOP_WALK;
		if (*err || i == nr)
			return i;
		if (!none_met && !refused) {
			*err = find_absent(walk, ptep, addr, nr, &i, known);
			if (*err || i == nr)
				return i;
		}
		pte = ptep_get_lockless(ptep + i);
		/* Only the kind matters here, not the page frame. */
		if (same_kind(known, compat_pte_bits(pte))) {
			seen = known;
			continue;
		}
		seen = recognise(known, walk, addr + (i << PAGE_SHIFT), pte);
		if (unlikely(!seen)) {
			*err = STOP_WALK;
			return i;
		}
	}
}

static int walk_ptes(struct hmm_mirror_walk *walk, pte_t *ptep,
		     unsigned long addr, unsigned long end)
{
	unsigned long nr = (end - addr) >> PAGE_SHIFT;
	const struct known_entry *seen = NULL;
	struct known_entry known = {};
	unsigned long done = 0;
	int err = 0;

	if (!walk->nr_runs)
		done = answer_ptes(walk, ptep, addr, nr, &known, &seen, &err);
	else
		seen = recognise(&known, walk, addr, ptep_get_lockless(ptep));
	if (unlikely(!seen))
		err = STOP_WALK;
	if (done < nr && !err)
		done += find_runs(walk, ptep + done,
				  addr + (done << PAGE_SHIFT), nr - done,
				  &known, seen, &err);
	walk->range->nr_slots += done;
	walk->budget -= done;
	return err ?: walk->budget <= 0 ? STOP_WALK : 0;
}

/* An entry that is neither none nor present. */
static int walk_swap_pmd(struct hmm_mirror_walk *walk, pmd_t *pmdp,
			 unsigned long addr, unsigned long end)
{
	struct page_leaf leaf;
	pmd_t pmd;
	int err;

	/* The device whose page the entry names must not go away meanwhile. */
	rcu_read_lock();
	pmd = compat_pmdp_get(pmdp);
	if (pmd_none(pmd) || pmd_present(pmd)) {
		rcu_read_unlock();
		return LOOK_AGAIN;
	}
	leaf = read_swap_pmd(&walk->rules, pmd, addr);
	/* As in recognise(). */
	err = leaf.entry == ENTRY_UNKNOWN ? STOP_WALK :
	      serve_entry(walk, addr, end, &leaf);
	rcu_read_unlock();
	return err;
}

/*
 * Answers the huge page that *@pmdp, read as @pmd, maps at *@addr, and those that follow
 * it as long as they are of the same kind. Moves *@addr to where it stopped.
 */
static int walk_huge_pmds(struct hmm_mirror_walk *walk, pmd_t *pmdp, pmd_t pmd,
			  unsigned long *addr, unsigned long end)
{
	unsigned long next = entry_end(*addr, end, PMD_MASK);
	struct known_entry known;
	int err;

	know_huge_pmd(&known, &walk->rules, pmd, *addr);
	err = serve_entry(walk, *addr, next, &known.leaf);
	/*
	 * All pages are asked for the same: if this one meets it, so do others of its
	 * kind.
	 */
	if (!err && !walk->slot_requests && !walk->nr_runs)
		next = hmm_mirror_answer_huge_pmds(walk, pmdp + 1, next, end,
						   &known, &err);
	*addr = next;
	return err;
}

static int walk_pmd_leaf(struct hmm_mirror_walk *walk, pmd_t *pmdp, pmd_t pmd,
			 unsigned long *addr, unsigned long end)
{
	int err = LOOK_AGAIN;

	/* As in walk_swap_pmd(): DAX memory can go away. */
	rcu_read_lock();
	if (compat_pmd_bits(compat_pmdp_get(pmdp)) == compat_pmd_bits(pmd))
		err = walk_huge_pmds(walk, pmdp, pmd, addr, end);
	rcu_read_unlock();
	return err;
}

static int walk_pmd_table(struct hmm_mirror_walk *walk, pmd_t *pmdp, pmd_t pmd,
			  unsigned long addr, unsigned long end)
{
	int err = LOOK_AGAIN;
	pte_t *ptep;

	rcu_read_lock();
	ptep = compat_pte_offset(pmdp, pmd, addr);
	if (ptep)
		err = walk_ptes(walk, ptep, addr, end);
	rcu_read_unlock();
	return err;
}

/*
 * End of the run of empty entries that begins at @pmdp, which is for @addr. If they are
 * to be faulted in, there is no need to know how far it goes.
 */
static unsigned long pmd_hole_end(struct hmm_mirror_walk *walk, pmd_t *pmdp,
				  unsigned long addr, unsigned long end)
{
	unsigned long next = entry_end(addr, end, PMD_MASK);

	if (walk->slot_requests || !request_met(walk->range->default_flags, 0))
		return next;
	/* Write no more words at once than a walk's budget allows. */
	if (!walk->extents)
		end = entry_end(addr, end, ~(WALK_BUDGET * PAGE_SIZE - 1));
	while (next < end && pmd_none(compat_pmdp_get(++pmdp))) {
		next = entry_end(next, end, PMD_MASK);
		walk->budget--;
	}
	return next;
}

/*
 * Walks a table of PMDs. walk_page_range() could do this, but would call back for each
 * entry; here an empty gigabyte is one step.
 */
static int walk_pmds(struct hmm_mirror_walk *walk, pmd_t *table,
		     unsigned long addr, unsigned long end)
{
	pmd_t *first = table - pmd_index(addr);

	while (addr < end) {
		pmd_t *pmdp = first + pmd_index(addr);
		unsigned long next = entry_end(addr, end, PMD_MASK);
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
			err = walk_pmd_leaf(walk, pmdp, pmd, &next, end);
		} else if (pmd_bad(pmd)) {
			err = serve_absent(walk, addr, next,
					   HMM_MIRROR_ENTRY_BAD);
		} else {
			err = walk_pmd_table(walk, pmdp, pmd, addr, next);
		}
		if (err == LOOK_AGAIN)
			continue;
		if (err)
			return err;
		addr = next;
	}
	return 0;
}

static int walk_huge_pud(struct hmm_mirror_walk *walk, pud_t *pudp,
			 unsigned long addr, unsigned long end)
{
	struct page_leaf leaf;
	int err;

	/* Read it again: from now on, what it maps cannot go away. */
	rcu_read_lock();
	leaf = read_huge_pud(&walk->rules, compat_pudp_get(pudp), addr);
	err = serve_entry(walk, addr, end, &leaf);
	rcu_read_unlock();
	return err;
}

/*
 * Walks everything below one PUD. It is read once: if it points to a table, it stays that
 * one while mmap_lock is held, because a table of PMDs is freed only by unmapping
 * everything around it.
 */
static int walk_pud(struct hmm_mirror_walk *walk, pud_t *pudp,
		    unsigned long addr, unsigned long end)
{
	pud_t pud = compat_pudp_get(pudp);

	if (pud_none(pud))
		return serve_hole(walk, addr, end, HMM_MIRROR_ENTRY_NONE);
	if (!pud_present(pud))
		return serve_absent(walk, addr, end, HMM_MIRROR_ENTRY_BAD);
	if (!compat_pud_leaf(pud)) {
		if (unlikely(pud_bad(pud)))
			return serve_absent(walk, addr, end,
					    HMM_MIRROR_ENTRY_BAD);
		/* Not of the copy: where PMDs are folded, the PUD is the PMD. */
		return walk_pmds(walk, pmd_offset(pudp, addr), addr, end);
	}
	return walk_huge_pud(walk, pudp, addr, end);
}

/* The walker neither splits a leaf nor descends any further. */
static int walker_pud(pud_t *pudp, unsigned long addr, unsigned long end,
		      struct mm_walk *mm_walk)
{
	mm_walk->action = ACTION_CONTINUE;
	return walk_pud(mm_walk->private, pudp, addr, end);
}

#ifdef CONFIG_HUGETLB_PAGE
static int walk_hugetlb(pte_t *ptep, unsigned long mask, unsigned long addr,
			unsigned long end, struct mm_walk *mm_walk)
{
	struct hmm_mirror_walk *walk = mm_walk->private;
	pte_t pte = compat_huge_ptep_get(mm_walk->mm, addr & mask, ptep);
	const struct page_leaf leaf = read_hugetlb(&walk->rules, pte, mask,
						   addr);

	return serve_entry(walk, addr, end, &leaf);
}
#else
#define walk_hugetlb NULL
#endif

/*
 * Pages of memfd_secret() are not in the kernel's direct map and must not reach a device;
 * get_user_pages() refuses them too. vma_is_secretmem() is not exported.
 */
static bool is_secretmem(const struct vm_area_struct *vma)
{
	return vma->vm_file &&
	       file_inode(vma->vm_file)->i_sb->s_magic == SECRETMEM_MAGIC;
}

/*
 * Decides what to do with the part of a VMA that is in the range. Returns 0 to have it
 * walked, 1 if it has been answered here, or an error.
 */
static int walk_vma(struct hmm_mirror_walk *walk, struct vm_area_struct *vma,
		    unsigned long start, unsigned long end)
{
	unsigned long vm_flags = vma->vm_flags;
	enum hmm_mirror_entry entry;

	walk->rules.vma = vma;
	walk->rules.write_allowed = (vm_flags & VM_WRITE) &&
				    !(vm_flags & VM_SHADOW_STACK);

	if (vm_flags & (VM_IO | VM_PFNMAP))
		entry = HMM_MIRROR_ENTRY_IO;
	else if (!(vm_flags & VM_READ))
		entry = HMM_MIRROR_ENTRY_UNREADABLE;
	else if (is_secretmem(vma))
		entry = HMM_MIRROR_ENTRY_SECRETMEM;
	else
		return 0;

	return serve_hole(walk, start, end, entry) ?: 1;
}

static int walker_vma(unsigned long start, unsigned long end,
		      struct mm_walk *mm_walk)
{
	return walk_vma(mm_walk->private, mm_walk->vma, start, end);
}

/*
 * Short cut for when the rest of the request lies in one VMA and below one PUD: it takes
 * no walk to get there, which for a few pages would cost more than the pages do. Returns
 * false, having done nothing, if it does not. With @part it looks only at as much of it
 * as does: the walk will end soon, at the next page to be faulted in, and if it does not,
 * another one goes on from there.
 *
 * It does what walk_page_range() would do: find the VMA, ask walk_vma() about it, and
 * descend to the PUD, from where both ways are the same, walk_pud(). mmap_lock and the
 * VMA keep the tables above it in place. Everything else is left to walk_page_range():
 * holes above the PUD, bad entries, addresses without a VMA, and hugetlb, which has locks
 * of its own.
 */
static bool walk_one_pud(struct hmm_mirror_walk *walk, bool part, int *err)
{
	struct mm_struct *mm = walk->range->notifier->mm;
	unsigned long addr = walk->next;
	unsigned long end = walk->range->end;
	struct vm_area_struct *vma = walk->rules.vma;
	pgd_t *pgdp, pgd;
	p4d_t *p4dp, p4d;

	mmap_assert_locked(mm);
	if (part)
		end = entry_end(addr, end, PUD_MASK);
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
	/* Pairs with the WRITE_ONCE() of set_pgd(), and that of set_p4d() below. */
	pgd = READ_ONCE(*pgdp);
	if (pgd_none(pgd) || unlikely(pgd_bad(pgd)))
		return false;
	p4dp = p4d_offset(pgdp, addr);
	p4d = READ_ONCE(*p4dp);
	if (p4d_none(p4d) || unlikely(p4d_bad(p4d)))
		return false;

	*err = walk_vma(walk, vma, addr, end);
	if (!*err)
		*err = walk_pud(walk, pud_offset(p4dp, addr), addr, end);
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
 * faults are needed (@walk->nr_runs), or after a bounded amount of work, which
 * is not an error: the caller looks at @walk->next and calls again. After faults
 * it ends at the end of a VMA or PUD at the latest. In the last case at least one
 * page has been answered, unless the first one is in device memory that is being
 * split into smaller pages, which takes a moment.
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
	walk->rules.find_huge_zero = walk->extents;
	walk->rules.order_shift = range->order_shift ?:
				  HMM_MIRROR_PFN_ORDER_SHIFT;
	walk->rules.dev_private_owner = range->dev_private_owner;
	range->nr_walks++;
	if (!walk_one_pud(walk, after_faults, &err))
		err = hmm_mirror_walk_page_range(range->notifier->mm,
						 walk->next, range->end,
						 &walk_ops, walk);
	return err == STOP_WALK ? walk->error : err;
}
