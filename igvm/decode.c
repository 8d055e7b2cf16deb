/*
 * Names for what IGVM headers hold as numbers. Policy bits and VMSA: AMD SEV-SNP firmware ABI
 * (56860), guest policy, and AMD APM volume 2, appendix B; TDX policy: IGVM format definition.
 */
#include <stdio.h>
#include <string.h>

#include "common/bytes.h"
#include "igvm/decode.h"
#include "igvm/internal.h"

struct bit_name {
	u8 bit;
	const char *name;
};

void decode_set_hex(json_t *obj, const char *key, u64 value)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)value);
	json_object_set_new(obj, key, json_string(text));
}

static void set_number(json_t *obj, const char *key, u64 value)
{
	json_object_set_new(obj, key, json_integer((json_int_t)value));
}

static void set_bytes(json_t *obj, const char *key, const u8 *p, size_t len)
{
	char text[2 * 64 + 1] = "";

	for (size_t i = 0; i < len && i < 64; i++)
		snprintf(text + 2 * i, 3, "%02x", p[i]);
	json_object_set_new(obj, key, json_string(text));
}

/* Text if all of it is printable up to zeros that fill it, else nothing */
static void set_text_of(json_t *obj, const char *key, const u8 *p, size_t len)
{
	char text[65] = "";

	while (len && !p[len - 1])
		len--;
	if (!len || len >= sizeof(text))
		return;
	for (size_t i = 0; i < len; i++) {
		if (p[i] < 0x20 || p[i] > 0x7e)
			return;
		text[i] = (char)p[i];
	}
	json_object_set_new(obj, key, json_string(text));
}

/* The names of the bits that are set; an unknown one as "bit 5" */
static json_t *bit_names(u64 value, const struct bit_name *names, size_t count)
{
	json_t *list = json_array();
	char text[16];

	for (u32 bit = 0; bit < 64; bit++) {
		const char *name = NULL;

		if (!(value & BIT(bit)))
			continue;
		for (size_t i = 0; i < count; i++) {
			if (names[i].bit == bit)
				name = names[i].name;
		}
		if (!name) {
			snprintf(text, sizeof(text), "bit %u", bit);
			name = text;
		}
		json_array_append_new(list, json_string(name));
	}
	return list;
}

static void decode_snp_policy(json_t *obj, u64 policy)
{
	static const struct bit_name names[] = {
		{16, "smt"},
		{18, "migrate-ma"},
		{19, "debug"},
		{20, "single-socket"},
		{21, "cxl"},
		{22, "aes-256-xts"},
		{23, "rapl-disabled"},
		{24, "ciphertext-hiding"},
		{25, "page-swap-disabled"},
	};
	char text[16];

	snprintf(text, sizeof(text), "%u.%u", (u8)(policy >> 8), (u8)policy);
	json_object_set_new(obj, "abi_minimum", json_string(text));
	json_object_set_new(obj, "debug", json_boolean(policy & BIT(19)));
	/* Bit 17 must be 1 and says nothing. */
	json_object_set_new(obj, "allowed",
			    bit_names(policy & ~0xffffull & ~BIT(17), names, ARRAY_SIZE(names)));
	if (!(policy & BIT(17)))
		json_object_set_new(obj, "invalid", json_string("bit 17 is 0, must be 1"));
}

static void decode_tdx_policy(json_t *obj, u64 policy)
{
	static const struct bit_name names[] = {
		{0, "debug"}, {1, "sept-ve-disable"}, {2, "migratable"}};

	json_object_set_new(obj, "debug", json_boolean(policy & BIT(0)));
	json_object_set_new(obj, "attributes", bit_names(policy, names, ARRAY_SIZE(names)));
}

void decode_policy(json_t *obj, int platform, u64 policy)
{
	decode_set_hex(obj, "policy", policy);
	if (platform == IGVM_PLATFORM_SEV_SNP)
		decode_snp_policy(obj, policy);
	else if (platform == IGVM_PLATFORM_TDX)
		decode_tdx_policy(obj, policy);
}

/* --- contexts */

static void set_table(json_t *regs, const char *name, u64 base, u64 limit)
{
	json_t *table = json_object();

	decode_set_hex(table, "base", base);
	decode_set_hex(table, "limit", limit);
	json_object_set_new(regs, name, table);
}

static void set_segment(json_t *regs, const char *name, u64 selector, u64 base, u64 limit,
			u64 attributes)
{
	json_t *segment = json_object();

	decode_set_hex(segment, "selector", selector);
	decode_set_hex(segment, "base", base);
	decode_set_hex(segment, "limit", limit);
	decode_set_hex(segment, "attributes", attributes);
	json_object_set_new(regs, name, segment);
}

static void decode_registers(json_t *obj, const struct igvm *ig, const struct igvm_header *vp)
{
	json_t *regs = json_object();
	struct igvm_register reg;
	char number[16];

	for (u32 i = 0; i < igvm_register_count(vp); i++) {
		const char *name;

		igvm_register_get(ig, vp, i, &reg);
		if (i == 0)
			set_number(obj, "vtl", reg.vtl);
		name = igvm_register_name_for(ig->arch, reg.name);
		snprintf(number, sizeof(number), "0x%x", reg.name);
		if (!name)
			name = number;
		if (reg.form == IGVM_REG_U64)
			decode_set_hex(regs, name, reg.u.value);
		else if (reg.form == IGVM_REG_TABLE)
			set_table(regs, name, reg.u.table.base, reg.u.table.limit);
		else
			set_segment(regs, name, reg.u.segment.selector, reg.u.segment.base,
				    reg.u.segment.limit, reg.u.segment.attributes);
	}
	json_object_set_new(obj, "registers", regs);
}

static void decode_vmsa(json_t *obj, const u8 *vmsa)
{
	static const struct {
		u16 at;
		const char *name;
	} segments[] =
		{
			{0x00, "es"}, {0x10, "cs"},   {0x20, "ss"},   {0x30, "ds"},   {0x40, "fs"},
			{0x50, "gs"}, {0x60, "gdtr"}, {0x70, "ldtr"}, {0x80, "idtr"}, {0x90, "tr"},
		},
	  values[] = {
		  {0xd0, "efer"},	  {0x140, "xss"},	   {0x148, "cr4"},
		  {0x150, "cr3"},	  {0x158, "cr0"},	   {0x160, "dr7"},
		  {0x168, "dr6"},	  {0x170, "rflags"},	   {0x178, "rip"},
		  {0x1d8, "rsp"},	  {0x1e0, "s-cet"},	   {0x1e8, "ssp"},
		  {0x1f8, "rax"},	  {0x200, "star"},	   {0x208, "lstar"},
		  {0x210, "cstar"},	  {0x218, "sfmask"},	   {0x220, "kernel-gs-base"},
		  {0x228, "sysenter-cs"}, {0x230, "sysenter-esp"}, {0x238, "sysenter-eip"},
		  {0x240, "cr2"},	  {0x268, "pat"},	   {0x270, "dbgctl"},
		  {0x2e0, "spec-ctrl"},	  {0x308, "rcx"},	   {0x310, "rdx"},
		  {0x318, "rbx"},	  {0x320, "secure-avic"},  {0x328, "rbp"},
		  {0x330, "rsi"},	  {0x338, "rdi"},	   {0x340, "r8"},
		  {0x348, "r9"},	  {0x350, "r10"},	   {0x358, "r11"},
		  {0x360, "r12"},	  {0x368, "r13"},	   {0x370, "r14"},
		  {0x378, "r15"},	  {0x3b8, "v-intr-ctrl"},  {0x3c8, "virtual-tom"},
		  {0x3e8, "xcr0"},
	  };
	static const struct bit_name features[] = {
		{0, "snp"},
		{1, "vtom"},
		{2, "reflect-vc"},
		{3, "restricted-injection"},
		{4, "alternate-injection"},
		{5, "debug-swap"},
		{6, "prevent-host-ibs"},
		{7, "btb-isolation"},
		{8, "vmpl-sss"},
		{9, "secure-tsc"},
		{10, "vmgexit-parameter"},
		{11, "pmc-virtualization"},
		{12, "ibs-virtualization"},
		{13, "guest-intercept-control"},
		{14, "vmsa-reg-protection"},
		{15, "smt-protection"},
		{16, "secure-avic"},
		{21, "ibpb-on-entry"},
	};
	static const u8 none[16];
	json_t *regs = json_object();

	set_number(obj, "vmpl", vmsa[0xca]);
	json_object_set_new(obj, "sev_features",
			    bit_names(get_le64(vmsa + 0x3b0), features, ARRAY_SIZE(features)));
	/* What is not shown is zero. */
	for (size_t i = 0; i < ARRAY_SIZE(segments); i++) {
		const u8 *p = vmsa + segments[i].at;

		if (memcmp(p, none, sizeof(none)))
			set_segment(regs, segments[i].name, get_le16(p), get_le64(p + 8),
				    get_le32(p + 4), get_le16(p + 2));
	}
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		if (get_le64(vmsa + values[i].at))
			decode_set_hex(regs, values[i].name, get_le64(vmsa + values[i].at));
	}
	json_object_set_new(obj, "registers", regs);
}

static void decode_native(json_t *obj, const u8 *data)
{
	static const char *const gpr[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					  "r8",	 "r9",	"r10", "r11", "r12", "r13", "r14", "r15"};
	json_t *regs = json_object();
	struct igvm_native_context n;

	memcpy(&n, data, sizeof(n));
	for (u32 i = 0; i < ARRAY_SIZE(gpr); i++) {
		if (n.gpr[i])
			decode_set_hex(regs, gpr[i], n.gpr[i]);
	}
	decode_set_hex(regs, "rip", n.rip);
	decode_set_hex(regs, "rflags", n.rflags);
	set_table(regs, "idtr", n.idtr_base, n.idtr_limit);
	set_table(regs, "gdtr", n.gdtr_base, n.gdtr_limit);
	set_segment(regs, "cs", n.code_selector, n.code_base, n.code_limit, n.code_attributes);
	set_segment(regs, "ds", n.data_selector, n.data_base, n.data_limit, n.data_attributes);
	decode_set_hex(regs, "gs-base", n.gs_base);
	decode_set_hex(regs, "cr0", n.cr0);
	decode_set_hex(regs, "cr3", n.cr3);
	decode_set_hex(regs, "cr4", n.cr4);
	decode_set_hex(regs, "efer", n.efer);
	json_object_set_new(obj, "registers", regs);
}

static void decode_cca_context(json_t *obj, const u8 *data)
{
	static const char *const names[] = {"x0", "x1", "x2", "x3", "x4",
					    "x5", "x6", "x7", "pc", "flags"};
	json_t *regs = json_object();

	for (u32 i = 0; i < ARRAY_SIZE(names); i++)
		decode_set_hex(regs, names[i], get_le64(data + 8 * i));
	json_object_set_new(obj, "registers", regs);
}

void decode_context(json_t *obj, const struct igvm *ig, const struct igvm_header *vp)
{
	switch (igvm_platform_of(ig, vp->mask)) {
	case IGVM_PLATFORM_VSM: decode_registers(obj, ig, vp); break;
	case IGVM_PLATFORM_SEV_SNP:
	case IGVM_PLATFORM_SEV_ES: decode_vmsa(obj, vp->data); break;
	case IGVM_PLATFORM_NATIVE:
	case IGVM_PLATFORM_SEV: decode_native(obj, vp->data); break;
	case IGVM_PLATFORM_CCA: decode_cca_context(obj, vp->data); break;
	}
}

/* --- signed structures */

static const char *key_algorithm(u32 number)
{
	return number == 1 ? "ecdsa-p384-sha384" : number == 0 ? "none" : "unknown";
}

void decode_id_block(json_t *obj, const struct igvm_snp_id_block *b)
{
	set_bytes(obj, "launch_digest", b->ld, sizeof(b->ld));
	set_bytes(obj, "family_id", b->family_id, sizeof(b->family_id));
	set_text_of(obj, "family_text", b->family_id, sizeof(b->family_id));
	set_bytes(obj, "image_id", b->image_id, sizeof(b->image_id));
	set_text_of(obj, "image_text", b->image_id, sizeof(b->image_id));
	set_number(obj, "id_block_version", b->version);
	set_number(obj, "guest_svn", b->guest_svn);
	json_object_set_new(obj, "id_key_algorithm",
			    json_string(key_algorithm(b->id_key_algorithm)));
	json_object_set_new(obj, "author_key", json_boolean(b->author_key_enabled));
	if (b->author_key_enabled)
		json_object_set_new(obj, "author_key_algorithm",
				    json_string(key_algorithm(b->author_key_algorithm)));
}

void decode_vbs_measurement(json_t *obj, const struct igvm_vbs_measurement *m)
{
	set_number(obj, "measurement_version", m->version);
	set_number(obj, "product_id", m->product_id);
	set_number(obj, "module_id", m->module_id);
	set_number(obj, "security_version", m->security_version);
	decode_set_hex(obj, "policy_flags", m->policy_flags);
	json_object_set_new(obj, "boot_digest_algorithm",
			    json_string(m->boot_digest_algo == 1 ? "sha256" : "unknown"));
	json_object_set_new(obj, "signing_algorithm",
			    json_string(m->signing_algo == 1 ? "ecdsa-p384" : "unknown"));
	set_bytes(obj, "boot_digest", m->boot_digest, m->boot_digest_algo == 1 ? 32 : 64);
}

void decode_cca_policy(json_t *obj, const struct igvm_cca_policy *p)
{
	static const char *const hashes[] = {"sha256", "sha512", "sha384"};
	static const struct bit_name names[] = {{0, "debug"}, {1, "shared-mec"}};

	json_object_set_new(obj, "required_zeroes",
			    bit_names(p->required_zeroes, names, ARRAY_SIZE(names)));
	json_object_set_new(obj, "required_ones",
			    bit_names(p->required_ones, names, ARRAY_SIZE(names)));
	json_object_set_new(obj, "hash_algorithm",
			    json_string(p->hash_algorithm < ARRAY_SIZE(hashes)
						? hashes[p->hash_algorithm]
						: "unknown"));
	json_object_set_new(obj, "lfa_allowed", json_boolean(p->lfa_policy));
}
