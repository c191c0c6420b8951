#!/usr/bin/env python3
"""Goal: repair mends what can be mended by minting, whatever was damaged and however well it is hidden, and says what to do
about the rest. Method: fleets with damage that is planted so that only the damage itself can be found (fleetmaker.py), and
files cut, emptied and lost. After each repair: verify is content, the independent checker is, exactly the condemned have
new certificates, every old row is still there and superseded, no serial and no key occurs a second time."""

import json
import os
import shutil
import sys

import check_fleet
import certmaker
import e2e_kit as kit
import fleetmaker

DEVICES = 24
IDS = [f"SN{n:08}" for n in range(1, DEVICES + 1)]


def rows(fleet):
    with open(f"{fleet}/manifest.ndjson", "rb") as f:
        return [json.loads(line) for line in f.read().split(b"\n") if line.strip()]


def must(code, says, *args):
    r = kit.mill(*args)
    kit.check(r.code == code and says.encode() in r.out + r.err, f"not exit {code} with \"{says}\":", r)
    return r


def repaired(what, fleet, condemned, *options):
    """Repairs; condemned: indices of the devices that need it, and no other."""
    before, wanted = rows(fleet), {before_id(i) for i in condemned}
    said = json.loads(kit.mill("verify", fleet, "--json", *options).out)
    found = {f["device_id"] for f in said["findings"]}
    kit.check(found == wanted, f"{what}: verify condemns", sorted(map(str, found)))
    must(0, f"minted {len(wanted)} of {len(wanted)}", "repair", fleet, *options)
    after = rows(fleet)
    kit.check(after[:len(before)] == before, f"{what}: rows that were there are not there now")
    new = after[len(before):]
    kit.check({r["device_id"] for r in new} == wanted and len(new) == len(wanted), f"{what}: other devices were minted")
    for key in ("serial", "spki_sha256", "certificate_id"):
        kit.check(not {r[key] for r in new} & {r[key] for r in before}, f"{what}: a {key} for the second time")
    must(0, f"complete, {len(before)} devices; all {len(before)} are sound", "verify", fleet, *options)
    past = "1 certificate that is" if len(wanted) == 1 else f"{len(wanted)} certificates that are"
    must(0, f"superseded: {past} no longer in force", "verify", fleet)
    ids = [r["device_id"] for r in before]
    sound = check_fleet.check(fleet, ids, "ca/ca.pem", True, 3, ended=True, signatures=DEVICES)
    kit.check(not sound, f"{what}, repaired:", *sound[:5])
    for r in before:
        if r["device_id"] in wanted:
            shown = json.loads(must(0, "", "show", fleet, r["device_id"], "--json").out)
            kit.check(shown["certificate_id"] not in {b["certificate_id"] for b in before}, f"{what}: the old one is in force")
    must(0, "nothing to repair", "repair", fleet, *options)
    shutil.rmtree(fleet)


def before_id(i):
    return i if isinstance(i, str) else IDS[i]


# ---- what fits, and is wrong ----

def planted(source, plant):
    fleet = fleetmaker.Fleet.read(source)
    plant(fleet)
    fleet.write("planted")
    return "planted"


def serial_twice(fleet):
    one, two = fleet.devices[4], fleet.devices[5]
    serial = fleetmaker.elements(fleetmaker.elements(one.leaf)[0])[1]
    fleet.plant(5, leaf=fleet.resign(5, "ca/ca.key", replace={1: serial}))
    two.row.update(serial=one.row["serial"], serial_dec=one.row["serial_dec"])


def key_twice(fleet):
    one = fleet.devices[8]
    spki = fleetmaker.elements(fleetmaker.elements(one.leaf)[0])[6]
    fleet.plant(3, leaf=fleet.resign(3, "ca/ca.key", spki=spki), key=one.key)


def other_key(fleet):
    fleet.plant(11, key=fleet.devices[12].key)


def bad_signature(fleet):
    leaf = bytearray(fleet.devices[7].leaf)
    leaf[-1] ^= 1
    fleet.plant(7, leaf=bytes(leaf))


def plants():
    kit.must_mint("ec", "ca", "--count", str(DEVICES), "--batch", "12", "--workers", "1")
    kit.check(not check_fleet.check("ec"), "as minted:", check_fleet.check("ec"))
    repaired("two devices with a serial", planted("ec", serial_twice), [4, 5])
    repaired("two devices with a key", planted("ec", key_twice), [3, 8])
    repaired("a key that is another's", planted("ec", other_key), [11])
    repaired("a signature that is none", planted("ec", bad_signature), [7])


def shared_prime():
    """Only --deep sees it; both keys are given away."""
    kit.must_mint("rsa", "ca", "--count", "4", "--key", "RSA-2048")
    def plant(fleet):
        primes = [fleetmaker.primes_of(d.key) for d in fleet.devices]
        key = fleetmaker.rsa_numbers(primes[0][0], primes[2][1])
        fleet.plant(2, leaf=fleet.resign(2, "ca/ca.key", spki=fleetmaker.rsa_spki(key)), key=fleetmaker.rsa_pkcs8(key))
    fleet = planted("rsa", plant)
    must(0, "nothing to repair", "repair", fleet)
    repaired("a prime of two", fleet, [0, 2], "--deep")


# ---- what is lost ----

def copy(source):
    shutil.rmtree("lost", ignore_errors=True)
    shutil.copytree(source, "lost")
    return "lost"


def cut(fleet, name, to):
    os.truncate(f"{fleet}/{name}", to)
    return fleet


def first_behind(side, octets):
    """Index of the first device that a segment of so many octets does not hold whole."""
    return next(i for i, r in enumerate(rows("ec")) if r[side]["offset"] + -(-r[side]["length"] // 512) * 512 > octets)


def losses():
    kit.must_mint("tree", "ca", "--count", str(DEVICES), "--layout", "tree")
    everybody = range(DEVICES)
    for top in ("chains", "keys"):
        fleet = copy("tree")
        shutil.rmtree(f"{fleet}/{top}/000000")
        repaired(f"the shard of {top} lost", fleet, everybody)
        fleet = copy("tree")
        suffix = {"chains": "crt", "keys": "key"}[top]
        os.unlink(f"{fleet}/{top}/000000/{IDS[5]}.{suffix}")
        cut(fleet, f"{top}/000000/{IDS[6]}.{suffix}", 100)
        cut(fleet, f"{top}/000000/{IDS[7]}.{suffix}", 0)
        repaired(f"a file of {top} lost, one cut, one emptied", fleet, [5, 6, 7])
        fleet = copy("ec")
        os.unlink(f"{fleet}/{top}/000000.tar")
        repaired(f"the segment of {top} lost", fleet, everybody)
        repaired(f"the segment of {top} emptied", cut(copy("ec"), f"{top}/000000.tar", 0), everybody)
    fleet = cut(cut(copy("ec"), "chains/000000.tar", 30000), "keys/000000.tar", 3000)
    first = min(first_behind("chain", 30000), first_behind("key", 3000))
    repaired("segments cut in two places", fleet, range(first, DEVICES))


def directories():
    """Keys or chains lost whole: what to do is said; done, everybody gets new ones."""
    for top, mode in (("keys", 0o700), ("chains", 0o755)):
        for source in ("ec", "tree"):
            fleet = copy(source)
            shutil.rmtree(f"{fleet}/{top}")
            must(2, "anew", "repair", fleet)
            os.mkdir(f"{fleet}/{top}", mode)
            repaired(f"{source}: {top}/ lost and made anew", fleet, range(DEVICES))


# ---- what can't be mended ----

def change_row(i, change):
    def damage(fleet):
        with open(f"{fleet}/manifest.ndjson", "rb") as f:
            lines = f.read().split(b"\n")
        lines[i] = change(lines[i], lines)
        with open(f"{fleet}/manifest.ndjson", "wb") as f:
            f.write(b"\n".join(lines))
    return damage


def refusals():
    """The manifest must be sound before anything is added to it. A device that needs a repair gets none until then."""
    damages = {
        "a row that is none": (change_row(4, lambda line, _: b"[" + line[1:]), 1),
        "a digit of a row": (change_row(4, lambda line, _: line.replace(b'"lot":null', b'"lot":nulL')), 1),
        "an id twice": (change_row(4, lambda line, _: line.replace(IDS[4].encode(), IDS[3].encode())), 1),
        "a row twice": (change_row(4, lambda _, lines: lines[3]), 1),
        "a manifest cut off": (lambda fleet: cut(fleet, "manifest.ndjson", 9000), 1),
        "no manifest": (lambda fleet: os.unlink(f"{fleet}/manifest.ndjson"), None),
        "no journal": (lambda fleet: os.unlink(f"{fleet}/journal"), 2),
        "no ca.pem": (lambda fleet: os.unlink(f"{fleet}/ca.pem"), 2),
        "no run.json": (lambda fleet: os.unlink(f"{fleet}/run.json"), 2),
    }
    for what, (damage, code) in damages.items():
        fleet = copy("ec")
        damage(fleet)
        with open(f"{fleet}/keys/000000.tar", "r+b") as f:  # one that could be mended
            f.seek(rows("ec")[20]["key"]["offset"] + 100)
            f.write(b"\n\n")
        was = kit.files_below(fleet)
        r = kit.mill("repair", fleet)
        kit.check(r.code == code if code else r.code in (1, 2), f"{what}:", r)
        kit.check(any(w in r.err for w in (b"restore", b"name the directory")),
                  f"{what}: no next step:", r)
        kit.check(kit.files_below(fleet) == was, f"{what}: the refused repair has written")
    fleet = copy("ec")
    with open(f"{fleet}/chains/000001.tar", "wb"):
        pass
    must(1, "move away", "repair", fleet)


def main():
    kit.enter_place("repair", memory=True)
    kit.ca_init("ca")
    for part in (plants, losses, directories, refusals, shared_prime):
        part()
        kit.say(part.__name__)
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
