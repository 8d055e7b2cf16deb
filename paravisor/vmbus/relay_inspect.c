/* The relay as inspect nodes. */
#include "paravisor/vmbus/relay_inspect.h"

#include <stdio.h>

#include "common/vmbus/inspect.h"

void relay_inspect(struct inspect *dir, const struct relay *r)
{
	struct relay_info info;

	relay_describe(r, &info);
	inspect_u64(dir, "relayed", info.relayed);
	inspect_u64(dir, "kept", info.kept);
	inspect_counter(dir, "offers", info.offers);
	inspect_counter(dir, "offers_dropped", info.dropped_offers);
	inspect_counter(dir, "opens", info.opens);
}

void relay_inspect_channel(struct inspect *channels, const struct relay *r, u16 host)
{
	struct relay_channel_info info;
	struct inspect dir;
	char name[8];

	if (!relay_channel(r, host, &info))
		return;
	snprintf(name, sizeof(name), "%u", host);
	if (!inspect_enter(channels, name, &dir))
		return;
	vmbus_inspect_offer(&dir, &info.interface, &info.instance);
	inspect_u64(&dir, "subchannel_index", info.subchannel);
	inspect_text(&dir, "kept_by", info.keeper);
	if (info.guest)
		inspect_u64(&dir, "guest_channel_id", info.guest);
}
