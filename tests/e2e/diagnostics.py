"""Diagnostics without a machine: an own ttrpc and protobuf codec, the server process, a hybrid-vsock proxy."""
import contextlib
import os
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time

from harness import BUILD, check

DIAGD = os.environ.get("PARAPET_DIAGD", os.path.join(BUILD, "asan/diagd"))
PARAPET = os.environ.get("PARAPET_CLIENT", os.path.join(BUILD, "asan/parapet"))
PORTS = {1: "control", 2: "data"}


# --- protobuf, written for these tests only

def varint(value):
    value &= (1 << 64) - 1
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def number(field, value):
    return varint(field << 3) + varint(value) if value else b""


def data(field, value, always=False):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value if value or always else b""


def fields(message):
    """[(number, value)] of a message; bytes for length-delimited fields."""
    at, out = 0, []

    def take():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
    while at < len(message):
        key = take()
        kind = key & 7
        if kind == 0:
            out.append((key >> 3, take()))
        elif kind == 2:
            size = take()
            assert at + size <= len(message)
            out.append((key >> 3, message[at:at + size]))
            at += size
        else:
            size = {1: 8, 5: 4}[kind]
            out.append((key >> 3, int.from_bytes(message[at:at + size], "little")))
            at += size
    return out


def node(message):
    """An inspect Node as dict, value, None (unevaluated) or Error."""
    (kind, body), = fields(message)
    if kind == 1:
        return None
    if kind == 2:
        (_, error), = fields(body)
        (code, text), = fields(error)
        return Error(code, text)
    if kind == 3:
        return value(dict(fields(body))[1])
    out = {}
    for _, entry in fields(body):
        entry = dict(fields(entry))
        (level, empty), = fields(entry[3])
        assert 1 <= level <= 3 and empty == b""
        out[entry.get(1, b"").decode()] = node(entry[2])
    return out


def value(message):
    (kind, body), = fields(dict(fields(message))[1])
    raw = dict(fields(body)).get(1)
    if kind == 1:
        return (raw or 0) >> 1 ^ -((raw or 0) & 1)
    if kind == 5:
        return bool(raw)
    if kind == 6:
        return (raw or b"").decode()
    return raw or (b"" if kind == 7 else 0)


class Error(Exception):
    """A failed call (status code), or a failed inspect node (error number)."""
    def __init__(self, code, message):
        super().__init__(code, message)
        self.code, self.message = code, message


# --- the hybrid-vsock socket of a VMM, in front of unix sockets

def read_line(sock, limit=45):
    line = b""
    while not line.endswith(b"\n") and len(line) < limit:
        more = sock.recv(limit)
        if not more:
            return None
        line += more
    return line


def relay(a, b):
    """Copies both ways with half-closes until both ends have ended."""
    def one(source, target):
        try:
            while True:
                piece = source.recv(65536)
                if not piece:
                    break
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            for s in (source, target):
                with contextlib.suppress(OSError):
                    s.shutdown(socket.SHUT_RDWR)
    other = threading.Thread(target=one, args=(b, a), daemon=True)
    other.start()
    one(a, b)
    other.join()
    a.close()
    b.close()


class Proxy:
    """Accepts CONNECT on `path`; connect(port) gives the socket behind it, or None."""
    def __init__(self, path, connect):
        self.path, self.connect = path, connect
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(200)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        line = read_line(client)
        words = (line or b"").split()
        server = None
        if len(words) == 2 and words[0].upper() == b"CONNECT" and line.endswith(b"\n"):
            server = self.connect(int(words[1]))
        if not server:
            client.close()
            return
        client.sendall(b"OK 4294967295\n")
        relay(client, server)

    def close(self):
        self.listener.close()


class Server:
    """diagd behind a proxy; `with Server() as s:` checks at its end that it ended well."""
    def __init__(self, link=True, env=None):
        self.folder = tempfile.mkdtemp(prefix="parapet-diag-")
        self.path = self.folder + "/vm.sock"
        self.sockets = {port: f"{self.folder}/{name}" for port, name in PORTS.items()}
        self.log = open(self.folder + "/log", "w+b")
        command = [DIAGD, self.sockets[1], self.sockets[2]] + ([self.folder + "/link"] if link else [])
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, cwd="/", env={**os.environ, **(env or {})})
        self.pid = self.process.pid
        for _ in range(500):
            names = self.descriptors()
            if any("signalfd" in name for name in names) and (not link or os.path.exists(self.folder + "/link")):
                break
            time.sleep(0.01)
        self.proxy = Proxy(self.path, self.connect)

    def connect(self, port):
        if port not in self.sockets:
            return None
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(self.sockets[port])
        except OSError:
            return None
        return sock

    def descriptors(self):
        names = []
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(OSError):
                names.append(os.readlink(f"/proc/{self.pid}/fd/{fd}"))
        return names

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def children(self):
        with open(f"/proc/{self.pid}/task/{self.pid}/children") as f:
            return [int(pid) for pid in f.read().split()]

    def settle(self, fds, what):
        """Waits until no child is left and not more than fds descriptors are open."""
        for _ in range(1000):
            if not self.children() and self.fds() <= fds:
                return
            time.sleep(0.01)
        check(False, f"{what}: {self.fds()} descriptors (had {fds}), children {self.children()}",
              self.descriptors())

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.proxy.close()
        self.process.terminate()
        code = self.process.wait(20)
        self.log.seek(0)
        text = self.log.read().decode(errors="replace")
        shutil.rmtree(self.folder)
        if kind is None:
            check(code == 0, f"the server ended with {code}", text)
        elif text:
            print(text)


def dial(path, port):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(30)
    sock.connect(path)
    sock.sendall(b"CONNECT %d\n" % port)
    line = b""
    while not line.endswith(b"\n"):
        byte = sock.recv(1)
        if not byte:
            raise Error(14, "refused")
        line += byte
    check(line.startswith(b"OK "), "the proxy says OK", line)
    return sock


class Client:
    def __init__(self, path):
        self.path = path
        self.sock = dial(path, 1)
        self.stream = -1
        self.replies = {}
        self.messages = {}  # of calls that are streams
        try:
            self.call("diag.OpenhclDiag", "Ping")  # the server has taken the connection
        except Error as error:
            check(error.code == 12, "a server that runs", error)
        self.stream = -1

    def read(self, size):
        out = b""
        while len(out) < size:
            more = self.sock.recv(size - len(out))
            if not more:
                raise Error(14, "connection lost")
            out += more
        return out

    def send(self, service, method, payload=b"", timeout_ns=0, flags=0):
        self.stream += 2
        body = data(1, service) + data(2, method) + data(3, payload) + number(4, timeout_ns)
        self.sock.sendall(struct.pack(">IIBB", len(body), self.stream, 1, flags) + body)
        return self.stream

    def receive(self):
        size, number_, kind, flags = struct.unpack(">IIBB", self.read(10))
        body = self.read(size)
        if number_ in self.messages and number_ not in self.replies and kind == 3:
            check(flags == 0, "a data frame", flags)
            self.messages[number_](body)
            return
        check(kind == 2 and flags == 0 and number_ not in self.replies, "a response frame", (kind, flags))
        self.replies[number_] = body

    def reply(self, stream):
        while stream not in self.replies:
            self.receive()
        parts = fields(self.replies.pop(stream))
        check(len(parts) == 1 and parts[0][0] in (1, 2), "one of status and payload", parts)
        if parts[0][0] == 1:
            status = dict(fields(parts[0][1]))
            raise Error(status[1], status.get(2, b"").decode())
        return parts[0][1]

    def call(self, service, method, payload=b"", timeout_ns=0):
        return self.reply(self.send(service, method, payload, timeout_ns))

    def diag(self, method, payload=b""):
        return self.call("diag.UnderhillDiag", method, payload)

    def inspect(self, path="", depth=0, timeout_ns=10 ** 9):
        answer = self.call("inspect.InspectService", "Inspect", data(1, path) + number(2, depth),
                           timeout_ns)
        return node(dict(fields(answer))[1])

    def update(self, path, text):
        answer = self.call("inspect.InspectService", "Update", data(1, path) + data(2, text))
        return value(dict(fields(answer))[1])

    def data(self):
        sock = dial(self.path, 2)
        number_ = b""
        while len(number_) < 8:
            number_ += sock.recv(8 - len(number_))
        return sock, struct.unpack("<Q", number_)[0]

    def wait(self, pid):
        return dict(fields(self.diag("Wait", number(1, pid)))).get(1, 0)

    def close(self):
        self.sock.close()


def drain(sock):
    out = b""
    while True:
        piece = sock.recv(65536)
        if not piece:
            return out
        out += piece


def exec_request(*words, tty=False, ids=(0, 0, 0), combine=False, env=(), clear=False, raw=False, more=b""):
    out = data(1, words[0])
    for word in words[1:]:
        out += data(2, word, always=True)
    out += number(3, tty)
    for i, id_ in enumerate(ids):
        out += number(4 + i, id_)
    out += number(7, combine)
    for name, text in env:
        out += data(8, data(1, name) + (b"" if text is None else data(2, text, always=True)))
    return out + number(9, clear) + number(10, raw) + more


def run(client, *words, stdin=b"", **options):
    """A program to its end: (exit code, stdout, stderr)."""
    socks, ids = zip(*(client.data() for _ in range(3)))
    pid = dict(fields(client.diag("Exec", exec_request(*words, ids=ids, **options))))[1]
    waiting = client.send("diag.UnderhillDiag", "Wait", number(1, pid))

    def feed():
        with contextlib.suppress(OSError):  # a program need not read all of it
            socks[0].sendall(stdin)
            socks[0].shutdown(socket.SHUT_WR)
    writer = threading.Thread(target=feed)
    if stdin is not None:
        writer.start()
    result = []
    reader = threading.Thread(target=lambda: result.append(drain(socks[2])))
    reader.start()
    out = drain(socks[1])
    reader.join()
    if stdin is not None:
        writer.join()
    code = dict(fields(client.reply(waiting))).get(1, 0)
    for sock in socks:
        sock.close()
    return code, out, result[0]


def readable(sock, seconds):
    return bool(select.select([sock], [], [], seconds)[0])
