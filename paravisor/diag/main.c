/* The diagnostics program of the multi-call binary: AF_VSOCK listeners in VTL2. */
#include "paravisor/diag/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "build/scm.h" /* PARAPET_REVISION */
#include "common/log.h"
#include "paravisor/klog.h"
#include "paravisor/programs.h"

#define BACKLOG	    256 /* hv_sock drops a connection that finds the queue full, without a word */
#define DESCRIPTORS 4096

static int listen_vsock(unsigned port)
{
	struct sockaddr_vm address = {
		.svm_family = AF_VSOCK, .svm_port = port, .svm_cid = VMADDR_CID_ANY};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	close(fd);
	return -1;
}

int diag_main(int argc, char **argv)
{
	const struct rlimit descriptors = {DESCRIPTORS, DESCRIPTORS};
	struct diag_options options = {.link_path = LINK_PATH, .revision = PARAPET_REVISION};

	(void)argc;
	(void)argv;
	klog_start("diag");
	setrlimit(RLIMIT_NOFILE, &descriptors);
	setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin", 0);
	setenv("HOME", "/", 0);
	if (chdir("/"))
		log_warn("chdir /: %s", strerror(errno));
	policy_read(&options.policy, getenv);
	options.control_listener = listen_vsock(DIAG_PORT_CONTROL);
	options.data_listener = listen_vsock(DIAG_PORT_DATA);
	if (options.control_listener < 0 || options.data_listener < 0) {
		log_warn("vsock: %s; no diagnostics", strerror(errno));
		return DIAG_STATUS_NO_VSOCK;
	}
	return diag_serve(&options);
}
