"""A database of devices, read by Python's sqlite3 or by psql, and held against the fleet that was loaded into it: the
manifest and the segments as docs/formats.md describes them, nothing of certmill's own."""

import base64
import hashlib
import json
import os
import sqlite3

import e2e_kit as kit

# Column of the database -> how to find it in a row of the manifest; `order` is a word of SQL's.
PLAIN = ["run_id", "seq", "device_id", "lot", "sku", "profile", "subject", "certificate_id", "ca_certificate_id",
         "serial", "serial_dec", "key_alg", "sig_alg", "spki_sha256", "ski", "thumbprint_sha1", "not_before",
         "not_after", "minted_at", "attributes"]
TABLES = ["run", "chain", "batch", "device"]
PLACE = ["offset", "length", "xxh3", "sha256"]
TIMES = ["not_before", "not_after", "minted_at"]
COLUMNS = [*PLAIN, "order_name", "superseded_by", "state", *(f"{side}_{what}" for side in ("chain", "key")
                                                            for what in ["file", *PLACE])]


class File:
    """In a file."""
    name = "sqlite"
    files = 0

    def __init__(self):
        File.files += 1
        self.path = os.path.abspath(f"devices-{File.files}.db")
        self.url = f"sqlite:{self.path}"

    def query(self, sql):
        db = sqlite3.connect(self.path, timeout=20)
        try:
            rows = db.execute(sql.replace("certmill.", "")).fetchall()
            db.commit()
            return rows
        finally:
            db.close()

    def rows(self):
        """Every device row, in order: dict of columns and `certificate`."""
        db = sqlite3.connect(self.path, timeout=20)
        try:
            db.row_factory = sqlite3.Row
            rows = [dict(r) for r in db.execute(f"SELECT {', '.join(COLUMNS)}, certificate FROM device"
                                                " ORDER BY run_id, seq, certificate_id")]
        finally:
            db.close()
        for r in rows:
            r["attributes"] = json.loads(r["attributes"])
        return rows

    def is_there(self):
        return os.path.exists(self.path) and bool(self.query("SELECT 1 FROM sqlite_master WHERE name = 'device'"))

    def dump(self):
        """Everything that certmill keeps there."""
        return [self.query(f"SELECT * FROM {t} ORDER BY 1, 2, 3") for t in TABLES]


class Base:
    """In a database of its own on the test's server."""
    name = "postgresql"
    server = None
    bases = 0

    def __init__(self):
        Base.bases += 1
        self.database = f"devices_{Base.bases}"
        self.server.psql(f"CREATE DATABASE {self.database}")
        self.url = self.server.url(self.database)

    def query(self, sql):
        """Rows of texts."""
        return [tuple(line.split("|")) for line in self.server.psql(sql, self.database)]

    def settle(self):
        """Servers that work for a client that was killed end their statement first."""
        self.server.wait_idle()

    def rows(self):
        shown = [f"to_char({c} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS {c}" if c in TIMES else c
                 for c in COLUMNS]
        lines = self.server.psql(f"SELECT row_to_json(d) FROM (SELECT {', '.join(shown)}, encode(certificate, 'hex')"
                                 " AS certificate FROM certmill.device ORDER BY run_id, seq, certificate_id) d",
                                 self.database)
        rows = [json.loads(line) for line in lines]
        for r in rows:
            r["certificate"] = bytes.fromhex(r["certificate"]) if r["certificate"] else None
        return rows

    def is_there(self):
        return bool(self.query("SELECT 1 FROM pg_class WHERE relname = 'device'"))

    def dump(self):
        return [self.server.psql(f"SELECT * FROM certmill.{t} ORDER BY 1, 2, 3", self.database) for t in TABLES]


def manifest(fleet):
    with open(f"{fleet}/manifest.ndjson", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def expected(row, superseded_by):
    """A row of the manifest as the database must have it."""
    out = {c: row[c] for c in PLAIN}
    out["order_name"] = row["order"]
    out["superseded_by"] = superseded_by
    out["state"] = "scrapped" if superseded_by else "unused"
    for side in ("chain", "key"):
        place = row[side] or {}
        out[f"{side}_file"] = place.get("segment", place.get("path"))
        for what in PLACE:
            out[f"{side}_{what}"] = place.get(what)
    return out


class Segments:
    """The leaf of each row, from its bundle."""

    def __init__(self, fleet):
        self.fleet, self.open = fleet, {}

    def leaf(self, row):
        place = row["chain"]
        name = place.get("segment", place.get("path"))
        if name not in self.open:
            if len(self.open) > 500:
                self.close()
            self.open[name] = open(f"{self.fleet}/{name}", "rb")  # pylint: disable=consider-using-with
        data = os.pread(self.open[name].fileno(), place["length"], place.get("offset", 0))
        if data.startswith(b"-----BEGIN"):
            return base64.b64decode(data.split(b"-----")[2])
        long = data[1] & 0x7f
        return data[:2 + long + int.from_bytes(data[2:2 + long], "big")]

    def close(self):
        for f in self.open.values():
            f.close()
        self.open = {}


def agree(base, *fleets, what=""):
    """The database has the rows of these fleets, all of them once, column by column, and their certificates."""
    wanted = []
    for fleet in fleets:
        rows, last, segments = manifest(fleet), {}, Segments(fleet)
        successor = {}
        for r in rows:  # a later row takes the place of an earlier one
            if r["seq"] in last:
                successor[last[r["seq"]]] = r["certificate_id"]
            last[r["seq"]] = r["certificate_id"]
        for r in rows:
            one = expected(r, successor.get(r["certificate_id"]))
            one["certificate"] = segments.leaf(r)
            kit.check(hashlib.sha256(one["certificate"]).hexdigest() == r["certificate_id"], what, "a segment", r)
            wanted.append(one)
        segments.close()
    wanted.sort(key=lambda r: (r["run_id"], r["seq"], r["certificate_id"]))
    found = base.rows()
    good = kit.check(len(found) == len(wanted), f"{what}: {base.name} has {len(found)} rows, not {len(wanted)}")
    different = next(((f, w) for f, w in zip(found, wanted) if f != w), None) if good else None
    kit.check(different is None, f"{what}: {base.name}: rows that differ:", different)
    return cursors_agree(base, *fleets, what=what) and good and different is None


def cursors_agree(base, *fleets, what=""):
    """The cursor of each run is the end of its manifest; its batches lie end to end."""
    good = True
    for fleet in fleets:
        rows = manifest(fleet)
        size = os.path.getsize(f"{fleet}/manifest.ndjson")
        run = base.query("SELECT run_no, manifest_bytes, devices FROM certmill.run"
                         f" WHERE run_id = '{rows[0]['run_id']}'")
        good &= kit.check(len(run) == 1 and [int(n) for n in run[0][1:]] == [size, len(rows)], what, "cursor", run, size)
        batches = [[int(n) for n in b] for b in base.query(
            f"SELECT first_byte, end_byte, devices FROM certmill.batch WHERE run_no = {run[0][0]} ORDER BY first_byte")]
        ends = [0, *(b[1] for b in batches)]
        good &= kit.check([b[0] for b in batches] == ends[:-1] and ends[-1] == size and
                          sum(b[2] for b in batches) == len(rows), what, "batches", batches)
    indexed = base.query("SELECT indexed FROM certmill.certmill_schema")
    return good & kit.check(indexed in ([(1,)], [("t",)]), what, "indexed:", indexed)
