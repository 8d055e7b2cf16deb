common_LIB := common/crc32.c common/inspect.c common/log.c common/protobuf.c common/ttrpc.c common/guid.c common/vmbus/ring.c
