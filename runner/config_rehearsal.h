/*
 * The keys of belay.yaml that libcyaml's schemas cannot describe: `mask`, a mapping whose keys are
 * columns, and `queries`, whose items are files or SQL. For runner/config*.c only.
 */
#ifndef BELAY_CONFIG_REHEARSAL_H
#define BELAY_CONFIG_REHEARSAL_H

#include "runner/config.h"
#include "runner/config_yaml.h"

int config_read_rehearsal(struct config *c, yaml_document_t *doc, struct err *err);

#endif
