#!/usr/bin/env python3
"""Goal: check_fleet.py finds each kind of thing that can be wrong with a fleet, and nothing on a sound one. Method: a
fleet of several commits, with prefixes unused and burned; copies of it, each damaged in one way. Where the damage is a
lie that hashes would give away, the hashes are made to fit it, so that the rule itself must find it."""

import hashlib
import json
import os
import shutil
import sys

import e2e_kit as kit
import check_fleet
import fleet_crypto
import fleet_journal

DEVICES, BATCH = 40, 9  # so that batches end in padding


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def edit(path, change):
    write(path, bytes(change(bytearray(read(path)))))


def journal_bytes(records):
    """Records with their numbers, hashes and spaces."""
    out, before = b"", bytes(32)
    for i, record in enumerate(records):
        text = b" " + check_fleet.compact({"record": i, **{k: v for k, v in record.items() if k != "record"}})
        text += b" " * (-(64 + len(text) + 1) % 512) + b"\n"
        digest = hashlib.sha256(before + text)
        before = digest.digest()
        out += digest.hexdigest().encode() + text
    return out


def records_of(fleet):
    return fleet_journal.read(read(f"{fleet}/journal"))[0]


class Rows:
    """A manifest's rows by commit; written back with the journal made to fit: padding, lengths, sums."""

    def __init__(self, fleet):
        self.fleet, self.records, begin = fleet, records_of(fleet), 0
        self.commits = [r for r in self.records if r["type"] == "commit"]
        data, self.parts = read(f"{fleet}/manifest.ndjson"), []
        for c in self.commits:
            self.parts.append([json.loads(line) for line in data[begin:c["manifest_bytes"]].splitlines()])
            begin = c["manifest_bytes"]

    def all(self):
        return [row for part in self.parts for row in part]

    def write(self):
        data = b""
        for c, part in zip(self.commits, self.parts):
            text = b"\n".join(check_fleet.compact(r) for r in part)
            text += b" " * (-(len(text) + 1) % 4096) + b"\n"
            data += text
            c["manifest_bytes"], c["rows_xxh3"] = len(data), fleet_crypto.xxh128(text)
        write(f"{self.fleet}/manifest.ndjson", data)
        write(f"{self.fleet}/journal", journal_bytes(self.records))
        run = json.loads(read(f"{self.fleet}/run.json"))
        run["outcome"]["manifest_bytes"] = len(data)
        write(f"{self.fleet}/run.json", json.dumps(run).encode())


def rows(change):
    """Damage that changes rows and makes journal and run.json fit."""
    def damage(fleet):
        r = Rows(fleet)
        change(r.all())
        r.write()
    return damage


def records(change):
    """Damage that changes the journal's records and makes the hashes fit."""
    def damage(fleet):
        r = records_of(fleet)
        write(f"{fleet}/journal", journal_bytes(change(r) or r))
    return damage


def of(kind, found, nth=0):
    return [r for r in found if r["type"] == kind][nth]


def octets(name, change):
    def damage(fleet):
        path = f"{fleet}/{name}"
        edit(path, lambda data: data if (changed := change(data)) is None else changed)
    return damage


def flip(at):
    def change(data):
        data[at] ^= 4
    return change


def place_path(fleet, place):
    return f"{fleet}/{place.get('segment') or place['path']}"


def put(fleet, row, column, data):
    """Other octets of the same length, with the row's sums made to fit."""
    place = row[column]
    assert len(data) == place["length"]
    def change(old):
        at = place.get("offset", 0)
        old[at:at + len(data)] = data
        return old
    edit(place_path(fleet, place), change)
    place["sha256"], place["xxh3"] = hashlib.sha256(data).hexdigest(), fleet_crypto.xxh128(data)


def get(fleet, row, column):
    place = row[column]
    at = place.get("offset", 0)
    return read(place_path(fleet, place))[at:at + place["length"]]


def swap_keys(fleet):
    r = Rows(fleet)
    a, b = r.all()[3], r.all()[30]
    one, other = get(fleet, a, "key"), get(fleet, b, "key")
    put(fleet, a, "key", other)
    put(fleet, b, "key", one)
    r.write()


def another_key(fleet):
    """A scalar that is not that of the public key which stands beside it."""
    r = Rows(fleet)
    row = r.all()[7]
    (label, der), = fleet_crypto.unpem(get(fleet, row, "key"))
    at = der.index(b"\x02\x01\x01\x04\x20") + 5
    der = der[:at + 31] + bytes([der[at + 31] ^ 1]) + der[at + 32:]
    put(fleet, row, "key", fleet_crypto.pem(label, der))
    r.write()


def another_leaf(change):
    """A leaf that is changed, with every sum made to fit."""
    def damage(fleet):
        r = Rows(fleet)
        row = r.all()[11]
        text = get(fleet, row, "chain")
        end = text.index(b"-----END CERTIFICATE-----\n") + 26
        der = bytearray(fleet_crypto.unpem(text[:end])[0][1])
        change(der, row)
        der = bytes(der)
        put(fleet, row, "chain", fleet_crypto.pem(b"CERTIFICATE", der) + text[end:])
        row["certificate_id"], row["thumbprint_sha1"] = hashlib.sha256(der).hexdigest(), hashlib.sha1(der).hexdigest()
        r.write()
    return damage


def bad_signature(der, _):
    der[-1] ^= 1


def bad_issuer(der, _):
    at = der.index(b"Checked CA")
    der[at] ^= 1


def double_serial(fleet):
    r = Rows(fleet)
    row = r.all()[0]
    def change(der, other):
        serial = bytes.fromhex(row["serial"])
        at = bytes(der).index(bytes.fromhex(other["serial"]))
        der[at:at + 20] = serial
        other["serial"], other["serial_dec"] = row["serial"], row["serial_dec"]
    another_leaf(change)(fleet)


def drop_row(found):
    """The last device vanishes: from rows, counts and journal."""
    def damage(fleet):
        r = Rows(fleet)
        row = r.parts[-1].pop()
        last = r.commits[-1]
        last["devices"] -= 1
        last["seqs"] = ranges(set(fleet_journal.spread(last["seqs"])) - {row["seq"]})
        of("end", r.records, -1)["signatures"] -= 1
        r.write()
        run = json.loads(read(f"{fleet}/run.json"))
        run["outcome"]["devices"] -= 1
        write(f"{fleet}/run.json", json.dumps(run).encode())
        if found == "tree":
            for column in ("chain", "key"):
                os.unlink(place_path(fleet, row[column]))
    return damage


def ranges(numbers):
    out = []
    for n in sorted(numbers):
        if out and out[-1][1] == n - 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return out


# --- a fleet with a history ----------------------------------------------------------------------------------------

def with_history(fleet, batch):
    """Gives a fleet of one attempt a journal as if the first attempt had been killed: a commit a batch, prefixes burned
    and unused. Only the journal, the padding of the manifest and run.json are made up."""
    run = json.loads(read(f"{fleet}/run.json"))
    found = [json.loads(line) for line in read(f"{fleet}/manifest.ndjson").splitlines()]
    parts, tar = [found[i:i + batch] for i in range(0, len(found), batch)], run["request"]["layout"] == "tar"
    spare = iter(f"7f{i:014x}" for i in range(100))
    order, after = [], run["created_at"]
    order.append({"type": "run", "version": 1, **{k: run[k] for k in (
        "run_id", "created_at", "engine", "libcrypto", "request", "ca")}, "profile_text": "", "options": []})
    order.append(attempt(1, "mint", 0, after))
    burned, devices, number = [], 0, 0
    for i, part in enumerate(parts):
        if i == len(parts) // 2:
            lost = [next(spare) for _ in range(3)]
            order.append(reserve(number, batch, lost))
            burned = [{"run_id": run["run_id"], "attempt": 1, "prefix": p, "number": number + k, "signed": None,
                       "at_most": batch, "reason": "killed", "burned_at": after} for k, p in enumerate(lost)]
            number += len(lost)
            order.append(attempt(2, "resume", sum(len(check_fleet.compact(b)) + 1 for b in burned), after))
        devices += len(part)
        prefix = [part[0]["serial"][:16]]
        order.append(reserve(number, batch, prefix))
        order.append({"type": "commit", "commit": i + 1, "devices": devices, "manifest_bytes": 0, "rows_xxh3": "",
                      "units": units(fleet, found[:devices]) if tar else [[i, 0, 0]],
                      "seqs": ranges({r["seq"] for r in part}), "prefixes": [[number, number]], "reserve": None})
        number += 1
    order.append(reserve(number, batch, [next(spare), next(spare)]))
    text = b"".join(check_fleet.compact(b) + b"\n" for b in burned)
    failed = {"run_id": run["run_id"], "attempt": 2, "prefix": order[-1]["prefixes"][1], "number": number + 1,
              "signed": 5, "at_most": batch, "reason": "failed", "burned_at": after}
    text += check_fleet.compact(failed) + b"\n"
    second = sum(len(p) for i, p in enumerate(parts) if i >= len(parts) // 2)
    order.append({"type": "end", "state": "complete", "signatures": second + 5, "unused": [[number, number]],
                  "burned_bytes": len(text), "ended_at": run["outcome"]["ended_at"]})
    if not tar:
        reshard(fleet, parts)
    write(f"{fleet}/burned.ndjson", text)
    write(f"{fleet}/journal", journal_bytes(order))
    rewrite(fleet, order, parts)


def rewrite(fleet, order, parts):
    r = Rows.__new__(Rows)
    r.fleet, r.records, r.parts = fleet, order, parts
    r.commits = [x for x in order if x["type"] == "commit"]
    r.write()


def attempt(n, command, burned_bytes, when):
    return {"type": "attempt", "attempt": n, "command": command, "started_at": when, "burned_bytes": burned_bytes,
            "discarded": []}


def reserve(first, at_most, prefixes):
    return {"type": "reserve", "first": first, "at_most": at_most, "prefixes": prefixes}


def units(fleet, rows_so_far):
    """Up to where the octets of these rows reach: the end of the last entry's batch, on a page."""
    out = []
    for column in ("chain", "key"):
        last = rows_so_far[-1][column]
        data, end = read(f"{fleet}/{last['segment']}"), last["offset"] + (last["length"] + 511) // 512 * 512
        if end % 4096 and data[end + 156:end + 157] == b"g":
            end += 512 + (int(data[end + 124:end + 135], 8) + 511) // 512 * 512
        out.append(end)
    return [[int(rows_so_far[-1]["chain"]["segment"][7:13]), *out]]


def reshard(fleet, parts):
    """A shard a part."""
    for i, part in enumerate(parts):
        for column, top, mode in (("chain", "chains", 0o755), ("key", "keys", 0o700)):
            shard = f"{fleet}/{top}/{i:06}"
            os.makedirs(shard + ".new", mode)
            for row in part:
                name = os.path.basename(row[column]["path"])
                os.rename(place_path(fleet, row[column]), f"{shard}.new/{name}")
                row[column]["path"] = f"{top}/{i:06}/{name}"
    for top in ("chains", "keys"):
        for i in range(len(parts)):
            if i == 0:
                os.rmdir(f"{fleet}/{top}/000000")
            os.rename(f"{fleet}/{top}/{i:06}.new", f"{fleet}/{top}/{i:06}")


# --- damage --------------------------------------------------------------------------------------------------------

def sets(key, value):
    return rows(lambda all_rows: all_rows[5].__setitem__(key, value))


def damages(kind):
    """(title, word that a finding must hold, damage)"""
    yield from row_damages()
    yield from journal_damages()
    yield from file_damages()
    yield from tar_damages() if kind == "tar" else tree_damages()
    yield "a swapped pair of keys", "private key", swap_keys
    yield "a scalar of another key", "private key", another_key
    yield "a signature of nobody", "did not sign", another_leaf(bad_signature)
    yield "another issuer", "issued by", another_leaf(bad_issuer)
    yield "a serial for the second time", "second time", double_serial
    yield "a device lost", "39 of 40", drop_row(kind)


def row_damages():
    wrong = {"run_id": "00000000-0000-4000-8000-000000000000", "seq": 41, "device_id": "SN00000001", "lot": "x", "sku": "x",
             "order": "x", "profile": "x", "certificate_id": "0" * 64, "ca_certificate_id": "0" * 64, "serial": "01" * 20,
             "serial_dec": "1", "key_alg": "P-384", "sig_alg": "Ed25519", "spki_sha256": "0" * 64, "ski": None,
             "thumbprint_sha1": "0" * 40, "not_before": "2020-01-01T00:00:00Z", "not_after": "2030-01-01T00:00:00Z",
             "minted_at": "2020-01-01T00:00:00Z", "superseded_by": "0" * 64}
    for key, value in wrong.items():
        yield f"row: {key}", "SN0000000" if key != "seq" else "number 41", sets(key, value)
    for column in ("chain", "key"):
        for key, value in (("length", 5), ("xxh3", "0" * 32), ("sha256", "0" * 64)):
            yield f"row: {column}.{key}", "", rows(lambda r, c=column, k=key, v=value: r[5][c].__setitem__(k, v))
        yield f"row: {column} of another device", "", rows(lambda r, c=column: r[5].__setitem__(c, r[6][c]))
    yield "row: keys in another order", "keys [", rows(lambda r: r[5].__setitem__("lot", r[5].pop("lot")))
    yield "row: white space", "one form", octets("manifest.ndjson", lambda d: d.replace(b'"seq":2,', b'"seq": 2,', 1))
    yield "manifest: an octet", "xxh3", octets("manifest.ndjson", lambda d: d.replace(b'"sku":null', b'"sku":nulk', 1))
    yield "manifest: cut off", "are committed", octets("manifest.ndjson", lambda d: d[:-4096])
    yield "manifest: a row more", "are committed", octets("manifest.ndjson", lambda d: d + d[-4096:])


def journal_damages():
    n = 6
    for i in range(n):
        yield f"journal: a bit in record {i}", "journal", octets("journal", lambda d, i=i: flip(len(d) // n * i + 100)(d))
    yield "journal: missing", "journal: missing", lambda fleet: os.unlink(f"{fleet}/journal")
    yield "journal: empty", "did not end", octets("journal", lambda d: bytearray())
    yield "journal: cut off in a record", "is damaged", octets("journal", lambda d: d[:-200])
    yield "journal: its last record gone", "did not end", records(lambda r: r[:-1])
    yield "journal: octets behind it", "is damaged", octets("journal", lambda d: d + b"x")
    yield "journal: no spaces", "is damaged", octets("journal", lambda d: d.replace(b"  \n", b"\n", 1))
    yield "journal: the run twice", "a run here", records(lambda r: r + [r[0]])
    yield "journal: an attempt left out", "attempt", records(lambda r: [x for x in r if x.get("attempt") != 2])
    yield "journal: attempt of another number", "attempt 3", records(
        lambda r: of("attempt", r, 1).__setitem__("attempt", 3))
    yield "journal: a commit left out", "commit", records(lambda r: [x for x in r if x.get("commit") != 2])
    yield "journal: two commits swapped", "commit", records(swap_commits)
    yield "journal: a reservation after its commit", "makes no sense", records(late_reserve)
    yield "journal: a prefix reserved twice", "is there twice", records(
        lambda r: of("reserve", r, 1)["prefixes"].__setitem__(0, of("reserve", r)["prefixes"][0]))
    yield "journal: a commit under another's prefix", "is now committed", records(
        lambda r: of("commit", r, 1).__setitem__("prefixes", of("commit", r)["prefixes"]))
    yield "journal: a prefix committed and unused", "is now unused", records(
        lambda r: of("end", r)["unused"].insert(0, of("commit", r, -1)["prefixes"][0]))
    yield "journal: a prefix of a killed attempt committed", "reserved in attempt 1", records(lost_is_committed)
    yield "journal: an unused prefix forgotten", "neither committed", records(
        lambda r: of("end", r).__setitem__("unused", []))
    yield "journal: a signature too many", "signatures in the attempt", records(
        lambda r: of("end", r).__setitem__("signatures", of("end", r)["signatures"] + 1))
    yield "journal: too few certificates reserved", "at most", records(lambda r: of("reserve", r).__setitem__("at_most", 8))
    yield "journal: other numbers of devices", "numbers of devices", records(
        lambda r: of("commit", r).__setitem__("seqs", [[2, 10]]))
    yield "journal: fewer devices", "rows for", records(lambda r: of("commit", r).__setitem__("devices", 8))
    yield "journal: another profile asked for", "not what the journal says", records(
        lambda r: r[0]["request"].__setitem__("profile", "tls-client"))
    yield "journal: something after the end", "outside an attempt", records(lambda r: r + [reserve(99, 1, ["01" * 8])])
    yield "journal: a complete run resumed", "was complete", records(resumed_again)
    yield "journal: a key", "private key", records(lambda r: r[0].__setitem__("profile_text", "BEGIN PRIVATE KEY"))
    yield "burned: missing", "burned_bytes", lambda fleet: os.unlink(f"{fleet}/burned.ndjson")
    yield "burned: a line less", "burned_bytes", octets("burned.ndjson", lambda d: d[d.index(b"\n") + 1:])
    yield "burned: a line more", "octets", octets("burned.ndjson", lambda d: d + d[:d.index(b"\n") + 1])
    yield "burned: another prefix", "never reserved", octets("burned.ndjson", lambda d: d.replace(b"7f00", b"7e00", 1))
    yield "burned: more signed than reserved", "signed of at most", octets(
        "burned.ndjson", lambda d: d.replace(b'"signed":5,"at_most":9', b'"signed":5,"at_most":4'))
    yield "burned: another count", "signatures in", octets("burned.ndjson", lambda d: d.replace(b'"signed":5', b'"signed":6'))
    yield "burned: another attempt", "burned", octets("burned.ndjson", lambda d: d.replace(b'"attempt":1', b'"attempt":2', 1))


def swap_commits(r):
    a, b = of("commit", r), of("commit", r, 1)
    i, j = r.index(a), r.index(b)
    r[i], r[j] = b, a


def late_reserve(r):
    late = of("reserve", r, -2)
    i = r.index(late)
    r[i], r[i + 1] = r[i + 1], r[i]


def lost_is_committed(r):
    lost = next(i for i, x in enumerate(r) if x["type"] == "attempt" and x["attempt"] == 2) - 1
    of("commit", r, 2)["prefixes"] = [[r[lost]["first"], r[lost]["first"]]]


def resumed_again(r):
    end = of("end", r)
    again = attempt(3, "resume", end["burned_bytes"], end["ended_at"])
    number = of("reserve", r, -1)["first"] + 2
    return r + [again, reserve(number, 9, ["7c" * 8]), {**end, "signatures": 0, "unused": [[number, number]]}]


def file_damages():
    def run(change):
        def damage(fleet):
            data = json.loads(read(f"{fleet}/run.json"))
            change(data)
            write(f"{fleet}/run.json", json.dumps(data).encode())
        return damage
    yield "run.json: missing", "run.json", lambda fleet: os.unlink(f"{fleet}/run.json")
    yield "run.json: outcome", "outcome", run(lambda d: d["outcome"].__setitem__("devices", 39))
    yield "run.json: no outcome", "outcome", run(lambda d: d.__setitem__("outcome", None))
    yield "run.json: another run", "run_id", run(lambda d: d.__setitem__("run_id", "x"))
    yield "run.json: another number of devices", "asked for", run(lambda d: d["request"].__setitem__("devices", 41))
    yield "ca.pem: an octet", "ca.pem", octets("ca.pem", flip(100))
    yield "ca.pem: missing", "ca.pem", lambda fleet: os.unlink(f"{fleet}/ca.pem")
    yield "a file more", "no business", lambda fleet: write(f"{fleet}/lock", b"")
    yield "a .part left", "no business", lambda fleet: write(f"{fleet}/run.json.part", b"")
    yield "keys/ open to others", "mode 0755", lambda fleet: os.chmod(f"{fleet}/keys", 0o755)


def tar_damages():
    for top in ("chains", "keys"):
        name = f"{top}/000000.tar"
        yield f"{top}: an octet of data", "other octets", octets(name, flip(600))
        yield f"{top}: an octet of a header", "header at 0", octets(name, flip(110))
        yield f"{top}: an octet of padding", "padding", octets(name, in_padding)
        yield f"{top}: an octet of the end", "does not end", octets(name, flip(-1))
        yield f"{top}: octets behind the end", "does not end", octets(name, lambda d: d + bytes(512))
        yield f"{top}: no end", "does not end", octets(name, lambda d: d[:-4096])
        yield f"{top}: cut off", "are committed", octets(name, lambda d: d[:-8192])
        yield f"{top}: a whole page more inside", "", octets(name, lambda d: d[:-4096] + bytes(8192))
        yield f"{top}: missing", "missing", lambda fleet, n=name: os.unlink(f"{fleet}/{n}")
        yield f"{top}: still .part", "still .part", lambda fleet, n=name: os.rename(f"{fleet}/{n}", f"{fleet}/{n}.part")
        yield f"{top}: a .part beside", "beside", lambda fleet, n=name: shutil.copy(f"{fleet}/{n}", f"{fleet}/{n}.part")
        yield f"{top}: a segment more", "nothing in it", lambda fleet, t=top: write(f"{fleet}/{t}/000001.tar", bytes(4096))
        yield f"{top}: modes inside", "header", octets(name, lambda d: d.replace(b"0000644\0", b"0000666\0", 1))
    yield "keys: mode of a segment", "mode 0640", lambda fleet: os.chmod(f"{fleet}/keys/000000.tar", 0o640)
    yield "a row without its device in the archive", "no entry", rows(
        lambda r: r[5]["chain"].__setitem__("offset", r[5]["chain"]["offset"] + 512))
    yield "a unit that is too short", "", records(lambda r: of("commit", r)["units"][0].__setitem__(1, 4096))


def in_padding(data):
    flip(data.index(b" comment=") + 12)(data)


def tree_damages():
    for top, suffix in (("chains", "crt"), ("keys", "key")):
        name = f"{top}/000001/SN00000011.{suffix}"
        yield f"{top}: an octet", "other octets", octets(name, flip(50))
        yield f"{top}: an octet more", "other octets", octets(name, lambda d: d + b"\n")
        yield f"{top}: missing", "in rows only", lambda fleet, n=name: os.unlink(f"{fleet}/{n}")
        yield f"{top}: one more", "there only", lambda fleet, n=name: shutil.copy(f"{fleet}/{n}", f"{fleet}/{n}.crt")
        yield f"{top}: a shard missing", "missing", lambda fleet, t=top: shutil.rmtree(f"{fleet}/{t}/000002")
        yield f"{top}: a shard more", "nothing in it", lambda fleet, t=top: os.mkdir(f"{fleet}/{t}/000009", 0o700)
        yield f"{top}: a shard still .part", "still .part", lambda fleet, t=top: os.rename(
            f"{fleet}/{t}/000002", f"{fleet}/{t}/000002.part")
    yield "keys: mode of a file", "mode 0644", lambda fleet: os.chmod(f"{fleet}/keys/000001/SN00000011.key", 0o644)
    yield "keys: mode of a shard", "mode 0755", lambda fleet: os.chmod(f"{fleet}/keys/000001", 0o755)
    yield "a shard of another commit", "another commit", records(
        lambda r: (of("commit", r).__setitem__("units", [[1, 0, 0]]), of("commit", r, 1).__setitem__("units", [[0, 0, 0]]))
        and None)


def compare_damages(kind):
    """What is sound in itself, but not what was there before."""
    yield "another run in its place", lambda fleet, other: (shutil.rmtree(fleet), shutil.copytree(other, fleet))
    if kind == "tar":
        yield "an octet of padding that was committed", lambda fleet, _: octets("chains/000000.tar", in_padding)(fleet)
    else:
        yield "a committed file", lambda fleet, _: octets("chains/000000/SN00000001.crt", flip(40))(fleet)
    yield "a record of the journal", lambda fleet, _: records(
        lambda r: of("attempt", r)["discarded"].append("x"))(fleet)
    yield "burned", lambda fleet, _: octets("burned.ndjson", flip(300))(fleet)


def killed(fleet, kind):
    """What a kill may leave is no finding, and is one once the run must have ended."""
    write(f"{fleet}/journal", journal_bytes(records_of(fleet)[:-1]) + b"0123")
    run = json.loads(read(f"{fleet}/run.json"))
    run["outcome"] = None
    write(f"{fleet}/run.json", json.dumps(run).encode())
    edit(f"{fleet}/manifest.ndjson", lambda d: d + b"half a row")
    if kind == "tar":
        for top in ("chains", "keys"):
            edit(f"{fleet}/{top}/000000.tar", lambda d: d[:-4096] + b"more")
            os.rename(f"{fleet}/{top}/000000.tar", f"{fleet}/{top}/000000.tar.part")
    else:
        os.mkdir(f"{fleet}/keys/000099", 0o700)
        os.mkdir(f"{fleet}/chains/000100.part")
    kit.check(check_fleet.check(fleet) == [], "a killed run:", check_fleet.check(fleet))
    kit.check(len(check_fleet.check(fleet, ended=True)) >= 3, "a run that must have ended:", check_fleet.check(fleet))


def try_all(kind):
    must = lambda *args: kit.must_mint(f"{kind}0", "ca", "--count", str(DEVICES), "--batch", str(BATCH), "--workers", "1",
                                       "--layout", kind, "--lot", "L1", *args)
    must()
    if not os.path.exists(f"{kind}0/journal") or len(Rows(f"{kind}0").commits) < 4:
        with_history(f"{kind}0", BATCH)
    shutil.copytree(f"{kind}0", f"{kind}1")
    before = check_fleet.snapshot(f"{kind}0")
    ids = [f"SN{i:08}" for i in range(1, DEVICES + 1)]
    sound = check_fleet.check(f"{kind}0", ids, "ca/ca.pem", True, 5, before, True)
    kit.check(sound == [], kind, "sound:", *sound)
    kit.check(check_fleet.check(f"{kind}0", [i + "x" for i in ids]) != [], kind, "other ids")
    kit.check(check_fleet.check(f"{kind}0", ca="other/ca.pem") != [], kind, "another CA")
    n = 0
    for title, word, damage in damages(kind):
        shutil.rmtree(f"{kind}1")
        shutil.copytree(f"{kind}0", f"{kind}1")
        damage(f"{kind}1")
        found = check_fleet.check(f"{kind}1", ids, "ca/ca.pem", ended=True, signatures=DEVICES)
        kit.check(any(word in f for f in found), f"{kind}, {title}: no word of \"{word}\" in", *found[:5])
        n += 1
    kit.must_mint(f"{kind}2", "ca", "--count", str(DEVICES), "--batch", str(BATCH), "--workers", "1", "--layout", kind, "--lot",
                  "L1")
    if not os.path.exists(f"{kind}2/journal") or len(Rows(f"{kind}2").commits) < 4:
        with_history(f"{kind}2", BATCH)
    for title, damage in compare_damages(kind):
        shutil.rmtree(f"{kind}1")
        shutil.copytree(f"{kind}0", f"{kind}1")
        damage(f"{kind}1", f"{kind}2")
        found = check_fleet.check(f"{kind}1", ids, committed_before=before)
        kit.check(any("before" in f or "was committed" in f or "has changed" in f for f in found), f"{kind}, {title}:",
                  *found[:5])
        n += 1
    shutil.rmtree(f"{kind}1")
    shutil.copytree(f"{kind}0", f"{kind}1")
    killed(f"{kind}1", kind)
    print(f"{kind}: {n} kinds of damage")


# --- a fleet that was reworked and purged --------------------------------------------------------------------------

def spoil(fleet, row, column):
    octets(os.path.relpath(place_path(fleet, row[column]), fleet), flip(row[column].get("offset", 0) + 100))(fleet)


def rework(kind):
    """Minted, three devices reissued, purged, two reissued, one of these damaged and repaired: (fleet, snapshot
    of the minted one). The keys that were purged are kept beside it."""
    fleet = f"{kind}r"
    kit.must_mint(fleet, "ca", "--count", str(DEVICES), "--batch", str(BATCH), "--workers", "1", "--layout", kind)
    before = check_fleet.snapshot(fleet)
    certmill = lambda *args: kit.must([kit.CERTMILL, *args, "--quiet"])
    certmill("reissue", fleet, "SN00000004", "SN00000005", "SN00000040", "--reason", "first")
    shutil.copytree(f"{fleet}/keys", f"{kind}keys")
    certmill("purge-keys", fleet, "--yes")
    certmill("reissue", fleet, "SN00000005", "SN00000006", "--reason", "second")
    found = [json.loads(line) for line in read(f"{fleet}/manifest.ndjson").splitlines()]
    bad = next(r for r in reversed(found) if r["device_id"] == "SN00000006")
    spoil(fleet, bad, "key")
    certmill("repair", fleet)
    return fleet, before


def reworked_damages(kind):
    """(title, word that a finding must hold, damage); rows: 40 of the mint, 4, 5, 40, then 5, 6, then 6."""
    def bundle(i, column):
        def damage(fleet):
            spoil(fleet, Rows(fleet).all()[i], column)
        return damage

    def back(name):
        def damage(fleet):
            source = sorted(os.listdir(f"{kind}keys"))[0]
            (shutil.copytree if kind == "tree" else shutil.copy)(f"{kind}keys/{source}", f"{fleet}/keys/{source}{name}")
        return damage

    last_unit = lambda fleet: place_path(fleet, Rows(fleet).all()[-1]["key"])
    yield "purged keys that came back", "purged, and it is there", back("")
    yield "purged keys that came back unfinished", "purged, and it is there", back(".part")
    yield "a certificate in force", "other octets", bundle(41, "chain")
    yield "a certificate that was superseded", "other octets", bundle(3, "chain")
    yield "a key in force beside a condemned one", "other octets", bundle(43, "key")
    yield "a key that is missing", "missing", lambda fleet: os.unlink(last_unit(fleet))
    yield "keys/ is missing", "missing", lambda fleet: shutil.rmtree(f"{fleet}/keys")
    yield "keys/ open to others", "mode 0755", lambda fleet: os.chmod(f"{fleet}/keys", 0o755)
    yield "no record of the purge", "missing", records(lambda r: [x for x in r if x["type"] != "purge"])
    yield "a purge without an end", "while the keys", records(lambda r: r.remove(of("purge", r, 1)))
    yield "a purge without a beginning", "a purge done here", records(lambda r: r.remove(of("purge", r)))
    yield "a purge that is done twice", "a purge done here", records(lambda r: r.insert(
        r.index(of("purge", r, 1)), of("purge", r, 1)))
    yield "a purge of another length at its end", "the last time", records(lambda r: of("purge", r, 1).__setitem__("before", 1))
    yield "a purge of units to come", "units", records(lambda r: [p.__setitem__("before", 99) for p in r if p["type"] == "purge"]
                                                        and None)
    yield "a purge within an attempt", "a purge begun here", records(moved_into_attempt)
    yield "a purge at no time", "time of the purge", records(lambda r: of("purge", r).__setitem__("purged_at", "then"))
    yield "a reissue without a record", "for the second time", records(lambda r: r.remove(of("supersede", r)))
    yield "a device more superseded", "wait for one", records(lambda r: of("supersede", r, 1).__setitem__("seqs", [[5, 41]]))
    yield "a device superseded and not minted", "wait for new", records(
        lambda r: of("supersede", r, -1).__setitem__("seqs", [[6, 7]]))
    yield "a reissue in a resume", "supersede in a resume", records(lambda r: of("attempt", r, 1).__setitem__("command", "resume"))
    yield "run.json: fewer superseded", "outcome", superseded_count


def moved_into_attempt(r):
    """The purge begins when the attempt behind it has."""
    p = of("purge", r)
    r.remove(p)
    r.insert(r.index(of("attempt", r, 2)) + 1, p)


def superseded_count(fleet):
    run = json.loads(read(f"{fleet}/run.json"))
    run["outcome"]["superseded"] -= 1
    write(f"{fleet}/run.json", json.dumps(run).encode())


def purging(fleet, kind):
    """A purge that a kill has stopped is no finding, and is one once it must have ended."""
    r = records_of(fleet)
    del r[r.index(of("purge", r, 1)):]
    write(f"{fleet}/journal", journal_bytes(r))
    cut = of("commit", r, -1)["manifest_bytes"]
    edit(f"{fleet}/manifest.ndjson", lambda d: d[:cut])
    units = len(of("commit", r, -1)["units"]) and of("commit", r, -1)["units"][-1][0]
    for top in ("chains", "keys"):
        for name in os.listdir(f"{fleet}/{top}"):
            if int(name[:6]) > units:
                (shutil.rmtree if kind == "tree" else os.unlink)(f"{fleet}/{top}/{name}")
    run = json.loads(read(f"{fleet}/run.json"))
    run["outcome"].update(devices=DEVICES, superseded=3, manifest_bytes=cut, ended_at=of("end", r, -1)["ended_at"])
    write(f"{fleet}/run.json", json.dumps(run).encode())
    half = sorted(os.listdir(f"{kind}keys"))[-1]
    (shutil.copytree if kind == "tree" else shutil.copy)(f"{kind}keys/{half}", f"{fleet}/keys/{half}")
    kit.check(check_fleet.check(fleet) == [], "a purge under way:", check_fleet.check(fleet))
    kit.check(any("purge of the keys did not end" in f for f in check_fleet.check(fleet, ended=True)), "a purge must have ended")


def try_reworked(kind):
    fleet, before = rework(kind)
    ids = [f"SN{i:08}" for i in range(1, DEVICES + 1)]
    sound = check_fleet.check(fleet, ids, "ca/ca.pem", True, 5, before, True)
    kit.check(sound == [], kind, "reworked, sound:", *sound)
    n = 0
    for title, word, damage in reworked_damages(kind):
        shutil.rmtree(f"{kind}1", ignore_errors=True)
        shutil.copytree(fleet, f"{kind}1")
        damage(f"{kind}1")
        found = check_fleet.check(f"{kind}1", ids, "ca/ca.pem", ended=True)
        kit.check(any(word in f for f in found), f"{kind}, reworked, {title}: no word of \"{word}\" in", *found[:5])
        n += 1
    shutil.rmtree(f"{kind}1")
    shutil.copytree(fleet, f"{kind}1")
    purging(f"{kind}1", kind)
    print(f"{kind}, reworked: {n} kinds of damage")


def try_keys():
    """Every kind of key, in every form, under every kind of CA: nothing is found, and a key of another device is."""
    kinds = ["P-256", "P-384", "P-521", "Ed25519", "RSA-2048"]
    for i, kind in enumerate(kinds):
        ca_kind = kinds[(i + 1) % len(kinds)]
        kit.ca_init(f"ca{i}", "--key", ca_kind)
        for form in ("pkcs8", "traditional") if kind != "Ed25519" else ("pkcs8",):
            encoding = "der" if (form == "pkcs8") == bool(i % 2) else "pem"
            fleet = f"{kind}{form}"
            kit.must_mint(fleet, f"ca{i}", "--count", "2", "--key", kind, "--key-format", form, "--encoding", encoding,
                          "--profile", "tls-client")
            has_journal = os.path.exists(f"{fleet}/journal")
            found = check_fleet.check(fleet, ["SN00000001", "SN00000002"], journal=has_journal, sample_openssl=2)
            kit.check(found == [], f"{kind}, {form}, {encoding} under {ca_kind}:", *found)
            one, other = (json.loads(line) for line in read(f"{fleet}/manifest.ndjson").splitlines())
            cert = fleet_crypto.Certificate((fleet_crypto.ders if encoding == "der" else lambda text: [
                der for _, der in fleet_crypto.unpem(text)])(get(fleet, one, "chain"))[0])
            kit.check(not _matches(get(fleet, other, "key"), cert.spki, encoding), f"{kind}, {form}: another device's key")
            kit.check(not fleet_crypto.signed_by(cert, cert), f"{kind} under {ca_kind}: a signature by another key")


def _matches(data, spki, encoding):
    kinds = (b"PRIVATE KEY", b"EC PRIVATE KEY", b"RSA PRIVATE KEY")
    blocks = [(k, data) for k in kinds] if encoding == "der" else fleet_crypto.unpem(data)
    for label, der in blocks:
        try:
            if fleet_crypto.key_matches(label, der, spki):
                return True
        except check_fleet.DAMAGE:
            pass
    return False


def main():
    kit.enter_place("checker", memory=True)
    kit.ca_init("ca", "--subject", "/CN=Checked CA")
    kit.ca_init("other", "--subject", "/CN=Checked CA")
    try_keys()
    for kind in ("tar", "tree"):
        try_all(kind)
        try_reworked(kind)
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
