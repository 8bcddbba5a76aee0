/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* What programs and edu_mirror.ko say to each other. */
#ifndef EDU_MIRROR_UAPI_H
#define EDU_MIRROR_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define EDU_MIRROR_DEVICE	"/dev/edu_mirror"

/* The device's own memory. QEMU 7.2 gives up when its last byte, or much of it, is used. */
#define EDU_MIRROR_BUFFER_SIZE	4095
#define EDU_MIRROR_MAX_LENGTH	2048

/**
 * struct edu_mirror_args - for both ioctls
 * @addr:	address of the caller's memory
 * @length:	bytes; to be copied: at most EDU_MIRROR_MAX_LENGTH
 * @offset:	where in the device's buffer
 * @to_memory:	0: from memory to the device; 1: from the device to memory
 *
 * EDU_MIRROR_COPY copies between memory and the device's buffer. After an error some of it may
 * have been copied, from the beginning on.
 *
 * EDU_MIRROR_REGION makes of [@addr, @addr + @length), whole pages, what an RDMA device calls a
 * region: from now on the file is for this memory alone, in place of an earlier region. Nothing
 * of it is pinned, or read in, before it is used. For several regions open several files.
 */
struct edu_mirror_args {
	__u64 addr;
	__u64 length;
	__u32 offset;
	__u32 to_memory;
};

#define EDU_MIRROR_COPY		_IOW(0xE2, 0xD0, struct edu_mirror_args)
#define EDU_MIRROR_REGION	_IOW(0xE2, 0xD1, struct edu_mirror_args)

#endif /* EDU_MIRROR_UAPI_H */
