// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format.h"
#include "process.h"

FILE *process_open_file(const struct process *process, const char *name)
{
	int fd = openat(process->directory, name, O_RDONLY | O_CLOEXEC);
	FILE *file;

	if (fd < 0)
		return NULL;
	file = fdopen(fd, "r");
	if (!file)
		close(fd);
	return file;
}

/* 0 if the file cannot be read: threads come and go. */
static int read_thread(const struct process *process, const char *name,
		       int (*read)(FILE *file, void *data), void *data)
{
	FILE *file = process_open_file(process, name);
	int result;

	if (!file)
		return errno == ESRCH || errno == ENOENT ? 0 : -errno;
	result = read(file, data);
	fclose(file);
	return result;
}

static int read_other_threads(const struct process *process, const char *name,
			      int (*read)(FILE *file, void *data), void *data)
{
	int fd = openat(process->directory, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *thread;
	int result = 0;

	if (!directory) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	while (!result && (thread = readdir(directory))) {
		char path[sizeof("task//") + sizeof(thread->d_name) + 16];

		if (thread->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "task/%s/%s", thread->d_name, name);
		result = read_thread(process, path, read, data);
	}
	closedir(directory);
	return result;
}

int process_read_threads(const struct process *process, const char *name,
			 int (*read)(FILE *file, void *data), void *data)
{
	int result = read_thread(process, name, read, data);

	return result ? result : read_other_threads(process, name, read, data);
}

static void read_name(struct process *process)
{
	FILE *comm = process_open_file(process, "comm");
	size_t length = 0;

	if (comm) {
		/* It may contain a line feed, so do not read a line. */
		length = fread(process->name, 1, sizeof(process->name) - 1, comm);
		fclose(comm);
	}
	if (length && process->name[length - 1] == '\n')
		length--;
	process->name[length] = 0;
	if (!length)
		process->name[0] = '?';
	memcpy(process->printable_name, process->name, sizeof(process->name));
	make_printable(process->printable_name);
}

int process_open(struct process *process, pid_t pid)
{
	char path[32] = "/proc/self";

	*process = (struct process){ .pid = pid ? pid : getpid() };
	if (pid)
		snprintf(path, sizeof(path), "/proc/%d", pid);
	process->directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (process->directory < 0)
		return -errno;
	read_name(process);
	return 0;
}

bool process_numbers_are_ours(void)
{
	char text[16];
	ssize_t length = readlink("/proc/self", text, sizeof(text) - 1);

	/* In a namespace that this process is not in, the link is there and cannot be read. */
	if (length < 0)
		return faccessat(AT_FDCWD, "/proc/self", F_OK, AT_SYMLINK_NOFOLLOW);
	text[length] = 0;
	return atoi(text) == getpid();
}

/*
 * What /proc/PID/stat tells about a program; its numbers are 0 for a thread that has
 * exited.
 */
static int read_program(FILE *file, void *data)
{
	struct process *program = data;
	unsigned long long code;
	unsigned long long stack;
	char line[1024];
	size_t length = fread(line, 1, sizeof(line) - 1, file);
	const char *rest;

	line[length] = 0;
	/* The name before it may contain anything, even a parenthesis. */
	rest = strrchr(line, ')');
	if (!rest)
		return 0;
	/* The third field is next; code and stack are the 26th and the 28th. */
	if (sscanf(rest + 1,
		   " %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %*s %llu",
		   &code, &stack) != 2 || (!code && !stack))
		return 0;
	program->code = code;
	program->stack = stack;
	return 1;
}

int process_note_program(struct process *process)
{
	return process_read_threads(process, "stat", read_program, process) > 0 ? 0 : -ESRCH;
}

/* Whether SIGKILL is on its way: the memory may be taken before the process is gone. */
static int read_killed(FILE *file, void *data)
{
	static const char * const names[] = { "SigPnd:", "ShdPnd:" };
	bool *killed = data;
	char line[256];

	while (fgets(line, sizeof(line), file))
		for (size_t i = 0; i < 2; i++)
			if (!strncmp(line, names[i], strlen(names[i])) &&
			    strtoull(line + strlen(names[i]), NULL, 16) & 1ULL << (SIGKILL - 1))
				*killed = true;
	return *killed;
}

int process_check(const struct process *process)
{
	struct process now = *process;
	bool killed = false;

	if (process_note_program(&now) || now.code != process->code || now.stack != process->stack)
		return -ESRCH;
	process_read_threads(process, "status", read_killed, &killed);
	return killed ? -ESRCH : 0;
}
