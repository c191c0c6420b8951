#ifndef CM_AWS_RULES_H
#define CM_AWS_RULES_H

#include "engine/certread.h"
#include "engine/when.h"
#include "io/awslimits.h"

/* rules.h - what AWS IoT accepts and refuses, as one table: `aws check`, mint under a profile with
 * "registry = aws-iot" and the rehearsal's control plane all judge by it.
 *
 * A certificate is judged by its facts, which come from a certificate in DER, from one that certread.h has
 * read, or from what is going to be minted. A fact that is not known leaves its rules aside.
 *
 * TO ADD A RULE: a row in rules.c; tests/test_aws_rules.c wants a good and a bad case for it.
 *
 *  Threads  no state: any.
 */
enum cm_aws_role {
    CM_AWS_CA = 1,           /* given to RegisterCACertificate */
    CM_AWS_DEVICE = 2,       /* registered, by whichever path */
    CM_AWS_VERIFICATION = 4, /* the proof of possession of a CA's key */
};

struct cm_aws_cert {
    enum cm_aws_role role;
    char key[40];       /* "P-256", "RSA-1024", "Ed25519", …; "": not known */
    unsigned rsa_bits;  /* 0: no RSA key */
    char signature[64]; /* "ecdsa-with-SHA256", "RSASSA-PSS-SHA256", …; "": not known */
    bool is_ca;         /* basicConstraints with CA:TRUE */
    bool dated;         /* the validity is known */
    cm_when not_before, not_after;
    size_t pem_len;         /* 0: not known */
    const char *thing_name; /* borrowed; what the thing will be called; NULL: not known */
    char common_name[256];  /* the last one of the subject; "": none, or not known */
    size_t same_subject;    /* CAs with this subject, this one included; 0: not known */
};

enum cm_aws_verdict { CM_AWS_FINE, CM_AWS_WARNED, CM_AWS_REFUSED };

struct cm_aws_rule {
    const char *name; /* "key", "basic-constraints" */
    unsigned roles;   /* of enum cm_aws_role */
    /* why: what is wrong, without a subject; untouched when all is fine. */
    enum cm_aws_verdict (*judge)(const struct cm_aws_cert *c, cm_when now, char *why, size_t why_len);
};

enum { CM_AWS_WHY = 256 };

size_t cm_aws_rules_count(void);
const struct cm_aws_rule *cm_aws_rule_at(size_t i);

/* Called for each rule that is not content. */
typedef void cm_aws_on_rule(void *arg, const struct cm_aws_rule *rule, enum cm_aws_verdict verdict,
                            const char *why);
/* Judges by every rule of the role; the worst verdict. on_rule may be NULL. */
enum cm_aws_verdict cm_aws_judge(const struct cm_aws_cert *c, cm_when now, cm_aws_on_rule *on_rule,
                                 void *arg);
/* The same, and the first refusal as CM_E_INPUT: "SUBJECT: why". Warnings pass. */
CM_MUST_CHECK cm_err cm_aws_check(const struct cm_aws_cert *c, cm_when now, const char *subject,
                                  struct cm_error *err);

/* The facts of any certificate that libcrypto can read, X.509 v1 included. CM_E_INPUT: der is not exactly
 * one. */
CM_MUST_CHECK cm_err cm_aws_cert_der(struct cm_span der, enum cm_aws_role role, struct cm_aws_cert *out,
                                     struct cm_error *err);
/* The same of the first certificate in a PEM text, whatever stands around it, with the SHA-256 of the
 * certificate (which is AWS IoT's certificateId) and of its subject, to tell them apart. CM_E_INPUT also:
 * there is none. */
CM_MUST_CHECK cm_err cm_aws_cert_pem(struct cm_span pem, enum cm_aws_role role, struct cm_aws_cert *out,
                                     uint8_t certificate_id[32], uint8_t subject[32], struct cm_error *err);
/* The same certificate alone, as PEM, and its subject in one line (RFC 4514, cut at subject_len). */
CM_MUST_CHECK cm_err cm_aws_cert_text(struct cm_span pem, struct cm_writer *out, char *subject,
                                      size_t subject_len, struct cm_error *err);
/* The last CN of a Name (DER), its octets as they are; what holds a zero octet ends in "\0" and is no name
 * for anything. Untouched when there is none. */
void cm_aws_common_name(struct cm_span name, char *out, size_t out_len);
/* The facts of a device's certificate, quickly; der_len: of the whole. */
void cm_aws_cert_read(const struct cm_certread *read, size_t der_len, struct cm_aws_cert *out);

#endif
