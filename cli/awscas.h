#ifndef CM_CLI_AWSCAS_H
#define CM_CLI_AWSCAS_H

#include "cli/awsfound.h"

/* awscas.h - the CA certificates that `aws check` has come across, judged when all are known: how many have
 * one subject is a question to all of them. The same certificate, found twice, counts once.
 *
 *  Errors   CM_E_INPUT: a file that holds no certificate; CM_E_IO; CM_E_LIMIT: more than CM_AWSCAS_MAX.
 *  Threads  one.
 */
enum { CM_AWSCAS_MAX = 10000 };

struct cm_awscas;
CM_MUST_CHECK cm_err cm_awscas_open(struct cm_awscas **out, struct cm_error *err);
void cm_awscas_close(struct cm_awscas *c); /* NULL accepted */
/* The first certificate of the text; name: where it stands. A file named verification.pem holds one of those.
 */
CM_MUST_CHECK cm_err cm_awscas_add(struct cm_awscas *c, const char *name, struct cm_span pem,
                                   struct cm_error *err);
CM_MUST_CHECK cm_err cm_awscas_add_file(struct cm_awscas *c, const char *path, struct cm_error *err);
/* Every .pem, .crt and .cer of a directory; CM_E_INPUT where there is none. */
CM_MUST_CHECK cm_err cm_awscas_add_dir(struct cm_awscas *c, const char *path, struct cm_error *err);
size_t cm_awscas_count(const struct cm_awscas *c); /* of CAs */
void cm_awscas_judge(struct cm_awscas *c, cm_when now, struct cm_awsfound *found);

#endif
