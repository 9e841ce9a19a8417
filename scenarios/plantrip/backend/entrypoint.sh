#!/bin/sh
# Start of the backend's container: waits for PostgreSQL, deploys what is pending, becomes the server. The volume
# outlives the container: it holds the bundles and the journal.
set -eu
exec belay deploy --wait 60s --bundles "${BELAY_BUNDLES:-/var/lib/belay}" -- \
    uvicorn app.main:app --host 0.0.0.0 --port 8000
