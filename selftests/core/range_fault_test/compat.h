/* SPDX-License-Identifier: GPL-2.0 */
/* What differs between kernels, for mappings.c. */
#ifndef RANGE_FAULT_TEST_COMPAT_H
#define RANGE_FAULT_TEST_COMPAT_H

#include <linux/mm.h>

#include "range_fault_test_probes.h"

#ifndef RANGE_FAULT_TEST_HAVE_SANITY
#error "Build probes do not work, see probes/sanity.log in the build directory"
#endif

/* "mm: Introduce VM_SHADOW_STACK for shadow stack memory", v6.6 */
#ifndef VM_SHADOW_STACK
#define VM_SHADOW_STACK		VM_NONE
#endif

/* "mm: introduce vma->vm_flags wrapper functions", v6.3 */
static inline void compat_vm_flags_set(struct vm_area_struct *vma,
				       unsigned long flags)
{
#ifdef RANGE_FAULT_TEST_HAVE_VM_FLAGS_SET
	vm_flags_set(vma, flags);
#else
	vma->vm_flags |= flags;
#endif
}

/*
 * "mm: remove enum page_entry_size", v6.6, and "mm: new primitive pmd_special and
 * pud_special", v6.12: since then a driver can map as a huge page, by its order, what
 * has no struct page. "mm: remove callers of pfn_t functionality", v6.17.
 */
#if !defined(CONFIG_TRANSPARENT_HUGEPAGE)
/* Declared, but not there. */
#elif defined(RANGE_FAULT_TEST_HAVE_SPECIAL_PMD)
#ifdef RANGE_FAULT_TEST_HAVE_PFN_T
#include <linux/pfn_t.h>
#define COMPAT_INSERT_SPECIAL_PMD(vmf, pfn, write) \
	vmf_insert_pfn_pmd(vmf, pfn_to_pfn_t(pfn), write)
#else
#define COMPAT_INSERT_SPECIAL_PMD(vmf, pfn, write) \
	vmf_insert_pfn_pmd(vmf, pfn, write)
#endif
#endif

/*
 * A driver may say which page a special entry stands for: "mm: rename
 * vm_ops->find_special_page() to vm_ops->find_normal_page()", v6.18; since then only
 * kernels for Xen have it.
 */
#if defined(RANGE_FAULT_TEST_HAVE_FIND_NORMAL_PAGE)
#define COMPAT_FIND_PAGE	find_normal_page
#elif defined(RANGE_FAULT_TEST_HAVE_FIND_SPECIAL_PAGE)
#define COMPAT_FIND_PAGE	find_special_page
#endif

#endif /* RANGE_FAULT_TEST_COMPAT_H */
