#!/bin/sh
# Roles of the image: migrate (one shot), web, worker, beat; anything else runs as given.
set -eu

# needs NAME: the variable, or NAME_FILE, is set.
needs() {
  eval "[ -n \"\${$1:-}\${$1_FILE:-}\" ]" && return
  echo "Library desk cannot start: $1 is not set, nor is $1_FILE." >&2
  exit 1
}

role=${1:-web}
case $role in
migrate | web | worker | beat)
  # Without them the settings mean the embedded run, whose data is lost with the container.
  needs SECRET_KEY
  needs DATABASE_URL
  needs REDIS_URL
  # For project/healthcheck.py; files of an earlier process say nothing about this one.
  echo "$role" >"$DATA_DIR/role"
  rm -f "$DATA_DIR/address" "$DATA_DIR/heartbeat"
  ;;
esac

case $role in
migrate) exec python manage.py prepare ;;
web)
  python manage.py wait
  exec gunicorn --config python:project.gunicorn
  ;;
worker)
  python manage.py wait
  export REMAP_SIGTERM=SIGQUIT # soft shutdown
  exec celery --app project worker --loglevel info --without-gossip --without-mingle
  ;;
beat)
  python manage.py wait
  exec celery --app project beat --loglevel info --pidfile=
  ;;
secrets)
  # Once per set of volumes: generates passwords and keys, one file per reader. Values from the
  # environment replace generated ones.
  umask 077
  cd /run/library-desk
  random() { head -c 64 /dev/urandom | base64 | tr -d '+/=\n' | cut -c 1-48; }
  # keep FILE READER VALUE [GIVEN]: writes all of it or nothing.
  keep() {
    [ -n "${4:-}" ] || [ ! -s "$1" ] || return 0
    printf %s "${4:-$3}" >"$1.new"
    chown "$2" "$1.new"
    mv "$1.new" "$1"
  }
  for file in root-password owner-password password; do
    keep "mysql/$file" "$MYSQL_UID" "$(random)"
  done
  keep app/secret-key app "$(random)" "${SECRET_KEY:-}"
  keep app/database-url app "mysql://library:$(cat mysql/password)@db:3306/librarydesk" "${DATABASE_URL:-}"
  keep owner/database-url app "mysql://library_owner:$(cat mysql/owner-password)@db:3306/librarydesk" \
    "${MIGRATE_DATABASE_URL:-${DATABASE_URL:-}}"
  ;;
*) exec "$@" ;;
esac
