/* VMSA and CPUID page of SEV-SNP images. Values: openvmm vm/loader (igvmfilegen, cpuid.rs). */
#include <string.h>

#include "common/bytes.h"
#include "igvm/snp.h"

/* Offsets in a VMSA */
#define VMSA_EFER	  0x0d0
#define VMSA_CR4	  0x148
#define VMSA_CR3	  0x150
#define VMSA_CR0	  0x158
#define VMSA_RIP	  0x178
#define VMSA_PAT	  0x268
#define VMSA_RSI	  0x330
#define VMSA_SEV_FEATURES 0x3b0
#define VMSA_XCR0	  0x3e8

#define EFER_SVME BIT(12) /* without it a VMSA is not valid */
#define XCR0_X87  BIT(0)

#define FEATURE_SNP		     BIT(0)
#define FEATURE_RESTRICTED_INJECTION BIT(3)
#define FEATURE_DEBUG_SWAP	     BIT(5)
#define FEATURE_PREVENT_HOST_IBS     BIT(6)
#define FEATURE_BTB_ISOLATION	     BIT(7)
#define FEATURE_VMSA_PROTECTION	     BIT(14)
#define FEATURE_SECURE_AVIC	     BIT(16)
#define FEATURE_IBPB_ON_ENTRY	     BIT(21)

static const struct {
	u32 name;
	u16 offset;
} places[] = {
	{IGVM_X64_ES, 0x000},	  {IGVM_X64_CS, 0x010},	    {IGVM_X64_SS, 0x020},
	{IGVM_X64_DS, 0x030},	  {IGVM_X64_FS, 0x040},	    {IGVM_X64_GS, 0x050},
	{IGVM_X64_GDTR, 0x060},	  {IGVM_X64_TR, 0x090},	    {IGVM_X64_CR4, VMSA_CR4},
	{IGVM_X64_CR3, VMSA_CR3}, {IGVM_X64_CR0, VMSA_CR0}, {IGVM_X64_RIP, VMSA_RIP},
	{IGVM_X64_PAT, VMSA_PAT}, {IGVM_X64_RSI, VMSA_RSI}, {IGVM_X64_EFER, VMSA_EFER},
};

static void put_register(u8 *p, const struct igvm_register *r)
{
	switch (r->form) {
	case IGVM_REG_U64: put_le64(p, r->u.value); break;
	case IGVM_REG_TABLE:
		put_le32(p + 4, r->u.table.limit);
		put_le64(p + 8, r->u.table.base);
		break;
	case IGVM_REG_SEGMENT:
		put_le16(p, r->u.segment.selector);
		/* AVL, L, D, G move down to where the VMCB has them */
		put_le16(p + 2, (u16)((r->u.segment.attributes & 0xff) |
				      (r->u.segment.attributes >> 4 & 0xf00)));
		put_le32(p + 4, r->u.segment.limit);
		put_le64(p + 8, r->u.segment.base);
		break;
	}
}

void snp_make_vmsa(u8 page[PAGE_SIZE], const struct manifest_isolation *iso,
		   const struct igvm_register *regs, u32 count)
{
	u64 features = FEATURE_SNP | FEATURE_DEBUG_SWAP | FEATURE_PREVENT_HOST_IBS |
		       FEATURE_BTB_ISOLATION | FEATURE_VMSA_PROTECTION | FEATURE_IBPB_ON_ENTRY;

	memset(page, 0, PAGE_SIZE);
	for (u32 i = 0; i < count; i++) {
		for (u32 j = 0; j < ARRAY_SIZE(places); j++) {
			if (places[j].name == regs[i].name)
				put_register(page + places[j].offset, &regs[i]);
		}
	}
	put_le64(page + VMSA_EFER, get_le64(page + VMSA_EFER) | EFER_SVME);
	put_le64(page + VMSA_XCR0, XCR0_X87);
	/* No vTOM in VTL2: it sets the boundary of lower VTLs itself. */
	if (iso->restricted_injection)
		features |= FEATURE_RESTRICTED_INJECTION;
	if (iso->secure_avic)
		features |= FEATURE_SECURE_AVIC;
	put_le64(page + VMSA_SEV_FEATURES, features);
}

void snp_vmsa_entry(const u8 page[PAGE_SIZE], u64 *rip, u64 *rsi)
{
	*rip = get_le64(page + VMSA_RIP);
	*rsi = get_le64(page + VMSA_RSI);
}

void snp_make_cpuid_page(u8 page[PAGE_SIZE])
{
	/* Leaf, subleaf. The first one must be the extended SEV features. */
	static const u32 leaves[][2] = {
		{0x8000001f, 0}, {0x0, 0},	  {0x1, 0},	   {0x80000000, 0}, {0x5, 0},
		{0x9, 0},	 {0xa, 0},	  {0x7, 0},	   {0xb, 0},	    {0xb, 1},
		{0x80000001, 0}, {0x80000005, 0}, {0x80000006, 0}, {0x80000007, 0}, {0x80000008, 0},
		{0x8000000a, 0}, {0x8000001e, 0}, {0xd, 0},	   {0xd, 1},	    {0xd, 2},
		{0xd, 3},	 {0xd, 4},	  {0xd, 5},	   {0xd, 6},	    {0xd, 7},
		{0xd, 8},	 {0x80000002, 0}, {0x80000003, 0}, {0x80000004, 0}, {0x80000019, 0},
		{0x8000001a, 0}, {0x8000001d, 0}, {0x8000001d, 1}, {0x8000001d, 2}, {0x8000001d, 3},
	};

	memset(page, 0, PAGE_SIZE);
	put_le32(page, ARRAY_SIZE(leaves));
	for (u32 i = 0; i < ARRAY_SIZE(leaves); i++) {
		u8 *record = page + 16 + i * 48;

		put_le32(record, leaves[i][0]);
		put_le32(record + 4, leaves[i][1]);
		if (leaves[i][0] == 0xd)
			put_le64(record + 8, XCR0_X87);
	}
}
