drop table crews;
