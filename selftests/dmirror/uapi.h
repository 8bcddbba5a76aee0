/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The ioctls of /dev/hmm_dmirror*: the binary interface of the kernel's own
 * test_hmm module, so that the kernel's hmm-tests run on this driver.
 *
 * An open file mirrors the address space of the process that opened it. All
 * commands take a page-aligned range @addr, @npages of that address space, and
 * all but FLAGS, CHECK_EXCLUSIVE, RELEASE and MIGRATE_TO_SYS a buffer @ptr of
 * the calling process. @cpages and @faults are written only on success.
 */
#ifndef DMIRROR_UAPI_H
#define DMIRROR_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct hmm_dmirror_cmd - argument of all commands
 * @addr: in: first address of the range
 * @ptr: in: buffer for the data, or for one byte per page (SNAPSHOT)
 * @npages: in: pages of the range; FLAGS: the flags
 * @cpages: out: pages that were copied, migrated or looked at
 * @faults: out: times the device found a page missing and had to stop for it
 */
struct hmm_dmirror_cmd {
	__u64 addr;
	__u64 ptr;
	__u64 npages;
	__u64 cpages;
	__u64 faults;
};

/* The device reads the range; the data goes to the buffer. */
#define HMM_DMIRROR_READ		_IOWR('H', 0x00, struct hmm_dmirror_cmd)
/* The device writes the range, with data from the buffer. */
#define HMM_DMIRROR_WRITE		_IOWR('H', 0x01, struct hmm_dmirror_cmd)
/*
 * Moves the range to device memory and reads it there. -ENOENT if a page could not be
 * moved, or came back in the meantime.
 */
#define HMM_DMIRROR_MIGRATE_TO_DEV	_IOWR('H', 0x02, struct hmm_dmirror_cmd)
/* Moves what is in this device's memory back. */
#define HMM_DMIRROR_MIGRATE_TO_SYS	_IOWR('H', 0x03, struct hmm_dmirror_cmd)
/* What the CPU page table holds: one of HMM_DMIRROR_PROT_* for each page. */
#define HMM_DMIRROR_SNAPSHOT		_IOWR('H', 0x04, struct hmm_dmirror_cmd)
/* Takes the range away from the CPU, until it touches it, and reads it. */
#define HMM_DMIRROR_EXCLUSIVE		_IOWR('H', 0x05, struct hmm_dmirror_cmd)
/* -EPERM if the device has exclusive access to a page of the range. */
#define HMM_DMIRROR_CHECK_EXCLUSIVE	_IOWR('H', 0x06, struct hmm_dmirror_cmd)
/* Moves all pages of the device, of all processes, back; frees its memory. */
#define HMM_DMIRROR_RELEASE		_IOWR('H', 0x07, struct hmm_dmirror_cmd)
/* Sets HMM_DMIRROR_FLAG_*, for this open file. */
#define HMM_DMIRROR_FLAGS		_IOWR('H', 0x08, struct hmm_dmirror_cmd)
/* READ that waits for a page, for example from a userfaultfd, as long as it takes. */
#define HMM_DMIRROR_READ_UNLOCKED	_IOWR('H', 0x09, struct hmm_dmirror_cmd)

/* The next allocation of a huge page for a migration fails. */
#define HMM_DMIRROR_FLAG_FAIL_ALLOC	0x1

/*
 * The bytes of SNAPSHOT. READ or WRITE, with PMD or PUD for the size of the
 * mapping, is or-ed to what is said about the kind of page.
 */
enum {
	HMM_DMIRROR_PROT_NONE			= 0x00,	/* nothing there */
	HMM_DMIRROR_PROT_READ			= 0x01,
	HMM_DMIRROR_PROT_WRITE			= 0x02,
	HMM_DMIRROR_PROT_PMD			= 0x04,
	HMM_DMIRROR_PROT_PUD			= 0x08,
	HMM_DMIRROR_PROT_ZERO			= 0x10,	/* the zero page */
	HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL	= 0x20,	/* this device's page */
	HMM_DMIRROR_PROT_DEV_PRIVATE_REMOTE	= 0x30,	/* another device's */
	HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL	= 0x40,
	HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE	= 0x50,
	HMM_DMIRROR_PROT_ERROR			= 0xFF,	/* cannot be mirrored */
};

#endif /* DMIRROR_UAPI_H */
