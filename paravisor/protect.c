/* VTL protections and intercepts through hypercalls of the TLFS. */
#include "paravisor/protect.h"

#include "common/log.h"
#include "paravisor/mshv.h"

#define PAGES_PER_CALL 510u /* one input page: 16-byte header, then page numbers */

static bool set_partition_config(void)
{
	struct hv_register_assoc caps = {.name = HV_REG_VSM_CAPABILITIES};
	u64 config = HV_VSM_CONFIG_ENABLE_PROTECTION | HV_VSM_CONFIG_DEFAULT_PROTECTION |
		     HV_VSM_CONFIG_ZERO_MEMORY_ON_RESET | HV_VSM_CONFIG_INTERCEPT_CPUID |
		     HV_VSM_CONFIG_INTERCEPT_UNRECOVERABLE;
	int status = mshv_get_registers(0, &caps, 1);

	if (status) {
		log_error("read VSM capabilities: hypervisor status %#x", status);
		return false;
	}
	if (caps.value.low & HV_VSM_CAP_INTERCEPT_PAGE)
		config |= HV_VSM_CONFIG_INTERCEPT_PAGE;
	if (caps.value.low & HV_VSM_CAP_INTERCEPT_NOT_PRESENT)
		config |= HV_VSM_CONFIG_INTERCEPT_NOT_PRESENT;
	status = mshv_set_register(0, HV_REG_VSM_PARTITION_CONFIG, config, 0);
	if (status)
		log_error("set VSM partition configuration: hypervisor status %#x", status);
	return !status;
}

static int install(u32 type, u32 access, u64 parameter)
{
	struct hv_install_intercept in = {
		.partition_id = HV_PARTITION_ID_SELF,
		.access_mask = access,
		.type = type,
		.parameter = parameter,
	};

	return (u16)mshv_hypercall(HV_CALL_INSTALL_INTERCEPT, &in, sizeof(in), NULL, 0);
}

static bool install_intercepts(void)
{
	static const struct {
		const char *name;
		u32 type, access;
		u64 parameter;
	} wanted[] = {
		{"port", HV_INTERCEPT_X64_IO_PORT_RANGE,
		 HV_INTERCEPT_ACCESS_READ | HV_INTERCEPT_ACCESS_WRITE, 0xffff0000},
		{"MSR", HV_INTERCEPT_X64_MSR, HV_INTERCEPT_ACCESS_READ | HV_INTERCEPT_ACCESS_WRITE,
		 0},
		{"EOI", HV_INTERCEPT_X64_APIC_EOI, HV_INTERCEPT_ACCESS_WRITE, 0},
		{"connection", HV_INTERCEPT_UNKNOWN_SYNIC_CONNECTION, HV_INTERCEPT_ACCESS_EXECUTE,
		 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		int status = install(wanted[i].type, wanted[i].access, wanted[i].parameter);

		if (status) {
			log_error("install %s intercept: hypervisor status %#x", wanted[i].name,
				  status);
			return false;
		}
	}
	return true;
}

static bool close_pages(u64 page, u64 count)
{
	struct {
		u64 partition_id;
		u32 flags;
		u8 input_vtl;
		u8 reserved[3];
		u64 page[PAGES_PER_CALL];
	} in = {.partition_id = HV_PARTITION_ID_SELF, .flags = HV_MAP_GPA_PERMISSIONS_NONE};

	while (count) {
		u32 n = (u32)MIN(count, PAGES_PER_CALL);
		u32 done = 0;

		for (u32 i = 0; i < n; i++)
			in.page[i] = page + i;
		while (done < n) {
			u64 result = mshv_hypercall(HV_CALL_MODIFY_VTL_PROTECTION_MASK |
							    (u64)n << 32 | (u64)done << 48,
						    &in, 16 + n * sizeof(u64), NULL, 0);
			u32 reached = HV_CONTROL_REP_COUNT(result);

			/* a hypervisor may stop in between, but not without progress */
			if ((u16)result || reached <= done || reached > n) {
				log_error("protect page %#llx: hypervisor result %#llx",
					  (unsigned long long)(page + done),
					  (unsigned long long)result);
				return false;
			}
			done = reached;
		}
		page += n;
		count -= n;
	}
	return true;
}

bool protect_partition(const struct config *config)
{
	u64 bytes = 0;

	if (!set_partition_config() || !install_intercepts())
		return false;
	for (u32 i = 0; i < config->range_count; i++) {
		const struct config_range *range = &config->range[i];

		if (!config_is_vtl2_memory(range))
			continue;
		if (!close_pages(range->base / PAGE_SIZE, range->size / PAGE_SIZE))
			return false;
		bytes += range->size;
	}
	if (!bytes) {
		log_error("the memory map names no VTL2 memory to protect");
		return false;
	}
	log_info("%llu KiB of VTL2 memory closed to the guest", (unsigned long long)(bytes / 1024));
	return true;
}
