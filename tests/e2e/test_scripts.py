"""The build's own scripts: archives, set-up, fetching, help texts. No network, no machine."""
import glob
import os
import re
import shutil
import subprocess
import tempfile

from harness import ROOT, check

SCRIPTS = os.path.join(ROOT, "scripts")


def run(*command, **more):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, **more)


def pack(folder, text, *options):
    with open(f"{folder}/list", "w") as f:
        f.write(text)
    return run(f"{SCRIPTS}/newc.py", f"{folder}/list", "-o", f"{folder}/out", "-r", folder, *options)


def test_every_script_tells_its_usage():
    for path in glob.glob(f"{SCRIPTS}/*"):
        if os.path.isfile(path) and os.access(path, os.X_OK):
            result = run(path, "--help")
            check(result.returncode == 0 and "usage:" in result.stdout, path, result)


def test_archive_is_the_same_for_the_same_input():
    with tempfile.TemporaryDirectory() as folder:
        archives = []
        text = ["/b/c file 0644 0 0 data\n", "/a link 0777 0 0 b/c  # comment\n",
                "/dev/console node 0600 0 0 c 5 1\n", "/d dir 1777 3 4\n"]
        for lines in (text, text[::-1]):
            with open(f"{folder}/data", "w") as f:
                f.write("hello")
            os.utime(f"{folder}/data", (1, len(archives)))
            result = pack(folder, "".join(lines))
            check(result.returncode == 0, "packs", result)
            with open(f"{folder}/out", "rb") as f:
                archives.append(f.read())
        check(archives[0] == archives[1], "order and times do not matter")
        names = re.findall(rb"070701[0-9A-F]{104}([^\0]+)", archives[0])
        check(names == [b"a", b"b", b"b/c", b"d", b"dev", b"dev/console", b"TRAILER!!!"],
              "sorted, with parents", names)
        check(len(archives[0]) % 512 == 0, "padded", len(archives[0]))


def test_wrong_list_is_refused_with_its_line():
    with tempfile.TemporaryDirectory() as folder:
        for line in ("/x file 0644 0 0", "/x file 0644 0 0 missing", "/x thing 0644 0 0 y", "/x",
                     "/x dir 9 0 0", "/x node 0600 0 0 c 5", "/x file 0644 0 0 ${NAME}"):
            result = pack(folder, f"# first\n{line}\n")
            check(result.returncode != 0 and "list:2:" in result.stdout, line, result)
            check("Traceback" not in result.stdout, line, result)
            check(not os.path.exists(f"{folder}/out"), "no archive", line)


def test_set_up_names_what_is_missing():
    with tempfile.TemporaryDirectory() as folder:
        for name in ("setup", "packages"):
            shutil.copy(f"{SCRIPTS}/{name}", folder)
        check(run(f"{folder}/setup", "--check").returncode == 0, "all is installed here")
        with open(f"{folder}/packages", "a") as f:
            f.write("no-such-package  for a test\n")
        result = run(f"{folder}/setup", "--check")
        check(result.returncode == 1 and "missing: no-such-package" in result.stdout, "names it", result)


def test_every_package_has_a_reason():
    for name in ("packages",):
        with open(f"{SCRIPTS}/{name}") as f:
            for line in f:
                check(line.startswith("#") or len(line.split()) > 1, "reason", line)


def test_fetch_of_what_is_there_does_nothing():
    result = run(f"{SCRIPTS}/fetch", "src/dtc", env={**os.environ, "PATH": "/usr/bin:/bin"})
    check(result.returncode == 0 and not result.stdout, "quiet", result)


def test_fetch_refuses_an_unknown_place():
    result = run(f"{SCRIPTS}/fetch", "src/nothing")
    check(result.returncode == 1 and "no such place" in result.stdout, "says so", result)


def test_kernel_build_refuses_options_that_do_not_come_through():
    with tempfile.TemporaryDirectory() as folder:
        # a state of its own in the cache, removed with the folder
        os.makedirs(f"{folder}/cache")
        cache = os.environ.get("PARAPET_CACHE") or os.path.expanduser("~/.cache/parapet")
        os.symlink(f"{cache}/src", f"{folder}/cache/src")
        with open(f"{folder}/config", "w") as f:
            f.write("CONFIG_64BIT=y\nCONFIG_NO_SUCH_OPTION=y\n")
        result = run(f"{SCRIPTS}/build-kernel", f"{folder}/out", f"{folder}/config",
                     env={**os.environ, "PARAPET_CACHE": f"{folder}/cache"})
        check(result.returncode == 1 and "wanted: CONFIG_NO_SUCH_OPTION=y" in result.stdout,
              "names the option", result)
        check(not os.path.exists(f"{folder}/out/vmlinux"), "no kernel")
