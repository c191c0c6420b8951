#!/usr/bin/env bash
# Goal: `certmill ca init` and the frame around all commands behave as the manual says. Method: run the program; let
# openssl and certtool judge what it wrote.
set -uo pipefail
certmill=${CERTMILL:?the program to test}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failed=0
checks=0

# expect CODE WORDS COMMAND…: the exit code, and words that stdout or stderr must hold ("" : any).
expect() {
    local want=$1 words=$2 got=0
    shift 2
    checks=$((checks + 1))
    "$@" >out.txt 2>err.txt </dev/null || got=$?
    if [[ $got -ne $want ]] || { [[ -n $words ]] && ! grep -qF -- "$words" out.txt err.txt; }; then
        echo "FAIL: $*"
        echo "  exit $got, wanted $want with \"$words\"; it said:"
        sed 's/^/  | /' out.txt err.txt
        failed=1
    fi
    if grep -q 'Sanitizer:' err.txt; then
        cat err.txt # for the runner to see
        failed=1
    fi
}
ok() { expect 0 "" "$@"; }
mode() { expect 0 "$1" stat -c '%a %F' "$2"; }
absent() { expect 1 "" test -e "$1"; }

# A root, by default: what is written, how, and what others say about it.
expect 0 "self-signed root" "$certmill" ca init --out root
mode "700 directory" root
mode "644 regular file" root/ca.pem
mode "600 regular file" root/ca.key
expect 0 "OK" openssl verify -x509_strict -check_ss_sig -CAfile root/ca.pem root/ca.pem
expect 0 "Verified" certtool --verify --load-ca-certificate root/ca.pem --infile root/ca.pem
openssl x509 -in root/ca.pem -noout -text >text.txt
for words in 'Version: 3' 'Issuer: CN = certmill CA' 'prime256v1' 'Basic Constraints: critical' 'CA:TRUE' \
    'Key Usage: critical' 'Certificate Sign, CRL Sign' 'Subject Key Identifier' 'Authority Key Identifier' \
    'ecdsa-with-SHA256'; do
    expect 0 "$words" cat text.txt
done
expect 1 "" grep -q pathlen text.txt
ok cmp <(openssl x509 -in root/ca.pem -noout -pubkey) <(openssl pkey -in root/ca.key -pubout)
serial=$(openssl x509 -in root/ca.pem -noout -serial)
ok test "${#serial}" -eq 47 # "serial=" and 40 digits: 20 octets

# Nothing is overwritten, whatever stands there.
sha256sum root/ca.pem root/ca.key >before.txt
expect 2 "never overwritten" "$certmill" ca init --out root
ok sha256sum -c before.txt
mkdir dangling && ln -s nowhere dangling/ca.key
expect 2 "dangling/ca.key is there already" "$certmill" ca init --out dangling
absent dangling/nowhere
absent dangling/ca.pem
mkdir half && echo mine >half/ca.pem
expect 2 "half/ca.pem is there already" "$certmill" ca init --out half
expect 0 mine cat half/ca.pem
absent half/ca.key
mkdir stale && touch stale/ca.key.part
expect 2 "interrupted" "$certmill" ca init --out stale

# Modes are exact under any umask.
for mask in 000 077 777; do
    ok bash -c "umask $mask; exec \"\$0\" ca init --out mask$mask" "$certmill"
    mode "700 directory" mask$mask
    mode "644 regular file" mask$mask/ca.pem
    mode "600 regular file" mask$mask/ca.key
done

# Every key, and the signatures that go with it.
for key in P-384 P-521 RSA-2048 Ed25519 rsa:3072 prime256v1; do
    ok "$certmill" ca init --out "key-$key" --key "$key"
    expect 0 "OK" openssl verify -x509_strict -CAfile "key-$key/ca.pem" "key-$key/ca.pem"
done
ok "$certmill" ca init --out pss --key RSA-2048 --signature rsassa-pss-sha384
expect 0 "rsassaPss" openssl x509 -in pss/ca.pem -noout -text
expect 0 "OK" openssl verify -x509_strict -CAfile pss/ca.pem pss/ca.pem

# Names: order, escapes, UTF-8, bounds.
ok "$certmill" ca init --out name --subject '/C=DE/O=Gr\/ün & Söhne/CN=Ä Device CA'
expect 0 'C=DE,O=Gr/ün & Söhne,CN=Ä Device CA' openssl x509 -in name/ca.pem -noout -subject -nameopt \
    RFC2253,utf8,-dn_rev,-esc_msb
long=$(printf 'x%.0s' {1..65})
expect 2 "" "$certmill" ca init --out bad --subject "/CN=$long"
expect 2 "" "$certmill" ca init --out bad --subject "/C=Germany/CN=x"
expect 2 "begin with '/'" "$certmill" ca init --out bad --subject "CN=x"
expect 2 "placeholder" "$certmill" ca init --out bad --subject "/CN={id}"
expect 2 "" "$certmill" ca init --out bad --subject "/FOO=x"
expect 2 "needs a name" "$certmill" ca init --out bad --subject "/"
expect 2 "" "$certmill" ca init --out bad --subject $'/CN=\xff\xfe'
absent bad

# Intermediates: the chain is there, validates, and is bounded by its issuer.
ok "$certmill" ca init --out int --subject '/CN=Int' --issuer-cert root/ca.pem --issuer-key root/ca.key --pathlen 0
expect 0 2 grep -c BEGIN int/ca.pem
expect 0 "OK" openssl verify -x509_strict -CAfile root/ca.pem int/ca.pem
expect 0 "pathlen:0" openssl x509 -in int/ca.pem -noout -text
expect 0 "Verified" certtool --verify --load-ca-certificate root/ca.pem --infile int/ca.pem
ok test "$(openssl x509 -in int/ca.pem -noout -enddate)" = "$(openssl x509 -in root/ca.pem -noout -enddate)"
expect 2 "allows no further CA" "$certmill" ca init --out sub --issuer-cert int/ca.pem --issuer-key int/ca.key
expect 2 "outlive" "$certmill" ca init --out sub --days 9999 --issuer-cert root/ca.pem --issuer-key root/ca.key
expect 2 "don't belong together" "$certmill" ca init --out sub --issuer-cert root/ca.pem --issuer-key int/ca.key
expect 2 "go together" "$certmill" ca init --out sub --issuer-cert root/ca.pem
ok "$certmill" ca init --out limit --pathlen 1
expect 2 "at most --pathlen 0" "$certmill" ca init --out sub --pathlen 1 --issuer-cert limit/ca.pem \
    --issuer-key limit/ca.key
cp root/ca.key open.key
chmod 640 open.key
expect 2 "chmod 600" "$certmill" ca init --out sub --issuer-cert root/ca.pem --issuer-key open.key
ok "$certmill" ca init --out sub --issuer-cert root/ca.pem --issuer-key open.key --allow-insecure-ca-key

# Passphrases.
printf 'correct horse\r\nsecond line\n' >pass
printf 'wrong' >wrong
: >empty
printf '\nx\n' >blank
ok "$certmill" ca init --out locked --passphrase-file pass
expect 0 "BEGIN ENCRYPTED PRIVATE KEY" cat locked/ca.key
ok openssl pkey -in locked/ca.key -passin 'pass:correct horse' -noout
expect 0 "hmacWithSHA256" openssl asn1parse -in locked/ca.key
issuer=(--issuer-cert locked/ca.pem --issuer-key locked/ca.key)
ok "$certmill" ca init --out unlocked "${issuer[@]}" --issuer-passphrase-file pass
ok bash -c '"$0" ca init --out piped "$@" --issuer-passphrase-file <(echo "correct horse")' "$certmill" "${issuer[@]}"
# A named FIFO may never get a writer, a pipe has one.
mkfifo fifo
expect 2 "named FIFO" timeout 20 "$certmill" ca init --out no "${issuer[@]}" --issuer-passphrase-file fifo
ok bash -c '(sleep 0.3; echo "correct horse") | "$0" ca init --out slow "$@" --issuer-passphrase-file /dev/stdin' "$certmill" "${issuer[@]}"
ok bash -c '"$0" ca init --out redirected "$@" --issuer-passphrase-file /dev/stdin <pass' "$certmill" "${issuer[@]}"
expect 2 "wrong passphrase" "$certmill" ca init --out no "${issuer[@]}" --issuer-passphrase-file wrong
expect 2 "first line is empty" "$certmill" ca init --out no "${issuer[@]}" --issuer-passphrase-file empty
expect 2 "first line is empty" "$certmill" ca init --out no "${issuer[@]}" --issuer-passphrase-file blank
expect 2 "no such file" "$certmill" ca init --out no "${issuer[@]}" --issuer-passphrase-file nowhere
expect 2 "neither a regular file" "$certmill" ca init --out no "${issuer[@]}" --issuer-passphrase-file /dev/zero
expect 2 "--issuer-passphrase-file FILE" setsid "$certmill" ca init --out no "${issuer[@]}"
absent no

# Files that are none.
mkfifo fifo
head -c 1100000 /dev/zero >big
for bad in "empty:is empty" "root:is a directory" "fifo:is a FIFO" "/dev/zero:is a character device" "big:too large" \
    "nowhere:no such file" "pass:no certificate"; do
    expect 2 "${bad#*:}" "$certmill" ca init --out no --issuer-cert "${bad%%:*}" --issuer-key root/ca.key
done
absent no
expect 3 "can't make the directory" "$certmill" ca init --out missing/parent
touch file
expect 3 "" "$certmill" ca init --out file

# Options, help, and standard output that can't be written.
expect 2 "needs --out" "$certmill" ca init
expect 2 "did you mean --pathlen?" "$certmill" ca init --out x --patlen 1
expect 2 "no key algorithm" "$certmill" ca init --out x --key RSA-1024
expect 2 "twice" "$certmill" ca init --out x --out y
expect 2 "did you mean certmill ca init?" "$certmill" ca innit
expect 2 "did you mean certmill verify?" "$certmill" verifi
expect 2 "Usage" "$certmill"
expect 0 "ca init" "$certmill" --help
expect 0 "--pathlen N" "$certmill" help ca init
expect 0 "--pathlen N" "$certmill" ca init --help
expect 0 "OpenSSL" "$certmill" --version
for command in --help --version "help ca init" "profile list"; do
    # shellcheck disable=SC2086 # two words are meant
    expect 3 "standard output" bash -c '"$0" "$@" >/dev/full' "$certmill" $command
    # shellcheck disable=SC2086
    expect 3 "standard output" bash -c '"$0" "$@" >&-' "$certmill" $command
done
ok bash -c '"$0" ca init --out closed --quiet <&- 2>&-' "$certmill"
expect 0 '"encrypted":false' "$certmill" ca init --out json --json
cp out.txt result.json
ok python3 -m json.tool result.json
ok "$certmill" ca init --out silent --quiet
[[ ! -s out.txt && ! -s err.txt ]] || {
    echo "FAIL: --quiet was not"
    failed=1
}
ok env LC_ALL=tr_TR.UTF-8 "$certmill" ca init --out locale --key ed25519

# No key octets anywhere but in ca.key, nothing unfinished left behind.
expect 1 "" grep -rl "PRIVATE KEY" --include='*.txt' --include='*.json' --include=ca.pem .
expect 0 "" bash -c '! find . -name "*.part" ! -path "./stale/*" | grep .'

# A write that fails leaves nothing. (ThreadSanitizer's own start does not survive such a limit.)
[[ ${CM_SANITIZE:-} == thread ]] || expect 3 "" bash -c 'ulimit -f 0; exec "$0" ca init --out toolarge' "$certmill"
absent toolarge

[[ $failed -eq 0 ]] && echo "$checks checks passed"
exit "$failed"
