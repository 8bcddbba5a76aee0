// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "device.h"
#include "interruption.h"
#include "message.h"

static int device_ioctl(const struct device *device, unsigned long request, void *arguments)
{
	return ioctl(device->fd, request, arguments) ? -errno : 0;
}

static void complain_open(int error)
{
	switch (error) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		if (!access("/sys/module/hmm_mirror", F_OK))
			complain(DEVICE_PATH " is missing although the module is loaded: is devtmpfs mounted on /dev?");
		else
			complain(DEVICE_PATH " is missing: the module is not loaded. As root: modprobe hmm_mirror, or insmod hmm_mirror.ko where it was built");
		break;
	case EACCES:
	case EPERM:
		complain(DEVICE_PATH ": permission denied (%s): run hmmctl as root, or give yourself access to the device with a udev rule",
			 error_name(error));
		break;
	default:
		complain(DEVICE_PATH ": %s (%s)", strerror(error), error_name(error));
	}
}

static bool read_info(struct device *device)
{
	int error;

	device->info = (struct hmm_mirror_info){ .size = sizeof(device->info) };
	error = device_ioctl(device, HMM_MIRROR_INFO, &device->info);
	if (error == -ENOTTY) {
		complain(DEVICE_PATH " is not a device of hmm_mirror (ENOTTY)");
		return false;
	}
	if (error) {
		complain(DEVICE_PATH ": the module refuses to describe itself: %s (%s)",
			 strerror(-error), error_name(-error));
		return false;
	}
	if (device->info.abi_version != HMM_MIRROR_ABI_VERSION) {
		complain("the loaded module speaks ABI version %u, this hmmctl version %d: use the hmmctl that was built with the module",
			 device->info.abi_version, HMM_MIRROR_ABI_VERSION);
		return false;
	}
	return true;
}

bool device_open(struct device *device)
{
	/* Only reads of events could block, and watch polls before it reads. */
	device->fd = open(DEVICE_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (device->fd < 0) {
		complain_open(errno);
		return false;
	}
	return read_info(device);
}

bool device_attach(struct device *device, pid_t pid)
{
	struct hmm_mirror_attach arguments = {
		.size = sizeof(arguments),
		.pid = pid,
	};
	int error = device_ioctl(device, HMM_MIRROR_ATTACH, &arguments);

	switch (-error) {
	case 0:
		return read_info(device);
	case EPERM:
		complain("process %d: mirroring another process needs CAP_SYS_PTRACE in the initial user namespace (EPERM)",
			 pid);
		break;
	case ESRCH:
		complain("process %d: no such process (ESRCH)", pid);
		break;
	case EINVAL:
		complain("process %d: has no address space: a kernel thread or a zombie (EINVAL)",
			 pid);
		break;
	case EBUSY:
		complain("process %d: the open file has watches already (EBUSY)", pid);
		break;
	default:
		complain("process %d: cannot be mirrored: %s (%s)", pid, strerror(-error),
			 error_name(-error));
	}
	return false;
}

int device_range(const struct device *device, struct hmm_mirror_range_args *arguments)
{
	const struct hmm_mirror_range_args asked = *arguments;
	int error;

	arguments->size = sizeof(*arguments);
	interruption_enter_kernel();
	error = device_ioctl(device, HMM_MIRROR_RANGE, arguments);
	interruption_leave_kernel();

	/* The caller steps through an array by these. */
	if (arguments->nr_extents > asked.nr_extents || arguments->next > asked.end ||
	    (!error && arguments->next <= asked.start)) {
		arguments->nr_extents = 0;
		arguments->next = asked.start;
		return -EIO;
	}
	return error;
}

bool device_read_page(const struct device *device, __u64 address,
		      struct hmm_mirror_extent_info *extent)
{
	struct hmm_mirror_range_args arguments = {
		.start = address & ~((__u64)device->info.page_size - 1),
		.extents = (__u64)(uintptr_t)extent,
		.nr_extents = 1,
	};

	arguments.end = arguments.start + device->info.page_size;
	return !device_range(device, &arguments) && arguments.nr_extents == 1;
}

int device_watch(const struct device *device, __u64 start, __u64 end)
{
	struct hmm_mirror_watch_args arguments = {
		.size = sizeof(arguments),
		.start = start,
		.end = end,
	};
	int error;

	interruption_enter_kernel();
	error = device_ioctl(device, HMM_MIRROR_WATCH, &arguments);
	interruption_leave_kernel();
	return error;
}

ssize_t device_read_events(const struct device *device, struct hmm_mirror_event *events, size_t nr)
{
	ssize_t bytes = read(device->fd, events, nr * sizeof(*events));

	if (bytes < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return bytes / (ssize_t)sizeof(*events);
}

int device_stats(const struct device *device, struct hmm_mirror_stats *stats)
{
	*stats = (struct hmm_mirror_stats){ .size = sizeof(*stats) };
	return device_ioctl(device, HMM_MIRROR_STATS, stats);
}
