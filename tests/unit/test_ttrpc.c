/* ttrpc framing and envelopes, with the bytes that other implementations send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/diag/ttrpc.h"
#include "tests/unit/hex.h"

#define PING_REQUEST "00 00 00 18 00 00 00 01 01 00 0a 10 'diag.OpenhclDiag' 12 04 'Ping'"
#define PING_REPLY   "00 00 00 02 00 00 00 01 02 00 12 00"

static void oversized_is_drained(void **state)
{
	struct ttrpc_receiver r;
	struct ttrpc_frame frame;
	struct pb_bytes input = hex("00 00 00 06 00 00 00 03 01 00 01 02 03");

	(void)state;
	ttrpc_receiver_init(&r, 4);
	assert_false(ttrpc_receive(&r, &input, &frame));
	assert_int_equal(input.size, 0);
	assert_false(ttrpc_receiver_idle(&r));
	input = hex("04 05 06 00 00 00 01 00 00 00 05 02 07 ff");
	assert_true(ttrpc_receive(&r, &input, &frame));
	assert_true(frame.oversized && frame.stream == 3 && frame.type == TTRPC_REQUEST);
	assert_int_equal(input.size, 11);
	assert_true(ttrpc_receive(&r, &input, &frame));
	assert_true(!frame.oversized && frame.stream == 5 && frame.body.size == 1);
	/* a length that nobody sends takes no memory */
	input = hex("ff ff ff ff 00 00 00 01 01 00 00");
	assert_false(ttrpc_receive(&r, &input, &frame));
	assert_false(r.failed);
	assert_true(r.body_size <= 4);
	ttrpc_receiver_free(&r);
}

static void length_alone_takes_no_memory(void **state)
{
	struct ttrpc_receiver r;
	struct ttrpc_frame frame;
	struct pb_bytes input = hex("00 ff ff ff 00 00 00 01 01 00 aa bb");

	(void)state;
	ttrpc_receiver_init(&r, TTRPC_BODY_MAX);
	assert_false(ttrpc_receive(&r, &input, &frame));
	assert_true(r.body_size < 4096);
	ttrpc_receiver_free(&r);
}

static void in_pieces(void **state)
{
	struct pb_bytes whole = hex(PING_REQUEST PING_REPLY "00 00 00 00 00 00 00 07 01 00");

	(void)state;
	for (size_t step = 1; step <= whole.size; step++) {
		struct ttrpc_receiver r;
		struct ttrpc_frame frame;
		unsigned frames = 0;

		ttrpc_receiver_init(&r, 1000);
		for (size_t at = 0; at < whole.size; at += step) {
			struct pb_bytes piece = {whole.data + at, MIN(step, whole.size - at)};

			while (ttrpc_receive(&r, &piece, &frame)) {
				static const u32 stream[] = {1, 1, 7};
				static const size_t size[] = {24, 2, 0};

				assert_true(frames < 3);
				assert_int_equal(frame.stream, stream[frames]);
				assert_int_equal(frame.body.size, size[frames]);
				frames++;
			}
			assert_int_equal(piece.size, 0);
		}
		assert_int_equal(frames, 3);
		assert_true(ttrpc_receiver_idle(&r));
		ttrpc_receiver_free(&r);
	}
}

static void ping_bytes(void **state)
{
	struct pb_writer w;
	struct ttrpc_request request = {.service = pb_text("diag.OpenhclDiag"),
					.method = pb_text("Ping")};

	(void)state;
	pb_writer_init(&w, 10000);
	ttrpc_write_request(&w, 1, &request);
	assert_true(same_bytes(written(&w), hex(PING_REQUEST)));
	w.used = 0;
	ttrpc_write_result(&w, 1, (struct pb_bytes){0});
	assert_true(same_bytes(written(&w), hex(PING_REPLY)));
	w.used = 0;
	ttrpc_write_status(&w, 0x01020305, TTRPC_UNIMPLEMENTED, "no");
	assert_true(same_bytes(written(&w),
			       hex("00 00 00 08 01 02 03 05 02 00 0a 06 08 0c 12 02 'no'")));
	pb_writer_free(&w);
}

static void requests(void **state)
{
	struct ttrpc_request request;

	(void)state;
	/* metadata and unknown fields do not matter */
	assert_true(ttrpc_parse_request(hex("0a 01 's' 12 01 'm' 1a 02 08 01 20 80 94 eb dc 03 2a "
					    "06 0a 01 'k' 12 01 'v' f8 07 01"),
					&request));
	assert_true(pb_equal(request.service, "s") && pb_equal(request.method, "m"));
	assert_true(same_bytes(request.payload, hex("08 01")));
	assert_int_equal(request.timeout_ns, 1000000000);
	assert_false(ttrpc_parse_request(hex("0a 05 's'"), &request));
	assert_false(ttrpc_parse_request(hex("08 01"), &request));
	assert_false(ttrpc_parse_request(hex("0a 01 ff"), &request));
	assert_true(ttrpc_parse_request(hex(""), &request));
}

static void responses(void **state)
{
	struct ttrpc_response response;

	(void)state;
	assert_true(ttrpc_parse_response(hex("12 00"), &response));
	assert_true(response.present && response.code == TTRPC_OK && !response.payload.size);
	assert_true(ttrpc_parse_response(hex(""), &response));
	assert_false(response.present);
	/* the last one wins */
	assert_true(ttrpc_parse_response(hex("12 01 aa 0a 05 08 02 12 01 'x'"), &response));
	assert_true(response.code == TTRPC_UNKNOWN && pb_equal(response.message, "x"));
	assert_true(ttrpc_parse_response(hex("0a 05 08 02 12 01 'x' 12 01 aa"), &response));
	assert_true(response.code == TTRPC_OK && response.payload.size == 1);
	/* a status without code is no success */
	assert_true(ttrpc_parse_response(hex("0a 00"), &response));
	assert_int_equal(response.code, TTRPC_UNKNOWN);
	assert_false(ttrpc_parse_response(hex("0a 02 08"), &response));
	assert_false(ttrpc_parse_response(hex("10 00"), &response));
}

static void streams(void **state)
{
	struct ttrpc_request request = {.service = pb_text("s"), .method = pb_text("m")};
	struct pb_bytes expected = hex("00 00 00 06 00 00 00 05 01 02 0a 01 's' 12 01 'm'"
				       "00 00 00 02 00 00 00 05 03 00 08 07"
				       "00 00 00 00 00 00 00 05 03 05"),
			input;
	const struct pb_bytes none = {0};
	struct ttrpc_receiver r;
	struct ttrpc_frame frame;
	struct pb_writer w;

	(void)state;
	pb_writer_init(&w, 1000);
	request.open = true;
	ttrpc_write_request(&w, 5, &request);
	ttrpc_write_data(&w, 5, 0, hex("08 07"));
	ttrpc_write_data(&w, 5, TTRPC_REMOTE_CLOSED | TTRPC_NO_DATA, none);
	assert_int_equal(w.used, expected.size);
	assert_memory_equal(w.data, expected.data, w.used);
	input = (struct pb_bytes){w.data, w.used};
	ttrpc_receiver_init(&r, 1000);
	assert_true(ttrpc_receive(&r, &input, &frame));
	assert_true(frame.type == TTRPC_REQUEST && frame.flags == TTRPC_REMOTE_OPEN);
	assert_true(ttrpc_receive(&r, &input, &frame));
	assert_true(frame.type == TTRPC_DATA && !frame.flags && frame.body.size == 2);
	assert_true(ttrpc_receive(&r, &input, &frame));
	assert_int_equal(frame.flags, TTRPC_REMOTE_CLOSED | TTRPC_NO_DATA);
	ttrpc_receiver_free(&r);
	pb_writer_free(&w);
}

static void too_large_to_send(void **state)
{
	struct pb_writer w;
	u8 *data = calloc(1, TTRPC_BODY_MAX);

	(void)state;
	pb_writer_init(&w, 64 * MiB);
	ttrpc_write_result(&w, 1, (struct pb_bytes){data, TTRPC_BODY_MAX});
	assert_true(w.failed && w.used == 0);
	pb_writer_free(&w);
	pb_writer_init(&w, 64 * MiB);
	ttrpc_write_result(&w, 1, (struct pb_bytes){data, TTRPC_BODY_MAX - 5});
	assert_false(w.failed);
	pb_writer_free(&w);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(oversized_is_drained),
		cmocka_unit_test(length_alone_takes_no_memory),
		cmocka_unit_test(in_pieces),
		cmocka_unit_test(ping_bytes),
		cmocka_unit_test(requests),
		cmocka_unit_test(responses),
		cmocka_unit_test(streams),
		cmocka_unit_test(too_large_to_send),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
