// SPDX-License-Identifier: GPL-2.0
/*
 * Who calls: calls, pages, faults and errors of each calling module, in
 * /sys/kernel/debug/hmm_takeover/callers.
 *
 * A caller is identified by the address that the call returns to. There are only a few;
 * they are found without a lock, and only the first call from each takes one.
 */
#include <linux/atomic.h>
#include <linux/debugfs.h>
#include <linux/kallsyms.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include "takeover.h"

#define NR_CALLERS	64

/* The last slot is for all callers that find no other. */
#define OTHERS		"(others)"

/**
 * struct caller - a place that calls, or has called
 * @address: where calls return to; 0 if the module is gone
 * @module: its module, "" if the slot is free; never changes after that
 * @calls: calls that have ended
 * @pages: pages that they were for
 * @faults: page faults that they took
 * @errors: calls that failed for a reason other than -EBUSY
 * @retries: calls that failed with -EBUSY
 */
struct caller {
	unsigned long address;
	char module[MODULE_NAME_LEN];
	atomic_long_t calls;
	atomic_long_t pages;
	atomic_long_t faults;
	atomic_long_t errors;
	atomic_long_t retries;
};

static struct caller callers[NR_CALLERS];
/* Changes of caller.address and caller.module. */
static DEFINE_SPINLOCK(callers_lock);
static struct dentry *directory;

/* Names the module that @address is in, "kernel" if it is in none. */
static void name_module(unsigned long address, char *name)
{
	char symbol[KSYM_SYMBOL_LEN];
	char *begin, *end;

	/* "function+0x1/0x2 [module]" */
	sprint_symbol(symbol, address);
	begin = strrchr(symbol, '[');
	end = begin ? strchr(begin, ']') : NULL;
	if (end)
		*end = '\0';
	strscpy(name, end ? begin + 1 : "kernel", MODULE_NAME_LEN);
}

/* The slot for @address; NULL if all are used. */
static struct caller *slot_for(unsigned long address, const char *module)
{
	struct caller *caller;

	lockdep_assert_held(&callers_lock);
	for (caller = callers; caller < callers + NR_CALLERS - 1; caller++) {
		if (caller->address == address || !caller->module[0])
			return caller;
		/* The module was unloaded, and is loaded again. */
		if (!caller->address && !strcmp(caller->module, module))
			return caller;
	}
	return NULL;
}

static struct caller *add_caller(unsigned long address)
{
	char module[MODULE_NAME_LEN];
	struct caller *caller;

	name_module(address, module);
	spin_lock(&callers_lock);
	caller = slot_for(address, module);
	if (!caller) {
		caller = &callers[NR_CALLERS - 1];
		strscpy(caller->module, OTHERS, sizeof(caller->module));
	} else if (caller->address != address) {
		strscpy(caller->module, module, sizeof(caller->module));
		/* Pairs with the READ_ONCE() of find_caller(). */
		WRITE_ONCE(caller->address, address);
	}
	spin_unlock(&callers_lock);
	return caller;
}

static struct caller *find_caller(unsigned long address)
{
	struct caller *caller;

	for (caller = callers; caller < callers + NR_CALLERS; caller++) {
		/* Pairs with the WRITE_ONCE()s under callers_lock. */
		if (READ_ONCE(caller->address) == address)
			return caller;
	}
	return add_caller(address);
}

/**
 * takeover_count_call() - count a call that is about to return
 * @address: where it will return to
 * @npages: pages that it was for
 * @nr_faults: page faults that it took
 * @err: what it returns
 *
 * Context: any but interrupts.
 */
void takeover_count_call(unsigned long address, unsigned long npages,
			 unsigned long nr_faults, int err)
{
	struct caller *caller = find_caller(address);

	atomic_long_inc(&caller->calls);
	atomic_long_add(npages, &caller->pages);
	atomic_long_add(nr_faults, &caller->faults);
	if (err == -EBUSY)
		atomic_long_inc(&caller->retries);
	else if (err)
		atomic_long_inc(&caller->errors);
}

/* Whether an earlier slot belongs to the same module. */
static bool is_shown(const struct caller *caller)
{
	const struct caller *earlier;

	for (earlier = callers; earlier < caller; earlier++) {
		if (!strcmp(earlier->module, caller->module))
			return true;
	}
	return false;
}

static void show_module(struct seq_file *file, const struct caller *first)
{
	unsigned long calls = 0, pages = 0, faults = 0, errors = 0, retries = 0;
	const struct caller *caller;

	for (caller = first; caller < callers + NR_CALLERS; caller++) {
		if (strcmp(caller->module, first->module))
			continue;
		calls += atomic_long_read(&caller->calls);
		pages += atomic_long_read(&caller->pages);
		faults += atomic_long_read(&caller->faults);
		retries += atomic_long_read(&caller->retries);
		errors += atomic_long_read(&caller->errors);
	}
	seq_printf(file, "%s calls %lu pages %lu faults %lu retries %lu errors %lu\n",
		   first->module, calls, pages, faults, retries, errors);
}

static int callers_show(struct seq_file *file, void *unused)
{
	const struct caller *caller;

	spin_lock(&callers_lock);
	for (caller = callers; caller < callers + NR_CALLERS; caller++) {
		if (caller->module[0] && !is_shown(caller))
			show_module(file, caller);
	}
	spin_unlock(&callers_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(callers);

/* Another module may get the addresses of one that is unloaded. */
static int module_event(struct notifier_block *block, unsigned long event,
			void *data)
{
	const struct module *module = data;
	struct caller *caller;

	if (event != MODULE_STATE_GOING)
		return NOTIFY_DONE;
	spin_lock(&callers_lock);
	for (caller = callers; caller < callers + NR_CALLERS; caller++) {
		/* As in add_caller(). */
		if (!strcmp(caller->module, module->name))
			WRITE_ONCE(caller->address, 0);
	}
	spin_unlock(&callers_lock);
	return NOTIFY_DONE;
}

static struct notifier_block module_notifier = {
	.notifier_call = module_event,
};

int takeover_callers_init(void)
{
	int err = register_module_notifier(&module_notifier);

	if (err)
		return err;
	directory = debugfs_create_dir("hmm_takeover", NULL);
	debugfs_create_file("callers", 0400, directory, NULL, &callers_fops);
	return 0;
}

void takeover_callers_exit(void)
{
	debugfs_remove(directory);
	unregister_module_notifier(&module_notifier);
}
