#!/bin/sh
# Starts Redis with the password from its secret, by way of a file in memory:
# an argument could be read in the list of processes.
set -eu
umask 077
printf 'requirepass %s\n' "$(cat /run/secrets/redis_password)" >/run/redis/password.conf
exec redis-server /etc/earlybird/redis.conf
