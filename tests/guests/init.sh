#!/bin/sh
# First program of the test guest: a shell on the console. Words behind `--` on the kernel's command
# line are a command to run instead; its exit code is printed, then the guest powers off.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
echo PARAPET-GUEST-USERSPACE
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root
modprobe -q pvpanic-mmio || true
if [ $# -gt 0 ]; then
	"$@"
	echo "PARAPET-GUEST-EXIT $?"
else
	cd /root || cd /
	setsid cttyhack sh
fi
poweroff -f
