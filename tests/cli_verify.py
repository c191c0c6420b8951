#!/usr/bin/env python3
"""Goal: verify finds whatever is wrong with a fleet and nothing in a sound one; show and extract give what the row
says, or nothing. Method: small fleets of both layouts, one damage at a time planted in a copy, and single bits turned
over at random places (CM_FLIPS of them, from a printed seed CM_SEED)."""
import hashlib
import json
import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile

CERTMILL = os.environ.get("CERTMILL", "certmill")
SEED = int(os.environ.get("CM_SEED", "0")) or random.randrange(1, 1 << 31)
FLIPS = int(os.environ.get("CM_FLIPS", "60"))
WORK = tempfile.mkdtemp(prefix="cm-verify-")
failures = 0


def run(*args):
    return subprocess.run([CERTMILL, *args], capture_output=True, text=True)


def check(fact, text):
    global failures
    if not fact:
        failures += 1
        print("FAILED:", text)


def mint(name, *options):
    r = run("mint", "--ca", f"{WORK}/ca/ca.pem", "--ca-key", f"{WORK}/ca/ca.key", "--out", f"{WORK}/{name}",
            "--plaintext-keys", "--quiet", *options)
    if r.returncode != 0:
        sys.exit(f"mint {name}: exit {r.returncode}: {r.stderr}")


def write_list():
    """40 devices with columns."""
    with open(f"{WORK}/list.csv", "w", encoding="utf-8") as h:
        h.write("serial,mac,site,lot\r\n")
        for i in range(40):
            h.write(f'S{i},02:00:00:00:00:{i:02x},"Werk ""{i % 3}""",L{i}\r\n')


def verify(fleet, *options):
    """Exit code, findings as lines, stderr."""
    r = run("verify", fleet, "--json", "--workers", "2", *options)
    found = json.loads(r.stdout)["findings"] if r.stdout else []
    return r.returncode, [f"{f['device_id']}: {f['what']} ({f['file']} at {f['offset']})" for f in found], r.stderr


# What may be done to a fleet. d is its directory, f a file in it.
def read(d, f, offset=0, length=-1):
    with open(f"{d}/{f}", "rb") as h:
        h.seek(offset)
        return h.read(length)


def write(d, f, offset, octets):
    with open(f"{d}/{f}", "r+b") as h:
        h.seek(offset)
        h.write(octets)


def append(d, f, octets):
    with open(f"{d}/{f}", "ab") as h:
        h.write(octets)


def cut(d, f, octets):
    os.truncate(f"{d}/{f}", os.path.getsize(f"{d}/{f}") - octets)


def flip(d, f, offset, bit=1):
    write(d, f, offset, bytes([read(d, f, offset, 1)[0] ^ bit]))


def rows(d):
    return read(d, "manifest.ndjson").split(b"\n")[:-1]


def set_rows(d, lines):
    with open(f"{d}/manifest.ndjson", "wb") as h:
        h.write(b"".join(line + b"\n" for line in lines))


def row(d, i):
    return json.loads(rows(d)[i])


def change_rows(d, change):
    """change gets a list of parsed rows."""
    parsed = [json.loads(line) for line in rows(d)]
    change(parsed)
    set_rows(d, [json.dumps(r, separators=(",", ":"), ensure_ascii=False).encode() for r in parsed])


def change_run(d, change):
    with open(f"{d}/run.json") as h:
        run_json = json.load(h)
    change(run_json)
    with open(f"{d}/run.json", "w") as h:
        json.dump(run_json, h)


def swap(items, a, b, key=None):
    if key is None:
        items[a], items[b] = items[b], items[a]
    else:
        items[a][key], items[b][key] = items[b][key], items[a][key]


def flip_entry(side, delta):
    return lambda d: flip(d, row(d, 5)[side]["segment"], row(d, 5)[side]["offset"] + delta)


def swap_key_data(d):
    a, b = row(d, 5)["key"], row(d, 9)["key"]
    x, y = (read(d, p["segment"], p["offset"], p["length"]) for p in (a, b))
    write(d, a["segment"], a["offset"], y)
    write(d, b["segment"], b["offset"], x)


def find_padding(d, f):
    data = read(d, f)
    for at in range(0, len(data), 512):
        if data[at:at + 17] == b"pax_global_header" and data[at + 156:at + 157] == b"g":
            return at, int(data[at + 124:at + 135], 8)
    sys.exit("no padding in the segment: choose another --batch")


def entry_in_padding(d):
    f = "chains/000000.tar"
    at, size = find_padding(d, f)
    header = bytearray(read(d, f, row(d, 5)["chain"]["offset"] - 512, 512))
    header[124:135] = b"%011o" % size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    write(d, f, at, bytes(header))


def same_bundle(lines):
    keep = {k: lines[9][k] for k in ("device_id", "seq")}
    lines[9] = {**lines[5], **keep}


def killed(d):
    change_run(d, lambda r: r.update(outcome=None))
    for side in ("chains", "keys"):
        cut(d, f"{side}/000000.tar", 4096)
        os.rename(f"{d}/{side}/000000.tar", f"{d}/{side}/000000.tar.part")


def link_away(d, f):
    os.rename(f"{d}/{f}", f"{WORK}/away")
    os.symlink(f"{WORK}/away", f"{d}/{f}")


def path(d, side, i=5):
    return row(d, i)[side]["path"]


def swap_files(d):
    a, b = path(d, "key", 5), path(d, "key", 6)
    x, y = read(d, a), read(d, b)
    write(d, a, 0, y)
    write(d, b, 0, x)


def replace_by_fifo(d):
    f = f"{d}/{path(d, 'key')}"
    os.unlink(f)
    os.mkfifo(f)


def change_journal(d, change):
    """change gets the list of records; they are sealed again as the format says."""
    data, records, at = read(d, "journal"), [], 0
    for end in range(512, len(data) + 1, 512):
        if data[end - 1:end] == b"\n":
            records.append(json.loads(data[at + 64:end]))
            at = end
    change(records)
    chain, out = bytes(32), b""
    for i, record in enumerate(records):
        text = b" " + json.dumps({**record, "record": i}, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-(64 + len(text) + 1) % 512) + b"\n"
        chain = hashlib.sha256(chain + text).digest()
        out += chain.hex().encode() + text
    with open(f"{d}/journal", "wb") as h:
        h.write(out)


def of_type(records, kind):
    return [r for r in records if r["type"] == kind]


def in_journal(kind, **keys):
    return lambda d: change_journal(d, lambda records: of_type(records, kind)[-1].update(keys))


def reserve_one_more(records):
    """A prefix more is on record before the end of the run, and nothing accounts for it. Returns its lot."""
    lots = [lot for lot in (r if r["type"] == "reserve" else r.get("reserve") for r in records) if lot]
    number = sum(len(lot["prefixes"]) for lot in lots)
    lot = {"type": "reserve", "first": number, "at_most": lots[-1]["at_most"], "prefixes": [f"7c{number:014x}"]}
    records.insert(records.index(of_type(records, "end")[-1]), lot)
    return lot


def burn(d, made=3, **other):
    """A prefix more was reserved and burned; other: keys of its line that are wrong."""
    def change(records):
        lot, end = reserve_one_more(records), of_type(records, "end")[-1]
        line = {"run_id": row(d, 0)["run_id"], "attempt": 1, "prefix": lot["prefixes"][0], "number": lot["first"],
                "signed": made, "at_most": lot["at_most"], "reason": "killed" if made is None else "failed",
                "burned_at": "2030-01-01T00:00:00Z", **other}
        append(d, "burned.ndjson", json.dumps(line).encode() + b"\n")
        end["burned_bytes"] = os.path.getsize(f"{d}/burned.ndjson")
        end["signatures"] += line["signed"] if isinstance(line["signed"], int) else 0
    change_journal(d, change)


def burn_wrongly(**other):
    return lambda d: burn(d, **other)


def burn_twice(d):
    burn(d)
    line = read(d, "burned.ndjson")
    append(d, "burned.ndjson", line)
    change_journal(d, lambda r: of_type(r, "end")[-1].update(burned_bytes=2 * len(line)))


def burn_and(then):
    def damage(d):
        burn(d)
        then(d)
    return damage


def burn_committed(d):
    number = []
    change_journal(d, lambda r: number.append(of_type(r, "commit")[0]["prefixes"][0][0]))
    prefix = []
    change_journal(d, lambda r: prefix.append(of_type(r, "reserve")[0]["prefixes"][number[0]]))
    burn(d, number=number[0], prefix=prefix[0])


def other_rows(records):
    first = of_type(records, "commit")[0]
    first["rows_xxh3"] = first["rows_xxh3"][::-1]


def other_prefix(records):
    """The first committed prefix is another one."""
    reserve = of_type(records, "reserve")[0]
    reserve["prefixes"][of_type(records, "commit")[0]["prefixes"][0][0]] = "7f" * 8


def request(**keys):
    def change(d):
        change_journal(d, lambda r: r[0]["request"].update(keys))
        change_run(d, lambda r: r["request"].update(keys))
    return change


def shift_seqs(records):
    last = of_type(records, "commit")[-1]["seqs"][-1]
    last[0], last[1] = last[0] + 1, last[1] + 1


CHAINS, KEYS = "chains/000000.tar", "keys/000000.tar"
# fleet, what is done, exit code, what a finding or the message says
CASES = [
    ("tar", "nothing", lambda d: None, 0, ""),
    ("tree", "nothing", lambda d: None, 0, ""),
    ("der", "nothing", lambda d: None, 0, ""),
    ("tar", "bit of a certificate", flip_entry("chain", 300), 1, "XXH3"),
    ("tar", "bit of a key", flip_entry("key", 100), 1, "XXH3"),
    ("tar", "bit of an entry's name", flip_entry("chain", -512), 1, "checksum"),
    ("tar", "bit at a header's end", flip_entry("chain", -1), 1, "tar header"),
    ("tar", "bit behind the data", flip_entry("key", 400), 1, "between the entry"),
    ("tar", "bit of the padding", lambda d: flip(d, KEYS, find_padding(d, KEYS)[0] + 560), 1, "comment of spaces"),
    ("tar", "entry in the padding", entry_in_padding, 1, "an entry that no row names"),
    ("tar", "more end blocks", lambda d: append(d, CHAINS, b"\0" * 4096), 1, "not the last 4096"),
    ("tar", "an octet more", lambda d: append(d, CHAINS, b"x"), 1, CHAINS),
    ("tar", "no end blocks", lambda d: cut(d, KEYS, 4096), 1, "no end blocks"),
    ("tar", "a block less", lambda d: cut(d, KEYS, 512), 1, "not the last 4096"),
    ("tar", "half a segment", lambda d: os.truncate(f"{d}/{CHAINS}", row(d, 100)["chain"]["offset"] + 600), 1,
     "ends before"),
    ("tar", "empty segment", lambda d: os.truncate(f"{d}/{CHAINS}", 0), 1, "ends before"),
    ("tar", "no segment", lambda d: os.unlink(f"{d}/{KEYS}"), 1, "segment is missing"),
    ("tar", "segment elsewhere", lambda d: link_away(d, KEYS), 1, "symbolic link"),
    ("tar", "extra segment", lambda d: shutil.copy(f"{d}/{KEYS}", f"{d}/keys/000001.tar"), 1, "no row names anything"),
    ("tar", "extra file", lambda d: append(d, "chains/note", b"x"), 1, "does not have"),
    ("tar", "unfinished segment", lambda d: append(d, "chains/000001.tar.part", b"x"), 1, "unfinished"),
    ("tar", "unfinished index", lambda d: append(d, "index.part", b"x"), 1, "unfinished"),
    ("tar", "open directory", lambda d: os.chmod(f"{d}/keys", 0o755), 1, "mode 0755"),
    ("tar", "open segment", lambda d: os.chmod(f"{d}/{KEYS}", 0o640), 1, "mode 0640"),
    ("tar", "keys swapped on disk", swap_key_data, 1, "XXH3"),
    ("tar", "keys swapped in rows", lambda d: change_rows(d, lambda r: swap(r, 5, 9, "key")), 1, "public"),
    ("tar", "ids swapped", lambda d: change_rows(d, lambda r: swap(r, 5, 9, "device_id")), 1, "another name"),
    ("tar", "rows swapped", lambda d: change_rows(d, lambda r: swap(r, 5, 9)), 1, "not in the order"),
    ("tar", "row gone", lambda d: set_rows(d, rows(d)[:5] + rows(d)[6:]), 1, "an entry that no row names"),
    ("tar", "last rows gone", lambda d: set_rows(d, rows(d)[:-3]), 1, "an entry that no row names"),
    ("tar", "row twice", lambda d: set_rows(d, rows(d)[:9] + [rows(d)[3]] + rows(d)[10:]), 1, "same device id"),
    ("tar", "bundle twice", lambda d: change_rows(d, same_bundle), 1, "same public key"),
    ("tar", "serial of another", lambda d: change_rows(d, lambda r: r[9].update(serial=r[5]["serial"])), 1, "serial"),
    ("tar", "number of another", lambda d: change_rows(d, lambda r: r[9].update(seq=r[5]["seq"])), 1,
     "same sequence number"),
    ("tar", "torn row", lambda d: cut(d, "manifest.ndjson", 4500), 1, "cut off"),
    ("tar", "no row", lambda d: set_rows(d, rows(d)[:5] + [b"hello"] + rows(d)[5:]), 1, "can't be read"),
    ("tar", "empty line", lambda d: set_rows(d, rows(d)[:5] + [b""] + rows(d)[5:]), 1, "can't be read"),
    ("tar", "endless line", lambda d: set_rows(d, rows(d)[:5] + [b"x" * 2000000] + rows(d)[5:]), 1, "cut off"),
    ("tar", "zeros", lambda d: write(d, "manifest.ndjson", 0, b"\0" * 5000), 1, "can't be read"),
    ("tar", "other count", lambda d: change_run(d, lambda r: r["outcome"].update(devices=1)), 1, "outcome.devices"),
    ("tar", "other length", lambda d: change_run(d, lambda r: r["outcome"].update(manifest_bytes=1)), 1,
     "manifest_bytes"),
    ("tar", "other run", lambda d: change_run(d, lambda r: r.update(run_id=r["run_id"][::-1])), 1, "run_id"),
    ("tar", "complete too early", lambda d: change_run(d, lambda r: r["request"].update(devices=1000)), 1,
     "complete with"),
    ("tar", "fewer requested", lambda d: change_run(d, lambda r: r["request"].update(devices=100)), 1,
     "a number that the request"),
    ("tar", "stopped", lambda d: change_run(d, lambda r: (r["outcome"].update(state="stopped"),
                                                        r["request"].update(devices=1000))), 1,
     "outcome.state: not what the journal says"),
    ("tar", "failed", lambda d: change_run(d, lambda r: r["outcome"].update(state="failed")), 1,
     "outcome.state: not what the journal says"),
    ("tar", "not ended", lambda d: change_run(d, lambda r: r.update(outcome=None)), 1, "did not end cleanly"),
    ("tar", "killed", killed, 1, "did not end cleanly"),
    ("tar", "no run.json", lambda d: os.unlink(f"{d}/run.json"), 2, "run.json"),
    ("tar", "torn run.json", lambda d: cut(d, "run.json", 10), 2, "not JSON"),
    ("tar", "no manifest", lambda d: os.unlink(f"{d}/manifest.ndjson"), 2, "manifest.ndjson is missing"),
    ("tar", "no ca.pem", lambda d: os.unlink(f"{d}/ca.pem"), 2, "ca.pem"),
    ("tar", "no keys", lambda d: shutil.rmtree(f"{d}/keys"), 2, "--keys"),
    ("tar", "journal sealed again", lambda d: change_journal(d, lambda r: None), 0, ""),
    ("tar", "burned", burn, 0, ""),
    ("tar", "burned when killed", burn_wrongly(made=None), 0, ""),
    ("tar", "burned, both ways", lambda d: (burn(d), burn(d, None)), 0, ""),
    ("tar", "burned twice", burn_twice, 1, "the same prefix as in a line before"),
    ("tar", "burned and committed", burn_committed, 1, "committed or unused"),
    ("tar", "burned by another run", burn_wrongly(run_id="0"), 1, "run_id"),
    ("tar", "burned in no attempt", burn_wrongly(attempt=0), 1, "attempt: none"),
    ("tar", "burned in a later attempt", burn_wrongly(attempt=2), 1, "attempt: none"),
    ("tar", "burned another prefix", burn_wrongly(prefix="00" * 8), 1, "prefix: not the one"),
    ("tar", "burned what never was", burn_wrongly(number=100000), 1, "never reserved"),
    ("tar", "burned more than there is", burn_wrongly(made=32), 1, "signed: not"),
    ("tar", "burned and not counted", burn_wrongly(at_most=7), 1, "at_most"),
    ("tar", "burned for no reason", burn_wrongly(reason="killed"), 1, "reason"),
    ("tar", "burned never", burn_wrongly(burned_at="today"), 1, "burned_at"),
    ("tar", "burned with more keys", burn_wrongly(note="x"), 1, "eight keys"),
    ("tar", "burned file gone", burn_and(lambda d: os.unlink(f"{d}/burned.ndjson")), 1, "neither committed"),
    ("tar", "burned file cut", burn_and(lambda d: cut(d, "burned.ndjson", 5)), 1, "shorter than"),
    ("tar", "burned file longer", burn_and(lambda d: append(d, "burned.ndjson", b"{}\n")), 1, "octets behind"),
    ("tar", "burned file no JSON", burn_and(lambda d: write(d, "burned.ndjson", 0, b"x")), 1, "eight keys"),
    ("tar", "burned line without end", burn_and(lambda d: write(
        d, "burned.ndjson", os.path.getsize(f"{d}/burned.ndjson") - 1, b" ")), 1, "does not end"),
    ("tar", "prefix unaccounted", lambda d: change_journal(d, reserve_one_more), 1,
     "neither committed, unused nor burned"),
    ("tar", "more signatures", in_journal("end", signatures=201), 1, "made 201 signatures"),
    ("tar", "fewer signatures", in_journal("end", signatures=199), 1, "made 199 signatures"),
    ("tar", "other rows", lambda d: change_journal(d, other_rows), 1, "rows of commit 1"),
    ("tar", "other time of minting", lambda d: write(
        d, "manifest.ndjson", read(d, "manifest.ndjson").index(b"minted_at") + 12, b"2030"), 1,
     "are not those that were committed"),
    ("tar", "commits of fewer", lambda d: change_journal(d, lambda r: of_type(r, "commit")[-1].update(
        devices=199)), 1, "commits of 199"),
    ("tar", "commits of others", lambda d: change_journal(d, shift_seqs), 1, "seq: in no commit"),
    ("tar", "serials of nobody", lambda d: change_journal(d, other_prefix), 1, "prefix is in no commit"),
    ("tar", "another request", lambda d: change_run(d, lambda r: r["request"].update(sku="x")), 1,
     "request: not what the journal says"),
    ("tar", "another CA", lambda d: change_run(d, lambda r: r["ca"].update(subject="CN=x")), 1,
     "ca: not what the journal says"),
    ("tar", "another start", lambda d: change_run(d, lambda r: r.update(created_at="2030-01-01T00:00:00Z")), 1,
     "created_at: not what"),
    ("tar", "another key asked", request(key="P-384"), 1, "key_alg: not what was asked"),
    ("tar", "another signature asked", request(signature="x"), 1, "sig_alg: not what was asked"),
    ("tar", "another beginning asked", request(not_before="2020-01-01T00:00:00Z"), 1, "not_before: not what"),
    ("tar", "another end asked", request(not_after="2099-01-01T00:00:00Z"), 1, "not_after: not what"),
    ("tar", "another pattern asked", request(id_pattern="X{seq}"), 1, "what the id pattern makes"),
    ("tar", "a pattern of MACs", request(id_pattern="{mac}", mac_base="020000000000"), 1, "what the id pattern makes"),
    ("tar", "a pattern that can't be checked", request(id_pattern="{uuid}"), 0, ""),
    ("tar", "another subject asked", request(subject="/O=x/CN={id}"), 1, "subject: not what was asked"),
    ("tar", "a subject that can't be checked", request(subject="/CN={uuid}"), 0, ""),
    ("tar", "names asked that nobody got", request(san="DNS:{id}.example.com"), 1, "its subjectAltName isn't what was asked"),
    ("list", "nothing", lambda d: None, 0, ""),
    ("list", "another value", lambda d: change_rows(d, lambda r: r[5]["attributes"].update(site="elsewhere")), 1,
     "subject: not what was asked"),
    ("list", "another MAC", lambda d: change_rows(d, lambda r: r[5]["attributes"].update(mac="00:00:00:00:00:00")), 1,
     "its subjectAltName isn't what was asked"),
    ("list", "another id", lambda d: change_rows(d, lambda r: r[5]["attributes"].update(serial="S0")), 1,
     "the id column's value is not device_id"),
    ("list", "a value that stands nowhere else", lambda d: write(
        d, "manifest.ndjson", read(d, "manifest.ndjson").index(b'"lot":"L5"') + 7, b"M"), 1,
     "are not those that were committed"),
    ("list", "an attribute more", lambda d: change_rows(d, lambda r: r[5]["attributes"].update(x="")), 1,
     "attributes: not the columns"),
    ("list", "an attribute less", lambda d: change_rows(d, lambda r: r[5]["attributes"].pop("lot")), 1,
     "attributes: not the columns"),
    ("list", "names in another order", request(san="URI:urn:dev:mac:{mac},DNS:{serial}.example.com"), 1,
     "its subjectAltName isn't what was asked"),
    ("list", "another id column", request(id_column="lot"), 1, "the id column's value is not device_id"),
    ("tar", "file at the top", lambda d: append(d, "notes", b"x"), 1, "does not have"),
    ("tar", "open journal", lambda d: os.chmod(f"{d}/journal", 0o666), 1, "mode 0666"),
    ("tar", "a directory for a file", lambda d: (os.path.exists(f"{d}/index") and os.unlink(f"{d}/index"),
                                                 os.mkdir(f"{d}/index")), 1, "not a regular file"),
    ("tree", "no certificate", lambda d: os.unlink(f"{d}/{path(d, 'chain')}"), 1, "missing"),
    ("tree", "no key", lambda d: os.unlink(f"{d}/{path(d, 'key')}"), 1, "missing"),
    ("tree", "extra certificate", lambda d: append(d, "chains/000000/z.crt", b"x"), 1, "a file that no row names"),
    ("tree", "extra key", lambda d: append(d, "keys/000000/z.key", b"x"), 1, "a file that no row names"),
    ("tree", "short key", lambda d: cut(d, path(d, "key"), 1), 1, "another length"),
    ("tree", "long key", lambda d: append(d, path(d, "key"), b"x"), 1, "another length"),
    ("tree", "bit of a key", lambda d: flip(d, path(d, "key"), 40), 1, "XXH3"),
    ("tree", "open key", lambda d: os.chmod(f"{d}/{path(d, 'key')}", 0o644), 1, "mode is not 0600"),
    ("tree", "keys swapped", swap_files, 1, "public"),
    ("tree", "no shard", lambda d: shutil.rmtree(f"{d}/chains/000000"), 1, "missing"),
    ("tree", "extra shard", lambda d: os.mkdir(f"{d}/chains/000077"), 1, "no row names anything"),
    ("tree", "key elsewhere", lambda d: link_away(d, path(d, "key")), 1, "symbolic link"),
    ("tree", "key is a FIFO", replace_by_fifo, 1, "regular"),
]


def test_damage():
    for base, name, damage, code, says in CASES:
        d = f"{WORK}/copy"
        shutil.rmtree(d, ignore_errors=True)
        shutil.copytree(f"{WORK}/{base}", d)
        damage(d)
        rc, found, err = verify(d)
        check(rc == code and (says in err + "\n".join(found)), f"{base}, {name}: exit {rc}, {found[:3]} {err}")


def test_flips():
    random.seed(SEED)
    for base in ("tar", "tree"):
        d = f"{WORK}/{base}"
        files = [os.path.relpath(os.path.join(r, f), d) for r, _, fs in os.walk(d) for f in fs]
        files = sorted(f for f in files if f not in ("index", "run.json"))
        sizes = [os.path.getsize(f"{d}/{f}") for f in files]
        for _ in range(FLIPS):
            f = random.choices(files, sizes)[0]
            at, bit = random.randrange(os.path.getsize(f"{d}/{f}")), 1 << random.randrange(8)
            flip(d, f, at, bit)
            rc, _, err = verify(d)
            check(rc in (1, 2), f"seed {SEED}: {base}/{f} octet {at} bit {bit}: exit {rc} {err}")
            flip(d, f, at, bit)
        check(verify(d)[0] == 0, f"{base} is sound again")


def test_order():
    """Two rows that changed places: these two devices are named, and none between them."""
    d = f"{WORK}/copy"
    shutil.rmtree(d, ignore_errors=True)
    shutil.copytree(f"{WORK}/tar", d)
    moved = {row(d, 5)["device_id"], row(d, 20)["device_id"]}
    change_rows(d, lambda r: swap(r, 5, 20))
    found = json.loads(run("verify", d, "--json").stdout)["findings"]
    named = {f["device_id"] for f in found if "not in the order" in f["what"]}
    check(named == moved, f"rows 5 and 20 swapped: {named}")


def test_sample():
    r = run("verify", f"{WORK}/tar", "--sample", "10", "--seed", "7", "--json")
    first = json.loads(r.stdout)
    check(r.returncode == 0 and first["sample"] and first["checked"] == 10 and first["seed"] == 7, "sample of 10")
    r = run("verify", f"{WORK}/tar", "--sample", "100000", "--json")
    check(r.returncode == 0 and not json.loads(r.stdout)["sample"], "a sample of more than all is all")
    check(run("verify", f"{WORK}/tar", "--seed", "7").returncode == 2, "--seed alone")


def test_show():
    d = f"{WORK}/tar"
    want = row(d, 17)
    for key in ("device_id", "certificate_id"):
        r = run("show", d, want[key], "--json")
        check(r.returncode == 0 and json.loads(r.stdout) == want, f"show by {key}")
    r = run("show", d, want["device_id"])
    bundle = read(d, want["chain"]["segment"], want["chain"]["offset"], want["chain"]["length"]).decode()
    end = bundle.index("-----END CERTIFICATE-----\n") + 26
    check(r.stdout.endswith("\n\n" + bundle[:end]) and want["subject"] in r.stdout, "show prints the leaf")
    r = run("show", d, "nobody")
    check(r.returncode == 2 and '"nobody"' in r.stderr, "show of an unknown id")
    index = read(d, "index")
    for damage in ("gone", "stale", "damaged"):
        os.unlink(f"{d}/index") if damage == "gone" else flip(d, "index", 16 if damage == "stale" else 4100)
        r = run("show", d, want["device_id"], "--json")
        check(r.returncode == 0 and read(d, "index") == index, f"index {damage}: made again")
    r = run("show", f"{WORK}/der", "d:5")
    check(r.stdout.endswith("-----END CERTIFICATE-----\n"), "show of DER prints PEM")


def test_extract():
    out = f"{WORK}/out"
    for base, device in (("tar", row(f"{WORK}/tar", 3)), ("tree", row(f"{WORK}/tree", 3))):
        r = run("extract", f"{WORK}/{base}", device["device_id"], "--out", out)
        stem = f"{out}/{device['device_id']}"
        check(r.returncode == 0 and r.stdout == f"{stem}.crt\n{stem}.key\n", f"extract from {base}: {r.stderr}")
        modes = [stat.S_IMODE(os.stat(stem + s).st_mode) for s in (".crt", ".key")]
        check(modes == [0o644, 0o600] and stat.S_IMODE(os.stat(out).st_mode) == 0o700, f"modes {modes}")
        again = run("extract", f"{WORK}/{base}", device["device_id"], "--out", out)
        check(again.returncode == 2 and "exists already" in again.stderr, "extract never overwrites")
        public = [subprocess.run(c, capture_output=True).stdout for c in (
            ["openssl", "pkey", "-in", stem + ".key", "-pubout"],
            ["openssl", "x509", "-in", stem + ".crt", "-noout", "-pubkey"])]
        check(public[0] == public[1] != b"", "key and certificate belong together")
        shutil.rmtree(out)
    r = run("extract", f"{WORK}/tar", row(f"{WORK}/tar", 3)["device_id"], "nobody", "--out", out)
    check(r.returncode == 2 and not os.path.exists(out), "one unknown id: nothing is written")
    d = f"{WORK}/copy"
    shutil.rmtree(d, ignore_errors=True)
    shutil.copytree(f"{WORK}/tar", d)
    flip_entry("key", 100)(d)
    r = run("extract", d, row(d, 5)["device_id"], "--out", out)
    check(r.returncode == 2 and "damaged" in r.stderr and os.listdir(out) == [], "a damaged key: neither file")


def main():
    try:
        r = run("ca", "init", "--out", f"{WORK}/ca")
        if r.returncode != 0:
            sys.exit(f"ca init: {r.stderr}")
        mint("tar", "--count", "200", "--batch", "31")
        mint("tree", "--count", "60", "--layout", "tree")
        mint("der", "--count", "20", "--encoding", "der", "--id-pattern", "d:{seq}")
        write_list()
        mint("list", "--devices", f"{WORK}/list.csv", "--subject", "/O={site}/CN={serial}",
             "--san", "DNS:{serial}.example.com,URI:urn:dev:mac:{mac}")
        for test in (test_damage, test_flips, test_order, test_sample, test_show, test_extract):
            test()
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    print(f"{len(CASES)} damages, {2 * FLIPS} flips (seed {SEED}): {failures} failures")
    sys.exit(failures != 0)


main()
