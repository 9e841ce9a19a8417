/*
 * A small bundle of made-up tables, written through the real writer, for tests of the container.
 */
#ifndef BELAY_TESTS_BUNDLE_FIXTURE_H
#define BELAY_TESTS_BUNDLE_FIXTURE_H

#include "backup/bundle.h"
#include "backup/part.h"
#include "tests/fixture.h"

/* A folder of the test's own, below $TMPDIR or on tmpfs; dir_drop() removes it with everything in it. */
char *dir_new(void);
void dir_drop(char *dir);

/* The manifest of a database "app" with one table and no objects yet. */
void sample_manifest(struct manifest *m);
/* Row i of the sample, in COPY's text format; the caller owns it. */
char *sample_row(size_t i);
/* Writes a bundle with `rows` rows in parts cut every `cut` rows, and a small member without
 * compression. */
int sample_write(const char *path, const char *key_file, size_t rows, size_t cut, struct err *err);
/* Reads all of it, decompressed; -1 as the reader says. *ret: the rows. */
int sample_read(const char *path, const char *key_file, struct str *ret, struct err *err);
/* A file with the key of 32 bytes `byte`, mode 0600. */
void key_write(const char *path, unsigned char byte);
/* Names in a folder, without "." and "..". */
size_t dir_count(const char *dir);

/* The indented lines of a section ("\n## ...") of docs/bundle-format.md: what it tells people to type.
 * The caller owns them. */
char *page_commands(const char *heading);
/* Runs them in the folder; they must succeed. env: as struct proc_options has it. */
void page_run(const char *dir, const char *const *env, const char *commands);

#endif
