#include "backup/tar_header.h"

#include <archive.h>
#include <archive_entry.h>
#include <assert.h>
#include <string.h>

#include "harness/base/cleanup.h"

DEFINE_CLEANUP(struct archive *, archive_free);
DEFINE_CLEANUP(struct archive_entry *, archive_entry_free);
#define _cleanup_archive_ _cleanup_(cleanup_archive_free)
#define _cleanup_entry_ _cleanup_(cleanup_archive_entry_free)

struct header {
    unsigned char *block;
    size_t have;
};

/* Keeps the header; the zeros that stand for the member's bytes go nowhere. */
static la_ssize_t take(struct archive *a, void *data, const void *bytes, size_t len)
{
    struct header *h = data;
    size_t room = TAR_BLOCK - h->have, n = len < room ? len : room;
    (void)a;
    memcpy(h->block + h->have, bytes, n);
    h->have += n;
    return (la_ssize_t)len;
}

/*
 * A header at a time, in memory: the members' bytes go to the file and come from it, encrypted or
 * not, without passing through libarchive. False for what ustar cannot say.
 */
static bool make(unsigned char ret[TAR_BLOCK], const char *name, uint64_t size)
{
    /* before the archive, which writes its last when it is freed */
    struct header h = {.block = ret};
    _cleanup_archive_ struct archive *a = archive_write_new();
    _cleanup_entry_ struct archive_entry *e = archive_entry_new();
    archive_entry_set_pathname(e, name);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0600);
    archive_entry_set_size(e, (la_int64_t)size);
    archive_write_set_format_ustar(a);
    archive_write_set_bytes_per_block(a, 0); /* at once */
    return archive_write_open(a, &h, NULL, take, NULL) == ARCHIVE_OK &&
           archive_write_header(a, e) == ARCHIVE_OK && h.have == TAR_BLOCK;
}

void tar_header(unsigned char ret[TAR_BLOCK], const char *name, uint64_t size)
{
    bool made = make(ret, name, size);
    assert(made); /* callers keep to TAR_NAME_MAX and TAR_SIZE_MAX */
    (void)made;
}

bool tar_header_read(const unsigned char block[TAR_BLOCK], char ret_name[TAR_NAME_MAX + 1],
                     uint64_t *ret_size)
{
    _cleanup_archive_ struct archive *a = archive_read_new();
    struct archive_entry *e;
    unsigned char expected[TAR_BLOCK];
    archive_read_support_format_tar(a);
    if (archive_read_open_memory(a, block, TAR_BLOCK) != ARCHIVE_OK ||
        archive_read_next_header(a, &e) != ARCHIVE_OK)
        return false;
    const char *name = archive_entry_pathname(e);
    la_int64_t size = archive_entry_size(e);
    if (!name || strlen(name) > TAR_NAME_MAX || size < 0 || (uint64_t)size > TAR_SIZE_MAX)
        return false;
    /* of all headers that say the same belay writes one, and reads no other */
    if (!make(expected, name, (uint64_t)size) || memcmp(expected, block, TAR_BLOCK) != 0)
        return false;
    strcpy(ret_name, name);
    *ret_size = (uint64_t)size;
    return true;
}

size_t tar_padding(uint64_t size)
{
    return (size_t)(-size & (TAR_BLOCK - 1));
}

uint64_t tar_extent(uint64_t size)
{
    return TAR_BLOCK + size + tar_padding(size);
}
