// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror against the kernel's own hmm_range_fault(): random requests on
 * random address spaces, each answered by both on the same page tables.
 * differential_test/differential_test.c explains how the two are compared; this
 * program builds the address spaces (kinds.c, layout.c), makes up the requests
 * (requests.c), has them answered (calls.c), and judges (judge.c, tally.c).
 *
 *	differential [--seed NUMBER] [--cases NUMBER] [--failures NUMBER]
 *		     [--no-shrink] [OPTION...]
 *
 * It stops after this many cases (10000), or failures (5). For a failure it prints
 * "--seed S --case C", with which that can be repeated. Every layout of mappings has
 * a seed of its own, which follows from the first one, and serves CASES_PER_LAYOUT
 * cases. A case that fails while the kernel compacts memory is repeated, see
 * passes_again().
 *
 * The only differences that are allowed are those that hmm_mirror makes on purpose.
 * Each has a counter (enum allowed), each is allowed only for pages that were built
 * to be of that kind, and all counters are printed.
 */
#include <linux/hmm_mirror.h>
#include <linux/mempolicy.h>
#include <pthread.h>

#include "calls.h"
#include "harness.h"
#include "judge.h"
#include "layout.h"
#include "memory.h"
#include "random.h"
#include "tally.h"

#define CASES_PER_LAYOUT	250
#define MAX_REPEATS	3
#define CASES_PER_REPEAT	500

/*
 * Rebuilds the layout of case @number, repeats the cases before it in that layout, and
 * tries @npages of it from @skip on. True if it fails.
 */
static bool fails(uint64_t seed, uint64_t number, long skip, long npages,
		  struct test_case *test)
{
	static struct test_case earlier;
	uint64_t i, first = number - number % CASES_PER_LAYOUT;

	build_layout(seed, number / CASES_PER_LAYOUT);
	for (i = first; i < number; i++) {
		choose_case(&earlier, seed, i);
		try_case(&earlier);
	}
	choose_case(test, seed, number);
	if (npages) {
		test->first += skip;
		test->npages = npages;
		memmove(test->words, test->words + skip,
			npages * sizeof(test->words[0]));
	}
	return !try_case(test);
}

/*
 * Whether a case that failed passes when it is repeated. A request is judged by what is
 * there before and after it; if the kernel moves a page in the meantime, because a huge
 * one is wanted and there is none, this says nothing. A failure counts if compaction has
 * taken no page since the layout was built.
 */
static bool passes_again(uint64_t seed, uint64_t number)
{
	static struct test_case test;
	unsigned int tries;

	counting = false;
	for (tries = 0; tries < MAX_REPEATS; tries++) {
		if (vmstat_value("compact_isolated") == layout.compacted)
			return false;
		nr_repeated++;
		if (!fails(seed, number, 0, 0, &test))
			return true;
	}
	return false;
}

static void shrink(uint64_t seed, uint64_t number, long npages)
{
	static struct test_case test;
	long skip = 0, step;
	unsigned int tries = 0;
	long i;

	counting = false;
	if (!fails(seed, number, 0, 0, &test)) {
		printf("# it does not fail again when it is repeated\n");
		return;
	}
	for (step = npages / 2; step && tries < 60; step /= 2) {
		while (npages > step && tries++ < 60) {
			if (fails(seed, number, skip, npages - step, &test)) {
				npages -= step;
			} else if (fails(seed, number, skip + step,
					 npages - step, &test)) {
				skip += step;
				npages -= step;
			} else {
				break;
			}
		}
	}
	if (!fails(seed, number, skip, npages, &test)) {
		printf("# shrunk to %ld pages it fails only sometimes\n", npages);
		return;
	}
	printf("# smallest range that fails: pages %ld to %ld of the arena, function %u, default_flags %#llx, mask %#llx\n",
	       test.first, test.first + test.npages - 1, test.function,
	       (unsigned long long)test.default_flags,
	       (unsigned long long)test.mask);
	printf("#   %s\n", reason);
	for (i = 0; i < test.npages && i < 16; i++)
		printf("#   page %ld: %s, asked for %s\n", i,
		       info_at(test.first + i)->name,
		       asked_to_write(asked(&test, i)) ? "writing" :
		       asked_at_all(asked(&test, i)) ? "reading" : "nothing");
}

static uint64_t seed_option = 1;
static uint64_t cases_option = 10000;
static int64_t case_option = -1;
static unsigned int failures_option = 5;
static bool shrink_option = true;

#define PRINTK_BURST	"/proc/sys/kernel/printk_ratelimit_burst"

FIXTURE(differential)
{
	int unused;
};

FIXTURE_SETUP(differential)
{
	int error = open_device();

	self->unused = 0;
	if (error == EOPNOTSUPP)
		SKIP(return, "this kernel has no hmm_range_fault() (CONFIG_HMM_MIRROR) to compare with");
	ASSERT_EQ(EFAULT, error);
	/*
	 * With CONFIG_DEBUG_VM the kernel prints every fault that would wait for a
	 * userfaultfd, with its stack; this takes longer than everything else here.
	 */
	write_text(PRINTK_BURST, "0");
}

FIXTURE_TEARDOWN(differential)
{
	write_text(PRINTK_BURST, "10");
	close_device();
}

/*
 * Whether pages of every available kind have been asked for everything, and entries of
 * those kinds that can change have been changed because of a page that is not their
 * first. Not demanded of an entry that is kept for all layouts: whether it is read-only
 * at times is up to the kernel.
 */
static bool is_covered(bool say)
{
	bool covered = true;
	size_t i, j;

	for (i = 0; i < NR_KINDS; i++) {
		if (kinds[i].build && !built[i])
			continue;
		if (kinds[i].flags & GROWS && !(kinds[i].flags & KEEP) &&
		    !changed_entries[i]) {
			covered = false;
			if (say)
				printf("# no entry of '%s' was changed for a page behind its first\n",
				       kinds[i].name);
		}
		for (j = 0; j < NR_COLUMNS; j++) {
			if (coverage[i][j])
				continue;
			covered = false;
			if (say)
				printf("# no page '%s' was asked for '%s'\n",
				       kinds[i].name, column_names[j]);
		}
	}
	return covered;
}

/* If there are many kinds, some are rare: as many cases again, once. */
static bool take_more(uint64_t begin, uint64_t *end)
{
	uint64_t cases = *end - begin;

	if (cases != cases_option || cases < 5000 || is_covered(false))
		return false;
	printf("# not everything has been asked for yet: %llu more cases\n",
	       (unsigned long long)cases);
	*end += cases;
	return true;
}

TEST_F_TIMEOUT(differential, random, 590)
{
	static struct test_case test;
	uint64_t number, begin = 0, end = cases_option;
	unsigned int failures = 0;

	ASSERT_TRUE(open_resources());
	probe_kinds();
	printf("# --seed %llu --cases %llu\n", (unsigned long long)seed_option,
	       (unsigned long long)cases_option);
	if (case_option >= 0) {
		end = case_option + 1;
		begin = case_option - case_option % CASES_PER_LAYOUT;
	}

	counting = true;
	number = begin;
	do {
		for (; number < end; number++) {
			if (number % CASES_PER_LAYOUT == 0)
				build_layout(seed_option, number / CASES_PER_LAYOUT);
			choose_case(&test, seed_option, number);
			if (try_case(&test))
				continue;
			printf("# --seed %llu --case %llu fails: %ld pages: %s\n",
			       (unsigned long long)seed_option,
			       (unsigned long long)number, test.npages, reason);
			fflush(stdout);
			if (passes_again(seed_option, number)) {
				printf("# it passes when it is repeated; pages were moved meanwhile\n");
				counting = true;
				continue;
			}
			if (shrink_option)
				shrink(seed_option, number, test.npages);
			counting = true;
			if (++failures == failures_option)
				break;
			/* Go on with the next layout. */
			number |= CASES_PER_LAYOUT - 1;
		}
	} while (!failures && take_more(begin, &end));
	EXPECT_EQ(0, failures);
	destroy_layout();
	print_results();
	/* A few pages may be moved; more would hide something. */
	EXPECT_LE(nr_repeated, 1 + (end - begin) / CASES_PER_REPEAT);
	/* A few cases cannot cover every kind. */
	if (failures || end - begin < 5000)
		return;
	EXPECT_TRUE(is_covered(true));
}

/*
 * Snapshots of pages that others change at the same time, and a request. Nobody knows
 * where each page was at which time; but within one sequence number it can only come
 * back, not leave. Adds the pages that were an @entry to @seen.
 */
static bool compare_changing(struct test_case *test, unsigned int entry,
			     unsigned long *seen)
{
	struct differential_call call;
	long i;

	make_snapshots(test);
	if (run(test, calls, 4, 0)) {
		for (i = 0; i < 4; i++) {
			if (!judge_entries(test, &calls[i], words[i]))
				return false;
		}
		if (!judge_snapshots(test, "of what changes"))
			return false;
		for (i = 0; i < test->npages; i++)
			*seen += entries[i] == entry;
	} else if (!never_settled) {
		return false;
	}
	for (i = 0; i < test->npages; i++)
		test->words[i] = (next_random() & REQ_BITS) | PATTERN;
	call = make_request(test, below(DIFFERENTIAL_NR_FUNCTIONS),
			    first_words);
	if (!run(test, &call, 1, DIFFERENTIAL_REPEAT))
		return false;
	if (call.error)
		return differ("function %u: errno %u", call.function,
			      call.error);
	if (call.function != DIFFERENTIAL_KERNEL_BY_PAGE &&
	    !judge_entries(test, &call, first_words))
		return false;
	for (i = 0; i < test->npages; i++) {
		if (!is_met(asked(test, i), first_words[i]))
			return differ("function %u: page %ld was asked for and is %s",
				      call.function, i,
				      describe(first_words[i]));
	}
	return true;
}

static bool have_two_nodes(void)
{
	return !access("/sys/devices/system/node/node1/cpu1", F_OK);
}

static volatile bool stop_moving;

static void *move_between_nodes(void *argument)
{
	const struct segment *segments = argument;
	void *pages[64];
	int nodes[64], status[64];
	int node = 0;
	long i, j;

	while (!stop_moving) {
		node = !node;
		for (i = 0; i < 2; i++) {
			for (j = 0; j < 64; j++) {
				pages[j] = address_of(segments[i].first + j);
				nodes[j] = node;
			}
			syscall(__NR_move_pages, 0, 64, pages, nodes, status,
				MPOL_MF_MOVE);
		}
	}
	return NULL;
}

/* Migration entries of pages and, as long as it is whole, of a huge page. */
TEST_F_TIMEOUT(differential, migration, 300)
{
	static struct test_case test = {
		.npages = 64, .capacity = 64, .mask = REQ_BITS,
	};
	struct segment segments[2] = {
		{ ANON, 0, 64 }, { THP, SOUP_PAGES, BLOCK },
	};
	unsigned long in_flight[2] = {}, rounds = 0;
	double deadline = seconds_now() + 60;
	pthread_t mover;

	if (!have_two_nodes())
		SKIP(return, "there are no two NUMA nodes");
	build_segment(&segments[0]);
	build_segment(&segments[1]);
	ASSERT_EQ(1, built[ANON]);
	ASSERT_EQ(1, built[THP]);
	ASSERT_EQ(0, pthread_create(&mover, NULL, move_between_nodes,
				    segments));
	/* In some kernels a page is on its way only for a moment. */
	while (seconds_now() < deadline &&
	       (rounds < 200 || in_flight[0] < 10)) {
		test.first = segments[rounds % 2].first;
		if (!compare_changing(&test, HMM_MIRROR_KIND_MIGRATION,
				      &in_flight[rounds % 2])) {
			EXPECT_TRUE(false)
				TH_LOG("%s", reason);
			break;
		}
		rounds++;
	}
	stop_moving = true;
	pthread_join(mover, NULL);
	printf("# %lu rounds; on the move %lu pages, %lu pages of a huge page\n",
	       rounds, in_flight[0], in_flight[1]);
	EXPECT_LE(200, rounds);
	EXPECT_LT(0, in_flight[0]);
	destroy_layout();
}

#define NUMA_BALANCING	"/sys/kernel/debug/sched/numa_balancing/"

/* Has the kernel make pages PROT_NONE to see who touches them, from node 0. */
static bool make_numa_hints(struct test_case *test)
{
	double deadline = seconds_now() + 60;
	long i, hints = 0;

	write_text(NUMA_BALANCING "scan_delay_ms", "1");
	write_text(NUMA_BALANCING "scan_period_min_ms", "10");
	write_text(NUMA_BALANCING "scan_period_max_ms", "20");
	write_text(NUMA_BALANCING "scan_size_mb", "256");
	write_text("/proc/sys/kernel/numa_balancing", "1");
	while (hints < test->npages && seconds_now() < deadline) {
		double pause = seconds_now() + 0.05;

		/* The scanner runs on the process's CPU time. */
		while (seconds_now() < pause)
			;
		make_snapshots(test);
		if (!run(test, calls, 4, 0) && !never_settled)
			break;
		for (hints = 0, i = 0; i < test->npages; i++)
			hints += entries[i] == HMM_MIRROR_KIND_PROT_NONE;
	}
	write_text("/proc/sys/kernel/numa_balancing", "0");
	return hints == test->npages;
}

TEST_F_TIMEOUT(differential, numa_hints, 300)
{
	static struct test_case test = {
		.npages = 64, .capacity = 7, .mask = REQ_BITS,
	};
	struct segment segment = { ANON, 0, 64 };
	unsigned long node1 = 2, hints = 0;

	if (!have_two_nodes() || access(NUMA_BALANCING, F_OK))
		SKIP(return, "there is no NUMA balancing here");
	/* Pages on the right node would be left alone. */
	ASSERT_TRUE(pin_to_cpu(0));
	ASSERT_TRUE(map_small(&segment));
	ASSERT_EQ(0, syscall(__NR_mbind, address_of(0), 64 * PAGE, MPOL_BIND,
			     &node1, 8 * sizeof(node1), 0));
	write_pages(&segment);
	ASSERT_EQ(0, syscall(__NR_mbind, address_of(0), 64 * PAGE, MPOL_DEFAULT,
			     NULL, 0, 0));
	set_kinds(&segment, ANON);
	ASSERT_TRUE(make_numa_hints(&test));
	EXPECT_TRUE(judge_snapshots(&test, "of hints"))
		TH_LOG("%s", reason);
	/* A fault may move the page, which other ranges around it notice. */
	for (test.npages = 4; test.first < segment.npages; test.first += 4) {
		EXPECT_TRUE(compare_changing(&test, HMM_MIRROR_KIND_PROT_NONE,
					     &hints))
			TH_LOG("%s", reason);
	}
	printf("# %lu pages seen that were hints\n", hints);
	EXPECT_LT(0, hints);
	destroy_layout();
}

/* Removes our options; the rest are the harness's. */
static int take_options(int argc, char **argv)
{
	int i, left = 1;

	for (i = 1; i < argc; i++) {
		if (i + 1 < argc && !strcmp(argv[i], "--seed"))
			seed_option = strtoull(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--cases"))
			cases_option = strtoull(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--case"))
			case_option = strtoll(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--failures"))
			failures_option = strtoul(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--no-shrink"))
			shrink_option = false;
		else
			argv[left++] = argv[i];
	}
	argv[left] = NULL;
	return left;
}

int main(int argc, char **argv)
{
	return test_harness_run(take_options(argc, argv), argv);
}
