SELECT count(*) FILTER (WHERE kind = 'refused') AS refused, count(*) FILTER (WHERE kind = 'conflict') AS conflicts
FROM meeta.quarantine
