/*
 * A PostgreSQL schema with one of everything that a bundle must bring back, and rows in it.
 */
#ifndef BELAY_TESTS_ZOO_POSTGRES_H
#define BELAY_TESTS_ZOO_POSTGRES_H

/* Run in turn, each as a whole, by a superuser on an empty database of PostgreSQL 15 or later. The
 * roles that it needs are zoo_roles: they belong to the server. */
extern const char *const zoo_postgres[];
extern const char zoo_roles[];

#endif
