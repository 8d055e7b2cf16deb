/* Manifest and ELF inputs of the builder: a NUL ends the manifest, behind it kernel and shim. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "igvm/build.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Images of hundreds of MiB say nothing that small ones do not. */
#define MAX_PAGES 16384u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const u8 *nul = size ? memchr(data, 0, size) : NULL;
	size_t text_len = nul ? (size_t)(nul - data) : size;
	size_t elf_len = nul ? size - text_len - 1 : 0;
	u8 *elf = malloc(elf_len ? elf_len : 1);
	struct blob blob = {elf, elf_len}, initrd = {"initrd", 6};
	struct blob resource[RESOURCE_COUNT] = {
		[RESOURCE_KERNEL] = blob,	  [RESOURCE_SHIM] = blob,
		[RESOURCE_INITRD] = initrd,	  [RESOURCE_LINUX_KERNEL] = blob,
		[RESOURCE_LINUX_INITRD] = initrd,
	};
	struct igvm_error err;
	struct manifest m;
	void *out;
	size_t len;

	if (!elf)
		abort();
	if (nul)
		memcpy(elf, nul + 1, elf_len);
	if (!manifest_parse(&m, (const char *)data, text_len, &err) &&
	    !image_build(&m, resource, &out, &len, &err))
		free(out);
	manifest_free(&m);
	free(elf);
	return 0;
}
