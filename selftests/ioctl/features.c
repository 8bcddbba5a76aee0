// SPDX-License-Identifier: GPL-2.0
/*
 * What HMM_MIRROR_INFO says about the kernel is what the kernel does: whenever another
 * test skips for lack of a feature, INFO must say that the feature is missing.
 */
#include <stddef.h>
#include <sys/syscall.h>

#include "harness.h"
#include "device.h"
#include "memory.h"

#ifndef __NR_map_shadow_stack
#define __NR_map_shadow_stack	453
#endif

static bool have_symbol(const char *wanted)
{
	FILE *symbols = fopen("/proc/kallsyms", "r");
	char line[512], name[256];
	bool found = false;

	if (!symbols)
		return false;
	while (!found && fgets(line, sizeof(line), symbols))
		found = sscanf(line, "%*s %*s %255s", name) == 1 &&
			!strcmp(name, wanted);
	fclose(symbols);
	return found;
}

static bool have_file(const char *path)
{
	return !access(path, F_OK);
}

static bool closed(int fd)
{
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static bool have_thp(void)
{
	return have_file("/sys/kernel/mm/transparent_hugepage");
}

static bool have_hugetlb(void)
{
	return have_file("/sys/kernel/mm/hugepages");
}

static bool have_userfaultfd(void)
{
	return closed(open_userfaultfd(0));
}

static bool have_device_private(void)
{
	/* Its name until v6.15, and since */
	return have_symbol("make_device_exclusive_range") ||
	       have_symbol("make_device_exclusive");
}

static bool have_numa(void)
{
	return have_file("/sys/devices/system/node");
}

static bool have_swap_files(void)
{
	return have_file("/proc/swaps");
}

static bool have_migration(void)
{
	return have_symbol("migrate_pages");
}

static bool have_memory_failure(void)
{
	return have_file("/proc/sys/vm/memory_failure_recovery");
}

static bool have_kernel_hmm(void)
{
	return have_symbol("hmm_range_fault");
}

static bool have_poison(void)
{
	return closed(open_userfaultfd(UFFD_FEATURE_POISON));
}

static bool have_guard_pages(void)
{
	char *start = map_anonymous(1);
	bool installed = start &&
			 !madvise(start, page_size(), MADV_GUARD_INSTALL);

	if (start)
		munmap(start, page_size());
	return installed;
}

static bool have_shadow_stack(void)
{
	long start = syscall(__NR_map_shadow_stack, 0, page_size(), 0);

	if (start == -1)
		return false;
	munmap((void *)start, page_size());
	return true;
}

static bool have_secretmem(void)
{
	return closed(syscall(__NR_memfd_secret, 0));
}

static bool have_huge_device_private(void)
{
	return have_device_private() &&
	       have_symbol("do_huge_pmd_device_private");
}

/* A feature, and how to find out, without the module, whether it is there */
static const struct feature {
	__u64 bit;
	const char *name;
	bool (*is_there)(void);
} features[] = {
	{ HMM_MIRROR_FEATURE_THP, "thp", have_thp },
	{ HMM_MIRROR_FEATURE_HUGETLB, "hugetlb", have_hugetlb },
	{ HMM_MIRROR_FEATURE_USERFAULTFD, "userfaultfd", have_userfaultfd },
	{ HMM_MIRROR_FEATURE_DEVICE_PRIVATE, "device-private",
	  have_device_private },
	{ HMM_MIRROR_FEATURE_NUMA, "numa", have_numa },
	{ HMM_MIRROR_FEATURE_SWAP, "swap", have_swap_files },
	{ HMM_MIRROR_FEATURE_MIGRATION, "migration", have_migration },
	{ HMM_MIRROR_FEATURE_MEMORY_FAILURE, "memory-failure",
	  have_memory_failure },
	{ HMM_MIRROR_FEATURE_KERNEL_HMM, "kernel-hmm", have_kernel_hmm },
	{ HMM_MIRROR_FEATURE_POISON_MARKER, "poison-marker", have_poison },
	{ HMM_MIRROR_FEATURE_GUARD_MARKER, "guard-marker", have_guard_pages },
	{ HMM_MIRROR_FEATURE_SHADOW_STACK, "shadow-stack", have_shadow_stack },
	{ HMM_MIRROR_FEATURE_SECRETMEM, "secretmem", have_secretmem },
	{ HMM_MIRROR_FEATURE_DEVICE_PRIVATE_HUGE, "device-private-huge",
	  have_huge_device_private },
};

FIXTURE(features)
{
	struct hmm_mirror_info info;
};

FIXTURE_SETUP(features)
{
	int fd = open_device();

	ASSERT_LE(0, fd) {
		TH_LOG("%s: %s", DEVICE, strerror(errno));
	}
	ASSERT_EQ(0, call_info(fd, &self->info));
	close(fd);
}

FIXTURE_TEARDOWN(features)
{
}

TEST_F(features, as_the_kernel_has_them)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(features); i++) {
		bool told = self->info.features & features[i].bit;

		EXPECT_EQ(features[i].is_there(), told) {
			TH_LOG("%s", features[i].name);
		}
	}
}

/* Each feature that is reported is in the list above, or is about this file. */
TEST_F(features, all_are_known)
{
	__u64 known = HMM_MIRROR_FEATURE_PFNS_VISIBLE;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(features); i++)
		known |= features[i].bit;
	EXPECT_EQ(0, self->info.features & ~known);
}

/* hmmctl says the same, by name. */
TEST_F(features, hmmctl)
{
	char line[256], name[64], word[64];
	size_t seen = 0;
	FILE *output;
	size_t i;

	output = popen("hmmctl info", "r");
	ASSERT_NE(NULL, output);
	while (fgets(line, sizeof(line), output)) {
		if (sscanf(line, "%63s %63s", name, word) != 2)
			continue;
		for (i = 0; i < ARRAY_SIZE(features); i++) {
			if (strcmp(name, features[i].name))
				continue;
			seen++;
			EXPECT_STREQ(self->info.features & features[i].bit ?
				     "yes" : "no", word) {
				TH_LOG("%s", name);
			}
		}
	}
	EXPECT_EQ(0, pclose(output));
	EXPECT_EQ(ARRAY_SIZE(features), seen);
}

TEST_HARNESS_MAIN
