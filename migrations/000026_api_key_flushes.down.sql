DROP TABLE api_key_flushes;
