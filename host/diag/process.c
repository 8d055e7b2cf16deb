/* From names of the paravisor's processes to their numbers. */
#include "host/diag/process.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "host/diag/options.h"
#include "host/diag/query.h"

bool process_option(struct process_choice *choice, int option, const char *text)
{
	if (option == 'n') {
		choice->name = text;
		return true;
	}
	return diag_parse_number("--pid", text, 1, INT32_MAX, &choice->pid);
}

static u64 find(const struct inspect_node *hosts, const char *name)
{
	for (const struct inspect_node *host = hosts->children; host; host = host->next) {
		const struct inspect_node *is = inspect_find(host, "name");

		if (is && is->kind == INSPECT_VALUE && is->type == INSPECT_STRING &&
		    pb_equal(is->data, name))
			return strtoull(host->name, NULL, 10);
	}
	return 0;
}

bool process_find(struct diag_client *client, struct process_choice *choice)
{
	/* ours, and OpenHCL's */
	static const char *const main_process[] = {"paravisor", "underhill"};
	struct inspect_tree tree;
	const struct inspect_node *hosts;

	if (choice->pid)
		return true;
	hosts = query_inspect(client, "mesh/hosts", 1, QUERY_TIMEOUT_NS, &tree);
	if (hosts && choice->name)
		choice->pid = find(hosts, choice->name);
	for (size_t i = 0; hosts && !choice->name && !choice->pid && i < 2; i++)
		choice->pid = find(hosts, main_process[i]);
	if (hosts && !choice->pid) {
		log_error("no process '%s'; there are:",
			  choice->name ? choice->name : main_process[0]);
		for (const struct inspect_node *host = hosts->children; host; host = host->next) {
			const struct inspect_node *is = inspect_find(host, "name");

			if (is && is->kind == INSPECT_VALUE && is->type == INSPECT_STRING)
				log_error("  %s (%.*s)", host->name, (int)is->data.size,
					  (const char *)is->data.data);
		}
	}
	inspect_free(&tree);
	return hosts && choice->pid;
}
