/* ttrpc frames and envelopes in pieces, and the protobuf writer on what was read. */
#include <stdlib.h>
#include <string.h>

#include "common/ttrpc.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void check_frame(const struct ttrpc_frame *frame)
{
	struct ttrpc_request request, again;
	struct ttrpc_response response;
	struct pb_writer w;

	if (ttrpc_parse_response(frame->body, &response) && response.present &&
	    response.code == TTRPC_OK && response.message.size)
		abort();
	if (!ttrpc_parse_request(frame->body, &request))
		return;
	pb_writer_init(&w, TTRPC_BODY_MAX);
	ttrpc_write_request(&w, frame->stream, &request);
	if (w.failed ||
	    !ttrpc_parse_request((struct pb_bytes){w.data + TTRPC_HEADER, w.used - TTRPC_HEADER},
				 &again))
		abort();
	if (again.timeout_ns != request.timeout_ns || again.payload.size != request.payload.size ||
	    (again.payload.size &&
	     memcmp(again.payload.data, request.payload.data, again.payload.size)))
		abort();
	pb_writer_free(&w);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct ttrpc_receiver r;
	struct ttrpc_frame frame;
	size_t step = size ? data[0] + 1u : 1;

	ttrpc_receiver_init(&r, 4096);
	for (size_t at = 1; at < size; at += step) {
		struct pb_bytes piece = {data + at, MIN(step, size - at)};

		while (ttrpc_receive(&r, &piece, &frame)) {
			if (frame.body.size > 4096)
				abort();
			if (!frame.oversized)
				check_frame(&frame);
		}
		if (piece.size)
			abort();
	}
	ttrpc_receiver_free(&r);
	return 0;
}
