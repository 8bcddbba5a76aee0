/* SPDX-License-Identifier: GPL-2.0 */
/* A process as /proc shows it. */
#ifndef HMMCTL_PROCESS_H
#define HMMCTL_PROCESS_H

#include <stdio.h>
#include <sys/types.h>

struct process {
	pid_t pid;
	/* /proc/PID: stays with this process, its number may be used again. */
	int directory;
	char name[64];
};

/* 0 or a negative errno */
int process_open(struct process *process, pid_t pid);

/* /proc/PID/@name for reading; NULL with errno set, ESRCH if the process is gone */
FILE *process_open_file(const struct process *process, const char *name);

#endif /* HMMCTL_PROCESS_H */
