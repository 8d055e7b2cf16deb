/* The VP loop, and the state that a processor starts with. */
#include "paravisor/vp.h"

#include "common/log.h"
#include "paravisor/boot.h"
#include "paravisor/hostlink.h"
#include "paravisor/intercept.h"
#include "paravisor/machine.h"
#include "paravisor/stop.h"
#include "paravisor/thread.h"

#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define FCW_RESET	0x0040
#define MXCSR_RESET	0x1f80
#define FXSAVE_FCW	0
#define FXSAVE_MXCSR	24
#define MTRR_ENABLED_WB 0x806 /* MTRRs on, fixed ranges off, default write-back */

static struct vp vps[CONFIG_MAX_VPS];
static u32 vp_count;
static const struct linux_boot_plan *boot_plan;
static pthread_barrier_t all_ready;
static __thread const struct vp *this_vp; /* NULL on other threads */

static const struct saved_field fields[] = {
	SAVED_BOOL(1, struct vp, notify_armed),
	SAVED_STRUCT(2, struct vp, stats, &stats_layout),
};
static const struct saved_layout layout = SAVED_LAYOUT(fields);
#define SAVED_VP 1 /* one per processor, in order */

const struct vp *vp_get(u32 index)
{
	return index < vp_count ? &vps[index] : NULL;
}

void vp_kick(u32 index)
{
	struct vp *vp = &vps[index];
	const u64 one = 1;

	/* wake first: the processor looks at it after it has cleared cancel */
	__atomic_store_n(&vp->wake, 1, __ATOMIC_SEQ_CST);
	if (vp != this_vp && vp->kick_fd > 0 && write(vp->kick_fd, &one, sizeof(one)) < 0)
		log_warn("kick VP %u: %s", index, strerror(errno));
}

/* ---- before the first entry ---- */

static void init_context(struct vp *vp)
{
	struct mshv_context *context = &vp->run->context;
	u32 eax = 0, ebx, ecx, edx;

	__get_cpuid(1, &eax, &ebx, &ecx, &edx);
	memset(context, 0, sizeof(*context));
	context->rdx = eax; /* processor signature, as after reset */
	context->fxsave[FXSAVE_FCW] = FCW_RESET;
	context->fxsave[FXSAVE_MXCSR] = MXCSR_RESET & 0xff;
	context->fxsave[FXSAVE_MXCSR + 1] = MXCSR_RESET >> 8;
}

static void init_boot_processor(struct vp *vp)
{
	struct hv_register_assoc reg[LINUX_BOOT_REGISTERS];
	size_t count = linux_boot_registers(boot_plan, reg);
	int status = mshv_set_registers(HV_INPUT_VTL0, reg, count);

	if (status)
		stop_crash("set the guest's initial registers: hypervisor status %#x", status);
	vp->run->context.rsi = BOOT_ZERO_PAGE;
}

/* Registers are addressed as "this VP's": the thread must be where it thinks it is. */
static void check_place(const struct vp *vp)
{
	struct hv_register_assoc self = {.name = HV_REG_VP_INDEX};

	if (!mshv_get_registers(0, &self, 1) && self.value.low != vp->index)
		stop_crash("CPU %u is VP %llu", vp->index, (unsigned long long)self.value.low);
}

static void init_processor(struct vp *vp)
{
	int status;

	init_context(vp);
	/* like firmware would; without it the guest takes all memory for uncached */
	status = mshv_set_register(HV_INPUT_VTL0, HV_REG_MTRR_DEF_TYPE, MTRR_ENABLED_WB, 0);
	if (status)
		mshv_set_shared_register(HV_REG_MTRR_DEF_TYPE, MTRR_ENABLED_WB);
	if (vp->index == 0) {
		init_boot_processor(vp);
		return;
	}
	status = mshv_set_register(HV_INPUT_VTL0, HV_REG_INTERNAL_ACTIVITY_STATE,
				   HV_ACTIVITY_STARTUP_SUSPEND, 0);
	if (status)
		stop_crash("hold VP %u for its startup interrupt: hypervisor status %#x", vp->index,
			   status);
}

/* ---- loop ---- */

#define PAUSE_SECONDS 5

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool wanted;
	u32 held; /* processors */
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Waits where a pause wants it. */
static void pass_gate(void)
{
	pthread_mutex_lock(&gate.lock);
	if (gate.wanted) {
		gate.held++;
		pthread_cond_broadcast(&gate.changed);
		while (gate.wanted)
			pthread_cond_wait(&gate.changed, &gate.lock);
		gate.held--;
	}
	pthread_mutex_unlock(&gate.lock);
}

void vp_resume_all(void)
{
	pthread_mutex_lock(&gate.lock);
	gate.wanted = false;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
}

bool vp_pause_all(void)
{
	u32 count = __atomic_load_n(&vp_count, __ATOMIC_ACQUIRE);
	struct timespec end;
	bool all;

	/* diagnostics answer earlier, and nobody could be held yet */
	if (!count)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += PAUSE_SECONDS;
	pthread_mutex_lock(&gate.lock);
	gate.wanted = true;
	pthread_mutex_unlock(&gate.lock);
	for (u32 i = 0; i < count; i++)
		vp_kick(i);
	pthread_mutex_lock(&gate.lock);
	while (gate.held < count && !pthread_cond_timedwait(&gate.changed, &gate.lock, &end))
		;
	all = gate.held == count;
	pthread_mutex_unlock(&gate.lock);
	if (!all)
		vp_resume_all();
	return all;
}

static void do_work(struct vp *vp)
{
	pass_gate();
	if (vp->index == 0)
		intercept_offer_pic(vp);
}

static void *vp_loop(void *arg)
{
	struct vp *vp = arg;

	this_vp = vp;
	if (!thread_pin(vp->index))
		stop_crash("VP %u: cannot be bound to its CPU", vp->index);
	check_place(vp);
	if (boot_plan)
		init_processor(vp);
	pthread_barrier_wait(&all_ready);
	if (boot_plan && vp->index == 0) {
		boot_reached(BOOT_PROCESSORS);
		log_info("%u processors ready, entering the guest", vp_count);
		hostlink_post(HOSTLINK_MARK, HOSTLINK_MARK_PARAVISOR, NULL, 0);
		boot_reached(BOOT_GUEST_ENTRY);
	}
	for (;;) {
		int result;

		if (__atomic_load_n(&vp->wake, __ATOMIC_RELAXED)) {
			__atomic_store_n(&vp->wake, 0, __ATOMIC_SEQ_CST);
			do_work(vp);
		}
		vp->stats.runs++;
		result = mshv_run();
		if (result == 0) {
			intercept_dispatch(vp);
		} else if (result == -EINTR) {
			/* cleared before wake is looked at, or a kick in between would be lost */
			__atomic_store_n(&vp->run->cancel, 0, __ATOMIC_SEQ_CST);
			vp->stats.cancelled++;
		} else {
			stop_crash("VP %u: enter VTL0: %s", vp->index, strerror(-result));
		}
	}
	return NULL;
}

static bool prepare(struct vp *vp, u32 index)
{
	int result;

	vp->index = index;
	vp->run = mshv_map_run_page(index);
	vp->page = mshv_map_register_page(index);
	vp->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!vp->run || vp->kick_fd < 0) {
		log_error("VP %u: run page or eventfd: %s", index, strerror(errno));
		return false;
	}
	result = mshv_set_poll_file(index, vp->kick_fd);
	if (result)
		log_error("VP %u: poll file: %s", index, strerror(-result));
	return !result;
}

bool vp_start_all(const struct config *config, const struct linux_boot_plan *plan, bool held)
{
	pthread_condattr_t monotonic;

	boot_plan = plan;
	/* a wall clock that is set must not make a pause longer */
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&gate.changed, &monotonic);
	gate.wanted = held;
	/* from here on they can be paused */
	__atomic_store_n(&vp_count, config->vp_count, __ATOMIC_RELEASE);
	pthread_barrier_init(&all_ready, NULL, vp_count + 1);
	for (u32 i = 0; i < vp_count; i++) {
		if (!prepare(&vps[i], i))
			return false;
	}
	for (u32 i = vp_count; i-- > 0;) {
		if (!thread_start("vp", THREAD_VP, vp_loop, &vps[i]))
			return false;
	}
	pthread_barrier_wait(&all_ready);
	return true;
}

void vp_save(struct pb_writer *out)
{
	for (u32 i = 0; i < vp_count; i++)
		saved_put(out, SAVED_VP, &layout, &vps[i]);
}

bool vp_restore(const struct config *config, struct pb_bytes state)
{
	struct pb_reader r;
	struct pb_field f;
	u32 count = 0;

	pb_reader_init(&r, state);
	while (pb_next(&r, &f)) {
		if (!pb_is(&r, &f, SAVED_VP, PB_BYTES))
			continue;
		if (count == config->vp_count || !saved_read(f.bytes, &layout, &vps[count]))
			return false;
		/* looks for work first: a pause, an interrupt of the PIC */
		vps[count++].wake = 1;
	}
	return !r.failed && count == config->vp_count;
}
