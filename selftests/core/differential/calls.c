// SPDX-License-Identifier: GPL-2.0
/* Has requests answered, by ioctl. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "calls.h"
#include "layout.h"

#define MAX_TRIES	200

static int device;
char reason[512];
bool never_settled;
unsigned long nr_stale;

/* The answers of a run: words of up to MAX_CALLS functions. */
uint64_t words[DIFFERENTIAL_MAX_CALLS][MAX_RANGE];
unsigned char entries[MAX_RANGE];
uint64_t first_words[MAX_RANGE];
uint64_t before_words[MAX_RANGE];
static uint64_t snapshot_request[MAX_RANGE];
struct differential_call calls[DIFFERENTIAL_MAX_CALLS];
struct differential_call first_call;

const char *describe(uint64_t word)
{
	static char texts[4][96];
	static unsigned int next;
	char *text = texts[next++ % 4];

	snprintf(text, sizeof(texts[0]), "%s%s%sorder %llu pfn %#llx",
		 word & VALID ? "VALID " : "", word & WRITE ? "WRITE " : "",
		 word & ERROR ? "ERROR " : "",
		 (word & DIFFERENTIAL_ORDER_MASK) >> DIFFERENTIAL_ORDER_SHIFT,
		 word & DIFFERENTIAL_PFN_MASK);
	return text;
}

bool differ(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	return false;
}

static struct differential_call make_call(const struct test_case *test,
					  unsigned int function,
					  const uint64_t *requests,
					  uint64_t *answer)
{
	return (struct differential_call){
		.function = function,
		.capacity = test->capacity,
		.start = (unsigned long)address_of(test->first),
		.npages = test->npages,
		.owner_pfn = test->owner_pfn,
		.requests = (unsigned long)requests,
		.words = (unsigned long)answer,
	};
}

struct differential_call make_request(const struct test_case *test,
				      unsigned int function, uint64_t *answer)
{
	struct differential_call call = make_call(test, function, test->words,
						  answer);

	call.default_flags = test->default_flags;
	call.pfn_flags_mask = test->mask;
	return call;
}

bool run(const struct test_case *test, struct differential_call *run_calls,
	 unsigned int nr, unsigned int flags)
{
	struct differential_run args = {
		.flags = flags,
		.nr_calls = nr,
		.start = (unsigned long)address_of(test->first),
		.npages = test->npages,
		.calls = (unsigned long)run_calls,
	};
	unsigned int i, tries;

	for (tries = 0; tries < MAX_TRIES; tries++) {
		if (ioctl(device, DIFFERENTIAL_RUN, &args))
			return differ("ioctl: %s", strerror(errno));
		if (!args.stale)
			break;
		nr_stale++;
	}
	never_settled = args.stale;
	if (never_settled)
		return differ("invalidated again and again");
	for (i = 0; i < nr; i++) {
		if (run_calls[i].violation)
			return differ("function %u: violation %u of extents",
				      run_calls[i].function,
				      run_calls[i].violation);
	}
	return true;
}

void make_snapshots(const struct test_case *test)
{
	calls[0] = make_call(test, DIFFERENTIAL_KERNEL, snapshot_request,
			     words[0]);
	calls[1] = make_call(test, DIFFERENTIAL_PAGES, snapshot_request,
			     words[1]);
	calls[2] = make_call(test, DIFFERENTIAL_EXTENTS, snapshot_request,
			     words[2]);
	calls[2].entries = (unsigned long)entries;
	calls[3] = make_call(test, DIFFERENTIAL_KERNEL, snapshot_request,
			     words[3]);
}

int open_device(void)
{
	size_t i;

	for (i = 0; i < MAX_RANGE; i++)
		snapshot_request[i] = PATTERN | REQ_BITS | DRIVER_BITS;
	device = open(DIFFERENTIAL_DEVICE, O_RDWR | O_CLOEXEC);
	if (device < 0)
		return errno;
	return ioctl(device, DIFFERENTIAL_RUN, NULL) ? errno : 0;
}

void close_device(void)
{
	close(device);
}
