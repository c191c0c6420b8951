#include "cli/cafiles.h"
#include "cli/cmd.h"
#include "cli/msg.h"
#include "cli/passphrase.h"
#include "engine/cainit.h"
#include "engine/secret.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct opts {
    const char *out, *key, *subject, *signature;
    uint32_t days, pathlen;
    const char *issuer_cert, *issuer_key, *issuer_passphrase_file, *passphrase_file;
    bool allow_insecure;
};

static const struct cm_arg args[] = {
    { "out", CM_ARG_STR, offsetof(struct opts, out), 0, 0, NULL, "DIR",
      "where ca.pem and ca.key go, made (0700) when missing" },
    { "key", CM_ARG_STR, offsetof(struct opts, key), 0, 0, NULL, "ALG",
      "P-256, P-384, P-521, RSA-2048, RSA-3072, RSA-4096, Ed25519; P-256" },
    { "subject", CM_ARG_STR, offsetof(struct opts, subject), 0, 0, NULL, "NAME",
      "the CA's name, '/O=Acme/CN=Acme Device CA'; '/CN=certmill CA'" },
    { "days", CM_ARG_U32, offsetof(struct opts, days), 1, 3000000, NULL, "N",
      "validity from now; 3650, or less when the issuer ends earlier" },
    { "pathlen", CM_ARG_U32, offsetof(struct opts, pathlen), 0, 100, NULL, "N",
      "how many CAs may stand below this one; no limit" },
    { "signature", CM_ARG_STR, offsetof(struct opts, signature), 0, 0, NULL, "NAME",
      "ecdsa-with-SHA256, RSASSA-PSS-SHA256, …; what goes with the key" },
    { "passphrase-file", CM_ARG_STR, offsetof(struct opts, passphrase_file), 0, 0, NULL, "FILE",
      "encrypt ca.key with its first line; the key is not encrypted" },
    { "issuer-cert", CM_ARG_STR, offsetof(struct opts, issuer_cert), 0, 0, NULL, "FILE",
      "the CA that signs the new one, and the chain above it; none, for a root" },
    { "issuer-key", CM_ARG_STR, offsetof(struct opts, issuer_key), 0, 0, NULL, "FILE", "its private key" },
    { "issuer-passphrase-file", CM_ARG_STR, offsetof(struct opts, issuer_passphrase_file), 0, 0, NULL, "FILE",
      "its passphrase; asked for on the terminal" },
    { "allow-insecure-ca-key", CM_ARG_FLAG, offsetof(struct opts, allow_insecure), 0, 0, NULL, NULL,
      "accept an issuer's key file that others can read" },
};

static void defaults(void *opts)
{
    struct opts *o = opts;

    o->key = "P-256";
    o->subject = "/CN=certmill CA";
    o->pathlen = UINT32_MAX;
}

/* All that a run holds; done() takes it in any state. */
struct work {
    const struct opts *o;
    cm_when now;
    struct cm_ca *issuer;
    struct cm_ca *made;          /* the new CA, read back from what is written */
    struct cm_secret passphrase; /* of the new key */
    size_t passphrase_len;
    struct cm_secret key_mem;
    struct cm_writer key, cert;
    int dir;
    bool dir_made;
};

static void done(struct work *w)
{
    cm_ca_close(w->issuer);
    cm_ca_close(w->made);
    cm_secret_done(&w->passphrase);
    cm_secret_done(&w->key_mem);
    free(w->cert.data);
    cm_fd_close(&w->dir);
}

static cm_err check_opts(const struct opts *o, struct cm_error *err)
{
    if (o->out == NULL)
        CM_FAIL(err, CM_E_USAGE, "ca init needs --out DIR: where ca.pem and ca.key are to go");
    if ((o->issuer_cert == NULL) != (o->issuer_key == NULL))
        CM_FAIL(err, CM_E_USAGE, "--issuer-cert and --issuer-key go together; give both, or none for a root");
    if (o->issuer_cert == NULL && o->issuer_passphrase_file != NULL)
        CM_FAIL(err, CM_E_USAGE,
                "--issuer-passphrase-file without --issuer-cert and --issuer-key opens nothing");
    return CM_OK;
}

static cm_err open_issuer(struct work *w, struct cm_error *err)
{
    const struct cm_cafiles files = { .cert = w->o->issuer_cert,
                                      .key = w->o->issuer_key,
                                      .passphrase_file = w->o->issuer_passphrase_file,
                                      .passphrase_option = "--issuer-passphrase-file",
                                      .what = "issuer",
                                      .allow_insecure = w->o->allow_insecure };

    return cm_cafiles_open(&files, w->now, &w->issuer, err);
}

static cm_err read_passphrase(struct work *w, struct cm_error *err)
{
    struct cm_passphrase from = { w->o->passphrase_file, "--passphrase-file", "new CA key" };
    int len = 0;

    CM_TRY(cm_secret_init(&w->passphrase, 1024, err));
    len = cm_passphrase_get(&from, (char *) w->passphrase.base, 1024, err);
    if (len < 0)
        return err->code;
    w->passphrase_len = (size_t) len;
    return CM_OK;
}

static cm_err make(struct work *w, struct cm_error *err)
{
    const struct opts *o = w->o;
    const size_t room = CM_CAINIT_CERT_MAX + (w->issuer != NULL ? cm_ca_chain_pem(w->issuer).len : 0);
    const struct cm_cainit_conf conf = { .key = o->key,
                                         .subject = o->subject,
                                         .signature = o->signature,
                                         .days = o->days,
                                         .pathlen = o->pathlen == UINT32_MAX ? -1 : (int) o->pathlen,
                                         .issuer = w->issuer,
                                         .passphrase = cm_span(w->passphrase.base, w->passphrase_len),
                                         .now = w->now };

    CM_TRY(cm_secret_init(&w->key_mem, CM_CAINIT_KEY_MAX, err));
    w->key = cm_writer(w->key_mem.base, CM_CAINIT_KEY_MAX);
    w->cert = cm_writer(malloc(room), room);
    if (w->cert.data == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the certificate");
    return cm_cainit(&conf, &w->cert, &w->key, err);
}

static int own_passphrase(void *arg, char *buf, size_t cap, struct cm_error *err)
{
    const struct work *w = arg;

    (void) err;
    if (w->passphrase_len > cap)
        return -1;
    memcpy(buf, w->passphrase.base, w->passphrase_len);
    return (int) w->passphrase_len;
}

/* Reads back what is about to be written, the way that mint will. */
static cm_err check_made(struct work *w, struct cm_error *err)
{
    const struct cm_ca_conf conf = { .cert_pem = cm_span(w->cert.data, w->cert.len),
                                     .key_pem = cm_span(w->key.data, w->key.len),
                                     .cert_name = "(new)",
                                     .key_name = "(new)",
                                     .passphrase = own_passphrase,
                                     .passphrase_arg = w };

    CM_TRY(cm_ca_open(&conf, &w->made, err));
    return cm_ca_check(w->made, w->now, err);
}

static cm_err open_dir(struct work *w, struct cm_error *err)
{
    static const char *const names[] = { "ca.key", "ca.pem", "ca.key.part", "ca.pem.part" };
    const char *dir = w->o->out;

    if (mkdir(dir, 0700) == 0)
        w->dir_made = true;
    else if (errno != EEXIST)
        CM_FAIL(err, CM_E_IO, "can't make the directory %s", dir);
    CM_TRY(cm_dir_open(dir, &w->dir, err));
    if (w->dir_made && fchmod(w->dir, 0700) != 0)
        CM_FAIL(err, CM_E_IO, "can't set the mode of %s", dir);
    for (size_t i = 0; i < CM_COUNT(names); i++) {
        if (faccessat(w->dir, names[i], F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            CM_FAIL(err, CM_E_USAGE, "%s/%s is there already%s; name another --out, or move it away", dir,
                    names[i],
                    i < 2 ? " and is never overwritten" : " (from an interrupted or running ca init)");
        if (errno != ENOENT)
            CM_FAIL(err, CM_E_IO, "can't look for %s/%s", dir, names[i]);
    }
    return CM_OK;
}

/* *created: there is a file of this name now, by our hand. */
static cm_err write_part(struct work *w, const char *part, const struct cm_writer *data, mode_t mode,
                         bool *created, struct cm_error *err)
{
    int fd = -1;
    cm_err rc = CM_OK;

    CM_TRY(cm_file_create(w->dir, w->o->out, part, 0, mode, &fd, err));
    *created = true;
    rc = cm_file_write(fd, part, data->data, data->len, 0, err);
    if (rc == CM_OK)
        rc = cm_file_sync(fd, part, err);
    if (close(fd) != 0 && rc == CM_OK)
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't write %s/%s", w->o->out, part);
    return rc;
}

/* Both files or none: what has been made so far goes when a step fails. */
static cm_err write_files(struct work *w, struct cm_error *err)
{
    static const char *const undo[] = { "ca.key.part", "ca.pem.part", "ca.key", "ca.pem" };
    bool made[4] = { false }; /* which of undo exist by our hand */
    const char *dir = w->o->out;
    cm_err rc = write_part(w, undo[0], &w->key, 0600, &made[0], err);

    if (rc == CM_OK)
        rc = write_part(w, undo[1], &w->cert, 0644, &made[1], err);
    for (size_t i = 0; rc == CM_OK && i < 2; i++) {
        rc = cm_rename_new(w->dir, dir, undo[i], undo[i + 2], err);
        made[i] = rc != CM_OK;
        made[i + 2] = rc == CM_OK;
    }
    if (rc == CM_OK)
        rc = cm_dir_sync(w->dir, dir, err);
    for (size_t i = 0; rc != CM_OK && i < CM_COUNT(undo); i++)
        if (made[i])
            (void) unlinkat(w->dir, undo[i], 0);
    return rc;
}

/* A signal between the two files waits until both are there or gone. */
static cm_err write_undisturbed(struct work *w, struct cm_error *err)
{
    sigset_t block, before;
    cm_err rc = CM_OK;

    (void) sigfillset(&block);
    (void) sigprocmask(SIG_BLOCK, &block, &before);
    rc = write_files(w, err);
    (void) sigprocmask(SIG_SETMASK, &before, NULL);
    return rc;
}

static cm_err report(const struct work *w, const struct cm_common *common, struct cm_error *err)
{
    char from[24] = "", to[24] = "";
    struct cm_writer a = cm_writer(from, sizeof from - 1), b = cm_writer(to, sizeof to - 1);
    const struct cm_ca *ca = w->made;
    const bool encrypted = w->passphrase_len > 0;

    cm_put_rfc3339(&a, cm_ca_not_before(ca));
    cm_put_rfc3339(&b, cm_ca_not_after(ca));
    if (common->json)
        return cm_msg_json(json_pack("{s:s+ s:s+ s:s s:s s:s s:s s:s s:s s:b s:I}", "ca", w->o->out,
                                     "/ca.pem", "ca_key", w->o->out, "/ca.key", "certificate_id",
                                     cm_ca_certificate_id(ca), "subject", cm_ca_subject_text(ca),
                                     "not_before", from, "not_after", to, "key_alg", cm_ca_key_type(ca),
                                     "sig_alg", cm_ca_sigalg(ca)->name, "encrypted", encrypted, "chain",
                                     (json_int_t) cm_ca_chain_count(ca)),
                           err);
    if (common->quiet)
        return CM_OK;
    (void) printf("%s/ca.pem  %s, %s, valid to %s\n", w->o->out, cm_ca_subject_text(ca),
                  w->issuer != NULL ? "an intermediate with its chain" : "a self-signed root", to);
    (void) printf("%s/ca.key  %s, %s\n", w->o->out, cm_ca_key_type(ca),
                  encrypted ? "encrypted with the passphrase"
                            : "NOT encrypted (--passphrase-file does that), mode 0600");
    (void) printf(
        "Next: certmill mint --ca %s/ca.pem --ca-key %s/ca.key --out fleet --count 1000 --plaintext-keys\n",
        w->o->out, w->o->out);
    return CM_OK;
}

static cm_err run(const void *opts, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    struct work w = { .o = opts, .now = cm_when_now(), .dir = -1 };
    cm_err rc = check_opts(opts, err);

    (void) operands;
    if (rc == CM_OK && w.o->issuer_cert != NULL)
        rc = open_issuer(&w, err);
    if (rc == CM_OK && w.o->passphrase_file != NULL)
        rc = read_passphrase(&w, err);
    if (rc == CM_OK)
        rc = open_dir(&w, err); /* before the key: RSA takes seconds */
    if (rc == CM_OK)
        rc = make(&w, err);
    if (rc == CM_OK)
        rc = check_made(&w, err);
    if (rc == CM_OK)
        rc = write_undisturbed(&w, err);
    if (rc != CM_OK && w.dir_made)
        (void) rmdir(w.o->out);
    if (rc == CM_OK)
        rc = report(&w, common, err);
    done(&w);
    return rc;
}

const struct cm_cmd cm_cmd_ca_init = {
    .name = "ca init",
    .usage = "--out DIR [--key ALG] [--subject NAME] [--days N] [--passphrase-file FILE] [--issuer-cert FILE "
             "--issuer-key FILE]",
    .summary = "make a CA: DIR/ca.pem and DIR/ca.key",
    .notes =
        "Makes a root, or with --issuer-cert and --issuer-key an intermediate; ca.pem then holds the chain\n"
        "above it too. ca.key is PKCS#8, mode 0600. Nothing is ever overwritten.\n"
        "\n"
        "Without --passphrase-file the key lies there in plain text: for demos and tests. Passphrases come\n"
        "from files (a regular one or /dev/fd/N) or the terminal, never from arguments or the environment.",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct opts),
    .defaults = defaults,
    .run = run,
};
