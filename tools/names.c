// SPDX-License-Identifier: GPL-2.0
#include <stddef.h>

#include "memory.h"
#include "names.h"

static const char * const kind_names[] = {
	[HMM_MIRROR_KIND_NONE] = "none",
	[HMM_MIRROR_KIND_PRESENT] = "present",
	[HMM_MIRROR_KIND_ZERO] = "zero",
	[HMM_MIRROR_KIND_SWAP] = "swap",
	[HMM_MIRROR_KIND_MIGRATION] = "migration",
	[HMM_MIRROR_KIND_DEVICE_PRIVATE] = "device-private",
	[HMM_MIRROR_KIND_DEVICE_EXCLUSIVE] = "device-exclusive",
	[HMM_MIRROR_KIND_PROT_NONE] = "prot-none",
	[HMM_MIRROR_KIND_UFFD_WP] = "uffd-wp",
	[HMM_MIRROR_KIND_HWPOISON] = "hwpoison",
	[HMM_MIRROR_KIND_POISON] = "poison",
	[HMM_MIRROR_KIND_GUARD] = "guard",
	[HMM_MIRROR_KIND_SPECIAL] = "special",
	[HMM_MIRROR_KIND_NO_VMA] = "no-vma",
	[HMM_MIRROR_KIND_UNREADABLE] = "unreadable",
	[HMM_MIRROR_KIND_IO] = "io",
	[HMM_MIRROR_KIND_SECRETMEM] = "secretmem",
	[HMM_MIRROR_KIND_BAD] = "bad",
};

const char *kind_name(unsigned int kind)
{
	return kind < ARRAY_SIZE(kind_names) ? kind_names[kind] : "unknown";
}

const char *kind_refusal(unsigned int kind)
{
	switch (kind) {
	case HMM_MIRROR_KIND_NO_VMA:
		return "nothing is mapped there";
	case HMM_MIRROR_KIND_UNREADABLE:
		return "the mapping is not readable";
	case HMM_MIRROR_KIND_IO:
		return "the mapping is of device registers or raw PFNs (VM_IO, VM_PFNMAP)";
	case HMM_MIRROR_KIND_SECRETMEM:
		return "memfd_secret() memory is never mirrored";
	case HMM_MIRROR_KIND_SPECIAL:
		return "the entry has no struct page behind it";
	case HMM_MIRROR_KIND_HWPOISON:
		return "the page has a hardware memory error";
	case HMM_MIRROR_KIND_POISON:
		return "the page is marked as poisoned (UFFDIO_POISON or a memory error)";
	case HMM_MIRROR_KIND_GUARD:
		return "it is a guard region (MADV_GUARD_INSTALL)";
	case HMM_MIRROR_KIND_BAD:
		return "the page table entry is corrupt, see the kernel log";
	default:
		/* The entry does not forbid it, so the page fault itself failed. */
		return "the page fault failed (SIGBUS, as beyond the end of a mapped file)";
	}
}

static const struct {
	const char *name;
	const char *short_name;
	const char *cause;
} event_kinds[NR_EVENT_KINDS] = {
	[HMM_MIRROR_EVENT_UNMAP] = {
		"unmap", "unmap",
		"munmap(), mremap(), mmap() over a mapping, the OOM killer (up to 7.2)",
	},
	[HMM_MIRROR_EVENT_CLEAR] = {
		"clear", "clear",
		"reclaim, copy-on-write, madvise(), truncate(), migration, KSM, the OOM killer (7.3 on)",
	},
	[HMM_MIRROR_EVENT_PROTECTION_VMA] = {
		"protection-vma", "prot-vma",
		"mprotect(), NUMA balancing, userfaultfd (wp, closing), PAGEMAP_SCAN",
	},
	[HMM_MIRROR_EVENT_PROTECTION_PAGE] = {
		"protection-page", "prot-page", "fork(), write-back of dirty file pages",
	},
	[HMM_MIRROR_EVENT_SOFT_DIRTY] = {
		"soft-dirty", "soft-dirty", "/proc/PID/clear_refs, as checkpointing does",
	},
	[HMM_MIRROR_EVENT_RELEASE] = {
		"release", "release", "the process exited or called execve()",
	},
	[HMM_MIRROR_EVENT_MIGRATE] = {
		"migrate", "migrate", "migration to or from a device's memory",
	},
	[HMM_MIRROR_EVENT_EXCLUSIVE] = {
		"exclusive", "exclusive", "a device took exclusive access",
	},
	[HMM_MIRROR_EVENT_OTHER] = {
		"other", "other", "a kind this hmmctl has no name for",
	},
};

unsigned int event_kind_index(__u32 kind)
{
	return kind < NR_EVENT_KINDS ? kind : HMM_MIRROR_EVENT_OTHER;
}

const char *event_kind_name(unsigned int index)
{
	return event_kinds[index].name;
}

const char *event_kind_short_name(unsigned int index)
{
	return event_kinds[index].short_name;
}

const char *event_kind_cause(unsigned int index)
{
	return event_kinds[index].cause;
}

const struct feature_description feature_descriptions[] = {
	{
		HMM_MIRROR_FEATURE_THP, "thp",
		"transparent huge pages are mirrored as one extent each",
		"no transparent huge pages: anonymous memory is in base pages",
	}, {
		HMM_MIRROR_FEATURE_HUGETLB, "hugetlb",
		"hugetlb mappings are mirrored in their own page size",
		"no hugetlb in this kernel",
	}, {
		HMM_MIRROR_FEATURE_USERFAULTFD, "userfaultfd",
		"a fault on a userfaultfd range waits for its handler",
		"no userfaultfd in this kernel",
	}, {
		HMM_MIRROR_FEATURE_DEVICE_PRIVATE, "device-private",
		"pages in a device's memory are told apart, a fault brings them back",
		"no device-private memory in this kernel",
	}, {
		HMM_MIRROR_FEATURE_DEVICE_PRIVATE_HUGE, "device-private-huge",
		"huge pages stay huge in a device's memory",
		"huge pages are split when they move to a device's memory",
	}, {
		HMM_MIRROR_FEATURE_NUMA, "numa",
		"extents name the NUMA node of their memory",
		"no NUMA in this kernel: all memory is on node 0",
	}, {
		HMM_MIRROR_FEATURE_SWAP, "swap",
		"swapped pages are told apart, a fault swaps them in",
		"no swap in this kernel",
	}, {
		HMM_MIRROR_FEATURE_MIGRATION, "migration",
		"pages under migration are told apart, a fault waits for them",
		"no page migration in this kernel",
	}, {
		HMM_MIRROR_FEATURE_MEMORY_FAILURE, "memory-failure",
		"pages with a hardware memory error are told apart (EHWPOISON)",
		"the kernel does not handle hardware memory errors",
	}, {
		HMM_MIRROR_FEATURE_POISON_MARKER, "poison-marker",
		"pages that UFFDIO_POISON has poisoned are told apart",
		"no UFFDIO_POISON in this kernel",
	}, {
		HMM_MIRROR_FEATURE_GUARD_MARKER, "guard-marker",
		"guard pages of MADV_GUARD_INSTALL are told apart",
		"no MADV_GUARD_INSTALL in this kernel",
	}, {
		HMM_MIRROR_FEATURE_SHADOW_STACK, "shadow-stack",
		"shadow stacks are never writable for a device",
		"no shadow stacks on this CPU or kernel",
	}, {
		HMM_MIRROR_FEATURE_SECRETMEM, "secretmem",
		"memory of memfd_secret() is never mirrored",
		"no memfd_secret() in this kernel",
	}, {
		HMM_MIRROR_FEATURE_KERNEL_HMM, "kernel-hmm",
		"the kernel has its own hmm_range_fault() too",
		"no hmm_range_fault() in this kernel; the module does without",
	}, {
		HMM_MIRROR_FEATURE_PFNS_VISIBLE, "pfns-visible",
		"page frame numbers are shown",
		"page frame numbers are hidden: they need CAP_SYS_ADMIN",
	},
};

const unsigned int nr_feature_descriptions = ARRAY_SIZE(feature_descriptions);
