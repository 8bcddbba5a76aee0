// SPDX-License-Identifier: GPL-2.0
/*
 * What replaces hmm_range_fault(): the same struct, flags, return values and side
 * effects, with hmm_mirror's walker behind them.
 *
 * Output words of the two are the same but for the place of the order on kernels before
 * v6.16, and hmm_mirror puts that where it is told: an answer is used as it is. Requests
 * differ: in the kernel's layout they are the very bits of the answer, so an answer that
 * is left in the array becomes a request when a call is repeated. They are translated in
 * place before a call, and what is left of them is removed afterwards. No driver in the
 * kernel has per-page requests: all ask the same of all pages, and for them nothing here
 * depends on the length of the range.
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

/*
 * All that is known about the kernel's words. If a kernel's words say more, or say it
 * elsewhere, somebody must look at them before they are answered from here; Kbuild checks
 * for new names.
 */
#define NOT_KNOWN	"; not known of any kernel, so hmm_takeover is not built for this one"

static_assert(HMM_MIRROR_PFN_VALID == HMM_PFN_VALID,
	      "HMM_PFN_VALID is another bit" NOT_KNOWN);
static_assert(HMM_MIRROR_PFN_WRITE == HMM_PFN_WRITE,
	      "HMM_PFN_WRITE is another bit" NOT_KNOWN);
static_assert(HMM_MIRROR_PFN_ERROR == HMM_PFN_ERROR,
	      "HMM_PFN_ERROR is another bit" NOT_KNOWN);
#ifdef TAKEOVER_HAVE_STICKY_FLAGS
static_assert(HMM_MIRROR_PFN_DMA_MAPPED == HMM_PFN_DMA_MAPPED,
	      "HMM_PFN_DMA_MAPPED is another bit" NOT_KNOWN);
static_assert(HMM_MIRROR_PFN_P2PDMA == HMM_PFN_P2PDMA,
	      "HMM_PFN_P2PDMA is another bit" NOT_KNOWN);
static_assert(HMM_MIRROR_PFN_P2PDMA_BUS == HMM_PFN_P2PDMA_BUS,
	      "HMM_PFN_P2PDMA_BUS is another bit" NOT_KNOWN);
#endif
static_assert(HMM_PFN_REQ_FAULT == HMM_PFN_VALID,
	      "requests are not bits of the answer" NOT_KNOWN);
static_assert(HMM_PFN_REQ_WRITE == HMM_PFN_WRITE,
	      "requests are not bits of the answer" NOT_KNOWN);
static_assert(COMPAT_ORDER_SHIFT == HMM_PFN_ORDER_SHIFT,
	      "the order (HMM_PFN_ORDER_SHIFT) is elsewhere" NOT_KNOWN);
static_assert(HMM_PFN_FLAGS == (HMM_PFN_VALID | HMM_PFN_WRITE | HMM_PFN_ERROR |
				COMPAT_STICKY_FLAGS |
				GENMASK(HMM_PFN_ORDER_SHIFT + 4,
					HMM_PFN_ORDER_SHIFT)),
	      "HMM_PFN_FLAGS has other bits than the flags and the order" NOT_KNOWN);
static_assert(!(HMM_MIRROR_PFN_REQ_FLAGS & HMM_PFN_FLAGS));
static_assert(sizeof(struct hmm_range) == 8 * sizeof(unsigned long),
	      "struct hmm_range has other fields" NOT_KNOWN);
static_assert(__same_type(hmm_range_fault, takeover_range_fault),
	      "hmm_range_fault() is called in another way" NOT_KNOWN);
#ifdef TAKEOVER_HAVE_UNLOCKED_TIMEOUT
static_assert(__same_type(hmm_range_fault_unlocked_timeout,
			  takeover_range_fault_unlocked_timeout),
	      "hmm_range_fault_unlocked_timeout() is called in another way" NOT_KNOWN);
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
 * The kernel's own function does nothing useful with a range that is misaligned or empty:
 * refuse it before its array is touched.
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

	/* The order has five bits, as in our own words. */
	BUILD_BUG_ON_MSG(hmm_pfn_to_map_order(~0UL) !=
			 hmm_mirror_pfn_to_map_order(~0UL),
			 "hmm_pfn_to_map_order() takes other bits" NOT_KNOWN);
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
		/* For kfd, whose pages do not migrate while it asks for them. */
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
			/* Not even a part of an answer may look like a request. */
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
 * takeover_range_fault() - replaces hmm_range_fault()
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
 * takeover_range_fault_unlocked_timeout() - replaces
 *	hmm_range_fault_unlocked_timeout()
 * @range: the kernel's request
 * @timeout: jiffies for retries after invalidations, 0 for no limit
 *
 * As in the kernel's function, the limit does not apply to faults: a driver that
 * allows a second for retries does not expect to fail because pages come from a
 * slow disk or from a userfaultfd handler. If nothing was invalidated, or faults
 * have waited for something, the time starts again.
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
		/* Give the next one more time; it may need it to get anywhere. */
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
