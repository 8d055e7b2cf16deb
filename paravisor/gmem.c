/* One window of address space in which guest address and place differ by a constant. */
#include "paravisor/gmem.h"

#include "common/log.h"
#include "paravisor/mshv.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* Congruent to guest addresses at this step, so that the driver can enter 1 GiB pages */
#define WINDOW_ALIGNMENT (1 * GiB)
#define WINDOW_MAXIMUM	 (64ull << 40)

static const struct config *memory_map;
static u8 *window;

static u64 top_of_ram(void)
{
	u64 top = 0;

	for (u32 i = 0; i < memory_map->range_count; i++) {
		const struct config_range *range = &memory_map->range[i];

		if (range->type == SHIM_MEM_VTL0)
			top = range->base + range->size;
	}
	return top;
}

bool gmem_init(const struct config *config)
{
	u64 size;
	u8 *p;

	memory_map = config;
	size = top_of_ram();
	if (size > WINDOW_MAXIMUM) {
		log_error("guest memory reaches %#llx: too high", (unsigned long long)size);
		return false;
	}
	p = mmap(NULL, size + WINDOW_ALIGNMENT, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) {
		log_error("address space for guest memory: %s", strerror(errno));
		return false;
	}
	window = (u8 *)(uintptr_t)ALIGN_UP((uintptr_t)p, WINDOW_ALIGNMENT);
	for (u32 i = 0; i < config->range_count; i++) {
		const struct config_range *range = &config->range[i];

		if (range->type == SHIM_MEM_VTL0 &&
		    !mshv_map_physical(window + range->base, range->base, range->size)) {
			log_error("map guest memory at %#llx: %s", (unsigned long long)range->base,
				  strerror(errno));
			return false;
		}
	}
	/* a core dump of ours has nothing of the guest's */
	if (madvise(window, size, MADV_DONTDUMP))
		log_warn("guest memory in core dumps: %s", strerror(errno));
	return true;
}

void *gmem_pointer(u64 gpa, u64 size)
{
	return config_is_vtl0_ram(memory_map, gpa, size) ? window + gpa : NULL;
}

int gmem_read(u64 gpa, void *data, size_t size)
{
	const void *p = gmem_pointer(gpa, size);

	if (!p)
		return -1;
	memcpy(data, p, size);
	return 0;
}

int gmem_write(u64 gpa, const void *data, size_t size)
{
	void *p = gmem_pointer(gpa, size);

	if (!p)
		return -1;
	memcpy(p, data, size);
	return 0;
}

int gmem_cmpxchg(u64 gpa, u64 expected, u64 desired, u32 size)
{
	void *p = gmem_pointer(gpa, size);
	bool done;

	if (!p || !IS_ALIGNED(gpa, size))
		return -1;
	if (size == 4) {
		u32 old = (u32)expected;

		done = __atomic_compare_exchange_n((u32 *)p, &old, (u32)desired, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	} else if (size == 8) {
		u64 old = expected;

		done = __atomic_compare_exchange_n((u64 *)p, &old, desired, false, __ATOMIC_SEQ_CST,
						   __ATOMIC_SEQ_CST);
	} else {
		return -1;
	}
	return done ? 0 : 1;
}
