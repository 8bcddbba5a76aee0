/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Witnesses: what the kernel says, in ways that have nothing to do with hmm_mirror, about
 * what is mapped where and about what it did.
 */
#ifndef WITNESS_H
#define WITNESS_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static inline size_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

/* Reads a file that holds one number; returns @otherwise if it cannot. */
static inline unsigned long read_number(const char *path,
					unsigned long otherwise)
{
	unsigned long number = otherwise;
	FILE *file = fopen(path, "r");

	if (!file)
		return otherwise;
	if (fscanf(file, "%lu", &number) != 1)
		number = otherwise;
	fclose(file);
	return number;
}

/* Whether the file has a line with this word. */
static inline bool file_has_word(const char *path, const char *word)
{
	FILE *file = fopen(path, "r");
	char found[512];
	bool has = false;

	if (!file)
		return false;
	while (!has && fscanf(file, "%511s", found) == 1)
		has = !strcmp(found, word);
	fclose(file);
	return has;
}

/* Writes @text to a file of the kernel. Returns false if it refuses. */
static inline bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC);
	bool written;

	if (fd < 0)
		return false;
	written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	return !close(fd) && written;
}

static inline bool write_number(const char *path, unsigned long number)
{
	char text[32];

	snprintf(text, sizeof(text), "%lu", number);
	return write_text(path, text);
}

/* Size of a huge page that a PMD maps, in bytes. */
static inline size_t pmd_size(void)
{
	return read_number("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size",
			   2UL << 20);
}

static inline unsigned int pmd_order(void)
{
	return __builtin_ctzl(pmd_size() / page_size());
}

static inline size_t pages_per_pmd(void)
{
	return pmd_size() / page_size();
}

static inline double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static inline void sleep_ms(unsigned int ms)
{
	struct timespec delay = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&delay, NULL);
}

/*
 * /proc/PID/pagemap, see Documentation/admin-guide/mm/pagemap.rst. Every use opens it
 * again: it belongs to the address space that opened it.
 */
#define PAGEMAP_PRESENT		(1ULL << 63)
#define PAGEMAP_SWAPPED		(1ULL << 62) /* or any other non-present entry */
#define PAGEMAP_FILE		(1ULL << 61)
#define PAGEMAP_UFFD_WP		(1ULL << 57)
#define PAGEMAP_PFN_MASK	((1ULL << 55) - 1)

static inline bool read_pagemap_of(pid_t pid, unsigned long start,
				   size_t npages, uint64_t *entries)
{
	size_t size = npages * sizeof(*entries);
	char path[64];
	bool complete;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return false;
	complete = pread(fd, entries, size, start / page_size() *
			 sizeof(*entries)) == (ssize_t)size;
	close(fd);
	return complete;
}

static inline bool read_pagemap(const void *start, size_t npages,
				uint64_t *entries)
{
	return read_pagemap_of(getpid(), (unsigned long)start, npages, entries);
}

static inline uint64_t pagemap_entry(const void *address)
{
	uint64_t entry = 0;

	read_pagemap(address, 1, &entry);
	return entry;
}

static inline bool is_mapped(const void *address)
{
	return pagemap_entry(address) & PAGEMAP_PRESENT;
}

/* The page frame number at @address, 0 if nothing is mapped. */
static inline uint64_t pfn_at(const void *address)
{
	uint64_t entry = pagemap_entry(address);

	return entry & PAGEMAP_PRESENT ? entry & PAGEMAP_PFN_MASK : 0;
}

/* Number of pages that are mapped. */
static inline size_t count_mapped(const void *start, size_t npages)
{
	uint64_t entries[512];
	size_t mapped = 0;
	size_t i, n;

	for (; npages; npages -= n, start = (char *)start + n * page_size()) {
		n = npages < 512 ? npages : 512;
		if (!read_pagemap(start, n, entries))
			return SIZE_MAX;
		for (i = 0; i < n; i++)
			mapped += !!(entries[i] & PAGEMAP_PRESENT);
	}
	return mapped;
}

/* /proc/kpageflags */
#define PAGE_FLAG_HUGETLB	(1ULL << 17)
#define PAGE_FLAG_HWPOISON	(1ULL << 19)
#define PAGE_FLAG_KSM		(1ULL << 21)
#define PAGE_FLAG_THP		(1ULL << 22)
#define PAGE_FLAG_ZERO		(1ULL << 24)

static inline uint64_t page_flags(uint64_t pfn)
{
	uint64_t flags = 0;
	int fd = open("/proc/kpageflags", O_RDONLY);

	if (fd < 0)
		return 0;
	if (pread(fd, &flags, sizeof(flags), pfn * sizeof(flags)) !=
	    sizeof(flags))
		flags = 0;
	close(fd);
	return flags;
}

static inline bool is_zero_page(const void *address)
{
	uint64_t pfn = pfn_at(address);

	return pfn && (page_flags(pfn) & PAGE_FLAG_ZERO);
}

/*
 * Finds the line of /proc/self/smaps that begins with @field, of the mapping that
 * contains @address. Returns what follows the field's name, "" if there is no such
 * mapping.
 */
static inline const char *smaps_field(const void *address, const char *field)
{
	static char line[1024];
	unsigned long start, end;
	bool inside = false;
	bool found = false;
	FILE *smaps = fopen("/proc/self/smaps", "r");

	if (!smaps)
		return "";
	while (!found && fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = (unsigned long)address >= start &&
				 (unsigned long)address < end;
		else
			found = inside && !strncmp(line, field, strlen(field));
	}
	fclose(smaps);
	return found ? line + strlen(field) : "";
}

static inline unsigned long smaps_pages(const void *address, const char *field)
{
	return strtoul(smaps_field(address, field), NULL, 10) * 1024 /
	       page_size();
}

/* Pages mapped in the mapping around @address, counted by walking it. */
static inline unsigned long resident_pages(const void *address)
{
	return smaps_pages(address, "Rss:");
}

/* Memory mapped by PMDs in the mapping around @address, in pages. */
static inline unsigned long pmd_mapped_pages(const void *address)
{
	return smaps_pages(address, "AnonHugePages:") +
	       smaps_pages(address, "ShmemPmdMapped:") +
	       smaps_pages(address, "FilePmdMapped:");
}

/* Whether the mapping has this two-letter flag, see proc(5). */
static inline bool has_vm_flag(const void *address, const char *flag)
{
	char wanted[8];

	snprintf(wanted, sizeof(wanted), " %s ", flag);
	return strstr(smaps_field(address, "VmFlags:"), wanted);
}

/* First address of the mapping that /proc/self/maps calls @name, or NULL. */
static inline void *find_mapping(const char *name, size_t *length)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long start, end;
	void *found = NULL;
	char line[1024];

	if (!maps)
		return NULL;
	while (!found && fgets(line, sizeof(line), maps)) {
		if (!strstr(line, name) ||
		    sscanf(line, "%lx-%lx ", &start, &end) != 2)
			continue;
		found = (void *)start;
		*length = end - start;
	}
	fclose(maps);
	return found;
}

/* Faults charged to this process, minor and major. */
static inline unsigned long process_faults(void)
{
	unsigned long minor = 0, major = 0;
	FILE *file = fopen("/proc/self/stat", "r");
	char line[1024];
	char *rest;

	if (!file)
		return 0;
	if (fgets(line, sizeof(line), file)) {
		/* The second field may contain anything, but ends with ')'. */
		rest = strrchr(line, ')');
		if (!rest ||
		    sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %lu %*u %lu",
			   &minor, &major) != 2) {
			minor = 0;
			major = 0;
		}
	}
	fclose(file);
	return minor + major;
}

/* A counter of /proc/vmstat, 0 if there is none with that name. */
static inline unsigned long vmstat_value(const char *name)
{
	FILE *file = fopen("/proc/vmstat", "r");
	unsigned long value = 0;
	unsigned long number;
	char line[128];
	char key[64];

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63s %lu", key, &number) == 2 &&
		    !strcmp(key, name))
			value = number;
	}
	fclose(file);
	return value;
}

/* A value of /proc/meminfo in bytes, 0 if there is none with that name. */
static inline unsigned long meminfo_value(const char *name)
{
	FILE *file = fopen("/proc/meminfo", "r");
	unsigned long value = 0;
	unsigned long number;
	char line[128];
	char key[64];

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63[^:]: %lu kB", key, &number) == 2 &&
		    !strcmp(key, name))
			value = number * 1024;
	}
	fclose(file);
	return value;
}

#endif /* WITNESS_H */
