#include "cli/minting.h"
#include "cli/msg.h"
#include "io/file.h"

void cm_minting_notices(const struct cm_minting *m, bool durable)
{
    if (m->common->quiet)
        return;
    if (m->dir_open)
        cm_msg_note("private keys are written unencrypted (--plaintext-keys): whoever reads %s has them",
                    m->dir.keys_path);
    if (m->dir_open && !durable)
        cm_msg_note("nothing is forced to disk (--sync none): a power cut may lose all of it");
    const char *doubt = m->dir_open && durable ? cm_file_system_doubt(m->dir.fd) : NULL;
    if (doubt != NULL)
        cm_msg_note("%s is on %s: it may not lock out other machines, or not keep what was synced",
                    m->dir.path, doubt);
    if (m->why[0] != '\0')
        cm_msg_note("segments are written with blocking calls: %s", m->why);
    if (!cm_ca_has_ski(m->plan.ca))
        cm_msg_note(
            "the CA certificate has no subject key identifier; the certificates name it by its key's hash");
}
