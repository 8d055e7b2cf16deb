/*
 * The relay with an arbitrary guest and an arbitrary host. Input: records of a byte that chooses
 * the end, a length, and the message. No request may reach an end twice or name what it does not
 * know. Wherever the two get, another process can take over.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "paravisor/vmbus/relay.h"
#include "tests/fuzz/fuzz.h"

#define STATE_MAX (16 * MiB)

struct world {
	struct vmbus_server *guest;
	struct relay *relay;
	int guest_result, host_result;
};

static int to_guest(void *ctx, u8 vtl, u32 vp, u8 sint, const void *msg, size_t len)
{
	if (vtl || vp >= 4 || sint >= 16)
		abort();
	check_message(msg, len);
	return ((struct world *)ctx)->guest_result;
}

static int to_host(void *ctx, u32 connection, const void *msg, size_t len)
{
	(void)connection;
	check_message(msg, len);
	return ((struct world *)ctx)->host_result;
}

static void signal_guest(void *ctx, u8 vtl, u32 vp, u8 sint, u16 flag)
{
	(void)ctx;
	(void)vtl;
	(void)vp;
	(void)sint;
	(void)flag;
	abort(); /* relayed channels are the host's to signal */
}

static u8 *page(void *ctx, u64 pfn)
{
	(void)ctx;
	(void)pfn;
	abort(); /* ... and their rings the host's to map */
}

static void tl_connect(void *ctx, const struct guid *endpoint, const struct guid *service,
		       const struct guid *silo)
{
	relay_tl_connect(((struct world *)ctx)->relay, endpoint, service, silo);
}

static const struct vmbus_server_ops ops = {
	.post = to_guest, .signal = signal_guest, .page = page, .tl_connect = tl_connect};

static bool wants(void *ctx, const struct vmbus_msg_offer *offer)
{
	(void)ctx;
	return offer->user[0] == 0x4b;
}

static void rescinded(void *ctx, u16 channel)
{
	if (channel & 1)
		relay_keeper_release(((struct world *)ctx)->relay, channel);
}

static const struct relay_keeper keeper = {.wants = wants, .rescinded = rescinded};

/* A copy of its own, exactly as long. */
static void pass(struct world *w, bool host, const u8 *msg, size_t len, unsigned via)
{
	u8 *copy = malloc(len + 1);

	if (!copy)
		abort();
	memcpy(copy, msg, len);
	copy = realloc(copy, len ? len : 1);
	if (host)
		relay_message(w->relay, copy, len);
	else
		vmbus_server_message(w->guest, copy, len, via);
	free(copy);
}

static void start(struct world *w)
{
	const struct vmbus_server_config guest = {
		.name = "guest", .vps = 4, .features = VMBUS_F_CLIENT_ID};
	struct relay_config config = {.post = to_host, .ctx = w};

	w->guest = vmbus_server_new(&guest, &ops, w);
	config.guest = w->guest;
	w->relay = relay_new(&config);
	if (!w->guest || !w->relay || !relay_add_keeper(w->relay, &keeper, w))
		abort();
}

static void end(struct world *w)
{
	vmbus_server_free(w->guest);
	relay_free(w->relay);
}

static void take_over(const struct world *w)
{
	struct pb_writer server, relay;
	struct world next = {0};

	pb_writer_init(&server, STATE_MAX);
	pb_writer_init(&relay, STATE_MAX);
	vmbus_server_save(w->guest, &server);
	relay_save(w->relay, &relay);
	start(&next);
	if (!vmbus_server_restore(next.guest, (struct pb_bytes){server.data, server.used}) ||
	    !relay_restore(next.relay, (struct pb_bytes){relay.data, relay.used}))
		abort();
	end(&next);
	pb_writer_free(&server);
	pb_writer_free(&relay);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct world w = {0};
	struct relay_info info;

	log_set_sink(no_log);
	start(&w);
	relay_connect(w.relay);
	while (size >= 2) {
		u8 what = data[0];
		size_t len = MIN(data[1], size - 2);

		data += 2;
		size -= 2;
		w.guest_result = what & 0x10 ? -EAGAIN : 0;
		w.host_result = what & 0x20 ? -EAGAIN : 0;
		if ((what & 0xc0) == 0xc0) {
			vmbus_server_pump(w.guest);
			relay_pump(w.relay);
		}
		pass(&w, what & 1, data, len, what & 2 ? VMBUS_VIA_MULTI : 0);
		data += len;
		size -= len;
	}
	relay_describe(w.relay, &info);
	if (info.relayed + info.kept != info.host.channels)
		abort();
	take_over(&w);
	end(&w);
	return 0;
}
