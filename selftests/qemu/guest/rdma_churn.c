// SPDX-License-Identifier: GPL-2.0
/*
 * LD_PRELOADed into unmodified RDMA programs: what the program takes to be its buffer
 * becomes shared memory, and while it works, its pages are written to swap and parts of
 * it are unmapped and mapped again, with the same content.
 *
 * CHURN=0 leaves the memory alone. When the program is done with it, this prints to
 * stderr what was done to it, and hashes of its halves: perftest's own data is in the
 * first one, and the second one is for others to read and write.
 */
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIN_BUFFER	(1 << 20)
#define PAUSE_US	10000
#define PARTS		8
#define MADV_PAGE_OUT	21	/* not in every libc's headers */

static char *buffer;
static size_t buffer_size;
static int memory;
static bool stopped;
static pthread_t churner;
static unsigned long nr_paged_out, nr_remapped;

static void *disturb(void *unused)
{
	size_t part = buffer_size / PARTS & -4096UL;
	unsigned long round;

	for (round = 0; !__atomic_load_n(&stopped, __ATOMIC_RELAXED); round++) {
		size_t offset = round % PARTS * part;
		char *start = buffer + offset;

		if (round / PARTS % 2) {
			nr_paged_out += !madvise(start, part, MADV_PAGE_OUT);
		} else if (mmap(start, part, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_FIXED, memory, offset) != start) {
			perror("rdma_churn: mmap");
			_exit(1);
		} else {
			nr_remapped++;
		}
		usleep(PAUSE_US);
	}
	return unused;
}

/* FNV-1a, of words */
static unsigned long long hash(const char *start, size_t size)
{
	unsigned long long sum = 0xcbf29ce484222325ULL, word;
	size_t i;

	for (i = 0; i + sizeof(word) <= size; i += sizeof(word)) {
		memcpy(&word, start + i, sizeof(word));
		sum = (sum ^ word) * 0x100000001b3;
	}
	return sum;
}

/* The program is done with it. It stays mapped: nobody else gets the address. */
static void end_churn(void)
{
	const char *wanted = getenv("CHURN");

	if (__atomic_exchange_n(&stopped, true, __ATOMIC_RELAXED))
		return;
	if (!wanted || strcmp(wanted, "0"))
		pthread_join(churner, NULL);
	fprintf(stderr, "\nchurn: %zu KiB at %p, remapped %lu and paged out %lu parts of 1/%d\n",
		buffer_size >> 10, buffer, nr_remapped, nr_paged_out, PARTS);
	fprintf(stderr, "churn: own %016llx others' %016llx\n",
		hash(buffer, buffer_size / 2),
		hash(buffer + buffer_size / 2, buffer_size / 2));
}

static void __attribute__((destructor)) at_exit(void)
{
	if (buffer)
		end_churn();
}

void *memalign(size_t alignment, size_t size)
{
	static void *(*next)(size_t alignment, size_t size);
	const char *wanted = getenv("CHURN");
	char *start;

	if (!next)
		next = dlsym(RTLD_NEXT, "memalign");
	if (buffer || size < MIN_BUFFER || alignment > 4096)
		return next(alignment, size);
	memory = memfd_create("rdma_churn", MFD_CLOEXEC);
	if (memory < 0 || ftruncate(memory, size))
		return NULL;
	start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	if (start == MAP_FAILED)
		return NULL;
	buffer_size = size;
	buffer = start;
	if ((!wanted || strcmp(wanted, "0")) &&
	    pthread_create(&churner, NULL, disturb, NULL))
		abort();
	return buffer;
}

void free(void *start)
{
	static void (*next)(void *start);

	if (start && start == buffer) {
		end_churn();
		return;
	}
	if (!next)
		next = (void (*)(void *))dlsym(RTLD_NEXT, "free");
	next(start);
}
