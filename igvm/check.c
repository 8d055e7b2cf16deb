/*
 * The rules of the IGVM format on the meaning of variable headers and on their order.
 * Beyond what other readers check: reserved bits, overlapping guest pages, parameter offsets,
 * whole inserted areas, register records.
 *
 * Mask bits that no platform defines are legal and mean nothing: COCONUT-SVSM's igvmbuilder sets
 * all that it knows in its page tables, whatever the file supports.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "igvm/internal.h"

struct area {
	u32 index;
	u32 bytes; /* 0: free slot */
	bool inserted;
};
#define AREA_SLOTS (2 * IGVM_MAX_AREAS) /* hash table with open addressing */

/* What relocation needs to know of one VTL of the VSM platform */
struct vtl_state {
	bool has_context;
	bool has_root; /* the context sets CR3 or TTBR0 */
	u64 root;
	u32 context; /* header index and offset of the context */
	u32 context_offset;
	bool relocated;
	u32 relocation; /* header index and offset of the first relocation header */
	u32 relocation_offset;
	bool has_tables;
	u64 tables, tables_size; /* page-table region */
};

/* What must be remembered from header to header */
struct checker {
	struct igvm *ig;
	struct igvm_error *err;
	int section;
	u32 policy_bits; /* platforms that have a GUEST_POLICY */
	u32 cca_policy_bits;
	u32 document_bits;  /* ... a CoRIM document */
	u32 signature_bits; /* ... a CoRIM signature */
	u32 id_block_bits;
	u32 page_table_bits;
	u32 vbs_measurement_bits;
	struct igvm_page_table_relocation page_table[IGVM_PLATFORM_TYPES];
	u32 page_tables;
	struct igvm_spans pages;
	struct igvm_spans relocations;
	u32 relocation_count;
	struct area area[AREA_SLOTS];
	u32 areas;
	u64 area_bytes;
	/* A bit per VP index whose context has been seen, for each platform */
	u8 vp_seen[IGVM_PLATFORM_TYPES][65536 / 8];
	struct vtl_state vtl[3];
};

/* Without address space identifier and the bit for common page tables */
#define AARCH64_TTBR_ADDRESS 0x0000fffffffffffeull

#define FAIL(c, h, ...) igvm_fail((c)->err, (h)->index, (h)->offset, __VA_ARGS__)

static bool is_zero(const void *p, size_t len)
{
	const u8 *b = p;

	for (size_t i = 0; i < len; i++) {
		if (b[i])
			return false;
	}
	return true;
}

static bool page_aligned(u64 v)
{
	return IS_ALIGNED(v, IGVM_PAGE_SIZE);
}

/* Every bit of mask that names a platform names one of a type for which `types` has a bit. */
static bool mask_is_for(const struct igvm *ig, u32 mask, u32 types)
{
	for (u32 i = 0; i < ig->platform_count; i++) {
		if ((ig->platform[i].mask & mask) && !(BIT(ig->platform[i].platform_type) & types))
			return false;
	}
	return true;
}

/* Only bits of platforms that the file has: others cannot be loaded. */
static int add_span(struct checker *c, struct igvm_spans *spans, const struct igvm_header *h,
		    u64 start, u64 bytes)
{
	u32 mask = h->mask & c->ig->platform_mask;
	int ret = mask ? igvm_spans_add(spans, start, bytes, mask, h->index) : 0;

	if (ret == -E2BIG)
		return FAIL(c, h, "more than %u separate ranges of guest pages", IGVM_MAX_SPANS);
	return ret ? igvm_fail_memory(c->err) : 0;
}

static int add_pages(struct checker *c, const struct igvm_header *h, u64 gpa, u64 bytes)
{
	u64 end;

	if (add_overflow(gpa, bytes, &end))
		return FAIL(c, h, "guest range 0x%llx + 0x%llx passes the end of the address space",
			    (unsigned long long)gpa, (unsigned long long)bytes);
	return add_span(c, &c->pages, h, gpa, bytes);
}

static int check_platform(struct checker *c, const struct igvm_header *h)
{
	const struct igvm_supported_platform *p = &h->u.platform;
	static const u32 x64_types = BIT(IGVM_PLATFORM_NATIVE) | BIT(IGVM_PLATFORM_VSM) |
				     BIT(IGVM_PLATFORM_SEV_SNP) | BIT(IGVM_PLATFORM_TDX) |
				     BIT(IGVM_PLATFORM_SEV) | BIT(IGVM_PLATFORM_SEV_ES);
	static const u32 aarch64_types = BIT(IGVM_PLATFORM_VSM) | BIT(IGVM_PLATFORM_CCA);
	u32 allowed = c->ig->arch == IGVM_ARCH_X64 ? x64_types : aarch64_types;

	if (p->platform_type >= IGVM_PLATFORM_TYPES)
		return FAIL(c, h, "unknown platform type %u", p->platform_type);
	if (!(BIT(p->platform_type) & allowed))
		return FAIL(c, h, "platform %s does not exist on this architecture",
			    igvm_platform_name(p->platform_type));
	if (p->platform_version != 1)
		return FAIL(c, h, "platform version %u is not supported", p->platform_version);
	if (p->highest_vtl != 0 && p->highest_vtl != 2)
		return FAIL(c, h, "highest VTL %u, must be 0 or 2", p->highest_vtl);
	if (p->shared_gpa_boundary &&
	    (p->platform_type == IGVM_PLATFORM_NATIVE || p->platform_type == IGVM_PLATFORM_VSM))
		return FAIL(c, h, "platform %s has no shared GPA boundary",
			    igvm_platform_name(p->platform_type));
	if (!p->mask || (p->mask & (p->mask - 1)))
		return FAIL(c, h, "compatibility mask 0x%x of a platform must be one bit", p->mask);
	if (c->ig->platform_mask & p->mask)
		return FAIL(c, h, "two platforms have compatibility mask 0x%x", p->mask);
	if (igvm_find_platform(c->ig, p->platform_type))
		return FAIL(c, h, "platform %s occurs twice", igvm_platform_name(p->platform_type));
	c->ig->platform_mask |= p->mask;
	c->ig->platform[c->ig->platform_count++] = *p; /* each type once: it fits */
	return 0;
}

static int check_guest_policy(struct checker *c, const struct igvm_header *h)
{
	if (h->u.guest_policy.reserved)
		return FAIL(c, h, "reserved field is not zero");
	/* Any platform: those that have no policy ignore it, and public test files do this. */
	if (c->policy_bits & h->mask & c->ig->platform_mask)
		return FAIL(c, h, "second guest policy for a platform");
	c->policy_bits |= h->mask;
	return 0;
}

static int check_cca_policy(struct checker *c, const struct igvm_header *h)
{
	const struct igvm_cca_policy *p = &h->u.cca_policy;

	if (p->reserved || !is_zero(p->reserved2, sizeof(p->reserved2)))
		return FAIL(c, h, "reserved field is not zero");
	if (c->ig->arch != IGVM_ARCH_AARCH64)
		return FAIL(c, h, "a CCA policy is for AArch64 files only");
	if (!mask_is_for(c->ig, h->mask, BIT(IGVM_PLATFORM_CCA)))
		return FAIL(c, h, "a CCA policy is for the CCA platform only");
	if ((p->required_zeroes & p->required_ones) || p->hash_algorithm > 2 || p->lfa_policy > 1)
		return FAIL(c, h, "contradictory or unknown CCA policy");
	if (c->cca_policy_bits & h->mask & c->ig->platform_mask)
		return FAIL(c, h, "second CCA policy for a platform");
	c->cca_policy_bits |= h->mask;
	return 0;
}

/* Relocation works on the register list of VP 0, which only the VSM platform has. */
static int check_relocation_target(struct checker *c, const struct igvm_header *h, u16 vp_index,
				   u8 vtl)
{
	const struct igvm_supported_platform *vsm = igvm_find_platform(c->ig, IGVM_PLATFORM_VSM);
	struct vtl_state *state = &c->vtl[vtl % ARRAY_SIZE(c->vtl)];

	if (vp_index != 0)
		return FAIL(c, h, "relocation of virtual processor %u, only 0 has a context",
			    vp_index);
	if (!vsm || !mask_is_for(c->ig, h->mask, BIT(IGVM_PLATFORM_VSM)))
		return FAIL(c, h, "only the VSM platform can be relocated");
	if (vtl > vsm->highest_vtl)
		return FAIL(c, h, "relocation of VTL %u, which the platform does not have", vtl);
	if (!state->relocated && (h->mask & vsm->mask)) {
		state->relocated = true;
		state->relocation = h->index;
		state->relocation_offset = h->offset;
	}
	return 0;
}

static int check_relocatable(struct checker *c, const struct igvm_header *h)
{
	const struct igvm_relocatable_region *r = &h->u.relocatable;
	u64 end;

	if (r->flags & ~(IGVM_RELOC_IS_VTL2 | IGVM_RELOC_APPLY_PC | IGVM_RELOC_APPLY_GDTR))
		return FAIL(c, h, "unknown flags 0x%x", r->flags);
	if (!r->alignment || !page_aligned(r->alignment) || !r->size || !page_aligned(r->size))
		return FAIL(c, h, "size and alignment must be multiples of a page and not 0");
	if (r->gpa % r->alignment || r->minimum_gpa % r->alignment || r->maximum_gpa % r->alignment)
		return FAIL(c, h, "address is not a multiple of the alignment 0x%llx",
			    (unsigned long long)r->alignment);
	if (add_overflow(r->gpa, r->size, &end) || r->minimum_gpa > r->maximum_gpa ||
	    r->size > r->maximum_gpa - r->minimum_gpa)
		return FAIL(c, h, "the region does not fit its range of addresses");
	if (c->relocation_count++ == IGVM_MAX_RELOCATIONS)
		return FAIL(c, h, "more than %u relocatable regions", IGVM_MAX_RELOCATIONS);
	if (check_relocation_target(c, h, r->vp_index, r->vtl))
		return -EINVAL;
	return add_span(c, &c->relocations, h, r->gpa, r->size);
}

static int check_page_table(struct checker *c, const struct igvm_header *h)
{
	const struct igvm_page_table_relocation *p = &h->u.page_table;
	u64 end;

	if (p->reserved)
		return FAIL(c, h, "reserved field is not zero");
	if (!page_aligned(p->gpa) || !page_aligned(p->size) || !page_aligned(p->used_size) ||
	    !p->size || p->used_size > p->size)
		return FAIL(c, h, "page-table region with wrong address or size");
	if (p->size > IGVM_MAX_PAGE_TABLE_BYTES || add_overflow(p->gpa, p->size, &end))
		return FAIL(c, h, "page-table region of 0x%llx bytes is too large",
			    (unsigned long long)p->size);
	if (check_relocation_target(c, h, p->vp_index, p->vtl))
		return -EINVAL;
	if (!(h->mask & c->ig->platform_mask))
		return 0;
	if (c->page_table_bits & h->mask)
		return FAIL(c, h, "second page-table region for a platform");
	c->page_table_bits |= h->mask & c->ig->platform_mask;
	c->page_table[c->page_tables++] = *p; /* masks are disjoint: at most one per platform */
	c->vtl[p->vtl].has_tables = true;
	c->vtl[p->vtl].tables = p->gpa;
	c->vtl[p->vtl].tables_size = p->size;
	return add_span(c, &c->relocations, h, p->gpa, p->size);
}

static int check_corim(struct checker *c, const struct igvm_header *h)
{
	bool document = h->type == IGVM_CORIM_DOCUMENT;
	u32 *seen = document ? &c->document_bits : &c->signature_bits;

	if (h->u.corim.reserved)
		return FAIL(c, h, "reserved field is not zero");
	if (!h->data_len)
		return FAIL(c, h, "CoRIM without data");
	if (*seen & h->mask & c->ig->platform_mask)
		return FAIL(c, h, "second CoRIM %s for a platform",
			    document ? "document" : "signature");
	if (!document && (h->mask & ~c->document_bits))
		return FAIL(c, h, "CoRIM signature without a document in front of it");
	*seen |= h->mask;
	return 0;
}

/* The area with that index; its free slot if there is none */
static struct area *find_area(struct checker *c, u32 index)
{
	/* At least half of the slots are free. Index 0, 1, 2... is the usual case. */
	for (u32 i = (index ^ index >> 9) % AREA_SLOTS;; i = (i + 1) % AREA_SLOTS) {
		if (!c->area[i].bytes || c->area[i].index == index)
			return &c->area[i];
	}
}

static int check_area(struct checker *c, const struct igvm_header *h)
{
	const struct igvm_parameter_area *a = &h->u.area;
	struct area *slot = find_area(c, a->index);

	if (!a->number_of_bytes || !page_aligned(a->number_of_bytes))
		return FAIL(c, h, "size 0x%llx of a parameter area must be whole pages",
			    (unsigned long long)a->number_of_bytes);
	if (slot->bytes)
		return FAIL(c, h, "parameter area %u is declared twice", a->index);
	if (a->number_of_bytes > IGVM_MAX_AREA_BYTES - c->area_bytes)
		return FAIL(c, h, "parameter areas of more than %llu MiB",
			    (unsigned long long)(IGVM_MAX_AREA_BYTES / MiB));
	if (c->areas == IGVM_MAX_AREAS)
		return FAIL(c, h, "more than %u parameter areas", IGVM_MAX_AREAS);
	c->area_bytes += a->number_of_bytes;
	c->areas++;
	*slot = (struct area){.index = a->index, .bytes = (u32)a->number_of_bytes};
	return 0;
}

static int check_parameter(struct checker *c, const struct igvm_header *h)
{
	const struct igvm_parameter *p = &h->u.parameter;
	const struct area *a = find_area(c, p->area);
	u32 need = 1;

	if (!a->bytes || a->inserted)
		return FAIL(c, h, "%s: parameter area %u is not declared or already inserted",
			    igvm_type_name(h->type), p->area);
	if (h->type == IGVM_VP_COUNT || h->type == IGVM_ENVIRONMENT_INFO)
		need = sizeof(u32);
	else if (h->type == IGVM_MMIO_RANGES)
		need = sizeof(struct igvm_mmio_ranges);
	if (p->byte_offset > a->bytes - need)
		return FAIL(c, h, "%s: offset 0x%x does not fit parameter area %u",
			    igvm_type_name(h->type), p->byte_offset, p->area);
	return 0;
}

static int check_insert(struct checker *c, const struct igvm_header *h)
{
	const struct igvm_parameter_insert *ins = &h->u.insert;
	struct area *a = find_area(c, ins->area);
	int ret;

	if (!a->bytes || a->inserted)
		return FAIL(c, h, "parameter area %u is not declared or already inserted",
			    ins->area);
	if (!page_aligned(ins->gpa))
		return FAIL(c, h, "address 0x%llx is not page aligned",
			    (unsigned long long)ins->gpa);
	a->inserted = true;
	ret = add_pages(c, h, ins->gpa, a->bytes);
	if (ret)
		return ret;
	for (u32 i = 0; i < c->page_tables; i++) {
		const struct igvm_page_table_relocation *p = &c->page_table[i];

		if ((p->mask & h->mask) && ins->gpa < p->gpa + p->size &&
		    p->gpa < ins->gpa + a->bytes)
			return FAIL(c, h, "parameter area %u lies in the page-table region",
				    ins->area);
	}
	return 0;
}

static int check_page(struct checker *c, const struct igvm_header *h)
{
	const struct igvm_page_data *p = &h->u.page;

	if (p->reserved || (p->flags & ~(IGVM_PAGE_2MB | IGVM_PAGE_UNMEASURED | IGVM_PAGE_SHARED)))
		return FAIL(c, h, "reserved field or unknown flag is not zero");
	if (p->data_type > IGVM_PAGE_CPUID_XF)
		return FAIL(c, h, "unknown page data type %u", p->data_type);
	if (!IS_ALIGNED(p->gpa, igvm_page_bytes(h)))
		return FAIL(c, h, "address 0x%llx is not aligned to its page",
			    (unsigned long long)p->gpa);
	/* How much data would follow is not defined by any implementation. */
	if ((p->flags & IGVM_PAGE_2MB) && h->data)
		return FAIL(c, h, "2 MiB pages with data are not supported");
	return add_pages(c, h, p->gpa, igvm_page_bytes(h));
}

/* Keeps what relocation needs of the register list. */
static int check_registers(struct checker *c, const struct igvm_header *h, u8 highest_vtl)
{
	u32 count = igvm_register_count(h);
	struct igvm_vbs_record r, other;
	struct vtl_state *state;

	if (count == 0 || count > IGVM_MAX_REGISTERS)
		return FAIL(c, h, "%u registers in a context", count);
	if (h->data[4] > highest_vtl)
		return FAIL(c, h, "a context for VTL %u, which the platform does not have",
			    h->data[4]);
	state = &c->vtl[h->data[4]];
	if (state->has_context)
		return FAIL(c, h, "second context for VTL %u of virtual processor 0", h->data[4]);
	state->has_context = true;
	state->context = h->index;
	state->context_offset = h->offset;
	for (u32 i = 0; i < count; i++) {
		int form;

		memcpy(&r, h->data + 4 + i * sizeof(r), sizeof(r));
		form = igvm_register_form(c->ig->arch, r.name);
		if (form < 0)
			return FAIL(c, h, "register %u: unknown name 0x%x", i, r.name);
		if (r.vtl != h->data[4])
			return FAIL(c, h, "register %u: VTL %u, must be the same for all", i,
				    r.vtl);
		if (!is_zero(r.mbz, sizeof(r.mbz)) ||
		    (form == IGVM_REG_U64 && !is_zero(r.value + 8, 8)) ||
		    (form == IGVM_REG_TABLE && !is_zero(r.value, 6)))
			return FAIL(c, h, "register %u: reserved bytes are not zero", i);
		for (u32 j = 0; j < i; j++) {
			memcpy(&other, h->data + 4 + j * sizeof(other), sizeof(other));
			if (other.name == r.name)
				return FAIL(c, h, "register 0x%x occurs twice", r.name);
		}
		if (c->ig->arch == IGVM_ARCH_X64 && r.name == IGVM_X64_CR3) {
			state->has_root = true;
			state->root = get_le64(r.value);
		} else if (c->ig->arch == IGVM_ARCH_AARCH64 && r.name == IGVM_AARCH64_TTBR0) {
			state->has_root = true;
			state->root = get_le64(r.value) & AARCH64_TTBR_ADDRESS;
		}
	}
	return 0;
}

static int check_native_context(struct checker *c, const struct igvm_header *h)
{
	struct igvm_native_context n;

	memcpy(&n, h->data, sizeof(n));
	if (n.reserved[0] || n.reserved[1] || ((n.code_attributes | n.data_attributes) & 0xf00) ||
	    !is_zero(h->data + sizeof(n), IGVM_PAGE_SIZE - sizeof(n)))
		return FAIL(c, h, "reserved bytes of the native context are not zero");
	return 0;
}

static int check_vp_context(struct checker *c, const struct igvm_header *h)
{
	const struct igvm_vp_context *vp = &h->u.vp;
	int type = igvm_platform_of(c->ig, h->mask);
	u8 *seen;

	if (type < 0)
		return FAIL(c, h, "mask 0x%x of a VP context must be one platform", h->mask);
	if (vp->reserved)
		return FAIL(c, h, "reserved field is not zero");
	if (!h->data)
		return FAIL(c, h, "VP context without data");
	seen = &c->vp_seen[type][vp->vp_index / 8];
	if (type != IGVM_PLATFORM_VSM && (*seen & BIT(vp->vp_index % 8)))
		return FAIL(c, h, "second context for virtual processor %u", vp->vp_index);
	*seen |= BIT(vp->vp_index % 8);

	if (type == IGVM_PLATFORM_SEV_SNP || type == IGVM_PLATFORM_SEV_ES)
		return page_aligned(vp->gpa) ? 0 : FAIL(c, h, "VMSA address is not page aligned");
	if (vp->gpa)
		return FAIL(c, h, "this platform's context has no guest address");
	switch (type) {
	case IGVM_PLATFORM_VSM:
		if (vp->vp_index)
			return FAIL(c, h, "a VSM context is for virtual processor 0 only");
		return check_registers(c, h,
				       igvm_find_platform(c->ig, IGVM_PLATFORM_VSM)->highest_vtl);
	case IGVM_PLATFORM_NATIVE:
	case IGVM_PLATFORM_SEV: return check_native_context(c, h);
	case IGVM_PLATFORM_CCA:
		if (!is_zero(h->data + IGVM_CCA_CONTEXT_BYTES,
			     IGVM_PAGE_SIZE - IGVM_CCA_CONTEXT_BYTES))
			return FAIL(c, h, "reserved bytes of the CCA context are not zero");
		return 0;
	}
	return FAIL(c, h, "platform %s has no VP context", igvm_platform_name((u32)type));
}

static int check_required(struct checker *c, const struct igvm_header *h)
{
	const struct igvm_required_memory *r = &h->u.required;
	u64 end;

	if (r->reserved || (r->flags & ~IGVM_MEMORY_VTL2_PROTECTABLE))
		return FAIL(c, h, "reserved field or unknown flag is not zero");
	if (!page_aligned(r->gpa) || !page_aligned(r->number_of_bytes) || !r->number_of_bytes ||
	    add_overflow(r->gpa, r->number_of_bytes, &end))
		return FAIL(c, h, "required memory 0x%llx + 0x%x is not a range of pages",
			    (unsigned long long)r->gpa, r->number_of_bytes);
	/* Also on platforms without VTL2: COCONUT-SVSM's igvmbuilder marks its kernel so. */
	return 0;
}

static int check_error_range(struct checker *c, const struct igvm_header *h)
{
	const struct igvm_error_range *e = &h->u.error_range;

	if (!page_aligned(e->gpa) || !page_aligned(e->size_bytes) || !e->size_bytes)
		return FAIL(c, h, "error range is not a range of pages");
	return add_pages(c, h, e->gpa, e->size_bytes);
}

static int check_id_block(struct checker *c, const struct igvm_header *h)
{
	const struct igvm_snp_id_block *b = h->u.snp_id_block;

	if (!mask_is_for(c->ig, h->mask, BIT(IGVM_PLATFORM_SEV_SNP)))
		return FAIL(c, h, "an SNP ID block is for the SEV-SNP platform only");
	if (b->author_key_enabled > 1 || !is_zero(b->reserved, sizeof(b->reserved)) ||
	    b->id_public_key.reserved || b->author_public_key.reserved)
		return FAIL(c, h, "reserved field is not zero");
	if (c->id_block_bits & h->mask & c->ig->platform_mask)
		return FAIL(c, h, "second SNP ID block");
	c->id_block_bits |= h->mask;
	return 0;
}

static int check_vbs_measurement(struct checker *c, const struct igvm_header *h)
{
	if (!mask_is_for(c->ig, h->mask, BIT(IGVM_PLATFORM_VSM)))
		return FAIL(c, h, "a VBS measurement is for the VSM platform only");
	if (c->vbs_measurement_bits & h->mask & c->ig->platform_mask)
		return FAIL(c, h, "second VBS measurement");
	c->vbs_measurement_bits |= h->mask;
	return 0;
}

static int check_header(struct checker *c, const struct igvm_header *h)
{
	int section = igvm_section(h->type);

	if (!section) /* optional and outside of all sections: nothing is known of it */
		return 0;
	if (section < c->section)
		return FAIL(c, h, "%s comes after headers of a later section",
			    igvm_type_name(h->type));
	c->section = section;
	if (h->type & IGVM_TYPE_IS_OPTIONAL)
		return 0;
	if (h->type == IGVM_SUPPORTED_PLATFORM)
		return check_platform(c, h);
	if (h->type == IGVM_PARAMETER_AREA)
		return check_area(c, h);
	if (igvm_is_parameter(h->type))
		return check_parameter(c, h);

	if (!h->mask)
		return FAIL(c, h, "%s: compatibility mask 0 names no platform",
			    igvm_type_name(h->type));
	switch (h->type) {
	case IGVM_GUEST_POLICY: return check_guest_policy(c, h);
	case IGVM_RELOCATABLE_REGION: return check_relocatable(c, h);
	case IGVM_PAGE_TABLE_RELOCATION: return check_page_table(c, h);
	case IGVM_CORIM_DOCUMENT:
	case IGVM_CORIM_SIGNATURE: return check_corim(c, h);
	case IGVM_CCA_POLICY: return check_cca_policy(c, h);
	case IGVM_PAGE_DATA: return check_page(c, h);
	case IGVM_PARAMETER_INSERT: return check_insert(c, h);
	case IGVM_VP_CONTEXT: return check_vp_context(c, h);
	case IGVM_REQUIRED_MEMORY: return check_required(c, h);
	case IGVM_SNP_ID_BLOCK: return check_id_block(c, h);
	case IGVM_ERROR_RANGE: return check_error_range(c, h);
	case IGVM_VBS_MEASUREMENT: return check_vbs_measurement(c, h);
	}
	return FAIL(c, h, "no rule for type 0x%x", h->type);
}

/* Guest range of a header that adds pages; false for other headers */
static bool page_range(struct checker *c, const struct igvm_header *h, u64 *start, u64 *bytes)
{
	switch (h->type) {
	case IGVM_PAGE_DATA:
		*start = h->u.page.gpa;
		*bytes = igvm_page_bytes(h);
		return true;
	case IGVM_PARAMETER_INSERT:
		*start = h->u.insert.gpa;
		*bytes = find_area(c, h->u.insert.area)->bytes;
		return true;
	case IGVM_ERROR_RANGE:
		*start = h->u.error_range.gpa;
		*bytes = h->u.error_range.size_bytes;
		return true;
	}
	return false;
}

/* Two headers cover the address for a platform in mask: says which, and fails. */
static int fail_overlap(struct checker *c, u64 address, u32 mask)
{
	struct igvm_iter it;
	struct igvm_header h;
	u64 start, bytes;
	u32 seen = 0, first = 0;

	igvm_first(c->ig, &it);
	while (igvm_step(&it, &h, NULL) == 1) {
		if (!(h.mask & mask) || !page_range(c, &h, &start, &bytes) || address < start ||
		    address - start >= bytes)
			continue;
		if (h.mask & seen)
			return FAIL(c, &h, "guest page 0x%llx overlaps that of header %u",
				    (unsigned long long)address, first);
		seen |= h.mask & mask;
		first = h.index;
	}
	return igvm_fail(c->err, IGVM_NO_HEADER, 0, "guest page 0x%llx occurs twice",
			 (unsigned long long)address);
}

static int check_overlap(struct checker *c)
{
	const struct igvm_span *bad;
	struct igvm_iter it;
	struct igvm_header h;
	u32 other = 0;

	igvm_spans_sort(&c->pages);
	bad = igvm_spans_overlap(&c->pages, &other);
	if (bad)
		return fail_overlap(c, bad->start, bad->mask);
	igvm_spans_sort(&c->relocations);
	bad = igvm_spans_overlap(&c->relocations, &other);
	if (!bad)
		return 0;
	igvm_first(c->ig, &it);
	while (igvm_step(&it, &h, NULL) == 1 && h.index != bad->header)
		;
	return FAIL(c, &h, "relocation region at 0x%llx overlaps that of header %u",
		    (unsigned long long)bad->start, other);
}

/* Relocation adjusts registers, so there must be a context that has them. */
static int check_relocated_vtl(struct checker *c, const struct vtl_state *v)
{
	if (!v->relocated)
		return 0;
	if (!v->has_context)
		return igvm_fail(c->err, v->relocation, v->relocation_offset,
				 "relocation without a VP context to adjust");
	if (!v->has_tables)
		return 0;
	if (!v->has_root || !page_aligned(v->root) || v->root < v->tables ||
	    v->root - v->tables >= v->tables_size)
		return igvm_fail(c->err, v->context, v->context_offset,
				 "%s does not point into the page-table region",
				 c->ig->arch == IGVM_ARCH_X64 ? "CR3" : "TTBR0");
	return 0;
}

static int check_end(struct checker *c)
{
	int ret;

	if (!c->ig->platform_count)
		return igvm_fail(c->err, IGVM_NO_HEADER, c->ig->headers_offset,
				 "no supported platform in the file");
	ret = check_overlap(c);
	for (u32 i = 0; i < ARRAY_SIZE(c->vtl) && !ret; i++)
		ret = check_relocated_vtl(c, &c->vtl[i]);
	return ret;
}

int igvm_check(struct igvm *ig, struct igvm_error *err)
{
	struct checker *c = calloc(1, sizeof(*c));
	struct igvm_iter it;
	struct igvm_header h;
	int ret;

	if (!c)
		return igvm_fail_memory(err);
	c->ig = ig;
	c->err = err;
	igvm_first(ig, &it);
	while ((ret = igvm_step(&it, &h, err)) == 1) {
		ret = check_header(c, &h);
		if (ret)
			break;
	}
	ig->header_count = it.index;
	if (!ret)
		ret = check_end(c);
	igvm_spans_free(&c->pages);
	igvm_spans_free(&c->relocations);
	free(c);
	return ret;
}
