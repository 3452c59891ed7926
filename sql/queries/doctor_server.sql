SELECT current_database()::text AS database, current_user::text AS role,
    host(inet_server_addr()) || ':' || inet_server_port() AS place
