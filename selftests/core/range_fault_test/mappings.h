/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RANGE_FAULT_TEST_MAPPINGS_H
#define RANGE_FAULT_TEST_MAPPINGS_H

#include <linux/types.h>

struct file;
struct vm_area_struct;

/* range_fault_test.c */
bool test_is_asking(const struct file *filp);

/* mappings.c */
int test_mmap(struct file *file, struct vm_area_struct *vma);

#endif /* RANGE_FAULT_TEST_MAPPINGS_H */
