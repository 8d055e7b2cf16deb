/* Starting programs with pipes, with a terminal, or straight on their sockets. */
#include "paravisor/diag/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "paravisor/thread.h"

#define KILL_AFTER_NS 3000000000ull
#define CODE_SIGNAL   255
/* What runs longer gets no more of a CPU than the guest. */
#define SHORT_NS 1000000000ull

void child_init(struct child_table *table, struct loop *loop)
{
	*table = (struct child_table){.loop = loop};
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* What one program needs while it is being started. */
struct start {
	const struct child_spec *spec;
	int child_end[CHILD_STREAMS]; /* what becomes its 0, 1, 2; -1 = inherited */
	int our_end[CHILD_STREAMS];   /* pipe ends for the pumps */
	int pty, socket[CHILD_STREAMS];
};

static bool open_pipes(struct start *s)
{
	for (int i = 0; i < CHILD_STREAMS; i++) {
		int pair[2];

		if (s->socket[i] < 0 && !s->spec->attach[i])
			continue;
		if (pipe2(pair, O_CLOEXEC))
			return false;
		s->child_end[i] = pair[i == CHILD_STDIN ? 0 : 1];
		s->our_end[i] = pair[i == CHILD_STDIN ? 1 : 0];
		fcntl(s->our_end[i], F_SETFL, O_NONBLOCK);
	}
	return true;
}

static bool open_terminal(struct start *s)
{
	const struct winsize size = {.ws_row = s->spec->rows, .ws_col = s->spec->columns};
	int secondary;

	s->pty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (s->pty < 0 || grantpt(s->pty) || unlockpt(s->pty))
		return false;
	/* not by name: that also works where /dev/pts is mounted elsewhere */
	secondary = ioctl(s->pty, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (secondary < 0)
		return false;
	s->child_end[CHILD_STDIN] = secondary;
	if (size.ws_row && size.ws_col)
		ioctl(s->pty, TIOCSWINSZ, &size);
	fcntl(s->pty, F_SETFL, O_NONBLOCK);
	return true;
}

/* In the new process. Returns only if the program cannot be executed. */
static void become(const struct start *s)
{
	sigset_t none;
	int fd[CHILD_STREAMS];

	/* above 2, so that none is overwritten before it is used */
	for (int i = 0; i < CHILD_STREAMS; i++) {
		fd[i] = s->spec->tty   ? s->child_end[CHILD_STDIN]
			: s->spec->raw ? s->socket[i]
				       : s->child_end[i];
		if (fd[i] >= 0)
			fd[i] = fcntl(fd[i], F_DUPFD_CLOEXEC, CHILD_STREAMS);
	}
	if (s->spec->combine_stderr && fd[CHILD_STDERR] < 0)
		fd[CHILD_STDERR] = fd[CHILD_STDOUT];
	if (s->spec->tty) {
		setsid();
		ioctl(fd[CHILD_STDIN], TIOCSCTTY, 0);
	} else {
		setpgid(0, 0);
	}
	for (int i = 0; i < CHILD_STREAMS; i++) {
		if (fd[i] < 0)
			continue;
		/* what the program inherits must block as it expects */
		if (s->spec->raw)
			fcntl(fd[i], F_SETFL, fcntl(fd[i], F_GETFL) & ~O_NONBLOCK);
		dup2(fd[i], i);
	}
	for (int i = 1; i < _NSIG; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvpe(s->spec->argv[0], s->spec->argv, s->spec->environment);
}

/*
 * The pid, or -1 with the errno of vfork or exec. The new process runs in our memory, while we
 * stand still, until it has become the program: nothing is copied, and it can tell us why it could
 * not.
 */
static pid_t spawn(const struct start *s)
{
	volatile int error = 0;
	pid_t pid = vfork();

	if (pid == 0) {
		become(s);
		error = errno;
		_exit(127);
	}
	if (pid > 0 && error) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		errno = error;
		pid = -1;
	}
	return pid;
}

static void check_abandoned(void *context);

/* The child's streams, each with its pump, which takes the descriptors. */
static void connect_streams(struct child *child, struct start *s)
{
	struct loop *loop = child->table->loop;

	for (int i = 0; i < CHILD_STREAMS; i++) {
		enum pump_kind kind = i == CHILD_STDIN ? PUMP_INPUT : PUMP_OUTPUT;
		int socket = s->socket[i], end = s->our_end[i];

		if (socket < 0)
			continue;
		child->connected = true;
		s->socket[i] = s->our_end[i] = -1;
		if (s->spec->raw) {
			pump_start(loop, PUMP_WATCH, -1, socket, &child->stream[i], check_abandoned,
				   child);
			continue;
		}
		if (s->spec->tty) {
			if (i == CHILD_STDERR) {
				close(socket);
				continue;
			}
			end = fcntl(s->pty, F_DUPFD_CLOEXEC, 0);
			if (end < 0) {
				close(socket);
				continue;
			}
		}
		pump_start(loop, kind, i == CHILD_STDIN ? socket : end,
			   i == CHILD_STDIN ? end : socket, &child->stream[i], check_abandoned,
			   child);
	}
}

/* Our ends of the streams that somebody else looks after. False with errno. */
static bool attach_streams(struct start *s, int end[CHILD_STREAMS])
{
	for (int i = 0; i < CHILD_STREAMS; i++) {
		if (!s->spec->attach[i] || (s->spec->tty && i == CHILD_STDERR))
			continue;
		if (s->spec->tty) {
			end[i] = fcntl(s->pty, F_DUPFD_CLOEXEC, 0);
			if (end[i] < 0)
				return false;
		} else {
			end[i] = s->our_end[i];
			s->our_end[i] = -1;
		}
	}
	return true;
}

static void on_weight_timer(struct loop_timer *timer)
{
	const struct child *child = (struct child *)((u8 *)timer -
						     offsetof(struct child, weight_timer));

	setpriority(PRIO_PGRP, (id_t)child->pid, THREAD_VP_NICE);
}

struct child *child_start(struct child_table *table, const struct child_spec *spec,
			  int end[CHILD_STREAMS])
{
	struct start s = {.spec = spec,
			  .pty = -1,
			  .child_end = {-1, -1, -1},
			  .our_end = {-1, -1, -1},
			  .socket = {spec->socket[0], spec->socket[1], spec->socket[2]}};
	struct child *child = calloc(1, sizeof(*child));
	int error;

	for (int i = 0; end && i < CHILD_STREAMS; i++)
		end[i] = -1;
	errno = EAGAIN;
	if (!child || table->running >= CHILDREN_MAX)
		goto failed;
	if (spec->tty ? !open_terminal(&s) : !spec->raw && !open_pipes(&s))
		goto failed;
	if (end && !attach_streams(&s, end))
		goto failed;
	child->pid = spawn(&s);
	if (child->pid < 0)
		goto failed;
	child->connected = end;
	child->table = table;
	child->owner = spec->owner;
	child->tty = spec->tty;
	child->next = table->first;
	table->first = child;
	table->running++;
	child->weight_timer.expired = on_weight_timer;
	loop_arm(table->loop, &child->weight_timer, monotonic_ns() + SHORT_NS);
	connect_streams(child, &s);
	error = 0;
	goto out;
failed:
	error = errno;
	free(child);
	child = NULL;
	for (int i = 0; end && i < CHILD_STREAMS; i++)
		close_fd(&end[i]);
out:
	for (int i = 0; i < CHILD_STREAMS; i++) {
		close_fd(&s.child_end[i]);
		close_fd(&s.our_end[i]);
		close_fd(&s.socket[i]);
	}
	close_fd(&s.pty);
	errno = error;
	return child;
}

static void forget(struct child *child)
{
	struct child_table *table = child->table;
	struct child **at = &table->first;

	while (*at != child)
		at = &(*at)->next;
	*at = child->next;
	if (child->exited)
		table->exited--;
	else
		table->running--;
	for (int i = 0; i < CHILD_STREAMS; i++) {
		if (child->stream[i])
			pump_orphan(child->stream[i]);
	}
	loop_disarm(&child->kill_timer);
	loop_disarm(&child->weight_timer);
	free(child);
}

static struct child *find(struct child_table *table, pid_t pid)
{
	struct child *child = table->first;

	while (child && child->pid != pid)
		child = child->next;
	return child;
}

bool child_wait(struct child_table *table, pid_t pid, void (*waiter)(void *context, int code),
		void *context)
{
	struct child *child = find(table, pid);

	if (!child || child->waiter)
		return false;
	if (child->exited) {
		int code = child->code;

		forget(child);
		waiter(context, code);
		return true;
	}
	child->waiter = waiter;
	child->context = context;
	return true;
}

void child_cancel_wait(struct child_table *table, void *context)
{
	for (struct child *child = table->first; child; child = child->next) {
		if (child->waiter && child->context == context)
			child->waiter = NULL;
	}
}

static void forget_oldest_exited(struct child_table *table)
{
	struct child *oldest = NULL;

	for (struct child *child = table->first; child; child = child->next) {
		if (child->exited)
			oldest = child;
	}
	if (oldest)
		forget(oldest);
}

static void on_exit_of(struct child *child, int status)
{
	struct child_table *table = child->table;

	child->exited = true;
	child->code = WIFEXITED(status) ? WEXITSTATUS(status) : CODE_SIGNAL;
	table->running--;
	table->exited++;
	loop_disarm(&child->kill_timer);
	loop_disarm(&child->weight_timer);
	for (int i = 0; i < CHILD_STREAMS; i++) {
		struct pump *pump = child->stream[i];

		if (!pump)
			continue;
		pump_orphan(pump);
		if (i == CHILD_STDIN)
			pump_stop(pump);
		else if (pump->kind == PUMP_WATCH)
			pump_finish(pump);
		/* others drain what is still on its way, however long that takes */
	}
	if (child->waiter) {
		child->waiter(child->context, child->code);
		forget(child);
	} else if (!child->owner || table->exited > EXITED_MAX) {
		if (!child->owner)
			forget(child);
		else
			forget_oldest_exited(table);
	}
}

void child_reap(struct child_table *table)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct child *child = find(table, pid);

		if (child && !child->exited)
			on_exit_of(child, status);
	}
}

static void on_kill_timer(struct loop_timer *timer)
{
	struct child *child = (struct child *)((u8 *)timer - offsetof(struct child, kill_timer));

	kill(-child->pid, SIGKILL);
}

/* A stream of the child has lost its peer, or the child its owner. */
static void check_abandoned(void *context)
{
	struct child *child = context;

	if (child->owner || !child->connected)
		return;
	for (int i = 0; i < CHILD_STREAMS; i++) {
		const struct pump *pump = child->stream[i];

		if (pump && !pump->peer_closed)
			return;
	}
	child_hang_up(child);
}

void child_hang_up(struct child *child)
{
	if (child->exited || child->hung_up)
		return;
	child->hung_up = true;
	log_info("client of process %d is gone: hanging it up", (int)child->pid);
	kill(-child->pid, SIGHUP);
	kill(-child->pid, SIGCONT);
	child->kill_timer.expired = on_kill_timer;
	loop_arm(child->table->loop, &child->kill_timer, monotonic_ns() + KILL_AFTER_NS);
}

void child_owner_gone(struct child_table *table, u64 owner)
{
	struct child *next;

	for (struct child *child = table->first; child; child = next) {
		next = child->next;
		if (child->owner != owner)
			continue;
		child->owner = 0;
		if (child->exited)
			forget(child);
		else
			check_abandoned(child);
	}
}

bool child_resize(struct child_table *table, pid_t pid, u16 rows, u16 columns)
{
	const struct winsize size = {.ws_row = rows, .ws_col = columns};
	const struct child *child = find(table, pid);
	int pty = -1;

	if (!child || child->exited || !child->tty)
		return false;
	if (child->terminal)
		pty = *child->terminal;
	else if (child->stream[CHILD_STDOUT])
		pty = child->stream[CHILD_STDOUT]->from;
	if (pty < 0 && !child->terminal && child->stream[CHILD_STDIN])
		pty = child->stream[CHILD_STDIN]->to;
	return pty >= 0 && ioctl(pty, TIOCSWINSZ, &size) == 0;
}

bool child_signal(struct child_table *table, pid_t pid, int number)
{
	const struct child *child = find(table, pid);

	return child && !child->exited && number > 0 && number < _NSIG &&
	       kill(-child->pid, number) == 0;
}

void child_free(struct child_table *table)
{
	while (table->first) {
		struct child *child = table->first;

		for (int i = 0; i < CHILD_STREAMS; i++) {
			if (child->stream[i])
				pump_stop(child->stream[i]);
		}
		if (!child->exited) {
			kill(-child->pid, SIGKILL);
			while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
				;
		}
		forget(child);
	}
}
