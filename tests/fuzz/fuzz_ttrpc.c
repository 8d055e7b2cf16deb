/* ttrpc frames and envelopes in pieces, the messages of streams, and the writers on what was read.
 */
#include <stdlib.h>
#include <string.h>

#include "common/diag/run.h"
#include "common/diag/ttrpc.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void check_same(struct pb_bytes a, struct pb_bytes b)
{
	if (a.size != b.size || (a.size && memcmp(a.data, b.data, a.size)))
		abort();
}

/* A message of parapet.Diag/Run, read as either side's, and written again. */
static void check_data(const struct ttrpc_frame *frame)
{
	struct run_event event, again;
	struct pb_bytes input, same;
	struct pb_writer w;

	pb_writer_init(&w, TTRPC_BODY_MAX);
	if (run_event_parse(frame->body, &event)) {
		run_event_write(&w, &event);
		if (!run_event_parse((struct pb_bytes){w.data, w.used}, &again) ||
		    again.pid != event.pid || again.credit != event.credit ||
		    again.input_closed != event.input_closed)
			abort();
		for (int i = 0; i < RUN_OUTPUTS; i++)
			check_same(again.text[i], event.text[i]);
	}
	w.used = 0;
	if (run_input_parse(frame->body, &input)) {
		run_input_write(&w, input);
		if (!run_input_parse((struct pb_bytes){w.data, w.used}, &same))
			abort();
		check_same(same, input);
	}
	pb_writer_free(&w);
}

static void check_frame(const struct ttrpc_frame *frame)
{
	struct ttrpc_request request, again;
	struct ttrpc_response response;
	struct pb_writer w;

	if (frame->type == TTRPC_DATA)
		check_data(frame);
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
	if (again.timeout_ns != request.timeout_ns)
		abort();
	check_same(again.payload, request.payload);
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
