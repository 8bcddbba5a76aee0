/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Ctrl-C and deadlines that leave time to say what was found so far, and that work even
 * while the kernel, or whoever reads our output, does not respond.
 *
 * A thread waits for them. The program asks it now and then and ends by itself; if the
 * program makes no progress, the thread ends it instead. Most calls into the kernel
 * cannot be ended by a signal that does not end the process: before such a call the
 * program says so, and until the call returns the thread may use all of the program's
 * data.
 */
#ifndef HMMCTL_INTERRUPTION_H
#define HMMCTL_INTERRUPTION_H

#include <linux/types.h>
#include <stdbool.h>

/*
 * Reports what was found so far, and why there is no more: @error is EINTR or ETIMEDOUT.
 * Returns the exit status.
 */
typedef int (*interruption_finish)(void *data, int error);

/*
 * From here on SIGINT and SIGTERM, if @signals, and the @deadline, if it is not 0, are
 * interruptions. Complains and returns false on failure.
 */
bool interruption_begin(bool signals, __u64 deadline, interruption_finish finish, void *data);

/* Signals have their previous effect again. */
void interruption_end(void);

/* EINTR or ETIMEDOUT once the program should end, else 0 */
int interruption(void);

/* Readable when interruption() is not 0; -1 if nothing was begun */
int interruption_fd(void);

/* Tells that the program makes progress: call it now and then, at least while it prints. */
void interruption_alive(void);

/* Around calls that may wait in the kernel for long. */
void interruption_enter_kernel(void);
void interruption_leave_kernel(void);

#endif /* HMMCTL_INTERRUPTION_H */
