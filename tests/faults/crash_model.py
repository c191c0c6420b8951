"""What a power cut may leave of a recorded run: a file system in memory that knows, for every operation, whether a
sync has covered it.

POSIX promises nothing about what no sync has covered: an operation on data may be there, be lost, or be there in
some of its sectors of 512 octets; names are kept or lost one by one. fsync of a file makes its data and length
durable, not its name; fsync of a directory the names in it; syncfs everything
below (see covered)."""

import dataclasses
import random

SECTOR = 512
KEEP, DROP, TORN, GROWN = "keep", "drop", "torn", "grown"  # GROWN: the length is there, the data is not


@dataclasses.dataclass
class Op:
    """One line of the log."""
    kind: str  # create mkdir write truncate rename unlink begin end
    ino: int = 0  # the file's or, for names, the directory's
    name: str = ""
    to: str = ""  # rename
    child: int = 0  # create, mkdir
    mode: int = 0
    offset: int = 0
    data: bytes = b""
    sync: int = 0  # begin, end: which
    what: str = ""  # begin: file dir fs

    def __str__(self):
        if self.kind in ("begin", "end"):
            return f"{self.kind} {self.what} sync {self.sync}"
        return f"{self.kind} {self.name or self.ino} {self.to or self.offset or ''} {len(self.data) or ''}".rstrip()


def read_log(path, first_sync=0):
    """(inode of the root, operations); syncs are counted from first_sync."""
    with open(path, "rb") as f:
        text = f.read()
    at, ops, root, syncs = 0, [], None, {}
    while at < len(text):
        end = text.index(b"\n", at)
        word = text[at:end].decode().split(" ")
        at = end + 1
        if word[0] == "root":
            root = int(word[1])
        elif word[0] in ("create", "mkdir"):
            ops.append(Op(word[0], int(word[1]), word[2], child=int(word[3]), mode=int(word[4], 8)))
        elif word[0] == "write":
            ops.append(Op("write", int(word[1]), offset=int(word[2]), data=text[at:at + int(word[3])]))
            at += int(word[3])
        elif word[0] == "truncate":
            ops.append(Op("truncate", int(word[1]), offset=int(word[2])))
        elif word[0] == "rename":
            ops.append(Op("rename", int(word[1]), word[2], word[3]))
        elif word[0] == "unlink":
            ops.append(Op("unlink", int(word[1]), word[2]))
        elif word[0] == "begin":
            syncs[int(word[1])] = (word[2], int(word[3]))
            ops.append(Op("begin", int(word[3]), sync=first_sync + int(word[1]), what=word[2]))
        elif word[0] == "end":
            what, ino = syncs[int(word[1])]
            ops.append(Op("end", ino, sync=first_sync + int(word[1]), what=what))
        else:
            raise ValueError(f"{path}: {word}")
    return root, ops


class Node:
    """A file or a directory: what is durable, and what has been done since."""

    def __init__(self, is_dir, mode):
        self.is_dir = is_dir
        self.mode = mode
        self.durable = {} if is_dir else b""
        self.pending = []  # (number, Op); for names the Op's child is filled in


def write_sectors(content, op, sectors):
    """The sectors of a write that are kept, None: all."""
    end = op.offset + len(op.data)
    if len(content) < op.offset:
        content.extend(bytes(op.offset - len(content)))
    if sectors is None:
        content[op.offset:end] = op.data
        return
    for s in sectors:
        a, b = max(op.offset, s * SECTOR), min(end, (s + 1) * SECTOR)
        if len(content) < a:
            content.extend(bytes(a - len(content)))
        content[a:b] = op.data[a - op.offset:b - op.offset]


def grow(content, length):
    if len(content) < length:
        content.extend(bytes(length - len(content)))


def apply_data(content, op, fate, rng):
    if fate == DROP:
        return
    if op.kind == "truncate":
        grow(content, op.offset)
        del content[op.offset:]
        return
    end = op.offset + len(op.data)
    if fate == GROWN:
        grow(content, end)
    elif fate == TORN:
        first, last = op.offset // SECTOR, (end + SECTOR - 1) // SECTOR
        if rng.random() < 0.5:
            kept = range(first, rng.randint(first, last))  # from the front
        else:
            kept = [s for s in range(first, last) if rng.random() < 0.5]
        write_sectors(content, op, kept)
        if rng.random() < 0.5:
            grow(content, end)
    else:
        write_sectors(content, op, None)


def apply_name(names, op, fate):
    if fate == DROP:
        return
    if op.kind in ("create", "mkdir"):
        names[op.name] = op.child
    elif op.kind == "unlink":
        names.pop(op.name, None)
    else:
        if names.get(op.name) == op.child:
            del names[op.name]
        names[op.to] = op.child


class Model:
    """Steps through a log; at every place it can tell which operations are not durable, and build the disk for any
    choice of their fates."""

    def __init__(self, root):
        self.root = root
        self.nodes = {root: Node(True, 0o755)}
        self.number = 0
        self.covers = {}  # sync -> numbers below which operations are covered

    def step(self, op, removed=False):
        """Does one operation of the log; a removed sync covers nothing, a removed rename does not happen."""
        self.number += 1
        if removed:
            return
        if op.kind == "begin":
            self.covers[op.sync] = self.number
        elif op.kind == "end":
            if op.sync in self.covers:
                self._cover(op, self.covers.pop(op.sync))
        else:
            self._note(op)

    def _names_now(self, node):
        names = dict(node.durable)
        for _, op in node.pending:
            apply_name(names, op, KEEP)
        return names

    def _note(self, op):
        if op.kind in ("create", "mkdir"):
            self.nodes[op.child] = Node(op.kind == "mkdir", op.mode)
        elif op.kind == "rename":
            child = self._names_now(self.nodes[op.ino]).get(op.name)
            if child is None:
                return  # a removed rename left nothing of this name
            op = dataclasses.replace(op, child=child)
        if op.ino in self.nodes:
            self.nodes[op.ino].pending.append((self.number, op))

    def _cover(self, op, below):
        for ino in self.covered(op):
            node = self.nodes[ino]
            content = dict(node.durable) if node.is_dir else bytearray(node.durable)
            left = []
            for number, pending in node.pending:
                if number >= below:
                    left.append((number, pending))
                elif node.is_dir:
                    apply_name(content, pending, KEEP)
                else:
                    apply_data(content, pending, KEEP, None)
            node.durable = content if node.is_dir else bytes(content)
            node.pending = left

    def covered(self, op):
        """The inodes that a sync is about. keys/ and chains/ may be volumes of their own, so syncfs is believed to
        reach what lies below its directory, and no more."""
        if op.ino not in self.nodes:
            return []
        if op.what != "fs":
            return [op.ino]
        found, look = [], [op.ino]
        while look:
            ino = look.pop()
            found.append(ino)
            if self.nodes[ino].is_dir:
                look += self._names_now(self.nodes[ino]).values()
        return found

    def unsynced(self):
        """[(number, Op)], oldest first"""
        return sorted(((n, op) for node in self.nodes.values() for n, op in node.pending), key=lambda x: x[0])

    def loose(self):
        """What is not durable of the files that have a name, and of private keys even without one: they are
        overwritten before they lose it."""
        named = set(self.covered(Op("end", self.root, what="fs")))
        return [op for ino, node in self.nodes.items() for _, op in node.pending
                if ino in named or (not node.is_dir and node.mode == 0o600)]

    def disk(self, fates, rng=None):
        """{path: (mode, octets) or (mode, None) for a directory} with fates[number], KEEP where nothing is said."""
        out = {}
        self._walk(self.root, "", fates, rng, out)
        return out

    def _walk(self, ino, path, fates, rng, out):
        node = self.nodes[ino]
        names = dict(node.durable)
        for number, op in node.pending:
            apply_name(names, op, fates.get(number, KEEP))
        for name, child_ino in names.items():
            child = self.nodes[child_ino]
            where = f"{path}/{name}" if path else name
            if child.is_dir:
                out[where] = (child.mode, None)
                self._walk(child_ino, where, fates, rng, out)
                continue
            content = child.durable
            if child.pending:
                content = bytearray(content)
                for number, op in child.pending:
                    apply_data(content, op, fates.get(number, KEEP), rng)
                content = bytes(content)
            out[where] = (child.mode, content)


def systematic_fates(unsynced):
    """The choices that single out one operation, and the simple whole ones."""
    numbers = [n for n, _ in unsynced]
    data = [n for n, op in unsynced if op.kind in ("write", "truncate")]
    names = [n for n, op in unsynced if op.kind not in ("write", "truncate")]
    yield {}
    yield dict.fromkeys(numbers, DROP)
    yield dict.fromkeys(data, DROP)
    yield dict.fromkeys(data, GROWN)
    yield dict.fromkeys(names, DROP)
    for n in numbers:
        yield {n: DROP}
    for n in numbers:
        yield {m: DROP for m in numbers if m != n}
    for n in data:
        yield {n: TORN}
        yield {n: GROWN}


def random_fates(unsynced, rng: random.Random):
    keep = rng.choice((0.2, 0.5, 0.8))
    fates = {}
    in_order = rng.random() < 0.3  # names reach the disk in their order, up to some point
    cut = rng.randint(0, len(unsynced))
    for i, (n, op) in enumerate(unsynced):
        if op.kind not in ("write", "truncate"):
            kept = i < cut if in_order else rng.random() < keep
            fates[n] = KEEP if kept else DROP
        elif rng.random() >= keep:
            fates[n] = rng.choice((DROP, TORN, TORN, GROWN))
    return fates
