// SPDX-License-Identifier: GPL-2.0
/*
 * Exclusive access: the CPU's entry is replaced by one that makes the CPU ask,
 * so that the device can do atomic operations on memory that stays where it is.
 */
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "compat.h"
#include "dmirror.h"

/* How often to retry a page that somebody else has locked, or remapped. */
#define ATTEMPTS	10

static int program_page(struct dmirror_client *client, unsigned long addr,
			struct page *page, unsigned long sequence)
{
	unsigned long entry = page_to_pfn(page) << DMIRROR_ENTRY_SHIFT;
	int err;

	entry |= DMIRROR_ENTRY_VALID | DMIRROR_ENTRY_WRITE |
		 DMIRROR_ENTRY_EXCLUSIVE;
	hmm_mirror_lock(&client->mirror);
	err = hmm_mirror_read_retry(&client->mirror, sequence) ?
	      -EBUSY : dmirror_table_set(client, addr, entry);
	hmm_mirror_unlock(&client->mirror);
	return err;
}

/* -EBUSY: may succeed when retried. */
static int take_page(struct dmirror_client *client, unsigned long addr)
{
	unsigned long sequence = hmm_mirror_read_begin(&client->mirror);
	struct page *page;
	int err;

	if (mmap_read_lock_killable(client->mm))
		return -EINTR;
	page = compat_make_device_exclusive(client->mm, addr, &client->mirror);
	if (IS_ERR(page)) {
		err = PTR_ERR(page);
	} else {
		/* While it is locked the CPU cannot get it back. */
		err = program_page(client, addr, page, sequence);
		unlock_page(page);
		put_page(page);
	}
	mmap_read_unlock(client->mm);
	return err;
}

static int split_huge_page_at(struct dmirror_client *client, unsigned long addr)
{
	int err;

	if (mmap_read_lock_killable(client->mm))
		return -EINTR;
	err = compat_split_for_exclusive(client->mm, addr);
	mmap_read_unlock(client->mm);
	return err;
}

/* This way faults are taken without holding mmap_lock. */
static int fault_in(struct dmirror_client *client, unsigned long start,
		    unsigned long end)
{
	return dmirror_populate(client, start, end,
				HMM_MIRROR_PFN_REQ_FAULT |
				HMM_MIRROR_PFN_REQ_WRITE, 0);
}

static int take_window(struct dmirror_client *client, unsigned long start,
		       unsigned long end)
{
	unsigned int attempt = 0;
	unsigned long addr = start;
	int err;

	err = fault_in(client, start, end);
	while (!err && addr < end) {
		if (addr == start || IS_ALIGNED(addr, PMD_SIZE) || attempt)
			err = split_huge_page_at(client, addr);
		if (!err)
			err = take_page(client, addr);
		if (!err) {
			addr += PAGE_SIZE;
			attempt = 0;
		} else if ((err == -EBUSY || err == -EAGAIN) &&
			   ++attempt < ATTEMPTS) {
			/*
			 * This mirror is told what the attempt has changed in the page
			 * table, too: a huge page was split, a page has come from device
			 * memory. And the page may already be exclusive, which a fault
			 * ends: take it now, so that the next attempt changes nothing
			 * else.
			 */
			err = fault_in(client, addr, addr + PAGE_SIZE);
		}
		if (fatal_signal_pending(current))
			err = -EINTR;
		cond_resched();
	}
	return err;
}

/**
 * dmirror_make_exclusive() - give the device exclusive access to pages
 * @client: client
 * @start: first address
 * @end: end of the range
 *
 * On failure the pages below the one that failed remain exclusive.
 *
 * Return: 0, -EBUSY (a page is in use in a way that forbids it), -EOPNOTSUPP (a
 * page of a kind, or a kernel, that cannot), -ESRCH, -EINTR, -ENOMEM, or
 * another errno of hmm_mirror_populate().
 */
int dmirror_make_exclusive(struct dmirror_client *client, unsigned long start,
			   unsigned long end)
{
	int err = 0;

	if (!IS_ENABLED(CONFIG_DEVICE_PRIVATE))
		return -EOPNOTSUPP;
	if (!mmget_not_zero(client->mm))
		return -ESRCH;
	while (!err && start < end) {
		unsigned long next = start + min(end - start, DMIRROR_WINDOW);

		err = take_window(client, start, next);
		start = next;
	}
	mmput(client->mm);
	return err;
}
