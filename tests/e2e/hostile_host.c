/*
 * `parapet` as a hostile host: what it says to the paravisor's VMBus client is changed, and much is
 * added. For tests only; linked from the program's own objects with
 * --wrap=synic_post.
 *
 * HOSTILE=FOLDER names a folder with two FIFOs: a line "CASE COUNT SEED" in `in` runs a case, a
 * line in `out` tells its end. HOSTILE_START="mutate COUNT SEED" is done before the first message.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/abi/hostlink.h"
#include "common/abi/vmbus.h"
#include "host/synic.h"

#define IDS	   VMBUS_MAX_CHANNELS
#define POST_TRIES 20000 /* of a millisecond */

u16 __real_synic_post(struct vp *vp, enum vtl vtl, unsigned sint, const struct hv_message *msg,
		      bool queue);
u16 __wrap_synic_post(struct vp *vp, enum vtl vtl, unsigned sint, const struct hv_message *msg,
		      bool queue);
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* innermost, but for the VP's */
static struct vp *target;
static bool real[IDS]; /* what the host itself has offered */
static u32 sender;
static struct hv_message held;
static bool holds;
static u64 mutations;	   /* messages still to be looked at */
static u64 seed_m, seed_c; /* mutation; the thread with the cases */
static unsigned long posted;
static bool stuck;

static u64 roll(u64 *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static u64 start(u64 seed)
{
	return seed * 0x9e3779b97f4a7c15ull | 1;
}

/* --- what the host says itself */

static void change(struct hv_message *m, u64 r)
{
	u32 at = (u32)(r >> 16) % (HV_MESSAGE_PAYLOAD_SIZE / 4) * 4, value = (u32)(r >> 32);

	switch (r & 7) {
	case 0: m->payload_size = (u8)(r >> 8) % (m->payload_size + 1u); break;
	case 1: m->payload_size = (u8)(r >> 8); break;
	case 2: memcpy(m->payload, &(u32){value % 40}, 4); break;	     /* type */
	case 3: memcpy(m->payload + 8, &(u32){value % (IDS + 2)}, 4); break; /* channel */
	case 4: memcpy(m->payload + 8 + (r >> 8) % 4 * 4, &value, 4); break;
	case 5: memcpy(m->payload + at % m->payload_size, &value, 1); break;
	case 6: m->sender = value; break;
	default: memset(m->payload + 8, (int)(r >> 8), MAX(m->payload_size, 8u) - 8u); break;
	}
}

static u16 mutated(struct vp *vp, unsigned sint, const struct hv_message *msg)
{
	struct hv_message m = *msg, before = held;
	u64 r = roll(&seed_m);
	bool first = holds;
	u16 status = HV_STATUS_SUCCESS;

	mutations--;
	holds = false;
	switch (r >> 60 & 7) {
	case 0: break; /* lost */
	case 1:
		status = __real_synic_post(vp, VTL2, sint, &m, true);
		__real_synic_post(vp, VTL2, sint, &m, true);
		break;
	case 2:
		held = m;
		holds = true;
		break;
	case 3:
	case 4:
		if (m.payload_size)
			change(&m, roll(&seed_m));
		/* fall through */
	default: status = __real_synic_post(vp, VTL2, sint, &m, true); break;
	}
	if (first)
		__real_synic_post(vp, VTL2, sint, &before, true);
	return status;
}

u16 __wrap_synic_post(struct vp *vp, enum vtl vtl, unsigned sint, const struct hv_message *msg,
		      bool queue)
{
	u16 status;
	u32 type, id;

	if (vtl != VTL2 || sint != VMBUS_REDIRECT_SINT || msg->sender == HOSTLINK_CONNECTION)
		return __real_synic_post(vp, vtl, sint, msg, queue);
	pthread_mutex_lock(&lock);
	target = vp;
	sender = msg->sender;
	memcpy(&type, msg->payload, 4);
	memcpy(&id, msg->payload + offsetof(struct vmbus_msg_offer, channel), 4);
	if (type == VMBUS_MSG_OFFER && id < IDS)
		real[id] = true;
	memcpy(&id, msg->payload + 8, 4);
	if (type == VMBUS_MSG_RESCIND && id < IDS)
		real[id] = false;
	if (mutations)
		status = mutated(vp, sint, msg);
	else
		status = __real_synic_post(vp, vtl, sint, msg, queue);
	pthread_mutex_unlock(&lock);
	return status;
}

/* --- what is added */

static void post(const void *payload, unsigned size, u32 from)
{
	struct hv_message m = {.type = HV_MSG_VMBUS, .payload_size = (u8)size, .sender = from};

	memcpy(m.payload, payload, MIN(size, (unsigned)sizeof(m.payload)));
	for (unsigned i = 0; i < POST_TRIES && !stuck; i++) {
		if (__real_synic_post(target, VTL2, VMBUS_REDIRECT_SINT, &m, true) !=
		    HV_STATUS_INSUFFICIENT_BUFFERS) {
			posted++;
			return;
		}
		usleep(1000);
	}
	stuck = true; /* VTL2 takes no more messages */
}

static u32 some_channel(u64 r)
{
	static const u32 edge[] = {0, 1, IDS - 1, IDS, 0xffff, 0x10001, ~0u, 1024};

	if (r & 1)
		return edge[r >> 1 & 7];
	if (r & 2)
		return (u32)(r >> 8) % IDS;
	for (u32 i = (u32)(r >> 8) % 32; i < IDS; i++)
		if (real[i])
			return i;
	return 1;
}

static void garbage(u8 *payload)
{
	for (unsigned i = 0; i < 240; i += 4) {
		u64 r = roll(&seed_c);
		u32 v = (u32)(r >> 32);

		switch (r & 7) {
		case 0: v = some_channel(r >> 8); break;
		case 1: v = 0; break;
		case 2: v = ~0u; break;
		case 3: v &= 7; break;
		case 4: v = 0xe1e10 + v % 8; break; /* page lists of Linux count from here */
		default: break;
		}
		memcpy(payload + i, &v, 4);
	}
}

static void put(u8 *payload, unsigned at, u32 value)
{
	memcpy(payload + at, &value, sizeof(value));
}

static void rescind(u32 id)
{
	struct vmbus_msg_channel m = {{VMBUS_MSG_RESCIND, 0}, id};

	post(&m, sizeof(m), sender);
}

static void clean(void)
{
	for (u32 i = 1; i < IDS; i++)
		if (!real[i])
			rescind(i);
}

/* Every type, every size, anything in it; but what exists is not taken away. */
static void case_types(unsigned long count)
{
	u8 m[240];

	for (unsigned long i = 0; i < count; i++)
		for (u32 type = 0; type < VMBUS_MSG_COUNT + 4; type++) {
			u64 r = roll(&seed_c);
			u32 id = some_channel(r >> 20);

			garbage(m);
			put(m, 0, r & 0xf0 ? type : (u32)(r >> 32));
			if (type == VMBUS_MSG_OFFER)
				put(m, offsetof(struct vmbus_msg_offer, subchannel), 0);
			if (type == VMBUS_MSG_RESCIND)
				put(m, 8, id < IDS && real[id] ? 0 : id);
			post(m, r & 0x100 ? 240 : (u32)(r >> 12) & 0xff, sender);
		}
	clean();
}

static void offer(u32 id, u64 r)
{
	union {
		struct vmbus_msg_offer offer;
		u8 bytes[240];
	} m;

	garbage(m.bytes);
	m.offer.hdr = (struct vmbus_msg_header){VMBUS_MSG_OFFER, 0};
	m.offer.channel = id;
	/* of one device, as far as the guest can see */
	if (r & 1)
		m.offer.interface = m.offer.instance = (struct guid)VMBUS_IF_HVSOCK(99);
	/* Linux never lets go of subchannels that it has not opened: these would count as leaks */
	m.offer.subchannel = 0;
	if (r & 4)
		m.offer.flags = VMBUS_OFFER_HVSOCK;
	m.offer.monitor_id = (u8)(r >> 8);
	m.offer.monitor_allocated = (u8)(r >> 16);
	post(&m, sizeof(m.offer), sender);
}

static void case_offers(unsigned long count)
{
	for (unsigned long i = 0; i < count; i++) {
		u64 r = roll(&seed_c);
		u32 id = r & 0xf00 ? (u32)(r >> 32) % IDS : some_channel(r >> 16);

		offer(id, r);
		if (!(r & 0xf000))
			offer(id, r);
		/* before anybody can have looked at it */
		if (!(r & 0xf0000) && id < IDS && !real[id])
			rescind(id);
	}
	clean();
	clean();
}

/* Answers to what nobody has asked, with the names of what there is. */
static void case_answers(unsigned long count)
{
	static const u8 type[] = {
		VMBUS_MSG_OPEN_RESULT,
		VMBUS_MSG_GPADL_CREATED,
		VMBUS_MSG_GPADL_TORNDOWN,
		VMBUS_MSG_VERSION_RESPONSE,
		VMBUS_MSG_UNLOAD_COMPLETE,
		VMBUS_MSG_TL_CONNECT_RESULT,
		VMBUS_MSG_MODIFY_RESPONSE,
		VMBUS_MSG_MODIFY_CONN_RESPONSE,
		VMBUS_MSG_PAUSE_RESPONSE,
		VMBUS_MSG_ALL_OFFERS_DELIVERED,
		VMBUS_MSG_CLOSE_RESERVED_RESPONSE,
	};
	u8 m[240];

	for (unsigned long i = 0; i < count; i++) {
		u64 r = roll(&seed_c);

		garbage(m);
		put(m, 0, type[(r >> 8) % ARRAY_SIZE(type)]);
		if (r & 1)
			put(m, 8, some_channel(r >> 20 & ~3ull));
		if (r & 2)
			put(m, 16, 0);
		post(m, 240, sender);
	}
}

/* Each message as short as it may be and shorter, and as long as the slot can say. */
static void case_sizes(unsigned long count)
{
	u8 m[240] = {0};

	(void)count;
	for (u32 type = 0; type <= VMBUS_MSG_COUNT; type++)
		for (unsigned size = 0; size <= 255; size += size < 64 || size > 190 ? 1 : 9) {
			put(m, 0, type);
			post(m, size, sender);
		}
	clean();
}

/* The host's own link to the paravisor, on the same SINT */
static void case_link(unsigned long count)
{
	static const u16 op[] = {0,
				 HOSTLINK_CONSOLE,
				 HOSTLINK_POWER,
				 HOSTLINK_MARK,
				 HOSTLINK_CREDIT,
				 HOSTLINK_TIME,
				 8,
				 0xffff};
	struct hostlink_message m;

	for (unsigned long i = 0; i < count; i++) {
		u64 r = roll(&seed_c);

		garbage((u8 *)&m);
		m.op = op[r & 7];
		/* to no console that there is */
		m.index = (u16)MAX(r >> 16 & 0xffff, 4u);
		m.length = r & 8 ? (u32)(r >> 32) : (u32)(r >> 32) % 300;
		post(&m, r & 16 ? 240 : (u32)(r >> 8) & 0xff, HOSTLINK_CONNECTION);
	}
}

static void case_flags(unsigned long count)
{
	for (unsigned long i = 0; i < count; i++) {
		u64 r = roll(&seed_c);
		bool newly;

		synic_signal(target, VTL2, r & 1 ? VMBUS_SINT : VMBUS_REDIRECT_SINT,
			     (u32)(r >> 16) % 2048, &newly);
		posted++;
	}
}

/* All devices are taken away. */
static void case_rescind(unsigned long count)
{
	(void)count;
	for (u32 i = 1; i < IDS; i++)
		rescind(i);
	for (u32 i = IDS; i--;)
		rescind(i);
}

static void case_calm(unsigned long count)
{
	(void)count;
	pthread_mutex_lock(&lock);
	mutations = 0;
	holds = false;
	pthread_mutex_unlock(&lock);
}

static const struct {
	const char *name;
	void (*run)(unsigned long count);
} cases[] = {
	{"types", case_types},	   {"offers", case_offers}, {"answers", case_answers},
	{"sizes", case_sizes},	   {"link", case_link},	    {"flags", case_flags},
	{"rescind", case_rescind}, {"calm", case_calm},
};

static const char *order(const char *line)
{
	unsigned long count = 0, seed = 0;
	char name[16] = "";

	sscanf(line, "%15s %lu %lu", name, &count, &seed);
	posted = 0;
	if (!strcmp(name, "mutate")) {
		pthread_mutex_lock(&lock);
		mutations = count;
		seed_m = start(seed);
		pthread_mutex_unlock(&lock);
		return "on";
	}
	if (!target)
		return "no connection to be hostile to";
	seed_c = start(seed);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		if (!strcmp(name, cases[i].name)) {
			cases[i].run(count);
			return stuck ? "STUCK" : "posted";
		}
	return "what?";
}

static void *serve(void *folder)
{
	char path[256], line[80];
	FILE *in, *out;

	snprintf(path, sizeof(path), "%s/in", (const char *)folder);
	in = fopen(path, "r+e");
	snprintf(path, sizeof(path), "%s/out", (const char *)folder);
	out = fopen(path, "r+e");
	while (in && out && fgets(line, sizeof(line), in)) {
		const char *answer = order(line);

		line[strcspn(line, "\n")] = 0;
		fprintf(out, "%s: %s %lu\n", line, answer, posted);
		fflush(out);
	}
	return NULL;
}

__attribute__((constructor)) static void hostile(void)
{
	const char *first = getenv("HOSTILE_START");
	char *folder = getenv("HOSTILE");
	sigset_t all, before;
	pthread_t thread;

	if (first)
		order(first);
	if (!folder)
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&thread, NULL, serve, folder))
		perror("hostile");
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}
