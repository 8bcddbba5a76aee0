// SPDX-License-Identifier: GPL-2.0
/*
 * Finds walk_page_range(), the one function that this module needs and that no kernel
 * exports.
 *
 * A kprobe that is registered on the symbol and removed at once yields the address. The
 * call must be a direct one: with CONFIG_X86_KERNEL_IBT the kernel seals functions whose
 * address it never takes itself, so that an indirect call faults on CPUs with CET. A
 * static call is patched into a direct call.
 */
#define pr_fmt(fmt) "hmm_mirror: " fmt

#include <linux/build_bug.h>
#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/pagewalk.h>
#include <linux/static_call.h>

#include "internal.h"

/* The selftest for a missing symbol builds this file with another name. */
#ifndef WALK_PAGE_RANGE_SYMBOL
#define WALK_PAGE_RANGE_SYMBOL	"walk_page_range"
#endif

typedef int walk_page_range_fn(struct mm_struct *mm, unsigned long start,
			       unsigned long end, const struct mm_walk_ops *ops,
			       void *private);

/*
 * Only the address is found at load time. How to call it is taken from the header; a
 * kernel whose header says anything else must not load this module.
 */
static_assert(__same_type(walk_page_range, walk_page_range_fn),
	      "walk_page_range() is called in another way in this kernel; hmm_mirror has to be adapted");

static int unresolved(struct mm_struct *mm, unsigned long start,
		      unsigned long end, const struct mm_walk_ops *ops,
		      void *private)
{
	return -EOPNOTSUPP;
}

DEFINE_STATIC_CALL(walk_page_range_call, unresolved);

/*
 * Address of the first byte of the function that contains @addr: where functions begin
 * with an ENDBR instruction, a kprobe sits behind it. With call depth tracking, kernels
 * adjust calls of functions that they know by their first byte.
 */
static unsigned long __init function_start(unsigned long addr)
{
	static char name[KSYM_SYMBOL_LEN] __initdata;
	unsigned long offset;
	char *plus;

	sprint_symbol(name, addr);
	plus = strrchr(name, '+');
	if (!plus || sscanf(plus, "+0x%lx/", &offset) != 1)
		return addr;
	return addr - offset;
}

/**
 * hmm_mirror_resolve_symbols() - find what is not exported
 *
 * Return: 0, or the errno of the failed look-up; a message names the symbol and
 * the likely cause.
 */
int __init hmm_mirror_resolve_symbols(void)
{
	static struct kprobe probe __initdata = {
		.symbol_name = WALK_PAGE_RANGE_SYMBOL,
		/* Only looked up, never armed. */
		.flags = KPROBE_FLAG_DISABLED,
	};
	unsigned long addr;
	int err;

	if (!IS_ENABLED(CONFIG_KPROBES)) {
		pr_err("cannot find " WALK_PAGE_RANGE_SYMBOL
		       "(): this kernel is built without CONFIG_KPROBES\n");
		return -EOPNOTSUPP;
	}
	err = register_kprobe(&probe);
	if (err) {
		pr_err("cannot find " WALK_PAGE_RANGE_SYMBOL
		       "() with a kprobe (error %d): %s\n", err,
		       err == -ENOENT ?
		       "this kernel has no such symbol, or no kallsyms" :
		       "kprobes do not work on it in this kernel");
		return err;
	}
	addr = (unsigned long)probe.addr;
	unregister_kprobe(&probe);
	static_call_update(walk_page_range_call,
			   (walk_page_range_fn *)function_start(addr));
	return 0;
}

/**
 * hmm_mirror_walk_page_range() - the kernel's walk_page_range()
 * @mm: address space
 * @start: first address
 * @end: first address past the range
 * @ops: callbacks
 * @private: passed to the callbacks
 *
 * Locking: mmap_lock is held for reading or writing.
 *
 * Return: 0, the first value other than 0 that a callback returned, or -EINVAL.
 */
int hmm_mirror_walk_page_range(struct mm_struct *mm, unsigned long start,
			       unsigned long end, const struct mm_walk_ops *ops,
			       void *private)
{
	return static_call(walk_page_range_call)(mm, start, end, ops, private);
}
