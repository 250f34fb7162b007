#!/bin/sh
# Makes what docker-compose.yml takes as secrets, in deploy/secrets or in the
# folder given. Run it as often as you like: it makes what is missing and never
# touches what is there, for a new key_secret makes the stored signing keys
# unreadable and a new mongo_password locks identity out.
set -eu

dir=${1:-$(dirname "$0")/secrets}
umask 077
mkdir -p "$dir"
# Containers see single files, mounted with the owner and mode they have here,
# and read them as users of their own. So the files are readable, and the
# folder is what keeps other users of this machine out.
chmod 0700 "$dir"

# put NAME stores what it reads, complete or not at all.
put() {
  cat >"$dir/.$1.new"
  [ -s "$dir/.$1.new" ] || { echo "could not make $dir/$1" >&2; exit 1; }
  chmod 0444 "$dir/.$1.new"
  mv "$dir/.$1.new" "$dir/$1"
  echo "made $dir/$1"
}

missing() { [ ! -s "$dir/$1" ]; }

for name in mongo_root_password mongo_password redis_password key_secret; do
  # 32 random bytes in hexadecimal, without a line break.
  if missing $name; then openssl rand -hex 32 | tr -d '\n' | put $name; fi
done
if missing mongo_keyfile; then openssl rand -base64 756 | tr -d '\n' | put mongo_keyfile; fi

# A certificate of one's own making, for trying. Put the real pair in its place.
if missing tls_key || missing tls_cert; then
  if [ -s "$dir/tls_key" ] || [ -s "$dir/tls_cert" ]; then
    echo "$dir has one of tls_key and tls_cert but not the other: remove it or add its other half" >&2
    exit 1
  fi
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 \
    -subj /CN=localhost -addext subjectAltName=DNS:localhost,DNS:kong,IP:127.0.0.1 \
    -keyout "$dir/.pair.key" -out "$dir/.pair.cert" 2>/dev/null
  put tls_key <"$dir/.pair.key"
  put tls_cert <"$dir/.pair.cert"
  rm -f "$dir/.pair.key" "$dir/.pair.cert"
fi
