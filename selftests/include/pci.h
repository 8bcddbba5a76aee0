/* SPDX-License-Identifier: GPL-2.0 */
/* PCI devices as sysfs shows them, and memory that one of them shares with others */
#ifndef PCI_H
#define PCI_H

#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "witness.h"

#define PCI_DEVICES	"/sys/bus/pci/devices/"
#define PCI_NAME_LENGTH	64 /* as in 0000:00:04.0, with room to spare */

/* The last device with this ID, as in 0x11e8. False, and an empty name, if there is none. */
static inline bool find_pci_device(const char *id, char *name)
{
	glob_t found;
	size_t i;

	name[0] = '\0';
	if (glob(PCI_DEVICES "*", 0, NULL, &found))
		return false;
	for (i = 0; i < found.gl_pathc; i++) {
		char path[128];

		snprintf(path, sizeof(path), "%s/device", found.gl_pathv[i]);
		if (file_has_word(path, id))
			snprintf(name, PCI_NAME_LENGTH, "%s",
				 strrchr(found.gl_pathv[i], '/') + 1);
	}
	globfree(&found);
	return name[0];
}

/* Whether two PCI devices are below one switch, as their places in sysfs say. */
static inline bool are_neighbours(const char *one, const char *other)
{
	char paths[2][PATH_MAX] = {};
	const char * const names[] = { one, other };
	int i;

	for (i = 0; i < 2; i++) {
		char link[128], *end;
		int level;

		snprintf(link, sizeof(link), PCI_DEVICES "%s", names[i]);
		if (!realpath(link, paths[i]))
			return false;
		/* The device, and the port that it is below */
		for (level = 0; level < 2; level++) {
			end = strrchr(paths[i], '/');
			if (!end)
				return false;
			*end = '\0';
		}
	}
	return !strcmp(paths[0], paths[1]);
}

/*
 * Whether the kernel lets the host bridge pass on what one PCI device sends another. It trusts
 * all of AMD's from family 17h on, whatever else the machine has (drivers/pci/p2pdma.c).
 */
static inline bool host_bridge_is_trusted(void)
{
	FILE *file = fopen("/proc/cpuinfo", "r");
	unsigned int family = 0;
	char line[256];

	while (file && !family && fgets(line, sizeof(line), file))
		sscanf(line, "cpu family : %u", &family);
	if (file)
		fclose(file);
	return file_has_word("/proc/cpuinfo", "AuthenticAMD") && family >= 0x17;
}

/*
 * A descriptor that the memory of a PCI device can be mapped from, and the device's name; -1
 * if none has such memory.
 */
static inline int open_peer_memory(char *owner)
{
	glob_t found;
	int fd;

	if (glob(PCI_DEVICES "*/p2pmem/allocate", 0, NULL, &found))
		return -1;
	snprintf(owner, PCI_NAME_LENGTH, "%s",
		 found.gl_pathv[0] + strlen(PCI_DEVICES));
	owner[strcspn(owner, "/")] = '\0';
	fd = open(found.gl_pathv[0], O_RDWR | O_CLOEXEC);
	globfree(&found);
	return fd;
}

#endif /* PCI_H */
