SELECT max(number) FROM meeta.migrations
