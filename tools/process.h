/* SPDX-License-Identifier: GPL-2.0 */
/* A process as /proc shows it. */
#ifndef HMMCTL_PROCESS_H
#define HMMCTL_PROCESS_H

#include <linux/types.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

struct process {
	pid_t pid;
	/* /proc/PID: stays with this process even if its number is reused. */
	int directory;
	/* As the process has chosen it, made safe to print */
	char name[64];
	char printable_name[64];
	/* What execve() changes: where the code and the stack begin; 0 if unknown */
	__u64 code;
	__u64 stack;
};

/* @pid 0 is this process. 0 or a negative errno */
int process_open(struct process *process, pid_t pid);

/*
 * Whether /proc, as it is mounted here, numbers processes as this process sees them: it
 * may belong to another PID namespace, where the same number is another process.
 */
bool process_numbers_are_ours(void);

/*
 * Notes which program it runs, for process_check(). Call it after attaching to the
 * address space. 0 or -ESRCH.
 */
int process_note_program(struct process *process);

/*
 * 0 if since process_note_program() the process has neither been killed nor ended nor
 * called execve(), -ESRCH if it may have.
 */
int process_check(const struct process *process);

/* /proc/PID/@name for reading; NULL with errno set, ESRCH if the process is gone */
FILE *process_open_file(const struct process *process, const char *name);

/*
 * Calls @read with the file @name of each thread in turn, main thread first, until it
 * returns something other than 0: a main thread that has exited has no address space any
 * more, but its process has. Returns what @read did, 0 if there were no more threads, or
 * a negative errno.
 */
int process_read_threads(const struct process *process, const char *name,
			 int (*read)(FILE *file, void *data), void *data);

#endif /* HMMCTL_PROCESS_H */
