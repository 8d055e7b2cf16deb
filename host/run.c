/* `parapet run`: main loop, outcomes, statistics. */
#include "host/run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "host/chardev.h"
#include "host/control.h"
#include "host/crash.h"
#include "host/diag/render.h"
#include "host/hostlink.h"
#include "host/hvsocket.h"
#include "host/image.h"
#include "host/ic.h"
#include "host/kvm.h"
#include "host/run_options.h"
#include "host/uart.h"
#include "host/unix_socket.h"
#include "host/vm.h"
#include "host/vmbus.h"
#include "host/vp.h"
#include "igvm/igvm.h"

struct file {
	void *data;
	size_t len;
};

static int map_file(const char *path, struct file *f)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st)) {
		log_error("cannot read %s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (!S_ISREG(st.st_mode) || !st.st_size) {
		log_error("%s: %s", path, S_ISREG(st.st_mode) ? "is empty" : "is not a file");
		close(fd);
		return -1;
	}
	f->len = (size_t)st.st_size;
	f->data = mmap(NULL, f->len, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (f->data == MAP_FAILED) {
		f->data = NULL;
		log_error("cannot map %s: %s", path, strerror(errno));
		return -1;
	}
	return 0;
}

static void unmap_file(struct file *f)
{
	if (f->data)
		munmap(f->data, f->len);
}

/* The image as it is, or with the guest's kernel added (then *made is set: free() it). */
static int prepare_image(const struct run_options *o, struct file *image, void **made, size_t *len)
{
	struct igvm_vtl0_linux payload = {.cmdline = o->cmdline};
	struct file kernel = {0}, initrd = {0};
	struct igvm_error err;
	char text[320];
	int ret = -1;

	*made = NULL;
	*len = image->len;
	if (!o->kernel)
		return 0;
	if (map_file(o->kernel, &kernel) || (o->initrd && map_file(o->initrd, &initrd)))
		goto out;
	payload.kernel = kernel.data;
	payload.kernel_len = kernel.len;
	payload.initrd = initrd.data;
	payload.initrd_len = initrd.len;
	if (igvm_add_vtl0_linux(image->data, image->len, &payload, made, len, &err)) {
		log_error("%s: %s", o->image, igvm_error_string(&err, text, sizeof(text)));
		goto out;
	}
	ret = 0;
out:
	unmap_file(&kernel);
	unmap_file(&initrd);
	return ret;
}

struct session {
	const struct run_options *o;
	struct chardev serial[HOSTLINK_PORTS], vtl2_serial;
	int wake, signals, outcome_event;
	int listener[VTLS]; /* of --vsock and --vtl2-vsock, -1: none */
	struct hvsocket *vsock[VTLS];
	struct ic *ic;
	int crash_dir; /* -1: none */
	struct crash *crash;
	int control_listener;
	struct control *control;
	struct timeline timeline;
	double userspace_seen_ms;
	u64 stats_at_userspace[MAX_VPS]; /* VTL2 entries */
	char *paravisor_stats;		 /* what VTL2 answered to HOSTLINK_STATS */
};

static u64 vtl2_entries(const struct vp *vp)
{
	return vp->stats.count[COUNT_VTL2_ENTRY_INTERRUPT] +
	       vp->stats.count[COUNT_VTL2_ENTRY_INTERCEPT];
}

/* What the guest told of itself, and what passed to and from it. */
static void write_guest(FILE *f, const struct session *s, const struct vm *vm)
{
	struct hvsocket_stats sock = {0};

	iothread_lock(vmbus_iothread(vm->vmbus));
	fprintf(f, "  \"guest\": ");
	control_write_guest(f, s->ic);
	if (s->vsock[VTL0])
		hvsocket_stats(s->vsock[VTL0], &sock);
	iothread_unlock(vmbus_iothread(vm->vmbus));
	fprintf(f,
		",\n  \"vsock\": {\"to_guest\": %llu, \"from_guest\": %llu, "
		"\"connected\": %llu, \"refused\": %llu},\n",
		(unsigned long long)sock.to_guest, (unsigned long long)sock.from_guest,
		(unsigned long long)sock.connected, (unsigned long long)sock.refused);
}

static void write_stats(const struct session *s, const struct vm *vm)
{
	FILE *f = fopen(s->o->stats_json, "w");
	double ms = uptime_ms() - s->userspace_seen_ms;
	u64 entries = 0;

	if (!f) {
		log_warn("cannot write %s: %s", s->o->stats_json, strerror(errno));
		return;
	}
	fprintf(f, "{\n  \"boot\": {\"marks_ms\": {");
	for (unsigned i = 0, n = 0; i < MARKS; i++)
		if (s->timeline.ms[i] > 0)
			fprintf(f, "%s\"%s\": %.1f", n++ ? ", " : "", boot_mark_name[i],
				s->timeline.ms[i]);
	fprintf(f, "}},\n  \"vps\": [");
	for (unsigned i = 0; i < vm->vps; i++) {
		const struct vp_stats *st = &vm->vp[i].stats;

		fprintf(f, "%s\n    {", i ? "," : "");
		for (unsigned c = 0; c < COUNTERS; c++)
			fprintf(f, "\"%s\": %llu, ", vp_counter_name[c],
				(unsigned long long)st->count[c]);
		fprintf(f, "\"hypercalls\": [");
		for (unsigned c = 0; c < STATS_HYPERCALLS && st->hypercall[c].calls; c++)
			fprintf(f, "%s{\"code\": %u, \"vtl\": %d, \"calls\": %llu}", c ? ", " : "",
				st->hypercall[c].code, VTL_NUMBER(st->hypercall[c].vtl),
				(unsigned long long)st->hypercall[c].calls);
		fprintf(f, "]}");
		entries += vtl2_entries(&vm->vp[i]) - s->stats_at_userspace[i];
	}
	fprintf(f,
		"\n  ],\n  \"after_userspace\": {\"ms\": %.1f, \"vtl2_entries\": %llu, "
		"\"vtl2_entries_per_s_and_vp\": %.2f},\n",
		s->userspace_seen_ms > 0 ? ms : 0.0, (unsigned long long)entries,
		s->userspace_seen_ms > 0 && ms > 0 ? (double)entries * 1e3 / ms / vm->vps : 0.0);
	write_guest(f, s, vm);
	fprintf(f, "  \"paravisor\": ");
	render_json_string(f, pb_text(s->paravisor_stats ? s->paravisor_stats : ""));
	fprintf(f, "\n}\n");
	if (fclose(f))
		log_warn("cannot write %s: %s", s->o->stats_json, strerror(errno));
}

static void note_userspace(struct session *s, const struct vm *vm)
{
	if (s->userspace_seen_ms > 0 || s->timeline.ms[MARK_USERSPACE] == 0)
		return;
	s->userspace_seen_ms = uptime_ms();
	for (unsigned i = 0; i < vm->vps; i++)
		s->stats_at_userspace[i] = vtl2_entries(&vm->vp[i]);
}

/* Asks the paravisor for its counters while VTL2 still runs; NULL if it does not answer. */
static char *ask_paravisor(struct session *s, struct vm *vm)
{
	char *text;

	hostlink_send(vm, HOSTLINK_STATS, 0, (const u8 *)"", 0);
	for (int i = 0; i < 40 && atomic_load(&vm->outcome) == VM_RUNNING; i++) {
		struct pollfd fd = {.fd = s->wake, .events = POLLIN};
		u64 v;

		poll(&fd, 1, 50);
		if (fd.revents && read(s->wake, &v, sizeof(v)) < 0)
			break;
		text = hostlink_stats(vm->hostlink);
		if (text)
			return text;
	}
	return NULL;
}

#define CONSOLES     (HOSTLINK_PORTS + 1) /* the guest's serial ports, and VTL2's own */
#define UART_POLL_MS 20

static struct chardev *console(struct session *s, unsigned i)
{
	return i < HOSTLINK_PORTS ? &s->serial[i] : &s->vtl2_serial;
}

/* Bytes of input that console `i` takes now. */
static size_t input_room(struct vm *vm, unsigned i)
{
	size_t room;

	if (i < HOSTLINK_PORTS)
		room = hostlink_credit(vm->hostlink, i);
	else
		room = vm->uarts ? uarts_room(vm->uarts) : 0;
	return MIN(room, HOSTLINK_MAX_DATA);
}

/* Reads input of a console and hands it on. Returns false when the user wants out. */
static bool take_input(struct session *s, struct vm *vm, unsigned i, const struct pollfd *fds,
		       unsigned n)
{
	size_t len, room = input_room(vm, i);
	u8 data[HOSTLINK_MAX_DATA];

	/* Keys typed without room are read for Ctrl-A X and otherwise lost. */
	switch (chardev_handle(console(s, i), fds, n, data, room ? room : 1, &len)) {
	case CHARDEV_QUIT: return false;
	case CHARDEV_DATA:
		if (room && i < HOSTLINK_PORTS)
			hostlink_input(vm, i, data, len);
		else if (room)
			uarts_input(vm->uarts, data, len);
		return true;
	default: return true;
	}
}

static void shorten(int *timeout, int ms)
{
	if (*timeout < 0 || *timeout > ms)
		*timeout = ms;
}

/* One round of waiting; ends when the VM has ended or the user wants out. */
static void main_loop(struct session *s, struct vm *vm)
{
	while (atomic_load(&vm->outcome) == VM_RUNNING) {
		unsigned n = 0, first[CONSOLES], count[CONSOLES];
		struct pollfd fds[3 + 2 * CONSOLES];
		int timeout = -1, polled;
		u64 v;

		fds[n++] = (struct pollfd){.fd = s->outcome_event, .events = POLLIN};
		fds[n++] = (struct pollfd){.fd = s->wake, .events = POLLIN};
		fds[n++] = (struct pollfd){.fd = s->signals, .events = POLLIN};
		for (unsigned i = 0; i < CONSOLES; i++) {
			struct chardev *c = console(s, i);
			bool room = input_room(vm, i) > 0;

			first[i] = n;
			count[i] = chardev_poll(c, room, &fds[n]);
			n += count[i];
			if (c->held)
				shorten(&timeout, CHARDEV_FLUSH_MS);
			/* VTL2's UART does not tell when it has room again. */
			if (i == HOSTLINK_PORTS && vm->uarts && !room && c->in >= 0)
				shorten(&timeout, UART_POLL_MS);
		}
		if (s->o->stats_after_ms && s->userspace_seen_ms > 0) {
			double left = s->userspace_seen_ms + s->o->stats_after_ms - uptime_ms();

			if (left <= 0) {
				s->paravisor_stats = ask_paravisor(s, vm);
				vm_end(vm, VM_STOPPED, "time is up");
				return;
			}
			shorten(&timeout, (int)left + 1);
		}
		polled = poll(fds, n, timeout);
		if (polled < 0 && errno != EINTR) {
			vm_end(vm, VM_HOST_FAILED, "poll: %s", strerror(errno));
			return;
		}
		if (polled == 0)
			for (unsigned i = 0; i < CONSOLES; i++)
				chardev_flush(console(s, i));
		note_userspace(s, vm);
		if (polled <= 0)
			continue;
		if (fds[1].revents && read(s->wake, &v, sizeof(v)) < 0)
			continue;
		if (fds[2].revents) {
			struct signalfd_siginfo si;

			if (read(s->signals, &si, sizeof(si)) != sizeof(si))
				continue;
			vm->stop_signal = (int)si.ssi_signo;
			vm_end(vm, VM_STOPPED, "ended by signal %u", si.ssi_signo);
			return;
		}
		for (unsigned i = 0; i < CONSOLES; i++)
			if (!take_input(s, vm, i, &fds[first[i]], count[i])) {
				vm_end(vm, VM_STOPPED, "ended by Ctrl-A X");
				return;
			}
	}
}

static int exit_code(const struct vm *vm, enum vm_outcome outcome)
{
	switch (outcome) {
	case VM_GUEST_PANIC: return EXIT_GUEST_PANIC;
	case VM_TRIPLE_FAULT: return EXIT_TRIPLE_FAULT;
	case VM_PARAVISOR_FAILED: return EXIT_PARAVISOR;
	case VM_HOST_FAILED: return EXIT_HOST;
	case VM_STOPPED: return vm->stop_signal ? 128 + vm->stop_signal : 0;
	/* ended here because of --no-reboot */
	case VM_RESET: return atomic_load(&vm->guest_crashes) ? EXIT_GUEST_PANIC : 0;
	default: return 0;
	}
}

static void abandon_output(struct session *s)
{
	for (unsigned i = 0; i < HOSTLINK_PORTS; i++)
		atomic_store(&s->serial[i].abandon, true);
	atomic_store(&s->vtl2_serial.abandon, true);
}

static const char *vsock_path(const struct run_options *o, enum vtl vtl)
{
	return vtl == VTL2 ? o->vtl2_vsock : o->vsock;
}

/* VMBus and what hangs on it. Returns 0, or -1 after an error line. */
static int start_devices(struct session *s, struct vm *vm)
{
	vm->vmbus = vmbus_create(vm);
	if (!vm->vmbus)
		return -1;
	s->ic = ic_create(vm);
	if (!s->ic)
		return -1;
	s->crash = crash_create(vm->vmbus, s->crash_dir, s->o->crash_dir);
	if (!s->crash)
		return -1;
	if (s->control_listener >= 0) {
		s->control = control_create(vm, s->ic, s->control_listener);
		if (!s->control)
			return -1;
	}
	for (enum vtl vtl = VTL0; vtl < VTLS; vtl++) {
		if (s->listener[vtl] < 0)
			continue;
		s->vsock[vtl] = hvsocket_create(vm->vmbus, vtl, s->listener[vtl],
						vsock_path(s->o, vtl));
		if (!s->vsock[vtl])
			return -1;
	}
	return vmbus_start(vm->vmbus);
}

/* When no VP runs any more. */
static void end_devices(struct session *s, struct vm *vm)
{
	vmbus_stop(vm->vmbus);
	for (enum vtl vtl = VTL0; vtl < VTLS; vtl++) {
		hvsocket_destroy(s->vsock[vtl]);
		s->vsock[vtl] = NULL;
	}
	control_destroy(s->control);
	s->control = NULL;
	crash_destroy(s->crash);
	s->crash = NULL;
	ic_destroy(s->ic);
	s->ic = NULL;
	vmbus_destroy(vm->vmbus);
	vm->vmbus = NULL;
}

/* One life of the VM, from image load to power-off or reset. Returns the outcome. */
static enum vm_outcome run_vm(struct session *s, const struct vm_config *config, int kvm, int *code)
{
	struct chardev *ports[HOSTLINK_PORTS];
	enum vm_outcome outcome = VM_HOST_FAILED;
	struct vm *vm = calloc(1, sizeof(*vm));

	*code = 1;
	if (!vm)
		return outcome;
	for (unsigned i = 0; i < HOSTLINK_PORTS; i++)
		ports[i] = &s->serial[i];
	vm->vm_fd[VTL0] = vm->vm_fd[VTL2] = -1;
	vm->kvm = kvm;
	vm->outcome_event = s->outcome_event;
	vm->timeline = &s->timeline;
	memset(s->stats_at_userspace, 0, sizeof(s->stats_at_userspace)); /* its VPs count from 0 */
	vm->hostlink = hostlink_create(ports, s->wake, s->o->mark);
	if (config->vtl2_serial)
		vm->uarts = uarts_create(&s->vtl2_serial, s->wake);
	if (!vm->hostlink || vm_create(vm, config) || start_devices(s, vm) || vm_start(vm)) {
		vm_stop(vm);
		goto out;
	}
	main_loop(s, vm);
	/* The user wants out: a VP that waits for a reader of its console must not hold it up. */
	if (atomic_load(&vm->outcome) == VM_STOPPED)
		abandon_output(s);
	vm_stop(vm);
	outcome = (enum vm_outcome)atomic_load(&vm->outcome);
	*code = exit_code(vm, outcome);
	if (outcome >= VM_GUEST_PANIC && outcome <= VM_HOST_FAILED)
		log_lines(LOG_ERROR, vm->outcome_text);
	else if (*vm->outcome_text)
		log_debug("%s", vm->outcome_text);
	if (outcome == VM_PARAVISOR_FAILED && s->crash_dir >= 0)
		crash_save_report(s->crash_dir, s->o->crash_dir, vm->outcome_text);
	if (s->o->stats_json)
		write_stats(s, vm);
out:
	free(s->paravisor_stats);
	s->paravisor_stats = NULL;
	end_devices(s, vm);
	vm_destroy(vm);
	uarts_destroy(vm->uarts);
	hostlink_destroy(vm->hostlink);
	free(vm);
	return outcome;
}

static int open_session(struct session *s)
{
	sigset_t set;

	for (unsigned i = 0; i < HOSTLINK_PORTS; i++)
		if (chardev_open(&s->serial[i], s->o->serial[i]))
			return -1;
	if (chardev_open(&s->vtl2_serial, s->o->vtl2_serial ? s->o->vtl2_serial : "null"))
		return -1;
	for (enum vtl vtl = VTL0; vtl < VTLS; vtl++) {
		if (!vsock_path(s->o, vtl))
			continue;
		s->listener[vtl] = hvsocket_listen(vsock_path(s->o, vtl));
		if (s->listener[vtl] < 0)
			return -1;
	}
	if (s->o->crash_dir) {
		s->crash_dir = crash_open_dir(s->o->crash_dir);
		if (s->crash_dir < 0)
			return -1;
	}
	if (s->o->control) {
		s->control_listener = unix_listen(s->o->control, true, 64);
		if (s->control_listener < 0)
			return -1;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->outcome_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->signals < 0 || s->wake < 0 || s->outcome_event < 0) {
		log_error("cannot create event files: %s", strerror(errno));
		return -1;
	}
	return 0;
}

static void close_session(struct session *s)
{
	for (unsigned i = 0; i < HOSTLINK_PORTS; i++)
		chardev_close(&s->serial[i]);
	chardev_close(&s->vtl2_serial);
	for (enum vtl vtl = VTL0; vtl < VTLS; vtl++)
		unix_unlisten(s->listener[vtl], vsock_path(s->o, vtl));
	unix_unlisten(s->control_listener, s->o->control);
	if (s->crash_dir >= 0)
		close(s->crash_dir);
}

int run_command(int argc, char **argv)
{
	struct kvm_check checks[32];
	struct session s = {.wake = -1,
			    .signals = -1,
			    .outcome_event = -1,
			    .listener = {-1, -1},
			    .crash_dir = -1,
			    .control_listener = -1};
	struct vm_config config = {0};
	enum vm_outcome outcome;
	struct run_options o;
	struct file file = {0};
	struct image image;
	void *made = NULL; /* the file with the guest's kernel */
	size_t len;
	int code, kvm = -1;
	u64 v;
	size_t n;

	timeline_mark(&s.timeline, MARK_HOST_START);
	code = run_parse_options(argc, argv, &o);
	if (code)
		return code - 1;
	code = 1;
	s.o = &o;
	/* The image first: what is wrong with it can be told on any machine. */
	if (map_file(o.image, &file) || prepare_image(&o, &file, &made, &len))
		goto out;
	log_debug("%8.1f ms: image prepared, %zu KiB", uptime_ms(), len >> 10);
	if (image_open(&image, made ? made : file.data, len) || image_check_guest(&image) ||
	    image_check(&image, o.memory))
		goto out;
	config.image = &image;
	config.vps = o.cpus;
	config.memory_bytes = o.memory;
	config.bootargs = o.bootargs;
	config.vtl2_serial = o.vtl2_serial != NULL;
	config.no_intercept_page = o.synic_intercepts;
	config.crash_continues = o.crash_continues;
	kvm = kvm_open(checks, ARRAY_SIZE(checks), &n);
	if (kvm < 0) {
		for (size_t i = 0; i < n; i++)
			if (!checks[i].ok)
				log_error("%s is missing: %s", checks[i].what, checks[i].detail);
		goto out;
	}
	if (open_session(&s)) {
		close_session(&s);
		goto out;
	}
	vp_install_signals();
	do {
		outcome = run_vm(&s, &config, kvm, &code);
		while (read(s.outcome_event, &v, sizeof(v)) > 0)
			;
		if (outcome == VM_RESET)
			log_debug("guest reset");
	} while (outcome == VM_RESET && !o.no_reboot);
	close_session(&s);
out:
	if (kvm >= 0)
		close(kvm);
	free(made);
	unmap_file(&file);
	return code;
}
