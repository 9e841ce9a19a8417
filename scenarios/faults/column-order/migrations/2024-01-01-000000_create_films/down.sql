drop table films;
