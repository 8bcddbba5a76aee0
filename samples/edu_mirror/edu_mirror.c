// SPDX-License-Identifier: GPL-2.0
/*
 * edu_mirror: a PCI driver whose device works on the memory of processes. The one to copy
 * from.
 *
 * The device is QEMU's "edu" (docs/specs/edu in QEMU): 4 KiB of memory of its own, and a DMA
 * engine that copies between that and the machine's memory. A program says which address of
 * its own memory is to be copied, and that is all: no page is pinned, and none need be there
 * before. What such a driver has to do is
 *
 *  1.	subscribe to memory of the process before it is used (open_window());
 *  2.	have what the device needs faulted in and mapped for DMA, and
 *  3.	give the device an address only while that is known to be true, which is under the
 *	mirror's lock (copy_step());
 *  4.	stop the device when the kernel says that pages are about to go (edu_wait());
 *  5.	let go of everything when the file is closed or the device unplugged, whichever comes
 *	first (close_window(), edu_remove()).
 *
 * hmm_mirror does what is the same for all drivers: it holds the lock at the right times, and
 * calls back in the right order.
 *
 * An open file has a window on the memory of its process. It is moved to where it is needed:
 * a mirror of all memory would do as well, but whoever unmaps anything would then wait for DMA
 * that is somewhere else. Or a program says once and for all where it is to be, as with RDMA.
 *
 * Order of locks: file->lock, edu->lock, the mirror's. Invalidations take the mirror's alone,
 * with who knows what held: nothing that waits for memory may happen under it.
 */
#include <linux/fs.h>
#include <linux/interrupt.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/semaphore.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hmm_mirror.h"
#include "uapi.h"

/* Registers, and the device's memory as its DMA engine sees it */
#define EDU_IRQ_STATUS		0x24
#define EDU_IRQ_ACKNOWLEDGE	0x64
#define EDU_DMA_SOURCE		0x80
#define EDU_DMA_DESTINATION	0x88
#define EDU_DMA_COUNT		0x90
#define EDU_DMA_COMMAND		0x98
#define   EDU_DMA_START			0x5 /* with an interrupt at the end */
#define   EDU_DMA_TO_MEMORY		0x2
#define EDU_BUFFER		0x40000

struct edu {
	struct pci_dev *pci;
	void __iomem *registers;
	struct miscdevice misc;
	refcount_t users; /* one is the driver, and one each open file */
	struct mutex lock; /* over the next two */
	struct list_head windows; /* struct edu_file, with DMA mappings */
	bool gone; /* the device: see edu_remove() */

	struct semaphore engine; /* from the start of a DMA to its interrupt */
	wait_queue_head_t done;
	struct edu_file *user; /* whose DMA it is, NULL when it has ended */
};

struct edu_file {
	struct edu *edu;
	struct mutex lock; /* one call at a time */
	unsigned int flags; /* for hmm_mirror_dma_init(); of a region: it stays where it is */
	struct mm_struct *mm; /* whose memory is in the window */
	unsigned long start, end; /* of the window; 0 if there is none */
	struct hmm_mirror mirror;
	struct hmm_mirror_dma dma;
	struct list_head node; /* in edu->windows; for itself when the device is gone */
};

/* --- What the device does ------------------------------------------------------------- */

/*
 * Pages of [start, end) are about to be unmapped, and then to be somebody else's memory. No DMA
 * of this window can begin, as the mirror's lock is held. The one that has begun cannot be cut
 * short: wait for it. If it takes longer than with any working device, nothing is left but to cut
 * the device off: there is no way to say no.
 */
static void edu_wait(struct hmm_mirror_dma *dma, unsigned long start, unsigned long end)
{
	struct edu_file *file = container_of(dma, struct edu_file, dma);

	if (!wait_event_timeout(file->edu->done, READ_ONCE(file->edu->user) != file, 10 * HZ))
		pci_clear_master(file->edu->pci);
}

/*
 * A device with a page table has set(), which writes an entry, and zap(), which clears entries
 * and flushes the device's TLB. edu has none: it gets an address with each command.
 */
static const struct hmm_mirror_dma_ops edu_dma_ops = {
	.wait = edu_wait,
};

static irqreturn_t edu_interrupt(int irq, void *data)
{
	struct edu *edu = data;
	u32 status = readl(edu->registers + EDU_IRQ_STATUS);

	if (!status)
		return IRQ_NONE;
	writel(status, edu->registers + EDU_IRQ_ACKNOWLEDGE);
	WRITE_ONCE(edu->user, NULL); /* pairs with the READ_ONCE() of who waits for it */
	wake_up_all(&edu->done);
	up(&edu->engine);
	return IRQ_HANDLED;
}

/* --- A window --------------------------------------------------------------------------- */

/* The order counts: pages are marked dirty while the mirror still watches them. */
static void close_window(struct edu_file *file)
{
	if (!file->end)
		return;
	mutex_lock(&file->edu->lock);
	if (!list_empty(&file->node)) {
		hmm_mirror_dma_exit(&file->dma);
		list_del(&file->node);
	}
	mutex_unlock(&file->edu->lock);
	hmm_mirror_unregister(&file->mirror);
	file->end = 0;
}

static int open_window(struct edu_file *file, unsigned long start, unsigned long length)
{
	struct edu *edu = file->edu;
	int err;

	close_window(file);
	file->dma.ops = &edu_dma_ops;
	err = hmm_mirror_register(&file->mirror, current->mm, start, length,
				  &hmm_mirror_dma_mirror_ops);
	if (err)
		return err;
	file->mm = current->mm; /* which the mirror keeps; the memory may go at any time */
	file->start = start;
	file->end = start + length;
	INIT_LIST_HEAD(&file->node);
	mutex_lock(&edu->lock);
	err = edu->gone ? -ENODEV :
	      hmm_mirror_dma_init(&file->dma, &file->mirror, &edu->pci->dev, file->flags);
	if (!err)
		list_add(&file->node, &edu->windows);
	mutex_unlock(&edu->lock);
	if (err)
		close_window(file);
	return err;
}

/* --- A copy ----------------------------------------------------------------------------- */

/*
 * A step of a copy. If the address is not in the window that is moved there. Otherwise what is in
 * the window and in one run is copied, if all goes well, and taken off the copy:
 *
 * First the pages are brought there, with the access that it takes, and mapped for DMA; no lock
 * of the mirror is held, and it takes as long as it takes. Then the address is looked up and used
 * under the mirror's lock, as one step: an invalidation comes before, and nothing is found, so that
 * it has to be done again; or after, and waits in edu_wait().
 */
static int copy_step(struct edu_file *file, struct edu_mirror_args *copy)
{
	struct hmm_mirror_request request = {
		.start = copy->addr & PAGE_MASK,
		.end = min_t(u64, PAGE_ALIGN(copy->addr + copy->length), file->end),
		.default_flags = copy->to_memory ? HMM_MIRROR_PFN_REQ_FLAGS :
						   HMM_MIRROR_PFN_REQ_FAULT,
	};
	u32 length = 0, direction = copy->to_memory ? EDU_DMA_TO_MEMORY : 0;
	u64 from, to = EDU_BUFFER + copy->offset;
	struct hmm_mirror_dma_run run;
	struct edu *edu = file->edu;
	int err;

	if (copy->addr < file->start || copy->addr >= file->end)
		return file->flags ? -ERANGE : open_window(file, round_down(copy->addr, PMD_SIZE),
							   PMD_SIZE);
	err = hmm_mirror_dma_populate(&file->mirror, &request);
	if (err)
		return err;
	if (down_killable(&edu->engine))
		return -EINTR;
	hmm_mirror_lock(&file->mirror);
	if (edu->gone) {
		err = -ENODEV;
	} else if (hmm_mirror_dma_lookup(&file->dma, copy->addr, &run) &&
		   (run.write || !copy->to_memory)) {
		from = run.dma + (copy->addr - run.addr);
		length = min_t(u64, copy->length, run.addr + run.npages * PAGE_SIZE - copy->addr);
		if (copy->to_memory)
			swap(from, to);
		WRITE_ONCE(edu->user, file);
		writeq(from, edu->registers + EDU_DMA_SOURCE);
		writeq(to, edu->registers + EDU_DMA_DESTINATION);
		writeq(length, edu->registers + EDU_DMA_COUNT);
		writeq(EDU_DMA_START | direction, edu->registers + EDU_DMA_COMMAND);
	}
	hmm_mirror_unlock(&file->mirror);
	if (!length)
		up(&edu->engine);
	copy->addr += length;
	copy->offset += length;
	copy->length -= length;
	/* Who is killed leaves, and the DMA goes on: close_window() waits for it. */
	return err ?: wait_event_killable(edu->done, READ_ONCE(edu->user) != file);
}

/* --- Files ------------------------------------------------------------------------------- */

static long edu_ioctl(struct file *filp, unsigned int command, unsigned long argument)
{
	struct edu_file *file = filp->private_data;
	struct edu_mirror_args args;
	long err = -ENOTTY;

	if (copy_from_user(&args, (void __user *)argument, sizeof(args)))
		return -EFAULT;
	if (mutex_lock_killable(&file->lock))
		return -EINTR;
	args.addr = untagged_addr(args.addr);
	if (file->end && file->mm != current->mm) {
		err = -EPERM; /* passed on by fork(): it is not the child's memory */
	} else if (command == EDU_MIRROR_COPY) {
		err = args.length > EDU_MIRROR_MAX_LENGTH || args.to_memory > 1 ||
		      args.offset > EDU_MIRROR_BUFFER_SIZE - args.length ? -EINVAL : 0;
		while (args.length && !err)
			err = copy_step(file, &args);
	} else if (command == EDU_MIRROR_REGION) {
		/* It is used again and again: with the same DMA addresses, if that is possible. */
		file->flags = HMM_MIRROR_DMA_FIXED;
		err = open_window(file, args.addr, args.length);
	}
	mutex_unlock(&file->lock);
	return err;
}

static void edu_put(void *data)
{
	struct edu *edu = data;

	if (refcount_dec_and_test(&edu->users))
		kfree(edu);
}

/* edu_remove() waits for it, in misc_deregister(): there is a device, and a driver. */
static int edu_open(struct inode *inode, struct file *filp)
{
	struct edu *edu = container_of(filp->private_data, struct edu, misc);
	struct edu_file *file = kzalloc(sizeof(*file), GFP_KERNEL_ACCOUNT);

	if (!file)
		return -ENOMEM;
	refcount_inc(&edu->users);
	file->edu = edu;
	mutex_init(&file->lock);
	filp->private_data = file;
	return 0;
}

static int edu_release(struct inode *inode, struct file *filp)
{
	struct edu_file *file = filp->private_data;

	close_window(file);
	edu_put(file->edu);
	kfree(file);
	return 0;
}

static const struct file_operations edu_operations = {
	.owner = THIS_MODULE,
	.open = edu_open,
	.release = edu_release,
	.unlocked_ioctl = edu_ioctl,
};

/* --- The device comes and goes ---------------------------------------------------------- */

static int edu_probe(struct pci_dev *pci, const struct pci_device_id *id)
{
	struct edu *edu = kzalloc(sizeof(*edu), GFP_KERNEL);
	int err;

	if (!edu)
		return -ENOMEM;
	refcount_set(&edu->users, 1);
	edu->pci = pci;
	mutex_init(&edu->lock);
	INIT_LIST_HEAD(&edu->windows);
	sema_init(&edu->engine, 1);
	init_waitqueue_head(&edu->done);
	edu->misc = (struct miscdevice){ .minor = MISC_DYNAMIC_MINOR, .name = "edu_mirror",
					 .fops = &edu_operations, .mode = 0600 };
	pci_set_drvdata(pci, edu);
	/*
	 * What is managed goes in reverse: no interrupt comes after edu_put(). The mask is the
	 * device's own. Memory beyond needs an IOMMU, or it is refused: there is nobody who could
	 * copy it to where the device reaches.
	 */
	err = devm_add_action_or_reset(&pci->dev, edu_put, edu) ?: pcim_enable_device(pci) ?:
	      dma_set_mask_and_coherent(&pci->dev, DMA_BIT_MASK(28));
	if (err)
		return err;
	edu->registers = pcim_iomap(pci, 0, 0);
	if (!edu->registers)
		return -ENOMEM;
	pci_set_master(pci);
	return devm_request_irq(&pci->dev, pci->irq, edu_interrupt, IRQF_SHARED, "edu_mirror",
				edu) ?: misc_register(&edu->misc);
}

/*
 * Programs may have files open, and be in the middle of a copy. Nobody can open another one; what
 * is mapped is unmapped, after the DMA that uses it; and then nobody touches the device: whoever
 * gets a mirror's lock afterwards finds it gone, as hmm_mirror_dma_exit() has taken each lock.
 * The mirrors stay, with nothing mapped, until the files are closed.
 */
static void edu_remove(struct pci_dev *pci)
{
	struct edu *edu = pci_get_drvdata(pci);
	struct edu_file *file, *next;

	misc_deregister(&edu->misc);
	mutex_lock(&edu->lock);
	edu->gone = true;
	list_for_each_entry_safe(file, next, &edu->windows, node) {
		hmm_mirror_dma_exit(&file->dma);
		list_del_init(&file->node);
	}
	mutex_unlock(&edu->lock);
}

static const struct pci_device_id edu_ids[] = { { PCI_DEVICE(0x1234, 0x11e8) }, { } };
MODULE_DEVICE_TABLE(pci, edu_ids);

static struct pci_driver edu_driver = {
	.name = "edu_mirror",
	.id_table = edu_ids,
	.probe = edu_probe,
	.remove = edu_remove,
};
module_pci_driver(edu_driver);

MODULE_DESCRIPTION("DMA by QEMU's edu device from and to the memory of processes");
MODULE_AUTHOR("The hmm_mirror developers");
MODULE_LICENSE("GPL");
