"""`parapet shell`, `exec`, `kmsg`, `inspect` and so on, against our server and against a foreign one."""
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time

from diagnostics import PARAPET, Proxy, Server, data, fields, number, read_line, varint
from harness import check, timeout


def client(server, *arguments, stdin=b"", limit=60, env=None):
    """(exit code, stdout, stderr) of `parapet ARGUMENTS` with the VM's socket from $PARAPET_VM."""
    done = subprocess.run([PARAPET, *arguments], input=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=limit,
                          env={**os.environ, "PARAPET_VM": server.path, **(env or {})})
    return done.returncode, done.stdout, done.stderr


class Terminal:
    """A client on a terminal of its own."""
    def __init__(self, server, *arguments, rows=30, columns=100):
        self.master, slave = pty.openpty()
        self.slave = slave
        self.resize(rows, columns)

        def own_terminal():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        self.process = subprocess.Popen([PARAPET, *arguments], stdin=slave, stdout=slave, stderr=slave,
                                        preexec_fn=own_terminal,
                                        env={**os.environ, "PARAPET_VM": server.path, "TERM": "vt100"})
        self.seen = b""

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def until(self, pattern, seconds=20):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.seen):
            left = end - time.monotonic()
            check(left > 0 and select.select([self.master], [], [], left)[0], f"shows {pattern}", self.seen)
            try:
                piece = os.read(self.master, 65536)
            except OSError:
                piece = b""
            check(piece, f"shows {pattern} before its end", self.seen)
            self.seen += piece
        found = re.search(pattern, self.seen)
        self.seen = self.seen[found.end():]
        return found

    def end(self):
        code = self.process.wait(20)
        os.close(self.slave)
        os.close(self.master)
        return code


def test_exec():
    with Server() as server:
        check(client(server, "exec", "sh", "-c", "cat; echo err >&2; exit 7", stdin=b"in") ==
              (7, b"in", b"err\n"), "streams and code")
        check(client(server, "exec", "--", "sh", "-c", "kill -9 $$")[0] == 255, "signal")
        code, _, err = client(server, "exec", "/nonexistent")
        check(code == 125 and b"No such file" in err, "cannot run", (code, err))
        check(client(server, "exec", "-e", "A=1", "-e", "HOME", "sh", "-c", "echo $A${HOME-none}")[1] ==
              b"1none\n", "environment")
        check(client(server, "exec", "-c", "-e", "X=", "/usr/bin/env")[1] == b"X=\n", "clear")
        check(client(server, "exec", "-2", "sh", "-c", "echo a; echo b >&2") == (0, b"a\nb\n", b""), "combined")
        check(client(server, "exec", "-r", "sh", "-c", "read x; echo $x", stdin=b"raw\n")[1] == b"raw\n", "raw")
        check(client(server, "exec", "-n", "cat") == (0, b"", b""), "no input")
        check(client(server, "shell", stdin=b"echo $((6*7))\nexit 3\n")[:2] == (3, b"42\n"), "script")
        big = os.urandom(4 << 20)
        check(client(server, "exec", "cat", stdin=big)[1] == big, "4 MiB")
        # the reader goes: so does the program
        pipe = subprocess.Popen([PARAPET, "exec", server.path, "yes"], stdout=subprocess.PIPE,
                                env={k: v for k, v in os.environ.items() if k != "PARAPET_VM"})
        pipe.stdout.read(100)
        pipe.stdout.close()
        check(pipe.wait(20) == 128 + signal.SIGPIPE, "a pipe that closes", pipe.returncode)
        # signals are passed on
        running = subprocess.Popen([PARAPET, "exec", server.path, "sh", "-c",
                                    "trap 'echo term; exit 9' TERM; echo up; while :; do sleep 0.05; done"],
                                   stdout=subprocess.PIPE)
        check(running.stdout.readline() == b"up\n", "up")
        running.send_signal(signal.SIGTERM)
        check(running.stdout.read() == b"term\n" and running.wait(20) == 9, "SIGTERM")
        running.stdout.close()


def test_exec_without_standard_streams():
    with Server() as server:
        def shell(command):
            done = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30,
                                  env={**os.environ, "PARAPET_VM": server.path, "P": PARAPET})
            return done.returncode, done.stdout
        # a closed one is /dev/null, and not the connection
        check(shell("$P exec sh -c 'cat; echo out; exit 3' <&-") == (3, b"out\n"), "no input")
        check(shell("$P exec sh -c 'read a; echo $a; exit 3' >&- <<<text") == (3, b""), "no output")
        check(shell("$P exec sh -c 'echo out; echo err >&2; exit 3' 2>&-") == (3, b"out\n"), "no error")
        check(shell("$P exec sh -c 'cat; echo out; echo err >&2; exit 3' <&- >&- 2>&-") == (3, b""), "none")
        check(shell("$P exec cat </tmp") == (0, b""), "a directory is no input")
        check(shell("$P exec echo out >/dev/full")[0] == 128 + signal.SIGPIPE, "nowhere to go")
        check(shell("$P exec sh -c 'exec >&- 2>&- <&-; sleep 0.2; exit 3' </dev/zero") == (3, b""), "its streams closed")


def test_exec_whose_output_is_held():
    """The program has ended, somebody else has its output: a second signal is a way out."""
    with Server() as server:
        fds = server.fds()
        held = subprocess.Popen([PARAPET, "exec", server.path, "sh", "-c", "sleep 5 & echo up; exit 3"],
                                stdout=subprocess.PIPE)
        check(held.stdout.readline() == b"up\n", "up")
        time.sleep(0.2)
        held.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        check(held.poll() is None, "the first does not reach the program")
        held.send_signal(signal.SIGTERM)
        check(held.wait(3) == 128 + signal.SIGTERM, "the second ends the command", held.returncode)
        held.stdout.close()
        server.settle(fds, "what it left")


def test_exec_with_an_ignored_signal():
    """As under nohup, or a job of a script in the background: it reaches neither us nor the program."""
    with Server() as server:
        process = subprocess.Popen([PARAPET, "exec", server.path, "sh", "-c", "echo up; sleep 1; exit 3"],
                                   stdout=subprocess.PIPE,
                                   preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        check(process.stdout.readline() == b"up\n", "up")
        for _ in range(2):
            process.send_signal(signal.SIGHUP)
            time.sleep(0.1)
        check(process.wait(20) == 3, "it goes on to its end", process.returncode)
        process.stdout.close()


def test_usage():
    with Server() as server:
        names = re.findall(r"^  ([a-z-]+) ", subprocess.run(
            [PARAPET, "--help"], stdout=subprocess.PIPE, check=False).stdout.decode(), re.M) or []
        for name in set(names) - {"run", "check", "status", "shutdown"} | {"shell", "exec", "top"}:
            code, out, err = client(server, name, "--help")
            check(code == 0 and out.startswith(b"usage: parapet " + name.encode()) and not err, name, out)
            code, out, err = client(server, name, "--no-such-option")
            check(code == 2 and b"--help" in err, name, err)
        for words, code in ((["exec"], 2), (["inspect", "a", "b", "c"], 2), (["inspect", "-d", "x"], 2),
                            (["ping", "--vm", "/nonexistent"], 1), (["ping", "--vm", "no-such"], 1)):
            got = client(server, *words)
            check(got[0] == code and got[2].startswith(b"parapet: error: "), str(words), got)


def test_shell_on_a_terminal():
    with Server() as server:
        fds = server.fds()
        shell = Terminal(server, "shell", "-e", "PS1=ready> ")
        shell.until(rb"ready> ")
        shell.type("stty size; echo $TERM; tty\r")
        shell.until(rb"30 100\r\n.*vt100\r\n/dev/pts/\d+\r\n")
        shell.until(rb"ready> ")
        shell.resize(50, 132)
        time.sleep(0.3)
        shell.type("stty size\r")
        shell.until(rb"50 132\r\n")
        shell.until(rb"ready> ")
        shell.type("echo begin; sleep 100; echo not reached\r")
        shell.until(rb"\r\nbegin\r\n")
        time.sleep(0.5)  # between its commands, dash may lose a Ctrl-C
        shell.type("\x03")
        shell.until(rb"ready> ")
        shell.type("echo after $?\r")
        shell.until(rb"after 130\r\n")
        shell.type("exit 17\r")
        check(shell.end() == 17, "exit code")
        server.settle(fds + 2, "a shell")
        shell = Terminal(server, "shell", "-e", "PS1=ready> ")
        shell.until(rb"ready> ")
        shell.type("\r~")
        shell.type(".")
        check(shell.end() == 128 + signal.SIGHUP, "left by ~.")
        server.settle(fds + 2, "a shell that was left")
        # also from a program that takes no input any more
        shell = Terminal(server, "exec", "-t", "sh", "-c", "trap '' HUP; echo up; exec <&- >&- 2>&-; exec sleep 1000")
        shell.until(rb"up\r\n")
        time.sleep(0.3)
        shell.type("lost\r\x03\r~.")
        check(shell.end() == 128 + signal.SIGHUP, "left by ~.")
        server.settle(fds + 2, "a program without its terminal")
        killed = Terminal(server, "shell", "-e", "PS1=ready> ")
        killed.until(rb"ready> ")
        killed.type("sleep 1000\r")
        time.sleep(0.2)
        killed.process.kill()
        killed.end()
        server.settle(fds + 2, "a client that was killed")


def test_twenty_shells():
    with Server() as server:
        fds = server.fds()
        shells = [Terminal(server, "shell", "-e", "PS1=ready> ") for _ in range(20)]
        for shell in shells:
            shell.until(rb"ready> ")
        for i, shell in enumerate(shells):
            shell.type(f"echo shell $(({i} + 1000))\r")
        for i, shell in enumerate(shells):
            shell.until(b"shell %d\r\n" % (i + 1000))
        # idle shells leave the server alone, once their programs no longer count as short
        time.sleep(1.5)
        before = open(f"/proc/{server.pid}/status").read()
        time.sleep(1)
        after = open(f"/proc/{server.pid}/status").read()
        pattern = r"^(?:non)?voluntary_ctxt_switches:\s+(\d+)"
        check(re.findall(pattern, before, re.M) == re.findall(pattern, after, re.M), "no wake-ups")
        for shell in shells[:10]:
            shell.type("exit\r")
            check(shell.end() == 0, "exit")
        for shell in shells[10:]:
            shell.process.kill()
            shell.end()
        server.settle(fds + 2, "20 shells")


@timeout(400)
def test_a_thousand_exec():
    with Server() as server:
        client(server, "exec", "true")
        fds = server.fds()
        for _ in range(1000):
            check(client(server, "exec", "-n", "true")[0] == 0, "true")
        server.settle(fds, "1000 clients")


def test_inspect():
    with Server() as server:
        code, out, _ = client(server, "inspect")
        check(code == 0 and b"    vm: _,\n" in out and out.startswith(b"{\n"), "text", out)
        code, out, _ = client(server, "inspect", "-r", "-j", "vm/partition")
        tree = json.loads(out)
        check(set(tree["vp"]) == {"0", "1"}, "json", tree)
        check(json.loads(client(server, "inspect", "-j", "-d", "1", "vm/partition")[1])["vp"]["0"] is None, "depth")
        code, _, err = client(server, "inspect", "vm/none")
        check(code == 1 and err == b"parapet: error: vm/none: not found\n", "missing", err)
        code, out, _ = client(server, "inspect", "-j", "vm/none")
        check(code == 1 and json.loads(out) == {"$error": "not found"}, "missing", out)
        check(client(server, "inspect", "-u", "9", "vm/limit")[:2] == (0, b"9\n"), "update")
        check(client(server, "inspect", "-u", "debug", "trace/filter")[1] == b"debug\n", "update of a text")
        code, _, err = client(server, "inspect", "-u", "x", "vm/limit")
        check(code == 1 and b"not a number" in err, "wrong value", err)
        code, out, _ = client(server, "inspect", "-w", "-c", "3", "-p", "0.2", "-j", "-r", "vm/partition/vp/0")
        looks = [json.loads(line)["stats"]["vtl_transitions"] for line in out.splitlines()]
        check(len(looks) == 3 and looks[0] == 0 and all(2500 < rate < 5500 for rate in looks[1:]), "rates", looks)
        start = time.monotonic()
        code, out, _ = client(server, "inspect", "-j", "-t", "0.3", "vm/slow")
        check(time.monotonic() - start < 2.5 and json.loads(out) == {"$error": "unresolved"}, "timeout", out)
        code, out, _ = client(server, "ps")
        check(code == 0 and re.search(rb"^ *%d .* diagd(-\d+)?$" % server.pid, out, re.M), "ps", out)
        check("diagd" in json.loads(client(server, "ps", "-j")[1]), "ps --json")
        code, out, _ = client(server, "top", "-b", "-c", "2", "-p", "0.3", limit=20)
        check(code == 0 and out.count(b"VTL2 memory") == 2 and b"hypercall" in out and b"port_in" in out, "top", out)


def test_top_on_a_terminal():
    with Server() as server:
        top = Terminal(server, "top", "-p", "0.2")
        top.until(rb"\x1b\[\?1049h")
        top.until(rb"port_in")
        top.type("q")
        top.until(rb"\x1b\[\?1049l")
        check(top.end() == 0, "q")


def test_other_commands():
    with Server() as server:
        check(client(server, "ping")[:2] == (0, b"diagnostics answer\n"), "ping")
        check(client(server, "pause")[0] == 0, "pause")
        code, _, err = client(server, "pause")
        check(code == 1 and err == b"parapet: error: already paused\n", "twice", err)
        check(client(server, "resume")[0] == 0, "resume")
        check(client(server, "restart")[0] == 0, "restart")
        code, _, err = client(server, "start", "-e", "A=b", "--", "--x")
        check(code == 1 and b"started already" in err, "start", err)
        check(client(server, "save-state")[1] == b"s" * 100000, "state")
        with open("/etc/passwd", "rb") as f:
            check(client(server, "file", "/etc/passwd") == (0, f.read(), b""), "file")
        target = server.folder + "/out"
        code, _, err = client(server, "file", "-o", target, "/nonexistent")
        check(code == 1 and b"No such file" in err and not os.path.exists(target), "no file", err)
        code, _, err = client(server, "capture")
        check(code == 1 and b"no network adapter" in err, "capture", err)
        code, _, err = client(server, "core-dump", "-o", target, "-p", "1")
        check(code == 1 and b"underhill-dump" in err and not os.path.exists(target), "no dump program", err)
        # what was no file before stays
        os.symlink("/dev/null", target)
        code = client(server, "core-dump", "-o", target, "-p", "1")[0]
        check(code == 1 and os.path.islink(target), "a device stays")
        code, _, err = client(server, "crash", "-n", "nobody")
        check(code == 1 and b"diagd" in err, "crash: who is there", err)
        if os.access("/dev/kmsg", os.R_OK):
            code, out, _ = client(server, "kmsg")
            check(code == 0 and b"[invalid" not in out, "kmsg", out[:500])
    with Server(env={"OPENHCL_CONFIDENTIAL": "1"}) as server:
        code, out, _ = client(server, "ping")
        check(code == 0 and b"confidential" in out, "restricted", out)
        code, _, err = client(server, "exec", "true")
        check(code == 125 and b"not implemented: refused: the VM is confidential" in err, "refusal", err)
        check(client(server, "inspect", "build_info")[0] == 0, "safe nodes")


# --- a foreign server: odd, and within the rules

class Foreign:
    """Answers by script: service/method -> function(payload) -> body of the Response."""
    def __init__(self, answers, split=1, silent=()):
        self.folder = tempfile.mkdtemp(prefix="parapet-diag-")
        self.path = self.folder + "/vm.sock"
        self.answers, self.split, self.silent = answers, split, silent
        self.calls, self.sockets = [], {}
        self.lock = threading.Lock()
        self.proxy = Proxy(self.path, self.connect)

    def connect(self, port):
        ours, theirs = socket.socketpair()
        threading.Thread(target=self.control if port == 1 else self.data, args=(ours,), daemon=True).start()
        return theirs

    def data(self, sock):
        with self.lock:
            id_ = 2 ** 40 + len(self.sockets)
            self.sockets[id_] = sock
        for byte in struct.pack("<Q", id_):
            sock.sendall(bytes([byte]))
            time.sleep(0.001)

    def control(self, sock):
        def read(size):
            out = b""
            while len(out) < size:
                more = sock.recv(size - len(out))
                if not more:
                    raise OSError("closed")
                out += more
            return out
        try:
            while True:
                size, stream, _, _ = struct.unpack(">IIBB", read(10))
                request = dict(fields(read(size)))
                name = request[1].decode() + "/" + request[2].decode()
                self.calls.append((name, request.get(3, b""), request.get(4, 0)))
                answer = self.answers.get(name)
                body = answer(self, request.get(3, b"")) if answer else \
                    data(1, number(1, 12) + data(2, "what?"))
                # an answer that nobody asked for, flags, and everything in small pieces
                frames = struct.pack(">IIBB", 2, 0x7777, 2, 9) + b"\x12\0"
                if name not in self.silent:
                    frames += struct.pack(">IIBB", len(body), stream, 2, 0x55) + body
                for i in range(0, len(frames), self.split):
                    sock.sendall(frames[i:i + self.split])
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.proxy.close()
        shutil.rmtree(self.folder)


def ids_of(payload):
    found = dict(fields(payload))
    return [found.get(n, 0) for n in (4, 5, 6)]


def ok(payload=b""):
    return data(2, payload, always=True)


def test_foreign_server():
    def execute(foreign, payload):
        ids = ids_of(payload)

        def later():
            time.sleep(0.2)
            foreign.sockets[ids[1]].sendall(b"late output")
            foreign.sockets[ids[1]].shutdown(socket.SHUT_WR)
            if ids[2]:
                foreign.sockets[ids[2]].close()
        if ids[1]:
            threading.Thread(target=later, daemon=True).start()
        return ok(number(1, 77))
    answers = {
        "diag.UnderhillDiag/Exec": execute,
        "diag.UnderhillDiag/Wait": lambda *_: ok(number(1, 5)),
        # an empty envelope, as other ttrpc implementations send it for an empty result
        "diag.UnderhillDiag/Pause": lambda *_: b"",
        # a status without code is no success; details are not looked at
        "diag.UnderhillDiag/Resume": lambda *_: data(1, data(2, "odd") + data(3, b"\x0a\x01x"), always=True),
        "diag.UnderhillDiag/Restart": lambda *_: b"\xff",
    }
    with Foreign(answers) as server:
        check(client(server, "exec", "prog", "", "x")[:2] == (5, b"late output"), "output after the exit code")
        check(server.calls[0][0] == "parapet.Diag/Run", "what it would rather have")
        name, payload, _ = server.calls[1]
        ids = ids_of(payload)
        check(name == "diag.UnderhillDiag/Exec" and payload == data(1, "prog") + data(2, "", always=True)
              + data(2, "x") + b"".join(number(4 + i, v) for i, v in enumerate(ids)), "Exec", payload)
        check(sorted(ids) == [2 ** 40, 2 ** 40 + 1, 2 ** 40 + 2], "three, opened before the call", ids)
        check(server.calls[2][:2] == ("diag.UnderhillDiag/Wait", number(1, 77)), "Wait at once")
        check(client(server, "ping")[0] == 0, "a server without Ping")
        check(client(server, "pause")[0] == 0, "no payload, no status")
        check(client(server, "resume")[0] == 1, "odd status")
        check(client(server, "restart")[0] == 1, "garbage")
        code, _, err = client(server, "kmsg")
        check(code == 1 and b"what?" in err, "unknown method", err)
        # a terminal: LINES and COLUMNS, then stty for a resize
        server.calls.clear()
        shell = Terminal(server, "shell", "-t")
        shell.until(b"late output")
        check(shell.end() == 5, "code")
        check([c[0] for c in server.calls[:2]] == ["parapet.Diag/Run", "diag.UnderhillDiag/Exec"], "asks first")
        payload = server.calls[1][1]
        env = [dict(fields(v)) for n, v in fields(payload) if n == 8]
        check({1: b"LINES", 2: b"30"} in env and {1: b"COLUMNS", 2: b"100"} in env, "size", env)
        check(1000 not in dict(fields(payload)), "no additions of ours")


def test_foreign_resize():
    def execute(foreign, payload):
        ids = ids_of(payload)
        if ids[1]:
            foreign.sockets[ids[1]].sendall(b"up")
        return ok(number(1, 4711))
    # Wait is answered with something that nobody asked for: the program goes on
    answers = {"diag.UnderhillDiag/Exec": execute}
    with Foreign({**answers, "diag.UnderhillDiag/Wait": None}, silent=["diag.UnderhillDiag/Wait"]) as server:
        shell = Terminal(server, "shell", "-t")
        shell.until(b"up")
        time.sleep(0.2)
        shell.resize(44, 99)
        for _ in range(500):
            if len(server.calls) >= 4:
                break
            time.sleep(0.01)
        check(b"stty rows 44 cols 99 </proc/4711/fd/0" in server.calls[-1][1], "stty", server.calls)
        shell.process.kill()
        shell.end()


def test_foreign_signal():
    def running(**more):
        server = Foreign({"diag.UnderhillDiag/Exec": execute}, **more)
        process = subprocess.Popen([PARAPET, "exec", "-n", server.path, "x"], stdout=subprocess.PIPE)
        check(process.stdout.readline() == b"up\n", "up")
        return server, process

    def execute(foreign, payload):
        foreign.sockets[ids_of(payload)[1]].sendall(b"up\n")
        return ok(number(1, 4711))
    # Wait has no answer here, as the program goes on; a server that knows no signals, and one that hangs
    for hangs, wanted in ((False, 1), (True, 2)):
        silent = ["diag.UnderhillDiag/Wait"] + ["parapet.Diag/Signal"] * hangs
        server, process = running(silent=silent)
        with server, process.stdout:
            for i in range(wanted):
                check(process.poll() is None, f"it runs before signal {i}")
                process.send_signal(signal.SIGTERM)
                time.sleep(0.3)
            check(process.wait(10) == 128 + signal.SIGTERM, "it ends", (hangs, process.returncode))


class Scripted:
    """Has Run, and then does what script(sock, stream) says; without a proxy, which may lose what it holds."""
    def __init__(self, script):
        self.folder = tempfile.mkdtemp(prefix="parapet-diag-")
        self.path, self.script = self.folder + "/vm.sock", script
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(1)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            sock, _ = self.listener.accept()
            check(read_line(sock) == b"CONNECT 1\n", "one connection")
            sock.sendall(b"OK 1\n")
            size, stream, kind, flags = struct.unpack(">IIBB", sock.recv(10, socket.MSG_WAITALL))
            request = dict(fields(sock.recv(size, socket.MSG_WAITALL)))
            check((kind, flags, request[2]) == (1, 2, b"Run"), "a stream", request)
            self.script(sock, stream)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        shutil.rmtree(self.folder)


def frame(stream, kind, body):
    return struct.pack(">IIBB", len(body), stream, kind, 0) + body


def event(stream, *parts):
    return frame(stream, 3, b"".join(parts))


def until_closed(sock):
    while sock.recv(65536):
        pass


def test_run_that_ends():
    """The connection ends in each state."""
    up, done = number(1, 77), ok(number(1, 9))
    for name, answer, wanted in (
            ("at once", lambda s: b"", (125, b"")),
            ("in a header", lambda s: event(s, up)[:5], (125, b"")),
            ("running", lambda s: event(s, up) + event(s, data(2, "x")), (125, b"x")),
            ("in an answer", lambda s: event(s, up) + event(s, data(2, "x")) + frame(s, 2, done)[:-1], (125, b"x")),
            ("after a refusal", lambda s: frame(s, 2, data(1, number(1, 2) + data(2, "no"))), (125, b"")),
            ("answer without a pid", lambda s: frame(s, 2, done), (125, b"")),
            ("all of it", lambda s: event(s, up) + event(s, data(2, bytes(60000))) + frame(s, 2, done),
             (9, bytes(60000)))):
        def script(sock, stream, answer=answer):
            sock.sendall(answer(stream))
            sock.close()
        # with input that the connection does not take, too
        for stdin in (b"", bytes(1 << 20)):
            with Scripted(script) as server:
                code, out, err = client(server, "exec", "prog", stdin=stdin, limit=20)
                check((code, out) == wanted, name, (code, len(out), err))
                check(code == 9 or err.startswith(b"parapet: error: "), name, err)


def test_run_that_hangs():
    """A second signal is a way out of whatever the server does, or does not."""
    def silent(sock, stream):
        until_closed(sock)

    def deaf(sock, stream):
        sock.sendall(event(stream, number(1, 77)) + event(stream, number(4, 1 << 63)) * 2)
        time.sleep(30)

    def no_credit(sock, stream):
        sock.sendall(event(stream, number(1, 77)))
        until_closed(sock)

    def no_pid(sock, stream):
        with contextlib.suppress(OSError):
            while True:
                sock.sendall(event(stream, data(2, bytes(16384))))

    def chatty(sock, stream):
        sock.sendall(event(stream, number(1, 77)))
        no_pid(sock, stream)
    for script, wanted, blocked in ((silent, -signal.SIGTERM, False), (no_pid, -signal.SIGTERM, False),
                                    (deaf, 143, False), (no_credit, 143, False), (chatty, 143, False),
                                    (chatty, 143, True)):
        with Scripted(script) as server, open("/dev/zero", "rb") as zero:
            process = subprocess.Popen([PARAPET, "exec", server.path, "prog"], stdin=zero,
                                       stdout=subprocess.PIPE if blocked else subprocess.DEVNULL)
            for _ in range(2):
                time.sleep(0.5)
                check(process.poll() in (None, wanted), f"{script.__name__} runs", process.returncode)
                process.send_signal(signal.SIGTERM)
            check(process.wait(10) == wanted, script.__name__, process.returncode)
            if blocked:
                process.stdout.close()
    # a terminal that takes no more
    with Scripted(chatty) as server:
        master, slave = pty.openpty()
        process = subprocess.Popen([PARAPET, "exec", server.path, "prog"], stdin=subprocess.DEVNULL, stdout=slave)
        for _ in range(2):
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
        check(process.wait(10) == 143, "a terminal that takes no more", process.returncode)
        os.close(slave)
        os.close(master)
    # and ~. of a terminal, whose program takes no input
    for more in (b"", number(5, 1)):
        with Scripted(lambda sock, stream, more=more: (sock.sendall(event(stream, number(1, 77), data(2, "up"), more)),
                                                       until_closed(sock))) as server:
            shell = Terminal(server, "shell", "-t")
            shell.until(b"up")
            shell.type("text\r~.")
            check(shell.end() == 128 + signal.SIGHUP, "left by ~.", more)


def test_run_resized_at_its_start():
    asked, resized, seen = threading.Event(), threading.Event(), []

    def script(sock, stream):
        asked.set()
        resized.wait(20)
        sock.sendall(event(stream, number(1, 77)))
        size, *_ = struct.unpack(">IIBB", sock.recv(10, socket.MSG_WAITALL))
        seen.append(dict(fields(sock.recv(size, socket.MSG_WAITALL))))
        sock.sendall(frame(stream, 2, ok(number(1, 9))))
        until_closed(sock)
    with Scripted(script) as server:
        shell = Terminal(server, "shell", "-t", rows=30, columns=100)
        check(asked.wait(20), "the request")
        shell.resize(44, 99)
        time.sleep(0.2)
        resized.set()
        check(shell.end() == 9, "code")
        check(seen and seen[0][2] == b"WindowSize" and seen[0][3] == number(1, 77) + number(2, 44) + number(3, 99),
              "the new size", seen)


def test_run_of_a_hostile_server():
    def run(*frames, options=()):
        """(exit code, output, the most memory in KiB)"""
        measured = threading.Event()

        def script(sock, stream):
            sock.sendall(b"".join(f(stream) for f in frames) + event(stream, data(2, ".")))
            measured.wait(20)
            sock.sendall(frame(stream, 2, ok(number(1, 9))))
            until_closed(sock)
        with Scripted(script) as server:
            process = subprocess.Popen([PARAPET, "exec", *options, server.path, "prog"], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE)
            out, most = b"", 0
            while not out.endswith(b".") and (piece := os.read(process.stdout.fileno(), 65536)):
                out += piece
            if out:
                with open(f"/proc/{process.pid}/status") as f:
                    most = int(re.search(r"VmHWM:\s+(\d+)", f.read())[1])
            measured.set()
            out += process.stdout.read()
            process.stdout.close()
            return process.wait(20), out, most

    def up(stream):
        return event(stream, number(1, 77))
    code, out, usual = run(up)
    check((code, out) == (9, b"."), "usual", (code, out))
    # what it was not asked for: of other calls, events of none, twice, unknown fields
    odd = [lambda s: event(s + 2, data(2, "no")), lambda s: event(s, data(9, "x"), UNKNOWN), lambda s: event(s),
           lambda s: event(s, number(4, 0), number(1, 1 << 63)), lambda s: event(s, b"\xff"), lambda s: frame(s, 7, b"")]
    check(run(up, *odd[:5], lambda s: event(s, data(2, "yes")))[:2] == (9, b"yes."), "ignored")
    for option in ("-t", "-2"):
        check(run(up, lambda s: event(s, data(3, "no")), options=[option])[:2] == (9, b"."), "no such stream")
    check(run(up, odd[5])[0] == 125, "no answer of that type")
    check(run(up, lambda s: struct.pack(">IIBB", 1 << 25, s, 3, 0) + bytes(1 << 25))[0] == 125, "too large")
    for name, flood in (("no call", lambda s: frame(1001, 2, ok()) * 300000),
                        ("even", lambda s: frame(2, 2, ok()) * 300000),
                        ("data of no call", lambda s: frame(1001, 3, b"") * 300000),
                        ("text of no call", lambda s: event(1001, data(2, bytes(1 << 20))) * 20)):
        code, out, used = run(up, flood)
        check((code, out) == (9, b".") and used - usual < 16384, name, (code, out[:100], used, usual))


def test_foreign_inspect():
    entry = data(1, "0a10") + data(2, b"\x0a\0") + data(3, b"\x0a\0")
    deep = data(1, "x\x1b[31m") + data(2, data(3, data(1, data(1, data(6, data(1, 'q"\n\\')))))) + data(3, b"\x1a\0")
    answer = data(1, data(4, data(1, entry) + data(1, deep)))
    answers = {"inspect.InspectService/Inspect": lambda *_: ok(answer)}
    with Foreign(answers) as server:
        code, out, _ = client(server, "inspect", "-r", "a//b")
        check(code == 0 and out == b'{\n    0a10: _,\n    x\\x1b[31m: "q\\"\\n\\\\",\n}\n', "text", out)
        check(server.calls[0] == ("inspect.InspectService/Inspect", data(1, "a//b") + number(2, 0xFFFFFFFF), 10 ** 9),
              "the request", server.calls)
        check(json.loads(client(server, "inspect", "-j")[1]) == {"0a10": None, "x\x1b[31m": 'q"\n\\'}, "json")
    for bad in (b"\xff", b"", data(1, b""), data(1, data(4, data(1, data(1, "n")))), data(1, data(9, b""))):
        with Foreign({"inspect.InspectService/Inspect": lambda *_: ok(bad)}, split=1000) as server:
            code, _, err = client(server, "inspect")
            check(code == 1 and b"malformed" in err, "hostile answer", (bad, code, err))


def test_foreign_kmsg():
    def log(foreign, payload):
        sock = foreign.sockets[dict(fields(payload))[2]]
        sock.sendall(b"6,1,1500000,-;plain \\x5c \\x1b[1m\n KEY=value\n\0"
                     b"27,2,2000001,-,caller=T1;vm: text\0" b"garbage\0" b"6,3,1,-;" + b"x" * 5000 + b"\0"
                     b"31,4,2500000,c;end\0cut off")
        sock.shutdown(socket.SHUT_WR)
        return ok()
    with Foreign({"diag.UnderhillDiag/Kmsg": log}, split=1000) as server:
        code, out, _ = client(server, "kmsg")
        check(code == 0 and out == b"[    1.500000] plain \\ <1b>[1m\n[    2.000001] vm: text\n[invalid record]\n"
              b"[invalid record]\n[    2.500000] end\n", "records", out)
        out = client(server, "kmsg", "-j", "-l", "3")[1].splitlines()
        check(json.loads(out[0]) == {"level": 3, "facility": 3, "sequence": 2, "usec": 2000001, "text": "vm: text"},
              "json", out)


def test_handshake():
    """A VMM that is slow, refuses, or answers with something else."""
    folder = tempfile.mkdtemp(prefix="parapet-diag-")

    class Named:
        path = folder + "/sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(Named.path)
    listener.listen(10)
    answers = [b"", b"ERR\n", b"OK", b"O" * 100, b"OK 1\n\x05\0"]
    seen = []

    answer = b""

    def serve():
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                with contextlib.suppress(OSError):  # the client opens several, and leaves at once
                    seen.append(sock.recv(100))
                    sock.sendall(answer)
                sock.close()
    threading.Thread(target=serve, daemon=True).start()
    for answer in answers:
        code, _, err = client(Named, "exec", "-r", "true")
        check(code == 125 and err.startswith(b"parapet: error: "), "clear error", (code, err))
    check({b"CONNECT 1\n", b"CONNECT 2\n"} == {line for line in seen if line}, "nothing after the line",
          seen)
    listener.close()
    shutil.rmtree(folder)


# unknown fields of each wire type behind what is known
UNKNOWN = number(15, 1 << 63) + varint(16 << 3 | 1) + bytes(8) + varint(17 << 3 | 5) + bytes(4) + data(2000, b"\xff")


class Slow(Foreign):
    """Numbers in another order, each word of the handshake late and in pieces."""
    def connect(self, port):
        time.sleep(0.3)
        return super().connect(port)

    def data(self, sock):
        with self.lock:
            id_ = 2 ** 63 + 1000 - 7 * len(self.sockets)
            self.sockets[id_] = sock
        for byte in struct.pack("<Q", id_):
            time.sleep(0.05)
            sock.sendall(bytes([byte]))


def test_foreign_oddities():
    def execute(foreign, payload):
        ids = ids_of(payload)
        check(len(set(ids)) == 3 and all(id_ in foreign.sockets for id_ in ids), "the server's numbers", ids)
        foreign.sockets[ids[2]].close()
        foreign.sockets[ids[1]].sendall(b"text")
        foreign.sockets[ids[1]].shutdown(socket.SHUT_WR)
        # the last of a field counts; a varint may be longer than it must be
        return UNKNOWN + ok(number(1, 5) + UNKNOWN + b"\x08\xcd\x80\x80\x00") + UNKNOWN

    deep = data(1, "x") + data(2, data(3, data(1, data(1, data(2, number(1, 7) + UNKNOWN)) + data(2, number(1, 2)))
                                       + UNKNOWN)) + data(3, b"\x0a\0") + UNKNOWN
    answers = {
        "diag.UnderhillDiag/Exec": execute,
        "diag.UnderhillDiag/Wait": lambda *_: ok(UNKNOWN + number(1, 9)),
        "diag.UnderhillDiag/Pause": lambda *_: UNKNOWN + ok(),
        # a status says no, whatever comes with it; its text may be missing
        "diag.UnderhillDiag/Resume": lambda *_: ok() + data(1, number(1, 2) + UNKNOWN),
        "diag.UnderhillDiag/Restart": lambda *_: data(1, number(1, -1) + data(2, "no\x1b[1m\n")),
        "inspect.InspectService/Inspect": lambda *_: ok(data(1, data(4, data(1, deep))) + UNKNOWN),
    }
    with Slow(answers) as server:
        check(client(server, "exec", "prog")[:2] == (9, b"text"), "exec", server.calls)
        check(server.calls[2][:2] == ("diag.UnderhillDiag/Wait", number(1, 77)), "the pid", server.calls)
        check(client(server, "pause")[0] == 0, "unknown fields only")
        check(client(server, "resume")[0] == 1, "status and payload")
        code, _, err = client(server, "restart")
        check(code == 1 and b"\x1b" not in err, "a text of the server", err)
        check(json.loads(client(server, "inspect", "-j", "-r")[1]) == {"x": 7}, "inspect")


def test_foreign_pieces():
    """A pause at each byte of the handshake and of the first answer."""
    for at in range(0, 40, 3):
        class Paused(Foreign):
            def control(self, sock):
                ours, theirs = socket.socketpair()
                threading.Thread(target=super().control, args=(theirs,), daemon=True).start()
                threading.Thread(target=self.forward, args=(sock, ours), daemon=True).start()
                seen = 0
                while True:
                    byte = ours.recv(1)
                    if not byte:
                        return
                    if seen == at:
                        time.sleep(0.05)
                    seen += 1
                    sock.sendall(byte)

            @staticmethod
            def forward(source, target):
                while True:
                    piece = source.recv(4096)
                    if not piece:
                        return
                    target.sendall(piece)
        with Paused({"diag.UnderhillDiag/Pause": lambda *_: ok()}, split=1000) as server:
            check(client(server, "pause")[0] == 0, f"a pause at byte {at}")
