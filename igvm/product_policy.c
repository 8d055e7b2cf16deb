/* Product policies: the protobuf form in which OpenHCL keeps them (openhcl/product_policy). */
#include <string.h>

#include "igvm/build_parts.h"
#include "igvm/internal.h"

#define POLICY_MAGIC 0x4f48434c504f4c00ull /* "OHCLPOL" */

#define WIRE_VARINT 0
#define WIRE_BYTES  2

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
