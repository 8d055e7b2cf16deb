#!/usr/bin/env python3
"""Launch measurements of an IGVM file, computed a second time.

Written from the description of the format and of the platforms (IGVM definition; SEV-SNP firmware
ABI, PAGE_INFO; TDX module, MRTD; VBS boot digest). Shares nothing with igvm/, and is slow on
purpose: each step is as the description has it. Prints `PLATFORM DIGEST` lines.
"""
import hashlib
import struct
import sys

PLATFORMS = {0: "native", 1: "vsm", 2: "sev-snp", 3: "tdx", 4: "sev", 5: "sev-es", 6: "cca"}
PAGE = 4096


def headers(data):
    """(type, content) of each variable header."""
    magic, _version, offset, size = struct.unpack_from("<4sIII", data)
    if magic != b"IGVM":
        raise ValueError("not an IGVM file")
    end = offset + size
    while offset < end:
        kind, length = struct.unpack_from("<II", data, offset)
        yield kind, data[offset + 8:offset + 8 + length]
        offset += (8 + length + 7) // 8 * 8


class Snp:
    """SHA-384 chain over PAGE_INFO"""

    def __init__(self):
        self.digest = bytes(48)

    def page_info(self, kind, gpa, contents):
        info = self.digest + contents + struct.pack("<HBBIQ", 0x70, kind, 0, 0, gpa)
        assert len(info) == 0x70
        self.digest = hashlib.sha384(info).digest()

    def page(self, gpa, data, flags, kind):
        if flags & 4:
            return
        if kind == 1:
            self.page_info(5, gpa, bytes(48))
        elif kind in (2, 3):
            self.page_info(6, gpa, bytes(48))
        elif flags & 2:
            self.page_info(4, gpa, bytes(48))
        else:
            self.page_info(1, gpa, hashlib.sha384(data).digest())

    def parameter_page(self, gpa):
        self.page_info(4, gpa, bytes(48))

    def error_page(self, gpa):
        pass

    def context(self, gpa, blob):
        self.page_info(2, gpa, hashlib.sha384(blob).digest())

    def result(self):
        return self.digest


class Tdx:
    """One SHA-384 over MEM.PAGE.ADD and MR.EXTEND records"""

    def __init__(self):
        self.stream = b""

    @staticmethod
    def record(name, gpa):
        return name.ljust(16, b"\0") + struct.pack("<Q", gpa) + bytes(104)

    def page(self, gpa, data, flags, _kind):
        if flags & 4:
            return
        parts = [self.record(b"MEM.PAGE.ADD", gpa)]
        if not flags & 2:
            for at in range(0, PAGE, 256):
                parts += [self.record(b"MR.EXTEND", gpa + at), data[at:at + 256]]
        self.stream += b"".join(parts)

    def parameter_page(self, gpa):
        self.stream += self.record(b"MEM.PAGE.ADD", gpa)

    def error_page(self, gpa):
        pass

    def context(self, gpa, blob):
        pass

    def result(self):
        return hashlib.sha384(self.stream).digest()


class Vbs:
    """SHA-256 chain over chunks; registers after all pages"""

    def __init__(self):
        self.digest = bytes(32)
        self.registers = []

    def extend(self, chunk):
        self.digest = hashlib.sha256(self.digest + chunk).digest()

    def page_chunk(self, gpa, data, metadata):
        self.extend(struct.pack("<IIQQQ", 0x1020, 2, 0, metadata, gpa // PAGE) + data)

    def page(self, gpa, data, flags, _kind):
        if flags & 4:
            return
        if flags & 2:
            self.page_chunk(gpa, bytes(PAGE), 4)
        else:
            self.page_chunk(gpa, data, 0)

    def parameter_page(self, gpa):
        self.page_chunk(gpa, bytes(PAGE), 4)

    def error_page(self, gpa):
        self.page_chunk(gpa, bytes(PAGE), 3 | 4)

    def context(self, _gpa, blob):
        (count,) = struct.unpack_from("<I", blob)
        for i in range(count):
            vtl, name = struct.unpack_from("<BI", blob, 4 + 32 * i)
            self.registers.append((vtl, name, blob[4 + 32 * i + 16:4 + 32 * i + 32]))

    def result(self):
        for vtl, name, value in self.registers:
            self.extend(struct.pack("<IIQIBBHII", 0x30, 0, 0, 0, vtl, 0, 0, 0, name) + value)
        self.registers = []
        return self.digest


def walk(data, mask, machine):
    areas = {}
    for kind, c in headers(data):
        if kind == 0x301:
            size, index, _ = struct.unpack("<QII", c)
            areas[index] = size
        elif kind == 0x302:
            gpa, m, offset, flags, data_type, _ = struct.unpack("<QIIIHH", c)
            if m & mask:
                for at in range(0, 2 << 20 if flags & 1 else PAGE, PAGE):
                    page = data[offset:offset + PAGE] if offset else bytes(PAGE)
                    machine.page(gpa + at, page, flags, data_type)
        elif kind == 0x303:
            gpa, m, index = struct.unpack("<QII", c)
            if m & mask:
                for at in range(0, areas[index], PAGE):
                    machine.parameter_page(gpa + at)
        elif kind == 0x304:
            gpa, m, offset = struct.unpack_from("<QII", c)
            if m & mask:
                size = PAGE
                if isinstance(machine, Vbs):
                    size = 4 + 32 * struct.unpack_from("<I", data, offset)[0]
                machine.context(gpa, data[offset:offset + size])
        elif kind == 0x30D:
            gpa, m, size = struct.unpack("<QII", c)
            if m & mask:
                for at in range(0, size, PAGE):
                    machine.error_page(gpa + at)
    return machine.result()


def measure(data):
    """{platform name: hexadecimal digest}"""
    machines = {"sev-snp": Snp, "tdx": Tdx, "vsm": Vbs}
    out = {}
    for kind, c in headers(data):
        if kind == 1:
            mask, _vtl, platform, _ver, _shared = struct.unpack("<IBBHQ", c)
            name = PLATFORMS[platform]
            if name in machines:
                out[name] = walk(data, mask, machines[name]()).hex()
    return out


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as f:
        for platform, digest in measure(f.read()).items():
            print(platform, digest)
