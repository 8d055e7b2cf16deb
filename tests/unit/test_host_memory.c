/* Guest memory of the host: hostile plans and addresses, VTL protections, coverage by slots. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>

#include "tests/unit/host_fixture.h"

#define VTL2_BYTES (48 * MiB)

static int pipe_fd[2];

/* What the kernel may do with that byte of a view: 0 nothing, 1 read, 3 read and write. */
static unsigned access_of(u8 *p)
{
	u8 byte;

	if (write(pipe_fd[1], p, 1) != 1)
		return 0;
	if (read(pipe_fd[0], p, 1) == 1)
		return 3;
	assert_int_equal(read(pipe_fd[0], &byte, 1), 1);
	return 1;
}

static int setup(void **state)
{
	*state = host_fix_new(64 * MiB, 4 * MiB);
	return pipe(pipe_fd);
}

static int teardown(void **state)
{
	host_fix_free(*state);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	return 0;
}

static void plans_without_place(void **state)
{
	static const struct {
		u64 vtl0, vtl2, align, min;
	} c[] = {
		{GiB, VTL2_BYTES, 0, 0},
		{GiB, VTL2_BYTES, 3 * PAGE_SIZE, 0}, /* no power of two */
		{GiB, VTL2_BYTES, 2048, 0},
		{GiB, VTL2_BYTES, BIT(63), 0},
		{GiB, VTL2_BYTES, BIT(43), 0},
		{GiB, VTL2_BYTES, 2 * MiB, ~0ull - 2 * MiB + 1},
		{GiB, VTL2_BYTES, 2 * MiB, BIT(52)},
		{GiB, VTL2_BYTES, 2 * MiB, BIT(43)},
		{GiB, VTL2_BYTES, BIT(42), BIT(42) + PAGE_SIZE},
		{GiB, 0, 2 * MiB, 0},
		{GiB, 5, 2 * MiB, 0},
		{GiB, ~0ull - 4095, 2 * MiB, 0},
		{~0ull - 4095, VTL2_BYTES, 2 * MiB, 0},
		{GiB + 1, VTL2_BYTES, 2 * MiB, 0},
	};
	struct guest_memory m;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		if (!memory_plan(&m, c[i].vtl0, c[i].vtl2, c[i].align, c[i].min))
			fail_msg("case %zu was planned", i);
		assert_int_equal(memory_create(&m, c[i].vtl0, c[i].vtl2, c[i].align, c[i].min), -1);
		memory_destroy(&m);
		assert_int_equal(m.fd, -1);
	}
}

static void plans(void **state)
{
	static const u64 sizes[] = {64 * MiB,	GiB,	  3584 * MiB, 3586 * MiB,
				    4608 * MiB, 64 * GiB, 1024 * GiB};
	struct guest_memory m;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		u64 vtl0 = 0, end = 0, bytes = 0;

		assert_int_equal(memory_plan(&m, sizes[i], VTL2_BYTES, 2 * MiB, 0x8000000), 0);
		for (unsigned r = 0; r < m.ram_count; r++) {
			assert_true(m.ram[r].gpa >= end);
			assert_int_equal(m.ram[r].offset, bytes);
			end = m.ram[r].gpa + m.ram[r].size;
			bytes += m.ram[r].size;
			if (m.ram[r].kind == RAM_VTL0)
				vtl0 += m.ram[r].size;
		}
		assert_int_equal(vtl0, sizes[i]);
		assert_int_equal(m.bytes, bytes);
		assert_int_equal(m.ram_count, sizes[i] > LOW_RAM_LIMIT ? 3 : 2);
		assert_int_equal(m.ram[0].gpa, 0);
		assert_true(m.ram[0].size <= LOW_RAM_LIMIT);
		/* VTL2 last, behind both MMIO ranges, which overlap nothing */
		assert_int_equal(m.ram[m.ram_count - 1].kind, RAM_VTL2);
		assert_int_equal(m.ram[m.ram_count - 1].gpa, m.vtl2_base);
		assert_int_equal(m.ram[m.ram_count - 1].size, VTL2_BYTES);
		assert_true(m.high_mmio >= HIGH_BASE);
		if (m.ram_count == 3)
			assert_true(m.high_mmio >= m.ram[1].gpa + m.ram[1].size);
		assert_true(m.vtl2_mmio >= m.high_mmio + HIGH_MMIO_SIZE);
		assert_true(m.vtl2_base >= m.vtl2_mmio + VTL2_MMIO_SIZE);
		assert_true(IS_ALIGNED(m.vtl2_base, 2 * MiB));
		assert_true(end <= BIT(m.address_bits) && m.address_bits >= 36);
	}
	assert_int_equal(memory_plan(&m, 64 * MiB, VTL2_BYTES, GiB, 0x8000000), 0);
	assert_true(IS_ALIGNED(m.vtl2_base, GiB));
	assert_int_equal(memory_plan(&m, 64 * MiB, VTL2_BYTES, 2 * MiB, BIT(40)), 0);
	assert_int_equal(m.vtl2_base, BIT(40));
	assert_int_equal(m.address_bits, 41);
}

static void lookups(void **state)
{
	struct guest_memory *m = &((struct host_fix *)*state)->vm.mem;
	u64 top = 64 * MiB, vtl2 = m->vtl2_base;

	assert_ptr_equal(memory_at(m, 0, 1), m->view2);
	assert_ptr_equal(memory_at(m, 0, top), m->view2);
	assert_ptr_equal(memory_at(m, top - 1, 1), m->view2 + top - 1);
	assert_null(memory_at(m, 0, top + 1));
	assert_null(memory_at(m, top - 1, 2));
	assert_null(memory_at(m, top, 1));
	assert_null(memory_at(m, top, 0));
	assert_null(memory_at(m, APIC_PAGE, 4));
	assert_ptr_equal(memory_at(m, vtl2, 4 * MiB), m->view2 + top);
	assert_null(memory_at(m, vtl2 - 1, 2));
	assert_null(memory_at(m, vtl2, 4 * MiB + 1));
	/* sums that wrap */
	assert_null(memory_at(m, ~0ull, 1));
	assert_null(memory_at(m, ~0ull, 2));
	assert_null(memory_at(m, 1, ~0ull));
	assert_null(memory_at(m, 4096, ~0ull - 4095));
	assert_null(memory_at(m, vtl2 + 16, 0 - vtl2 - 16));
	assert_null(memory_at_vtl0(m, 1, ~0ull, HV_MAP_GPA_READABLE));
	assert_null(memory_at_vtl0(m, ~0ull, 1, HV_MAP_GPA_READABLE));
	assert_null(memory_at_vtl0(m, 16, ~0ull - 15, 0));
}

static void vtl2_memory_is_closed(void **state)
{
	struct guest_memory *m = &((struct host_fix *)*state)->vm.mem;
	u64 offset = 64 * MiB;

	for (u64 at = 0; at < 4 * MiB; at += PAGE_SIZE) {
		assert_null(memory_at_vtl0(m, m->vtl2_base + at, 1, HV_MAP_GPA_READABLE));
		assert_null(memory_at_vtl0(m, m->vtl2_base + at, 1, HV_MAP_GPA_WRITABLE));
		assert_int_equal(access_of(m->view0 + offset + at), 0);
		assert_int_equal(access_of(m->view2 + offset + at), 3);
	}
	assert_int_equal(access_of(m->view0), 3);
	assert_int_equal(access_of(m->view0 + offset - 1), 3);
}

static void protections_refused(void **state)
{
	struct guest_memory *m = &((struct host_fix *)*state)->vm.mem;
	static const u8 masks[] = {2, 3, 4, 5, 7, 8, 9, 0xd, 0xe, 0x10, 0x1f, 0xff};

	for (size_t i = 0; i < sizeof(masks); i++)
		assert_int_equal(memory_protect(m, 0x5000, masks[i]), -1);
	assert_int_equal(memory_protect(m, 64 * MiB, 0), -1);
	assert_int_equal(memory_protect(m, ~0ull << 12, 0), -1);
	assert_int_equal(memory_protect(m, 0x5001, 0), -1);
	assert_int_equal(memory_protect_range(m, 0, ~0ull, 0), -1);
	assert_int_equal(memory_protect_range(m, 0, BIT(52), 0), -1);
	assert_int_equal(memory_protect_range(m, 0x5000, 64 * MiB / PAGE_SIZE, 0), -1);
	/* across the end of the guest's memory into VTL2's */
	assert_int_equal(memory_protect_range(m, 64 * MiB - PAGE_SIZE, 2, 0xf), -1);
	assert_int_equal(access_of(m->view0 + 0x5000), 3);
	assert_int_equal(access_of(m->view0 + 64 * MiB), 0);
}

static void protections(void **state)
{
	struct guest_memory *m = &((struct host_fix *)*state)->vm.mem;

	assert_int_equal(memory_protect(m, 0x5000, HV_MAP_GPA_READABLE), 0);
	assert_int_equal(access_of(m->view0 + 0x5000), 1);
	assert_int_equal(access_of(m->view0 + 0x4fff), 3);
	assert_int_equal(access_of(m->view0 + 0x6000), 3);
	assert_int_equal(access_of(m->view2 + 0x5000), 3);
	assert_non_null(memory_at_vtl0(m, 0x5fff, 1, HV_MAP_GPA_READABLE));
	assert_null(memory_at_vtl0(m, 0x5fff, 1, HV_MAP_GPA_WRITABLE));
	/* one page in the middle closes a whole range, its neighbours stay open */
	assert_null(memory_at_vtl0(m, 0x4fff, 0x2000, HV_MAP_GPA_WRITABLE));
	assert_null(memory_at_vtl0(m, 0x4fff, 2, HV_MAP_GPA_WRITABLE));
	assert_non_null(memory_at_vtl0(m, 0x4fff, 1, HV_MAP_GPA_WRITABLE));
	assert_non_null(memory_at_vtl0(m, 0x4fff, 0x2000, HV_MAP_GPA_READABLE));
	assert_non_null(memory_at_vtl0(m, 0x6000, 1, HV_MAP_GPA_WRITABLE));
	assert_int_equal(memory_protect(m, 0x5000, 0), 0);
	assert_int_equal(access_of(m->view0 + 0x5000), 0);
	assert_null(memory_at_vtl0(m, 0x5000, 1, HV_MAP_GPA_READABLE));
	assert_non_null(memory_at(m, 0x5000, 1));
	assert_int_equal(memory_protect(m, 0x5000, 0), 0);
	assert_int_equal(memory_protect(m, 0x5000, 0xf), 0);
	assert_int_equal(access_of(m->view0 + 0x5000), 3);
	assert_int_equal(memory_protect_range(m, 0x10000, 4, 0), 0);
	assert_int_equal(access_of(m->view0 + 0xffff), 3);
	assert_int_equal(access_of(m->view0 + 0x13fff), 0);
	assert_int_equal(access_of(m->view0 + 0x14000), 3);
	/* VTL2 may share its own page, and take it back */
	assert_int_equal(memory_protect(m, m->vtl2_base, 0xf), 0);
	assert_int_equal(access_of(m->view0 + 64 * MiB), 3);
	assert_int_equal(access_of(m->view0 + 64 * MiB + PAGE_SIZE), 0);
	assert_int_equal(memory_protect(m, m->vtl2_base, 0), 0);
	assert_int_equal(access_of(m->view0 + 64 * MiB), 0);
}

static void slots_of(u64 vtl0_bytes)
{
	struct guest_memory m;
	u64 end = 0;

	assert_int_equal(memory_create(&m, vtl0_bytes, VTL2_BYTES, 2 * MiB, 0x8000000), 0);
	/* VTL0: every address below the limit is in exactly one slot, but KVM's own pages */
	fake.slots = 0;
	assert_int_equal(memory_add_slots(&m, HOST_FIX_VM_FD, true), 0);
	for (unsigned i = 0; i < fake.slots; i++) {
		const struct kvm_userspace_memory_region *s = &fake.slot[i];
		u8 *host = (u8 *)(uintptr_t)s->userspace_addr;
		bool ram = memory_at(&m, s->guest_phys_addr, s->memory_size) != NULL;

		assert_int_equal(s->slot, i);
		if (end == APIC_PAGE)
			end += PAGE_SIZE;
		if (end == 0xfffbc000) /* KVM's identity map, then three pages of its TSS */
			end += 4 * PAGE_SIZE;
		assert_int_equal(s->guest_phys_addr, end);
		end += s->memory_size;
		assert_true(end <= APIC_PAGE || s->guest_phys_addr > APIC_PAGE);
		assert_true(end <= 0xfffbc000 || s->guest_phys_addr >= 0xfffc0000);
		if (ram) {
			u64 offset = (u64)(host - m.view0);

			assert_ptr_equal(memory_at(&m, s->guest_phys_addr, 1), m.view2 + offset);
		} else {
			assert_ptr_equal(host, (u8 *)m.hole + s->guest_phys_addr);
			assert_int_equal(access_of(host), 0);
			assert_int_equal(access_of(host + s->memory_size - 1), 0);
			assert_true(end <= m.hole_size);
		}
		if (s->guest_phys_addr == m.vtl2_base)
			assert_int_equal(access_of(host), 0);
	}
	assert_int_equal(end, BIT(m.address_bits));
	/* VTL2: its view of all RAM, nothing else */
	fake.slots = 0;
	assert_int_equal(memory_add_slots(&m, HOST_FIX_VM_FD, false), 0);
	assert_int_equal(fake.slots, m.ram_count);
	for (unsigned i = 0; i < fake.slots; i++)
		assert_ptr_equal(
			(void *)(uintptr_t)fake.slot[i].userspace_addr,
			memory_at(&m, fake.slot[i].guest_phys_addr, fake.slot[i].memory_size));
	fake.refuse = true;
	assert_int_equal(memory_add_slots(&m, HOST_FIX_VM_FD, true), -1);
	fake.refuse = false;
	memory_destroy(&m);
}

static void slots(void **state)
{
	(void)state;
	slots_of(64 * MiB);
	slots_of(3584 * MiB);
	slots_of(4608 * MiB);
	slots_of(64 * GiB);
}

static void created_and_destroyed(void **state)
{
	struct guest_memory m;
	int first = -1;

	(void)state;
	for (int i = 0; i < 200; i++) {
		assert_int_equal(memory_create(&m, 64 * GiB, VTL2_BYTES, 2 * MiB, 0), 0);
		if (!i)
			first = m.fd;
		assert_int_equal(m.fd, first); /* descriptors come back */
		memory_destroy(&m);
	}
	memory_destroy(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(plans_without_place, setup, teardown),
		cmocka_unit_test_setup_teardown(plans, setup, teardown),
		cmocka_unit_test_setup_teardown(lookups, setup, teardown),
		cmocka_unit_test_setup_teardown(vtl2_memory_is_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(protections_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(protections, setup, teardown),
		cmocka_unit_test_setup_teardown(slots, setup, teardown),
		cmocka_unit_test_setup_teardown(created_and_destroyed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
