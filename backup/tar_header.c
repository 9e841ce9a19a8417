#include "backup/tar_header.h"

#include <stdio.h>
#include <string.h>

/* POSIX.1-1988, "ustar": every field is text. */
struct ustar {
    char name[100];
    char mode[8];
    char uid[8];
    char gid[8];
    char size[12];
    char mtime[12];
    char checksum[8];
    char type;
    char link[100];
    char magic[6];
    char version[2];
    char user[32];
    char group[32];
    char device_major[8];
    char device_minor[8];
    char prefix[155];
    char padding[12];
};
_Static_assert(sizeof(struct ustar) == TAR_BLOCK, "a header is one block");

void tar_header(unsigned char ret[TAR_BLOCK], const char *name, uint64_t size)
{
    struct ustar h = {
        .mode = "0000600",
        .uid = "0000000",
        .gid = "0000000",
        .mtime = "00000000000",
        .checksum = {' ', ' ', ' ', ' ', ' ', ' ', ' ', ' '}, /* how it counts while it is summed */
        .type = '0',
        .magic = "ustar",
        .version = {'0', '0'},
        .device_major = "0000000",
        .device_minor = "0000000",
    };
    memcpy(h.name, name, strnlen(name, sizeof(h.name)));
    snprintf(h.size, sizeof(h.size), "%011llo", (unsigned long long)(size & TAR_SIZE_MAX));
    memcpy(ret, &h, sizeof(h));
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof(h); i++)
        sum += ret[i];
    snprintf(h.checksum, sizeof(h.checksum), "%06o", sum); /* a NUL and the last blank follow */
    memcpy(ret, &h, sizeof(h));
}

bool tar_header_read(const unsigned char block[TAR_BLOCK], char ret_name[TAR_NAME_MAX + 1],
                     uint64_t *ret_size)
{
    struct ustar h;
    memcpy(&h, block, sizeof(h));
    char name[TAR_NAME_MAX + 1] = {0};
    memcpy(name, h.name, sizeof(h.name));
    uint64_t size = 0;
    for (size_t i = 0; i < sizeof(h.size) - 1; i++) {
        if (h.size[i] < '0' || h.size[i] > '7')
            return false;
        size = size << 3 | (uint64_t)(h.size[i] - '0');
    }
    unsigned char expected[TAR_BLOCK];
    tar_header(expected, name, size);
    if (memcmp(expected, block, TAR_BLOCK) != 0)
        return false;
    memcpy(ret_name, name, sizeof(name));
    *ret_size = size;
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
