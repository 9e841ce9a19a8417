#!/bin/sh
# The team's four migration commands. The database is copied before it is changed.
set -eu
cd "$(dirname "$0")/.."
db=calendar_app.db

keep_copy() {
    if [ -e "$db" ]; then
        sqlite3 "$db" ".backup '$db.$(date +%Y%m%d-%H%M%S)'"
    fi
}

case "${1:-}" in
upgrade) keep_copy && exec belay upgrade ;;
downgrade) keep_copy && exec belay downgrade -- -1 ;;
create) exec belay revision --autogenerate -m "${2:?what does it do?}" ;;
current) exec belay current ;;
history) exec belay history ;;
*)
    echo "usage: $0 upgrade | downgrade | create MESSAGE | current | history" >&2
    exit 2
    ;;
esac
