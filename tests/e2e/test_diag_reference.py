"""The bytes that Microsoft's ohcldiag-dev sends for each of its commands, and the answers it can read.

Derived by hand from openvmm's openhcl/ohcldiag-dev, openhcl/diag_client, support/mesh/mesh_rpc and the
two .proto files (commit 1488a37b7cfe); the program itself was not run. Each frame is: length and stream
(u32, big endian), type 01, flags 00. Its body: 0a service, 12 method, 1a payload unless empty, 20
timeout in ns unless 0; metadata is never sent. Payloads are plain proto3 in the order of the field
numbers: defaults are left out, an `optional` that is present is not, repeated u64 are packed. The
stream is 1 for a connection's first call and grows by 2. Data connections come before the control
connection, and their numbers count from 1 over all clients: the tests below open them in this order.
"""
import socket
import struct

from diagnostics import Server, dial, drain, fields, node, value
from harness import check

UNDERHILL = "0a12" + b"diag.UnderhillDiag".hex()
OPENHCL = "0a10" + b"diag.OpenhclDiag".hex()
INSPECT = "0a16" + b"inspect.InspectService".hex()


def receive(sock, size):
    out = b""
    while len(out) < size:
        more = sock.recv(size - len(out))
        check(more, "the server answers", out)
        out += more
    return out


def payload_of(sock, stream):
    """Reads one response as the reference's client does: one frame, exactly one of status and payload."""
    size, number, kind, flags = struct.unpack(">IIBB", receive(sock, 10))
    check((number, kind, flags) == (stream, 2, 0), "frame", (number, kind, flags))
    (which, body), = fields(receive(sock, size))
    if which == 1:
        status = dict(fields(body))
        return status[1], status.get(2, b"").decode()
    check(which == 2, "payload", which)
    return body


def call(sock, frame):
    request = bytes.fromhex(frame)
    size, stream = struct.unpack(">II", request[:8])
    check(size == len(request) - 10, "the vector is whole", frame)
    sock.sendall(request)
    return payload_of(sock, stream)


def data_sockets(server, *numbers):
    """Connections to port 2, as the client makes them: their numbers are part of the vectors."""
    socks = []
    for number in numbers:
        sock = dial(server.path, 2)
        check(receive(sock, 8) == struct.pack("<Q", number), "the number of the connection")
        socks.append(sock)
    return socks


def test_kmsg_and_file():
    with Server() as server:
        # `kmsg -r`: on the control connection Ping comes first; the socket of the log is made after it
        control = dial(server.path, 1)
        check(call(control, "00000018 00000001 0100" + OPENHCL + "1204 50696e67") == b"", "Ping")
        log, = data_sockets(server, 1)
        # KmsgRequest: 08 follow (left out), 10 conn
        check(call(control, "0000001e 00000003 0100" + UNDERHILL + "1204 4b6d7367 1a02 1001") == b"", "Kmsg")
        check(drain(log).endswith(b"\0"), "each record ends in a NUL")
        # `kmsg -f`: 08 01
        log, = data_sockets(server, 2)
        control = dial(server.path, 1)
        check(call(control, "00000020 00000001 0100" + UNDERHILL + "1204 4b6d7367 1a04 0801 1002") == b"", "follow")
        check(log.recv(1), "records")
        log.close()
        # `file -p /dev/null`: FileRequest: 08 follow, 10 conn, 1a file_path
        file, = data_sockets(server, 3)
        control = dial(server.path, 1)
        check(call(control, "0000002d 00000001 0100" + UNDERHILL + "1208 5265616446696c65"
                   "1a0d 1003 1a09 2f6465762f6e756c6c") == b"", "ReadFile")
        check(drain(file) == b"", "its bytes, then the end")
        # `file -f -p /dev/null`
        file, = data_sockets(server, 4)
        control = dial(server.path, 1)
        check(call(control, "0000002f 00000001 0100" + UNDERHILL + "1208 5265616446696c65"
                   "1a0f 0801 1004 1a09 2f6465762f6e756c6c") == b"", "ReadFile, follow")
        check(drain(file) == b"", "its bytes, then the end")


def exec_and_wait(control, frame):
    """Exec on stream 1, and Wait at once on stream 3: WaitRequest {08 pid}"""
    pid = dict(fields(call(control, frame)))[1]
    low = bytes([pid & 0x7f | 0x80, pid >> 7 & 0x7f | 0x80, pid >> 14]) if pid >= 1 << 14 else \
        bytes([pid & 0x7f | 0x80, pid >> 7]) if pid >= 0x80 else bytes([pid])
    body = bytes.fromhex(UNDERHILL + "1204 57616974") + bytes([0x1a, 1 + len(low), 8]) + low
    control.sendall(struct.pack(">II", len(body), 3) + b"\1\0" + body)


def test_run_and_shell():
    with Server() as server:
        # `run sh -c "cat; echo e >&2; exit 3"`. ExecRequest: 0a command, 12 each argument, 20 28 30 the
        # three connections. `gdbserver` sends the same with /bin/sh and its own text.
        socks = data_sockets(server, 1, 2, 3)
        control = dial(server.path, 1)
        exec_and_wait(control, "00000043 00000001 0100" + UNDERHILL + "1204 45786563 1a27 0a02 7368 1202 2d63"
                      "1217 6361743b206563686f2065203e26323b20657869742033 2001 2802 3003")
        socks[0].sendall(b"through")
        socks[0].shutdown(socket.SHUT_WR)
        check(drain(socks[1]) == b"through" and drain(socks[2]) == b"e\n", "stdout and stderr")
        check(payload_of(control, 3) == b"\x08\x03", "WaitResponse: 08 exit_code")
        # `shell`: 18 01 tty, three connections though a terminal has no stderr, 42 EnvPair {0a name, 12 value}
        socks = data_sockets(server, 4, 5, 6)
        control = dial(server.path, 1)
        exec_and_wait(control, "00000045 00000001 0100" + UNDERHILL + "1204 45786563 1a29 0a07 2f62696e2f7368"
                      "1801 2004 2805 3006 4216 0a04 5445524d 120e 787465726d2d323536636f6c6f72")
        socks[0].sendall(b"echo $TERM; exit\n")
        check(b"xterm-256color\r\n" in drain(socks[1]), "a terminal")
        check(payload_of(control, 3) == b"", "exit code 0 is left out")
        # what there is not: status {08 2, 12 text}, and no Wait follows
        control = dial(server.path, 1)
        socks = data_sockets(server, 7, 8, 9)
        answer = call(control, "0000002c 00000001 0100" + UNDERHILL + "1204 45786563"
                      "1a10 0a08 2f6e6f7468696e67 2007 2808 3009")
        check(answer[0] == 2 and "No such file" in answer[1], "a status with a text", answer)


def test_core_dump_and_crash():
    with Server() as server:
        # `core-dump -n NAME`, `crash -n NAME`: Inspect of mesh/hosts, 10 depth 1, no timeout
        control = dial(server.path, 1)
        answer = call(control, "00000031 00000001 0100" + INSPECT + "1207 496e7370656374"
                      "1a0e 0a0a 6d6573682f686f737473 1001")
        (field, result), = fields(answer)
        hosts = node(result)
        check(field == 1 and hosts, "InspectResponse: 0a Node", answer)
        for pid, entry in hosts.items():
            check(int(pid) > 0 and isinstance(entry["name"], str), "a pid with a name", hosts)
        # Exec on stream 3: `/bin/underhill-dump -v 77`; here another program that is there.
        # No stdin, 28 30 connections, 50 01 raw_socket_io
        out, err = data_sockets(server, 1, 2)
        answer = call(control, "00000035 00000003 0100" + UNDERHILL + "1204 45786563 1a19"
                      "0a09 2f62696e2f6563686f 1202 2d76 1202 3737 2801 3002 5001")
        check(fields(answer)[0][0] == 1, "ExecResponse: 08 pid", answer)
        check(drain(out) == b"-v 77\n" and drain(err) == b"", "the program's own sockets")
        # Crash {08 pid} on stream 5
        answer = call(control, "00000021 00000005 0100" + UNDERHILL + "1205 4372617368 1a04 08bf843d")
        check(answer == b"", "Crash of nobody succeeds")
        # `memory-profile-trace -p 77`: OpenhclDiag, {08 77}; needs a build that can
        control = dial(server.path, 1)
        answer = call(control, "0000002a 00000001 0100" + OPENHCL
                      + "1212 4d656d6f727950726f66696c655472616365 1a02 084d")
        check(answer[0] == 2 and answer[1], "refused with a text", answer)


def test_inspect():
    with Server() as server:
        # `inspect`: path and depth 0 are left out, so is then the payload; 20: what remains of a second
        control = dial(server.path, 1)
        answer = call(control, "00000027 00000001 0100" + INSPECT + "1207 496e7370656374 20c6b3eadc03")
        top = node(dict(fields(answer))[1])
        check({"build_info", "proc", "mesh", "trace", "vm"} <= set(top) and top["vm"] is None, "root", top)
        # `inspect -r -p vm/partition`: 10 ffffffff; again and again on the next streams
        tail = "1207 496e7370656374 1a14 0a0c 766d2f706172746974696f6e 10ffffffff0f 20c6b3eadc03"
        for stream in ("00000003", "00000005"):
            answer = call(control, "0000003d" + stream + "0100" + INSPECT + tail)
            partition = node(dict(fields(answer))[1])
            check("exits" in partition["vp"]["1"]["stats"], "all below", partition)
        # `inspect -r -l 2 -t 0 build_info/crate_name`
        control = dial(server.path, 1)
        answer = call(control, "0000003c 00000001 0100" + INSPECT + "1207 496e7370656374"
                      "1a19 0a15 6275696c645f696e666f2f63726174655f6e616d65 1002")
        check(answer == bytes.fromhex("0a11 1a0f 0a0d 0a0b 3209 0a07 70617261706574"), "a leaf", answer)
        # `inspect -u 17 vm/limit`, `update vm/limit 17`: UpdateRequest {0a path, 12 value}
        control = dial(server.path, 1)
        answer = call(control, "00000030 00000001 0100" + INSPECT + "1206 557064617465"
                      "1a0e 0a08 766d2f6c696d6974 1202 3137")
        (field, new), = fields(answer)
        check(field == 1 and value(new) == 17, "UpdateResponse: 0a Value, not a Node", answer)
        # `efi-diagnostics default stdout` where there is no UEFI, `perf-trace` where nothing is traced:
        # a text or a refusal with one; never a lost connection
        for frame in ("0000004f 00000001 0100" + INSPECT + "1206 557064617465 1a2d 0a1b"
                      + b"vm/uefi/process_diagnostics".hex() + "120e" + b"default,stdout".hex(),
                      "0000003a 00000001 0100" + INSPECT + "1206 557064617465"
                      "1a18 0a10 74726163652f706572662f666c757368 1204 74727565"):
            answer = call(dial(server.path, 1), frame)
            check(isinstance(answer, bytes) or answer[0] == 2 and answer[1], "an answer", answer)


def test_control():
    with Server() as server:
        # `start -e A=b -e E= -u C -- --wait-for-start`. StartRequest: 0a EnvPair, 12 each argument.
        # E's value is present and empty (12 00), C's is absent.
        control = dial(server.path, 1)
        answer = call(control, "00000043 00000001 0100" + UNDERHILL + "1205 5374617274 1a26"
                      "0a06 0a01 41 1201 62  0a05 0a01 45 1200  0a03 0a01 43"
                      "1210 2d2d776169742d666f722d7374617274")
        check(answer[0] == 2 and "started" in answer[1], "started already", answer)
        # `restart`, `pause`, `resume`: google.protobuf.Empty, so there is no payload; the answer is 12 00
        for frame in ("0000001d 00000001 0100" + UNDERHILL + "1207 52657374617274",
                      "0000001b 00000001 0100" + UNDERHILL + "1205 5061757365",
                      "0000001c 00000001 0100" + UNDERHILL + "1206 526573756d65"):
            control = dial(server.path, 1)
            control.sendall(bytes.fromhex(frame))
            check(receive(control, 12).hex() == "00000002" "00000001" "0200" "1200", "success", frame)
        # `dump-saved-state`: {0a data}
        control = dial(server.path, 1)
        answer = call(control, "00000024 00000001 0100" + UNDERHILL + "120e 44756d7053617665645374617465")
        check(fields(answer) == [(1, b"s" * 100000)], "the state", answer[:20])
        # `packet-capture`: Query (operation 0 is left out), Start {18 01, 22 {08 snaplen}} without
        # connections, Start {18 01, 22 {08 snaplen, 12 packed connections}}, Stop {18 02}
        control = dial(server.path, 1)
        head = UNDERHILL + "120d 5061636b657443617074757265"
        check(call(control, "00000023 00000001 0100" + head) == b"", "no streams: 0 is left out")
        for frame in ("0000002d 00000003 0100" + head + "1a08 1801 2204 08ffff03",
                      "00000031 00000005 0100" + head + "1a0c 1801 2208 08ffff03 1202 0d0e",
                      "00000027 00000007 0100" + head + "1a02 1802"):
            answer = call(control, frame)
            check(answer == b"" or answer[0] == 2 and answer[1], "an answer", (frame, answer))
