/* /dev/kvm: what this host needs of it. */
#ifndef PARAPET_HOST_KVM_H
#define PARAPET_HOST_KVM_H

#include <stddef.h>

/* Result of one question to the machine */
struct kvm_check {
	const char *what;
	int ok;
	char detail[160];
};

/*
 * Opens /dev/kvm and checks what is needed. Fills `checks` (at most `max`), *n. Returns the file
 * descriptor, or -1 when something needed is missing: the last entry with ok == 0 says what.
 */
int kvm_open(struct kvm_check *checks, size_t max, size_t *n);
/* True when the processor can run VMs (svm or vmx flag). */
int kvm_cpu_flag(char *vendor, size_t len);

#endif
