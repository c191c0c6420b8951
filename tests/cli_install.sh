#!/usr/bin/env bash
# Goal: what is installed is enough: a program outside the tree builds against libcertmill and runs. Method: install
# into a scratch directory, compile a few lines with what pkg-config says; a fleet is rehearsed by what is installed,
# by somebody who isn't root.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cmake --install "${CM_BUILD:?the build directory}" --prefix "$dir/usr" >/dev/null
"$dir/usr/bin/certmill" --version
[[ -f $dir/usr/share/man/man1/certmill.1 ]]
PKG_CONFIG_PATH=$(dirname "$(find "$dir/usr" -name certmill.pc)")
export PKG_CONFIG_PATH
# The scratch prefix is not the one that was configured.
read -ra flags <<<"$(pkg-config --define-variable=prefix="$dir/usr" --static --cflags --libs certmill)"

cat >"$dir/program.c" <<'C'
#include <engine/certmill.h>
int main(void)
{
    struct cm_error err = { 0 };
    for (size_t i = 0; i < cm_keyalg_count(); i++)
        if (cm_cainit_probe(cm_keyalg_at(i), &err) != CM_OK)
            return 1;
    return puts(cm_sigalg_libcrypto()) == EOF;
}
C
sanitize=()
[[ -n ${CM_SANITIZE:-} ]] && sanitize=("-fsanitize=$CM_SANITIZE")
cc -std=gnu17 -Wall -Wextra -Werror "${sanitize[@]}" -o "$dir/program" "$dir/program.c" "${flags[@]}"
"$dir/program"

if [[ ! -x $dir/usr/libexec/certmill/certmill-aws ]] || ! PATH=$PATH:/usr/sbin command -v mosquitto >/dev/null; then
    echo "skipped: a rehearsal (scripts/deps aws)"
    exit 0
fi
somebody=()
if [[ $(id -u) == 0 ]]; then
    chmod 711 "$dir"
    install -d -o nobody "$dir/home"
    somebody=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
else
    mkdir "$dir/home"
fi
cd "$dir/home"
"${somebody[@]}" env TMPDIR="$dir/home" HOME="$dir/home" sh -euc '
    certmill=$1
    $certmill ca init --quiet --out ca
    $certmill mint --quiet --ca ca/ca.pem --ca-key ca/ca.key --out fleet --count 5 --plaintext-keys
    $certmill rehearse fleet --json
    if $certmill rehearse fleet --json >/dev/full 2>told; then exit 1; fi
    grep -q "No space left" told
    ls -d certmill-rehearsal.* 2>/dev/null && exit 1
    exit 0' sh "$dir/usr/bin/certmill" | grep '"published":5,'
