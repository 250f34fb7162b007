#!/bin/bash
# Exits with 0 when the MongoDB at HOST PORT answers a ping, which needs no login.
# One message of MongoDB's wire protocol, an OP_MSG with {ping: 1, $db: "admin"};
# any answer will do, of which the first 16 bytes are the header.
set -euo pipefail
exec 3<>"/dev/tcp/$1/$2"
printf '\x33\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\x1e\0\0\0\x10ping\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0\0' >&3
[ "$(timeout 4 head -c 16 <&3 | wc -c)" -eq 16 ]
