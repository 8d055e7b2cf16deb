#include "host/kvp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/vmbus/ic.h"

/* A list may not fill more of the socket's buffer: nobody waits for a client that does not read. */
#define ANSWER_BYTES 98304u

static const char *const op_name[] = {
	[KVP_GET] = "get", [KVP_SET] = "set", [KVP_DELETE] = "delete", [KVP_ENUMERATE] = "list"};

/* Takes object. */
static void finish(struct kvp_job *job, json_t *object)
{
	/* ASCII alone: the guest chose the characters, and a terminal may show them */
	char *text = object ? json_dumps(object, JSON_ENSURE_ASCII) : NULL, *line = NULL;

	json_decref(object);
	json_decref(job->items);
	free(job->wanted);
	job->items = job->wanted = NULL;
	job->running = false;
	if (text && asprintf(&line, "%s\n", text) < 0)
		line = NULL;
	job->answer(job->ctx, line ? line : "{\"ok\": false, \"error\": \"out of memory\"}\n");
	free(line);
	free(text);
}

static void fail(struct kvp_job *job, const char *why)
{
	finish(job, json_pack("{s:b, s:s}", "ok", 0, "error", why));
}

static void on_item(void *ctx, const char *key, const char *value)
{
	struct kvp_job *job = ctx;
	/* each character may become \uXXXX, four bytes of text twice that */
	size_t bytes = 40 + 6 * (strlen(key) + strlen(value));

	if (job->wanted && strcmp(key, job->wanted) != 0)
		return;
	if (job->truncated || job->bytes + bytes > ANSWER_BYTES) {
		job->truncated = true;
		return;
	}
	job->bytes += bytes;
	json_array_append_new(job->items, json_pack("{s:s, s:s}", "key", key, "value", value));
}

static const char *status_text(u32 status, char *text, size_t size)
{
	switch (status) {
	case IC_E_NO_MORE: return "the guest has no such key, or cannot change it";
	case IC_E_NOT_SUPPORTED: return "the guest does not support it";
	case IC_E_FAIL: return "the guest failed, or did not answer in time";
	}
	snprintf(text, size, "the guest failed with status %#x", status);
	return text;
}

static void on_done(void *ctx, u32 status)
{
	struct kvp_job *job = ctx;
	const json_t *first = json_array_get(job->items, 0);
	char text[64];
	json_t *answer;

	if (status) {
		fail(job, status_text(status, text, sizeof(text)));
		return;
	}
	if (job->op == KVP_GET && !first) {
		fail(job, status_text(IC_E_NO_MORE, text, sizeof(text)));
		return;
	}
	answer = json_pack("{s:b}", "ok", 1);
	if (job->op == KVP_ENUMERATE) {
		json_object_set(answer, "pairs", job->items);
		if (job->truncated)
			json_object_set_new(answer, "truncated", json_true());
	} else if (job->op == KVP_GET) {
		json_object_set(answer, "key", json_object_get(first, "key"));
		json_object_set(answer, "value", json_object_get(first, "value"));
	}
	finish(job, answer);
}

static const struct ic_kvp_sink sink = {.item = on_item, .done = on_done};

/* What is wrong with the request, or NULL. Texts are those of `object`. */
static const char *parse(const json_t *object, struct ic_kvp_request *request)
{
	const char *op = json_string_value(json_object_get(object, "op"));
	const json_t *pool = json_object_get(object, "pool");
	size_t i;

	for (i = 0; op && i < ARRAY_SIZE(op_name) && strcmp(op, op_name[i]); i++)
		;
	if (!op || i == ARRAY_SIZE(op_name))
		return "unknown operation";
	request->op = (enum kvp_op)i;
	if (pool && (!json_is_integer(pool) || json_integer_value(pool) < 0 ||
		     json_integer_value(pool) > IC_KVP_POOL_LAST))
		return "no such pool";
	request->pool = (enum kvp_pool)json_integer_value(pool);
	request->key = json_string_value(json_object_get(object, "key"));
	request->value = json_string_value(json_object_get(object, "value"));
	if (request->op != KVP_ENUMERATE && !request->key)
		return "no key";
	if (request->key && !vmbus_ic_kvp_key_valid(request->key))
		return "the key is empty or too long";
	if (request->op == KVP_SET && !request->value)
		return "no value";
	return NULL;
}

void kvp_job_start(struct kvp_job *job, struct ic *ic, const char *text,
		   void (*answer)(void *ctx, const char *line), void *ctx)
{
	struct ic_kvp_request request = {0};
	json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const char *wrong = object ? parse(object, &request) : "not JSON";

	*job = (struct kvp_job){
		.ic = ic,
		.op = request.op,
		.items = json_array(),
		.running = true,
		.answer = answer,
		.ctx = ctx,
	};
	if (!wrong && request.op == KVP_GET) {
		/* as a list: drivers of Linux lose the first four bytes of the answer to a get */
		job->wanted = strdup(request.key);
		request.op = KVP_ENUMERATE;
		if (!job->wanted)
			wrong = "out of memory";
	}
	if (!wrong) {
		switch (ic_kvp(ic, &request, &sink, job)) {
		case 0: break;
		case -ENODEV: wrong = "the guest has no driver for key-value pairs"; break;
		case -EINVAL: wrong = "the key or value is empty, too long, or not UTF-8"; break;
		default:
			wrong = "the guest has not answered an earlier question "
				"(does its daemon for key-value pairs run?)";
		}
	}
	if (wrong)
		fail(job, wrong);
	json_decref(object);
}

void kvp_job_cancel(struct kvp_job *job)
{
	if (!job->running)
		return;
	ic_kvp_forget(job->ic, job);
	json_decref(job->items);
	free(job->wanted);
	*job = (struct kvp_job){0};
}
