SELECT meeta.ensure_partitions(now(), $1::integer)
