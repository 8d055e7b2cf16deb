#include "host/crash_report.h"

#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "host/regs.h"

/* Reports of one life that are logged; a guest may go on and on. */
#define REPORTS_MAX 16

static void end_or_go_on(struct vm *vm, const char *text)
{
	unsigned before;

	if (!vm->config->crash_continues) {
		vm_end(vm, VM_GUEST_PANIC, "%s", text);
		return;
	}
	before = atomic_fetch_add(&vm->guest_crashes, 1);
	if (before < REPORTS_MAX)
		log_lines(LOG_ERROR, text);
	else if (before == REPORTS_MAX)
		log_warn("more crash reports of the guest are not shown");
}

/* Copies the message of a report: printable characters and line ends of at most one page. */
static void copy_message(struct vp *vp, enum vtl vtl, char text[PAGE_SIZE + 1])
{
	const u64 *p = vp->vtl[vtl].crash;
	const struct guest_memory *mem = &vp->vm->mem;
	size_t len = MIN(p[4], (u64)PAGE_SIZE);
	const void *from = vtl == VTL2 ? memory_at(mem, p[3], len)
				       : memory_at_vtl0(mem, p[3], len, HV_MAP_GPA_READABLE);

	if (!from)
		len = 0;
	else
		memcpy(text, from, len);
	text[len] = 0;
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
			*c = *c == '\n' || *c == '\t' ? *c : '.';
	len = strlen(text);
	while (len && text[len - 1] == '\n')
		text[--len] = 0;
}

void crash_report_msrs(struct vp *vp, enum vtl vtl, u64 ctl)
{
	const u64 *p = vp->vtl[vtl].crash;
	char message[PAGE_SIZE + 1] = "", regs[1024] = "", text[VM_OUTCOME_TEXT];

	if (ctl & HV_CRASH_CTL_MESSAGE)
		copy_message(vp, vtl, message);
	if (vtl == VTL2) {
		regs_fetch_sregs(vp, VTL2);
		regs_format(vp, VTL2, regs, sizeof(regs));
	}
	snprintf(text, sizeof(text),
		 "%s crash on VP %u: P0 %#llx P1 %#llx P2 %#llx P3 %#llx P4 %#llx%s%s%s%s",
		 vtl == VTL0 ? "guest" : "VTL2", vp->index, (unsigned long long)p[0],
		 (unsigned long long)p[1], (unsigned long long)p[2], (unsigned long long)p[3],
		 (unsigned long long)p[4], *regs ? "\n" : "", regs, *message ? "\n" : "", message);
	if (vtl == VTL0)
		end_or_go_on(vp->vm, text);
	else
		vm_end(vp->vm, VM_PARAVISOR_FAILED, "%s", text);
}

void crash_report_guest(struct vm *vm, const char *how)
{
	char text[HV_MESSAGE_PAYLOAD_SIZE + 32];

	snprintf(text, sizeof(text), "guest panic: %s", how);
	end_or_go_on(vm, text);
}
