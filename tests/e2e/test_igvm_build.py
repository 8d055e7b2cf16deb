"""igvm build: same bytes from every folder, resources by file and by option, ID block and documents."""
import json
import os
import shutil
import subprocess
import tempfile

from harness import BUILD, ROOT, check

IGVM = os.path.join(BUILD, "bin/igvm")
MANIFEST = os.path.join(ROOT, "igvm/manifests/parapet-x64-cvm.json")
RESOURCES = {"underhill_kernel": "kernel/release/vmlinux", "openhcl_boot": "vtl2/shim.elf",
             "underhill_initrd": "image/initrd.zst"}


def igvm(*arguments, cwd=ROOT):
    return subprocess.run([IGVM, *arguments], cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)


def options():
    return [f"--resource={key}={BUILD}/{path}" for key, path in RESOURCES.items()]


def read(path):
    with open(path, "rb") as f:
        return f.read()


def test_same_bytes_from_every_folder():
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        done = igvm("build", MANIFEST, *options(), "-o", f"{one}/a.igvm")
        check(done.returncode == 0, "by options", done.stdout)
        # the same files by other names, paths relative to the file that names them
        for key, path in RESOURCES.items():
            shutil.copy(f"{BUILD}/{path}", f"{two}/{key}")
        with open(f"{two}/resources.json", "w") as f:
            json.dump({"resources": {key: key for key in RESOURCES}}, f)
        with open(MANIFEST) as f:
            manifest = json.load(f)
        with open(f"{two}/other.json", "w") as f:
            json.dump(manifest, f, sort_keys=True)
        done = igvm("build", "other.json", "--resources", "resources.json", cwd=two)
        check(done.returncode == 0 and os.path.exists(f"{two}/other.igvm"), "by file", done.stdout)
        check(read(f"{one}/a.igvm") == read(f"{two}/other.igvm"), "same bytes")
        done = igvm("inspect", "--json", f"{one}/a.igvm")
        check(done.returncode == 0, "is valid", done.stdout)


def test_id_block_and_documents():
    with tempfile.TemporaryDirectory() as folder:
        key, image = f"{folder}/key.pem", f"{folder}/cvm.igvm"
        subprocess.run(["openssl", "ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", key],
                       check=True)
        done = igvm("build", MANIFEST, *options(), "-o", image, "--id-key", key, "--documents")
        check(done.returncode == 0, "builds and signs", done.stdout)
        names = sorted(os.listdir(folder))
        check(names == ["cvm-snp.cbor", "cvm-snp.idblock", "cvm-snp.json", "cvm-tdx.cbor",
                        "cvm-tdx.json", "cvm-vbs.cbor", "cvm-vbs.json", "cvm.igvm", "key.pem"],
              "files", names)
        for platform in ("snp", "tdx", "vbs"):
            for suffix in ("json", "cbor"):
                done = igvm("verify", image, "--platform", platform, "--endorsement",
                            f"{folder}/cvm-{platform}.{suffix}")
                check(done.returncode == 0, f"{platform} {suffix}", done.stdout)
        block = read(f"{folder}/cvm-snp.idblock")
        digest = igvm("measure", image, "--platform", "snp", "--digest-only").stdout.strip()
        check(len(block) == 96 and block[:48].hex() == digest, "ID block", block.hex())
        check(block[0x54:0x60] == bytes([1, 0, 0, 0, 0x1f, 0, 3, 0, 0, 0, 0, 0]), "SVN, policy", block)
        with open(f"{folder}/cvm-tdx.json") as f:
            document = json.load(f)
        check(document["series"][0]["endorsement"] ==
              {"tdx_isvsvn": 1, "build_info": {"debug_build": False}}, "claims", document["series"])
        # an image without SNP has nothing to sign
        plain = os.path.join(ROOT, "igvm/manifests/parapet-x64.json")
        done = igvm("build", plain, *options(), "-o", f"{folder}/plain.igvm", "--id-key", key)
        check(done.returncode == 1 and "no configuration for snp" in done.stdout and
              not os.path.exists(f"{folder}/plain.igvm"), "nothing to sign", done)


def test_failures_leave_no_image():
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/out.igvm"
        cases = [
            (options()[:2], 1, "no path for underhill_initrd"),
            ([*options(), "--resource=underhill_initrd=/nowhere"], 1, "/nowhere: No such file"),
            ([*options(), f"--resource=underhill_kernel={MANIFEST}"], 1, "underhill_kernel: not an ELF"),
            ([*options(), "--resource=x=y"], 2, "known key"),
            ([*options(), "--author-key", "x"], 2, "needs --id-key"),
            ([*options(), "--id-key", MANIFEST], 1, MANIFEST),
            ([*options(), "--resources", MANIFEST], 1, "guest_arch: unknown field"),
        ]
        for arguments, code, text in cases:
            done = igvm("build", MANIFEST, *arguments, "-o", out)
            check(done.returncode == code and text in done.stdout, text, done)
            check(not os.listdir(folder), "no file", os.listdir(folder))
