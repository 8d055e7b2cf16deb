/* Guest page-table walk: linear to guest physical address with every permission check. */
#include "vtl2-devices/x86emu/x86emu.h"

#define PTE_P	    BIT(0)
#define PTE_W	    BIT(1)
#define PTE_U	    BIT(2)
#define PTE_A	    BIT(5)
#define PTE_D	    BIT(6)
#define PTE_PS	    BIT(7)
#define PTE_NX	    BIT(63)
#define PTE_ADDR    0x000ffffffffff000ull
#define PTE_PKEY(e) ((unsigned)((e) >> 59 & 0xf))

#define PF_PRESENT 0x01u
#define PF_WRITE   0x02u
#define PF_USER	   0x04u
#define PF_RSVD	   0x08u
#define PF_FETCH   0x10u
#define PF_PKEY	   0x20u

/* A locked update that keeps losing against other processors is left to the next entry. */
#define MAX_TRIES  4
#define MAX_LEVELS 5

/* What the levels so far allow, and which entries were used: for the accessed and dirty bits. */
struct walk {
	u64 entry_gpa[MAX_LEVELS];
	u64 entry[MAX_LEVELS];
	unsigned depth;
	u32 entry_len;
	u64 allow; /* PTE_W and PTE_U when every level has them */
	bool nx;
	unsigned pkey;
	u64 gpa;
};

unsigned x86_cpl(const struct x86_cpu *cpu)
{
	if (!(cpu->cr0 & X86_CR0_PE))
		return 0;
	if (cpu->rflags & X86_FLAG_VM)
		return 3;
	return cpu->seg[X86_SS].attributes >> 5 & 3;
}

unsigned x86_code_bits(const struct x86_cpu *cpu)
{
	u16 attr = cpu->seg[X86_CS].attributes;

	if (cpu->efer & X86_EFER_LMA && attr & BIT(13))
		return 64;
	if (cpu->cr0 & X86_CR0_PE && cpu->rflags & X86_FLAG_VM)
		return 16;
	return attr & BIT(14) ? 32 : 16;
}

static u64 phys_reserved(const struct x86_cpu *cpu)
{
	unsigned bits = cpu->phys_bits;

	if (bits < 32 || bits > 52)
		bits = 52;
	return 0x000fffffffffffffull & ~(BIT(bits) - 1);
}

static enum x86_result page_fault(const struct x86_cpu *cpu, u64 gva, enum x86_access access,
				  u32 walk, u32 code, struct x86_fault *fault)
{
	bool nxe = cpu->efer & X86_EFER_NXE && cpu->cr4 & X86_CR4_PAE;

	if (access == X86_WRITE)
		code |= PF_WRITE;
	if (access == X86_EXECUTE && (nxe || cpu->cr4 & X86_CR4_SMEP))
		code |= PF_FETCH;
	if (walk & X86_WALK_USER)
		code |= PF_USER;
	*fault = (struct x86_fault){X86_VECTOR_PF, true, code, gva};
	return X86_FAULT;
}

/* Entry at gpa, read once. False: not in RAM. */
static bool read_entry(const struct x86_ops *ops, struct walk *w, u64 gpa, u64 *entry)
{
	u64 wide = 0;
	u32 narrow = 0;

	if (w->entry_len == 8) {
		if (ops->ram_read(ops->ctx, gpa, &wide, 8))
			return false;
		*entry = wide;
	} else {
		if (ops->ram_read(ops->ctx, gpa, &narrow, 4))
			return false;
		*entry = narrow;
	}
	w->entry_gpa[w->depth] = gpa;
	w->entry[w->depth++] = *entry;
	return true;
}

/* 32-bit paging: two levels, 4 MiB pages with 40-bit addresses. Result as walk_wide(). */
static enum x86_result walk_narrow(const struct x86_cpu *cpu, const struct x86_ops *ops, u64 gva,
				   struct walk *w, u32 *code)
{
	u64 e;

	w->entry_len = 4;
	w->gpa = (cpu->cr3 & 0xfffff000) + (gva >> 22 & 0x3ff) * 4;
	if (!read_entry(ops, w, w->gpa, &e))
		return X86_HOLE;
	if (!(e & PTE_P))
		return X86_FAULT;
	w->allow &= e;
	if (e & PTE_PS && cpu->cr4 & X86_CR4_PSE) {
		u64 high = (e >> 13 & 0xff) << 32;

		if (e & BIT(21) || high & phys_reserved(cpu)) {
			*code = PF_PRESENT | PF_RSVD;
			return X86_FAULT;
		}
		w->gpa = high | (e & 0xffc00000) | (gva & 0x3fffff);
		return X86_OK;
	}
	w->gpa = (e & 0xfffff000) + (gva >> 12 & 0x3ff) * 4;
	if (!read_entry(ops, w, w->gpa, &e))
		return X86_HOLE;
	if (!(e & PTE_P))
		return X86_FAULT;
	w->allow &= e;
	w->gpa = (e & 0xfffff000) | (gva & 0xfff);
	return X86_OK;
}

/*
 * PAE, 4 and 5 levels. X86_OK: w is complete. X86_HOLE: w->gpa is the entry. X86_FAULT: *code has
 * the present and reserved bits of the error code.
 */
static enum x86_result walk_wide(const struct x86_cpu *cpu, const struct x86_ops *ops, u64 gva,
				 struct walk *w, u32 *code)
{
	bool lma = cpu->efer & X86_EFER_LMA;
	int level = !lma ? 3 : cpu->cr4 & X86_CR4_LA57 ? 5 : 4;
	u64 table = lma ? cpu->cr3 & PTE_ADDR : cpu->cr3 & 0xffffffe0;
	u64 always = phys_reserved(cpu) | (cpu->efer & X86_EFER_NXE ? 0 : PTE_NX);

	w->entry_len = 8;
	for (; level > 0; level--) {
		unsigned shift = PAGE_SHIFT + 9u * (unsigned)(level - 1);
		bool pdpte = !lma && level == 3; /* holds no permissions */
		u64 e, reserved = always;

		w->gpa = table + (gva >> shift & 0x1ff) * 8;
		if (!read_entry(ops, w, w->gpa, &e))
			return X86_HOLE;
		if (!(e & PTE_P))
			return X86_FAULT;
		if (pdpte)
			reserved |= 0xfff00000000001e6ull;
		else if (!lma)
			reserved |= 0x7ff0000000000000ull;
		if (level >= 4)
			reserved |= PTE_PS;
		else if (level > 1 && e & PTE_PS)
			reserved |= (BIT(shift) - 1) & ~0x1fffull;
		if (e & reserved) {
			*code = PF_PRESENT | PF_RSVD;
			return X86_FAULT;
		}
		if (pdpte) {
			w->depth = 0; /* no accessed bit either */
		} else {
			w->allow &= e;
			w->nx |= !!(e & PTE_NX);
		}
		if (level == 1 || (level < 4 && !pdpte && e & PTE_PS)) {
			w->pkey = PTE_PKEY(e);
			w->gpa = (e & PTE_ADDR & ~(BIT(shift) - 1)) | (gva & (BIT(shift) - 1));
			return X86_OK;
		}
		table = e & PTE_ADDR;
	}
	return X86_FAULT; /* not reached: level 1 always returns */
}

/* Error code bits of a refused access through a complete walk, 0 when it is allowed. */
static u32 refused(const struct x86_cpu *cpu, const struct walk *w, enum x86_access access,
		   u32 walk)
{
	bool user = walk & X86_WALK_USER, user_page = w->allow & PTE_U;
	bool wp = user || cpu->cr0 & X86_CR0_WP;

	if (user && !user_page)
		return PF_PRESENT;
	if (access == X86_EXECUTE) {
		if (w->nx)
			return PF_PRESENT;
		if (!user && user_page && cpu->cr4 & X86_CR4_SMEP)
			return PF_PRESENT;
		return 0;
	}
	if (!user && user_page && cpu->cr4 & X86_CR4_SMAP &&
	    (walk & X86_WALK_IMPLICIT || !(cpu->rflags & X86_FLAG_AC)))
		return PF_PRESENT;
	if (access == X86_WRITE && wp && !(w->allow & PTE_W))
		return PF_PRESENT;
	if (user_page && cpu->cr4 & X86_CR4_PKE && cpu->efer & X86_EFER_LMA) {
		u32 key = cpu->pkru >> 2 * w->pkey;

		if (key & 1 || (access == X86_WRITE && key & 2 && wp))
			return PF_PRESENT | PF_PKEY;
	}
	return 0;
}

/* 0 done, > 0 an entry changed meanwhile, < 0 not RAM: then w->gpa is that entry. */
static int set_accessed(const struct x86_ops *ops, struct walk *w, enum x86_access access)
{
	for (unsigned i = 0; i < w->depth; i++) {
		u64 want = w->entry[i] | PTE_A;
		int rc;

		if (i + 1 == w->depth && access == X86_WRITE)
			want |= PTE_D;
		if (want == w->entry[i])
			continue;
		rc = ops->ram_cmpxchg(ops->ctx, w->entry_gpa[i], w->entry[i], want, w->entry_len);
		if (rc < 0)
			w->gpa = w->entry_gpa[i];
		if (rc)
			return rc;
	}
	return 0;
}

static bool canonical(const struct x86_cpu *cpu, u64 gva)
{
	unsigned shift = cpu->cr4 & X86_CR4_LA57 ? 56 : 47;
	u64 top = gva >> shift;

	return top == 0 || top == ~0ull >> shift;
}

static enum x86_result walk_once(const struct x86_cpu *cpu, const struct x86_ops *ops, u64 gva,
				 enum x86_access access, u32 walk, u64 *gpa,
				 struct x86_fault *fault)
{
	struct walk w = {.allow = PTE_W | PTE_U};
	enum x86_result res;
	u32 code = 0;

	if (cpu->cr4 & X86_CR4_PAE)
		res = walk_wide(cpu, ops, gva, &w, &code);
	else
		res = walk_narrow(cpu, ops, gva, &w, &code);
	*gpa = w.gpa;
	if (res == X86_FAULT)
		return page_fault(cpu, gva, access, walk, code, fault);
	if (res != X86_OK)
		return res;
	code = refused(cpu, &w, access, walk);
	if (code)
		return page_fault(cpu, gva, access, walk, code, fault);
	if (walk & X86_WALK_SET_AD && ops->ram_cmpxchg) {
		int rc = set_accessed(ops, &w, access);

		if (rc) {
			*gpa = w.gpa;
			return rc < 0 ? X86_HOLE : X86_RETRY;
		}
	}
	return X86_OK;
}

enum x86_result x86_translate(const struct x86_cpu *cpu, const struct x86_ops *ops, u64 gva,
			      enum x86_access access, u32 walk, u64 *gpa, struct x86_fault *fault)
{
	enum x86_result res = X86_RETRY;

	if (cpu->efer & X86_EFER_LMA) {
		if (!canonical(cpu, gva)) {
			*fault = (struct x86_fault){X86_VECTOR_GP, true, 0, 0};
			return X86_FAULT;
		}
	} else {
		gva &= 0xffffffff;
	}
	if (!(cpu->cr0 & X86_CR0_PG)) {
		*gpa = gva;
		return X86_OK;
	}
	for (int try = 0; try < MAX_TRIES && res == X86_RETRY; try++)
		res = walk_once(cpu, ops, gva, access, walk, gpa, fault);
	return res;
}
