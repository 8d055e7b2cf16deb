/* End of the shim with a reason. */
#include "loader/panic.h"

#include "common/abi/hv.h"
#include "loader/cpu.h"
#include "loader/format.h"
#include "loader/log.h"

/* Crash parameters 0 and 1: who crashed, as OpenHCL's shim names itself */
#define CRASH_BOOTSHIM 0x4d494853544f4f42ull /* "BOOTSHIM" as memory bytes */
#define CRASH_OHCLBOOT 0x4f48434c424f4f54ull /* "OHCLBOOT" read as a number */
#define CRASH_PRE_OS   (5ull << 58)
#define CRASH_NO_DUMP  BIT(61)

static bool crash_msrs, port_io;
static char reason[256];

void panic_allow(bool msrs, bool ports)
{
	crash_msrs = msrs;
	port_io = ports;
}

static void report(size_t length)
{
	wrmsr(HV_MSR_CRASH_P0, CRASH_BOOTSHIM);
	wrmsr(HV_MSR_CRASH_P0 + 1, CRASH_OHCLBOOT);
	wrmsr(HV_MSR_CRASH_P0 + 2, ~0ull);
	wrmsr(HV_MSR_CRASH_P0 + 3, (u64)(uintptr_t)reason);
	wrmsr(HV_MSR_CRASH_P4, length);
	wrmsr(HV_MSR_CRASH_CTL,
	      CRASH_PRE_OS | CRASH_NO_DUMP | HV_CRASH_CTL_MESSAGE | HV_CRASH_CTL_NOTIFY);
}

void shim_panic(const char *fmt, ...)
{
	static bool again;
	va_list ap;
	size_t length;

	/* A fault inside the panic itself: nothing is left to try. */
	if (again)
		cpu_reset();
	again = true;
	va_start(ap, fmt);
	length = shim_vformat(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	if (port_io)
		shim_log_use_serial(0);
	shim_log("shim: panic: %s", reason);
	if (crash_msrs)
		report(length);
	cpu_reset();
}
