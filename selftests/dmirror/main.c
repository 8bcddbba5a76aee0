// SPDX-License-Identifier: GPL-2.0
/*
 * dmirror: a dummy device on hmm_mirror, for tests.
 *
 * It speaks the ioctls of the kernel's own test_hmm (uapi.h). /dev/hmm_dmirror0 and 1
 * have device-private memory; 2 and 3 have device-coherent memory, and exist if the
 * module is told where: 256 MiB each that are not system memory, as memmap=256M$address
 * on the kernel's command line sets aside.
 */
#define pr_fmt(fmt) "dmirror: " fmt

#include <linux/fs.h>
#include <linux/init.h>
#include <linux/memremap.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "dmirror.h"
#include "owner.h"

/* A mapping of the device is allocated completely when it is made. */
#define MAX_MAPPING	SZ_1M

static unsigned long spm_addr_dev0;
module_param(spm_addr_dev0, ulong, 0444);
MODULE_PARM_DESC(spm_addr_dev0,
		 "Physical address of the memory of hmm_dmirror2, 256 MiB");

static unsigned long spm_addr_dev1;
module_param(spm_addr_dev1, ulong, 0444);
MODULE_PARM_DESC(spm_addr_dev1,
		 "Physical address of the memory of hmm_dmirror3, 256 MiB");

static struct dmirror_device devices[] = {
	{ .name = "hmm_dmirror0", .type = MEMORY_DEVICE_PRIVATE },
	{ .name = "hmm_dmirror1", .type = MEMORY_DEVICE_PRIVATE },
	{ .name = "hmm_dmirror2", .type = MEMORY_DEVICE_COHERENT },
	{ .name = "hmm_dmirror3", .type = MEMORY_DEVICE_COHERENT },
};

static unsigned int nr_devices;

void *dmirror_owner(void)
{
	return &devices[0];
}
EXPORT_SYMBOL_GPL(dmirror_owner);

static int dmirror_open(struct inode *inode, struct file *file)
{
	/* miscdevice leaves its address here. */
	struct dmirror_device *device = container_of(file->private_data,
						     struct dmirror_device,
						     misc);
	struct dmirror_client *client;
	int err;

	client = kzalloc(sizeof(*client), GFP_KERNEL_ACCOUNT);
	if (!client)
		return -ENOMEM;
	client->device = device;
	client->mm = current->mm;
	client->mirror.dev_private_owner = device;
	dmirror_table_init(&client->table);
	err = hmm_mirror_register(&client->mirror, client->mm, 0,
				  ULONG_MAX & PAGE_MASK, &dmirror_mirror_ops);
	if (err) {
		dmirror_table_destroy(&client->table);
		kfree(client);
		return err;
	}
	file->private_data = client;
	return 0;
}

static int dmirror_release(struct inode *inode, struct file *file)
{
	struct dmirror_client *client = file->private_data;

	hmm_mirror_unregister(&client->mirror);
	/* Like test_hmm: closing a file leaves no pages behind. */
	dmirror_memory_evict(client->device);
	dmirror_table_destroy(&client->table);
	kfree(client);
	return 0;
}

/* Ordinary pages in a mapping of a device, as some drivers have them. */
static int dmirror_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long addr;

	if (vma->vm_end - vma->vm_start > MAX_MAPPING)
		return -EINVAL;
	for (addr = vma->vm_start; addr < vma->vm_end; addr += PAGE_SIZE) {
		struct page *page = alloc_page(GFP_USER | __GFP_ZERO |
					       __GFP_ACCOUNT);
		int err;

		if (!page)
			return -ENOMEM;
		err = vm_insert_page(vma, addr, page);
		/* The mapping has a reference of its own. */
		put_page(page);
		if (err)
			return err;
	}
	return 0;
}

static const struct file_operations dmirror_operations = {
	.owner = THIS_MODULE,
	.open = dmirror_open,
	.release = dmirror_release,
	.mmap = dmirror_mmap,
	.unlocked_ioctl = dmirror_ioctl,
};

static void remove_nodes(unsigned int nr)
{
	while (nr)
		misc_deregister(&devices[--nr].misc);
}

static void destroy_memories(unsigned int nr)
{
	while (nr)
		dmirror_memory_destroy(&devices[--nr]);
}

static int init_memories(void)
{
	unsigned int i;

	for (i = 0; i < nr_devices; i++) {
		int err = dmirror_memory_init(&devices[i]);

		if (err) {
			pr_err("%s: no memory of its own (%d)\n",
			       devices[i].name, err);
			destroy_memories(i);
			return err;
		}
	}
	return 0;
}

static int add_nodes(void)
{
	unsigned int i;

	for (i = 0; i < nr_devices; i++) {
		struct miscdevice *misc = &devices[i].misc;
		int err;

		misc->minor = MISC_DYNAMIC_MINOR;
		misc->name = devices[i].name;
		misc->fops = &dmirror_operations;
		err = misc_register(misc);
		if (err) {
			remove_nodes(i);
			return err;
		}
	}
	return 0;
}

/* Create the nodes last: what can be opened must not be removed again. */
static int __init dmirror_init(void)
{
	int err;

	devices[2].address = spm_addr_dev0;
	devices[3].address = spm_addr_dev1;
	nr_devices = ARRAY_SIZE(devices);
	if (!spm_addr_dev0 || !spm_addr_dev1 ||
	    !IS_ENABLED(CONFIG_DEVICE_MIGRATION))
		nr_devices = 2;

	err = init_memories();
	if (err)
		return err;
	err = add_nodes();
	if (err) {
		destroy_memories(nr_devices);
		return err;
	}
	if (!IS_ENABLED(CONFIG_DEVICE_PRIVATE))
		pr_info("no migration and no exclusive access: this kernel has no CONFIG_DEVICE_PRIVATE\n");
	return 0;
}

static void __exit dmirror_exit(void)
{
	remove_nodes(nr_devices);
	destroy_memories(nr_devices);
}

module_init(dmirror_init);
module_exit(dmirror_exit);
MODULE_DESCRIPTION("Dummy device on hmm_mirror, for tests");
MODULE_LICENSE("GPL");
