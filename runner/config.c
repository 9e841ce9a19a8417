#include "runner/config.h"

#include <stdlib.h>
#include <string.h>

void config_release(struct config *c)
{
    free(c->path);
    memset(c, 0, sizeof(*c));
}
