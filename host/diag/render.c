/* Inspect trees for people and for programs. */
#include "host/diag/render.h"

#include <math.h>
#include <string.h>

#include "host/plain.h"

#define INDENT 4

static double as_double(const struct inspect_node *node)
{
	double d;
	float f;
	u32 bits;

	if (node->type == INSPECT_DOUBLE) {
		memcpy(&d, &node->number, sizeof(d));
		return d;
	}
	bits = (u32)node->number;
	memcpy(&f, &bits, sizeof(f));
	return (double)f;
}

static void put_binary(FILE *f, u64 value)
{
	int bit = 63;

	while (bit > 0 && !(value >> bit & 1))
		bit--;
	fputs("0b", f);
	for (; bit >= 0; bit--)
		fputc(value >> bit & 1 ? '1' : '0', f);
}

/* Shared by both forms: quotes, backslashes and control characters escaped. */
static void put_quoted(FILE *f, struct pb_bytes text, const char *control)
{
	fputc('"', f);
	for (size_t i = 0, n; i < text.size; i += n) {
		size_t steers = plain_control(text.data + i, text.size - i);
		u8 c = text.data[i];

		n = MAX(steers, (size_t)1);
		switch (c) {
		case '"':
		case '\\': fprintf(f, "\\%c", c); break;
		case '\n': fputs("\\n", f); break;
		case '\r': fputs("\\r", f); break;
		case '\t': fputs("\\t", f); break;
		default:
			if (steers)
				fprintf(f, control, text.data[i + n - 1]);
			else
				fputc(c, f);
		}
	}
	fputc('"', f);
}

void render_json_string(FILE *f, struct pb_bytes text)
{
	put_quoted(f, text, "\\u%04x");
}

static void put_base64(FILE *f, struct pb_bytes data)
{
	static const char digit[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < data.size; i += 3) {
		size_t n = MIN(data.size - i, (size_t)3);
		u32 v = (u32)data.data[i] << 16;

		v |= n > 1 ? (u32)data.data[i + 1] << 8 : 0;
		v |= n > 2 ? data.data[i + 2] : 0;
		for (size_t k = 0; k <= n; k++)
			fputc(digit[v >> (18 - 6 * k) & 63], f);
	}
}

static void put_value(FILE *f, const struct inspect_node *node, bool json)
{
	bool marked = node->flags & (INSPECT_HEX | INSPECT_BINARY);

	switch (node->type) {
	case INSPECT_SIGNED:
	case INSPECT_UNSIGNED:
		if (json && marked)
			fputc('"', f);
		if (node->flags & INSPECT_HEX)
			fprintf(f, "0x%llx", (unsigned long long)node->number);
		else if (node->flags & INSPECT_BINARY)
			put_binary(f, node->number);
		else if (node->type == INSPECT_SIGNED)
			fprintf(f, "%lld", (long long)node->number);
		else
			fprintf(f, "%llu", (unsigned long long)node->number);
		if (json && marked)
			fputc('"', f);
		break;
	case INSPECT_FLOAT:
	case INSPECT_DOUBLE:
		if (json && !isfinite(as_double(node)))
			fputs("null", f);
		else
			fprintf(f, "%.15g", as_double(node));
		break;
	case INSPECT_BOOL: fputs(node->number ? "true" : "false", f); break;
	case INSPECT_STRING: put_quoted(f, node->data, json ? "\\u%04x" : "\\x%02x"); break;
	case INSPECT_BYTES:
		fputc(json ? '"' : '<', f);
		if (json)
			put_base64(f, node->data);
		for (size_t i = 0; !json && i < node->data.size; i++)
			fprintf(f, "%02x", node->data.data[i]);
		fputc(json ? '"' : '>', f);
		break;
	}
}

/* Names come from the other side: nothing in them may steer a terminal. */
static void put_name(FILE *f, const char *name)
{
	for (size_t left = strlen(name), n; left; name += n, left -= n) {
		size_t control = plain_control(name, left);

		n = MAX(control, (size_t)1);
		if (control)
			fprintf(f, "\\x%02x", (u8)name[n - 1]);
		else
			fputc(*name, f);
	}
}

static void text_node(FILE *f, const struct inspect_node *node, int indent)
{
	char error[1200];

	switch (node->kind) {
	case INSPECT_UNEVALUATED: fputc('_', f); break;
	case INSPECT_FAILED:
	case INSPECT_DELEGATED:
		inspect_error_text(node, error, sizeof(error));
		fputs("error (", f);
		put_name(f, error);
		fputc(')', f);
		break;
	case INSPECT_VALUE: put_value(f, node, false); break;
	case INSPECT_DIR:
		fputs("{\n", f);
		for (const struct inspect_node *c = node->children; c; c = c->next) {
			fprintf(f, "%*s", indent + INDENT, "");
			put_name(f, c->name);
			fputs(": ", f);
			text_node(f, c, indent + INDENT);
			fputs(",\n", f);
		}
		fprintf(f, "%*s}", indent, "");
		break;
	}
}

void render_text(FILE *f, const struct inspect_node *node)
{
	text_node(f, node, 0);
	fputc('\n', f);
}

void render_json(FILE *f, const struct inspect_node *node)
{
	char error[1200];

	switch (node->kind) {
	case INSPECT_UNEVALUATED: fputs("null", f); break;
	case INSPECT_FAILED:
	case INSPECT_DELEGATED:
		inspect_error_text(node, error, sizeof(error));
		fputs("{\"$error\":", f);
		render_json_string(f, pb_text(error));
		fputc('}', f);
		break;
	case INSPECT_VALUE: put_value(f, node, true); break;
	case INSPECT_DIR:
		fputc('{', f);
		for (const struct inspect_node *c = node->children; c; c = c->next) {
			render_json_string(f, pb_text(c->name));
			fputc(':', f);
			render_json(f, c);
			if (c->next)
				fputc(',', f);
		}
		fputc('}', f);
		break;
	}
}

void render_rates(struct inspect_node *node, const struct inspect_node *before, double seconds)
{
	const struct inspect_node *old = before ? before->children : NULL;
	double rate = 0;

	if (node->kind == INSPECT_VALUE && node->flags & INSPECT_COUNTER &&
	    (node->type == INSPECT_UNSIGNED || node->type == INSPECT_SIGNED)) {
		if (before && before->kind == INSPECT_VALUE && before->number <= node->number)
			rate = (double)(node->number - before->number) / seconds;
		node->type = INSPECT_DOUBLE;
		node->flags = 0;
		memcpy(&node->number, &rate, sizeof(rate));
	}
	if (node->kind != INSPECT_DIR)
		return;
	for (struct inspect_node *c = node->children; c; c = c->next) {
		const struct inspect_node *match = old;

		/* mostly in the same order */
		while (match && strcmp(match->name, c->name) != 0)
			match = match->next;
		if (!match && before && before->kind == INSPECT_DIR) {
			for (match = before->children; match && strcmp(match->name, c->name) != 0;)
				match = match->next;
		}
		if (match)
			old = match->next;
		render_rates(c, match, seconds);
	}
}
