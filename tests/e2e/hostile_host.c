/*
 * `parapet` as a hostile host: what it says to VTL2 about VMBus is changed, and much is added; the
 * rings of VTL2's own channels get wild indices. For tests only; linked from the program's own
 * objects with --wrap=synic_post --wrap=vmbus_channel_open_done.
 *
 * HOSTILE=FOLDER names a folder with two FIFOs: a line "CASE COUNT SEED" in `in` runs a case, a
 * line in `out` tells its end. HOSTILE_START="CASE COUNT SEED" is done before the first message
 * (those that only switch something on). Messages go to the paravisor's client, or, if the case's
 * name begins with "own-", to VTL2's kernel.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/abi/hostlink.h"
#include "common/abi/vmbus.h"
#include "common/vmbus/server_impl.h"
#include "host/synic.h"

#define IDS	    VMBUS_MAX_CHANNELS
#define POST_TRIES  20000 /* of a millisecond */
#define RING_WRITES 16	  /* into the rings of one channel: it hardly lives longer */

u16 __real_synic_post(struct vp *vp, enum vtl vtl, unsigned sint, const struct hv_message *msg,
		      bool queue);
u16 __wrap_synic_post(struct vp *vp, enum vtl vtl, unsigned sint, const struct hv_message *msg,
		      bool queue);
void __real_vmbus_channel_open_done(struct vmbus_channel *ch, u32 status);
void __wrap_vmbus_channel_open_done(struct vmbus_channel *ch, u32 status);
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* innermost, but for the VP's */
static struct vp *target;
static u64 seed_c; /* of the thread with the cases */
static unsigned long posted;

/* Who is spoken to */
static struct bus {
	unsigned sint;
	bool real[IDS]; /* what the host itself has offered */
	u32 sender;
	u64 mutations, seed; /* messages still to be looked at */
	struct hv_message held;
	bool holds;
} bus_paravisor = {.sint = VMBUS_REDIRECT_SINT}, bus_own = {.sint = VMBUS_SINT},
  *bus = &bus_paravisor; /* of the case that runs */
static bool stuck;

/* VTL2's own channels, those of its kernel */
static struct own {
	bool refused, offered, opened; /* opened: since it was offered last */
	u8 *ring[2];	 /* control pages while VTL2 may use them: towards the host, towards VTL2 */
	u32 size[2];	 /* of the data behind */
	unsigned writes; /* by case_rings */
} own[IDS];
static unsigned hits;		       /* channels */
static unsigned early, stale, refused; /* opens that are still to be spoiled, see case_early */
static unsigned spoiled;	       /* opens that have been */

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

static u16 mutated(struct bus *b, struct vp *vp, const struct hv_message *msg)
{
	struct hv_message m = *msg, before = b->held;
	u64 r = roll(&b->seed);
	bool first = b->holds;
	u16 status = HV_STATUS_SUCCESS;
	unsigned sint = b->sint;

	b->mutations--;
	b->holds = false;
	switch (r >> 60 & 7) {
	case 0: break; /* lost */
	case 1:
		status = __real_synic_post(vp, VTL2, sint, &m, true);
		__real_synic_post(vp, VTL2, sint, &m, true);
		break;
	case 2:
		b->held = m;
		b->holds = true;
		break;
	case 3:
	case 4:
		if (m.payload_size)
			change(&m, roll(&b->seed));
		/* fall through */
	default: status = __real_synic_post(vp, VTL2, sint, &m, true); break;
	}
	if (first)
		__real_synic_post(vp, VTL2, sint, &before, true);
	return status;
}

/* What the host says about VTL2's own channels; call with `lock` held, before it is posted. */
static void watch_own(struct vp *vp, struct hv_message *msg)
{
	struct vmbus_msg_gpadl_created created;
	struct vmbus_msg_open_result result;
	struct vmbus_msg_offer offer;
	bool newly;
	u32 type, id;

	memcpy(&type, msg->payload, 4);
	memcpy(&id,
	       msg->payload + (type == VMBUS_MSG_OFFER ? offsetof(struct vmbus_msg_offer, channel)
						       : sizeof(struct vmbus_msg_header)),
	       4);
	if (id >= IDS)
		return;
	switch (type) {
	case VMBUS_MSG_OFFER:
		memcpy(&offer, msg->payload, sizeof(offer));
		own[id] = (struct own){.offered = true};
		/* Beyond the highest id that it knows the kernel does not look: the flag stays. */
		if (stale && offer.flags & VMBUS_OFFER_TLNPI) {
			stale--;
			spoiled++;
			synic_signal(vp, VTL2, VMBUS_SINT, id, &newly);
		}
		break;
	case VMBUS_MSG_GPADL_CREATED:
		if (refused && !own[id].opened) {
			refused--;
			spoiled++;
			memcpy(&created, msg->payload, sizeof(created));
			created.status = VMBUS_STATUS_FAILED;
			memcpy(msg->payload, &created, sizeof(created));
			own[id].refused = true;
		}
		if (early && !own[id].opened) {
			early--;
			spoiled++;
			synic_signal(vp, VTL2, VMBUS_SINT, id, &newly);
		}
		break;
	case VMBUS_MSG_OPEN_RESULT:
		memcpy(&result, msg->payload, sizeof(result));
		own[id].opened = !result.status;
		break;
	case VMBUS_MSG_RESCIND: /* VTL2 frees the pages after that only: so it is with hv_sock */
		memset(own[id].ring, 0, sizeof(own[id].ring));
		break;
	default: break;
	}
}

void __wrap_vmbus_channel_open_done(struct vmbus_channel *ch, u32 status)
{
	u32 id = vmbus_channel_id(ch);

	pthread_mutex_lock(&lock);
	if (ch->server->cfg.vtl == 2 && ch->rings && status == VMBUS_STATUS_SUCCESS &&
	    ch->offer.flags & VMBUS_OFFER_TLNPI) {
		own[id].ring[0] = ch->rx.page[0];
		own[id].size[0] = ch->rx.size;
		own[id].ring[1] = ch->tx.page[0];
		own[id].size[1] = ch->tx.size;
	}
	pthread_mutex_unlock(&lock);
	__real_vmbus_channel_open_done(ch, status);
}

/* A message of the host's own; call with `lock` held. */
static u16 pass_on(struct bus *b, struct vp *vp, const struct hv_message *msg)
{
	u32 type, id;

	target = vp;
	b->sender = msg->sender;
	memcpy(&type, msg->payload, 4);
	memcpy(&id, msg->payload + offsetof(struct vmbus_msg_offer, channel), 4);
	if (type == VMBUS_MSG_OFFER && id < IDS)
		b->real[id] = true;
	memcpy(&id, msg->payload + 8, 4);
	if (type == VMBUS_MSG_RESCIND && id < IDS)
		b->real[id] = false;
	return b->mutations ? mutated(b, vp, msg) : __real_synic_post(vp, VTL2, b->sint, msg, true);
}

u16 __wrap_synic_post(struct vp *vp, enum vtl vtl, unsigned sint, const struct hv_message *msg,
		      bool queue)
{
	struct hv_message m = *msg;
	bool own_bus = sint == VMBUS_SINT && msg->type == HV_MSG_VMBUS;
	u16 status;

	if (vtl != VTL2 || !queue || msg->sender == HOSTLINK_CONNECTION ||
	    (sint != VMBUS_REDIRECT_SINT && !own_bus))
		return __real_synic_post(vp, vtl, sint, msg, queue);
	pthread_mutex_lock(&lock);
	if (own_bus)
		watch_own(vp, &m);
	status = pass_on(own_bus ? &bus_own : &bus_paravisor, vp, &m);
	pthread_mutex_unlock(&lock);
	return status;
}

/* --- what is added */

static void post(const void *payload, unsigned size, u32 from)
{
	struct hv_message m = {.type = HV_MSG_VMBUS, .payload_size = (u8)size, .sender = from};

	memcpy(m.payload, payload, MIN(size, (unsigned)sizeof(m.payload)));
	for (unsigned i = 0; i < POST_TRIES && !stuck; i++) {
		if (__real_synic_post(target, VTL2, bus->sint, &m, true) !=
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
		if (bus->real[i])
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

	post(&m, sizeof(m), bus->sender);
}

static void clean(void)
{
	for (u32 i = 1; i < IDS; i++)
		if (!bus->real[i])
			rescind(i);
}

/*
 * Leaves out of an offer to VTL2's kernel what it cannot get rid of again: an id that its table has
 * no place for, and a subchannel.
 */
static void make_bearable(struct vmbus_msg_offer *m)
{
	if (bus != &bus_own)
		return;
	m->subchannel = 0;
	m->channel = MAX(m->channel % IDS, 1u);
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
			if (type == VMBUS_MSG_OFFER) {
				put(m, offsetof(struct vmbus_msg_offer, subchannel), 0);
				make_bearable((struct vmbus_msg_offer *)(void *)m);
			}
			if (type == VMBUS_MSG_RESCIND)
				put(m, 8, id < IDS && bus->real[id] ? 0 : id);
			post(m, r & 0x100 ? 240 : (u32)(r >> 12) & 0xff, bus->sender);
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
	make_bearable(&m.offer);
	post(&m, sizeof(m.offer), bus->sender);
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
		if (!(r & 0xf0000) && id < IDS && !bus->real[id])
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
		post(m, 240, bus->sender);
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
			if (type == VMBUS_MSG_OFFER)
				make_bearable((struct vmbus_msg_offer *)(void *)m);
			post(m, size, bus->sender);
			memset(m, 0, sizeof(m));
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
		unsigned sint = r & 1 ? VMBUS_SINT : VMBUS_REDIRECT_SINT;
		u32 id = (u32)(r >> 16) % IDS;
		bool newly;

		/* of the few channels that there are, more than chance would give */
		for (unsigned n = 0; sint == VMBUS_SINT && r & 2 && n < IDS && !own[id].opened; n++)
			id = (id + 1) % IDS;
		pthread_mutex_lock(&lock);
		synic_signal(target, VTL2, sint, id, &newly);
		pthread_mutex_unlock(&lock);
		posted++;
	}
}

/* --- rings of VTL2's own hv_sock channels */

static u32 wild(u64 r, u32 size, u32 now)
{
	const u32 edge[] = {0,	      8,	size - 8, size, size + 8,
			    2 * size, 1u << 31, ~0u - 7,  ~0u,	size - 1};

	switch (r & 7) {
	case 0:
	case 1: return edge[(r >> 8) % ARRAY_SIZE(edge)];
	case 2: return now + ((u32)(r >> 8) % 64 - 32) * 8;
	case 3: return now + (u32)(r >> 8) % 64 - 32;
	case 4: return (u32)(r >> 8) % size;
	case 5: return (u32)(r >> 8) % size & ~7u;
	case 6: return size + (u32)(r >> 8) % 65536;
	default: return (u32)(r >> 32);
	}
}

/* Writes into one control page. */
static void spoil(struct own *o, u64 r)
{
	static const u32 field[] = {VMBUS_RING_WRITE,	VMBUS_RING_READ, VMBUS_RING_WRITE,
				    VMBUS_RING_READ,	VMBUS_RING_MASK, VMBUS_RING_PENDING,
				    VMBUS_RING_FEATURES};
	unsigned side = r & 1;
	u32 *at = (u32 *)(void *)(o->ring[side] + field[(r >> 1) % ARRAY_SIZE(field)]);
	u32 now = __atomic_load_n(at, __ATOMIC_RELAXED);

	hits += !o->writes++;
	__atomic_store_n(at, wild(roll(&seed_c), o->size[side], now), __ATOMIC_SEQ_CST);
	posted++;
}

static struct own *open_ring(u64 r)
{
	u32 first = (u32)(r >> 8) % IDS;

	for (u32 i = 0; i < IDS; i++)
		if (own[(first + i) % IDS].ring[0] && own[(first + i) % IDS].writes < RING_WRITES)
			return &own[(first + i) % IDS];
	return NULL;
}

static void case_rings(unsigned long count)
{
	unsigned idle = 0;

	while (posted < count && idle < POST_TRIES) {
		u64 r = roll(&seed_c);
		struct own *o;
		bool newly;

		pthread_mutex_lock(&lock);
		o = open_ring(r);
		if (o) {
			for (u64 n = 1 + (r >> 20) % 3; n; n--)
				spoil(o, roll(&seed_c));
			synic_signal(target, VTL2, VMBUS_SINT, (unsigned)(o - own), &newly);
		}
		pthread_mutex_unlock(&lock);
		if (!o)
			idle++;
		usleep(o ? (u32)(r >> 32) % 8192 : 1000);
	}
}

/* VTL2's own channels are taken away, behind the back of the host's server. */
static void case_revoke(unsigned long count)
{
	for (unsigned long i = 0; i < count; i++) {
		for (u32 id = 1; id < IDS; id++) {
			struct vmbus_msg_channel m = {{VMBUS_MSG_RESCIND, 0}, id};
			struct hv_message msg = {.type = HV_MSG_VMBUS, .payload_size = sizeof(m)};

			if (!own[id].offered)
				continue;
			own[id].offered = false;
			memcpy(msg.payload, &m, sizeof(m));
			__wrap_synic_post(target, VTL2, VMBUS_SINT, &msg, true);
			posted++;
		}
		usleep((u32)(roll(&seed_c) >> 32) % 131072);
	}
}

/*
 * Events of channels that VTL2's kernel has not opened: hv_sock's callback must not see them
 * (kernel-config/patches). early: with the answer to the page list, when there are no rings yet;
 * stale: the flag stands since before the offer, beyond the ids that the kernel looked at until
 * then; refused: the page list is refused, and the event comes when the socket is freed (late).
 */
static void arm(unsigned *what, unsigned long count)
{
	pthread_mutex_lock(&lock);
	*what = (unsigned)count;
	pthread_mutex_unlock(&lock);
}

static void case_early(unsigned long count)
{
	arm(&early, count);
}

static void case_stale(unsigned long count)
{
	arm(&stale, count);
}

static void case_refused(unsigned long count)
{
	arm(&refused, count);
}

static void case_late(unsigned long count)
{
	for (unsigned tries = 0; posted < count && tries < POST_TRIES / 200; tries++) {
		usleep(200000);
		pthread_mutex_lock(&lock);
		for (u32 id = 0; id < IDS; id++) {
			bool newly;

			if (!own[id].refused)
				continue;
			synic_signal(target, VTL2, VMBUS_SINT, id, &newly);
			posted++;
		}
		pthread_mutex_unlock(&lock);
	}
}

/* How many opens have been spoiled */
static void case_spoiled(unsigned long count)
{
	(void)count;
	posted = spoiled;
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
	bus->mutations = 0;
	bus->holds = false;
	pthread_mutex_unlock(&lock);
}

static const struct {
	const char *name;
	void (*run)(unsigned long count);
} cases[] = {
	{"types", case_types},	   {"offers", case_offers},   {"answers", case_answers},
	{"sizes", case_sizes},	   {"link", case_link},	      {"flags", case_flags},
	{"rescind", case_rescind}, {"calm", case_calm},	      {"rings", case_rings},
	{"early", case_early},	   {"stale", case_stale},     {"refused", case_refused},
	{"late", case_late},	   {"spoiled", case_spoiled}, {"revoke", case_revoke},
};

static const char *order(const char *line)
{
	unsigned long count = 0, seed = 0;
	char name[16] = "";

	bus = strncmp(line, "own-", 4) ? &bus_paravisor : &bus_own;
	sscanf(bus == &bus_own ? line + 4 : line, "%15s %lu %lu", name, &count, &seed);
	posted = hits = 0;
	if (!strcmp(name, "mutate")) {
		pthread_mutex_lock(&lock);
		bus->mutations = count;
		bus->seed = start(seed);
		pthread_mutex_unlock(&lock);
		return "on";
	}
	if (!target && !strstr("early stale refused late", name))
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
		fprintf(out, "%s: %s %lu, %u channels\n", line, answer, posted, hits);
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
