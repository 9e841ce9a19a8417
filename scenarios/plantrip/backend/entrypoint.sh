#!/bin/sh
# Start of the backend's container: wait for PostgreSQL, bring the schema up to date, serve.
set -eu

# SQLAlchemy's URL names its driver, libpq's does not
until pg_isready --quiet --dbname="$(echo "$DATABASE_URL" | sed 's/+asyncpg//')"; do
    sleep 1
done

belay upgrade
exec uvicorn app.main:app --host 0.0.0.0 --port 8000
