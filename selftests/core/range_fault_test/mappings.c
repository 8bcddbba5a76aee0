// SPDX-License-Identifier: GPL-2.0
/*
 * Mappings that user space cannot make, or not on every machine: mmap() of the device;
 * the offset says which, see range_fault_test.h.
 */
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/refcount.h>
#include <linux/sizes.h>
#include <linux/slab.h>

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

/* Maps zeroed memory at @addr, which makes the mapping a VM_MIXEDMAP one. */
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

	/* -EBUSY: somebody else was faster. */
	return ret && ret != -EBUSY ? VM_FAULT_OOM : VM_FAULT_NOPAGE;
}

static const struct vm_operations_struct test_shadow_stack_ops = {
	.fault = test_shadow_stack_fault,
};

/* For everything but the CPU's own accesses, the flag makes it one. */
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

/* What is not there at once will never be. */
static vm_fault_t __maybe_unused test_fault(struct vm_fault *vmf)
{
	return VM_FAULT_SIGBUS;
}

#ifdef COMPAT_INSERT_SPECIAL_PMD
static vm_fault_t test_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	if (order != PMD_SHIFT - PAGE_SHIFT)
		return VM_FAULT_FALLBACK;
	return COMPAT_INSERT_SPECIAL_PMD(vmf, test_special_pfn(),
					 vmf->flags & FAULT_FLAG_WRITE);
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
	/* Huge pages, even if only those who ask for them get any. */
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

#ifdef COMPAT_FIND_PAGE
#define FOUND_HALF	(RANGE_FAULT_TEST_FOUND_PAGES / 2)

struct test_found {
	refcount_t users;
	struct page *pages[FOUND_HALF];
};

static void test_found_open(struct vm_area_struct *vma)
{
	struct test_found *found = vma->vm_private_data;

	refcount_inc(&found->users);
}

static void test_found_put(struct test_found *found)
{
	unsigned int i;

	if (!refcount_dec_and_test(&found->users))
		return;
	for (i = 0; i < FOUND_HALF; i++) {
		if (found->pages[i])
			put_page(found->pages[i]);
	}
	kfree(found);
}

static void test_found_close(struct vm_area_struct *vma)
{
	test_found_put(vma->vm_private_data);
}

/*
 * The page's mapping and reference counts do not include this entry: whoever removes the
 * entry, and would drop them, must not find the page.
 */
static struct page *test_find_page(struct vm_area_struct *vma,
				   unsigned long addr)
{
	struct test_found *found = vma->vm_private_data;
	unsigned long index = linear_page_index(vma, addr) -
			      RANGE_FAULT_TEST_MMAP_FOUND;

	if (!test_is_asking(vma->vm_file) || index >= FOUND_HALF ||
	    index == RANGE_FAULT_TEST_FOUND_NONE)
		return NULL;
	return found->pages[index];
}

static const struct vm_operations_struct test_found_ops = {
	.open = test_found_open,
	.close = test_found_close,
	.fault = test_fault,
	.COMPAT_FIND_PAGE = test_find_page,
};

static int test_found_insert(struct vm_area_struct *vma,
			     struct test_found *found, unsigned int index,
			     unsigned long special_pfn)
{
	unsigned long addr = vma->vm_start + index * PAGE_SIZE;

	found->pages[index] = alloc_page(GFP_USER | __GFP_ZERO);
	if (!found->pages[index])
		return -ENOMEM;
	if (vmf_insert_pfn(vma, addr, special_pfn) != VM_FAULT_NOPAGE)
		return -ENOMEM;
	return vm_insert_page(vma, addr + FOUND_HALF * PAGE_SIZE,
			      found->pages[index]);
}

static int test_mmap_found(struct vm_area_struct *vma)
{
	unsigned long special_pfn = test_special_pfn();
	struct test_found *found;
	unsigned int i;
	int ret = 0;

	if (vma_pages(vma) != RANGE_FAULT_TEST_FOUND_PAGES)
		return -EINVAL;
	if (!special_pfn)
		return -ENXIO;
	found = kzalloc(sizeof(*found), GFP_KERNEL_ACCOUNT);
	if (!found)
		return -ENOMEM;
	refcount_set(&found->users, 1);
	compat_vm_flags_set(vma, VM_MIXEDMAP | VM_DONTEXPAND);
	for (i = 0; i < FOUND_HALF && !ret; i++)
		ret = test_found_insert(vma, found, i, special_pfn);
	if (ret) {
		test_found_put(found);
		return ret;
	}
	vma->vm_private_data = found;
	vma->vm_ops = &test_found_ops;
	return 0;
}
#else
static int test_mmap_found(struct vm_area_struct *vma)
{
	return -EOPNOTSUPP;
}
#endif

int test_mmap(struct file *file, struct vm_area_struct *vma)
{
	/* A private mapping could be asked to copy a page that does not exist. */
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	switch (vma->vm_pgoff) {
	case RANGE_FAULT_TEST_MMAP_MIXED:
		return test_mmap_mixed(vma);
	case RANGE_FAULT_TEST_MMAP_SHADOW_STACK:
		return test_mmap_shadow_stack(vma);
	case RANGE_FAULT_TEST_MMAP_SPECIAL_PMD:
		return test_mmap_special_pmd(vma);
	case RANGE_FAULT_TEST_MMAP_FOUND:
		return test_mmap_found(vma);
	}
	return -EINVAL;
}
