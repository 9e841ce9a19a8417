#include "runner/transfer.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "harness/base/cleanup.h"
#include "harness/base/clock.h"
#include "runner/interrupt.h"

char *size_text(uint64_t bytes)
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB"};
    double size = (double)bytes / 1e3;
    size_t unit = 0;
    if (bytes < 1000)
        return xasprintf("%u bytes", (unsigned)bytes);
    for (; size >= 999.5 && unit + 1 < ARRAY_LEN(units); unit++)
        size /= 1e3;
    return xasprintf(size < 9.95 ? "%.1f %s" : "%.0f %s", size, units[unit]);
}

static void wake(void *data)
{
    const struct transfer *p = data;
    if (eventfd_write(p->cancel_fd, 1) < 0)
        return; /* nothing waits for it then; the flag is there */
}

int transfer_init(struct transfer *p, bool quiet, struct err *err)
{
    *p = (struct transfer){.shown = !quiet && isatty(STDERR_FILENO)};
    p->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->cancel_fd < 0)
        return err_errno(err, "cannot make an event");
    interrupt_add(wake, p);
    return 0;
}

static void clear(struct transfer *p)
{
    if (p->line)
        fputs("\r\033[K", stderr);
    p->line = false;
}

static void show(void *data, const struct backup_progress *b)
{
    struct transfer *p = data;
    if (!p->phase || strcmp(p->phase, b->phase) != 0) {
        p->phase = b->phase;
        p->since = clock_seconds();
    }
    clear(p);
    double elapsed = clock_seconds() - p->since;
    _cleanup_free_ char *done = size_text(b->done);
    fprintf(stderr, "%s %s", b->phase, done);
    if (b->total)
        fprintf(stderr, " (%d %%)", (int)(100 * (double)b->done / (double)b->total));
    if (elapsed > 1 && b->done) {
        double rate = (double)b->done / elapsed;
        _cleanup_free_ char *each = size_text((uint64_t)rate);
        fprintf(stderr, " %s/s", each);
        if (b->total > b->done) {
            int left = (int)((double)(b->total - b->done) / rate);
            fprintf(stderr, " %d:%02d left", left / 60, left % 60);
        }
    }
    fflush(stderr);
    p->line = true;
}

struct backup_control transfer_control(struct transfer *p)
{
    return (struct backup_control){
        .stop = &interrupt_signal,
        .cancel_fd = &p->cancel_fd,
        .report = p->shown ? show : NULL,
        .data = p,
    };
}

void transfer_end(struct transfer *p)
{
    clear(p);
    interrupt_remove(wake, p);
    close(p->cancel_fd);
}
