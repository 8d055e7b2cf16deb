/* Host link: hostile messages of VTL2, credit, power texts, the mark, counters, input. */
#include <sys/eventfd.h>
#include <unistd.h>

#include "host/hostlink.h"
#include "host/msr.h"
#include "tests/unit/host_test.h"

static struct chardev port[HOSTLINK_PORTS];
static int wake, out[2];

static int setup(void **state)
{
	struct chardev *ports[HOSTLINK_PORTS] = {&port[0], &port[1], NULL, &port[3]};

	host_setup(state);
	wake = eventfd(0, EFD_NONBLOCK);
	for (unsigned i = 0; i < HOSTLINK_PORTS; i++)
		chardev_open(&port[i], "null");
	if (pipe(out))
		return -1;
	port[0].out = out[1];
	f->vm.hostlink = hostlink_create(ports, wake, "MARK");
	return 0;
}

static int teardown(void **state)
{
	hostlink_destroy(f->vm.hostlink);
	for (unsigned i = 0; i < HOSTLINK_PORTS; i++)
		chardev_close(&port[i]);
	close(out[0]);
	close(out[1]);
	close(wake);
	return host_teardown(state);
}

static u16 send_raw(const struct hostlink_message *m, u32 size)
{
	u8 *copy = malloc(size ? size : 1); /* exact: ASan sees what is behind */
	u16 status;

	memcpy(copy, m, MIN(size, sizeof(*m)));
	if (size > sizeof(*m))
		memset(copy + sizeof(*m), 0, size - sizeof(*m));
	status = hostlink_receive(vp, copy, size);
	free(copy);
	return status;
}

static u16 message(u16 op, u16 index, const char *text)
{
	struct hostlink_message m = {.op = op, .index = index, .length = (u32)strlen(text)};

	memcpy(m.data, text, strlen(text));
	return send_raw(&m, (u32)offsetof(struct hostlink_message, data) + m.length);
}

static u16 credit(u16 index, u32 more)
{
	struct hostlink_message m = {.op = HOSTLINK_CREDIT, .index = index, .length = 4};

	memcpy(m.data, &more, 4);
	return send_raw(&m, sizeof(m));
}

static void sizes(void **state)
{
	struct hostlink_message m = {.op = HOSTLINK_CONSOLE};
	struct hostlink *link;

	(void)state;
	for (u16 op = 0; op < 20; op++)
		for (u32 size = 0; size <= 250; size++)
			for (u32 i = 0; i < 4; i++) {
				u32 lengths[] = {0, size - 8, size - 7, ~0u};
				bool fits = size >= 8 && size <= 240 && lengths[i] <= size - 8;

				m.op = op;
				m.index = 99;
				m.length = lengths[i];
				if (op == HOSTLINK_POWER && fits)
					continue;
				if (!fits)
					assert_int_equal(send_raw(&m, size),
							 HV_STATUS_INVALID_PARAMETER);
				else
					send_raw(&m, size);
			}
	assert_int_equal(atomic_load(&f->vm.outcome), VM_RUNNING);
	link = f->vm.hostlink;
	f->vm.hostlink = NULL;
	assert_int_equal(send_raw(&m, 240), HV_STATUS_INVALID_CONNECTION_ID);
	f->vm.hostlink = link;
}

static void credit_is_bounded(void **state)
{
	(void)state;
	assert_int_equal(credit(HOSTLINK_PORTS, 1), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(credit(0xffff, 1), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(message(HOSTLINK_CREDIT, 0, "abc"), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(message(HOSTLINK_CREDIT, 0, "abcde"), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(credit(1, 65537), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(credit(1, ~0u), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(hostlink_credit(f->vm.hostlink, 1), 0);
	assert_int_equal(credit(1, 65536), 0);
	assert_int_equal(credit(1, 1), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(credit(1, ~0u), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(credit(1, 0), 0);
	assert_int_equal(hostlink_credit(f->vm.hostlink, 1), 65536);
	assert_int_equal(hostlink_credit(f->vm.hostlink, 0), 0);
	hostlink_reset(f->vm.hostlink);
	assert_int_equal(hostlink_credit(f->vm.hostlink, 1), 0);
}

static void *give(void *arg)
{
	unsigned *taken = arg;

	for (int i = 0; i < 40000; i++)
		*taken += !credit(2, 3);
	return NULL;
}

/* VPs that give credit at once never pass the limit. */
static void credit_from_many(void **state)
{
	pthread_t t[4];
	unsigned taken[4] = {0}, sum = 0;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, give, &taken[i]), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		sum += taken[i];
	}
	assert_int_equal(sum, 65536 / 3);
	assert_int_equal(hostlink_credit(f->vm.hostlink, 2), 65536 / 3 * 3);
}

static void console(void **state)
{
	char text[64];

	(void)state;
	assert_int_equal(message(HOSTLINK_CONSOLE, 2, "no back end\n"), 0);
	assert_int_equal(message(HOSTLINK_CONSOLE, 4, "no such port\n"), 0);
	assert_int_equal(message(HOSTLINK_CONSOLE, 0xffff, "no such port\n"), 0);
	assert_int_equal(message(HOSTLINK_CONSOLE, 0, "hello\n"), 0);
	assert_int_equal(read(out[0], text, sizeof(text)), 6);
	assert_memory_equal(text, "hello\n", 6);
	assert_true(f->timeline.ms[MARK_CONSOLE] > 0);
	assert_true(f->timeline.ms[MARK_USERSPACE] == 0);
}

static bool marked(void)
{
	bool m = f->timeline.ms[MARK_USERSPACE] != 0;

	f->timeline.ms[MARK_USERSPACE] = 0;
	return m;
}

static void mark(void **state)
{
	struct hostlink_message zeros = {.op = HOSTLINK_CONSOLE, .length = 200};

	(void)state;
	message(HOSTLINK_CONSOLE, 0, "MAR");
	message(HOSTLINK_CONSOLE, 1, "K");
	assert_false(marked());
	message(HOSTLINK_CONSOLE, 0, "K");
	assert_true(marked());
	message(HOSTLINK_CONSOLE, 0, "MAMARMMARK.");
	assert_true(marked());
	message(HOSTLINK_CONSOLE, 0, "MARKMARKMARKMARKMARKMARKMARK");
	assert_true(marked());
	/* NUL bytes do not pass the mark's end */
	send_raw(&zeros, sizeof(zeros));
	message(HOSTLINK_CONSOLE, 0, "MARK");
	send_raw(&zeros, sizeof(zeros));
	assert_true(marked());
	assert_false(marked());
}

static void power(void **state)
{
	static const enum vm_outcome outcomes[] = {VM_POWER_OFF,    VM_RESET,
						   VM_TRIPLE_FAULT, VM_PARAVISOR_FAILED,
						   VM_GUEST_PANIC,  VM_PARAVISOR_FAILED};

	(void)state;
	for (u16 i = 0; i < ARRAY_SIZE(outcomes); i++) {
		atomic_store(&f->vm.outcome, VM_RUNNING);
		assert_int_equal(message(HOSTLINK_POWER, i, "why\033[31m\r\nmore \x80 %s%n"), 0);
		assert_int_equal(atomic_load(&f->vm.outcome), outcomes[i]);
		assert_non_null(strstr(f->vm.outcome_text, "why[31m\nmore  %s%n"));
	}
	/* the first end counts */
	message(HOSTLINK_POWER, HOSTLINK_POWER_OFF, "later");
	assert_int_equal(atomic_load(&f->vm.outcome), VM_PARAVISOR_FAILED);
}

static void stats(void **state)
{
	struct hostlink_message m = {.op = HOSTLINK_STATS, .length = HOSTLINK_MAX_DATA};
	char *text;

	(void)state;
	assert_null(hostlink_stats(f->vm.hostlink));
	message(HOSTLINK_STATS, 0, "one\n");
	assert_null(hostlink_stats(f->vm.hostlink));
	message(HOSTLINK_STATS, 0, "two\n");
	message(HOSTLINK_STATS, 0, "");
	text = hostlink_stats(f->vm.hostlink);
	assert_string_equal(text, "one\ntwo\n");
	free(text);
	assert_null(hostlink_stats(f->vm.hostlink));
	message(HOSTLINK_STATS, 0, "");
	text = hostlink_stats(f->vm.hostlink);
	assert_string_equal(text, "");
	free(text);
	/* without end: bounded, and not kept for ever */
	memset(m.data, 'x', sizeof(m.data));
	for (int i = 0; i < 2000; i++)
		send_raw(&m, sizeof(m));
	message(HOSTLINK_STATS, 0, "");
	text = hostlink_stats(f->vm.hostlink);
	assert_true(!text || strlen(text) <= 65536);
	free(text);
	message(HOSTLINK_STATS, 0, "left behind"); /* freed by destroy */
}

static void input(void **state)
{
	u64 base = f->vm.mem.vtl2_base;
	volatile struct hv_message *slot = (struct hv_message *)memory_at(&f->vm.mem, base, 4096) +
					   HOSTLINK_SINT;
	u8 data[500];
	size_t got = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (u8)i;
	msr_hyperv_write(vp, VTL2, HV_MSR_SIMP, base | 1);
	msr_hyperv_write(vp, VTL2, HV_MSR_SCONTROL, 1);
	msr_hyperv_write(vp, VTL2, HV_MSR_SINT0 + HOSTLINK_SINT, 0xf3);
	credit(1, 600);
	hostlink_input(&f->vm, 1, data, sizeof(data));
	assert_int_equal(hostlink_credit(f->vm.hostlink, 1), 100);
	while (slot->type) {
		struct hostlink_message m;

		assert_int_equal(slot->type, HOSTLINK_TYPE);
		assert_int_equal(slot->sender, HOSTLINK_CONNECTION);
		memcpy(&m, (void *)slot->payload, sizeof(m));
		assert_int_equal(m.op, HOSTLINK_CONSOLE);
		assert_int_equal(m.index, 1);
		assert_true(m.length <= HOSTLINK_MAX_DATA);
		assert_memory_equal(m.data, data + got, m.length);
		got += m.length;
		slot->type = 0;
		msr_hyperv_write(vp, VTL2, HV_MSR_EOM, 0);
	}
	assert_int_equal(got, sizeof(data));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(sizes),
		T(credit_is_bounded),
		T(credit_from_many),
		T(console),
		T(mark),
		T(power),
		T(stats),
		T(input),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
