/*
 * GPADLs of one guest: page lists that come in a header and body messages, collected in bounded
 * memory. What a list says is kept as it came, so that a relay can pass it on; PFNs are not judged
 * here. No locks.
 */
#ifndef PARAPET_COMMON_VMBUS_GPADL_H
#define PARAPET_COMMON_VMBUS_GPADL_H

#include "common/abi/vmbus.h"
#include "common/protobuf.h"

/* The numbers stand in saved states. */
enum vmbus_gpadl_state {
	GPADL_IN_PROGRESS,
	GPADL_OFFERED, /* complete, the device has not answered */
	GPADL_ACCEPTED,
	GPADL_TEARING_DOWN,	    /* the device has not let go */
	GPADL_OFFERED_TEARING_DOWN, /* torn down before the device answered */
};

struct vmbus_gpadl {
	struct vmbus_gpadl *next;
	u32 id, channel;
	u16 ranges;
	u16 words, filled; /* u64 in data: expected, received */
	enum vmbus_gpadl_state state;
	bool announce; /* the guest waits for TORNDOWN */
	u32 mark;
	bool asked; /* the device was told to let go */
	u64 data[]; /* per range: length | offset << 32, then PFNs */
};

#define GPADL_BUCKETS	64
#define GPADL_MAX_COUNT 4096
#define GPADL_MAX_WORDS (1u << 19) /* 2 GiB of pages in ranges of one page list */

struct vmbus_gpadls {
	struct vmbus_gpadl *bucket[GPADL_BUCKETS];
	u32 count, words;
	u32 max_count, max_words; /* 0: the values above */
};

enum vmbus_gpadl_result {
	GPADL_MORE,	/* bodies are still to come */
	GPADL_COMPLETE, /* checked, state OFFERED */
	GPADL_FAILED,	/* answer GPADL_CREATED with failure; nothing is kept */
	GPADL_IGNORED,	/* no answer */
};

/*
 * Take a message of len bytes (header included, length not yet checked). *id and *channel are set
 * for COMPLETE and FAILED. The list keeps what *gpadl points to.
 */
enum vmbus_gpadl_result vmbus_gpadl_header(struct vmbus_gpadls *t, const void *msg, size_t len,
					   struct vmbus_gpadl **gpadl, u32 *id, u32 *channel);
enum vmbus_gpadl_result vmbus_gpadl_body(struct vmbus_gpadls *t, const void *msg, size_t len,
					 struct vmbus_gpadl **gpadl, u32 *id, u32 *channel);
/* NULL when there is none. Those in progress are found too. */
struct vmbus_gpadl *vmbus_gpadl_find(const struct vmbus_gpadls *t, u32 id, u32 channel);
/*
 * As if its messages had come: `filled` words of data, of any alignment. NULL: malformed,
 * duplicate, or beyond the limits.
 */
struct vmbus_gpadl *vmbus_gpadl_add(struct vmbus_gpadls *t, u32 id, u32 channel, u16 ranges,
				    const void *data, u16 words, u16 filled);
void vmbus_gpadl_free(struct vmbus_gpadls *t, struct vmbus_gpadl *gpadl);
void vmbus_gpadl_free_all(struct vmbus_gpadls *t);

/*
 * All lists as fields `number`, in an order in which vmbus_gpadl_restore puts them back as they
 * were. What `asked` and `mark` say is left to the caller. Without memory w fails.
 */
void vmbus_gpadl_save(const struct vmbus_gpadls *t, struct pb_writer *w, u32 number);
/* NULL: malformed, or as vmbus_gpadl_add. The channel and the state are not judged. */
struct vmbus_gpadl *vmbus_gpadl_restore(struct vmbus_gpadls *t, struct pb_bytes state);

/* One range of a complete list. */
struct vmbus_gpadl_view {
	u32 len, offset;
	u32 pages;
	const u64 *pfn;
};
/* False when there is no range i. */
bool vmbus_gpadl_range(const struct vmbus_gpadl *gpadl, unsigned i, struct vmbus_gpadl_view *view);
/* The list as memory of a ring pair: one range, whole pages from offset 0. */
bool vmbus_gpadl_is_ring(const struct vmbus_gpadl *gpadl, struct vmbus_gpadl_view *view);

#endif
