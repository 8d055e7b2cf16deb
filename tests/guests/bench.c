/*
 * Benchmark inside the guest: times exits to the device model, then idles.
 * Prints "BENCH-START NAME", "BENCH NAME_per_s N" per round, "BENCH-IDLE" when it goes to sleep,
 * and "BENCH-END".
 *
 * usage: bench COUNT IDLE_SECONDS     (COUNT accesses in each round; 0: only idle)
 *
 * The port is the scratch register of COM1: a device model outside the kernel serves it in Parapet
 * and in QEMU, and nothing else uses it. CPUID is answered by KVM in both.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>
#include <unistd.h>

#include "common/clock.h"

#define ROUNDS 5
#define PORT   0x3ff

static double seconds(void)
{
	return (double)monotonic_ns() / 1e9;
}

static void port_read(void)
{
	inb(PORT);
}

static void port_write(void)
{
	outb(0x5a, PORT);
}

static void cpuid(void)
{
	unsigned a = 0, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
}

static void measure(const char *name, void (*access)(void), unsigned count)
{
	access();
	printf("BENCH-START %s\n", name);
	for (unsigned round = 0; round < ROUNDS; round++) {
		double start = seconds();

		for (unsigned i = 0; i < count; i++)
			access();
		printf("BENCH %s_per_s %.1f\n", name, count / (seconds() - start));
	}
}

int main(int argc, char **argv)
{
	unsigned count = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
	unsigned idle = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
	cpu_set_t first;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	sched_setaffinity(0, sizeof(first), &first);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (count) {
		if (ioperm(PORT, 1, 1)) {
			perror("ioperm");
			return 1;
		}
		outb(0xa5, PORT);
		if (inb(PORT) != 0xa5) {
			fprintf(stderr, "bench: COM1 has no scratch register\n");
			return 1;
		}
		measure("port_read", port_read, count);
		measure("port_write", port_write, count);
		measure("cpuid", cpuid, count);
	}
	if (idle) {
		puts("BENCH-IDLE");
		sleep(idle);
	}
	puts("BENCH-END");
	return 0;
}
