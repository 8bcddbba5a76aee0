// SPDX-License-Identifier: GPL-2.0
/* "mm/hmm: let users to tag specific PFN with DMA mapped bit", v6.16 */
#include <linux/hmm.h>

unsigned long probe(unsigned long hmm_pfn);
unsigned long probe(unsigned long hmm_pfn)
{
	return hmm_pfn & (HMM_PFN_DMA_MAPPED | HMM_PFN_P2PDMA |
			  HMM_PFN_P2PDMA_BUS);
}
