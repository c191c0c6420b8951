"""Activates certificates that AWS IoT registered when their devices first connected.

AWS IoT registers whatever the CA ever signed. What counts is the allow-list, a DynamoDB table keyed by certificateId: a
certificate that stands there gets its thing and the devices' policy, and is activated last; any other one is set INACTIVE.

The event comes again whenever a device connects whose certificate is still PENDING_ACTIVATION, and Lambda repeats what
failed: every step may be made twice. A certificate in any other state is left alone, so that an event that comes late
never revives one that was revoked meanwhile. What fails raises; after Lambda's repetitions the event goes to the queue.
"""

import logging
import os
import re

import boto3
from botocore.config import Config

TABLE = os.environ["ALLOW_LIST_TABLE"]
POLICY = os.environ["DEVICE_POLICY"]
THING_NAME = re.compile(r"[a-zA-Z0-9:_-]{1,128}")

log = logging.getLogger()
log.setLevel(logging.INFO)

# Thousands of devices may come at once, and AWS IoT takes some ten calls a second: patience is part of it.
_config = Config(retries={"mode": "standard", "max_attempts": 8})
iot = boto3.client("iot", config=_config)
dynamodb = boto3.client("dynamodb", config=_config)


def handler(event, _context):
    """What was done: "activated", "denied", or "left alone"."""
    certificate_id = event["certificateId"]
    certificate = iot.describe_certificate(certificateId=certificate_id)["certificateDescription"]
    if certificate["status"] != "PENDING_ACTIVATION":
        log.info("%s is %s: left alone", certificate_id, certificate["status"])
        return "left alone"
    item = allowed(certificate_id, event["caCertificateId"])
    if item is None:
        iot.update_certificate(certificateId=certificate_id, newStatus="INACTIVE")
        log.warning("%s of CA %s is not in the allow-list: denied", certificate_id, event["caCertificateId"])
        return "denied"
    register(certificate["certificateArn"], item["deviceId"]["S"])
    iot.update_certificate(certificateId=certificate_id, newStatus="ACTIVE")
    log.info("%s (%s): activated", certificate_id, item["deviceId"]["S"])
    return "activated"


def allowed(certificate_id, ca_certificate_id):
    """The certificate's item in the allow-list, if it is there under this CA; else None."""
    key = {"certificateId": {"S": certificate_id}}
    item = dynamodb.get_item(TableName=TABLE, Key=key, ConsistentRead=True).get("Item")
    return item if item is not None and item["caCertificateId"]["S"] == ca_certificate_id else None


def register(certificate_arn, device_id):
    """The thing and the policy of a certificate."""
    if THING_NAME.fullmatch(device_id):
        try:
            iot.create_thing(thingName=device_id)
        except iot.exceptions.ResourceAlreadyExistsException:
            pass  # with attributes of its own: it stays as it is
        iot.attach_thing_principal(thingName=device_id, principal=certificate_arn)
    else:
        log.warning("%s is no name for a thing: the certificate gets its policy only", device_id)
    iot.attach_policy(policyName=POLICY, target=certificate_arn)
