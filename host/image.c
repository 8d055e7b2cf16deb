#include "host/image.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "host/params.h"
#include "host/regs.h"

static int fail(const struct igvm_error *err)
{
	char text[320];

	log_error("image: %s", igvm_error_string(err, text, sizeof(text)));
	return -1;
}

int image_open(struct image *image, const u8 *file, size_t len)
{
	const struct igvm_supported_platform *platform;
	struct igvm_error err;
	struct igvm_header h;
	struct igvm_iter it;
	unsigned regions = 0, tables = 0;

	memset(image, 0, sizeof(*image));
	if (igvm_open(&image->igvm, file, len, &err))
		return fail(&err);
	if (image->igvm.arch != IGVM_ARCH_X64) {
		log_error("image: built for another processor architecture than x64");
		return -1;
	}
	platform = igvm_find_platform(&image->igvm, IGVM_PLATFORM_VSM);
	if (!platform || platform->highest_vtl != 2) {
		log_error("image: holds no VTL2 image for a VM without isolation (platform type "
			  "VSM_ISOLATION, highest VTL 2)");
		return -1;
	}
	image->mask = platform->mask;
	for (igvm_first(&image->igvm, &it); igvm_next_of(&it, 0, image->mask, &h);) {
		switch (h.type) {
		case IGVM_RELOCATABLE_REGION:
			image->region = h.u.relocatable;
			regions++;
			break;
		case IGVM_PAGE_TABLE_RELOCATION:
			image->tables = h.u.page_table;
			tables++;
			break;
		case IGVM_REQUIRED_MEMORY:
			if (h.u.required.flags & IGVM_MEMORY_VTL2_PROTECTABLE)
				image->needs.vtl2_size = MAX(image->needs.vtl2_size,
							     h.u.required.number_of_bytes);
			else
				image->needs.payload_end = MAX(
					image->needs.payload_end,
					h.u.required.gpa + h.u.required.number_of_bytes);
			break;
		default: break;
		}
	}
	if (regions != 1 || tables != 1 || image->region.vp_index || image->region.vtl != 2 ||
	    image->tables.vtl != 2) {
		log_error("image: must have exactly one relocatable region and one page-table "
			  "region, both of VTL2 (it has %u and %u)",
			  regions, tables);
		return -1;
	}
	if (!image->needs.vtl2_size) {
		log_error("image: does not say how much memory VTL2 needs (REQUIRED_MEMORY)");
		return -1;
	}
	if (image->region.alignment & (image->region.alignment - 1)) {
		log_error("image: its alignment %#llx is not a power of two",
			  (unsigned long long)image->region.alignment);
		return -1;
	}
	image->needs.vtl2_align = image->region.alignment;
	image->needs.vtl2_min = MAX(image->region.minimum_gpa, image->region.gpa);
	return 0;
}

/* New address of a page: the region and its page tables move, everything else stays. */
static u64 moved(const struct image *image, u64 gpa, u64 offset)
{
	const struct igvm_relocatable_region *r = &image->region;
	const struct igvm_page_table_relocation *t = &image->tables;

	if ((gpa >= r->gpa && gpa - r->gpa < r->size) || (gpa >= t->gpa && gpa - t->gpa < t->size))
		return gpa + offset;
	return gpa;
}

static void *target(struct vm *vm, u64 gpa, u64 len)
{
	void *p = memory_at(&vm->mem, gpa, len);

	if (!p)
		log_error("image: wants to load at %#llx, where this VM has no memory; give the "
			  "guest more (--memory)",
			  (unsigned long long)gpa);
	return p;
}

static int load_page(const struct image *image, struct vm *vm, const struct igvm_header *h,
		     u64 offset, u8 *tables)
{
	const struct igvm_page_table_relocation *t = &image->tables;
	u64 gpa = h->u.page.gpa, bytes = igvm_page_bytes(h);
	u8 *p;

	if (gpa >= t->gpa && gpa - t->gpa < t->size) {
		/* Held back: they are rebuilt for the new base. */
		if (bytes > t->size - (gpa - t->gpa)) {
			log_error("image: a page straddles the page-table region");
			return -1;
		}
		if (h->data)
			memcpy(tables + (gpa - t->gpa), h->data, h->data_len);
		return 0;
	}
	p = target(vm, moved(image, gpa, offset), bytes);
	if (!p)
		return -1;
	memset(p, 0, bytes);
	if (h->data)
		memcpy(p, h->data, h->data_len);
	return 0;
}

int image_check_guest(const struct image *image)
{
	struct igvm_paravisor paravisor;

	/* An image of another maker may keep its guest elsewhere: only ours can be judged. */
	if (igvm_find_paravisor(&image->igvm, image->mask, &paravisor, NULL) ||
	    !paravisor.has_vtl0_config || paravisor.vtl0.supported)
		return 0;
	log_error("image: carries no guest; give it one with --kernel");
	return -1;
}

int image_check(const struct image *image, u64 vtl0_bytes)
{
	const struct image_needs *needs = &image->needs;
	u64 low = MIN(vtl0_bytes, LOW_RAM_LIMIT), need = needs->payload_end, offset;
	struct guest_memory plan;
	struct igvm_header h;
	struct igvm_iter it;

	for (igvm_first(&image->igvm, &it); igvm_next_of(&it, IGVM_PAGE_DATA, image->mask, &h);)
		if (moved(image, h.u.page.gpa, 1) == h.u.page.gpa)
			need = MAX(need, h.u.page.gpa + igvm_page_bytes(&h));
	if (need > low) {
		log_error("image: its guest payload needs %llu MiB of memory below 4 GiB, the VM "
			  "has %llu MiB; give the guest more (--memory)",
			  (unsigned long long)(need / MiB + 1), (unsigned long long)(low / MiB));
		return -1;
	}
	if (memory_plan(&plan, vtl0_bytes, needs->vtl2_size, needs->vtl2_align, needs->vtl2_min) ||
	    !igvm_base_is_valid(&image->region, plan.vtl2_base)) {
		log_error("image: cannot be loaded behind %llu MiB of guest memory",
			  (unsigned long long)(vtl0_bytes / MiB));
		return -1;
	}
	offset = plan.vtl2_base - image->region.gpa;
	for (igvm_first(&image->igvm, &it); igvm_next_of(&it, 0, image->mask, &h);) {
		u64 gpa = h.u.page.gpa, bytes;

		if (h.type == IGVM_PAGE_DATA)
			bytes = igvm_page_bytes(&h);
		else if (h.type == IGVM_PAGE_TABLE_RELOCATION)
			gpa = h.u.page_table.gpa, bytes = h.u.page_table.size;
		else
			continue;
		if (!memory_has(&plan, moved(image, gpa, offset), bytes)) {
			log_error("image: %#llx+%#llx is outside the memory that the image asks "
				  "for",
				  (unsigned long long)gpa, (unsigned long long)bytes);
			return -1;
		}
	}
	return 0;
}

struct areas {
	u8 *data[IGVM_MAX_AREAS];
	u32 index[IGVM_MAX_AREAS];
	u64 bytes[IGVM_MAX_AREAS];
	unsigned count;
};

static int find_area(const struct areas *areas, u32 index)
{
	for (unsigned i = 0; i < areas->count; i++)
		if (areas->index[i] == index)
			return (int)i;
	return -1;
}

static int add_area(struct areas *areas, const struct igvm_header *h)
{
	u8 *data = calloc(1, h->u.area.number_of_bytes);

	if (!data || areas->count == IGVM_MAX_AREAS) {
		free(data);
		log_error("image: no memory for its parameters");
		return -1;
	}
	if (h->data)
		memcpy(data, h->data, MIN(h->data_len, h->u.area.number_of_bytes));
	areas->data[areas->count] = data;
	areas->index[areas->count] = h->u.area.index;
	areas->bytes[areas->count++] = h->u.area.number_of_bytes;
	return 0;
}

static int set_registers(const struct image *image, struct vm *vm, const struct igvm_header *h,
			 u64 offset, u64 cr3)
{
	struct vp *vp = &vm->vp[0];
	struct kvm_sregs *s = sregs_of(vp, VTL2);

	for (u32 i = 0; i < igvm_register_count(h); i++) {
		struct hv_register_value v = {0};
		struct igvm_register r;

		igvm_register_get(&image->igvm, h, i, &r);
		if (r.vtl != 2) {
			log_error("image: has registers for VTL %u, expected VTL 2", r.vtl);
			return -1;
		}
		switch (r.form) {
		case IGVM_REG_SEGMENT: memcpy(&v, &r.u.segment, sizeof(v)); break;
		case IGVM_REG_TABLE: memcpy(&v, &r.u.table, sizeof(v)); break;
		default: v.low = r.u.value;
		}
		if (r.name == HV_REG_RIP && image->region.flags & IGVM_RELOC_APPLY_PC)
			v.low = moved(image, v.low, offset);
		if (r.name == HV_REG_CR3)
			v.low = cr3;
		if (r.name == HV_REG_GDTR && image->region.flags & IGVM_RELOC_APPLY_GDTR)
			v.high = moved(image, v.high, offset);
		if (r.name == HV_REG_TR)
			continue; /* what KVM has at reset is as good */
		if (regs_load(vp, VTL2, r.name, &v)) {
			log_error("image: register %s cannot be set",
				  igvm_register_name(r.name) ? igvm_register_name(r.name) : "?");
			return -1;
		}
	}
	s->cr4 &= ~BIT(18); /* OSXSAVE: VTL2 is not offered XSAVE here (host/cpuid.c) */
	s->efer |= s->cr0 & BIT(31) && s->efer & BIT(8) ? BIT(10) : 0;
	return 0;
}

int image_load(const struct image *image, struct vm *vm)
{
	u64 offset = vm->mem.vtl2_base - image->region.gpa, cr3 = 0;
	struct igvm_header h, context = {0};
	struct areas areas = {.count = 0};
	struct igvm_error err;
	struct igvm_iter it;
	u8 *tables, *p;
	int area, ret = -1;

	if (!igvm_base_is_valid(&image->region, vm->mem.vtl2_base)) {
		log_error("image: cannot be loaded at %#llx",
			  (unsigned long long)vm->mem.vtl2_base);
		return -1;
	}
	tables = calloc(1, image->tables.size);
	if (!tables)
		return -1;
	for (igvm_first(&image->igvm, &it); igvm_next_of(&it, 0, image->mask, &h);) {
		switch (h.type) {
		case IGVM_PAGE_DATA:
			if (h.u.page.data_type != IGVM_PAGE_NORMAL) {
				log_error("image: has a page type that only isolated VMs have");
				goto out;
			}
			if (load_page(image, vm, &h, offset, tables))
				goto out;
			break;
		case IGVM_PARAMETER_AREA:
			if (add_area(&areas, &h))
				goto out;
			break;
		case IGVM_PARAMETER_INSERT:
			area = find_area(&areas, h.u.insert.area);
			if (area < 0)
				goto out;
			p = target(vm, moved(image, h.u.insert.gpa, offset), areas.bytes[area]);
			if (!p)
				goto out;
			memcpy(p, areas.data[area], areas.bytes[area]);
			break;
		case IGVM_VP_CONTEXT: context = h; break;
		case IGVM_ERROR_RANGE:
		case IGVM_VBS_MEASUREMENT:
			log_error("image: has a %s header, which this host does not support",
				  igvm_type_name(h.type));
			goto out;
		default:
			if (!igvm_is_parameter(h.type))
				break;
			area = find_area(&areas, h.u.parameter.area);
			if (area < 0 || h.u.parameter.byte_offset > areas.bytes[area])
				goto out;
			if (params_write(vm, h.type, areas.data[area] + h.u.parameter.byte_offset,
					 areas.bytes[area] - h.u.parameter.byte_offset)) {
				log_error("image: no room for parameter %s",
					  igvm_type_name(h.type));
				goto out;
			}
		}
	}
	if (!context.content || !igvm_register_u64(&image->igvm, &context, HV_REG_CR3, &cr3)) {
		log_error("image: has no initial registers with CR3");
		goto out;
	}
	if (igvm_relocate_page_tables(tables, &image->tables, &image->region, offset, &cr3, &err)) {
		fail(&err);
		goto out;
	}
	p = target(vm, image->tables.gpa + offset, image->tables.size);
	if (!p)
		goto out;
	memcpy(p, tables, image->tables.size);
	ret = set_registers(image, vm, &context, offset, cr3);
out:
	free(tables);
	for (unsigned i = 0; i < areas.count; i++)
		free(areas.data[i]);
	return ret;
}
