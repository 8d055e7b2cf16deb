"""Damaged images, missing files, wrong options: one clear line each. `parapet` under ASan, no machine."""
import concurrent.futures
import os
import random
import struct
import subprocess
import tempfile
import zlib

from harness import BUILD, IMAGE, check, timeout
from machine import RAW

PARAPET = os.path.join(BUILD, "asan/parapet")
WORKERS = 2
FINE = b"hardware virtualisation"  # where the image has passed all checks on a machine without KVM


def run(*arguments):
    try:
        done = subprocess.run([PARAPET, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=60)
    except subprocess.TimeoutExpired:
        return None, b"no end within 60 s"
    return done.returncode, done.stdout + done.stderr


def clear_error(code, output):
    """One line for people, and a code that says so."""
    lines = output.splitlines()
    if code in (1, 2) and len(lines) == 1 and lines[0].startswith(b"parapet: error: "):
        return len(lines[0]) < 400
    return False


def expect_error(wanted, *arguments):
    code, output = run(*arguments)
    check(clear_error(code, output), str(arguments), (code, output))
    check(wanted.encode() in output, f"{arguments}: says '{wanted}'", output)


def test_wrong_use():
    here = ["run", "--image", IMAGE]
    for arguments, wanted in (
            (["run"], "--image is missing"),
            (["run", "--image", "/nonexistent"], "/nonexistent: No such file"),
            (["run", "--image", "/"], "not a file"),
            (["run", "--image", "/dev/null"], "/dev/null"),
            ([*here, "--kernel", "/nonexistent"], "/nonexistent: No such file"),
            ([*here, "--kernel", __file__], "neither a bzImage nor an ELF"),
            ([*here, "--kernel", RAW, "--initrd", "/nonexistent"], "/nonexistent: No such file"),
            ([*here, "--initrd", RAW], "--kernel"),
            ([*here, "--memory", "32M"], "--memory 32M"),
            ([*here, "--memory", "1K"], "--memory 1K"),
            ([*here, "--memory", "99999999999999999999"], "--memory"),
            ([*here, "--memory", "-1"], "--memory -1"),
            ([*here, "--memory", "65M"], "--memory 65M"),
            ([*here, "--memory", "64M", "--kernel", RAW, "--cmdline", "x" * 100000], "command line"),
            ([*here, "--cpus", "0"], "--cpus 0"),
            ([*here, "--cpus", "65"], "--cpus 65"),
            ([*here, "--cpus", "two"], "--cpus two"),
            ([*here, "extra"], "unexpected argument 'extra'"),
            ([*here, "--stats-after", "never"], "--stats-after never")):
        expect_error(wanted, *arguments)


def test_too_little_memory_for_the_kernel():
    """A large initrd and 64 MiB: the image itself tells."""
    with tempfile.NamedTemporaryFile() as f:
        f.truncate(100 << 20)
        expect_error("memory", "run", "--image", IMAGE, "--kernel", RAW, "--initrd", f.name, "--memory",
                     "64M")


# --- damaged images

HEADERS = struct.Struct("<6I")


def headers(image):
    """(offset, type, length) of every variable header."""
    _, _, offset, size, _, _ = HEADERS.unpack_from(image)
    at = offset
    while at < offset + size:
        kind, length = struct.unpack_from("<II", image, at)
        yield at, kind, length
        at += 8 + (length + 7) // 8 * 8


def fix_checksum(image):
    """Makes the checksum right, so that the damage is looked at."""
    _, _, offset, size, _, _ = HEADERS.unpack_from(image)
    if offset + size > len(image) or offset > len(image):
        return
    struct.pack_into("<I", image, 20, 0)
    fixed = bytes(image[:offset])
    struct.pack_into("<I", image, 20, zlib.crc32(bytes(image[offset:offset + size]), zlib.crc32(fixed)))


def survey(images, may_be_fine=True):
    """Runs every damaged image; returns how many were refused."""
    refused = 0

    def one(item):
        name, content = item
        with tempfile.NamedTemporaryFile() as f:
            f.write(content)
            f.flush()
            return name, *run("run", "--image", f.name, "--kernel", RAW, "--memory", "256M")

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        for name, code, output in pool.map(one, images):
            fine = code == 1 and FINE in output and len(output.splitlines()) == 1
            check(clear_error(code, output) and (may_be_fine or not fine), f"{name}: code {code}",
                  output.decode(errors="replace"))
            refused += not fine
    return refused


def read_image():
    with open(IMAGE, "rb") as f:
        return f.read()


def chosen_headers(image):
    """The first and last three of each type, and some between: most describe one page each."""
    by_type = {}
    for header in headers(image):
        by_type.setdefault(header[1], []).append(header)
    picker = random.Random(1)
    for found in by_type.values():
        yield from sorted(set(found[:3] + found[-3:] + picker.sample(found, min(len(found), 4))))


def header_flips(image):
    """Every 32-bit field of the chosen headers, with the checksum right and wrong."""
    for field in range(0, 24, 4):
        for bit in (0, 9, 31):
            for fixed in (False, True):
                damaged = bytearray(image)
                value = struct.unpack_from("<I", damaged, field)[0] ^ 1 << bit
                struct.pack_into("<I", damaged, field, value)
                if fixed and field != 20:
                    fix_checksum(damaged)
                yield f"fixed header field {field} bit {bit}", damaged
    for at, kind, length in chosen_headers(image):
        fields = range(at, at + 8 + length - 3, 4)
        for field in list(fields)[:24]:
            for bit in (0, 12, 31):
                damaged = bytearray(image)
                damaged[field + bit // 8] ^= 1 << bit % 8
                fix_checksum(damaged)
                yield f"header {kind:#x} at {at:#x}, byte {field - at} bit {bit}", damaged


@timeout(400)
def test_image_with_flipped_header_fields():
    image = read_image()
    refused = survey(header_flips(image))
    check(refused > 100, "many are refused", refused)


@timeout(400)
def test_image_cut_short():
    image = read_image()
    every = [at for at, _, _ in headers(image)]
    step = max(1, len(every) // 150)
    _, _, offset, size, _, _ = HEADERS.unpack_from(image)
    cuts = sorted({1, 4, 8, 12, 16, 20, 23, 24, 25, offset + size - 1, offset + size, offset + size + 1,
                   len(image) - 1, *every[::step], *(at + 8 for at in every[::step])})
    survey(((f"cut to {n} bytes", image[:n]) for n in cuts), may_be_fine=False)
    # with the sizes in the header adapted to the cut
    def adapted():
        for n in every[::step]:
            damaged = bytearray(image)
            struct.pack_into("<I", damaged, 12, n - offset)
            fix_checksum(damaged)
            yield f"headers end at {n}", damaged
    survey(adapted())


@timeout(300)
def test_image_with_random_damage():
    picker = random.Random(2)
    image = read_image()
    _, _, offset, size, _, _ = HEADERS.unpack_from(image)

    def damaged_ones():
        for i in range(500):
            damaged = bytearray(image)
            # half of them in the headers, which are a small part of the file
            limit = offset + size if i % 2 else len(image)
            for _ in range(picker.randint(1, 8)):
                damaged[picker.randrange(limit)] ^= 1 << picker.randrange(8)
            if i % 4 == 1:
                fix_checksum(damaged)
            yield f"random damage {i}", damaged
    survey(damaged_ones())
