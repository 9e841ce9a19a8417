/*
 * Progress, and the wish to stop, from any thread (struct backup_control).
 */
#ifndef BELAY_METER_H
#define BELAY_METER_H

#include "backup/backup.h"
#include "harness/base/cleanup.h"

struct meter;

struct meter *meter_new(const struct backup_control *control); /* control: kept, not copied */
void meter_free(struct meter *m);
DEFINE_CLEANUP(struct meter *, meter_free);
#define _cleanup_meter_ _cleanup_(cleanup_meter_free)

/* Begins a phase, which counts from 0. The name must stay. */
void meter_phase(struct meter *m, const char *phase, uint64_t total);
/* Adds bytes done; ERR_INTERRUPTED once a stop was asked for. To be called a few times a second at
 * least. */
int meter_add(struct meter *m, uint64_t plain, uint64_t stored, struct err *err);

#endif
