"""The journal and burned.ndjson, read from what docs/formats.md says and nothing else: for check_fleet.py and for
tests that look at what a killed run had committed."""

import hashlib
import json
import re

SECTOR = 512
PAGE = 4096
TYPES = {
    "run": ["version", "run_id", "created_at", "engine", "libcrypto", "request", "ca", "profile_text", "options"],
    "attempt": ["attempt", "command", "started_at", "burned_bytes", "discarded"],
    "reserve": ["first", "at_most", "prefixes"],
    "commit": ["commit", "devices", "manifest_bytes", "rows_xxh3", "units", "seqs", "prefixes", "reserve"],
    "end": ["state", "signatures", "unused", "burned_bytes", "ended_at"],
    "supersede": ["reason", "seqs"],
    "purge": ["state", "before", "purged_at"],
}
COMMANDS = ("mint", "resume", "repair", "reissue")
STATES = ("complete", "stopped", "failed")
BURNED = ["run_id", "attempt", "prefix", "number", "signed", "at_most", "reason", "burned_at"]
TIME = re.compile(r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\dZ\Z")
PREFIX = re.compile(r"(?:0[1-9a-f]|[1-7][0-9a-f])[0-9a-f]{14}\Z")
RECORD = re.compile(rb'[0-9a-f]{64} \{"record":')


def read(data):
    """(records, octets of the good ones, why the rest is not one, whether records seem to follow the damage)"""
    records, at, before = [], 0, bytes(32)
    why = None
    while at < len(data) and why is None:
        end = data.find(b"\n", at) + 1
        line = data[at:end]
        if end == 0 or len(line) % SECTOR != 0:
            why = "its length is wrong"
        elif hashlib.sha256(before + line[64:]).hexdigest().encode() != line[:64]:
            why = "its hash is wrong"
        else:
            try:
                record = json.loads(line[65:])
            except ValueError:
                record = None
            if line[64:65] != b" " or not isinstance(record, dict) or record.get("record") != len(records):
                why = "its number is wrong"
            elif record.get("type") not in TYPES:
                why = f"it has the unknown type {record.get('type')}"
        if why is None:
            before = bytes.fromhex(line[:64].decode())
            records.append(record)
            at = end
    follow = why is not None and any(RECORD.match(data, i) for i in range(at + SECTOR, len(data), SECTOR))
    return records, at, why, follow


def spread(ranges):
    """The numbers in [[first, last], …], which must ascend."""
    found = []
    for first, last in ranges:
        if first > last or (found and first <= found[-1]):
            raise ValueError(f"ranges {ranges}")
        found.extend(range(first, last + 1))
    return found


class Reserved:
    """A prefix, and where it went: 'commit', 'unused', 'burned' or None yet."""

    def __init__(self, number, prefix, at_most, attempt):
        self.number, self.prefix, self.at_most, self.attempt = number, prefix, at_most, attempt
        self.fate = None


class Commit:
    def __init__(self, record, attempt, begin, devices):
        self.record, self.attempt, self.begin = record, attempt, begin
        self.end, self.devices = record["manifest_bytes"], devices
        self.number, self.seqs, self.numbers = record["commit"], spread(record["seqs"]), spread(record["prefixes"])
        self.units = {number: (chain, key) for number, chain, key in record["units"]}
        self.prefixes = set()  # filled in when they are known to be reserved


class Journal:
    """What the records say, and findings about what they should not say. is_open: the last attempt has not ended."""

    def __init__(self, data, burned, say):
        self.say = say
        self.records, self.good, self.why, self.follow = read(data)
        self.run = None
        self.attempts, self.commits, self.reserved, self.prefixes = [], [], [], {}
        self.minted, self.again = set(), set()  # numbers of devices: committed; asked for again since
        self.asked = []  # (commits before it, numbers, command of its attempt) of each supersede record
        self.rows_superseded = self.purged_before = 0
        self.is_open = self.is_done = self.is_purging = False
        self.end = None
        self.committed = self.devices = self.burned_bytes = 0
        self.units = {}  # number -> (chain octets, key octets), as last committed
        self._now = 0  # number of the record at hand
        self.burned_data = burned
        self._burned_read = 0
        self.burned = []
        for record in self.records:
            self._one(record)
        if self.records and self.run is None:
            say("journal: the first record is no run")

    def _complain(self, what):
        self.say(f"journal, record {self._now}: {what}")

    def _one(self, record):
        self._now = record["record"]
        kind = record["type"]
        if list(record) != ["record", "type", *TYPES[kind]]:
            self._complain(f"a {kind} with the keys {list(record)}")
            return
        if (kind == "run") != (self._now == 0):
            self._complain(f"a {kind} here")
        try:
            getattr(self, "_" + kind)(record)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as e:
            self._complain(f"a {kind} that makes no sense: {e!r}")

    def _run(self, r):
        self.run = r
        if r["version"] != 1 or not TIME.match(r["created_at"]):
            self._complain("version or time")

    def _attempt(self, r):
        self._account(r["burned_bytes"], "at the start of an attempt")
        if r["attempt"] != len(self.attempts) + 1 or r["command"] not in COMMANDS:
            self._complain(f"attempt {r['attempt']}, {r['command']}")
        # A run that was killed between its first two records begins with its resume.
        if (r["command"] == "mint") != (not self.attempts) and (self.attempts or r["command"] != "resume"):
            self._complain(f"{r['command']} as attempt {r['attempt']}")
        if self.is_purging:
            self._complain("an attempt while the keys are being purged")
        # A run that was killed between its end and run.json has something to do, but nothing to mint.
        self.is_done = r["command"] == "resume" and not self.is_open and self.end and self.end["state"] == "complete"
        if not TIME.match(r["started_at"]) or not isinstance(r["discarded"], list):
            self._complain("time or discarded")
        self.attempts.append({"record": r, "signatures": None, "rows": 0})
        self.is_open = True

    def _reserve(self, r):
        self._in_attempt("reserve")
        self._take(r)

    def _take(self, r):
        if r["first"] != len(self.reserved) or not r["prefixes"] or r["at_most"] < 1:
            self._complain(f"reserves from {r['first']}, when {len(self.reserved)} were reserved")
        for prefix in r["prefixes"]:
            if not PREFIX.match(prefix) or prefix in self.prefixes:
                self._complain(f"prefix {prefix} is not one, or is there twice")
            self.prefixes[prefix] = Reserved(len(self.reserved), prefix, r["at_most"], len(self.attempts))
            self.reserved.append(self.prefixes[prefix])

    def _commit(self, r):
        self._in_attempt("commit")
        devices = r["devices"] - self.devices
        c = Commit(r, len(self.attempts), self.committed, devices)
        if c.number != len(self.commits) + 1 or devices <= 0 or c.end <= c.begin or c.end % PAGE != 0:
            self._complain("number, devices or octets of the commit")
        if len(c.seqs) != devices or not c.units:
            self._complain(f"{devices} devices, and {len(c.seqs)} numbers of them in {len(c.units)} units")
        for seq in c.seqs:
            if seq in self.minted and seq not in self.again:
                self._complain(f"device number {seq} for the second time")
            self.rows_superseded += seq in self.again
            self.again.discard(seq)
            self.minted.add(seq)
        for number in c.numbers:
            c.prefixes.add(self._goes(number, "commit", "committed"))
        for number, octets in c.units.items():
            old = self.units.get(number, (0, 0))
            if any(new < was or new % PAGE for new, was in zip(octets, old)):
                self._complain(f"unit {number} went from {old} to {octets} octets")
            self.units[number] = octets
        self.committed, self.devices = c.end, r["devices"]
        self.attempts[-1]["rows"] += devices
        self.commits.append(c)
        if r["reserve"] is not None:
            if list(r["reserve"]) != TYPES["reserve"]:
                self._complain(f"reserve with the keys {list(r['reserve'])}")
            self._take(r["reserve"])

    def _end(self, r):
        self._in_attempt("end")
        for number in spread(r["unused"]):
            self._goes(number, "unused", "unused")
        self._account(r["burned_bytes"], "at the end of an attempt")
        if r["state"] not in STATES or not TIME.match(r["ended_at"]):
            self._complain("state or time")
        if r["state"] == "complete" and self.again:
            self._complain(f"complete, and devices wait for new certificates: {sorted(self.again)[:3]}")
        attempt = self.attempts[-1]
        attempt["signatures"] = r["signatures"]
        signed = sum(b["signed"] or 0 for b in self.burned if b["attempt"] == len(self.attempts))
        if r["signatures"] != attempt["rows"] + signed:
            self._complain(f"{r['signatures']} signatures in the attempt, {attempt['rows']} rows, {signed} burned")
        self.is_open, self.end = False, r

    def _supersede(self, r):
        self._in_attempt("supersede")
        if self.attempts[-1]["record"]["command"] not in ("reissue", "repair"):
            self._complain("supersede in a " + self.attempts[-1]["record"]["command"])
        seqs = set(spread(r["seqs"]))
        if not seqs or not seqs <= self.minted or seqs & self.again:
            self._complain("supersede of devices that have no certificate, or wait for one")
        self.again |= seqs
        self.asked.append((len(self.commits), seqs, self.attempts[-1]["record"]["command"]))

    def superseded_by(self, seq, commit):
        """Of the row of a device that came with a commit: the commands that asked for another in its place, when there is
        one; the last of them may wait for its certificate."""
        asked = [(at, command) for at, seqs, command in self.asked if seq in seqs]
        later = [command for at, command in asked if at >= commit]
        return later[:-1] if seq in self.again else later

    def _purge(self, r):
        begins, end = r["state"] == "begun", max(self.units, default=-1) + 1
        if self.is_open or self.end is None or self.is_purging == begins or r["state"] not in ("begun", "done"):
            self._complain(f"a purge {r['state']} here")
        if not self.purged_before <= r["before"] <= end or (not begins and r["before"] != self.purged_before):
            self._complain(f"a purge of the keys before {r['before']}, of {end} units; {self.purged_before} the last time")
        if not TIME.match(r["purged_at"]):
            self._complain("time of the purge")
        self.purged_before, self.is_purging = r["before"], begins

    def _in_attempt(self, kind):
        if not self.is_open or (self.is_done and kind != "end"):
            self._complain(f"a {kind} outside an attempt, or after the run was complete")

    def _goes(self, number, fate, word):
        """A prefix of this attempt is committed or unused; gives the prefix."""
        p = self.reserved[number]
        if p.fate is not None or p.attempt != len(self.attempts):
            self._complain(f"prefix number {number}, reserved in attempt {p.attempt}, was {p.fate} and is now {word}")
        p.fate = fate
        return p.prefix

    def _account(self, burned_bytes, when):
        """Every prefix reserved so far has gone somewhere; burned.ndjson counts so far."""
        if burned_bytes < self.burned_bytes or burned_bytes > len(self.burned_data):
            self._complain(f"burned_bytes {burned_bytes}, before {self.burned_bytes}, there are {len(self.burned_data)}")
        self.burned_bytes = max(self.burned_bytes, burned_bytes)
        self._read_burned(self.burned_data[self._burned_read:burned_bytes])
        self._burned_read = max(burned_bytes, self._burned_read)
        lost = [p.prefix for p in self.reserved if p.fate is None]
        if lost:
            self._complain(f"{when} {len(lost)} prefixes are neither committed nor unused nor burned: {lost[:3]}")

    def _read_burned(self, text):
        lines = text.split(b"\n")
        if lines.pop():
            self._complain("burned.ndjson: counted up to the middle of a line")
        for line in lines:
            try:
                self._burn(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as e:
                self.say(f"burned.ndjson, line {len(self.burned) + 1}: {e!r}")

    def _burn(self, b):
        where = f"burned.ndjson, line {len(self.burned) + 1}"
        p = self.prefixes.get(b["prefix"])
        if list(b) != BURNED or b["run_id"] != self.run["run_id"] or not TIME.match(b["burned_at"]):
            self.say(f"{where}: keys, run or time")
        if p is None or p.fate is not None:
            self.say(f"{where}: prefix {b['prefix']} was {'never reserved' if p is None else p.fate}")
        elif (b["number"], b["at_most"], b["attempt"]) != (p.number, p.at_most, p.attempt):
            self.say(f"{where}: number, at_most or attempt are not those of the reservation")
        if p is not None:
            p.fate = "burned"
        if b["reason"] not in ("killed", "failed") or (b["reason"] == "killed") != (b["signed"] is None):
            self.say(f"{where}: reason {b['reason']}, signed {b['signed']}")
        elif b["signed"] is not None and not 0 <= b["signed"] <= b["at_most"]:
            self.say(f"{where}: {b['signed']} signed of at most {b['at_most']}")
        self.burned.append(b)
