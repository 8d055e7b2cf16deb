/* Registers of a stopped processor, wherever they are kept: run page, register page, hypervisor. */
#ifndef PARAPET_PARAVISOR_VP_REGS_H
#define PARAPET_PARAVISOR_VP_REGS_H

#include "paravisor/vp.h"
#include "vtl2-devices/x86emu/x86emu.h"

/* On vp's thread, between two runs. A hypervisor that refuses ends the partition. */

void vp_set_rip(struct vp *vp, u64 rip);

/* The whole state for the instruction emulator, and back what it may have changed. */
void vp_load_cpu(struct vp *vp, struct x86_cpu *cpu);
void vp_store_cpu(struct vp *vp, const struct x86_cpu *cpu);

/* Delivers an exception or a PIC vector at the next entry. */
void vp_inject(struct vp *vp, u8 vector, bool has_error, u32 error, u64 cr2);
void vp_inject_external(struct vp *vp, u8 vector);

/* Asks for an InterruptionDeliverable message. */
void vp_request_deliverable(struct vp *vp);

/* All registers as lines of text, for a report. */
void vp_print_registers(struct vp *vp, char *text, size_t size);

#endif
