common_LIB := common/crc32.c common/log.c common/guid.c common/vmbus/ring.c
