/* What one paravisor process leaves to the next, but for chipset and VMBus (they have their own).
 */
#include <stdlib.h>

#include "paravisor/boot.h"
#include "paravisor/console.h"
#include "paravisor/servicing/state.h"
#include "paravisor/stats.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static const u8 data_of_all[300] = "some console data";

static void use_console(struct pb_bytes state)
{
	struct console console;
	u8 out[CONSOLE_OUT_SIZE];
	size_t n;

	console_init(&console);
	if (!console_restore(&console, state))
		return;
	console_write(&console, data_of_all, sizeof(data_of_all), 1);
	console_input(&console, data_of_all, sizeof(data_of_all));
	while (console_take(&console, out, 100))
		;
	while (console_peek(&console, &n), n)
		console_consume(&console, n);
	console_take_credit(&console);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct servicing_handover handover;
	struct pb_bytes unit;
	struct vp_stats stats;

	if (!servicing_get_handover((struct pb_bytes){data, size}, &handover))
		return 0;
	if (handover.listener < -1 || handover.client < -1)
		abort();
	if (servicing_find(handover.state, "boot", &unit))
		boot_restore(unit);
	if (servicing_find(handover.state, "chipset", &unit))
		use_console(unit);
	if (servicing_find(handover.state, "vps", &unit) && saved_read(unit, &stats_layout, &stats))
		stats_count_hypercall(&stats, 0x5c);
	return 0;
}
