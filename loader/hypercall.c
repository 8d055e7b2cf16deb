/* Hypercall page, register access and the VP index check (TLFS). */
#include "loader/hypercall.h"

#include <string.h>

#include "common/abi/hv.h"
#include "loader/cpu.h"

/* Guest OS id: any nonzero value opens the hypercall interface; this is OpenHCL's shim's. */
#define GUEST_OS_ID BIT(40)

#define VENDOR_EBX	   0x7263694du /* "Micr" */
#define VENDOR_ECX	   0x666f736fu /* "osof" */
#define VENDOR_EDX	   0x76482074u /* "t Hv" */
#define CPUID_1_HYPERVISOR BIT(31)

#define NOINIT	  __attribute__((section(".noinit"), aligned(PAGE_SIZE)))
#define CODE_PAGE __attribute__((section(".hypercall_page"), aligned(PAGE_SIZE)))

static CODE_PAGE u8 code_page[PAGE_SIZE];
static NOINIT u8 input[PAGE_SIZE];
static NOINIT u8 output[PAGE_SIZE];

bool hv_present(void)
{
	struct cpuid r;

	if (!(cpuid(1).ecx & CPUID_1_HYPERVISOR))
		return false;
	r = cpuid(HV_CPUID_MAX_AND_VENDOR);
	return r.eax >= HV_CPUID_LIMITS && r.ebx == VENDOR_EBX && r.ecx == VENDOR_ECX &&
	       r.edx == VENDOR_EDX;
}

u64 hv_privileges(void)
{
	struct cpuid r = cpuid(HV_CPUID_FEATURES);

	return (u64)r.ebx << 32 | r.eax;
}

bool hv_has_crash_msrs(void)
{
	return cpuid(HV_CPUID_FEATURES).edx & HV_FEAT_CRASH_MSRS;
}

u64 hv_reference_time(void)
{
	return rdmsr(HV_MSR_TIME_REF_COUNT);
}

int hv_enable(struct shim_error *err)
{
	if (rdmsr(HV_MSR_HYPERCALL) & HV_PAGE_ENABLE)
		return shim_fail(err, "the hypercall page is already enabled at start");
	wrmsr(HV_MSR_GUEST_OS_ID, GUEST_OS_ID);
	wrmsr(HV_MSR_HYPERCALL, (u64)(uintptr_t)code_page | HV_PAGE_ENABLE);
	if (!(rdmsr(HV_MSR_HYPERCALL) & HV_PAGE_ENABLE))
		return shim_fail(err, "the hypervisor refuses the hypercall page");
	return 0;
}

void hv_disable(void)
{
	wrmsr(HV_MSR_HYPERCALL, 0);
	wrmsr(HV_MSR_GUEST_OS_ID, 0);
}

/* Rep call with the filled input page. Returns the status, InvalidParameter if incomplete. */
static u16 rep_call(u16 code, u32 reps)
{
	u64 control = code | (u64)reps << 32;
	u64 result;
	register u64 r8 __asm__("r8") = (u64)(uintptr_t)output;

	__asm__ volatile("call *%[page]"
			 : "=a"(result), "+c"(control), "+r"(r8)
			 : [page] "r"(code_page), "d"(input)
			 : "r9", "r10", "r11", "memory", "cc");
	if ((u16)result == HV_STATUS_SUCCESS && (result >> 32 & 0xfff) != reps)
		return HV_STATUS_INVALID_PARAMETER;
	return (u16)result;
}

static u16 get_register(u32 name, u64 *value)
{
	struct hv_vp_registers_header *in = (void *)input;
	u16 status;

	*in = (struct hv_vp_registers_header){.partition_id = HV_PARTITION_ID_SELF,
					      .vp_index = HV_VP_INDEX_SELF};
	memcpy(in + 1, &name, sizeof(name));
	status = rep_call(HV_CALL_GET_VP_REGISTERS, 1);
	memcpy(value, output, sizeof(*value));
	return status;
}

u32 hv_current_vtl(void)
{
	u64 value;

	if (get_register(HV_REG_VSM_VP_STATUS, &value) != HV_STATUS_SUCCESS)
		return 0;
	return value & 0xf;
}

int hv_check_vp_indexes(const struct host_dt *dt, struct shim_error *err)
{
	struct {
		u64 partition_id;
		u64 vtl; /* low byte; 0: the index is the same for all */
		u32 apic_id[512];
	} *in = (void *)input;
	const u32 *index = (const u32 *)output;

	_Static_assert(sizeof(*in) <= PAGE_SIZE, "input page");
	for (u32 first = 0; first < dt->cpu_count; first += ARRAY_SIZE(in->apic_id)) {
		u32 n = MIN(dt->cpu_count - first, (u32)ARRAY_SIZE(in->apic_id));
		u16 status;

		in->partition_id = HV_PARTITION_ID_SELF;
		in->vtl = 0;
		for (u32 i = 0; i < n; i++)
			in->apic_id[i] = dt->cpu[first + i].apic_id;
		status = rep_call(HV_CALL_GET_VP_INDEX_FROM_APIC_ID, n);
		if (status != HV_STATUS_SUCCESS)
			return shim_fail(err, "VP indexes: hypercall status %x", status);
		for (u32 i = 0; i < n; i++)
			if (index[i] != first + i)
				return shim_fail(err, "processor %u (APIC id %u) has VP index %u",
						 first + i, dt->cpu[first + i].apic_id, index[i]);
	}
	return 0;
}
