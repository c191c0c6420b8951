#!/usr/bin/env python3
"""Goal: an identity goes to one station, is never lost, and its state tells what became of it, on SQLite and PostgreSQL.
Method: the program itself: eight stations at once, killed at random and between COMMIT and print, the same request at
once from several processes, leases, filters, every state with every report by everybody, result files of AWS IoT. What
the database holds is read by Python's sqlite3 and psql, and held against the fleets' manifests.

CM_CLAIMS=N: identities for the eight stations; CM_CLAIM_KILLS=N: claims that are killed."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time

import db_kit
import e2e_kit as kit
import e2e_postgres

CLAIMS = int(os.environ.get("CM_CLAIMS", "120" if kit.SLOW else "1000"))
KILLS = int(os.environ.get("CM_CLAIM_KILLS", "10" if kit.SLOW else "80"))
STATIONS = 8


# ---- databases ----

def texts(row):
    return tuple(None if v is None else str(v) for v in row)


class File(db_kit.File):
    def ask(self, sql):
        """Rows of texts; None is null. {p} stands before the names of tables."""
        return [texts(r) for r in self.query(sql.format(p=""))]

    do = ask


class Base(db_kit.Base):
    def ask(self, sql):
        return [texts(json.loads("|".join(r)).values())
                for r in self.query(f"SELECT row_to_json(t) FROM ({sql.format(p='certmill.')}) t")]

    def do(self, sql):
        self.query(sql.format(p="certmill."))


def loaded(kind, *fleets):
    db = kind()
    for fleet in fleets:
        kit.must([kit.CERTMILL, "load", fleet, "--to", db.url, "--quiet"])
    return db


def state(db, device_id):
    """(state, station, request, has a lease, note)"""
    return db.ask("SELECT state, station, request_id, CASE WHEN lease_until IS NULL THEN 'no' ELSE 'yes' END, note "
                  f"FROM {{p}}device WHERE device_id = '{device_id}' AND superseded_by IS NULL")[0]


def ids_of(fleet):
    with open(f"{fleet}/manifest.ndjson", "rb") as f:
        return {json.loads(line)["device_id"]: json.loads(line) for line in f.read().split(b"\n") if line.strip()}


def claim(db, station, *more, **how):
    return kit.mill("claim", "--from", db.url, "--station", station, *more, **how)


def got(r):
    """The identity that a claim with --json printed."""
    kit.check(r.code == 0, r)
    return json.loads(r.out) if r.code == 0 else {"device_id": None}


def take(db, station, *more):
    return got(claim(db, station, "--json", *more))


def report(db, device_id, *more, **how):
    return kit.mill("report", "--to", db.url, device_id, *more, **how)


def expect(r, code, *words):
    kit.check(r.code == code and all(w.encode() in r.err for w in words), f"expected exit {code} and {words}:", r)


# ---- eight stations ----

def everybody(what):
    """Runs what(station) in a thread each; what they return. Exceptions are failures."""
    results = [None] * STATIONS

    def work(n):
        results[n] = what(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(STATIONS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    kit.check(None not in results, "a station ended early")
    return [r for r in results if r is not None]


def all_at_once(kind):
    """None twice, none lost, what was printed is what is on record."""
    db = loaded(kind, "many")
    began = time.monotonic()

    def station(n):
        mine = []
        while True:
            r = kit.run([kit.CERTMILL, "claim", "--from", db.url, "--station", f"S{n}", "--json", "--lease", "none"])
            if r.code != 0:
                expect(r, 1, "no unused identity is left")
                return mine
            one = json.loads(r.out)
            mine.append((one["device_id"], one["certificate_id"]))

    shares = everybody(station)
    took = time.monotonic() - began
    every = [x for share in shares for x in share]
    manifest = ids_of("many")
    kit.check(len(every) == len(set(every)), f"{kind.name}: an identity twice", len(every) - len(set(every)))
    kit.check(set(every) == {(i, r["certificate_id"]) for i, r in manifest.items()}, f"{kind.name}: identities lost",
              len(every), len(manifest))
    kit.check(all(shares), f"{kind.name}: a station that got none", [len(s) for s in shares])
    for n, share in enumerate(shares):
        on_record = {i for i, in db.ask(f"SELECT device_id FROM {{p}}device WHERE station = 'S{n}' AND state = 'claimed'")}
        kit.check(on_record == {i for i, _ in share}, f"{kind.name}: S{n} has others than it was told")
    kit.say(f"{kind.name}: {STATIONS} stations took {len(every)} identities in {took:.1f} s, shares {[len(s) for s in shares]}")


def killed_anywhere(kind):
    """Each station kills its claim after a moment, and gives the same request id until it has an answer: one identity a
    request, whatever was committed before the kill."""
    db = loaded(kind, "many")
    per = max(1, KILLS // STATIONS)
    began = time.monotonic()
    everybody(lambda n: take(db, f"S{n}", "--request-id", f"first-{n}")["device_id"])
    takes = time.monotonic() - began  # with all of them at it
    moments = [[kit.rng.uniform(0, 1.2 * takes) for _ in range(per)] for _ in range(STATIONS)]
    killed, done = [0] * STATIONS, [0] * STATIONS

    def station(n):
        mine = {}
        for k, moment in enumerate(moments[n]):
            command = [kit.CERTMILL, "claim", "--from", db.url, "--station", f"S{n}", "--request-id", f"{n}-{k}", "--json"]
            with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as p:
                try:
                    p.wait(moment)
                    kill = False
                except subprocess.TimeoutExpired:
                    p.kill()
                    kill = True
            one = got(kit.run(command))
            killed[n] += kill
            done[n] += kill and one.get("again", False)
            mine[f"{n}-{k}"] = one["device_id"]
        return mine

    mine = {}
    for share in everybody(station):
        mine.update(share)
    kit.check(len(set(mine.values())) == len(mine), f"{kind.name}: an identity twice after kills")
    rows = dict(db.ask("SELECT request_id, device_id FROM {p}device WHERE state = 'claimed' AND request_id NOT LIKE 'first%'"))
    kit.check(rows == mine, f"{kind.name}: claimed is not what was printed", set(rows.items()) ^ set(mine.items()))
    kit.check(sum(killed) > 0 and len(mine) == per * STATIONS, f"{kind.name}: no claim was killed")
    kit.say(f"{kind.name}: {sum(killed)} of {len(mine)} claims killed, {sum(done)} of these after they had their identity")


def killed_before_print(kind):
    """Committed, and killed before a word came out: stdout is a pipe that takes nothing more."""
    db = loaded(kind, "labels-a")
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    try:
        while True:
            os.write(writes, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writes, True)
    command = [kit.CERTMILL, "claim", "--from", db.url, "--station", "A", "--request-id", "crash", "--json"]
    p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=writes, stderr=subprocess.DEVNULL)
    os.close(writes)
    end = time.monotonic() + kit.PATIENCE
    row = []
    while not row and time.monotonic() < end:
        row = db.ask("SELECT device_id FROM {p}device WHERE request_id = 'crash'")
    kit.check(p.poll() is None, "it did not wait to print")
    p.kill()
    p.wait()
    os.close(reads)
    other = take(db, "A")
    again = take(db, "A", "--request-id", "crash")
    kit.check(row and again["device_id"] == row[0][0] and again["again"] and other["device_id"] != row[0][0],
              f"{kind.name}: after a crash", row, again["device_id"], other["device_id"])


def the_same_at_once(kind):
    """One request from several processes: one identity."""
    db = loaded(kind, "labels-a")
    results = everybody(lambda n: got(kit.run([kit.CERTMILL, "claim", "--from", db.url, "--station", "A", "--request-id", "R",
                                               "--json"]))["device_id"])
    kit.check(len(set(results)) == 1 and results[0], f"{kind.name}: one request, several identities", results)
    kit.check(len(db.ask("SELECT 1 FROM {p}device WHERE state = 'claimed'")) == 1, "more rows claimed than one")


# ---- leases, filters, labels ----

def leases(kind):
    db = loaded(kind, "labels-a")  # 3 devices
    first = take(db, "A", "--lease", "1s", "--request-id", "r1")
    kit.check(first["lease_until"] > first["claimed_at"], first)
    forever = take(db, "A", "--lease", "none")
    kit.check(forever["lease_until"] is None, forever)
    time.sleep(2.1)
    fresh = take(db, "B", "--lease", "1h")
    kit.check(fresh["device_id"] not in (first["device_id"], forever["device_id"]), "unused ones go first", fresh)
    kit.check(state(db, first["device_id"])[:2] == ("claimed", "A"), "a lease that ended and nobody wanted")
    renewed = take(db, "A", "--request-id", "r1", "--lease", "1s")  # ended, but nobody else has it
    kit.check(renewed["device_id"] == first["device_id"] and renewed["lease_until"] > first["lease_until"], renewed)
    expect(claim(db, "B"), 1, "no unused identity is left")
    time.sleep(2.1)
    taken = take(db, "B", "--lease", "1h", "--request-id", "r2")
    kit.check(taken["device_id"] == first["device_id"] and not taken["again"], "a lease that ended", taken)
    expect(report(db, first["device_id"], "--used", "--station", "A"), 2, "claimed by station B", "station A can't")
    expect(claim(db, "A", "--request-id", "r1"), 1, "no unused identity is left")  # lost since
    expect(report(db, first["device_id"], "--used", "--station", "B"), 0)
    expect(claim(db, "B"), 1)  # 'none' never comes back


def late(kind):
    """A lease that has ended and that nobody took is still the station's to report."""
    db = loaded(kind, "labels-a")
    one = take(db, "A", "--lease", "1s")
    time.sleep(2.1)
    expect(report(db, one["device_id"], "--used", "--station", "A"), 0)
    kit.check(state(db, one["device_id"])[0] == "used", "reported late")


def filters(kind):
    """Labels of three fleets in one database."""
    db = loaded(kind, "labels-a", "labels-b", "labels-c")
    order = [("A", "L1", "O1", "labels-a"), ("A", "L2", None, "labels-b"), (None, None, None, "labels-c")]
    for sku, lot, order_name, fleet in order:
        asked = [x for option, value in (("--sku", sku), ("--lot", lot), ("--order", order_name)) if value
                 for x in (option, value)]
        if fleet == "labels-c":
            break
        ids = set(ids_of(fleet))
        for _ in ids:
            one = take(db, "F", *asked)
            kit.check(one["device_id"] in ids and (one["sku"], one["lot"], one["order"]) == (sku, lot, order_name), asked, one)
        expect(claim(db, "F", *asked), 1, "of that SKU, lot and order")
    expect(claim(db, "F", "--sku", "A"), 1)
    expect(claim(db, "F", "--sku", "'; DROP TABLE device; --"), 1)
    expect(claim(db, "F", "--lot", "L1", "--order", "O2"), 1)
    rest = {take(db, "F")["device_id"] for _ in range(3)}
    kit.check(rest == set(ids_of("labels-c")), "those without labels", rest)
    expect(claim(db, "F"), 1)


# ---- every state with every report by everybody ----

REFUSED, SAME = "refused", "same"
# (state, report) -> by its station, by another station, by the office
RULES = {
    ("unused", "used"): (REFUSED, REFUSED, REFUSED), ("unused", "scrapped"): (REFUSED, REFUSED, "scrapped"),
    ("unused", "returned"): (SAME, SAME, SAME),
    ("claimed", "used"): ("used", REFUSED, "used"), ("claimed", "scrapped"): ("scrapped", REFUSED, "scrapped"),
    ("claimed", "returned"): ("unused", REFUSED, "unused"),
    ("used", "used"): (SAME, REFUSED, SAME), ("used", "scrapped"): ("scrapped", REFUSED, "scrapped"),
    ("used", "returned"): (REFUSED, REFUSED, REFUSED),
    ("scrapped", "used"): (REFUSED, REFUSED, REFUSED), ("scrapped", "scrapped"): (SAME, REFUSED, SAME),
    ("scrapped", "returned"): (REFUSED, REFUSED, REFUSED),
}


def bring_to(db, wanted):
    one = take(db, "own")["device_id"]
    if wanted != "claimed":
        expect(report(db, one, "--returned" if wanted == "unused" else f"--{wanted}", "--station", "own"), 0)
    return one


def transitions(kind):
    db = loaded(kind, "labels-d")
    for (before, what), outcomes in RULES.items():
        for speaker, outcome in zip((["--station", "own"], ["--station", "other"], []), outcomes):
            one = bring_to(db, before)
            was = state(db, one)
            r = report(db, one, f"--{what}", *speaker, "--note", "é 'x'")
            now = state(db, one)
            if outcome == REFUSED:
                kit.check(r.code == 2 and now == was and one.encode() in r.err, before, what, speaker, was, now, r)
            elif outcome == SAME:
                kit.check(r.code == 0 and now == was and b"was so already" in r.err, before, what, speaker, was, now, r)
            else:
                kit.check(r.code == 0 and now[0] == outcome and now[3] == "no" and now[4] == "é 'x'"
                          and (now[1] is None) == (outcome == "unused" or before == "unused"), before, what, speaker, now, r)
                again = report(db, one, f"--{what}", *speaker)
                kit.check(again.code == 0 and state(db, one) == now and b"was so already" in again.err, again)
            if now[0] == "unused":  # out of the way of the next
                expect(report(db, one, "--scrapped"), 0)


def returned(kind):
    """What is returned is claimed again, by others, and a request that had it gets another."""
    db = loaded(kind, "labels-a")
    one = take(db, "A", "--request-id", "q")
    r = report(db, one["device_id"], "--returned", "--station", "A", "--json")
    kit.check(json.loads(r.out)["state"] == "unused" and json.loads(r.out)["station"] is None, r)
    ids = [take(db, "B")["device_id"] for _ in range(3)]
    kit.check(sorted(ids) == sorted(ids_of("labels-a")), "returned, and not given again", ids)
    expect(claim(db, "A", "--request-id", "q"), 1)


def requests(kind):
    db = loaded(kind, "labels-a", "labels-b")
    one = take(db, "A", "--request-id", "q", "--sku", "A", "--lot", "L1")
    kit.check(take(db, "A", "--request-id", "q")["device_id"] == one["device_id"], "the same request without filters")
    expect(claim(db, "B", "--request-id", "q"), 2, "of station A, not of B")
    expect(claim(db, "A", "--request-id", "q", "--lot", "L2"), 2, "not of the SKU, lot and order")
    expect(report(db, one["certificate_id"], "--used", "--station", "A"), 0)
    expect(claim(db, "A", "--request-id", "q"), 2, "was reported used", "another id")


# ---- rework, files, indexes ----

def reworked(kind):
    """A certificate that was replaced is given to nobody; the one that replaced it is."""
    tag = f"rework-{kind.name}"
    kit.must_mint(tag, "ca", "--count", "3", "--id-pattern", tag + "-{seq}")
    db = loaded(kind, tag)
    mine = take(db, "A", "--request-id", "q")
    other = next(i for i in ids_of(tag) if i != mine["device_id"])
    kit.must([kit.CERTMILL, "reissue", tag, mine["device_id"], other, "--reason", "test", "--quiet"])
    kit.must([kit.CERTMILL, "load", tag, "--to", db.url, "--quiet"])
    old = mine["certificate_id"]
    expect(claim(db, "A", "--request-id", "q"), 2, "certificate was replaced")
    expect(report(db, old, "--used", "--station", "A"), 2, "was replaced by", "the new one")
    expect(report(db, old, "--scrapped", "--station", "A"), 0)
    new = ids_of(tag)
    given = {(x["device_id"], x["certificate_id"]) for x in (take(db, "B") for _ in range(3))}
    kit.check(given == {(i, r["certificate_id"]) for i, r in new.items()}, "not the certificates in force", given)
    expect(claim(db, "B"), 1)


def two_authorities(kind):
    """One device id below two CAs."""
    db = loaded(kind, "labels-a", "foreign")
    name = sorted(ids_of("foreign"))[0]
    expect(report(db, name, "--scrapped"), 2, "under two CAs", "certificate id")
    expect(report(db, ids_of("foreign")[name]["certificate_id"], "--scrapped"), 0)
    kit.check(sorted(r[0] for r in db.ask(f"SELECT state FROM {{p}}device WHERE device_id = '{name}'")) ==
              ["scrapped", "unused"], "the wrong one was scrapped")


def files(kind):
    """--fleet, --pem, the printed places."""
    db = loaded(kind, "labels-a")
    d = f"got-{kind.name}"
    r = claim(db, "A", "--fleet", "labels-a", "--out", d, "--request-id", "f1")
    paths = r.out.decode().split()
    one = next(i for i in ids_of("labels-a") if f"{d}/{i}.crt" in paths)
    kit.check(r.code == 0 and paths == [f"{d}/{one}.crt", f"{d}/{one}.key"], r)
    kit.ok(["openssl", "verify", "-CAfile", "ca/ca.pem", paths[0]])
    again = json.loads(claim(db, "A", "--fleet", "labels-a", "--out", d, "--request-id", "f1", "--json").out)
    kit.check(again["certificate_path"] == paths[0] and again["key_path"] == paths[1] and again["again"], again)
    with open(paths[1], "ab") as f:
        f.write(b"x")
    expect(claim(db, "A", "--fleet", "labels-a", "--out", d, "--request-id", "f1"), 2, "is claimed, but not written",
           "exists already", "the same --request-id")
    with open(f"{d}/{one}.crt", encoding="ascii") as f:
        stored = f.read()
    pem = claim(db, "A", "--request-id", "f1", "--pem")
    kit.check(pem.out.decode() == stored and pem.err == b"", "--pem is not the bundle")
    text = claim(db, "A", "--request-id", "f1").out.decode()
    place = re.search(r"^chain +(\S+), (\d+) octets at offset (\d+)$", text, re.M)
    with open(place.group(1), encoding="ascii") as f:
        f.seek(int(place.group(3)))
        kit.check(f.read(int(place.group(2))) == stored, "the place that is printed")
    before = state(db, one)
    expect(claim(db, "A", "--fleet", "absent"), 2)
    expect(claim(db, "A", "--fleet", "labels-b", "--out", d), 2, "does not have it", "report it returned")
    kit.check(state(db, one) == before, "another claim was touched")


def purged(kind):
    """--fleet of an identity whose key was purged: it can't be had again."""
    fleet = f"purged-{kind.name}"
    shutil.copytree("labels-b", fleet)
    kit.must([kit.CERTMILL, "purge-keys", "--quiet", fleet, "--yes"])
    db = loaded(kind, fleet)
    for more in ([], ["--request-id", "p"]):
        r = claim(db, "A", "--fleet", fleet, "--out", f"got-{fleet}", *more)
        expect(r, 2, "its key was purged", "report it scrapped")
        kit.check(b"again" not in r.err and not os.listdir(f"got-{fleet}"), r)


def no_indexes(kind):
    """A first load that has not ended: claims make the indexes."""
    db = loaded(kind, "labels-a")
    late = ["device_in_force", "device_certificate", "device_by_id", "device_unused"]
    names = [*late, "device_request", "device_lease"]
    for name in late:
        db.do(f"DROP INDEX {{p}}{name}")
    db.do(f"UPDATE {{p}}certmill_schema SET indexed = {'0' if kind is File else 'false'}")
    take(db, "A")
    catalog = "sqlite_master WHERE type = 'index'" if kind is File else "pg_class WHERE relkind = 'i'"
    column = "name" if kind is File else "relname"
    kit.check(set(names) <= {n for n, in db.ask(f"SELECT {column} FROM {catalog}")}, "indexes are not there")


# ---- what AWS IoT made of it ----

def results_of(export):
    """RESULTS as AWS writes them, for lines of an aws-bulk export."""
    with open(export, encoding="ascii") as f:
        lines = [json.loads(line) for line in f]
    return [{"response": {"CertificatePem": one["CertificatePem"], "ResourceArns": {
        "thing": f"arn:aws:iot:eu-central-1:123456789012:thing/{one['ThingName']}", "policy": "P"}}} for one in lines]


def import_status(kind):
    db = loaded(kind, "labels-d")
    tag = f"bulk-{kind.name}"
    kit.must([kit.CERTMILL, "export", "labels-d", "--to", "aws-bulk", "--out", f"{tag}.ndjson", "--quiet"])
    results, ids = results_of(f"{tag}.ndjson"), ids_of("labels-d")
    n = len(results)

    def write(name, lines):
        with open(name, "w", encoding="utf-8") as f:
            f.write("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines))
        return name

    def status(*names):
        return kit.mill("import-status", "--to", db.url, *names, "--json")

    def table():
        return {i: rest for i, *rest in db.ask("SELECT d.device_id, r.state, r.resource, r.message FROM {p}registration r JOIN "
                                               "{p}device d ON d.certificate_id = r.certificate_id")}

    good = results[:-5]
    r = status(write(f"{tag}-good", good))
    kit.check(r.code == 0 and json.loads(r.out) == {"registered": n - 5, "failed": 0, "unknown": 0}, r)
    kit.check(len(table()) == n - 5 and all(v[0] == "registered" and v[1].endswith(f":thing/{i}") and v[2] is None
                                            for i, v in table().items()), "registered")
    names = sorted(ids, key=lambda i: ids[i]["seq"])[-5:]
    pems = {i: x["response"]["CertificatePem"] for i, x in zip(sorted(ids, key=lambda i: ids[i]["seq"]), results)}
    errors = [{"lineNumber": 1, "offset": 0, "response": "not an object", "ThingName": names[0], "errorMessage": "no such policy"},
              {"errorCode": "InvalidRequest", "parameters": {"ThingName": names[1]}},
              {"input": {"deep": {"CertificatePem": pems[names[2]]}}, "message": "grün"},
              {"certificateId": ids[names[3]]["certificate_id"], "what": "é" * 600}]
    r = status(write(f"{tag}-bad", errors))
    kit.check(r.code == 1 and json.loads(r.out) == {"registered": 0, "failed": 4, "unknown": 0}, r)
    said = table()
    kit.check([said[i][2] for i in names[:3]] == ["no such policy", "InvalidRequest", "grün"] and said[names[3]][0] == "failed"
              and len(said[names[3]][2].encode()) in (499, 500), "failed", said[names[0]], said[names[3]])
    was = table()
    kit.check(status(f"{tag}-bad", f"{tag}-good").code == 1 and table() == was, "again")
    r = status(write(f"{tag}-second", [{"ThingName": names[0], "error": "exists"},
                                       {"ThingName": sorted(ids, key=lambda i: ids[i]["seq"])[0], "error": "exists"}]))
    now = table()
    kit.check(r.code == 1 and now[names[0]][2] == "exists" and now[sorted(ids, key=lambda i: ids[i]["seq"])[0]][0] == "registered",
              "a second task's failure undid a success")
    r = status(write(f"{tag}-mended", results[-5:]))
    kit.check(r.code == 0 and all(v[0] == "registered" and v[2] is None for v in table().values()) and len(table()) == n, "mended")
    r = status(write(f"{tag}-unknown", [results[0], {"response": {"ResourceArns": {"thing": "arn:x:thing/nobody"}}}, {"a": 1}]))
    kit.check(r.code == 1 and json.loads(r.out) == {"registered": 1, "failed": 0, "unknown": 2} and b"line 2" in r.err, r)
    db.do("DELETE FROM {p}registration")
    for broken in ("{", "[]", "x" * ((1 << 20) + 5)):
        r = status(write(f"{tag}-broken", [*results, broken]))
        expect(r, 2, f"line {n + 1}")
        kit.check(table() == {}, "a file that is broken left rows")
    expect(status("absent"), 2, "absent")


# ---- refusals ----

def refusals(kind):
    db = loaded(kind, "labels-a")
    for more, text in ((["--lease", "1"], "no time"), (["--lease", "0s"], "no time"), (["--lease", "1w"], "no time"),
                       (["--lease", "9999999s"], "no time"), (["--lease", ""], "lease"), (["--request-id", "a\tb"], "control"),
                       (["--request-id", "x" * 201], "longer than 200"), (["--out", "d"], "add --fleet"),
                       (["--pem", "--json"], "--json, which has it too"), (["--pem", "--fleet", "labels-a"], "--fleet, which")):
        expect(claim(db, "A", *more), 2, text)
    expect(claim(db, "a\x1bb"), 2, "control")
    expect(claim(db, ""), 2)
    expect(kit.mill("claim", "--from", db.url), 2, "--station")
    expect(kit.mill("claim", "--station", "A"), 2, "--from")
    expect(kit.mill("report", "--to", db.url, "x"), 2, "one of --used")
    expect(kit.mill("report", "--to", db.url, "x", "--used", "--scrapped"), 2, "one of --used")
    expect(kit.mill("report", "x", "--used"), 2, "--to URL")
    expect(kit.mill("import-status", "x"), 2, "--to URL")
    for what in ("nobody", "ab" * 32, "'; DROP TABLE device; --"):
        expect(report(db, what, "--used"), 2, "no device")
    kit.check(all(s == "unused" for s, in db.ask("SELECT state FROM {p}device")), "a refusal changed something")
    empty = kind()
    if kind is File:
        expect(claim(empty, "A"), 2, "there is no database", "certmill load")
        kit.check(not os.path.exists(empty.path), "a database was made")
        with open(empty.path, "wb"):
            pass
    expect(claim(empty, "A"), 2, "has no devices", "certmill load")
    expect(kit.mill("claim", "--from", "mysql://x", "--station", "A"), 2)


def server_troubles():
    """Locks of others are passed over; what can't be reached is told without the password."""
    db = loaded(Base, "labels-a")
    server = Base.server
    psql = [f"{server.bindir}/psql", "-h", server.place, "-p", str(server.port), "-U", e2e_postgres.SUPERUSER, "-d", db.database,
            "-XAtq"]
    with subprocess.Popen(psql, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
        p.stdin.write(b"BEGIN; SELECT device_id FROM certmill.device WHERE state = 'unused' ORDER BY sku, lot, order_name, "
                      b"run_no, seq LIMIT 1 FOR UPDATE;\n")
        p.stdin.flush()
        locked = p.stdout.readline().decode().strip()
        one = take(db, "A")
        kit.check(locked and one["device_id"] != locked, "a row that another has locked", locked, one["device_id"])
        p.stdin.close()
        p.wait()
    kit.check(take(db, "A")["device_id"] == locked, "a lock that was given back")
    server.psql("CREATE ROLE outsider LOGIN PASSWORD 'outside'; CREATE ROLE station LOGIN PASSWORD 'inside'")
    with open(os.path.join(os.environ.get("CM_SOURCE", ".."), "docs", "stations.md"), encoding="utf-8") as f:
        grants = re.findall(r"^GRANT .*;$", f.read(), re.M)
    kit.check(len(grants) == 3, "the rights of a station in docs/stations.md")
    server.psql(" ".join(grants), db.database)
    url = server.url(db.database, user="station", password="inside")
    third = got(kit.mill("claim", "--from", url, "--station", "A", "--request-id", "third", "--json"))["device_id"]
    expect(kit.mill("report", "--to", url, third, "--returned", "--station", "A"), 0)
    r = kit.mill("claim", "--from", server.url(db.database, user="outsider", password="outside"), "--station", "A")
    expect(r, 3, "permission denied")
    kit.check(b"outside:" not in r.err and b":outside" not in r.err, "a password is told", r)
    server.stop("immediate")
    r = claim(db, "A", "--request-id", "q")
    expect(r, 3, "can't open the database")
    kit.check(e2e_postgres.PASSWORD.encode() not in r.err and b"p%40ss" not in r.err, "a password is told", r)
    server.start()
    kit.check(take(db, "A", "--request-id", "q")["device_id"], "after a restart")


def lost_commits():
    """A COMMIT that does not arrive, and one whose answer does not: nobody knows, and the same request tells."""
    server = Base.server

    def lose(_proxy, client, upstream):
        e2e_postgres.Proxy.cut(upstream)
        e2e_postgres.Proxy.cut(client)
        return False

    def lose_answer(proxy, client, upstream):
        e2e_postgres.Proxy.cut(client)  # its answer finds nobody
        upstream.sendall(proxy.COMMIT)
        return False

    for what, at_commit, committed in (("COMMIT", lose, False), ("answer", lose_answer, True)):
        db = loaded(Base, "labels-a")
        proxy = e2e_postgres.Proxy(server.port, at_commit)
        r = kit.mill("claim", "--from", server.url(db.database, port=proxy.port), "--station", "A", "--request-id", "q")
        expect(r, 3, "nobody knows whether it did", "--request-id")
        server.wait_idle()
        was = db.ask("SELECT device_id FROM {p}device WHERE state = 'claimed'")
        kit.check(proxy.hits == 1 and len(was) == committed, f"a lost {what}:", proxy.hits, was)
        again = take(db, "A", "--request-id", "q")
        now = db.ask("SELECT device_id FROM {p}device WHERE state = 'claimed'")
        kit.check(again["again"] == committed and now == [(again["device_id"],)] and was in ([], now), f"a lost {what}:", was, now)
        proxy.close()


def locked_file():
    """SQLite: a writer that stays is waited for, then told."""
    db = loaded(File, "labels-a")
    holder = sqlite3.connect(db.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    p = subprocess.Popen([kit.CERTMILL, "claim", "--from", db.url, "--station", "A", "--json"], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
    time.sleep(3)
    kit.check(p.poll() is None, "it did not wait for the lock")
    holder.execute("ROLLBACK")
    holder.close()
    out, said = p.communicate(timeout=kit.PATIENCE)
    kit.check(json.loads(out)["device_id"], "after the lock")
    kit.check(f"waiting for the database {db.url}: another process has it locked" in said.decode(), "told:", said)


def fleets():
    kit.ca_init("ca", "--subject", "/CN=Claims CA")
    kit.ca_init("other-ca", "--subject", "/CN=Other CA")
    for name, ca, count, more in (("labels-a", "ca", 3, ["--sku", "A", "--lot", "L1", "--order", "O1"]),
                                  ("labels-b", "ca", 2, ["--sku", "A", "--lot", "L2"]), ("labels-c", "ca", 3, []),
                                  ("labels-d", "ca", 40, ["--sku", "D"])):
        kit.must_mint(name, ca, "--count", str(count), "--id-pattern", name + "-{seq}", *more)
    kit.must_mint("foreign", "other-ca", "--count", "1", "--id-pattern", "labels-a-{seq}")
    kit.must_mint("many", "ca", "--count", str(CLAIMS))


def main():
    kit.enter_place("claims", memory=True)
    fleets()
    kinds = [File]
    Base.server = e2e_postgres.Server.find()
    if Base.server is not None:
        kinds.append(Base)
    for kind in kinds:
        for test in (refusals, filters, leases, late, transitions, returned, requests, reworked, two_authorities, files, purged,
                     no_indexes, import_status, killed_before_print, the_same_at_once, killed_anywhere, all_at_once):
            kit.say(kind.name, test.__name__)
            test(kind)
    locked_file()
    if Base.server is not None:
        lost_commits()
        server_troubles()
    sys.exit(kit.finish())


main()
