"""A guest that does what no honest kernel does (tests/guests/raw), and what it must not achieve."""
import os
import re
import tempfile

from harness import IMAGE, IMAGE_DEBUG, check, parapet, timeout
from machine import PROGRAM, RAW, Case, run_cases, run_script

LOG_LINES = 400  # of VTL2's whole log, boot included


def hostile(words, cpus=1, image=IMAGE, limit=300, options=()):
    """Runs tests of the bare-metal guest; returns VTL2's log if the image has one."""
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "vtl2.log")
        result = parapet("run", "--image", image, "--kernel", RAW, "--cmdline", f"test={words}",
                         "--cpus", str(cpus), "--memory", "256M", "--vtl2-serial", f"file:{log}",
                         *options, limit=limit, nested=["--out", log])
        check(result.code == 0 and "RAW-GUEST OK" in result.out, words, result)
        for word in words.split(","):
            check(f"PASS {word}" in result.out, word, result)
        check(len(result.err.splitlines()) < 20, "little on stderr", result)
        if not os.path.exists(log):
            return ""
        with open(log, errors="replace") as f:
            text = f.read()
        check(len(text.splitlines()) < LOG_LINES, "VTL2's log has a limit", text[-6000:])
        return text


@timeout(660)
def test_every_port():
    text = hostile("ports-read,ports-write,ports-random,string-io", image=IMAGE_DEBUG, limit=600)
    check("only counted" in text, "VTL2 says when it stops to log", text[-3000:])


@timeout(330)
def test_memory_and_devices():
    hostile("vtl2-memory,holes,instructions,ioapic", image=IMAGE_DEBUG)


@timeout(330)
def test_msrs_and_hypercalls():
    hostile("unknown-msrs,hyperv-msrs,hypercalls,processors,timers", cpus=2, image=IMAGE_DEBUG)


@timeout(330)
def test_vmbus():
    hostile("vmbus,vmbus-rings", image=IMAGE_DEBUG)


@timeout(200)
def test_vmbus_leaves_nothing_behind():
    """Private memory of host and paravisor after 1,000 connections and 1,000 page lists, and after as many again."""
    measure = (f"grep RssAnon /proc/$vm/status; timeout 20 {PROGRAM} inspect demo -j proc/processes/paravisor; "
               f"timeout 20 {PROGRAM} inspect demo -j proc/meminfo")
    words = "vmbus-loops,rest,vmbus-loops,rest"
    script = f"""export XDG_RUNTIME_DIR=/tmp
{PROGRAM} run --image {IMAGE} --kernel {RAW} --cmdline test={words} --memory 256M --name demo >guest 2>&1 &
vm=$!
until_loops() {{ i=0; until [ "$(grep -c 'vmbus-loops (' guest)" = $1 ] || [ $((i += 1)) -gt 400 ]; do sleep 0.2; done; }}
until_loops 1; echo "== first"; {measure}
until_loops 2; echo "== second"; {measure}
wait $vm; echo "code $?"; cat guest"""
    result = run_script(script, 190, (IMAGE, RAW))
    check("code 0" in result.out and result.out.count("PASS vmbus-loops") == 2, "the guest", result)
    for name, noise in (("RssAnon:", 256), ('"RssAnon":', 64), ('"Slab":', 256)):
        found = [int(n) for n in re.findall(name + r"\s*(\d+)", result.out)]
        check(len(found) == 2 and found[1] <= found[0] + noise, f"{name} {found} KiB", result)


@timeout(330)
def test_intercepts_as_messages():
    """The same by the other way from the hypervisor to VTL2."""
    hostile("string-io,vtl2-memory,instructions,unknown-msrs,processors,timers", cpus=2,
            options=["--synic-intercepts"])


def ends(*words, **more):
    return [Case(word, word, "--no-reboot", **more) for word in words]


@timeout(400)
def test_ends_of_all_kinds():
    results = run_cases([
        *ends("triple-fault", "crash", "crash-garbage", "pvpanic", "reset-msr", "reset-cf9", "cr3",
              "idt", "gdt", "stack"),
        *ends("loop", "halt", around="timeout -s TERM 12"),
        *ends("smi", "init-self", around="timeout -s TERM 20"),
        Case("start-garbage", "start-garbage", "--no-reboot", "--cpus", "2", around="timeout -s TERM 20"),
    ], limit=380)
    for name in ("triple-fault", "cr3", "idt", "gdt", "stack"):
        check(results[name].code == 11, name, results[name])
        check("rip" in results[name].out.lower(), f"{name}: registers", results[name])
    check("1122334455667788" in results["triple-fault"].out, "RBX of the triple fault",
          results["triple-fault"])
    for name in ("crash", "crash-garbage", "pvpanic"):
        check(results[name].code == 10, name, results[name])
    check("deliberate" in results["crash"].out and "\x1b" not in results["crash"].out,
          "text of the crash", results["crash"])
    for name in ("reset-msr", "reset-cf9"):
        check(results[name].code == 0 and "RAW-GUEST OK" not in results[name].out, name, results[name])
    for name in ("loop", "halt"):
        check(results[name].code == 143, name, results[name])
    # the guest's own undoing; not that of host or paravisor
    for name in ("smi", "init-self", "start-garbage"):
        check(results[name].code in (0, 11, 143), name, results[name])
        check("paravisor" not in results[name].out, name, results[name])
    # processor 1 waits to be started
    check("status 0x15" not in results["start-garbage"].out, "start by hypercall",
          results["start-garbage"])
