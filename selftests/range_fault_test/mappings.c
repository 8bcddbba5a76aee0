// SPDX-License-Identifier: GPL-2.0
/*
 * Mappings that user space cannot make, or not on every machine: mmap() of the
 * device, whose offset says which, see range_fault_test.h.
 */
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/sizes.h>

#include "compat.h"
#include "mappings.h"
#include "range_fault_test.h"

/* A page frame that is not memory: one without a struct page, below 4 GiB. */
static unsigned long test_special_pfn(void)
{
	unsigned long pfn = PHYS_PFN(SZ_4G);
	unsigned long step = PHYS_PFN(SZ_64M);

	while (pfn > step) {
		pfn -= step;
		if (!pfn_valid(pfn))
			return pfn;
	}
	return 0;
}

/* Maps zeroed memory at @addr of a VM_MIXEDMAP mapping; mmap() makes it such a one. */
static int test_insert_memory(struct vm_area_struct *vma, unsigned long addr)
{
	struct page *page = alloc_page(GFP_USER | __GFP_ZERO);
	int ret;

	if (!page)
		return -ENOMEM;
	/* It takes a reference of its own. */
	ret = vm_insert_page(vma, addr, page);
	put_page(page);
	return ret;
}

static int test_mmap_mixed(struct vm_area_struct *vma)
{
	unsigned long special_pfn = test_special_pfn();
	int ret;

	if (vma_pages(vma) != RANGE_FAULT_TEST_MMAP_PAGES)
		return -EINVAL;
	if (!special_pfn)
		return -ENXIO;
	ret = test_insert_memory(vma, vma->vm_start);
	if (ret)
		return ret;
	if (vmf_insert_pfn(vma, vma->vm_start + PAGE_SIZE, special_pfn) !=
	    VM_FAULT_NOPAGE)
		return -ENOMEM;
	return 0;
}

static vm_fault_t test_shadow_stack_fault(struct vm_fault *vmf)
{
	int ret = test_insert_memory(vmf->vma, vmf->address & PAGE_MASK);

	/* -EBUSY: somebody else has been faster. */
	return ret && ret != -EBUSY ? VM_FAULT_OOM : VM_FAULT_NOPAGE;
}

static const struct vm_operations_struct test_shadow_stack_ops = {
	.fault = test_shadow_stack_fault,
};

/* To all but the CPU's own accesses it is the flag that makes it one. */
static int test_mmap_shadow_stack(struct vm_area_struct *vma)
{
	if (VM_SHADOW_STACK == VM_NONE)
		return -EOPNOTSUPP;
	if (vma_pages(vma) > RANGE_FAULT_TEST_SHADOW_STACK_PAGES)
		return -EINVAL;
	compat_vm_flags_set(vma, VM_MIXEDMAP | VM_SHADOW_STACK);
	vma->vm_ops = &test_shadow_stack_ops;
	return 0;
}

#ifdef COMPAT_INSERT_SPECIAL_PMD
static vm_fault_t test_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	if (order != PMD_SHIFT - PAGE_SHIFT)
		return VM_FAULT_FALLBACK;
	return COMPAT_INSERT_SPECIAL_PMD(vmf, test_special_pfn(),
					 vmf->flags & FAULT_FLAG_WRITE);
}

static vm_fault_t test_fault(struct vm_fault *vmf)
{
	return VM_FAULT_SIGBUS;
}

static const struct vm_operations_struct test_special_pmd_ops = {
	.fault = test_fault,
	.huge_fault = test_huge_fault,
};

static int test_mmap_special_pmd(struct vm_area_struct *vma)
{
	if (vma_pages(vma) != PMD_SIZE >> PAGE_SHIFT ||
	    !IS_ALIGNED(vma->vm_start, PMD_SIZE))
		return -EINVAL;
	if (!test_special_pfn())
		return -ENXIO;
	/* Huge pages, also where they are only for who asks for them. */
	compat_vm_flags_set(vma, VM_MIXEDMAP | VM_HUGEPAGE);
	vma->vm_ops = &test_special_pmd_ops;
	return 0;
}
#else
static int test_mmap_special_pmd(struct vm_area_struct *vma)
{
	return -EOPNOTSUPP;
}
#endif

int test_mmap(struct file *file, struct vm_area_struct *vma)
{
	/* A private mapping could be asked to copy a page that is none. */
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	switch (vma->vm_pgoff) {
	case RANGE_FAULT_TEST_MMAP_MIXED:
		return test_mmap_mixed(vma);
	case RANGE_FAULT_TEST_MMAP_SHADOW_STACK:
		return test_mmap_shadow_stack(vma);
	case RANGE_FAULT_TEST_MMAP_SPECIAL_PMD:
		return test_mmap_special_pmd(vma);
	}
	return -EINVAL;
}
