#!/bin/sh
# Builds EARLYBIRD_REDIS_URL, which kong.yml refers to as
# {vault://env/earlybird-redis-url}, from an address and a password file, so
# that no password stands in an environment setting. Then it does what the
# image always does.
set -eu

if [ -n "${EARLYBIRD_REDIS_PASSWORD_FILE:-}" ]; then
  if [ ! -r "$EARLYBIRD_REDIS_PASSWORD_FILE" ]; then
    echo "earlybird: $EARLYBIRD_REDIS_PASSWORD_FILE (EARLYBIRD_REDIS_PASSWORD_FILE) cannot be read by uid $(id -u)" >&2
    exit 1
  fi
  password=$(cat "$EARLYBIRD_REDIS_PASSWORD_FILE")
  case $password in
  '' | *[!A-Za-z0-9._~-]*)
    echo "earlybird: the Redis password must be letters, digits and . _ ~ - only, so that it can stand in a URL" >&2
    exit 1
    ;;
  esac
  url=${EARLYBIRD_REDIS_URL:?earlybird: set EARLYBIRD_REDIS_URL to the address without a password, such as redis://redis:6379/0}
  scheme=${url%%://*}
  case $scheme in
  redis | rediss | redis+sentinel | rediss+sentinel | redis+cluster | rediss+cluster) ;;
  *)
    echo "earlybird: EARLYBIRD_REDIS_URL must begin with redis://, redis+sentinel:// or redis+cluster://, or the same with rediss for TLS" >&2
    exit 1
    ;;
  esac
  rest=${url#*://}
  authority=${rest%%[/?#]*} # user@host:port
  tail=${rest#"$authority"}
  user=
  case $authority in
  *:*@*)
    echo "earlybird: EARLYBIRD_REDIS_URL already has a password; leave it out, as in redis://user@redis:6379/0, or do not set EARLYBIRD_REDIS_PASSWORD_FILE" >&2
    exit 1
    ;;
  *@*)
    user=${authority%@*}
    authority=${authority##*@}
    ;;
  esac
  EARLYBIRD_REDIS_URL="$scheme://$user:$password@$authority$tail"
  export EARLYBIRD_REDIS_URL
fi

exec "${KONG_ENTRYPOINT:-/docker-entrypoint.sh}" "$@"
