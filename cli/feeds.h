#ifndef CM_CLI_FEEDS_H
#define CM_CLI_FEEDS_H

#include "cli/args.h"
#include "engine/bytes.h"
#include "io/follow.h"

/* feeds.h - the databases of `--to`: what mint, resume, reissue, repair and load do with them.
 *
 *  Before the first key   open connects to each of them and makes sure of its schema; add and checked refuse
 *                         ids that another run under the CA has there. A run that is continued had that
 * behind it: a database that is away then is tried again, and does not keep it from minting. Meanwhile start
 * gives each a thread that follows the fleet. At the end             finish waits until all is loaded, or a
 * database was away for too long; it names the command that loads the rest, never a password. Threads the
 * main thread.
 */
enum {
    CM_FEEDS_MAX = 8,     /* databases of one run */
    CM_FEEDS_WAIT_S = 60, /* the usual patience with one that is away */
};

/* Its options: --to, --db-wait. */
struct cm_feeds_opts {
    struct cm_strs to;
    uint32_t db_wait; /* seconds: for a lock, and for what is away once the fleet is done */
    bool quiet;       /* no notes: --quiet, which the command puts here */
};

/* clang-format off */
/* Their rows in a subcommand's table; at: offset of its struct cm_feeds_opts. */
#define CM_FEEDS_ARGS(at) \
    { "to", CM_ARG_STRS, (at) + offsetof(struct cm_feeds_opts, to), 0, 0, NULL, "URL", \
      "sqlite:FILE or postgresql://…: gets the rows and certificates; may be repeated; none" }, \
    { "db-wait", CM_ARG_U32, (at) + offsetof(struct cm_feeds_opts, db_wait), 1, 86400, NULL, "SECONDS", \
      "patience with a database that is locked, or away once the fleet is done; 60" }
/* clang-format on */

struct cm_feeds;

/* Can a run that lasts, and whose commits are durable, or not, feed databases? CM_E_USAGE. */
CM_MUST_CHECK cm_err cm_feeds_check(const struct cm_feeds_opts *opts, bool lasts, bool durable,
                                    struct cm_error *err);
/* opts is borrowed. A run without --to, or with the one value `none`, has no feeds: *out is NULL, which all
 * calls accept. */
CM_MUST_CHECK cm_err cm_feeds_open(const struct cm_feeds_opts *opts, struct cm_feeds **out,
                                   struct cm_error *err);
size_t cm_feeds_count(const struct cm_feeds *f);
const char *cm_feeds_public(const struct cm_feeds *f, size_t i); /* the URL without its password */

/* Connects. run: whose ids add is about to tell; again: it began before. */
CM_MUST_CHECK cm_err cm_feeds_connect(struct cm_feeds *f, const char *run_id, const char *ca_certificate_id,
                                      bool again, struct cm_error *err);
/* Instead of it, for a run that is only explained: looks at each of them, and makes nothing. */
CM_MUST_CHECK cm_err cm_feeds_look(struct cm_feeds *f, const char *run_id, const char *ca_certificate_id,
                                   struct cm_error *err);
/* What it found, a line for each on stdout; as JSON [{"to":…,"version":N,"runs":N}]. */
void cm_feeds_print_found(const struct cm_feeds *f);
struct json_t *cm_feeds_found_json(const struct cm_feeds *f); /* NULL: no memory */
/* Adds to a refusal what else a run that is continued may be told. */
void cm_feeds_offer(struct cm_error *err);
CM_MUST_CHECK cm_err cm_feeds_add(struct cm_feeds *f, struct cm_span id, struct cm_error *err);
CM_MUST_CHECK cm_err cm_feeds_checked(struct cm_feeds *f, struct cm_error *err); /* that was the last */

/* The fleet in dir is open for loading; what it has committed so far is loaded at once. */
CM_MUST_CHECK cm_err cm_feeds_start(struct cm_feeds *f, const char *dir, struct cm_error *err);
/* It has committed so many octets of its manifest. */
void cm_feeds_upto(struct cm_feeds *f, uint64_t manifest_bytes);
/* No more will come. The first failure is the result; each other one is told. A signal ends the waiting for
 * what is away; and, with stop, the loading too: CM_E_CLOSED. */
CM_MUST_CHECK cm_err cm_feeds_finish(struct cm_feeds *f, bool stop, struct cm_error *err);
/* Adds "databases", [{"to":…,"rows":N,"loaded":N}] (there, and of these brought now), to a result, where
 * there are any. NULL: no memory, and all is dropped; NULL is accepted. */
struct json_t *cm_feeds_tell(const struct cm_feeds *f, struct json_t *all);
void cm_feeds_print(const struct cm_feeds *f); /* a line for each on stdout */
void cm_feeds_close(struct cm_feeds *f);

#endif
