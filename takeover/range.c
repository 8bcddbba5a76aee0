// SPDX-License-Identifier: GPL-2.0
/*
 * What takes the place of hmm_range_fault(): the same struct, flags, return values
 * and side effects, with hmm_mirror's walker behind them.
 *
 * Output words of the two are the same but for the place of the order on kernels
 * before v6.16, and hmm_mirror puts it where it is told: an answer is used as it is.
 * Requests are not the same: in the kernel's layout they are the very bits of the
 * answer, so that an answer that is left in the array becomes a request when a call
 * is repeated. They are translated in place before a call, and what is left of them
 * is removed after it. No driver of the kernel has any: all ask the same of all
 * pages, and for them nothing here depends on the length of the range.
 */
#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/instruction_pointer.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>

#include "compat.h"
#include "hmm_mirror.h"
#include "takeover.h"

static_assert(HMM_MIRROR_PFN_VALID == HMM_PFN_VALID);
static_assert(HMM_MIRROR_PFN_WRITE == HMM_PFN_WRITE);
static_assert(HMM_MIRROR_PFN_ERROR == HMM_PFN_ERROR);
#ifdef TAKEOVER_HAVE_STICKY_FLAGS
static_assert(HMM_MIRROR_PFN_DMA_MAPPED == HMM_PFN_DMA_MAPPED);
static_assert(HMM_MIRROR_PFN_P2PDMA == HMM_PFN_P2PDMA);
static_assert(HMM_MIRROR_PFN_P2PDMA_BUS == HMM_PFN_P2PDMA_BUS);
#endif

static unsigned long requests_to_ours(unsigned long flags)
{
	unsigned long requests = 0;

	if (flags & HMM_PFN_REQ_FAULT)
		requests |= HMM_MIRROR_PFN_REQ_FAULT;
	if (flags & HMM_PFN_REQ_WRITE)
		requests |= HMM_MIRROR_PFN_REQ_WRITE;
	return requests;
}

static unsigned long requests_to_kernels(unsigned long word)
{
	unsigned long requests = 0;

	if (word & HMM_MIRROR_PFN_REQ_FAULT)
		requests |= HMM_PFN_REQ_FAULT;
	if (word & HMM_MIRROR_PFN_REQ_WRITE)
		requests |= HMM_PFN_REQ_WRITE;
	return requests;
}

static bool has_page_requests(const struct hmm_range *range)
{
	return range->pfn_flags_mask & (HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
}

static unsigned long pages_of(const struct hmm_range *range)
{
	return (range->end - range->start) >> PAGE_SHIFT;
}

/*
 * What the kernel's own function makes of a range that is misaligned or empty is
 * nothing that a caller could want: refused, before its array is touched.
 */
static bool range_valid(const struct hmm_range *range)
{
	return PAGE_ALIGNED(range->start) && PAGE_ALIGNED(range->end) &&
	       range->start < range->end;
}

static void begin(const struct hmm_range *range, struct hmm_mirror_range *ours)
{
	unsigned long *words = range->hmm_pfns;
	unsigned long i;

	*ours = (struct hmm_mirror_range) {
		.notifier = range->notifier,
		.notifier_seq = range->notifier_seq,
		.start = range->start,
		.end = range->end,
		.hmm_pfns = words,
		.default_flags = requests_to_ours(range->default_flags),
		.pfn_flags_mask = COMPAT_STICKY_FLAGS,
		.dev_private_owner = range->dev_private_owner,
		.order_shift = HMM_PFN_ORDER_SHIFT,
		/* As kfd, whose pages do not migrate while it asks for them. */
		.device_pages_as_is = true,
	};
	if (!has_page_requests(range))
		return;
	ours->pfn_flags_mask |= HMM_MIRROR_PFN_REQ_FLAGS;
	for (i = 0; i < pages_of(range); i++)
		words[i] = (words[i] & COMPAT_STICKY_FLAGS) |
			   requests_to_ours(words[i] & range->pfn_flags_mask);
}

static int end(const struct hmm_range *range, int err)
{
	unsigned long *words = range->hmm_pfns;
	unsigned long i;

	if (has_page_requests(range)) {
		for (i = 0; i < pages_of(range); i++) {
			/* Not even a part of an answer shall look like a request. */
			if (err)
				words[i] = (words[i] & COMPAT_STICKY_FLAGS) |
					   requests_to_kernels(words[i]);
			else
				words[i] &= ~HMM_MIRROR_PFN_REQ_FLAGS;
		}
	}
	return compat_errno(err);
}

/**
 * takeover_range_fault() - in the place of hmm_range_fault()
 * @range: the kernel's request, filled as for hmm_range_fault()
 *
 * Locking: the caller holds mmap_lock, as for hmm_range_fault().
 * Context: sleeps.
 *
 * Return: as hmm_range_fault(); also -EINTR if a fatal signal is pending.
 */
int takeover_range_fault(struct hmm_range *range)
{
	struct hmm_mirror_range ours;
	int err;

	if (!range_valid(range)) {
		takeover_count_call(_RET_IP_, 0, 0, -EINVAL);
		return -EINVAL;
	}
	begin(range, &ours);
	err = end(range, hmm_mirror_range_fault(&ours));
	takeover_count_call(_RET_IP_, pages_of(range), ours.nr_faults, err);
	return err;
}

/**
 * takeover_range_fault_unlocked_timeout() - in the place of
 *	hmm_range_fault_unlocked_timeout()
 * @range: the kernel's request
 * @timeout: jiffies for being invalidated again and again, 0 for no limit
 *
 * The limit is not for faults here, as little as in the kernel's function: whoever
 * gave a second for retries has not been written to be refused because pages came
 * from a slow disk or from a userfaultfd handler. If nothing was invalidated, or
 * faults have waited for something, the time begins anew.
 *
 * Locking: the caller does not hold mmap_lock.
 * Context: sleeps.
 *
 * Return: as hmm_range_fault_unlocked_timeout().
 */
int takeover_range_fault_unlocked_timeout(struct hmm_range *range,
					  unsigned long timeout)
{
	struct hmm_mirror_range ours;
	unsigned long nr_faults = 0;
	bool invalidated;
	int err;

	if (!range_valid(range)) {
		takeover_count_call(_RET_IP_, 0, 0, -EINVAL);
		return -EINVAL;
	}
	begin(range, &ours);
	timeout = min_t(unsigned long, timeout, MAX_JIFFY_OFFSET);
	do {
		err = hmm_mirror_range_fault_unlocked(&ours, timeout);
		/* More for the next, which may need more than this to get anywhere. */
		timeout = min_t(unsigned long, 2 * timeout, MAX_JIFFY_OFFSET);
		nr_faults += ours.nr_faults;
		invalidated = ours.nr_restarts ||
			mmu_interval_check_retry(ours.notifier,
						 ours.notifier_seq);
	} while (err == -EBUSY && (ours.nr_waits || !invalidated));
	range->notifier_seq = ours.notifier_seq;
	err = end(range, err);
	takeover_count_call(_RET_IP_, pages_of(range), nr_faults, err);
	return err;
}
