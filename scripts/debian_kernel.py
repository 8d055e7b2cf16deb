#!/usr/bin/env python3
"""Takes the kernel and single modules out of the fetched Debian kernel package.

usage: debian_kernel.py --image OUT          the bzImage
       debian_kernel.py --modules LIST OUT   the modules named in LIST with all they depend on, in
                                             OUT/VERSION with a modules.dep for modprobe
"""
import glob
import hashlib
import lzma
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

CACHE = os.environ.get("PARAPET_CACHE") or os.path.expanduser("~/.cache/parapet")
PACKAGE = os.path.join(CACHE, "guest/kernel")


def image():
    """Path of the bzImage."""
    images = glob.glob(os.path.join(PACKAGE, "boot/vmlinuz-*"))
    if not images:
        raise FileNotFoundError(f"no kernel in {PACKAGE}: run scripts/fetch guest/kernel")
    return images[0]


def version():
    return os.path.basename(image()).removeprefix("vmlinuz-")


def elf_image():
    """Path of the unpacked kernel (ELF), kept in the cache; the bzImage if it cannot be unpacked."""
    with open(image(), "rb") as f:
        data = f.read()
    # setup header of the boot protocol: offset and length of the compressed kernel
    offset, length = struct.unpack_from("<II", data, 0x248)
    offset += ((data[0x1f1] or 4) + 1) * 512
    payload = data[offset:offset + length - 4]  # the unpacked size follows it
    unpackers = {b"\x02\x21\x4c\x18": "lz4", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zX": "xz",
                 b"\x1f\x8b\x08\x00": "gzip"}
    unpacker = unpackers.get(payload[:4])
    if not unpacker or not shutil.which(unpacker):
        return image()
    cached = os.path.join(CACHE, "nested", f"vmlinux-{hashlib.sha256(payload).hexdigest()[:16]}")
    if not os.path.exists(cached):
        os.makedirs(os.path.dirname(cached), exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=os.path.dirname(cached), delete=False) as out:
            result = subprocess.run([unpacker, "-dc"], input=payload, stdout=out,
                                    stderr=subprocess.DEVNULL)
        if result.returncode:
            os.unlink(out.name)
            return image()
        os.rename(out.name, cached)
    return cached


def _read_module(path):
    with open(path, "rb") as f:
        data = f.read()
    if path.endswith(".xz"):
        data = lzma.decompress(data)
    elif path.endswith(".zst"):
        data = subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE, check=True).stdout
    return data


def modules(names):
    """The modules and what they depend on, in loading order: (name, content, names it needs).

    A name without a file is built in, or not there: left out.
    """
    files = {}
    for path in glob.glob(os.path.join(PACKAGE, "**/modules/*/kernel/**/*.ko*"), recursive=True):
        files[os.path.basename(path).split(".ko")[0].replace("-", "_")] = path
    done = {}

    def add(name):
        name = name.replace("-", "_")
        if name in done or name not in files:
            return
        data = _read_module(files[name])
        match = re.search(rb"\0depends=([^\0]*)", data)
        needs = [n.replace("-", "_") for n in match[1].decode().split(",") if n] if match else []
        for need in needs:
            add(need)
        done[name] = (name, data, needs)

    for name in names:
        add(name)
    return list(done.values())


def install_modules(list_file, out):
    with open(list_file) as f:
        names = [line.split("#")[0].strip() for line in f]
    folder = os.path.join(out, version())
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(folder)
    found = modules(filter(None, names))
    needs_of = {name: needs for name, _, needs in found}

    def all_needs(name):
        """Nearest first, as modprobe wants them."""
        order = []
        for need in needs_of.get(name, []):
            order += [n for n in [need, *all_needs(need)] if n not in order]
        return order

    with open(os.path.join(folder, "modules.dep"), "w") as dep:
        for name, data, _ in found:
            with open(os.path.join(folder, f"{name}.ko"), "wb") as f:
                f.write(data)
            dep.write(f"{name}.ko:" + "".join(f" {n}.ko" for n in all_needs(name)) + "\n")


def main():
    arguments = sys.argv[1:]
    try:
        if len(arguments) == 2 and arguments[0] == "--image":
            shutil.copyfile(image(), arguments[1])
        elif len(arguments) == 3 and arguments[0] == "--modules":
            install_modules(*arguments[1:])
        else:
            print(__doc__.strip())
            return arguments not in (["-h"], ["--help"])
    except OSError as e:
        print(f"debian_kernel: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
