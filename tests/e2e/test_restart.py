"""`parapet restart`: another process takes over the guest, and neither guest nor host notices."""
import re
import subprocess
import time

from diagnostics import dial, fields
from harness import USERSPACE, check, long, timeout
from machine import PROGRAM
from test_guest import TROUBLE
from vm import Vm

STOOD = re.compile(r"restarted with a state of (\d+) bytes; the guest stood still for (\d+)\.\d+ ms")


class Echo:
    """A connection to the guest's hv_sock echo on port 7, which stays open."""

    def __init__(self, vm):
        self.sock = dial(vm.vsock, 7)
        self.sock.settimeout(30)

    def round(self, size):
        sent = bytes(i * 7 % 251 for i in range(size))
        self.sock.sendall(sent)
        back = b""
        while len(back) < size:
            piece = self.sock.recv(size - len(back))
            check(piece, f"the guest's echo: {len(back)} of {size} bytes came back")
            back += piece
        check(back == sent, "the guest's echo is what was sent")


def paravisor(vm):
    """Process id, resident KiB and open files."""
    text = vm.execute("/bin/sh", "-c", """p=$(cat /run/underhill.pid)
echo $p $(grep RssAnon /proc/$p/status) $(ls /proc/$p/fd | wc -l)""").stdout
    found = re.fullmatch(r"(\d+) RssAnon: (\d+) kB (\d+)\s*", text)
    check(found, "the paravisor's process", text)
    return [int(number) for number in found.groups()]


def restart(vm):
    done = vm.client("restart")
    check(done.returncode == 0 and not done.stderr, "restart", done.stderr + vm.tail())


def stream_is_whole(vm, name):
    """The last of the numbers that the guest has written so far. The first ones stand behind a prompt, the last one
    may be on its way."""
    text = re.sub(r"HOST-HOLDS .* kB\n", "", vm.text())
    numbers = [int(n) for n in re.findall(rf"^{name}(\d\d+)\n", text, re.M)]
    check(numbers == list(range(10, numbers[-1] + 1)), "a gap or a repetition on the console", numbers)
    return numbers[-1]


def saved_state(vm):
    """Names of the units in the state that `parapet save-state` writes."""
    done = subprocess.run([PROGRAM, "save-state", vm.vtl2], stdout=subprocess.PIPE, check=True)
    state = fields(done.stdout)
    check(state[0][0] == 1 and dict(fields(state[0][1]))[2] > 0, "the time of the stop", state[0])
    return [dict(fields(unit))[1].decode() for number, unit in state[1:]]


def drivers(vm):
    echoes = vm.text().count("HV-ECHO-READY")
    vm.type("modprobe hv_vmbus; modprobe hv_utils; modprobe hv_sock; hv kvp; hv echo 7 &")
    vm.wait_for("HV-ECHO-READY", echoes + 1)
    for _ in range(60):
        if '"OSVersion": "6' in vm.host("status").stdout:
            return
        time.sleep(0.5)
    check(False, "the guest's pairs come", vm.host("status"))


def busy_guest(vm, name, rounds):
    """Restarts while the guest writes to its console, computes, and talks to the host."""
    vm.type("rm -f /stop; while [ ! -e /stop ]; do :; done & i=0; "
            f"while [ ! -e /stop ]; do echo {name}$i; i=$((i+1)); usleep 3000; done &")
    echo = Echo(vm)
    echo.round(100)
    vm.wait_for(f"\n{name}20\n")
    for i in range(rounds):
        restart(vm)
        echo.round(100 + 5000 * (i % 3))
        end, more = time.monotonic() + 100, stream_is_whole(vm, name) + 5
        while stream_is_whole(vm, name) < more:
            check(time.monotonic() < end, "the stream goes on", vm.tail())
            time.sleep(0.05)
    # the guest serves one at a time
    echo.sock.close()
    Echo(vm).round(3000)
    vm.type(f">/stop; sleep 1; echo STOPPED-{name}")
    vm.wait_for(f"\nSTOPPED-{name}")


def stops(vm):
    """(bytes of state, milliseconds) of each restart, from the paravisor's log."""
    said = vm.client("kmsg").stdout
    return [(int(size), int(ms)) for size, ms in STOOD.findall(said)]


def refused(vm):
    """What keeps a restart from happening leaves the guest as it is."""
    for name, value, reason in (("fsize", "1000", "File too large"), ("nofile", "8", "limit of open files")):
        limit = f"mesh/hosts/{paravisor(vm)[0]}/rlimit/{name}/current"
        before = vm.inspect(limit)
        check(vm.client("inspect", "-u", value, "--", limit).returncode == 0, "a limit is set")
        done = vm.client("restart")
        check(done.returncode == 1 and reason in done.stderr, name, done)
        check(vm.client("inspect", "-u", str(before), "--", limit).returncode == 0, "the limit is as before", before)
    check(vm.inspect("vm/servicing/restarts") == 0, "not restarted", vm.inspect("vm/servicing"))
    vm.type("echo STILL-$((6 * 7))")
    vm.wait_for("\nSTILL-42")


def drivers_anew(vm):
    """The guest closes all channels that were opened before, and opens them again. hv_vmbus stays: Linux 6.1 stops
    its timer with it, which no host can mend."""
    vm.type("killall hv; sleep 1; rmmod hv_sock && rmmod hv_utils && echo UNLOADED-$((6 * 7))")
    vm.wait_for("\nUNLOADED-42")
    restart(vm)
    vm.type("modprobe hv_utils; modprobe hv_sock; hv kvp; hv echo 7 & echo AGAIN-$((6 * 7))")
    vm.wait_for("\nAGAIN-42")
    vm.wait_for("HV-ECHO-READY", 2)
    Echo(vm).round(3000)


def booting_guest(vm):
    """Restarts while the guest's kernel boots."""
    done, boots = 0, vm.text().count("Linux version 6")
    vm.type("reboot -f")
    # the reset loads VTL2 anew as well, which forgets the restarts before it
    vm.wait_for("Linux version 6", boots + 1)
    # not for the whole boot: beside other work each of them takes its time
    while done < 8 and vm.text().count(USERSPACE) < 2:
        done += vm.client("restart").returncode == 0
        time.sleep(0.05)
    vm.wait_for(USERSPACE, 2)
    restarts = vm.inspect("vm/servicing/restarts")
    check(2 < done == restarts, "restarts while it boots", (done, restarts))


@timeout(300)
def test_restart_before_drivers_come_anew():
    with Vm(limit=290) as vm:
        drivers(vm)
        restart(vm)
        drivers_anew(vm)
        check(not TROUBLE.search(vm.text()), "a quiet guest", vm.tail())


# takes long beside other work, as the guest boots the slower the more often it is stopped
@long(300)
def test_restart_while_the_guest_boots():
    # with its whole log, which makes a long boot
    with Vm(cmdline="loglevel=7", limit=290) as vm:
        drivers(vm)
        booting_guest(vm)
        drivers(vm)
        Echo(vm).round(3000)
        check(not TROUBLE.search(vm.text()), "a quiet guest", vm.tail())


@timeout(300)
def test_restart_under_a_running_guest():
    with Vm(limit=290) as vm:
        drivers(vm)
        pid = paravisor(vm)[0]
        refused(vm)
        busy_guest(vm, "A", 5)
        check(paravisor(vm)[0] == pid, "the process keeps its number")
        check(vm.inspect("vm/servicing/restarts") == 5, "restarts are counted", vm.inspect("vm/servicing"))
        # what diagnostics show goes on counting, and the boot timeline is the first one's
        check(vm.inspect("vm/partition/vp/0/stats/vtl_transitions") > 1000, "counters")
        check(vm.inspect("boot/guest_entry_us") < vm.inspect("boot/uptime_us") / 2, "timeline")
        # with the guest paused it stays paused
        check(vm.client("pause").returncode == 0, "pause")
        restart(vm)
        check(vm.inspect("vm/partition/power_state") == "paused", "still paused")
        before = vm.inspect("vm/partition/vp/0/stats/vtl_transitions")
        time.sleep(1)
        check(vm.inspect("vm/partition/vp/0/stats/vtl_transitions") == before, "the guest stands still")
        check(vm.client("resume").returncode == 0, "resume")
        check(saved_state(vm) == ["paravisor", "boot", "chipset", "vmbus", "vps"], "units of the state")
        # the host's integration components still reach the guest
        status = vm.host("status").stdout
        check('"shutdown": true' in status and '"OSName": "Debian test guest"' in status, "status", status)
        check(vm.host("kvp", "set", "after", "restart").returncode == 0, "a pair is set")
        vm.type("dmesg | tail -5; echo DONE-$((6 * 7))")
        vm.wait_for("\nDONE-42")
        stood = stops(vm)
        print(f"state, stop: {stood}")
        check(len(stood) == 6, "each restart is in the log", stood)
        check(not TROUBLE.search(vm.text()), "a quiet guest", vm.tail())
        check(vm.host("shutdown").returncode == 0, "shutdown by the host")
        vm.process.wait(60)


@long(600)
def test_two_hundred_restarts():
    with Vm("--cpus", "2", limit=590) as vm:
        drivers(vm)
        busy_guest(vm, "A", 20)
        before, host = paravisor(vm), vm.host_holds()
        busy_guest(vm, "B", 180)
        after, host_after = paravisor(vm), vm.host_holds()
        print(before, after, host, host_after)
        check(after[0] == before[0] and after[1] <= before[1] + 64 and after[2] <= before[2],
              "process, memory, files", (before, after))
        check(host_after[0] <= host[0] and host_after[2] <= host[2] + 256, "on the host", (host, host_after))
