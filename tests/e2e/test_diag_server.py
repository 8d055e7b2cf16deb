"""The diagnostics server of VTL2, run natively, against an independent client."""
import os
import signal
import socket
import struct
import time

from diagnostics import (Client, Error, Server, data, dial, drain, exec_request, fields, number, readable,
                         run)
from harness import check, timeout


def fails(code, call, *arguments, text=""):
    try:
        answer = call(*arguments)
    except Error as error:
        check(error.code == code, f"code {code}", error)
        check(text in str(error.message), f"says '{text}'", error)
        return
    check(False, f"fails with code {code}", answer)


def raw(sock, text, size):
    """Sends bytes given as hex, and reads as many as wanted."""
    sock.sendall(bytes.fromhex(text))
    out = b""
    while len(out) < size:
        more = sock.recv(size - len(out))
        if not more:
            break
        out += more
    return out.hex(" ")


def test_recorded_bytes():
    """Requests as ohcldiag-dev sends them, and the only right answers."""
    with Server() as server:
        sock = dial(server.path, 1)
        ping = "00000018 00000001 0100 0a10" + b"diag.OpenhclDiag".hex() + "1204" + b"Ping".hex()
        check(raw(sock, ping, 12) == "00 00 00 02 00 00 00 01 02 00 12 00", "Ping")
        # Inspect build_info/crate_name, depth 0: InspectResponse{Node{Value{String "parapet"}}}
        body = (data(1, "inspect.InspectService") + data(2, "Inspect")
                + data(3, data(1, "build_info/crate_name")) + number(4, 10 ** 9))
        request = struct.pack(">IIBB", len(body), 3, 1, 0) + body
        want = "0a 11 1a 0f 0a 0d 0a 0b 32 09 0a 07 70 61 72 61 70 65 74"
        want = "00 00 00 15 00 00 00 03 02 00 12 13 " + want
        check(raw(sock, request.hex(), 31) == want, "Inspect of a leaf")
        # a path that there is not: success with Failed(NotFound)
        body = (data(1, "inspect.InspectService") + data(2, "Inspect") + data(3, data(1, "none")))
        request = struct.pack(">IIBB", len(body), 5, 1, 0) + body
        want = "00 00 00 0a 00 00 00 05 02 00 12 08 0a 06 12 04 0a 02 32 00"
        check(raw(sock, request.hex(), 20) == want, "Inspect of nothing")
        sock.close()


def test_wrong_requests():
    with Server() as server:
        client = Client(server.path)
        fails(12, client.call, "diag.UnderhillDiag", "Nothing")
        fails(12, client.call, "no.Service", "Ping")
        fails(12, client.call, "", "")
        fails(3, client.diag, "Exec", b"\x0a")
        fails(3, client.diag, "Exec", data(1, b"a\0b"))
        fails(3, client.diag, "Exec", data(1, "true") + data(8, data(2, "value without name")))
        fails(2, client.diag, "Exec", exec_request("/nonexistent"), text="No such file")
        fails(2, client.diag, "Exec", exec_request("/etc/passwd"), text="Permission denied")
        fails(2, client.diag, "Exec", exec_request("true", ids=(0, 99, 0)), text="99")
        fails(2, client.diag, "Wait", number(1, 1))
        fails(2, client.diag, "Wait", number(1, -1))
        fails(2, client.diag, "Kmsg", number(2, 7))
        fails(3, client.call, "inspect.InspectService", "Inspect", data(1, b"\xff"))
        # even stream, wrong type, undecodable envelope: answered, and the connection lives
        client.stream = 1
        fails(3, client.reply, bad_stream(client))
        client.sock.sendall(struct.pack(">IIBB", 0, 7, 3, 0))
        fails(3, client.reply, 7)
        client.sock.sendall(struct.pack(">IIBB", 1, 9, 1, 0) + b"\x0a")
        fails(3, client.reply, 9)
        # too large: drained, and answered
        client.sock.sendall(struct.pack(">IIBB", 3 << 20, 11, 1, 0) + bytes(3 << 20))
        fails(8, client.reply, 11)
        client.stream = 11
        check(client.call("diag.OpenhclDiag", "Ping") == b"", "still there")
        # a header that stops in the middle, and no more
        other = dial(server.path, 1)
        other.sendall(b"\0\0\0")
        other.close()
        check(client.call("diag.OpenhclDiag", "Ping") == b"", "still there")
        client.close()


def bad_stream(client):
    body = data(1, "diag.OpenhclDiag") + data(2, "Ping")
    client.sock.sendall(struct.pack(">IIBB", len(body), 4, 1, 0) + body)
    return 4


def test_exec_pipes():
    with Server() as server:
        client = Client(server.path)
        fds = server.fds()
        check(run(client, "sh", "-c", "cat; echo err >&2; exit 7", stdin=b"hello") ==
              (7, b"hello", b"err\n"), "streams and exit code")
        check(run(client, "sh", "-c", "kill -9 $$")[0] == 255, "death by signal")
        code, out, err = run(client, "sh", "-c", "echo a; echo b >&2", combine=True)
        check((code, out, err) == (0, b"a\n", b"b\n"), "an own stderr overrides combine")
        (sock, id_) = client.data()
        client.wait(dict(fields(client.diag("Exec", exec_request(
            "sh", "-c", "echo a; echo b >&2", ids=(0, id_, 0), combine=True))))[1])
        check(drain(sock) == b"a\nb\n", "combined")
        sock.close()
        code, out, _ = run(client, "sh", "-c", "echo $A-$B-${HOME:-none}",
                           env=(("A", "1"), ("B", ""), ("HOME", None)))
        check(out == b"1--none\n", "environment", out)
        code, out, _ = run(client, "/usr/bin/env", clear=True, env=(("ONLY", "x"), ("ONLY", "y")))
        check(out == b"ONLY=y\n", "clear_env", out)
        big = os.urandom(3 << 20)
        check(run(client, "cat", stdin=big) == (0, big, b""), "3 MiB there and back")
        check(run(client, "true", stdin=None)[0] == 0, "stdin never closed by the client")
        check(run(client, "sh", "-c", "exec <&-; sleep 0.2; echo done", stdin=b"x")
              [1] == b"done\n", "a program that closes its input")
        # nothing after the exit is lost when the reader is slow
        sock, id_ = client.data()
        pid = dict(fields(client.diag("Exec", exec_request("sh", "-c", "head -c 60000 /dev/zero",
                                                           ids=(0, id_, 0)))))[1]
        check(client.wait(pid) == 0, "ended")
        fails(2, client.wait, pid)
        time.sleep(0.3)
        check(len(drain(sock)) == 60000, "all of it")
        sock.close()
        server.settle(fds, "after all that")
        client.close()


def test_exec_raw():
    with Server() as server:
        client = Client(server.path)
        fds = server.fds()
        check(run(client, "sh", "-c", "read a; echo got $a; echo e >&2; exit 3", stdin=b"x\n", raw=True)
              == (3, b"got x\n", b"e\n"), "raw sockets")
        server.settle(fds, "raw")
        client.close()


def test_exec_tty():
    with Server() as server:
        client = Client(server.path)
        fds = server.fds()
        socks, ids = zip(*(client.data() for _ in range(3)))
        window = data(1000, number(1, 33) + number(2, 77))
        pid = dict(fields(client.diag("Exec", exec_request(
            "sh", "-c", "tty; stty size; trap 'echo INT; exit 4' INT; trap 'stty size' WINCH; echo up;"
            "while :; do sleep 0.05; done", tty=True, ids=ids, more=window))))[1]
        waiting = client.send("diag.UnderhillDiag", "Wait", number(1, pid))
        out = b""

        def until(text):
            nonlocal out
            while text not in out:
                piece = socks[1].recv(4096)
                check(piece, f"prints {text}", out)
                out += piece
        until(b"up\r\n")
        check(b"/dev/pts/" in out and b"33 77\r\n" in out, "a terminal with a size", out)
        check(socks[2].recv(1) == b"", "the third connection ends at once")
        client.call("parapet.Diag", "WindowSize", number(1, pid) + number(2, 10) + number(3, 20))
        until(b"10 20\r\n")
        socks[0].sendall(b"\x03")
        until(b"INT\r\n")
        check(drain(socks[1]) == b"", "end of file")
        check(dict(fields(client.reply(waiting)))[1] == 4, "exit code")
        fails(2, client.call, "parapet.Diag", "WindowSize", number(1, pid))
        for sock in socks:
            sock.close()
        server.settle(fds, "terminal")
        client.close()


def test_calls_in_parallel():
    with Server() as server:
        client = Client(server.path)
        pid = dict(fields(client.diag("Exec", exec_request("sleep", "1"))))[1]
        waiting = client.send("diag.UnderhillDiag", "Wait", number(1, pid))
        restart = client.send("diag.UnderhillDiag", "Restart")
        for _ in range(50):
            client.call("diag.OpenhclDiag", "Ping")
        check(not client.replies, "the others are still out")
        client.reply(restart)
        client.reply(waiting)
        # timeout of a call that waits
        pid = dict(fields(client.diag("Exec", exec_request("sleep", "1"))))[1]
        start = time.monotonic()
        fails(4, client.call, "diag.UnderhillDiag", "Wait", number(1, pid), 200_000_000)
        check(time.monotonic() - start < 0.9, "in time")
        check(client.wait(pid) == 0, "can be waited for again")
        # another connection may wait
        pid = dict(fields(client.diag("Exec", exec_request("sh", "-c", "exit 9"))))[1]
        other = Client(server.path)
        check(other.wait(pid) == 9, "from another connection")
        # a thousand requests that nobody reads the answers of, then all of them
        streams = [client.send("diag.OpenhclDiag", "Ping") for _ in range(1000)]
        for stream in streams:
            client.reply(stream)
        client.close()
        other.close()


def nice_of(pid):
    with open(f"/proc/{pid}/stat") as f:
        return int(f.read().rpartition(")")[2].split()[16])


def test_what_runs_long_has_the_weight_of_the_guest():
    with Server() as server:
        client = Client(server.path)
        pid = dict(fields(client.diag("Exec", exec_request("sleep", "3"))))[1]
        before = nice_of(pid)
        time.sleep(2)
        check(nice_of(pid) == 10 or before > 10, f"{before}, then {nice_of(pid)}")
        check(client.wait(pid) == 0, "its end")
        client.close()


def test_paravisor_calls():
    with Server() as server:
        client = Client(server.path)
        fails(2, client.diag, "Resume", text="not paused")
        check(client.diag("Pause") == b"", "pause")
        fails(2, client.diag, "Pause", text="already paused")
        check(client.inspect("control_state") == "paused", "state")
        check(client.diag("Resume") == b"", "resume")
        fails(2, client.diag, "Start", data(1, data(1, "A") + data(2, "b")) + data(2, "--x"), text="started")
        state = dict(fields(client.diag("DumpSavedState")))[1]
        check(state == b"s" * 100000, "saved state")
        check(client.diag("PacketCapture", number(3, 0)) == b"", "no streams")
        fails(2, client.diag, "PacketCapture", number(3, 1) + data(4, number(1, 100)))
        fails(2, client.call, "diag.OpenhclDiag", "MemoryProfileTrace", number(1, 1))
        sock, id_ = client.data()
        check(client.call("profile.AzureProfiler", "Profile", number(1, id_)) == b"", "profile")
        check(sock.recv(1) == b"", "without a profiler")
        client.close()
    with Server(link=False) as server:
        client = Client(server.path)
        fails(2, client.diag, "Pause", text="does not run")
        check(client.inspect("control_state") == "starting", "state")
        vm = client.inspect("vm")
        check(isinstance(vm, Error) and vm.code == 2, "vm", vm)
        client.close()


def test_inspect():
    with Server() as server:
        client = Client(server.path)
        top = client.inspect()
        check(set(top) >= {"build_info", "proc", "mesh", "trace", "vm", "control_state", "uhdiag"}, "top", top)
        check(top["vm"] is None and top["control_state"] == "started", "depth 0", top)
        hosts = client.inspect("mesh/hosts", 1, 0)
        check(hosts.get(str(server.pid), {}).get("name", "").startswith("diagd") and
              all(isinstance(h["name"], str) for h in hosts.values()), "mesh/hosts", hosts)
        own = f"mesh/hosts/{server.pid}"
        tasks = client.inspect(f"{own}/tasks", 2)
        check(tasks[str(server.pid)]["name"] == "diagd" and "state" in tasks[str(server.pid)], "tasks", tasks)
        limits = client.inspect(f"{own}/rlimit", 2)
        check(len(limits) == 16 and all(set(v) == {"current", "max"} for v in limits.values()), "rlimit", limits)
        check(client.update(f"{own}/rlimit/core/current", "0") == "0", "rlimit")
        fails(2, client.update, f"{own}/rlimit/core/current", "x", text="a number")
        fails(2, client.update, f"{own}/rlimit/none/current", "1", text="not found")
        check(client.inspect("vm/partition/vp", 0) == {"0": None, "1": None}, "delegated")
        deep = client.inspect("vm/partition", 0xFFFFFFFF)
        check(set(deep["vp"]["1"]["stats"]["exits"]) == {"port_in", "hypercall"}, "all of it", deep)
        memory = client.inspect("proc/meminfo")
        check(memory["MemTotal"] > 1000, "meminfo", memory)
        check("diagd" in client.inspect("/proc//processes/", 1), "processes")
        missing = client.inspect("vm/none")
        check(isinstance(missing, Error) and missing.code == 6, "not found", missing)
        missing = client.inspect("trace/filter/")
        check(isinstance(missing, Error) and missing.code == 5, "not a directory", missing)
        check(client.update("vm/limit", "17") == 17, "update")
        fails(2, client.update, "vm/limit", "x", text="not a number")
        fails(2, client.update, "build_info/crate_name", "x", text="immutable")
        fails(2, client.update, "vm", "x", text="immutable")
        fails(2, client.update, "nothing", "x", text="not found")
        check(client.update("trace/filter", "warn,vm=debug") == "warn,vm=debug", "filter")
        fails(2, client.update, "trace/filter", "loud", text="level")
        # what takes too long is unresolved, and the rest is there
        start = time.monotonic()
        answer = client.inspect("", 0xFFFFFFFF, 300_000_000)
        check(time.monotonic() - start < 2 and answer["vm"].code == 1 and answer["proc"]["meminfo"],
              "a partial answer", answer["vm"])
        # it is an answer that nobody waits for any more; the next one comes
        check(client.inspect("vm/slow", 0, 8 * 10 ** 9) == {"done": True}, "slow")
        client.close()


def test_policy():
    with Server(env={"OPENHCL_CONFIDENTIAL": "1"}) as server:
        client = Client(server.path)
        fails(12, client.call, "diag.OpenhclDiag", "Ping", text="confidential")
        fails(12, client.diag, "Exec", exec_request("true"), text="confidential")
        fails(12, client.diag, "Kmsg", number(2, 1))
        top = client.inspect()
        check("build_info" in top and "vm" in top, "safe nodes", top)
        check(set(client.inspect("vm", 1)) == {"partition"}, "no others")
        missing = client.inspect("vm/limit")
        check(isinstance(missing, Error) and missing.code == 6, "hidden", missing)
        fails(2, client.update, "vm/limit", "1", text="not found")
        check(client.update("trace/filter", "debug") == "debug", "safe, and writable")
        check(client.call("profile.AzureProfiler", "Profile") == b"", "profiler")
        client.close()
    with Server(env={"OPENHCL_CONFIDENTIAL": "1", "OPENHCL_CONFIDENTIAL_DEBUG": "1"}) as server:
        client = Client(server.path)
        check(client.call("diag.OpenhclDiag", "Ping") == b"", "a debug image")
        client.close()


def test_files_and_logs():
    with Server() as server:
        client = Client(server.path)
        fds = server.fds()

        def read(path, follow=False):
            sock, id_ = client.data()
            try:
                client.diag("ReadFile", number(1, follow) + number(2, id_) + data(3, path))
                return drain(sock)
            finally:
                sock.close()
        with open("/proc/self/exe", "rb") as f:
            program = f.read()
        check(read(os.path.realpath("/proc/self/exe")) == program, "a file")
        check(read("/dev/null") == b"", "a device")
        fails(2, read, "/nonexistent", text="No such file")
        fails(2, read, "/", text="neither")
        fails(2, read, "")
        fifo = server.folder + "/fifo"
        os.mkfifo(fifo)
        fails(2, read, fifo, text="neither")
        # an endless device: a NUL after each piece, and an end when the client goes
        sock, id_ = client.data()
        client.diag("ReadFile", number(1, 1) + number(2, id_) + data(3, "/dev/urandom"))
        got = b""
        while len(got) < 2048:
            got += sock.recv(2048 - len(got))
        check(got[2047] == 0, "a NUL behind 2047 bytes")
        sock.close()
        if os.access("/dev/kmsg", os.R_OK):
            sock, id_ = client.data()
            client.diag("Kmsg", number(2, id_))
            records = drain(sock).split(b"\0")
            sock.close()
            check(records.pop() == b"" and all(r.split(b";")[0].count(b",") >= 3 for r in records),
                  "records", records[:3])
        server.settle(fds, "files")
        client.close()


def test_data_connections():
    with Server() as server:
        client = Client(server.path)
        fds = server.fds()
        a, first = client.data()
        b, second = client.data()
        check(second == first + 1, "numbers grow by one")
        check(not readable(a, 0.1), "silence until it is claimed")
        b.shutdown(socket.SHUT_WR)
        time.sleep(0.2)
        fails(2, client.diag, "Kmsg", number(2, second))
        b.close()
        for _ in range(2):
            try:
                client.diag("ReadFile", number(2, first) + data(3, "/dev/null"))
            except Error as error:
                check(error.code == 2, "a number can be used once", error)
        a.close()
        idle = [dial(server.path, 2) for _ in range(300)]
        time.sleep(0.5)
        check(server.fds() < fds + 270, "unclaimed ones are bounded")
        for sock in idle:
            sock.close()
        server.settle(fds, "data connections")
        check(client.call("diag.OpenhclDiag", "Ping") == b"", "alive")
        client.close()


def test_client_dies():
    with Server() as server:
        fds = server.fds()  # and two for both ends of the link
        for words, options in ((("sleep", "1000"), {}), (("sh",), {"tty": True}),
                               (("sh", "-c", "trap '' HUP; sleep 1000"), {}),
                               (("sh", "-c", "cat; sleep 1000"), {}), (("sleep", "1000"), {"raw": True}),
                               (("sh", "-c", "yes"), {}), (("yes",), {"tty": True})):
            client = Client(server.path)
            socks, ids = zip(*(client.data() for _ in range(3)))
            client.diag("Exec", exec_request(*words, ids=ids, **options))
            client.send("inspect.InspectService", "Inspect", data(1, "vm/slow"))
            time.sleep(0.1)
            check(server.children(), f"{words} runs")
            client.close()
            for sock in socks:
                sock.close()
            server.settle(fds + 2, f"after {words}")
        # a program that was started without any connection is meant to stay
        client = Client(server.path)
        pid = dict(fields(client.diag("Exec", exec_request("sleep", "1000"))))[1]
        client.close()
        time.sleep(0.5)
        check(server.children() == [pid], "it goes on")
        os.kill(pid, signal.SIGKILL)
        server.settle(fds + 2, "killed")


@timeout(300)
def test_a_thousand_programs():
    with Server(env={"ASAN_OPTIONS": "quarantine_size_mb=0:thread_local_quarantine_size_kb=0"}) as server:
        client = Client(server.path)

        def memory():
            with open(f"/proc/{server.pid}/statm") as f:
                return int(f.read().split()[1])
        run(client, "true")
        fds = server.fds()
        for i in range(1000):
            check(run(client, "true", tty=i % 4 == 1, raw=i % 4 == 2)[0] == 0, "true")
            if i == 300:
                pages = memory()
        server.settle(fds, "1000 programs")
        grown = memory() - pages
        check(grown < 64, f"{grown} pages more")
        client.close()


def test_crash_request():
    server = Server()
    client = Client(server.path)
    check(client.diag("Crash", number(1, 999999)) == b"", "nobody: still an answer")
    check(client.diag("Crash", number(1, os.getpid())) == b"", "not ours: nothing happens")
    check(client.diag("Crash", number(1, server.pid)) == b"", "the answer comes first")
    server.process.wait(20)
    check(server.process.returncode == -signal.SIGABRT, "then it aborts", server.process.returncode)
