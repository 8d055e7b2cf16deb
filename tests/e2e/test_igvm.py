"""The program `igvm` against other programs: a second measurement, openssl; and flipped bits."""
import glob
import json
import os
import random
import struct
import subprocess
import tempfile
import zlib

import harness
import igvm_measure
from harness import ROOT

IGVM = os.environ.get("IGVM", os.path.join(ROOT, "build/bin/igvm"))
PAGE = 4096
VSM, SNP, TDX = 1, 2, 4
POLICY = 0x3001F


def check(condition, *what):
    harness.check(condition, " ".join(str(w) for w in what))


def run(*command, **more):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, **more)


def igvm(*arguments):
    result = run(IGVM, *arguments)
    check(result.returncode in (0, 1, 2), "ends in order", result)
    return result


class Image:
    """Writes IGVM files of version 1 in Python."""

    def __init__(self):
        self.list = []

    def add(self, kind, content, data=None, offset_at=None):
        self.list.append((kind, content, data, offset_at))

    def platform(self, mask, kind):
        self.add(1, struct.pack("<IBBHQ", mask, 2, kind, 1, 0))

    def policy(self, mask):
        self.add(0x101, struct.pack("<QII", POLICY, mask, 0))

    def area(self, index, pages, data=None):
        self.add(0x301, struct.pack("<QII", pages * PAGE, index, 0), data, 12)

    def insert(self, gpa, mask, index):
        self.add(0x303, struct.pack("<QII", gpa, mask, index))

    def page(self, gpa, mask, data=None, flags=0, kind=0):
        self.add(0x302, struct.pack("<QIIIHH", gpa, mask, 0, flags, kind, 0), data, 12)

    def context(self, gpa, mask, data):
        self.add(0x304, struct.pack("<QIIHH", gpa, mask, 0, 0, 0), data, 12)

    def error(self, gpa, mask, pages):
        self.add(0x30D, struct.pack("<QII", gpa, mask, pages * PAGE))

    def bytes(self):
        size = sum((8 + len(c) + 7) // 8 * 8 for _, c, _, _ in self.list)
        out, data, at = b"", b"", {}
        for kind, content, blob, offset_at in self.list:
            if blob is not None:
                if blob not in at:
                    at[blob] = 24 + size + len(data)
                    data += blob
                content = content[:offset_at] + struct.pack("<I", at[blob]) + content[offset_at + 4:]
            out += (struct.pack("<II", kind, len(content)) + content).ljust(
                (8 + len(content) + 7) // 8 * 8, b"\0")
        data = data or bytes(8)
        fixed = struct.pack("<4sIIIII", b"IGVM", 1, 24, size, 24 + size + len(data), 0)
        crc = zlib.crc32(fixed + out)
        return fixed[:20] + struct.pack("<I", crc) + out + data


def registers():
    one = struct.pack("<BI11x", 2, 0x20010) + struct.pack("<QQ", 0x1234, 0)
    two = struct.pack("<BI11x", 2, 0x70001) + struct.pack("<HHHHQ", 0, 0, 0, 0x1F, 0x9000)
    return struct.pack("<I", 2) + one + two


def generated(seed):
    """An image with all that a measurement looks at, differently each time"""
    rng = random.Random(seed)
    image = Image()
    for mask, kind in ((VSM, 1), (SNP, 2), (TDX, 3)):
        image.platform(mask, kind)
    image.policy(SNP)
    image.area(9, rng.randint(1, 5), None)
    steps = [lambda: image.context(0x5000, SNP, rng.randbytes(PAGE)),
             lambda: image.context(0, VSM, registers()),
             lambda: image.insert(0x100000, rng.choice([7, SNP, VSM | TDX]), 9),
             lambda: image.error(0x200000, VSM, rng.randint(1, 3)),
             lambda: image.page(0x400000, rng.choice([7, 2]), None, 1)]
    for i in range(rng.randint(5, 40)):
        gpa = 0x10000 + i * PAGE
        data = rng.choice([None, bytes(PAGE), rng.randbytes(PAGE)])
        flags = rng.choice([0, 0, 0, 2, 4])
        special = flags == 0 and rng.random() < 0.2
        steps.append(lambda g=gpa, d=data, f=flags, s=special: image.page(
            g, SNP if s else rng.randint(1, 7), d, f, rng.randint(1, 3) if s else 0))
    rng.shuffle(steps)
    for step in steps:
        step()
    return image.bytes()


def measured(path):
    result = igvm("measure", path, "--json")
    check(result.returncode == 0, "measures", result)
    return {entry["platform"]: entry["digest"] for entry in json.loads(result.stdout)}


def test_measurements_agree_with_the_second_program():
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(20):
            data = generated(seed)
            path = f"{folder}/{seed}.igvm"
            with open(path, "wb") as f:
                f.write(data)
            check(measured(path) == igvm_measure.measure(data), "same digests", seed)
    images = glob.glob(os.path.join(ROOT, "build/image/*.igvm"))
    check(images, "there are images")
    for path in images:
        with open(path, "rb") as f:
            check(measured(path) == igvm_measure.measure(f.read()), "same digests", path)


def test_2_mib_pages_and_areas_count_all_their_pages():
    with tempfile.TemporaryDirectory() as folder:
        image = Image()
        image.platform(TDX, 3)
        image.page(0x400000, TDX, None, 1)
        image.area(0, 3)
        image.insert(0x100000, TDX, 0)
        path = f"{folder}/image"
        with open(path, "wb") as f:
            f.write(image.bytes())
        lines = igvm("measure", path, "--explain").stdout.splitlines()
        check(sum(" page " in line for line in lines) == 512, "512 pages", len(lines))
        check(sum(" parameter " in line for line in lines) == 3, "3 pages", len(lines))


def small_image():
    image = Image()
    for mask, kind in ((VSM, 1), (SNP, 2), (TDX, 3)):
        image.platform(mask, kind)
    image.policy(SNP)
    image.area(0, 2, b"initial".ljust(2 * PAGE, b"\0"))
    image.context(0x5000, SNP, bytes([1]) * PAGE)
    image.context(0, VSM, registers())
    for i in range(8):
        image.page(0x10000 + i * PAGE, 7, bytes([i + 16]) * PAGE)
    image.page(0x20000, 7, bytes([2]) * PAGE, 2)
    image.page(0x21000, 7, bytes([3]) * PAGE, 4)
    image.insert(0x30000, 7, 0)
    return image.bytes()


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)
    return path


def directives(data):
    """(gpa, type, flags, file offset, mask) of what has pages"""
    for kind, c in igvm_measure.headers(data):
        if kind == 0x302:
            gpa, mask, offset, flags, _, _ = struct.unpack("<QIIIHH", c)
            yield gpa, kind, flags, offset, mask
        elif kind == 0x304:
            gpa, mask, offset = struct.unpack_from("<QII", c)
            yield gpa, kind, 0, offset, mask


def flip_everywhere(folder, data, platform, mask, step=1):
    """Each page with one bit flipped: verify says no, and names it and what protects it."""
    path = write(f"{folder}/good", data)
    endorsement, listing = f"{folder}/endorsement.json", f"{folder}/list"
    check(igvm("measure", path, "--platform", platform, "--digest-only", "--endorsement",
               endorsement).returncode == 0, "endorses")
    write(listing, igvm("measure", path, "--explain").stdout.encode())
    digest = igvm("measure", path, "--platform", platform, "--digest-only").stdout.strip()
    check(igvm("verify", path, "--endorsement", endorsement).returncode == 0, "the good one")
    seen = {True: 0, False: 0}
    owners = {}
    for gpa, kind, flags, offset, m in directives(data):
        if m & mask and offset:
            owners.setdefault(offset, []).append((gpa, kind, flags))
    for i, (offset, pages) in enumerate(sorted(owners.items())):
        if i % step:
            continue
        bad = bytearray(data)
        bad[offset + 77] ^= 1 << (i % 8)
        write(f"{folder}/bad", bad)
        is_measured = any(not flags & 6 for _, _, flags in pages)
        seen[is_measured] += 1
        result = igvm("verify", f"{folder}/bad", "--endorsement", endorsement)
        check(result.returncode == 1, "says no", hex(offset), result)
        names = [f"0x{gpa:x}" for gpa, _, _ in pages]
        check(any(f"{name}\n" in result.stdout or f"{name} " in result.stdout for name in names),
              "names the page", names, result.stdout)
        check(("launch measurement: DIFFERS" in result.stdout) == is_measured, result.stdout)
        if not is_measured:
            check("the launch measurement matches, but unmeasured page" in result.stdout and
                  "does not protect it" in result.stdout, result.stdout)
        plain = igvm("verify", f"{folder}/bad", "--platform", platform, "--measurement", digest)
        check(plain.returncode == int(is_measured), "the measurement alone", plain)
        if is_measured:
            plain = igvm("verify", f"{folder}/bad", "--platform", platform, "--measurement",
                         digest, "--explain-list", listing)
            check(any(name in plain.stdout for name in names), "names the page", plain)
    return seen


def test_verify_catches_a_flipped_bit_in_every_page():
    with tempfile.TemporaryDirectory() as folder:
        for platform, mask in (("snp", SNP), ("tdx", TDX)):
            seen = flip_everywhere(folder, small_image(), platform, mask)
            check(seen[True] >= 8 and seen[False] == 2, "both kinds", seen)


def cvm_image(folder):
    """The image for SEV-SNP, TDX and VBS, from what `make` has built"""
    path = f"{folder}/cvm.igvm"
    build = os.path.join(ROOT, "build")
    result = igvm("build", os.path.join(ROOT, "igvm/manifests/parapet-x64-cvm.json"), "-o", path,
                  "--resource", f"underhill_kernel={build}/kernel/release/vmlinux",
                  "--resource", f"underhill_initrd={build}/image/initrd.zst",
                  "--resource", f"openhcl_boot={build}/vtl2/shim.elf")
    check(result.returncode == 0, "builds", result)
    with open(path, "rb") as f:
        return f.read()


def test_verify_catches_a_flipped_bit_in_the_cvm_image():
    with tempfile.TemporaryDirectory() as folder:
        data = cvm_image(folder)
        check(measured(f"{folder}/cvm.igvm") == igvm_measure.measure(data), "same digests")
        masks = {igvm_measure.PLATFORMS[c[5]]: struct.unpack_from("<I", c)[0]
                 for kind, c in igvm_measure.headers(data) if kind == 1}
        for platform in ("sev-snp", "tdx"):
            seen = flip_everywhere(folder, data, platform, masks[platform], 7)
            check(seen[True] > 3 and seen[False] > 3, "both kinds", seen)


test_verify_catches_a_flipped_bit_in_the_cvm_image.timeout = 300


def test_verify_sees_what_the_host_is_told():
    with tempfile.TemporaryDirectory() as folder:
        good = small_image()
        path = write(f"{folder}/good", good)
        endorsement = f"{folder}/e.json"
        igvm("measure", path, "--platform", "snp", "--digest-only", "--endorsement", endorsement)
        image = small_image().replace(struct.pack("<Q", POLICY), struct.pack("<Q", POLICY | 1 << 19))
        fixed = image[:20] + bytes(4)
        size = struct.unpack_from("<I", image, 12)[0]
        bad = image[:20] + struct.pack("<I", zlib.crc32(fixed + image[24:24 + size])) + image[24:]
        result = igvm("verify", write(f"{folder}/bad", bad), "--endorsement", endorsement)
        check(result.returncode == 1 and "policy" in result.stdout, "debug policy", result)
        result = igvm("verify", f"{folder}/bad", "--endorsement", endorsement, "--measured-only")
        check(result.returncode == 0, "measured only", result)


def make_keys(folder):
    for name in ("id", "author", "other"):
        check(run("openssl", "ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out",
                  f"{folder}/{name}.pem").returncode == 0, "openssl")
        run("openssl", "ec", "-in", f"{folder}/{name}.pem", "-pubout", "-out", f"{folder}/{name}.pub")
    run("openssl", "pkcs8", "-topk8", "-nocrypt", "-in", f"{folder}/author.pem", "-out",
        f"{folder}/author8.pem")
    run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{folder}/p256.pem")
    run("openssl", "genrsa", "-out", f"{folder}/rsa.pem", "2048")


def der_integer(number):
    data = number.to_bytes(number.bit_length() // 8 + 1, "big")
    return bytes([2, len(data)]) + data


def openssl_verify(folder, key, message, r, s):
    body = der_integer(r) + der_integer(s)
    write(f"{folder}/message", message)
    write(f"{folder}/signature", bytes([0x30, len(body)]) + body)
    return run("openssl", "dgst", "-sha384", "-verify", f"{folder}/{key}.pub", "-signature",
               f"{folder}/signature", f"{folder}/message").returncode == 0


def little(data, at, size=72):
    return int.from_bytes(data[at:at + size], "little")


def test_openssl_accepts_the_id_block():
    with tempfile.TemporaryDirectory() as folder:
        make_keys(folder)
        path = write(f"{folder}/image", small_image())
        arguments = ("sign", path, "--id-key", f"{folder}/id.pem", "--author-key",
                     f"{folder}/author8.pem", "--family-id", "0123456789abcdef0123456789abcdef",
                     "--image-id", "test", "--guest-svn", "5")
        check(igvm(*arguments, "-o", f"{folder}/signed").returncode == 0, "signs")
        check(igvm(*arguments, "-o", f"{folder}/again").returncode == 0, "signs again")
        with open(f"{folder}/signed", "rb") as f, open(f"{folder}/again", "rb") as g:
            signed, again = f.read(), g.read()
        check(signed == again, "the same bytes")
        blocks = [c for kind, c in igvm_measure.headers(signed) if kind == 0x30B]
        check(len(blocks) == 1 and len(blocks[0]) == 696, "one ID block")
        b = blocks[0]
        ld = bytes.fromhex(igvm_measure.measure(signed)["sev-snp"])
        message = ld + bytes.fromhex("0123456789abcdef" * 2) + b"test".ljust(16, b"\0") + \
            struct.pack("<IIQ", 1, 5, POLICY)
        check(openssl_verify(folder, "id", message, little(b, 0x68), little(b, 0xB0)), "ID block")
        check(not openssl_verify(folder, "other", message, little(b, 0x68), little(b, 0xB0)),
              "not of another key")
        key = (b[0xF8:0xFC] + b[0x100:0x190]).ljust(0x404, b"\0")
        check(openssl_verify(folder, "author", key, little(b, 0x190), little(b, 0x1D8)), "author")

        check(igvm("verify", f"{folder}/signed", "--id-key", f"{folder}/id.pub").returncode == 0,
              "verifies")
        check(igvm("verify", f"{folder}/signed", "--id-key", f"{folder}/other.pub").returncode == 1,
              "another key")
        check(igvm("verify", path, "--id-key", f"{folder}/id.pub").returncode == 1, "no ID block")
        bad = bytearray(signed)
        bad[signed.index(bytes([20]) * PAGE)] ^= 1
        check(igvm("verify", write(f"{folder}/bad", bad), "--id-key",
                   f"{folder}/id.pub").returncode == 1, "changed image")
        check(igvm("sign", f"{folder}/signed", "-o", f"{folder}/x", "--id-key",
                   f"{folder}/id.pem").returncode == 1, "no second one")
        check(igvm("sign", f"{folder}/signed", "-o", f"{folder}/x", "--replace", "--id-key",
                   f"{folder}/other.pem").returncode == 0, "in place of the first")
        for wrong in ("p256.pem", "rsa.pem", "id.pub", "message"):
            result = igvm("sign", path, "-o", f"{folder}/no", "--id-key", f"{folder}/{wrong}")
            check(result.returncode == 1 and not os.path.exists(f"{folder}/no"), wrong, result)


def test_id_block_signed_elsewhere():
    with tempfile.TemporaryDirectory() as folder:
        make_keys(folder)
        path = write(f"{folder}/image", small_image())
        check(igvm("measure", path, "--platform", "snp", "--digest-only", "--svn", "4", "--id-block",
                   f"{folder}/block").returncode == 0, "writes the block")
        run("openssl", "dgst", "-sha384", "-sign", f"{folder}/id.pem", "-out", f"{folder}/sig",
            f"{folder}/block")

        def sign(image=path, block="block", sig="sig", key="id.pub"):
            return igvm("sign", image, "-o", f"{folder}/signed", "--id-block", f"{folder}/{block}",
                        "--id-signature", f"{folder}/{sig}", "--id-public-key", f"{folder}/{key}")

        check(sign().returncode == 0, "signature of openssl")
        check(igvm("verify", f"{folder}/signed", "--id-key", f"{folder}/id.pub").returncode == 0,
              "verifies")
        check(sign(key="other.pub").returncode == 1, "another key")
        check(sign(sig="block").returncode == 1, "no signature")
        check(sign(block="sig").returncode == 1, "no block")
        other = small_image().replace(bytes([20]) * PAGE, bytes([21]) * PAGE)
        check(sign(image=write(f"{folder}/other", other)).returncode == 1, "another image")


def cbor(data, at=0):
    """(value, next position): a small reader, for what documents here hold"""
    major, info = data[at] >> 5, data[at] & 31
    at += 1
    size = {24: 1, 25: 2, 26: 4, 27: 8}.get(info, 0)
    value = int.from_bytes(data[at:at + size], "big") if size else info
    at += size
    if major == 1:
        return -1 - value, at
    if major in (2, 3):
        text = data[at:at + value]
        return (text if major == 2 else text.decode()), at + value
    if major == 4:
        items = []
        for _ in range(value):
            item, at = cbor(data, at)
            items.append(item)
        return items, at
    if major == 5:
        items = {}
        for _ in range(value):
            key, at = cbor(data, at)
            items[key], at = cbor(data, at)
        return items, at
    if major == 6:
        item, at = cbor(data, at)
        return (value, item), at
    return (None if value == 22 else value), at


def head(major, value):
    if value < 24:
        return bytes([major << 5 | value])
    size = 1 if value < 256 else 2
    return bytes([major << 5 | 23 + size]) + value.to_bytes(size, "big")


def test_corim_document_and_signature():
    with tempfile.TemporaryDirectory() as folder:
        make_keys(folder)
        path = write(f"{folder}/image", small_image())
        run("openssl", "req", "-x509", "-key", f"{folder}/id.pem", "-subj", "/CN=test", "-out",
            f"{folder}/id.crt")
        check(igvm("sign", path, "-o", f"{folder}/signed", "--platform", "tdx", "--corim-key",
                   f"{folder}/id.pem", "--corim-cert", f"{folder}/id.crt", "--guest-svn", "3",
                   "--issuer", "me").returncode == 0, "signs")
        check(igvm("sign", path, "-o", f"{folder}/x", "--platform", "tdx", "--corim-key",
                   f"{folder}/other.pem", "--corim-cert", f"{folder}/id.crt").returncode == 1,
              "certificate of another key")
        with open(f"{folder}/signed", "rb") as f:
            signed = f.read()
        parts = {}
        for kind, c in igvm_measure.headers(signed):
            if kind in (0x104, 0x105):
                mask, offset, size, _ = struct.unpack("<IIII", c)
                check(mask == TDX, "for TDX", mask)
                parts[kind] = signed[offset:offset + size]
        (tag, corim), end = cbor(parts[0x104])
        check(tag == 501 and end == len(parts[0x104]), "tag 501")
        check(corim[3] == (32, "tag:microsoft.com,2026:launch-measurement/v1"), corim)
        (comid_tag, comid), = corim[1]
        comid, _ = cbor(comid)
        digest = bytes.fromhex(igvm_measure.measure(signed)["tdx"])
        environment = {0: {1: "Intel", 2: "TDX"}}
        value = {0: "MRTD", 1: {2: [[7, digest]]}}
        check(comid_tag == 506 and comid[4][0] == [[environment, [value]]], comid)
        check(comid[4][8] == [[[environment, []], [[[value], [{1: {1: (552, 3)}}]]]]], comid)

        (tag, (protected, unprotected, payload, signature)), _ = cbor(parts[0x105])
        check(tag == 18 and unprotected == {} and payload is None, "COSE_Sign1, detached")
        header, _ = cbor(protected)
        check(header[1] == -35 and header[3] == "application/rim+cbor" and header[15] == {1: "me"},
              header)
        certificate = run("openssl", "x509", "-in", f"{folder}/id.crt", "-outform", "DER", "-out",
                          f"{folder}/id.der")
        with open(f"{folder}/id.der", "rb") as f:
            check(header[33] == f.read(), "certificate", certificate)
        message = b"\x84" + head(3, 10) + b"Signature1" + head(2, len(protected)) + protected + \
            head(2, 0) + head(2, len(parts[0x104])) + parts[0x104]
        r, s = (int.from_bytes(signature[i:i + 48], "big") for i in (0, 48))
        check(openssl_verify(folder, "id", message, r, s), "openssl accepts the signature")
        check(igvm("verify", f"{folder}/signed", "--platform", "tdx", "--corim-key",
                   f"{folder}/id.pub").returncode == 0, "verifies")
        check(igvm("verify", f"{folder}/signed", "--platform", "tdx", "--corim-key",
                   f"{folder}/other.pub").returncode == 1, "another key")
        igvm("measure", path, "--platform", "tdx", "--digest-only", "--svn", "3", "--endorsement",
             f"{folder}/e.cbor")
        with open(f"{folder}/e.cbor", "rb") as f:
            check(f.read() == parts[0x104], "the same document beside the image")
        check(igvm("verify", path, "--endorsement", f"{folder}/e.cbor").returncode == 0, "endorsed")


def test_diff_names_the_place():
    with tempfile.TemporaryDirectory() as folder:
        good = small_image()
        path = write(f"{folder}/good", good)
        result = igvm("diff", path, path)
        check(result.returncode == 0 and not result.stdout, "equal", result)
        bad = bytearray(good)
        bad[good.index(bytes([20]) * PAGE) + 0x123] ^= 0x40
        result = igvm("diff", path, write(f"{folder}/bad", bad))
        check(result.returncode == 1 and "page-data 0x14000" in result.stdout and
              "differs in 1 of 4096 bytes" in result.stdout and "0x123: 54 14" in result.stdout,
              result)
        check("3 differences" in result.stdout, "once for each platform", result)
        check(igvm("diff", path, f"{folder}/none").returncode == 2, "missing file")
        check(igvm("diff", path).returncode == 2, "usage")


def test_explain_can_be_compared_line_by_line():
    with tempfile.TemporaryDirectory() as folder:
        good = small_image()
        bad = bytearray(good)
        bad[good.index(bytes([20]) * PAGE)] ^= 1
        lists = [igvm("measure", write(f"{folder}/image", data), "--platform", "snp",
                      "--explain").stdout.splitlines() for data in (good, bad)]
        different = [a for a, b in zip(*lists) if a.split()[:4] != b.split()[:4]]
        check(len(lists[0]) == len(lists[1]) and len(different) == 1, "one content", different)
        check(different[0].startswith("0x0000000000014000 page        measured"), different)


def test_wrong_usage_and_damaged_input():
    with tempfile.TemporaryDirectory() as folder:
        path = write(f"{folder}/image", small_image())
        for arguments in (("measure",), ("measure", path, "--wrong"), ("verify", path),
                          ("verify", path, "--measurement", "12"), ("sign", path),
                          ("verify", path, "--measurement", "0" * 96),
                          ("measure", path, "--digest-only"),
                          ("measure", path, "--json", "--explain"), ("sign", path, "-o", "x")):
            check(igvm(*arguments).returncode == 2, arguments)
        for name, data in (("a.json", b"{}"), ("b.json", b"no"), ("c.cbor", b"\xd9\x01\xf5\xa1"),
                           ("d.json", b'{"series": [{"reference": {"snp_ld": "00"}}]}')):
            result = igvm("verify", path, "--endorsement", write(f"{folder}/{name}", data))
            check(result.returncode == 1, name, result)
        check(igvm("measure", write(f"{folder}/short", small_image()[:100])).returncode == 1, "short")
        check(igvm("measure", path, "--platform", "sev").returncode == 1, "no such platform")
