"""`parapet shell` and `exec` as a person uses them, from outside, in one VM."""
import re
import subprocess
import time

from harness import check, long, timeout
from machine import PROGRAM
from test_diag_client import Terminal
from vm import Vm


def shell(vm):
    terminal = Terminal(vm, "shell", "-e", "PS1=ready> ")
    terminal.until(rb"ready> ")
    return terminal


def programs(vm):
    """Processes of the diagnostics server's programs, by name."""
    listed = vm.execute("/bin/sh", "-c", "for p in /proc/[0-9]*; do read n <$p/comm && echo $n; done")
    return listed.stdout.split()


def one_person(vm):
    terminal = shell(vm)
    terminal.type("stty size\r")
    terminal.until(rb"30 100\r\n")
    terminal.resize(44, 121)
    time.sleep(1)
    terminal.type("stty size\r")
    terminal.until(rb"44 121\r\n")
    # Ctrl-C ends the program, not the shell
    terminal.type("echo start; sleep 100\r")
    terminal.until(rb"\nstart\r\n")
    time.sleep(1)
    terminal.type("\x03")
    terminal.until(rb"ready> ", 10)
    terminal.type("echo after $?\r")
    terminal.until(rb"\nafter 130\r\n")
    # an editor on the whole screen
    terminal.type("vi /tmp/text\r")
    terminal.until(rb"\x1b\[43;1H~.*- /tmp/text 1/1")
    terminal.type("ifirst line\rsecond line")
    terminal.until(rb"second line")
    terminal.type("\x1b")
    terminal.until(rb"- /tmp/text \[Modified\]")
    terminal.type(":wq\r")
    terminal.until(rb"ready> ")
    terminal.type("cat /tmp/text; wc -l /tmp/text\r")
    terminal.until(rb"\nfirst line\r\nsecond line\r\n2 /tmp/text\r\n")
    terminal.type("exit 7\r")
    check(terminal.end() == 7, "exit code")


def twenty_at_once(vm):
    shells = [Terminal(vm, "shell", "-e", f"PS1=ready{i}> ") for i in range(20)]
    for i, terminal in enumerate(shells):
        terminal.until(rb"ready%d> " % i, 60)
        terminal.type(f"echo $(({i} * 1000))-is-mine; sleep 1; exit {i}\r")
    for i, terminal in enumerate(shells):
        terminal.until(rb"\n%d-is-mine\r\n" % (i * 1000), 60)
        check(terminal.end() == i, f"exit code of shell {i}")


def killed_in_the_middle(vm):
    terminal = shell(vm)
    terminal.type("sleep 999\r")
    time.sleep(1)
    check("sleep" in programs(vm), "it runs")
    terminal.process.kill()
    terminal.end()
    for _ in range(40):
        time.sleep(0.5)
        if "sleep" not in programs(vm):
            return
    check(False, "a killed client leaves nothing", programs(vm))


def server_holds(vm):
    """Open files, memory (KiB) of the diagnostics server, free memory of VTL2, number of programs (the kernel's
    own threads come and go)."""
    text = vm.execute("/bin/sh", "-c", """
for p in /proc/[0-9]*; do read n <$p/comm; [ "$n" = diag ] && d=$p; done
echo $(ls $d/fd | wc -l) $(grep RssAnon $d/status) $(grep MemAvailable /proc/meminfo) $(cat /proc/[0-9]*/status 2>/dev/null | grep -c VmSize)
""").stdout
    found = re.fullmatch(r"(\d+) RssAnon: (\d+) kB MemAvailable: (\d+) kB (\d+)\s*", text)
    check(found, "counts", text)
    return [int(number) for number in found.groups()]


def many(vm, count):
    """Programs in a row leave nothing behind, in VTL2 and on the host."""
    for _ in range(20):
        vm.execute("/bin/true")
    before, host = server_holds(vm), vm.host_holds()
    start = time.monotonic()
    for i in range(count):
        code = subprocess.run([PROGRAM, "exec", vm.path, "/bin/true"], stdin=subprocess.DEVNULL).returncode
        check(code == 0, f"exec {i}", code)
    print(f"{count} in {time.monotonic() - start:.1f} s")
    time.sleep(2)
    after, host_after = server_holds(vm), vm.host_holds()
    print(before, host, after, host_after)
    check(after[0] <= before[0] and after[3] <= before[3], "files, processes", (before, after))
    check(after[1] <= before[1] + 64 and after[2] >= before[2] - 512, "memory", (before, after))
    check(host_after[0] <= host[0] and host_after[1] <= host[1] and host_after[2] <= host[2] + 256,
          "on the host", (host, host_after))


@timeout(170)
def test_shell_of_a_vm():
    with Vm() as vm:
        one_person(vm)
        twenty_at_once(vm)
        killed_in_the_middle(vm)
        many(vm, 100)


@long(600)
def test_a_thousand_programs():
    with Vm(limit=590) as vm:
        many(vm, 1000)
