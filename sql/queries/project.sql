SELECT meeta.project($1::uuid[], $2::bigint[], $3::text[])
