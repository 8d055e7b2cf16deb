/* The paravisor process, in the order in which things happen. */
#include "common/log.h"
#include "paravisor/acpi.h"
#include "paravisor/boot.h"
#include "paravisor/config.h"
#include "paravisor/file.h"
#include "paravisor/gmem.h"
#include "paravisor/hostlink.h"
#include "paravisor/klog.h"
#include "paravisor/inspection.h"
#include "paravisor/linux_boot.h"
#include "paravisor/machine.h"
#include "paravisor/mshv.h"
#include "paravisor/programs.h"
#include "paravisor/protect.h"
#include "paravisor/report.h"
#include "paravisor/servicing/servicing.h"
#include "paravisor/stop.h"
#include "paravisor/thread.h"
#include "paravisor/vmbus/vmbus.h"
#include "paravisor/vp.h"

#include "common/bytes.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static struct config config;
static struct linux_boot_plan plan;

static void read_config(void)
{
	const char *reason;
	size_t size;
	void *fdt = file_load(FDT_PATH, FDT_SIZE_MAX, &size);

	if (!fdt)
		stop_crash("%s: %s", FDT_PATH, strerror(errno));
	if (config_parse(fdt, size, &config, &reason))
		stop_crash("device tree: %s", reason);
	file_release(fdt, FDT_SIZE_MAX);
}

static void move(const struct linux_boot_move *m)
{
	void *from, *to;

	if (!m->size)
		return;
	from = gmem_pointer(m->from, m->size);
	to = gmem_pointer(m->to, m->size);
	if (!from || !to)
		stop_crash("guest kernel or initrd does not lie in guest memory");
	memmove(to, from, m->size);
}

/* The image's command line pages: copied, bounded, then wiped. */
static void take_cmdline(const struct shim_measured_vtl0 *vtl0, char text[BOOT_CMDLINE_MAX])
{
	u64 size = MIN(vtl0->cmdline_pages * PAGE_SIZE, BOOT_CMDLINE_MAX - 1);
	void *pages;

	memset(text, 0, BOOT_CMDLINE_MAX);
	if (!vtl0->cmdline_pages)
		return;
	gmem_read(vtl0->cmdline_page * PAGE_SIZE, text, size);
	pages = gmem_pointer(vtl0->cmdline_page * PAGE_SIZE, vtl0->cmdline_pages * PAGE_SIZE);
	if (pages)
		memset(pages, 0, vtl0->cmdline_pages * PAGE_SIZE);
}

/* Puts the guest's kernel, initrd and boot data where they belong. */
static void load_guest(void)
{
	static char cmdline[BOOT_CMDLINE_MAX];
	static u8 kernel_head[PAGE_SIZE];
	struct shim_measured_vtl0 vtl0;
	struct linux_boot_input in = {
		.config = &config,
		.vtl0 = &vtl0,
		.kernel_head = kernel_head,
		.kernel_head_size = sizeof(kernel_head),
		.cmdline = cmdline,
		.rsdp = BOOT_ACPI,
	};
	const char *reason;
	u8 *low;

	if (gmem_read(0, &vtl0, sizeof(vtl0)))
		stop_crash("guest memory does not start at address 0");
	if (config_check_vtl0(&vtl0, &config, &reason))
		stop_crash("guest: %s", reason);
	gmem_read(vtl0.kernel_base_page * PAGE_SIZE, kernel_head, sizeof(kernel_head));
	if (linux_boot_plan(&in, &plan, &reason))
		stop_crash("guest: %s", reason);
	take_cmdline(&vtl0, cmdline);
	move(&plan.initrd_move);
	move(&plan.kernel_move);

	/* the plan made sure of the first MiB */
	low = gmem_pointer(0, BOOT_LOW_SIZE);
	memset(low, 0, PAGE_SIZE);
	if (linux_boot_write(&in, &plan, low, &reason))
		stop_crash("guest: %s", reason);
	memset(low + BOOT_ACPI, 0, BOOT_ACPI_SIZE);
	if (!acpi_build(&config, &machine_acpi, BOOT_ACPI, low + BOOT_ACPI, BOOT_ACPI_SIZE))
		stop_crash("the guest's ACPI tables do not fit");
}

static void on_message(const struct hostlink_message *message)
{
	switch (message->op) {
	case HOSTLINK_CONSOLE:
		machine_console_input(message->index, message->data, message->length);
		break;
	case HOSTLINK_STATS: report_send(); break;
	case HOSTLINK_SHUTDOWN: machine_press_power_button(); break;
	case HOSTLINK_TIME:
		if (message->length == sizeof(u64))
			machine_set_wall_clock(get_le64(message->data));
		break;
	default: break;
	}
}

/* What the guest needs before its first instruction. */
static void set_up_guest(void)
{
	load_guest();
	boot_reached(BOOT_GUEST_LOADED);
	/* register calls address the VP they run on */
	if (!thread_pin(0) || !protect_partition(&config))
		stop_crash("VTL2 cannot be protected from the guest");
	thread_unpin();
	boot_reached(BOOT_PROTECTED);
}

/* A restart of this process keeps guest, hypervisor and host as they are, and their trust. */
int paravisor_main(int argc, char **argv)
{
	struct control_pending pending;
	bool takes_over, held = false;

	klog_start("paravisor");
	boot_reached(BOOT_PARAVISOR);
	if (!mshv_open())
		stop_crash("the VTL driver of this kernel is not usable");
	takes_over = servicing_takes_over(argc, argv);
	read_config();
	boot_reached(BOOT_CONFIG);
	if (config.isolation != ISOLATION_NONE)
		stop_crash("isolated guests are not supported yet");
	if (!gmem_init(&config))
		stop_crash("guest memory cannot be mapped");
	if (!takes_over)
		set_up_guest();
	if (!machine_init())
		stop_crash("the guest's devices cannot be set up");
	if (takes_over)
		servicing_restore_machine();
	boot_reached(BOOT_DEVICES);
	if (!vmbus_init(&config))
		stop_crash("the guest's VMBus cannot be set up");
	if (takes_over)
		servicing_restore_vmbus();
	if (hostlink_start(on_message, vmbus_receive) && !takes_over) {
		vmbus_connect();
		hostlink_post(HOSTLINK_TIME, 0, NULL, 0);
		/* hands out the first console credit */
		machine_flush();
	}
	boot_reached(BOOT_VMBUS);
	if (takes_over)
		held = servicing_restore_vps(&config);
	else
		inspection_start(&config, NULL, false); /* the guest runs without it, too */
	if (!vp_start_all(&config, takes_over ? NULL : &plan, held))
		stop_crash("virtual processors cannot be started");
	if (takes_over) {
		servicing_done(&pending);
		inspection_start(&config, &pending, held);
	}
	for (;;)
		pause();
}
