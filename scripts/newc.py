#!/usr/bin/env python3
"""Packs a file list into a cpio archive (format newc) that is the same for the same input.

usage: newc.py LIST... -o ARCHIVE [-r ROOT] [-D NAME=VALUE]... [-t PATH=FOLDER]...
LIST has one entry per line: path type mode uid gid source; `#` starts a comment.
type: file (source: a file), dir, link (source: the target), node (source: c|b MAJOR MINOR).
${NAME} in a source is replaced by -D NAME=VALUE; relative files are looked up below ROOT (default: .).
-t adds all below FOLDER at PATH.
Entries are sorted, times are 0, inodes are numbered from 1; missing parent directories are added.
"""
import argparse
import os
import re
import stat
import sys


class Archive:
    """Entries by path; later ones replace earlier ones."""

    def __init__(self):
        self.entries = {}

    def _put(self, path, mode, uid=0, gid=0, data=b"", device=(0, 0)):
        path = os.path.normpath("/" + path.lstrip("/"))[1:]
        if not path:
            return
        parent = os.path.dirname(path)
        if parent and parent not in self.entries:
            self._put(parent, stat.S_IFDIR | 0o755)
        self.entries[path] = (mode, uid, gid, data, device)

    def file(self, path, data, mode=0o644, uid=0, gid=0):
        self._put(path, stat.S_IFREG | mode, uid, gid, data)

    def directory(self, path, mode=0o755, uid=0, gid=0):
        self._put(path, stat.S_IFDIR | mode, uid, gid)

    def link(self, path, target, uid=0, gid=0):
        self._put(path, stat.S_IFLNK | 0o777, uid, gid, os.fsencode(target))

    def node(self, path, kind, major, minor, mode=0o600, uid=0, gid=0):
        self._put(path, (stat.S_IFCHR if kind == "c" else stat.S_IFBLK) | mode, uid, gid, b"",
                  (major, minor))

    def copy(self, source, path=None):
        """Adds a file (executable or not), or a folder with all below it; links are followed."""
        path = path or os.path.abspath(source)
        if os.path.isdir(source):
            self.directory(path)
            for name in sorted(os.listdir(source)):
                self.copy(os.path.join(source, name), os.path.join(path, name))
        elif os.path.isfile(source):
            with open(source, "rb") as f:
                self.file(path, f.read(), 0o755 if os.access(source, os.X_OK) else 0o644)

    def write(self, out):
        """Writes the archive to a binary stream, padded to 512 bytes."""
        size = 0

        def put(data):
            nonlocal size
            out.write(data)
            size += len(data)
            pad = -len(data) % 4
            out.write(bytes(pad))
            size += pad

        def entry(inode, name, mode, uid, gid, data, device):
            name = os.fsencode(name) + b"\0"
            links = 2 if stat.S_ISDIR(mode) else 1
            fields = (inode, mode, uid, gid, links, 0, len(data), 0, 0, *device, len(name), 0)
            put(b"070701" + b"".join(b"%08X" % f for f in fields) + name)
            put(data)

        # a parent sorts before what is in it
        for inode, (name, e) in enumerate(sorted(self.entries.items()), 1):
            entry(inode, name, *e)
        entry(0, "TRAILER!!!", 0, 0, 0, b"", (0, 0))
        out.write(bytes(-size % 512))


def read_list(archive, path, root, names):
    def expand(text):
        def value(match):
            if match[1] not in names:
                raise ValueError(f"${{{match[1]}}} is not given (-D {match[1]}=...)")
            return names[match[1]]
        return re.sub(r"\$\{(\w+)\}", value, text)

    with open(path) as f:
        lines = f.readlines()
    for number, line in enumerate(lines, 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        try:
            name, kind, mode, uid, gid, *source = words
            mode, uid, gid = int(mode, 8), int(uid), int(gid)
            source = [expand(s) for s in source]
            if kind == "file" and len(source) == 1:
                with open(os.path.join(root, source[0]), "rb") as f:
                    archive.file(name, f.read(), mode, uid, gid)
            elif kind == "dir" and not source:
                archive.directory(name, mode, uid, gid)
            elif kind == "link" and len(source) == 1:
                archive.link(name, source[0], uid, gid)
            elif kind == "node" and len(source) == 3 and source[0] in "cb":
                archive.node(name, source[0], int(source[1]), int(source[2]), mode, uid, gid)
            else:
                raise ValueError("expected: path file|dir|link|node mode uid gid [source]")
        except (ValueError, OSError) as e:
            raise SystemExit(f"newc: {path}:{number}: {e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lists", nargs="+", metavar="LIST")
    parser.add_argument("-o", dest="out", required=True, metavar="ARCHIVE")
    parser.add_argument("-r", dest="root", default=".", metavar="ROOT")
    parser.add_argument("-D", dest="names", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("-t", dest="trees", action="append", default=[], metavar="PATH=FOLDER")
    args = parser.parse_args()
    archive = Archive()
    for path, folder in (t.split("=", 1) for t in args.trees):
        archive.copy(folder, path)
    for path in args.lists:
        read_list(archive, path, args.root, dict(n.split("=", 1) for n in args.names))
    with open(args.out + ".tmp", "wb") as out:
        archive.write(out)
    os.replace(args.out + ".tmp", args.out)


if __name__ == "__main__":
    sys.exit(main())
