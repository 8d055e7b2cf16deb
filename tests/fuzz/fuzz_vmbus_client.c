/* The VMBus client under an arbitrary host. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/vmbus/client.h"
#include "tests/fuzz/fuzz.h"

struct world {
	struct vmbus_client *c;
	int post_result;
	bool silent; /* between pause and resume, or unload and its answer: nothing may be sent */
	bool offered[VMBUS_MAX_CHANNELS], opening[VMBUS_MAX_CHANNELS];
};

static int post(void *ctx, u32 connection, const void *msg, size_t len)
{
	(void)connection;
	check_message(msg, len);
	return ((struct world *)ctx)->post_result;
}

static void offer(void *ctx, const struct vmbus_msg_offer *msg)
{
	struct world *w = ctx;

	if (!msg->channel || msg->channel >= VMBUS_MAX_CHANNELS || w->offered[msg->channel])
		abort();
	w->offered[msg->channel] = true;
}

static void opened(void *ctx, u16 channel, u32 status)
{
	struct world *w = ctx;

	(void)status;
	if (!w->opening[channel])
		abort();
	w->opening[channel] = false;
}

static void rescinded(void *ctx, u16 channel)
{
	struct world *w = ctx;

	if (!w->offered[channel])
		abort();
	if (channel & 1) {
		int result = vmbus_client_release(w->c, channel);

		if (result == -EINVAL && !w->silent)
			abort();
		w->offered[channel] = result == -EINVAL;
	}
}

static void connected(void *ctx, u32 version, u32 features)
{
	struct world *w = ctx;

	if (features && version < VMBUS_V6_0)
		abort();
	if (version)
		vmbus_client_request_offers(w->c);
}

static void unloaded(void *ctx)
{
	struct world *w = ctx;

	w->silent = false;
	memset(w->offered, 0, sizeof(w->offered));
	memset(w->opening, 0, sizeof(w->opening));
}

static const struct vmbus_client_ops ops = {
	.post = post,
	.offer = offer,
	.opened = opened,
	.rescinded = rescinded,
	.connected = connected,
	.unloaded = unloaded,
};

/* Also when its message was lost. */
static bool begun(int result)
{
	return result != -EINVAL && result != -EOPNOTSUPP;
}

static void request(struct world *w, u8 op, u16 id, u32 arg)
{
	static const u64 list[40] = {39 * 4096};
	struct vmbus_open open = {.open_id = arg, .gpadl = arg % 4, .downstream = 2};

	switch (op % 12) {
	case 0: vmbus_client_connect(w->c); break;
	case 1: vmbus_client_gpadl(w->c, id, arg % 4, 1, list, arg & 8 ? 40 : 2); break;
	case 2:
		if (!vmbus_client_open(w->c, id, &open))
			w->opening[id] = true;
		break;
	case 3: vmbus_client_close(w->c, id); break;
	case 4: vmbus_client_gpadl_teardown(w->c, id, arg % 4); break;
	case 5:
		if (!vmbus_client_release(w->c, id))
			w->offered[id] = false;
		break;
	case 6: vmbus_client_modify(w->c, id, arg); break;
	case 7: w->silent |= begun(vmbus_client_unload(w->c)); break;
	case 8: w->silent |= begun(vmbus_client_pause(w->c)); break;
	case 9: w->silent &= !begun(vmbus_client_resume(w->c)); break;
	case 10: w->post_result = arg & 1 ? -EAGAIN : arg & 2 ? -ENXIO : 0; break;
	case 11: vmbus_client_pump(w->c); break;
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	const struct vmbus_client_config cfg = {.name = "fuzz",
						.connection = VMBUS_CONN_VTL2_REDIRECT,
						.fallback = VMBUS_CONN_MULTI,
						.features = VMBUS_F_ALL};
	struct world *w = calloc(1, sizeof(*w));
	struct vmbus_client_info info;

	log_set_sink(no_log);
	w->c = vmbus_client_new(&cfg, &ops, w);
	vmbus_client_connect(w->c);
	while (size >= 4) {
		u8 op = data[0], msg[VMBUS_MESSAGE_MAX + 8] = {0};
		size_t n;

		if (op & 0x80) {
			request(w, op, data[1] | (data[2] & 7) << 8, data[3]);
			data += 4;
			size -= 4;
			continue;
		}
		n = MIN((size_t)data[1], size - 2);
		msg[0] = op % 32;
		memcpy(msg + 8, data + 2, MIN(n, sizeof(msg) - 8));
		u8 *copy = malloc(n + 8);

		memcpy(copy, msg, MIN(n + 8, sizeof(msg)));
		vmbus_client_message(w->c, copy, MIN(n + 8, sizeof(msg)));
		free(copy);
		data += 2 + n;
		size -= 2 + n;
	}
	vmbus_client_describe(w->c, &info);
	vmbus_client_free(w->c);
	free(w);
	return 0;
}
