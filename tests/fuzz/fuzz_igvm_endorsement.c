/* Endorsements, CoRIM documents, signatures and listings from anywhere. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "igvm/cbor.h"
#include "igvm/endorse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char public_key[] =
	"-----BEGIN PUBLIC KEY-----\n"
	"MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE7DpOQVtOGaRWhhgCn0J/pdqai8SukuAu\n"
	"BqrlKGswDGTe+PDqkFWGYGSiVFFUgLwTgBXZty19VyROqO+awMYhiWcIpZNn+d+5\n"
	"9UyoSz8cnbEoiyMcOuDU/nNE/SUzJkcg\n"
	"-----END PUBLIC KEY-----\n";

/* What is read as a CoRIM must survive writing and reading. */
static void round_trip(const struct igvm_endorsement *e)
{
	struct igvm_endorsement again;
	void *out;
	size_t len;

	if (igvm_corim_write(e, &out, &len, NULL))
		abort();
	if (igvm_corim_read(out, len, &again, NULL) || again.svn != e->svn ||
	    memcmp(again.digest, e->digest, sizeof(e->digest)))
		abort();
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct igvm_key *key;
	struct igvm_endorsement e;
	struct page_list pages;
	struct igvm_error err;
	struct igvm_key *other;

	if (!key)
		key = igvm_key_read(public_key, sizeof(public_key) - 1, false, NULL);
	if (!endorse_read(data, size, &e, &pages, &err))
		round_trip(&e);
	page_list_free(&pages);
	pages = (struct page_list){0};
	page_list_from_text((const char *)data, size, IGVM_PLATFORM_SEV_SNP, &pages);
	page_list_free(&pages);
	igvm_corim_check(data, size, "document", 8, key, &err);
	if (size < 4096) {
		other = igvm_key_read(data, size, size & 1, NULL);
		igvm_key_free(other);
	}
	return 0;
}
