/* The inspect tree of VTL2, as far as the diagnostics process knows it; the rest it asks for. */
#include "paravisor/diag/server.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/log.h"
#include "common/version.h"
#include "paravisor/diag/proc.h"

const char *const tree_delegated[TREE_TOKENS] = {
	[TREE_TOKEN_VM] = "vm",
	[TREE_TOKEN_BOOT] = "boot",
	[TREE_TOKEN_CONTROL] = "control_state",
};

static void build_info(const struct diag_server *server, struct inspect *i)
{
	struct utsname kernel;

	inspect_level(i, INSPECT_SAFE);
	inspect_text(i, "crate_name", "parapet");
	inspect_text(i, "openhcl_version", PARAPET_VERSION);
	inspect_text(i, "scm_revision", server->revision ? server->revision : "");
	/* one commit must give the same bytes whatever branch it was built from */
	inspect_text(i, "scm_branch", "");
	if (uname(&kernel) == 0) {
		inspect_text(i, "kernel_release", kernel.release);
		inspect_text(i, "kernel_version", kernel.version);
	}
}

/* --- the paravisor's processes: those that run the same file */

bool tree_is_ours(pid_t pid)
{
	struct stat own, other;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	return pid > 0 && stat("/proc/self/exe", &own) == 0 && stat(path, &other) == 0 &&
	       own.st_dev == other.st_dev && own.st_ino == other.st_ino;
}

static bool visit_host(void *context, int pid)
{
	struct inspect host;
	char key[16], name[64];

	snprintf(key, sizeof(key), "%d", pid);
	if (!tree_is_ours(pid) || !proc_name(pid, name, sizeof(name)) ||
	    !inspect_enter(context, key, &host))
		return true;
	inspect_level(&host, INSPECT_SAFE);
	inspect_text(&host, "name", name);
	proc_describe_host(&host, pid);
	return true;
}

/* --- log filter: "LEVEL" or "LEVEL,TARGET=LEVEL,..." (targets are taken, and do not matter) */

static bool parse_level(const char *text, size_t length, enum log_level *level)
{
	static const struct {
		const char *name;
		enum log_level level;
	} names[] = {{"off", LOG_ERROR}, {"error", LOG_ERROR}, {"warn", LOG_WARN},
		     {"info", LOG_INFO}, {"debug", LOG_DEBUG}, {"trace", LOG_DEBUG}};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strlen(names[i].name) == length && !memcmp(names[i].name, text, length)) {
			*level = names[i].level;
			return true;
		}
	}
	return false;
}

static const char *set_filter(void *context, const char *text)
{
	struct diag_server *server = context;
	enum log_level level = LOG_INFO, target;
	struct pb_writer w;
	const char *reason;

	if (strlen(text) >= sizeof(server->filter))
		return "the filter is too long";
	for (const char *at = text; *at; at += *at == ',') {
		size_t n = strcspn(at, ","), name = strcspn(at, "=,");

		if (name < n ? !parse_level(at + name + 1, n - name - 1, &target)
			     : !parse_level(at, n, &level))
			return "a level is off, error, warn, info, debug or trace";
		at += n;
	}
	snprintf(server->filter, sizeof(server->filter), "%s", text);
	log_max_level = level;
	/* the paravisor process has the same node; it may not run, and then starts with its default
	 */
	pb_writer_init(&w, 1024);
	pb_put_text(&w, LINK_FIELD_PATH, "trace/filter");
	pb_put_u64(&w, LINK_FIELD_LEVEL, INSPECT_SENSITIVE);
	pb_put_bytes_always(&w, LINK_FIELD_VALUE, pb_text(text));
	link_ask(&server->link, LINK_INSPECT, (struct pb_bytes){w.data, w.used}, NULL, NULL,
		 &reason);
	pb_writer_free(&w);
	return NULL;
}

static void describe_diag(struct diag_server *server, struct inspect *i)
{
	inspect_level(i, INSPECT_SAFE);
	inspect_u64(i, "connections", server->connection_count);
	inspect_u64(i, "data_connections_waiting", server->data.count);
	inspect_u64(i, "programs_running", server->children.running);
	inspect_u64(i, "programs_ended", server->children.exited);
	inspect_counter(i, "calls", server->calls);
	inspect_bool(i, "confidential", server->policy.confidential);
	inspect_bool(i, "confidential_debug", server->policy.debug);
}

void tree_describe(struct diag_server *server, struct inspect *root)
{
	struct inspect dir, hosts;

	inspect_level(root, INSPECT_SAFE);
	if (inspect_enter(root, "build_info", &dir))
		build_info(server, &dir);
	/* the part that external tools may rely on */
	if (inspect_enter(root, "uhdiag", &dir)) {
		inspect_level(&dir, INSPECT_SAFE);
		if (inspect_enter(&dir, "build_info", &hosts))
			build_info(server, &hosts);
	}
	if (inspect_enter(root, "mesh", &dir)) {
		inspect_level(&dir, INSPECT_SAFE);
		if (inspect_enter(&dir, "hosts", &hosts)) {
			inspect_level(&hosts, INSPECT_SAFE);
			proc_each(visit_host, &hosts);
		}
	}
	if (inspect_enter(root, "trace", &dir)) {
		inspect_level(&dir, INSPECT_SAFE);
		inspect_text_rw(&dir, "filter", server->filter, set_filter, server);
	}
	if (inspect_enter(root, "proc", &dir))
		proc_describe(&dir);
	if (inspect_enter(root, "diag", &dir))
		describe_diag(server, &dir);
	inspect_delegate(root, "vm", TREE_TOKEN_VM, 0);
	if (link_connected(&server->link)) {
		inspect_delegate(root, "boot", TREE_TOKEN_BOOT, INSPECT_OPTIONAL);
		inspect_delegate(root, "control_state", TREE_TOKEN_CONTROL,
				 INSPECT_OPTIONAL | INSPECT_LEAF);
	} else {
		/* the process starts, or starts again */
		inspect_text(root, "control_state", "starting");
	}
}
