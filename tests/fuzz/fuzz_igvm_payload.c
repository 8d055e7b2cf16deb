/*
 * Adding a VTL0 guest: input is a u32 length, that many bytes of image, and the kernel. An image of
 * length 0 stands for a good one, so that damage of the kernel alone is tried too.
 */
#include <elf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "igvm/build.h"
#include "tests/unit/igvm_repair.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char manifest[] =
	"{\"guest_arch\":\"x64\",\"guest_configs\":[{\"isolation_type\":\"none\",\"image\":"
	"{\"openhcl\":{\"memory_page_count\":4096}}}]}";

static void *good_image;
static size_t good_len;

static void make_good_image(void)
{
	static u8 elf[0x1000];
	const struct blob blob = {elf, sizeof(elf)};
	const struct blob resource[RESOURCE_COUNT] = {blob, blob, blob};
	Elf64_Ehdr eh = {.e_type = ET_DYN,
			 .e_machine = EM_X86_64,
			 .e_entry = 0x100,
			 .e_phoff = sizeof(eh),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = 1};
	Elf64_Phdr ph = {.p_type = PT_LOAD, .p_filesz = 0x1000, .p_memsz = 0x1000};
	struct manifest m;

	memcpy(eh.e_ident, ELFMAG, SELFMAG);
	eh.e_ident[EI_CLASS] = ELFCLASS64;
	eh.e_ident[EI_DATA] = ELFDATA2LSB;
	memcpy(elf, &eh, sizeof(eh));
	memcpy(elf + sizeof(eh), &ph, sizeof(ph));
	if (manifest_parse(&m, manifest, sizeof(manifest) - 1, NULL) ||
	    image_build(&m, resource, &good_image, &good_len, NULL))
		abort();
	manifest_free(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct igvm_vtl0_linux payload = {.initrd = "initrd", .initrd_len = 6, .cmdline = "a=b"};
	struct igvm_error err;
	struct igvm ig;
	size_t len, out_len;
	u8 *image, *kernel;
	void *out;

	if (!good_image)
		make_good_image();
	if (size < 4 || get_le32(data) > size - 4)
		return 0;
	len = get_le32(data);
	/* Copies of exact size, so that reading behind the end is seen */
	image = malloc(len ? len : good_len);
	kernel = malloc(size - 4 - len ? size - 4 - len : 1);
	if (!image || !kernel)
		abort();
	memcpy(kernel, data + 4 + len, size - 4 - len);
	if (len) {
		memcpy(image, data + 4, len);
		igvm_repair(image, len);
	} else {
		len = good_len;
		memcpy(image, good_image, good_len);
	}
	payload.kernel = kernel;
	payload.kernel_len = size - 4 - get_le32(data);
	if (!igvm_add_vtl0_linux(image, len, &payload, &out, &out_len, &err)) {
		if (igvm_open(&ig, out, out_len, &err))
			abort();
		free(out);
	} else if (!err.text[0]) {
		abort();
	}
	free(kernel);
	free(image);
	return 0;
}
