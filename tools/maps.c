// SPDX-License-Identifier: GPL-2.0
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "maps.h"
#include "memory.h"

static void append(struct vma_list *list, struct vma vma)
{
	list->vmas = grow_array(list->vmas, &list->allocated, list->nr, sizeof(*list->vmas));
	list->vmas[list->nr++] = vma;
}

/* "7f00-7f01 rw-p 00000000 00:00 0    [heap]"; false for any other line */
static bool parse_mapping(char *line, struct vma *vma)
{
	unsigned long long start;
	unsigned long long end;
	int name = -1;

	*vma = (struct vma){ 0 };
	/* The kernel wrote it, and numbers that are too long are not its habit. */
	if (sscanf(line, "%llx-%llx %4[rwxsp-] %*x %*x:%*x %*u%n", &start, &end, vma->permissions,
		   &name) != 3 || name < 0)
		return false;

	vma->start = start;
	vma->end = end;
	line += name;
	line += strspn(line, " ");
	line[strcspn(line, "\n")] = 0;
	vma->name = duplicate_string(*line ? line : "anon");
	return true;
}

/* Whether the line "VmFlags: rd wr mr ..." has it */
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

int vma_list_read(struct vma_list *list, const struct process *process, bool details)
{
	size_t line_size = 0;
	char *line = NULL;
	struct vma vma;
	FILE *file = NULL;
	int error = 0;

	if (details)
		file = process_open_file(process, "smaps");
	if (!file)
		file = process_open_file(process, "maps");
	if (!file)
		return -errno;

	while (errno = 0, getline(&line, &line_size, file) > 0) {
		if (parse_mapping(line, &vma))
			append(list, vma);
		else if (list->nr && !strncmp(line, "VmFlags:", strlen("VmFlags:")))
			list->vmas[list->nr - 1].hugetlb = has_flag(line, "ht");
	}
	if (ferror(file))
		error = -errno;

	free(line);
	fclose(file);
	return error;
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

static void delete(struct vma_list *list, size_t first, size_t end)
{
	for (size_t i = first; i < end; i++)
		free(list->vmas[i].name);
	memmove(list->vmas + first, list->vmas + end, (list->nr - end) * sizeof(*list->vmas));
	list->nr -= end - first;
}

/* Makes two of the one at @index, which both end and begin at @address. */
static void split(struct vma_list *list, size_t index, __u64 address)
{
	struct vma upper = list->vmas[index];

	upper.name = duplicate_string(upper.name);
	append(list, upper);
	memmove(list->vmas + index + 1, list->vmas + index,
		(list->nr - 1 - index) * sizeof(*list->vmas));
	list->vmas[index].end = address;
	list->vmas[index + 1] = upper;
	list->vmas[index + 1].start = address;
}

void vma_list_remove(struct vma_list *list, __u64 start, __u64 end)
{
	size_t first = vma_list_find(list, start);
	size_t i;

	if (first < list->nr && list->vmas[first].start < start)
		split(list, first++, start);
	for (i = first; i < list->nr && list->vmas[i].end <= end; i++)
		;
	if (i < list->nr && list->vmas[i].start < end)
		list->vmas[i].start = end;
	if (i > first)
		delete(list, first, i);
}

void vma_list_update(struct vma_list *list, struct vma_list *newer)
{
	struct vma_list merged = { 0 };
	size_t old = 0;

	for (size_t i = 0; i < newer->nr; i++) {
		struct vma *vma = &newer->vmas[i];

		for (; old < list->nr && list->vmas[old].end <= vma->start; old++)
			append(&merged, list->vmas[old]);
		for (; old < list->nr && list->vmas[old].start < vma->end; old++) {
			if (!strcmp(list->vmas[old].name, vma->name))
				vma->tag = list->vmas[old].tag;
			free(list->vmas[old].name);
		}
		append(&merged, *vma);
	}
	for (; old < list->nr; old++)
		append(&merged, list->vmas[old]);

	/* The names have moved. */
	free(list->vmas);
	free(newer->vmas);
	*newer = (struct vma_list){ 0 };
	*list = merged;
}

void vma_list_free(struct vma_list *list)
{
	for (size_t i = 0; i < list->nr; i++)
		free(list->vmas[i].name);
	free(list->vmas);
	*list = (struct vma_list){ 0 };
}
