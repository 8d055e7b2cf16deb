/* What a guest's intercepted access does: one message, one answer. */
#ifndef PARAPET_PARAVISOR_INTERCEPT_H
#define PARAPET_PARAVISOR_INTERCEPT_H

#include "paravisor/vp.h"

/* Serves the message in vp's run page. On vp's thread. */
void intercept_dispatch(struct vp *vp);

/* If the PIC waits, asks to be told when the guest can take its interrupt. On vp's thread. */
void intercept_offer_pic(struct vp *vp);

#endif
