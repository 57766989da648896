DROP TABLE access_tokens;
DROP TABLE service_accounts;
DROP TABLE operators;
