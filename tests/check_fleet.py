#!/usr/bin/env python3
"""Checks a run directory against docs/formats.md, from the octets on disk: that nothing is lost, doubled, mixed up or
unaccounted for. It shares nothing with the program, so that the two can't be wrong in the same way, and it is quick
enough to be called thousands of times in one process. It looks at plaintext keys.

    check_fleet.py DIR [--ids FILE] [--ca FILE] [--openssl N] [--ended]     findings on stdout; exit 1 when there are any

In a test: before = snapshot(DIR) after a kill; resume; check(DIR, ids, committed_before=before) == []."""

import argparse
import calendar
import hashlib
import json
import mmap
import os
import random
import re
import stat
import subprocess
import sys
import tempfile
import time
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import fleet_crypto as crypto  # pylint: disable=wrong-import-position
import fleet_journal  # pylint: disable=wrong-import-position

PAGE = 4096
SHARD_DEVICES = 4096
ROW = ["run_id", "seq", "device_id", "lot", "sku", "order", "profile", "subject", "certificate_id", "ca_certificate_id",
       "serial", "serial_dec", "key_alg", "sig_alg", "spki_sha256", "ski", "thumbprint_sha1", "not_before", "not_after",
       "chain", "key", "minted_at", "attributes", "superseded_by"]
PLACE = {"tar": ["segment", "offset", "length", "xxh3", "sha256"], "tree": ["path", "length", "xxh3", "sha256"]}
RUN = ["format", "version", "run_id", "engine", "libcrypto", "created_at", "request", "ca", "outcome"]
REQUEST = ["devices", "source", "start", "id_pattern", "list_sha256", "list_format", "id_column", "columns",
           "refused_rows", "mac_base", "key", "profile", "subject", "san",
           "signature", "not_before", "not_after", "lot", "sku", "order", "layout", "key_format", "encoding", "ledger",
           "keys_dir", "keys", "may_outlive_ca", "rsa_keygen", "ec", "fips"]
OUTCOME = ["state", "devices", "superseded", "manifest_bytes", "ended_at"]
NAMES = {"run.json", "ca.pem", "chains", "keys", "manifest.ndjson", "journal", "burned.ndjson", "index"}
SUFFIX = {"chains": ".crt", "keys": ".key"}
DAMAGE = (ValueError, KeyError, IndexError, TypeError, AttributeError, OSError, crypto.Bad)
FINDINGS_MAX = 100
SIGNATURES = 8  # of so many devices the CA's signature is checked
_safe = re.compile(r"[A-Za-z0-9._~-]+\Z")
_rng = random.Random(1)


def check(path, ids=None, ca=None, journal=True, sample_openssl=0, committed_before=None, ended=None, keys=None,
          signatures=SIGNATURES):
    """Findings, as lines of text; none on a sound fleet.

    ids               what was asked for, in the order of the request (else: the run's own pattern, where it can be told)
    ca                file of the CA's certificate and the chain above it, which ca.pem must equal
    journal           False: a fleet without one
    sample_openssl    so many certificates are given to `openssl verify -x509_strict`
    committed_before  of snapshot(): all of it must still be there, octet for octet
    ended             True: the last attempt must have ended by itself, and nothing unfinished may be left. None: only if
                      the journal says that it ended
    keys              where the private keys are, when not where run.json says
    signatures        on so many certificates the CA's signature is checked"""
    return Fleet(path, keys).judge(ids, ca, journal, sample_openssl, committed_before, ended, signatures)


def snapshot(path, keys=None):
    """What the journal has committed: hashes of journal, manifest, segments, and of each device's octets."""
    fleet = Fleet(path, keys)
    try:
        return fleet.snapshot()
    finally:
        fleet.close()


def encoded(device_id):
    return device_id if _safe.match(device_id) else urllib.parse.quote(device_id, safe="-._~")


def expand(request):
    """The ids of a request by count; None where they can't be told from here."""
    if request["source"] != "count":
        return None
    parts = re.split(r"\{seq(?::(0?)(\d+)(x?))?\}", request["id_pattern"])
    if "{" in "".join(parts[0::4]):
        return None
    def one(n):
        text = parts[0]
        for zero, width, kind, literal in zip(*(iter(parts[1:]),) * 4):
            number = f"{n:x}" if kind else str(n)
            text += (number.rjust(int(width), "0" if zero else " ") if width else number) + literal
        return text
    return [one(n) for n in range(request["start"], request["start"] + request["devices"])]


class Fleet:
    def __init__(self, path, keys=None):
        self.path, self.findings = os.fspath(path), []
        self.keys_path = keys
        self.run = self.request = self.journal = self.ca = self.chain_der = self.ca_pem = None
        self.segments = {}  # name in the rows -> (octets, whether the name was final) or None
        self._maps = []

    def say(self, what):
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(what)

    # --- files ---------------------------------------------------------------------------------------------------

    def where(self, name):
        """The path of a name as rows have it."""
        if name.startswith("keys/") and self.keys_path is not None:
            return os.path.join(self.keys_path, name[5:])
        return os.path.join(self.path, name)

    def read(self, name, missing=None):
        try:
            with open(self.where(name), "rb") as f:
                size = os.fstat(f.fileno()).st_size
                if size < 1 << 22:
                    return f.read()
                self._maps.append(mmap.mmap(f.fileno(), size, prot=mmap.PROT_READ))
                return self._maps[-1]
        except FileNotFoundError:
            return missing

    def close(self):
        for m in self._maps:
            m.close()

    def list(self, name):
        try:
            return sorted(os.listdir(self.where(name)))
        except FileNotFoundError:
            self.say(f"{name}: missing")
            return []

    def mode(self, name, want):
        try:
            found = stat.S_IMODE(os.lstat(self.where(name)).st_mode)
        except FileNotFoundError:
            return
        if found != want:
            self.say(f"{name}: mode {found:04o}, not {want:04o}")

    def segment(self, name):
        """(octets, final) of a tar segment, under its final name or .part; None when it is missing."""
        if name not in self.segments:
            whole, part = self.read(name), self.read(name + ".part")
            if whole is not None and part is not None:
                self.say(f"{name}: there is a .part beside it")
            self.segments[name] = ((whole, True) if whole is not None else (part, False)) \
                if (whole, part) != (None, None) else None
        return self.segments[name]

    def at(self, place):
        """The octets that a row's chain or key names; None when they are not there."""
        if "segment" in place:
            found = self.segment(place["segment"])
            data = found[0][place["offset"]:place["offset"] + place["length"]] if found else b""
            return data if len(data) == place["length"] else None
        directory, name = os.path.split(place["path"])
        data = self.read(place["path"])
        return data if data is not None else self.read(f"{directory}.part/{name}")

    # --- the whole -----------------------------------------------------------------------------------------------

    def judge(self, ids, ca, journal, sample_openssl, before, ended, signatures):
        steps = [("run.json", self.read_run, ()), ("ca.pem", self.read_ca, (ca,)),
                 ("journal", self.read_journal, (journal, ended)), ("manifest.ndjson", self.read_rows, ()),
                 ("request", self.check_request, (ids,)), ("outcome", self.check_outcome, (ended,)),
                 ("names", self.check_names, ()), ("bundles", self.check_layout, ()),
                 ("devices", self.check_devices, (signatures,)), ("openssl", self.ask_openssl, (sample_openssl,)),
                 ("before", self.compare, (before,))]
        self.rows = []
        self.settled = True
        self.certs = {}
        try:
            for what, step, args in steps:
                try:
                    step(*args)
                except DAMAGE as e:
                    self.say(f"{what}: can't be judged: {e!r}")
                if self.request is None:
                    break
        finally:
            self.close()
        return self.findings

    def read_run(self):
        self.run = json.loads(self.read("run.json"))
        r = self.run
        if list(r) != RUN or r["format"] != "certmill-fleet" or r["version"] != 1:
            self.say(f"run.json: keys {list(r)}")
        if list(r["request"]) != REQUEST:
            self.say(f"run.json: request with the keys {list(r['request'])}")
        self.request = r["request"]
        if self.keys_path is None:
            self.keys_path = self.request["keys_dir"]

    def read_ca(self, ca):
        pem = self.read("ca.pem")
        blocks = crypto.unpem(pem)
        self.ca_pem, self.chain_der = pem, [der for _, der in blocks]
        self.ca = crypto.Certificate(self.chain_der[0])
        if ca is not None:
            with open(ca, "rb") as f:
                if f.read() != pem:
                    self.say(f"ca.pem: not {ca}")
        if self.run["ca"]["certificate_id"] != self.ca.certificate_id:
            self.say("run.json: the CA is another than ca.pem's")

    def read_journal(self, journal, ended):
        if not journal:
            return
        data = self.read("journal")
        if data is None:
            self.say("journal: missing")
            return
        burned = self.read("burned.ndjson", b"")
        j = self.journal = fleet_journal.Journal(data, burned, self.say)
        self.settled = j.end is not None and not j.is_open
        if ended and not self.settled:
            self.say("journal: the last attempt did not end")
            self.settled = True
        if ended and j.is_purging:
            self.say("journal: a purge of the keys did not end")
        if j.why is not None and (ended or j.follow):
            self.say(f"journal: record {len(j.records)} is damaged: {j.why}")
        if len(burned) > j.burned_bytes and (ended or (self.settled and j.why is None)):
            self.say(f"burned.ndjson: {len(burned)} octets, {j.burned_bytes} of them count")
        if j.run is not None:
            self.check_run_record(j.run)
        for name, text in (("journal", data), ("burned.ndjson", burned), ("run.json", self.read("run.json"))):
            if b"PRIVATE KEY" in text:
                self.say(f"{name}: holds a private key")

    def check_run_record(self, record):
        for key in ("run_id", "created_at", "request", "ca"):
            if record[key] != self.run[key]:
                self.say(f"run.json: {key} is not what the journal says")
        if not isinstance(record["options"], (dict, list)) or not isinstance(record["profile_text"], str):
            self.say("journal: options or profile_text")

    def check_outcome(self, ended):
        outcome, state = self.run["outcome"], None
        if self.journal is not None:
            state = self.journal.end["state"] if self.journal.end and self.settled else None
            expected = state and {"state": state, "devices": self.journal.devices - self.journal.rows_superseded,
                                  "superseded": self.journal.rows_superseded,
                                  "manifest_bytes": self.journal.committed, "ended_at": self.journal.end["ended_at"]}
            # A kill may fall between the journal's record and run.json; then run.json says less, or what was before.
            if outcome != expected and (ended or (state is not None and outcome is not None)):
                self.say(f"run.json: outcome {outcome}, and the journal says {expected}")
        if outcome is not None:
            if list(outcome) != OUTCOME or outcome["state"] not in fleet_journal.STATES:
                self.say(f"run.json: outcome {outcome}")
            state = state or outcome["state"]
        live = sum(1 for r in self.rows if not r.superseded)
        if state == "complete" and live != self.request["devices"]:
            self.say(f"the run is complete with {live} of {self.request['devices']} devices")
        if state == "stopped" and live == self.request["devices"]:
            self.say("the run is stopped, with all devices")

    # --- rows ----------------------------------------------------------------------------------------------------

    def read_rows(self):
        data = self.read("manifest.ndjson")
        if data is None:
            if self.journal is None or self.journal.committed:
                self.say("manifest.ndjson: missing")
            return
        if self.journal is None:
            return self.parse_rows(data, 0, None)
        j = self.journal
        if len(data) < j.committed:
            self.say(f"manifest.ndjson: {len(data)} octets, {j.committed} are committed")
        if len(data) > j.committed and self.settled:
            self.say(f"manifest.ndjson: {len(data)} octets, only {j.committed} are committed")
        for commit in j.commits:
            part = data[commit.begin:commit.end]
            found = crypto.xxh128(part)
            if found is not None and found != commit.record["rows_xxh3"]:
                self.say(f"manifest.ndjson: commit {commit.number}: xxh3 is {found}")
            before = len(self.rows)
            self.parse_rows(part, commit.begin, commit)
            self.check_commit(commit, self.rows[before:])

    def check_commit(self, commit, rows):
        say = lambda what: self.say(f"commit {commit.number}: {what}")
        if len(rows) != commit.devices:
            say(f"{len(rows)} rows for {commit.devices} devices")
        if sorted(r["seq"] for r in rows) != commit.seqs:
            say("its numbers of devices are not those of its rows")
        seen = {}
        for r in rows:
            seen[r["serial"][:16]] = seen.get(r["serial"][:16], 0) + 1
        if set(seen) != commit.prefixes:
            say(f"prefixes {sorted(commit.prefixes ^ set(seen))[:3]}: of it or of its rows only")
        for prefix, n in seen.items():
            reserved = self.journal.prefixes.get(prefix)
            if reserved is None:
                say(f"prefix {prefix} was never reserved")
            elif n > reserved.at_most:
                say(f"prefix {prefix}: {n} certificates, at most {reserved.at_most} were reserved")

    def parse_rows(self, data, offset, commit):
        lines = bytes(data).split(b"\n")
        if lines.pop():
            self.say(f"manifest.ndjson: no row ends at {offset + len(data)}")
        for i, line in enumerate(lines):
            text = line.rstrip(b" ")
            offset += len(line) + 1
            last = i + 1 == len(lines)
            spaces = len(line) - len(text)
            if spaces and (offset % PAGE != 0 or spaces >= PAGE or not (last or commit is None)):
                self.say(f"manifest.ndjson: spaces before {offset}, in the middle of a commit")
            try:
                self.rows.append(Row(json.loads(text), commit, self.journal))
                if list(self.rows[-1].data) != ROW:
                    self.say(f"row {len(self.rows)}: keys {list(self.rows[-1].data)}")
                if b"\\" not in text and text != compact(self.rows[-1].data):
                    self.say(f"row {len(self.rows)}: not in the one form that rows have")
            except DAMAGE as e:
                self.say(f"manifest.ndjson: the row before {offset}: {e!r}")
        if offset % PAGE != 0:
            self.say(f"manifest.ndjson: ends at {offset}, inside a block")

    def check_request(self, ids):
        """The set of devices: those that were asked for, each once."""
        if ids is None:
            ids = expand(self.request)
        start, n = self.request["start"], self.request["devices"]
        if ids is not None and len(ids) != n:
            self.say(f"run.json: {n} devices were asked for, not {len(ids)}")
        seen = {"device_id": set(), "seq": set(), "serial": set(), "spki_sha256": set(), "certificate_id": set()}
        # What two devices shared may have been why they were condemned; nobody may have it after them.
        for r in sorted(self.rows, key=lambda r: not r.condemned):
            for key, values in seen.items():
                if r.superseded and key in ("device_id", "seq"):
                    continue
                if r[key] in values and not r.condemned:
                    self.say(f"{r}: {key} {r[key]} for the second time")
                values.add(r[key])
            i = r["seq"] - start
            if not 0 <= i < n or (ids is not None and (i >= len(ids) or r["device_id"] != ids[i])):
                self.say(f"{r}: number {r['seq']} was not asked for with this id")
        newest = {r["seq"]: r for r in self.rows}
        for r in self.rows:
            if r.superseded and (newest[r["seq"]] is r or newest[r["seq"]]["device_id"] != r["device_id"]):
                self.say(f"{r}: superseded, and no row took its place")

    # --- what lies where -----------------------------------------------------------------------------------------

    def check_names(self):
        for name in self.list("."):
            base = name[:-5] if name.endswith(".part") else name
            if base not in NAMES or (base != name and self.settled):
                self.say(f"{name}: has no business here")
        if os.path.isdir(self.where("keys")):
            self.mode("keys", 0o700)

    def key_state(self, unit):
        """Of the keys in a segment or shard: 'there', 'gone', or 'going' while a purge is under way."""
        if self.journal is None or unit >= self.journal.purged_before:
            return "there"
        return "going" if self.journal.is_purging else "gone"

    def check_layout(self):
        for top in ("chains", "keys"):
            if top == "chains" or os.path.isdir(self.where("keys")) or not self.keys_all_gone():
                (self.check_tars if self.request["layout"] == "tar" else self.check_shards)(top)

    def keys_all_gone(self):
        return self.journal is not None and self.journal.purged_before > max(self.journal.units, default=-1)

    def purged_name(self, top, name):
        """Is it of a segment or shard whose keys are purged? Once that is done it must not be there."""
        state = self.key_state(int(os.path.basename(name)[:6])) if top == "keys" and name[5:11].isdigit() else "there"
        if state == "gone" and any(os.path.lexists(self.where(n)) for n in (name, name + ".part")):
            self.say(f"{name}: its keys were purged, and it is there")
        return state != "there"

    def places(self, top):
        """segment or shard -> [(row, place)] in the order of the rows"""
        column = top[:-1] if top == "keys" else "chain"
        found = {}
        for r in self.rows:
            place = r[column]
            if list(place) != PLACE[self.request["layout"]]:
                raise ValueError(f"{r}: {column} with the keys {list(place)}")
            name = place["segment"] if "segment" in place else os.path.dirname(place["path"])
            found.setdefault(name, []).append((r, place))
        return found

    def check_tars(self, top):
        places = self.places(top)
        units = {f"{top}/{n:06}.tar": octets[top == "keys"] for n, octets in self.journal.units.items()} \
            if self.journal else dict.fromkeys(places)
        for name in self.list(top):
            final = name[:-5] if name.endswith(".part") else name
            self.mode(f"{top}/{name}", 0o600 if top == "keys" else 0o644)
            if f"{top}/{final}" not in units and (self.settled or final == name):
                self.say(f"{top}/{name}: nothing in it is committed")
        for name in set(places) - set(units):
            self.say(f"{name}: rows name it, and no commit")
        for name, committed in units.items():
            if self.purged_name(top, name):
                continue
            # Around what a repair has condemned anything may be broken; each of the other devices is looked at later.
            spared = len(self.findings) if any(r.condemned for r, _ in places.get(name, [])) else None
            try:
                self.check_tar(top, name, committed, places.get(name, []))
            except DAMAGE as e:
                self.say(f"{name}: {e}")
            if spared is not None:
                del self.findings[spared:]

    def check_tar(self, top, name, committed, places):
        found = self.segment(name)
        if found is None:
            raise ValueError("missing")
        data, final = found
        if committed is None:
            committed = len(data) - PAGE
        if len(data) < committed:
            raise ValueError(f"{len(data)} octets, {committed} are committed")
        if not final and self.settled:
            self.say(f"{name}: still .part, and the run ended")
        if final and data[committed:] != bytes(PAGE):
            self.say(f"{name}: does not end as an archive ends, {PAGE} octets behind the committed {committed}")
        entries = tar_entries(data, committed, 0o600 if top == "keys" else 0o644, epoch(self.run["created_at"]))
        want = {p["offset"]: (encoded(r["device_id"]) + SUFFIX[top], p["length"], r) for r, p in places}
        if len(want) != len(places):
            self.say(f"{name}: two rows name the same octets")
        for offset, entry, length in entries:
            row = want.pop(offset, None)
            if row is None:
                self.say(f"{name}: no row names {entry} at {offset}")
            elif row[:2] != (entry, length):
                self.say(f"{name}: {entry} of {length} octets at {offset}, and the row says {row[0]}, {row[1]}")
            elif self.journal and row[2].commit:
                self.check_unit(row[2], name, top, offset + length)
        for offset, row in want.items():
            self.say(f"{name}: the row of {row[0]} names {offset}, where no entry is")
        if top == "keys":
            chains = [(p["segment"].replace("chains/", "keys/"), r["device_id"]) for r, p in places_of(self, name)]
            if [d for _, d in chains] != [r["device_id"] for r, _ in sorted(places, key=lambda x: x[1]["offset"])]:
                self.say(f"{name}: not the devices of its chains, in their order")

    def check_unit(self, row, name, top, end):
        """A device's octets are within what its commit says that it wrote."""
        octets = row.commit.units.get(int(name.split("/")[1][:6]))
        if octets is None or end > octets[top == "keys"]:
            self.say(f"{row}: its commit {row.commit.number} does not cover {end} in {name}")

    def check_shards(self, top):
        places = self.places(top)
        units = {f"{top}/{n:06}" for n in self.journal.units} if self.journal else set(places)
        if set(places) != units:
            self.say(f"{top}: shards {sorted(set(places) ^ units)[:3]} of rows only, or of commits only")
        for shard in self.list(top):
            name = f"{top}/{shard}"
            if name not in places and self.settled:
                self.say(f"{name}: nothing in it is committed")
            if top == "keys":
                self.mode(name, 0o700)
        for name, rows in places.items():
            if self.purged_name(top, name):
                continue
            condemned = {os.path.basename(p["path"]) for r, p in rows if r.condemned}
            there = name if os.path.isdir(self.where(name)) else name + ".part"
            if len(condemned) == len(rows) and not os.path.isdir(self.where(there)):
                continue
            if there != name:
                self.say(f"{name}: {'still .part' if os.path.isdir(self.where(there)) else 'missing'}")
            want = {os.path.basename(p["path"]) for _, p in rows}
            found = self.list(there)
            if len(want) != len(rows) or set(found) | condemned != want:
                self.say(f"{name}: {sorted(set(found) ^ want)[:3]} there only, or in rows only")
            if len(found) > SHARD_DEVICES:
                self.say(f"{name}: {len(found)} devices")
            for r, p in rows:
                if p["path"] != f"{name}/{encoded(r['device_id'])}{SUFFIX[top]}":
                    self.say(f"{r}: path {p['path']}")
                self.mode(p["path"], 0o600 if top == "keys" else 0o644)
            if self.journal and any(int(name[-6:]) not in r.commit.units for r, _ in rows):
                self.say(f"{name}: of another commit than its rows")

    # --- devices -------------------------------------------------------------------------------------------------

    def check_devices(self, signatures):
        sound = [r for r in self.rows if not r.condemned]
        signed = set(_rng.sample(range(len(sound)), min(signatures, len(sound))))
        for i, row in enumerate(sound):
            try:
                cert = self.check_bundle(row)
                self.check_row(row, cert)
                if i in signed and not crypto.signed_by(cert, self.ca):
                    self.say(f"{row}: the CA did not sign its certificate")
                if self.key_state(unit_of(row["key"])) == "there":
                    self.check_key(row, cert)
                if not row.superseded:
                    self.certs[row["device_id"]] = cert
            except DAMAGE as e:
                self.say(f"{row}: {e}")

    def stored(self, row, column):
        place = row[column]
        data = self.at(place)
        if data is None:
            raise ValueError(f"{column}: missing or short")
        if len(data) != place["length"] or hashlib.sha256(data).hexdigest() != place["sha256"]:
            raise ValueError(f"{column}: other octets than the row says")
        if crypto.xxh128(data) not in (None, place["xxh3"]):
            raise ValueError(f"{column}: another xxh3 than the row says")
        return data

    def check_bundle(self, row):
        data = self.stored(row, "chain")
        if self.request["encoding"] == "der":
            blocks = crypto.ders(data)
        else:
            if not data.endswith(self.ca_pem):
                raise ValueError("chain: does not end with ca.pem")
            leaf = crypto.unpem(data[:-len(self.ca_pem)])
            if [label for label, _ in leaf] != [b"CERTIFICATE"]:
                raise ValueError("chain: not one certificate before the CA's")
            blocks = [leaf[0][1], *self.chain_der]
        if len(blocks) < 2 or blocks[1:] != self.chain_der:
            raise ValueError("chain: not the CA's behind the leaf")
        return crypto.Certificate(blocks[0])

    def check_row(self, row, cert):
        run, request = self.run, self.request
        serial = cert.serial.hex()
        want = {"run_id": run["run_id"], "lot": request["lot"], "sku": request["sku"], "order": request["order"],
                "profile": request["profile"], "certificate_id": cert.certificate_id,
                "ca_certificate_id": run["ca"]["certificate_id"], "serial": serial, "serial_dec": str(int(serial, 16)),
                "key_alg": crypto.key_name(cert.spki), "sig_alg": cert.sig_alg(),
                "spki_sha256": hashlib.sha256(cert.spki).hexdigest(), "ski": cert.ski,
                "thumbprint_sha1": hashlib.sha1(cert.der).hexdigest(), "not_before": cert.not_before,
                "not_after": cert.not_after, "superseded_by": None}
        for key, value in want.items():
            if row[key] != value and not (key in ("lot", "sku", "order") and row["attributes"]):
                self.say(f"{row}: {key} {row[key]}, and it is {value}")
        if len(cert.serial) != 20 or not fleet_journal.PREFIX.match(serial[:16]):
            self.say(f"{row}: serial {serial}")
        if cert.issuer != self.ca.subject:
            self.say(f"{row}: issued by another name than the CA's")
        if (row["key_alg"], row["sig_alg"], cert.not_before, cert.not_after) != (
                request["key"], request["signature"], request["not_before"], request["not_after"]):
            self.say(f"{row}: key, signature or validity are not those of the request")
        if list(row["attributes"]) != (request["columns"] or []) or \
                not all(isinstance(v, str) for v in row["attributes"].values()) or \
                (request["columns"] and row["attributes"][request["id_column"]] != row["device_id"]):
            self.say(f"{row}: attributes {row['attributes']}, and the list has {request['columns']}")
        if not fleet_journal.TIME.match(row["minted_at"]) or row["minted_at"] < run["created_at"]:
            self.say(f"{row}: minted at {row['minted_at']}")

    def check_key(self, row, cert):
        data = self.stored(row, "key")
        if self.request["encoding"] == "der":
            old = self.request["key_format"] == "traditional"
            family = {"P": b"EC ", "R": b"RSA "}.get(crypto.key_name(cert.spki)[0], b"") if old else b""
            blocks = [(family + b"PRIVATE KEY", data)]
        else:
            blocks = crypto.unpem(data)
        if len(blocks) != 1 or not crypto.key_matches(*blocks[0], cert.spki):
            raise ValueError("the private key is not that of the certificate")

    def ask_openssl(self, n):
        chosen = _rng.sample(sorted(self.certs), min(n, len(self.certs)))
        if not chosen:
            return
        with tempfile.TemporaryDirectory(prefix="certmill-openssl-") as place:
            for i, device in enumerate(chosen):
                with open(f"{place}/{i}.crt", "wb") as f:
                    f.write(crypto.pem(b"CERTIFICATE", self.certs[device].der))
            done = subprocess.run(["openssl", "verify", "-x509_strict", "-partial_chain", "-trusted",
                                   os.path.realpath(self.where("ca.pem")), *(f"{i}.crt" for i in range(len(chosen)))],
                                  cwd=place, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)
            if done.returncode != 0:
                self.say(f"openssl refuses one of {chosen[:5]}: {done.stderr.decode(errors='replace')[:500]}")

    # --- what was there before -----------------------------------------------------------------------------------

    def snapshot(self):
        self.rows, self.settled = [], False
        data = self.read("journal", b"")
        complaints = []
        j = self.journal = fleet_journal.Journal(data, self.read("burned.ndjson", b""), complaints.append)
        snap = {"journal": (j.good, sha(data[:j.good])), "commits": len(j.commits), "devices": j.devices,
                "attempts": len(j.attempts), "is_open": j.is_open, "segments": {}, "bundles": {}}
        snap["burned"] = (j.burned_bytes, sha(self.read("burned.ndjson", b"")[:j.burned_bytes]))
        if j.run is None:
            return snap
        self.request = j.run["request"]
        if self.keys_path is None:
            self.keys_path = self.request["keys_dir"]
        manifest = self.read("manifest.ndjson", b"")[:j.committed]
        snap["manifest"] = (j.committed, sha(manifest))
        for line in bytes(manifest).split(b"\n")[:-1]:
            row = json.loads(line)
            for column in ("chain", "key"):
                if row[column] is not None:
                    snap["bundles"][row["certificate_id"], column] = row[column], sha(self.at(row[column]))
        if self.request["layout"] == "tar":
            for number, octets in j.units.items():
                for top, n in zip(("chains", "keys"), octets):
                    found = self.segment(f"{top}/{number:06}.tar")
                    snap["segments"][f"{top}/{number:06}.tar"] = n, found and sha(found[0][:n])
        return snap

    def compare(self, before):
        if before is None:
            return
        for name in ("journal", "manifest", "burned"):
            octets, was = before.get(name, (0, sha(b"")))
            file = {"journal": "journal", "manifest": "manifest.ndjson", "burned": "burned.ndjson"}[name]
            if sha(self.read(file, b"")[:octets]) != was:
                self.say(f"{file}: the {octets} octets that were committed before are not the same")
        for name, (octets, was) in before["segments"].items():
            if name.startswith("keys/") and self.key_state(int(name[5:11])) != "there":
                continue
            found = self.segment(name)
            if was is None or found is None or sha(found[0][:octets]) != was:
                self.say(f"{name}: the {octets} octets that were committed before are not the same")
        rows = {r["certificate_id"]: r for r in self.rows}
        for (certificate, column), (place, was) in before["bundles"].items():
            row = rows.get(certificate)
            if row is None or row[column] != place:
                self.say(f"certificate {certificate} was committed, and no row has it there now")
            elif column == "key" and self.key_state(unit_of(place)) != "there":
                continue
            elif was is None or sha(self.at(place)) != was:
                self.say(f"{row}: its committed {column} has changed")


class Row:
    """A row; commit: that it came with. superseded: another took its place; condemned: because of damage."""

    def __init__(self, data, commit, journal):
        self.data, self.commit = data, commit
        why = journal.superseded_by(data["seq"], commit.number) if journal and commit else []
        self.superseded, self.condemned = bool(why), "repair" in why

    def __getitem__(self, key):
        return self.data[key]

    def __str__(self):
        return f"device {self.data.get('device_id')}"


_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def compact(row):
    return _encoder.encode(row).encode()


def sha(data):
    return None if data is None else hashlib.sha256(data).hexdigest()


def epoch(rfc3339):
    return calendar.timegm(time.strptime(rfc3339, "%Y-%m-%dT%H:%M:%SZ"))


def places_of(fleet, keys_name):
    """The chain places of a key segment's number, in the order of their offsets."""
    found = fleet.places("chains").get(keys_name.replace("keys/", "chains/"), [])
    return sorted(found, key=lambda x: x[1]["offset"])


def unit_of(place):
    """Number of the segment or shard."""
    return int((place.get("segment") or place["path"]).split("/")[1][:6])


def octal(field):
    return int(field.rstrip(b"\0 ") or b"0", 8)


def tar_entries(data, end, mode, mtime):
    """[(offset of the data, name, length)] of the device entries up to end; every octet is accounted for."""
    found, at, like = [], 0, None
    while at < end:
        h = data[at:at + 512]
        size = octal(h[124:136])
        after = at + 512 + (size + 511) // 512 * 512
        if len(h) < 512 or octal(h[148:156]) != sum(h) - sum(h[148:156]) + 8 * 32 or after > end:
            raise ValueError(f"no sound tar header at {at}")
        if any(data[at + 512 + size:after]):
            raise ValueError(f"octets behind the entry at {at}")
        kind, name = h[156:157], h[:100].rstrip(b"\0").decode("ascii")
        if h[257:265] != b"ustar\x0000" or any(h[157:257]) or any(h[265:329]) or any(h[345:512]):
            raise ValueError(f"the header at {at} is not plain ustar")
        if kind == b"g":
            check_padding(data, at, name, size, after)
        elif kind == b"0":
            rest = h[100:124] + h[136:148] + h[329:345]
            if like is None and (octal(h[100:108]), octal(h[108:116]), octal(h[116:124]), octal(h[136:148])) != (
                    mode, 0, 0, mtime):
                raise ValueError(f"mode, owner or time of the entry at {at}")
            if like not in (None, rest):
                raise ValueError(f"the entry at {at} differs from the first in more than name and size")
            like = rest
            found.append((at + 512, name, size))
        else:
            raise ValueError(f"an entry of type {kind} at {at}")
        at = after
    return found


def check_padding(data, at, name, size, after):
    text = data[at + 512:at + 512 + size]
    head = b"%d comment=" % size
    if name != "pax_global_header" or text != head + b" " * (size - len(head) - 1) + b"\n":
        raise ValueError(f"padding at {at} in another form")
    if not 1024 <= after - at <= 4608:
        raise ValueError(f"padding from {at} to {after}")


def main():
    p = argparse.ArgumentParser(description="Checks a run directory against docs/formats.md.")
    p.add_argument("directory")
    p.add_argument("--ids", help="file with the ids that were asked for, a line each")
    p.add_argument("--ca", help="the CA's certificate and chain")
    p.add_argument("--keys", help="where the private keys are")
    p.add_argument("--openssl", type=int, default=0, metavar="N", help="openssl judges so many certificates")
    p.add_argument("--ended", action="store_true", help="the run must have ended by itself")
    p.add_argument("--no-journal", action="store_true", help="the fleet has none")
    a = p.parse_args()
    ids = None
    if a.ids:
        with open(a.ids, encoding="utf-8") as f:
            ids = f.read().splitlines()
    found = check(a.directory, ids, a.ca, not a.no_journal, a.openssl, None, a.ended or None, a.keys, 1 << 30)
    print("\n".join(found) or "nothing found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
