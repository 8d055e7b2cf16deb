"""The reset page of TDX images runs: from the 32-bit state in which TDX starts a processor to the entry
point of the image, on QEMU's processor. TDCALL does not exist there: the guest answers it itself."""
import json
import os
import struct
import subprocess
import tempfile

from harness import BUILD, ROOT, check, timeout

GUEST = os.path.join(ROOT, "tests/guests/tdx")
RESET = 0xfffff000
MAGIC = struct.pack("<Q", 0x1122334455667788)
BASE_MIB, PAGES = 128, 8192
MANIFEST = {"guest_arch": "x64", "guest_configs": [{
    "isolation_type": {"tdx": {"enable_debug": False, "sept_ve_disable": True}},
    "image": {"openhcl": {"memory_page_base": BASE_MIB * 256, "memory_page_count": PAGES}}}]}


def run(*command):
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    check(done.returncode == 0, " ".join(command), done.stdout)


def pages_of(image):
    """{gpa: bytes} of all pages of a version 1 file with one platform"""
    at, size = struct.unpack_from("<II", image, 8)
    end, pages = at + size, {}
    while at < end:
        kind, length = struct.unpack_from("<II", image, at)
        if kind == 0x302:
            gpa, _, offset = struct.unpack_from("<QII", image, at + 8)
            pages[gpa] = image[offset:offset + 4096] if offset else bytes(4096)
        at += 8 + (length + 7) // 8 * 8
    return pages


def build_image(folder, start64):
    """The image with the guest's shim in it; start64: offset of the page's 64-bit code"""
    flags = ("-nostdlib", "-Wl,--build-id=none,-z,noexecstack")
    run("gcc", *flags, "-static-pie", "-Wl,--no-dynamic-linker,-z,norelro,-z,separate-code", "-o",
        f"{folder}/shim", f"{GUEST}/shim.S")
    run("gcc", *flags, "-static", "-no-pie", "-Wl,-Ttext-segment=0x1000000", "-o", f"{folder}/kernel",
        f"{GUEST}/shim.S")
    with open(f"{folder}/shim", "rb") as f:
        shim = f.read()
    check(shim.count(MAGIC) == 1, "one place for the offset")
    with open(f"{folder}/shim", "wb") as f:
        f.write(shim.replace(MAGIC, struct.pack("<Q", start64)))
    with open(f"{folder}/initrd", "wb") as f:
        f.write(b"initrd")
    with open(f"{folder}/tdx.json", "w") as f:
        json.dump(MANIFEST, f)
    run(f"{BUILD}/bin/igvm", "build", f"{folder}/tdx.json", "-o", f"{folder}/tdx.igvm",
        *[f"--resource={key}={folder}/{name}" for key, name in
          (("underhill_kernel", "kernel"), ("openhcl_boot", "shim"), ("underhill_initrd", "initrd"))])
    with open(f"{folder}/tdx.igvm", "rb") as f:
        return pages_of(f.read())


def boot(folder, pages):
    """Runs the image's pages; returns the 64-bit numbers that the guest tells."""
    memory = bytearray(PAGES * 4096)
    for gpa, page in pages.items():
        if gpa not in (0, RESET):
            at = gpa - BASE_MIB * 2**20
            memory[at:at + 4096] = page
    run("gcc", "-c", "-o", f"{folder}/stub.o", f"{GUEST}/stub.S")
    run("objcopy", "-O", "binary", "-j", ".text", f"{folder}/stub.o", f"{folder}/stub")
    with open(f"{folder}/stub", "rb") as f:
        stub = f.read()
    with open(f"{folder}/bios", "wb") as f:
        f.write(stub.ljust(0xf000, b"\xcc") + pages[RESET])
    with open(f"{folder}/memory", "wb") as f:
        f.write(memory)
    # The last option sets the program counter, in the code segment of reset: 0xffff0000
    done = subprocess.run(
        ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "256M", "-display", "none", "-nodefaults",
         "-no-reboot", "-bios", f"{folder}/bios", "-debugcon", f"file:{folder}/out",
         "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
         "-device", f"loader,file={folder}/memory,addr={BASE_MIB * 2**20:#x},force-raw=on",
         "-device", "loader,addr=0x1000,cpu-num=0"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    with open(f"{folder}/out", "rb") as f:
        out = f.read()
    # isa-debug-exit: (0x10 << 1) | 1; 0 is what -no-reboot makes of a triple fault
    check(done.returncode == 0x21, "the guest reaches its end", (done.returncode, done.stdout, out))
    return list(struct.unpack(f"<{len(out) // 8}Q", out))


@timeout(120)
def test_boot_processor_and_others_start():
    with tempfile.TemporaryDirectory() as folder:
        page = build_image(folder, 0)[RESET]
        # the 32-bit code ends with a far jump to selector 8
        jump = page.index(b"\x08\x00", 0xa8) - 5
        check(page[jump] == 0xea, "far jump", page[jump:jump + 7])
        start64 = struct.unpack_from("<I", page, jump + 1)[0] - RESET
        pages = build_image(folder, start64)
        rip, rsi = struct.unpack_from("<Q", page, 0x28)[0], struct.unpack_from("<Q", page, 0x50)[0]
        gdt, cr3 = struct.unpack_from("<Q", page, 0x38)[0], struct.unpack_from("<Q", page, 0x80)[0]
        shim = max(gpa for gpa, data in pages.items() if data[:4] == b"\x7fELF" and gpa <= rip)
        memory_start, crc_isolation = (struct.unpack_from("<Q", pages[shim + rsi], at)[0]
                                       for at in (0x28, 0x20))
        numbers = boot(folder, pages)
        names = ("cr0 cr3 cr4 rip rsi index efer gdt_limit gdt cs ss ds gs memory_start crc_isolation "
                 "instruction rax rcx r10 r11 r12 woken_rsp woken_rsi woken_index command").split()
        check(len(numbers) == len(names), "all is told", numbers)
        got = dict(zip(names, numbers))
        want = {
            # 64-bit mode with the image's tables; QEMU adds CR0.ET
            "cr0": 0x80000021 | 0x10, "cr3": cr3, "cr4": 0x40060, "rip": rip, "rsi": rsi, "index": 0,
            "efer": 0xd00, "gdt_limit": 0x1f, "gdt": gdt, "cs": 0x10, "ss": 0x18, "ds": 0x18, "gs": 0x18,
            "memory_start": memory_start, "crc_isolation": crc_isolation,
            # TDG.VP.VMCALL for RDMSR of the x2APIC id with r10, r11, r12
            "instruction": 0xcc010f66, "rax": 0, "rcx": 0x1c00, "r10": 0, "r11": 0x1f, "r12": 0x802,
            "woken_rsp": 0x1234, "woken_rsi": 0x5678, "woken_index": 7, "command": 0,
        }
        wrong = {name: (hex(got[name]), hex(want[name])) for name in names if got[name] != want[name]}
        check(not wrong, "state (got, want)", wrong)
        check(crc_isolation >> 32 == 3, "an image for TDX", crc_isolation)
