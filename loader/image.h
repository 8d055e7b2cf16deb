/* The image as the shim sees it: its parameter page and imported-regions page, checked. */
#ifndef PARAPET_LOADER_IMAGE_H
#define PARAPET_LOADER_IMAGE_H

#include "common/abi/shim.h"
#include "loader/error.h"
#include "loader/range.h"

/* All addresses are absolute. Regions the image does not have are empty. */
struct shim_image {
	enum shim_isolation isolation;
	u64 kernel_entry;
	u32 initrd_crc;
	struct addr_range memory; /* VTL2 memory that the image asks for */
	struct addr_range used;	  /* what the image occupies, from the start of memory */
	struct addr_range kernel; /* around its entry, up to the next region on both sides */
	struct addr_range shim;
	struct addr_range params;
	struct addr_range cmdline;
	struct addr_range initrd; /* not page rounded at its end */
	struct addr_range config; /* parameter region, 362 pages */
	struct addr_range reserved;
	struct addr_range sidecar;
	struct addr_range bounce;
	struct addr_range log;
	struct addr_range heap;
	struct addr_range persisted;
};

/*
 * Turns the parameter page into absolute addresses and checks each against the used range and
 * against the others. `shim` is the shim's own loaded range, `params_at` the address of the page.
 */
int shim_image_check(struct shim_image *image, const struct shim_params *params,
		     struct addr_range shim, u64 params_at, struct shim_error *err);

#define IMPORTED_MAX ARRAY_SIZE(((struct shim_imported_regions *)0)->range)

struct imported_list {
	u32 count;
	struct {
		struct addr_range range;
		bool accepted;
	} entry[IMPORTED_MAX];
};

/* Reads the imported-regions page; ranges must ascend and not overlap. */
int imported_list_read(struct imported_list *list, const struct shim_imported_regions *page,
		       struct shim_error *err);

/* Host device tree inside the parameter region. */
static inline struct addr_range image_host_dt(const struct shim_image *image)
{
	u64 start = image->config.start + SHIM_CONFIG_DT * PAGE_SIZE;

	return (struct addr_range){start, start + SHIM_CONFIG_DT_PAGES * PAGE_SIZE};
}

#endif
