/* SPDX-License-Identifier: GPL-2.0 */
/* The devices of dmirror, for the tests. */
#ifndef DMIRROR_TEST_H
#define DMIRROR_TEST_H

#include <errno.h>
#include <sys/ioctl.h>

#include "dmirror/uapi.h"
#include "memory.h"

#define NO_DEVICE_PRIVATE	"this kernel has no CONFIG_DEVICE_PRIVATE"
#define NO_COHERENT_MEMORY	"no memory is set apart for coherent devices (spm_addr_dev0)"
#define NO_HUGE_DEVICE_PAGES	"this kernel has no huge device-private pages (they came with 6.19)"
#define NO_HUGE_PAGES		"no huge page could be made"

/* Opens /dev/hmm_dmirror@unit: 0 and 1 private, 2 and 3 coherent memory. */
static inline int open_dmirror(unsigned int unit)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/hmm_dmirror%u", unit);
	return open(path, O_RDWR | O_CLOEXEC);
}

static inline bool is_coherent(unsigned int unit)
{
	return unit >= 2;
}

/* Returns 0 and stores the counters in @result, if it is not NULL; or returns the errno. */
static inline int dmirror_call(int fd, unsigned long command, const void *start,
			       size_t npages, void *buffer,
			       struct hmm_dmirror_cmd *result)
{
	struct hmm_dmirror_cmd args = {
		.addr = (unsigned long)start,
		.ptr = (unsigned long)buffer,
		.npages = npages,
	};

	int error = ioctl(fd, command, &args) ? errno : 0;

	if (result)
		*result = args;
	return error;
}

/* What the commands read and write: a buffer that no device ever maps. */
static inline char *alloc_buffer(size_t npages)
{
	char *buffer = map_anonymous(npages);

	if (buffer)
		memset(buffer, 0xee, npages * page_size());
	return buffer;
}

/* What the device finds when it is asked to read @npages pages at @start. */
static inline int device_read(int fd, const void *start, size_t npages,
			      void *buffer)
{
	return dmirror_call(fd, HMM_DMIRROR_READ, start, npages, buffer, NULL);
}

static inline int device_write(int fd, const void *start, size_t npages,
			       void *buffer)
{
	return dmirror_call(fd, HMM_DMIRROR_WRITE, start, npages, buffer, NULL);
}

/*
 * Moves pages to device memory. A page may be busy for a moment, for example on another
 * CPU's list of pages: then it tries again. Returns 0 or the errno.
 */
static inline int move_to_device(int fd, const void *start, size_t npages,
				 void *buffer)
{
	int attempt, error = ENOENT;

	for (attempt = 0; attempt < 20 && error == ENOENT; attempt++) {
		if (attempt)
			sleep_ms(20);
		error = dmirror_call(fd, HMM_DMIRROR_MIGRATE_TO_DEV, start,
				     npages, buffer, NULL);
	}
	return error;
}

/* The page frame number of a device-private page: what pagemap calls its offset. */
static inline unsigned long device_pfn_at(const void *address)
{
	return (pagemap_entry(address) & PAGEMAP_PFN_MASK) >> 5;
}

static inline int move_to_system(int fd, const void *start, size_t npages,
				 unsigned long *moved)
{
	struct hmm_dmirror_cmd result;
	int error = dmirror_call(fd, HMM_DMIRROR_MIGRATE_TO_SYS, start, npages,
				 NULL, &result);

	if (moved)
		*moved = error ? 0 : result.cpages;
	return error;
}

/* One byte, HMM_DMIRROR_PROT_*, for each page. */
static inline int take_snapshot(int fd, const void *start, size_t npages,
				unsigned char *bytes)
{
	memset(bytes, 0xaa, npages);
	return dmirror_call(fd, HMM_DMIRROR_SNAPSHOT, start, npages, bytes,
			    NULL);
}

/* Whether all pages have the bits @mask of @byte in a snapshot; if not, says where. */
static inline bool all_pages_match(int fd, const void *start, size_t npages,
				   unsigned char mask, unsigned char byte)
{
	unsigned char *bytes = malloc(npages);
	bool equal = false;
	int error;
	size_t i;

	if (!bytes)
		return false;
	error = take_snapshot(fd, start, npages, bytes);
	if (error) {
		printf("# snapshot: %s\n", strerror(error));
	} else {
		for (i = 0; i < npages && (bytes[i] & mask) == byte; i++)
			;
		equal = i == npages;
		if (!equal)
			printf("# page %zu is %#x, not %#x\n", i, bytes[i],
			       byte);
	}
	free(bytes);
	return equal;
}

static inline bool all_pages_are(int fd, const void *start, size_t npages,
				 unsigned char byte)
{
	return all_pages_match(fd, start, npages, 0xff, byte);
}

/* The byte for pages in @unit's own memory. */
static inline unsigned char local_page(unsigned int unit)
{
	return is_coherent(unit) ? HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL :
				   HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL;
}

/* Whether this kernel can migrate to the device at all. */
static inline bool can_migrate(int fd)
{
	void *page = map_anonymous(1);
	char *buffer = alloc_buffer(1);
	int error;

	if (!page || !buffer)
		return true;
	mark_pages(page, 1, 1);
	error = move_to_device(fd, page, 1, buffer);
	munmap(page, page_size());
	munmap(buffer, page_size());
	return error != EOPNOTSUPP;
}

/* Whether huge pages migrate as a whole: makes one, moves it, and looks. */
static inline bool can_migrate_huge(int fd)
{
	char *buffer = alloc_buffer(pages_per_pmd());
	void *huge = map_huge(1);
	unsigned char byte = 0;
	bool whole = huge && buffer &&
		     !move_to_device(fd, huge, pages_per_pmd(), buffer) &&
		     !take_snapshot(fd, huge, 1, &byte) &&
		     byte == (HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL |
			      HMM_DMIRROR_PROT_WRITE | HMM_DMIRROR_PROT_PMD);

	if (huge)
		munmap(huge, pmd_size());
	if (buffer)
		munmap(buffer, pmd_size());
	return whole;
}

/*
 * Opens devices @first and @first + 1 as @fds, for tests that migrate. Returns NULL, or
 * why such tests cannot run here. A descriptor is -1 if a device is missing that should
 * be there.
 */
static inline const char *open_devices(int *fds, unsigned int first)
{
	fds[0] = open_dmirror(first);
	fds[1] = open_dmirror(first + 1);
	if (fds[0] < 0)
		return is_coherent(first) ? NO_COHERENT_MEMORY : NULL;
	return can_migrate(fds[0]) ? NULL : NO_DEVICE_PRIVATE;
}

#endif /* DMIRROR_TEST_H */
