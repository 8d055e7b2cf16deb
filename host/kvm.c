#include "host/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const struct {
	int cap;
	const char *name;
	const char *what_for;
} needed[] = {
	{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY", "guest memory"},
	{KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP", "local APICs in the kernel"},
	{KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI", "interrupts"},
	{KVM_CAP_X86_USER_SPACE_MSR, "KVM_CAP_X86_USER_SPACE_MSR", "unknown MSRs as intercepts"},
	{KVM_CAP_X86_MSR_FILTER, "KVM_CAP_X86_MSR_FILTER", "Hyper-V MSRs"},
	{KVM_CAP_SYNC_REGS, "KVM_CAP_SYNC_REGS", "registers without system calls"},
	{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT", "kicks"},
	{KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE", "processor start"},
	{KVM_CAP_XSAVE, "KVM_CAP_XSAVE", "vector registers"},
	{KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS", "exceptions"},
	{KVM_CAP_ENFORCE_PV_FEATURE_CPUID, "KVM_CAP_ENFORCE_PV_FEATURE_CPUID",
	 "no KVM interfaces beside Hyper-V's"},
};

int kvm_cpu_flag(char *vendor, size_t len)
{
	char line[8192];
	int found = 0;
	FILE *f = fopen("/proc/cpuinfo", "r");

	snprintf(vendor, len, "none");
	if (!f)
		return 0;
	while (!found && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "flags", 5))
			continue;
		if (strstr(line, " svm"))
			snprintf(vendor, len, "svm (AMD)");
		else if (strstr(line, " vmx"))
			snprintf(vendor, len, "vmx (Intel)");
		else
			break;
		found = 1;
	}
	fclose(f);
	return found;
}

static struct kvm_check *add(struct kvm_check *c, size_t max, size_t *n, const char *what, int ok)
{
	struct kvm_check *e = &c[*n < max ? (*n)++ : max - 1];

	e->what = what;
	e->ok = ok;
	e->detail[0] = 0;
	return e;
}

int kvm_open(struct kvm_check *checks, size_t max, size_t *n)
{
	struct kvm_check *c;
	char vendor[32];
	int fd, ok = 1, version;

	*n = 0;
	c = add(checks, max, n, "hardware virtualisation", kvm_cpu_flag(vendor, sizeof(vendor)));
	snprintf(c->detail, sizeof(c->detail), "%s",
		 c->ok ? vendor
		       : "this processor shows neither svm nor vmx; scripts/run-nested can run "
			 "parapet inside QEMU");
	ok &= c->ok;
	fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	c = add(checks, max, n, "/dev/kvm", fd >= 0);
	if (fd < 0) {
		snprintf(c->detail, sizeof(c->detail), "%s%s", strerror(errno),
			 errno == ENOENT ? ": load the kvm_amd or kvm_intel module"
			 : errno == EACCES
				 ? ": add your user to the group that owns it (often 'kvm')"
				 : "");
		return -1;
	}
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	c = add(checks, max, n, "KVM API version", version == KVM_API_VERSION);
	snprintf(c->detail, sizeof(c->detail), "%d, expected %d", version, KVM_API_VERSION);
	ok &= c->ok;
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		int have = ioctl(fd, KVM_CHECK_EXTENSION, needed[i].cap) > 0;

		c = add(checks, max, n, needed[i].name, have);
		snprintf(c->detail, sizeof(c->detail), "%s%s", needed[i].what_for,
			 have ? "" : ": needs a newer kernel (6.1 is known to do)");
		ok &= have;
	}
	if (ok)
		return fd;
	close(fd);
	return -1;
}
