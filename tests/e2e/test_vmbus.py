"""VMBus of an unmodified Debian guest, served by the paravisor and relayed to the host."""
import json
import os
import re
import sys
import tempfile

from harness import BUILD, IMAGE, INITRD, KERNEL, ROOT, check, timeout
from machine import PROGRAM, run_script
from test_guest import TROUBLE

sys.path.insert(0, os.path.join(ROOT, "scripts"))
import newc  # noqa: E402

HYBRID = os.path.join(BUILD, "e2e/hybrid")
# modules, then the devices that the guest sees
DEVICES = ("modprobe hv_vmbus; modprobe hv_utils; modprobe hv_sock; hv kvp; sleep 3\n"
           "for d in /sys/bus/vmbus/devices/*; do echo DEVICE $(cat $d/class_id) $(basename "
           "$(readlink $d/driver)); done; dmesg | grep -E 'hv_vmbus|hv_utils'\n")
INTERFACES = {"shutdown": "0e0b6031", "timesync": "9527e630", "heartbeat": "57164f39", "kvp": "a9a0f4e7"}


def machine(guest, host="", after="", options=(), cmdline="", cpus=1, limit=280, initrd=INITRD,
            memory="256M", quiet=True):
    """Runs the guest's script under `parapet run --vsock`, with `host` (shell) beside it."""
    command = (f"{PROGRAM} run --image {IMAGE} --kernel {KERNEL} --initrd {initrd} --memory {memory} "
               f"--cmdline 'console=ttyS0 loglevel=4 {cmdline}' --cpus {cpus} --vsock /tmp/vm "
               f"--control /tmp/control --stats-json /tmp/stats.json {' '.join(options)}")
    script = (f"cat >guest <<'END'\n{guest}\nEND\n{host}\n{command} <guest 2>&1\n"
              f"echo \"=== code $?\"\n{after}\necho '=== stats'; cat /tmp/stats.json")
    result = run_script(script, limit, (IMAGE, KERNEL, initrd, HYBRID))
    result.out = result.out.replace("\r", "")
    text, _, stats = result.out.partition("=== stats")
    check("=== code 0" in text, "the guest powers off", result)
    check(not quiet or not TROUBLE.search(text), "a quiet guest", result)
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
def test_pairs_from_the_host():
    kvp = f"{PROGRAM} kvp /tmp/control"
    host = (f"(i=0; until {kvp} set first 'ü 1' 2>/tmp/why || [ $((i += 1)) -gt 100 ]; do sleep 1; done; "
            f"{kvp} set second 2; {kvp} set first 'ü 3'; echo GET-$({kvp} get first); "
            f"{kvp} list >/tmp/list; echo LIST-$(cat /tmp/list); "
            f"{kvp} delete first; echo CODE-$?; {kvp} get first; echo CODE-$?; "
            f"{kvp} --json list; {PROGRAM} shutdown /tmp/control) 2>&1 &\n")
    result = machine(DEVICES + "sleep 100\n", host=host, options=["--stats-after", "90000"])
    for line in ("GET-ü 3\n", "LIST-first=ü 3 second=2\n", "CODE-0\n", "no such key", "CODE-1\n",
                 '{"ok": true, "pairs": [{"key": "second", "value": "2"}]}\n'):
        check(line in result.out, line, result)


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
    posts = int(result.lines["vmbus.hypercalls.post_message"])
    signals = sum(call["calls"] for call in vp["hypercalls"] if call["code"] == 93 and call["vtl"] == 0)
    check(signals > 400, f"{signals} signals of the guest", result)
    # a signal for a socket that the host has just taken back finds nobody else
    late = int(result.lines["vmbus.hypercalls.signal_event"])
    check(late <= vsock["connected"], f"{late} signals came to VTL2", result)
    check(vp["hypercall_intercepts"] - late == posts < 100, f"{posts} messages to VTL2", result)
    check(vp["vtl2_entries_intercept"] == sum(vp[f"{kind}_intercepts"] for kind in (
        "io", "mmio", "msr", "eoi", "hypercall", "other")), f"other entries: {vp}", result)
    check(int(result.lines["vmbus.messages_dropped"]) == 0, f"{result.lines}", result)


# what the host does in each life of the guest: wait for its drivers, an echo, then a word
UP = f"""up() {{
until {PROGRAM} status /tmp/control 2>/dev/null | grep -q '"shutdown": true.*"OSVersion": "6'; do sleep 1; done
{HYBRID} ping /tmp/vm 7 20 1000
{PROGRAM} shutdown $1 /tmp/control
sleep 3
}}
"""


@timeout(420)
def test_ten_reboots_then_shutdown_from_the_host():
    host = UP + "(for i in 1 2 3 4 5 6 7 8 9 10; do up --reboot; done; up) &\n"
    result = machine("", host=host, cmdline="-- hv-service", limit=400)
    check(result.out.count("PARAPET-GUEST-USERSPACE") == 11, "eleven lives", result)
    check(result.out.count("HOST-PING 20 of 1000") == 11, "sockets in each", result)
    check(result.out.count('"by": "VMBus"') == 11, "shut down by the driver", result)


@timeout(300)
def test_power_button_without_driver():
    host = (f"(sleep 2; until {PROGRAM} shutdown --reboot /tmp/control | grep -q 'no shutdown driver'; do "
            "sleep 1; done; echo REFUSED-REBOOT) &\n")
    result = machine("sleep 20; poweroff -f", host=host)
    check("REFUSED-REBOOT" in result.out, "no driver, no reboot", result)


def other_kernel(take_over, **more):
    """Another kernel takes over a guest with open channels, and finds the same devices."""
    archive = newc.Archive()
    archive.copy(KERNEL, "/boot/vmlinuz")
    archive.copy(INITRD, "/boot/initrd")
    with tempfile.NamedTemporaryFile() as initrd:
        with open(INITRD, "rb") as f:
            initrd.write(f.read())
        archive.write(initrd)
        initrd.flush()
        load = "/boot/vmlinuz /boot/initrd 'console=ttyS0 loglevel=4 -- hv-service'"
        script = f"hv-service & sleep 12; {take_over.replace('LOAD', load)}\n"
        host = (f"({HYBRID} ping /tmp/vm 7 20 1000; sleep 25; {HYBRID} ping /tmp/vm 7 20 1000; "
                f"{PROGRAM} shutdown /tmp/control) &\n")
        result = machine(script, host=host, initrd=initrd.name, memory="512M", **more)
    check(result.out.count("PARAPET-GUEST-USERSPACE") == 2, "two kernels", result)
    check(result.out.count("HOST-PING 20 of 1000") == 2, "sockets in both", result)
    check('"by": "VMBus"' in result.out, "shut down by the driver", result)
    return result


@timeout(300)
def test_two_processors_and_intercepts_as_messages():
    result = machine("", host=UP + "(up) &\n", cmdline="-- hv-service", cpus=2, options=["--synic-intercepts"])
    check("HOST-PING 20 of 1000" in result.out and '"by": "VMBus"' in result.out, "served", result)


@timeout(300)
def test_kexec():
    other_kernel("hv kexec LOAD")


@timeout(300)
def test_crash_kernel():
    # on Hyper-V Linux reports a crash before it starts the crash kernel
    result = other_kernel("hv crash-kernel LOAD; sleep 1; echo c >/proc/sysrq-trigger",
                          cmdline="crashkernel=160M", quiet=False, options=["--on-crash", "continue"])
    check("error: guest crash on VP 0: P0" in result.out, "told on the host", result)
    check("Kernel panic - not syncing: sysrq triggered crash" in result.out, "by its last words", result)
