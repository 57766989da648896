DROP TABLE tenant_products;
