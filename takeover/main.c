// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_takeover.ko: a livepatch. While it is enabled, hmm_mirror answers all calls of the
 * running kernel's hmm_range_fault(), whoever makes them:
 *
 *	insmod hmm_takeover.ko
 *	echo 0 >/sys/kernel/livepatch/hmm_takeover/enabled
 *	rmmod hmm_takeover
 *
 * Livepatch switches task by task: a task that sleeps in the kernel's function stays
 * there until that returns, and the module cannot be unloaded before the last task has
 * left it.
 */
#define pr_fmt(fmt) "hmm_takeover: " fmt

#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/hmm.h>
#include <linux/kconfig.h>
#include <linux/livepatch.h>
#include <linux/module.h>

#include "compat.h"
#include "takeover.h"

#if IS_ENABLED(CONFIG_LIVEPATCH) && IS_ENABLED(CONFIG_HMM_MIRROR)
/*
 * Never called. With CONFIG_MODVERSIONS the kernel compares what this module was built
 * for, down to the fields of struct hmm_range, with what it has, and refuses a mismatch.
 */
static const void *const replaced __used = hmm_range_fault;

static struct klp_func functions[] = {
	{
		.old_name = "hmm_range_fault",
		.new_func = takeover_range_fault,
	},
#ifdef TAKEOVER_HAVE_UNLOCKED_TIMEOUT
	{
		.old_name = "hmm_range_fault_unlocked_timeout",
		.new_func = takeover_range_fault_unlocked_timeout,
	},
#endif
	{ }
};

static struct klp_object objects[] = {
	{
		.name = NULL, /* the kernel itself */
		.funcs = functions,
	},
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objects,
};

static int enable(void)
{
	int err = klp_enable_patch(&patch);

	if (err)
		pr_err("the kernel refuses to patch hmm_range_fault() (%d); livepatch says why above\n",
		       err);
	return err;
}
#else
static int enable(void)
{
	pr_err("cannot take over: this kernel has no %s\n",
	       IS_ENABLED(CONFIG_LIVEPATCH) ?
	       "hmm_range_fault() (CONFIG_HMM_MIRROR)" : "CONFIG_LIVEPATCH");
	return -EOPNOTSUPP;
}
#endif

static int __init takeover_init(void)
{
	int err = takeover_callers_init();

	if (err)
		return err;
	err = enable();
	if (err)
		takeover_callers_exit();
	return err;
}

static void __exit takeover_exit(void)
{
	takeover_callers_exit();
}

module_init(takeover_init);
module_exit(takeover_exit);
MODULE_DESCRIPTION("hmm_range_fault() of the running kernel, answered by hmm_mirror");
MODULE_LICENSE("GPL");
#ifdef CONFIG_LIVEPATCH
/* Without livepatch the kernel would not even load it, to let it say why. */
MODULE_INFO(livepatch, "Y");
#endif
