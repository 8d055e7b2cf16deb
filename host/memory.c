#include "host/memory.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/abi/hv.h"
#include "common/log.h"

#define HUGE_PAGE (2 * MiB)

/* One memslot covers less than 8 TiB. */
#define MAX_ADDRESS BIT(43)
#define MAX_RAM	    BIT(42)

static void add_ram(struct guest_memory *m, u64 gpa, u64 size, enum ram_kind kind)
{
	if (!size)
		return;
	m->ram[m->ram_count++] = (struct ram_range){gpa, size, m->bytes, kind};
	m->bytes += size;
}

int memory_plan(struct guest_memory *m, u64 vtl0_bytes, u64 vtl2_bytes, u64 vtl2_align,
		u64 vtl2_min)
{
	u64 low = MIN(vtl0_bytes, LOW_RAM_LIMIT);
	u64 high_end = HIGH_BASE + (vtl0_bytes - low);

	memset(m, 0, sizeof(*m));
	m->fd = -1;
	/* So far below 2^64 that no sum here can wrap. */
	if (vtl0_bytes > MAX_RAM || vtl2_bytes > MAX_RAM || !vtl2_bytes || vtl2_align > MAX_RAM ||
	    vtl2_min > MAX_ADDRESS || !vtl2_align || vtl2_align & (vtl2_align - 1) ||
	    !IS_ALIGNED(vtl0_bytes | vtl2_bytes | vtl2_align, PAGE_SIZE))
		return -1;
	add_ram(m, 0, low, RAM_VTL0);
	add_ram(m, HIGH_BASE, vtl0_bytes - low, RAM_VTL0);
	m->high_mmio = ALIGN_UP(high_end, 512 * MiB);
	m->vtl2_mmio = m->high_mmio + HIGH_MMIO_SIZE;
	m->vtl2_base = ALIGN_UP(MAX(m->vtl2_mmio + VTL2_MMIO_SIZE, vtl2_min), vtl2_align);
	m->vtl2_size = vtl2_bytes;
	add_ram(m, m->vtl2_base, vtl2_bytes, RAM_VTL2);
	m->address_bits = 36; /* the least that x86-64 processors have */
	while (m->vtl2_base + vtl2_bytes > BIT(m->address_bits))
		m->address_bits++;
	return m->vtl2_base + vtl2_bytes <= MAX_ADDRESS ? 0 : -1;
}

/*
 * Maps the memfd so that huge pages are possible: a guest of 4 KiB pages takes more than twice as
 * long to boot under nested paging. The kernel grants them to shared memory where
 * /sys/kernel/mm/transparent_hugepage/shmem_enabled says advise or always.
 */
static void *map_view(int fd, u64 bytes)
{
	u8 *space, *view;

	space = mmap(NULL, bytes + HUGE_PAGE, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (space == MAP_FAILED)
		return space;
	view = (u8 *)(uintptr_t)ALIGN_UP((uintptr_t)space, HUGE_PAGE);
	if (view > space)
		munmap(space, (size_t)(view - space));
	munmap(view + bytes, (size_t)(space + HUGE_PAGE - view));
	space = mmap(view, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED,
		     fd, 0);
	if (space == MAP_FAILED)
		munmap(view, bytes);
	else
		madvise(view, bytes, MADV_HUGEPAGE);
	return space;
}

int memory_create(struct guest_memory *m, u64 vtl0_bytes, u64 vtl2_bytes, u64 vtl2_align,
		  u64 vtl2_min)
{
	int ret = memory_plan(m, vtl0_bytes, vtl2_bytes, vtl2_align, vtl2_min);

	m->view0 = m->view2 = m->hole = MAP_FAILED;
	if (ret) {
		log_error("no place for %llu MiB of VTL2 memory",
			  (unsigned long long)(vtl2_bytes / MiB));
		return -1;
	}
	m->fd = memfd_create("parapet-guest", MFD_CLOEXEC);
	if (m->fd < 0 || ftruncate(m->fd, (off_t)m->bytes)) {
		log_error("cannot create %llu MiB of guest memory: %s",
			  (unsigned long long)(m->bytes / MiB), strerror(errno));
		return -1;
	}
	m->view2 = map_view(m->fd, m->bytes);
	m->view0 = map_view(m->fd, m->bytes);
	m->hole_size = BIT(m->address_bits);
	m->hole = mmap(NULL, m->hole_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		       -1, 0);
	m->denied = mmap(NULL, m->bytes / PAGE_SIZE + 1, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m->view2 == MAP_FAILED || m->view0 == MAP_FAILED || m->hole == MAP_FAILED ||
	    m->denied == MAP_FAILED) {
		log_error("cannot map %llu MiB of guest memory: %s",
			  (unsigned long long)(m->bytes / MiB), strerror(errno));
		return -1;
	}
	/* VTL2's RAM is out of VTL0's reach from the first instruction on, whatever VTL2 asks. */
	if (!memory_protect_range(m, m->vtl2_base, m->vtl2_size / PAGE_SIZE, 0))
		return 0;
	log_error("cannot keep the guest out of VTL2's memory");
	return -1;
}

void memory_destroy(struct guest_memory *m)
{
	if (m->view2 && m->view2 != MAP_FAILED)
		munmap(m->view2, m->bytes);
	if (m->view0 && m->view0 != MAP_FAILED)
		munmap(m->view0, m->bytes);
	if (m->hole && m->hole != MAP_FAILED)
		munmap(m->hole, m->hole_size);
	if (m->denied && (void *)m->denied != MAP_FAILED)
		munmap(m->denied, m->bytes / PAGE_SIZE + 1);
	if (m->fd >= 0)
		close(m->fd);
	memset(m, 0, sizeof(*m));
	m->fd = -1;
}

static int add_slot(int vm_fd, unsigned slot, u64 gpa, u64 size, void *host)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (u64)(uintptr_t)host,
	};

	if (ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &region)) {
		log_error("KVM_SET_USER_MEMORY_REGION %#llx+%#llx: %s", (unsigned long long)gpa,
			  (unsigned long long)size, strerror(errno));
		return -1;
	}
	return 0;
}

/*
 * Covers [from, to) with PROT_NONE slots, except what KVM answers or uses itself. An access there
 * ends as KVM_EXIT_MMIO when KVM does neither.
 */
static int add_hole(struct guest_memory *m, int vm_fd, unsigned *slot, u64 from, u64 to)
{
	static const struct {
		u64 start, end;
	} of_kvm[] = {{APIC_PAGE, APIC_PAGE + PAGE_SIZE}, {KVM_IDENTITY_PAGE, KVM_PRIVATE_END}};

	for (size_t i = 0; i < ARRAY_SIZE(of_kvm); i++) {
		if (from >= of_kvm[i].start || to <= of_kvm[i].start)
			continue;
		if (add_hole(m, vm_fd, slot, from, of_kvm[i].start))
			return -1;
		from = of_kvm[i].end;
	}
	if (from >= to)
		return 0;
	return add_slot(vm_fd, (*slot)++, from, to - from, (u8 *)m->hole + from);
}

int memory_add_slots(struct guest_memory *m, int vm_fd, bool lower)
{
	unsigned slot = 0;
	u64 end = 0;

	for (unsigned i = 0; i < m->ram_count; i++) {
		const struct ram_range *r = &m->ram[i];

		if (lower && add_hole(m, vm_fd, &slot, end, r->gpa))
			return -1;
		if (add_slot(vm_fd, slot++, r->gpa, r->size,
			     (lower ? m->view0 : m->view2) + r->offset))
			return -1;
		end = r->gpa + r->size;
	}
	return lower ? add_hole(m, vm_fd, &slot, end, BIT(m->address_bits)) : 0;
}

static const struct ram_range *find(const struct guest_memory *m, u64 gpa, u64 len)
{
	for (unsigned i = 0; i < m->ram_count; i++) {
		const struct ram_range *r = &m->ram[i];

		if (gpa >= r->gpa && gpa - r->gpa < r->size && len <= r->size - (gpa - r->gpa))
			return r;
	}
	return NULL;
}

bool memory_has(const struct guest_memory *m, u64 gpa, u64 len)
{
	return find(m, gpa, len) != NULL;
}

void *memory_at(const struct guest_memory *m, u64 gpa, u64 len)
{
	const struct ram_range *r = find(m, gpa, len);

	return r ? m->view2 + r->offset + (gpa - r->gpa) : NULL;
}

void *memory_at_vtl0(const struct guest_memory *m, u64 gpa, u64 len, u8 mask)
{
	const struct ram_range *r = find(m, gpa, len);

	if (!r)
		return NULL;
	for (u64 page = ALIGN_DOWN(gpa, PAGE_SIZE); page < gpa + MAX(len, 1); page += PAGE_SIZE)
		if (m->denied[(r->offset + (page - r->gpa)) / PAGE_SIZE] & mask)
			return NULL;
	return m->view2 + r->offset + (gpa - r->gpa);
}

int memory_protect_range(struct guest_memory *m, u64 gpa, u64 pages, u8 mask)
{
	const struct ram_range *r;
	u64 offset;
	int prot;

	if (pages > m->bytes / PAGE_SIZE || !IS_ALIGNED(gpa, PAGE_SIZE))
		return -1;
	r = find(m, gpa, pages * PAGE_SIZE);
	if (!r)
		return -1;
	if (mask == HV_MAP_GPA_PERMISSIONS_ALL)
		prot = PROT_READ | PROT_WRITE;
	else if (mask == HV_MAP_GPA_READABLE)
		prot = PROT_READ;
	else if (mask == HV_MAP_GPA_PERMISSIONS_NONE)
		prot = PROT_NONE;
	else
		return -1;
	offset = r->offset + (gpa - r->gpa);
	/* VTL2 hides its own RAM page by page, which is hidden from the start. */
	if (pages == 1 && m->denied[offset / PAGE_SIZE] == (HV_MAP_GPA_PERMISSIONS_ALL & ~mask))
		return 0;
	if (mprotect(m->view0 + offset, pages * PAGE_SIZE, prot)) {
		log_debug("VTL protection of %#llx: %s", (unsigned long long)gpa, strerror(errno));
		return -1;
	}
	memset(m->denied + offset / PAGE_SIZE, HV_MAP_GPA_PERMISSIONS_ALL & ~mask, pages);
	return 0;
}

int memory_protect(struct guest_memory *m, u64 gpa, u8 mask)
{
	return memory_protect_range(m, gpa, 1, mask);
}
