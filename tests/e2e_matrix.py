#!/usr/bin/env python3
"""Goal: every certificate that certmill makes is good to other people's validators, from the second it is made to the
second it ends. Method: every profile with every device key and every CA signature algorithm, minted in the second of
`ca init`, bundles taken off the disk with tar, judged by openssl, GnuTLS, NSS, dumpasn1 and check_certs.py."""

import calendar
import os
import re
import sys
import time

import certmaker as cert
import check_certs
import e2e_kit as kit

# CA: directory, ca init's arguments, mint's arguments.
AUTHORITIES = [
    ("p256", ["--key", "P-256"], []), ("p384", ["--key", "P-384"], []), ("p521", ["--key", "P-521"], []),
    ("rsa256", ["--key", "RSA-2048"], []),
    ("rsa384", ["--key", "RSA-2048"], ["--signature", "sha384WithRSAEncryption"]),
    ("rsa512", ["--key", "RSA-3072"], ["--signature", "sha512WithRSAEncryption"]),
    ("pss256", ["--key", "RSA-2048", "--signature", "RSASSA-PSS-SHA256"], ["--signature", "RSASSA-PSS-SHA256"]),
    ("pss384", ["--key", "RSA-2048", "--signature", "RSASSA-PSS-SHA384"], ["--signature", "RSASSA-PSS-SHA384"]),
    ("pss512", ["--key", "RSA-2048", "--signature", "RSASSA-PSS-SHA512"], ["--signature", "RSASSA-PSS-SHA512"]),
    ("ed25519", ["--key", "Ed25519"], []),
]
KEYS = {"P-256": 3, "P-384": 2, "P-521": 2, "Ed25519": 3, "RSA-2048": 2, "RSA-3072": 2, "RSA-4096": 1}
if kit.SLOW:
    KEYS.update({"P-256": 2, "P-384": 1, "P-521": 1, "Ed25519": 2, "RSA-2048": 1, "RSA-3072": 1})

CERTTOOL = kit.tool("certtool", "gnutls-bin")
CERTUTIL = kit.tool("certutil", "libnss3-tools")
DUMPASN1 = kit.tool("dumpasn1", "dumpasn1")


def openssl_when(stamp):
    return calendar.timegm(time.strptime(stamp, "%b %d %H:%M:%S %Y GMT"))


def unpack(fleet):
    """The bundles and keys as tar finds them: [(certificate file, key file)]."""
    if os.path.isdir(f"{fleet}/chains/000000"):
        places = [f"{fleet}/chains/000000", f"{fleet}/keys/000000"]
    else:
        places = [f"{fleet}/unpacked"] * 2
        os.makedirs(places[0])
        for side in ("chains", "keys"):
            kit.must(["tar", "xf", f"{fleet}/{side}/000000.tar", "-C", places[0]])
    ids = sorted(n[:-4] for n in os.listdir(places[0]) if n.endswith(".crt"))
    return [(f"{places[0]}/{i}.crt", f"{places[1]}/{i}.key") for i in ids]


def openssl_agrees(what, crt, ca, root, outside):
    """Now, in the first second and in the last but one: libcrypto takes the last for one too late."""
    dates = kit.must(["openssl", "x509", "-in", crt, "-noout", "-startdate", "-enddate"]).out.decode()
    begin, end = (openssl_when(line.split("=", 1)[1]) for line in dates.splitlines())
    for second in (None, begin, end - 1):
        at = [] if second is None else ["-attime", str(second)]
        r = kit.run(["openssl", "verify", "-x509_strict", "-check_ss_sig", "-purpose", "sslclient", *at, "-CAfile", root,
                     "-untrusted", ca, crt])
        kit.check(r.code == 0 and r.out.endswith(b": OK\n"), what, at, r)
    for second in (begin - 1, end + 1) if outside else ():
        r = kit.run(["openssl", "verify", "-purpose", "sslclient", "-attime", str(second), "-CAfile", root, "-untrusted",
                     ca, crt])
        kit.check(r.code != 0, what, "valid outside its validity", r)


def keys_agree(what, crt, key):
    r = kit.run(["openssl", "pkey", "-in", key, "-check", "-noout"])
    kit.check(r.code == 0 and b"Key is valid" in r.out + r.err, what, r)
    of_key = kit.must(["openssl", "pkey", "-in", key, "-pubout"]).out
    of_crt = kit.must(["openssl", "x509", "-in", crt, "-noout", "-pubkey"]).out
    kit.check(of_key == of_crt and of_key, what, "key and certificate are strangers:", crt, key)


def gnutls_agrees(what, crt, root):
    if CERTTOOL is None:
        return
    r = kit.run([CERTTOOL, "--verify", "--load-ca-certificate", root, "--infile", crt])
    kit.check(r.code == 0 and b"Chain verification output: Verified" in r.out, what, r)


def nss_agrees(what, crt, bundle, database):
    """The bundle's last certificate is the root."""
    if CERTUTIL is None or "ed25519" in what.lower():  # NSS 3.87 has no Ed25519
        return
    if not os.path.isdir(database):
        os.mkdir(database)
        for i, der in enumerate(bundle[1:]):
            with open(f"{database}/one.der", "wb") as f:
                f.write(der)
            kit.must([CERTUTIL, "-A", "-d", f"sql:{database}", "-n", f"ca{i}", "-t",
                      "T,," if i == len(bundle) - 2 else ",,", "-i", f"{database}/one.der"])
    kit.must([CERTUTIL, "-A", "-d", f"sql:{database}", "-n", "device", "-t", ",,", "-i", crt])
    r = kit.run([CERTUTIL, "-V", "-d", f"sql:{database}", "-n", "device", "-u", "C", "-e"])
    kit.check(r.code == 0 and b"certificate is valid" in r.out, what, r)
    kit.must([CERTUTIL, "-D", "-d", f"sql:{database}", "-n", "device"])


def dumpasn1_agrees(what, der, scratch):
    if DUMPASN1 is None:
        return
    with open(scratch, "wb") as f:
        f.write(der)
    # Random octets (a signature, a key identifier) sometimes look like DER inside a string to dumpasn1, which then
    # finds fault with them: with -e it does not look inside. Extension values are check_certs' to judge.
    for options in ("-a", "-ae"):
        r = kit.run([DUMPASN1, options, scratch])
        said = [line for line in (r.out + r.err).splitlines() if re.match(rb"\s*:\s*(Error|Warning):", line)]
        # A time after 2038 is beyond dumpasn1, not beyond DER.
        if not [line for line in said if b"Time value" not in line]:
            break
    kit.check(b"SEQUENCE" in r.out and not [line for line in said if b"Time value" not in line], what, r)


def strict_agrees(what, crt):
    with open(crt, "rb") as f:
        data = f.read()
    bundle = check_certs.split(data)
    found = check_certs.check_bundle(bundle)
    kit.check(not found, what, found)
    kit.check(len(bundle) >= 2, what, "a bundle without its CA")
    return bundle


def pem_is_canonical(what, crt, bundle):
    with open(crt, "rb") as f:
        data = f.read()
    want = "".join(cert.pem("CERTIFICATE", der) for der in bundle).encode()
    kit.check(data == want, what, "PEM with other lines than RFC 7468's")


def judge(what, fleet, ca, root, thorough=True):
    """ca: the bundle's CA file, root: the trusted one. thorough: the slow judges too."""
    r = kit.ok([kit.CERTMILL, "verify", "--quiet", fleet])
    kit.check(b"sound" in r.out, what, r)
    for crt, key in unpack(fleet):
        bundle = strict_agrees(what, crt)
        pem_is_canonical(what, crt, bundle)
        openssl_agrees(what, crt, ca, root, outside=crt.endswith("1.crt"))
        keys_agree(what, crt, key)
        gnutls_agrees(what, crt, root)
        dumpasn1_agrees(what, bundle[0], f"{fleet}/leaf.der")
        if not thorough:
            continue
        nss_agrees(what, crt, bundle, f"{fleet}/nss")


def profiles():
    names = kit.must([kit.CERTMILL, "profile", "list", "--json"])
    found = re.findall(r'"name":"([^"]+)"', names.out.decode())
    kit.check({"aws-iot", "tls-client"} <= set(found), "profile list:", names)
    return found


def allowed(profile, key, authority):
    return profile != "aws-iot" or (key != "Ed25519" and authority != "ed25519")


def mint_all():
    """Everything is minted first: no certificate waits for judges before it is a second old."""
    fleets = []
    for authority, init, options in AUTHORITIES:
        second = time.time()
        fresh = f"{authority}-fresh"
        kit.ca_init(fresh, *init)  # its first device is minted in the same second
        for profile in profiles():
            for key, count in KEYS.items():
                if not allowed(profile, key, authority):
                    continue
                if key == "RSA-4096" and (authority, profile) != ("p384", "aws-iot"):
                    continue
                if key.startswith("RSA-") and kit.SLOW and authority not in ("p256", "pss256", "ed25519"):
                    continue
                if key.startswith("RSA-") and profile != "aws-iot":
                    count = 1
                fleet = f"{authority}.{profile}.{key}"
                r = kit.mint(fleet, fresh, "--key", key, "--profile", profile, "--count", str(count),
                             "--id-pattern", "dev-{seq:03}", *options)
                if kit.check(r.code == 0, r):
                    fleets.append((fleet, fresh, authority, profile))
        kit.say(f"{authority}: minted in {time.time() - second:.1f} s")
    return fleets


def refusals():
    """What a profile does not allow is refused, not made."""
    for key, authority in (("Ed25519", "p256"), ("P-256", "ed25519")):
        r = kit.mint("refused", f"{authority}-fresh", "--key", key, "--count", "1")
        kit.check(r.code == 2 and b"aws-iot" in r.err and not os.path.exists("refused"), r)


def variations():
    """Encodings, layouts, a chain of three, subjects and names, all with the usual judges."""
    kit.ca_init("root", "--key", "P-384", "--subject", "/O=Acme/CN=Acme Root")
    kit.ca_init("middle", "--subject", "/O=Acme/CN=Middle", "--pathlen", "1", "--issuer-cert", "root/ca.pem",
                "--issuer-key", "root/ca.key")
    kit.ca_init("issuing", "--key", "RSA-2048", "--subject", "/O=Acme/CN=Issuing", "--pathlen", "0", "--issuer-cert",
                "middle/ca.pem", "--issuer-key", "middle/ca.key")
    names = ["--subject", "/C=DE/O=Grün & Söhne/OU=Werk 7/CN={id}/serialNumber={seq}",
             "--san", "DNS:{id}.example.com,URI:urn:dev:mac:{mac},IP:10.1.2.3", "--mac-base", "02:00:00:00:00:00"]
    for name, options in (("chain", []), ("tree", ["--layout", "tree"]), ("names", names),
                          ("traditional", ["--key-format", "traditional"]),
                          ("traditional-rsa", ["--key-format", "traditional", "--key", "RSA-2048"]),
                          ("posix", ["--io", "posix"]), ("empty-subject", ["--subject", "/", "--san",
                                                                           "critical,DNS:{id}.example.com"])):
        fleet = f"var-{name}"
        kit.must_mint(fleet, "issuing", "--count", "2", *options)
        judge(name, fleet, "issuing/ca.pem", "root/ca.pem")
        if name.startswith("traditional"):
            label = b"RSA PRIVATE KEY" if "rsa" in name else b"EC PRIVATE KEY"
            with open(unpack_once(fleet)[0][1], "rb") as f:
                kit.check(label in f.read(), name, "has no", label)


def unpack_once(fleet):
    place = f"{fleet}/unpacked"
    return [(f"{place}/{n[:-4]}.crt", f"{place}/{n[:-4]}.key") for n in sorted(os.listdir(place)) if n.endswith(".crt")]


def der_encodings():
    for key in ("P-256", "RSA-2048", "Ed25519"):
        for form in ("pkcs8", "traditional"):
            if (key, form) == ("Ed25519", "traditional"):
                continue
            what = f"der-{key}-{form}"
            kit.must_mint(what, "issuing", "--count", "2", "--key", key, "--key-format", form, "--encoding", "der",
                          "--profile", "tls-client")
            kit.ok([kit.CERTMILL, "verify", "--quiet", what])
            for crt, key_file in unpack(what):
                bundle = strict_agrees(what, crt)
                kit.check(len(bundle) == 4, what, len(bundle), "certificates")
                leaf = f"{what}/leaf.pem"
                with open(leaf, "w", encoding="ascii") as f:
                    f.write("".join(cert.pem("CERTIFICATE", der) for der in bundle))
                openssl_agrees(what, leaf, "issuing/ca.pem", "root/ca.pem", True)
                gnutls_agrees(what, leaf, "root/ca.pem")
                r = kit.run(["openssl", "pkey", "-inform", "DER", "-in", key_file, "-check", "-pubout"])
                of_crt = kit.must(["openssl", "x509", "-in", leaf, "-noout", "-pubkey"]).out
                kit.check(r.code == 0 and of_crt in r.out, what, r)
                with open(key_file, "rb") as f:
                    dumpasn1_agrees(what, f.read(), f"{what}/scratch")


def long_lives():
    """notAfter around 2050, where UTCTime ends, and at the end of all time, below a CA that lasts as long."""
    for last, form in (("20491231235959Z", 23), ("20500101000000Z", 24), ("99991231235959Z", 24)):
        ca = f"until-{last}"
        cert.authority(ca, common_name=ca, not_after=last)
        for name, options in (("own", ["--not-after", last]), ("inherited", [])):
            what = f"{ca}-{name}"
            kit.must_mint(what, ca, "--count", "2", *options)
            judge(what, what, f"{ca}/ca.pem", f"{ca}/ca.pem")
            for crt, _ in unpack_once(what):
                with open(crt, "rb") as f:
                    leaf = check_certs.Fields(check_certs.split(f.read())[0])
                kit.check(leaf.times[1][0] == form, what, "is encoded as", leaf.times[1])
                kit.check(leaf.not_after.strftime("%Y%m%d%H%M%SZ") == last, what, leaf.not_after)
    ca = "until-20491231235959Z"
    r = kit.mint("beyond", ca, "--count", "1", "--not-after", "20500101000000Z")
    kit.check(r.code == 2 and not os.path.exists("beyond"), r)


def main():
    kit.enter_place("matrix")
    fleets = mint_all()
    for fleet, ca, _, _ in fleets:
        first = fleet.endswith("P-256")
        judge(fleet, fleet, f"{ca}/ca.pem", f"{ca}/ca.pem", thorough=first or not kit.SLOW)
    kit.say(f"{len(fleets)} combinations judged")
    refusals()
    variations()
    kit.say("variations judged")
    der_encodings()
    long_lives()
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
