/* The boot shim's sequence: check what the image and the host say, plan, describe, hand over. */
#include <string.h>

#include "common/abi/hv.h"
#include "common/crc32.h"
#include "loader/boot_params.h"
#include "loader/cmdline.h"
#include "loader/exceptions.h"
#include "loader/host_dt.h"
#include "loader/hypercall.h"
#include "loader/image.h"
#include "loader/kernel.h"
#include "loader/linux_dt.h"
#include "loader/log.h"
#include "loader/log_buffer.h"
#include "loader/memory_plan.h"
#include "loader/paging.h"
#include "loader/panic.h"

/* Large and always written before read: the entry code does not clear it. */
#define NOINIT	     __attribute__((section(".noinit")))
#define NOINIT_PAGES __attribute__((section(".noinit"), aligned(PAGE_SIZE)))

/* Header and tree together: 256 KiB */
struct dtb_buffer {
	struct boot_setup_data header;
	u8 tree[64 * PAGE_SIZE - sizeof(struct boot_setup_data)];
};

static struct shim_image image;
static struct shim_error error;
static NOINIT struct imported_list imported;
static NOINIT struct host_dt host;
static NOINIT struct memory_plan plan;
static NOINIT struct boot_e820_ext e820_ext;
static NOINIT char kernel_cmdline[CMDLINE_SIZE];
static NOINIT_PAGES struct dtb_buffer dtb;
static NOINIT_PAGES u8 zero_page[PAGE_SIZE];

/* From shim.lds */
extern __attribute__((visibility("hidden"))) const char __image_start[], __image_end[];

_Noreturn void shim_main(u64 params_at);

static void check(int rc)
{
	if (rc)
		shim_panic("%s", error.text);
}

static const void *at(u64 address)
{
	return (const void *)(uintptr_t)address;
}

static u64 address_of(const void *p)
{
	return (u64)(uintptr_t)p;
}

/* Until isolation is known: CPUID and ports may be used where the image is not for SNP or TDX. */
static void early_panic_channels(const struct shim_params *params)
{
	if (params->isolation == SHIM_ISOLATION_NONE_OR_VBS && hv_present() &&
	    !(hv_privileges() & HV_PRIV_ISOLATION))
		panic_allow(hv_has_crash_msrs(), true);
}

static void read_image(u64 params_at)
{
	const struct addr_range shim = {address_of(__image_start), address_of(__image_end)};
	struct shim_log *log;

	check(shim_image_check(&image, at(params_at), shim, params_at, &error));
	log = (struct shim_log *)(uintptr_t)image.log.start;
	log_buffer_init(log, range_size(image.log));
	shim_log_use_buffer(log);
	shim_log("shim: image %llx-%llx of %llu MiB at %llx", (unsigned long long)image.used.start,
		 (unsigned long long)image.used.end,
		 (unsigned long long)(range_size(image.memory) / MiB),
		 (unsigned long long)image.memory.start);
}

static enum isolation find_isolation(const struct isolation_ops **ops)
{
	enum isolation isolation = ISOLATION_NONE;

	*ops = &isolation_none_ops;
	if (image.isolation == SHIM_ISOLATION_SNP) {
		*ops = &isolation_snp_ops;
		isolation = ISOLATION_SNP;
	} else if (image.isolation == SHIM_ISOLATION_TDX) {
		*ops = &isolation_tdx_ops;
		isolation = ISOLATION_TDX;
	} else if (!hv_present()) {
		shim_panic("no hypervisor with the Hyper-V interface");
	} else if (hv_privileges() & HV_PRIV_ISOLATION) {
		*ops = &isolation_vbs_ops;
		isolation = ISOLATION_VBS;
	}
	/* The text of a crash goes only to a host that is trusted. */
	panic_allow(isolation == ISOLATION_NONE && hv_has_crash_msrs(), (*ops)->has_port_io);
	if ((*ops)->unsupported)
		shim_panic("%s", (*ops)->unsupported);
	return isolation;
}

static void check_initrd(void)
{
	u32 crc = crc32(0, at(image.initrd.start), range_size(image.initrd));

	if (crc != image.initrd_crc)
		shim_panic("initrd is damaged: CRC %08x, the image says %08x", crc,
			   image.initrd_crc);
}

static void build_cmdline(enum isolation isolation, const struct cmdline_measured *measured)
{
	const struct cmdline_input in = {
		.isolation = isolation,
		.measured = *measured,
		.bootargs = host.bootargs,
		.com3 = host.com3,
		.com3_speed = host.com3_speed,
	};

	check(cmdline_build(kernel_cmdline, &in, &error));
}

static void build_device_tree(enum isolation isolation, u64 start_time)
{
	const struct linux_dt_input in = {
		.host = &host,
		.plan = &plan,
		.imported = &imported,
		.isolation = isolation,
		.has_times = true,
		.boot_start = start_time,
		.boot_end = hv_reference_time(),
	};
	s64 size = linux_dt_write(dtb.tree, sizeof(dtb.tree), &in, &error);
	const struct boot_params_input boot = {
		.plan = &plan,
		.initrd = image.initrd,
		.cmdline = address_of(kernel_cmdline),
		.dtb = &dtb.header,
		.dtb_address = address_of(&dtb),
		.dtb_size = (u32)size,
		.e820_ext = &e820_ext,
		.e820_ext_address = address_of(&e820_ext),
	};

	check(size < 0);
	check(boot_params_fill(zero_page, &boot, &error));
}

void shim_main(u64 params_at)
{
	const struct isolation_ops *ops;
	struct cmdline_measured measured;
	enum isolation isolation;
	u64 start_time, kernel_entry;

	exceptions_init();
	early_panic_channels(at(params_at));
	read_image(params_at);
	isolation = find_isolation(&ops);
	check(paging_enter(&image, &error));
	start_time = hv_reference_time();
	check(hv_enable(&error));

	check(cmdline_measured_read(&measured, at(image.cmdline.start), &error));
	check(imported_list_read(
		&imported, at(image.config.start + SHIM_CONFIG_IMPORTED * PAGE_SIZE), &error));
	check(host_dt_read(&host, at(image_host_dt(&image).start),
			   range_size(image_host_dt(&image)), &error));
	if (host.com3)
		shim_log_use_serial(host.com3_speed);
	check(memory_plan_build(&plan, &image, &imported, &host, isolation, &error));
	shim_log("shim: %u processors, %u host memory ranges, VTL2 RAM in %u ranges (%s)",
		 host.cpu_count, host.ram_count, plan.ram_count,
		 host.self_allocate ? "own choice" : "host's choice");
	if (hv_current_vtl() == 2)
		check(hv_check_vp_indexes(&host, &error));
	if (ops->accept_memory)
		ops->accept_memory(&plan, &imported);
	if (ops->start_processors)
		ops->start_processors(&plan);

	check(kernel_load(&image, &kernel_entry, &error));
	check_initrd();
	build_cmdline(isolation, &measured);
	build_device_tree(isolation, start_time);
	shim_log("shim: kernel entry %llx after %llu us", (unsigned long long)kernel_entry,
		 (unsigned long long)(hv_reference_time() - start_time) / 10);
	hv_disable();
	kernel_enter(kernel_entry, zero_page);
}
