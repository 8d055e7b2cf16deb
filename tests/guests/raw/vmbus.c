/* VMBus: each channel message malformed, out of order, twice; wild page lists; rings of any index.
 */
#include "raw.h"

#include "common/abi/vmbus.h"

#define CHANNELS 16

static struct hv_message slots[16] __attribute__((aligned(4096)));
static u8 flags[4096] __attribute__((aligned(4096)));
static struct hv_post_message input __attribute__((aligned(4096)));
static u8 ring[8][4096] __attribute__((aligned(4096)));
static u32 channel[CHANNELS];
static unsigned channels;
static u32 received[VMBUS_MSG_COUNT];
static u8 last[VMBUS_MSG_COUNT][240];

static u64 patience = 300000000; /* 100 ns; short where answers may stay out */
static bool lenient;		 /* and wrong ones may come */

/* Takes what lies in the slot; true: there was a message. */
static bool take(void)
{
	volatile struct hv_message *m = &slots[VMBUS_SINT];
	u32 type;

	if (!m->type)
		return false;
	type = *(volatile u32 *)m->payload;
	if (expect(type < VMBUS_MSG_COUNT, "message of type %u", type)) {
		received[type]++;
		for (unsigned i = 0; i < 240; i++)
			last[type][i] = m->payload[i];
		if (type == VMBUS_MSG_OFFER && channels < CHANNELS)
			channel[channels++] = ((struct vmbus_msg_offer *)last[type])->channel;
	}
	__atomic_store_n(&m->type, 0, __ATOMIC_SEQ_CST);
	if (m->flags & HV_MESSAGE_PENDING)
		write_msr(HV_MSR_EOM, 0);
	return true;
}

static u64 post_to(u32 connection, u32 size)
{
	u64 status;
	u64 start = now();

	input.connection_id = connection;
	input.message_type = VMBUS_SYNIC_MESSAGE_TYPE;
	input.payload_size = size;
	do {
		status = hypercall(HV_CALL_POST_MESSAGE, (u64)(uintptr_t)&input, 0) & 0xffff;
		if (status == HV_STATUS_INSUFFICIENT_BUFFERS)
			take();
	} while (status == HV_STATUS_INSUFFICIENT_BUFFERS && now() - start < patience);
	return status;
}

static void post(u32 type, u32 size)
{
	*(u32 *)input.payload = type;
	*(u32 *)(input.payload + 4) = 0;
	expect(post_to(VMBUS_CONN_MULTI, size) == HV_STATUS_SUCCESS || lenient,
	       "message %u is not taken", type);
}

static void put32(unsigned at, u32 value)
{
	*(u32 *)(input.payload + at) = value;
}

static bool wait_message(u32 type, u32 count)
{
	u64 start = now();

	while (received[type] < count && now() - start < patience)
		take();
	return expect(lenient || received[type] >= count, "no message %u", type);
}

static bool contact(void)
{
	u32 before = received[VMBUS_MSG_VERSION_RESPONSE];
	struct vmbus_msg_contact *c = (void *)input.payload;

	*c = (struct vmbus_msg_contact){.version = VMBUS_V5_3, .target_sint = VMBUS_SINT};
	post(VMBUS_MSG_INITIATE_CONTACT, VMBUS_CONTACT_V1_SIZE);
	if (!wait_message(VMBUS_MSG_VERSION_RESPONSE, before + 1))
		return false;
	while (take())
		;
	return expect(lenient || last[VMBUS_MSG_VERSION_RESPONSE][8] == 1, "contact is refused");
}

static bool get_offers(void)
{
	u32 before = received[VMBUS_MSG_ALL_OFFERS_DELIVERED];

	channels = 0;
	post(VMBUS_MSG_REQUEST_OFFERS, 8);
	return wait_message(VMBUS_MSG_ALL_OFFERS_DELIVERED, before + 1);
}

static bool unload(void)
{
	u32 before = received[VMBUS_MSG_UNLOAD_COMPLETE];

	post(VMBUS_MSG_UNLOAD, 8);
	return wait_message(VMBUS_MSG_UNLOAD_COMPLETE, before + 1);
}

/* Words that are often ones that mean something. */
static void garbage(void)
{
	for (unsigned i = 0; i < 240; i += 4) {
		u64 r = random_u64();

		switch (r & 7) {
		case 0: put32(i, (u32)(r >> 32)); break;
		case 1: put32(i, channels ? channel[(r >> 8) % channels] : 1); break;
		case 2: put32(i, (u32)(r >> 40 & 3)); break;
		case 3: put32(i, 0x1000 << (r >> 8 & 3)); break;
		case 4: put32(i, 0xe1e10 + (r >> 8 & 3)); break;
		case 5: put32(i, ~0u); break;
		default: put32(i, (u32)(r >> 8 & 0xff)); break;
		}
	}
}

static void every_message(unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++)
		for (u32 type = 0; type < VMBUS_MSG_COUNT + 3; type++) {
			u64 r = random_u64();
			u32 size = r & 1 ? 240 : (u32)(r >> 8) % 241;

			garbage();
			/* now and then a real contact, or all else is out of place */
			if (type == VMBUS_MSG_INITIATE_CONTACT && r & 0x600000)
				put32(8, VMBUS_V5_3);
			put32(0, type);
			for (unsigned twice = 0; twice < 2; twice++) {
				u64 status = post_to(
					r & 0x10000 ? VMBUS_CONN_LEGACY : VMBUS_CONN_MULTI, size);

				expect(status == HV_STATUS_SUCCESS, "message %u: status %#lx", type,
				       status);
			}
			if (r & 0x20000)
				take();
		}
}

/* A list of one range; returns the status of the answer. */
static u32 gpadl(u32 id, u32 number, u64 first, u32 pages)
{
	struct vmbus_msg_gpadl_header *h = (void *)input.payload;
	u32 before = received[VMBUS_MSG_GPADL_CREATED];

	h->channel = id;
	h->gpadl = number;
	h->range_bytes = (u16)(8 + 8 * pages);
	h->range_count = 1;
	h->data[0] = pages * 4096ull;
	for (u32 i = 0; i < pages; i++)
		h->data[1 + i] = first + i;
	post(VMBUS_MSG_GPADL_HEADER, 28 + 8 * pages);
	if (!wait_message(VMBUS_MSG_GPADL_CREATED, before + 1))
		return ~0u;
	return ((struct vmbus_msg_gpadl_created *)last[VMBUS_MSG_GPADL_CREATED])->status;
}

static u32 open_channel(u32 id, u32 number, u32 vp, u32 downstream)
{
	u32 before = received[VMBUS_MSG_OPEN_RESULT];

	for (unsigned i = 0; i < 240; i++)
		input.payload[i] = 0;
	put32(8, id);
	put32(12, id);
	put32(16, number);
	put32(20, vp);
	put32(24, downstream);
	post(VMBUS_MSG_OPEN, VMBUS_OPEN_V1_SIZE);
	if (!wait_message(VMBUS_MSG_OPEN_RESULT, before + 1))
		return ~0u;
	return ((struct vmbus_msg_open_result *)last[VMBUS_MSG_OPEN_RESULT])->status;
}

static void close_channel(u32 id, u32 number)
{
	u32 before = received[VMBUS_MSG_GPADL_TORNDOWN];

	put32(8, id);
	post(VMBUS_MSG_CLOSE, 12);
	put32(8, id);
	put32(12, number);
	post(VMBUS_MSG_GPADL_TEARDOWN, 16);
	wait_message(VMBUS_MSG_GPADL_TORNDOWN, before + 1);
}

/* Both control pages, as an honest guest leaves them before it opens */
static void clear_rings(void)
{
	for (unsigned i = 0; i < 4096; i++)
		ring[0][i] = ring[4][i] = 0;
}

static void wild_rings(u32 id)
{
	static const u64 bad[] = {0xfee00, HOLE >> 12, ~0ull >> 12, ~0ull - 8, 1ull << 51, 0};
	u64 first = (u64)(uintptr_t)ring >> 12;

	for (unsigned i = 0; i < ARRAY_SIZE(bad) + 1; i++) {
		u64 pfn = i < ARRAY_SIZE(bad) ? bad[i] : vtl2_base >> 12;

		if (!pfn)
			continue;
		if (!gpadl(id, 0xe1e10, pfn, 4)) {
			expect(open_channel(id, 0xe1e10, 0, 2) != 0, "a ring at page %#lx", pfn);
			put32(8, id);
			put32(12, 0xe1e10);
			post(VMBUS_MSG_GPADL_TEARDOWN, 16);
			wait_message(VMBUS_MSG_GPADL_TORNDOWN,
				     received[VMBUS_MSG_GPADL_TORNDOWN] + 1);
		}
	}
	expect(open_channel(id, 0x1234, 0, 2) != 0, "open without page list");
	expect(!gpadl(id, 0xe1e11, first, 8), "an honest page list");
	expect(gpadl(id, 0xe1e11, first, 8) != 0, "the same page list twice");
	expect(open_channel(id, 0xe1e11, 77, 4) != 0, "open for a VP that is none");
	expect(open_channel(id, 0xe1e11, 0, 0) != 0, "open with one ring");
	expect(open_channel(id, 0xe1e11, 0, 8) != 0, "open with one ring");
	for (unsigned round = 0; round < 24; round++) {
		clear_rings();
		if (!expect(!open_channel(id, 0xe1e11, 0, 4), "an honest open"))
			return;
		for (unsigned i = 0; i < 60; i++) {
			u64 r = random_u64();

			/* indices, mask, room wanted; then packets of any shape */
			MEM32(&ring[r & 4][r >> 8 & 0xc]) = r & 0x10
								    ? (u32)(r >> 32)
								    : (u32)(r >> 32) % 0x3008 & ~7u;
			for (unsigned k = 0; k < 16; k++)
				MEM64(&ring[1 + (r >> 20) % 3][k * 8]) = random_u64() >>
									 (r & 0x20 ? 0 : 50);
			hypercall(HV_CALL_SIGNAL_EVENT | HV_CONTROL_FAST,
				  VMBUS_EVENT_CONN(0, VMBUS_SINT, id) | (r & 0x40 ? 1ull << 32 : 0),
				  0);
			take();
		}
		put32(8, id);
		post(VMBUS_MSG_CLOSE, 12);
	}
	clear_rings();
	expect(!open_channel(id, 0xe1e11, 0, 4), "an honest open at the end");
	close_channel(id, 0xe1e11);
}

static void enter(void)
{
	hypercall_enable();
	write_msr(HV_MSR_SIMP, (u64)(uintptr_t)slots | HV_PAGE_ENABLE);
	write_msr(HV_MSR_SIEFP, (u64)(uintptr_t)flags | HV_PAGE_ENABLE);
	write_msr(HV_MSR_SCONTROL, 1);
	write_msr(HV_MSR_SINT0 + VMBUS_SINT, VEC_SINT | HV_SINT_POLLING);
}

static void leave(void)
{
	write_msr(HV_MSR_SINT0 + VMBUS_SINT, HV_SINT_MASKED);
	write_msr(HV_MSR_SCONTROL, 0);
	write_msr(HV_MSR_SIMP, 0);
	write_msr(HV_MSR_SIEFP, 0);
}

/* Every index that means something, in each word of both control pages of an open channel */
static void edge_rings(u32 id)
{
	static const u32 edge[] = {1,	   7,	   8,	       0x2ff8,	   0x3000,     0x3008,
				   0xffff, 0x8000, 0x7fffffff, 0x80000000, 0xfffffff8, ~0u};

	if (!expect(!gpadl(id, 0xe1e13, (u64)(uintptr_t)ring >> 12, 8), "an honest page list"))
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(edge) * 8; i++) {
		clear_rings();
		if (!expect(!open_channel(id, 0xe1e13, 0, 4), "an honest open"))
			break;
		MEM32(&ring[i & 4][(i & 3) * 4]) = edge[i / 8];
		hypercall(HV_CALL_SIGNAL_EVENT | HV_CONTROL_FAST,
			  VMBUS_EVENT_CONN(0, VMBUS_SINT, id), 0);
		/* and a second word while somebody may read */
		MEM32(&ring[i & 4][((i + 1) & 3) * 4]) = edge[(i + 5) % ARRAY_SIZE(edge)];
		hypercall(HV_CALL_SIGNAL_EVENT | HV_CONTROL_FAST,
			  VMBUS_EVENT_CONN(0, VMBUS_SINT, id), 0);
		put32(8, id);
		post(VMBUS_MSG_CLOSE, 12);
	}
	clear_rings();
	expect(!open_channel(id, 0xe1e13, 0, 4), "an honest open at the end");
	close_channel(id, 0xe1e13);
}

void test_vmbus_rings(void)
{
	enter();
	if (contact() && get_offers() && expect(channels >= 4, "%u channels", channels))
		for (unsigned i = 0; i < 4; i++)
			edge_rings(channel[i]);
	unload();
	leave();
}

/* What costs memory on the other side, so often that a leak shows there */
void test_vmbus_loops(void)
{
	bool good = true;

	enter();
	for (unsigned i = 0; i < 1000 && good; i++)
		good = contact() && (i % 8 || get_offers()) && unload();
	good = good && contact() && get_offers();
	for (unsigned i = 0; i < 1000 && good; i++) {
		u32 id = channel[i % 4];

		good = expect(!gpadl(id, 0xe1e20 + i, (u64)(uintptr_t)ring >> 12, 8),
			      "page list %u", i);
		if (good && !(i % 8)) {
			clear_rings();
			good = expect(!open_channel(id, 0xe1e20 + i, 0, 4), "open %u", i);
			put32(8, id);
			post(VMBUS_MSG_CLOSE, 12);
		}
		if (i % 16 == 15) /* all of them at once */
			good = unload() && contact() && get_offers();
		else if (i & 1)
			close_channel(id, 0xe1e20 + i);
	}
	unload();
	leave();
}

/* For whoever measures the other side */
void test_rest(void)
{
	u64 start = now();

	while (now() - start < 80000000)
		asm volatile("pause");
}

void test_vmbus(void)
{
	enter();
	/* before anything */
	every_message(10);
	unload();
	/* what the hypercall itself must refuse */
	expect(post_to(VMBUS_CONN_MULTI, 241) == HV_STATUS_INVALID_PARAMETER, "241 bytes");
	expect(post_to(VMBUS_CONN_MULTI, ~0u) == HV_STATUS_INVALID_PARAMETER, "4 GiB");
	expect(post_to(VMBUS_CONN_VTL2_REDIRECT, 8) == HV_STATUS_INVALID_CONNECTION_ID,
	       "VTL2's own connection");
	expect(post_to(VMBUS_CONN_VTL2, 8) == HV_STATUS_INVALID_CONNECTION_ID, "VTL2's own");
	expect(post_to(0, 8) == HV_STATUS_INVALID_CONNECTION_ID, "connection 0");
	expect((hypercall(HV_CALL_SIGNAL_EVENT | HV_CONTROL_FAST, 0x22001, 0) & 0xffff) ==
		       HV_STATUS_INVALID_CONNECTION_ID,
	       "a signal to VTL2's channel");
	if (!contact() || !get_offers())
		return;
	if (!expect(channels >= 4, "%u channels are offered", channels))
		return;
	wild_rings(channel[0]);
	wild_rings(channel[1]);
	every_message(100);
	unload();
	/* and all is as before */
	for (unsigned i = 0; i < 20; i++) {
		if (!contact() || !get_offers())
			return;
		expect(channels >= 4, "%u channels are offered", channels);
		expect(!gpadl(channel[0], 0xe1e12, (u64)(uintptr_t)ring >> 12, 8), "page list");
		clear_rings();
		expect(!open_channel(channel[0], 0xe1e12, 0, 4), "open");
		/* leaves with open channel, by unload or by the next contact */
		if (i & 1)
			unload();
	}
	unload();
	leave();
}

/* Comes and goes under a host whose answers are changed, late or lost. That it goes on counts. */
void test_vmbus_rough(void)
{
	u64 start = now();

	lenient = true;
	patience = 500000;
	enter();
	for (unsigned i = 0; now() - start < 90000000; i++) {
		u32 id = 1 + i % 5;

		contact();
		get_offers();
		for (unsigned k = 0; k < channels; k++)
			if (k == i % 4)
				id = channel[k];
		gpadl(id, 0xe1e10 + i, (u64)(uintptr_t)ring >> 12, 8);
		clear_rings();
		open_channel(id, 0xe1e10 + i, 0, 4);
		hypercall(HV_CALL_SIGNAL_EVENT | HV_CONTROL_FAST,
			  VMBUS_EVENT_CONN(0, VMBUS_SINT, id), 0);
		if (i & 1)
			close_channel(id, 0xe1e10 + i);
		if (i & 2)
			unload();
	}
	unload();
	leave();
	lenient = false;
	patience = 300000000;
}
