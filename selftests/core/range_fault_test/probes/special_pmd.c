// SPDX-License-Identifier: GPL-2.0
#include <linux/mm.h>

vm_fault_t probe(struct vm_fault *vmf, unsigned int order);
vm_fault_t probe(struct vm_fault *vmf, unsigned int order)
{
	const struct vm_operations_struct ops = { .huge_fault = probe };

	return pmd_special(*vmf->pmd) ? ops.huge_fault(vmf, order) : 0;
}
