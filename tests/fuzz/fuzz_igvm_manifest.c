/*
 * The image builder with a hostile manifest and hostile files: a NUL ends the manifest. Behind it
 * a byte says what the rest is: bits 0-2 make it kernel, shim and sidecar (others are small good
 * ones), bit 3 the firmware's SEC volume, bit 4 the VTL0 kernel.
 */
#include <elf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "igvm/build.h"
#include "igvm/uefi.h"
#include "loader/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Images of hundreds of MiB say nothing that small ones do not. */
#define MAX_PAGES 16384u

static u8 good[0x1000];
static u8 firmware[UEFI_BYTES];

/* Kernel, shim and sidecar at once: one segment at 0 with the ELF header in it */
static void make_good(void)
{
	Elf64_Ehdr eh = {.e_type = ET_EXEC,
			 .e_machine = EM_X86_64,
			 .e_entry = 0x100,
			 .e_phoff = sizeof(eh),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = 1};
	Elf64_Phdr ph = {.p_type = PT_LOAD, .p_filesz = sizeof(good), .p_memsz = 0x3000};

	memcpy(eh.e_ident, ELFMAG, SELFMAG);
	eh.e_ident[EI_CLASS] = ELFCLASS64;
	eh.e_ident[EI_DATA] = ELFDATA2LSB;
	memcpy(good, &eh, sizeof(eh));
	memcpy(good + sizeof(eh), &ph, sizeof(ph));
}

static bool is_small(const struct manifest *m)
{
	for (u32 i = 0; i < m->count; i++) {
		if (m->config[i].memory_page_count > MAX_PAGES)
			return false;
	}
	return true;
}

/* A paravisor image is one that its own reader finds its way in and that the boot shim takes. */
static void check_paravisor(const struct igvm *ig, u32 mask)
{
	struct igvm_paravisor pv;
	struct shim_image shim;
	struct shim_error err;

	if (igvm_find_paravisor(ig, mask, &pv, NULL) ||
	    shim_image_check(&shim, &pv.params,
			     (struct addr_range){pv.shim_gpa, pv.shim_gpa + (u64)pv.params.initrd},
			     pv.params_gpa, &err))
		abort();
}

/* Whatever the builder makes is valid. */
static void check_image(const struct manifest *m, bool hostile_shim, void *image, size_t len)
{
	struct igvm ig;

	if (igvm_open(&ig, image, len, NULL) || ig.platform_count != m->count)
		abort();
	for (u32 i = 0; i < m->count && !hostile_shim; i++)
		check_paravisor(&ig, ig.platform[i].mask);
	free(image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const u8 *nul = size ? memchr(data, 0, size) : NULL;
	size_t text_len = nul ? (size_t)(nul - data) : size;
	size_t len = nul ? size - text_len - 1 : 0;
	u8 what = len ? nul[1] : 0;
	u8 *file = malloc(len ? len : 1);
	struct blob hostile = {file, len ? len - 1 : 0}, fine = {good, sizeof(good)};
	struct blob initrd = {"initrd", 6};
	struct blob resource[RESOURCE_COUNT] = {
		[RESOURCE_KERNEL] = what & 1 ? hostile : fine,
		[RESOURCE_SHIM] = what & 2 ? hostile : fine,
		[RESOURCE_INITRD] = initrd,
		[RESOURCE_SIDECAR] = what & 4 ? hostile : (struct blob){0},
		[RESOURCE_UEFI] = {firmware, sizeof(firmware)},
		[RESOURCE_LINUX_KERNEL] = what & 16 ? hostile : fine,
		[RESOURCE_LINUX_INITRD] = initrd,
	};
	struct igvm_error err;
	struct manifest m;
	void *out;
	size_t volume = UEFI_BYTES - UEFI_SEC_VOLUME;

	if (!file)
		abort();
	if (!good[0])
		make_good();
	if (hostile.len)
		memcpy(file, nul + 2, hostile.len);
	if (what & 8)
		memcpy(firmware + UEFI_SEC_VOLUME, file, MIN(hostile.len, volume));
	if (!manifest_parse(&m, (const char *)data, text_len, &err) && is_small(&m) &&
	    !image_build(&m, resource, &out, &len, &err))
		check_image(&m, what & 2, out, len);
	manifest_free(&m);
	if (what & 8)
		memset(firmware + UEFI_SEC_VOLUME, 0, volume);
	free(file);
	return 0;
}
