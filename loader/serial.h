/* COM3, the serial port of VTL2. Shim only. */
#ifndef PARAPET_LOADER_SERIAL_H
#define PARAPET_LOADER_SERIAL_H

#include "common/types.h"

/* 8N1 with FIFO, no interrupts. A speed that the UART cannot make leaves the present one. */
void serial_init(u32 speed);
/* Adds a carriage return before each newline. Gives up on a port that never gets ready. */
void serial_write(const char *text, size_t length);

#endif
