/*
 * The virtual machine that the host emulates: two KVM VMs (VTL0 and VTL2) over one memory, and per
 * virtual processor one thread that runs the vCPU of one of the two at a time.
 *
 * Locks: vm->lock guards partition-wide state (SynIC connections, protections, requests to other
 * VPs). vp->lock guards the SynIC of that VP (message queues, SINTs). Order: vm->lock, vp->lock.
 * Registers, timers and everything else in struct vp belong to the VP's own thread.
 */
#ifndef PARAPET_HOST_VM_H
#define PARAPET_HOST_VM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "common/abi/hv.h"
#include "common/types.h"
#include "host/memory.h"
#include "host/stats.h"

#define MAX_VPS 64

/* Index of a VTL in arrays of this host: Hyper-V's VTL 1 does not exist here. */
enum vtl { VTL0 = 0, VTL2 = 1, VTLS = 2 };
#define VTL_NUMBER(v) ((v) == VTL2 ? 2 : 0)

struct image;

struct stimer {
	u64 config;
	u64 count;    /* one-shot: absolute reference time; periodic: period (100 ns) */
	u64 deadline; /* reference time of the next expiry while enabled */
	u64 expired_at;
	bool message_pending; /* the slot was taken when it expired */
};

struct queued_message {
	struct queued_message *next;
	struct hv_message msg;
};

/* SynIC of one VTL of one VP. Guarded by vp->lock except the timers (VP thread only). */
struct synic {
	u64 scontrol, siefp, simp;
	u64 sint[HV_SINT_COUNT];
	struct queued_message *queue[HV_SINT_COUNT];
	unsigned queued;
	struct stimer timer[HV_STIMER_COUNT];
};

/* One VTL of one VP */
struct vtl_vp {
	int fd; /* KVM vCPU */
	struct kvm_run *run;
	struct synic synic;
	u64 assist; /* VP assist page register */
	u64 register_page;
	u64 hypercall_at;      /* page of linear addresses that has been seen to be ... */
	u64 hypercall_msr;     /* ... the hypercall page by this value; 0: none yet */
	struct kvm_xsave *fpu; /* last known content */
	atomic_bool irq_hint;  /* an interrupt was sent to this VTL since it last looked */
	u64 crash[5];
};

enum vp_request {
	VP_REQUEST_START = 1 << 0, /* load start_context[] into a VTL */
};

struct string_io {
	bool active;
	unsigned done; /* elements that VTL2 has served */
	struct kvm_regs saved;
};

struct vp {
	struct vm *vm;
	unsigned index;
	u32 apic_id;
	pthread_t thread;
	bool thread_started;
	pid_t tid;
	timer_t timer;
	bool timer_created;
	/* Reference time; all ones: not armed; 0: has fired. Written by the signal handler. */
	volatile u64 timer_armed_for;
	/* Least time to the next expiry, 100 ns: grows while timers leave a VTL no time to run */
	u64 timer_gap;

	pthread_mutex_t lock;
	atomic_int active; /* enum vtl that runs */
	atomic_uint requests;
	atomic_bool vtl2_enabled;
	atomic_bool started;
	struct hv_vp_context start_context[VTLS];
	bool start_pending[VTLS];

	struct vtl_vp vtl[VTLS];
	struct string_io string_io;
	u64 deliverable_wanted; /* HV_DELIVERABLE_* that VTL2 asked for, SINTs in 63:48 */
	bool vtl0_ran;
	bool shared_all;       /* the last VTL2 entry brought CR2 and x87/SSE state too */
	bool vtl2_fpu_unknown; /* vtl[VTL2].fpu may not be what it has */
	bool vtl2_up;	       /* VTL2 has a context */
	bool io_exit;	       /* VTL0 stopped in a port access that KVM would complete */
	u64 io_exit_rip;
	struct kvm_regs entry_regs; /* of VTL0 at its last entry */
	struct kvm_sregs entry_sregs;
	u64 fault_rip;		  /* of the last EFAULT */
	unsigned faults_in_place; /* EFAULT without an access that explains it, in a row */
	u64 pending_event[2];
	struct vp_stats stats;
};

/* What a kernel's last words fit in: one page, parameters, registers. */
#define VM_OUTCOME_TEXT 6144

enum vm_outcome {
	VM_RUNNING = 0,
	VM_POWER_OFF,
	VM_RESET,
	VM_GUEST_PANIC,
	VM_TRIPLE_FAULT,
	VM_PARAVISOR_FAILED,
	VM_HOST_FAILED,
	VM_STOPPED, /* by the user */
};

struct vm_config {
	unsigned vps;
	u64 memory_bytes;
	const struct image *image; /* checked; the same in every life of the VM */
	const char *bootargs;	   /* appended to the VTL2 command line if the image allows it */
	bool vtl2_serial;	   /* offer COM3 to VTL2 */
	bool no_intercept_page;
	bool crash_continues; /* a guest that reports its crash goes on: it may have a crash kernel
			       */
};

struct vm {
	const struct vm_config *config;
	int kvm;
	int vm_fd[VTLS];
	size_t run_size;
	struct guest_memory mem;
	struct vp *vp;
	unsigned vps, vps_created;

	u64 tsc_hz;
	u64 tsc_start; /* host TSC at guest TSC 0 */

	pthread_mutex_t lock;
	u64 guest_os_id[VTLS];
	u64 hypercall[VTLS];
	u64 reference_tsc[VTLS];
	u64 vsm_config;
	bool vsm_config_set;
	u64 io_intercept[65536 / 64][2]; /* bit per port; [0] read, [1] write */
	bool msr_intercept, eoi_intercept, synic_intercept;
	struct cpuid_overrides *vtl0_cpuid;
	bool vtl0_cpuid_fixed;
	struct {
		u32 key, address, data;
	} level_route[24];	/* MSI routes that make KVM report EOIs */
	unsigned level_vectors; /* ever routed */

	pthread_mutex_t end_lock; /* outcome */
	atomic_int outcome;	  /* enum vm_outcome */
	char outcome_text[VM_OUTCOME_TEXT];
	int outcome_event;   /* eventfd: written when outcome is set */
	struct uarts *uarts; /* that VTL2 sees */
	struct hostlink *hostlink;
	struct vmbus *vmbus;
	struct timeline *timeline;
	atomic_bool stop;
	atomic_uint guest_crashes; /* reported, with crash_continues */
	int stop_signal;	   /* that ended the VM, or 0 */
};

/* Partition reference time, 100 ns units. */
u64 vm_reference_time(const struct vm *vm);

/*
 * Ends the VM's run with `outcome`; the first caller wins. `fmt` is a line (or lines) for the user.
 * Callable from any thread.
 */
__attribute__((format(printf, 3, 4))) void vm_end(struct vm *vm, enum vm_outcome outcome,
						  const char *fmt, ...);

/*
 * Builds both KVM VMs and all VPs and loads the image. Returns 0, or -1 after an error line.
 * `vm` must be zeroed. vm_destroy() undoes it, also after a failure.
 */
int vm_create(struct vm *vm, const struct vm_config *config);
void vm_destroy(struct vm *vm);
/* Starts the VP threads. Returns 0 or -1. */
int vm_start(struct vm *vm);
/* Makes all VP threads end and joins them. */
void vm_stop(struct vm *vm);

#endif
