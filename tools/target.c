// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "format.h"
#include "interruption.h"
#include "message.h"
#include "target.h"

static bool open_process(struct target *target, pid_t pid)
{
	int error = process_open(&target->process, pid);

	if (error == -ENOENT && !access("/proc/self", F_OK)) {
		complain("process %d: no such process (ESRCH)", pid);
		return false;
	}
	if (error) {
		complain("/proc/%d: %s: is /proc mounted?", target->process.pid,
			 strerror(-error));
		return false;
	}
	return true;
}

/* A file system may call another process by this number: do not ask it. */
static bool check_numbers(pid_t pid)
{
	if (process_numbers_are_ours())
		return true;
	complain("process %d: /proc is that of another PID namespace, where this number is another process: mount that of this namespace, as unshare --mount-proc does",
		 pid);
	return false;
}

bool target_open(struct target *target, pid_t pid)
{
	if (!device_open(&target->device))
		return false;
	if (!pid || pid == getpid())
		return open_process(target, 0) && !process_note_program(&target->process);

	/*
	 * Open /proc first: while the process exists its number is not reused. So if it
	 * still exists when it is attached to, it was that one.
	 */
	if (!check_numbers(pid) || !open_process(target, pid) ||
	    !device_attach(&target->device, pid))
		return false;
	if (!process_note_program(&target->process))
		return true;
	complain("process %d: has exited (ESRCH)", pid);
	return false;
}

int target_check(const struct target *target)
{
	int error;

	interruption_enter_kernel();
	error = process_check(&target->process);
	interruption_leave_kernel();
	return error;
}

static bool check_alignment(const struct target *target, const char *what, __u64 value,
			    const char *decimal_length)
{
	unsigned int page_size = target->device.info.page_size;
	__u64 below = value - value % page_size;

	if (value == below)
		return true;
	if (*decimal_length)
		complain("%s 0x%llx is not a multiple of the page size, %s: 0x%llx and 0x%llx are; a length is decimal, hexadecimal is 0x%s",
			 what, value, format_size(page_size).text, below, below + page_size,
			 decimal_length);
	else
		complain("%s 0x%llx is not a multiple of the page size, %s: 0x%llx and 0x%llx are",
			 what, value, format_size(page_size).text, below, below + page_size);
	return false;
}

bool target_check_range(const struct target *target, const struct address_range *range)
{
	if (!check_alignment(target, "the start", range->start, "") ||
	    !check_alignment(target, "the end", range->end, range->decimal_length))
		return false;

	if (range->end > target->device.info.task_size) {
		complain("0x%llx-0x%llx is beyond the end of the address space, 0x%llx",
			 range->start, range->end, target->device.info.task_size);
		return false;
	}
	return true;
}

bool target_check_ranges(const struct target *target, struct range_list *list)
{
	for (size_t i = 0; i < list->nr; i++)
		if (!target_check_range(target, &list->ranges[i]))
			return false;
	range_list_normalize(list);
	return true;
}
