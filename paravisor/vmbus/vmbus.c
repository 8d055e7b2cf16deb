/* The guest's VMBus: hypercalls in, direct messages out, and the lock around both engines. */
#include "paravisor/vmbus/vmbus.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/saved.h"
#include "common/vmbus/inspect.h"
#include "common/vmbus/save.h"
#include "common/vmbus/server.h"
#include "paravisor/gmem.h"
#include "paravisor/mshv.h"
#include "paravisor/thread.h"
#include "paravisor/vmbus/relay.h"
#include "paravisor/vmbus/relay_inspect.h"

/* A taken message slot, or a host without buffers, is tried again after that time, then later. */
#define RETRY_FIRST_MS 1u
#define RETRY_MAX_MS   64u
#define NEVER	       UINT64_MAX
#define LOGGED_LINES   32 /* a guest may come and go without end */

/* One lock for server, client and relay; never held while the guest runs. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static struct vmbus_server *server;
static struct relay *relay;
static u64 retry_at = NEVER, timer_at = NEVER; /* ms */
static unsigned retry_ms = RETRY_FIRST_MS;
static struct counters {
	u64 posts, signals, refused, busy, delivered;
} count;

static u64 now_ms(void)
{
	return monotonic_ns() / 1000000;
}

/* After anything that may have left messages behind. With the lock held. */
static void retry_later(void)
{
	if (retry_at != NEVER)
		return;
	if (!vmbus_server_waiting(server) && !relay_waiting(relay))
		return;
	retry_at = now_ms() + RETRY_FIRST_MS;
	retry_ms = RETRY_FIRST_MS;
	pthread_cond_signal(&changed);
}

/* --- into the guest */

static int post_guest(void *ctx, u8 vtl, u32 vp, u8 sint, const void *msg, size_t len)
{
	struct {
		u64 partition_id;
		u32 vp_index;
		u8 vtl, pad[3];
		u8 sint, pad2[3];
		struct hv_message message;
		u32 pad3;
	} __attribute__((packed)) in = {
		.partition_id = HV_PARTITION_ID_SELF,
		.vp_index = vp,
		.vtl = vtl,
		.sint = sint,
		.message = {.type = VMBUS_SYNIC_MESSAGE_TYPE,
			    .payload_size = (u8)len,
			    .sender = VMBUS_CONN_MULTI},
	};
	u64 result;

	_Static_assert(sizeof(in) == 280, "TLFS");
	(void)ctx;
	memcpy(in.message.payload, msg, len);
	result = mshv_hypercall(HV_CALL_POST_MESSAGE_DIRECT, &in, sizeof(in), NULL, 0);
	switch ((u16)result) {
	case HV_STATUS_SUCCESS: count.delivered++; return 0;
	case HV_STATUS_OBJECT_IN_USE:
	case HV_STATUS_INSUFFICIENT_BUFFERS: count.busy++; return -EAGAIN;
	default: return -EIO;
	}
}

static void signal_guest(void *ctx, u8 vtl, u32 vp, u8 sint, u16 flag)
{
	struct {
		u64 partition_id;
		u32 vp_index;
		u8 vtl, sint;
		u16 flag;
	} in = {HV_PARTITION_ID_SELF, vp, vtl, sint, flag};
	u64 newly;

	(void)ctx;
	mshv_hypercall(HV_CALL_SIGNAL_EVENT_DIRECT, &in, sizeof(in), &newly, sizeof(newly));
}

static u8 *guest_page(void *ctx, u64 pfn)
{
	(void)ctx;
	return pfn > UINT64_MAX / PAGE_SIZE ? NULL : gmem_pointer(pfn * PAGE_SIZE, PAGE_SIZE);
}

static void arm_timer(void *ctx, unsigned ms)
{
	(void)ctx;
	timer_at = now_ms() + ms;
	pthread_cond_signal(&changed);
}

static void connection(void *ctx, u32 version)
{
	static unsigned lines;

	(void)ctx;
	if (lines == LOGGED_LINES)
		return;
	lines++;
	if (version)
		log_info("VMBus: guest connected, version %u.%u", version >> 16, version & 0xffff);
	else
		log_info("VMBus: guest disconnected");
}

static void tl_connect(void *ctx, const struct guid *endpoint, const struct guid *service,
		       const struct guid *silo)
{
	(void)ctx;
	relay_tl_connect(relay, endpoint, service, silo);
}

static const struct vmbus_server_ops server_ops = {
	.post = post_guest,
	.signal = signal_guest,
	.page = guest_page,
	.timer = arm_timer,
	.connection = connection,
	.tl_connect = tl_connect,
};

/* --- to the host */

static int post_host(void *ctx, u32 connection_id, const void *msg, size_t len)
{
	(void)ctx;
	switch (mshv_post_message(connection_id, VMBUS_SYNIC_MESSAGE_TYPE, msg, len)) {
	case HV_STATUS_SUCCESS: count.delivered++; return 0;
	case HV_STATUS_INSUFFICIENT_MEMORY:
	case HV_STATUS_INSUFFICIENT_BUFFERS: return -EAGAIN;
	case HV_STATUS_INVALID_CONNECTION_ID: return -ENXIO;
	default: return -EIO;
	}
}

/* --- what is late */

static void wait_until(u64 at)
{
	struct timespec t = {(time_t)(at / 1000), (long)(at % 1000) * 1000000};

	if (at == NEVER)
		pthread_cond_wait(&changed, &lock);
	else
		pthread_cond_timedwait(&changed, &lock, &t);
}

static void retry(u64 now)
{
	u64 before = count.delivered;

	vmbus_server_pump(server);
	relay_pump(relay);
	retry_at = NEVER;
	if (!vmbus_server_waiting(server) && !relay_waiting(relay))
		return;
	/* a guest that leaves its slot full must not keep VTL2 busy; one that reads goes on */
	retry_ms = count.delivered == before ? MIN(retry_ms * 2, RETRY_MAX_MS) : RETRY_FIRST_MS;
	retry_at = now + retry_ms;
}

static void *late_loop(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&lock);
	for (;;) {
		u64 now = now_ms();

		if (timer_at <= now) {
			timer_at = NEVER;
			vmbus_server_timer(server);
		}
		if (retry_at <= now)
			retry(now);
		wait_until(MIN(retry_at, timer_at));
	}
	return NULL;
}

/* --- calls from outside */

bool vmbus_init(const struct config *config)
{
	const struct vmbus_server_config guest = {
		.name = "VMBus guest",
		.vps = config->vp_count,
		.features = VMBUS_F_CLIENT_ID,
		.connection = VMBUS_CONN_MULTI,
	};
	struct relay_config host = {.post = post_host};
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&changed, &attr);
	server = vmbus_server_new(&guest, &server_ops, NULL);
	host.guest = server;
	relay = server ? relay_new(&host) : NULL;
	if (relay)
		return thread_start("vmbus", THREAD_URGENT, late_loop, NULL);
	log_error("VMBus: out of memory");
	return false;
}

void vmbus_connect(void)
{
	pthread_mutex_lock(&lock);
	if (relay_connect(relay))
		log_info("VMBus: the host offers none; going on without");
	retry_later();
	pthread_mutex_unlock(&lock);
}

u16 vmbus_post_message(u64 input_gpa)
{
	struct hv_post_message in;
	unsigned via;
	int result;

	if (!IS_ALIGNED(input_gpa, 8))
		return HV_STATUS_INVALID_ALIGNMENT;
	if ((input_gpa & (PAGE_SIZE - 1)) + sizeof(in) > PAGE_SIZE)
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	if (gmem_read(input_gpa, &in, sizeof(in)))
		return HV_STATUS_INVALID_PARAMETER;
	switch (in.connection_id) {
	case VMBUS_CONN_LEGACY: via = 0; break;
	case VMBUS_CONN_MULTI: via = VMBUS_VIA_MULTI; break;
	default: return HV_STATUS_INVALID_CONNECTION_ID;
	}
	if (in.message_type != VMBUS_SYNIC_MESSAGE_TYPE || in.payload_size > sizeof(in.payload))
		return HV_STATUS_INVALID_PARAMETER;
	pthread_mutex_lock(&lock);
	/* who sends has, as a rule, just emptied its slot */
	vmbus_server_pump(server);
	result = vmbus_server_message(server, in.payload, in.payload_size, via);
	count.posts++;
	count.refused += result != 0;
	retry_later();
	pthread_mutex_unlock(&lock);
	return result ? HV_STATUS_INSUFFICIENT_BUFFERS : HV_STATUS_SUCCESS;
}

u16 vmbus_signal_event(bool fast, u64 input)
{
	u64 word = input;
	bool known;

	if (!fast && !IS_ALIGNED(input, 8))
		return HV_STATUS_INVALID_ALIGNMENT;
	if (!fast && gmem_read(input, &word, sizeof(word)))
		return HV_STATUS_INVALID_PARAMETER;
	/* connection id, then the flag relative to the port: each of ours has one */
	pthread_mutex_lock(&lock);
	count.signals++;
	known = vmbus_server_event(server, (u32)word);
	pthread_mutex_unlock(&lock);
	if (!known)
		return HV_STATUS_INVALID_CONNECTION_ID;
	return word >> 32 ? HV_STATUS_INVALID_PARAMETER : HV_STATUS_SUCCESS;
}

void vmbus_receive(const void *payload, size_t size)
{
	pthread_mutex_lock(&lock);
	relay_message(relay, payload, size);
	retry_later();
	pthread_mutex_unlock(&lock);
}

/* --- the process is replaced under the guest */

enum { STATE_SERVER = 1, STATE_RELAY, STATE_COUNTERS };

static const struct saved_field counter_fields[] = {
	SAVED_ANY(1, struct counters, posts),	  SAVED_ANY(2, struct counters, signals),
	SAVED_ANY(3, struct counters, refused),	  SAVED_ANY(4, struct counters, busy),
	SAVED_ANY(5, struct counters, delivered),
};
static const struct saved_layout counter_layout = SAVED_LAYOUT(counter_fields);

void vmbus_stop(void)
{
	pthread_mutex_lock(&lock);
}

void vmbus_go_on(void)
{
	pthread_mutex_unlock(&lock);
}

void vmbus_save(struct pb_writer *out)
{
	size_t mark = pb_begin(out, STATE_SERVER);

	vmbus_server_save(server, out);
	pb_end(out, mark);
	mark = pb_begin(out, STATE_RELAY);
	relay_save(relay, out);
	pb_end(out, mark);
	saved_put(out, STATE_COUNTERS, &counter_layout, &count);
}

bool vmbus_restore(struct pb_bytes state)
{
	struct pb_bytes server_state, relay_state, counters;
	bool ok;

	pthread_mutex_lock(&lock);
	ok = pb_find_bytes(state, STATE_SERVER, &server_state) &&
	     pb_find_bytes(state, STATE_RELAY, &relay_state) &&
	     pb_find_bytes(state, STATE_COUNTERS, &counters) &&
	     vmbus_server_restore(server, server_state) && relay_restore(relay, relay_state) &&
	     saved_read(counters, &counter_layout, &count);
	if (ok) {
		vmbus_server_restore_done(server);
		relay_restore_done(relay);
		/* what waited for a slot gets its next try, the server has armed its timer */
		retry_later();
	} else {
		log_error("VMBus: the saved state is malformed");
	}
	pthread_mutex_unlock(&lock);
	return ok;
}

/* --- inspection: the lock is taken for one channel at a time, as the guest may be waiting for it
 */

static void inspect_channels(struct inspect *dir, bool of_relay)
{
	struct inspect channels;

	if (!inspect_enter(dir, "channels", &channels))
		return;
	for (u16 i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		pthread_mutex_lock(&lock);
		if (of_relay)
			relay_inspect_channel(&channels, relay, i);
		else
			vmbus_inspect_channel(&channels, server, i);
		pthread_mutex_unlock(&lock);
	}
}

void vmbus_inspect(struct inspect *vm)
{
	struct inspect dir;

	if (inspect_enter(vm, "vmbus", &dir)) {
		pthread_mutex_lock(&lock);
		vmbus_inspect_server(&dir, server);
		inspect_counter(&dir, "hypercalls/post_message", count.posts);
		inspect_counter(&dir, "hypercalls/post_message_refused", count.refused);
		inspect_counter(&dir, "hypercalls/signal_event", count.signals);
		inspect_counter(&dir, "hypercalls/slot_busy", count.busy);
		pthread_mutex_unlock(&lock);
		inspect_channels(&dir, false);
	}
	if (inspect_enter(vm, "vmbus_relay", &dir)) {
		pthread_mutex_lock(&lock);
		relay_inspect(&dir, relay);
		pthread_mutex_unlock(&lock);
		inspect_channels(&dir, true);
	}
	if (inspect_enter(vm, "vmbus_client", &dir)) {
		pthread_mutex_lock(&lock);
		vmbus_inspect_client(&dir, relay_host(relay));
		pthread_mutex_unlock(&lock);
	}
}
