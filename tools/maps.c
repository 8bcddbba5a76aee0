// SPDX-License-Identifier: GPL-2.0
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "interruption.h"
#include "maps.h"
#include "memory.h"

/*
 * Room for a mapping that becomes two: a removed entry after every so many others. If
 * there is none near enough, room is made everywhere.
 */
#define ROOM_INTERVAL	16
#define ROOM_DISTANCE	4096

/* Most mappings have the same name as the previous one. */
struct shared_name {
	size_t users;
	char text[];
};

static struct shared_name *make_name(const char *text)
{
	size_t size = strlen(text) + 1;
	struct shared_name *name = allocate(sizeof(*name) + size);

	name->users = 1;
	memcpy(name->text, text, size);
	return name;
}

static struct shared_name *share_name(struct shared_name *name)
{
	name->users++;
	return name;
}

static void drop_name(struct shared_name *name)
{
	if (name && !--name->users)
		free(name);
}

const char *vma_name(const struct vma *vma)
{
	return vma->name->text;
}

static void append(struct vma_list *list, struct vma vma)
{
	list->vmas = grow_array(list->vmas, &list->allocated, list->nr, sizeof(*list->vmas));
	list->vmas[list->nr++] = vma;
}

static bool is_removed(const struct vma *vma)
{
	return vma->start == vma->end;
}

/* Reads the number at *@text, and the one character behind it, which must be @separator. */
static bool read_field(char **text, int base, char separator, __u64 *value)
{
	char *rest;

	if (!isxdigit((unsigned char)**text))
		return false;
	*value = strtoull(*text, &rest, base);
	if (*rest != separator)
		return false;
	*text = rest + 1;
	return true;
}

/* "7f00-7f01 rw-p 00000000 00:00 0    [heap]"; returns the name, NULL for any other line */
static const char *parse_mapping(char *line, struct vma *vma)
{
	__u64 ignored;
	__u64 major;
	__u64 minor;

	*vma = (struct vma){ 0 };
	if (!read_field(&line, 16, '-', &vma->start) || !read_field(&line, 16, ' ', &vma->end) ||
	    strspn(line, "rwxsp-") != 4 || line[4] != ' ')
		return NULL;
	memcpy(vma->permissions, line, 4);
	line += 5;

	/* The offset, the device, the inode */
	if (!read_field(&line, 16, ' ', &ignored) || !read_field(&line, 16, ':', &major) ||
	    !read_field(&line, 16, ' ', &minor) || !read_field(&line, 10, ' ', &ignored) ||
	    vma->start >= vma->end)
		return NULL;
	vma->device = (__u32)(major << 20 | minor);

	line += strspn(line, " ");
	line[strcspn(line, "\n")] = 0;
	return *line ? line : "anon";
}

struct reading {
	struct vma_list *list;
	const struct range_list *ranges;
	/* The first of @ranges that ends above what was read last */
	size_t range;
	/* Whether there was any mapping at all */
	bool any;
	/* smaps is read only for flags of mappings that are in the list */
	bool flags;
};

/* Whether the mapping is asked for */
static bool is_wanted(struct reading *reading, const struct vma *vma)
{
	const struct range_list *ranges = reading->ranges;

	if (!ranges || !ranges->nr)
		return true;
	while (reading->range < ranges->nr && ranges->ranges[reading->range].end <= vma->start)
		reading->range++;
	return reading->range < ranges->nr && ranges->ranges[reading->range].start < vma->end;
}

static bool is_behind(const struct reading *reading)
{
	return reading->ranges && reading->ranges->nr && reading->range == reading->ranges->nr;
}

/* Whether the line "VmFlags: rd wr mr ..." has the flag */
static bool has_flag(const char *line, const char *flag)
{
	size_t length = strlen(flag);
	const char *word;

	for (word = strchr(line, ' '); word; word = strchr(word, ' ')) {
		word++;
		if (!strncmp(word, flag, length) && !isalnum((unsigned char)word[length]))
			return true;
	}
	return false;
}

static void note_flags(struct reading *reading, const struct vma *vma, const char *line)
{
	struct vma_list *list = reading->list;
	size_t index = vma_list_find(list, vma->start);

	if (index < list->nr && list->vmas[index].start < vma->end)
		list->vmas[index].hugetlb = has_flag(line, "ht");
}

static int read_mappings(FILE *file, void *data)
{
	struct reading *reading = data;
	struct vma_list *list = reading->list;
	struct vma last = { 0 };
	size_t line_size = 0;
	char *line = NULL;
	int error;

	while (errno = 0, getline(&line, &line_size, file) > 0) {
		struct vma vma;
		const char *name;

		if (reading->flags && !strncmp(line, "VmFlags:", strlen("VmFlags:"))) {
			note_flags(reading, &last, line);
			continue;
		}
		name = parse_mapping(line, &vma);
		if (!name)
			continue;
		reading->any = true;
		last = vma;
		if (!is_wanted(reading, &vma)) {
			if (is_behind(reading))
				break;
			continue;
		}
		if (reading->flags)
			continue;
		if (list->nr && !strcmp(vma_name(&list->vmas[list->nr - 1]), name))
			vma.name = share_name(list->vmas[list->nr - 1].name);
		else
			vma.name = make_name(name);
		append(list, vma);
	}
	error = ferror(file) ? -errno : 0;
	free(line);
	return error ? error : reading->any;
}

static int read_file(const char *name, const struct process *process, struct reading *reading)
{
	int result;

	/* It waits for the process's mmap_lock. */
	interruption_enter_kernel();
	result = process_read_threads(process, name, read_mappings, reading);
	interruption_leave_kernel();
	if (result < 0)
		return result;
	return result ? 0 : -ESRCH;
}

int vma_list_read(struct vma_list *list, const struct process *process,
		  const struct range_list *ranges)
{
	struct reading reading = { .list = list, .ranges = ranges };

	return read_file("maps", process, &reading);
}

/*
 * Whether a mapping with this device number can belong to hugetlbfs, which has no block
 * device behind it: its major number is 0.
 */
static bool may_be_hugetlb(const struct vma *vma)
{
	return vma->device && !(vma->device >> 20);
}

/* 1 or 0, or a negative errno */
static int is_hugetlb(const struct process *process, const struct vma *vma)
{
	struct statfs filesystem;
	char path[64];
	int error = 0;
	int fd;

	snprintf(path, sizeof(path), "map_files/%llx-%llx", vma->start, vma->end);
	fd = openat(process->directory, path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstatfs(fd, &filesystem))
		error = -errno;
	close(fd);
	return error ? error : filesystem.f_type == HUGETLBFS_MAGIC;
}

struct device {
	__u32 number;
	bool hugetlb;
};

int vma_list_find_hugetlb(struct vma_list *list, const struct process *process,
			  const struct range_list *ranges)
{
	struct reading reading = { .list = list, .ranges = ranges, .flags = true };
	struct device *devices = NULL;
	size_t allocated = 0;
	size_t nr = 0;
	bool unknown = false;

	for (size_t i = 0; i < list->nr && !unknown; i++) {
		struct vma *vma = &list->vmas[i];
		size_t known = 0;
		int result;

		if (!may_be_hugetlb(vma))
			continue;
		while (known < nr && devices[known].number != vma->device)
			known++;
		if (known == nr) {
			result = is_hugetlb(process, vma);
			if (result < 0) {
				unknown = true;
				break;
			}
			devices = grow_array(devices, &allocated, nr, sizeof(*devices));
			devices[nr++] = (struct device){ vma->device, result };
		}
		vma->hugetlb = devices[known].hugetlb;
	}
	free(devices);
	return unknown ? read_file("smaps", process, &reading) : 0;
}

size_t vma_list_find(const struct vma_list *list, __u64 address)
{
	size_t low = 0;
	size_t high = list->nr;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (list->vmas[middle].end > address)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* It keeps its place, where nothing looks for it: others need not move. */
static void remove_one(struct vma_list *list, struct vma *vma)
{
	if (is_removed(vma))
		return;
	vma->end = vma->start;
	list->nr_removed++;
}

/* Closes the gaps once half of them are removed. */
static void tidy_up(struct vma_list *list)
{
	size_t nr = 0;

	if (list->nr_removed <= list->nr / 2)
		return;
	for (size_t i = 0; i < list->nr; i++) {
		if (is_removed(&list->vmas[i]))
			drop_name(list->vmas[i].name);
		else
			list->vmas[nr++] = list->vmas[i];
	}
	list->nr = nr;
	list->nr_removed = 0;
}

/* The removed one that is nearest to @index; list->nr if it is far away */
static size_t find_room(const struct vma_list *list, size_t index)
{
	for (size_t distance = 1; distance < ROOM_DISTANCE; distance++) {
		if (distance <= index && is_removed(&list->vmas[index - distance]))
			return index - distance;
		if (distance < list->nr - index && is_removed(&list->vmas[index + distance]))
			return index + distance;
	}
	return list->nr;
}

/* Spreads room evenly; returns where the one at @index is then. */
static size_t make_room(struct vma_list *list, size_t index)
{
	struct vma_list roomy = { 0 };
	size_t moved_to = 0;

	for (size_t i = 0; i < list->nr; i++) {
		const struct vma *vma = &list->vmas[i];

		if (is_removed(vma)) {
			drop_name(vma->name);
			continue;
		}
		if (roomy.nr % ROOM_INTERVAL == 0) {
			append(&roomy, (struct vma){ .start = vma->start, .end = vma->start });
			roomy.nr_removed++;
		}
		if (i == index)
			moved_to = roomy.nr;
		append(&roomy, *vma);
	}
	free(list->vmas);
	*list = roomy;
	return moved_to;
}

/* Splits the one at @index in two, at @address. Returns where the upper one is. */
static size_t split(struct vma_list *list, size_t index, __u64 address)
{
	size_t room = find_room(list, index);
	struct vma upper;

	if (room == list->nr) {
		index = make_room(list, index);
		room = find_room(list, index);
	}
	upper = list->vmas[index];
	upper.start = address;
	share_name(upper.name);
	list->vmas[index].end = address;

	drop_name(list->vmas[room].name);
	list->nr_removed--;
	if (room < index) {
		memmove(list->vmas + room, list->vmas + room + 1,
			(index - room) * sizeof(*list->vmas));
	} else {
		index++;
		memmove(list->vmas + index + 1, list->vmas + index,
			(room - index) * sizeof(*list->vmas));
	}
	list->vmas[index] = upper;
	return index;
}

void vma_list_remove(struct vma_list *list, __u64 start, __u64 end)
{
	size_t first = vma_list_find(list, start);
	size_t i;

	if (first < list->nr && list->vmas[first].start < start &&
	    list->vmas[first].end <= end) {
		list->vmas[first++].end = start;
	} else if (first < list->nr && list->vmas[first].start < start) {
		first = split(list, first, start);
		list->vmas[first].start = end;
		return;
	}
	for (i = first; i < list->nr && list->vmas[i].end <= end; i++)
		remove_one(list, &list->vmas[i]);
	if (i < list->nr && list->vmas[i].start < end)
		list->vmas[i].start = end;
	tidy_up(list);
}

void vma_list_cut(struct vma_list *list, const struct range_list *ranges)
{
	__u64 outside = 0;

	for (size_t i = 0; i < ranges->nr; i++) {
		vma_list_remove(list, outside, ranges->ranges[i].start);
		outside = ranges->ranges[i].end;
	}
	if (ranges->nr)
		vma_list_remove(list, outside, ULLONG_MAX);
}

__u64 vma_list_size(const struct vma_list *list)
{
	__u64 size = 0;

	for (size_t i = 0; i < list->nr; i++)
		size += list->vmas[i].end - list->vmas[i].start;
	return size;
}

static void keep(struct vma_list *merged, struct vma *vma, __u64 now, __u64 forgotten)
{
	if (!vma->gone) {
		vma->gone = true;
		vma->gone_at = now;
	}
	if (is_removed(vma) || vma->gone_at < forgotten)
		drop_name(vma->name);
	else
		append(merged, *vma);
}

void vma_list_update(struct vma_list *list, struct vma_list *newer, __u64 now, __u64 forgotten)
{
	struct vma_list merged = { 0 };
	size_t old = 0;

	for (size_t i = 0; i < newer->nr; i++) {
		struct vma *vma = &newer->vmas[i];

		if (is_removed(vma)) {
			drop_name(vma->name);
			continue;
		}
		for (; old < list->nr && list->vmas[old].end <= vma->start; old++)
			keep(&merged, &list->vmas[old], now, forgotten);
		for (; old < list->nr && list->vmas[old].start < vma->end; old++) {
			if (!is_removed(&list->vmas[old]) &&
			    !strcmp(vma_name(&list->vmas[old]), vma_name(vma)))
				vma->tag = list->vmas[old].tag;
			drop_name(list->vmas[old].name);
		}
		append(&merged, *vma);
	}
	for (; old < list->nr; old++)
		keep(&merged, &list->vmas[old], now, forgotten);

	/* The names have moved. */
	free(list->vmas);
	free(newer->vmas);
	*newer = (struct vma_list){ 0 };
	*list = merged;
}

void vma_list_free(struct vma_list *list)
{
	for (size_t i = 0; i < list->nr; i++)
		drop_name(list->vmas[i].name);
	free(list->vmas);
	*list = (struct vma_list){ 0 };
}
