/*
 * PostgreSQL databases as pg_dump writes them: a comparison that owes belay nothing.
 */
#ifndef BELAY_TESTS_PG_TEXT_H
#define BELAY_TESTS_PG_TEXT_H

/* pg_dump's text, without its random key and the database's name. more: another argument. Rows are in
 * their order in the table. The caller owns it. */
char *pg_text(const char *url, const char *more);
/* Schema and rows, the rows in any order. */
void pg_must_be_same_text(const char *url_a, const char *url_b);

#endif
