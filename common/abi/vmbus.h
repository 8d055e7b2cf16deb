/*
 * VMBus on the wire: channel messages, offers, ring pages, packet descriptors, pipe header.
 * Little endian, packed. Names and layouts: Linux include/linux/hyperv.h, OpenVMM vmbus_core and
 * vmbus_ring. "Guest" is the side that connects, "host" the side that offers.
 */
#ifndef PARAPET_COMMON_ABI_VMBUS_H
#define PARAPET_COMMON_ABI_VMBUS_H

#include "common/guid.h"
#include "common/types.h"

#define VMBUS_PACKED __attribute__((packed))

/* --- SynIC: type of the message, and well-known ids */
#define VMBUS_SYNIC_MESSAGE_TYPE 1
#define VMBUS_MESSAGE_MAX	 240
#define VMBUS_SINT		 2
#define VMBUS_REDIRECT_SINT	 7

#define VMBUS_CONN_LEGACY	 1 /* messages, protocol < 5.0 */
#define VMBUS_CONN_EVENT	 2 /* shared events, protocol < 2.4 */
#define VMBUS_CONN_MULTI	 4 /* messages, protocol >= 5.0 */
#define VMBUS_CONN_VTL2_REDIRECT 0x800074u
#define VMBUS_CONN_VTL2		 0x800024u /* VTL2's own connection */

/* Message connection of a client on (VTL, SINT, VP) */
#define VMBUS_MESSAGE_CONN(vtl, sint, vp) \
	(4u | (u32)(vp) << 8 | (u32)(sint) << 4 | (u32)(vtl) << 22)
/* Event connection of a channel, guest to host */
#define VMBUS_EVENT_CONN(vtl, sint, channel) ((u32)(channel) | (u32)(sint) << 12 | (u32)(vtl) << 16)

#define VMBUS_MAX_CHANNELS 2048 /* ids 1 ... 2047 */

/* --- versions */
#define VMBUS_VERSION(major, minor) ((u32)(major) << 16 | (minor))
#define VMBUS_V3_0		    VMBUS_VERSION(3, 0)
#define VMBUS_V4_0		    VMBUS_VERSION(4, 0)
#define VMBUS_V4_1		    VMBUS_VERSION(4, 1)
#define VMBUS_V5_0		    VMBUS_VERSION(5, 0)
#define VMBUS_V5_1		    VMBUS_VERSION(5, 1)
#define VMBUS_V5_2		    VMBUS_VERSION(5, 2)
#define VMBUS_V5_3		    VMBUS_VERSION(5, 3)
#define VMBUS_V6_0		    VMBUS_VERSION(6, 0)

/* Feature flags, from 6.0 on */
#define VMBUS_F_SIGNAL_PARAMS  0x01u /* OPEN names connection id and event flag */
#define VMBUS_F_REDIRECT       0x02u /* OPEN may redirect the channel's interrupt */
#define VMBUS_F_MODIFY_CONN    0x04u
#define VMBUS_F_CLIENT_ID      0x08u
#define VMBUS_F_CONFIDENTIAL   0x10u
#define VMBUS_F_PAUSE	       0x20u
#define VMBUS_F_SERVER_MONITOR 0x40u
#define VMBUS_F_PINNING	       0x80u
#define VMBUS_F_ALL	       0xffu

/* --- channel messages */
enum vmbus_msg_type {
	VMBUS_MSG_OFFER = 1,
	VMBUS_MSG_RESCIND = 2,
	VMBUS_MSG_REQUEST_OFFERS = 3,
	VMBUS_MSG_ALL_OFFERS_DELIVERED = 4,
	VMBUS_MSG_OPEN = 5,
	VMBUS_MSG_OPEN_RESULT = 6,
	VMBUS_MSG_CLOSE = 7,
	VMBUS_MSG_GPADL_HEADER = 8,
	VMBUS_MSG_GPADL_BODY = 9,
	VMBUS_MSG_GPADL_CREATED = 10,
	VMBUS_MSG_GPADL_TEARDOWN = 11,
	VMBUS_MSG_GPADL_TORNDOWN = 12,
	VMBUS_MSG_RELID_RELEASED = 13,
	VMBUS_MSG_INITIATE_CONTACT = 14,
	VMBUS_MSG_VERSION_RESPONSE = 15,
	VMBUS_MSG_UNLOAD = 16,
	VMBUS_MSG_UNLOAD_COMPLETE = 17,
	VMBUS_MSG_OPEN_RESERVED = 18,
	VMBUS_MSG_CLOSE_RESERVED = 19,
	VMBUS_MSG_CLOSE_RESERVED_RESPONSE = 20,
	VMBUS_MSG_TL_CONNECT = 21,
	VMBUS_MSG_MODIFY = 22,
	VMBUS_MSG_TL_CONNECT_RESULT = 23,
	VMBUS_MSG_MODIFY_RESPONSE = 24,
	VMBUS_MSG_MODIFY_CONN = 25,
	VMBUS_MSG_MODIFY_CONN_RESPONSE = 26,
	VMBUS_MSG_PAUSE = 27,
	VMBUS_MSG_PAUSE_RESPONSE = 28,
	VMBUS_MSG_RESUME = 29,
	VMBUS_MSG_COUNT
};

#define VMBUS_STATUS_SUCCESS	  0u
#define VMBUS_STATUS_FAILED	  0x8000ffffu
#define VMBUS_STATUS_CONN_REFUSED 0xc0000236u

struct vmbus_msg_header {
	u32 type;
	u32 pad;
} VMBUS_PACKED;

/* RESCIND, CLOSE, RELID_RELEASED, CLOSE_RESERVED_RESPONSE */
struct vmbus_msg_channel {
	struct vmbus_msg_header hdr;
	u32 channel;
} VMBUS_PACKED;

#define VMBUS_OFFER_ENUMERATE		  0x0001u /* device interface */
#define VMBUS_OFFER_CONFIDENTIAL_RING	  0x0002u
#define VMBUS_OFFER_CONFIDENTIAL_EXTERNAL 0x0004u
#define VMBUS_OFFER_PINNED		  0x0008u
#define VMBUS_OFFER_PIPE		  0x0010u
#define VMBUS_OFFER_TLNPI		  0x2000u
#define VMBUS_OFFER_HVSOCK		  (VMBUS_OFFER_TLNPI | VMBUS_OFFER_PIPE | VMBUS_OFFER_ENUMERATE)

#define VMBUS_USER_DATA 120

struct vmbus_msg_offer {
	struct vmbus_msg_header hdr;
	struct guid interface;
	struct guid instance;
	u8 reserved[16];
	u16 flags;
	u16 mmio_mb;
	u8 user[VMBUS_USER_DATA];
	u16 subchannel;
	u16 mmio_mb_optional;
	u32 channel;
	u8 monitor_id; /* 0xff: none */
	u8 monitor_allocated;
	u16 dedicated;
	u32 connection;
} VMBUS_PACKED;

/* User data of a hv_sock offer */
struct vmbus_hvsock_user {
	u32 pipe_type; /* 0: byte mode */
	u8 for_guest_accept;
	u8 for_guest_container;
	u32 version;
	struct guid silo;
	u8 pad[2];
} VMBUS_PACKED;

#define VMBUS_OPEN_V1_SIZE	    148
#define VMBUS_VP_INTERRUPT_DISABLED 0xffffffffu

struct vmbus_msg_open {
	struct vmbus_msg_header hdr;
	u32 channel;
	u32 open_id;
	u32 gpadl;
	u32 target_vp;
	u32 downstream; /* first page of the host-to-guest ring in the GPADL */
	u8 user[VMBUS_USER_DATA];
	/* from here with VMBUS_F_SIGNAL_PARAMS or VMBUS_F_REDIRECT */
	u32 connection;
	u16 event_flag;
	u16 flags; /* bit 0: redirect interrupt */
} VMBUS_PACKED;

#define VMBUS_OPEN_REDIRECT 0x0001u

struct vmbus_msg_open_result {
	struct vmbus_msg_header hdr;
	u32 channel;
	u32 open_id;
	u32 status;
} VMBUS_PACKED;

struct vmbus_msg_gpadl_header {
	struct vmbus_msg_header hdr;
	u32 channel;
	u32 gpadl;
	u16 range_bytes; /* of all ranges: headers and PFNs */
	u16 range_count;
	u64 data[]; /* at most 27 */
} VMBUS_PACKED;

struct vmbus_msg_gpadl_body {
	struct vmbus_msg_header hdr;
	u32 number;
	u32 gpadl;
	u64 data[]; /* at most 28 */
} VMBUS_PACKED;

#define VMBUS_GPADL_HEADER_DATA 27
#define VMBUS_GPADL_BODY_DATA	28

struct vmbus_gpa_range {
	u32 len;
	u32 offset;
	u64 pfn[];
} VMBUS_PACKED;

struct vmbus_msg_gpadl_created {
	struct vmbus_msg_header hdr;
	u32 channel;
	u32 gpadl;
	u32 status;
} VMBUS_PACKED;

struct vmbus_msg_gpadl_teardown {
	struct vmbus_msg_header hdr;
	u32 channel;
	u32 gpadl;
} VMBUS_PACKED;

struct vmbus_msg_gpadl_torndown {
	struct vmbus_msg_header hdr;
	u32 gpadl;
} VMBUS_PACKED;

#define VMBUS_CONTACT_V1_SIZE 40

struct vmbus_msg_contact {
	struct vmbus_msg_header hdr;
	u32 version;
	u32 target_vp;
	u8 target_sint; /* from 5.0; before 2.4 the GPA of the interrupt page stands here */
	u8 target_vtl;	/* from 5.1 */
	u16 reserved;
	u32 features; /* from 6.0 */
	u64 monitor_p2c;
	u64 monitor_c2p;
	struct guid client_id; /* with VMBUS_F_CLIENT_ID */
} VMBUS_PACKED;

#define VMBUS_VERSION_V1_SIZE 16
#define VMBUS_VERSION_V2_SIZE 20

struct vmbus_msg_version {
	struct vmbus_msg_header hdr;
	u8 supported;
	u8 state; /* VMBUS_CONN_STATE_* */
	u16 pad;
	u32 connection; /* from 5.0: connection of later messages; before: the version */
	u32 features;	/* from 6.0 */
	u32 pad2;	/* from here with VMBUS_F_SERVER_MONITOR */
	u64 monitor_p2c;
	u64 monitor_c2p;
} VMBUS_PACKED;

#define VMBUS_CONN_STATE_OK	 0
#define VMBUS_CONN_STATE_LOW_RES 1
#define VMBUS_CONN_STATE_FAILED	 2

struct vmbus_msg_open_reserved {
	struct vmbus_msg_header hdr;
	u32 channel;
	u32 target_vp;
	u32 target_sint;
	u32 gpadl;
	u32 downstream;
} VMBUS_PACKED;

struct vmbus_msg_close_reserved {
	struct vmbus_msg_header hdr;
	u32 channel;
	u32 target_vp;
	u32 target_sint;
} VMBUS_PACKED;

#define VMBUS_TL_CONNECT_V1_SIZE 40

struct vmbus_msg_tl_connect {
	struct vmbus_msg_header hdr;
	struct guid endpoint;
	struct guid service;
	struct guid silo; /* from 5.2, and not of every client then */
} VMBUS_PACKED;

struct vmbus_msg_tl_result {
	struct vmbus_msg_header hdr;
	struct guid endpoint;
	struct guid service;
	u32 status;
} VMBUS_PACKED;

struct vmbus_msg_modify {
	struct vmbus_msg_header hdr;
	u32 channel;
	u32 target_vp;
} VMBUS_PACKED;

struct vmbus_msg_modify_response {
	struct vmbus_msg_header hdr;
	u32 channel;
	u32 status;
} VMBUS_PACKED;

struct vmbus_msg_modify_conn {
	struct vmbus_msg_header hdr;
	u64 monitor_p2c;
	u64 monitor_c2p;
} VMBUS_PACKED;

struct vmbus_msg_modify_conn_response {
	struct vmbus_msg_header hdr;
	u8 state;
} VMBUS_PACKED;

_Static_assert(sizeof(struct vmbus_msg_offer) == 196, "wire format");
_Static_assert(offsetof(struct vmbus_msg_offer, user) == 60, "wire format");
_Static_assert(offsetof(struct vmbus_msg_offer, channel) == 184, "wire format");
_Static_assert(sizeof(struct vmbus_msg_channel) == 12, "wire format");
_Static_assert(sizeof(struct vmbus_hvsock_user) == 28, "wire format");
_Static_assert(sizeof(struct vmbus_msg_open) == 156, "wire format");
_Static_assert(offsetof(struct vmbus_msg_open, connection) == VMBUS_OPEN_V1_SIZE, "wire format");
_Static_assert(sizeof(struct vmbus_msg_open_result) == 20, "wire format");
_Static_assert(sizeof(struct vmbus_msg_gpadl_header) == 20, "wire format");
_Static_assert(sizeof(struct vmbus_msg_gpadl_body) == 16, "wire format");
_Static_assert(sizeof(struct vmbus_msg_gpadl_created) == 20, "wire format");
_Static_assert(sizeof(struct vmbus_msg_gpadl_teardown) == 16, "wire format");
_Static_assert(sizeof(struct vmbus_msg_gpadl_torndown) == 12, "wire format");
_Static_assert(sizeof(struct vmbus_msg_contact) == 56, "wire format");
_Static_assert(sizeof(struct vmbus_msg_version) == 40, "wire format");
_Static_assert(sizeof(struct vmbus_msg_open_reserved) == 28, "wire format");
_Static_assert(sizeof(struct vmbus_msg_close_reserved) == 20, "wire format");
_Static_assert(sizeof(struct vmbus_msg_tl_connect) == 56, "wire format");
_Static_assert(sizeof(struct vmbus_msg_tl_result) == 44, "wire format");
_Static_assert(sizeof(struct vmbus_msg_modify) == 16, "wire format");
_Static_assert(sizeof(struct vmbus_msg_modify_response) == 16, "wire format");
_Static_assert(sizeof(struct vmbus_msg_modify_conn) == 24, "wire format");
_Static_assert(sizeof(struct vmbus_msg_modify_conn_response) == 9, "wire format");

/* --- ring: control page, then data pages */
#define VMBUS_RING_WRITE     0	/* u32, the producer's */
#define VMBUS_RING_READ	     4	/* u32, the consumer's */
#define VMBUS_RING_MASK	     8	/* u32, 1: the consumer wants no signal */
#define VMBUS_RING_PENDING   12 /* u32, the producer waits for this much room */
#define VMBUS_RING_FEATURES  64 /* u32, the producer's */
#define VMBUS_RING_F_PENDING 1u /* pending size is used and honoured */

enum vmbus_packet_type {
	VMBUS_PACKET_INBAND = 6,
	VMBUS_PACKET_XFER_PAGES = 7,
	VMBUS_PACKET_GPADL = 8,
	VMBUS_PACKET_GPA_DIRECT = 9,
	VMBUS_PACKET_CANCEL = 10,
	VMBUS_PACKET_COMPLETION = 11,
};

#define VMBUS_PACKET_F_COMPLETION 1u /* flags: the sender waits for a completion */

struct vmbus_packet_desc {
	u16 type;
	u16 offset8; /* of the payload, from the packet's start, in 8 bytes */
	u16 len8;    /* without the trailer, in 8 bytes */
	u16 flags;
	u64 transaction;
} VMBUS_PACKED;

#define VMBUS_PACKET_TRAILER 8

/* Behind the descriptor of VMBUS_PACKET_GPA_DIRECT; ranges follow */
struct vmbus_gpa_direct {
	u32 reserved;
	u32 count;
} VMBUS_PACKED;

/* Behind the descriptor of VMBUS_PACKET_XFER_PAGES; ranges follow */
struct vmbus_xfer_pages {
	u16 set;
	u8 sender_owns;
	u8 reserved;
	u32 count;
} VMBUS_PACKED;

struct vmbus_xfer_range {
	u32 len;
	u32 offset;
} VMBUS_PACKED;

_Static_assert(sizeof(struct vmbus_packet_desc) == 16, "wire format");
_Static_assert(sizeof(struct vmbus_gpa_direct) == 8, "wire format");
_Static_assert(sizeof(struct vmbus_xfer_pages) == 8, "wire format");
_Static_assert(sizeof(struct vmbus_gpa_range) == 8, "wire format");

/* --- pipe: in front of the payload of in-band packets of pipe channels */
struct vmbus_pipe_header {
	u32 type;
	u32 len;
} VMBUS_PACKED;

#define VMBUS_PIPE_DATA 1
#define VMBUS_PIPE_MAX	16384 /* payload bytes of a packet */

/* --- monitor page */
#define VMBUS_MONITOR_PENDING(group) (8u + 8u * (group))
#define VMBUS_MONITOR_GROUPS	     4

/* --- interfaces */
#define VMBUS_IF_SHUTDOWN \
	GUID(0x0e0b6031, 0x5213, 0x4934, 0x81, 0x8b, 0x38, 0xd9, 0x0c, 0xed, 0x39, 0xdb)
#define VMBUS_IF_TIMESYNC \
	GUID(0x9527e630, 0xd0ae, 0x497b, 0xad, 0xce, 0xe8, 0x0a, 0xb0, 0x17, 0x5c, 0xaf)
#define VMBUS_IF_HEARTBEAT \
	GUID(0x57164f39, 0x9115, 0x4e78, 0xab, 0x55, 0x38, 0x2f, 0x3b, 0xd5, 0x42, 0x2d)
#define VMBUS_IF_KVP \
	GUID(0xa9a0f4e7, 0x5a45, 0x4d96, 0xb8, 0x27, 0x8a, 0x84, 0x1e, 0x8c, 0x03, 0xe6)
#define VMBUS_IF_VSS \
	GUID(0x35fa2e29, 0xea23, 0x4236, 0x96, 0xae, 0x3a, 0x6e, 0xba, 0xcb, 0xa4, 0x40)
#define VMBUS_IF_SCSI \
	GUID(0xba6163d9, 0x04a1, 0x4d29, 0xb6, 0x05, 0x72, 0xe2, 0xff, 0xb1, 0xdc, 0x7f)
#define VMBUS_IF_IDE \
	GUID(0x32412632, 0x86cb, 0x44a2, 0x9b, 0x5c, 0x50, 0xd1, 0x41, 0x73, 0x54, 0xf5)
#define VMBUS_IF_NIC \
	GUID(0xf8615163, 0xdf3e, 0x46c5, 0x91, 0x3f, 0xf2, 0xd2, 0xf9, 0x65, 0xed, 0x0e)
#define VMBUS_IF_VPCI \
	GUID(0x44c4f61d, 0x4444, 0x4400, 0x9d, 0x52, 0x80, 0x2e, 0x27, 0xed, 0xe1, 0x9f)
#define VMBUS_IF_SERIAL \
	GUID(0x8b60ccf6, 0x709f, 0x4c11, 0x90, 0xb5, 0x22, 0x9c, 0x95, 0x9a, 0x9e, 0x6a)
#define VMBUS_IF_KEYBOARD \
	GUID(0xf912ad6d, 0x2b17, 0x48ea, 0xbd, 0x65, 0xf9, 0x27, 0xa6, 0x1c, 0x76, 0x84)
#define VMBUS_IF_MOUSE \
	GUID(0xcfa8b69e, 0x5b4a, 0x4cc0, 0xb9, 0x8b, 0x8b, 0xa1, 0xa1, 0xf3, 0xf9, 0x5a)
#define VMBUS_IF_VIDEO \
	GUID(0xda0a7802, 0xe377, 0x4aac, 0x8e, 0x77, 0x05, 0x58, 0xeb, 0x10, 0x73, 0xf8)
/* vsock port in Data1 */
#define VMBUS_IF_HVSOCK(port) \
	GUID((port), 0xfacb, 0x11e6, 0xbd, 0x58, 0x64, 0x00, 0x6a, 0x79, 0x86, 0xd3)

/* Instances that hosts use for devices that exist once */
#define VMBUS_INSTANCE_SHUTDOWN \
	GUID(0xb6650ff7, 0x33bc, 0x4840, 0x80, 0x48, 0xe0, 0x67, 0x67, 0x86, 0xf3, 0x93)
#define VMBUS_INSTANCE_TIMESYNC \
	GUID(0x2dd1ce17, 0x079e, 0x403c, 0xb3, 0x52, 0xa1, 0x92, 0x1e, 0xe2, 0x07, 0xee)
#define VMBUS_INSTANCE_KVP \
	GUID(0x242ff919, 0x07db, 0x4180, 0x9c, 0x2e, 0xb8, 0x6c, 0xb6, 0x8c, 0x8c, 0x55)

#endif
