/* SHA-2 for measurements. Only calls that mbedtls 2.28 and 3 both have. */
#include <errno.h>
#include <string.h>

#include "igvm/hash.h"

void igvm_hash_init(struct igvm_hash *h, u32 digest_len)
{
	mbedtls_md_type_t type = digest_len == SHA384_BYTES ? MBEDTLS_MD_SHA384 : MBEDTLS_MD_SHA256;

	*h = (struct igvm_hash){.len = digest_len};
	mbedtls_md_init(&h->md);
	h->failed = mbedtls_md_setup(&h->md, mbedtls_md_info_from_type(type), 0) ||
		    mbedtls_md_starts(&h->md);
}

void igvm_hash_update(struct igvm_hash *h, const void *data, size_t len)
{
	if (h->failed || !len)
		return;
	h->failed = mbedtls_md_update(&h->md, data, len) != 0;
	h->bytes += len;
}

void igvm_hash_finish(struct igvm_hash *h, u8 *out)
{
	if (!h->failed)
		h->failed = mbedtls_md_finish(&h->md, out) || mbedtls_md_starts(&h->md);
	if (h->failed)
		memset(out, 0, h->len);
}

void igvm_hash_peek(const struct igvm_hash *h, u8 *out)
{
	struct igvm_hash copy;

	igvm_hash_init(&copy, h->len);
	if (!copy.failed)
		copy.failed = h->failed || mbedtls_md_clone(&copy.md, &h->md);
	igvm_hash_finish(&copy, out);
	igvm_hash_free(&copy);
}

void igvm_hash_free(struct igvm_hash *h)
{
	mbedtls_md_free(&h->md);
}

int igvm_sha384(const void *data, size_t len, u8 out[SHA384_BYTES])
{
	struct igvm_hash h;
	bool failed;

	igvm_hash_init(&h, SHA384_BYTES);
	igvm_hash_update(&h, data, len);
	igvm_hash_finish(&h, out);
	failed = h.failed;
	igvm_hash_free(&h);
	return failed ? -ENOMEM : 0;
}
