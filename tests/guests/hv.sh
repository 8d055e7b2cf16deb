#!/bin/sh
# Command for the test guest (`-- hv-service`): all of Hyper-V's drivers, an echo on port 7, for ever.
modprobe hv_vmbus
modprobe hv_utils
modprobe hv_sock
hv kvp
exec hv echo 7
