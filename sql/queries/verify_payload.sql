SELECT payload FROM meeta.events WHERE capture_id = $1::uuid AND seq = $2::bigint
