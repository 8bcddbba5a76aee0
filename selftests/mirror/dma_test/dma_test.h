/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the kselftests and hmm_mirror_dma_test.ko say to each other. It is no stable ABI:
 * module and tests are built from one tree.
 */
#ifndef DMA_TEST_H
#define DMA_TEST_H

#include <linux/const.h>
#include <linux/ioctl.h>
#include <linux/types.h>

#define DMA_TEST_DEVICE			"/dev/hmm_mirror_dma_test"

/* Flags of requests, as in hmm_mirror.h */
#define DMA_TEST_REQ_FAULT		_BITULL(52)
#define DMA_TEST_REQ_WRITE		_BITULL(51)

/*
 * Devices. Those on PCI are QEMU's edu, and its pci-testdev beside an NVMe device. They are
 * there for their IOMMU and their place: no DMA is done.
 */
#define DMA_TEST_PLATFORM0		0
#define DMA_TEST_PLATFORM1		1
#define DMA_TEST_PCI			2
#define DMA_TEST_PCI_PEER		3
#define DMA_TEST_NR_DEVICES		4

/* Bits of dma_test_register.flags */
#define DMA_TEST_FIXED			_BITUL(0) /* HMM_MIRROR_DMA_FIXED */
#define DMA_TEST_TRACKED		_BITUL(1) /* HMM_MIRROR_DMA_TRACKED */
#define DMA_TEST_STEPS			_BITUL(2) /* callbacks of the driver's own */
#define DMA_TEST_UNKNOWN_FLAG		_BITUL(3) /* of hmm_mirror_dma_init() */
#define DMA_TEST_PLAIN			_BITUL(4) /* hmm_mirror_dma_ops_map() alone */

/**
 * struct dma_test_register - DMA_TEST_REGISTER: a mirror, mapped for DMA
 * @start:	in: first address
 * @length:	in: bytes
 * @devices:	in: bits: 1 << DMA_TEST_PLATFORM0, ...
 * @flags:	in: DMA_TEST_FIXED, ...
 * @mask_bits:	in: width of the devices' DMA mask
 * @error:	out: errno (positive), 0 for success
 * @translated:	out: bits of @devices whose addresses an IOMMU translates
 * @max_pages:	out: what the DMA API maps at a time for each of @devices, in pages; ~0: no limit
 *
 * One mirror per open file (EBUSY), of the caller's address space.
 */
struct dma_test_register {
	__u64 start;
	__u64 length;
	__u32 devices;
	__u32 flags;
	__u32 mask_bits;
	__u32 error;
	__u32 translated;
	__u32 max_pages;
};

/* Bits of dma_test_populate.flags */
#define DMA_TEST_ONCE			_BITUL(0) /* hmm_mirror_populate() */

/**
 * struct dma_test_populate - DMA_TEST_POPULATE: hmm_mirror_dma_populate()
 * @start:	in: struct hmm_mirror_request
 * @end:	in: likewise
 * @default_flags: in: likewise
 * @flags:	in: DMA_TEST_ONCE
 * @error:	out: errno (positive), 0 for success
 * @next:	out: struct hmm_mirror_request
 */
struct dma_test_populate {
	__u64 start;
	__u64 end;
	__u64 default_flags;
	__u32 flags;
	__u32 error;
	__u64 next;
};

/*
 * Words of DMA_TEST_READ: the page frame that an access of the device would end at, and
 * what the device was told.
 */
#define DMA_TEST_VALID			_BITULL(63) /* something is mapped */
#define DMA_TEST_WRITE			_BITULL(62) /* for writing */
#define DMA_TEST_HEAD			_BITULL(61) /* a run begins here */
#define DMA_TEST_P2P			_BITULL(60) /* another device's memory */
/* hmm_mirror_dma_lookup() says something else than the device has been told. */
#define DMA_TEST_WRONG			_BITULL(59)
#define DMA_TEST_P2P_BUS		_BITULL(58) /* ... and reached on the bus */
#define DMA_TEST_PFN_MASK		0x1ffffffffffULL

/**
 * struct dma_test_read - DMA_TEST_READ: what is mapped
 * @start:	in: first address
 * @npages:	in: at most DMA_TEST_READ_MAX
 * @words:	in: pointer to @npages words
 * @addresses:	in: pointer to @npages addresses for the device, or 0
 * @device:	in: DMA_TEST_PLATFORM0, ...
 * @reserved:	zero
 *
 * Read in one section of the mirror's lock.
 */
struct dma_test_read {
	__u64 start;
	__u64 npages;
	__u64 words;
	__u64 addresses;
	__u32 device;
	__u32 reserved;
};

#define DMA_TEST_READ_MAX		4096

/**
 * struct dma_test_interval - DMA_TEST_PREPARE, _WRITTEN, _GROW
 * @start:	in, out: first address
 * @end:	in, out: first address past it
 * @device:	in: DMA_TEST_PLATFORM0, ...
 * @result:	out: what the function returned; an errno is positive
 */
struct dma_test_interval {
	__u64 start;
	__u64 end;
	__u32 device;
	__u32 result;
};

/**
 * struct dma_test_knobs - DMA_TEST_KNOBS: how the device behaves
 * @set_error:	errno (positive) that set returns, 0 for none ...
 * @set_error_after: ... after so many calls that succeed
 * @wait_us:	how long wait sleeps
 * @reserved:	zero
 */
struct dma_test_knobs {
	__u32 set_error;
	__u32 set_error_after;
	__u32 wait_us;
	__u32 reserved;
};

/* The first rule that was seen broken */
enum dma_test_violation {
	DMA_TEST_NO_VIOLATION		= 0,
	/* zap, wait: the interval does not begin and end with runs */
	DMA_TEST_PART_OF_RUN		= 1,
	/* set: the page is there with another address and has not been zapped */
	DMA_TEST_NOT_ZAPPED		= 2,
	/* wait: the device still has something there */
	DMA_TEST_WAIT_WITHOUT_ZAP	= 3,
	/* zap, wait: nothing is mapped there, or what is asked for is far more */
	DMA_TEST_NOTHING_THERE		= 4,
	/* after unmap: still mapped */
	DMA_TEST_STILL_MAPPED		= 5,
	/* after unmap: the device has what is not mapped */
	DMA_TEST_STILL_SET		= 6,
	/* set: a run is longer than what one entry of the CPU maps, or empty */
	DMA_TEST_RUN_LENGTH		= 7,
};

/* dma_test_entry.call */
enum dma_test_call {
	DMA_TEST_SET			= 0,
	DMA_TEST_ZAP			= 1,
	DMA_TEST_WAIT			= 2,
};

/**
 * struct dma_test_entry - a line of the log
 * @call:	enum dma_test_call
 * @device:	DMA_TEST_PLATFORM0, ...
 * @start:	first address
 * @end:	first address past it
 * @dma:	set: address for the device
 * @write:	set: for writing
 * @order:	set: order at which the CPU maps it
 */
struct dma_test_entry {
	__u32 call;
	__u32 device;
	__u64 start;
	__u64 end;
	__u64 dma;
	__u32 write;
	__u32 order;
};

#define DMA_TEST_LOG_MAX		4096

/**
 * struct dma_test_log - DMA_TEST_LOG: take the log
 * @entries:	in: pointer to DMA_TEST_LOG_MAX entries
 * @nr:		out: entries filled
 * @lost:	out: entries that found no room
 * @violation:	out: enum dma_test_violation
 * @reserved:	zero
 *
 * Empties it.
 */
struct dma_test_log {
	__u64 entries;
	__u32 nr;
	__u32 lost;
	__u32 violation;
	__u32 reserved;
};

#define DMA_TEST_IOCTL_TYPE		0xE2
#define DMA_TEST_REGISTER \
	_IOWR(DMA_TEST_IOCTL_TYPE, 0xC0, struct dma_test_register)
#define DMA_TEST_UNREGISTER		_IO(DMA_TEST_IOCTL_TYPE, 0xC1)
#define DMA_TEST_POPULATE \
	_IOWR(DMA_TEST_IOCTL_TYPE, 0xC2, struct dma_test_populate)
#define DMA_TEST_READ	_IOW(DMA_TEST_IOCTL_TYPE, 0xC3, struct dma_test_read)
#define DMA_TEST_PREPARE \
	_IOWR(DMA_TEST_IOCTL_TYPE, 0xC4, struct dma_test_interval)
#define DMA_TEST_WRITTEN \
	_IOWR(DMA_TEST_IOCTL_TYPE, 0xC5, struct dma_test_interval)
#define DMA_TEST_GROW \
	_IOWR(DMA_TEST_IOCTL_TYPE, 0xC6, struct dma_test_interval)
#define DMA_TEST_KNOBS	_IOW(DMA_TEST_IOCTL_TYPE, 0xC7, struct dma_test_knobs)
#define DMA_TEST_LOG	_IOWR(DMA_TEST_IOCTL_TYPE, 0xC8, struct dma_test_log)
/*
 * A descriptor of a cgroup2 directory: what map allocates from now on is charged to that
 * cgroup. -1: to the caller's again.
 */
#define DMA_TEST_CHARGE			_IO(DMA_TEST_IOCTL_TYPE, 0xC9)
/* hmm_mirror_dma_exit(), as the argument's device's remove() would */
#define DMA_TEST_EXIT			_IO(DMA_TEST_IOCTL_TYPE, 0xCA)
/* hmm_mirror_unmap_all() */
#define DMA_TEST_UNMAP_ALL		_IO(DMA_TEST_IOCTL_TYPE, 0xCB)

#endif /* DMA_TEST_H */
