"""The same bytes for everyone: two builds compared, the list of inputs, and the comparison itself."""
import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import re
import socket
import subprocess
import tempfile
import types

from harness import BUILD, IMAGE, ROOT, check, long, timeout

REPRODUCE = os.path.join(ROOT, "scripts/reproduce")
INPUTS = IMAGE[:-5] + ".inputs.json"


def run(*command, **more):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, **more)


def script():
    """scripts/reproduce as a module."""
    loader = importlib.machinery.SourceFileLoader("reproduce", REPRODUCE)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("reproduce", loader))
    loader.exec_module(module)
    return module


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


# --- the list of inputs

def test_list_of_inputs_has_the_versions_and_hashes():
    with open(INPUTS) as f:
        data = json.load(f)
    wanted = {}
    with open(f"{ROOT}/scripts/sources.list") as f:
        for line in f:
            if line.startswith("src/"):
                place, _, _, package, version, _, sha256 = line.split()
                wanted[place] = (package, version, sha256)
    have = {s["name"]: (s["package"], s["version"], s["sha256"]) for s in data["sources"]}
    check(have == wanted, "sources as in scripts/sources.list", have)
    names = {p["name"] for p in data["packages"]}
    check("musl-dev" in names and any(n.startswith("libgcc-") for n in names), "libraries", names)
    check(all(t["version"] for t in data["tools"]), "versions of the tools", data["tools"])
    for name in ("image/parapet-x64.igvm", "kernel/release/vmlinux", "image/initrd.zst", "vtl2/shim.elf",
                 "vtl2/paravisor", "bin/igvm", "bin/parapet"):
        digest = run("sha256sum", os.path.join(BUILD, name)).stdout.split()[0]
        check(data["outputs"].get(name) == digest, f"{name}: {digest}", data["outputs"])


def test_list_of_inputs_tells_nothing_of_this_machine():
    text = read(INPUTS).decode()
    for word in ("://", ROOT, os.path.expanduser("~") + "/", '"/'):
        check(word not in text, f"{word} in the list", text)
    host = socket.gethostname()
    check(not re.search(rf"\b{re.escape(host)}\b", text), f"{host} in the list", text)


def test_list_of_inputs_changes_with_what_is_listed_only():
    with tempfile.TemporaryDirectory() as folder:
        write(f"{folder}/build/file", b"first")
        write(f"{folder}/Makefile", b"all:\n")
        write(f"{folder}/scripts/sources.list", read(f"{ROOT}/scripts/sources.list"))
        out = f"{folder}/out.json"

        def inputs():
            result = run(f"{ROOT}/scripts/inputs", "-o", out, "--root", folder, "--source", "src/zstd",
                         "build/file")
            check(result.returncode == 0, "written", result)
            return read(out)

        first = inputs()
        os.utime(out, (1, 1))
        os.utime(f"{folder}/build/file", (1, 1))
        write(f"{folder}/README.md", b"text\n")
        write(f"{folder}/scripts/.x.swp", b"an editor's\n")
        check(inputs() == first and os.stat(out).st_mtime == 1, "left alone")
        write(f"{folder}/common/x.c", b"int x;\n")
        tree = inputs()
        check(json.loads(tree)["tree"] != json.loads(first)["tree"], "another tree", tree)
        write(f"{folder}/build/file", b"second")
        check(inputs() != tree, "another output")
        for wrong in (("--source", "src/nothing", "build/file"), ("build/missing",)):
            result = run(f"{ROOT}/scripts/inputs", "-o", out, "--root", folder, *wrong)
            check(result.returncode == 1 and "Traceback" not in result.stdout, "refused", result)


# --- the comparison

def compared(first, second, module):
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        different = module.compare_builds(types.SimpleNamespace(build=first),
                                          types.SimpleNamespace(build=second))
    return different, text.getvalue()


def test_comparison_names_what_differs_and_where():
    module = script()
    shim, archive = read(f"{BUILD}/vtl2/shim.elf"), read(f"{BUILD}/image/initrd.cpio")
    text = run("readelf", "-SW", f"{BUILD}/vtl2/shim.elf").stdout
    offset = int(re.search(r" \.rodata +PROGBITS +\w+ (\w+)", text)[1], 16)
    with tempfile.TemporaryDirectory() as folder:
        module.ROOT = folder
        a, b = f"{folder}/a", f"{folder}/b"
        for build in (a, b):
            write(f"{build}/bin/same", b"x" * 100)
            write(f"{build}/bin/longer", b"x" * (100 if build == a else 101))
            write(f"{build}/vtl2/shim.elf", shim if build == a else flipped(shim, offset + 5))
            write(f"{build}/image/initrd.cpio", archive if build == a else flipped(archive, len(archive) // 2))
        write(f"{a}/image/only.igvm", b"")
        different, text = compared(a, b, module)
        check(different == 4, "four of five differ", text)
        check(re.search(r"^same .*bin/same$", text, re.M), "the same", text)
        check("100 bytes, 101 bytes" in text and "offset 0x64" in text, "length", text)
        check("first in section .rodata at offset 0x5:" in text, "section of an ELF file", text)
        check("first in init at offset" in text, "file in an archive", text)
        check("only.igvm (in the second build)" in text, "missing", text)
        check(read(f"{folder}/build/reproduce/2/bin/longer") == b"x" * 101, "kept")
        check(compared(a, a, module)[0] == 0, "a build is the same as itself")


def test_comparison_stands_damaged_files():
    module = script()
    shim, archive = read(f"{BUILD}/vtl2/shim.elf")[:3000], read(f"{BUILD}/image/initrd.cpio")[:400]
    with tempfile.TemporaryDirectory() as folder:
        write(f"{folder}/other", b"other")
        for data in (shim, archive, b"\x7fELF\x02", b"070701", b"070701" + b"F" * 200, b""):
            write(f"{folder}/file", data)
            lines = module.first_difference(f"{folder}/file", f"{folder}/other", None)
            check(any("at offset" in x for x in lines), "says where", lines)


def test_published_list_that_is_none_is_refused():
    good = {"format": "parapet-inputs-1", "outputs": {"image/x.igvm": "0" * 64}}
    with tempfile.TemporaryDirectory() as folder:
        for text in ("", "{", "[]", "{}", json.dumps({**good, "format": "other"}),
                     json.dumps({**good, "outputs": {}}), json.dumps({**good, "outputs": {"image/x.igvm": "0"}}),
                     json.dumps({**good, "outputs": {"../x": "0" * 64, **good["outputs"]}}),
                     json.dumps({**good, "outputs": {"/x": "0" * 64, **good["outputs"]}}),
                     json.dumps({**good, "outputs": {"bin/x": "0" * 64}}),
                     json.dumps({**good, "outputs": {"image/$(x).igvm": "0" * 64}})):
            write(f"{folder}/list", text.encode())
            result = run(REPRODUCE, "--against", f"{folder}/list")
            check(result.returncode == 3 and "Traceback" not in result.stdout, text, result)
        result = run(REPRODUCE, "--against", f"{folder}/missing")
        check(result.returncode == 3, "no file", result)
    check(run(REPRODUCE, "--wrong").returncode == 2, "usage")


def test_published_inputs_that_differ_are_named():
    module = script()
    with open(INPUTS) as f:
        ours = json.load(f)
    theirs = json.loads(json.dumps(ours))
    theirs["tools"][0]["version"] = "gcc (Debian 99) 99.0"
    theirs["sources"][0]["sha256"] = "0" * 64
    theirs["packages"] = "nonsense"
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        check(module.compare_inputs(ours, ours) == 0, "the same")
        check(module.compare_inputs(theirs, ours) == 2 + len(ours["packages"]), "differences", text.getvalue())
    check("compiler: theirs gcc (Debian 99) 99.0, ours" in text.getvalue(), "compiler", text.getvalue())


# --- the builds

@timeout(900)
def test_two_builds_without_the_kernel_give_the_same_bytes():
    result = run(REPRODUCE, "--quick")
    check(result.returncode == 0 and " 0 different" in result.stdout, "the same bytes", result.stdout)


@long(10800)
def test_two_builds_give_the_same_bytes():
    result = run(REPRODUCE)
    check(result.returncode == 0 and " 0 different" in result.stdout, "the same bytes", result.stdout)
