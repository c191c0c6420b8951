#ifndef CM_AWS_KIT_H
#define CM_AWS_KIT_H

#include "engine/bytes.h"
#include "engine/err.h"
#include "engine/when.h"

/* kit.h - the registration kit: the files of aws/kit/ with their places filled, and the CA's and the
 * verification certificate beside them, as a directory.
 *
 *  Whole    the directory is made as DIR.part and renamed when all of it is durable, never
 *           over one that is there. After a failure nothing is left.
 *  Errors   CM_E_USAGE: DIR is there already, or no name for one; CM_E_IO; CM_E_NOMEM.
 */
struct cm_aws_kit {
    struct cm_span ca_pem;         /* the CA's certificate alone */
    const char *ca_certificate_id; /* as hex digits */
    const char *ca_subject;        /* one line */
    struct cm_span verification;   /* PEM: the verification certificate, or the request for it */
    cm_when verification_end;      /* 0: it is a request */
    const char *account, *region;  /* as cm_aws_check_account has them; NULL: the scripts ask for them */
    const char *partition;
};

/* One file as it is embedded: "register-ca-default.sh", with places @NAME@. */
struct cm_aws_kit_file {
    const char *name, *text;
};
extern const struct cm_aws_kit_file cm_aws_kit_embedded[];
extern const size_t cm_aws_kit_embedded_count;

/* One of the files, filled, without a NUL behind it; name must be there. CM_E_NOMEM. */
CM_MUST_CHECK cm_err cm_aws_kit_text(const struct cm_aws_kit *k, const char *name, struct cm_writer *w,
                                     struct cm_error *err);
/* dir is a path; its parent must exist. err is not NULL. */
CM_MUST_CHECK cm_err cm_aws_kit_write(const struct cm_aws_kit *k, const char *dir, struct cm_error *err);

#endif
