/*
 * What a bare KVM exit costs on this machine: a guest of a few instructions, no device model.
 * Prints "BENCH kvm_user_exit_per_s N" (port read answered by this program) and
 * "BENCH kvm_kernel_exit_per_s N" (CPUID, answered in the kernel).
 *
 * usage: kvm_exit COUNT
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/clock.h"

#define ROUNDS	   5
#define READ_LOOP  0x1000
#define CPUID_LOOP 0x1100
#define PORT	   0x3ff
#define PORT_DONE  0x10

/* 16-bit code. Port reads for ever; and: EBP times CPUID, then one read of PORT_DONE, again. */
static const uint8_t read_loop[] = {
	0xba, PORT & 0xff, PORT >> 8, /* mov dx, PORT */
	0xec,			      /* in al, dx */
	0xeb, 0xfd,		      /* jmp to the in */
};
static const uint8_t cpuid_loop[] = {
	0x66, 0x31,	 0xc0, /* xor eax, eax */
	0x0f, 0xa2,	       /* cpuid */
	0x66, 0x4d,	       /* dec ebp */
	0x75, 0xf7,	       /* jnz to the xor */
	0xe4, PORT_DONE,       /* in al, PORT_DONE */
	0xf4,		       /* hlt */
};

static double seconds(void)
{
	return (double)monotonic_ns() / 1e9;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* Runs until the guest's next port access. */
static void to_port(int vcpu, const struct kvm_run *run)
{
	if (ioctl(vcpu, KVM_RUN, 0))
		fail("KVM_RUN");
	if (run->exit_reason != KVM_EXIT_IO) {
		fprintf(stderr, "unexpected exit reason %u\n", run->exit_reason);
		exit(1);
	}
}

static void set_start(int vcpu, uint64_t rip, uint64_t count)
{
	struct kvm_regs regs = {.rip = rip, .rbp = count, .rflags = 2};

	if (ioctl(vcpu, KVM_SET_REGS, &regs))
		fail("KVM_SET_REGS");
}

int main(int argc, char **argv)
{
	unsigned count = argc > 1 ? (unsigned)atoi(argv[1]) : 5000;
	int kvm = open("/dev/kvm", O_RDWR), vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
	struct kvm_userspace_memory_region region = {.memory_size = 0x10000};
	struct kvm_sregs sregs;
	struct kvm_run *run;
	uint8_t *ram;
	int vcpu;

	if (vm < 0)
		fail("/dev/kvm");
	ram = mmap(NULL, region.memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		   -1, 0);
	if (ram == MAP_FAILED)
		fail("mmap");
	memcpy(ram + READ_LOOP, read_loop, sizeof(read_loop));
	memcpy(ram + CPUID_LOOP, cpuid_loop, sizeof(cpuid_loop));
	region.userspace_addr = (uintptr_t)ram;
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0 || ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
		fail("VM");
	run = mmap(NULL, (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
		   MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED || ioctl(vcpu, KVM_GET_SREGS, &sregs))
		fail("vCPU");
	sregs.cs.base = sregs.cs.selector = 0;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs))
		fail("KVM_SET_SREGS");

	set_start(vcpu, READ_LOOP, 0);
	to_port(vcpu, run);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		double start = seconds();

		for (unsigned i = 0; i < count; i++)
			to_port(vcpu, run);
		printf("BENCH kvm_user_exit_per_s %.1f\n", count / (seconds() - start));
	}
	/* completes the pending read before the registers are set */
	run->immediate_exit = 1;
	ioctl(vcpu, KVM_RUN, 0);
	run->immediate_exit = 0;
	for (unsigned round = 0; round < ROUNDS; round++) {
		double start;

		set_start(vcpu, CPUID_LOOP, count);
		start = seconds();
		to_port(vcpu, run);
		printf("BENCH kvm_kernel_exit_per_s %.1f\n", count / (seconds() - start));
		run->immediate_exit = 1;
		ioctl(vcpu, KVM_RUN, 0);
		run->immediate_exit = 0;
	}
	return 0;
}
