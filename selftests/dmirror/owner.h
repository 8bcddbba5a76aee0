/* SPDX-License-Identifier: GPL-2.0 */
/* For other modules, by symbol_get(). */
#ifndef DMIRROR_OWNER_H
#define DMIRROR_OWNER_H

/* The owner of /dev/hmm_dmirror0's memory, as dev_private_owner. */
void *dmirror_owner(void);

#endif /* DMIRROR_OWNER_H */
