#!/usr/bin/env python3
"""Goal: in a fleet of 100,000 devices verify finds every one of some twenty kinds of damage, names where it is, and
reports nothing else; nothing at all where there is none. Method: the damages that leave the rest readable are planted
together, each at devices of its own chosen at random (CM_SEED), with digests and lengths made to fit where that makes
them harder to find, and judged in one run; those that hide others follow one by one. The table of kinds is printed.
CM_DEVICES: another size."""

import json
import os
import shutil
import sys

import e2e_kit as kit

DEVICES = int(os.environ.get("CM_DEVICES", "100000"))
BLOCK, PAGE = 512, 4096


def compact(row):
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()


class Fleet:
    """A fleet that is damaged in place, and can be mended."""

    def __init__(self, d):
        self.d, self.undo, self.used = d, [], set()
        with open(f"{d}/manifest.ndjson", "rb") as f:
            self.lines = f.read().split(b"\n")[:-1]
        self.at, offset = [], 0
        for line in self.lines:
            self.at.append(offset)
            offset += len(line) + 1

    def row(self, i):
        return json.loads(self.lines[i])

    def read(self, name, at, length):
        with open(f"{self.d}/{name}", "rb") as f:
            f.seek(at)
            return f.read(length)

    def write(self, name, at, octets):
        self.undo.append((name, at, self.read(name, at, len(octets))))
        with open(f"{self.d}/{name}", "r+b") as f:
            f.seek(at)
            f.write(octets)

    def flip(self, name, at):
        self.write(name, at, bytes([self.read(name, at, 1)[0] ^ 1 << kit.rng.randrange(8)]))

    def mend(self):
        for name, at, octets in reversed(self.undo):
            with open(f"{self.d}/{name}", "r+b") as f:
                f.seek(at)
                f.write(octets)
        self.undo.clear()

    def put_line(self, i, line):
        """Over row i; exactly as long, so that nothing moves."""
        old = len(self.lines[i].rstrip())
        assert len(line) == old
        self.write("manifest.ndjson", self.at[i], line)

    def pick(self, count=1, alike=lambda row: 0):
        """Devices, as numbers of their rows, that no other damage touches, nor stand beside such; alike in something."""
        while True:
            first = kit.rng.randrange(10, len(self.lines) - 10)
            found, want = [], alike(self.row(first))
            for i in range(first, min(first + 400, len(self.lines) - 10)):
                if not self.used & {i - 1, i, i + 1} and alike(self.row(i)) == want:
                    found.append(i)
                    if len(found) == count:
                        for n in found:
                            self.used |= {n - 1, n, n + 1}
                        return found

    def stored(self, i, side):
        p = self.row(i)[side]
        return p["segment"], p["offset"], p["length"]


def shape(row):
    """Rows that are equal in it can take each other's places, digests and all."""
    return len(compact(row)), row["chain"]["length"], row["key"]["length"], len(str(row["chain"]["offset"])), \
        len(str(row["key"]["offset"])), row["chain"]["segment"], len(str(row["seq"]))


# Each damage returns [(device id or file, words)]: findings that it must give.

def flip_in(side, share):
    def damage(f):
        i, = f.pick()
        name, at, length = f.stored(i, side)
        f.flip(name, at + int(length * share))
        return [(f.row(i)["device_id"], "its XXH3 is")]
    return damage


def flip_header(side, octet):
    def damage(f):
        i, = f.pick()
        name, at, _ = f.stored(i, side)
        f.flip(name, at - BLOCK + octet)
        return [(f.row(i)["device_id"], "tar header")]
    return damage


def flip_behind(f):
    while True:
        i, = f.pick()
        name, at, length = f.stored(i, "key")
        if length % BLOCK:
            f.flip(name, at + length)
            return [(f.row(i)["device_id"], "between the entry's end and its block's")]


def flip_padding(f):
    """In the pax comment that fills a commit up: between two rows that do not follow on each other."""
    for _ in range(20):
        i, = f.pick()
        for n in range(i, min(i + 1000, len(f.lines) - 1)):
            name, at, length = f.stored(n, "chain")
            after, start, _ = f.stored(n + 1, "chain")
            end = at + length + -length % BLOCK
            if name == after and start - BLOCK > end:
                f.flip(name, end + BLOCK + 30)
                return [(name, "comment of spaces")]
    raise SystemExit("no padding between the commits: choose another --batch")


def swap_bundles(f):
    a, b = f.pick(2, shape)
    (name, one, length), (_, two, _) = f.stored(a, "chain"), f.stored(b, "chain")
    x, y = f.read(name, one, length), f.read(name, two, length)
    f.write(name, one, y)
    f.write(name, two, x)
    return [(f.row(n)["device_id"], "its XXH3 is") for n in (a, b)]


def swap_in_rows(column, words):
    def damage(f):
        a, b = f.pick(2, shape)
        one, two = f.row(a), f.row(b)
        one[column], two[column] = two[column], one[column]
        f.put_line(a, compact(one))
        f.put_line(b, compact(two))
        return [(r["device_id"], words) for r in (one, two)]
    return damage


def swap_rows(f):
    a, b = f.pick(2, shape)
    one, two = compact(f.row(a)), compact(f.row(b))
    f.put_line(a, two)
    f.put_line(b, one)
    return [(f.row(b)["device_id"], "not in the order")]


def row_for_another(f):
    """One row twice, the other's not at all."""
    a, b = f.pick(2, shape)
    f.put_line(b, compact(f.row(a)))
    name, gone = f.row(b)["chain"]["segment"], f.row(b)["device_id"]
    return [(f.row(a)["device_id"], "the same device id"), (name, f"an entry that no row names: {gone}.crt"),
            (name.replace("chains", "keys"), f"an entry that no row names: {gone}.key")]


def device_twice(f):
    """Another's bundle and key in the place of one's own, the row made to fit: all digests are right."""
    a, b = f.pick(2, shape)
    one, two = f.row(a), f.row(b)
    for side in ("chain", "key"):
        name, at, length = f.stored(a, side)
        f.write(name, f.stored(b, side)[1], f.read(name, at, length))
        one[side]["offset"] = two[side]["offset"]
    f.put_line(b, compact({**one, "seq": two["seq"], "device_id": two["device_id"]}))
    return [(r["device_id"], w) for r in (one, two) for w in ("the same serial", "the same public key")]


def alter(column, change, words):
    def damage(f):
        i, = f.pick()
        row = f.row(i)
        row[column] = change(row[column])
        f.put_line(i, compact(row))
        return [(f.row(i)["device_id"], words)]
    return damage


def next_digit(text):
    return text[:-1] + ("0" if text[-1] != "0" else "1")


def number_twice(f):
    a, b = f.pick(2, shape)
    f.put_line(b, compact({**f.row(b), "seq": f.row(a)["seq"]}))
    return [(f.row(b)["device_id"], "the same sequence number")]


def offset_wrong(f):
    i, = f.pick(1, lambda row: len(str(row["chain"]["offset"])) == len(str(row["chain"]["offset"] + BLOCK)))
    row = f.row(i)
    row["chain"]["offset"] += BLOCK
    f.put_line(i, compact(row))
    return [(row["device_id"], "tar header")]


def no_row(f):
    i, = f.pick()
    f.write("manifest.ndjson", f.at[i], b"[")
    gone = f.row(i)["device_id"]
    return [("manifest.ndjson", "a row that can't be read"),
            (f.row(i)["chain"]["segment"], f"an entry that no row names: {gone}.crt"),
            (f.row(i)["key"]["segment"], f"an entry that no row names: {gone}.key"), ("run.json", "readable rows")]


def extra_file(name, words):
    def damage(f):
        with open(f"{f.d}/{name}", "wb") as out:
            out.write(b"x" * PAGE)
        return [(name, words)]
    return damage


def open_segment(f):
    os.chmod(f"{f.d}/keys/000000.tar", 0o640)
    return [("keys/000000.tar", "mode 0640")]


def bad_ending(f):
    """The last octets of the last segment are no zeros."""
    name = f.row(len(f.lines) - 1)["key"]["segment"]
    f.flip(name, os.path.getsize(f"{f.d}/{name}") - 700)
    return [(name, "")]


TOGETHER = {
    "bundle: bit of a certificate": flip_in("chain", 0.3), "bundle: bit of the CA's certificate": flip_in("chain", 0.8),
    "key: bit": flip_in("key", 0.5), "bundles of two devices swapped": swap_bundles,
    "keys of two devices swapped, in the rows": swap_in_rows("key", "the EC scalar isn't that of the certificate"),
    "ids of two devices swapped": swap_in_rows("device_id", "another name"),
    "device twice, under another's id": device_twice,
    "row doubled, and another's missing": row_for_another, "rows of two devices swapped": swap_rows,
    "row that is none": no_row, "row: digit of the serial": alter("serial", next_digit, "serial: the row says"),
    "row: digit of the certificate id": alter("certificate_id", next_digit, "certificate_id: the row says"),
    "row: number of another": number_twice, "row: offset": offset_wrong,
    "header of a bundle: bit": flip_header("chain", 3), "header of a key: bit": flip_header("key", 150),
    "octet behind a key, in its block": flip_behind, "padding of a commit: bit": flip_padding,
    "end of the last segment: bit": bad_ending,
    "extra file": extra_file("chains/notes.txt", "does not have"),
    "extra segment": extra_file("keys/000099.tar", "no row names anything in it"),
    "leftover of a run": extra_file("chains/000098.tar.part", "unfinished"),
    "segment of keys that others may read": open_segment,
}


def matches(finding, subject, words):
    return subject in (finding["device_id"], finding["file"] if finding["device_id"] is None else None) \
        and words in finding["what"]


def report(f, code=(1,)):
    r = kit.mill("verify", f.d, "--json")
    kit.check(r.code in code, r)
    return json.loads(r.out) if r.out else {"findings": [], "findings_count": 0, "said": r.err.decode()}


def tell(kind, found):
    print(f"  {kind:42} {'found' if found else 'MISSED'}", flush=True)
    kit.check(found, "damage not found:", kind)


def together(f):
    wanted = {kind: plant(f) for kind, plant in TOGETHER.items()}
    findings = report(f)["findings"]
    for kind, signs in wanted.items():
        tell(kind, all(any(matches(x, *sign) for x in findings) for sign in signs))
    # Findings beside those: only of what was damaged.
    subjects = {s for signs in wanted.values() for s, _ in signs}
    subjects |= {json.loads(f.lines[i])["device_id"] for i in f.used}
    strangers = [x for x in findings if (x["device_id"] or x["file"]) not in subjects]
    kit.check(not strangers, "found what was not planted:", strangers[:5])
    f.mend()
    os.chmod(f"{f.d}/keys/000000.tar", 0o600)
    for name in ("chains/notes.txt", "keys/000099.tar", "chains/000098.tar.part"):
        os.unlink(f"{f.d}/{name}")


def segment_missing(f):
    name = f"{f.d}/keys/000000.tar"
    os.rename(name, "away")
    said = report(f)
    os.rename("away", name)
    gone = sum(f.row(i)["key"]["segment"] == "keys/000000.tar" for i in range(len(f.lines)))
    return said["findings_count"] >= gone and all("missing" in x["what"] for x in said["findings"])


def cut_short(f, name, to):
    """The file ends at `to` for as long as it is judged."""
    size = os.path.getsize(f"{f.d}/{name}")
    tail = f.read(name, to, size - to)
    os.truncate(f"{f.d}/{name}", to)
    said = report(f, (1, 2))
    with open(f"{f.d}/{name}", "ab") as out:
        out.write(tail)
    return said


def segment_truncated(f):
    middle = len(f.lines) // 2
    name, at, _ = f.stored(middle, "chain")
    said = cut_short(f, name, at + 100)
    lost = sum(r["chain"]["segment"] == name for r in map(json.loads, f.lines[middle:]))
    return said["findings_count"] >= lost and matches(said["findings"][0], f.row(middle)["device_id"], "ends before")


def manifest_truncated(f):
    said = cut_short(f, "manifest.ndjson", f.at[-30] + 77)
    return said["findings_count"] > 0 or "manifest" in said["said"]


ALONE = {"segment of keys missing": segment_missing, "segment of bundles truncated": segment_truncated,
         "manifest truncated in a row": manifest_truncated}


def main():
    kit.enter_place("damage")
    kit.ca_init("ca")
    kit.must_mint("fleet", "ca", "--count", str(DEVICES), "--batch", "201")  # so that commits need padding
    f = Fleet("fleet")
    kit.check(len(f.lines) == DEVICES, "rows:", len(f.lines))
    sound = report(f, (0,))
    kit.check(sound["findings_count"] == 0 and sound["checked"] == DEVICES, "the undamaged fleet:", sound)
    print(f"{len(TOGETHER) + len(ALONE)} kinds of damage in {DEVICES} devices", flush=True)
    together(f)
    for kind, damage in ALONE.items():
        tell(kind, damage(f))
    kit.check(report(f, (0,))["findings_count"] == 0, "mended, and not sound")
    shutil.rmtree("fleet")
    sys.exit(kit.finish())


main()
