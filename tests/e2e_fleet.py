#!/usr/bin/env python3
"""Goal: a fleet on disk is what docs/formats.md says, other people's programs read it, and verify misses no damage and
no interruption. Method: one large fleet read back with tar, bsdtar, busybox, xxh128sum and asn1crypto; small fleets
damaged in every way we could think of; runs stopped and killed at random moments.

CM_PARTS: any of whole,damage,stop,tree instead of all."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time

import check_certs
import e2e_kit as kit

kit.asn1crypto()
from asn1crypto import x509  # noqa: E402 pylint: disable=wrong-import-position

WHOLE = 3000 if kit.SLOW else 50000
SMALL = 300
TREE = 500 if kit.SLOW else 2000
STOPS = 3 if kit.SLOW else 10


def rows_of(fleet):
    with open(f"{fleet}/manifest.ndjson", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def stored(fleet, place):
    """The octets that a row's `chain` or `key` names."""
    with open(f"{fleet}/{place.get('segment') or place['path']}", "rb") as f:
        return os.pread(f.fileno(), place["length"], place.get("offset", 0))


# --- a whole fleet -----------------------------------------------------------------------------------------------

def check_row(fleet, row):
    """One row's columns against its certificate, read with asn1crypto."""
    what = row["device_id"]
    der = check_certs.split(stored(fleet, row["chain"]))
    leaf = x509.Certificate.load(der[0], strict=True)
    tbs = leaf["tbs_certificate"]
    serial = tbs["serial_number"].native
    iso = lambda t: t.native.strftime("%Y-%m-%dT%H:%M:%SZ")
    want = {
        "certificate_id": hashlib.sha256(der[0]).hexdigest(),
        "ca_certificate_id": hashlib.sha256(der[1]).hexdigest(),
        "thumbprint_sha1": hashlib.sha1(der[0]).hexdigest(),
        "serial": f"{serial:040x}", "serial_dec": str(serial),
        "spki_sha256": hashlib.sha256(tbs["subject_public_key_info"].dump()).hexdigest(),
        "ski": leaf.key_identifier.hex(),
        "subject": f"CN={what}", "profile": "aws-iot", "key_alg": "P-256", "sig_alg": "ecdsa-with-SHA256",
        "not_before": iso(tbs["validity"]["not_before"].chosen), "not_after": iso(tbs["validity"]["not_after"].chosen),
        "lot": "L1", "sku": None, "order": "Ü \"7\" \\", "attributes": {}, "superseded_by": None,
    }
    for column, value in want.items():
        kit.check(row[column] == value, f"{what}: {column} is {row[column]!r}, not {value!r}")
    kit.check(serial >> 152 and len(row["serial"]) == 40, what, "serial", row["serial"])
    for side in ("chain", "key"):
        data = stored(fleet, row[side])
        kit.check(row[side]["sha256"] == hashlib.sha256(data).hexdigest(), what, side, "sha256")
    found = check_certs.check_bundle(der)
    kit.check(not found, what, found)


def check_manifest(fleet, devices):
    rows = rows_of(fleet)
    kit.check(len(rows) == devices, len(rows), "rows")
    kit.check([r["seq"] for r in rows] == list(range(1, devices + 1)) or
              sorted(r["seq"] for r in rows) == list(range(1, devices + 1)), "seq is not 1 to", devices)
    for column in ("device_id", "serial", "serial_dec", "certificate_id", "spki_sha256", "ski", "thumbprint_sha1"):
        kit.check(len({r[column] for r in rows}) == devices, column, "is not unique")
    for side in ("chain", "key"):
        kit.check(len({r[side]["sha256"] for r in rows}) == devices, side, "is not unique")
    kit.check(len({r["run_id"] for r in rows}) == 1, "run_id")
    kit.check(all(list(r) == list(rows[0]) for r in rows), "the rows' keys differ")
    kit.check(list(rows[0]) == [
        "run_id", "seq", "device_id", "lot", "sku", "order", "profile", "subject", "certificate_id",
        "ca_certificate_id", "serial", "serial_dec", "key_alg", "sig_alg", "spki_sha256", "ski", "thumbprint_sha1",
        "not_before", "not_after", "chain", "key", "minted_at", "attributes", "superseded_by"], "columns", list(rows[0]))
    size = os.path.getsize(f"{fleet}/manifest.ndjson")
    kit.check(size % 4096 == 0, "the manifest does not end on a block:", size)
    with open(f"{fleet}/run.json", encoding="utf-8") as f:
        outcome = json.load(f)["outcome"]
    kit.check((outcome["state"], outcome["devices"], outcome["manifest_bytes"]) == ("complete", devices, size), outcome)
    return rows


def tar_readers():
    found = [["tar"]]
    for name, package, argv in (("bsdtar", "libarchive-tools", []), ("busybox", "busybox", ["tar"])):
        path = kit.tool(name, package)
        if path:
            found.append([path, *argv])
    return found


def small_archives():
    """Whatever a batch leaves to be padded, Python's own reader takes the archive to its end."""
    for count in (*range(1, 14), 21):
        kit.must_mint("few", "ca", "--count", str(count), "--batch", "8")
        for side, suffix in (("chains", ".crt"), ("keys", ".key")):
            names = [f"SN{n:08}{suffix}" for n in range(1, count + 1)]
            try:
                with tarfile.open(f"few/{side}/000000.tar") as tar:
                    kit.check(sorted(tar.getnames()) == names, f"tarfile lists of {count} devices:", tar.getnames())
            except tarfile.TarError as e:
                kit.check(False, f"tarfile and {side} of {count} devices:", e)
        shutil.rmtree("few")


def check_tars(fleet, rows, sample):
    """Every reader lists the devices in the rows' order, and takes out what the rows say."""
    for side, column, suffix in (("chains", "chain", ".crt"), ("keys", "key", ".key")):
        archive = f"{fleet}/{side}/000000.tar"
        names = [r["device_id"] + suffix for r in sorted(rows, key=lambda r: r[column]["offset"])]
        wanted = [r["device_id"] + suffix for r in sample]
        for reader in tar_readers():
            what = f"{os.path.basename(reader[0])} {side}"
            listed = kit.ok([*reader, "-tf", archive])
            got = [n for n in listed.out.decode().split("\n") if n and n != "pax_global_header"]
            kit.check(got == names, what, "lists", len(got), "names:", got[:3], "wanted", names[:3])
            kit.check(not listed.err, what, listed)
            place = f"out-{what.replace(' ', '-')}"
            os.mkdir(place)
            r = kit.ok([*reader, "-xf", archive, "-C", place, *wanted])
            kit.check(not r.err, what, r)
            same = [n for n, row in zip(wanted, sample) if
                    hashlib.sha256(open(f"{place}/{n}", "rb").read()).hexdigest() == row[column]["sha256"]]
            kit.check(same == wanted, what, "took out", len(same), "right files of", len(wanted))
            mode = 0o600 if side == "keys" else 0o644
            kit.check(all(os.stat(f"{place}/{n}").st_mode & 0o777 == mode for n in wanted), what, "modes")
        check_sums(f"out-tar-{side}", column, suffix, sample)


def check_sums(place, column, suffix, sample):
    for name, field, package in (("xxh128sum", "xxh3", "xxhash"), ("sha256sum", "sha256", "coreutils")):
        program = kit.tool(name, package)
        if not program:
            continue
        files = [f"{place}/{r['device_id']}{suffix}" for r in sample]
        r = kit.ok([program, *files])
        got = [line.split()[0] for line in r.out.decode().splitlines()]
        kit.check(got == [row[column][field] for row in sample], name, "disagrees with", column, field)


def check_show(fleet, sample):
    for row in sample:
        for name in (row["device_id"], row["certificate_id"]):
            r = kit.ok([kit.CERTMILL, "show", fleet, name, "--json"])
            shown = json.loads(r.out) if r.code == 0 else {}
            kit.check(row["serial"] in r.out.decode() and row["certificate_id"] in r.out.decode() and shown, name, r)
        r = kit.ok([kit.CERTMILL, "show", fleet, row["device_id"]])
        kit.check(row["device_id"].encode() in r.out, r)
    os.mkdir("taken")
    ids = [r["device_id"] for r in sample]
    kit.ok([kit.CERTMILL, "extract", fleet, *ids, "--out", "taken", "--quiet"])
    for row in sample:
        for column, suffix, mode in (("chain", ".crt", 0o644), ("key", ".key", 0o600)):
            path = f"taken/{row['device_id']}{suffix}"
            data = open(path, "rb").read() if os.path.exists(path) else b""
            kit.check(data == stored(fleet, row[column]), path, "is not what the row names")
            kit.check(os.path.exists(path) and os.stat(path).st_mode & 0o777 == mode, path, "mode")
    by_cert = sample[0]
    os.mkdir("taken2")
    kit.ok([kit.CERTMILL, "extract", fleet, by_cert["certificate_id"], "--out", "taken2", "--quiet"])
    kit.check(os.path.exists(f"taken2/{by_cert['device_id']}.key"), "extract by certificate id")
    # The index is only a help.
    good = open(f"{fleet}/index", "rb").read()
    for what in ("removed", "stale", "damaged"):
        os.remove(f"{fleet}/index")
        if what != "removed":
            bad = bytearray(good)
            bad[8 if what == "stale" else 5000] ^= 1
            open(f"{fleet}/index", "wb").write(bad)
        for row in sample[:2]:
            r = kit.ok([kit.CERTMILL, "show", fleet, row["device_id"], "--json"])
            kit.check(row["serial"].encode() in r.out, "index", what, r)


def whole():
    begun = time.monotonic()
    kit.must_mint("fleet", "ca", "--count", str(WHOLE), "--lot", "L1", "--order", "Ü \"7\" \\")
    minted = time.monotonic()
    r = kit.ok([kit.CERTMILL, "verify", "fleet", "--json", "--quiet"])
    kit.say(f"{WHOLE} devices minted in {minted - begun:.1f} s, verified in {time.monotonic() - minted:.1f} s")
    verdict = json.loads(r.out)
    kit.check((verdict["devices"], verdict["checked"], verdict["findings_count"], verdict["state"]) ==
              (WHOLE, WHOLE, 0, "complete"), r)
    kit.ok([kit.CERTMILL, "verify", "fleet", "--sample", "100", "--quiet"])
    rows = check_manifest("fleet", WHOLE)
    sample = kit.rng.sample(rows, 200)
    for row in sample:
        check_row("fleet", row)
    check_tars("fleet", rows, sample)
    check_show("fleet", sample[:10])
    r = kit.ok([kit.CERTMILL, "verify", "fleet", "--quiet"])
    left = [n for n in os.listdir("fleet") if n not in
            ("run.json", "ca.pem", "chains", "keys", "manifest.ndjson", "index", "journal")]
    kit.check(not left, "a fleet should not hold", left)
    shutil.rmtree("fleet")


# --- damage ------------------------------------------------------------------------------------------------------

class Copy:
    """A copy of a small fleet, to be damaged without traces but the damage itself."""

    def __init__(self, original, name):
        self.dir = name
        shutil.copytree(original, name)
        self.rows = rows_of(name)

    def path(self, name):
        return f"{self.dir}/{name}"

    def flip(self, name, at, mask=1):
        with open(self.path(name), "r+b") as f:
            old = os.pread(f.fileno(), 1, at)
            os.pwrite(f.fileno(), bytes((old[0] ^ mask,)), at)

    def put(self, name, at, data):
        with open(self.path(name), "r+b") as f:
            os.pwrite(f.fileno(), data, at)

    def text_rows(self):
        with open(self.path("manifest.ndjson"), encoding="utf-8") as f:
            return [line.rstrip("\n").rstrip(" ") for line in f]

    def write_rows(self, texts, outcome=True):
        """Padded as certmill pads, run.json made to agree."""
        data = "\n".join(texts).encode()
        data += b" " * (-(len(data) + 1) % 4096) + b"\n"
        with open(self.path("manifest.ndjson"), "wb") as f:
            f.write(data)
        if outcome:
            self.run(lambda run: run["outcome"].update(devices=len(texts), manifest_bytes=len(data)))

    def run(self, change):
        with open(self.path("run.json"), encoding="utf-8") as f:
            run = json.load(f)
        change(run)
        with open(self.path("run.json"), "w", encoding="utf-8") as f:
            json.dump(run, f, indent=2)

    def pick(self, count=1):
        """Devices in the middle, so that neither end helps."""
        return kit.rng.sample(self.rows[10:-10], count)


def place(row, side):
    where = row["chain" if side == "chains" else "key"]
    return where.get("segment") or where["path"], where.get("offset", 0), where["length"]


def flip_in(side, where):
    """where: part of the bundle, 0 to 1."""
    def damage(c):
        row, = c.pick()
        name, offset, length = place(row, side)
        c.flip(name, offset + int(length * where))
        return row["device_id"]
    return damage


def flip_header(side, at):
    def damage(c):
        row, = c.pick()
        name, offset, _ = place(row, side)
        c.flip(name, offset - 512 + at)
        return name
    return damage


def flip_behind(side):
    def damage(c):
        row, = c.pick()
        name, offset, length = place(row, side)
        assert length % 512
        c.flip(name, offset + length + kit.rng.randrange(512 - length % 512))
        return name
    return damage


def flip_padding(side, part):
    """The pax record at the end of the batch, or the end blocks."""
    def damage(c):
        name = f"{side}/000000.tar"
        data = open(c.path(name), "rb").read()
        at = data.index(b"pax_global_header\0") if part == "pax" else len(data) - kit.rng.randrange(1, 4096)
        c.flip(name, at + 512 + 60 if part == "pax" else at)
        return name
    return damage


def alter(column, value):
    def damage(c):
        i = kit.rng.randrange(10, len(c.rows) - 10)
        texts = c.text_rows()
        row = json.loads(texts[i])
        row[column] = value(row[column]) if callable(value) else value
        texts[i] = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
        c.write_rows(texts)
        return c.rows[i]["device_id"] if column != "device_id" else ""
    return damage


def nested(part, value):
    return lambda old: {**old, part: value(old[part]) if callable(value) else value}


def other_digit(text):
    """The same text with one digit changed."""
    at = kit.rng.randrange(len(text))
    while not text[at].isdigit():
        at = kit.rng.randrange(len(text))
    return text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1:]


def rows_changed(change, outcome=True):
    def damage(c):
        texts = c.text_rows()
        named = change(texts, c)
        c.write_rows(texts, outcome)
        return named
    return damage


def drop(texts, c):
    i = kit.rng.randrange(10, len(texts) - 10)
    del texts[i]
    return c.rows[i]["device_id"]


def double(texts, c):
    i = kit.rng.randrange(10, len(texts) - 10)
    texts.insert(i, texts[i])
    return c.rows[i]["device_id"]


def double_for(texts, c):
    """A row twice, another not at all: the count is right."""
    i, j = kit.rng.sample(range(10, len(texts) - 10), 2)
    texts[j] = texts[i]
    return c.rows[j]["device_id"]


def swap(texts, c):
    i, j = kit.rng.sample(range(10, len(texts) - 10), 2)
    texts[i], texts[j] = texts[j], texts[i]
    return ""


def exchange(side):
    """The contents of two devices, their rows' places, hashes and lengths included: only the fit is wrong."""
    def damage(c):
        one, two = c.pick(2)
        column = "chain" if side == "chains" else "key"
        texts = c.text_rows()
        for a, b in ((one, two), (two, one)):
            i = next(n for n, r in enumerate(c.rows) if r["device_id"] == a["device_id"])
            row = json.loads(texts[i])
            row[column] = b[column]
            texts[i] = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
        c.write_rows(texts)
        return one["device_id"]
    return damage


def exchange_octets(side):
    def damage(c):
        by_length = {}
        for row in c.rows:
            by_length.setdefault(place(row, side)[2], []).append(row)
        one, two = kit.rng.sample(max(by_length.values(), key=len), 2)
        for a, b in ((one, two), (two, one)):
            column = "chain" if side == "chains" else "key"
            name, offset, _ = place(a, side)
            c.put(name, offset, stored("small", b[column]))
        return one["device_id"]
    return damage


def append_entry(side):
    def damage(c):
        suffix = "crt" if side == "chains" else "key"
        with open("Extra." + suffix, "w", encoding="ascii") as f:
            f.write("extra\n")
        name = f"{side}/000000.tar"
        subprocess.run(["tar", "--format=ustar", "-rf", c.path(name), "Extra." + suffix], check=True)
        return name
    return damage


def remove(name):
    def damage(c):
        os.remove(c.path(name))
        return name
    return damage


def truncate(name, by):
    def damage(c):
        os.truncate(c.path(name), os.path.getsize(c.path(name)) - by)
        return name
    return damage


def add_file(name):
    def damage(c):
        with open(c.path(name), "w", encoding="ascii") as f:
            f.write("hello\n")
        return name
    return damage


def chmod(name, mode):
    def damage(c):
        os.chmod(c.path(name), mode)
        return name.rstrip("/")
    return damage


def run_json(change, named=""):
    def damage(c):
        c.run(change)
        return named
    return damage


def foreign_ca(c):
    with open("stranger/ca.pem", "rb") as f:
        data = f.read()
    with open(c.path("ca.pem"), "wb") as f:
        f.write(data)
    return ""


def foreign_device(c):
    """Another fleet's bundle and key with a row made to fit: only the CA is another's."""
    of = {r["device_id"]: r for r in rows_of("theirs")}
    row, theirs = kit.rng.choice([(r, of[r["device_id"]]) for r in c.rows[10:-10] if all(
        r[k]["length"] == of[r["device_id"]][k]["length"] for k in ("chain", "key"))])
    texts = c.text_rows()
    i = next(n for n, r in enumerate(c.rows) if r["device_id"] == row["device_id"])
    for side, column in (("chains", "chain"), ("keys", "key")):
        name, offset, _ = place(row, side)
        c.put(name, offset, stored("theirs", theirs[column]))
        theirs[column]["offset"] = offset
    theirs.update({k: row[k] for k in ("run_id", "ca_certificate_id")})
    texts[i] = json.dumps(theirs, ensure_ascii=False, separators=(",", ":"))
    c.write_rows(texts)
    return row["device_id"]


def replay(c):
    """One device's bundle and key stand in the place of another's, rows and all but the id."""
    rows = [r for r in c.rows[10:-10]]
    kit.rng.shuffle(rows)
    one, two = next((a, b) for a in rows for b in rows if a is not b and
                    all(a[k]["length"] == b[k]["length"] for k in ("chain", "key")))
    texts = c.text_rows()
    i = next(n for n, r in enumerate(c.rows) if r["device_id"] == one["device_id"])
    new = {**two, "device_id": one["device_id"], "seq": one["seq"]}
    for side, column in (("chains", "chain"), ("keys", "key")):
        name, offset, _ = place(one, side)
        c.put(name, offset, stored("small", two[column]))
        new[column] = {**two[column], "offset": offset}
    texts[i] = json.dumps(new, ensure_ascii=False, separators=(",", ":"))
    c.write_rows(texts)
    return one["device_id"]


def link_segment(c):
    os.rename(c.path("chains/000000.tar"), "elsewhere.tar")
    os.symlink(os.path.abspath("elsewhere.tar"), c.path("chains/000000.tar"))
    return "chains/000000.tar"


DAMAGES = {
    "bit of a leaf certificate": flip_in("chains", 0.3), "bit of the CA in a bundle": flip_in("chains", 0.8),
    "first octet of a bundle": flip_in("chains", 0), "last octet of a bundle": flip_in("chains", 0.9999),
    "bit of a key": flip_in("keys", 0.5), "last octet of a key": flip_in("keys", 0.9999),
    "name in a chain's header": flip_header("chains", 3), "mode in a key's header": flip_header("keys", 104),
    "checksum in a chain's header": flip_header("chains", 150), "mtime in a key's header": flip_header("keys", 146),
    "type in a chain's header": flip_header("chains", 156), "size in a chain's header": flip_header("chains", 134),
    "zeros behind a bundle": flip_behind("chains"), "zeros behind a key": flip_behind("keys"),
    "spaces of a pax header": flip_padding("chains", "pax"), "end blocks of chains": flip_padding("chains", "end"),
    "end blocks of keys": flip_padding("keys", "end"),
    "row dropped": rows_changed(drop), "row dropped, run.json as it was": rows_changed(drop, False),
    "row twice": rows_changed(double), "row twice for another's": rows_changed(double_for),
    "rows swapped": rows_changed(swap), "row that is no JSON": rows_changed(lambda t, c: t.insert(20, "{") or ""),
    "row cut off": rows_changed(lambda t, c: t.__setitem__(20, t[20][:100]) or ""),
    "chains of two devices exchanged": exchange("chains"), "keys of two devices exchanged": exchange("keys"),
    "octets of two keys exchanged": exchange_octets("keys"),
    "another CA's device": foreign_device, "one device in the place of another": replay,
    "another CA's certificate as ca.pem": foreign_ca, "ca.pem removed": remove("ca.pem"),
    "entry appended to chains": append_entry("chains"), "entry appended to keys": append_entry("keys"),
    "chains truncated by a block": truncate("chains/000000.tar", 4096),
    "chains truncated in the middle": truncate("chains/000000.tar", 100000),
    "keys truncated": truncate("keys/000000.tar", 5000), "manifest truncated": truncate("manifest.ndjson", 4096),
    "manifest truncated in a row": truncate("manifest.ndjson", 100),
    "chains removed": remove("chains/000000.tar"), "keys removed": remove("keys/000000.tar"),
    "manifest removed": remove("manifest.ndjson"),
    "extra segment": lambda c: shutil.copy(c.path("chains/000000.tar"), c.path("chains/000001.tar")) and "000001.tar",
    "extra file in chains": add_file("chains/notes.txt"), "extra file in keys": add_file("keys/.hidden"),
    "unfinished segment": add_file("keys/000001.tar.part"), "segment is a link": link_segment,
    "keys open to others": chmod("keys", 0o755), "key segment open to others": chmod("keys/000000.tar", 0o644),
    "run.json: devices": run_json(lambda r: r["outcome"].update(devices=299)),
    "run.json: requested devices": run_json(lambda r: r["request"].update(devices=299)),
    "run.json: manifest_bytes": run_json(lambda r: r["outcome"].update(manifest_bytes=4096)),
    "run.json: CA": run_json(lambda r: r["ca"].update(certificate_id="0" * 64)),
    "run.json: run_id": run_json(lambda r: r.update(run_id="00000000-0000-4000-8000-000000000000")),
    "run.json: never ended": run_json(lambda r: r.update(outcome=None)),
    "field seq": alter("seq", lambda n: n + 1000), "field run_id": alter("run_id", other_digit),
    "field device_id": alter("device_id", other_digit), "field lot": alter("lot", "other"),
    "field sku": alter("sku", "other"), "field order": alter("order", "other"),
    "field profile": alter("profile", "tls-client"),
    "field subject": alter("subject", other_digit), "field certificate_id": alter("certificate_id", other_digit),
    "field ca_certificate_id": alter("ca_certificate_id", other_digit), "field serial": alter("serial", other_digit),
    "field serial_dec": alter("serial_dec", other_digit), "field key_alg": alter("key_alg", "P-384"),
    "field sig_alg": alter("sig_alg", "ecdsa-with-SHA384"), "field spki_sha256": alter("spki_sha256", other_digit),
    "field ski": alter("ski", other_digit), "field thumbprint_sha1": alter("thumbprint_sha1", other_digit),
    "field not_before": alter("not_before", "2020-01-01T00:00:00Z"),
    "field not_after": alter("not_after", "2020-01-01T00:00:00Z"),
    "field minted_at": alter("minted_at", "2020-02-30T00:00:00Z"),
    "field chain.offset": alter("chain", nested("offset", lambda n: n + 512)),
    "field chain.length": alter("chain", nested("length", lambda n: n - 1)),
    "field chain.sha256": alter("chain", nested("sha256", other_digit)),
    "field chain.xxh3": alter("chain", nested("xxh3", other_digit)),
    "field chain.segment": alter("chain", nested("segment", "chains/000009.tar")),
    "field chain.segment, out of the fleet": alter("chain", nested("segment", "../small/chains/000000.tar")),
    "field key.sha256": alter("key", nested("sha256", other_digit)), "field key null": alter("key", None),
    "field attributes": alter("attributes", lambda _: []), "field superseded_by": alter("superseded_by", 5),
}


def move_to(name, other):
    def damage(c):
        row, = c.pick()
        path, _, _ = place(row, name)
        os.rename(c.path(path), c.path(os.path.join(os.path.dirname(path), other)))
        return row["device_id"]
    return damage


def in_shard(side, change):
    def damage(c):
        row, = c.pick()
        change(c.path(place(row, side)[0]))
        return row["device_id"]
    return damage


def swap_files(c):
    one, two = c.pick(2)
    a, b = c.path(place(one, "keys")[0]), c.path(place(two, "keys")[0])
    os.rename(a, "aside")
    os.rename(b, a)
    os.rename("aside", b)
    return one["device_id"]


TREE_DAMAGES = {
    "bit of a bundle": flip_in("chains", 0.4), "bit of a key": flip_in("keys", 0.4),
    "bundle removed": in_shard("chains", os.remove), "key removed": in_shard("keys", os.remove),
    "bundle renamed": move_to("chains", "other.crt"), "key renamed": move_to("keys", "other.key"),
    "key open to others": in_shard("keys", lambda p: os.chmod(p, 0o644)),
    "bundle longer": in_shard("chains", lambda p: open(p, "ab").write(b"\n")),
    "bundle empty": in_shard("chains", lambda p: os.truncate(p, 0)), "keys of two exchanged": swap_files,
    "extra bundle": add_file("chains/000000/extra.crt"), "extra key": add_file("keys/000000/extra.key"),
    "extra shard": lambda c: os.mkdir(c.path("chains/000099")) or "000099",
    "shard open to others": chmod("keys/000000", 0o755), "row dropped": rows_changed(drop),
    "key is a link": in_shard("keys", lambda p: (os.rename(p, "aside.key"),
                                                 os.symlink(os.path.abspath("aside.key"), p))),
    "field chain.path": alter("chain", nested("path", "chains/000000/SN00000001.crt")),
}


def judge_damages(original, damages):
    r = kit.mill("verify", original, "--quiet")
    kit.check(r.code == 0, "the undamaged fleet:", r)
    for what, damage in damages.items():
        c = Copy(original, "copy")
        named = damage(c)
        r = kit.mill("verify", "copy", "--quiet")
        said = (r.out + r.err).decode(errors="replace")
        # A fleet whose ca.pem, manifest or run.json can't be read is none: exit code 2.
        codes = (1, 2) if any(w in what for w in ("removed", "ca.pem", "run.json", "truncated")) else (1,)
        kit.check(r.code in codes, f"damage not found: {what} ({named}):", r)
        kit.check(r.code not in codes or named is None or str(named) in said, f"{what}: verify does not name {named}:", r)
        shutil.rmtree("copy", ignore_errors=True)
    return len(damages)


def damage():
    kit.ca_init("stranger")
    while os.path.getsize("stranger/ca.pem") != os.path.getsize("ca/ca.pem"):  # bundles of the same length
        shutil.rmtree("stranger")
        kit.ca_init("stranger")
    kit.must_mint("small", "ca", "--count", str(SMALL), "--batch", "49")
    kit.must_mint("theirs", "stranger", "--count", str(SMALL), "--batch", "49")
    n = judge_damages("small", DAMAGES)
    c = Copy("small", "copy")
    kit.check(kit.mill("verify", "copy").code == 0, "an untouched copy is reported")
    c.write_rows(c.text_rows())
    kit.check(kit.mill("verify", "copy").code == 0, "a manifest written anew, but the same, is reported")
    shutil.rmtree("copy")
    kit.say(f"{n} damages of a tar fleet judged")
    shutil.rmtree("theirs")


# --- interruptions -----------------------------------------------------------------------------------------------

def interrupt(fleet, number, seconds, *options):
    """Exit code of a run that gets the signal after so many seconds; None: as soon as its directory is there."""
    p = subprocess.Popen([kit.CERTMILL, "mint", "--quiet", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--out", fleet,
                          "--plaintext-keys", *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
    if seconds is None:
        end = time.monotonic() + 60
        while not os.path.exists(f"{fleet}/run.json") and time.monotonic() < end and p.poll() is None:
            pass
    else:
        try:
            p.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
    p.send_signal(number)
    try:
        out, err = p.communicate(timeout=kit.PATIENCE)
    except subprocess.TimeoutExpired:
        p.kill()
        out, err = p.communicate()
        kit.check(False, "hangs after signal", number)
    return kit.Result(p.args, p.returncode, out, err)


def after_stop(fleet, r, number, seconds, layout):
    what = f"{layout}, signal {number} after {seconds} s"
    if r.code == -number and not os.path.exists(fleet):
        return  # before it had begun
    kit.check(r.code == 128 + number, what, r)
    if not os.path.exists(fleet):
        return
    part = [p for p in kit.files_below(fleet) if p.endswith(".part")]
    kit.check(not part, what, "leaves", part)
    v = kit.mill("verify", fleet, "--quiet")
    kit.check(v.code == 0 and b"stopped after " in v.out, what, v)
    if not os.path.exists(f"{fleet}/manifest.ndjson"):
        return
    rows = rows_of(fleet)
    kit.check(f"stopped after {len(rows)} of ".encode() in v.out, what, v)
    if rows:
        r = kit.mill("show", fleet, rows[-1]["device_id"])
        kit.check(r.code == 0, what, r)


def after_kill(fleet, r, seconds, layout):
    what = f"{layout}, kill -9 after {seconds} s"
    kit.check(r.code == -9, what, r)
    if not os.path.exists(f"{fleet}/run.json"):
        return
    v = kit.mill("verify", fleet, "--quiet")
    if not os.path.exists(f"{fleet}/manifest.ndjson"):
        kit.check(v.code in (1, 2), what, v)  # killed before there was one
        return
    kit.check(v.code == 1 and b"did not end cleanly" in v.out + v.err, what, v)
    # What was committed is whole all the same.
    others = [line for line in v.err.splitlines() if b"did not end cleanly" not in line]
    kit.check(not others, what, v)
    again = kit.mint(fleet, "ca", "--count", "1")
    kit.check(again.code == 2, "a killed run's directory was taken again:", again)


def interruptions(layout, stops, longest, *options):
    kinds = [(signal.SIGTERM, n) for n in range(stops)] + [(signal.SIGINT, n) for n in range(stops)] + \
        [(signal.SIGKILL, n) for n in range(max(2, stops // 2))]
    for number, n in kinds:
        seconds = None if n == 0 else round(kit.rng.uniform(0, longest) if n > 1 else kit.rng.uniform(0, 0.1), 3)
        fleet = "stopped"
        r = interrupt(fleet, number, seconds, "--layout", layout, *options)
        if number == signal.SIGKILL:
            after_kill(fleet, r, seconds, layout)
        else:
            after_stop(fleet, r, int(number), seconds, layout)
        shutil.rmtree(fleet, ignore_errors=True)
    kit.say(f"{len(kinds)} runs of layout {layout} interrupted")


def twice():
    """The second signal kills at once."""
    p = subprocess.Popen([kit.CERTMILL, "mint", "--quiet", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--out", "twice",
                          "--plaintext-keys", "--key", "RSA-4096", "--count", "20000"], stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1)
    p.send_signal(signal.SIGINT)
    time.sleep(0.2)
    p.send_signal(signal.SIGINT)
    kit.check(p.wait(kit.PATIENCE) in (-signal.SIGINT, 130), "two SIGINT:", p.returncode)
    shutil.rmtree("twice", ignore_errors=True)


def stop():
    # A run that gets to its end before the signal would test nothing.
    interruptions("tar", STOPS, 3.0 if kit.SLOW else 1.3, "--count", "400000")
    twice()


# --- the tree layout ---------------------------------------------------------------------------------------------

def tree():
    kit.must_mint("small", "ca", "--count", str(SMALL), "--layout", "tree", "--batch", "49")
    for what, damage_one in TREE_DAMAGES.items():
        judge_damages("small", {what: damage_one})
    kit.say(f"{len(TREE_DAMAGES)} damages of a tree judged")
    shutil.rmtree("small")
    kit.must_mint("fleet", "ca", "--count", str(TREE), "--layout", "tree", "--lot", "L1", "--order", "Ü \"7\" \\")
    r = kit.ok([kit.CERTMILL, "verify", "fleet", "--quiet"])
    kit.check(f"complete, {TREE} devices".encode() in r.out, r)
    rows = check_manifest("fleet", TREE)
    sample = kit.rng.sample(rows, 50)
    for row in sample:
        check_row("fleet", row)
        for side, column, suffix in (("chains", "chain", ".crt"), ("keys", "key", ".key")):
            kit.check(row[column]["path"].startswith(f"{side}/0") and
                      row[column]["path"].endswith(f"/{row['device_id']}{suffix}"), row[column])
    shards = os.listdir("fleet/keys")
    kit.check(sorted(shards) == sorted(os.listdir("fleet/chains")), "shards", shards)
    kit.check(sum(len(os.listdir(f"fleet/keys/{s}")) for s in shards) == TREE, "files in keys")
    check_sums_tree(sample)
    shutil.rmtree("taken", ignore_errors=True)
    shutil.rmtree("taken2", ignore_errors=True)
    check_show("fleet", sample[:3])
    shutil.rmtree("fleet")
    interruptions("tree", 3 if kit.SLOW else 4, 0.6, "--count", "200000")


def check_sums_tree(sample):
    for column in ("chain", "key"):
        for name, field in (("xxh128sum", "xxh3"), ("sha256sum", "sha256")):
            program = kit.tool(name, "xxhash")
            if program:
                r = kit.ok([program, *(f"fleet/{row[column]['path']}" for row in sample)])
                kit.check([line.split()[0] for line in r.out.decode().splitlines()] ==
                          [row[column][field] for row in sample], name, "disagrees with", column)


def main():
    kit.enter_place("fleet")
    kit.ca_init("ca")
    parts = os.environ.get("CM_PARTS", "whole,damage,stop,tree").split(",")
    if "whole" in parts:
        whole()
        for name in [n for n in os.listdir(".") if n.startswith(("out-", "taken"))]:
            shutil.rmtree(name)
        kit.say("a whole fleet judged")
        small_archives()
    if "damage" in parts:
        damage()
        shutil.rmtree("small")
    if "stop" in parts:
        stop()
    if "tree" in parts:
        tree()
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
