"""Core dumps of VTL2's processes: live ones, and those of a crash; the last words of VTL2's kernel."""
import os
import re
import shutil
import struct
import subprocess
import tempfile

from harness import BUILD, check, timeout
from machine import VM, VM_FILES, check_sections, run_script

SCRIPT = r"""
mkdir -p $out
kill_diag() {
    diag=$(parapet ps | sed -n 's/^ *\([0-9]*\) .* diag$/\1/p')
    parapet exec /bin/kill -$1 $diag >/dev/null 2>&1
    sleep 1
    until_ping
}
check folder; $program run --image $image --kernel $kernel --crash-dir /proc/none 2>&1; echo "code $?"
vm --crash-dir /tmp/crash
check live; parapet core-dump -n diag -o $out/diag; echo "code $?"
parapet core-dump -v -o $out/paravisor 2>verbose; echo "code $?"; tail -3 verbose
parapet core-dump -p 9999; echo "code $?"
parapet ping; echo 'echo guest goes on' >&3; sleep 1; grep '^guest goes on' guest
i=0; while [ $((i += 1)) -le 15 ]; do parapet core-dump -n diag >again || echo "code $?"; done; [ -s again ] && echo fifteen
# who reads slowly holds up neither the process that is dumped nor the guest
check held; (parapet core-dump | (sleep 8; wc -c) >count) & sleep 4
echo 'echo not held up' >&3; sleep 2; [ -s count ] || grep '^not held up' guest; wait $!; cat count
check slow; parapet exec /bin/sh -c \
    '(cat /bin/busybox; sleep 5) | UNDERHILL_CRASH_TIMEOUT=2 /bin/underhill-crash 1 1 11 slow'; echo "code $?"; ls -a crash
check segv; kill_diag SEGV; parapet ping; ls -a crash; cp crash/*.core $out/segv
check crash; parapet crash; echo "code $?"; wait $vm; echo "code $?"; ls -l crash | cut -c 1-10
rm $out/segv.done 2>/dev/null; cp $(ls -t crash/*.core | head -1) $out/crash
cat guest
check none; vm; kill_diag ABRT; parapet ping; echo 'poweroff -f' >&3; wait $vm; echo "code $?"; cat guest
check panic; vm --crash-dir /tmp/panic; parapet exec /bin/sh -c 'echo c >/proc/sysrq-trigger' 2>/dev/null
wait $vm; echo "code $?"; cat guest panic/vtl2.*.report.txt
check end
"""

PT_LOAD, PT_NOTE = 1, 4
NT_PRSTATUS, NT_PRPSINFO, NT_AUXV, NT_FILE, KMSG = 1, 3, 6, 0x46494c45, 0xffffffff
KMSG_SIZE = 262144
CORES = ("diag", "paravisor", "segv", "crash")


def read_core(path):
    """Checks the structure of an ELF core; returns its notes [(type, name, description)], loads."""
    data = open(path, "rb").read()
    (magic, phoff, shoff, phentsize, phnum, shnum) = struct.unpack_from("<8s24xQQ6xHHxxH", data)
    check(magic[:6] == b"\x7fELF\x02\x01" and phentsize == 56 and shoff == 0 and shnum == 0,
          f"{path}: header")
    notes, loads, end = [], [], 0
    for i in range(phnum):
        kind, flags, offset, vaddr, _, filesz, memsz, align = struct.unpack_from(
            "<IIQQQQQQ", data, phoff + i * 56)
        check(offset + filesz <= len(data), f"{path}: segment {i} is cut")
        check((kind == PT_NOTE) == (i == 0), f"{path}: segment {i} is of type {kind}")
        check(offset >= end, f"{path}: segment {i} overlaps the one before")
        end = offset + filesz
        if kind == PT_LOAD:
            check(filesz <= memsz and offset % 4096 == vaddr % 4096, f"{path}: segment {i}")
            loads.append((vaddr, memsz, filesz))
            continue
        at = offset
        while at < end:
            namesz, descsz, note = struct.unpack_from("<III", data, at)
            name = data[at + 12:at + 12 + namesz].rstrip(b"\0").decode()
            at += 12 + (namesz + 3 & ~3)
            notes.append((note, name, data[at:at + descsz]))
            at += descsz + 3 & ~3
        check(at == end, f"{path}: notes")
    check(end == len(data), f"{path}: ends at {len(data)}, not {end}")
    return notes, loads


def kmsg_of(path, notes):
    kind, name, description = notes[-1]
    check(kind == KMSG and name == "KMSG" and len(description) == KMSG_SIZE - 20,
          f"{path}: the last note is {name}")
    used = struct.unpack_from("<I", description, len(description) - 4)[0]
    return description[:used].decode(errors="replace")


@timeout(420)
def test_core_dumps():
    folder = tempfile.mkdtemp(prefix="parapet-crash-")
    try:
        run(folder)
    finally:
        shutil.rmtree(folder)


def run(folder):
    result = run_script(f"{VM}out={folder}{SCRIPT}", 400, VM_FILES, out=[f"{folder}/{name}" for name in CORES])
    check_sections(result, {
        "folder": r"--crash-dir.*/proc/none.*code 1\n",
        "live": r"^code 0\ncode 0\n.*\ncode 1\n.*answer\nguest goes on\nfifteen\n",
        "held": r"^not held up\n\d{6,}\n",
        # given up after its time: nothing is left of it
        "slow": r"^code 146\n\.\n\.\.\n$",
        "segv": r"answer\n\.\n\.\.\nvtl2\.\d{8}-\d{6}\.\d+\.core\n$",
        "crash": r"^code 0\ncode 12\ntotal \d*\n-rw-------\n-rw-------\n"
                 r".*given up: the writer has left"
                 r".*core dump of diag, process \d+, signal 11: /tmp/crash/vtl2\.\S+\.core, \d+ KiB"
                 r".*core dump of paravisor, process \d+, signal 6: .*"
                 r"VTL2: \[ *\d+\.\d+\] diag: crash of process .*the paravisor was killed by signal 6",
        "none": r"^[^\n]*answer\ncode 0\n.*--crash-dir",
        "panic": r"^code 12\n.*error: VTL2 crash on VP 0: P0.*rip ffffffff.*\] Kernel panic - not syncing"
                 r".*\nVTL2 crash on VP 0: P0.*rip ffffffff.*\] Kernel panic - not syncing",
    })
    for name in CORES:
        path = f"{folder}/{name}"
        notes, loads = read_core(path)
        kinds = [kind for kind, _, _ in notes]
        for kind in (NT_PRSTATUS, NT_PRPSINFO, NT_AUXV, NT_FILE):
            check(kind in kinds, f"{name}: no note of type {kind:#x}")
        check("Linux version" in kmsg_of(path, notes), f"{name}: kernel log")
        program = b"paravisor" if name in ("paravisor", "crash") else b"diag"
        info = next(d for kind, _, d in notes if kind == NT_PRPSINFO)
        check(info[40:56].rstrip(b"\0") == program, f"{name}: is of {info[40:56]}")
        # the guest has 256 MiB, of which nothing is in it
        check(os.path.getsize(path) < 8 << 20, f"{name}: {os.path.getsize(path)} bytes")
        check(any(filesz for _, _, filesz in loads), f"{name}: no memory")
        if shutil.which("gdb"):
            debug(name, path)


def debug(name, path):
    # where the threads wait is in the C library, which has no unwind tables: one frame is certain
    program = os.path.join(BUILD, "vtl2/paravisor.full")
    done = subprocess.run(["gdb", "-nx", "-batch", "-ex", "bt", program, path],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    signal = {"segv": "SIGSEGV", "crash": "SIGABRT"}.get(name, "")
    check(re.search(r"^#0 .* in \w+ \(.*\)$", done.stdout, re.M) and signal in done.stdout,
          f"{name}: {done.stdout}")
