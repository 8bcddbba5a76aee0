// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
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

int process_open(struct process *process, pid_t pid)
{
	char path[32];
	FILE *comm;

	*process = (struct process){ .pid = pid, .name = "?" };
	snprintf(path, sizeof(path), "/proc/%d", pid);
	process->directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (process->directory < 0)
		return -errno;

	comm = process_open_file(process, "comm");
	if (comm) {
		if (fgets(process->name, sizeof(process->name), comm))
			process->name[strcspn(process->name, "\n")] = 0;
		fclose(comm);
	}
	make_printable(process->name);
	return 0;
}
