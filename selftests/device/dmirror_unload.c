// SPDX-License-Identifier: GPL-2.0
/*
 * Unloading dmirror. As long as a process has pages in its memory the module stays:
 * unloading is refused, unless the pages have been moved to system memory before. In
 * either case every byte is preserved. At the end the module is loaded again, as it was.
 */
#include "harness.h"

#include <sys/uio.h>

#include "dmirror_test.h"

#define MODULE		"/modules/dmirror.ko"
#define PARAMETERS	"/sys/module/dmirror/parameters/"
#define FAIL_PAGE_ALLOC	"/sys/kernel/debug/fail_page_alloc/"
#define NPAGES		64

FIXTURE(unload)
{
	int fd;
	unsigned int unit;
	size_t length;
	char *start;
	char *buffer;
	char parameters[128];
};

FIXTURE_VARIANT(unload)
{
	unsigned int unit;
};

FIXTURE_VARIANT_ADD(unload, private)
{
	.unit = 0,
};

FIXTURE_VARIANT_ADD(unload, coherent)
{
	.unit = 2,
};

/* Returns 0 or the errno; EAGAIN if the module is in use. */
static int unload_module(void)
{
	return syscall(__NR_delete_module, "dmirror", O_NONBLOCK) ? errno : 0;
}

static int load_module(const char *parameters)
{
	int fd = open(MODULE, O_RDONLY | O_CLOEXEC);
	int error;

	if (fd < 0)
		return errno;
	error = syscall(__NR_finit_module, fd, parameters, 0) ? errno : 0;
	close(fd);
	return error;
}

static bool module_is_loaded(void)
{
	return !access("/sys/module/dmirror", F_OK);
}

/* Each word of the pages says which word it is. */
static void fill(char *start, size_t length)
{
	unsigned long *words = (unsigned long *)start;
	size_t i;

	for (i = 0; i < length / sizeof(*words); i++)
		words[i] = i * 0x9e3779b97f4a7c15UL;
}

static bool is_filled(const char *start, size_t length)
{
	const unsigned long *words = (const unsigned long *)start;
	size_t i;

	for (i = 0; i < length / sizeof(*words); i++) {
		if (words[i] != i * 0x9e3779b97f4a7c15UL)
			return false;
	}
	return true;
}

FIXTURE_SETUP(unload)
{
	unsigned long addresses[2];
	const char *reason;
	int fds[2];

	if (access(MODULE, R_OK))
		SKIP(return, "there is no " MODULE " to load again");
	addresses[0] = read_number(PARAMETERS "spm_addr_dev0", 0);
	addresses[1] = read_number(PARAMETERS "spm_addr_dev1", 0);
	snprintf(self->parameters, sizeof(self->parameters),
		 "spm_addr_dev0=%#lx spm_addr_dev1=%#lx", addresses[0],
		 addresses[1]);
	self->unit = variant->unit;
	reason = open_devices(fds, variant->unit);
	if (reason)
		SKIP(return, "%s", reason);
	ASSERT_LE(0, fds[0]);
	ASSERT_LE(0, fds[1]);
	close(fds[1]);
	self->fd = fds[0];
	self->length = NPAGES * page_size();
	self->buffer = alloc_buffer(NPAGES);
	ASSERT_NE(NULL, self->buffer);
	self->start = map_anonymous(NPAGES);
	ASSERT_NE(NULL, self->start);
	/* The data comes from the device: the CPU never had it. */
	ASSERT_EQ(0, move_to_device(self->fd, self->start, NPAGES,
				    self->buffer));
	fill(self->buffer, self->length);
	ASSERT_EQ(0, device_write(self->fd, self->start, NPAGES,
				  self->buffer));
	ASSERT_TRUE(all_pages_are(self->fd, self->start, NPAGES,
				  local_page(self->unit) |
				  HMM_DMIRROR_PROT_WRITE));
}

FIXTURE_TEARDOWN(unload)
{
	if (!module_is_loaded())
		EXPECT_EQ(0, load_module(self->parameters));
}

/* The device is as good as new. */
static void load_and_use(struct __test_metadata *_metadata,
			 FIXTURE_DATA(unload) *self)
{
	ASSERT_FALSE(module_is_loaded());
	ASSERT_EQ(0, load_module(self->parameters));
	self->fd = open_dmirror(self->unit);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, move_to_device(self->fd, self->start, NPAGES,
				    self->buffer));
	EXPECT_TRUE(is_filled(self->buffer, self->length));
	EXPECT_TRUE(is_filled(self->start, self->length));
	close(self->fd);
}

TEST_F(unload, refused_while_a_file_is_open)
{
	EXPECT_EQ(EAGAIN, unload_module());
	EXPECT_TRUE(all_pages_are(self->fd, self->start, NPAGES,
				  local_page(self->unit) |
				  HMM_DMIRROR_PROT_WRITE));
	EXPECT_TRUE(is_filled(self->start, self->length));
}

TEST_F(unload, pages_are_evicted_when_the_file_is_closed)
{
	ASSERT_EQ(0, close(self->fd));
	ASSERT_EQ(0, unload_module());
	EXPECT_TRUE(is_filled(self->start, self->length));
	load_and_use(_metadata, self);
}

/* Pages of two processes, one of which forked after it had moved them. */
TEST_F(unload, pages_of_several_processes)
{
	int ready[2], look[2], status;
	pid_t child;
	char byte;

	ASSERT_EQ(0, pipe(ready));
	ASSERT_EQ(0, pipe(look));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		char *own = map_anonymous(NPAGES);
		int fd = open_dmirror(self->unit);
		bool ok;

		fill(own, self->length);
		ok = !move_to_device(fd, own, NPAGES, self->buffer);
		close(fd);
		close(self->fd);
		if (write(ready[1], "", 1) != 1 || read(look[0], &byte, 1) != 1)
			_exit(2);
		_exit(!(ok && is_filled(own, self->length) &&
			is_filled(self->start, self->length)));
	}
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	ASSERT_EQ(0, close(self->fd));
	EXPECT_EQ(0, unload_module());
	ASSERT_EQ(1, write(look[1], "", 1));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(is_filled(self->start, self->length));
	load_and_use(_metadata, self);
}

/*
 * The process that moved the pages is gone; its child has them. The child has no file
 * open, and knows nothing about the device.
 */
TEST_F(unload, pages_are_inherited)
{
	int ready[2], look[2], status;
	pid_t child, heir;
	char byte;

	ASSERT_EQ(0, pipe(ready));
	ASSERT_EQ(0, pipe(look));
	/* The end of its pipe tells us when the child exits. */
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		char *own = map_anonymous(NPAGES);
		int fd = open_dmirror(self->unit);

		fill(own, self->length);
		if (move_to_device(fd, own, NPAGES, self->buffer))
			_exit(1);
		heir = fork();
		if (heir)
			_exit(heir < 0);
		close(fd);
		close(self->fd);
		close(look[1]);
		if (write(ready[1], "", 1) != 1 || read(look[0], &byte, 1) != 1)
			_exit(2);
		byte = is_filled(own, self->length);
		if (write(ready[1], &byte, 1) != 1)
			_exit(2);
		_exit(0);
	}
	close(ready[1]);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	ASSERT_EQ(0, close(self->fd));
	EXPECT_EQ(EAGAIN, unload_module());
	ASSERT_EQ(1, write(look[1], "", 1));
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	EXPECT_EQ(1, byte);
	EXPECT_EQ(0, read(ready[0], &byte, 1));
	EXPECT_EQ(0, unload_module());
	EXPECT_TRUE(is_filled(self->start, self->length));
	load_and_use(_metadata, self);
}

TEST_F(unload, process_is_killed)
{
	int ready[2], status;
	pid_t child;
	char byte;

	ASSERT_EQ(0, pipe(ready));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		char *own = map_anonymous(NPAGES);
		int fd = open_dmirror(self->unit);

		mark_pages(own, NPAGES, 1);
		if (move_to_device(fd, own, NPAGES, self->buffer) ||
		    write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	ASSERT_EQ(0, close(self->fd));
	EXPECT_EQ(EAGAIN, unload_module());
	kill(child, SIGKILL);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(0, unload_module());
	EXPECT_TRUE(is_filled(self->start, self->length));
	load_and_use(_metadata, self);
}

/* A page that a pipe holds cannot be moved. The module has to wait. */
TEST_F(unload, page_is_held)
{
	struct iovec vector = {
		.iov_base = self->start,
		.iov_len = page_size(),
	};
	int channel[2];

	if (!is_coherent(self->unit))
		SKIP(return, "only coherent memory can be held: to ask for a private page moves it");
	ASSERT_EQ(0, pipe(channel));
	ASSERT_EQ((ssize_t)vector.iov_len,
		  vmsplice(channel[1], &vector, 1, 0));
	ASSERT_EQ(0, close(self->fd));
	EXPECT_EQ(EAGAIN, unload_module());
	self->fd = open_dmirror(self->unit);
	ASSERT_LE(0, self->fd);
	EXPECT_TRUE(all_pages_are(self->fd, self->start, 1,
				  local_page(self->unit) |
				  HMM_DMIRROR_PROT_WRITE));
	EXPECT_TRUE(all_pages_are(self->fd, page_at(self->start, 1), NPAGES - 1,
				  HMM_DMIRROR_PROT_WRITE));
	ASSERT_EQ(0, close(self->fd));
	EXPECT_EQ(EAGAIN, unload_module());
	EXPECT_TRUE(is_filled(self->start, self->length));

	ASSERT_EQ((ssize_t)vector.iov_len,
		  read(channel[0], self->buffer, vector.iov_len));
	EXPECT_TRUE(is_filled(self->buffer, vector.iov_len));
	close(channel[0]);
	close(channel[1]);
	/* Nobody holds it, but it is still there. */
	EXPECT_EQ(EAGAIN, unload_module());
	self->fd = open_dmirror(self->unit);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, close(self->fd));
	EXPECT_EQ(0, unload_module());
	EXPECT_TRUE(is_filled(self->start, self->length));
	load_and_use(_metadata, self);
}

/* When the last file is closed there is no memory to move the pages to. */
TEST_F(unload, pages_cannot_be_evicted)
{
	int make_it_fail = open("/proc/self/make-it-fail", O_RDWR | O_CLOEXEC);

	if (make_it_fail < 0 ||
	    !write_text(FAIL_PAGE_ALLOC "ignore-gfp-wait", "N") ||
	    !write_text(FAIL_PAGE_ALLOC "ignore-gfp-highmem", "N") ||
	    !write_text(FAIL_PAGE_ALLOC "min-order", "0") ||
	    !write_text(FAIL_PAGE_ALLOC "task-filter", "Y") ||
	    !write_text(FAIL_PAGE_ALLOC "verbose", "0") ||
	    !write_text(FAIL_PAGE_ALLOC "interval", "1") ||
	    !write_text(FAIL_PAGE_ALLOC "times", "-1"))
		SKIP(return, "this kernel has no CONFIG_FAIL_PAGE_ALLOC");
	ASSERT_TRUE(write_text(FAIL_PAGE_ALLOC "probability", "100"));
	ASSERT_EQ(1, pwrite(make_it_fail, "1", 1, 0));
	EXPECT_EQ(0, close(self->fd));
	ASSERT_EQ(1, pwrite(make_it_fail, "0", 1, 0));
	ASSERT_TRUE(write_text(FAIL_PAGE_ALLOC "probability", "0"));

	EXPECT_EQ(EAGAIN, unload_module());
	/* Nobody has the device open, and the CPU gets the pages. */
	EXPECT_TRUE(is_filled(self->start, self->length));
	if (is_coherent(self->unit)) {
		EXPECT_EQ(EAGAIN, unload_module());
		ASSERT_EQ(0, close(open_dmirror(self->unit)));
	}
	EXPECT_EQ(0, unload_module());
	EXPECT_TRUE(is_filled(self->start, self->length));
	load_and_use(_metadata, self);
}

TEST_HARNESS_MAIN
