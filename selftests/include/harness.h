/* SPDX-License-Identifier: GPL-2.0 */
/* kselftest_harness.h, with more time for each test. */
#ifndef HARNESS_H
#define HARNESS_H

#include "kselftest_harness.h"

/*
 * A time limit finds what hangs. It is not a measurement: the machine is emulated, its
 * kernel may have KASAN and lockdep, and its processors are shared with others.
 */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 120

#endif /* HARNESS_H */
