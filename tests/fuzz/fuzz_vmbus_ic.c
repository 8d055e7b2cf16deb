/*
 * Integration components against a guest that answers anything: a kind of answer is chosen per
 * step, and its bytes are the input's. What comes out must be UTF-8, and each request must end
 * once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/protobuf.h"
#include "common/vmbus/ic.h"
#include "tests/fuzz/fuzz.h"

#define HALF  5 /* pages of one ring: 4 of data, as Linux has it */
#define PAGES (4 * 2 * HALF)

static const enum ic_type types[4] = {IC_SHUTDOWN, IC_HEARTBEAT, IC_TIMESYNC, IC_KVP};

struct part {
	struct vmbus_ic ic;
	struct vmbus_rx rx;
	struct vmbus_tx tx;
	struct vmbus_pipe pipe;
	bool open;
};

struct world {
	struct vmbus_server *s;
	struct part part[4];
	struct input in;
	u64 now;
	u32 gpadl;
	bool kvp_running;
	u8 last[8192]; /* what the host has sent last */
	size_t last_len;
};

static u8 memory[PAGES][PAGE_SIZE] __attribute__((aligned(4096)));
static u8 *pages[PAGES];

static u8 *page(void *ctx, u64 pfn)
{
	(void)ctx;
	return pfn < PAGES ? pages[pfn] : NULL;
}

static const struct vmbus_server_ops server_ops = {
	.post = post_nothing, .signal = signal_nothing, .page = page};

/* --- the host's side */

static u64 now_ms(void *ctx)
{
	return ((struct world *)ctx)->now;
}

static void check_text(const char *text)
{
	if (!pb_is_utf8(pb_text(text)))
		abort();
}

static void kvp_item(void *ctx, const char *key, const char *value)
{
	if (!((struct world *)ctx)->kvp_running)
		abort();
	check_text(key);
	check_text(value);
}

static void kvp_done(void *ctx, u32 status)
{
	struct world *w = ctx;

	(void)status;
	if (!w->kvp_running)
		abort();
	w->kvp_running = false;
}

static const struct vmbus_ic_ops ic_ops = {
	.now_ms = now_ms,
	.filetime = now_ms,
	.reference = now_ms,
	.kvp_item = kvp_item,
	.kvp_done = kvp_done,
};

static void kvp_request(struct world *w)
{
	struct vmbus_ic *ic = &w->part[3].ic;
	bool was = w->kvp_running;
	char key[300], value[1100];
	u8 op = next(&w->in), pool = next(&w->in) % 6;

	key[take(&w->in, key, next(&w->in))] = 0;
	value[take(&w->in, value, next(&w->in) * 4u)] = 0;
	/* it may end inside of the call */
	w->kvp_running = true;
	switch (op % 4) {
	case 0: was |= vmbus_ic_kvp_enumerate(ic, pool); break;
	case 1: was |= vmbus_ic_kvp_get(ic, pool, key); break;
	case 2: was |= vmbus_ic_kvp_set(ic, pool, key, value); break;
	default: was |= vmbus_ic_kvp_delete(ic, pool, key); break;
	}
	w->kvp_running &= was;
}

/* --- the guest's side */

static void message(struct world *w, const void *msg, size_t len)
{
	vmbus_server_message(w->s, msg, len, VMBUS_VIA_MULTI);
}

static void open_channel(struct world *w, unsigned i)
{
	struct part *p = &w->part[i];
	u32 channel = vmbus_channel_id(p->ic.ch), first = i * 2 * HALF, gpadl = ++w->gpadl;
	u8 msg[VMBUS_MESSAGE_MAX] = {0};

	if (p->open)
		return;
	vmbus_ring_format(pages + first);
	vmbus_ring_format(pages + first + HALF);
	put_le32(msg, VMBUS_MSG_GPADL_HEADER);
	put_le32(msg + 8, channel);
	put_le32(msg + 12, gpadl);
	put_le16(msg + 16, 8 + 2 * HALF * 8);
	put_le16(msg + 18, 1);
	put_le32(msg + 20, 2 * HALF * PAGE_SIZE);
	for (u32 k = 0; k < 2 * HALF; k++)
		put_le64(msg + 28 + 8 * k, first + k);
	message(w, msg, 28 + 8 * 2 * HALF);
	memset(msg, 0, sizeof(msg));
	put_le32(msg, VMBUS_MSG_OPEN);
	put_le32(msg + 8, channel);
	put_le32(msg + 12, channel);
	put_le32(msg + 16, gpadl);
	put_le32(msg + 24, HALF);
	/* before: the host writes at once */
	p->open = true;
	message(w, msg, 148);
	vmbus_tx_init(&p->tx, pages + first, HALF);
	vmbus_rx_init(&p->rx, pages + first + HALF, HALF);
	vmbus_pipe_init(&p->pipe, &p->rx, &p->tx);
}

static void close_channel(struct world *w, unsigned i)
{
	u8 msg[12] = {VMBUS_MSG_CLOSE};

	put_le32(msg + 8, vmbus_channel_id(w->part[i].ic.ch));
	w->part[i].open = false;
	message(w, msg, sizeof(msg));
}

static void kick(struct world *w, unsigned i)
{
	vmbus_server_event(w->s,
			   VMBUS_EVENT_CONN(0, VMBUS_SINT, vmbus_channel_id(w->part[i].ic.ch)));
}

static void reply(struct world *w, unsigned i, const void *msg, size_t len)
{
	bool signal = false;

	if (w->part[i].open && !vmbus_pipe_send(&w->part[i].pipe, msg, len, &signal))
		kick(w, i);
}

/* The host's last message as an answer, with a few bytes of it changed, or another length. */
static void answer(struct world *w, unsigned i)
{
	u8 how = next(&w->in);
	bool signal = false;

	if (!w->part[i].open)
		return;
	vmbus_pipe_recv(&w->part[i].pipe, w->last, sizeof(w->last), &w->last_len, &signal);
	if (w->last_len < sizeof(struct ic_header))
		return;
	w->last[17] = IC_FLAG_TRANSACTION | IC_FLAG_RESPONSE;
	if (how & 1) /* one version chosen */
		put_le32(w->last + 20, 0x00010001);
	if (how & 2)
		put_le32(w->last + 24 + 4, get_le32(w->last + 24 + 4 + 4));
	for (unsigned n = how >> 4; n--;) {
		size_t at = (next(&w->in) | (size_t)next(&w->in) << 8) % w->last_len;

		take(&w->in, w->last + at, MIN((size_t)next(&w->in) % 32, w->last_len - at));
	}
	reply(w, i, w->last, how & 8 ? MIN(w->last_len, (size_t)next(&w->in) * 16) : w->last_len);
}

/* The version list that Linux would choose: the last of each. */
static void negotiate(struct world *w, unsigned i)
{
	struct part *p = &w->part[i];
	bool signal = false;
	u16 n;

	if (!p->open ||
	    vmbus_pipe_recv(&p->pipe, w->last, sizeof(w->last), &w->last_len, &signal) ||
	    w->last_len < 28)
		return;
	n = get_le16(w->last + 20) + get_le16(w->last + 22);
	if (n > 8 || n < 2)
		return;
	memcpy(w->last + 28, w->last + 32, 4);		      /* framework 3.0 */
	memcpy(w->last + 32, w->last + 28 + 4 * (n - 1u), 4); /* newest message version */
	put_le32(w->last + 20, 0x00010001);
	w->last[17] = IC_FLAG_TRANSACTION | IC_FLAG_RESPONSE;
	reply(w, i, w->last, w->last_len);
}

static void step(struct world *w)
{
	u8 op = next(&w->in), raw[512];
	unsigned i = op >> 6;
	size_t n;

	switch (op % 10) {
	case 0: open_channel(w, i); break;
	case 1: close_channel(w, i); break;
	case 2: negotiate(w, i); break;
	case 3:
	case 4: answer(w, i); break;
	case 5:
		n = take(&w->in, raw, next(&w->in) * 2u);
		reply(w, i, raw, n);
		break;
	case 6: /* anything into the ring, its indices too */
		n = (next(&w->in) | (size_t)next(&w->in) << 8) % (2 * HALF * PAGE_SIZE - 32);
		if (n % PAGE_SIZE <= PAGE_SIZE - 32)
			take(&w->in, pages[i * 2 * HALF + n / PAGE_SIZE] + n % PAGE_SIZE,
			     next(&w->in) % 32);
		kick(w, i);
		break;
	case 7:
		w->now += next(&w->in) * 500u;
		for (i = 0; i < 4; i++)
			vmbus_ic_tick(&w->part[i].ic);
		break;
	case 8: kvp_request(w); break;
	default:
		vmbus_ic_shutdown(&w->part[0].ic, next(&w->in), "fuzz");
		vmbus_ic_timesync_step(&w->part[2].ic);
		vmbus_ic_heartbeat_age(&w->part[1].ic);
		break;
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static const struct vmbus_server_config cfg = {.name = "fuzz"};
	struct vmbus_msg_contact contact = {
		.hdr = {VMBUS_MSG_INITIATE_CONTACT, 0}, .version = VMBUS_V5_3, .target_sint = 2};
	u8 request[8] = {VMBUS_MSG_REQUEST_OFFERS};
	struct world *w = calloc(1, sizeof(*w));

	log_set_sink(no_log);
	w->in = (struct input){data, size};
	/* nothing of the last input, or crashes would not come again */
	memset(memory, 0, sizeof(memory));
	for (unsigned i = 0; i < PAGES; i++)
		pages[i] = memory[i];
	w->s = vmbus_server_new(&cfg, &server_ops, w);
	for (unsigned i = 0; i < 4; i++) {
		if (!vmbus_ic_init(&w->part[i].ic, w->s, types[i], &ic_ops, w))
			abort();
	}
	message(w, &contact, 40);
	message(w, request, sizeof(request));
	while (w->in.left)
		step(w);
	/* whatever came before: a request ends with its time, and the guest can leave */
	for (unsigned i = 0; i < 4; i++)
		close_channel(w, i);
	if (w->kvp_running)
		abort();
	vmbus_server_free(w->s);
	free(w);
	return 0;
}
