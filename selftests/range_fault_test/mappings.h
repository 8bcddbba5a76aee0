/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RANGE_FAULT_TEST_MAPPINGS_H
#define RANGE_FAULT_TEST_MAPPINGS_H

struct file;
struct vm_area_struct;

int test_mmap(struct file *file, struct vm_area_struct *vma);

#endif /* RANGE_FAULT_TEST_MAPPINGS_H */
