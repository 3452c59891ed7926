SELECT pg_advisory_lock(hashtextextended('meeta.migrations', 0))
