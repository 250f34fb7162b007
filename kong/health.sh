#!/bin/bash
# Exits with 0 when Kong's status listener, at port 8100 or at the one given, says
# that it is ready to proxy.
set -eu
exec 3<>"/dev/tcp/127.0.0.1/${1:-8100}"
printf 'GET /status/ready HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
read -r -t 4 _ status _ <&3
[ "$status" = 200 ]
