"""The nested machine: what goes in and comes out of it, with Debian's busybox as the program."""
import glob
import hashlib
import os
import signal
import subprocess
import tempfile
import time

from harness import ROOT, check

RUN_NESTED = os.path.join(ROOT, "scripts/run-nested")
CACHE = os.environ.get("PARAPET_CACHE") or os.path.expanduser("~/.cache/parapet")
BUSYBOX = [p for p in glob.glob(f"{CACHE}/guest/busybox/**/busybox", recursive=True)
           if os.path.isfile(p) and os.access(p, os.X_OK)][0]


def command(script, *options):
    return [RUN_NESTED, "--quiet", "--timeout", "100", *options, "--program", BUSYBOX, "--", "sh", "-c",
            script]


def run(script, *options, stdin=b""):
    return subprocess.run(command(script, *options), input=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)


def start(script, **environment):
    """A running program that has printed its first line."""
    process = subprocess.Popen(command(script), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env={**os.environ, **environment})
    process.stdout.readline()
    return process


def test_streams_and_exit_code():
    text = b"".join(b"line %d\n" % i for i in range(20000))
    result = run("cat; echo to stderr >&2; exit 9", stdin=text)
    check(result.returncode == 9, "exit code", result)
    check(result.stdout == text, "stdin comes back on stdout, whole", len(result.stdout))
    check(result.stderr == b"to stderr\n", "stderr is separate", result.stderr)


def test_killed_program_counts_as_128_plus_signal():
    result = run("kill -9 $$")
    check(result.returncode == 137, "exit code", result)


def test_kvm_is_there():
    result = run("ls -l /dev/kvm")
    check(result.returncode == 0 and b"/dev/kvm" in result.stdout, "/dev/kvm", result)


def test_files_in_and_out():
    with tempfile.TemporaryDirectory() as folder:
        source, out = os.path.join(folder, "in"), os.path.join(folder, "out")
        with open(source, "wb") as f:
            f.write(os.urandom(3 << 20))
        result = run(f"cat {source} {source} > {out}", "--file", source, "--out", out)
        check(result.returncode == 0, "exit code", result)
        with open(source, "rb") as a, open(out, "rb") as b:
            digest = hashlib.sha256(a.read() * 2).digest()
            check(hashlib.sha256(b.read()).digest() == digest, "content of the file handed out")


def test_first_signal_goes_to_the_program():
    process = start("trap 'echo asked; exit 5' TERM; echo up; while :; do :; done")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    check(process.returncode == 5 and out == b"asked\n", "its own exit code", (process.returncode, out))


def test_second_signal_ends_the_machine():
    with tempfile.TemporaryDirectory() as folder:
        process = start("trap '' TERM; echo up; while :; do :; done", TMPDIR=folder)
        check(os.listdir(folder), "its files are in TMPDIR")
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
        check(process.returncode == 128 + signal.SIGTERM, "exit code", process.returncode)
        check(not os.listdir(folder), "no files are left", os.listdir(folder))


def test_timeout():
    result = subprocess.run([RUN_NESTED, "--quiet", "--timeout", "3", "--program", BUSYBOX, "--", "sleep",
                             "100"], stdin=subprocess.DEVNULL)
    check(result.returncode == 124, "exit code", result)


def test_missing_program():
    result = subprocess.run([RUN_NESTED, "--program", "/nonexistent", "--", "x"],
                            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    check(result.returncode == 125 and b"missing" in result.stderr, "says so", result)
