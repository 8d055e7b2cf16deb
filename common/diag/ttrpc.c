/* ttrpc framing and envelopes. */
#include "common/diag/ttrpc.h"

#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"

#define FIRST_BODY 512u

void ttrpc_receiver_init(struct ttrpc_receiver *r, size_t limit)
{
	*r = (struct ttrpc_receiver){.limit = MIN(limit, (size_t)TTRPC_BODY_MAX)};
}

void ttrpc_receiver_free(struct ttrpc_receiver *r)
{
	free(r->body);
	r->body = NULL;
	r->body_size = 0;
}

static void copy_some(u8 *to, size_t *used, size_t wanted, struct pb_bytes *data)
{
	size_t n = MIN(wanted - *used, data->size);

	if (!n)
		return;
	memcpy(to + *used, data->data, n);
	*used += n;
	data->data += n;
	data->size -= n;
}

/* Room for what is there now, not for what the peer says will come. */
static bool grow(struct ttrpc_receiver *r, size_t wanted)
{
	size_t size = r->body_size ? r->body_size : FIRST_BODY;
	u8 *body;

	if (wanted <= r->body_size)
		return true;
	while (size < wanted)
		size *= 2;
	body = realloc(r->body, MIN(size, r->limit));
	if (!body)
		return false;
	r->body = body;
	r->body_size = MIN(size, r->limit);
	return true;
}

bool ttrpc_receive(struct ttrpc_receiver *r, struct pb_bytes *data, struct ttrpc_frame *frame)
{
	if (r->failed)
		return false;
	if (r->header_used < TTRPC_HEADER) {
		copy_some(r->header, &r->header_used, TTRPC_HEADER, data);
		if (r->header_used < TTRPC_HEADER)
			return false;
		r->length = get_be32(r->header);
		r->body_used = 0;
	}
	if (r->length <= r->limit) {
		if (!grow(r, MIN(r->body_used + data->size, r->length))) {
			r->failed = true;
			return false;
		}
		copy_some(r->body, &r->body_used, r->length, data);
	} else {
		size_t n = MIN(r->length - r->body_used, data->size);

		if (n) {
			r->body_used += n;
			data->data += n;
			data->size -= n;
		}
	}
	if (r->body_used < r->length)
		return false;
	*frame = (struct ttrpc_frame){
		.stream = get_be32(r->header + 4),
		.type = r->header[8],
		.flags = r->header[9],
		.oversized = r->length > r->limit,
	};
	if (!frame->oversized)
		frame->body = (struct pb_bytes){r->body, r->length};
	r->header_used = 0;
	return true;
}

bool ttrpc_receiver_idle(const struct ttrpc_receiver *r)
{
	return r->header_used < TTRPC_HEADER;
}

bool ttrpc_parse_request(struct pb_bytes body, struct ttrpc_request *request)
{
	struct pb_reader r;
	struct pb_field f;

	*request = (struct ttrpc_request){0};
	pb_reader_init(&r, body);
	while (pb_next(&r, &f)) {
		if (pb_is(&r, &f, 1, PB_BYTES))
			request->service = f.bytes;
		else if (pb_is(&r, &f, 2, PB_BYTES))
			request->method = f.bytes;
		else if (pb_is(&r, &f, 3, PB_BYTES))
			request->payload = f.bytes;
		else if (pb_is(&r, &f, 4, PB_VARINT))
			request->timeout_ns = f.value;
	}
	return !r.failed && pb_is_utf8(request->service) && pb_is_utf8(request->method);
}

static bool parse_status(struct pb_bytes status, struct ttrpc_response *response)
{
	struct pb_reader r;
	struct pb_field f;

	pb_reader_init(&r, status);
	response->code = TTRPC_OK;
	while (pb_next(&r, &f)) {
		if (pb_is(&r, &f, 1, PB_VARINT))
			response->code = (enum ttrpc_code)(u32)f.value;
		else if (pb_is(&r, &f, 2, PB_BYTES))
			response->message = f.bytes;
	}
	return !r.failed;
}

/* The last of status and payload wins, as in any oneof; a status with code 0 is still an error. */
bool ttrpc_parse_response(struct pb_bytes body, struct ttrpc_response *response)
{
	struct pb_reader r;
	struct pb_field f;

	*response = (struct ttrpc_response){0};
	pb_reader_init(&r, body);
	while (pb_next(&r, &f)) {
		if (pb_is(&r, &f, 1, PB_BYTES)) {
			response->payload = (struct pb_bytes){0};
			if (!parse_status(f.bytes, response))
				return false;
			if (response->code == TTRPC_OK)
				response->code = TTRPC_UNKNOWN;
			response->present = true;
		} else if (pb_is(&r, &f, 2, PB_BYTES)) {
			response->code = TTRPC_OK;
			response->message = (struct pb_bytes){0};
			response->payload = f.bytes;
			response->present = true;
		}
	}
	return !r.failed;
}

static size_t begin_frame(struct pb_writer *w, u32 stream, enum ttrpc_type type, u8 flags)
{
	u8 header[TTRPC_HEADER] = {0};
	size_t mark = w->used;

	put_be32(header + 4, stream);
	header[8] = (u8)type;
	header[9] = flags;
	pb_raw(w, header, sizeof(header));
	return mark;
}

static void end_frame(struct pb_writer *w, size_t mark)
{
	size_t length;

	if (w->failed)
		return;
	length = w->used - mark - TTRPC_HEADER;
	if (length > TTRPC_BODY_MAX) {
		w->used = mark;
		w->failed = true;
		return;
	}
	put_be32(w->data + mark, (u32)length);
}

void ttrpc_write_request(struct pb_writer *w, u32 stream, const struct ttrpc_request *request)
{
	size_t mark = begin_frame(w, stream, TTRPC_REQUEST, request->open ? TTRPC_REMOTE_OPEN : 0);

	pb_put_bytes(w, 1, request->service);
	pb_put_bytes(w, 2, request->method);
	pb_put_bytes(w, 3, request->payload);
	pb_put_u64(w, 4, request->timeout_ns);
	end_frame(w, mark);
}

void ttrpc_write_result(struct pb_writer *w, u32 stream, struct pb_bytes payload)
{
	size_t mark = begin_frame(w, stream, TTRPC_RESPONSE, 0);

	/* also an empty result: the peer must find one of the two fields */
	pb_put_bytes_always(w, 2, payload);
	end_frame(w, mark);
}

void ttrpc_write_status(struct pb_writer *w, u32 stream, enum ttrpc_code code, const char *message)
{
	size_t mark = begin_frame(w, stream, TTRPC_RESPONSE, 0);
	size_t status = pb_begin(w, 1);

	pb_put_u64(w, 1, (u64)code);
	pb_put_text(w, 2, message);
	pb_end(w, status);
	end_frame(w, mark);
}

void ttrpc_write_data(struct pb_writer *w, u32 stream, u8 flags, struct pb_bytes message)
{
	size_t mark = begin_frame(w, stream, TTRPC_DATA, flags);

	pb_raw(w, message.data, message.size);
	end_frame(w, mark);
}

const char *ttrpc_code_name(enum ttrpc_code code)
{
	switch (code) {
	case TTRPC_OK: return "ok";
	case TTRPC_CANCELLED: return "cancelled";
	case TTRPC_UNKNOWN: return "failed";
	case TTRPC_INVALID_ARGUMENT: return "invalid argument";
	case TTRPC_DEADLINE_EXCEEDED: return "timeout";
	case TTRPC_RESOURCE_EXHAUSTED: return "too large";
	case TTRPC_UNIMPLEMENTED: return "not implemented";
	case TTRPC_INTERNAL: return "internal error";
	case TTRPC_UNAVAILABLE: return "not reachable";
	}
	return "unknown code";
}
