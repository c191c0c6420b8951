#ifndef CM_ENGINE_PIPELINE_IMPL_H
#define CM_ENGINE_PIPELINE_IMPL_H

#include "engine/pipeline.h"
#include "engine/queue.h"
#include "engine/serials.h"

#include <pthread.h>
#include <stdatomic.h>

/* pipeline_impl.h - what pipeline.c, worker.c, writer.c, registrar.c and calibrate.c share. */

enum {
    CM_SEALED_CAP = 4,  /* batches that wait for the writer */
    CM_WRITING_MAX = 6, /* batches in the kernel's hands or waiting for their turn */
    CM_WRITTEN_CAP = 4, /* batches that wait for the registrar */
};

struct cm_pipeline {
    struct cm_pipeline_conf conf; /* constant */
    struct cm_queue *sealed, *written;
    struct cm_serials *serials;
    pthread_t *worker; /* conf.workers of them, then the two below; set by start */
    pthread_t writer, registrar;
    uint32_t started; /* workers that run; start's */
    bool writer_started, registrar_started;

    /* any thread */
    atomic_bool stop;   /* asked for by the user: end cleanly */
    atomic_bool failed; /* a fatal error was recorded: end at once */
    atomic_uint_fast64_t minted, committed, committed_bytes, commits;
    atomic_uint_fast32_t next_worker;

    pthread_mutex_t source_lock; /* held around source->next */

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t ended_cond;
    struct cm_error error; /* the first fatal one */
    uint32_t workers_left;
    bool ended; /* the registrar is through */
};

void *cm_worker_main(void *pipeline);
void *cm_writer_main(void *pipeline);
void *cm_registrar_main(void *pipeline);

/* Keeps the calling thread on the processor of worker `number`. */
void cm_worker_pin(const struct cm_pipeline_conf *conf, uint32_t number);

/* Records the first fatal error and makes every thread stop. */
void cm_pipeline_fail(struct cm_pipeline *p, const struct cm_error *err);

#endif
