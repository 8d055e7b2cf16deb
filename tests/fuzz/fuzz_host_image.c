/* Any bytes as IGVM image through all that the host does before KVM: open, check, plan, load. */
#include "host/image.h"
#include "tests/unit/host_fixture.h"
#include "tests/unit/host_image_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define VTL0_BYTES (64 * MiB)
/* Larger ones are only planned: mapping and zeroing them would be most of the time. */
#define MAX_LOAD (256 * MiB)

static void must(bool condition)
{
	if (!condition)
		abort();
}

static void load(struct image *image)
{
	struct host_fix *f = host_fix_new(VTL0_BYTES, image->needs.vtl2_size);
	struct guest_memory *m = &f->vm.mem;

	memory_destroy(m);
	if (!memory_create(m, VTL0_BYTES, image->needs.vtl2_size, image->needs.vtl2_align,
			   image->needs.vtl2_min)) {
		must(m->vtl2_base >= m->vtl2_mmio + VTL2_MMIO_SIZE);
		must(m->vtl2_size == image->needs.vtl2_size);
		image_load(image, &f->vm);
		/* Nothing ran: VTL0 has its registers of before, and cannot reach VTL2. */
		must(regs_of(&f->vp[0], VTL0)->rip == 0);
		must(!memory_at_vtl0(m, m->vtl2_base, 1, HV_MAP_GPA_READABLE));
		must(fake.msis == 0);
	}
	host_fix_free(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image *image = calloc(1, sizeof(*image));
	u8 *file = malloc(size ? size : 1);

	memcpy(file, data, size);
	igvm_repair(file, size);
	log_set_sink(no_log);
	if (!image_open(image, file, size) && !image_check(image, VTL0_BYTES) &&
	    image->needs.vtl2_size <= MAX_LOAD)
		load(image);
	log_set_sink(NULL);
	free(file);
	free(image);
	return 0;
}
