#include "cli/audit_impl.h"

#include "io/journalread.h"

typedef unsigned long long ull;

static void find(struct cm_audit *a, const char *file, uint64_t offset, const char *what)
{
    cm_audit_find(a, NULL, CM_FINDING_NO_ROW, file, offset, "%s", what);
}

/* An attempt that ended has left nothing behind. */
static void check_tails(struct cm_audit *a, const struct cm_journal_state *j)
{
    if (j->ended[0] == '\0')
        return;
    if (j->file_bytes > j->at.length)
        find(a, "journal", j->at.length, "octets behind the last sound record");
    if (cm_fleet_manifest_size(a->fleet) > j->manifest_bytes)
        find(a, "manifest.ndjson", j->manifest_bytes, "octets behind the last commit");
}

void cm_audit_journal(struct cm_audit *a)
{
    const struct cm_journal_state *j = cm_fleet_journal(a->fleet);
    const struct cm_fleet_run *run = a->run;

    check_tails(a, j);
    if (cm_fleet_manifest_size(a->fleet) < j->manifest_bytes)
        find(a, "manifest.ndjson", cm_fleet_manifest_size(a->fleet),
             "it ends before what the journal says is committed");
    if (run->state != CM_FLEET_OPEN && strcmp(j->ended, cm_fleet_state_name(run->state)) != 0)
        find(a, "run.json", CM_FINDING_NO_OFFSET, "outcome.state: not what the journal says");
    if (run->state != CM_FLEET_OPEN && run->devices + run->superseded != j->at.devices)
        cm_audit_find(a, NULL, CM_FINDING_NO_ROW, "run.json", CM_FINDING_NO_OFFSET,
                      "outcome.devices and superseded are %llu, the journal has %llu rows",
                      (ull) (run->devices + run->superseded), (ull) j->at.devices);
    if (j->purging)
        cm_audit_find(a, NULL, CM_FINDING_NO_ROW, "keys", CM_FINDING_NO_OFFSET,
                      "purge-keys began at %s and did not end: give it again", j->purged_at);
}
