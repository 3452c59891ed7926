SELECT meeta.ensure_partition_of($1::uuid)
