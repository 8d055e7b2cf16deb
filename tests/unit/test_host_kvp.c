/* Requests for key-value pairs as lines of JSON, against a guest that is a function here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>

#include "host/kvp.h"

static char said[1 << 20];
static unsigned answers;
static int refuse;
static struct ic_kvp_request request;
static char key[64], value[64];
static const struct ic_kvp_sink *sink;
static void *sink_ctx;
static const void *forgotten;

/* In place of host/ic.c */
int ic_kvp(struct ic *ic, const struct ic_kvp_request *r, const struct ic_kvp_sink *s, void *ctx)
{
	(void)ic;
	request = *r;
	snprintf(key, sizeof(key), "%s", r->key ? r->key : "(none)");
	snprintf(value, sizeof(value), "%s", r->value ? r->value : "(none)");
	sink = s;
	sink_ctx = ctx;
	return refuse;
}

void ic_kvp_forget(struct ic *ic, const void *ctx)
{
	(void)ic;
	forgotten = ctx;
}

static void answer(void *ctx, const char *line)
{
	assert_ptr_equal(ctx, &answers);
	answers++;
	assert_true(strlen(line) < sizeof(said));
	strcpy(said, line);
}

static struct kvp_job job;

static void start(const char *text)
{
	answers = 0;
	said[0] = 0;
	sink = NULL;
	kvp_job_start(&job, NULL, text, answer, &answers);
}

static void refused(const char *text, const char *why)
{
	start(text);
	assert_int_equal(answers, 1);
	assert_false(job.running);
	assert_non_null(strstr(said, "{\"ok\": false, \"error\": \""));
	assert_non_null(strstr(said, why));
	assert_int_equal(said[strlen(said) - 1], '\n');
}

static void bad_requests(void **state)
{
	static const struct {
		int error;
		const char *why;
	} errors[] = {{-ENODEV, "no driver"}, {-EINVAL, "empty, too long"}, {-EBUSY, "earlier"}};

	(void)state;
	refused("", "not JSON");
	refused("x", "not JSON");
	refused("{\"op\": \"get\", \"op\": \"set\"}", "not JSON");
	refused("{\"op\": \"get\", \"key\": \"\xff\"}", "not JSON");
	refused("{\"op\": \"get\", \"key\": \"a\\u0000b\"}", "not JSON");
	refused("[]", "unknown operation");
	refused("{}", "unknown operation");
	refused("{\"op\": 3}", "unknown operation");
	refused("{\"op\": \"lists\"}", "unknown operation");
	refused("{\"op\": \"list\", \"pool\": -1}", "no such pool");
	refused("{\"op\": \"list\", \"pool\": 5}", "no such pool");
	refused("{\"op\": \"list\", \"pool\": 4294967296}", "no such pool");
	refused("{\"op\": \"list\", \"pool\": \"0\"}", "no such pool");
	refused("{\"op\": \"get\"}", "no key");
	refused("{\"op\": \"delete\", \"key\": null}", "no key");
	refused("{\"op\": \"set\", \"key\": \"a\"}", "no value");
	refused("{\"op\": \"get\", \"key\": \"\"}", "empty or too long");
	assert_null(sink);
	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
		refuse = errors[i].error;
		refused("{\"op\": \"list\"}", errors[i].why);
	}
	refuse = 0;
}

/* What the guest says cannot break the line, and a list without end cannot fill the socket. */
static void hostile_answers(void **state)
{
	char longer[3000];

	(void)state;
	start("{\"op\": \"list\", \"pool\": 1}");
	assert_int_equal(request.pool, KVP_POOL_GUEST);
	sink->item(sink_ctx, "\"\n\x1b[2J",
		   "\xc2\x9b"
		   "1m\\\x7f");
	sink->done(sink_ctx, 0);
	assert_string_equal(
		said, "{\"ok\": true, \"pairs\": [{\"key\": \"\\\"\\n\\u001B[2J\", \"value\": "
		      "\"\\u009B1m\\\\\x7f\"}]}\n");
	start("{\"op\": \"list\"}");
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = 0;
	for (int i = 0; i < 1024; i++)
		sink->item(sink_ctx, longer, longer);
	sink->done(sink_ctx, 0);
	assert_true(strlen(said) < 100000);
	assert_non_null(strstr(said, "\"truncated\": true}"));
	start("{\"op\": \"get\", \"key\": \"a\"}");
	sink->done(sink_ctx, 0x12345678);
	assert_non_null(strstr(said, "status 0x12345678"));
}

static void operations(void **state)
{
	(void)state;
	start("{\"op\": \"get\", \"pool\": 2, \"key\": \"OSName\"}");
	assert_int_equal(answers, 0);
	assert_true(job.running);
	assert_int_equal(request.op, KVP_ENUMERATE);
	assert_int_equal(request.pool, KVP_POOL_AUTO);
	sink->item(sink_ctx, "OSNam", "a");
	sink->item(sink_ctx, "OSName", "Debian");
	sink->item(sink_ctx, "OSName", "again");
	sink->item(sink_ctx, "OSNames", "b");
	sink->done(sink_ctx, 0);
	assert_int_equal(answers, 1);
	assert_string_equal(said, "{\"ok\": true, \"key\": \"OSName\", \"value\": \"Debian\"}\n");
	start("{\"op\": \"get\", \"key\": \"OSName\"}");
	sink->item(sink_ctx, "other", "x");
	sink->done(sink_ctx, 0);
	assert_non_null(strstr(said, "no such key"));
	start("{\"op\": \"set\", \"key\": \"k\", \"value\": \"\\u00e4\"}");
	assert_int_equal(request.op, KVP_SET);
	assert_int_equal(request.pool, KVP_POOL_EXTERNAL);
	assert_string_equal(key, "k");
	assert_string_equal(value, "\xc3\xa4");
	sink->done(sink_ctx, 0);
	assert_string_equal(said, "{\"ok\": true}\n");
	start("{\"op\": \"delete\", \"key\": \"k\"}");
	assert_int_equal(request.op, KVP_DELETE);
	sink->done(sink_ctx, IC_E_NO_MORE);
	assert_non_null(strstr(said, "no such key"));
	start("{\"op\": \"list\"}");
	sink->item(sink_ctx, "a", "1");
	sink->item(sink_ctx, "b", "");
	sink->done(sink_ctx, 0);
	assert_string_equal(said, "{\"ok\": true, \"pairs\": [{\"key\": \"a\", \"value\": \"1\"}, "
				  "{\"key\": \"b\", \"value\": \"\"}]}\n");
}

/* Who leaves while the guest thinks. */
static void cancelled(void **state)
{
	(void)state;
	start("{\"op\": \"list\"}");
	sink->item(sink_ctx, "a", "1");
	kvp_job_cancel(&job);
	assert_ptr_equal(forgotten, &job);
	assert_false(job.running);
	forgotten = NULL;
	kvp_job_cancel(&job);
	assert_null(forgotten);
	start("{\"op\": \"get\", \"key\": \"a\"}");
	kvp_job_cancel(&job);
	assert_int_equal(answers, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_requests),
		cmocka_unit_test(hostile_answers),
		cmocka_unit_test(operations),
		cmocka_unit_test(cancelled),
	};

	return cmocka_run_group_tests_name("host_kvp", tests, NULL, NULL);
}
