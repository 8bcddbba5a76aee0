/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Every difference between kernels that the takeover knows of. TAKEOVER_HAVE_* are
 * results of the build probes (probes/, run by Kbuild).
 */
#ifndef TAKEOVER_COMPAT_H
#define TAKEOVER_COMPAT_H

#include <linux/errno.h>
#include <linux/hmm.h>
#include <linux/kconfig.h>

#include "takeover_probes.h"

#ifndef TAKEOVER_HAVE_SANITY
#error "Build probes do not work, see probes/sanity.log in the build directory"
#endif

/*
 * Flags of a word that hmm_range_fault() carries over from input to output, whatever is
 * requested, and the place of the order below them: "mm/hmm: let users to tag specific
 * PFN with DMA mapped bit", v6.16.
 */
#ifdef TAKEOVER_HAVE_STICKY_FLAGS
#define COMPAT_STICKY_FLAGS \
	(HMM_PFN_DMA_MAPPED | HMM_PFN_P2PDMA | HMM_PFN_P2PDMA_BUS)
#define COMPAT_ORDER_SHIFT	(BITS_PER_LONG - 11)
#else
#define COMPAT_STICKY_FLAGS	0UL
#define COMPAT_ORDER_SHIFT	(BITS_PER_LONG - 8)
#endif

/*
 * The kernel's function has one errno for everything that a page fault can fail with.
 * Since it takes faults itself, and not in the page walk, lack of memory has an errno of
 * its own. That came with hmm_range_fault_unlocked_timeout(), v7.3.
 */
static inline int compat_errno(int err)
{
	if (err == -EHWPOISON)
		return -EFAULT;
#ifndef TAKEOVER_HAVE_UNLOCKED_TIMEOUT
	if (err == -ENOMEM)
		return -EFAULT;
#endif
	return err;
}

#endif /* TAKEOVER_COMPAT_H */
