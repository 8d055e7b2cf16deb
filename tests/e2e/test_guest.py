"""Debian's kernel, unmodified, as the guest: sizes, console, reboot, panic, ways to end it from outside."""
import os
import pty
import re
import selectors
import signal
import subprocess
import time

from harness import IMAGE, INITRD, KERNEL, PARAPET, ROOT, USERSPACE, Result, check, guest, timeout
from machine import RAW, Case, run_cases

# what no boot may say
TROUBLE = re.compile(r"BUG:|Oops|WARNING: CPU|Call Trace|Kernel panic|soft lockup|rcu: INFO|"
                     r"unchecked MSR|irq \d+: nobody cared|Unable to handle")


class Session:
    """A guest that is talked to while it runs."""

    def __init__(self, *options, kernel=KERNEL, cmdline="console=ttyS0 loglevel=4", terminal=False,
                 initrd=INITRD, limit=280):
        command = [PARAPET, "--timeout", str(limit), "--quiet", "--", "run", "--image", IMAGE, "--kernel",
                   kernel, "--cmdline", cmdline, "--memory", "256M", *options]
        if initrd:
            command += ["--initrd", initrd]
        self.text = ""
        self.started = time.monotonic()
        self.end = self.started + limit
        if terminal:
            self.fd, theirs = pty.openpty()
            self.process = subprocess.Popen(command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs,
                                            start_new_session=True)
            os.close(theirs)
            self.write = self.fd
        else:
            self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.fd, self.write = self.process.stdout.fileno(), self.process.stdin.fileno()
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.fd, selectors.EVENT_READ)

    def read(self):
        """False at the end of the output."""
        if not self.selector.select(1):
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b""
        self.text += data.decode(errors="replace")
        return bool(data)

    def wait_for(self, text, count=1):
        while self.text.count(text) < count:
            alive = time.monotonic() < self.end and self.read()
            check(alive or self.text.count(text) >= count, f"'{text}' comes {count} times", self.text[-3000:])

    def send(self, text):
        os.write(self.write, text.encode())

    def finish(self):
        while time.monotonic() < self.end and self.read():
            pass
        code = self.process.wait(timeout=max(1, self.end - time.monotonic()) + 20)
        return Result(code, self.text, "", time.monotonic() - self.started)


def boots(cpus, memory, least_mib, *options, **more):
    script = ("uname -a; nproc; cat /proc/cpuinfo | grep -c processor\n"
              "grep MemTotal /proc/meminfo; cat /proc/iomem; dmesg | grep -c Linux.version\n"
              "dmesg | grep -E 'WARN|BUG|Firmware Bug|error'; cat /proc/interrupts; date +%Y\n"
              "poweroff -f\n")
    result = guest(script, cpus=cpus, memory=memory, cmdline="loglevel=4", options=options,
                   limit=135, **more)
    out = result.out.replace("\r", "")
    check(result.code == 0, "powers off with exit code 0", result)
    check(re.search(r"^Linux \S+ 6\.\d+.*x86_64", out, re.M), "uname", result)
    check(f"\n{cpus}\n{cpus}\n" in out, f"{cpus} processors", result)
    total = int(re.search(r"MemTotal: *(\d+) kB", out)[1]) >> 10
    check(least_mib <= total <= least_mib * 1.35, f"{total} MiB of memory", result)
    check(not TROUBLE.search(out), "a quiet boot", result)
    check(len(result.err.splitlines()) <= 2, "nothing on stderr", result)
    year = int(re.findall(r"^(20\d\d)$", out, re.M)[-1])
    check(abs(year - time.gmtime().tm_year) <= 1, f"the year is {year}", result)
    return out


@timeout(300)
def test_one_processor_256_mib():
    boots(1, "256M", 200)


@timeout(300)
def test_two_processors_1_gib():
    boots(2, "1G", 900)


@timeout(300)
def test_four_processors_and_memory_above_the_hole():
    out = boots(4, "4608M", 4300)
    ranges = re.findall(r"([0-9a-f]+)-([0-9a-f]+) : System RAM", out)
    check(any(int(a, 16) == 1 << 32 for a, _ in ranges), "memory goes on at 4 GiB", out)
    check(not any(int(a, 16) < 0xfec00000 <= int(b, 16) for a, b in ranges), "a hole for devices", out)


@timeout(300)
def test_intercepts_as_messages():
    boots(2, "512M", 420, "--synic-intercepts")


@timeout(420)
def test_three_reboots_then_power_off():
    session = Session("--cpus", "2", limit=400)
    for i in range(3):
        session.wait_for(USERSPACE, i + 1)
        session.wait_for(" # ", i + 1)
        session.send("reboot -f\n")
    session.wait_for(USERSPACE, 4)
    session.send("poweroff -f\n")
    result = session.finish()
    check(result.code == 0, "exit code", result)
    check(result.out.count(USERSPACE) == 4, "four boots", result)


@timeout(300)
def test_panic():
    result = guest("echo c > /proc/sysrq-trigger\n", cmdline="loglevel=4 panic=-1", limit=280)
    check(result.code == 10, "exit code", result)
    check("sysrq triggered crash" in result.out, "the kernel's own words", result)
    check("parapet: error: guest panic" in result.err, "says so", result)


@timeout(120)
def test_ctrl_a_x_on_a_terminal():
    session = Session(terminal=True, kernel=RAW, initrd=None, cmdline="test=loop", limit=110)
    session.wait_for("end by: loop")
    session.send("\x01x")
    result = session.finish()
    check(result.code == 0, "exit code", result)


@timeout(120)
def test_signal():
    session = Session(kernel=RAW, initrd=None, cmdline="test=loop", limit=110)
    session.wait_for("end by: loop")
    session.process.send_signal(signal.SIGTERM)
    result = session.finish()
    check(result.code == 143, "exit code", result)


@timeout(240)
def test_serial_back_ends_and_missing_kvm():
    helper = os.path.join(ROOT, "build/e2e/")
    raw = "string-io,timers"
    results = run_cases([
        Case("file", raw, "--serial", "file:/tmp/console", "--serial2", "null",
             after="cat /tmp/console; rm /tmp/console"),
        Case("unix", raw, "--serial", "unix:/tmp/socket",
             before=f"{helper}unixcat /tmp/socket >/tmp/from-socket &", after="wait; cat /tmp/from-socket"),
        Case("unwritable", raw, "--serial", "file:/nonexistent/x"),
        Case("no-kvm", raw, before="mv /dev/kvm /dev/kvm.away", after="mv /dev/kvm.away /dev/kvm"),
        Case("no-access", raw, before="chmod 600 /dev/kvm", around=f"{helper}asuser"),
    ], limit=220, files=[helper + "unixcat", helper + "asuser"])
    for name in ("file", "unix"):
        check(results[name].code == 0 and "RAW-GUEST OK" in results[name].out, name, results[name])
    for name, wanted in (("unwritable", "/nonexistent/x"), ("no-kvm", "/dev/kvm is missing"),
                         ("no-access", "/dev/kvm")):
        result = results[name]
        lines = result.out.splitlines()
        check(result.code == 1 and len(lines) == 1 and wanted in lines[0], name, result)
