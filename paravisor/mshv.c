/* Thin wrapper of the upstream mshv_vtl driver (include/uapi/linux/mshv.h). */
#include "paravisor/mshv.h"

#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/mshv.h>

static int vtl_fd = -1, hvcall_fd = -1, low_fd = -1, sint_fd = -1;
static bool has_register_page;

/* mmap offset of a VTL file: kind << 16 | CPU, in pages */
#define PAGE_KIND_RUN	   0u
#define PAGE_KIND_REGISTER 1u

/* musl's ioctl takes an int, where the kernel's numbers do not fit by value */
static int device_ioctl(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, (int)request, arg);
}

static int open_device(const char *path, int flags)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | flags);

	if (fd < 0)
		log_error("%s: %s", path, strerror(errno));
	return fd;
}

bool mshv_open_sint(void)
{
	sint_fd = open_device("/dev/mshv_sint", O_NONBLOCK);
	return sint_fd >= 0;
}

static bool setup_hypercalls(void)
{
	static const u16 used[] = {
		HV_CALL_MODIFY_VTL_PROTECTION_MASK, HV_CALL_INSTALL_INTERCEPT,
		HV_CALL_GET_VP_REGISTERS,	    HV_CALL_SET_VP_REGISTERS,
		HV_CALL_ASSERT_VIRTUAL_INTERRUPT,   HV_CALL_POST_MESSAGE_DIRECT,
		HV_CALL_SIGNAL_EVENT_DIRECT,
	};
	u8 bitmap[32] = {0};
	struct mshv_vtl_hvcall_setup setup = {
		.bitmap_array_size = sizeof(bitmap),
		.allow_bitmap_ptr = (uintptr_t)bitmap,
	};

	for (size_t i = 0; i < ARRAY_SIZE(used); i++)
		bitmap[used[i] / 8] |= (u8)(1 << used[i] % 8);
	if (device_ioctl(hvcall_fd, MSHV_HVCALL_SETUP, &setup) == 0)
		return true;
	log_error("MSHV_HVCALL_SETUP: %s", strerror(errno));
	return false;
}

bool mshv_open(void)
{
	u32 capability = MSHV_CAP_REGISTER_PAGE;
	int fd = open_device("/dev/mshv", 0);

	if (fd < 0)
		return false;
	vtl_fd = device_ioctl(fd, MSHV_CREATE_VTL, NULL);
	if (vtl_fd < 0)
		log_error("MSHV_CREATE_VTL: %s", strerror(errno));
	has_register_page = device_ioctl(fd, MSHV_CHECK_EXTENSION, &capability) == 1;
	close(fd);
	hvcall_fd = open_device("/dev/mshv_hvcall", 0);
	low_fd = open_device("/dev/mshv_vtl_low", 0);
	if (vtl_fd < 0 || hvcall_fd < 0 || low_fd < 0 || !mshv_open_sint())
		return false;
	return setup_hypercalls();
}

static void *map_vtl_page(u32 kind, u32 cpu)
{
	void *p = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, vtl_fd,
		       (off_t)(kind << 16 | cpu) * PAGE_SIZE);

	return p == MAP_FAILED ? NULL : p;
}

struct mshv_run_page *mshv_map_run_page(u32 cpu)
{
	return map_vtl_page(PAGE_KIND_RUN, cpu);
}

struct hv_register_page *mshv_map_register_page(u32 cpu)
{
	/* touching a page that the driver does not have raises SIGBUS */
	return has_register_page ? map_vtl_page(PAGE_KIND_REGISTER, cpu) : NULL;
}

int mshv_run(void)
{
	return device_ioctl(vtl_fd, MSHV_RETURN_TO_LOWER_VTL, NULL) == 0 ? 0 : -errno;
}

int mshv_set_poll_file(u32 cpu, int fd)
{
	struct mshv_vtl_set_poll_file arg = {.cpu = cpu, .fd = (u32)fd};

	return device_ioctl(vtl_fd, MSHV_SET_POLL_FILE, &arg) == 0 ? 0 : -errno;
}

u64 mshv_hypercall(u64 control, const void *in, size_t in_size, void *out, size_t out_size)
{
	struct mshv_vtl_hvcall call = {
		.control = control,
		.input_size = in_size,
		.input_ptr = (uintptr_t)in,
		.output_size = out_size,
		.output_ptr = (uintptr_t)out,
	};

	return device_ioctl(hvcall_fd, MSHV_HVCALL, &call) == 0 ? call.status : UINT64_MAX;
}

static void fill_header(struct hv_vp_registers_header *header, u8 vtl)
{
	*header = (struct hv_vp_registers_header){
		.partition_id = HV_PARTITION_ID_SELF,
		.vp_index = HV_VP_INDEX_SELF,
		.input_vtl = vtl,
	};
}

int mshv_get_registers(u8 vtl, struct hv_register_assoc *reg, size_t count)
{
	struct {
		struct hv_vp_registers_header header;
		u32 name[MSHV_REGISTERS_MAX];
	} in;
	struct hv_register_value out[MSHV_REGISTERS_MAX];
	u64 result;

	if (count > MSHV_REGISTERS_MAX)
		return HV_STATUS_INVALID_PARAMETER;
	fill_header(&in.header, vtl);
	for (size_t i = 0; i < count; i++)
		in.name[i] = reg[i].name;
	result = mshv_hypercall(HV_CALL_GET_VP_REGISTERS | (u64)count << 32, &in,
				sizeof(in.header) + count * sizeof(u32), out,
				count * sizeof(out[0]));
	if ((u16)result)
		return (u16)result;
	for (size_t i = 0; i < count; i++)
		reg[i].value = out[i];
	return 0;
}

int mshv_set_registers(u8 vtl, const struct hv_register_assoc *reg, size_t count)
{
	struct {
		struct hv_vp_registers_header header;
		struct hv_register_assoc reg[MSHV_REGISTERS_MAX];
	} in;

	if (count > MSHV_REGISTERS_MAX)
		return HV_STATUS_INVALID_PARAMETER;
	fill_header(&in.header, vtl);
	memcpy(in.reg, reg, count * sizeof(*reg));
	return (u16)mshv_hypercall(HV_CALL_SET_VP_REGISTERS | (u64)count << 32, &in,
				   sizeof(in.header) + count * sizeof(*reg), NULL, 0);
}

int mshv_set_register(u8 vtl, u32 name, u64 low, u64 high)
{
	struct hv_register_assoc reg = {.name = name, .value = {low, high}};

	return mshv_set_registers(vtl, &reg, 1);
}

int mshv_set_shared_register(u32 name, u64 value)
{
	struct hv_register_assoc reg = {.name = name, .value = {.low = value}};
	struct mshv_vp_registers arg = {.count = 1, .regs_ptr = (uintptr_t)&reg};

	return device_ioctl(vtl_fd, MSHV_SET_VP_REGISTERS, &arg) == 0 ? 0 : -errno;
}

bool mshv_map_physical(void *at, u64 gpa, u64 size)
{
	return mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, low_fd, (off_t)gpa) !=
	       MAP_FAILED;
}

int mshv_post_message(u32 connection, u32 type, const void *payload, size_t size)
{
	struct mshv_vtl_sint_post_msg arg = {
		.message_type = type,
		.connection_id = connection,
		.payload_size = (u32)size,
		.payload_ptr = (uintptr_t)payload,
	};
	int result = device_ioctl(sint_fd, MSHV_SINT_POST_MESSAGE, &arg);

	return result < 0 ? -errno : result;
}

int mshv_unmask_messages(void)
{
	struct mshv_sint_mask mask = {.mask = 0};

	return device_ioctl(sint_fd, MSHV_SINT_PAUSE_MESSAGE_STREAM, &mask) == 0 ? 0 : -errno;
}

int mshv_read_message(struct hv_message *message)
{
	ssize_t n = read(sint_fd, message, sizeof(*message));

	if (n < 0)
		return -errno;
	return n == (ssize_t)sizeof(*message) ? 0 : -EIO;
}

int mshv_wait_message(void)
{
	struct pollfd polled = {.fd = sint_fd, .events = POLLIN};

	return poll(&polled, 1, -1) < 0 ? -errno : 0;
}
