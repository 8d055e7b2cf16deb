"""The nested machine: what goes in and comes out of it, with Debian's busybox as the program."""
import contextlib
import glob
import hashlib
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time

from harness import BUILD, ROOT, check

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


# --- sockets

HYBRID = os.path.join(BUILD, "e2e/hybrid")


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    s.settimeout(60)
    return s


def read_to_end(s):
    data = bytearray()
    while piece := s.recv(65536):
        data += piece
    return bytes(data)


def bounce(path, data):
    """What an echo server sends back, with the end of the data passed on in both directions."""
    def write():
        with contextlib.suppress(OSError):
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
    with connect(path) as s:
        writer = threading.Thread(target=write)
        writer.start()
        back = read_to_end(s)
        writer.join()
        return back


@contextlib.contextmanager
def echo_inside(path):
    """An echo server in the nested machine, whose socket is to be had here."""
    process = subprocess.Popen([RUN_NESTED, "--quiet", "--timeout", "100", "--socket", path, "--program",
                                HYBRID, "--", "echo", path], stdin=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
    try:
        for _ in range(600):
            time.sleep(0.1)
            with contextlib.suppress(OSError):
                if bounce(path, b"there?") == b"there?":
                    break
        yield process
    finally:
        process.terminate()
        _, said = process.communicate(timeout=30)
    check(not os.path.exists(path), "the socket is removed")
    check(not said, "no complaints", said)


def test_sockets_of_the_program():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "new/echo")
        os.mkdir(os.path.dirname(path))
        with socket.socket(socket.AF_UNIX) as left_over:
            left_over.bind(path)
        with echo_inside(path):
            check(os.stat(path).st_mode & 0o777 == 0o600, "nobody else's", os.stat(path))
            again = subprocess.run([RUN_NESTED, "--socket", path, "--program", HYBRID, "--", "x"],
                                   stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
            check(again.returncode == 125 and b"in use" in again.stderr, "not twice", again)
            check(bounce(path, b"") == b"", "nothing but ends")
            # nobody reads: it stops, and the others go on
            with connect(path) as stuck:
                stuck.settimeout(2)
                sent = 0
                with contextlib.suppress(TimeoutError):
                    while sent < 8 << 20:
                        sent += stuck.send(bytes(65536))
                check(sent < 4 << 20, "bounded", sent)
                blobs = [os.urandom(20000 + 10 * i) for i in range(80)]
                back = [None] * len(blobs)

                def one(i):
                    back[i] = bounce(path, blobs[i])
                threads = [threading.Thread(target=one, args=[i]) for i in range(len(blobs))]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                check(back == blobs, "80 at once", sum(a != b for a, b in zip(back, blobs)))
                stuck.settimeout(60)
                stuck.shutdown(socket.SHUT_WR)
                check(len(read_to_end(stuck)) == sent, "no byte is lost")
            blob = os.urandom(3 << 20)
            start = time.monotonic()
            check(bounce(path, blob) == blob, "3 MiB", time.monotonic() - start)
            # users who leave in the middle
            for _ in range(600):
                with connect(path) as s:
                    s.send(bytes(4096))
            check(bounce(path, b"still") == b"still", "goes on")


def test_sockets_before_there_is_a_program():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "none")
        process = subprocess.Popen([RUN_NESTED, "--quiet", "--socket", path, "--program", BUSYBOX, "--",
                                    "sleep", "6"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        answers = set()
        while process.poll() is None:
            # the last may be in the queue of a machine that ends
            with contextlib.ExitStack() as several, \
                    contextlib.suppress(FileNotFoundError, ConnectionRefusedError, ConnectionResetError):
                for s in [several.enter_context(connect(path)) for _ in range(20)]:
                    answers.add(read_to_end(s))
            time.sleep(0.2)
        check(answers == {b""}, "turned away", answers)
        _, said = process.communicate()
        check(process.returncode == 0 and not said, "exit code", said)
