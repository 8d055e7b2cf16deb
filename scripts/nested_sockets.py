"""Unix sockets of the nested machine's program, outside at the same path.

Listens here; what connects is carried over one virtio port and connected inside by the first program
of the machine (scripts/nested/sockets.c, where the frames are described). All that comes from inside
is bounded: no byte is kept beyond a connection's window, and a frame out of order ends them all.
"""
import collections
import os
import select
import socket
import struct
import sys

WINDOW = 65536  # bytes of a connection on their way, in each direction
PIECE = 16384
CONNECTIONS = 500  # at once; SOCKETS_MAX in sockets.h is more: a number lives a little longer there
QUEUE = 1 << 20  # bytes for the port, before connections are not read any more
HEADER = struct.Struct("<IBBH")
OPEN, DATA, MORE, END, CLOSE = 1, 2, 3, 4, 5


class Refused(Exception):
    """A path that cannot be had, in one line."""


class Broken(Exception):
    """Inside, somebody breaks the rules."""


class Listener:
    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        try:
            self.bind()
        except OSError as e:
            self.socket.close()
            raise Refused(f"{path}: {e.strerror or e}") from None

    def bind(self):
        folder = os.path.dirname(self.path)
        if folder:
            os.makedirs(folder, 0o700, exist_ok=True)
        if os.path.exists(self.path):
            try:
                self.socket.connect(self.path)
            except ConnectionRefusedError:
                os.unlink(self.path)  # left over from a program that was killed
            except OSError as e:
                raise Refused(f"{self.path}: {e.strerror}") from None
            else:
                raise Refused(f"{self.path}: in use by another program")
        mask = os.umask(0o177)
        try:
            self.socket.bind(self.path)
        finally:
            os.umask(mask)
        self.inode = os.stat(self.path).st_ino
        self.socket.listen(128)

    def close(self):
        self.socket.close()
        try:
            if os.stat(self.path).st_ino == self.inode:
                os.unlink(self.path)
        except OSError:
            pass


class Connection:
    def __init__(self, number, connected):
        self.number = number
        self.socket = connected  # None: over here, but not yet inside
        self.granted = WINDOW  # bytes that the inside takes
        self.taken = WINDOW  # bytes that the inside may still send
        self.out = bytearray()
        self.hung_up = self.said_end = self.got_end = self.got_close = False


class Sockets:
    """fileno() is readable when there is something for step() to do."""

    def __init__(self, paths, port):
        self.port = port
        self.epoll = select.epoll()
        self.watched = {}  # file descriptor: (events, who)
        self.connections = {}
        self.next_number = 1
        self.input = bytearray()
        self.queue = collections.deque()
        self.queued = 0
        self.up = False  # before that the program has no sockets
        self.listeners = []
        try:
            for path in paths:
                self.listeners.append(Listener(path))
        except Refused:
            self.close()
            raise
        port.setblocking(False)
        self.watch(port, select.EPOLLIN, None)
        for listener in self.listeners:
            self.watch(listener.socket, select.EPOLLIN, listener)

    def fileno(self):
        return self.epoll.fileno()

    def watch(self, file, events, who):
        """events None: no more. With 0 a connection that is over at both ends is still reported."""
        fd = file.fileno()
        if events is None:
            if self.watched.pop(fd, None):
                self.epoll.unregister(fd)
        elif fd not in self.watched:
            self.epoll.register(fd, events)
            self.watched[fd] = events, who
        elif self.watched[fd][0] != events:
            self.epoll.modify(fd, events)
            self.watched[fd] = events, who

    def close(self):
        for listener in self.listeners:
            listener.close()
        for connection in self.connections.values():
            if connection.socket:
                connection.socket.close()
        self.connections.clear()
        self.epoll.close()

    # --- frames out

    def send(self, number, kind, payload=b""):
        frame = HEADER.pack(number, kind, 0, len(payload)) + payload
        if not self.queue:
            try:
                frame = frame[self.port.send(frame):]
            except BlockingIOError:
                pass
            except OSError:
                return  # the machine has ended; its caller will see
        if frame:
            self.queue.append(frame)
            self.queued += len(frame)

    def send_queued(self):
        while self.queue:
            try:
                n = self.port.send(self.queue[0])
            except BlockingIOError:
                return
            except OSError:
                self.queue.clear()
                self.queued = 0
                return
            self.queued -= n
            frame = self.queue.popleft()[n:]
            if frame:
                self.queue.appendleft(frame)
                return

    # --- connections

    def accept(self, listener):
        try:
            connected, _ = listener.socket.accept()
        except OSError:
            return
        if not self.up:
            connected.close()
            return
        connected.setblocking(False)
        connection = Connection(self.next_number, connected)
        self.next_number = self.next_number % 0xffffffff + 1
        self.connections[connection.number] = connection
        self.send(connection.number, OPEN, os.fsencode(listener.path))
        self.move(connection)

    def hang_up(self, connection):
        self.watch(connection.socket, None, None)
        connection.socket.close()
        connection.socket = None
        connection.out.clear()
        self.send(connection.number, CLOSE)
        if connection.got_close:
            del self.connections[connection.number]

    def flush(self, connection):
        """What waits for the program here. False: it is gone."""
        passed = 0
        while connection.out and not connection.hung_up:
            try:
                n = connection.socket.send(connection.out)
            except BlockingIOError:
                break
            except OSError:
                return False
            del connection.out[:n]
            passed += n
        if connection.hung_up:
            connection.out.clear()
        if passed and not connection.got_end and not connection.got_close:
            connection.taken += passed
            self.send(connection.number, MORE, struct.pack("<I", passed))
        if connection.got_end and not connection.out:
            try:
                connection.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        return True

    def take(self, connection):
        """What the program here sends. False: it failed."""
        if connection.said_end or connection.got_close:
            return True
        while connection.granted and self.queued < QUEUE:
            try:
                data = connection.socket.recv(min(PIECE, connection.granted))
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                connection.said_end = True
                self.send(connection.number, END)
                return True
            connection.granted -= len(data)
            self.send(connection.number, DATA, data)
        return True

    def move(self, connection):
        """Moves what can be moved, and says what to wait for."""
        if not connection.socket:
            return
        if not self.flush(connection) or not self.take(connection):
            self.hang_up(connection)
            return
        c = connection
        if c.got_close and not c.out or c.said_end and (c.hung_up or c.got_end and not c.out):
            self.hang_up(c)
            return
        events = select.EPOLLOUT if c.out else 0
        if c.granted and not c.said_end and not c.got_close and self.queued < QUEUE:
            events |= select.EPOLLIN
        # one that has hung up would be reported again and again
        self.watch(c.socket, None if c.hung_up and not events else events, c)

    # --- frames in

    def frame(self, number, kind, payload):
        connection = self.connections.get(number)
        if not connection:
            raise Broken("a frame of no connection")
        if connection.got_close:
            raise Broken("a frame behind the last one")
        if kind == CLOSE:
            connection.got_close = True
            if not connection.socket:
                del self.connections[number]
        elif kind == DATA:
            connection.taken -= len(payload)
            if connection.taken < 0 or connection.got_end:
                raise Broken("more bytes than were asked for")
            if connection.socket and not connection.hung_up:
                connection.out += payload
        elif kind == MORE and len(payload) == 4:
            connection.granted += struct.unpack("<I", payload)[0]
            if connection.granted > WINDOW:
                raise Broken("more bytes acknowledged than were sent")
        elif kind == END:
            connection.got_end = True
        else:
            raise Broken(f"a frame of kind {kind}")
        self.move(connection)

    def receive(self):
        try:
            data = self.port.recv(1 << 17)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            raise Broken("")
        self.input += data
        at = 0
        while len(self.input) - at >= HEADER.size:
            number, kind, _, length = HEADER.unpack_from(self.input, at)
            if len(self.input) - at < HEADER.size + length:
                break
            at += HEADER.size + length
            self.frame(number, kind, bytes(self.input[at - length:at]))
        del self.input[:at]

    def fail(self, reason):
        """Nothing goes through any more; who connects is turned away."""
        self.up = False
        self.watch(self.port, None, None)
        for connection in self.connections.values():
            if connection.socket:
                self.watch(connection.socket, None, None)
                connection.socket.close()
        self.connections.clear()
        self.queue.clear()
        if str(reason):
            sys.stderr.write(f"nested: sockets of the machine are closed: {reason}\n")

    def step(self):
        full = self.queued >= QUEUE
        new = []
        try:
            for fd, events in self.epoll.poll(0):
                if fd not in self.watched:
                    continue
                who = self.watched[fd][1]
                if who is None:
                    if events & select.EPOLLOUT:
                        self.send_queued()
                    if events & ~select.EPOLLOUT:
                        self.receive()
                elif isinstance(who, Listener):
                    new.append(who)
                else:
                    who.hung_up |= bool(events & (select.EPOLLHUP | select.EPOLLERR))
                    self.move(who)
            for listener in new:  # last: a new one may get the file descriptor of one that has ended
                self.accept(listener)
            if full and self.queued < QUEUE:
                for connection in list(self.connections.values()):
                    self.move(connection)
        except Broken as reason:
            self.fail(reason)
            return
        room = len(self.connections) < CONNECTIONS
        for listener in self.listeners:
            self.watch(listener.socket, select.EPOLLIN if room else 0, listener)
        if self.port.fileno() in self.watched:
            self.watch(self.port, select.EPOLLIN | (select.EPOLLOUT if self.queue else 0), None)
