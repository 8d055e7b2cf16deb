/*
 * ttrpc: remote calls in frames over a byte stream (containerd's ttrpc protocol, PROTOCOL.md
 * there). Frame: length, stream (u32, big endian), type, flags, then a protobuf envelope; the body
 * of a data frame is the message itself.
 */
#ifndef PARAPET_COMMON_DIAG_TTRPC_H
#define PARAPET_COMMON_DIAG_TTRPC_H

#include "common/protobuf.h"

#define TTRPC_HEADER   10
#define TTRPC_BODY_MAX 0xffffffu

enum ttrpc_type { TTRPC_REQUEST = 1, TTRPC_RESPONSE = 2, TTRPC_DATA = 3 };

/* Flags of a request: data of the caller's follow; and of data: they are the last, or none. */
#define TTRPC_REMOTE_CLOSED 0x1u
#define TTRPC_REMOTE_OPEN   0x2u
#define TTRPC_NO_DATA	    0x4u

/* google.rpc.Code */
enum ttrpc_code {
	TTRPC_OK = 0,
	TTRPC_CANCELLED = 1,
	TTRPC_UNKNOWN = 2,
	TTRPC_INVALID_ARGUMENT = 3,
	TTRPC_DEADLINE_EXCEEDED = 4,
	TTRPC_RESOURCE_EXHAUSTED = 8,
	TTRPC_UNIMPLEMENTED = 12,
	TTRPC_INTERNAL = 13,
	TTRPC_UNAVAILABLE = 14,
};

struct ttrpc_frame {
	u32 stream;
	u8 type, flags;
	bool oversized; /* the body was over the limit and has been thrown away */
	struct pb_bytes body;
};

/* Puts a byte stream together to frames; its memory grows with what has arrived, up to limit. */
struct ttrpc_receiver {
	u8 header[TTRPC_HEADER];
	u8 *body;
	size_t limit, header_used, body_used, body_size, length;
	bool failed; /* no memory */
};

void ttrpc_receiver_init(struct ttrpc_receiver *r, size_t limit);
void ttrpc_receiver_free(struct ttrpc_receiver *r);
/*
 * Takes bytes from *data, which it advances, up to the end of one frame. True when frame is
 * complete: it is valid until the next call.
 */
bool ttrpc_receive(struct ttrpc_receiver *r, struct pb_bytes *data, struct ttrpc_frame *frame);
/* Nothing of a frame's header, or only a part of it, has arrived: an end of file is a clean one. */
bool ttrpc_receiver_idle(const struct ttrpc_receiver *r);

struct ttrpc_request {
	struct pb_bytes service, method, payload;
	u64 timeout_ns; /* 0 = none */
	bool open;	/* TTRPC_REMOTE_OPEN; only written */
};

struct ttrpc_response {
	enum ttrpc_code code;	 /* TTRPC_OK: payload counts, else message */
	bool present;		 /* status or payload was there at all */
	struct pb_bytes message; /* may not be UTF-8 */
	struct pb_bytes payload;
};

/* Envelopes. Parsing: false for what is not decodable; the result points into body. */
bool ttrpc_parse_request(struct pb_bytes body, struct ttrpc_request *request);
bool ttrpc_parse_response(struct pb_bytes body, struct ttrpc_response *response);
/* Append a whole frame to w (failure: w->failed). */
void ttrpc_write_request(struct pb_writer *w, u32 stream, const struct ttrpc_request *request);
void ttrpc_write_result(struct pb_writer *w, u32 stream, struct pb_bytes payload);
void ttrpc_write_status(struct pb_writer *w, u32 stream, enum ttrpc_code code, const char *message);
/* flags: TTRPC_REMOTE_CLOSED, TTRPC_NO_DATA (then message is empty) or none. */
void ttrpc_write_data(struct pb_writer *w, u32 stream, u8 flags, struct pb_bytes message);
/* The name of a code, for people. */
const char *ttrpc_code_name(enum ttrpc_code code);

#endif
