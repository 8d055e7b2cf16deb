/* Product policies: from the manifest to the protobuf form in which OpenHCL keeps them. */
#include <stdlib.h>
#include <string.h>

#include "igvm/build_parts.h"
#include "igvm/internal.h"
#include "igvm/manifest_json.h"

#define POLICY_MAGIC 0x4f48434c504f4c00ull /* "OHCLPOL" */

#define WIRE_VARINT 0
#define WIRE_BYTES  2

static int base64_value(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				     "0123456789+/";
	const char *p = c ? strchr(digits, c) : NULL;

	return p ? (int)(p - digits) : -1;
}

/* Standard alphabet with padding. Returns false if text is anything else. */
static bool base64_decode(const char *text, size_t len, u8 *out, size_t *out_len)
{
	size_t padding = 0;
	u32 word = 0;

	*out_len = 0;
	if (len % 4)
		return false;
	while (padding < 2 && padding < len && text[len - 1 - padding] == '=')
		padding++;
	for (size_t i = 0; i < len - padding; i++) {
		int v = base64_value(text[i]);

		if (v < 0)
			return false;
		word = word << 6 | (u32)v;
		if (i % 4)
			out[(*out_len)++] = (u8)(word >> (6 - 2 * (i % 4)));
	}
	/* Left-over bits of the last digit must be 0: one text for one content. */
	return !padding || !(word & (padding == 1 ? 3 : 15));
}

static int parse_custom_uefi(struct manifest_product_policy *p, const struct node *n)
{
	char *text = NULL;
	int ret = node_require(n, "custom_uefi_json");

	if (!ret)
		ret = node_get_string(n, "custom_uefi_json", 2 * PAGE_SIZE, &text);
	if (ret)
		return ret;
	p->custom_uefi = malloc(strlen(text) + 1);
	if (!p->custom_uefi)
		ret = igvm_fail_memory(n->err);
	else if (!base64_decode(text, strlen(text), p->custom_uefi, &p->custom_uefi_len))
		ret = node_fail(n, "custom_uefi_json", "is not base64");
	free(text);
	return ret;
}

int product_policy_parse(struct manifest_product_policy *p, const struct node *n)
{
	static const char *const known[] = {"require_ephemeral_vmgs",
					    "require_secure_boot",
					    "require_secure_boot_vars",
					    "require_bcd_integrity",
					    "custom_uefi_json",
					    "require_secure_avic",
					    NULL};
	struct node body;
	const char *word = node_get_variant(n, &body);
	int ret;

	if (!word || !body.json || (strcmp(word, "sivm") && strcmp(word, "cwcow")))
		return node_fail(n, "", "must be {\"sivm\": {...}} or {\"cwcow\": {...}}");
	p->kind = !strcmp(word, "sivm") ? POLICY_SIVM : POLICY_CWCOW;
	ret = node_check_object(&body, known);
	if (!ret)
		ret = node_require_bool(&body, "require_ephemeral_vmgs", &p->ephemeral_vmgs);
	if (!ret)
		ret = node_require_bool(&body, "require_secure_boot", &p->secure_boot);
	if (!ret)
		ret = node_require_bool(&body, "require_secure_boot_vars", &p->secure_boot_vars);
	if (!ret)
		ret = node_require_bool(&body, "require_bcd_integrity", &p->bcd_integrity);
	if (!ret)
		ret = parse_custom_uefi(p, &body);
	if (!ret && p->kind == POLICY_CWCOW)
		ret = node_require_bool(&body, "require_secure_avic", &p->secure_avic);
	if (ret)
		return ret;
	if (p->kind == POLICY_SIVM && json_object_get(body.json, "require_secure_avic"))
		return node_fail(&body, "require_secure_avic", "unknown field");
	if (p->secure_boot && (p->secure_boot_vars || p->bcd_integrity) && !p->custom_uefi_len)
		return node_fail(&body, "custom_uefi_json",
				 "must not be empty with require_secure_boot and "
				 "require_secure_boot_vars or require_bcd_integrity");
	return 0;
}

struct buffer {
	u8 *p;
	size_t len;
	size_t room;
	bool is_full;
};

static void put(struct buffer *b, const void *data, size_t len)
{
	if (len > b->room - b->len) {
		b->is_full = true;
		return;
	}
	if (len)
		memcpy(b->p + b->len, data, len);
	b->len += len;
}

static void put_varint(struct buffer *b, u64 value)
{
	do {
		u8 byte = (u8)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));

		put(b, &byte, 1);
		value >>= 7;
	} while (value);
}

static void put_bytes(struct buffer *b, u32 field, const void *data, size_t len)
{
	put_varint(b, field << 3 | WIRE_BYTES);
	put_varint(b, len);
	put(b, data, len);
}

/* Fields of value 0 are not written. */
static void put_bool(struct buffer *b, u32 field, bool value)
{
	if (!value)
		return;
	put_varint(b, field << 3 | WIRE_VARINT);
	put_varint(b, 1);
}

int product_policy_encode(const struct manifest_product_policy *p, u8 out[PRODUCT_POLICY_MAX],
			  u32 *len, struct igvm_error *err)
{
	u8 fields[PRODUCT_POLICY_MAX], choice[PRODUCT_POLICY_MAX];
	struct buffer f = {.p = fields, .room = sizeof(fields)};
	struct buffer c = {.p = choice, .room = sizeof(choice)};
	struct buffer o = {.p = out, .room = PRODUCT_POLICY_MAX};

	*len = 0;
	if (p->kind == POLICY_NONE)
		return 0;
	put_bool(&f, 1, p->ephemeral_vmgs);
	put_bool(&f, 2, p->secure_boot);
	put_bool(&f, 3, p->secure_boot_vars);
	put_bool(&f, 4, p->bcd_integrity);
	if (p->custom_uefi_len)
		put_bytes(&f, 5, p->custom_uefi, p->custom_uefi_len);
	put_bool(&f, 6, p->secure_avic);
	put_bytes(&c, p->kind, fields, f.len);
	put_varint(&o, 1 << 3 | WIRE_VARINT);
	put_varint(&o, POLICY_MAGIC);
	put_bytes(&o, 2, choice, c.len);
	if (f.is_full || c.is_full || o.is_full)
		return igvm_fail(err, IGVM_NO_HEADER, 0,
				 "product_policy: too large, %zu bytes are possible",
				 (size_t)PRODUCT_POLICY_MAX);
	*len = (u32)o.len;
	return 0;
}
