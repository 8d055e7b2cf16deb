"""What end-to-end tests share: runs `parapet` on this machine's KVM or in the nested machine.

A test file tests/e2e/test_NAME.py holds functions test_*; one that returns has passed, an exception (of
check() or others) is a failure. `@timeout(SECONDS)` where the default of tests/run is not enough,
`@long(SECONDS)` for what only `make test-long` runs.
"""
import os
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
BUILD = os.path.join(ROOT, "build")
PARAPET = os.path.join(ROOT, "scripts/parapet")
IMAGE = os.path.join(BUILD, "image/parapet-x64.igvm")
IMAGE_DEBUG = os.path.join(BUILD, "image/parapet-x64-debug.igvm")
KERNEL = os.path.join(BUILD, "guest/vmlinuz")
INITRD = os.path.join(BUILD, "guest/initramfs.cpio")
USERSPACE = "PARAPET-GUEST-USERSPACE"


def timeout(seconds):
    def mark(function):
        function.timeout = seconds
        return function
    return mark


def long(seconds):
    def mark(function):
        function.timeout, function.long = seconds, True
        return function
    return mark


def check(condition, what, result=None):
    """Fails the test with the program's output if the condition is false."""
    if not condition:
        raise AssertionError(what + (f"\n{result}" if result is not None else ""))


class Result:
    def __init__(self, code, out, err, seconds):
        self.code, self.out, self.err, self.seconds = code, out, err, seconds

    def __str__(self):
        return (f"exit code {self.code} after {self.seconds:.1f} s\n--- stdout\n{self.out[-6000:]}\n"
                f"--- stderr\n{self.err[-6000:]}")


def parapet(*arguments, stdin="", limit=150, nested=(), program=None):
    """Runs `parapet ARGUMENTS` to its end. nested: options for scripts/run-nested."""
    command = [PARAPET, "--timeout", str(limit), "--quiet", *nested]
    if program:
        command += ["--program", program]
    start = time.monotonic()
    done = subprocess.run([*command, "--", *arguments], input=stdin.encode(), cwd=ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return Result(done.returncode, done.stdout.decode(errors="replace"),
                  done.stderr.decode(errors="replace"), time.monotonic() - start)


def guest(script, cpus=1, memory="256M", image=IMAGE, cmdline="", options=(), **more):
    """Boots the test guest, types the script (lines) into its shell, and waits for its end."""
    return parapet("run", "--image", image, "--kernel", KERNEL, "--initrd", INITRD, "--cmdline",
                   f"console=ttyS0 {cmdline}".strip(), "--cpus", str(cpus), "--memory", memory,
                   *options, stdin=script, **more)
