/* Diagnostics client: kernel log records, rendering of trees, names of VMs, the escape sequence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "host/diag/client.h"
#include "host/diag/kmsg.h"
#include "host/diag/render.h"
#include "host/diag/terminal.h"
#include "tests/unit/hex.h"

static void malformed_records(void **state)
{
	static const char *const bad[] = {
		"",
		";",
		"6,1,2",
		"6,1;text",
		"x,1,2,-;t",
		"6,,2,-;t",
		"-1,1,2,-;t",
		"6,1,2x,-;t",
		"4294967296,1,2,-;t",
		"6,99999999999999999999,2,-;t",
	};
	struct kmsg_record r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(kmsg_parse(pb_text(bad[i]), &r));
	assert_false(kmsg_parse(hex("'6,1,2,-;' ff"), &r));
}

static void records(void **state)
{
	struct kmsg_record r;
	char text[64];

	(void)state;
	assert_true(kmsg_parse(pb_text("28,17,5000001,-,caller=T1;vm: a;b\n KEY=v\n"), &r));
	assert_int_equal(r.facility, 3);
	assert_int_equal(r.level, 4);
	assert_int_equal(r.sequence, 17);
	assert_int_equal(r.usec, 5000001);
	assert_true(pb_equal(r.text, "vm: a;b"));
	assert_true(kmsg_parse(pb_text("0,0,0;"), &r));
	assert_int_equal(r.text.size, 0);
	kmsg_unescape(pb_text("a\\x5cb\\\\c\\x1b[1m\\x07\\xzz\\x\x01"), false, text, sizeof(text));
	assert_string_equal(text, "a\\b\\c<1b>[1m<07>\\xzz\\x<01>");
	kmsg_unescape(pb_text("\\x1b[1m"), true, text, sizeof(text));
	assert_string_equal(text, "\x1b[1m");
	assert_int_equal(kmsg_unescape(pb_text("\\x01\\x01"), false, text, 6), 4);
	kmsg_unescape(pb_text("\t\x7f\xc2\x9b\xc2\x9f\xc2\xa0\xc3\x9b\x1b"), true, text,
		      sizeof(text));
	assert_string_equal(text, "\t<7f><c2><9b><c2><9f>\xc2\xa0\xc3\x9b<1b>");
}

static void record_stream(void **state)
{
	static u8 stream[8000];
	static struct kmsg_splitter splitter;
	struct pb_bytes input, record;
	unsigned count = 0;

	(void)state;
	memset(stream, 'x', sizeof(stream));
	stream[2047] = 0;	     /* the longest one */
	stream[2047 + 1 + 2048] = 0; /* one too long */
	stream[2047 + 1 + 2048 + 1] = 0;
	for (size_t step = 1; step < 5000; step += 997) {
		count = 0;
		splitter = (struct kmsg_splitter){0};
		for (size_t at = 0; at < sizeof(stream); at += step) {
			input = (struct pb_bytes){stream + at, MIN(step, sizeof(stream) - at)};
			while (kmsg_split(&splitter, &input, &record)) {
				static const size_t size[] = {2047, 0, 0};

				assert_true(count < 3);
				assert_int_equal(record.size, size[count++]);
			}
		}
		assert_int_equal(count, 3);
	}
}

static char *rendered(const struct inspect_node *node, bool json)
{
	static char text[2000];
	FILE *f = fmemopen(text, sizeof(text), "w");

	if (json)
		render_json(f, node);
	else
		render_text(f, node);
	fclose(f);
	return text;
}

static void rendering(void **state)
{
	static const u8 bytes[] = {0xde, 0xad, 0xbe, 0xef};
	double d = 1.5;
	struct inspect_node node[] = {
		{.name = "u",
		 .kind = INSPECT_VALUE,
		 .type = INSPECT_UNSIGNED,
		 .number = UINT64_MAX},
		{.name = "s", .kind = INSPECT_VALUE, .type = INSPECT_SIGNED, .number = (u64)-5},
		{.name = "h",
		 .kind = INSPECT_VALUE,
		 .type = INSPECT_UNSIGNED,
		 .number = 255,
		 .flags = INSPECT_HEX},
		{.name = "b",
		 .kind = INSPECT_VALUE,
		 .type = INSPECT_UNSIGNED,
		 .number = 5,
		 .flags = INSPECT_BINARY},
		{.name = "t", .kind = INSPECT_VALUE, .type = INSPECT_BOOL, .number = 1},
		{.name = "d", .kind = INSPECT_VALUE, .type = INSPECT_DOUBLE},
		{.name = "x", .kind = INSPECT_VALUE, .type = INSPECT_BYTES, .data = {bytes, 4}},
		{.name = "q\"",
		 .kind = INSPECT_VALUE,
		 .type = INSPECT_STRING,
		 .data = {(const u8 *)"a\"\\\n\x1b\x7f\xc2\x9b\xc3\x9b", 10}},
		{.name = "e",
		 .kind = INSPECT_FAILED,
		 .error = INSPECT_UPDATE,
		 .data = {(const u8 *)"no\x1b\xc2\x85", 5}},
		{.name = "_", .kind = INSPECT_UNEVALUATED},
		{.name = "o\x7f\xc2\x80\xc2\xa0", .kind = INSPECT_DIR},
	};
	struct inspect_node dir = {.kind = INSPECT_DIR, .children = node};

	(void)state;
	memcpy(&node[5].number, &d, sizeof(d));
	for (size_t i = 0; i + 1 < ARRAY_SIZE(node); i++)
		node[i].next = &node[i + 1];
	assert_string_equal(
		rendered(&dir, true),
		"{\"u\":18446744073709551615,\"s\":-5,\"h\":\"0xff\",\"b\":\"0b101\",\"t\":true,"
		"\"d\":1.5,\"x\":\"3q2+7w\",\"q\\\"\":"
		"\"a\\\"\\\\\\n\\u001b\\u007f\\u009b\xc3\x9b\",\"e\":{\"$error\":"
		"\"update error: no\\u001b\\u0085\"},\"_\":null,\"o\\u007f\\u0080\xc2\xa0\":{}}");
	assert_string_equal(
		rendered(&dir, false),
		"{\n    u: 18446744073709551615,\n    s: -5,\n    h: 0xff,\n    b: 0b101,\n"
		"    t: true,\n    d: 1.5,\n    x: <deadbeef>,\n    q\": "
		"\"a\\\"\\\\\\n\\x1b\\x7f\\x9b\xc3\x9b\",\n"
		"    e: error (update error: no\\x1b\\x85),\n    _: _,\n    o\\x7f\\x80\xc2\xa0: "
		"{\n    },\n}\n");
}

static void rates(void **state)
{
	struct inspect_node old[] = {
		{.name = "a", .kind = INSPECT_VALUE, .type = INSPECT_UNSIGNED, .number = 10},
		{.name = "b", .kind = INSPECT_VALUE, .type = INSPECT_UNSIGNED, .number = 50},
	};
	struct inspect_node new[] = {
		{.name = "b",
		 .kind = INSPECT_VALUE,
		 .type = INSPECT_UNSIGNED,
		 .number = 49,
		 .flags = INSPECT_COUNTER},
		{.name = "a",
		 .kind = INSPECT_VALUE,
		 .type = INSPECT_UNSIGNED,
		 .number = 15,
		 .flags = INSPECT_COUNTER},
		{.name = "n",
		 .kind = INSPECT_VALUE,
		 .type = INSPECT_UNSIGNED,
		 .number = 15,
		 .flags = INSPECT_COUNTER},
		{.name = "p", .kind = INSPECT_VALUE, .type = INSPECT_UNSIGNED, .number = 15},
	};
	struct inspect_node before = {.kind = INSPECT_DIR, .children = old},
			    now = {.kind = INSPECT_DIR, .children = new};

	(void)state;
	old[0].next = &old[1];
	for (int i = 0; i < 3; i++)
		new[i].next = &new[i + 1];
	render_rates(&now, &before, 2);
	assert_string_equal(rendered(&now, true), "{\"b\":0,\"a\":2.5,\"n\":0,\"p\":15}");
}

static size_t type(int *state, const char *text, char *out, bool *leave)
{
	strcpy(out, text);
	return terminal_escape(state, out, strlen(text), leave);
}

static void escape(void **unused)
{
	int state = 0;
	bool leave;
	char out[32];

	(void)unused;
	assert_int_equal(type(&state, "~", out, &leave), 0);
	assert_int_equal(type(&state, "x", out, &leave), 2);
	assert_memory_equal(out, "~x", 2);
	assert_int_equal(type(&state, "~.\r", out, &leave), 3);
	assert_false(leave);
	assert_int_equal(type(&state, "~~.", out, &leave), 2);
	assert_memory_equal(out, "~.", 2);
	assert_int_equal(type(&state, "\r~", out, &leave), 1);
	assert_false(leave);
	type(&state, ".", out, &leave);
	assert_true(leave);
}

static void socket_paths(void **state)
{
	char path[108], name[200];

	(void)state;
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	assert_true(diag_socket_path("vm1", path, sizeof(path)));
	assert_string_equal(path, "/run/user/7/parapet/vm1.vsock");
	unsetenv("XDG_RUNTIME_DIR");
	assert_true(diag_socket_path("vm1", path, sizeof(path)));
	assert_string_equal(path, "/run/parapet/vm1.vsock");
	assert_true(diag_socket_path("vsock:x", path, sizeof(path)));
	assert_string_equal(path, "x");
	assert_true(diag_socket_path("./x", path, sizeof(path)));
	assert_string_equal(path, "./x");
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	assert_false(diag_socket_path(name, path, sizeof(path)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(malformed_records),
		cmocka_unit_test(records),
		cmocka_unit_test(record_stream),
		cmocka_unit_test(rendering),
		cmocka_unit_test(rates),
		cmocka_unit_test(escape),
		cmocka_unit_test(socket_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
