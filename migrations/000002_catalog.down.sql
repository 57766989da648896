DROP TABLE catalog_state;
DROP TABLE event_types;
DROP TABLE setting_definitions;
DROP TABLE plan_limits;
DROP TABLE meters;
DROP TABLE plan_products;
DROP TABLE plans;
DROP TABLE products;
