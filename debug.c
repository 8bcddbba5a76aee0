// SPDX-License-Identifier: GPL-2.0
/*
 * Makes rare things happen, for tests. Built only on kernels with CONFIG_KASAN, which
 * nobody uses for their speed.
 */
#include <linux/compiler.h>
#include <linux/delay.h>
#include <linux/moduleparam.h>

#include "debug.h"

static unsigned int owner_delay_ms;
module_param(owner_delay_ms, uint, 0600);
MODULE_PARM_DESC(owner_delay_ms,
		 "Time between reading a device-private entry and asking whose it is");

static bool hide_owners;
module_param(hide_owners, bool, 0600);
MODULE_PARM_DESC(hide_owners, "As if it could never be told whose it is");

static unsigned long unknown_owners;
module_param(unknown_owners, ulong, 0444);
MODULE_PARM_DESC(unknown_owners, "How often it could not be told");

/**
 * hmm_mirror_debug_owner_known() - give a page time to change
 *
 * Context: any.
 *
 * Return: whether the owner may be told.
 */
bool hmm_mirror_debug_owner_known(void)
{
	/* Pairs, like that of hide_owners, with the store of a writer in /sys/module. */
	unsigned int delay = READ_ONCE(owner_delay_ms);

	if (delay)
		mdelay(delay);
	return !READ_ONCE(hide_owners);
}

/**
 * hmm_mirror_debug_owner_unknown() - count a page whose owner could not be told
 *
 * Context: any.
 */
void hmm_mirror_debug_owner_unknown(void)
{
	/* For whoever reads it in /sys/module; two at once may count as one. */
	WRITE_ONCE(unknown_owners, unknown_owners + 1);
}
