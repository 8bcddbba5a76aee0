// SPDX-License-Identifier: GPL-2.0
#include <linux/module.h>

#include "../../../internal.h"

static int __init missing_symbol_init(void)
{
	return hmm_mirror_resolve_symbols();
}
module_init(missing_symbol_init);

/* Never runs: loading fails. */
static void __exit missing_symbol_exit(void)
{
}
module_exit(missing_symbol_exit);

MODULE_DESCRIPTION("A symbol that hmm_mirror needs is missing: loading must fail");
MODULE_LICENSE("GPL");
