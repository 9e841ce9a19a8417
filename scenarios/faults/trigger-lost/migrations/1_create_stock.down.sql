drop table stock_log;
drop table stock;
