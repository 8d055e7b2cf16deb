"""Benchmark of sockets over VMBus: host to VTL2, host to guest through the relay, `parapet exec` and `restart`.

All from outside by a VM's sockets; in the nested machine that includes its own round trip (run-nested),
which `rpc` shows: the smallest question to VTL2 and its answer.
"""
import contextlib
import os
import statistics
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/e2e"))
import diagnostics  # noqa: E402
from vm import Vm  # noqa: E402

SIZES = (64, 65536)
COUNT = {64: 200, 65536: 240}
REPEATS = 20


def median_ms(function, count=REPEATS):
    times = []
    for _ in range(count):
        start = time.monotonic()
        function()
        times.append((time.monotonic() - start) * 1e3)
    return statistics.median(times)


def read_exactly(sock, size):
    while size:
        piece = sock.recv(size)
        if not piece:
            raise EOFError
        size -= len(piece)


def bounce(vm, out, back, size):
    """Messages there and back, and the switches to VTL2 meanwhile (other than those of an idle VM)."""
    message = os.urandom(size)
    count = COUNT[size]

    def go():
        for _ in range(count):
            out.sendall(message)
            read_exactly(back, size)
    seconds, entries, _ = vm.counted(go)
    entries -= seconds * vm.idle_rate
    return {"roundtrips_per_s": count / seconds, "mib_per_s": 2 * count * size / seconds / 2 ** 20,
            "vtl2_entries_per_roundtrip": entries / count}


class Measured(Vm):
    def counters(self):
        """Interrupts and intercepts that made VTL2 run, and its context switches."""
        sock, number = self.diag.data()
        with sock:
            self.diag.diag("ReadFile", diagnostics.number(2, number) + diagnostics.data(3, "/proc/stat"))
            lines = dict(line.split(" ", 1) for line in diagnostics.drain(sock).decode().splitlines())
        intercepts = int(self.diag.inspect("vm/partition/vp/0/stats/vtl_transitions"))
        return int(lines["intr"].split()[0]) + intercepts, int(lines["ctxt"])

    def calibrate(self):
        """What the counting itself adds."""
        counted = [self.counters() for _ in range(12)]
        self.cost = [statistics.median(b[i] - a[i] for a, b in zip(counted, counted[1:])) for i in (0, 1)]

    def counted(self, function):
        """(seconds, entries, context switches) of a function."""
        before, start = self.counters(), time.monotonic()
        function()
        seconds = time.monotonic() - start
        after = self.counters()
        return seconds, *(b - a - c for a, b, c in zip(before, after, self.cost))

    def rates(self, seconds):
        elapsed, entries, switches = self.counted(lambda: time.sleep(seconds))
        return entries / elapsed, switches / elapsed


def to_vtl2(vm):
    """An echo by `cat` on the raw sockets of a program in VTL2."""
    socks, ids = zip(*(vm.diag.data() for _ in range(2)))
    vm.diag.diag("Exec", diagnostics.exec_request("/bin/cat", ids=(*ids, 0), raw=True))
    try:
        return {str(size): bounce(vm, *socks, size) for size in SIZES}
    finally:
        for sock in socks:
            sock.close()


def to_guest(vm):
    vm.type("modprobe hv_vmbus; modprobe hv_sock; hv echo 7 &")
    for _ in range(100):
        with contextlib.suppress(diagnostics.Error, OSError):
            sock = diagnostics.dial(vm.vsock, 7)
            break
        time.sleep(0.2)
    with sock:
        return {str(size): bounce(vm, sock, sock, size) for size in SIZES}


def restart(vm):
    """Milliseconds that the guest stands still when the paravisor's process is replaced."""
    def once():
        vm.diag.diag("Restart")
        return int(vm.diag.inspect("vm/servicing/last_stop_us")) / 1e3
    return statistics.median(once() for _ in range(REPEATS))


def measure(idle=10):
    with Measured(limit=170) as vm:
        vm.diag = diagnostics.Client(vm.path)
        time.sleep(2)
        vm.calibrate()
        vm.idle_rate, switches = vm.rates(idle)
        out = {"rpc_ms": median_ms(lambda: vm.diag.call("diag.OpenhclDiag", "Ping")),
               "ping_ms": median_ms(lambda: vm.client("ping")),
               "exec_true_ms": median_ms(lambda: vm.execute("/bin/true")),
               "idle_entries_per_s": vm.idle_rate, "idle_switches_per_s": switches}
        out["exec_beyond_roundtrip_ms"] = out["exec_true_ms"] - out["ping_ms"]
        # a shell that waits for its user
        socks, ids = zip(*(vm.diag.data() for _ in range(2)))
        pid = dict(diagnostics.fields(vm.diag.diag("Exec", diagnostics.exec_request(
            "/bin/sh", tty=True, ids=(*ids, 0)))))[1]
        time.sleep(1)
        out["shell_entries_per_s"], out["shell_switches_per_s"] = vm.rates(idle)
        socks[0].sendall(b"exit\n")
        vm.diag.wait(pid)
        for sock in socks:
            sock.close()
        out["vtl2"], out["guest"] = to_vtl2(vm), to_guest(vm)
        out["restart_stop_ms"] = restart(vm)
        vm.diag.close()
    return out


if __name__ == "__main__":
    import json
    print(json.dumps(measure(), indent=1))
