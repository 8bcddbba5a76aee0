/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of hmm_takeover.ko share. */
#ifndef TAKEOVER_H
#define TAKEOVER_H

#include <linux/hmm.h>

int takeover_range_fault(struct hmm_range *range);
int takeover_range_fault_unlocked_timeout(struct hmm_range *range,
					  unsigned long timeout);

int takeover_callers_init(void);
void takeover_callers_exit(void);
void takeover_count_call(unsigned long address, unsigned long npages,
			 unsigned long nr_faults, int err);

#endif /* TAKEOVER_H */
