DROP FUNCTION landlord_drop_month_partition(text, date);
DROP FUNCTION landlord_make_month_partition(text, date);
DROP FUNCTION landlord_month_partitioned_tables();
