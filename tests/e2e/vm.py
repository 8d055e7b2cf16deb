"""A running VM that tests reach from outside by its sockets, natively or in the nested machine."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from harness import IMAGE_DEBUG, INITRD, KERNEL, PARAPET, USERSPACE, check
from machine import BUSYBOX, PROGRAM

# the host's process says now and then what it holds: descriptors, threads, KiB
WATCH = """(while [ -d /proc/$$ ]; do sleep 2
echo HOST-HOLDS $(ls /proc/$$/fd | wc -l) $(ls /proc/$$/task | wc -l) $(grep RssAnon /proc/$$/status)
done) >&2 </dev/null &
exec "$@"
"""


class Vm:
    """`with Vm() as vm:` boots the test guest; its console takes lines by type(). At the end it is off."""

    def __init__(self, *options, image=IMAGE_DEBUG, limit=170, cmdline="quiet"):
        self.folder = tempfile.mkdtemp(prefix="parapet-vm-")
        self.path = self.vtl2 = self.folder + "/vtl2"
        self.vsock = self.folder + "/vsock"
        self.control = self.folder + "/control"
        sockets = [word for path in (self.vtl2, self.vsock, self.control) for word in ("--socket", path)]
        self.command = [PARAPET, "--timeout", str(limit), "--quiet", "--mem", "2560", *sockets, "--program",
                        BUSYBOX, "--file", PROGRAM, "--", "sh", "-c", WATCH, "sh", PROGRAM, "run",
                        "--image", image, "--kernel", KERNEL, "--initrd", INITRD, "--memory", "256M",
                        "--cmdline", f"console=ttyS0 {cmdline}".strip(), "--vtl2-vsock", self.vtl2,
                        "--vsock", self.vsock, "--control", self.control, *options]
        self.said = bytearray()

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()
        self.wait_for(USERSPACE)
        # the server tells by its answer that it runs
        check(self.client("ping", "--wait", "60").returncode == 0, "diagnostics answer", self.text())
        return self

    def read(self):
        while piece := self.process.stdout.read1(65536):
            self.said += piece

    def text(self):
        return self.said.decode(errors="replace").replace("\r", "")

    def tail(self, size=3000):
        """The end of what guest and host have said, for messages."""
        return re.sub(r"HOST-HOLDS .* kB\n", "", self.text())[-size:]

    def wait_for(self, text, count=1, seconds=150):
        end = time.monotonic() + seconds
        while self.text().count(text) < count:
            alive = self.process.poll() is None and time.monotonic() < end
            check(alive, f"no '{text}'", self.tail(6000))
            time.sleep(0.05)

    def host_holds(self):
        """Open files, threads and KiB of private memory of the host's process, some seconds later."""
        have = self.text().count("HOST-HOLDS")
        self.wait_for("HOST-HOLDS", have + 2)
        found = re.findall(r"HOST-HOLDS (\d+) (\d+) RssAnon: (\d+) kB", self.text())[-1]
        return [int(number) for number in found]

    def type(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def client(self, command, *words, **more):
        """Runs `parapet COMMAND --options... VM words` to its end. Options are the words before '--'."""
        own = words[:words.index("--")] if "--" in words else words
        rest = words[words.index("--") + 1:] if "--" in words else ()
        more.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run([PROGRAM, command, *own, self.vtl2, *rest], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, **more)

    def execute(self, *words, **more):
        return self.client("exec", "--", *words, **more)

    def host(self, command, *words):
        """Runs `parapet COMMAND VM words`, VM being the control socket."""
        return subprocess.run([PROGRAM, command, self.control, *words], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def inspect(self, path):
        return json.loads(self.client("inspect", "-r", "-j", "--", path).stdout)

    def __exit__(self, kind, *_):
        if kind is None and self.process.poll() is None:
            self.type("poweroff -f")
        else:
            self.process.terminate()
            print(self.tail(), file=sys.stderr)
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = None
        self.reader.join(10)
        left = os.listdir(self.folder)
        shutil.rmtree(self.folder)
        if kind is None:
            check(code == 0 and not left, f"the guest powers off: {code}, {left}", self.tail())
