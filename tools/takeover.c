// SPDX-License-Identifier: GPL-2.0
/* hmm_takeover.ko: what livepatch and debugfs tell about it */
#include <stdio.h>
#include <unistd.h>

#include "takeover.h"

#define LIVEPATCH	"/sys/kernel/livepatch/hmm_takeover/"
#define CALLERS		"/sys/kernel/debug/hmm_takeover/callers"

static bool flag_is_set(const char *path)
{
	FILE *file = fopen(path, "re");
	int flag = '0';

	if (file) {
		flag = fgetc(file);
		fclose(file);
	}
	return flag == '1';
}

const char *takeover_state(void)
{
	if (access(LIVEPATCH, F_OK))
		return access("/sys/module/hmm_takeover", F_OK) ? "not loaded" : "disabled";
	if (flag_is_set(LIVEPATCH "transition"))
		return "in transition";
	return flag_is_set(LIVEPATCH "enabled") ? "active" : "disabled";
}

size_t takeover_callers(struct takeover_caller callers[TAKEOVER_MAX_CALLERS])
{
	FILE *file = fopen(CALLERS, "re");
	size_t nr = 0;

	if (!file)
		return 0;
	while (nr < TAKEOVER_MAX_CALLERS) {
		struct takeover_caller *caller = &callers[nr];

		if (fscanf(file, "%63s calls %llu pages %llu faults %llu retries %llu errors %llu",
			   caller->module, &caller->calls, &caller->pages, &caller->faults,
			   &caller->retries, &caller->errors) != 6)
			break;
		nr++;
	}
	fclose(file);
	return nr;
}
