#!/bin/bash
# Starts MongoDB as one member of a replica set. mongod insists that the key
# file is its own and that nobody else can read it, and a mounted secret is
# neither, so it gets a copy in memory.
set -euo pipefail
install -m 0400 /run/secrets/mongo_keyfile /run/mongodb/keyfile
exec docker-entrypoint.sh mongod --replSet earlybird --keyFile /run/mongodb/keyfile --bind_ip_all
