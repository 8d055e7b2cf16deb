"""VMBus of an unmodified Debian guest, served by the paravisor and relayed to the host."""
import json
import os
import re

from harness import BUILD, IMAGE, INITRD, KERNEL, check, parapet, timeout
from machine import BUSYBOX, PROGRAM
from test_guest import TROUBLE

HYBRID = os.path.join(BUILD, "e2e/hybrid")
# modules, then the devices that the guest sees
DEVICES = ("modprobe hv_vmbus; modprobe hv_utils; modprobe hv_sock; hv kvp; sleep 3\n"
           "for d in /sys/bus/vmbus/devices/*; do echo DEVICE $(cat $d/class_id) $(basename "
           "$(readlink $d/driver)); done; dmesg | grep -E 'hv_vmbus|hv_utils'\n")
INTERFACES = {"shutdown": "0e0b6031", "timesync": "9527e630", "heartbeat": "57164f39", "kvp": "a9a0f4e7"}


def machine(guest, host="", after="", options=(), cpus=1, limit=280):
    """Runs the guest's script under `parapet run --vsock`, with `host` (shell) beside it."""
    command = (f"{PROGRAM} run --image {IMAGE} --kernel {KERNEL} --initrd {INITRD} --memory 256M "
               f"--cmdline 'console=ttyS0 loglevel=4' --cpus {cpus} --vsock /tmp/vm --stats-json "
               f"/tmp/stats.json {' '.join(options)}")
    script = (f"cd /tmp\ncat >guest <<'END'\n{guest}\nEND\n{host}\n{command} <guest 2>&1\n"
              f"echo \"=== code $?\"\n{after}\necho '=== stats'; cat /tmp/stats.json")
    nested = ["--mem", "2560"]
    for path in (PROGRAM, IMAGE, KERNEL, INITRD, HYBRID):
        nested += ["--file", path]
    result = parapet("sh", "-c", script, program=BUSYBOX, limit=limit, nested=nested)
    result.out = result.out.replace("\r", "")
    text, _, stats = result.out.partition("=== stats")
    check("=== code 0" in text, "the guest powers off", result)
    check(not TROUBLE.search(text), "a quiet guest", result)
    result.stats = json.loads(stats)
    result.lines = dict(line.rsplit(" ", 1) for line in result.stats["paravisor"].splitlines()
                        if line.startswith("vmbus."))
    return result


@timeout(300)
def test_devices_clock_and_pairs():
    result = machine(DEVICES + "date +CLOCK-%s; sleep 4; poweroff -f", host="date +HOST-%s",
                     options=["--verbose"])
    found = dict(re.findall(r"DEVICE \{(\w{8})-\S+\} (\S+)", result.out))
    for name, start in INTERFACES.items():
        check(found.get(start) == "hv_utils", f"{name}: {found}", result)
    check("Vmbus version:5.3" in result.out or "Vmbus version:6.0" in result.out, "version", result)
    before = int(re.search(r"HOST-(\d+)", result.out)[1])
    clock = int(re.search(r"CLOCK-(\d+)", result.out)[1])
    check(before <= clock <= before + 120, f"the guest's clock: {clock - before} s on", result)
    guest = result.stats["guest"]
    check(guest["heartbeats"] > 1 and guest["time_samples"] > 1, f"heart and clock: {guest}", result)
    check(guest["pairs"].get("OSName") == "Debian test guest", f"pairs: {guest['pairs']}", result)
    check(re.match(r"6\.\d+", guest["pairs"].get("OSVersion", "")), f"{guest['pairs']}", result)


@timeout(300)
def test_sockets_both_ways_without_vtl2():
    # first a few of each to warm up; then the counters must not grow with the number of messages
    script = (DEVICES + "hv ping 9 10 64; hv ping 9 200 64; hv ping 9 20 65536; hv echo 7 &\n"
              "sleep 1000\n")
    host = (f"{HYBRID} echo /tmp/vm_9 & "
            f"({HYBRID} ping /tmp/vm 7 200 64; {HYBRID} ping /tmp/vm 7 20 65536) &\n")
    result = machine(script, host=host, options=["--stats-after", "60000"])
    for line in ("HV-PING 200 of 64", "HV-PING 20 of 65536", "HOST-PING 200 of 64",
                 "HOST-PING 20 of 65536"):
        check(line in result.out, line, result)
    vsock = result.stats["vsock"]
    check(vsock["connected"] == 5, f"{vsock}", result)
    # 450 messages with an answer each: what VTL2 saw of VMBus are the messages that open channels
    vp = result.stats["vps"][0]
    posts = int(result.lines["vmbus.guest_posts"])
    signals = sum(call["calls"] for call in vp["hypercalls"] if call["code"] == 93 and call["vtl"] == 0)
    check(signals > 400, f"{signals} signals of the guest", result)
    check(int(result.lines["vmbus.guest_signals"]) == 0, "signals came to VTL2", result)
    check(vp["hypercall_intercepts"] == posts < 100, f"{posts} messages to VTL2", result)
    check(vp["vtl2_entries_intercept"] == sum(vp[f"{kind}_intercepts"] for kind in (
        "io", "mmio", "msr", "eoi", "hypercall", "other")), f"other entries: {vp}", result)
    check(int(result.lines["vmbus.guest_dropped"]) == 0, f"{result.lines}", result)
