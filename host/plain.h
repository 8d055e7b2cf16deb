/* Text of others for the user's terminal: nothing in it may steer that. */
#ifndef PARAPET_HOST_PLAIN_H
#define PARAPET_HOST_PLAIN_H

#include <stddef.h>

#include "common/types.h"

/*
 * Bytes (1 or 2) of the control character that a UTF-8 text begins with: C0, DEL or C1. 0 if it
 * begins with something else. The last of these bytes is the character's code point.
 */
size_t plain_control(const void *text, size_t size);
/* Puts `instead` in place of each control character, tabs and line ends included. In place. */
void plain_text(char *text, char instead);

#endif
