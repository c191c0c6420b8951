#!/usr/bin/env python3
"""Goal: what `certmill export` writes is what its importer takes, of all devices in force and of no others, or nothing.
Method: fleets of both layouts and encodings, with and without attributes that are hard to quote, reworked, and killed
half-way. Each format has a checker of its own here, written from the importers' field rules and not from the program;
AWS's operations are judged by botocore's parameter validation; every certificate is held against the manifest and
openssl; SQL is loaded into SQLite and PostgreSQL. Then refusals, signals, full disks.

CM_EXPORT_DEVICES=N: size of the large fleet."""

import base64
import csv
import hashlib
import io
import json
import os
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import e2e_kit as kit
import e2e_postgres
import fleetmaker

DEVICES = int(os.environ.get("CM_EXPORT_DEVICES", "400" if kit.SLOW else "4000"))
ACCOUNT, REGION = "123456789012", "eu-central-1"
AWS = ["--aws-account", ACCOUNT, "--aws-region", REGION]
THING = re.compile(r"[a-zA-Z0-9:_-]{1,128}\Z")
VALUE = re.compile(r"[a-zA-Z0-9_.,@/:#=\[\]-]{0,800}\Z")
PEM = re.compile(r"-----BEGIN CERTIFICATE-----\n(?:[A-Za-z0-9+/=]{1,64}\n)+-----END CERTIFICATE-----\n\Z")
csv.field_size_limit(1 << 24)


# ---- what the fleet itself says ----

def read(path, mode="rb"):
    with open(path, mode) as f:
        return f.read()


def rows_of(fleet):
    """The committed rows in force, by device id, from manifest and journal alone."""
    records = [json.loads(line[65:]) for line in read(f"{fleet}/journal").split(b"\n") if line.strip()]
    commits = [r for r in records if r["type"] == "commit"]
    manifest = read(f"{fleet}/manifest.ndjson")[:commits[-1]["manifest_bytes"]]
    found = {}
    for line in manifest.split(b"\n")[:-1]:
        row = json.loads(line)
        found[row["device_id"]] = row  # the newest is in force
    return found


def der_of(pem):
    return base64.b64decode("".join(pem.strip().split("\n")[1:-1]), validate=True)


def is_certificate(pem, row):
    return bool(PEM.match(pem)) and hashlib.sha256(der_of(pem)).hexdigest() == row["certificate_id"]


def sound(what, pems, rows):
    """Each of the certificates is that of its row; some are asked openssl about."""
    kit.check(set(pems) == set(rows), f"{what}: other devices than the fleet has in force",
              sorted(set(pems) ^ set(rows))[:5])
    wrong = [i for i, pem in pems.items() if i in rows and not is_certificate(pem, rows[i])]
    kit.check(not wrong, f"{what}: not the certificates of", wrong[:5])
    for device_id in kit.rng.sample(sorted(pems), min(5, len(pems))):
        with open("one.pem", "w", encoding="ascii") as f:
            f.write(pems[device_id])
        kit.ok(["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", "ca/ca.pem", "one.pem"])


def arn(kind, certificate_id, partition="aws"):
    return f"arn:{partition}:iot:{REGION}:{ACCOUNT}:{kind}/{certificate_id}"


# ---- AWS's own opinion ----

class Botocore:
    """Parameters of an operation, judged as a client would before it sends them."""

    def __init__(self):
        sys.path.append("/usr/lib/python3/dist-packages")
        import botocore.model  # pylint: disable=import-outside-toplevel
        import botocore.session  # pylint: disable=import-outside-toplevel
        import botocore.validate  # pylint: disable=import-outside-toplevel
        loader = botocore.session.Session().get_component("data_loader")
        self.models = {s: botocore.model.ServiceModel(loader.load_service_model(s, "service-2"), s)
                       for s in ("iot", "dynamodb")}
        self.validator = botocore.validate.ParamValidator()

    def complaint(self, service, operation, parameters):
        shape = self.models[service].operation_model(operation).input_shape
        report = self.validator.validate(parameters, shape)
        return report.generate_report() if report.has_errors() else None

    def takes(self, service, operation, parameters):
        complaint = self.complaint(service, operation, parameters)
        kit.check(complaint is None, f"{operation}: {complaint}")


def bounds(shape):
    return shape.metadata.get("min", 0), shape.metadata.get("max", 1 << 60), shape.metadata.get("pattern")


def fits_shape(aws, service, name, value):
    """botocore leaves upper bounds and patterns to the service: they are in its model."""
    low, high, pattern = bounds(aws.models[service].shape_for(name))
    return low <= len(value) <= high and (pattern is None or re.fullmatch(pattern.replace(r"\p{Graph}", r"[\x21-\x7e]"),
                                                                          value) is not None)


# ---- a checker for each format: (path, rows, aws) ----

def refs(value):
    """Every parameter that a template refers to."""
    if isinstance(value, dict):
        return {value["Ref"]} if set(value) == {"Ref"} else set().union(*map(refs, value.values()), set())
    return set().union(*map(refs, value), set()) if isinstance(value, list) else set()


def check_template(aws, body, kind):
    template = json.loads(body)
    kit.check(len(body) <= 10240 and fits_shape(aws, "iot", "TemplateBody", body), "template too long")
    kit.check(set(template) == {"Parameters", "Resources"}, "template:", list(template))
    kit.check(all(p == {"Type": "String"} for p in template["Parameters"].values()), "template: parameters", body)
    kit.check(refs(template["Resources"]) <= set(template["Parameters"]), "template: a Ref without its parameter", body)
    kit.check({r["Type"] for r in template["Resources"].values()} <=
              {"AWS::IoT::Thing", "AWS::IoT::Certificate", "AWS::IoT::Policy"}, "template: resources", body)
    certificate = template["Resources"]["certificate"]["Properties"]
    kit.check(certificate["Status"] in ("ACTIVE", "INACTIVE"), "template: status")
    forms = {"CertificatePem", "CertificateId", "CertificateSigningRequest"} & set(certificate)
    kit.check(forms == {"CertificateId" if kind == "JITP" else "CertificatePem"}, "template: form of certificate", forms)
    aws.takes("iot", "CreateProvisioningTemplate", {"templateName": "T", "templateBody": body, "type": kind,
                                                    "provisioningRoleArn": f"arn:aws:iam::{ACCOUNT}:role/R"}
              if kind == "JITP" else {"templateName": "T", "templateBody": body,
                                      "provisioningRoleArn": f"arn:aws:iam::{ACCOUNT}:role/R"})
    return template


def check_aws_bulk(path, rows, aws, attributes=()):
    text = read(path, "r")
    lines = text.split("\n")
    kit.check(lines.pop() == "", "aws-bulk: no line end at the end")
    body = read(re.sub(r"(-\d+-of-\d+)?\.\w+$", "", path) + ".template.json", "r").strip()
    template = check_template(aws, body, "BULK")
    aws.takes("iot", "StartThingRegistrationTask", {"templateBody": body, "inputFileBucket": "bucket", "inputFileKey": path,
                                                    "roleArn": f"arn:aws:iam::{ACCOUNT}:role/R"})
    pems, ca = {}, re.match(r".*?-----END CERTIFICATE-----\n", read("ca/ca.pem", "r"), re.S).group()
    longest = 0
    for line in lines:
        one = json.loads(line)
        longest = max(longest, len(line.encode()))
        if not (set(one) == set(template["Parameters"]) and all(isinstance(v, str) for v in one.values())):
            kit.check(False, "aws-bulk: keys are not the template's parameters", line[:200])
            break
        name = one["ThingName"]
        if (complaint := aws.complaint("iot", "RegisterThing", {"templateBody": body, "parameters": one})):
            kit.check(False, complaint)
            break
        good = (THING.match(name) and all(len(v) <= 4096 and len(k) <= 2048 for k, v in one.items())
                and all(VALUE.match(one[a]) for a in (*attributes, "SerialNumber")) and one["CACertificatePem"] == ca
                and fits_shape(aws, "iot", "ThingName", name)
                and fits_shape(aws, "iot", "CertificatePem", one["CertificatePem"])
                and name in rows and one["SerialNumber"] == rows[name]["serial"]
                and all(one[a] == rows[name]["attributes"].get(a, rows[name].get(a)) for a in attributes))
        if not good:
            kit.check(False, "aws-bulk: a line that breaks a rule:", line[:300])
            break
        pems[name] = one["CertificatePem"]
    kit.check(len(pems) == len(lines), "aws-bulk: a device twice")
    kit.check(longest <= 256000, "aws-bulk: a line of", longest)
    return pems


def check_aws_jitp(path, rows, aws):
    template = check_template(aws, read(path, "r").strip(), "JITP")
    names = {"Country": "C", "Organization": "O", "OrganizationalUnit": "OU", "DistinguishedNameQualifier": "dnQualifier",
             "StateName": "ST", "CommonName": "CN"}
    for parameter in template["Parameters"]:
        prefix, _, last = parameter.rpartition("::")
        if not kit.check(prefix == "AWS::IoT::Certificate" and last in {*names, "SerialNumber", "Id"}, "jitp:", parameter):
            continue
        if last in names:
            lacking = [i for i, r in rows.items() if not re.search(rf"(^|[,+]){names[last]}=", r["subject"])]
            kit.check(not lacking, f"jitp: {last} is not in", lacking[:3])
    certificate = template["Resources"]["certificate"]["Properties"]
    kit.check(certificate["CertificateId"] == {"Ref": "AWS::IoT::Certificate::Id"}, "jitp: certificate", certificate)
    thing = template["Resources"]["thing"]["Properties"]
    kit.check(thing["ThingName"] == {"Ref": "AWS::IoT::Certificate::CommonName"}, "jitp: thing", thing)
    return template


def check_allow_list(path, rows, aws):
    """DYNAMODB_JSON: an object a line, {"Item": attributes}, keyed by certificateId."""
    seen = set()
    for line in read(path, "r").split("\n")[:-1]:
        item = json.loads(line)
        aws_says = aws.complaint("dynamodb", "PutItem", {"TableName": "allow", **item})
        flat = {k: v["S"] for k, v in item["Item"].items()}
        row = rows[flat["deviceId"]]
        if aws_says or not (set(item) == {"Item"} and all(set(v) == {"S"} for v in item["Item"].values())
                            and flat["certificateId"] == row["certificate_id"] and flat["serialNumber"] == row["serial"]
                            and flat["serialNumberDecimal"] == str(int(row["serial"], 16))
                            and flat.get("sku") == row["sku"] and len(line) < 400 << 10
                            and flat.get("certificateArn", arn("cert", row["certificate_id"]))
                            == arn("cert", row["certificate_id"])):
            kit.check(False, "allow-list: a line that breaks a rule:", line, aws_says)
            return
        seen.add(flat["certificateId"])
    kit.check(seen == {r["certificate_id"] for r in rows.values()}, "allow-list: other certificates than in force")
    key = [{"AttributeName": "certificateId", "KeyType": "HASH"}]
    aws.takes("dynamodb", "ImportTable", {
        "S3BucketSource": {"S3Bucket": "b"}, "InputFormat": "DYNAMODB_JSON", "TableCreationParameters": {
            "TableName": "allow", "KeySchema": key, "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "certificateId", "AttributeType": "S"}]}})


def cn_of(row):
    """Of subjects that these tests give: the value of CN has no characters that are escaped."""
    return re.search(r"(?:^|,)CN=([^,+\\]*)", row["subject"]).group(1)


def check_thingpress(path, rows, _aws):
    lines = read(path).split(b"\n")
    kit.check(lines.pop() == b"" and len(lines) <= 50000, "thingpress: lines", len(lines))
    by_cn = {cn_of(r): i for i, r in rows.items()}
    ids = {r["certificate_id"]: cn_of(r) for r in rows.values()}
    pems = {}
    for line in lines:
        pem = base64.b64decode(line, validate=True).decode("ascii")
        cn = ids.get(hashlib.sha256(der_of(pem)).hexdigest())
        if not kit.check(cn is not None and THING.match(cn), "thingpress: not of this fleet:", line[:60]):
            break
        pems[by_cn[cn]] = pem
    kit.check(len(pems) == len(lines), "thingpress: a CN twice")
    return pems


def check_azure_iothub(path, rows, _aws, ca=False):
    seen = set()
    for line in read(path, "r").split("\n")[:-1]:
        one = json.loads(line)
        row = rows[one["id"]]
        proof = ({"type": "certificateAuthority"} if ca else
                 {"type": "selfSigned", "symmetricKey": {"primaryKey": None, "secondaryKey": None},
                  "x509Thumbprint": {"primaryThumbprint": row["thumbprint_sha1"].upper(), "secondaryThumbprint": None}})
        if one != {"id": one["id"], "importMode": "create", "status": "enabled", "authentication": proof,
                   "capabilities": {"iotEdge": False}} or not re.fullmatch(r"[A-Za-z0-9\-:.+%_#*?!(),=@;$']{1,128}", one["id"]):
            kit.check(False, "azure-iothub:", line)
            return
        seen.add(one["id"])
    kit.check(seen == set(rows), "azure-iothub: other devices than in force")


def check_azure_dps(path, rows, _aws):
    pems, folded = {}, set()
    calls = [json.loads(line) for line in read(path, "r").split("\n")[:-1]]
    kit.check(all(set(c) == {"mode", "enrollments"} and c["mode"] == "create" for c in calls), "azure-dps: calls")
    sizes = [len(c["enrollments"]) for c in calls]
    kit.check(all(n == 10 for n in sizes[:-1]) and 0 < sizes[-1] <= 10, "azure-dps: enrollments a call", sizes[:3], sizes[-1])
    for one in (e for c in calls for e in c["enrollments"]):
        registration = one["registrationId"]
        row = rows[one["deviceId"]]
        if not (re.fullmatch(r"[A-Za-z0-9\-._:]{0,63}[A-Za-z0-9-]", registration) and registration == cn_of(row)
                and one["attestation"]["type"] == "x509" and one["provisioningStatus"] == "enabled"):
            kit.check(False, "azure-dps:", json.dumps(one)[:300])
            return pems
        folded.add(registration.lower())
        pems[one["deviceId"]] = one["attestation"]["x509"]["clientCertificates"]["primary"]["certificate"]
    kit.check(len(folded) == len(pems) == sum(sizes), "azure-dps: a registrationId twice")
    return pems


def records(path, what):
    """A CSV file by Python's reader, which must take it strictly."""
    with open(path, encoding="utf-8", newline="") as f:
        reader = csv.DictReader(f, strict=True, restkey="surplus", restval="lacking")
        found = list(reader)
    kit.check(len(set(reader.fieldnames)) == len(reader.fieldnames), f"{what}: a heading twice", reader.fieldnames)
    kit.check(not any("surplus" in r or "lacking" in r.values() for r in found), f"{what}: ragged")
    return found


def attributes_of(record, prefix, row, what):
    for name, value in row["attributes"].items():
        if record[prefix + name] != value:
            kit.check(False, f"{what}: attribute {name!r} of {row['device_id']}:", repr(record[prefix + name]), repr(value))


def check_thingsboard(path, rows, _aws):
    pems = {}
    for r in records(path, "thingsboard"):
        row = rows[r["name"]]
        if not (r["type"] == "default" and r["certificate_id"] == row["certificate_id"] and r["sku"] == (row["sku"] or "")):
            kit.check(False, "thingsboard:", r)
        attributes_of(r, "", row, "thingsboard")
        pems[r["name"]] = r["x509"]
    return pems


def check_espressif(path, rows, _aws):
    pems = {}
    by_mac = {r["attributes"].get("mac", i): i for i, r in rows.items()}
    for r in records(path, "espressif"):
        kit.check(set(r) == {"MAC", "cert"}, "espressif: columns", set(r))
        kit.check(re.fullmatch(r"(?:[0-9a-fA-F]{2}([:-]?))(?:[0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}", r["MAC"]), r["MAC"])
        pems[by_mac[r["MAC"]]] = r["cert"]
    return pems


def check_rainmaker(path, _rows, _aws):
    found = records(path, "rainmaker")
    kit.check(set(found[0]) == {"node_id", "certs"} and len(found) <= 50000, "rainmaker:", set(found[0]), len(found))
    return {r["node_id"]: r["certs"] for r in found}


PLAIN = ["run_id", "device_id", "lot", "sku", "profile", "subject", "certificate_id", "ca_certificate_id", "serial",
         "serial_dec", "key_alg", "sig_alg", "spki_sha256", "ski", "thumbprint_sha1", "not_before", "not_after", "minted_at"]


def check_flat(what, get, row):
    """get(column): its text, None for null."""
    places = {f"{side}_{name}": None if row[side] is None else str(row[side][name]) for side in ("chain", "key")
              for name in ("length", "xxh3", "sha256")}
    for side in ("chain", "key"):
        p = row[side]
        places[f"{side}_file"] = None if p is None else p.get("segment", p.get("path"))
        places[f"{side}_offset"] = str(p["offset"]) if p is not None and "offset" in p else None
    want = {**{c: row[c] for c in PLAIN}, "order_name": row["order"], "seq": str(row["seq"]), **places}
    wrong = {c: (get(c), v) for c, v in want.items() if get(c) != v}
    return kit.check(not wrong, f"{what}: {row['device_id']}: (is, should be)", wrong) if wrong else True


def check_csv(path, rows, _aws):
    """A cell can't tell null from nothing."""
    pems = {}
    for r in records(path, "csv"):
        row = rows[r["device_id"]]
        if not check_flat("csv", lambda c, r=r, row=row: r[c] if r[c] != "" or row.get(c) == "" else None, row):
            break
        attributes_of(r, "attributes.", row, "csv")
        if "certificate_arn" in r:
            kit.check(r["certificate_arn"] == arn("cert", row["certificate_id"])
                      and r["ca_certificate_arn"] == arn("cacert", row["ca_certificate_id"]), "csv: ARNs", r)
        pems[r["device_id"]] = r["certificate_pem"]
    return pems


def check_json(path, rows, _aws):
    pems = {}
    for one in json.loads(read(path)):
        pem = one.pop("certificate_pem")
        one.pop("certificate_arn", None), one.pop("ca_certificate_arn", None)
        if one != rows[one["device_id"]]:
            kit.check(False, "json: not the manifest's row", one)
            break
        pems[one["device_id"]] = pem
    return pems


def text_of(value):
    return None if value is None else str(value)


def check_sql(path, rows, server=None, table="devices"):
    """Into SQLite by its shell, and into PostgreSQL by psql."""
    for leftover in ("loaded.db",):
        if os.path.exists(leftover):
            os.remove(leftover)
    with open(path, "rb") as f:
        kit.must(["sqlite3", "-bail", "loaded.db"], stdin=f)
    db = sqlite3.connect("loaded.db")
    db.row_factory = sqlite3.Row
    pems = {}
    for r in db.execute(f"SELECT * FROM {table}"):
        row = rows[r["device_id"]]
        if not check_flat("sql", lambda c, r=r: text_of(r[c]), row):
            break
        if json.loads(r["attributes"]) != row["attributes"]:
            kit.check(False, "sql: attributes of", row["device_id"], r["attributes"])
            break
        pems[r["device_id"]] = r["certificate_pem"]
    db.close()
    if server is not None:
        server.psql(f"DROP TABLE IF EXISTS {table}")
        kit.must([f"{server.bindir}/psql", "-h", server.place, "-p", str(server.port), "-U", e2e_postgres.SUPERUSER, "-d",
                  "postgres", "-Xq", "-v", "ON_ERROR_STOP=1", "-f", path])
        columns = [c for c in ("device_id", "certificate_id", "attributes", "seq", "chain_offset", "certificate_pem")]
        digest = f"md5(string_agg({'||'.join(f'coalesce({c}::text,chr(1))' for c in columns)}, '' ORDER BY certificate_id))"
        count, summed = server.psql(f"SELECT count(*) || ' ' || {digest} FROM {table}")[0].split(" ")
        db = sqlite3.connect("loaded.db")
        one = hashlib.md5()
        for r in db.execute(f"SELECT {','.join(columns)} FROM {table} ORDER BY certificate_id"):
            one.update("".join("\x01" if v is None else str(v) for v in r).encode())
        db.close()
        kit.check(int(count) == len(rows) and summed == one.hexdigest(), "sql: PostgreSQL has other rows than SQLite", count)
    return pems


CHECKS = {"aws-bulk": check_aws_bulk, "thingpress": check_thingpress, "azure-dps": check_azure_dps,
          "thingsboard": check_thingsboard, "rainmaker": check_rainmaker, "csv": check_csv, "json": check_json}


# ---- exports ----

def export(fleet, form, out, *more, **how):
    return kit.mill("export", fleet, "--to", form, "--out", out, *more, **how)


def exported(fleet, form, out, *more):
    r = export(fleet, form, out, *more)
    kit.check(r.code == 0, r)
    return r


def all_formats(fleet, aws, server, rows, tag):
    for form, check in CHECKS.items():
        kit.say(tag, form)
        exported(fleet, form, f"{tag}-{form}.out", *(AWS if form in ("csv", "json") else []))
        pems = check(f"{tag}-{form}.out", rows, aws)
        sound(f"{tag} {form}", pems, rows)
    for form, check in (("azure-iothub", check_azure_iothub), ("allow-list", check_allow_list), ("aws-jitp", check_aws_jitp)):
        kit.say(tag, form)
        exported(fleet, form, f"{tag}-{form}.out", *(AWS if form == "allow-list" else []))
        check(f"{tag}-{form}.out", rows, aws)
    kit.say(tag, "sql")
    exported(fleet, "sql", f"{tag}.sql")
    sound(f"{tag} sql", check_sql(f"{tag}.sql", rows, server), rows)


def large(aws, server):
    kit.must_mint("large", "ca", "--count", str(DEVICES), "--lot", "L-7", "--sku", "S,\"1\"", "--subject",
                  "/C=DE/O=Acme, Inc./OU=Line \\/ 1/CN={id}")
    rows = rows_of("large")
    all_formats("large", aws, server, rows, "large")
    template = json.loads(read("large-aws-jitp.out"))
    kit.check({p.rpartition("::")[2] for p in template["Parameters"]} ==
              {"Country", "Organization", "OrganizationalUnit", "CommonName", "SerialNumber", "Id"}, "jitp:", template)
    split(aws, rows)
    memory("large")


def split(aws, rows):
    """Numbered files, each whole by itself, together everything once."""
    per = -(-DEVICES // 3) + (DEVICES % 3 == 0)
    for form, check in [*CHECKS.items(), ("sql", lambda path, rows, _: check_sql(path, rows))]:
        r = export("large", form, "split.out", "--rows-per-file", str(per), "--json")
        files = json.loads(r.out)["files"]
        data = [f for f in files if "-of-" in f]
        kit.check(r.code == 0 and data == [f"split-{i:03}-of-003.out" for i in (1, 2, 3)], "split:", r, files)
        together, count = {}, 0
        for f in data:
            one = check(f, rows, aws)
            kit.check(0 < len(one) <= per, f"{f}: {len(one)} devices")
            count += len(one)
            together.update(one)
        kit.check(count == len(rows) and set(together) == set(rows), f"split {form}: {count} devices in all")
        for f in files:
            os.remove(f)


def memory(fleet):
    """The same for any fleet: some buffers, nothing that grows with it."""
    if kit.SLOW:
        return
    for form in ("azure-dps", "csv"):
        r = kit.mill("export", fleet, "--to", form, "--quiet", stdout=subprocess.DEVNULL,
                     preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (40 << 20, 40 << 20)))
        kit.check(r.code == 0, "memory:", r)


def others(aws, server):
    """Layouts, encodings, no keys; their rows differ, their certificates do not."""
    for tag, more in (("tree", ["--layout", "tree"]), ("der", ["--encoding", "der"]),
                      ("tree-der", ["--layout", "tree", "--encoding", "der"]), ("rsa", ["--key", "RSA-2048"])):
        kit.must_mint(tag, "ca", "--count", "23", "--subject", "/CN={id}", *more)
        all_formats(tag, aws, server if tag == "tree" else None, rows_of(tag), tag)
    kit.must([kit.CERTMILL, "purge-keys", "tree", "--yes", "--quiet"])
    exported("tree", "json", "purged.json")
    sound("purged", check_json("purged.json", rows_of("tree"), aws), rows_of("tree"))


HARD = {"plain": "x", "empty": "", "comma": "a,b", "quotes": "say \"no\" and 'yes' ''", "lines": "one\ntwo\r\nthree\n",
        "utf-8": "Grüße, 世界 😀", "control": "\t\x01\x1f", "back\\slash": "\\'; DROP TABLE devices; --\\", "semi;colon": ";",
        "head,ing \"q\"": " ends in space ", "sql": "\n/\ngo\n.quit\n;\n\\q\n", "dollar": "$$ :'x' ${y}", "long": "z" * 9000}


def attributes(aws, server):
    """Rows as a device list fills them; then rows as no list of today would."""
    with open("hard.ndjson", "w", encoding="utf-8") as f:
        for n in range(1, 41):
            row = {"id": f"SN{n:08}", "mac": f"02:00:00:00:00:{n:02x}", "part": f"P-{n}", **HARD}
            f.write(json.dumps(row, ensure_ascii=n % 2 == 0) + "\n")
    kit.must_mint("hard", "ca", "--devices", "hard.ndjson", "--subject", "/CN={id}")
    kit.ok([kit.CERTMILL, "verify", "hard", "--quiet"])
    made = fleetmaker.Fleet.read("hard")
    rows = rows_of("hard")
    kit.check(rows["SN00000001"]["attributes"]["utf-8"] == HARD["utf-8"], "the fleet with attributes is not as meant")
    all_formats("hard", aws, server, rows, "hard")
    exported("hard", "espressif", "hard-espressif.csv")
    sound("espressif", check_espressif("hard-espressif.csv", rows, aws), rows)
    options = ["--aws-attribute", "part", "--aws-attribute", "mac", "--aws-policy", "Factory+1", "--aws-thing-group", "g1",
               "--aws-thing-group", "g:2", "--aws-billing-group", "b", "--aws-thing-type", "T"]
    exported("hard", "aws-bulk", "attributes.ndjson", *options)
    sound("aws-bulk with attributes", check_aws_bulk("attributes.ndjson", rows, aws, ("part", "mac")), rows)
    template = json.loads(read("attributes.template.json"))["Resources"]
    kit.check(template["policy"]["Properties"] == {"PolicyName": "Factory+1"} and template["thing"]["Properties"] == {
        "ThingName": {"Ref": "ThingName"}, "ThingTypeName": "T", "BillingGroup": "b", "ThingGroups": ["g1", "g:2"],
        "AttributePayload": {"serialNumber": {"Ref": "SerialNumber"}, "part": {"Ref": "part"}, "mac": {"Ref": "mac"}}},
        "template:", template)
    role = f"arn:aws:iam::{ACCOUNT}:role/JITP"
    exported("hard", "aws-jitp", "jitp.json", "--aws-role", role)
    config = json.loads(read("jitp.registration.json"))
    kit.check(config == {"templateBody": read("jitp.json", "r").strip(), "roleArn": role}, "jitp: registration", config)
    aws.takes("iot", "RegisterCACertificate", {"caCertificate": read("ca/ca.pem", "r"), "certificateMode": "SNI_ONLY",
                                               "registrationConfig": config})
    exported("hard", "azure-iothub", "by-ca.txt", "--azure-auth", "ca")
    check_azure_iothub("by-ca.txt", rows, aws, ca=True)
    exported("hard", "csv", "china.csv", *AWS, "--aws-partition", "aws-cn")
    for r in records("china.csv", "csv"):
        kit.check(r["certificate_arn"] == arn("cert", r["certificate_id"], "aws-cn"), r["certificate_arn"])
    made.devices[0].row["attributes"] = {"serial": "s"}
    made.write("taken")
    refused("taken", "thingsboard", says=("\"serial\"", "export to csv"))
    exported("taken", "csv", "taken.csv")  # attributes.serial there
    check_csv("taken.csv", rows_of("taken"), aws)
    for n, device in enumerate(made.devices):
        device.row["attributes"] = {f"column {n}.{i}": "x" for i in range(7)}  # 280 names
    made.write("wide")
    refused("wide", "csv", says=("more than 256 different names", "export to json"))
    exported("wide", "json", "wide.json")
    exported("hard", "sql", "named.sql", "--table", "Order_66")
    sound("sql, a name", check_sql("named.sql", rows, table="Order_66"), rows)


def reworked(aws):
    kit.must_mint("work", "ca", "--count", "30", "--subject", "/CN={id}")
    before = rows_of("work")
    again = ["SN00000003", "SN00000007", "SN00000030"]
    kit.must([kit.CERTMILL, "reissue", "work", "--quiet", "--reason", "test", *again])
    rows = rows_of("work")
    kit.check(all(rows[i]["certificate_id"] != before[i]["certificate_id"] for i in again), "reissue did nothing")
    for form, check in CHECKS.items():
        r = export("work", form, f"work-{form}.out", "--json")
        told = json.loads(r.out)
        kit.check((told["devices"], told["superseded"], told["state"]) == (30, 3, "complete"), "reworked:", r)
        sound(f"reworked {form}", check(f"work-{form}.out", rows, aws), rows)
    r = exported("work", "csv", "said.csv")
    kit.check(b"3 certificates that are no longer in force" in r.err, "left out, and not said:", r)


def unfinished(aws):
    """Killed or stopped: what is committed is exported, also out of a segment that still bears .part, and that is said."""
    for layout, number, word in (("tar", signal.SIGKILL, "unfinished"), ("tree", signal.SIGKILL, "unfinished"),
                                 ("tar", signal.SIGINT, "stopped")):
        out = f"{word}-{layout}"
        p = subprocess.Popen([kit.CERTMILL, "mint", "--quiet", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--out", out,
                              "--plaintext-keys", "--count", "3000000", "--layout", layout], stdin=subprocess.DEVNULL)
        end = time.monotonic() + kit.PATIENCE
        while time.monotonic() < end and p.poll() is None:
            if os.path.exists(f"{out}/journal") and b'"type":"commit"' in read(f"{out}/journal"):
                break
            time.sleep(0.02)
        p.send_signal(number)
        p.wait()
        rows = rows_of(out)
        r = export(out, "thingpress", f"{out}.txt", "--rows-per-file", "100000000")
        kit.check(r.code == 0 and f"{len(rows)} of its 3000000 devices are committed".encode() in r.err, r)
        found = {}
        lines = read(f"{out}.txt").split(b"\n")[:-1]
        by_id = {row["certificate_id"]: i for i, row in rows.items()}
        for line in lines:
            pem = base64.b64decode(line, validate=True).decode()
            found[by_id.get(hashlib.sha256(der_of(pem)).hexdigest())] = pem
        sound(out, found, rows)
        told = json.loads(export(out, "json", f"{out}.json", "--json").out)
        kit.check(told["state"] == word and told["devices"] == len(rows), out, told)
        sound(f"{out}, json", check_json(f"{out}.json", rows, aws), rows)
        subprocess.run(["rm", "-rf", out, f"{out}.json"], check=True)


def told():
    """Every format of the help is tested here, and explained in the documentation."""
    text = kit.mill("help", "export").out.decode()
    listed_there = set()
    for line in text.split("FORMAT is one of\n")[1].split("\n\n")[0].split("\n"):
        listed_there |= set(re.match(r"  ((?:[a-z-]+, )*[a-z-]+) ", line).group(1).split(", "))
    tested = {*CHECKS, "azure-iothub", "allow-list", "aws-jitp", "espressif", "sql"}
    kit.check(listed_there == tested, "formats in the help:", listed_there ^ tested)
    docs = os.path.join(os.environ.get("CM_SOURCE", ".."), "docs")
    exports, manual = read(f"{docs}/exports.md", "r"), read(f"{docs}/certmill.1", "r").replace("\\-", "-")
    headings = {x for h in re.findall(r"^## (.*)$", exports, re.M) for x in h.split(", ")}
    kit.check(tested <= headings, "docs/exports.md lacks", tested - headings)
    kit.check(all(re.search(rf"^\.BR? .*\b{f}\b", manual, re.M) for f in tested), "the manual lacks a format")


# ---- refusals ----

def refused(fleet, form, *more, code=2, says=()):
    """Exit code, message, and not a file more or less than before."""
    before = kit.files_below(".")
    r = export(fleet, form, "never.out", *more)
    kit.check(r.code == code and r.out == b"", "not refused:", r)
    for text in says:
        kit.check(text.encode() in r.err, f"no word of {text!r}:", r)
    kit.check(kit.files_below(".") == before, "a refusal left files or took some:", set(kit.files_below(".")) ^ set(before))


def listed(out, ids, *more):
    with open(f"{out}.txt", "w", encoding="utf-8") as f:
        f.write("".join(f"{i}\n" for i in ids))
    # A profile that does not itself ask for names that AWS takes.
    kit.must_mint(out, "ca", "--devices", f"{out}.txt", "--subject", "/CN={id}", "--profile", "tls-client", *more)


def refusals():
    listed("dots", ["a.1", "good", "b 2", "x" * 60])
    for form in ("aws-bulk", "aws-jitp", "thingpress", "rainmaker"):
        refused("dots", form, says=("a.1: its ", "b 2: its ", "2 of 4 devices can't be exported", "nothing was written"))
    refused("dots", "azure-dps", says=("b 2: its CN is no registrationId", "1 of 4"))
    refused("dots", "azure-iothub", says=("b 2: IoT Hub takes",))
    refused("dots", "espressif", says=("a.1: it has no MAC address", "4 of 4"))
    refused("dots", "espressif", "--mac-column", "eth", says=("column of --mac-column",))
    listed("ends", ["dev:", "dev_", "ok-"])
    refused("ends", "azure-dps", says=("dev:: its CN", "dev_: its CN", "2 of 3"))
    listed("cases", ["Pump-1", "pump-2", "PUMP-1"])
    refused("cases", "azure-dps", says=("PUMP-1: ", "that of Pump-1", "case makes no difference", "1 of 3"))
    exported("cases", "thingpress", "cases.b64")
    kit.must_mint("same", "ca", "--count", "60", "--subject", "/O=Acme/CN=all-alike")
    for form in ("thingpress", "aws-jitp", "azure-dps"):
        refused("same", form, says=("all-alike is its name there", "59 of 60 devices", "and 39 more"))
    exported("same", "aws-bulk", "same.ndjson")  # its things are called by their ids
    kit.must_mint("nameless", "ca", "--count", "2", "--subject", "/O=Acme")
    for form in ("thingpress", "aws-jitp"):
        refused("nameless", form, says=("has no CN",))
    listed("macs", ["02-00-00-00-00-01", "020000000002", "02:00:00:00:00:03"])
    exported("macs", "espressif", "macs.csv")
    sound("espressif", check_espressif("macs.csv", rows_of("macs"), None), rows_of("macs"))
    listed("bad-macs", ["02-00:00-00-00-01", "02000000000", "02:00:00:00:00:0g", "0200000000022"])
    refused("bad-macs", "espressif", says=("4 of 4",))


def too_long():
    """A value of more than 4,096 characters: found before a file is written, with all that have one."""
    names = ",".join(f"DNS:{c * 60}.{d * 60}.example.com" for c in "abcdefgh" for d in "stuvw")
    for more in ([], ["--encoding", "der"]):
        shutil.rmtree("long", ignore_errors=True)
        kit.must_mint("long", "ca", "--count", "3", "--key", "RSA-2048", "--san", names, *more)
        refused("long", "aws-bulk", says=("SN00000001: its CertificatePem has", "SN00000003: its CertificatePem has",
                                          "AWS IoT takes 4096: mint it with fewer", "3 of 3 devices"))
    wide = "/CN=Wide CA" + "".join(f"/OU={n:02}{'x' * 60}" for n in range(15))
    kit.ca_init("wide-ca", "--subject", wide, "--key", "RSA-4096")
    kit.must_mint("wide-chain", "wide-ca", "--count", "2")
    refused("wide-chain", "aws-bulk", says=("the CA of wide-chain: its CACertificatePem has", "export to aws-jitp"))
    exported("long", "json", "long.json")
    sound("long", check_json("long.json", rows_of("long"), None), rows_of("long"))


def bad_options():
    listed("few", ["a", "b", "c"], "--lot", "L 1")
    for form, more, text in (
            ("csv", ["--aws-account", ACCOUNT], "both --aws-account and --aws-region"),
            ("csv", ["--aws-region", REGION], "both --aws-account and --aws-region"),
            ("csv", ["--aws-partition", "aws-cn"], "both"),
            ("csv", ["--aws-account", "12345678901", "--aws-region", REGION], "12 digits"),
            ("csv", ["--aws-account", "12345678901x", "--aws-region", REGION], "12 digits"),
            ("csv", ["--aws-account", ACCOUNT, "--aws-region", "eu central"], "no region"),
            ("csv", [*AWS, "--aws-partition", "gcp"], "--aws-partition gcp"),
            ("aws-bulk", ["--aws-policy", "a b"], "--aws-policy"),
            ("aws-bulk", ["--aws-thing-type", "a.b"], "--aws-thing-type"),
            ("aws-bulk", ["--aws-thing-group", "ok", "--aws-thing-group", "a.b"], "--aws-thing-group a.b"),
            ("aws-bulk", ["--aws-billing-group", "x" * 129], "at most 128"),
            ("aws-bulk", ["--aws-attribute", "lot"], "its \"lot\" is no value"),
            ("aws-bulk", ["--aws-attribute", "sku"], "it has no \"sku\""),
            ("aws-bulk", ["--aws-attribute", "ThingName"], "a parameter of that name"),
            ("aws-bulk", ["--aws-attribute", "sku", "--aws-attribute", "sku"], "a parameter of that name"),
            ("aws-bulk", ["--aws-attribute", "a b"], "in a name"),
            ("aws-bulk", [x for i in range(3) for x in ("--aws-attribute", f"a{i}")], "without --aws-thing-type"),
            ("aws-bulk", [x for i in range(90) for x in ("--aws-thing-group", f"{i}" + "x" * 126)], "AWS IoT takes 10240"),
            ("aws-jitp", [x for i in range(90) for x in ("--aws-thing-group", f"{i}" + "x" * 126)], "AWS IoT takes 10240"),
            ("aws-jitp", ["--aws-role", "JITP"], "no ARN of a role"),
            ("sql", ["--table", "drop table"], "--table"),
            ("sql", ["--table", "1st"], "--table"),
            ("cvs", [], "did you mean csv"),
            ("parquet", [], "help export lists them"),
            ("csv", ["--rows-per-file", "0"], "rows-per-file")):
        refused("few", form, *more, says=(text,))
    refused("absent", "csv", says=("absent",))
    r = kit.mill("export", "few")
    kit.check(r.code == 2 and b"--to FORMAT" in r.err, r)
    for more in (["--to", "csv", "--json"], ["--to", "csv", "--json", "--out", "-"]):
        r = kit.mill("export", "few", *more)
        kit.check(r.code == 2 and b"--out FILE" in r.err, r)
    for more in (["--to", "aws-bulk"], ["--to", "csv", "--rows-per-file", "1", "--out", "-"]):
        r = kit.mill("export", "few", *more)
        kit.check(r.code == 2 and r.out == b"" and b"--out FILE" in r.err, r)
    r = kit.mill("export", "few", "--to", "csv", "--out", "no/such/dir.csv")
    kit.check(r.code == 2 and b"no directory no/such" in r.err, r)


def names_of_files():
    """What is there is never written over, and what is unfinished never bears the name."""
    for name in ("there.ndjson", "there.template.json", "there.ndjson.part"):
        with open(name, "w", encoding="ascii") as f:
            f.write("mine")
        r = export("few", "aws-bulk", "there.ndjson")
        kit.check(r.code == 2 and name.encode() in r.err and b"exists already" in r.err, r)
        kit.check(read(name) == b"mine" and not [f for f in os.listdir(".") if f.startswith("there") and f != name], name)
        os.remove(name)
    os.symlink("/dev/null", "link.csv")
    kit.check(export("few", "csv", "link.csv").code == 2 and os.path.islink("link.csv"), "a link was followed")
    os.mkdir("below")
    r = exported("few", "csv", "below/few.csv")
    kit.check(r.out == b"below/few.csv\n", r)
    text = kit.mill("export", "few", "--to", "csv")
    kit.check(text.code == 0 and text.out == read("below/few.csv") and b"exported 3 devices" in text.err, text)
    text = kit.mill("export", "few", "--to", "csv", "--out", "-", "--quiet")
    kit.check(text.out == read("below/few.csv") and text.err == b"", text)
    r = export("few", "csv", "quiet.csv", "--quiet")
    kit.check(r.code == 0 and r.err == b"", r)


# ---- what goes wrong ----

def limited(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def faults():
    before = set(os.listdir("."))
    for size in (0, 4096, 300000):
        for form in ("sql", "aws-bulk"):
            r = export("large", form, "full.out", preexec_fn=limited(size))
            kit.check(r.code == 3 and b"full.out.part" in r.err and b"nothing of the export is left" in r.err, r)
            kit.check(set(os.listdir(".")) == before, "left behind:", set(os.listdir(".")) - before)
    with open("/dev/full", "wb") as full:
        r = kit.mill("export", "few", "--to", "json", stdout=full)
        kit.check(r.code == 3 and b"stdout" in r.err, r)
    for number in (signal.SIGINT, signal.SIGTERM):
        reads, writes = os.pipe()  # nobody reads: the export hangs in its first write behind the pipe's room
        p = subprocess.Popen([kit.CERTMILL, "export", "large", "--to", "json"], stdout=writes, stderr=subprocess.PIPE)
        os.close(writes)
        time.sleep(0.5)
        p.send_signal(number)
        os.set_blocking(reads, True)
        while os.read(reads, 1 << 20):
            pass
        said = p.communicate(timeout=kit.PATIENCE)[1]
        os.close(reads)
        kit.check(p.returncode == 128 + number and b"stopped" in said, "a signal:", p.returncode, said)
    damaged()


def damaged():
    """A bundle that is not what the row lists goes nowhere."""
    listed("hurt", [f"d{i}" for i in range(20)])
    row = rows_of("hurt")["d12"]
    with open(f"hurt/{row['chain']['segment']}", "r+b") as f:
        f.seek(row["chain"]["offset"] + 200)
        octet = f.read(1)
        f.seek(-1, 1)
        f.write(bytes([octet[0] ^ 1]))
    refused("hurt", "json", says=("device d12: ", "damaged", "certmill verify"))
    os.rename(f"hurt/{row['chain']['segment']}", "hurt/away")
    refused("hurt", "csv", says=("chains/000000.tar", "missing"))


def negative_controls(aws):
    """The checkers do refuse: what the rules forbid is found when it is planted."""
    failed, kit.failed = kit.failed, 0
    rows = rows_of("few")
    seen = []
    lines = [json.loads(line) for line in kit.mill("export", "few", "--to", "allow-list").out.splitlines()]
    aws_no = aws.complaint("dynamodb", "PutItem", {"TableName": "allow", "Item": {"serial": {"S": 5}}})
    seen.append(aws_no is not None and len(lines) == 3)
    seen.append(aws.complaint("iot", "RegisterThing", {"templateBody": "", "parameters": {"a": 1}}) is not None)
    seen.append(not fits_shape(aws, "iot", "ThingName", "a.b") and fits_shape(aws, "iot", "ThingName", "a:b"))
    seen.append(not is_certificate(read("ca/ca.pem", "r"), rows["a"]))
    kit.failed = failed
    kit.check(all(seen), "a checker that takes anything:", seen)


def main():
    kit.enter_place("exports")
    try:
        aws = Botocore()
    except ImportError:
        kit.skip("botocore (package python3-botocore) is not installed")
        sys.exit(kit.finish())
    server = None if kit.SLOW else e2e_postgres.Server.find()
    kit.ca_init("ca", "--subject", "/O=Acme/CN=Device CA", "--pathlen", "0")
    told()
    refusals()
    too_long()
    bad_options()
    names_of_files()
    negative_controls(aws)
    attributes(aws, server)
    reworked(aws)
    others(aws, server)
    large(aws, server)
    faults()
    unfinished(aws)
    sys.exit(kit.finish())


main()
