/*
 * Guest physical memory: one memfd, mapped twice. KVM's VTL2 VM uses the first view; the VTL0 VM
 * uses the second, whose host page protections are the VTL protections (HvCallModifyVtl-
 * ProtectionMask is an mprotect). Everything in VTL0's guest physical space that is not RAM is
 * covered by PROT_NONE memslots, so that an access ends KVM_RUN with EFAULT and untouched
 * registers.
 */
#ifndef PARAPET_HOST_MEMORY_H
#define PARAPET_HOST_MEMORY_H

#include "common/types.h"

#define LOW_RAM_LIMIT  0xe0000000ull /* RAM below 4 GiB ends here at most; MMIO above */
#define LOW_MMIO_BASE  0xe0000000ull
#define LOW_MMIO_END   0xfec00000ull
#define HIGH_BASE      0x100000000ull
#define HIGH_MMIO_SIZE (512 * MiB)
#define VTL2_MMIO_SIZE (128 * MiB)
#define APIC_PAGE      0xfee00000ull
/*
 * Where KVM on Intel processors without unrestricted guest puts an identity map (one page) and a
 * task segment (three pages) for real mode: no slot of ours may be there.
 */
#define KVM_IDENTITY_PAGE 0xfffbc000ull
#define KVM_TSS_PAGES	  0xfffbd000ull
#define KVM_PRIVATE_END	  0xfffc0000ull

enum ram_kind { RAM_VTL0, RAM_VTL2 };

struct ram_range {
	u64 gpa;
	u64 size;
	u64 offset; /* in the memfd */
	enum ram_kind kind;
};

struct guest_memory {
	int fd;
	u64 bytes;  /* of the memfd */
	u8 *view2;  /* host mapping, all access */
	u8 *view0;  /* the same as VTL0 may see it */
	void *hole; /* PROT_NONE */
	u64 hole_size;
	struct ram_range ram[3];
	unsigned ram_count;
	u64 high_mmio; /* base of the high MMIO range for VTL0 devices */
	u64 vtl2_mmio; /* base of VTL2's own MMIO range */
	u64 vtl2_base;
	u64 vtl2_size;
	unsigned address_bits; /* guest physical */
	u8 *denied; /* one byte a page of the memfd: protection mask for VTL0, 0xf = all */
};

/*
 * Plans RAM: `vtl0_bytes` (page multiple) for the guest and `vtl2_bytes` for VTL2, whose base is a
 * multiple of `vtl2_align` (a power of two) at or above `vtl2_min`. Nothing is mapped.
 * Returns 0, or -1 when there is no such place.
 */
int memory_plan(struct guest_memory *m, u64 vtl0_bytes, u64 vtl2_bytes, u64 vtl2_align,
		u64 vtl2_min);
/*
 * Plans and maps. Returns 0 or -1 after an error line; memory_destroy() in both cases.
 */
int memory_create(struct guest_memory *m, u64 vtl0_bytes, u64 vtl2_bytes, u64 vtl2_align,
		  u64 vtl2_min);
void memory_destroy(struct guest_memory *m);
/* Gives KVM VM `vm_fd` its slots; `lower` for the VTL0 VM. Returns 0 or -1 after an error line. */
int memory_add_slots(struct guest_memory *m, int vm_fd, bool lower);

/* Is all of it RAM of one range? Needs the plan only. */
bool memory_has(const struct guest_memory *m, u64 gpa, u64 len);
/*
 * Host address of `len` bytes of RAM at `gpa`, or NULL when not all of it is RAM of one range.
 * memory_at() is what VTL2 may reach, memory_at_vtl0() needs `mask` (HV_MAP_GPA_*) on each page.
 */
void *memory_at(const struct guest_memory *m, u64 gpa, u64 len);
void *memory_at_vtl0(const struct guest_memory *m, u64 gpa, u64 len, u8 mask);

/*
 * Sets VTL0's protection of one page. `mask` is 0, HV_MAP_GPA_READABLE or all.
 * Returns 0, or -1 when `gpa` is not RAM or the mask is not supported.
 */
int memory_protect(struct guest_memory *m, u64 gpa, u8 mask);
/* As above for `pages` pages at once. */
int memory_protect_range(struct guest_memory *m, u64 gpa, u64 pages, u8 mask);

#endif
