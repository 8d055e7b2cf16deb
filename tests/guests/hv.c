/*
 * What Hyper-V's daemons and sockets need in a guest, for tests:
 *   hv echo PORT            answers connections of the host, one after the other
 *   hv ping PORT N SIZE     connects to the host and bounces N messages of SIZE bytes
 *   hv kexec KERNEL INITRD CMDLINE         loads another kernel and starts it
 *   hv crash-kernel KERNEL INITRD CMDLINE  loads one for the day of a crash
 *   hv kvp                  the daemon behind hv_utils' key-value pairs, in the background
 */
#include <fcntl.h>
#include <linux/hyperv.h>
#include <linux/kexec.h>
#include <linux/vm_sockets.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "tests/lib/bounce.h"

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static int open_socket(void)
{
	return socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static struct sockaddr_vm address(unsigned cid, unsigned port)
{
	return (struct sockaddr_vm){.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
}

static int echo(unsigned port)
{
	struct sockaddr_vm any = address(VMADDR_CID_ANY, port);
	int s = open_socket();

	if (s < 0 || bind(s, (struct sockaddr *)&any, sizeof(any)) || listen(s, 16))
		return fail("listen");
	printf("HV-ECHO-READY\n");
	fflush(stdout);
	for (;;) {
		int c = accept(s, NULL, NULL);

		if (c < 0)
			return fail("accept");
		send_back(c);
		close(c);
	}
}

static int ping(unsigned port, unsigned count, size_t size)
{
	struct sockaddr_vm host = address(VMADDR_CID_HOST, port);
	int s = open_socket(), ret;

	if (s < 0 || connect(s, (struct sockaddr *)&host, sizeof(host)))
		return fail("connect");
	ret = bounce("HV-PING", s, count, size);
	close(s);
	return ret;
}

/* --- key-value pairs: Documentation of the messages is include/uapi/linux/hyperv.h */

static const char *const keys[] = {
	"FullyQualifiedDomainName",
	"IntegrationServicesVersion",
	"NetworkAddressIPv4",
	"NetworkAddressIPv6",
	"OSBuildNumber",
	"OSName",
	"OSMajorVersion",
	"OSMinorVersion",
	"OSVersion",
	"ProcessorArchitecture",
};

/* Pool 0, which the host fills */
static struct {
	char key[HV_KVP_EXCHANGE_MAX_KEY_SIZE], value[HV_KVP_EXCHANGE_MAX_VALUE_SIZE];
} pairs[8];
#define PAIRS (sizeof(pairs) / sizeof(pairs[0]))

static size_t find(const void *key)
{
	size_t i;

	for (i = 0; i < PAIRS && strcmp(pairs[i].key, key); i++)
		;
	return i;
}

static int external(struct hv_kvp_msg *m)
{
	struct hv_kvp_exchg_msg_value *data = &m->body.kvp_get.data;
	unsigned index = m->body.kvp_enum_data.index;
	size_t i;

	switch (m->kvp_hdr.operation) {
	case KVP_OP_SET:
		i = find(data->key);
		i = i < PAIRS ? i : find("");
		if (i == PAIRS)
			return (int)HV_S_CONT;
		snprintf(pairs[i].key, sizeof(pairs[i].key), "%s", (char *)data->key);
		snprintf(pairs[i].value, sizeof(pairs[i].value), "%s", (char *)data->value);
		return HV_S_OK;
	case KVP_OP_DELETE:
		i = find(m->body.kvp_delete.key);
		if (i == PAIRS)
			return (int)HV_S_CONT;
		memset(&pairs[i], 0, sizeof(pairs[i]));
		return HV_S_OK;
	case KVP_OP_GET: i = find(data->key); break;
	case KVP_OP_ENUMERATE:
		data = &m->body.kvp_enum_data.data;
		for (i = 0; i < PAIRS && (!*pairs[i].key || index--); i++)
			;
		break;
	default: i = PAIRS;
	}
	if (i == PAIRS)
		return (int)HV_S_CONT;
	data->value_type = REG_SZ;
	memcpy(data->key, pairs[i].key, sizeof(data->key));
	memcpy(data->value, pairs[i].value, sizeof(data->value));
	data->key_size = (unsigned)strlen(pairs[i].key) + 1;
	data->value_size = (unsigned)strlen(pairs[i].value) + 1;
	return HV_S_OK;
}

static void answer(struct hv_kvp_msg *m)
{
	struct hv_kvp_exchg_msg_value *data = &m->body.kvp_enum_data.data;
	unsigned index = m->body.kvp_enum_data.index;
	bool enumerate = m->kvp_hdr.operation == KVP_OP_ENUMERATE &&
			 m->kvp_hdr.pool == KVP_POOL_AUTO;
	struct utsname u;

	uname(&u);
	if (m->kvp_hdr.pool == KVP_POOL_EXTERNAL) {
		m->error = external(m);
		return;
	}
	if (!enumerate || index >= sizeof(keys) / sizeof(keys[0])) {
		m->error = (int)HV_S_CONT;
		return;
	}
	m->error = HV_S_OK;
	data->value_type = REG_SZ;
	snprintf((char *)data->key, sizeof(data->key), "%s", keys[index]);
	switch (index) {
	case 0: snprintf((char *)data->value, sizeof(data->value), "%s", u.nodename); break;
	case 4:
	case 8: snprintf((char *)data->value, sizeof(data->value), "%s", u.release); break;
	case 5: snprintf((char *)data->value, sizeof(data->value), "Debian test guest"); break;
	case 9: snprintf((char *)data->value, sizeof(data->value), "%s", u.machine); break;
	default: data->value[0] = 0;
	}
	data->key_size = (unsigned)strlen((char *)data->key) + 1;
	data->value_size = (unsigned)strlen((char *)data->value) + 1;
}

static int kvp(void)
{
	static struct hv_kvp_msg m;
	int fd = open("/dev/vmbus/hv_kvp", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return fail("/dev/vmbus/hv_kvp");
	m.kvp_hdr.operation = KVP_OP_REGISTER1;
	if (write(fd, &m, sizeof(m)) != sizeof(m))
		return fail("register");
	if (daemon(1, 1))
		return fail("daemon");
	while (read(fd, &m, sizeof(m)) == sizeof(m)) {
		if (m.kvp_hdr.operation == KVP_OP_REGISTER1)
			continue;
		answer(&m);
		if (write(fd, &m, sizeof(m)) != sizeof(m))
			return fail("answer");
	}
	return fail("read");
}

/* --- other kernels */

static int load_kernel(char **argv, bool on_crash)
{
	int kernel = open(argv[0], O_RDONLY | O_CLOEXEC),
	    initrd = open(argv[1], O_RDONLY | O_CLOEXEC);

	if (kernel < 0 || initrd < 0 ||
	    syscall(SYS_kexec_file_load, kernel, initrd, strlen(argv[2]) + 1, argv[2],
		    on_crash ? KEXEC_FILE_ON_CRASH : 0))
		return fail("kexec_file_load");
	printf("HV-KERNEL-LOADED\n");
	fflush(stdout);
	if (!on_crash)
		reboot(RB_KEXEC);
	return !on_crash;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "echo"))
		return echo((unsigned)atoi(argv[2]));
	if (argc == 5 && !strcmp(argv[1], "ping"))
		return ping((unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]),
			    (size_t)atol(argv[4]));
	if (argc == 5 && !strcmp(argv[1], "kexec"))
		return load_kernel(argv + 2, false);
	if (argc == 5 && !strcmp(argv[1], "crash-kernel"))
		return load_kernel(argv + 2, true);
	if (argc == 2 && !strcmp(argv[1], "kvp"))
		return kvp();
	fprintf(stderr, "usage: hv echo PORT | ping PORT N SIZE | kvp | kexec or "
			"crash-kernel KERNEL INITRD CMDLINE\n");
	return 2;
}
