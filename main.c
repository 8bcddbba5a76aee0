// SPDX-License-Identifier: GPL-2.0
/* Loading and unloading the module. */
#include <linux/module.h>

#include "internal.h"

static int __init hmm_mirror_init(void)
{
	int err = hmm_mirror_resolve_symbols();

	if (err)
		return err;
	return hmm_mirror_device_register();
}
module_init(hmm_mirror_init);

static void __exit hmm_mirror_exit(void)
{
	hmm_mirror_device_unregister();
}
module_exit(hmm_mirror_exit);

MODULE_DESCRIPTION("Mirror a process's address space on a device, without pinning it");
MODULE_AUTHOR("The hmm_mirror developers");
MODULE_VERSION("0.1");
MODULE_LICENSE("GPL");
