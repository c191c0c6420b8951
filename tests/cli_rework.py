#!/usr/bin/env python3
"""Goal: reissue, repair and purge-keys do what they say to whom they say it, whatever moment they are killed at: each
device has its old certificate in force or its new one, never both, never none; what was written is not changed; keys
that are purged are gone. Method: small fleets of both layouts; the real program, killed (strace, SIGKILL) at its n-th
write, sync, rename and unlink, for each n (every third, chosen by CM_SEED, unless CM_ALL is set), then resumed."""
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

CERTMILL = os.environ.get("CERTMILL", "certmill")
SEED = int(os.environ.get("CM_SEED", "0")) or random.randrange(1, 1 << 31)
WORK = tempfile.mkdtemp(prefix="cm-rework-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
DEVICES = 40
failures = 0
checks = 0


def run(*args, killed_at=None):
    """killed_at: (system call, n): SIGKILL when a thread makes its n-th."""
    command = [CERTMILL, *args]
    if killed_at:
        call, n = killed_at
        command = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e",
                   f"inject={call}:signal=SIGKILL:when={n}", *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def check(fact, text):
    global failures, checks
    checks += 1
    if not fact:
        failures += 1
        print("FAILED:", text)


def must(result, code, text, says=""):
    said = result.stdout + result.stderr
    check(result.returncode == code and says in said, f"{text}: exit {result.returncode}, not {code}, or not "
          f"\"{says}\" in: {said.strip()[-400:]}")
    return result


def read(path):
    with open(path, "rb") as h:
        return h.read()


def rows(d):
    return [json.loads(line) for line in read(f"{d}/manifest.ndjson").split(b"\n") if line.strip()]


def row_of(d, device_id):
    """The row in force, as show tells it."""
    return json.loads(must(run("show", d, device_id, "--json"), 0, f"show {device_id}").stdout)


def certificate_ids(d):
    """device id: certificate ids, oldest first, by reading the manifest."""
    found = {}
    for r in rows(d):
        found.setdefault(r["device_id"], []).append(r["certificate_id"])
    return found


def records(d, kind):
    found = []
    for record in re.split(rb" *\n", read(f"{d}/journal")):
        if record:
            parsed = json.loads(record[65:])
            if parsed["type"] == kind:
                found.append(parsed)
    return found


def mint(name, layout, *options):
    d = f"{WORK}/{name}"
    must(run("mint", "--ca", f"{WORK}/ca/ca.pem", "--ca-key", f"{WORK}/ca/ca.key", "--out", d, "--plaintext-keys",
             "--quiet", "--io", "posix", "--layout", layout, "--workers", "2", "--batch", "8", *options), 0, f"mint {name}")
    return d


def copy(d, name):
    to = f"{WORK}/{name}"
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(d, to, symlinks=True)
    return to


def verify(d, code, text, *options, says=""):
    return must(run("verify", d, "--workers", "2", *options), code, f"verify {text}", says)


def openssl_accepts(d, device_id, out):
    shutil.rmtree(out, ignore_errors=True)
    must(run("extract", d, device_id, "--out", out), 0, f"extract {device_id}")
    cert, key = f"{out}/{device_id}.crt", f"{out}/{device_id}.key"
    r = subprocess.run(["openssl", "verify", "-x509_strict", "-CAfile", f"{WORK}/ca/ca.pem", cert],
                       capture_output=True, text=True)
    check(r.returncode == 0, f"openssl verify {device_id}: {r.stdout}{r.stderr}")
    publics = [subprocess.run(["openssl", *c], capture_output=True).stdout
               for c in (["x509", "-in", cert, "-noout", "-pubkey"], ["pkey", "-in", key, "-pubout"])]
    check(publics[0] == publics[1] and publics[0], f"{device_id}: the key extracted is not the certificate's")
    text = subprocess.run(["openssl", "x509", "-in", cert, "-noout", "-serial"], capture_output=True, text=True)
    check(text.stdout.strip().lower() == "serial=" + row_of(d, device_id)["serial"],
          f"{device_id}: extract gave another certificate than show")


# --- reissue ---------------------------------------------------------------
def reissues(base, layout):
    d = copy(base, f"reissue-{layout}")
    before, manifest = certificate_ids(d), read(f"{d}/manifest.ndjson")
    files = {f: read(f"{p}/{f}") for p, _, fs in os.walk(f"{d}/chains") for f in fs}
    for ids, reason in ((["SN00000007"], "fell off the line"), (["SN00000001", "SN00000040", "SN00000007"], "again"),
                        (sorted(before), "all of them")):
        was = certificate_ids(d)
        must(run("reissue", d, *ids, "--reason", reason), 0, f"{layout}: reissue of {len(ids)}", f"minted {len(ids)} of")
        now = certificate_ids(d)
        checker = subprocess.run([sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "check_fleet.py"),
                                  d], capture_output=True, text=True)
        check(checker.returncode == 0, f"{layout}: the independent checker: {checker.stdout[-400:]}{checker.stderr[-400:]}")
        for i, c in now.items():
            check(c[:-1] == was[i] if i in ids else c == was[i], f"{layout}: {i} has rows {c}, had {was[i]}")
            check(row_of(d, i)["certificate_id"] == c[-1], f"{layout}: show {i} gives another row than the newest")
        verify(d, 0, f"{layout} after a reissue", says=f"complete, {DEVICES} devices")
        check(records(d, "supersede")[-1]["reason"] == reason, f"{layout}: the journal's reason")
        reserved = len(records(d, "reserve")[-1]["prefixes"])
        check(1 <= reserved <= len(ids), f"{layout}: {reserved} serial prefixes reserved for {len(ids)} devices")
        openssl_accepts(d, ids[0], f"{WORK}/x")
    check(read(f"{d}/manifest.ndjson").startswith(manifest), f"{layout}: rows that were committed have changed")
    now = {f: read(f"{p}/{f}") for p, _, fs in os.walk(f"{d}/chains") for f in fs if f in files}
    check(layout == "tree" or now == files, f"{layout}: segments that were finished have changed")
    all_rows = rows(d)
    for key in ("serial", "spki_sha256", "certificate_id"):
        check(len({r[key] for r in all_rows}) == len(all_rows), f"{layout}: a {key} occurs twice")
    outcome = json.load(open(f"{d}/run.json"))["outcome"]
    check((outcome["state"], outcome["devices"], outcome["superseded"]) == ("complete", DEVICES, DEVICES + 4),
          f"{layout}: outcome {outcome}")
    # The first certificate of SN00000007 was superseded with the first reissue, whatever came later.
    shown = must(run("show", d, before["SN00000007"][0]), 0, f"{layout}: show of a superseded certificate",
                 "(fell off the line)").stdout
    check(certificate_ids(d)["SN00000007"][-1] in shown, f"{layout}: superseded_by is not the one in force")
    check(json.loads(run("show", d, before["SN00000007"][0], "--json").stdout)["superseded_by"] ==
          certificate_ids(d)["SN00000007"][-1], f"{layout}: superseded_by in JSON")
    check(row_of(d, "SN00000007")["superseded_by"] is None, f"{layout}: the one in force is superseded")
    os.remove(f"{d}/index")
    os.mkdir(f"{d}/index")  # neither read nor made: the manifest is read through
    check(row_of(d, "SN00000007")["certificate_id"] == certificate_ids(d)["SN00000007"][-1],
          f"{layout}: without an index, show gives another row than the newest")
    os.rmdir(f"{d}/index")
    must(run("resume", d), 0, f"{layout}: resume after reissues", "nothing to resume")


def refusals(base):
    d = copy(base, "refusals")
    old = certificate_ids(d)["SN00000003"][0]
    must(run("reissue", d, "SN00000003", "--reason", "x", "--quiet"), 0, "a reissue")
    state = {f: read(f"{d}/{f}") for f in ("manifest.ndjson", "journal", "run.json")}
    for args, says in ((["SN00000003"], "--reason"), (["nobody", "--reason", "x"], "no device \"nobody\""),
                       (["SN00000003", "nobody", "--reason", "x"], "nothing was minted"),
                       (["SN00000003", "SN00000003", "--reason", "x"], "named twice"),
                       (["SN00000003", row_of(d, "SN00000003")["certificate_id"], "--reason", "x"], "named twice"),
                       ([old, "--reason", "x"], "superseded already"),
                       (["SN00000003", "--reason", "x" * 300], "longer than"),
                       (["SN00000003", "--reason", "x", "--max-signatures", "41"], "--max-signatures"),
                       (["SN00000003", "--reason", "x", "--ca", f"{WORK}/other/ca.pem", "--ca-key",
                         f"{WORK}/other/ca.key"], "asked for differently")):
        must(run("reissue", d, *args), 2, f"reissue {args[:2]}", says)
    must(run("purge-keys", d), 2, "purge-keys without --yes", "--yes")
    check(state == {f: read(f"{d}/{f}") for f in state}, "a refused command has changed the fleet")
    # A doubled row that no record explains stays a finding.
    bad = copy(base, "doubled")
    lines = read(f"{bad}/manifest.ndjson").split(b"\n")
    lines[5] = lines[4]
    with open(f"{bad}/manifest.ndjson", "wb") as h:
        h.write(b"\n".join(lines))
    verify(bad, 1, "a doubled row", says="the same device id")


# --- repair ------------------------------------------------------------------
def damage(d, layout, index, side, how):
    place = rows(d)[index][side]
    path = f"{d}/{place.get('segment') or place['path']}"
    if how == "missing":
        os.remove(path)
        return
    with open(path, "r+b") as h:
        if how == "truncated":
            h.truncate(place.get("offset", 0) + place["length"] // 2)
            return
        h.seek(place.get("offset", 0) + 120)
        octet = h.read(1)
        h.seek(-1, os.SEEK_CUR)
        h.write(b"A" if octet != b"A" else b"B")


def swap(d, a, b, side):
    found = []
    for i in (a, b):
        place = rows(d)[i][side]
        path, offset = f"{d}/{place.get('segment') or place['path']}", place.get("offset", 0)
        found.append((path, offset, read(path)[offset:offset + place["length"]]))
    check(len(found[0][2]) == len(found[1][2]), f"swap: {side}s of two lengths")
    for (path, offset, _), (_, _, data) in zip(found, reversed(found)):
        with open(path, "r+b") as h:
            h.seek(offset)
            h.write(data)


def repairs(base, layout):
    def condemned(d, text, plant, count):
        d = copy(base, f"repair-{layout}")
        was = certificate_ids(d)
        plant(d)
        r = run("verify", d, "--json")
        bad = {f["device_id"] for f in json.loads(r.stdout)["findings"] if f["device_id"]}
        check(r.returncode == 1 and len(bad) == count, f"{layout} {text}: verify condemns {sorted(bad)}")
        state = read(f"{d}/journal")
        dry = must(run("repair", d, "--dry-run", "--json"), 1, f"{layout} {text}: dry run")
        check(json.loads(dry.stdout)["to_mint_again"] == count, f"{layout} {text}: dry run says {dry.stdout}")
        check(read(f"{d}/journal") == state, f"{layout} {text}: the dry run wrote")
        must(run("repair", d), 0, f"{layout} {text}: repair", f"minted {count} of {count}")
        now = certificate_ids(d)
        check({i for i in now if now[i] != was[i]} == bad, f"{layout} {text}: not exactly the condemned were minted")
        check(all(s["reason"].startswith("repair: ") for s in records(d, "supersede")), "reasons of a repair")
        verify(d, 0, f"{layout} {text}: after the repair", says=f"damaged: {count}")
        must(run("repair", d), 0, f"{layout} {text}: a second repair", "nothing to repair")
        must(run("resume", d), 0, f"{layout} {text}: resume after the repair", "nothing to resume")
        openssl_accepts(d, sorted(bad)[0], f"{WORK}/x")

    condemned(base, "a flipped bundle", lambda d: damage(d, layout, 4, "chain", "flip"), 1)
    condemned(base, "a flipped key", lambda d: damage(d, layout, 30, "key", "flip"), 1)
    condemned(base, "swapped keys", lambda d: swap(d, 3, 11, "key"), 2)
    condemned(base, "keys missing", lambda d: damage(d, layout, 8, "key", "missing"), DEVICES if layout == "tar" else 1)
    if layout == "tar":
        condemned(base, "a truncated segment", lambda d: damage(d, layout, 36, "chain", "truncated"), 4)
    d = copy(base, f"repair-{layout}")
    must(run("repair", d), 0, f"{layout}: repair of a sound fleet", "nothing to repair")
    open(f"{d}/chains/foreign", "w").close()
    damage(d, layout, 4, "key", "flip")
    must(run("repair", d), 1, f"{layout}: repair with a foreign file", "can't be mended")
    verify(d, 1, f"{layout}: with a foreign file", says="1 finding")
    os.remove(f"{d}/chains/foreign")
    verify(d, 0, f"{layout}: the device was repaired all the same", says="damaged: 1")
    with open(f"{d}/journal", "r+b") as h:
        h.seek(600)
        h.write(b"#")
    must(run("repair", d), 2, f"{layout}: repair with a damaged journal", "journal")


# --- purge -------------------------------------------------------------------
def key_files(d):
    return [f for _, _, fs in os.walk(f"{d}/keys") for f in fs]


def purges(base, layout):
    d = copy(base, f"purge-{layout}")
    verify(d, 1, f"{layout}: --keys absent before the purge", "--keys", "absent", says="none are expected")
    must(run("purge-keys", d, "--yes"), 0, f"{layout}: purge-keys", "overwritten and removed")
    check(not key_files(d), f"{layout}: keys are left: {key_files(d)}")
    at = records(d, "purge")[-1]["purged_at"]
    verify(d, 0, f"{layout}: after the purge", says=f"purged at {at}")
    verify(d, 0, f"{layout}: after the purge, --keys absent", "--keys", "absent", says=f"purged at {at}")
    os.rmdir(f"{d}/keys")
    verify(d, 0, f"{layout}: without keys/", "--keys", "absent")
    verify(d, 0, f"{layout}: without keys/, not said")
    os.mkdir(f"{d}/keys", 0o700)
    must(run("show", d, "SN00000005"), 0, f"{layout}: show after the purge", f"purged at {at}")
    shutil.rmtree(f"{WORK}/p", ignore_errors=True)
    must(run("extract", d, "SN00000005", "--out", f"{WORK}/p"), 2, f"{layout}: extract after the purge",
         "--certificates-only")
    check(not os.path.exists(f"{WORK}/p/SN00000005.crt"), f"{layout}: extract wrote half of it")
    shutil.rmtree(f"{WORK}/p", ignore_errors=True)
    must(run("extract", d, "SN00000005", "--out", f"{WORK}/p", "--certificates-only"), 0, f"{layout}: certificates only")
    check(os.listdir(f"{WORK}/p") == ["SN00000005.crt"], f"{layout}: certificates only gave {os.listdir(f'{WORK}/p')}")
    must(run("repair", d), 0, f"{layout}: repair of a purged run", "nothing to repair")
    must(run("purge-keys", d, "--yes"), 0, f"{layout}: a second purge")
    must(run("reissue", d, "SN00000005", "--reason", "needs a key"), 0, f"{layout}: reissue after the purge")
    openssl_accepts(d, "SN00000005", f"{WORK}/x")
    verify(d, 0, f"{layout}: purged and reissued", says="damaged: 0")
    verify(d, 1, f"{layout}: purged and reissued, --keys absent", "--keys", "absent", says="none are expected")
    back = copy(base, "back")
    name = sorted(os.listdir(f"{back}/keys"))[0]
    shutil.move(f"{back}/keys/{name}", f"{d}/keys/{name}")
    verify(d, 1, f"{layout}: purged keys that came back", says="the journal says were purged")
    must(run("purge-keys", d, "--yes"), 0, f"{layout}: the purge of what came back and what is new")
    check(not key_files(d), f"{layout}: keys are left: {key_files(d)}")
    open(f"{d}/keys/000000.bak", "w").close()
    must(run("purge-keys", d, "--yes"), 1, f"{layout}: purge with a foreign file", "left alone")


# --- kills -------------------------------------------------------------------
CALLS = ("pwrite64", "fdatasync", "fsync", "renameat2", "renameat", "unlinkat", "ftruncate")
N_MAX = 60


def kills(base, layout, command, after_kill, after_resume, prepare=lambda d: None):
    """command: arguments behind DIR's place. Goes on with n until the command gets through."""
    moments = ended = 0
    whole = os.environ.get("CM_ALL") is not None or (layout, command[0]) == ("tar", "purge-keys")
    for call in CALLS:
        phase = random.randrange(3)
        for n in range(1, N_MAX):
            if not whole and n % 3 != phase:
                continue
            d = copy(base, f"kill-{layout}")
            prepare(d)
            before = certificate_ids(d)
            r = run(command[0], d, *command[1:], killed_at=(call, n))
            if r.returncode == 0:
                ended += 1
                break
            moments += 1
            text = f"{layout}: {command[0]} killed at {call} {n}"
            check(r.returncode in (-9, 137), f"{text}: exit {r.returncode}: {r.stderr[-300:]}")
            after_kill(d, before, text)
            after_resume(d, before, text)
    check(moments >= 5 and ended > 0, f"{layout}: {command[0]} was killed {moments} times, got through {ended} times")
    print(f"{layout}: {command[0]} killed at {moments} moments")


def one_in_force(ids):
    def judge(d, before, text):
        for i in ids:
            committed = json.loads(run("show", d, i, "--json").stdout or "{}")
            check(committed.get("superseded_by", "?") is None, f"{text}: {i} has no certificate in force")
            if committed.get("certificate_id") != before[i][0]:
                old = json.loads(run("show", d, before[i][0], "--json").stdout or "{}")
                check(old.get("superseded_by") == committed.get("certificate_id"), f"{text}: {i} has two in force")
    return judge


def completed(ids, base):
    def judge(d, before, text):
        if random.randrange(3) == 0:  # the resume is killed, too
            moment = (random.choice(CALLS), random.randrange(1, 9))
            text += f", its resume at {moment}"
            run("resume", d, killed_at=moment)
            one_in_force(ids)(d, before, text)
        r = must(run("resume", d), 0, f"{text}: resume")
        now = certificate_ids(d)
        again = {i for i in now if now[i] != before[i]}
        begun = records(d, "supersede") != []
        check(again == (set(ids) if begun else set()), f"{text}: after the resume, new are {sorted(again)}")
        check(all(len(c) <= 2 for c in now.values()), f"{text}: a device was minted thrice")
        check(begun or "rolled back" in r.stderr or "nothing to resume" in r.stdout or "resume at" in text,
              f"{text}: not told: {r.stderr}")
        check(read(f"{d}/manifest.ndjson").startswith(read(f"{base}/manifest.ndjson")), f"{text}: rows have changed")
        if begun or "repair" not in text:
            verify(d, 0, f"{text}, resumed", says=f"complete, {DEVICES} devices")
    return judge


def purged(d, before, text):
    verify(d, 0 if not records(d, "purge") or records(d, "purge")[-1]["state"] == "done" else 1, f"{text}: in between",
           says="" if not records(d, "purge") or records(d, "purge")[-1]["state"] == "done" else "give it again")


def purged_again(d, before, text):
    if records(d, "purge") and records(d, "purge")[-1]["state"] == "begun":
        must(run("resume", d), 2, f"{text}: resume", "purge-keys")
        must(run("reissue", d, "SN00000001", "--reason", "x"), 2, f"{text}: reissue", "purge-keys")
    must(run("purge-keys", d, "--yes"), 0, f"{text}: given again")
    check(not key_files(d), f"{text}: keys are left: {key_files(d)}")
    verify(d, 0, f"{text}: given again", "--keys", "absent", says="purged at")


def main():
    print(f"CM_SEED={SEED}")
    random.seed(SEED)
    for name in ("ca", "other"):
        must(run("ca", "init", "--out", f"{WORK}/{name}"), 0, "ca init")
    for layout in ("tar", "tree"):
        base = mint(f"base-{layout}", layout, "--count", str(DEVICES))
        reissues(base, layout)
        repairs(base, layout)
        purges(base, layout)
        if os.environ.get("CM_SANITIZE") or shutil.which("strace") is None:
            print("killed nowhere: needs strace, and a build without sanitizers")
            continue
        ids = ["SN00000002", "SN00000021", "SN00000039"]
        kills(base, layout, ["reissue", *ids, "--reason", "k"], one_in_force(ids), completed(ids, base))
        third = [rows(base)[2]["device_id"]]
        kills(base, layout, ["repair"], one_in_force(third), completed(third, base),
              prepare=lambda d: damage(d, layout, 2, "key", "flip"))
        kills(base, layout, ["purge-keys", "--yes"], purged, purged_again)
    refusals(f"{WORK}/base-tar")
    print(f"{checks} checks, {failures} failed")
    return failures > 0


try:
    code = main()
finally:
    shutil.rmtree(WORK, ignore_errors=True)
sys.exit(code)
