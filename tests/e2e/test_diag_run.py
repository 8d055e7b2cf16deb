"""parapet.Diag/Run: programs whose streams flow in the call. Against the server process, with an own codec."""
import os
import re
import struct
import time

from diagnostics import Client, Error, Server, data, exec_request, fields, number
from harness import check

WINDOW = 65536
REMOTE_CLOSED, REMOTE_OPEN, NO_DATA = 1, 2, 4


class Run:
    """One call. What it says is only read by until() and end()."""
    def __init__(self, client, *words, streams=(1, 1, 1), timeout_ns=0, **options):
        self.client = client
        self.pid, self.out, self.err, self.credit, self.input_closed = 0, b"", b"", WINDOW, False
        self.messages = 0
        self.stream = client.send("parapet.Diag", "Run", exec_request(*words, ids=streams, **options), timeout_ns,
                                  REMOTE_OPEN)
        client.messages[self.stream] = self.take

    def take(self, message):
        self.messages += 1
        for field, value in fields(message):
            check((field == 1) == (self.messages == 1), "the pid comes first, and once", message[:100])
            if field == 1:
                self.pid = value
            elif field == 2:
                self.out += value
            elif field == 3:
                self.err += value
            elif field == 4:
                self.credit += value
                check(0 < value <= WINDOW and self.credit <= WINDOW, "credit for what has been sent", value)
            else:
                check(field == 5 and value == 1, "a known field", (field, value))
                self.input_closed = True

    def frame(self, body, flags=0):
        self.client.sock.sendall(struct.pack(">IIBB", len(body), self.stream, 3, flags) + body)

    def feed(self, text):
        self.credit -= len(text)
        self.frame(data(1, text))

    def close(self):
        self.frame(b"", REMOTE_CLOSED | NO_DATA)

    def until(self, ready):
        while not ready(self):
            check(self.stream not in self.client.replies, "it goes on", self.__dict__)
            self.client.receive()
        return self

    def end(self):
        """(exit code, output, error)"""
        code = dict(fields(self.client.reply(self.stream))).get(1, 0)
        check(self.pid, "a pid")
        return code, self.out, self.err


def fails(code, run, text=""):
    try:
        answer = run.end()
    except Error as error:
        check(error.code == code and text in error.message, f"status {code}", error)
        return
    check(False, f"fails with {code}", answer)


def resident(server):
    with open(f"/proc/{server.process.pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1])


def test_streams():
    with Server() as server:
        client = Client(server.path)
        fds = server.fds()
        run = Run(client, "sh", "-c", "cat; echo err >&2; exit 7")
        run.feed(b"hel")
        run.until(lambda r: r.out == b"hel")
        run.feed(b"lo")
        run.close()
        check(run.end() == (7, b"hello", b"err\n"), "streams and exit code")
        check(Run(client, "sh", "-c", "kill -9 $$").end()[0] == 255, "death by signal")
        run = Run(client, "sh", "-c", "echo a; echo b >&2", combine=True, streams=(0, 1, 0))
        check(run.end() == (0, b"a\nb\n", b""), "combined")
        check(Run(client, "sh", "-c", "cat; echo out; exit 3", streams=(0, 0, 0)).end() == (3, b"", b""), "no streams")
        run = Run(client, "sh", "-c", "echo $A; cat", env=(("A", "1"),))
        run.frame(data(1, b"last"), REMOTE_CLOSED)
        check(run.end() == (0, b"1\nlast", b""), "the last of the input may come with its end")
        # output of whoever is left belongs to it, and the answer waits for that
        run = Run(client, "sh", "-c", "(sleep 0.3; echo late) & echo early; exit 4")
        check(run.end() == (4, b"early\nlate\n", b""), "late output")
        # many at a time, on one connection
        runs = [Run(client, "sh", "-c", f"read a; echo {i}-$a") for i in range(20)]
        for i, run in enumerate(runs):
            run.feed(b"in%d\n" % i)
        for i, run in reversed(list(enumerate(runs))):
            check(run.end() == (0, b"%d-in%d\n" % (i, i), b""), f"run {i}")
        server.settle(fds, "after all that")
        client.close()


def test_large():
    with Server() as server:
        client = Client(server.path)
        big, at = os.urandom(3 << 20), 0
        run = Run(client, "cat")
        while at < len(big):
            run.until(lambda r: r.credit)
            size = min(run.credit, 16384, len(big) - at)
            run.feed(big[at:at + size])
            at += size
        run.close()
        check(run.end() == (0, big, b""), "3 MiB there and back")
        client.close()


def test_a_peer_that_does_not_read():
    with Server() as server:
        client, other = Client(server.path), Client(server.path)
        before = resident(server)
        run = Run(client, "sh", "-c", "yes & yes >&2 & wait")
        time.sleep(1)
        check(resident(server) - before < 8192, "what it does not read is not kept", (before, resident(server)))
        check(other.call("diag.OpenhclDiag", "Ping") == b"", "others are served")
        # what it asks for is done
        Run(client, "sh", "-c", f"kill $(ps -o pid= --ppid {server.children()[0]})", streams=(0, 0, 0)).end()
        code, out, err = run.end()
        check(code == 0 and len(out) > WINDOW and len(err) > WINDOW, "both streams", (code, len(out), len(err)))
        check(out == (b"y\n" * len(out))[:len(out)] and err == (b"y\n" * len(err))[:len(err)], "nothing is missing")
        client.close()
        other.close()


def test_one_connection_for_all():
    with Server() as server:
        client = Client(server.path)
        # one that always has output leaves room for the others
        quiet = Run(client, "sh", "-c", "sleep 0.3; echo quiet; exit 3")
        for _ in range(10):
            Run(client, "yes")
        end = time.monotonic() + 10
        while quiet.stream not in client.replies:
            check(time.monotonic() < end, "it gets its turn", quiet.__dict__)
            client.receive()
        check(quiet.end() == (3, b"quiet\n", b""), "quiet")
        client.close()
        # and so for the program's other output: with a pipe that is never empty
        client = Client(server.path)
        busy = Run(client, "python3", "-c", "import fcntl, os, threading, time\nfcntl.fcntl(1, 1031, 1 << 20)\n"
                   "threading.Timer(0.3, lambda: os.write(2, b'quiet')).start()\nwhile 1: os.write(1, bytes(1 << 20))")
        end = time.monotonic() + 10
        while not busy.err:
            check(time.monotonic() < end, "it gets its turn", len(busy.out))
            client.receive()
        client.close()
        # so many at a time, and there is still room for their input, and for other calls
        client = Client(server.path)
        runs = [Run(client, "cat") for _ in range(64)]
        refused = Run(client, "cat")
        refused.feed(b"written before the answer was read")
        fails(8, refused, "64 programs")
        check(client.call("diag.OpenhclDiag", "Ping") == b"", "the connection is free")
        for run in runs:
            run.feed(b"in")
        for run in runs:
            run.close()
            check(run.end() == (0, b"in", b""), "the end of one")
        # what crosses the end of either is not answered
        for run in runs:
            run.feed(b"late")
        check(Run(client, "echo", "more").end()[1] == b"more\n", "room again")
        client.close()


def test_a_program_that_does_not_read():
    with Server() as server:
        client = Client(server.path)
        fds = server.fds()
        run = Run(client, "sh", "-c", "sleep 0.5; exec wc -c")
        for _ in range(16):
            run.feed(bytes(WINDOW // 16))
        check(client.call("diag.OpenhclDiag", "Ping") == b"", "the connection is free")
        run.until(lambda r: r.credit == WINDOW)
        run.feed(b"more")
        run.close()
        check(run.end()[:2] == (0, b"%d\n" % (WINDOW + 4)), "all of it", run.out)
        # more than there is credit for: a pipe holds 64 KiB, the server as much
        run = Run(client, "sleep", "1000")
        for _ in range(200):
            run.feed(bytes(1024))
        fails(8, run, "credit")
        # its input closed by the program, or by its end
        run = Run(client, "sh", "-c", "exec <&-; sleep 0.2; echo done")
        run.until(lambda r: r.input_closed)
        run.feed(b"nobody reads this")
        run.close()
        check(run.end() == (0, b"done\n", b""), "done")
        run.feed(b"too late, and no answer to it")
        check(client.call("diag.OpenhclDiag", "Ping") == b"", "the connection lives")
        server.settle(fds, "programs that do not read")
        client.close()


def test_terminal():
    with Server() as server:
        client = Client(server.path)
        fds = server.fds()
        run = Run(client, "sh", "-c", "tty; stty size; trap 'echo INT; exit 4' INT; trap 'stty size' WINCH; echo up;"
                  "while :; do sleep 0.05; done", tty=True, more=data(1000, number(1, 33) + number(2, 77)))
        run.until(lambda r: b"up\r\n" in r.out)
        check(b"/dev/pts/" in run.out and b"33 77\r\n" in run.out, "a terminal with a size", run.out)
        client.call("parapet.Diag", "WindowSize", number(1, run.pid) + number(2, 10) + number(3, 20))
        run.until(lambda r: b"10 20\r\n" in r.out)
        run.feed(b"\x03")
        code, out, err = run.end()
        check(code == 4 and b"INT\r\n" in out and err == b"", "Ctrl-C", (code, out, err))
        for streams in ((0, 1, 0), (1, 0, 0)):
            run = Run(client, "sh", "-c", "read a; exit 5", tty=True, streams=streams)
            run.until(lambda r: r.pid)
            client.call("parapet.Diag", "WindowSize", number(1, run.pid) + number(2, 10) + number(3, 20))
            client.call("parapet.Diag", "Signal", number(1, run.pid) + number(2, 15))
            check(run.end()[0] == 255, "a half of a terminal", streams)
        server.settle(fds, "terminal")
        client.close()


def test_wrong_frames():
    with Server() as server:
        client = Client(server.path)
        fds = server.fds()
        fails(2, Run(client, "/nonexistent"), "cannot run /nonexistent: No such file")
        fails(3, Run(client, "a\0b"), "malformed")
        for body, flags in ((b"\xff", 0), (number(1, 5), 0), (data(1, b"x")[:-1], REMOTE_CLOSED)):
            run = Run(client, "sleep", "1000")
            run.frame(body, flags)
            fails(3, run, "malformed")
        run = Run(client, "sleep", "1000")
        run.close()
        run.close()
        fails(3, run, "malformed")
        run = Run(client, "sleep", "1000", timeout_ns=200_000_000)
        fails(4, run, "time")
        # data for a call that takes none, for none at all, and too large
        pid = dict(fields(client.diag("Exec", exec_request("sleep", "0.3"))))[1]
        waiting = client.send("diag.UnderhillDiag", "Wait", number(1, pid))
        for stream in (waiting, waiting + 1000):
            client.sock.sendall(struct.pack(">IIBB", 0, stream, 3, 0))
            try:
                check(False, "no answer of that kind", client.reply(stream))
            except Error as error:
                check(error.code == 3 and "frame type 3" in error.message, "refused", error)
        check(client.reply(waiting) == b"", "the call goes on")
        run = Run(client, "cat")
        client.sock.sendall(struct.pack(">IIBB", 2 << 20, run.stream, 3, 0) + bytes(2 << 20))
        fails(8, run)
        check(client.call("diag.OpenhclDiag", "Ping") == b"", "the connection lives")
        server.settle(fds, "wrong frames")
        check(not server.children(), "nothing is left", server.children())
        client.close()


def test_client_dies():
    with Server() as server:
        fds = server.fds()
        for words, options in ((("sleep", "1000"), {}), (("sh",), {"tty": True}), (("yes",), {"tty": True}),
                               (("sh", "-c", "trap '' HUP; echo up; sleep 1000"), {}), (("sh", "-c", "yes"), {}),
                               (("sh", "-c", "cat; sleep 1000"), {}), (("sleep", "1000"), {"streams": (0, 0, 0)})):
            client = Client(server.path)
            run = Run(client, *words, **options)
            run.until(lambda r: r.out if "echo up" in words[-1] else r.pid)
            check(server.children() == [run.pid], f"{words} runs")
            client.close()
            server.settle(fds, f"after {words}")
