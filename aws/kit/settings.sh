# shellcheck shell=sh disable=SC2034,SC2154
# Read by every script of this kit. What stands behind :- may be changed here, or set in the environment.

# AWS IoT's id of the CA: the SHA-256 of its certificate.
CA_CERTIFICATE_ID=@CA_ID@

# The account, 12 digits, and the region. They take the place of ACCOUNT_ID and AWS_REGION in the documents (*.json).
ACCOUNT_ID=${ACCOUNT_ID:-@ACCOUNT@}
AWS_REGION=${AWS_REGION:-@REGION@}

# An S3 bucket in that region, for bulk registration and for the allow-list.
BUCKET=${BUCKET:-}

# Another endpoint for aws iot, as a rehearsal has one; empty: AWS itself.
ENDPOINT_URL=${ENDPOINT_URL:-}

[ -z "$AWS_REGION" ] || export AWS_REGION
export AWS_PAGER=

# document FILE: its text, with account and region.
document() {
    sed -e "s/ACCOUNT_ID/$ACCOUNT_ID/g" -e "s/AWS_REGION/$AWS_REGION/g" "$kit/$1"
}
