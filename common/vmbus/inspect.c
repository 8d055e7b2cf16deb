/* The state of a VMBus as inspect nodes. */
#include "common/vmbus/inspect.h"

#include <stdio.h>

static const struct {
	struct guid interface;
	const char *name;
} interfaces[] = {
	{VMBUS_IF_SHUTDOWN, "shutdown_ic"},
	{VMBUS_IF_TIMESYNC, "timesync_ic"},
	{VMBUS_IF_HEARTBEAT, "heartbeat_ic"},
	{VMBUS_IF_KVP, "kvp_ic"},
	{VMBUS_IF_VSS, "vss_ic"},
	{VMBUS_IF_SCSI, "scsi"},
	{VMBUS_IF_IDE, "ide-accel"},
	{VMBUS_IF_NIC, "net"},
	{VMBUS_IF_VPCI, "vpci"},
	{VMBUS_IF_SERIAL, "serial"},
	{VMBUS_IF_KEYBOARD, "keyboard"},
	{VMBUS_IF_MOUSE, "mouse"},
	{VMBUS_IF_VIDEO, "video"},
};

static const char *interface_name(const struct guid *interface)
{
	struct guid hvsock = VMBUS_IF_HVSOCK(interface->data1);

	for (unsigned i = 0; i < ARRAY_SIZE(interfaces); i++) {
		if (guid_equal(&interfaces[i].interface, interface))
			return interfaces[i].name;
	}
	return guid_equal(&hvsock, interface) ? "hvsocket" : NULL;
}

static void put_guid(struct inspect *dir, const char *name, const struct guid *guid)
{
	char text[GUID_TEXT];

	inspect_text(dir, name, guid_format(guid, text));
}

static void put_version(struct inspect *dir, u32 version)
{
	char text[16];

	if (!version)
		return;
	snprintf(text, sizeof(text), "%u.%u", version >> 16, version & 0xffff);
	inspect_text(dir, "version", text);
}

void vmbus_inspect_offer(struct inspect *dir, const struct guid *interface,
			 const struct guid *instance)
{
	inspect_text(dir, "interface_name", interface_name(interface));
	put_guid(dir, "interface_id", interface);
	put_guid(dir, "instance_id", instance);
}

void vmbus_inspect_server(struct inspect *dir, const struct vmbus_server *s)
{
	struct vmbus_server_info info;
	struct inspect in;

	vmbus_server_describe(s, &info);
	/* before the guest has asked for offers it is half way */
	inspect_text(dir, "state", info.version && !info.offers_sent ? "negotiated" : info.state);
	inspect_text(dir, "next_action", info.next);
	if (info.version && inspect_enter(dir, "connection_info", &in)) {
		put_version(&in, info.version);
		inspect_hex(&in, "feature_flags", info.features);
		inspect_bool(&in, "offers_sent", info.offers_sent);
		inspect_bool(&in, "paused", info.paused);
		inspect_bool(&in, "trusted", info.trusted);
		inspect_u64(&in, "target_vp", info.vp);
		inspect_u64(&in, "target_sint", info.sint);
		inspect_hex(&in, "monitor_page/parent_to_child", info.monitor_p2c);
		inspect_hex(&in, "monitor_page/child_to_parent", info.monitor_c2p);
		if (!guid_is_zero(&info.client))
			put_guid(&in, "client_id", &info.client);
	}
	inspect_u64(dir, "channel_count", info.channels);
	inspect_u64(dir, "gpadl_count", info.gpadls);
	inspect_u64(dir, "messages_queued", info.queued);
	inspect_counter(dir, "messages_received", info.messages_in);
	inspect_counter(dir, "messages_sent", info.messages_out);
	inspect_counter(dir, "messages_refused", info.refused);
	inspect_counter(dir, "messages_dropped", info.dropped);
	inspect_counter(dir, "messages_lost", info.lost);
	inspect_counter(dir, "contacts", info.contacts);
}

static void describe_open(struct inspect *dir, const struct vmbus_channel_info *info)
{
	struct inspect ring;

	if (info->open.target_vp == VMBUS_VP_INTERRUPT_DISABLED)
		inspect_text(dir, "target_vp", "none");
	else
		inspect_u64(dir, "target_vp", info->open.target_vp);
	inspect_u64(dir, "event_flag", info->open.event_flag);
	inspect_hex(dir, "connection_id", info->open.connection);
	inspect_bool(dir, "redirected", info->open.redirect);
	if (info->reserved) {
		inspect_u64(dir, "reserved_connection_target/vp", info->reserved_vp);
		inspect_u64(dir, "reserved_connection_target/sint", info->open.reserved_sint);
	}
	if (!inspect_enter(dir, "ring", &ring))
		return;
	/* the rings' parts of the list begin with a page of indices each; host to guest is last */
	inspect_hex(&ring, "gpadl", info->open.gpadl);
	inspect_u64(&ring, "gpadl_bytes", (u64)info->ring_pages * PAGE_SIZE);
	inspect_u64(&ring, "guest_to_host_bytes", (u64)info->open.downstream * PAGE_SIZE);
	if (info->ring_pages >= info->open.downstream)
		inspect_u64(&ring, "host_to_guest_bytes",
			    (u64)(info->ring_pages - info->open.downstream) * PAGE_SIZE);
	inspect_text(&ring, "error", info->ring_error);
}

static void describe_traffic(struct inspect *dir, const struct vmbus_channel_info *info)
{
	inspect_counter(dir, "interrupts_received", info->signals_in);
	inspect_counter(dir, "interrupts_sent", info->signals_out);
	inspect_counter(dir, "packets_received", info->rx_packets);
	inspect_counter(dir, "packets_sent", info->tx_packets);
	inspect_counter(dir, "bytes_received", info->rx_bytes);
	inspect_counter(dir, "bytes_sent", info->tx_bytes);
	inspect_counter(dir, "ring_full", info->tx_full);
}

void vmbus_inspect_channel(struct inspect *channels, const struct vmbus_server *s, u16 id)
{
	struct vmbus_channel_info info;
	char name[GUID_TEXT + 40], instance[GUID_TEXT], twin[8] = "";
	struct inspect dir;

	if (!vmbus_server_channel(s, id, &info))
		return;
	guid_format(&info.instance, instance);
	/* a name stands for one channel, whatever the other side offers */
	if (info.twin)
		snprintf(twin, sizeof(twin), "-%u", id);
	if (info.subchannel)
		snprintf(name, sizeof(name), "%s/subchannels/%u%s", instance, info.subchannel,
			 twin);
	else
		snprintf(name, sizeof(name), "%s%s", instance, twin);
	if (!inspect_enter(channels, name, &dir))
		return;
	inspect_text(&dir, "state", info.state);
	inspect_bool(&dir, "open", info.is_open);
	inspect_bool(&dir, "offered", info.offered);
	inspect_bool(&dir, "reserved", info.reserved);
	vmbus_inspect_offer(&dir, &info.interface, &info.instance);
	inspect_u64(&dir, "subchannel_index", info.subchannel);
	inspect_u64(&dir, "channel_id", info.id);
	inspect_hex(&dir, "offered_connection_id", info.connection);
	inspect_u64(&dir, "mmio_megabytes", info.mmio_mb);
	inspect_hex(&dir, "offer_flags", info.flags);
	inspect_u64(&dir, "gpadl_count", info.gpadls);
	inspect_bool(&dir, "relayed", info.no_map);
	if (info.is_open)
		describe_open(&dir, &info);
	/* those of a relayed channel pass between guest and host */
	if (!info.no_map)
		describe_traffic(&dir, &info);
}

void vmbus_inspect_client(struct inspect *dir, const struct vmbus_client *c)
{
	struct vmbus_client_info info;

	vmbus_client_describe(c, &info);
	inspect_text(dir, "state", info.state);
	put_version(dir, info.version);
	inspect_hex(dir, "feature_flags", info.features);
	inspect_hex(dir, "connection_id", info.connection);
	inspect_u64(dir, "channel_count", info.channels);
	inspect_u64(dir, "gpadl_count", info.gpadls);
	inspect_u64(dir, "messages_queued", info.queued);
	inspect_counter(dir, "messages_received", info.messages_in);
	inspect_counter(dir, "messages_sent", info.messages_out);
	inspect_counter(dir, "messages_dropped", info.dropped);
	inspect_counter(dir, "messages_stale", info.stale);
	inspect_counter(dir, "messages_lost", info.lost);
}
