// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "format.h"
#include "message.h"
#include "target.h"

bool target_open(struct target *target, pid_t pid)
{
	bool other = pid && pid != getpid();
	int error;

	if (!device_open(&target->device))
		return false;

	/*
	 * /proc first: should the process exit in between and its number be
	 * given to another one, /proc fails instead of telling of the wrong one.
	 */
	error = process_open(&target->process, other ? pid : getpid());
	if (error == -ENOENT && !access("/proc/self", F_OK)) {
		complain("process %d: no such process (ESRCH)", pid);
		return false;
	}
	if (error) {
		complain("/proc/%d: %s: is /proc mounted?", other ? pid : getpid(),
			 strerror(-error));
		return false;
	}
	return !other || device_attach(&target->device, pid);
}

static bool check_alignment(const struct target *target, const char *what, __u64 value)
{
	unsigned int page_size = target->device.info.page_size;
	__u64 below = value - value % page_size;

	if (value == below)
		return true;
	complain("%s 0x%llx is not a multiple of the page size, %s: 0x%llx and 0x%llx are",
		 what, value, format_size(page_size).text, below, below + page_size);
	return false;
}

bool target_check_range(const struct target *target, const struct address_range *range)
{
	if (!check_alignment(target, "the start", range->start) ||
	    !check_alignment(target, "the end", range->end))
		return false;

	if (range->end > target->device.info.task_size) {
		complain("0x%llx-0x%llx is beyond the end of the address space, 0x%llx",
			 range->start, range->end, target->device.info.task_size);
		return false;
	}
	return true;
}
