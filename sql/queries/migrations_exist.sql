SELECT to_regclass('meeta.migrations') IS NOT NULL
