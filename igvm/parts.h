/* Which part of a paravisor image a guest address belongs to. */
#ifndef PARAPET_IGVM_PARTS_H
#define PARAPET_IGVM_PARTS_H

#include "igvm/igvm.h"

#define PARTS_MAX 32

/* What sizes are summed up by */
enum part_group {
	PART_KERNEL,
	PART_INITRD,
	PART_SHIM,
	PART_SIDECAR,
	PART_VTL0,
	PART_PAGE_TABLES,
	PART_CONFIG,
	PART_OTHER,
	PART_HEADERS,
	PART_GROUPS
};
const char *part_group_name(enum part_group group);

struct part {
	u64 start, end;
	const char *name;
	enum part_group group;
};

/* Empty where an image is not recognised: everything is "other" then. */
struct parts {
	struct part part[PARTS_MAX];
	u32 count;
};

/* pv: what igvm_find_paravisor() gave. Its numbers are not trusted. */
void parts_find(struct parts *parts, const struct igvm_paravisor *pv);
/* The data of the page at gpa; NULL if there is none or it is zeros */
const u8 *parts_page(const struct igvm *ig, u32 platform, u64 gpa);
/* Nearest address above gpa at which another part may begin; all ones if there is none */
u64 parts_next(const struct parts *parts, u64 gpa);
/* The part that covers gpa; one named "other" if none does. Never NULL. */
const struct part *parts_of(const struct parts *parts, u64 gpa);

#endif
