/* The host's side of the crash dump device: takes ELF cores from the guest. */
#include "common/vmbus/crash.h"

#include <errno.h>
#include <string.h>

#define MESSAGES_PER_RUN 32u /* half a MiB; others want to be served, too */

static void abort_dump(struct vmbus_crash *c, const char *why)
{
	if (!c->dumping)
		return;
	c->dumping = false;
	c->aborted++;
	c->ops->abort(c->ctx, why);
}

/* The guest broke a rule: no dump of that kind can be trusted. */
static void broken(struct vmbus_crash *c, const char *why)
{
	c->bad++;
	abort_dump(c, why);
}

/* --- answers */

/* False while there is no room; the guest signals when there is. */
static bool flush_answer(struct vmbus_crash *c)
{
	bool signal = false;
	int ret;

	if (!c->answer_len)
		return true;
	ret = vmbus_pipe_send(&c->pipe, c->answer, c->answer_len, &signal);
	if (signal)
		vmbus_channel_signal(c->ch);
	if (ret == -EAGAIN)
		return false;
	c->answer_len = 0;
	return true;
}

static void answer(struct vmbus_crash *c, const struct crash_header *to, void *msg, u32 len)
{
	struct crash_header head = {.activity = to->activity, .type = to->type + CRASH_RESPONSE};

	memcpy(msg, &head, sizeof(head));
	memcpy(c->answer, msg, len);
	c->answer_len = len;
	flush_answer(c);
}

static void answer_status(struct vmbus_crash *c, const struct crash_header *to, s32 status)
{
	struct crash_status msg = {.status = status};

	answer(c, to, &msg, sizeof(msg));
}

/* --- requests */

static void on_start(struct vmbus_crash *c, const struct crash_header *head)
{
	bool good = false;

	if (c->dumping) {
		broken(c, "a second start");
	} else if (c->max_size) {
		c->done = 0;
		good = c->ops->start(c->ctx);
		c->dumping = good;
	}
	answer_status(c, head, good ? 0 : CRASH_REFUSED);
}

static void on_write(struct vmbus_crash *c, const struct crash_write *w)
{
	u64 end;

	if (c->dumping && w->offset != c->done)
		broken(c, "a write in the wrong place");
	else if (c->dumping && w->size > CRASH_CHUNK)
		broken(c, "a write that is too long");
	else if (c->dumping && (add_overflow(w->offset, w->size, &end) || end > c->max_size))
		abort_dump(c, "it is too large");
	c->expect_data = true;
	c->expect_good = c->dumping;
	c->expect_len = w->size;
	c->expect_head = w->head;
}

static void on_data(struct vmbus_crash *c, size_t len, bool too_long)
{
	c->expect_data = false;
	if (c->expect_good && (too_long || len != c->expect_len)) {
		broken(c, "data of another length than announced");
	} else if (c->expect_good && len) {
		if (c->ops->write(c->ctx, c->msg, (u32)len))
			c->done += len;
		else
			abort_dump(c, "it cannot be written");
	}
	if (!c->dumping)
		answer_status(c, &c->expect_head, CRASH_REFUSED);
}

static void on_complete(struct vmbus_crash *c)
{
	if (!c->dumping) {
		c->bad++;
		return;
	}
	c->dumping = false;
	c->dumps++;
	c->ops->complete(c->ctx);
}

static void on_request(struct vmbus_crash *c, size_t len)
{
	struct crash_capabilities capabilities = {.can = CRASH_CAN_LINUX};
	struct crash_config config = {.max_size = c->max_size,
				      .dump = c->max_size ? CRASH_DUMP_ELF : CRASH_DUMP_NONE};
	struct crash_header head = {0};
	struct crash_write w;
	size_t want;

	if (len >= sizeof(head))
		memcpy(&head, c->msg, sizeof(head));
	switch (head.type) {
	case CRASH_CAPABILITIES:
	case CRASH_CONFIG:
	case CRASH_START: want = sizeof(head); break;
	case CRASH_WRITE: want = sizeof(w); break;
	case CRASH_COMPLETE: want = sizeof(struct crash_complete); break;
	default: broken(c, "an unknown message"); return;
	}
	if (len != want) {
		broken(c, "a message of wrong size");
		return;
	}
	switch (head.type) {
	case CRASH_CAPABILITIES: answer(c, &head, &capabilities, sizeof(capabilities)); break;
	case CRASH_CONFIG:
		if (!c->max_size && c->ops->unwanted)
			c->ops->unwanted(c->ctx);
		answer(c, &head, &config, sizeof(config));
		break;
	case CRASH_START: on_start(c, &head); break;
	case CRASH_WRITE:
		memcpy(&w, c->msg, sizeof(w));
		on_write(c, &w);
		break;
	default: on_complete(c); break;
	}
}

/* One message; false when there is none, or no room for its answer. */
static bool serve_one(struct vmbus_crash *c, bool *signal)
{
	size_t len = 0;
	int ret;

	if (!flush_answer(c))
		return false;
	ret = vmbus_pipe_recv(&c->pipe, c->msg, sizeof(c->msg), &len, signal);
	if (ret == -EIO)
		abort_dump(c, "its ring is broken");
	if (ret && ret != -EMSGSIZE)
		return false;
	if (c->expect_data)
		on_data(c, len, ret);
	else if (ret)
		broken(c, "a message of wrong size");
	else
		on_request(c, len);
	return true;
}

void vmbus_crash_run(struct vmbus_crash *c)
{
	unsigned left = MESSAGES_PER_RUN;
	bool signal = false;

	while (c->open && left && serve_one(c, &signal))
		left--;
	if (c->open && signal)
		vmbus_channel_signal(c->ch);
	if (c->open && !left)
		c->ops->again(c->ctx);
}

/* --- device of the server */

static void on_open(void *dev, struct vmbus_channel *ch, const struct vmbus_open *open)
{
	struct vmbus_crash *c = dev;

	(void)open;
	vmbus_pipe_init(&c->pipe, vmbus_channel_rx(ch), vmbus_channel_tx(ch));
	c->open = true;
	c->expect_data = false;
	c->answer_len = 0;
	vmbus_channel_open_done(ch, VMBUS_STATUS_SUCCESS);
	vmbus_rx_sleep(c->pipe.rx);
}

static void on_close(void *dev, struct vmbus_channel *ch)
{
	struct vmbus_crash *c = dev;
	/* A guest that wrote its last message and left; it may write on, but not for ever. */
	u64 left = c->pipe.rx->size / sizeof(struct crash_header);
	bool signal = false;

	while (left-- && serve_one(c, &signal))
		;
	c->open = false;
	abort_dump(c, "the writer has left");
	vmbus_channel_close_done(ch);
}

static void on_signal(void *dev, struct vmbus_channel *ch)
{
	(void)ch;
	vmbus_crash_run(dev);
}

static const struct vmbus_device_ops device = {
	.open = on_open,
	.close = on_close,
	.signal = on_signal,
};

bool vmbus_crash_init(struct vmbus_crash *c, struct vmbus_server *server, u64 max_size,
		      const struct vmbus_crash_ops *ops, void *ctx)
{
	struct vmbus_offer offer = {
		.interface = CRASH_GUID,
		.instance = CRASH_GUID,
		.flags = VMBUS_OFFER_ENUMERATE | VMBUS_OFFER_PIPE,
		.name = "crash",
	};

	offer.user[0] = 4; /* pipe in message mode */
	*c = (struct vmbus_crash){.server = server, .max_size = max_size, .ops = ops, .ctx = ctx};
	c->ch = vmbus_server_offer(server, &offer, &device, c);
	return c->ch;
}

void vmbus_crash_end(struct vmbus_crash *c)
{
	c->open = false;
	abort_dump(c, "the machine ends");
	if (c->ch)
		vmbus_channel_revoke(c->ch);
	c->ch = NULL;
}
