// SPDX-License-Identifier: GPL-2.0
/*
 * Puts khugepaged to sleep for good: it must not make huge again, behind a test's back,
 * what the test has just split.
 *
 * A long scan_sleep_millisecs alone does not do that. khugepaged sleeps that long only
 * if it knows of a process with memory for huge pages when it has looked at all there
 * are. If there is none it waits for the first, and looks at that at once, at the very
 * moment when a test has got its first huge page. So this is such a process until
 * khugepaged has fallen asleep. Whoever writes to scan_sleep_millisecs wakes it again.
 */
#include <dirent.h>
#include <errno.h>
#include <error.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define THP		"/sys/kernel/mm/transparent_hugepage/"
#define FULL_SCANS	THP "khugepaged/full_scans"
#define SLEEP		THP "khugepaged/scan_sleep_millisecs"
#define FOREVER		4294967295ULL

#define PATIENCE	60	/* seconds */
#define LOOKS		20	/* a second */

static unsigned long long read_number(const char *path)
{
	FILE *file = fopen(path, "r");
	unsigned long long number;

	if (!file || fscanf(file, "%llu", &number) != 1)
		error(1, errno, "cannot read %s", path);
	fclose(file);
	return number;
}

static void write_number(const char *path, unsigned long long number)
{
	FILE *file = fopen(path, "w");

	if (!file || fprintf(file, "%llu", number) < 0 || fclose(file))
		error(1, errno, "cannot write %llu to %s", number, path);
}

/* Memory of one huge page, with something in it. It is never freed. */
static void use_huge_memory(void)
{
	size_t size = read_number(THP "hpage_pmd_size");
	char *memory = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		error(1, errno, "no memory");
	if (madvise(memory, 2 * size, MADV_HUGEPAGE))
		error(1, errno, "MADV_HUGEPAGE");
	/* Linux 6.1 tells khugepaged about it at its first page. */
	*(volatile char *)(((uintptr_t)memory + size - 1) / size * size) = 1;
}

/* The state of the kernel thread of this name, as in proc(5); 0 if there is none. */
static char state_of(const char *name)
{
	DIR *directory = opendir("/proc");
	struct dirent *entry;
	char state = 0;

	if (!directory)
		error(1, errno, "/proc");
	while (!state && (entry = readdir(directory))) {
		char path[300], comm[64];
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
		file = fopen(path, "r");
		if (!file)
			continue;
		if (fscanf(file, "%*d (%63[^)]) %c", comm, &state) != 2 ||
		    strcmp(comm, name))
			state = 0;
		fclose(file);
	}
	closedir(directory);
	return state;
}

int main(void)
{
	unsigned long long before = read_number(FULL_SCANS);
	bool scanned = false;
	unsigned int looks;

	use_huge_memory();
	/* This wakes it, whatever it waits for. */
	write_number(SLEEP, FOREVER);
	if (read_number(SLEEP) != FOREVER)
		error(1, 0, "%s has another value", SLEEP);
	for (looks = 0; looks < PATIENCE * LOOKS; looks++) {
		scanned = read_number(FULL_SCANS) != before;
		if (scanned && state_of("khugepaged") == 'S')
			return 0;
		usleep(1000000 / LOOKS);
	}
	error(1, 0, "khugepaged %s", scanned ? "does not sleep" : "looks at nothing");
	return 1;
}
