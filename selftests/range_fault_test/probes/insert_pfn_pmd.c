// SPDX-License-Identifier: GPL-2.0
#include <linux/mm.h>

vm_fault_t probe(struct vm_fault *vmf, unsigned int order);
vm_fault_t probe(struct vm_fault *vmf, unsigned int order)
{
	const struct vm_operations_struct ops = { .huge_fault = probe };
	unsigned long pfn = order;

	if (pmd_special(*vmf->pmd))
		return ops.huge_fault(vmf, order);
	return vmf_insert_pfn_pmd(vmf, pfn, false);
}
