// SPDX-License-Identifier: GPL-2.0
/*
 * DMA by a real device, as far as QEMU's edu is one, on memory that the kernel goes on to
 * move, protect, write out and take away: samples/edu_mirror, behind an IOMMU.
 *
 * Each DMA takes the device a tenth of a second, so there are not many. What is right is
 * seen from the data. A DMA that the IOMMU has blocked is for QEMU and the kernel to say,
 * and fails the run (check_log.pl).
 *
 * strict: the IOMMU is flushed with each unmap, so that whatever comes too late is blocked.
 * lazy: it is not, and comes through: the data has to say it.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/swap.h>

#include "harness.h"
#include "device.h"
#include "memory.h"
#include "pci.h"
#include "../samples/edu_mirror/uapi.h"

#define DRIVER		"/sys/bus/pci/drivers/edu_mirror"
#define LENGTH		1024
#define DMA_SECONDS	0.1 /* what a DMA takes at least */
/* The same by the guest's clock, of which a busy machine may have had the wrong idea */
#define DMA_WAITED	(0.8 * DMA_SECONDS)

/* Empty if there is no such device. */
static char pci_name[PCI_NAME_LENGTH];

static bool find_device(void)
{
	return find_pci_device("0x11e8", pci_name);
}

static bool unbind_device(void)
{
	return write_text(DRIVER "/unbind", pci_name);
}

static bool bind_device(void)
{
	return write_text(DRIVER "/bind", pci_name);
}

/* "DMA": strict, "DMA-FQ": lazy, "identity": no translation. False if it cannot be had. */
static bool set_translation(const char *type)
{
	char path[128];
	bool set;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/iommu_group/type", pci_name);
	if (file_has_word(path, type))
		return true;
	unbind_device();
	set = write_text(path, type);
	return bind_device() && set && file_has_word(path, type);
}

/*
 * Whether this is the machine without an IOMMU ("make dma"), and its kernel keeps no memory
 * for devices with 28 address bits: dma_set_mask() fails there, and so does the driver's
 * probe.
 */
static bool cannot_do_dma(void)
{
	return file_has_word("/proc/cmdline", "swiotlb=force") &&
	       !file_has_word("/proc/zoneinfo", "DMA");
}

#define NO_LOW_MEMORY	"without an IOMMU 28 bits reach no memory here: no CONFIG_ZONE_DMA"

static int open_edu(void)
{
	return open(EDU_MIRROR_DEVICE, O_RDWR | O_CLOEXEC);
}

/* These return 0 or the errno. */
static int copy(int fd, const void *addr, size_t length, unsigned int offset,
		bool to_memory)
{
	struct edu_mirror_args args = {
		.addr = (unsigned long)addr,
		.length = length,
		.offset = offset,
		.to_memory = to_memory,
	};

	return ioctl(fd, EDU_MIRROR_COPY, &args) ? errno : 0;
}

static int to_device(int fd, const void *from, size_t length)
{
	return copy(fd, from, length, 0, false);
}

static int to_memory(int fd, void *to, size_t length)
{
	return copy(fd, to, length, 0, true);
}

static int set_region(int fd, const void *start, size_t npages)
{
	struct edu_mirror_args args = {
		.addr = (unsigned long)start,
		.length = npages * page_size(),
	};

	return ioctl(fd, EDU_MIRROR_REGION, &args) ? errno : 0;
}

/* Any byte but 0, which new memory has, and POISON. */
static unsigned char pattern(unsigned int seed, size_t i)
{
	return 1 + ((seed * 31 + i) * 2654435761U >> 13) % 200;
}

static void fill(void *start, size_t length, unsigned int seed)
{
	unsigned char *bytes = start;
	size_t i;

	for (i = 0; i < length; i++)
		bytes[i] = pattern(seed, i);
}

static bool is_filled(const void *start, size_t length, unsigned int seed)
{
	const unsigned char *bytes = start;
	size_t i;

	for (i = 0; i < length; i++) {
		if (bytes[i] != pattern(seed, i))
			return false;
	}
	return true;
}

static struct hmm_mirror_stats stats_now(void)
{
	struct hmm_mirror_stats stats = {};
	int fd = open_device();

	call_stats(fd, &stats);
	close(fd);
	return stats;
}

FIXTURE(edu)
{
	int fd;
	struct hmm_mirror_stats before;
};

FIXTURE_VARIANT(edu)
{
	const char *translation;
	const char *name;
};

FIXTURE_VARIANT_ADD(edu, strict)
{
	.translation = "DMA",
	.name = "strict",
};

FIXTURE_VARIANT_ADD(edu, lazy)
{
	.translation = "DMA-FQ",
	.name = "lazy",
};

FIXTURE_SETUP(edu)
{
	if (!find_device())
		SKIP(return, "QEMU has no edu (boot.sh)");
	ASSERT_TRUE(set_translation(variant->translation));
	self->fd = open_edu();
	ASSERT_LE(0, self->fd);
	self->before = stats_now();
}

FIXTURE_TEARDOWN(edu)
{
	struct hmm_mirror_stats after;

	close(self->fd);
	after = stats_now();
	EXPECT_EQ(after.dma_maps - self->before.dma_maps,
		  after.dma_unmaps - self->before.dma_unmaps);
}

TEST_F(edu, copies)
{
	char *start = map_anonymous(4);
	char *end_of_page = page_at(start, 2) - 300;

	ASSERT_NE(NULL, start);
	fill(start, LENGTH, 1);
	EXPECT_EQ(0, to_device(self->fd, start, LENGTH));
	/* What is not there is brought there; over a border of pages. */
	EXPECT_EQ(0, to_memory(self->fd, end_of_page, LENGTH));
	EXPECT_TRUE(is_filled(end_of_page, LENGTH, 1));
	EXPECT_EQ(0, end_of_page[-1]);
	EXPECT_EQ(0, end_of_page[LENGTH]);
	EXPECT_EQ(0, copy(self->fd, start + 1, 5, 4089, false));
	EXPECT_EQ(0, copy(self->fd, page_at(start, 3) + 77, 5, 4089, true));
	EXPECT_EQ(0, memcmp(start + 1, page_at(start, 3) + 77, 5));
	EXPECT_LT(0, stats_now().dma_maps - self->before.dma_maps);
}

TEST_F(edu, errors)
{
	char *start = map_anonymous(2);
	struct edu_mirror_args args = { .to_memory = 2 };

	ASSERT_NE(NULL, start);
	EXPECT_EQ(EINVAL, copy(self->fd, start, EDU_MIRROR_MAX_LENGTH + 1, 0,
			       false));
	EXPECT_EQ(EINVAL, copy(self->fd, start, 100, 4000, false));
	EXPECT_EQ(EINVAL, copy(self->fd, start, 100, ~0U, false));
	EXPECT_EQ(-1, ioctl(self->fd, EDU_MIRROR_COPY, &args));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, ioctl(self->fd, EDU_MIRROR_COPY, NULL));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, ioctl(self->fd, _IO(0xE2, 0xDF), &args));
	EXPECT_EQ(ENOTTY, errno);
	/* The pages around it are PROT_NONE. */
	EXPECT_EQ(EFAULT, to_device(self->fd, start - 8, 4));
	EXPECT_EQ(EFAULT, to_memory(self->fd, page_at(start, 2) + 8, 4));
	EXPECT_EQ(0, mprotect(start, page_size(), PROT_READ));
	EXPECT_EQ(EPERM, to_memory(self->fd, start, 4));
	EXPECT_EQ(EFAULT, to_memory(self->fd, (void *)0xffff888000001000, 4));
	EXPECT_EQ(EINVAL, set_region(self->fd, start + 1, 1));
	EXPECT_EQ(EINVAL, set_region(self->fd, start, 0));
}

/* An RDMA region: registered, mapped when it is used, invalidated, mapped again. */
TEST_F(edu, region)
{
	char *start = map_anonymous(8);
	struct hmm_mirror_stats stats;

	ASSERT_NE(NULL, start);
	EXPECT_EQ(0, set_region(self->fd, start, 4));
	EXPECT_EQ(self->before.dma_maps, stats_now().dma_maps);
	fill(start, LENGTH, 2);
	EXPECT_EQ(0, to_device(self->fd, start, LENGTH));
	stats = stats_now();
	EXPECT_EQ(1, stats.dma_maps - self->before.dma_maps);
	/* Mapped already */
	EXPECT_EQ(0, to_device(self->fd, start + 8, LENGTH));
	EXPECT_EQ(stats.dma_maps, stats_now().dma_maps);
	EXPECT_EQ(0, to_memory(self->fd, page_at(start, 3), LENGTH));
	EXPECT_TRUE(is_filled(page_at(start, 3), LENGTH - 8, 2) ||
		    !memcmp(page_at(start, 3), start + 8, LENGTH));

	ASSERT_EQ(0, madvise(start, 4 * page_size(), MADV_DONTNEED));
	stats = stats_now();
	EXPECT_EQ(stats.dma_maps - self->before.dma_maps,
		  stats.dma_unmaps - self->before.dma_unmaps);
	fill(page_at(start, 3), LENGTH, 3);
	EXPECT_EQ(0, to_device(self->fd, page_at(start, 3), LENGTH));
	EXPECT_EQ(0, to_memory(self->fd, start, LENGTH));
	EXPECT_TRUE(is_filled(start, LENGTH, 3));
	EXPECT_EQ(ERANGE, to_device(self->fd, page_at(start, 4), LENGTH));
	EXPECT_EQ(ERANGE, to_device(self->fd, start - 1, 1));
	EXPECT_EQ(0, set_region(self->fd, page_at(start, 4), 4));
	EXPECT_EQ(ERANGE, to_device(self->fd, start, 1));
	EXPECT_EQ(0, to_memory(self->fd, page_at(start, 5), LENGTH));
	EXPECT_TRUE(is_filled(page_at(start, 5), LENGTH, 3));
}

/* A file is for the memory of who has used it, not for that of a child. */
TEST_F(edu, child)
{
	char *start = map_anonymous(1);
	int status = -1;
	pid_t child;

	ASSERT_NE(NULL, start);
	fill(start, LENGTH, 4);
	EXPECT_EQ(0, to_device(self->fd, start, LENGTH));
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		_exit(to_device(self->fd, start, LENGTH) == EPERM ? 0 : 1);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

/* --- Invalidations during a DMA --- */

struct dma_thread {
	pthread_t thread;
	pid_t tid;
	int fd;
	void *addr;
	bool to_memory;
	bool ended;
	int error;
	double begun; /* The device begins later, and takes DMA_SECONDS. */
	double seconds;
};

static void *run_dma(void *argument)
{
	struct dma_thread *dma = argument;

	__atomic_store_n(&dma->tid, syscall(__NR_gettid), __ATOMIC_RELAXED);
	dma->error = copy(dma->fd, dma->addr, LENGTH, 0, dma->to_memory);
	dma->seconds = seconds_now() - dma->begun;
	__atomic_store_n(&dma->ended, true, __ATOMIC_RELEASE);
	return NULL;
}

/* Whether a thread sleeps until it is woken or killed, as whoever waits for the device does */
static bool waits_killably(pid_t tid)
{
	char path[64], state = '\0';
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	file = fopen(path, "r");
	if (!file)
		return false;
	if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		state = '\0';
	fclose(file);
	return state == 'D';
}

/*
 * A DMA of a thread of its own, of memory that is mapped. When this returns the device is at
 * work on it, or was, if this process had to wait for its turn.
 */
static bool begin_dma(struct dma_thread *dma, int fd, void *addr, bool to_memory)
{
	*dma = (struct dma_thread){
		.fd = fd,
		.addr = addr,
		.to_memory = to_memory,
		.begun = seconds_now(),
	};
	if (pthread_create(&dma->thread, NULL, run_dma, dma))
		return false;
	do {
		sleep_ms(1);
	} while (!__atomic_load_n(&dma->ended, __ATOMIC_ACQUIRE) &&
		 !waits_killably(__atomic_load_n(&dma->tid, __ATOMIC_RELAXED)));
	return true;
}

enum interruption {
	DONTNEED,
	MUNMAP,
	MPROTECT,
	PAGEOUT,
	MREMAP,
	FORK,
	NR_INTERRUPTIONS,
};

static const char * const interruption_names[] = {
	"DONTNEED", "munmap", "mprotect", "PAGEOUT", "mremap", "fork",
};

/* Returns how long it took. */
static double interrupt_dma(enum interruption how, char *start)
{
	size_t page = page_size();
	double begun = seconds_now();
	char *elsewhere;

	switch (how) {
	case DONTNEED:
		madvise(start, page, MADV_DONTNEED);
		break;
	case MUNMAP:
		munmap(start, page);
		break;
	case MPROTECT:
		mprotect(start, page, PROT_READ);
		break;
	case PAGEOUT:
		madvise(start, page, MADV_PAGEOUT);
		break;
	case MREMAP:
		elsewhere = mmap(NULL, page, PROT_NONE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		mremap(start, page, page, MREMAP_MAYMOVE | MREMAP_FIXED,
		       elsewhere);
		break;
	case FORK:
		share_with_short_lived_child();
		break;
	default:
		break;
	}
	return seconds_now() - begun;
}

/*
 * Returns whether the invalidation took no longer than it had to, if that can be said. Memory
 * that is given back is filled by others: what the device writes must not come after.
 */
static bool interrupt_once(struct __test_metadata *_metadata, int fd,
			   enum interruption how)
{
	char *start = map_anonymous(1), *poison = map_anonymous(64);
	char *other = map_anonymous(1);
	const char *name = interruption_names[how];
	double alone, seconds, since_begun;
	struct dma_thread dma;

	ASSERT_NE(NULL, start);
	ASSERT_NE(NULL, other);
	ASSERT_NE(NULL, poison);
	/* With nothing that the device has */
	fill(other, LENGTH, 5);
	alone = interrupt_dma(how, other);
	fill(start, LENGTH, 5);
	/* Mapped, so that the DMA is all that there is to do. */
	ASSERT_EQ(0, to_memory(fd, start, LENGTH));
	ASSERT_TRUE(begin_dma(&dma, fd, start, true));
	seconds = interrupt_dma(how, start);
	since_begun = seconds_now() - dma.begun;
	fill(poison, 64 * page_size(), 6);
	pthread_join(dma.thread, NULL);
	EXPECT_EQ(0, dma.error) {
		TH_LOG("%s", name);
	}
	EXPECT_LE(DMA_WAITED, since_begun) {
		TH_LOG("%s: over %.0f ms after the DMA began", name,
		       since_begun * 1000);
	}
	sleep_ms(150);
	EXPECT_TRUE(is_filled(poison, 64 * page_size(), 6)) {
		TH_LOG("%s", name);
	}
	munmap(poison, 64 * page_size());
	if (dma.seconds > 2 * DMA_SECONDS || seconds < alone + 2 * DMA_SECONDS)
		return true;
	TH_LOG("%s took %.0f ms, alone %.0f ms, the DMA %.0f ms", name,
	       seconds * 1000, alone * 1000, dma.seconds * 1000);
	return false;
}

/*
 * Whoever takes a page from the process waits for the DMA that is at work on it, and no longer.
 * On a busy machine it may take longer, but not each time while the DMA is as fast as ever.
 */
TEST_F(edu, invalidation_waits)
{
	enum interruption how;

	for (how = 0; how < NR_INTERRUPTIONS; how++) {
		bool in_time = false;
		int tries;

		for (tries = 0; tries < 4 && !in_time; tries++)
			in_time = interrupt_once(_metadata, self->fd, how);
		EXPECT_TRUE(in_time) {
			TH_LOG("%s", interruption_names[how]);
		}
	}
}

/* Memory in another window is not held up. */
TEST_F(edu, other_window)
{
	char *start = map_anonymous_aligned(1, 4UL << 20);
	char *other = map_anonymous_aligned(1, 4UL << 20);
	int fd = open_edu();
	double best = 1;
	int i;

	ASSERT_LE(0, fd);
	ASSERT_NE(NULL, start);
	ASSERT_NE(NULL, other);
	fill(start, LENGTH, 7);
	EXPECT_EQ(0, to_memory(self->fd, start, LENGTH));
	for (i = 0; i < 3; i++) {
		struct dma_thread dma;
		double begun;

		/* Mapped for the device, too, by another file. */
		ASSERT_EQ(0, to_memory(fd, other, LENGTH));
		ASSERT_TRUE(begin_dma(&dma, self->fd, start, true));
		begun = seconds_now();
		madvise(other, page_size(), MADV_DONTNEED);
		if (seconds_now() - begun < best)
			best = seconds_now() - begun;
		pthread_join(dma.thread, NULL);
	}
	EXPECT_GT(0.02, best);
	close(fd);
}

/* --- Races --- */

/* "make dma" says how many DMAs a variant's races are to take together; 0: a few. */
static unsigned long wanted_dmas(void)
{
	const char *text = getenv("EDU_MIRROR_DMAS");

	return text ? strtoul(text, NULL, 10) : 0;
}

#define DISK		"/dev/vda"
#define DISK_DIRECTORY	"/tmp/edu_mirror"

/* A file on a disk, or -1. */
static int open_disk_file(void)
{
	mkdir(DISK_DIRECTORY, 0700);
	if (mount(DISK, DISK_DIRECTORY, "ext4", 0, NULL))
		return -1;
	return open(DISK_DIRECTORY "/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

static bool make_disk(void)
{
	return !access(DISK, F_OK) &&
	       !system("mke2fs -b 4096 " DISK " >/dev/null 2>&1");
}

#define RACE_PAGES	16
#define SOURCE_PAGE	2
#define TARGET_PAGE	9
#define POISON_PAGES	64
#define POISON		0xeb

struct race;

/**
 * struct race_kind - what the kernel does to memory while the device copies it
 * @name: for the table that "make dma" prints
 * @map: returns RACE_PAGES pages, or a huge page; NULL if there is no such memory
 * @act: does it, again and again
 * @huge: @map returns a huge page
 * @loses: what has been in memory may be gone afterwards, and zeros there
 * @processes: who copies
 */
struct race_kind {
	const char *name;
	void *(*map)(void);
	void (*act)(struct race *race);
	bool huge;
	bool loses;
	unsigned int processes;
};

/* What is counted where both processes see it */
struct tally {
	unsigned long dmas;
	unsigned long wrong; /* bytes */
	bool stop;
};

struct race {
	const struct race_kind *kind;
	char *start;
	size_t npages;
	unsigned int offset; /* in the device's buffer, for this process */
	struct tally *tally;
	pthread_mutex_t content; /* the CPU's turn: nothing is being taken away */
	unsigned long acts;
	unsigned int seed;
	char *poison;
	char *older_poison;
};

static void *map_private(void)
{
	char *start = map_anonymous(RACE_PAGES);

	if (start)
		mark_pages(start, RACE_PAGES, 1);
	return start;
}

static void *map_and_close(int fd)
{
	void *start = NULL;

	if (fd >= 0 && !ftruncate(fd, RACE_PAGES * page_size()))
		start = map_file(fd, RACE_PAGES, PROT_READ | PROT_WRITE,
				 MAP_SHARED);
	close(fd);
	return start;
}

static void *map_tmpfs(void)
{
	return map_and_close(make_memfd(RACE_PAGES));
}

static void *map_disk(void)
{
	return make_disk() ? map_and_close(open_disk_file()) : NULL;
}

static void *map_one_huge(void)
{
	if (!have_huge_pages())
		return NULL;
	make_room_for_huge_pages();
	return map_huge(1);
}

static void act_pageout(struct race *race)
{
	madvise(race->start, race->npages * page_size(), MADV_PAGEOUT);
}

static void act_huge_pageout(struct race *race)
{
	act_pageout(race);
	/* In one piece again; what nobody uses need not be read in for that. */
	madvise(page_at(race->start, RACE_PAGES),
		(race->npages - RACE_PAGES) * page_size(), MADV_DONTNEED);
	madvise(race->start, race->npages * page_size(), MADV_COLLAPSE);
}

static void act_write_out(struct race *race)
{
	msync(race->start, race->npages * page_size(), MS_SYNC);
	act_pageout(race);
}

static void act_protect(struct race *race)
{
	size_t length = race->npages * page_size();

	mprotect(race->start, length, PROT_READ);
	mprotect(race->start, length, PROT_READ | PROT_WRITE);
}

static void act_fork(struct race *race)
{
	(void)race;
	share_with_short_lived_child();
}

static void act_dontneed(struct race *race)
{
	madvise(race->start, race->npages * page_size(), MADV_DONTNEED);
}

static void act_munmap(struct race *race)
{
	size_t length = race->npages * page_size();

	munmap(race->start, length);
	sleep_ms(1);
	mmap(race->start, length, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	madvise(race->start, length, MADV_NOHUGEPAGE);
}

static void act_mremap(struct race *race)
{
	size_t length = race->npages * page_size();
	void *other = mmap(NULL, length, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mremap(race->start, length, length, MREMAP_MAYMOVE | MREMAP_FIXED,
	       other);
	sleep_ms(1);
	mremap(other, length, length, MREMAP_MAYMOVE | MREMAP_FIXED,
	       race->start);
}

/* It moves pages to the end of a node's memory, where they stay: others have to come. */
static void act_compact(struct race *race)
{
	unsigned int i, node = race->acts / 2 % 2;
	int nodes[RACE_PAGES], status[RACE_PAGES];
	void *pages[RACE_PAGES];
	char path[64];

	for (i = 0; i < RACE_PAGES; i++) {
		pages[i] = page_at(race->start, i);
		nodes[i] = node;
	}
	if (race->acts % 2 == 0)
		syscall(__NR_move_pages, 0, RACE_PAGES, pages, nodes, status, 2);
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/compact",
		 node);
	write_text(path, "1");
}

static void act_collapse(struct race *race)
{
	madvise(race->start, race->npages * page_size(), MADV_COLLAPSE);
	/* And apart again: a border in the middle of it. */
	mprotect(page_at(race->start, 7), page_size(), PROT_READ);
	mprotect(page_at(race->start, 7), page_size(), PROT_READ | PROT_WRITE);
}

#define RACE(name_, map_, act_, ...) \
	{ .name = name_, .map = map_, .act = act_, __VA_ARGS__ }

static const struct race_kind race_kinds[] = {
	RACE("pageout", map_private, act_pageout),
	RACE("pageout of a huge page", map_one_huge, act_huge_pageout,
	     .huge = true),
	RACE("pageout of tmpfs", map_tmpfs, act_pageout),
	RACE("file on a disk", map_disk, act_write_out),
	RACE("mprotect", map_private, act_protect),
	RACE("fork", map_private, act_fork),
	RACE("MADV_DONTNEED", map_private, act_dontneed, .loses = true),
	RACE("munmap", map_private, act_munmap, .loses = true),
	RACE("mremap", map_private, act_mremap),
	RACE("compaction", map_private, act_compact),
	RACE("collapse and split", map_one_huge, act_collapse, .huge = true),
	RACE("two processes", map_tmpfs, act_pageout, .processes = 2),
};

/* How many bytes are neither what was copied nor, where that can be, all zero. */
static unsigned long wrong_bytes(const char *found, const char *expected,
				 bool or_zeros)
{
	unsigned long wrong = 0, not_zero = 0;
	size_t i;

	for (i = 0; i < LENGTH; i++) {
		wrong += found[i] != expected[i];
		not_zero += !!found[i];
	}
	return or_zeros && !not_zero ? 0 : wrong;
}

static size_t not_poison(const char *start, size_t length)
{
	size_t i, wrong = 0;

	if ((unsigned char)start[0] == POISON &&
	    !memcmp(start, start + 1, length - 1))
		return 0;
	for (i = 0; i < length; i++)
		wrong += (unsigned char)start[i] != POISON;
	return wrong;
}

static void count_wrong(struct race *race, unsigned long bytes)
{
	__atomic_add_fetch(&race->tally->wrong, bytes, __ATOMIC_RELAXED);
}

/*
 * Pages that have been freed belong to others soon. Who writes there too late is found out,
 * and so is who reads.
 */
static void poison_free_pages(struct race *race)
{
	size_t length = POISON_PAGES * page_size();

	if (race->older_poison) {
		count_wrong(race, not_poison(race->older_poison, length));
		munmap(race->older_poison, length);
	}
	race->older_poison = race->poison;
	race->poison = mmap(NULL, length, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (race->poison == MAP_FAILED)
		race->poison = NULL;
	else
		memset(race->poison, POISON, length);
}

static void *run_race(void *argument)
{
	struct race *race = argument;

	while (!__atomic_load_n(&race->tally->stop, __ATOMIC_RELAXED)) {
		pthread_mutex_lock(&race->content);
		race->kind->act(race);
		pthread_mutex_unlock(&race->content);
		race->acts++;
		poison_free_pages(race);
		/* In the long form at any time of a DMA, and when there is none */
		sleep_ms(1 + rand_r(&race->seed) % (wanted_dmas() ? 120 : 20));
	}
	return NULL;
}

/* A copy that succeeds: memory may be read-only, or not there, for a moment. */
static int copy_at_last(struct race *race, int fd, void *addr, bool to_memory)
{
	int error;

	do {
		error = copy(fd, addr, LENGTH, race->offset, to_memory);
	} while (error == EPERM || error == EFAULT);
	if (!error)
		__atomic_add_fetch(&race->tally->dmas, 1, __ATOMIC_RELAXED);
	return error;
}

/*
 * From @source to the device and on to @target, both of which are raced for. What the process
 * knows of the content it writes and reads when nothing is taken away. Returns an errno.
 */
static int race_round(struct race *race, int fd, char *source, char *target,
		      unsigned int seed)
{
	char expected[LENGTH], found[LENGTH];
	int error;

	fill(expected, LENGTH, seed);
	pthread_mutex_lock(&race->content);
	memcpy(source, expected, LENGTH);
	pthread_mutex_unlock(&race->content);
	error = copy_at_last(race, fd, source, false);
	if (!error)
		error = copy_at_last(race, fd, target, true);
	if (error)
		return error;
	pthread_mutex_lock(&race->content);
	memcpy(found, target, LENGTH);
	pthread_mutex_unlock(&race->content);
	count_wrong(race, wrong_bytes(found, expected, race->kind->loses));
	if (!race->kind->loses)
		return 0;
	/* What is zero may have been lost at either end. Nobody races for this. */
	memset(found, POISON, LENGTH);
	error = copy(fd, found, LENGTH, race->offset, true);
	count_wrong(race, wrong_bytes(found, expected, true));
	return error;
}

/* The other process: the same, beside the first one's, until that has finished. */
static void race_in_child(struct race *race)
{
	unsigned int seed = 1 << 20;
	int fd = open_edu();

	race->offset = EDU_MIRROR_MAX_LENGTH;
	while (!__atomic_load_n(&race->tally->stop, __ATOMIC_RELAXED)) {
		if (race_round(race, fd, page_at(race->start, SOURCE_PAGE + 2),
			       page_at(race->start, TARGET_PAGE + 2), seed++))
			_exit(1);
		race->kind->act(race);
	}
	_exit(0);
}

#define TRACING		"/sys/kernel/tracing/"
#define MAX_WAITERS	256
#define WAIT_SECONDS	0.005 /* what nobody takes who need not wait */

/* Has the calls of edu_wait() noted. */
static bool watch_waits(void)
{
	return write_text(TRACING "buffer_size_kb", "16384") &&
	       write_text(TRACING "kprobe_events",
			  "p:edu/wait edu_mirror:edu_wait\n"
			  "r:edu/waited edu_mirror:edu_wait\n") &&
	       write_text(TRACING "events/edu/enable", "1");
}

static void unwatch_waits(void)
{
	write_text(TRACING "events/edu/enable", "0");
	write_text(TRACING "kprobe_events", "");
}

/* How many calls of edu_wait() since the last time have had to wait for the device. */
static unsigned long take_waits(void)
{
	FILE *file = fopen(TRACING "trace", "r");
	double begun[MAX_WAITERS] = {};
	unsigned long waits = 0;
	char line[512];

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file)) {
		char name[32], *cpu = strstr(line, " [0");
		unsigned int waiter;
		double when;
		char *pid;

		if (!cpu || sscanf(cpu, " [%*u] %*s %lf: %31[^:]:", &when,
				   name) != 2)
			continue;
		*cpu = '\0';
		pid = strrchr(line, '-');
		waiter = pid ? strtoul(pid + 1, NULL, 10) % MAX_WAITERS : 0;
		if (!strcmp(name, "wait"))
			begun[waiter] = when;
		else
			waits += when - begun[waiter] > WAIT_SECONDS;
	}
	fclose(file);
	write_text(TRACING "trace", "");
	return waits;
}

/* False if there is no such memory here. */
static bool begin_race(struct race *race, const struct race_kind *kind,
		       pthread_t *thread, pid_t *child)
{
	*race = (struct race){
		.kind = kind,
		.npages = kind->huge ? pages_per_pmd() : RACE_PAGES,
		.content = PTHREAD_MUTEX_INITIALIZER,
		.tally = mmap(NULL, page_size(), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0),
	};
	race->start = kind->map();
	if (!race->start)
		return false;
	*child = kind->processes == 2 ? fork() : 0;
	if (kind->processes == 2 && !*child)
		race_in_child(race);
	return !pthread_create(thread, NULL, run_race, race);
}

static void end_race(struct __test_metadata *_metadata, struct race *race,
		     pthread_t thread, pid_t child)
{
	int status = -1;

	__atomic_store_n(&race->tally->stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	if (child) {
		EXPECT_EQ(child, waitpid(child, &status, 0));
		EXPECT_EQ(0, status);
	}
	/* What is still to come */
	poison_free_pages(race);
	poison_free_pages(race);
	munmap(race->start, race->npages * page_size());
	if (race->kind->map == map_disk)
		EXPECT_EQ(0, umount(DISK_DIRECTORY));
}

/*
 * Each of them in both directions. The long form, "make dma", has many DMAs and says how many
 * invalidations have come in the middle of one: there a DMA takes no time that anybody waits
 * for, and one processor can be patched without harm (stale_breakpoint.awk).
 */
TEST_F_TIMEOUT(edu, races, 1000000)
{
	unsigned long dmas = wanted_dmas();
	unsigned long wanted = dmas ? 1 + dmas / ARRAY_SIZE(race_kinds) : 6;
	size_t i;

	if (!dmas)
		alarm(TEST_TIMEOUT_DEFAULT);
	else
		ASSERT_TRUE(watch_waits());
	for (i = 0; i < ARRAY_SIZE(race_kinds); i++) {
		const struct race_kind *kind = &race_kinds[i];
		/* Of a huge page more than one is mapped at a time. */
		size_t offset = kind->huge ? page_size() - LENGTH / 2 : 100;
		unsigned int seed = 100000 * i;
		unsigned long waits;
		pthread_t thread;
		struct race race;
		pid_t child;

		if (!begin_race(&race, kind, &thread, &child)) {
			/* The long form is of all of them. */
			EXPECT_EQ(0, dmas);
			EXPECT_TRUE(kind->map == map_disk ||
				    (kind->huge && !have_huge_pages()));
			printf("# race %s: %s: there is no such memory here\n",
			       variant->name, kind->name);
			continue;
		}
		while (__atomic_load_n(&race.tally->dmas, __ATOMIC_RELAXED) <
		       wanted) {
			int error = race_round(&race, self->fd,
					       page_at(race.start, SOURCE_PAGE),
					       page_at(race.start, TARGET_PAGE) +
					       offset, seed++);

			ASSERT_EQ(0, error) {
				TH_LOG("%s: %s", kind->name, strerror(error));
			}
		}
		end_race(_metadata, &race, thread, child);
		EXPECT_EQ(0, race.tally->wrong) {
			TH_LOG("%s", kind->name);
		}
		EXPECT_LT(0, race.acts);
		if (!dmas)
			continue;
		waits = take_waits();
		EXPECT_LT(0, waits) {
			TH_LOG("%s", kind->name);
		}
		printf("# race %-6s  %-22s  %5lu DMAs  %5lu invalidations waited  %lu bytes wrong\n",
		       variant->name, kind->name, race.tally->dmas, waits,
		       race.tally->wrong);
		fflush(stdout);
	}
	if (dmas)
		unwatch_waits();
}

/* Pages of a file on a disk: what the device has written is there after all caches are gone. */
TEST_F(edu, disk_file)
{
	char written[LENGTH], read_back[LENGTH] = "";
	char *start;
	int file;

	if (!make_disk())
		SKIP(return, "there is no virtio disk, or no mke2fs");
	file = open_disk_file();
	if (file < 0)
		SKIP(return, "no ext4");
	ASSERT_EQ(0, ftruncate(file, 16 * page_size()));
	start = map_file(file, 16, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_NE(NULL, start);

	/* With nothing but a clean page in its way, and no write by the CPU */
	fill(written, LENGTH, 31);
	mark_pages(start, 16, 1);
	EXPECT_EQ(0, to_device(self->fd, written, LENGTH));
	EXPECT_EQ(0, msync(start, 16 * page_size(), MS_SYNC));
	EXPECT_EQ(0, to_memory(self->fd, page_at(start, 5), LENGTH));
	EXPECT_EQ(0, munmap(start, 16 * page_size()));
	close(file);
	EXPECT_EQ(0, umount(DISK_DIRECTORY));
	file = open_disk_file();
	ASSERT_LE(0, file);
	EXPECT_EQ(LENGTH, pread(file, read_back, LENGTH, 5 * page_size()));
	EXPECT_EQ(0, memcmp(written, read_back, LENGTH));
	close(file);
	EXPECT_EQ(0, umount(DISK_DIRECTORY));
	rmdir(DISK_DIRECTORY);
}

/*
 * The device writes to a page whose entry is writable and clean: it has been swapped in for
 * reading, and the swap still has it. Nothing but the mark that unmapping leaves has it
 * written out again. zram would not do: it forgets what is read.
 */
TEST_F(edu, dirty)
{
	char *start = map_anonymous(4);
	size_t i;

	if (access(DISK, F_OK))
		SKIP(return, "there is no virtio disk to swap to");
	ASSERT_NE(NULL, start);
	ASSERT_EQ(0, system("mkswap " DISK " >/dev/null"));
	ASSERT_EQ(0, swapon(DISK, SWAP_FLAG_PREFER | 100));
	for (i = 0; i < 4; i++)
		fill(page_at(start, i), page_size(), 20 + i);
	EXPECT_EQ(0, to_device(self->fd, page_at(start, 3), LENGTH));
	ASSERT_TRUE(swap_out(start, 4));
	for (i = 0; i < 3; i++) {
		touch_page(page_at(start, i));
		EXPECT_EQ(0, to_memory(self->fd, page_at(start, i), LENGTH));
	}
	ASSERT_TRUE(swap_out(start, 4));
	for (i = 0; i < 3; i++) {
		EXPECT_TRUE(is_filled(page_at(start, i), LENGTH, 23)) {
			TH_LOG("what the device wrote to page %zu is lost", i);
		}
	}
	EXPECT_EQ(0, swapoff(DISK));
}

/* Unplugged in the middle of a DMA, with files open. */
TEST_F(edu, unbind)
{
	char *start = map_anonymous(1);
	struct hmm_mirror_stats stats;
	struct dma_thread dma;
	int fd;

	ASSERT_NE(NULL, start);
	fill(start, LENGTH, 8);
	EXPECT_EQ(0, to_device(self->fd, start, LENGTH));
	ASSERT_TRUE(begin_dma(&dma, self->fd, start, false));
	ASSERT_TRUE(unbind_device());
	stats = stats_now();
	EXPECT_EQ(stats.dma_maps - self->before.dma_maps,
		  stats.dma_unmaps - self->before.dma_unmaps);
	pthread_join(dma.thread, NULL);
	EXPECT_EQ(0, dma.error);
	EXPECT_EQ(ENODEV, to_device(self->fd, start, LENGTH));
	/* A window that would have to be opened */
	EXPECT_EQ(ENODEV, to_device(self->fd, &dma, 8));
	EXPECT_EQ(-1, open_edu());
	ASSERT_TRUE(bind_device());
	EXPECT_EQ(ENODEV, to_device(self->fd, start, LENGTH));
	fd = open_edu();
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, to_device(fd, start, LENGTH));
	EXPECT_EQ(0, madvise(start, page_size(), MADV_DONTNEED));
	EXPECT_EQ(0, to_memory(fd, start, LENGTH));
	EXPECT_TRUE(is_filled(start, LENGTH, 8));
	close(fd);
}

enum ending {
	KILLED,
	EXITS,
	EXECUTES,
	NR_ENDINGS,
};

static const char * const ending_names[] = { "SIGKILL", "exit", "execve" };

/* A child that ends while the device writes to its memory, or waits to be killed. */
static void end_during_dma(enum ending how, volatile double *begun)
{
	char *start = map_anonymous(1);
	int fd = open_edu();
	struct dma_thread dma;

	fill(start, LENGTH, 9);
	if (to_memory(fd, start, LENGTH) || !begin_dma(&dma, fd, start, true))
		_exit(1);
	*begun = dma.begun;
	if (how == EXITS)
		_exit(0);
	if (how == EXECUTES)
		execl("/bin/true", "true", NULL);
	for (;;)
		to_memory(fd, start, LENGTH);
}

/*
 * A process ends in the middle of its DMA: killed, by itself, or with another program. Its
 * memory, which is then that of others, it keeps until the device is done.
 */
TEST_F(edu, process_ends)
{
	volatile double *begun = mmap(NULL, page_size(), PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct hmm_mirror_stats stats;
	enum ending how;

	ASSERT_NE(MAP_FAILED, (void *)begun);
	/* What a processor has freed it gives away first. */
	ASSERT_TRUE(pin_to_cpu(0));
	for (how = 0; how < NR_ENDINGS; how++) {
		size_t length = 256 * page_size();
		char *poison = map_anonymous(256);
		int status = -1;
		double seconds;
		pid_t child;

		ASSERT_NE(NULL, poison);
		*begun = 0;
		child = fork();
		ASSERT_LE(0, child);
		if (!child)
			end_during_dma(how, begun);
		if (how == KILLED) {
			while (!*begun && !waitpid(child, &status, WNOHANG))
				sleep_ms(1);
			kill(child, SIGKILL);
		}
		waitpid(child, &status, 0);
		seconds = seconds_now() - *begun;
		memset(poison, POISON, length);
		EXPECT_EQ(how == KILLED ? SIGKILL : 0, status) {
			TH_LOG("%s", ending_names[how]);
		}
		ASSERT_LT(0, *begun);
		EXPECT_LE(DMA_WAITED, seconds) {
			TH_LOG("%s: ended %.0f ms after the DMA began",
			       ending_names[how], seconds * 1000);
		}
		/* The driver gives a device that says nothing ten seconds. */
		EXPECT_GT(5, seconds) {
			TH_LOG("%s", ending_names[how]);
		}
		sleep_ms(150);
		EXPECT_EQ(0, not_poison(poison, length)) {
			TH_LOG("%s", ending_names[how]);
		}
		munmap(poison, length);
	}
	sleep_ms(300);
	stats = stats_now();
	EXPECT_EQ(stats.dma_maps - self->before.dma_maps,
		  stats.dma_unmaps - self->before.dma_unmaps);
}

/* Of children that are killed in the middle of their DMA; with the file that they have */
static void *copy_for_ever(void *argument)
{
	struct dma_thread *dma = argument;

	for (;;)
		to_memory(dma->fd, dma->addr, LENGTH);
	return NULL;
}

/*
 * Killed for want of memory: what it had is with others at once, and the device still at work
 * on it, or not at all.
 */
TEST_F(edu, killed_by_oom)
{
	size_t limit = 8UL << 20, poison_length = 12UL << 20;
	struct hmm_mirror_stats stats;
	char *poison;
	int status = -1;
	pid_t child;

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		size_t npages = limit / page_size();
		struct dma_thread dma = {
			.fd = open_edu(),
			.addr = map_anonymous(2 * npages),
		};

		if (!enter_memory_cgroup("memory.max", limit))
			_exit(2);
		/* Not to swap */
		write_text(MEMORY_CGROUP "/memory.swap.max", "0");
		mark_pages(dma.addr, npages / 2, 1);
		/* Mapped, so that the DMA begins at once. */
		if (to_memory(dma.fd, dma.addr, LENGTH) ||
		    pthread_create(&dma.thread, NULL, copy_for_ever, &dma))
			_exit(1);
		sleep_ms(30);
		mark_pages(dma.addr, 2 * npages, 1);
		_exit(3);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	poison = mmap(NULL, poison_length, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)poison);
	memset(poison, POISON, poison_length);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
		SKIP(return, "no cgroup2 with a memory controller");
	/* Nobody else kills it. */
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
		TH_LOG("status %#x", status);
	}
	leave_memory_cgroup();
	sleep_ms(300);
	EXPECT_EQ(0, not_poison(poison, poison_length));
	munmap(poison, poison_length);
	stats = stats_now();
	EXPECT_EQ(stats.dma_maps - self->before.dma_maps,
		  stats.dma_unmaps - self->before.dma_unmaps);
}

#define MODULE		"edu_mirror"
#define MODULE_FILE	"/modules/edu_mirror.ko"

static int remove_module(void)
{
	return syscall(__NR_delete_module, MODULE, O_NONBLOCK) ? errno : 0;
}

static int load_module(void)
{
	int fd = open(MODULE_FILE, O_RDONLY | O_CLOEXEC);
	int error = syscall(__NR_finit_module, fd, "", 0) ? errno : 0;

	close(fd);
	return error;
}

/* The module stays as long as a file is open, in the middle of a DMA or not, and no longer. */
TEST(rmmod)
{
	struct hmm_mirror_stats before, after;
	char *start = map_anonymous(1);
	struct dma_thread dma;
	pid_t child;
	int fd;

	if (!find_device())
		SKIP(return, "QEMU has no edu (boot.sh)");
	if (access(MODULE_FILE, F_OK))
		SKIP(return, "there is no " MODULE_FILE);
	ASSERT_TRUE(set_translation("DMA-FQ"));
	fd = open_edu();
	ASSERT_LE(0, fd);
	ASSERT_NE(NULL, start);
	fill(start, LENGTH, 41);
	before = stats_now();
	EXPECT_EQ(EAGAIN, remove_module());
	EXPECT_EQ(0, to_device(fd, start, LENGTH));
	ASSERT_TRUE(begin_dma(&dma, fd, start, true));
	EXPECT_EQ(EAGAIN, remove_module());
	pthread_join(dma.thread, NULL);
	EXPECT_EQ(0, dma.error);
	EXPECT_TRUE(is_filled(start, LENGTH, 41));

	/* In the middle of one the file is closed by the kernel. */
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		close(fd);
		dma = (struct dma_thread){ .fd = open_edu(), .addr = start };
		copy_for_ever(&dma);
	}
	close(fd);
	sleep_ms(250);
	EXPECT_EQ(EAGAIN, remove_module());
	kill_and_wait(child);
	EXPECT_EQ(0, remove_module());
	after = stats_now();
	EXPECT_LE(2, after.dma_maps - before.dma_maps);
	EXPECT_EQ(after.dma_maps - before.dma_maps,
		  after.dma_unmaps - before.dma_unmaps);
	EXPECT_EQ(-1, open_edu());
	ASSERT_EQ(0, load_module());
	fd = open_edu();
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, to_device(fd, start, LENGTH));
	close(fd);
	EXPECT_EQ(0, remove_module());
	after = stats_now();
	EXPECT_EQ(after.dma_maps - before.dma_maps,
		  after.dma_unmaps - before.dma_unmaps);
	ASSERT_EQ(0, load_module());
}

/* --- Without an IOMMU, and with other devices --- */

/* Whether the device, with its 28 bits, does not reach a page. */
static bool is_beyond(void *page)
{
	return pagemap_entry(page) & PAGEMAP_PFN_MASK & ~0xffffUL;
}

/* New pages. What has been tried stays: there is no more than that within reach. */
static char *map_beyond(size_t npages)
{
	size_t chunk = 4096;
	unsigned int tries;

	for (tries = 0; tries < 32; tries++) {
		char *start = map_anonymous(chunk);

		if (!start)
			return NULL;
		mark_pages(start, chunk, 1);
		if (is_beyond(start) && is_beyond(page_at(start, npages - 1)))
			return start;
	}
	return NULL;
}

/* Without translation the device does not reach most memory: refused, without a word. */
TEST(out_of_reach)
{
	size_t i, refused = 0, beyond = 0;
	char *start;
	int fd;

	if (!find_device())
		SKIP(return, "QEMU has no edu (boot.sh)");
	start = map_beyond(64);
	ASSERT_NE(NULL, start);
	if (!set_translation("identity")) {
		EXPECT_TRUE(set_translation("DMA-FQ"));
		SKIP(return, "this IOMMU cannot do without translation");
	}
	fd = open_edu();
	ASSERT_LE(0, fd);
	for (i = 0; i < 64; i++) {
		if (!is_beyond(page_at(start, i)))
			continue;
		beyond++;
		refused += to_device(fd, page_at(start, i), 8) == EOPNOTSUPP;
	}
	EXPECT_LT(0, beyond);
	EXPECT_EQ(beyond, refused);
	close(fd);
	EXPECT_TRUE(set_translation("DMA-FQ"));
}

/* Lines of the kernel's log since it was opened that are about DMA */
static size_t log_lines(int log)
{
	char line[8192];
	size_t lines = 0;
	ssize_t length;

	while ((length = read(log, line, sizeof(line) - 1)) > 0 ||
	       (length < 0 && errno == EPIPE)) {
		if (length < 0)
			continue;
		line[length] = '\0';
		if (strcasestr(line, "swiotlb") || strcasestr(line, "dma") ||
		    strcasestr(line, "edu"))
			lines++;
	}
	return lines;
}

static int open_log(void)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	lseek(log, 0, SEEK_END);
	return log;
}

/*
 * The kernel would copy what the device reads and writes: nobody would know when. It is
 * refused, before the device has done anything, and not a word is said.
 */
TEST(bounce_buffers)
{
	char *start = map_anonymous(8);
	struct hmm_mirror_stats before, after;
	double begun;
	size_t i;
	int fd, log;

	if (!file_has_word("/proc/cmdline", "swiotlb=force"))
		SKIP(return, "a machine without bounce buffers (make dma has one)");
	ASSERT_TRUE(find_device());
	ASSERT_NE(NULL, start);
	mark_pages(start, 4, 42);
	fd = open_edu();
	if (fd < 0 && cannot_do_dma())
		SKIP(return, NO_LOW_MEMORY);
	ASSERT_LE(0, fd);
	log = open_log();
	ASSERT_LE(0, log);
	before = stats_now();
	begun = seconds_now();
	for (i = 0; i < 100; i++) {
		char *page = page_at(start, i % 8);

		EXPECT_EQ(EOPNOTSUPP, copy(fd, page, LENGTH, 0, i / 8 % 2));
	}
	EXPECT_EQ(EOPNOTSUPP, (set_region(fd, start, 8),
			       to_memory(fd, start, LENGTH)));
	EXPECT_GT(DMA_SECONDS, seconds_now() - begun);
	EXPECT_TRUE(pages_are_marked(start, 4, 42));
	after = stats_now();
	EXPECT_EQ(before.dma_maps, after.dma_maps);
	EXPECT_EQ(0, log_lines(log));
	close(log);
	close(fd);
}

/*
 * The device copies from and to another device's memory, that of an NVMe device: on the bus if
 * both are below one switch, and otherwise by way of the host bridge, or not at all if the
 * kernel does not trust that. QEMU's IOMMU translates what on a real bus would never come to
 * it: for neighbours this takes a machine without one. "make dma" has such a machine, and one
 * whose host bridge is trusted.
 */
TEST(peer_to_peer)
{
	char *start, *target;
	char peer[PCI_NAME_LENGTH];
	int fd, file = open_peer_memory(peer);
	bool neighbours;

	if (file < 0)
		SKIP(return, "no PCI device has memory to share (CONFIG_PCI_P2PDMA, and NVMe with cmb_size_mb)");
	ASSERT_TRUE(find_device());
	start = mmap(NULL, 4 * page_size(), PROT_READ | PROT_WRITE, MAP_SHARED,
		     file, 0);
	ASSERT_NE(MAP_FAILED, (void *)start);
	target = page_at(start, 2) + 8;
	fill(start, LENGTH, 51);
	memset(page_at(start, 1), 0, 3 * page_size());
	fd = open_edu();
	if (fd < 0 && cannot_do_dma())
		SKIP(return, NO_LOW_MEMORY);
	ASSERT_LE(0, fd);
	neighbours = are_neighbours(pci_name, peer);
	if (!neighbours && !host_bridge_is_trusted()) {
		TH_LOG("the device is not let try");
		EXPECT_EQ(EOPNOTSUPP, to_device(fd, start, LENGTH));
		EXPECT_EQ(EOPNOTSUPP, to_memory(fd, target, LENGTH));
		EXPECT_EQ(0, target[0]);
		goto out;
	}
	TH_LOG("%s", neighbours ? "on the bus" : "through the host bridge");
	EXPECT_EQ(0, to_device(fd, start, LENGTH));
	EXPECT_EQ(0, to_memory(fd, target, LENGTH));
	EXPECT_TRUE(is_filled(target, LENGTH, 51));
	EXPECT_EQ(0, target[-1]);
	EXPECT_EQ(0, target[LENGTH]);
	/* It is written by the CPU as well, and goes away. */
	fill(start, LENGTH, 52);
	EXPECT_EQ(0, to_device(fd, start, LENGTH));
	EXPECT_EQ(0, munmap(start, page_size()));
	EXPECT_EQ(EFAULT, to_memory(fd, start, LENGTH));
	EXPECT_EQ(0, to_memory(fd, target, LENGTH));
	EXPECT_TRUE(is_filled(target, LENGTH, 52));
out:
	close(fd);
	close(file);
}

TEST_HARNESS_MAIN
