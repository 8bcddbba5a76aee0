// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "format.h"
#include "hmmctl.h"
#include "interruption.h"
#include "message.h"

/* Without progress for this long, the program waits for something that does not come. */
#define PATIENCE	(NANOSECONDS_PER_SECOND * 2)

static struct {
	bool begun;
	pthread_t thread;
	/* The signals that interrupt, and SIGUSR1, which ends the thread */
	sigset_t signals;
	sigset_t signals_before;
	__u64 deadline;
	interruption_finish finish;
	void *data;
	int event_fd;
	/* Whose turn it is: the program's, except while it is in the kernel */
	pthread_mutex_t turn;
	atomic_int error;
	atomic_ulong progress;
	atomic_bool ending;
} state = {
	.event_fd = -1,
	.turn = PTHREAD_MUTEX_INITIALIZER,
};

/* Waits for a signal until that time, 0 for ever; returns 0 if none came. */
static int wait_for_signal(__u64 until)
{
	for (;;) {
		__u64 now = now_nanoseconds();
		__u64 left = until > now ? until - now : 0;
		struct timespec timeout = {
			.tv_sec = (time_t)(left / NANOSECONDS_PER_SECOND),
			.tv_nsec = (long)(left % NANOSECONDS_PER_SECOND),
		};
		int signal = sigtimedwait(&state.signals, NULL, until ? &timeout : NULL);

		if (signal > 0)
			return signal;
		if (errno != EINTR)
			return 0;
	}
}

/* The program is stuck in its output, and holds stdio's lock: do not use stdio. */
static void give_up(int error)
{
	static const char text[] =
		"hmmctl: the output is not read any more, so what is left of it is lost\n";

	/* Nothing can be done about an error of this one. */
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		error = EIO;
	_exit(error ? EXIT_STATUS_FAILED : EXIT_STATUS_OK);
}

static void *watch_over(void *unused)
{
	int signal = wait_for_signal(state.deadline);
	__u64 one = 1;
	int error;

	(void)unused;
	if (atomic_load(&state.ending))
		return NULL;
	error = signal ? EINTR : ETIMEDOUT;
	atomic_store(&state.error, error);
	while (write(state.event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;

	/* A second signal means it. */
	for (;;) {
		unsigned long progress = atomic_load(&state.progress);

		signal = wait_for_signal(now_nanoseconds() + PATIENCE);
		if (atomic_load(&state.ending))
			return NULL;
		if (signal || progress == atomic_load(&state.progress))
			break;
	}
	/* The turn is never given back: the program stays where it is. */
	if (!pthread_mutex_trylock(&state.turn))
		exit(state.finish(state.data, error));
	give_up(error);
	return NULL;
}

bool interruption_begin(bool signals, __u64 deadline, interruption_finish finish, void *data)
{
	int error;

	state.deadline = deadline;
	state.finish = finish;
	state.data = data;
	if (!signals && !deadline)
		return true;

	sigemptyset(&state.signals);
	sigaddset(&state.signals, SIGUSR1);
	if (signals) {
		sigaddset(&state.signals, SIGINT);
		sigaddset(&state.signals, SIGTERM);
	}
	state.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = state.event_fd < 0 ? errno : 0;
	/* The thread inherits the blocked signals; then nobody else takes them. */
	if (!error)
		error = pthread_sigmask(SIG_BLOCK, &state.signals, &state.signals_before);
	if (!error) {
		pthread_mutex_lock(&state.turn);
		error = pthread_create(&state.thread, NULL, watch_over, NULL);
	}
	if (error) {
		complain("cannot watch over signals: %s", strerror(error));
		return false;
	}
	state.begun = true;
	return true;
}

void interruption_end(void)
{
	if (!state.begun)
		return;
	atomic_store(&state.ending, true);
	pthread_kill(state.thread, SIGUSR1);
	pthread_join(state.thread, NULL);
	pthread_mutex_unlock(&state.turn);
	state.begun = false;
	pthread_sigmask(SIG_SETMASK, &state.signals_before, NULL);
}

int interruption(void)
{
	return atomic_load(&state.error);
}

int interruption_fd(void)
{
	return state.event_fd;
}

void interruption_alive(void)
{
	atomic_fetch_add_explicit(&state.progress, 1, memory_order_relaxed);
}

void interruption_enter_kernel(void)
{
	interruption_alive();
	if (state.begun)
		pthread_mutex_unlock(&state.turn);
}

void interruption_leave_kernel(void)
{
	if (state.begun)
		pthread_mutex_lock(&state.turn);
	interruption_alive();
}
