"""What a run has promised at a point of its record, and whether a resumed fleet keeps it. Reads the fleet with plain
Python, by docs/formats.md, and nothing of certmill."""

import base64
import dataclasses
import hashlib
import json
import os
import re

KNOWN = re.compile(r"(ca\.pem|run\.json|journal|manifest\.ndjson|burned\.ndjson|index|chains|keys"
                   r"|(chains|keys)/\d{6}(\.tar)?|chains/\d{6}/[^/]+\.crt|keys/\d{6}/[^/]+\.key)$")


def journal_records(octets):
    """[(record, offset of its end)] up to the first that is not sound."""
    out, at, chain = [], 0, bytes(32)
    while at < len(octets):
        end = octets.find(b"\n", at) + 1
        if end == 0 or (end - at) % 512 != 0 or octets[at + 64:at + 65] != b" ":
            break
        digest = hashlib.sha256(chain + octets[at + 64:end]).digest()
        if digest.hex().encode() != octets[at:at + 64]:
            break
        try:
            out.append((json.loads(octets[at + 65:end]), end))
        except ValueError:
            break
        chain, at = digest, end
    return out


@dataclasses.dataclass(frozen=True)
class Promise:
    """What must hold after a power cut behind operation `number`."""
    number: int = 0
    committed: int = 0  # octets of the manifest
    signed: int = 0  # certificates that exist by now
    begun: bool = False  # the journal's first record is durable, and so is the journal's name
    ended: bool = False  # the run has said that it is complete

    def key(self):
        return (self.committed, self.signed, self.begun, self.ended)


PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\n(.*?)-----END CERTIFICATE-----\n", re.S)


def serials_in(octets):
    """Of all certificates in there whose serial has 20 octets, as every leaf's has."""
    out = set()
    for m in PEM.finditer(octets):
        try:
            der = base64.b64decode(m.group(1))
        except ValueError:
            continue
        # SEQUENCE, SEQUENCE, [0] version, INTEGER.
        if der[8:15] == b"\xa0\x03\x02\x01\x02\x02\x14":
            out.add(der[15:35].hex())
    return out


class Run:
    """A recorded run that came to its end: its final fleet, and its promises at every place of its log."""

    def __init__(self, ops, fleet, ca_cert):
        with open(f"{fleet}/manifest.ndjson", "rb") as f:
            self.manifest = f.read()
        with open(f"{fleet}/journal", "rb") as f:
            self.journal = journal_records(f.read())
        with open(ca_cert, "rb") as f:
            issuers = serials_in(f.read())
        with open(f"{fleet}/ca.pem", "rb") as f:
            self.ca_pem = f.read()
        self.ops = ops
        # (number, serial): whatever a write contains was signed before it.
        self.signed = [(number, serial) for number, op in enumerate(ops, 1) if op.kind == "write"
                       for serial in serials_in(op.data) - issuers]
        self.promises = self._promises()

    def _promises(self):
        """One for every place: behind the operations 1 … n."""
        journal, home = next(((op.child, op.ino) for op in self.ops if op.kind == "create" and op.name == "journal"),
                             (None, None))
        written, covered, named, sync_at = 0, 0, False, {}
        out = [Promise()]
        for number, op in enumerate(self.ops, 1):
            if op.kind == "write" and op.ino == journal:
                written = max(written, op.offset + len(op.data))
            elif op.kind == "truncate" and op.ino == journal:
                written = min(written, op.offset)
            elif op.kind == "begin":
                sync_at[op.sync] = written
            elif op.kind == "end":
                if op.ino == journal or op.what == "fs":
                    covered = max(covered, sync_at[op.sync])
                # The journal is made before anything is written to it.
                named = named or (sync_at[op.sync] > 0 and (op.ino == home or op.what == "fs"))
            durable = [r["type"] for r, end in self.journal if end <= covered]
            commits = [r for r, end in self.journal if end <= covered and r["type"] == "commit"]
            out.append(Promise(number, commits[-1]["manifest_bytes"] if commits else 0,
                               sum(1 for n, _ in self.signed if n <= number), named and "run" in durable,
                               "end" in durable))
        return out


    def findings(self, fleet, ids, promise):
        signed = [serial for n, serial in self.signed if n <= promise.number]
        return findings(fleet, ids, self.manifest[:promise.committed], signed, self.ca_pem)


def bundle_of(fleet, place, cache):
    path = place.get("segment") or place["path"]
    if path not in cache:
        with open(f"{fleet}/{path}", "rb") as f:
            cache[path] = f.read()
    at = place.get("offset", 0)
    return cache[path][at:at + place["length"]]


def burned_prefixes(fleet):
    try:
        with open(f"{fleet}/burned.ndjson", "rb") as f:
            return {json.loads(line)["prefix"] for line in f.read().splitlines() if line.strip()}
    except FileNotFoundError:
        return set()


def findings(fleet, ids, committed=b"", signed=(), ca_pem=None):
    """What is wrong with a fleet that a run or a resume says is complete; an empty list: nothing. committed: what its
    manifest must begin with; signed: serials that must be accounted for."""
    try:
        return list(_findings(fleet, ids, committed, signed)) + list(_shape(fleet, len(ids), ca_pem))
    except (OSError, ValueError, KeyError, IndexError, TypeError) as e:
        return [f"unreadable: {type(e).__name__}: {e}"]


def _findings(fleet, ids, committed, signed):
    with open(f"{fleet}/manifest.ndjson", "rb") as f:
        manifest = f.read()
    rows = [json.loads(line) for line in manifest.splitlines()]
    if not manifest.startswith(committed):
        yield "committed rows are not what they were"
    have = {r["device_id"] for r in rows}
    if have != ids or len(rows) != len(ids):
        yield f"{len(rows)} rows for {len(ids)} devices; missing {sorted(ids - have)[:3]}, extra {sorted(have - ids)[:3]}"
    for unique in ("serial", "certificate_id", "spki_sha256"):
        if len({r[unique] for r in rows}) != len(rows):
            yield f"a {unique} twice"
    cache = {}
    for r in rows:
        for half in ("chain", "key"):
            if hashlib.sha256(bundle_of(fleet, r[half], cache)).hexdigest() != r[half]["sha256"]:
                yield f"{half} of {r['device_id']} is not what its row says"
    serials, burned = {r["serial"] for r in rows}, burned_prefixes(fleet)
    lost = [s for s in signed if s not in serials and s[:16] not in burned]
    if lost:
        yield f"{len(lost)} signed certificates are neither in the manifest nor burned: {lost[:3]}"
    if any(s[:16] in burned for s in serials):
        yield "a burned prefix is in use"
    listed = {r[half]["segment"] for r in rows for half in ("chain", "key") if "segment" in r[half]}
    segments = {os.path.relpath(os.path.join(where, name), fleet) for where, _, files in os.walk(fleet)
                for name in files if name.endswith(".tar")}
    if segments != listed:
        yield f"segments {sorted(segments ^ listed)[:3]} and rows do not fit"


def _shape(fleet, devices, ca_pem):
    """Of the whole: nothing that does not belong there, archives with an end, files that say that all is done."""
    for where, dirs, files in os.walk(fleet):
        for name in dirs + files:
            path = os.path.relpath(os.path.join(where, name), fleet)
            if not KNOWN.match(path):
                yield f"{path} does not belong here"
            if path.endswith(".tar"):
                yield from _archive_end(fleet, path)
    with open(f"{fleet}/run.json", "rb") as f:
        outcome = json.load(f)["outcome"]
    if outcome is None or outcome["state"] != "complete" or outcome["devices"] != devices:
        yield f"run.json says {outcome}"
    if ca_pem is not None:
        with open(f"{fleet}/ca.pem", "rb") as f:
            if f.read() != ca_pem:
                yield "ca.pem is not what it was"
    with open(f"{fleet}/journal", "rb") as f:
        octets = f.read()
    records = journal_records(octets)
    if not records or records[-1][1] != len(octets):
        yield "the journal has a tail that is not sound"
    elif records[-1][0]["type"] != "end" or records[-1][0]["state"] != "complete":
        yield f"the journal ends with {records[-1][0]['type']}"


def _archive_end(fleet, path):
    with open(f"{fleet}/{path}", "rb") as f:
        octets = f.read()
    if len(octets) % 4096 != 0 or octets[-4096:] != bytes(4096):
        yield f"{path} has no end"
