/* The mshv_vtl driver: hypercalls, VP registers, entry into VTL0, SINT messages. */
#ifndef PARAPET_PARAVISOR_MSHV_H
#define PARAPET_PARAVISOR_MSHV_H

#include "common/abi/hv.h"

/*
 * Run page of one processor, shared with the driver (drivers/hv/mshv_vtl.h). Between two
 * mshv_run() calls it belongs to that processor's thread, except cancel.
 */
struct mshv_context {
	u64 rax, rcx, rdx, rbx, cr2, rbp, rsi, rdi;
	u64 r8_r15[8];
	u8 fxsave[512];
};
struct mshv_run_page {
	u32 cancel;
	u32 return_action_size;
	u32 pad[2];
	struct hv_message exit;
	union {
		struct mshv_context context;
		u8 reserved[1024];
	};
	u8 return_actions[256];
};
_Static_assert(offsetof(struct mshv_run_page, context) == 0x110, "mshv_vtl");
_Static_assert(offsetof(struct mshv_run_page, return_actions) == 0x510, "mshv_vtl");

/* Opens the driver's devices; false (and a log line) when one is missing. */
bool mshv_open(void);
/* Opens only the SINT device, for a process that just posts messages. */
bool mshv_open_sint(void);

/* Pages of a processor; NULL if the driver has none. */
struct mshv_run_page *mshv_map_run_page(u32 cpu);
struct hv_register_page *mshv_map_register_page(u32 cpu);

/*
 * Enters VTL0 on this CPU until an intercept for user space. 0: the run page's exit message is
 * new. -EINTR: cancelled or a signal.
 */
int mshv_run(void);

/* fd's wake-ups pull the CPU out of VTL0. 0 or -errno. */
int mshv_set_poll_file(u32 cpu, int fd);

/*
 * One hypercall on this CPU with the lists in memory (up to a page each). Returns the TLFS result
 * value (status in bits 15:0); a driver refusal gives all ones.
 */
u64 mshv_hypercall(u64 control, const void *in, size_t in_size, void *out, size_t out_size);

#define MSHV_REGISTERS_MAX 64
/*
 * VP registers of this CPU, of VTL0 (vtl HV_INPUT_VTL0) or our own (0). Fills or uses
 * reg[].value. 0 or the first bad hypervisor status.
 */
int mshv_get_registers(u8 vtl, struct hv_register_assoc *reg, size_t count);
int mshv_set_registers(u8 vtl, const struct hv_register_assoc *reg, size_t count);
int mshv_set_register(u8 vtl, u32 name, u64 low, u64 high);
/* The same for what the processor shares between VTLs: DR0..3, MTRRs. 0 or -errno. */
int mshv_set_shared_register(u32 name, u64 value);

/* Maps [gpa, gpa + size) of physical memory at address at (fixed). false on failure. */
bool mshv_map_physical(void *at, u64 gpa, u64 size);

/* Posts a message: 0, a positive hypervisor status, or -errno. */
int mshv_post_message(u32 connection, u32 type, const void *payload, size_t size);
/*
 * The message stream of SINT 7: starts it; takes a message, -EAGAIN if there is none; waits for
 * one. 0 or -errno.
 */
int mshv_unmask_messages(void);
int mshv_read_message(struct hv_message *message);
int mshv_wait_message(void);

#endif
