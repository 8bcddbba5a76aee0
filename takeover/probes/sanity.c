// SPDX-License-Identifier: GPL-2.0
/* Must compile on every kernel: if it does not, no other probe's "no" counts. */
#include <linux/hmm.h>

unsigned long probe(struct hmm_range *range);
unsigned long probe(struct hmm_range *range)
{
	return range->start & HMM_PFN_VALID;
}
