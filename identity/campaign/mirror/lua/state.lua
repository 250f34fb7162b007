return reply(read())
