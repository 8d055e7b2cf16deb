/* Version of all programs of this tree. */
#ifndef PARAPET_COMMON_VERSION_H
#define PARAPET_COMMON_VERSION_H

#define PARAPET_VERSION "0.1.0"

#endif
