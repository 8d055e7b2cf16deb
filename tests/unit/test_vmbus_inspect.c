/* A VMBus as inspect nodes: hostile offers first, then each state of connection and channel. */
#include "tests/unit/vmbus_guest.h"

#include <stdio.h>

#include "common/vmbus/inspect.h"

#define TREE_BYTES (8 * MiB) /* as much as one answer of the paravisor may take */

static struct guest guest;
static struct inspect_tree tree;

static int set_up(void **state)
{
	const struct vmbus_server_config cfg = {.name = "guest", .vps = 4, .features = VMBUS_F_ALL};

	(void)state;
	guest_init(&guest, &cfg, &guest_ops);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	inspect_free(&tree);
	memset(&tree, 0, sizeof(tree));
	guest_free(&guest);
	return 0;
}

static void look_at(const char *path, enum inspect_level level)
{
	const struct inspect_query query = {
		.path = path, .level = level, .depth = INSPECT_DEPTH_ALL};
	struct inspect root, dir, channels;

	inspect_free(&tree);
	inspect_begin(&tree, &query, TREE_BYTES, &root);
	if (inspect_enter(&root, "vmbus", &dir)) {
		vmbus_inspect_server(&dir, guest.s);
		if (inspect_enter(&dir, "channels", &channels)) {
			for (unsigned id = 0; id <= 0xffff; id++)
				vmbus_inspect_channel(&channels, guest.s, (u16)id);
		}
	}
	inspect_finish(&tree);
}

static void look(void)
{
	look_at("vmbus", INSPECT_SENSITIVE);
	assert_false(tree.failed);
}

static const struct inspect_node *node(const char *path)
{
	return inspect_find(tree.result, path);
}

static u64 number(const char *path)
{
	const struct inspect_node *n = node(path);

	assert_non_null(n);
	assert_int_equal(n->kind, INSPECT_VALUE);
	assert_true(n->type == INSPECT_UNSIGNED || n->type == INSPECT_BOOL);
	return n->number;
}

static void assert_text(const char *path, const char *text)
{
	const struct inspect_node *n = node(path);

	assert_non_null(n);
	assert_int_equal(n->kind, INSPECT_VALUE);
	assert_int_equal(n->type, INSPECT_STRING);
	assert_int_equal(n->data.size, strlen(text));
	assert_memory_equal(n->data.data, text, n->data.size);
}

static struct vmbus_channel *offer(struct guid interface, u32 instance, u16 subchannel)
{
	static const struct vmbus_device_ops none;
	struct vmbus_offer o = {
		.interface = interface, .subchannel = subchannel, .mmio_mb = 5, .flags = 0x10};

	o.instance.data1 = instance;
	return vmbus_server_offer(guest.s, &o, &none, NULL);
}

static unsigned children(const char *path)
{
	unsigned n = 0;

	for (const struct inspect_node *c = node(path)->children; c; c = c->next)
		n++;
	return n;
}

/* Two interfaces with the same instance stay two nodes. */
static void same_instance_twice(void **state)
{
	(void)state;
	assert_non_null(offer(VMBUS_IF_SCSI, 7, 0));
	assert_non_null(offer(VMBUS_IF_NIC, 7, 0));
	assert_non_null(offer(VMBUS_IF_NIC, 7, 1));
	look();
	assert_int_equal(children("channels"), 2);
	assert_text("channels/00000007-0000-0000-0000-000000000000/interface_name", "scsi");
	assert_text("channels/00000007-0000-0000-0000-000000000000-2/interface_name", "net");
	assert_int_equal(
		number("channels/00000007-0000-0000-0000-000000000000/subchannels/1/channel_id"),
		3);
}

/* As many channels as there are ids: all are there, within what an answer may take. */
static void all_channels(void **state)
{
	struct pb_writer w;
	char path[80];

	(void)state;
	for (u32 i = 1; i < VMBUS_MAX_CHANNELS; i++)
		assert_non_null(offer(VMBUS_IF_VPCI, i, 0));
	assert_null(offer(VMBUS_IF_VPCI, 9999, 0));
	look();
	assert_int_equal(children("channels"), VMBUS_MAX_CHANNELS - 1);
	assert_int_equal(number("channel_count"), VMBUS_MAX_CHANNELS - 1);
	pb_writer_init(&w, TREE_BYTES);
	inspect_encode_node(&w, tree.result);
	assert_false(w.failed);
	pb_writer_free(&w);
	snprintf(path, sizeof(path), "vmbus/channels/%08x-0000-0000-0000-000000000000/channel_id",
		 VMBUS_MAX_CHANNELS - 1);
	look_at(path, INSPECT_SENSITIVE);
	assert_int_equal(number(""), VMBUS_MAX_CHANNELS - 1);
}

/* A confidential guest's diagnostics do not see it. */
static void hidden(void **state)
{
	(void)state;
	offer(VMBUS_IF_KVP, 1, 0);
	look_at("vmbus", INSPECT_SAFE);
	assert_null(node("state"));
	assert_null(node("channels"));
}

static void connection(void **state)
{
	(void)state;
	look();
	assert_text("state", "disconnected");
	assert_null(node("connection_info"));
	guest_connect(&guest, VMBUS_V6_0, VMBUS_F_CLIENT_ID | VMBUS_F_PAUSE);
	look();
	assert_text("state", "negotiated");
	assert_text("connection_info/version", "6.0");
	assert_int_equal(number("connection_info/feature_flags"),
			 VMBUS_F_CLIENT_ID | VMBUS_F_PAUSE);
	assert_int_equal(number("connection_info/target_sint"), 2);
	assert_int_equal(number("connection_info/monitor_page/parent_to_child"), 0x5000);
	assert_int_equal(number("connection_info/monitor_page/child_to_parent"), 0x6000);
	GUEST_SEND(&guest, VMBUS_MSG_REQUEST_OFFERS);
	look();
	assert_text("state", "connected");
	assert_int_equal(number("messages_received"), 2);
	assert_int_equal(number("messages_dropped"), 0);
	GUEST_SEND(&guest, VMBUS_MSG_RELID_RELEASED, 5);
	look();
	assert_int_equal(number("messages_dropped"), 1);
}

static void channel(void **state)
{
	static const char base[] = "vmbus/channels/00000001-0000-0000-0000-000000000000";
	struct vmbus_channel *ch = offer(VMBUS_IF_SHUTDOWN, 1, 0);

	(void)state;
	look_at(base, INSPECT_SENSITIVE);
	assert_text("state", "not offered");
	assert_int_equal(number("offered"), false);
	guest_connect(&guest, VMBUS_V5_3, 0);
	GUEST_SEND(&guest, VMBUS_MSG_REQUEST_OFFERS);
	guest_expect(&guest, VMBUS_MSG_OFFER, 196);
	guest_expect(&guest, VMBUS_MSG_ALL_OFFERS_DELIVERED, 8);
	look_at(base, INSPECT_SENSITIVE);
	assert_text("state", "closed");
	assert_int_equal(number("open"), false);
	assert_null(node("ring"));
	assert_null(node("target_vp"));
	guest_gpadl_ok(&guest, 1, 0xe1e10, 4, 5);
	guest_open(&guest, 1, 0xe1e10, 3, 2);
	assert_int_equal(guest_open_result(&guest, 1), 0);
	vmbus_channel_signal(ch);
	assert_true(vmbus_server_event(guest.s, 0x2001));
	assert_true(vmbus_server_event(guest.s, 0x2001));
	look_at(base, INSPECT_SENSITIVE);
	assert_text("state", "open");
	assert_text("interface_name", "shutdown_ic");
	assert_text("interface_id", "0e0b6031-5213-4934-818b-38d90ced39db");
	assert_int_equal(number("open"), true);
	assert_int_equal(number("reserved"), false);
	assert_int_equal(number("relayed"), false);
	assert_int_equal(number("channel_id"), 1);
	assert_int_equal(number("offered_connection_id"), 0x2001);
	assert_int_equal(number("connection_id"), 0x2001);
	assert_int_equal(number("event_flag"), 1);
	assert_int_equal(number("target_vp"), 3);
	assert_int_equal(number("mmio_megabytes"), 5);
	assert_int_equal(number("gpadl_count"), 1);
	assert_int_equal(number("ring/gpadl"), 0xe1e10);
	assert_int_equal(number("ring/gpadl_bytes"), 5 * PAGE_SIZE);
	assert_int_equal(number("ring/guest_to_host_bytes"), 2 * PAGE_SIZE);
	assert_int_equal(number("ring/host_to_guest_bytes"), 3 * PAGE_SIZE);
	assert_int_equal(number("interrupts_sent"), 1);
	assert_int_equal(number("interrupts_received"), 2);
	vmbus_channel_revoke(ch);
	look_at(base, INSPECT_SENSITIVE);
	assert_text("state", "revoked");
	assert_null(node("ring"));
}

static void reserved(void **state)
{
	(void)state;
	offer(VMBUS_IF_NIC, 1, 0);
	guest_connect(&guest, VMBUS_V5_3, 0);
	GUEST_SEND(&guest, VMBUS_MSG_REQUEST_OFFERS);
	guest_expect(&guest, VMBUS_MSG_OFFER, 196);
	guest_expect(&guest, VMBUS_MSG_ALL_OFFERS_DELIVERED, 8);
	guest_gpadl_ok(&guest, 1, 0xe1e10, 4, 4);
	GUEST_SEND(&guest, VMBUS_MSG_OPEN_RESERVED, 1, 2, 5, 0xe1e10, 2);
	GUEST_SEND(&guest, VMBUS_MSG_UNLOAD);
	look();
	assert_text("state", "disconnected");
	look_at("vmbus/channels/00000001-0000-0000-0000-000000000000", INSPECT_SENSITIVE);
	assert_text("state", "open");
	assert_int_equal(number("reserved"), true);
	assert_int_equal(number("offered"), false);
	assert_text("target_vp", "none");
	assert_int_equal(number("reserved_connection_target/vp"), 2);
	assert_int_equal(number("reserved_connection_target/sint"), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(same_instance_twice, set_up, tear_down),
		cmocka_unit_test_setup_teardown(all_channels, set_up, tear_down),
		cmocka_unit_test_setup_teardown(hidden, set_up, tear_down),
		cmocka_unit_test_setup_teardown(connection, set_up, tear_down),
		cmocka_unit_test_setup_teardown(channel, set_up, tear_down),
		cmocka_unit_test_setup_teardown(reserved, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
