/* SPDX-License-Identifier: GPL-2.0 */
/* Makes rare things happen, for tests: see debug.c. */
#ifndef HMM_MIRROR_DEBUG_H
#define HMM_MIRROR_DEBUG_H

#include <linux/types.h>

#ifdef HMM_MIRROR_DEBUG
bool hmm_mirror_debug_owner_known(void);
void hmm_mirror_debug_owner_unknown(void);
#else
static inline bool hmm_mirror_debug_owner_known(void)
{
	return true;
}

static inline void hmm_mirror_debug_owner_unknown(void)
{
}
#endif

#endif /* HMM_MIRROR_DEBUG_H */
