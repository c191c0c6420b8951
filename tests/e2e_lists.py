#!/usr/bin/env python3
"""Goal: a factory's list becomes the fleet that it describes, whatever its format: every row a device, every column in
its attributes, those that the certificate names in the certificate; rows that can't be used are told at once, or left
out and written to a file; a run that is killed goes on with the same rows; memory stays what it is. Method: lists with
every peculiarity of CSV, written and read back by Python's csv and json; certificates read by libcrypto's command; the
program itself killed, resumed, explained, verified."""

import csv
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time

import check_fleet
import e2e_kit as kit

MANY = 3000 if kit.SLOW else 300000
FEW = 500 if kit.SLOW else 20000
COLUMNS = ["serial", "mac", "part no", "lot", "note"]
NAMES = ("--subject", "/O={lot}/OU={part no}/CN={serial}", "--san", "URI:urn:dev:mac:{mac},DNS:{serial}.example.com")
rng = random.Random(kit.SEED)


def device(i):
    """The values of a device: commas, quotes, line ends and every script among them."""
    note = rng.choice(["", "plain", 'a "quoted" word', "a, b", "two\r\nlines", "one\nmore", "Gerät 日本 😀", "back\\slash",
                       "tab\tand \x7f", '"', ",", " "])
    return {"serial": f"SN-{i:07}", "mac": f"02:00:00:{i >> 16 & 255:02x}:{i >> 8 & 255:02x}:{i & 255:02x}",
            "part no": f"PN {i % 97} (ä)", "lot": f"L\"{i % 13}\"", "note": note}


def write_csv(path, devices, bom=True, end="\r\n", quoting=csv.QUOTE_MINIMAL):
    with open(path, "w", encoding="utf-8-sig" if bom else "utf-8", newline="") as f:
        w = csv.DictWriter(f, COLUMNS, lineterminator=end, quoting=quoting)
        w.writeheader()
        w.writerows(devices)


def write_ndjson(path, devices):
    with open(path, "w", encoding="utf-8") as f:
        for n, d in enumerate(devices):
            keys = COLUMNS if n % 2 == 0 else COLUMNS[::-1]
            f.write(json.dumps({k: d[k] for k in keys}, ensure_ascii=n % 3 == 0) + "\n")


def rows(fleet):
    with open(f"{fleet}/manifest.ndjson", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def agree(fleet, devices, what):
    """Rows, in order of their numbers, and the list."""
    found = sorted(rows(fleet), key=lambda r: r["seq"])
    kit.check([r["device_id"] for r in found] == [d["serial"] for d in devices], what, "ids and their order")
    kit.check([r["seq"] for r in found] == list(range(1, len(devices) + 1)), what, "numbers")
    kit.check([r["attributes"] for r in found] == devices, what, "attributes")
    kit.check(all(list(r["attributes"]) == COLUMNS for r in found[:1000]), what, "the order of the columns")


def certificate(fleet, d):
    """libcrypto's words on a device's certificate."""
    return kit.must(["openssl", "x509", "-noout", "-subject", "-nameopt", "RFC2253,-esc_msb,utf8", "-ext",
                     "subjectAltName"], stdin=open_chain(fleet, d)).out.decode()


def open_chain(fleet, d):
    path = f"{fleet}-{d['serial']}.crt"
    kit.must([kit.CERTMILL, "extract", "--quiet", fleet, d["serial"], "--out", ".", "--certificates-only"])
    os.rename(f"{d['serial']}.crt", path)
    return open(path, "rb")


def certificates_say(fleet, devices, what, sample=3):
    for d in rng.sample(devices, sample):
        text = certificate(fleet, d)
        subject = f"subject=CN={d['serial']},OU={d['part no']},O=" + d["lot"].replace('"', '\\"')
        kit.check(subject in text, what, subject, text)
        kit.check(f"URI:urn:dev:mac:{d['mac']}, DNS:{d['serial']}.example.com" in text, what, text)


def peak(*args):
    """Kilobytes that a run has at most."""
    most = 0
    with subprocess.Popen([kit.CERTMILL, *args], stdin=subprocess.DEVNULL) as p:
        while p.poll() is None: # what wait4 tells has a share of this process in it, from before exec
            with open(f"/proc/{p.pid}/status", encoding="ascii") as f:
                found = re.search(r"VmHWM:\s+(\d+) kB", f.read())
            most = max(most, int(found[1]) if found else 0)
            time.sleep(0.02)
    kit.check(p.returncode == 0 and most > 0, args)
    return most


def test_many():
    devices = [device(i) for i in range(MANY)]
    write_csv("many.csv", devices)
    base = ["mint", "--quiet", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--plaintext-keys", "--profile", "tls-client",
            *NAMES]
    large = peak(*base, "--out", "many", "--devices", "many.csv")
    with open("many.csv", encoding="utf-8-sig", newline="") as f:
        agree("many", list(csv.DictReader(f)), "many:")
    certificates_say("many", devices, "many:", 12)
    r = kit.mill("verify", "--quiet", "many", "--sample", "5000")
    kit.check(r.code == 0, r)
    kit.say(f"{MANY} rows")
    write_csv("few.csv", devices[:FEW])
    small = peak(*base, "--out", "few", "--devices", "few.csv")
    kit.say(f"{small} KB for {FEW} rows, {large} KB for {MANY}")
    kit.check(kit.SLOW or large < small + 12 * 1024, f"memory grows with the list: {small} KB, then {large} KB")
    findings = check_fleet.check("few", ids=[d["serial"] for d in devices[:FEW]], ca="ca/ca.pem", sample_openssl=5)
    kit.check(not findings, *findings[:5])


def test_formats():
    """One list in every shape: the same ids, numbers, attributes and certificates' names."""
    devices = [device(i) for i in range(300)]
    shapes = {"plain.csv": lambda p: write_csv(p, devices, bom=False, end="\n"),
              "quoted.csv": lambda p: write_csv(p, devices, quoting=csv.QUOTE_ALL),
              "list.ndjson": lambda p: write_ndjson(p, devices),
              "list.jsonl": lambda p: write_ndjson(p, devices)}
    for name, write in shapes.items():
        write(name)
        for layout in ("tar", "tree"):
            fleet = f"{name}-{layout}"
            r = kit.mint(fleet, "ca", "--devices", name, "--profile", "tls-client", "--layout", layout, *NAMES)
            kit.check(r.code == 0, r)
            agree(fleet, devices, fleet)
            certificates_say(fleet, devices, fleet)
            findings = check_fleet.check(fleet, ids=[d["serial"] for d in devices], ca="ca/ca.pem")
            kit.check(not findings, *findings[:5])
            kit.check(kit.mill("verify", "--quiet", fleet).code == 0, fleet)


BAD = {3: dict(serial="..", mac="m"), 7: dict(lot=""), 11: dict(mac="a b"), 12: dict(serial="SN-0000001"),
       20: dict({"part no": "x" * 65}), 30: dict(lot="two\nlines")}
REASONS = {3: "can't be used", 7: 'column "lot": it is empty', 11: 'column "mac"', 12: "the same device id as line",
           20: "X.520 allows 64", 30: "a control character"}


def write_bad(path):
    """Rows that can't be used among 60, and the lines where they begin."""
    devices, lines, at = [device(i) | {"note": "a\nb" if i == 5 else "n"} for i in range(60)], {}, 2
    for i, change in BAD.items():
        devices[i] |= change
    for i, d in enumerate(devices):
        lines[i] = at
        at += 1 + sum(v.count("\n") for v in d.values())
    write_csv(path, devices, bom=False, end="\n")
    return devices, lines


def test_bad_rows():
    devices, lines = write_bad("bad.csv")
    mint = lambda out, *more: kit.mint(out, "ca", "--devices", "bad.csv", "--profile", "tls-client", *NAMES, *more)
    r = mint("refused")
    kit.check(r.code == 2 and not os.path.exists("refused") and b"6 rows can't be used" in r.err, r)
    told = [re.match(r"certmill: bad.csv, line (\d+): (.*)", x).groups() for x in r.err.decode().splitlines()[:6]]
    kit.check([int(n) for n, _ in told] == [lines[i] for i in BAD], "all of them at once, in order", told)
    kit.check(all(REASONS[i] in why for i, (_, why) in zip(BAD, told)), told)
    r = mint("left-out", "--skip-bad", "rest.csv")
    kit.check(r.code == 1 and b"6 rows of bad.csv left out: see rest.csv" in r.err, r)
    good = [d for i, d in enumerate(devices) if i not in BAD]
    agree("left-out", good, "left out:")
    findings = check_fleet.check("left-out", ids=[d["serial"] for d in good], ca="ca/ca.pem")
    kit.check(not findings, *findings[:5])
    kit.check(kit.mill("verify", "--quiet", "left-out").code == 0, "left out: sound")
    with open("rest.csv", encoding="utf-8", newline="") as f:
        kit.check(list(csv.DictReader(f)) == [devices[i] for i in BAD], "the rows as they stand, below their header")
    with open("rest.csv.reasons", encoding="utf-8") as f:
        reasons = [json.loads(line) for line in f]
    kit.check([(x["line"], x["reason"]) for x in reasons] == [(int(n), why) for n, why in told], reasons)
    r = mint("again", "--skip-bad", "rest.csv")
    kit.check(r.code == 2 and b"is there already" in r.err and not os.path.exists("again"), r)
    r = mint("left-out", "--skip-bad", "new.csv")
    kit.check(r.code == 2 and not os.path.exists("new.csv"), "a run that is refused leaves no file", r)
    with open("ids.txt", "w", encoding="utf-8") as f:
        f.write("b\n\n../a\nc\nb\na\n")
    r = kit.mint("lines", "ca", "--devices", "ids.txt", "--skip-bad", "rest.txt")
    kit.check(r.code == 1 and [x["device_id"] for x in rows("lines")] == ["b", "c", "a"], "a list of ids:", r)
    with open("rest.txt", encoding="utf-8") as f:
        kit.check(f.read() == "../a\nb\n", "lines as they stand")
    run_json = json.load(open("left-out/run.json", encoding="utf-8"))["request"]
    kit.check((run_json["refused_rows"], run_json["list_format"], run_json["id_column"], run_json["columns"],
               run_json["devices"]) == (6, "csv", "serial", COLUMNS, len(good)), run_json)


def test_explain():
    devices, lines = write_bad("bad.csv")
    args = ["mint", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--out", "never", "--plaintext-keys", "--devices",
            "bad.csv", "--profile", "tls-client", *NAMES, "--explain"]
    r = kit.mill(*args, "--json")
    kit.check(r.code == 1 and not os.path.exists("never"), r)
    told = json.loads(r.out)
    kit.check(told["list"]["columns"] == COLUMNS and told["list"]["id_column"] == "serial" and
              told["list"]["format"] == "csv" and told["list"]["refused"] == 6 and told["devices"] == 54, told)
    kit.check([f["line"] for f in told["list"]["faults"]] == [lines[i] for i in BAD], told["list"])
    kit.check([f["attributes"] for f in told["first"]] == devices[:3], told["first"])
    kit.check([f["san"] for f in told["first"]] ==
              [f"URI:urn:dev:mac:{d['mac']}, DNS:{d['serial']}.example.com" for d in devices[:3]], told["first"])
    r = kit.mill(*args)
    kit.check(r.code == 1 and b"6 rows can't be used, so that the list would be refused" in r.out and
              b"columns serial (the device id), mac" in r.out and
              r.out.startswith(b"Nothing was written. This run would be refused: 6 rows of bad.csv can't be used"), r)
    write_csv("good.csv", [device(i) for i in range(5)])
    r = kit.mill(*(a if a != "bad.csv" else "good.csv" for a in args))
    kit.check(r.code == 0 and b"can't be used" not in r.out and b"subject    CN=SN-0000000,OU=PN 0" in r.out, r)
    r = kit.mint("never", "ca", "--count", "2", "--subject", "/CN={serial}")
    kit.check(r.code == 2 and b"unknown placeholder" in r.err, r)
    r = kit.mint("never", "ca", "--devices", "good.csv", "--subject", "/CN={Serial}")
    kit.check(r.code == 2 and b"{mac} and {uuid}, and of the list {serial}, {part no}, {lot}, {note}" in r.err, r)
    r = kit.mint("never", "ca", "--devices", "good.csv", "--mac-base", "02:00:00:00:00:00")
    kit.check(r.code == 2 and b'a column "mac"' in r.err, r)


def test_unusable():
    """Lists that can't be read: where they went wrong, and what to do."""
    def told(text, *words, skip=(), code=2, name="broken.csv"):
        with open(name, "wb") as f:
            f.write(text)
        r = kit.mint("never", "ca", "--devices", name, "--profile", "tls-client", *skip)
        kit.check(r.code == code and all(w in r.err.decode() for w in words) and not os.path.exists("never"), words, r)
        return r.err.decode()
    rows_ = b"".join(b"SN-%d,plain\n" % i for i in range(40000))
    told(b'serial,note\na,b\nb,"c\nd,e\n', "line 3", "the quote that opens a field in line 3 is not closed")
    told(b'serial,note\na,"1\n2"\nb,"c"\nc,"d\n' + rows_, "line 5: the quote that opens a field there is not closed",
         "close it", "--skip-bad", skip=("--skip-bad", "rest-broken.csv"))
    kit.check(not os.path.exists("rest-broken.csv"), "a list that is refused leaves no file")
    told(b"serial,note\n" + b"x" * 300000 + b"\n", "line 2: a record longer than")
    for name in ("utf16.csv", "utf16.txt", "utf16.ndjson"):
        for codec in ("utf-16-le", "utf-16-be"):
            told('{"serial":1}\nb,c\n'.encode(codec), "looks like UTF-16; save it as UTF-8", name=name)
    said = told(b"serial,note\n..,x\n...,y\n", "none of its 2 rows can be used", skip=("--skip-bad", "rest-none.csv"))
    kit.check(said.count("line 2: ") == 1 and said.count("line 3: ") == 1, "each fault once", said)
    with open("seq.csv", "w", encoding="utf-8") as f:
        f.write("id,seq,part\na,1,b\n")
    r = kit.mint("never", "ca", "--devices", "seq.csv", "--subject", "/CN={nothing}")
    kit.check(r.code == 2 and r.err.count(b"{id}") == 1 and r.err.count(b"{seq}") == 1 and b"of the list {part}" in r.err, r)


def test_killed():
    """Killed again and again, in the tree and in segments, with rows left out: the same devices in the end."""
    devices = [device(i) for i in range(400 if kit.SLOW else 6000)]
    for i in range(0, len(devices), 7):
        devices[i]["lot"] = ""
    write_csv("kill.csv", devices)
    good = [d for d in devices if d["lot"]]
    for layout in ("tar", "tree"):
        out, kills = f"killed-{layout}", 0
        args = ["mint", "--quiet", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--plaintext-keys", "--layout", layout,
                "--profile", "tls-client", "--out", out, "--devices", "kill.csv", "--skip-bad", f"{out}.csv", *NAMES]
        for _ in range(60):
            with subprocess.Popen([kit.CERTMILL, *args], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as p:
                try:
                    p.wait(timeout=rng.uniform(0.02, 0.25) if kills < 4 else kit.PATIENCE)
                except subprocess.TimeoutExpired:
                    p.send_signal(signal.SIGKILL)
                    kills += 1
            if p.returncode in (0, 1):
                break
            if not os.path.exists(f"{out}/journal") or not os.path.getsize(f"{out}/journal"):
                subprocess.run(["rm", "-rf", out, f"{out}.csv", f"{out}.csv.reasons"], check=True)
            else:
                args = ["resume", "--quiet", out]
        kit.check(p.returncode == 1 and kills > 0, layout, "rows were left out; exit", p.returncode, "kills", kills)
        agree(out, good, out)
        findings = check_fleet.check(out, ids=[d["serial"] for d in good], ca="ca/ca.pem", ended=True)
        kit.check(not findings, *findings[:5])
        r = kit.mill("verify", "--quiet", out)
        kit.check(r.code == 0, r)
        with open(f"{out}.csv", encoding="utf-8", newline="") as f:
            kit.check(list(csv.DictReader(f)) == [d for d in devices if not d["lot"]], out, "the rows that were left out")


def test_rework():
    """reissue and repair give a device the same names and attributes."""
    devices = [device(i) for i in range(40)]
    write_csv("rework.csv", devices)
    r = kit.mint("rework", "ca", "--devices", "rework.csv", "--profile", "tls-client", "--layout", "tree", *NAMES)
    kit.check(r.code == 0, r)
    r = kit.mill("reissue", "--quiet", "rework", devices[3]["serial"], "--reason", "test")
    kit.check(r.code == 0, r)
    os.unlink(f"rework/{rows('rework')[5]['key']['path']}")
    r = kit.mill("repair", "--quiet", "rework")
    kit.check(r.code == 0 or r.code == 1, r)
    newest = {row["device_id"]: row for row in rows("rework")}
    kit.check(len(rows("rework")) == 42 and [newest[d["serial"]]["attributes"] for d in devices] == devices, "attributes")
    certificates_say("rework", devices, "reworked:")
    r = kit.mill("verify", "--quiet", "rework")
    kit.check(r.code == 0, r)
    os.rename("rework.csv", "moved.list")
    r = kit.mill("reissue", "--quiet", "rework", devices[2]["serial"], "--reason", "test", "--devices", "moved.list")
    kit.check(r.code == 0, "a list without its suffix is read as it was:", r)
    write_csv("rework.csv", devices[:-1])
    r = kit.mill("reissue", "--quiet", "rework", devices[1]["serial"], "--reason", "test")
    kit.check(r.code == 2 and b"the device list" in r.err and b"rework.csv is not what it was" in r.err and
              b"devices: was 40, is 39" in r.err and b"--devices FILE" in r.err, "another list:", r)
    write_csv("rework.csv", devices[:-1] + [devices[-1] | {"note": "another"}])
    r = kit.mill("reissue", "--quiet", "rework", devices[1]["serial"], "--reason", "test")
    kit.check(r.code == 2 and b"rework.csv is not what it was: as many devices, and other values" in r.err, r)


def main():
    kit.enter_place("lists")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kit.ca_init("ca")
    for test in (test_formats, test_bad_rows, test_explain, test_unusable, test_rework, test_killed, test_many):
        began = time.monotonic()
        test()
        kit.say(f"{test.__name__}: {time.monotonic() - began:.1f} s")
    sys.exit(kit.finish())


main()
