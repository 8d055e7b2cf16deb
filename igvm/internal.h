/* What the parts of the IGVM library share among themselves. */
#ifndef PARAPET_IGVM_INTERNAL_H
#define PARAPET_IGVM_INTERNAL_H

#include "igvm/igvm.h"

/* Fixed properties of a header type */
struct igvm_type_info {
	u32 type;
	u16 length;	       /* exact length of the content */
	int8_t mask_at;	       /* offset of the compatibility mask, -1: none */
	int8_t file_offset_at; /* offset of the u32 file offset, -1: none */
	const char *name;
};
/* NULL for unknown types */
const struct igvm_type_info *igvm_type_info(u32 type);

/* 1 platform, 2 initialization, 3 directive, 0 none; bit 31 of type is ignored */
int igvm_section(u32 type);

/* Fills *err (may be NULL) and returns -EINVAL. */
__attribute__((format(printf, 4, 5))) int igvm_fail(struct igvm_error *err, u32 header, u64 offset,
						    const char *fmt, ...);
int igvm_fail_memory(struct igvm_error *err);

/*
 * Reads the header at it->offset and moves on. Checks bounds, known type, exact length, padding
 * and that its data lies inside the file; not its meaning. Returns 1, 0 at the end, or an error.
 */
int igvm_step(struct igvm_iter *it, struct igvm_header *h, struct igvm_error *err);

/* All rules on the meaning of headers and their order; fills the platforms and counts of *ig. */
int igvm_check(struct igvm *ig, struct igvm_error *err);

/* Form of an x64 register; -1 if a VBS context cannot hold it. AArch64 registers are all u64. */
int igvm_register_form(enum igvm_arch arch, u32 name);

/* The data of a VBS context; count <= IGVM_MAX_REGISTERS. Returns the length. */
#define IGVM_ENCODED_REGISTERS (4 + IGVM_MAX_REGISTERS * sizeof(struct igvm_vbs_record))
u32 igvm_encode_registers(const struct igvm_register *regs, u32 count,
			  u8 out[IGVM_ENCODED_REGISTERS]);

/*
 * Ranges of guest addresses with the platforms that they are for. Neighbours with the same
 * platforms are joined where they come one soon after the other, so that an ordinary image needs
 * a few entries.
 */
#define IGVM_MAX_SPANS (1u << 20)
struct igvm_span {
	u64 start;
	u64 end;
	u32 mask;
	u32 header; /* index of the first header in it */
};
struct igvm_spans {
	struct igvm_span *v;
	size_t count;
	size_t capacity;
};
/* -ENOMEM, or -E2BIG for more than IGVM_MAX_SPANS */
int igvm_spans_add(struct igvm_spans *s, u64 start, u64 bytes, u32 mask, u32 header);
void igvm_spans_sort(struct igvm_spans *s);
/*
 * After sorting: the first span that overlaps one before it with a common mask bit; *other is
 * that one's header. NULL if none.
 */
const struct igvm_span *igvm_spans_overlap(const struct igvm_spans *s, u32 *other);
void igvm_spans_free(struct igvm_spans *s);

#endif
